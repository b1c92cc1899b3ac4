/* The directory of records (pool/store.h).
 *
 * Relies on `struct disk` for every effect, so that tests cut the power between any two of them. Invariants: NAME.json
 * is always a whole record; ".new.json" is never read and is removed at the next load. One thread at a time.
 */
#include "pool/store.h"

#include <dirent.h>
#include <stdio.h>

#define RECORD_SUFFIX ".json"
#define TEMP_NAME ".new" RECORD_SUFFIX
#define NODE_SCHEMA 1

struct store {
        struct disk *disk;
        char *dir;
        int root_fd;
        int volumes_fd;
        struct gfid node;
};

/* ---- whole files ------------------------------------------------------------------------------------------------- */

static int file_read(struct disk *d, int dirfd, const char *name, struct buf *out)
{
        int fd = disk_open(d, dirfd, name, O_RDONLY | O_NOFOLLOW, 0);
        if (fd < 0)
                return fd;
        int r = 0;
        for (;;) {
                uint8_t chunk[16 * KIB];
                ssize_t n = disk_preadv(d, fd, &(struct iovec){chunk, sizeof chunk}, 1, (off_t)out->len);
                if (n < 0)
                        r = (int)n;
                if (n <= 0)
                        break;
                r = buf_append(out, chunk, (size_t)n);
                if (r < 0)
                        break;
        }
        disk_close(d, fd);
        return r;
}

static int write_all(struct disk *d, int fd, const char *data, size_t len)
{
        size_t done = 0;
        while (done < len) {
                ssize_t n = disk_pwritev(d, fd, &(struct iovec){(void *)(data + done), len - done}, 1, (off_t)done);
                if (n < 0)
                        return (int)n;
                if (n == 0)
                        return -EIO;
                done += (size_t)n;
        }
        return disk_sync(d, fd, false);
}

/* Replaces DIRFD/NAME by DATA as one step. */
static int file_replace(struct disk *d, int dirfd, const char *name, const char *data, size_t len)
{
        int fd = disk_open(d, dirfd, TEMP_NAME, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return fd;
        int r = write_all(d, fd, data, len);
        disk_close(d, fd);
        if (r == 0)
                r = disk_rename(d, dirfd, TEMP_NAME, dirfd, name, 0);
        if (r < 0) {
                (void)disk_unlink(d, dirfd, TEMP_NAME, 0);
                return r;
        }
        return disk_sync(d, dirfd, false);
}

static int json_replace(struct disk *d, int dirfd, const char *name, const json_t *json)
{
        char *text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;
        if (!text)
                return -ENOMEM;
        int r = file_replace(d, dirfd, name, text, strlen(text));
        free(text);
        return r;
}

static int json_read(struct disk *d, int dirfd, const char *name, json_t **ret, struct error *e)
{
        _cleanup_buf_ struct buf text = BUF_INIT(VOLUME_BYTES_MAX);
        int r = file_read(d, dirfd, name, &text);
        if (r < 0)
                return error_set(e, r, "it cannot be read: %s", strerror(-r));
        json_error_t where;
        json_t *json = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, &where);
        if (!json)
                return error_set(e, -EINVAL, "it is damaged: line %d: %s", where.line, where.text);
        *ret = json;
        return 0;
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

static int open_dir(struct disk *d, int dirfd, const char *path)
{
        int r = disk_mkdir(d, dirfd, path, 0700);
        if (r < 0 && r != -EEXIST)
                return r;
        return disk_open(d, dirfd, path, O_RDONLY | O_DIRECTORY, 0);
}

static int node_create(struct store *s, const uint8_t random[static 16], struct error *e)
{
        char text[UUID_TEXT_SIZE];
        s->node = gfid_from_random(random);
        json_t *json = json_pack("{s:i,s:s}", "schema", NODE_SCHEMA, "uuid", gfid_format(&s->node, text));
        int r = json_replace(s->disk, s->root_fd, "node.json", json);
        json_decref(json);
        return r < 0 ? error_set(e, r, "%s/node.json cannot be written: %s", s->dir, strerror(-r)) : 0;
}

static int node_read(struct store *s, const json_t *json)
{
        const char *text = json_string_value(json_object_get(json, "uuid"));
        json_t *schema = json_object_get(json, "schema");
        if (!text || !json_is_integer(schema) || json_integer_value(schema) > NODE_SCHEMA)
                return -EINVAL;
        return gfid_parse(text, strlen(text), &s->node);
}

static int node_open(struct store *s, const uint8_t random[static 16], struct error *e)
{
        json_t *json = NULL;
        struct error why = {0};
        int r = json_read(s->disk, s->root_fd, "node.json", &json, &why);
        if (r == -ENOENT)
                return node_create(s, random, e);
        if (r < 0)
                return error_set(e, r, "%s/node.json, this node's identity: %s", s->dir, why.text);
        r = node_read(s, json);
        json_decref(json);
        return r < 0 ? error_set(e, r,
                                 "%s/node.json, this node's identity, is damaged or was written by a newer mortard",
                                 s->dir)
                     : 0;
}

int store_open(struct disk *disk, const char *dir, const uint8_t random[static 16], struct store **ret, struct error *e)
{
        _cleanup_(store_freep) struct store *s = calloc(1, sizeof *s);
        if (!s)
                return error_set(e, -ENOMEM, "out of memory");
        *s = (struct store){.disk = disk, .dir = strdup(dir), .root_fd = -EBADF, .volumes_fd = -EBADF};
        if (!s->dir)
                return error_set(e, -ENOMEM, "out of memory");
        s->root_fd = open_dir(disk, AT_FDCWD, dir);
        if (s->root_fd < 0)
                return error_set(e, s->root_fd, "state directory %s: %s", dir, strerror(-s->root_fd));
        s->volumes_fd = open_dir(disk, s->root_fd, "volumes");
        if (s->volumes_fd < 0)
                return error_set(e, s->volumes_fd, "state directory %s/volumes: %s", dir, strerror(-s->volumes_fd));
        int r = disk_sync(disk, s->root_fd, false);
        if (r < 0)
                return error_set(e, r, "state directory %s: %s", dir, strerror(-r));
        r = node_open(s, random, e);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(s);
        return 0;
}

struct store *store_free(struct store *s)
{
        if (!s)
                return NULL;
        if (s->volumes_fd >= 0)
                disk_close(s->disk, s->volumes_fd);
        if (s->root_fd >= 0)
                disk_close(s->disk, s->root_fd);
        free(s->dir);
        free(s);
        return NULL;
}

const struct gfid *store_node(const struct store *s)
{
        return &s->node;
}

const char *store_dir(const struct store *s)
{
        return s->dir;
}

/* ---- loading ----------------------------------------------------------------------------------------------------- */

static bool ends_with(const char *s, const char *suffix)
{
        size_t n = strlen(s), m = strlen(suffix);
        return n > m && streq(s + n - m, suffix);
}

static int load_record(struct store *s, const char *file, const char *name, struct volume_set *set)
{
        json_t *json = NULL;
        struct volume *v = NULL;
        struct error why = {0};
        int r = json_read(s->disk, s->volumes_fd, file, &json, &why);
        if (r == 0)
                r = volume_decode(json, &v, &why);
        json_decref(json);
        if (r == 0 && !streq(v->name, name)) {
                error_set(&why, -EINVAL, "it says it is volume \"%s\"", v->name);
                v = volume_free(v);
        }
        error_prefix(&why, "the record %s/volumes/%s", s->dir, file);
        r = volume_set_put(set, name, v, &why);
        if (r < 0)
                volume_free(v);
        return r;
}

static int load_entry(struct store *s, const char *file, struct volume_set *set)
{
        if (streq(file, TEMP_NAME))
                (void)disk_unlink(s->disk, s->volumes_fd, file, 0);
        if (file[0] == '.')
                return 0;
        char name[VOLFILE_VOLUME_MAX + 1];
        if (!ends_with(file, RECORD_SUFFIX))
                return 0;
        (void)snprintf(name, sizeof name, "%.*s", (int)(strlen(file) - strlen(RECORD_SUFFIX)), file);
        return load_record(s, file, name, set);
}

static int load_batch(struct store *s, const char *batch, size_t size, struct volume_set *set)
{
        for (size_t at = 0; at < size;) {
                const struct disk_dirent *d = (const void *)(batch + at);
                int r = load_entry(s, d->d_name, set);
                if (r < 0)
                        return r;
                at += d->d_reclen;
        }
        return 0;
}

int store_load(struct store *s, struct volume_set *ret, struct error *e)
{
        struct volume_set set = {0};
        int fd = disk_open(s->disk, s->volumes_fd, ".", O_RDONLY | O_DIRECTORY, 0);
        int r = fd;
        while (r >= 0) {
                _Alignas(8) char batch[32 * KIB];
                ssize_t n = disk_getdents(s->disk, fd, batch, sizeof batch);
                if (n <= 0) {
                        r = (int)n;
                        break;
                }
                r = load_batch(s, batch, (size_t)n, &set);
        }
        if (fd >= 0)
                disk_close(s->disk, fd);
        if (r < 0) {
                volume_set_done(&set);
                return error_set(e, r, "the records in %s/volumes: %s", s->dir, strerror(-r));
        }
        *ret = set;
        return 0;
}

/* ---- changing ---------------------------------------------------------------------------------------------------- */

int store_write(struct store *s, const struct volume *v, struct error *e)
{
        char file[NAME_LIMIT * 2];
        (void)snprintf(file, sizeof file, "%s" RECORD_SUFFIX, v->name);
        json_t *json = volume_encode(v);
        int r = json_replace(s->disk, s->volumes_fd, file, json);
        json_decref(json);
        return r < 0 ? error_set(e, r, "Failed to store the Volume information: %s/volumes/%s: %s", s->dir, file,
                                 strerror(-r))
                     : 0;
}

int store_remove(struct store *s, const char *name, struct error *e)
{
        char file[NAME_LIMIT * 2];
        (void)snprintf(file, sizeof file, "%s" RECORD_SUFFIX, name);
        int r = disk_unlink(s->disk, s->volumes_fd, file, 0);
        if (r == -ENOENT)
                r = 0;
        if (r == 0)
                r = disk_sync(s->disk, s->volumes_fd, false);
        return r < 0 ? error_set(e, r, "%s/volumes/%s cannot be removed: %s", s->dir, file, strerror(-r)) : 0;
}
