/* The simulated disk: attributes, extended attributes, POSIX ACLs, statvfs.
 *
 * Rules of names and errors are Linux's for a process with every capability. An access ACL is kept as its bytes;
 * setting one sets the permission bits (and an ACL that says no more than those is not kept), and chmod changes the
 * ACL. A default ACL is kept but not inherited.
 *
 * Takes the disk's lock in the sim_op_* calls; the others are called with it.
 */
#include "base/sim_disk_priv.h"

#include <assert.h>
#include <endian.h>
#include <sys/xattr.h>

#define ACL_ACCESS "system.posix_acl_access"
#define ACL_DEFAULT "system.posix_acl_default"
#define ACL_VERSION 2u
#define ACL_ENTRIES_MAX 1024u
#define CAPABILITY "security.capability"

/* The xattr's layout: little endian, as linux/posix_acl_xattr.h. */
struct acl_entry {
        uint16_t tag;
        uint16_t perm;
        uint32_t id;
};

enum acl_tag {
        ACL_USER_OBJ = 0x01,
        ACL_USER = 0x02,
        ACL_GROUP_OBJ = 0x04,
        ACL_GROUP = 0x08,
        ACL_MASK = 0x10,
        ACL_OTHER = 0x20,
};

/* ---- attributes */

static blksize_t inode_bytes(const struct sim_inode *i)
{
        if (S_ISDIR(i->a.mode))
                return SIM_PAGE;
        return i->target ? (blksize_t)strlen(i->target) : i->a.size;
}

int sim_op_stat(struct disk *disk, int dirfd, const char *path, struct stat *ret)
{
        _cleanup_(sim_leave) struct sim_disk *d = sim_enter(disk);
        if (d->stopped)
                return -EIO;
        struct sim_inode *i;
        int r = sim_lookup(d, dirfd, path, SIM_EMPTY, &i);
        if (r < 0)
                return r;
        *ret = (struct stat){
                .st_dev = 0x51d,
                .st_ino = i->ino,
                .st_mode = i->a.mode,
                .st_nlink = i->a.nlink,
                .st_uid = i->a.uid,
                .st_gid = i->a.gid,
                .st_rdev = i->a.rdev,
                .st_size = inode_bytes(i),
                .st_blksize = SIM_PAGE,
                .st_blocks = (blkcnt_t)(i->n_pages * (SIM_PAGE / 512)) + (S_ISDIR(i->a.mode) ? SIM_PAGE / 512 : 0),
                .st_atim = i->a.atime,
                .st_mtim = i->a.mtime,
                .st_ctim = i->a.ctime,
        };
        return 0;
}

/* Opens the transaction of a change of I's attributes. */
static int attr_begin(struct sim_disk *d, struct sim_inode *i)
{
        int r = sim_txn_begin(d);
        if (r < 0)
                return r;
        sim_log_attr(d, i);
        i->a.ctime = sim_now_ts(d);
        return 0;
}

int sim_op_chown(struct disk *disk, int dirfd, const char *path, uid_t uid, gid_t gid)
{
        _cleanup_(sim_leave) struct sim_disk *d = sim_enter(disk);
        if (d->stopped)
                return -EIO;
        struct sim_inode *i;
        int r = sim_lookup(d, dirfd, path, SIM_EMPTY, &i);
        if (r < 0)
                return r;
        r = attr_begin(d, i);
        if (r < 0)
                return r;
        if (uid != (uid_t)-1)
                i->a.uid = uid;
        if (gid != (gid_t)-1)
                i->a.gid = gid;
        if (S_ISDIR(i->a.mode))
                return 0;
        i->a.mode &= ~(mode_t)S_ISUID;
        if (i->a.mode & S_IXGRP)
                i->a.mode &= ~(mode_t)S_ISGID;
        sim_xattr_forget_capability(d, i);
        return 0;
}

static bool time_valid(const struct timespec *t)
{
        return t->tv_nsec == UTIME_NOW || t->tv_nsec == UTIME_OMIT ||
               (t->tv_nsec >= 0 && t->tv_nsec < (long)NS_PER_SEC);
}

static void time_set(struct sim_disk *d, struct timespec *to, const struct timespec *t)
{
        if (t->tv_nsec == UTIME_NOW)
                *to = sim_now_ts(d);
        else if (t->tv_nsec != UTIME_OMIT)
                *to = *t;
}

int sim_op_utimens(struct disk *disk, int dirfd, const char *path, const struct timespec ts[2])
{
        _cleanup_(sim_leave) struct sim_disk *d = sim_enter(disk);
        static const struct timespec now[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_NOW}};
        const struct timespec *t = ts ? ts : now;
        if (d->stopped)
                return -EIO;
        if (t[0].tv_nsec == UTIME_OMIT && t[1].tv_nsec == UTIME_OMIT)
                return 0;
        struct sim_inode *i;
        int r = sim_lookup(d, dirfd, path, SIM_EMPTY, &i);
        if (r < 0)
                return r;
        if (!time_valid(&t[0]) || !time_valid(&t[1]))
                return -EINVAL;
        r = attr_begin(d, i);
        if (r < 0)
                return r;
        time_set(d, &i->a.atime, &t[0]);
        time_set(d, &i->a.mtime, &t[1]);
        return 0;
}

int sim_op_statvfs(struct disk *disk, int fd, struct statvfs *ret)
{
        _cleanup_(sim_leave) struct sim_disk *d = sim_enter(disk);
        if (d->stopped)
                return -EIO;
        if (!sim_fd_get(d, fd))
                return -EBADF;
        uint64_t free_bytes = d->capacity > d->used ? d->capacity - d->used : 0;
        *ret = (struct statvfs){
                .f_bsize = SIM_PAGE,
                .f_frsize = SIM_PAGE,
                .f_blocks = d->capacity / SIM_PAGE,
                .f_bfree = free_bytes / SIM_PAGE,
                .f_bavail = free_bytes / SIM_PAGE,
                .f_files = d->capacity / 512,
                .f_ffree = free_bytes / 512,
                .f_favail = free_bytes / 512,
                .f_fsid = 0x51d,
                .f_namemax = SIM_NAME_MAX,
        };
        return 0;
}

/* ---- xattrs of an inode */

static struct sim_xattr **xattr_slot(struct sim_inode *i, const char *name)
{
        struct sim_xattr **x = &i->xattrs;
        while (*x && !streq((*x)->name, name))
                x = &(*x)->next;
        return x;
}

struct sim_xattr *sim_xattr_take(struct sim_inode *i, const char *name)
{
        struct sim_xattr **slot = xattr_slot(i, name);
        struct sim_xattr *x = *slot;
        if (x)
                *slot = x->next;
        return x;
}

/* Sorted by name: a list does not tell the history of its changes. */
void sim_xattr_put(struct sim_inode *i, struct sim_xattr *x)
{
        struct sim_xattr **slot = &i->xattrs;
        while (*slot && strcmp((*slot)->name, x->name) < 0)
                slot = &(*slot)->next;
        x->next = *slot;
        *slot = x;
}

void sim_xattr_free_all(struct sim_inode *i)
{
        while (i->xattrs) {
                struct sim_xattr *x = i->xattrs;
                i->xattrs = x->next;
                free(x->value);
                free(x);
        }
}

static uint64_t xattr_cost(const struct sim_xattr *x)
{
        return x ? strlen(x->name) + x->size : 0;
}

/* Inside a transaction: NAME has VALUE, or is gone when VALUE is NULL. */
static void xattr_change(struct sim_disk *d, struct sim_inode *i, const char *name, const void *value, size_t size)
{
        struct sim_xattr *old = sim_xattr_take(i, name);
        sim_charge(d, i, -(int64_t)xattr_cost(old));
        sim_log_xattr(d, i, name, old);
        if (!value)
                return;
        size_t len = strlen(name);
        struct sim_xattr *x = sim_alloc(sizeof *x + len + 1);
        memcpy(x->name, name, len);
        x->value = sim_copy(value, size);
        x->size = size;
        sim_xattr_put(i, x);
        sim_charge(d, i, (int64_t)xattr_cost(x));
}

void sim_xattr_forget_capability(struct sim_disk *d, struct sim_inode *i)
{
        if (*xattr_slot(i, CAPABILITY))
                xattr_change(d, i, CAPABILITY, NULL, 0);
}

static bool is_acl(const char *name)
{
        return streq(name, ACL_ACCESS) || streq(name, ACL_DEFAULT);
}

/* What Linux says of the name itself, for I. Writing an ACL to a symbolic link is refused after a look at the ACL. */
static int xattr_check(const struct sim_inode *i, const char *name, bool write)
{
        static const char *const spaces[] = {"trusted.", "security.", "user."};
        if (starts_with(name, "user.") && !S_ISREG(i->a.mode) && !S_ISDIR(i->a.mode))
                return write ? -EPERM : -ENODATA;
        for (size_t n = 0; n < ELEMENTSOF(spaces); n++)
                if (starts_with(name, spaces[n]))
                        return name[strlen(spaces[n])] ? 0 : -EINVAL;
        return is_acl(name) && (write || !S_ISLNK(i->a.mode)) ? 0 : -EOPNOTSUPP;
}

static int name_check(const char *name)
{
        size_t len = strlen(name);
        return len == 0 || len > SIM_XATTR_NAME_MAX ? -ERANGE : 0;
}

static int xattr_find_inode(struct sim_disk *d, int dirfd, const char *path, const char *name, bool write,
                            struct sim_inode **ret)
{
        if (d->stopped)
                return -EIO;
        int r = name_check(name);
        if (r < 0)
                return r;
        r = sim_lookup(d, dirfd, path, SIM_EMPTY_OPENED, ret);
        return r < 0 ? r : xattr_check(*ret, name, write);
}

/* ---- ACLs */

static struct acl_entry acl_at(const uint8_t *acl, size_t n)
{
        struct acl_entry e;
        memcpy(&e, acl + sizeof(uint32_t) + n * sizeof e, sizeof e);
        return (struct acl_entry){.tag = le16toh(e.tag), .perm = le16toh(e.perm), .id = le32toh(e.id)};
}

static size_t acl_count(size_t size)
{
        return (size - sizeof(uint32_t)) / sizeof(struct acl_entry);
}

/* The permission of the entry TAG; -ENOENT. */
static int acl_perm(const uint8_t *acl, size_t size, enum acl_tag tag)
{
        for (size_t n = 0; n < acl_count(size); n++)
                if (acl_at(acl, n).tag == tag)
                        return acl_at(acl, n).perm;
        return -ENOENT;
}

/* Entries come in the order of their tags, the plain ones once, and named ones need a mask. */
static bool acl_order_valid(const uint8_t *acl, size_t size)
{
        unsigned seen = 0, last = 0;
        for (size_t n = 0; n < acl_count(size); n++) {
                struct acl_entry e = acl_at(acl, n);
                bool named = e.tag == ACL_USER || e.tag == ACL_GROUP;
                bool known = named || e.tag == ACL_USER_OBJ || e.tag == ACL_GROUP_OBJ || e.tag == ACL_MASK ||
                             e.tag == ACL_OTHER;
                if (!known || e.perm > 7 || e.tag < last || (!named && e.tag == last) || (named && e.id == UINT32_MAX))
                        return false;
                last = e.tag;
                seen |= e.tag;
        }
        unsigned needed = ACL_USER_OBJ | ACL_GROUP_OBJ | ACL_OTHER;
        if (seen & (ACL_USER | ACL_GROUP))
                needed |= ACL_MASK;
        return (seen & needed) == needed;
}

static int acl_frame_check(const uint8_t *acl, size_t size)
{
        uint32_t version;
        if (size < sizeof version || (size - sizeof version) % sizeof(struct acl_entry) != 0)
                return -EINVAL;
        memcpy(&version, acl, sizeof version);
        if (le32toh(version) != ACL_VERSION)
                return -EOPNOTSUPP;
        return acl_count(size) > ACL_ENTRIES_MAX ? -EINVAL : 0;
}

/* Sets or, when ACL is NULL, removes an ACL; an empty one removes it too. */
static int acl_set(struct sim_disk *d, struct sim_inode *i, const char *name, const uint8_t *acl, size_t size)
{
        int r = acl ? acl_frame_check(acl, size) : 0;
        if (r < 0)
                return r;
        if (S_ISLNK(i->a.mode))
                return -EOPNOTSUPP;
        if (acl && acl_count(size) == 0)
                acl = NULL;
        bool access = streq(name, ACL_ACCESS);
        if (!access && !S_ISDIR(i->a.mode))
                return acl ? -EACCES : 0;
        if (acl && !acl_order_valid(acl, size))
                return -EINVAL;
        if (acl && !sim_has_room(d, strlen(name) + size))
                return -ENOSPC;
        r = attr_begin(d, i);
        if (r < 0)
                return r;
        if (acl && access) {
                int mask = acl_perm(acl, size, ACL_MASK);
                int group = mask >= 0 ? mask : acl_perm(acl, size, ACL_GROUP_OBJ);
                i->a.mode &= ~(mode_t)0777;
                i->a.mode |=
                        (mode_t)(acl_perm(acl, size, ACL_USER_OBJ) << 6 | group << 3 | acl_perm(acl, size, ACL_OTHER));
                if (acl_count(size) == 3)
                        acl = NULL;
        }
        xattr_change(d, i, name, acl, size);
        return 0;
}

/* chmod on an inode with an access ACL: its entries follow the bits. */
static void acl_follow_mode(struct sim_disk *d, struct sim_inode *i)
{
        struct sim_xattr *x = *xattr_slot(i, ACL_ACCESS);
        if (!x)
                return;
        size_t size = x->size;
        _cleanup_free_ uint8_t *acl = sim_copy(x->value, size);
        bool mask = acl_perm(acl, size, ACL_MASK) >= 0;
        for (size_t n = 0; n < acl_count(size); n++) {
                struct acl_entry e = acl_at(acl, n);
                uint16_t perm = e.perm;
                if (e.tag == ACL_USER_OBJ)
                        perm = (i->a.mode >> 6) & 7;
                else if (e.tag == (mask ? ACL_MASK : ACL_GROUP_OBJ))
                        perm = (i->a.mode >> 3) & 7;
                else if (e.tag == ACL_OTHER)
                        perm = i->a.mode & 7;
                perm = htole16(perm);
                memcpy(acl + sizeof(uint32_t) + n * sizeof e + offsetof(struct acl_entry, perm), &perm, sizeof perm);
        }
        xattr_change(d, i, ACL_ACCESS, acl, size);
}

int sim_op_chmod(struct disk *disk, int dirfd, const char *path, mode_t mode)
{
        _cleanup_(sim_leave) struct sim_disk *d = sim_enter(disk);
        if (d->stopped)
                return -EIO;
        struct sim_inode *i;
        int r = sim_lookup(d, dirfd, path, SIM_EMPTY_OPENED, &i);
        if (r == 0 && S_ISLNK(i->a.mode))
                r = -EOPNOTSUPP;
        if (r < 0)
                return r;
        r = attr_begin(d, i);
        if (r < 0)
                return r;
        i->a.mode = (i->a.mode & S_IFMT) | (mode & 07777);
        acl_follow_mode(d, i);
        return 0;
}

/* ---- xattr calls */

ssize_t sim_op_getxattr(struct disk *disk, int dirfd, const char *path, const char *name, void *buf, size_t size)
{
        _cleanup_(sim_leave) struct sim_disk *d = sim_enter(disk);
        struct sim_inode *i;
        int r = xattr_find_inode(d, dirfd, path, name, false, &i);
        if (r < 0)
                return r;
        const struct sim_xattr *x = *xattr_slot(i, name);
        if (!x)
                return -ENODATA;
        if (size == 0)
                return (ssize_t)x->size;
        if (size < x->size)
                return -ERANGE;
        memcpy(buf, x->value, x->size);
        return (ssize_t)x->size;
}

ssize_t sim_op_listxattr(struct disk *disk, int dirfd, const char *path, char *buf, size_t size)
{
        _cleanup_(sim_leave) struct sim_disk *d = sim_enter(disk);
        if (d->stopped)
                return -EIO;
        struct sim_inode *i;
        int r = sim_lookup(d, dirfd, path, SIM_EMPTY_OPENED, &i);
        if (r < 0)
                return r;
        size_t total = 0;
        for (const struct sim_xattr *x = i->xattrs; x; x = x->next)
                total += strlen(x->name) + 1;
        if (size == 0)
                return (ssize_t)total;
        if (size < total)
                return -ERANGE;
        for (const struct sim_xattr *x = i->xattrs; x; x = x->next)
                buf = (char *)mempcpy(buf, x->name, strlen(x->name) + 1);
        return (ssize_t)total;
}

static int setxattr_check(const struct sim_disk *d, const struct sim_xattr *old, const char *name, size_t size,
                          int flags)
{
        if ((flags & XATTR_CREATE) && old)
                return -EEXIST;
        if ((flags & XATTR_REPLACE) && !old)
                return -ENODATA;
        return sim_has_room(d, strlen(name) + size) ? 0 : -ENOSPC;
}

int sim_op_setxattr(struct disk *disk, int dirfd, const char *path, const char *name, const void *val, size_t size,
                    int flags)
{
        _cleanup_(sim_leave) struct sim_disk *d = sim_enter(disk);
        if (!d->stopped && (flags & ~(XATTR_CREATE | XATTR_REPLACE)))
                return -EINVAL;
        if (!d->stopped && name_check(name) == 0 && size > SIM_XATTR_SIZE_MAX)
                return -E2BIG;
        struct sim_inode *i;
        int r = xattr_find_inode(d, dirfd, path, name, true, &i);
        if (r < 0)
                return r;
        if (is_acl(name))
                return acl_set(d, i, name, size ? val : NULL, size);
        r = setxattr_check(d, *xattr_slot(i, name), name, size, flags);
        if (r < 0)
                return r;
        r = attr_begin(d, i);
        if (r < 0)
                return r;
        xattr_change(d, i, name, size ? val : "", size);
        return 0;
}

int sim_op_removexattr(struct disk *disk, int dirfd, const char *path, const char *name)
{
        _cleanup_(sim_leave) struct sim_disk *d = sim_enter(disk);
        struct sim_inode *i;
        int r = xattr_find_inode(d, dirfd, path, name, true, &i);
        if (r < 0)
                return r;
        if (is_acl(name))
                return acl_set(d, i, name, NULL, 0);
        if (!*xattr_slot(i, name))
                return -ENODATA;
        r = attr_begin(d, i);
        if (r < 0)
                return r;
        xattr_change(d, i, name, NULL, 0);
        return 0;
}
