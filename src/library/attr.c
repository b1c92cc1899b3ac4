/* Attributes and sizes (client.h). */
#include <sys/sysmacros.h>

#include "library/client.h"

#define BLOCK_SIZE (128 * KIB)
#define STATFS_TIMEOUT (5 * NS_PER_SEC)

bool stat_is_usable(const struct iatt *stat)
{
        return (stat->mode & S_IFMT) != 0 && !gfid_is_null(&stat->gfid);
}

static struct timespec time_from(struct iatt_time t)
{
        return (struct timespec){.tv_sec = (time_t)t.sec, .tv_nsec = t.nsec};
}

void stat_from(const struct iatt *from, struct stat *ret)
{
        *ret = (struct stat){
                .st_ino = from->ino ? from->ino : gfid_ino(&from->gfid),
                .st_mode = from->mode,
                .st_nlink = from->nlink,
                .st_uid = from->uid,
                .st_gid = from->gid,
                .st_rdev = makedev((unsigned)(from->rdev >> 32), (unsigned)from->rdev),
                .st_size = (off_t)from->size,
                .st_blksize = BLOCK_SIZE,
                .st_blocks = (blkcnt_t)from->blocks,
                .st_atim = time_from(from->atime),
                .st_mtim = time_from(from->mtime),
                .st_ctim = time_from(from->ctime),
        };
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

static ssize_t stat_place(struct job *j, struct place *p)
{
        stat_from(&p->stat, j->ret);
        return 0;
}

ssize_t op_stat(struct job *j)
{
        return place_do_there(j, true, stat_place);
}

ssize_t op_lstat(struct job *j)
{
        return place_do_there(j, false, stat_place);
}

static ssize_t access_place(struct job *j, struct place *p)
{
        struct access_fop_req req = {.gfid = p->inode->gfid, .mask = j->mode};
        struct access_fop_rep rep = {0};
        int r = subvolume_access(j->self, job_top(j, FOP_ACCESS), &j->r, &req, &rep);
        return r < 0 ? r : 0;
}

ssize_t op_access(struct job *j)
{
        if (j->mode & ~(uint32_t)(R_OK | W_OK | X_OK))
                return -EINVAL;
        return place_do_there(j, true, access_place);
}

struct deadline {
        struct timer timer; /* first: the callback finds the rest by it */
        struct fibre_event passed;
};

static void deadline_passed(struct timer *t)
{
        fibre_event_set(&((struct deadline *)t)->passed);
}

static ssize_t statvfs_place(struct job *j, struct place *p)
{
        struct deadline d = {0};
        struct statvfs *ret = j->ret;
        struct statfs_fop_req req = {.gfid = p->inode->gfid};
        struct statfs_fop_rep rep = {0};
        j->r.cancel = &d.passed;
        timer_start(j->client->loop, &d.timer, STATFS_TIMEOUT, deadline_passed);
        int r = subvolume_statfs(j->self, job_top(j, FOP_STATFS), &j->r, &req, &rep);
        timer_stop(&d.timer);
        j->r.cancel = NULL;
        if (r < 0)
                return r == -EINTR ? -ENOTCONN : r;
        *ret = (struct statvfs){.f_bsize = rep.statfs.bsize,
                                .f_frsize = rep.statfs.frsize ? rep.statfs.frsize : rep.statfs.bsize,
                                .f_blocks = rep.statfs.blocks,
                                .f_bfree = rep.statfs.bfree,
                                .f_bavail = rep.statfs.bavail,
                                .f_files = rep.statfs.files,
                                .f_ffree = rep.statfs.ffree,
                                .f_favail = rep.statfs.favail,
                                .f_namemax = NAME_LIMIT};
        return 0;
}

ssize_t op_statvfs(struct job *j)
{
        return place_do_there(j, true, statvfs_place);
}

/* ---- changing --------------------------------------------------------------------------------------------------- */

static ssize_t set_attributes(struct job *j, const struct vnode *i, const struct iatt *wanted, int32_t valid,
                              struct iatt *ret_after)
{
        struct setattr_fop_req req = {.gfid = i->gfid, .stbuf = *wanted, .valid = valid};
        struct setattr_fop_rep rep = {0};
        int r = subvolume_setattr(j->self, job_top(j, FOP_SETATTR), &j->r, &req, &rep);
        *ret_after = rep.poststat;
        return r < 0 ? r : 0;
}

void attr_drop_privileges(struct job *j, struct vnode *i, const struct iatt *stat)
{
        if (!stat_is_usable(stat) || !S_ISREG(stat->mode))
                return;
        uint32_t kept = stat->mode & 07777u & ~(uint32_t)S_ISUID;
        if (stat->mode & S_IXGRP)
                kept &= ~(uint32_t)S_ISGID;
        if (kept == (stat->mode & 07777u))
                return;
        struct request r = job_as_root(j, FOP_SETATTR);
        struct setattr_fop_req req = {.gfid = i->gfid, .stbuf = {.mode = kept}, .valid = SETATTR_MODE};
        struct setattr_fop_rep rep = {0};
        r.inode = i;
        r.parent = NULL;
        (void)subvolume_setattr(j->self, volume_top(j->client->volume), &r, &req, &rep);
}

static ssize_t chmod_place(struct job *j, struct place *p)
{
        struct iatt after;
        return set_attributes(j, p->inode, &(struct iatt){.mode = j->mode & 07777u}, SETATTR_MODE, &after);
}

ssize_t op_chmod(struct job *j)
{
        return place_do_there(j, true, chmod_place);
}

static ssize_t chown_place(struct job *j, struct place *p)
{
        int32_t valid = (j->uid != UINT32_MAX ? SETATTR_UID : 0) | (j->gid != UINT32_MAX ? SETATTR_GID : 0);
        struct iatt after;
        if (valid == 0)
                return 0;
        ssize_t r = set_attributes(j, p->inode, &(struct iatt){.uid = j->uid, .gid = j->gid}, valid, &after);
        if (r == 0)
                attr_drop_privileges(j, p->inode, &after);
        return r;
}

ssize_t op_chown(struct job *j)
{
        return place_do_there(j, true, chown_place);
}

ssize_t op_lchown(struct job *j)
{
        return place_do_there(j, false, chown_place);
}

/* One of two times: what SETATTR is to do, 0 nothing. */
static int32_t wanted_time(struct job *j, unsigned which, int32_t set, int32_t now, struct iatt_time *ret)
{
        const struct timespec *t = j->times ? &j->times[which] : NULL;
        if (t && t->tv_nsec == UTIME_OMIT)
                return 0;
        if (t && t->tv_nsec != UTIME_NOW) {
                *ret = (struct iatt_time){.sec = t->tv_sec, .nsec = (uint32_t)t->tv_nsec};
                return set;
        }
        uint64_t clock = loop_realtime(j->client->loop);
        *ret = (struct iatt_time){.sec = (int64_t)(clock / NS_PER_SEC), .nsec = (uint32_t)(clock % NS_PER_SEC)};
        return set | now;
}

static ssize_t utimens_place(struct job *j, struct place *p)
{
        struct iatt wanted = {0}, after;
        int32_t valid = wanted_time(j, 0, SETATTR_ATIME, SETATTR_ATIME_NOW, &wanted.atime) |
                        wanted_time(j, 1, SETATTR_MTIME, SETATTR_MTIME_NOW, &wanted.mtime);
        return valid ? set_attributes(j, p->inode, &wanted, valid, &after) : 0;
}

static bool is_time(const struct timespec *t)
{
        return t->tv_nsec == UTIME_OMIT || t->tv_nsec == UTIME_NOW || (t->tv_nsec >= 0 && t->tv_nsec < 1000000000);
}

ssize_t op_utimens(struct job *j)
{
        if (j->times && (!is_time(&j->times[0]) || !is_time(&j->times[1])))
                return -EINVAL;
        return place_do_there(j, true, utimens_place);
}

static ssize_t truncate_place(struct job *j, struct place *p)
{
        struct truncate_fop_req req = {.gfid = p->inode->gfid, .offset = j->offset};
        struct truncate_fop_rep rep = {0};
        if (!S_ISREG(p->stat.mode))
                return S_ISDIR(p->stat.mode) ? -EISDIR : -EINVAL;
        int r = subvolume_truncate(j->self, job_top(j, FOP_TRUNCATE), &j->r, &req, &rep);
        if (r >= 0 && j->identity->uid != 0)
                attr_drop_privileges(j, p->inode, &rep.poststat);
        return r < 0 ? r : 0;
}

ssize_t op_truncate(struct job *j)
{
        if (j->offset > INT64_MAX)
                return -EINVAL;
        return place_do_there(j, true, truncate_place);
}
