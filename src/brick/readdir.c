/* READDIR and READDIRP (spec: brick.md §8.19, wire.md §6.3).
 *
 * In two steps. First, under the descriptor's dir_lock: raw entries are taken from getdents until the budget is full;
 * d_off cookies are the file system's own and go out unchanged. Then, without the lock, READDIRP looks at every entry.
 * A buffer is sized so that the entries in it rarely exceed the budget: then the kernel's position is where the client
 * will continue, and nothing has to seek. Any thread.
 */
#include <dirent.h>

#include "brick/ancestry.h"
#include "brick/index.h"
#include "brick/listing.h"

#define BUDGET_MAX (1 * MIB)
#define BUDGET_PER_ENTRY 208u /* plus the name and its NUL */
#define DIRENT_MIN 24u        /* the smallest record of getdents */
#define READ_MIN 1024u        /* always room for one record of the longest name */
#define EXTRA_MAX (4 * MIB)   /* xdata of one answer; the budget does not count it */

struct listing {
        struct op *op;
        struct io_fd *io;
        struct object dir;
        bool is_top; /* brick root or sub-directory mount: hides .glusterfs, ".." leads nowhere */
        bool skip_dirs;
        bool (*hidden)(void *arg, const char *name); /* may be NULL */
        void *hidden_arg;
        uint64_t offset; /* where the client continues */
        uint32_t budget;
        bool eof;
        struct dirent_entry *v;
        uint32_t n, cap;
};

/* ---- first step: names ----------------------------------------------------------------------------------------- */

static uint8_t type_of_entry(struct listing *l, const struct disk_dirent *d)
{
        struct stat st;
        if (d->d_type != DT_UNKNOWN || disk_stat(l->op->brick->disk, l->io->fd, d->d_name, &st) < 0)
                return d->d_type;
        return IFTODT(st.st_mode);
}

static bool entry_hidden(const struct listing *l, const struct disk_dirent *d, uint8_t type)
{
        if ((l->skip_dirs && type == DT_DIR) || (l->hidden && l->hidden(l->hidden_arg, d->d_name)))
                return true;
        return d->d_ino == l->op->brick->dotgluster_ino && streq(d->d_name, ".glusterfs") &&
               gfid_is_root(&l->io->inode->gfid);
}

/* 1: taken or passed over; 0: the answer is full. */
static int take_entry(struct listing *l, const struct disk_dirent *d)
{
        uint8_t type = type_of_entry(l, d);
        if (entry_hidden(l, d, type))
                return 1;
        uint32_t len = (uint32_t)strlen(d->d_name);
        uint32_t cost = BUDGET_PER_ENTRY + len + 1;
        if (cost > l->budget || l->n == l->cap)
                return 0;
        char *name = arena_strndup(l->op->arena, d->d_name, len);
        if (!name)
                return -ENOMEM;
        l->v[l->n++] =
                (struct dirent_entry){.ino = d->d_ino, .off = (uint64_t)d->d_off, .type = type, .name = {name, len}};
        l->budget -= cost;
        return 1;
}

/* All N bytes of records. 1: all of them were consumed, *POS is behind the last; 0: the answer is full before. */
static int take_records(struct listing *l, const uint8_t *data, size_t n, int64_t *pos)
{
        for (size_t at = 0; at < n;) {
                const struct disk_dirent *d = (const void *)(data + at);
                int r = take_entry(l, d);
                if (r <= 0)
                        return r;
                *pos = d->d_off;
                at += d->d_reclen;
        }
        return 1;
}

static size_t read_size(const struct listing *l, size_t buffer)
{
        size_t fits = (size_t)l->budget / (BUDGET_PER_ENTRY + 2) * DIRENT_MIN;
        return MIN(MAX(fits, (size_t)READ_MIN), buffer);
}

/* *POS: the kernel's position, or -1 when it is not where the client continues. */
static int collect(struct listing *l, uint8_t *buffer, size_t buffer_size, int64_t *pos)
{
        while (l->budget > BUDGET_PER_ENTRY + 1 && l->n < l->cap) {
                ssize_t n = disk_getdents(l->op->brick->disk, l->io->fd, buffer, read_size(l, buffer_size));
                if (n < 0)
                        return (int)n;
                if (n == 0) {
                        l->eof = true;
                        return 0;
                }
                int r = take_records(l, buffer, (size_t)n, pos);
                if (r <= 0) {
                        *pos = -1;
                        return r;
                }
        }
        return 0;
}

static int seek_and_collect(struct listing *l, uint8_t *buffer, size_t buffer_size, int64_t *pos)
{
        if (*pos != (int64_t)l->offset) {
                off_t at = disk_lseek(l->op->brick->disk, l->io->fd, (off_t)l->offset, SEEK_SET);
                if (at < 0)
                        return (int)at;
                *pos = (int64_t)l->offset;
        }
        int r = collect(l, buffer, buffer_size, pos);
        if (r < 0)
                *pos = -1;
        return r;
}

static int list_names(struct listing *l)
{
        size_t buffer_size = READ_MIN + (size_t)l->budget / 8;
        uint8_t *buffer = arena_alloc_uninitialised(l->op->arena, buffer_size);
        l->cap = l->budget / (BUDGET_PER_ENTRY + 2) + 1;
        l->v = arena_alloc_array(l->op->arena, l->cap, sizeof *l->v);
        if (!buffer || !l->v)
                return -ENOMEM;

        struct open_fd *of = l->io->of;
        int64_t fresh = 0;
        if (of)
                pthread_mutex_lock(&of->dir_lock);
        int r = seek_and_collect(l, buffer, buffer_size, of ? &of->dir_pos : &fresh);
        if (of)
                pthread_mutex_unlock(&of->dir_lock);
        return r;
}

/* ---- second step: attributes ----------------------------------------------------------------------------------- */

static int describe_object(struct listing *l, struct object *o, struct dirent_entry *e)
{
        struct op *op = l->op;
        struct dict *dict = arena_alloc(op->arena, sizeof *dict);
        if (!dict)
                return -ENOMEM;
        *dict = DICT_NULL;
        struct iatt stat;
        int r = attr_iatt(op, o, &stat);
        if (r == 0)
                r = fill_xdata(op, o, false, dict);
        if (r == 0)
                r = fill_parent_lock(op, l->dir.inode, e->name.s, dict);
        if (r < 0)
                return r;
        e->stat = stat;
        e->ino = stat.ino;
        e->type = IFTODT(o->st.st_mode);
        e->dict = dict->null ? NULL : dict;
        return 0;
}

static void describe_nothing(struct dirent_entry *e)
{
        e->ino = UINT64_MAX;
        e->stat = (struct iatt){.ino = UINT64_MAX};
}

static int describe_parent(struct listing *l, struct dirent_entry *e)
{
        char name[NAME_LIMIT + 1];
        struct gfid g;
        struct object o;
        if (l->is_top || handle_read_dir(l->op->brick, &l->io->inode->gfid, &g, name) < 0 ||
            object_by_gfid(l->op, &g, &o) < 0) {
                describe_nothing(e);
                return 0;
        }
        int r = describe_object(l, &o, e);
        object_done(l->op->brick, &o);
        return r;
}

static int describe_child(struct listing *l, struct dirent_entry *e)
{
        struct object o;
        int r = object_entry(l->op, &l->dir, e->name.s, NULL, &o);
        if (r == -ENODATA) { /* written into the brick directly: no gfid until a look-up gives it one */
                e->ino = UINT64_MAX;
                return attr_iatt(l->op, &o, &e->stat);
        }
        if (r < 0)
                return r == -ENOMEM ? r : 0; /* gone meanwhile: an entry without attributes */
        r = describe_object(l, &o, e);
        object_done(l->op->brick, &o);
        return r == -ENOMEM ? r : 0;
}

static int describe_entry(struct listing *l, struct dirent_entry *e)
{
        if (streq(e->name.s, "."))
                return describe_object(l, &l->dir, e);
        if (streq(e->name.s, ".."))
                return describe_parent(l, e);
        return describe_child(l, e);
}

/* Attributes may be large: an answer that would need too much memory ends early, and the client continues there. */
static int describe_all(struct listing *l)
{
        size_t before = l->op->arena->used;
        for (uint32_t i = 0; i < l->n; i++) {
                bool too_much = l->op->arena->used - before > MIN((size_t)EXTRA_MAX, l->op->arena->max / 2);
                int r = too_much ? -ENOMEM : describe_entry(l, &l->v[i]);
                if (r == -ENOMEM && i > 0) {
                        l->n = i;
                        l->eof = false;
                        return 0;
                }
                if (r < 0)
                        return r;
        }
        return 0;
}

/* ---- both ------------------------------------------------------------------------------------------------------ */

static int listing_check(struct listing *l)
{
        struct op *op = l->op;
        l->dir = (struct object){.inode = l->io->inode, .at = io_place(l->io)};
        int r = object_restat(op, &l->dir);
        if (r < 0)
                return r;
        if (!S_ISDIR(l->dir.st.st_mode))
                return -EINVAL;
        const struct gfid *g = &l->io->inode->gfid;
        l->is_top = gfid_is_root(g) || gfid_equal(g, &op->session->subdir_root);
        l->skip_dirs = op->xdata.filter_directories.present && op->xdata.filter_directories.value != 0;
        return perm_check(op, &l->dir, PERM_READ);
}

static int list(struct op *op, const struct gfid *gfid, int64_t number, uint64_t offset, uint32_t size, bool plus,
                struct listing *l)
{
        if (offset > INT64_MAX)
                return -EINVAL;
        struct io_fd io;
        int r = io_fd_get(op, gfid, number, O_RDONLY, &io);
        if (r < 0)
                return r;
        *l = (struct listing){.op = op, .io = &io, .offset = offset, .budget = MIN(size, (uint32_t)BUDGET_MAX)};
        r = listing_check(l);
        if (r == 0)
                r = list_names(l);
        if (r == 0 && plus)
                r = describe_all(l);
        if (r == 0)
                r = fill_lock_counts(op, io.inode, &op->reply);
        io_fd_done(op->brick, &io);
        return r;
}

int list_names_of(struct op *op, struct io_fd *io, uint64_t offset, uint32_t size,
                  bool (*hidden)(void *arg, const char *name), void *arg, struct dirent_list *ret, bool *ret_eof)
{
        if (offset > INT64_MAX)
                return -EINVAL;
        struct listing l = {.op = op,
                            .io = io,
                            .hidden = hidden,
                            .hidden_arg = arg,
                            .offset = offset,
                            .budget = MIN(size, (uint32_t)BUDGET_MAX)};
        int r = list_names(&l);
        if (r < 0)
                return r;
        *ret = (struct dirent_list){l.v, l.n};
        *ret_eof = l.eof;
        return 0;
}

int fop_readdir(struct op *op, const struct readdir_fop_req *req, struct readdir_fop_rep *rep)
{
        struct index_dir dir;
        if (index_find(op, &req->gfid, &dir))
                return index_readdir(op, &dir, req, rep);
        struct listing l;
        int r = list(op, &req->gfid, req->fd, req->offset, req->size, false, &l);
        if (r < 0)
                return r;
        rep->reply = (struct dirent_list){l.v, l.n};
        rep->op_ret = (int32_t)l.n;
        rep->op_errno = l.eof ? ENOENT : 0;
        return 0;
}

int fop_readdirp(struct op *op, const struct readdirp_fop_req *req, struct readdirp_fop_rep *rep)
{
        struct listing l;
        if (op->xdata.ancestry_dentry.present)
                return ancestry_list(op, req, rep);
        int r = list(op, &req->gfid, req->fd, req->offset, req->size, true, &l);
        if (r < 0)
                return r;
        rep->reply = (struct dirent_list){l.v, l.n};
        rep->op_ret = (int32_t)l.n;
        rep->op_errno = l.eof ? ENOENT : 0;
        return 0;
}
