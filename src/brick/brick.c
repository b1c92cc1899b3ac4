/* Opening and closing a brick, its options while it runs, and what has to be done now and then (spec: brick.md §2, §16, §21).
 *
 * brick_open() checks that the directory is the brick it is said to be before it changes anything, and then completes
 * .glusterfs. New directories get exactly the modes below whatever the process's umask is, as long as it leaves the owner
 * alone; clients' modes need a umask of 0, which the program sets.
 */
#include "brick/barrier.h"
#include "brick/cache.h"
#include "brick/groups.h"
#include "brick/index.h"
#include "brick/janitor.h"
#include "brick/names.h"
#include "brick/upcall.h"

#include <stdio.h>
#include <sys/random.h>
#include <sys/xattr.h>
#include <time.h>

#define RESERVE_EVERY (5 * NS_PER_SEC)
#define ROOT_HANDLE_TARGET "../../.."
#define HEALTH_FILE ".glusterfs/health_check"
#define CTIME_PROBE "trusted.mortar.probe" /* on the health file, for an instant */
#define CLOCK_TICK_MAX (10 * NS_PER_MSEC)
#define CLOCK_STEP NS_PER_MSEC
#define HEALTH_TEXT_MAX 64

/* ---- checks before anything is changed ------------------------------------------------------------------------------- */

static int open_root(struct brick *b, struct error *e)
{
        int fd = disk_open(b->disk, AT_FDCWD, b->path, O_RDONLY | O_DIRECTORY, 0);
        if (fd < 0)
                return error_set(e, fd, "Brick %s: the directory cannot be opened: %s.", b->path, strerror(-fd));
        b->root_fd = fd;
        struct stat st;
        int r = disk_stat(b->disk, fd, "", &st);
        if (r < 0)
                return error_set(e, r, "Brick %s: stat: %s.", b->path, strerror(-r));
        b->dev = st.st_dev;
        b->root_ino = st.st_ino;
        return 0;
}

static int check_volume_id(struct brick *b, struct error *e)
{
        uint8_t id[32];
        ssize_t len = disk_getxattr(b->disk, b->root_fd, "", XATTR_VOLUME_ID, id, sizeof id);
        if (len == -ENODATA)
                return error_set(e, -ENODATA, "Brick %s has no %s: it is not a brick, or its file system is not mounted.",
                                 b->path, XATTR_VOLUME_ID);
        if (len == -EOPNOTSUPP)
                return error_set(e, -EOPNOTSUPP, "Brick %s: the file system has no extended attributes.", b->path);
        if (len < 0 && len != -ERANGE)
                return error_set(e, (int)len, "Brick %s: reading %s: %s.", b->path, XATTR_VOLUME_ID,
                                 strerror((int)-len));
        if (len != sizeof b->volume_id.b || memcmp(id, b->volume_id.b, sizeof b->volume_id.b) != 0)
                return error_set(e, -ESTALE, "Brick %s belongs to another volume: its %s is not that of volume %s.",
                                 b->path, XATTR_VOLUME_ID, b->volume);
        return 0;
}

static int check_root_gfid(struct brick *b, struct error *e)
{
        struct place root = {.dirfd = b->root_fd};
        struct gfid g, want = GFID_ROOT;
        int r = gfid_read(b, &root, &g);
        if (r == -ENODATA) {
                r = disk_setxattr(b->disk, b->root_fd, "", XATTR_GFID, want.b, sizeof want.b, XATTR_CREATE);
                return r < 0 ? error_set(e, r, "Brick %s: writing %s: %s.", b->path, XATTR_GFID, strerror(-r)) : 0;
        }
        if (r == -EUCLEAN || (r == 0 && !gfid_is_root(&g)))
                return error_set(e, -ESTALE, "Brick %s: the directory has a foreign %s: it is part of another brick.",
                                 b->path, XATTR_GFID);
        return r < 0 ? error_set(e, r, "Brick %s: reading %s: %s.", b->path, XATTR_GFID, strerror(-r)) : 0;
}

/* ---- .glusterfs ------------------------------------------------------------------------------------------------------ */

struct brick_dir {
        const char *path;
        mode_t mode;
};
static const struct brick_dir brick_dirs[] = {
        {".glusterfs", 0600},
        {".glusterfs/00", 0700},
        {".glusterfs/00/00", 0700},
        {".glusterfs/unlink", 0600},
        {".glusterfs/landfill", 0755},
        {".glusterfs/indices", 0600},
        {".glusterfs/indices/xattrop", 0600},
        {".glusterfs/indices/dirty", 0600},
        {".glusterfs/indices/entry-changes", 0600},
        {".glusterfs/changelogs", 0600},
        {".glusterfs/changelogs/htime", 0600},
        {".glusterfs/changelogs/csnap", 0600},
};

static int make_dir(struct brick *b, const char *path, mode_t mode, struct error *e)
{
        int r = disk_mkdir(b->disk, b->root_fd, path, mode);
        if (r < 0 && r != -EEXIST)
                return error_set(e, r, "Brick %s: creating %s: %s.", b->path, path, strerror(-r));
        return 0;
}

static int make_root_handle(struct brick *b, struct error *e)
{
        char path[HANDLE_PATH_MAX], target[sizeof ROOT_HANDLE_TARGET + 1];
        struct gfid root = GFID_ROOT;
        handle_path(&root, path);
        int r = disk_symlink(b->disk, ROOT_HANDLE_TARGET, b->root_fd, path);
        if (r == 0)
                return 0;
        if (r != -EEXIST)
                return error_set(e, r, "Brick %s: creating %s: %s.", b->path, path, strerror(-r));
        ssize_t len = disk_readlink(b->disk, b->root_fd, path, target, sizeof target - 1);
        if (len < 0)
                return error_set(e, (int)len, "Brick %s: reading %s: %s.", b->path, path, strerror((int)-len));
        target[len] = '\0';
        if (!streq(target, ROOT_HANDLE_TARGET))
                return error_set(e, -ESTALE, "Brick %s: %s does not lead to the brick's root.", b->path, path);
        return 0;
}

static int make_tree(struct brick *b, struct error *e)
{
        int r = 0;
        for (size_t k = 0; k < ELEMENTSOF(brick_dirs) && r == 0; k++)
                r = make_dir(b, brick_dirs[k].path, brick_dirs[k].mode, e);
        for (unsigned k = 0; k <= 0xff && r == 0; k++) {
                char path[HANDLE_PATH_MAX];
                (void)snprintf(path, sizeof path, ".glusterfs/%02x", k);
                r = make_dir(b, path, 0700, e);
        }
        if (r == 0)
                r = make_root_handle(b, e);
        return r;
}

static int note_dotgluster(struct brick *b, struct error *e)
{
        struct stat st;
        int r = disk_stat(b->disk, b->root_fd, ".glusterfs", &st);
        if (r < 0)
                return error_set(e, r, "Brick %s: stat .glusterfs: %s.", b->path, strerror(-r));
        b->dotgluster_ino = st.st_ino;
        return 0;
}

/* ---- health ---------------------------------------------------------------------------------------------------------- */

/* "YYYY-MM-DD HH:MM:SS +ZZZZ" */
static size_t health_text(char buf[static HEALTH_TEXT_MAX])
{
        time_t now = time(NULL);
        struct tm tm;
        if (!localtime_r(&now, &tm))
                return 0;
        return strftime(buf, HEALTH_TEXT_MAX, "%Y-%m-%d %H:%M:%S %z", &tm);
}

static int health_write(struct brick *b, int fd, const char *text, size_t len)
{
        char back[HEALTH_TEXT_MAX];
        struct iovec out = {(void *)text, len}, in = {back, len};
        ssize_t n = disk_pwritev(b->disk, fd, &out, 1, 0);
        if (n >= 0)
                n = (size_t)n == len ? disk_preadv(b->disk, fd, &in, 1, 0) : -EIO;
        if (n < 0)
                return (int)n;
        return (size_t)n == len && memcmp(back, text, len) == 0 ? 0 : -EIO;
}

/* Says nothing about the storage: the process lacks something, or the disk is full. */
static bool is_shortage(int error)
{
        switch (error) {
        case -EAGAIN:
        case -EINTR:
        case -EMFILE:
        case -ENFILE:
        case -ENOMEM:
        case -ENOSPC:
        case -EDQUOT:
                return true;
        }
        return false;
}

/* -EIO: the storage failed. Another error: it could not be checked. */
static int health_check(struct brick *b, struct error *e)
{
        char text[HEALTH_TEXT_MAX];
        size_t len = health_text(text);
        int fd = disk_open(b->disk, b->root_fd, HEALTH_FILE, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW, 0644);
        int r = fd;
        if (fd >= 0) {
                r = health_write(b, fd, text, len);
                disk_close(b->disk, fd);
        }
        if (r >= 0 || r == -EAGAIN)
                return 0;
        if (is_shortage(r))
                return error_set(e, r, "The health check could not be made: %s.", strerror(-r));
        return error_set(e, -EIO, "Brick %s: the storage failed its health check (%s): %s.", b->path, HEALTH_FILE,
                         strerror(-r));
}

/* ---- options --------------------------------------------------------------------------------------------------------- */

/* Requests read options without a lock, so they are replaced as a whole; what was replaced is kept until the brick is
 * closed, since a request may hang for as long. */
struct options_copy {
        struct options_copy *next;
        struct brick_options options;
};

static int set_options(struct brick *b, const struct brick_options *options)
{
        const struct brick_options *now = b->options;
        if (now && memcmp(now, options, sizeof *now) == 0)
                return 0;
        struct options_copy *copy = malloc(sizeof *copy);
        if (!copy)
                return -ENOMEM;
        copy->options = *options;
        pthread_mutex_lock(&b->lock);
        copy->next = b->copies;
        b->copies = copy;
        atomic_store(&b->options, &copy->options);
        pthread_mutex_unlock(&b->lock);
        return 0;
}

static void free_options(struct brick *b)
{
        while (b->copies) {
                struct options_copy *next = b->copies->next;
                free(b->copies);
                b->copies = next;
        }
}

/* ---- opening --------------------------------------------------------------------------------------------------------- */

/* "" only if the machine has no name. */
static char *name_of_host(const char *configured)
{
        char name[NAME_LIMIT + 1] = "";
        if ((!configured || !*configured) && gethostname(name, sizeof name - 1) < 0)
                name[0] = '\0';
        return strdup(configured && *configured ? configured : name);
}

static int copy_config(struct brick *b, const struct brick_config *c)
{
        b->path = strdup(c->path);
        b->volume = strdup(c->volume ? c->volume : "");
        b->hostname = name_of_host(c->hostname);
        b->volume_id = c->volume_id;
        b->node_uuid = c->node_uuid;
        int r = set_options(b, &c->options);
        return b->path && b->volume && b->hostname ? r : -ENOMEM;
}

static int random_secret(struct brick *b)
{
        return getrandom(&b->lock_secret, sizeof b->lock_secret, 0) == (ssize_t)sizeof b->lock_secret ? 0 : -EIO;
}

static int make_tables(struct brick *b)
{
        int r = inode_table_new(b, b->options->inode_lru_limit, &b->inodes);
        if (r == 0)
                r = group_cache_new(&b->groups);
        if (r == 0)
                r = index_new(&b->index);
        if (r == 0)
                r = upcall_table_new(&b->upcalls);
        if (r == 0)
                r = barrier_new(&b->barrier);
        if (r == 0)
                r = random_secret(b);
        return r;
}

/* The root's inode is never let go and uses the brick's own descriptor. */
static int hold_root(struct brick *b)
{
        struct gfid root = GFID_ROOT;
        b->root = inode_get(b, &root);
        if (!b->root)
                return -ENOMEM;
        inode_set_ino(b, b->root, b->root_ino, S_IFDIR);
        inode_keep_dirfd(b, b->root, b->root_fd);
        return 0;
}

/* storage.owner-uid and -gid. */
static int own_root(struct brick *b, struct error *e)
{
        const struct brick_options *o = b->options;
        if (o->owner_uid < 0 && o->owner_gid < 0)
                return 0;
        int r = disk_chown(b->disk, b->root_fd, "", o->owner_uid < 0 ? (uid_t)-1 : (uid_t)o->owner_uid,
                           o->owner_gid < 0 ? (gid_t)-1 : (gid_t)o->owner_gid);
        if (r < 0)
                return error_set(e, r, "Brick %s: setting its owner: %s.", b->path, strerror(-r));
        return 0;
}

/* A security module labels every new file; without one, creations know all attributes of what they made. */
static bool creations_are_bare(struct brick *b)
{
        char names[256];
        return disk_listxattr(b->disk, b->root_fd, HEALTH_FILE, names, sizeof names) == 0;
}

/* 1: a change of the health file's attributes moved its ctime; 0: it did not. */
static int ctime_moves(struct brick *b)
{
        struct stat before, after;
        int r = disk_stat(b->disk, b->root_fd, HEALTH_FILE, &before);
        if (r == 0)
                r = disk_setxattr(b->disk, b->root_fd, HEALTH_FILE, CTIME_PROBE, "1", 1, 0);
        if (r < 0)
                return r;
        r = disk_stat(b->disk, b->root_fd, HEALTH_FILE, &after);
        int removed = disk_removexattr(b->disk, b->root_fd, HEALTH_FILE, CTIME_PROBE);
        if (r < 0 || removed < 0)
                return r < 0 ? r : removed;
        return before.st_ctim.tv_sec != after.st_ctim.tv_sec || before.st_ctim.tv_nsec != after.st_ctim.tv_nsec;
}

/* What is remembered of attributes is checked by ctime, so the file system has to keep one: docs/decisions/003. A file that
 * was changed in this tick of the kernel's clock moves in the next one, which comes within 10 ms. */
static int check_ctime(struct brick *b, struct error *e)
{
        int r = ctime_moves(b);
        for (uint64_t waited = 0; r == 0 && waited < 2 * CLOCK_TICK_MAX; waited += CLOCK_STEP) {
                (void)nanosleep(&(struct timespec){.tv_nsec = (long)CLOCK_STEP}, NULL);
                r = ctime_moves(b);
        }
        if (r > 0 || is_shortage(r)) /* a full disk must not keep its data from being read */
                return 0;
        if (r < 0)
                return error_set(e, r, "Brick %s: setting an attribute of %s: %s.", b->path, HEALTH_FILE, strerror(-r));
        return error_set(e, -EOPNOTSUPP,
                         "Brick %s: its file system does not change the ctime of a file whose extended attributes change, "
                         "so it cannot carry a brick. Put the brick on XFS or ext4.", b->path);
}

static int prepare(struct brick *b, struct error *e)
{
        int r = open_root(b, e);
        if (r == 0)
                r = check_volume_id(b, e);
        if (r == 0)
                r = check_root_gfid(b, e);
        if (r == 0)
                r = make_tree(b, e);
        if (r == 0)
                r = note_dotgluster(b, e);
        if (r == 0)
                r = own_root(b, e);
        bool moves = r == 0 && ctime_moves(b) > 0; /* of an earlier run's file, without waiting for a tick */
        if (r == 0 && health_check(b, e) == -EIO)
                r = -EIO;
        if (r == 0 && !moves)
                r = check_ctime(b, e);
        if (r < 0)
                return r;
        b->bare_creations = creations_are_bare(b);
        r = hold_root(b);
        if (r == 0)
                r = space_refresh(b);
        if (r == 0)
                r = janitor_empty_unlink(b);
        return r < 0 ? error_set(e, r, "Brick %s: opening: %s.", b->path, strerror(-r)) : 0;
}

int brick_open(struct disk *disk, const struct brick_config *config, struct brick **ret, struct error *e)
{
        struct brick *fresh = calloc(1, sizeof *fresh);
        if (!fresh)
                return error_set(e, -ENOMEM, "Brick %s: no memory.", config->path);
        _cleanup_(brick_closep) struct brick *b = fresh;
        b->disk = disk;
        b->root_fd = -EBADF;
        b->uid = geteuid();
        b->gid = getegid();
        pthread_mutex_init(&b->lock, NULL);
        pthread_rwlock_init(&b->dir_moves, NULL);
        for (size_t k = 0; k < BRICK_ENTRY_LOCKS; k++)
                pthread_mutex_init(&b->entry_locks[k], NULL);
        int r = copy_config(b, config);
        if (r == 0)
                r = make_tables(b);
        if (r < 0)
                return error_set(e, r, "Brick %s: opening: %s.", config->path, strerror(-r));
        r = prepare(b, e);
        if (r < 0)
                return r;
        barrier_follow_options(b);
        *ret = TAKE_PTR(b);
        return 0;
}

struct brick *brick_close(struct brick *b)
{
        if (!b)
                return NULL;
        if (b->inodes) {
                inode_unref(b, b->root);
                inode_table_empty(b);
                inode_table_free(b->inodes);
        }
        group_cache_free(b->groups);
        index_free(b->index);
        upcall_table_free(b->upcalls);
        barrier_free(b->barrier);
        if (b->root_fd >= 0)
                disk_close(b->disk, b->root_fd);
        for (size_t k = 0; k < BRICK_ENTRY_LOCKS; k++)
                pthread_mutex_destroy(&b->entry_locks[k]);
        pthread_mutex_destroy(&b->lock);
        free_options(b);
        pthread_rwlock_destroy(&b->dir_moves);
        free(b->path);
        free(b->volume);
        free(b->hostname);
        free(b);
        return NULL;
}

const char *brick_path(const struct brick *b)
{
        return b->path;
}

const struct gfid *brick_volume_id(const struct brick *b)
{
        return &b->volume_id;
}

/* ---- while it runs --------------------------------------------------------------------------------------------------- */

int brick_reconfigure(struct brick *b, const struct brick_options *options)
{
        int r = set_options(b, options);
        if (r < 0)
                return r;
        pthread_mutex_lock(&b->lock);
        b->next_reserve_check = b->next_health = b->next_purge = 0;
        pthread_mutex_unlock(&b->lock);
        barrier_follow_options(b);
        (void)own_root(b, NULL);
        (void)space_refresh(b);
        return 0;
}

/* Is something due at *NEXT? Then it is due again EVERY later. */
static bool is_due(struct brick *b, uint64_t *next, uint64_t now, uint64_t every)
{
        pthread_mutex_lock(&b->lock);
        bool due = every > 0 && now >= *next;
        if (due)
                *next = now + every;
        pthread_mutex_unlock(&b->lock);
        return due;
}

int brick_maintain(struct brick *b, uint64_t now_ns, struct error *e)
{
        const struct brick_options *o = b->options;
        barrier_maintain(b, now_ns);
        if (is_due(b, &b->next_reserve_check, now_ns, RESERVE_EVERY)) {
                int r = space_refresh(b);
                if (r < 0)
                        return error_set(e, -EIO, "Brick %s: asking for free space: %s.", b->path, strerror(-r));
        }
        if (is_due(b, &b->next_health, now_ns, o->health_check_interval * NS_PER_SEC))
                return health_check(b, e);
        return 0;
}

void brick_purge(struct brick *b, uint64_t now_ns)
{
        if (!is_due(b, &b->next_purge, now_ns, b->options->janitor_sleep * NS_PER_SEC) || janitor_purge(b) <= 0)
                return;
        pthread_mutex_lock(&b->lock);
        b->next_purge = now_ns; /* more is left: go on at the next call */
        pthread_mutex_unlock(&b->lock);
}

void brick_get_stats(struct brick *b, struct brick_stats *ret)
{
        struct brick_stats s = {0};
        meter_read(&b->meter, &s);
        upcall_count(b, &s);
        pthread_mutex_lock(&b->lock);
        for (struct session *i = b->sessions; i; i = i->next) {
                s.sessions++;
                lock_stats_session(i, &s);
        }
        pthread_mutex_unlock(&b->lock);
        inode_table_count(b, &s);
        *ret = s;
}
