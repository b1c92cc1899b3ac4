/* From a brick's volfile to what the process needs to know (spec: wire.md §8.5, brick.md §20). Pure functions.
 *
 * Options are looked for by name in every section, so it does not matter which translator a generator gives them to.
 * Keys that carry the brick's path (auth.addr.PATH.allow, …) are taken from protocol/server.
 */
#include <stdio.h>

#include "brick/server.h"

static const struct volfile_section *section_of_type(const struct volfile *v, const char *type, size_t *ret_count)
{
        const struct volfile_section *found = NULL;
        *ret_count = 0;
        for (size_t i = 0; i < v->n_sections; i++)
                if (streq(v->sections[i]->type, type)) {
                        found = v->sections[i];
                        ++*ret_count;
                }
        return found;
}

static const char *option_anywhere(const struct volfile *v, const char *key)
{
        for (size_t i = v->n_sections; i > 0; i--) {
                const char *value = section_option(v->sections[i - 1], key);
                if (value)
                        return value;
        }
        return NULL;
}

static bool word_is_true(const char *value)
{
        static const char *const yes[] = {"on", "yes", "true", "enable", "1"};
        for (size_t i = 0; value && i < ELEMENTSOF(yes); i++)
                if (strcasecmp(value, yes[i]) == 0)
                        return true;
        return false;
}

static int copy_text(char *to, size_t size, const char *from, const char *what, struct error *e)
{
        size_t len = strlen(from);
        if (len >= size)
                return error_set(e, -EINVAL, "The brick volfile's %s is longer than %zu bytes.", what, size - 1);
        memcpy(to, from, len + 1);
        return 0;
}

static int parse_id(const char *text, const char *what, struct gfid *ret, struct error *e)
{
        if (gfid_parse(text, strlen(text), ret) < 0)
                return error_set(e, -EINVAL, "The brick volfile's %s '%s' is not a UUID.", what, text);
        return 0;
}

/* Clients compare it with their own to find the bricks of their node: a self-heal daemon serves only those. */
static int parse_hostname(const struct volfile *v, struct export_config *c, struct error *e)
{
        const char *name = option_anywhere(v, "hostname");
        if (name)
                return copy_text(c->hostname, sizeof c->hostname, name, "hostname", e);
        if (gethostname(c->hostname, sizeof c->hostname) < 0)
                return error_set(e, -errno, "The host name of this machine cannot be read: %s", strerror(errno));
        return 0;
}

/* directory, volume-id, hostname, the node's uuid, the volume's name. */
static int parse_storage(const struct volfile *v, struct export_config *c, struct error *e)
{
        size_t count;
        const struct volfile_section *posix = section_of_type(v, "storage/posix", &count);
        if (count != 1)
                return error_set(e, -EINVAL, "The brick volfile has %zu storage/posix sections, not one.", count);
        const char *directory = section_option(posix, "directory"), *id = section_option(posix, "volume-id");
        if (!directory || directory[0] != '/')
                return error_set(e, -EINVAL, "The brick volfile names no absolute directory.");
        if (!id)
                return error_set(e, -EINVAL, "The brick volfile of %s has no volume-id.", directory);
        int r = copy_text(c->path, sizeof c->path, directory, "directory", e);
        if (r == 0)
                r = parse_id(id, "volume-id", &c->volume_id, e);
        const char *node = option_anywhere(v, "glusterd-uuid");
        if (r == 0)
                r = parse_hostname(v, c, e);
        if (r == 0 && node)
                r = parse_id(node, "glusterd-uuid", &c->node_uuid, e);
        if (r < 0)
                return r;
        size_t len = strlen(posix->name), suffix = strlen("-posix");
        if (len > suffix && streq(posix->name + len - suffix, "-posix"))
                len -= suffix;
        (void)snprintf(c->volume, sizeof c->volume, "%.*s", (int)MIN(len, (size_t)NAME_LIMIT), posix->name);
        return 0;
}

static int parse_options(const struct volfile *v, struct export_config *c, struct error *e)
{
        size_t count;
        brick_options_init(&c->options);
        c->options.acl = section_of_type(v, "features/access-control", &count) != NULL;
        c->options.arbiter = section_of_type(v, "features/arbiter", &count) != NULL;
        for (size_t i = 0; i < v->n_sections; i++) {
                const struct volfile_section *s = v->sections[i];
                for (size_t k = 0; k < s->n_options; k++) {
                        int r = brick_options_set(&c->options, s->options[k].key, s->options[k].value, e);
                        if (r < 0 && r != -ENOENT) {
                                error_prefix(e, "Brick %s, section %s", c->path, s->name);
                                return r;
                        }
                }
        }
        return 0;
}

/* ---- what is not done here --------------------------------------------------------------------------------------- */

/* Serving a volume without them would quietly break what they promise, or leave their records wrong for a stock brick. */
struct absent_feature {
        const char *type, *option; /* as in the volfile */
        const char *name;
        const char *remedy, *remedy_end; /* a command, without the volume's name in its middle */
};

static const struct absent_feature absent_features[] = {
        {"features/quota", "server-quota", "quota", "gluster volume quota", "disable"},
        {"features/marker", "quota", "quota", "gluster volume quota", "disable"},
        {"features/marker", "inode-quota", "inode quota", "gluster volume quota", "disable"},
        {"features/marker", "xtime", "geo-replication", "gluster volume set", "geo-replication.indexing off"},
        {"features/changelog", "changelog", "the changelog", "gluster volume set", "changelog.changelog off"},
        {"features/bitrot-stub", "bitrot", "bitrot detection", "gluster volume bitrot", "disable"},
        {"features/worm", "worm", "WORM", "gluster volume set", "features.worm off"},
        {"features/worm", "worm-file-level", "WORM", "gluster volume set", "features.worm-file-level off"},
        {"features/trash", "trash", "the trash", "gluster volume set", "features.trash off"},
};

static int refuse_absent(const struct export_config *c, const struct absent_feature *f, struct error *e)
{
        return error_set(e, -EOPNOTSUPP,
                         "Brick %s: volume %s has %s turned on, which this server does not do. Before it can serve the "
                         "volume: %s %s %s.", c->path, c->volume, f->name, f->remedy, c->volume, f->remedy_end);
}

static int refuse_absent_features(const struct volfile *v, const struct export_config *c, struct error *e)
{
        for (size_t i = 0; i < v->n_sections; i++)
                for (size_t k = 0; k < ELEMENTSOF(absent_features); k++) {
                        const struct absent_feature *f = &absent_features[k];
                        if (streq(v->sections[i]->type, f->type) &&
                            word_is_true(section_option(v->sections[i], f->option)))
                                return refuse_absent(c, f, e);
                }
        return 0;
}

/* ---- who may connect --------------------------------------------------------------------------------------------- */

/* The value of "PREFIX.MIDDLE.SUFFIX" in S. */
static const char *option_with(const struct volfile_section *s, const char *prefix, const char *middle,
                               const char *suffix)
{
        char key[PATH_LIMIT + 64];
        int n = snprintf(key, sizeof key, "%s.%s.%s", prefix, middle, suffix);
        return n > 0 && (size_t)n < sizeof key ? section_option(s, key) : NULL;
}

static int set_if_given(struct brick_options *o, const char *name, const char *value, struct error *e)
{
        return value ? brick_options_set(o, name, value, e) : 0;
}

static int parse_auth(const struct volfile *v, struct export_config *c, struct error *e)
{
        size_t count;
        const struct volfile_section *server = section_of_type(v, "protocol/server", &count);
        if (!server)
                return 0;
        struct brick_options *o = &c->options;
        int r = set_if_given(o, "auth-allow", option_with(server, "auth.addr", c->path, "allow"), e);
        if (r == 0)
                r = set_if_given(o, "auth-reject", option_with(server, "auth.addr", c->path, "reject"), e);
        const char *user = option_with(server, "auth.login", c->path, "allow");
        if (r == 0)
                r = set_if_given(o, "auth-user", user, e);
        if (r == 0 && user)
                r = set_if_given(o, "auth-password", option_with(server, "auth.login", user, "password"), e);
        if (r == 0)
                r = set_if_given(o, "auth-ssl-allow", option_with(server, "auth.login", c->path, "ssl-allow"), e);
        c->strict_auth = word_is_true(section_option(server, "strict-auth-accept"));
        return r;
}

static int parse_tls(const struct volfile *v, struct export_config *c, struct error *e)
{
        size_t count;
        const struct volfile_section *server = section_of_type(v, "protocol/server", &count);
        if (!server)
                return 0;
        c->tls = word_is_true(section_option(server, TLS_OPTION_ENABLED));
        for (size_t k = 0; k < server->n_options; k++) {
                int r = tls_settings_set(&c->tls_settings, server->options[k].key, server->options[k].value, e);
                if (r < 0 && r != -ENOENT)
                        return r;
        }
        return 0;
}

int export_config_parse(const char *text, size_t len, struct export_config *ret, struct error *e)
{
        _cleanup_volfile_ struct volfile *v = NULL;
        int r = volfile_parse(text, len, &v, e);
        if (r < 0)
                return r;
        memset(ret, 0, sizeof *ret);
        r = parse_storage(v, ret, e);
        if (r == 0)
                r = refuse_absent_features(v, ret, e);
        if (r == 0)
                r = parse_options(v, ret, e);
        if (r == 0)
                r = parse_auth(v, ret, e);
        return r == 0 ? parse_tls(v, ret, e) : r;
}
