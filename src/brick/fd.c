/* Descriptors of clients: the table of a session and the objects in it (spec: brick.md §14.1, §14.4).
 *
 * The table is an array under session.lock; the lowest free number is taken, as stock does. An open_fd lives as long as
 * the table or a running request refers to it. The last reference closes the disk's descriptor, and removes the file
 * when its last name went while it was open. Any thread.
 */
#include "brick/upcall.h"

#include <sys/resource.h>

#define FDS_FIRST 64u

uint32_t session_fd_limit(void)
{
        struct rlimit l;
        if (getrlimit(RLIMIT_NOFILE, &l) < 0)
                return FDS_FIRST;
        return (uint32_t)MIN(l.rlim_cur / 2, (rlim_t)SESSION_FDS_MAX);
}

static int table_grow(struct session *s)
{
        if (s->fd_cap >= s->fd_max)
                return -EMFILE;
        uint32_t cap = MIN(s->fd_cap ? s->fd_cap * 2 : FDS_FIRST, s->fd_max);
        struct open_fd **fds = reallocarray(s->fds, cap, sizeof(struct open_fd *));
        if (!fds)
                return -ENOMEM;
        memset(fds + s->fd_cap, 0, (cap - s->fd_cap) * sizeof(struct open_fd *));
        s->fds = fds;
        s->fd_cap = cap;
        return 0;
}

int session_fd_add(struct session *s, struct open_fd *of, int64_t *ret)
{
        pthread_mutex_lock(&s->lock);
        while (s->fd_low < s->fd_cap && s->fds[s->fd_low])
                s->fd_low++;
        int r = s->fd_low < s->fd_cap ? 0 : table_grow(s);
        if (r == 0) {
                s->fds[s->fd_low] = of;
                *ret = s->fd_low++;
        }
        pthread_mutex_unlock(&s->lock);
        return r;
}

/* Called under session.lock. */
static struct open_fd **table_slot(struct session *s, int64_t number)
{
        return number >= 0 && number < s->fd_cap ? &s->fds[number] : NULL;
}

struct open_fd *session_fd_get(struct session *s, int64_t number)
{
        pthread_mutex_lock(&s->lock);
        struct open_fd **slot = table_slot(s, number);
        struct open_fd *of = slot ? *slot : NULL;
        if (of)
                atomic_fetch_add(&of->refs, 1);
        pthread_mutex_unlock(&s->lock);
        return of;
}

struct open_fd *session_fd_take(struct session *s, int64_t number)
{
        pthread_mutex_lock(&s->lock);
        struct open_fd **slot = table_slot(s, number);
        struct open_fd *of = slot ? TAKE_PTR(*slot) : NULL;
        if (of && number < s->fd_low)
                s->fd_low = (uint32_t)number;
        pthread_mutex_unlock(&s->lock);
        return of;
}

int open_fd_new(struct brick *b, const struct object *o, int fd, int flags, struct open_fd **ret)
{
        (void)b;
        struct inode *inode = o->inode;
        struct open_fd *of = calloc(1, sizeof *of);
        if (!of)
                return -ENOMEM;
        atomic_init(&of->refs, 1);
        of->inode = inode_ref(inode);
        of->fd = fd;
        of->ino = o->st.st_ino;
        of->flags = flags;
        of->is_dir = S_ISDIR(o->st.st_mode);
        pthread_mutex_init(&of->dir_lock, NULL);
        pthread_mutex_lock(&inode->lock);
        inode->fd_count++;
        pthread_mutex_unlock(&inode->lock);
        *ret = of;
        return 0;
}

int open_fd_open(struct brick *b, const struct object *o, int disk_flags, int flags, struct open_fd **ret)
{
        pthread_mutex_lock(&o->inode->lock);
        int fd = object_open(b, o, disk_flags);
        int r = fd < 0 ? fd : open_fd_new(b, o, fd, flags, ret);
        pthread_mutex_unlock(&o->inode->lock);
        if (r < 0 && fd >= 0)
                disk_close(b->disk, fd);
        return r;
}

/* The last descriptor of an inode without names takes the file with it. */
static void inode_fd_closed(struct brick *b, struct inode *inode)
{
        char path[HANDLE_PATH_MAX];
        bool gone = false;
        pthread_mutex_lock(&inode->lock);
        if (--inode->fd_count == 0 && inode->unlinked) {
                handle_unlink_path(&inode->gfid, path);
                (void)disk_unlink(b->disk, b->root_fd, path, 0); /* absent: it was emptied or given a name again */
                inode->unlinked = false;
                gone = true;
        }
        pthread_mutex_unlock(&inode->lock);
        if (!gone)
                return;
        inode_forget(b, inode);
        upcall_forget(b, NULL, &inode->gfid);
}

struct open_fd *open_fd_unref(struct brick *b, struct open_fd *of)
{
        if (!of || atomic_fetch_sub(&of->refs, 1) > 1)
                return NULL;
        disk_close(b->disk, of->fd);
        inode_fd_closed(b, of->inode);
        inode_unref(b, of->inode);
        pthread_mutex_destroy(&of->dir_lock);
        free(of);
        return NULL;
}
