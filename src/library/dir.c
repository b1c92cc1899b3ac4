/* Open directories: entries with attributes, fetched in batches and handed out one by one (client.h).
 *
 * dir_next() only looks at the batch, so most entries cost no visit to the volume's thread. The batch is changed
 * under the directory's mutex, which the public functions hold, by whoever fetches on their behalf.
 */
#include <pthread.h>
#include <stdlib.h>

#include "library/client.h"

#define BATCH_SIZE (128 * KIB)
#define BATCH_ARENA (8 * MIB)

struct mortar_dir {
        struct mortar_volume *volume;
        struct client *client;
        struct vfile *file;
        struct identity identity;
        pthread_mutex_t mutex; /* between callers */
        struct arena arena;    /* of the batch */
        struct dirent_entry *v;
        uint32_t n, at;
        uint64_t next; /* where the next batch begins */
        bool end;
};

struct mortar_volume *dir_volume(const struct mortar_dir *dir)
{
        return dir->volume;
}

const struct identity *dir_identity(const struct mortar_dir *dir)
{
        return &dir->identity;
}

void dir_lock(struct mortar_dir *dir)
{
        (void)pthread_mutex_lock(&dir->mutex);
}

void dir_unlock(struct mortar_dir *dir)
{
        (void)pthread_mutex_unlock(&dir->mutex);
}

void dir_seek(struct mortar_dir *dir, uint64_t position)
{
        dir->n = dir->at = 0;
        dir->next = position;
        dir->end = false;
}

static bool is_dots(struct str name)
{
        return str_is(name, ".") || str_is(name, "..");
}

int dir_next(struct mortar_dir *dir, struct mortar_entry *ret)
{
        for (; dir->at < dir->n; dir->at++) {
                const struct dirent_entry *e = &dir->v[dir->at];
                if (is_dots(e->name) || e->name.len > NAME_LIMIT || !stat_is_usable(&e->stat))
                        continue;
                memcpy(ret->name, e->name.s, e->name.len);
                ret->name[e->name.len] = '\0';
                ret->position = e->off;
                stat_from(&e->stat, &ret->stat);
                dir->at++;
                return 1;
        }
        return dir->end ? 0 : -EAGAIN;
}

/* ---- on the loop ------------------------------------------------------------------------------------------------ */

/* What a call on the directory is about. */
static void aim(struct job *j)
{
        j->r.file = j->dir->file;
        j->r.inode = j->dir->file->inode;
}

static ssize_t open_dir(struct job *j, struct place *p)
{
        struct mortar_dir **ret = j->ret;
        struct opendir_fop_req req = {.gfid = p->inode->gfid};
        struct opendir_fop_rep rep = {0};
        if (!S_ISDIR(p->stat.mode))
                return -ENOTDIR;
        _cleanup_vfile_ struct vfile *file = vfile_new(p->inode, O_RDONLY | O_DIRECTORY, true);
        _cleanup_free_ struct mortar_dir *dir = calloc(1, sizeof *dir);
        if (!file || !dir)
                return -ENOMEM;
        j->r.file = file;
        int r = subvolume_opendir(j->self, job_top(j, FOP_OPENDIR), &j->r, &req, &rep);
        j->r.file = NULL;
        if (r < 0)
                return r;
        *dir = (struct mortar_dir){.volume = j->volume,
                                   .client = j->client,
                                   .file = TAKE_PTR(file),
                                   .identity = *j->identity,
                                   .mutex = PTHREAD_MUTEX_INITIALIZER,
                                   .arena = ARENA_INIT(BATCH_ARENA)};
        volume_hold(j->volume);
        *ret = TAKE_PTR(dir);
        return 0;
}

ssize_t op_dir_open(struct job *j)
{
        return place_do_there(j, true, open_dir);
}

/* An entry that came without attributes: they are asked for. One that is gone meanwhile keeps none, and is left out. */
static int complete(struct job *j, struct dirent_entry *e)
{
        struct request r = j->r;
        struct lookup_fop_req req = {.pargfid = j->r.inode->gfid, .bname = e->name};
        struct lookup_fop_rep rep = {0};
        _cleanup_vnode_ struct vnode *inode = vnode_new(j->client->volume, NULL, 0);
        if (!inode)
                return -ENOMEM;
        r.file = NULL;
        r.inode = inode;
        r.parent = j->r.inode;
        int result = subvolume_lookup(j->self, volume_top(j->client->volume), &r, &req, &rep);
        if (result >= 0)
                e->stat = rep.prestat;
        return result < 0 && result != -ENOENT && result != -ESTALE ? result : 0;
}

ssize_t op_dir_fetch(struct job *j)
{
        struct mortar_dir *d = j->dir;
        struct readdirp_fop_req req = {.gfid = d->file->inode->gfid, .offset = d->next, .size = BATCH_SIZE};
        struct readdirp_fop_rep rep = {0};
        aim(j);
        arena_reset(&d->arena);
        d->n = d->at = 0;
        j->r.arena = &d->arena;
        int r = subvolume_readdirp(j->self, job_top(j, FOP_READDIRP), &j->r, &req, &rep);
        if (r < 0)
                return r;
        for (uint32_t i = 0; i < rep.reply.n; i++) {
                struct dirent_entry *e = &rep.reply.v[i];
                r = is_dots(e->name) || stat_is_usable(&e->stat) ? 0 : complete(j, e);
                if (r < 0)
                        return r;
        }
        d->v = rep.reply.v;
        d->n = rep.reply.n;
        d->end = rep.reply.n == 0 || rep.op_errno == ENOENT;
        if (d->n > 0)
                d->next = d->v[d->n - 1].off;
        return 0;
}

ssize_t op_dir_sync(struct job *j)
{
        struct fsyncdir_fop_req req = {.gfid = j->dir->file->inode->gfid};
        struct fsyncdir_fop_rep rep = {0};
        aim(j);
        int r = subvolume_fsyncdir(j->self, job_top(j, FOP_FSYNCDIR), &j->r, &req, &rep);
        return r < 0 ? r : 0;
}

ssize_t op_dir_close(struct job *j)
{
        struct mortar_dir *d = j->dir;
        vfile_unref(d->file);
        arena_done(&d->arena);
        (void)pthread_mutex_destroy(&d->mutex);
        volume_release(d->volume);
        free(d);
        return 0;
}
