/* Attributes on disk and attributes in answers (disk_attr.h). */
#include "proto/disk_attr.h"

#include <sys/sysmacros.h>

#define MDATA_CTIME_AT 9
#define MDATA_MTIME_AT 25
#define MDATA_ATIME_AT 41

/* ---- mdata --------------------------------------------------------------------------------------------------------- */

static uint64_t get_u64(const uint8_t *p)
{
        uint64_t v = 0;
        for (int k = 0; k < 8; k++)
                v = v << 8 | p[k];
        return v;
}

static void put_u64(uint8_t *p, uint64_t v)
{
        for (int k = 7; k >= 0; k--, v >>= 8)
                p[k] = (uint8_t)(v & 0xff);
}

static struct iatt_time get_time(const uint8_t *p)
{
        return (struct iatt_time){.sec = (int64_t)get_u64(p), .nsec = (uint32_t)(get_u64(p + 8) & UINT32_MAX)};
}

static void put_time(uint8_t *p, const struct iatt_time *t)
{
        put_u64(p, (uint64_t)t->sec);
        put_u64(p + 8, t->nsec);
}

int mdata_parse(const void *data, size_t len, struct mdata *ret)
{
        const uint8_t *p = data;
        if (len != MDATA_SIZE || p[0] != MDATA_VERSION)
                return -EINVAL;
        *ret = (struct mdata){.ctime = get_time(p + MDATA_CTIME_AT),
                              .mtime = get_time(p + MDATA_MTIME_AT),
                              .atime = get_time(p + MDATA_ATIME_AT)};
        return 0;
}

void mdata_format(const struct mdata *m, uint8_t buf[static MDATA_SIZE])
{
        memset(buf, 0, MDATA_SIZE);
        buf[0] = MDATA_VERSION;
        put_time(buf + MDATA_CTIME_AT, &m->ctime);
        put_time(buf + MDATA_MTIME_AT, &m->mtime);
        put_time(buf + MDATA_ATIME_AT, &m->atime);
}

/* ---- a stat -------------------------------------------------------------------------------------------------------- */

static struct iatt_time time_of(const struct timespec *ts)
{
        return (struct iatt_time){.sec = ts->tv_sec, .nsec = (uint32_t)ts->tv_nsec};
}

static uint32_t visible_links(const struct stat *st)
{
        if (S_ISDIR(st->st_mode) || st->st_nlink == 0)
                return (uint32_t)st->st_nlink;
        return (uint32_t)(st->st_nlink - 1); /* the handle */
}

void attr_of_stat(const struct stat *st, const struct gfid *gfid, struct iatt *ret)
{
        uint64_t whole_blocks = ((uint64_t)st->st_size + 511) / 512;
        *ret = (struct iatt){.gfid = *gfid,
                           .flags = IATT_BRICK,
                           .ino = gfid_ino(gfid),
                           .dev = st->st_dev,
                           .rdev = (uint64_t)major(st->st_rdev) << 32 | minor(st->st_rdev),
                           .size = (uint64_t)st->st_size,
                           .blocks = MIN((uint64_t)st->st_blocks, whole_blocks),
                           .atime = time_of(&st->st_atim),
                           .mtime = time_of(&st->st_mtim),
                           .ctime = time_of(&st->st_ctim),
                           .nlink = visible_links(st),
                           .uid = st->st_uid,
                           .gid = st->st_gid,
                           .blksize = (uint32_t)st->st_blksize,
                           .mode = st->st_mode};
}
