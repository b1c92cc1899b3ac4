/* Split-brains decided by an operator (heal/choice.h).
 *
 * A file is looked for in every set by its path, as each brick knows it: so one is found whose name means different
 * objects on different bricks, which no look-up through the volume could give.
 */
#include "heal/choice.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>

#include "heal/node.h"

#define PATH_ARENA (1 * MIB)
#define LINKTO "trusted.glusterfs.dht.linkto"

struct choice {
        struct healer *healer;
        const struct heal_choice *wanted;
        enum afr_preference prefer;
        struct heal_set *set; /* of the brick; NULL: any */
        unsigned child;
        uint64_t healed;
        int error;
        char text[AFR_HEAL_WHY_MAX + 128];
};

static int _printf_(3, 4) say(struct choice *c, int error, const char *format, ...)
{
        va_list ap;
        va_start(ap, format);
        (void)vsnprintf(c->text, sizeof c->text, format, ap);
        va_end(ap);
        c->error = error;
        return error;
}

/* ---- the brick --------------------------------------------------------------------------------------------------- */

static bool is_brick(const struct healer *h, const struct subvolume *v, const char *text)
{
        const struct volfile_section *s = volfile_find(h->config.volfile, v->name);
        const char *host = s ? section_option(s, "remote-host") : NULL,
                   *path = s ? section_option(s, "remote-subvolume") : NULL;
        size_t n = host ? strlen(host) : 0;
        return n > 0 && path && strncmp(text, host, n) == 0 && text[n] == ':' && streq(text + n + 1, path);
}

static int find_brick(struct choice *c)
{
        for (unsigned k = 0; k < c->healer->n_sets; k++) {
                struct heal_set *s = &c->healer->sets[k];
                AFR_EACH (i, s->afr->all) {
                        if (!is_brick(c->healer, s->afr->base.children[i], c->wanted->brick))
                                continue;
                        c->set = s;
                        c->child = i;
                        return 0;
                }
        }
        return say(c, -ENODEV, "\"%s\"- No such brick available in the volume", c->wanted->brick);
}

/* ---- the file ---------------------------------------------------------------------------------------------------- */

/* What NAME is in the directory on CHILD. */
static int look_up(struct fibre *self, struct afr *a, struct arena *arena, unsigned child, const struct gfid *parent,
                   const char *name, struct iatt *ret)
{
        struct request none = {.arena = arena}, r;
        const void *rep = NULL;
        struct slice linkto;
        struct lookup_fop_req q = {.pargfid = *parent, .bname = str_of(name)};
        afr_heal_request(&none, &r);
        int result = dict_add_uint(&q.xdata, arena, LINKTO, 256);
        if (result == 0)
                result = afr_heal_call(self, a, &r, FOP_LOOKUP, &q, child, &rep);
        if (result < 0)
                return result;
        const struct lookup_fop_rep *found = rep;
        if (dict_get_bytes(&found->xdata, LINKTO, &linkto) == 0)
                return -ENOENT; /* the file is in another set */
        *ret = found->prestat;
        return 0;
}

/* The directory and the name of the path in this set, from the first brick that knows it. */
static int walk(struct fibre *self, struct afr *a, struct arena *arena, const char *path, struct gfid *ret_parent,
                const char **ret_name)
{
        char *copy = arena_strndup(arena, path, strlen(path)), *next = NULL;
        struct gfid parent = GFID_ROOT;
        struct iatt stat;
        if (!copy)
                return -ENOMEM;
        for (char *name = strtok_r(copy, "/", &next), *after; name; name = after) {
                int result = -ENOENT;
                after = strtok_r(NULL, "/", &next);
                AFR_EACH (i, afr_up(a)) {
                        if (result < 0)
                                result = look_up(self, a, arena, i, &parent, name, &stat);
                }
                if (result < 0)
                        return result;
                if (!after) {
                        *ret_parent = parent;
                        *ret_name = name;
                        return 0;
                }
                parent = stat.gfid;
        }
        return -EINVAL; /* the root has no name */
}

/* ---- deciding ---------------------------------------------------------------------------------------------------- */

static int resolve_object(struct fibre *self, struct choice *c, struct heal_set *s, const struct gfid *gfid)
{
        struct afr_heal_report report = {.prefer = c->prefer, .preferred_child = c->child};
        int result = afr_heal_resolve(self, s->afr, gfid, &report);
        c->healed += result == 0;
        if (result < 0)
                (void)snprintf(c->text, sizeof c->text, "%s", report.why[0] ? report.why : strerror(-result));
        return result;
}

/* The name first, if it means several objects. 0 with the text that says what was done. */
static int resolve_path(struct fibre *self, struct choice *c, struct heal_set *s, const struct gfid *parent,
                        const char *name)
{
        struct afr_heal_found found;
        int result = afr_heal_name_resolve(self, s->afr, parent, name, c->prefer, c->child, &found);
        if (result < 0)
                return say(c, result, "%s",
                           result == -EIO ? "the name means different objects, and this does not tell which is right"
                                          : strerror(-result));
        if (!found.changed)
                return resolve_object(self, c, s, &found.gfid);
        c->healed++;
        struct afr_heal_report report = {.prefer = AFR_PREFER_NONE};
        (void)afr_heal(self, s->afr, &found.gfid, &report);
        return 1;
}

static int finish(struct choice *c, int result)
{
        char why[sizeof c->text];
        const char *file = c->wanted->file;
        memcpy(why, c->text, sizeof why);
        c->error = MIN(result, 0);
        if (result == 0)
                (void)snprintf(c->text, sizeof c->text, "Healed %.300s", file);
        else if (result > 0)
                (void)snprintf(c->text, sizeof c->text, "GFID split-brain resolved for file %.300s", file);
        else
                (void)snprintf(c->text, sizeof c->text, "Healing %.150s failed: %.200s", file, why);
        return result;
}

static int resolve_gfid(struct fibre *self, struct choice *c, const struct gfid *gfid)
{
        int result = -ENOENT;
        for (unsigned k = 0; k < c->healer->n_sets && result == -ENOENT; k++) {
                struct heal_set *s = &c->healer->sets[k];
                if (!c->set || c->set == s)
                        result = resolve_object(self, c, s, gfid);
        }
        return result == -ENOENT ? result : finish(c, result);
}

static int resolve_file(struct fibre *self, struct choice *c)
{
        _cleanup_arena_ struct arena arena = ARENA_INIT(PATH_ARENA);
        const char *file = c->wanted->file, *name;
        struct gfid gfid, parent;
        int result = -ENOENT;
        if (starts_with(file, "gfid:") && gfid_parse(file + 5, strlen(file + 5), &gfid) == 0)
                return resolve_gfid(self, c, &gfid);
        for (unsigned k = 0; k < c->healer->n_sets; k++) {
                struct heal_set *s = &c->healer->sets[k];
                if (c->set && c->set != s)
                        continue;
                result = walk(self, s->afr, &arena, file, &parent, &name);
                if (result == 0)
                        return finish(c, resolve_path(self, c, s, &parent, name));
                if (result != -ENOENT && result != -ESTALE)
                        break;
        }
        return result;
}

/* ---- everything of a brick --------------------------------------------------------------------------------------- */

static int resolve_entry(struct fibre *self, void *arg, const struct dirent_entry *entry)
{
        struct choice *c = arg;
        struct gfid gfid;
        enum afr_heal_state state;
        if (gfid_parse(entry->name.s, entry->name.len, &gfid) < 0 ||
            afr_heal_look(self, c->set->afr, &gfid, &state) < 0 || state != AFR_SPLIT_BRAIN)
                return 0;
        int result = resolve_object(self, c, c->set, &gfid);
        return result == -ENOTCONN ? result : 0;
}

static int resolve_all(struct fibre *self, struct choice *c)
{
        struct gfid index;
        int result = afr_index_gfid(self, c->set->afr, c->child, AFR_INDEX_PENDING, &index);
        if (result == 0)
                result = afr_list(self, c->set->afr, c->child, &index, resolve_entry, c);
        return result < 0 ? say(c, result, "%s", strerror(-result)) : say(c, 0, "%s", "");
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static int run(struct fibre *self, struct choice *c)
{
        static const enum afr_preference preferences[] = {[POLICY_BIGGER_FILE] = AFR_PREFER_BIGGEST,
                                                          [POLICY_LATEST_MTIME] = AFR_PREFER_NEWEST,
                                                          [POLICY_SOURCE_BRICK] = AFR_PREFER_SOURCE};
        c->prefer = preferences[c->wanted->policy];
        int result = c->wanted->brick ? find_brick(c) : 0;
        if (result < 0)
                return result;
        if (!c->wanted->file)
                return resolve_all(self, c);
        result = resolve_file(self, c);
        if (result >= 0 || c->error)
                return result;
        (void)snprintf(c->text, sizeof c->text, "Lookup failed on %.200s:%s", c->wanted->file, strerror(-result));
        c->error = result;
        return result;
}

int choice_run(struct fibre *self, struct healer *h, const struct heal_choice *wanted, struct buf *out)
{
        struct choice c = {.healer = h, .wanted = wanted, .child = AFR_NO_CHILD};
        (void)run(self, &c);
        json_t *o = json_pack("{s:i, s:s, s:I}", "result", -c.error, "text", c.text, "healed", (json_int_t)c.healed);
        char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
        json_decref(o);
        int r = text ? buf_append_str(out, text) : -ENOMEM;
        free(text);
        return r < 0 ? r : 0;
}
