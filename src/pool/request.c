/* From the arguments of a request to a volume (pool/request.h). */
#include "pool/request.h"

#include "pool/options.h"
#include "pool/path.h"

static const char *const type_words[VOLUME_TYPE_MAX] = {"distribute", "replicate", "disperse"};

/* ---- bricks ------------------------------------------------------------------------------------------------------ */

/* "HOST:/path" into B; IPv6 addresses need no brackets, for no host has a '/'. */
static int argument_brick(struct volume *v, size_t i, const char *text, struct error *e)
{
        struct brick_record *b = &v->bricks[i];
        const char *colon = strstr(text, ":/");
        if (!colon || colon == text || memchr(text, '/', (size_t)(colon - text)))
                return error_set(e, -EINVAL, "Wrong brick type: %s, use <HOSTNAME>:<export-dir-abs-path>", text);
        char *path = arena_strndup(&v->memory, colon + 1, strlen(colon + 1));
        b->host = arena_strndup(&v->memory, text, (size_t)(colon - text));
        b->id = arena_printf(&v->memory, "%s-client-%zu", v->name, i);
        if (!path || !b->host || !b->id)
                return error_set(e, -ENOMEM, "out of memory");
        path_canonicalise(path);
        b->path = b->real_path = path; /* the second is looked for when the brick is */
        return 0;
}

static int add_bricks(struct volume *v, const json_t *bricks, struct error *e)
{
        int r = 0;
        for (size_t i = 0; r == 0 && i < v->n_bricks; i++) {
                const char *text = json_string_value(json_array_get(bricks, i));
                r = text ? argument_brick(v, i, text, e)
                         : error_set(e, -EINVAL, "brick %zu of the request is no text", i + 1);
        }
        return r;
}

/* ---- the layout -------------------------------------------------------------------------------------------------- */

static int read_type(const json_t *args, enum volume_type *ret, struct error *e)
{
        const char *word = json_string_value(json_object_get(args, "type"));
        for (unsigned i = 0; i < VOLUME_TYPE_MAX; i++)
                if (streq(word ? word : "distribute", type_words[i])) {
                        *ret = (enum volume_type)i;
                        return 0;
                }
        return error_set(e, -EINVAL, "the request names no known type of volume");
}

static int read_count(const json_t *args, const char *member, unsigned *ret, struct error *e)
{
        const json_t *value = json_object_get(args, member);
        json_int_t n = json_integer_value(value);
        if (!value)
                return 0;
        if (!json_is_integer(value) || n < 0 || n > (json_int_t)VOLUME_BRICKS_MAX)
                return error_set(e, -EINVAL, "%s of the request is no possible number", member);
        *ret = (unsigned)n;
        return 0;
}

static int read_layout(struct volume *v, const json_t *args, struct error *e)
{
        int r = read_type(args, &v->type, e);
        if (r == 0)
                r = read_count(args, "set_size", &v->set_size, e);
        if (r == 0)
                r = read_count(args, "arbiter_count", &v->arbiter_count, e);
        if (r == 0)
                r = read_count(args, "redundancy", &v->redundancy, e);
        if (r < 0)
                return r;
        if ((v->type == VOLUME_DISTRIBUTE) != (v->set_size == 1))
                return error_set(e, -EINVAL, "the request's set_size does not fit its type");
        if (v->n_bricks % v->set_size != 0)
                return error_set(e, -EINVAL, "number of bricks is not a multiple of %s count", type_words[v->type]);
        return 0;
}

static int check_layout(const struct volume *v, struct error *e)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(VOLUME_BYTES_MAX);
        struct volume_spec spec;
        int r = volume_describe(v, &a, &spec);
        return r < 0 ? error_set(e, r, "out of memory") : volume_spec_check(&spec, e);
}

/* ---- the rest ---------------------------------------------------------------------------------------------------- */

static struct gfid fresh_uuid(struct loop *loop)
{
        uint8_t random[16];
        loop_random(loop, random, sizeof random);
        return gfid_from_random(random);
}

static void make_identity(struct volume *v, struct loop *loop)
{
        struct gfid username = fresh_uuid(loop), password = fresh_uuid(loop);
        v->id = fresh_uuid(loop);
        gfid_format(&username, v->username);
        gfid_format(&password, v->password);
}

int volume_of_request(struct loop *loop, const json_t *args, struct volume **ret, struct error *e)
{
        const json_t *bricks = json_object_get(args, "bricks");
        const char *name = json_string_value(json_object_get(args, "volume"));
        if (!name || !*name)
                return error_set(e, -EINVAL, "the request names no volume");
        int r = volume_name_check(name, e);
        if (r < 0)
                return r;
        if (!json_is_array(bricks) || json_array_size(bricks) == 0)
                return error_set(e, -EINVAL, "No bricks specified");
        if (json_array_size(bricks) > VOLUME_BRICKS_MAX)
                return error_set(e, -E2BIG, "a volume has at most %u bricks", VOLUME_BRICKS_MAX);
        _cleanup_volume_ struct volume *v = volume_new(name, json_array_size(bricks));
        if (!v)
                return error_set(e, -ENOMEM, "out of memory");
        r = read_layout(v, args, e);
        if (r == 0)
                r = add_bricks(v, bricks, e);
        if (r < 0)
                return r;
        make_identity(v, loop);
        if (options_init(v) < 0)
                return error_set(e, -ENOMEM, "out of memory");
        options_weigh(v);
        r = check_layout(v, e);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(v);
        return 0;
}
