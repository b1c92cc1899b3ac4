/* The walk over all names of the brick, or of its landfill (check.h).
 *
 * Depth first, a directory at a time: all its entries are judged as they are read, then each of its subdirectories is
 * entered. What is remembered of the way are names and gfids of subdirectories still to be entered. There is no limit of
 * depth; of the directories above, only the nearest ones and every 64th are kept open, the others are opened again on
 * the way back. Symbolic links are never followed, mount points never crossed. One thread.
 */
#include "brick/check.h"

#define OPEN_NEAREST 64
#define SUBS_LIMIT GIB /* of the names of one directory's subdirectories */
#define PATH_SOFT_LIMIT (MIB - 2 * NAME_LIMIT)

struct level {
        int fd; /* -EBADF: closed for now */
        struct gfid gfid;
        size_t path_len; /* of c->path, for this directory */
        struct buf subs; /* gfid and NUL-terminated name of each subdirectory */
        size_t next;     /* in subs */
};

struct walk {
        struct checker *c;
        struct level *v;
        size_t n, cap;
        bool landfill;
};

static void level_done(struct walk *w, struct level *l)
{
        if (l->fd >= 0)
                disk_close(w->c->b.disk, l->fd);
        buf_done(&l->subs);
}

static void walk_done(struct walk *w)
{
        while (w->n > 0)
                level_done(w, &w->v[--w->n]);
        free(w->v);
}

/* ---- reading a directory ------------------------------------------------------------------------------------------- */

static void list_entry(struct checker *c, int fd, const char *name, void *arg)
{
        struct walk *w = arg;
        struct level *l = &w->v[w->n - 1];
        struct gfid g;
        if (!w->landfill && w->n == 1 && streq(name, ".glusterfs"))
                return;
        check_path_push(c, l->path_len, name);
        if (!check_name(c, fd, name, &l->gfid, w->landfill, &g))
                return;
        (void)buf_append(&l->subs, g.b, sizeof g.b);
        if (buf_append(&l->subs, name, strlen(name) + 1) < 0)
                c->overflow = true;
}

static void list_level(struct walk *w)
{
        struct level *l = &w->v[w->n - 1];
        int r = check_each(w->c, l->fd, list_entry, w);
        check_path_cut(w->c, l->path_len);
        if (r < 0)
                check_failed(w->c, NULL, r, "reading the directory");
}

/* ---- going down and up --------------------------------------------------------------------------------------------- */

/* A directory of which others are between it and where the walk is. */
static void close_far(struct walk *w)
{
        if (w->n <= OPEN_NEAREST || (w->n - OPEN_NEAREST) % OPEN_NEAREST == 1)
                return;
        struct level *l = &w->v[w->n - OPEN_NEAREST - 1];
        if (l->fd >= 0)
                disk_close(w->c->b.disk, l->fd);
        l->fd = -EBADF;
}

static int push(struct walk *w, int fd, const struct gfid *g)
{
        if (w->n == w->cap) {
                size_t cap = w->cap ? w->cap * 2 : 16;
                struct level *v = reallocarray(w->v, cap, sizeof *v);
                if (!v) {
                        disk_close(w->c->b.disk, fd);
                        return -ENOMEM;
                }
                w->v = v;
                w->cap = cap;
        }
        close_far(w);
        w->v[w->n++] = (struct level){.fd = fd, .gfid = *g, .path_len = w->c->path.len, .subs = BUF_INIT(SUBS_LIMIT)};
        list_level(w);
        return 0;
}

/* Opens level K from the one above it. */
static int open_level(struct walk *w, size_t k)
{
        char name[NAME_LIMIT + 1];
        struct level *above = &w->v[k - 1], *l = &w->v[k];
        size_t from = above->path_len + (above->path_len > 0);
        memcpy(name, w->c->path.data + from, l->path_len - from);
        name[l->path_len - from] = '\0';
        l->fd = check_open_dir(w->c, above->fd, name);
        return MIN(l->fd, 0);
}

static int open_again(struct walk *w)
{
        size_t k = w->n - 1;
        int r = 0;
        while (w->v[k].fd < 0) /* the first one is always open */
                k--;
        while (k < w->n - 1 && r == 0)
                r = open_level(w, ++k);
        return r;
}

/* Enters the next subdirectory of the innermost one. */
static void enter_next(struct walk *w)
{
        struct checker *c = w->c;
        struct level *l = &w->v[w->n - 1];
        struct gfid g;
        memcpy(g.b, l->subs.data + l->next, sizeof g.b);
        const char *name = (const char *)l->subs.data + l->next + sizeof g.b;
        l->next += sizeof g.b + strlen(name) + 1;
        check_path_cut(c, l->path_len);
        int r = l->fd < 0 ? open_again(w) : 0;
        int fd = r < 0 ? r : check_open_dir(c, l->fd, name);
        check_path_push(c, l->path_len, name);
        if (fd >= 0 && c->path.len > PATH_SOFT_LIMIT) {
                disk_close(c->b.disk, fd);
                fd = -ENAMETOOLONG;
        }
        if (fd < 0)
                check_failed(c, NULL, fd, "opening");
        else if (push(w, fd, &g) < 0)
                c->overflow = true;
}

void check_walk(struct checker *c, int fd, const struct gfid *self, bool landfill)
{
        _cleanup_(walk_done) struct walk w = {.c = c, .landfill = landfill};
        if (push(&w, fd, self) < 0)
                c->overflow = true;
        while (w.n > 0 && !c->overflow) {
                struct level *l = &w.v[w.n - 1];
                if (l->next < l->subs.len)
                        enter_next(&w);
                else
                        level_done(&w, &w.v[--w.n]);
        }
}
