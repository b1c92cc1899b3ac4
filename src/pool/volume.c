/* The volume model: life cycle, names, description for the generators, and the sorted set of all volumes.
 *
 * Relies on base/arena and the generators' vocabulary. Invariant: the strings of a volume live in its own arena, so a
 * volume is released by freeing the arena. volume_set is kept sorted by byte order of names. Any thread; no locking.
 */
#include "pool/volume.h"

#include <ctype.h>
#include <stdio.h>

struct volume *volume_new(const char *name, size_t n_bricks)
{
        _cleanup_volume_ struct volume *v = calloc(1, sizeof *v);
        if (!v)
                return NULL;
        v->memory = ARENA_INIT(VOLUME_BYTES_MAX);
        (void)snprintf(v->name, sizeof v->name, "%s", name);
        if (n_bricks > 0) {
                v->bricks = arena_alloc_array(&v->memory, n_bricks, sizeof *v->bricks);
                if (!v->bricks)
                        return NULL;
        }
        v->n_bricks = n_bricks;
        v->set_size = 1;
        return TAKE_PTR(v);
}

struct volume *volume_free(struct volume *v)
{
        if (v)
                arena_done(&v->memory);
        free(v);
        return NULL;
}

struct volume *volume_copy(const struct volume *v)
{
        json_t *json = volume_encode(v);
        struct volume *copy = NULL;
        if (json && volume_decode(json, &copy, NULL) < 0)
                copy = NULL;
        json_decref(json);
        return copy;
}

const char *volume_status_name(enum volume_status s)
{
        static const char *const names[VOLUME_STATUS_MAX] = {"Created", "Started", "Stopped"};
        return names[s];
}

const char *volume_type_name(const struct volume *v)
{
        static const char *const one[VOLUME_TYPE_MAX] = {"Distribute", "Replicate", "Disperse"};
        static const char *const several[VOLUME_TYPE_MAX] = {"Distribute", "Distributed-Replicate",
                                                             "Distributed-Disperse"};
        return v->n_bricks > v->set_size ? several[v->type] : one[v->type];
}

char *brick_text(const struct brick_record *b, char *buf, size_t size)
{
        (void)snprintf(buf, size, "%s:%s", b->host, b->path);
        return buf;
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

static const char *const reserved_names[] = {
        "volume",
        "type",
        "help",
        "subvolumes",
        "option",
        "end-volume",
        "all",
        "volume_not_in_ring",
        "description",
        "force",
        "snap-max-hard-limit",
        "snap-max-soft-limit",
        "auto-delete",
        "activate-on-create",
};

static int name_refuse_silently(struct error *e)
{
        return error_set(e, -EINVAL, "%s", "");
}

int volume_name_check(const char *name, struct error *e)
{
        for (size_t i = 0; i < ELEMENTSOF(reserved_names); i++)
                if (streq(name, reserved_names[i]))
                        return error_set(e, -EINVAL, "\"%s\" cannot be the name of a volume.", name);
        if (name[0] == '\0' || name[0] == '-' || strchr(name, '/'))
                return name_refuse_silently(e);
        if (strlen(name) > VOLFILE_VOLUME_MAX)
                return error_set(e, -ENAMETOOLONG, "Volume name exceeds %d characters.", VOLFILE_VOLUME_MAX);
        for (const char *c = name; *c; c++)
                if (!isascii((unsigned char)*c) || !(isalnum((unsigned char)*c) || *c == '-' || *c == '_'))
                        return error_set(e, -EINVAL,
                                         "Volume name should not contain \"%c\" character.\n"
                                         "Volume names can onlycontain alphanumeric, '-' and '_' characters.",
                                         *c);
        return 0;
}

/* ---- description ------------------------------------------------------------------------------------------------- */

static unsigned count_on_same_fs(const struct volume *v, size_t brick)
{
        unsigned n = 0;
        for (size_t i = 0; v->bricks[brick].local && i < v->n_bricks; i++)
                if (v->bricks[i].local && v->bricks[i].fsid == v->bricks[brick].fsid)
                        n++;
        return n;
}

int volume_describe(const struct volume *v, struct arena *a, struct volume_spec *ret)
{
        struct volume_brick *bricks = arena_alloc_array(a, v->n_bricks, sizeof *bricks);
        char *id = arena_alloc(a, UUID_TEXT_SIZE);
        if (!bricks || !id)
                return -ENOMEM;
        for (size_t i = 0; i < v->n_bricks; i++)
                bricks[i] = (struct volume_brick){
                        .host = v->bricks[i].host,
                        .path = v->bricks[i].path,
                        .id = v->bricks[i].id,
                        .shared_brick_count = count_on_same_fs(v, i),
                };
        *ret = (struct volume_spec){
                .name = v->name,
                .type = v->type,
                .set_size = v->set_size,
                .arbiter_count = v->arbiter_count,
                .redundancy = v->redundancy,
                .bricks = bricks,
                .n_bricks = v->n_bricks,
                .volume_id = gfid_format(&v->id, id),
                .username = v->username,
                .password = v->password,
                .transport = TRANSPORT_TCP,
                .settings = v->options,
                .n_settings = v->n_options,
        };
        return 0;
}

/* ---- the set ----------------------------------------------------------------------------------------------------- */

void volume_set_done(struct volume_set *s)
{
        for (size_t i = 0; i < s->n; i++)
                volume_free(s->v[i].volume);
        free(s->v);
        *s = (struct volume_set){0};
}

/* Position of NAME, or where it belongs. */
static size_t set_position(const struct volume_set *s, const char *name, bool *ret_found)
{
        size_t low = 0, high = s->n;
        while (low < high) {
                size_t middle = low + (high - low) / 2;
                int order = strcmp(s->v[middle].name, name);
                if (order == 0) {
                        *ret_found = true;
                        return middle;
                }
                if (order < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        *ret_found = false;
        return low;
}

static int set_grow(struct volume_set *s)
{
        if (s->n < s->cap)
                return 0;
        size_t cap = s->cap ? s->cap * 2 : 16;
        struct volume_entry *v = reallocarray(s->v, cap, sizeof *v);
        if (!v)
                return -ENOMEM;
        s->v = v;
        s->cap = cap;
        return 0;
}

int volume_set_put(struct volume_set *s, const char *name, struct volume *volume, const struct error *why)
{
        bool found;
        size_t at = set_position(s, name, &found);
        if (!found) {
                if (set_grow(s) < 0)
                        return -ENOMEM;
                memmove(s->v + at + 1, s->v + at, (s->n - at) * sizeof *s->v);
                s->v[at] = (struct volume_entry){0};
                (void)snprintf(s->v[at].name, sizeof s->v[at].name, "%s", name);
                s->n++;
        }
        volume_free(s->v[at].volume);
        s->v[at].volume = volume;
        s->v[at].why = why ? *why : (struct error){0};
        return 0;
}

void volume_set_remove(struct volume_set *s, const char *name)
{
        bool found;
        size_t at = set_position(s, name, &found);
        if (!found)
                return;
        volume_free(s->v[at].volume);
        memmove(s->v + at, s->v + at + 1, (s->n - at - 1) * sizeof *s->v);
        s->n--;
}

struct volume_entry *volume_set_entry(const struct volume_set *s, const char *name)
{
        bool found;
        size_t at = set_position(s, name, &found);
        return found ? &s->v[at] : NULL;
}

struct volume *volume_set_find(const struct volume_set *s, const char *name)
{
        struct volume_entry *entry = volume_set_entry(s, name);
        if (!entry || !entry->volume || entry->volume->intent == INTENT_CREATING)
                return NULL;
        return entry->volume;
}
