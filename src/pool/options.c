/* Options of a volume (pool/options.h).
 *
 * The order is stock's: a key that is set anew goes to the front, one that was set before keeps its place.
 */
#include "pool/options.h"

#include <ctype.h>
#include <stdio.h>

#include "volfile/option.h"

#define HINT_MAX 256
#define VALUE_MAX_BYTES 4096u

/* ---- the list ---------------------------------------------------------------------------------------------------- */

static struct volume_setting *find(const struct volume *v, const char *key)
{
        for (size_t i = 0; i < v->n_options; i++)
                if (streq(v->options[i].key, key))
                        return &v->options[i];
        return NULL;
}

static int put(struct volume *v, const char *key, const char *value)
{
        const char *k = arena_strndup(&v->memory, key, strlen(key));
        const char *copy = arena_strndup(&v->memory, value, strlen(value));
        struct volume_setting *old = find(v, key);
        if (!k || !copy)
                return -ENOMEM;
        if (old) {
                old->value = copy;
                return 0;
        }
        if (v->n_options >= VOLUME_OPTIONS_MAX)
                return -E2BIG;
        struct volume_setting *list = arena_alloc_array(&v->memory, v->n_options + 1, sizeof *list);
        if (!list)
                return -ENOMEM;
        list[0] = (struct volume_setting){k, copy};
        if (v->n_options > 0)
                memcpy(list + 1, v->options, v->n_options * sizeof *list);
        v->options = list;
        v->n_options++;
        return 0;
}

static void take_out(struct volume *v, struct volume_setting *s)
{
        size_t at = (size_t)(s - v->options);
        v->n_options--;
        memmove(s, s + 1, (v->n_options - at) * sizeof *s);
}

static bool is_on(const char *value)
{
        bool on = true;
        return option_bool(value, &on) < 0 || on;
}

/* ---- what one volume cannot have --------------------------------------------------------------------------------- */

/* Another command is for it; %s is the key. */
static const struct {
        const char *key, *text;
} elsewhere[] = {
        {"features.bitrot",
         " 'gluster volume set <VOLNAME> %s' is invalid command. Use 'gluster volume bitrot <VOLNAME>"
         " {enable|disable}' instead."},
        {"features.scrub", " 'gluster volume set <VOLNAME> %s' is invalid command. Use 'gluster volume bitrot <VOLNAME>"
                           " scrub {pause|resume}' instead."},
        {"features.scrub-freq", " 'gluster volume set <VOLNAME> %s' is invalid command. Use 'gluster volume bitrot"
                                " <VOLNAME> scrub-frequency {hourly|daily|weekly|biweekly|monthly}' instead."},
        {"features.scrub-throttle", " 'gluster volume set <VOLNAME> %s' is invalid command. Use 'gluster volume bitrot"
                                    " <VOLNAME> scrub-throttle {lazy|normal|aggressive}' instead."},
        {"cluster.granular-entry-heal",
         " 'gluster volume set <VOLNAME> %s {enable, disable}' is not supported. Use"
         " 'gluster volume heal <VOLNAME> granular-entry-heal {enable, disable}' instead."},
        {"cluster.op-version", "Option \"%s\" is not valid for a single volume"},
};

/* A layer that is not there: what turns it on is refused, what turns it off is not. */
static const struct {
        const char *key, *off;
} absent[] = {
        {"changelog.changelog", "off"},
        {"config.transport", "tcp"},
        {"debug.delay-gen", "off"},
        {"debug.error-gen", "off"},
        {"debug.trace", "off"},
        {"features.cloudsync", "off"},
        {"features.leases", "off"},
        {"features.trash", "off"},
        {"features.uss", "off"},
        {"features.worm", "off"},
        {"features.worm-file-level", "off"},
        {"geo-replication.indexing", "off"},
        {"network.compression", "off"},
        {"nfs.disable", "on"},
};

static int refuse_quota(const char *key, const char *value, struct error *e)
{
        const char *word = key + strlen("features.");
        bool on = is_on(value);
        return error_set(e, -EINVAL,
                         " 'gluster volume set <VOLNAME> %s %s' is deprecated. Use 'gluster volume %s <VOLNAME> %s'"
                         " instead.",
                         key, on ? "on" : "off", word, on ? "enable" : "disable");
}

static int refuse_elsewhere(const char *key, const char *value, struct error *e)
{
        if (streq(key, "features.quota") || streq(key, "features.inode-quota"))
                return refuse_quota(key, value, e);
        for (size_t i = 0; i < ELEMENTSOF(elsewhere); i++) {
                const char *hole = strstr(elsewhere[i].text, "%s");
                if (streq(elsewhere[i].key, key))
                        return error_set(e, -EINVAL, "%.*s%s%s", (int)(hole - elsewhere[i].text), elsewhere[i].text,
                                         key, hole + 2);
        }
        return 0;
}

static bool same_switch(const char *a, const char *b)
{
        bool x, y;
        return streq(a, b) || (option_bool(a, &x) == 0 && option_bool(b, &y) == 0 && x == y);
}

static int refuse_absent(const char *key, const char *value, struct error *e)
{
        for (size_t i = 0; i < ELEMENTSOF(absent); i++)
                if (streq(absent[i].key, key) && !same_switch(value, absent[i].off))
                        return error_set(e, -EOPNOTSUPP, "%s: what this turns on is not there yet; it can only be %s",
                                         key, absent[i].off);
        return 0;
}

/* ---- set --------------------------------------------------------------------------------------------------------- */

/* SUBJECT: "option : ", or NULL when only the hint is wanted. */
static int unknown(const char *subject, const char *key, const char *hint, struct error *e)
{
        if (!subject)
                return error_set(e, -ENOENT, "Did you mean %s?", hint);
        return error_set(e, -ENOENT, "%s%s does not exist\nDid you mean %s?", subject, key, hint);
}

/* What was typed to a full key. */
static int resolve(const char *typed, const char *subject, const char **ret, struct error *e)
{
        char hint[HINT_MAX] = "";
        const struct option *o;
        if (option_is_user(typed)) {
                *ret = typed;
                return 0;
        }
        if (strlen(typed) >= HINT_MAX / 2)
                return error_set(e, -ENAMETOOLONG, "the name of an option is too long");
        if (option_resolve(typed, &o, hint, sizeof hint) < 0)
                return unknown(subject, typed, hint, e);
        *ret = o->key;
        return 0;
}

static int check_type(const struct volume *v, const char *key, struct error *e)
{
        if (streq(key, "cluster.self-heal-daemon") && v->type != VOLUME_REPLICATE)
                return error_set(e, -EINVAL, "Volume %s is not of replicate type", v->name);
        if (streq(key, "cluster.disperse-self-heal-daemon") && v->type != VOLUME_DISPERSE)
                return error_set(e, -EINVAL, "Volume %s is not of disperse type", v->name);
        return 0;
}

static int check_quorum(const struct volume *v, const char *key, const char *value, struct error *e)
{
        int64_t n;
        if (!streq(key, "cluster.quorum-count") || v->type != VOLUME_REPLICATE || option_i64(value, &n) < 0)
                return 0;
        if (n >= 1 && n <= (int64_t)v->set_size)
                return 0;
        return error_set(e, -EINVAL, "%s in cluster.quorum-count %s is out of range [1 - %u]", value, value,
                         v->set_size);
}

static int check_value(const struct volume *v, const char *key, const char *value, struct error *e)
{
        const struct option *o = option_find(key);
        int r = refuse_elsewhere(key, value, e);
        if (r == 0 && o && o->pool_wide)
                r = error_set(e, -EINVAL, "Not a valid option for single volume");
        if (r == 0)
                r = option_validate_key(key, value, v->bricks[0].path, e);
        if (r == 0)
                r = refuse_absent(key, value, e);
        if (r == 0)
                r = check_type(v, key, e);
        return r < 0 ? r : check_quorum(v, key, value, e);
}

/* VALUE without its blanks, in the volume's memory. */
static const char *without_blanks(struct volume *v, const char *value)
{
        char *copy = arena_strndup(&v->memory, value, strlen(value)), *to = copy;
        for (const char *c = value; copy && *c; c++)
                if (!isspace((unsigned char)*c))
                        *to++ = *c;
        if (copy)
                *to = '\0';
        return copy;
}

static int set_one(struct volume *v, const char *typed, const char *value, struct error *e)
{
        const char *key;
        if (strlen(value) > VALUE_MAX_BYTES || strchr(value, '\n'))
                return error_set(e, -EINVAL, "the value of %.64s is too long or has several lines", typed);
        int r = resolve(typed, "option : ", &key, e);
        if (r < 0)
                return r;
        if (!option_is_user(key))
                value = without_blanks(v, value);
        if (!value)
                return error_set(e, -ENOMEM, "out of memory");
        r = check_value(v, key, value, e);
        if (r < 0)
                return r;
        r = put(v, key, value);
        return r < 0 ? error_set(e, r, r == -E2BIG ? "too many options are set" : "out of memory") : 0;
}

int options_set(struct volume *v, const json_t *pairs, struct error *e)
{
        if (!json_is_array(pairs) || json_array_size(pairs) == 0 || json_array_size(pairs) > VOLUME_OPTIONS_MAX)
                return error_set(e, -EINVAL, "the request sets no options");
        int r = 0;
        for (size_t i = 0; r == 0 && i < json_array_size(pairs); i++) {
                const char *key = json_string_value(json_array_get(json_array_get(pairs, i), 0));
                const char *value = json_string_value(json_array_get(json_array_get(pairs, i), 1));
                if (!key || !*key || !value || !*value)
                        return error_set(e, -EINVAL, "option %zu of the request is no pair of texts", i + 1);
                r = set_one(v, key, value, e);
        }
        options_weigh(v);
        return r;
}

/* ---- reset ------------------------------------------------------------------------------------------------------- */

int options_switch(struct volume *v, const char *key, const char *value)
{
        int r = put(v, key, value);
        if (r == 0)
                options_weigh(v);
        return r;
}

/* What every volume has set; a reset brings it back. */
static const struct volume_setting always[] = {
        {"nfs.disable", "on"},
        {"transport.address-family", "inet"},
        {"storage.fips-mode-rchecksum", "on"},
};

int options_init(struct volume *v)
{
        bool replicate = v->type == VOLUME_REPLICATE;
        int r = replicate ? put(v, "performance.client-io-threads", "off") : 0;
        for (size_t i = 0; r == 0 && i < ELEMENTSOF(always); i++)
                r = put(v, always[i].key, always[i].value);
        return r == 0 && replicate ? put(v, "cluster.granular-entry-heal", "on") : r;
}

static int bring_back(struct volume *v, const char *key)
{
        int r = 0;
        for (size_t i = 0; r == 0 && i < ELEMENTSOF(always); i++)
                if (!key || streq(always[i].key, key))
                        r = put(v, always[i].key, always[i].value);
        return r;
}

static bool is_protected(const char *key)
{
        static const char *const keys[] = {
                "features.quota",      "features.inode-quota",        "features.bitrot",
                "features.scrub",      "features.limit-usage",        "features.soft-limit",
                "features.alert-time", "features.default-soft-limit", "features.quota-deem-statfs"};
        for (size_t i = 0; i < ELEMENTSOF(keys); i++)
                if (streq(keys[i], key))
                        return true;
        return false;
}

/* The protected options of V move to the front; returns their number. */
static size_t keep_protected(struct volume *v)
{
        size_t kept = 0;
        for (size_t i = 0; i < v->n_options; i++)
                if (is_protected(v->options[i].key))
                        v->options[kept++] = v->options[i];
        return kept;
}

int options_reset(struct volume *v, const char *typed, bool force, bool *ret_kept, struct error *e)
{
        const char *key = NULL;
        bool kept = false;
        int r = typed ? resolve(typed, "Option ", &key, e) : 0;
        if (r < 0)
                return r;
        struct volume_setting *s = key ? find(v, key) : NULL;
        if (key && !force && is_protected(key))
                return error_set(e, -EPERM, "'%s' is protected. To reset use 'force'.", key);
        if (s)
                take_out(v, s);
        if (!key) {
                v->n_options = force ? 0 : keep_protected(v);
                kept = v->n_options > 0;
        }
        r = bring_back(v, key);
        if (r < 0)
                return error_set(e, r, "out of memory");
        options_weigh(v);
        *ret_kept = kept;
        return 0;
}

/* ---- show -------------------------------------------------------------------------------------------------------- */

static json_t *show(const struct volume *v, const struct option *o)
{
        const struct volume_setting *s = find(v, o->key);
        bool by_reader = !s && (o->default_kind == DEFAULT_NONE || o->default_kind == DEFAULT_TRANSLATOR);
        return json_pack("{s:s,s:s?,s:b}", "name", o->key, "value", s ? s->value : o->default_value, "default",
                         by_reader);
}

static json_t *show_all(const struct volume *v)
{
        size_t n;
        const struct option *table = option_table(&n);
        json_t *list = json_array();
        for (size_t i = 0; i < n; i++)
                if (table[i].default_kind != DEFAULT_UNSHOWN && table[i].default_kind != DEFAULT_POOL)
                        (void)json_array_append_new(list, show(v, &table[i]));
        return list;
}

int options_show(const struct volume *v, const char *typed, json_t **ret, struct error *e)
{
        const char *key;
        if (!typed) {
                *ret = show_all(v);
                return 0;
        }
        int r = resolve(typed, NULL, &key, e);
        if (r < 0)
                return r;
        const struct volume_setting *s = find(v, key);
        if (option_is_user(key) && !s)
                return error_set(e, -ENODATA, "%s", "");
        *ret = option_is_user(key) ? json_pack("[{s:s,s:s,s:b}]", "name", key, "value", s->value, "default", false)
                                   : json_pack("[o]", show(v, option_find(key)));
        return 0;
}

/* ---- op-versions ------------------------------------------------------------------------------------------------- */

void options_weigh(struct volume *v)
{
        v->op_version = v->client_op_version = v->type == VOLUME_DISPERSE ? 30600 : 2;
        for (size_t i = 0; i < v->n_options; i++) {
                const struct option *o = option_find(v->options[i].key);
                if (!o || (o->type == OPTION_BOOL && !is_on(v->options[i].value)))
                        continue;
                v->op_version = MAX(v->op_version, o->op_version);
                if (o->client)
                        v->client_op_version = MAX(v->client_op_version, o->op_version);
        }
}
