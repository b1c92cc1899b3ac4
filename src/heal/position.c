/* Where a full crawl is (heal/position.h). The file, little endian:
 *
 *     "MORTARFC"  8 bytes      version  u32, 1      directories  u32
 *     total  done  healed  u64 each                  set, volume  256 and 64 bytes, zero padded
 *     directories, 16 bytes each                     sum of all before, u64 (FNV-1a)
 */
#include "heal/position.h"

#include <endian.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#define MAGIC "MORTARFC"
#define VERSION 1u
#define SET_NAME_MAX 256
#define VOLUME_MAX 64

struct head {
        char magic[8];
        uint32_t version, n;
        uint64_t total, done, healed;
        char set[SET_NAME_MAX], volume[VOLUME_MAX];
};

static uint64_t sum(uint64_t h, const void *data, size_t n)
{
        const uint8_t *at = data;
        for (size_t k = 0; k < n; k++)
                h = (h ^ at[k]) * 1099511628211u;
        return h;
}

#define SUM_START 14695981039346656037u

static int path_of(const struct position_owner *o, const char *suffix, char ret[static PATH_LIMIT])
{
        int n = strchr(o->set, '/') ? -1 : snprintf(ret, PATH_LIMIT, "%s/full-crawl-%s%s", o->dir, o->set, suffix);
        return n < 0 || n >= PATH_LIMIT ? -ENAMETOOLONG : 0;
}

void position_done(struct position *p)
{
        free(p->directories);
        *p = (struct position){0};
}

static bool put(FILE *f, const void *data, size_t n)
{
        return fwrite(data, 1, n, f) == n;
}

static int write_file(FILE *f, const struct position_owner *o, const struct position *p)
{
        struct head h = {.version = htole32(VERSION),
                         .n = htole32((uint32_t)p->n),
                         .total = htole64(p->total),
                         .done = htole64(p->done),
                         .healed = htole64(p->healed)};
        memcpy(h.magic, MAGIC, sizeof h.magic);
        (void)snprintf(h.set, sizeof h.set, "%s", o->set);
        (void)snprintf(h.volume, sizeof h.volume, "%s", o->volume);
        size_t size = p->n * sizeof *p->directories;
        uint64_t end = htole64(sum(sum(SUM_START, &h, sizeof h), p->directories, size));
        bool ok = put(f, &h, sizeof h) && (p->n == 0 || put(f, p->directories, size)) && put(f, &end, sizeof end);
        return ok && fflush(f) == 0 ? 0 : -EIO;
}

int position_save(const struct position_owner *o, const struct position *p)
{
        char path[PATH_LIMIT], new[PATH_LIMIT];
        if (p->n > POSITION_DIRECTORIES_MAX)
                return 0;
        if (path_of(o, "", path) < 0 || path_of(o, ".new", new) < 0)
                return -ENAMETOOLONG;
        FILE *f = fopen(new, "we");
        if (!f)
                return -errno;
        int result = write_file(f, o, p);
        if (fclose(f) != 0 && result == 0)
                result = -errno;
        if (result == 0 && rename(new, path) < 0)
                result = -errno;
        if (result < 0)
                (void)unlink(new);
        return result;
}

static bool read_directories(FILE *f, struct position *p)
{
        size_t size = p->n * sizeof *p->directories;
        p->directories = size ? malloc(size) : NULL;
        return size == 0 || (p->directories && fread(p->directories, 1, size, f) == size);
}

/* All of it fits together, and there is nothing behind. */
static bool read_file(FILE *f, const struct position_owner *o, struct position *p)
{
        struct head h;
        uint64_t end;
        char more;
        if (fread(&h, sizeof h, 1, f) != 1 || memcmp(h.magic, MAGIC, sizeof h.magic) != 0 ||
            le32toh(h.version) != VERSION || le32toh(h.n) > POSITION_DIRECTORIES_MAX)
                return false;
        if (strncmp(h.set, o->set, sizeof h.set) != 0 || strncmp(h.volume, o->volume, sizeof h.volume) != 0)
                return false;
        *p = (struct position){
                .total = le64toh(h.total), .done = le64toh(h.done), .healed = le64toh(h.healed), .n = le32toh(h.n)};
        if (!read_directories(f, p) || fread(&end, sizeof end, 1, f) != 1)
                return false;
        uint64_t found = sum(sum(SUM_START, &h, sizeof h), p->directories, p->n * sizeof *p->directories);
        return le64toh(end) == found && fread(&more, 1, 1, f) == 0;
}

int position_load(const struct position_owner *o, struct position *ret)
{
        char path[PATH_LIMIT];
        struct position p = {0};
        if (path_of(o, "", path) < 0)
                return -ENOENT;
        FILE *f = fopen(path, "re");
        if (!f)
                return -ENOENT;
        bool good = read_file(f, o, &p);
        (void)fclose(f);
        if (!good) {
                position_done(&p);
                return -ENOENT;
        }
        *ret = p;
        return 0;
}

void position_remove(const struct position_owner *o)
{
        char path[PATH_LIMIT];
        if (path_of(o, "", path) == 0)
                (void)unlink(path);
}
