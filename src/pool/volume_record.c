/* A volume to its JSON record and back.
 *
 * The reader is tolerant: unknown members are ignored, so an older program reads what a newer one of the same schema
 * wrote. It is strict about what it needs: a missing or impossible member makes the record damaged, and the caller
 * leaves it alone. What comes from another node (volume_import) is checked as anything from outside. Any thread.
 */
#include "pool/volume.h"

#include <ctype.h>
#include <stdio.h>

#include "pool/path.h"
#include "volfile/option.h"

static const char *const type_words[VOLUME_TYPE_MAX] = {"distribute", "replicate", "disperse"};
static const char *const status_words[VOLUME_STATUS_MAX] = {"created", "started", "stopped"};
static const char *const intent_words[INTENT_MAX] = {"none", "creating", "starting", "stopping"};

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static json_t *encode_origin(const struct brick_origin *o)
{
        char mark[UUID_TEXT_SIZE];
        return json_pack("{s:b,s:b,s:b,s:s}", "absent", o->absent, "had_glusterfs", o->had_glusterfs, "had_mark",
                         o->had_mark, "mark", gfid_format(&o->mark, mark));
}

static json_t *encode_bricks(const struct volume *v)
{
        json_t *list = json_array();
        for (size_t i = 0; list && i < v->n_bricks; i++) {
                const struct brick_record *b = &v->bricks[i];
                char fsid[24];
                (void)snprintf(fsid, sizeof fsid, "%llx", (unsigned long long)b->fsid);
                json_t *item = json_pack("{s:s,s:s,s:s,s:s,s:b,s:s,s:o}", "host", b->host, "path", b->path, "real_path",
                                         b->real_path, "id", b->id, "local", b->local, "fsid", fsid, "origin",
                                         encode_origin(&b->origin));
                if (json_array_append_new(list, item) < 0) {
                        json_decref(list);
                        return NULL;
                }
        }
        return list;
}

static json_t *encode_options(const struct volume *v)
{
        json_t *list = json_array();
        for (size_t i = 0; list && i < v->n_options; i++) {
                json_t *pair = json_pack("[s,s]", v->options[i].key, v->options[i].value);
                if (json_array_append_new(list, pair) < 0) {
                        json_decref(list);
                        return NULL;
                }
        }
        return list;
}

json_t *volume_encode(const struct volume *v)
{
        char id[UUID_TEXT_SIZE];
        return json_pack("{s:i,s:s,s:s,s:I,s:s,s:i,s:i,s:i,s:s,s:s,s:i,s:i,s:s,s:s,s:o,s:o}", "schema",
                         (int)VOLUME_SCHEMA, "name", v->name, "id", gfid_format(&v->id, id), "version",
                         (json_int_t)v->version, "type", type_words[v->type], "set_size", (int)v->set_size,
                         "arbiter_count", (int)v->arbiter_count, "redundancy", (int)v->redundancy, "status",
                         status_words[v->status], "intent", intent_words[v->intent], "op_version", (int)v->op_version,
                         "client_op_version", (int)v->client_op_version, "username", v->username, "password",
                         v->password, "bricks", encode_bricks(v), "options", encode_options(v));
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static int damaged(struct error *e, const char *member)
{
        return error_set(e, -EINVAL, "member \"%s\" is missing or has an impossible value", member);
}

/* A string member that is not empty, copied into the volume's memory. */
static int read_text(struct volume *v, const json_t *object, const char *member, const char **ret, struct error *e)
{
        const char *s = json_string_value(json_object_get(object, member));
        if (!s || !*s)
                return damaged(e, member);
        const char *copy = arena_strndup(&v->memory, s, strlen(s));
        if (!copy)
                return error_set(e, -ENOMEM, "out of memory");
        *ret = copy;
        return 0;
}

static int read_word(const json_t *object, const char *member, const char *const *words, unsigned n, unsigned *ret,
                     struct error *e)
{
        const char *s = json_string_value(json_object_get(object, member));
        for (unsigned i = 0; s && i < n; i++)
                if (streq(s, words[i])) {
                        *ret = i;
                        return 0;
                }
        return damaged(e, member);
}

static int read_uuid(const json_t *object, const char *member, struct gfid *ret, struct error *e)
{
        const char *s = json_string_value(json_object_get(object, member));
        if (!s || gfid_parse(s, strlen(s), ret) < 0)
                return damaged(e, member);
        return 0;
}

static int read_uuid_text(const json_t *object, const char *member, char ret[static UUID_TEXT_SIZE], struct error *e)
{
        struct gfid g;
        int r = read_uuid(object, member, &g, e);
        if (r < 0)
                return r;
        gfid_format(&g, ret);
        return 0;
}

static int read_number(const json_t *object, const char *member, int64_t max, int64_t *ret, struct error *e)
{
        json_t *value = json_object_get(object, member);
        if (!json_is_integer(value) || json_integer_value(value) < 0 || json_integer_value(value) > max)
                return damaged(e, member);
        *ret = json_integer_value(value);
        return 0;
}

static int read_origin(const json_t *object, struct brick_origin *ret, struct error *e)
{
        ret->absent = json_is_true(json_object_get(object, "absent"));
        ret->had_glusterfs = json_is_true(json_object_get(object, "had_glusterfs"));
        ret->had_mark = json_is_true(json_object_get(object, "had_mark"));
        return ret->had_mark ? read_uuid(object, "mark", &ret->mark, e) : 0;
}

static int read_brick(struct volume *v, const json_t *item, struct brick_record *ret, struct error *e)
{
        const char *fsid = NULL;
        int r = read_text(v, item, "host", &ret->host, e);
        if (r == 0)
                r = read_text(v, item, "path", &ret->path, e);
        if (r == 0)
                r = read_text(v, item, "real_path", &ret->real_path, e);
        if (r == 0)
                r = read_text(v, item, "id", &ret->id, e);
        if (r == 0)
                r = read_text(v, item, "fsid", &fsid, e);
        if (r < 0)
                return r;
        if (ret->path[0] != '/' || ret->real_path[0] != '/')
                return damaged(e, "path");
        ret->local = !json_is_false(json_object_get(item, "local"));
        ret->fsid = strtoull(fsid, NULL, 16);
        return read_origin(json_object_get(item, "origin"), &ret->origin, e);
}

static int read_bricks(struct volume *v, const json_t *list, struct error *e)
{
        for (size_t i = 0; i < v->n_bricks; i++) {
                int r = read_brick(v, json_array_get(list, i), &v->bricks[i], e);
                if (r < 0) {
                        error_prefix(e, "brick %zu", i + 1);
                        return r;
                }
        }
        return 0;
}

static int read_options(struct volume *v, const json_t *list, struct error *e)
{
        size_t n = json_array_size(list);
        if (!json_is_array(list) || n > VOLUME_OPTIONS_MAX)
                return damaged(e, "options");
        if (n == 0)
                return 0;
        v->options = arena_alloc_array(&v->memory, n, sizeof *v->options);
        if (!v->options)
                return error_set(e, -ENOMEM, "out of memory");
        for (size_t i = 0; i < n; i++) {
                const json_t *pair = json_array_get(list, i);
                const char *key = json_string_value(json_array_get(pair, 0));
                const char *value = json_string_value(json_array_get(pair, 1));
                if (!key || !value)
                        return damaged(e, "options");
                v->options[i].key = arena_strndup(&v->memory, key, strlen(key));
                v->options[i].value = arena_strndup(&v->memory, value, strlen(value));
                if (!v->options[i].key || !v->options[i].value)
                        return error_set(e, -ENOMEM, "out of memory");
        }
        v->n_options = n;
        return 0;
}

static int read_enums(struct volume *v, const json_t *json, struct error *e)
{
        unsigned type, status, intent;
        int r = read_word(json, "type", type_words, VOLUME_TYPE_MAX, &type, e);
        if (r == 0)
                r = read_word(json, "status", status_words, VOLUME_STATUS_MAX, &status, e);
        if (r == 0)
                r = read_word(json, "intent", intent_words, INTENT_MAX, &intent, e);
        if (r < 0)
                return r;
        v->type = (enum volume_type)type;
        v->status = (enum volume_status)status;
        v->intent = (enum volume_intent)intent;
        return 0;
}

/* Records of distribute volumes from before there were others do not have these. */
static int read_count(const struct volume *v, const json_t *json, const char *member, int64_t max, unsigned *ret,
                      struct error *e)
{
        int64_t n = 0;
        if (v->type == VOLUME_DISTRIBUTE && !json_object_get(json, member))
                return 0;
        int r = read_number(json, member, max, &n, e);
        if (r == 0)
                *ret = (unsigned)n;
        return r;
}

static int read_layout(struct volume *v, const json_t *json, struct error *e)
{
        int r = read_count(v, json, "set_size", VOLUME_BRICKS_MAX, &v->set_size, e);
        if (r == 0)
                r = read_count(v, json, "arbiter_count", 1, &v->arbiter_count, e);
        if (r == 0)
                r = read_count(v, json, "redundancy", VOLUME_BRICKS_MAX, &v->redundancy, e);
        if (r < 0)
                return r;
        bool plain = v->type == VOLUME_DISTRIBUTE;
        if (v->set_size == 0 || (v->set_size == 1) != plain || v->n_bricks % v->set_size != 0)
                return damaged(e, "set_size");
        return 0;
}

static int read_members(struct volume *v, const json_t *json, struct error *e)
{
        int64_t version = 0, op_version = 0, client_op_version = 0;
        int r = read_enums(v, json, e);
        if (r == 0)
                r = read_layout(v, json, e);
        if (r == 0)
                r = read_number(json, "version", INT64_MAX, &version, e);
        if (r == 0)
                r = read_number(json, "op_version", INT32_MAX, &op_version, e);
        if (r == 0)
                r = read_number(json, "client_op_version", INT32_MAX, &client_op_version, e);
        if (r == 0)
                r = read_uuid(json, "id", &v->id, e);
        if (r == 0)
                r = read_uuid_text(json, "username", v->username, e);
        if (r == 0)
                r = read_uuid_text(json, "password", v->password, e);
        if (r == 0)
                r = read_bricks(v, json_object_get(json, "bricks"), e);
        if (r == 0)
                r = read_options(v, json_object_get(json, "options"), e);
        if (r < 0)
                return r;
        v->version = (uint64_t)version;
        v->op_version = (unsigned)op_version;
        v->client_op_version = (unsigned)client_op_version;
        return 0;
}

static int check_schema(const json_t *json, struct error *e)
{
        int64_t schema = 0;
        if (!json_is_object(json))
                return error_set(e, -EINVAL, "the record is not a JSON object");
        int r = read_number(json, "schema", INT32_MAX, &schema, e);
        if (r < 0)
                return r;
        if (schema > VOLUME_SCHEMA)
                return error_set(e, -EPROTONOSUPPORT,
                                 "the record has schema %lld and this program knows up to %u: a newer mortard wrote it",
                                 (long long)schema, VOLUME_SCHEMA);
        return 0;
}

int volume_decode(const json_t *json, struct volume **ret, struct error *e)
{
        int r = check_schema(json, e);
        if (r < 0)
                return r;
        const char *name = json_string_value(json_object_get(json, "name"));
        if (!name || volume_name_check(name, NULL) < 0)
                return damaged(e, "name");
        const json_t *bricks = json_object_get(json, "bricks");
        if (!json_is_array(bricks) || json_array_size(bricks) == 0 || json_array_size(bricks) > VOLUME_BRICKS_MAX)
                return damaged(e, "bricks");
        _cleanup_volume_ struct volume *v = volume_new(name, json_array_size(bricks));
        if (!v)
                return error_set(e, -ENOMEM, "out of memory");
        r = read_members(v, json, e);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(v);
        return 0;
}

/* ---- from node to node ------------------------------------------------------------------------------------------- */

static const char *const node_members[] = {"status", "intent", "version"};
static const char *const node_brick_members[] = {"real_path", "local", "fsid", "origin"};

json_t *volume_export(const struct volume *v)
{
        json_t *json = volume_encode(v), *bricks = json_object_get(json, "bricks");
        for (size_t i = 0; i < ELEMENTSOF(node_members); i++)
                (void)json_object_del(json, node_members[i]);
        for (size_t i = 0; i < json_array_size(bricks); i++)
                for (size_t k = 0; k < ELEMENTSOF(node_brick_members); k++)
                        (void)json_object_del(json_array_get(bricks, i), node_brick_members[k]);
        return json;
}

/* The members that only a node can know, with the values of a volume that is on no node yet. */
static int add_node_members(json_t *json, struct error *e)
{
        json_t *bricks = json_object_get(json, "bricks");
        int r = json_object_update_new(json, json_pack("{s:s,s:s,s:i}", "status", status_words[VOLUME_CREATED],
                                                       "intent", intent_words[INTENT_NONE], "version", 1));
        for (size_t i = 0; r == 0 && i < json_array_size(bricks); i++) {
                json_t *brick = json_array_get(bricks, i), *path = json_object_get(brick, "path");
                if (!json_is_object(brick) || !json_is_string(path))
                        return damaged(e, "bricks");
                r = json_object_update_new(brick, json_pack("{s:O,s:b,s:s,s:{}}", "real_path", path, "local", false,
                                                            "fsid", "0", "origin"));
        }
        return r < 0 ? error_set(e, -ENOMEM, "out of memory") : 0;
}

static bool is_word(const char *text, const char *more)
{
        for (const char *c = text; *c; c++)
                if (!isascii((unsigned char)*c) || (!isalnum((unsigned char)*c) && !strchr(more, *c)))
                        return false;
        return strlen(text) <= NAME_LIMIT;
}

static int check_imported_brick(const struct volume *v, size_t index, struct error *e)
{
        const struct brick_record *b = &v->bricks[index];
        _cleanup_free_ char *path = strdup(b->path);
        if (!path)
                return error_set(e, -ENOMEM, "out of memory");
        path_canonicalise(path);
        if (!streq(path, b->path))
                return error_set(e, -EINVAL, "brick %zu: the path is not in its shortest form, %s", index + 1, path);
        if (!is_word(b->host, ".-_:") || !is_word(b->id, "-_"))
                return error_set(e, -EINVAL, "brick %zu: host or id has characters that it cannot have", index + 1);
        for (size_t i = 0; i < index; i++)
                if (streq(v->bricks[i].id, b->id) ||
                    (streq(v->bricks[i].host, b->host) && streq(v->bricks[i].path, b->path)))
                        return error_set(e, -EINVAL, "bricks %zu and %zu are the same", i + 1, index + 1);
        return 0;
}

static int check_imported(const struct volume *v, struct error *e)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(VOLUME_BYTES_MAX);
        struct volume_spec spec;
        int r = volume_describe(v, &a, &spec);
        if (r < 0)
                return error_set(e, r, "out of memory");
        r = volume_spec_check(&spec, e);
        for (size_t i = 0; r == 0 && i < v->n_bricks; i++)
                r = check_imported_brick(v, i, e);
        for (size_t i = 0; r == 0 && i < v->n_options; i++) {
                r = option_validate_key(v->options[i].key, v->options[i].value, NULL, e);
                if (r == -ENOENT)
                        (void)error_set(e, r, "option %s does not exist", v->options[i].key);
        }
        return r;
}

int volume_import(const json_t *json, struct volume **ret, struct error *e)
{
        _cleanup_volume_ struct volume *v = NULL;
        json_t *copy = json_deep_copy(json);
        int r = copy ? add_node_members(copy, e) : error_set(e, -ENOMEM, "out of memory");
        if (r == 0)
                r = volume_decode(copy, &v, e);
        json_decref(copy);
        if (r == 0)
                r = check_imported(v, e);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(v);
        return 0;
}
