/* From a path to an object: name after name from the root, each asked of the bricks (client.h).
 *
 * The directories on the way are kept in a stack, so ".." is where the walk came from. Bounded: length of the path
 * and of each name, number of links followed, depth. A link's target takes the place of the name and what follows it
 * stays behind it.
 */
#include <stdio.h>

#include "library/client.h"

#define LINKS_MAX 40
#define DEPTH_MAX (PATH_LIMIT / 2 + 1)

struct walk {
        struct job *j;
        struct vnode **stack; /* of DEPTH_MAX, each a reference */
        unsigned depth, links;
        const char *rest;
        bool follow;
};

/* ---- one name --------------------------------------------------------------------------------------------------- */

static int look_up(struct job *j, struct vnode *parent, const char *name, struct vnode **ret, struct iatt *ret_stat)
{
        uint8_t random[16];
        _cleanup_vnode_ struct vnode *inode = vnode_new(j->client->volume, NULL, 0);
        if (!inode)
                return -ENOMEM;
        loop_random(j->client->loop, random, sizeof random);
        const struct gfid fresh = gfid_from_random(random); /* for an object that has none */
        struct request r = j->r;
        r.file = NULL;
        r.inode = inode;
        r.parent = parent;
        r.cred.flags = 0;
        struct lookup_fop_req req = {.pargfid = parent->gfid, .bname = str_of(name)};
        struct lookup_fop_rep rep = {0};
        int result = dict_add_gfid(&req.xdata, r.arena, "gfid-req", &fresh);
        if (result == 0)
                result = subvolume_lookup(j->self, volume_top(j->client->volume), &r, &req, &rep);
        if (result < 0)
                return result;
        if (!stat_is_usable(&rep.prestat))
                return -ESTALE;
        *ret = vnode_link(inode, &rep.prestat);
        *ret_stat = rep.prestat;
        return 0;
}

static int stat_of(struct job *j, struct vnode *i, struct iatt *ret)
{
        struct request r = j->r;
        r.file = NULL;
        r.inode = i;
        struct stat_fop_req req = {.gfid = i->gfid};
        struct stat_fop_rep rep = {0};
        int result = subvolume_stat(j->self, volume_top(j->client->volume), &r, &req, &rep);
        if (result >= 0)
                *ret = rep.stat;
        return result < 0 ? result : 0;
}

/* ---- the walk --------------------------------------------------------------------------------------------------- */

static int push(struct walk *w, struct vnode *directory)
{
        if (w->depth == DEPTH_MAX)
                return -ENAMETOOLONG;
        if (directory == w->j->not_below)
                return -EINVAL;
        w->stack[w->depth++] = vnode_ref(directory);
        return 0;
}

static void pop_to(struct walk *w, unsigned depth)
{
        while (w->depth > depth)
                vnode_unref(w->stack[--w->depth]);
}

/* The next name into P; -ENOENT: the path is at its end. *LAST: nothing follows. */
static int next_name(struct walk *w, struct place *p, bool *last)
{
        w->rest += strspn(w->rest, "/");
        size_t n = strcspn(w->rest, "/");
        if (n == 0)
                return -ENOENT;
        if (n > NAME_LIMIT)
                return -ENAMETOOLONG;
        memcpy(p->name, w->rest, n);
        p->name[n] = '\0';
        w->rest += n;
        p->slash = w->rest[0] == '/';
        *last = w->rest[strspn(w->rest, "/")] == '\0';
        return 0;
}

static int follow_link(struct walk *w, struct vnode *link)
{
        struct job *j = w->j;
        struct readlink_fop_req req = {.gfid = link->gfid, .size = PATH_LIMIT};
        struct readlink_fop_rep rep = {0};
        struct request r = j->r;
        r.file = NULL;
        r.inode = link;
        if (++w->links > LINKS_MAX)
                return -ELOOP;
        int result = subvolume_readlink(j->self, volume_top(j->client->volume), &r, &req, &rep);
        if (result < 0)
                return result;
        if (rep.path.len == 0)
                return -ENOENT;
        if (rep.path.len + strlen(w->rest) > PATH_LIMIT)
                return -ENAMETOOLONG;
        w->rest = arena_printf(&j->arena, "%.*s%s", (int)rep.path.len, rep.path.s, w->rest);
        if (!w->rest)
                return -ENOMEM;
        if (w->rest[0] == '/')
                pop_to(w, 1);
        return 0;
}

/* What has the name p->name; LAST: nothing follows it. 1: P is what the path means; 0: go on. */
static int step(struct walk *w, struct place *p, bool last)
{
        struct vnode *top = w->stack[w->depth - 1];
        _cleanup_vnode_ struct vnode *found = NULL;
        if (streq(p->name, ".") || streq(p->name, "..")) {
                pop_to(w, p->name[1] && w->depth > 1 ? w->depth - 1 : w->depth);
                return 0;
        }
        int r = look_up(w->j, top, p->name, &found, &p->stat);
        if (r == -ENOENT && last) {
                p->parent = vnode_ref(top);
                return 1;
        }
        if (r < 0)
                return r;
        if (S_ISLNK(p->stat.mode) && (!last || w->follow || p->slash))
                return follow_link(w, found);
        if (!S_ISDIR(p->stat.mode) && (!last || p->slash))
                return -ENOTDIR;
        if (!last)
                return push(w, found);
        p->parent = vnode_ref(top);
        p->inode = TAKE_PTR(found);
        return 1;
}

static int walk(struct walk *w, struct place *p)
{
        bool last;
        int r;
        while ((r = next_name(w, p, &last)) == 0) {
                r = step(w, p, last);
                if (r != 0)
                        return r;
                if (last && w->rest[strspn(w->rest, "/")] == '\0')
                        break; /* "." or "..", or a link to "/" */
        }
        if (r < 0 && r != -ENOENT)
                return r;
        struct vnode *top = w->stack[w->depth - 1];
        r = stat_of(w->j, top, &p->stat);
        if (r == 0)
                p->inode = vnode_ref(top);
        return r;
}

int place_find(struct job *j, const char *path, bool follow, struct place *ret)
{
        struct walk w = {.j = j, .follow = follow, .rest = path};
        _cleanup_place_ struct place p = {0};
        size_t length = strlen(path);
        if (length == 0)
                return -ENOENT;
        if (length > PATH_LIMIT)
                return -ENAMETOOLONG;
        w.stack = arena_alloc_array(&j->arena, DEPTH_MAX, sizeof(struct vnode *));
        if (!w.stack)
                return -ENOMEM;
        int r = push(&w, j->client->root);
        if (r == 0)
                r = walk(&w, &p);
        pop_to(&w, 0);
        if (r < 0)
                return r;
        *ret = p;
        p = (struct place){0};
        return 0;
}

void place_done(struct place *p)
{
        p->parent = vnode_unref(p->parent);
        p->inode = vnode_unref(p->inode);
}

ssize_t place_do(struct job *j, bool follow, ssize_t (*fn)(struct job *j, struct place *p))
{
        ssize_t r = -ESTALE;
        for (unsigned i = 0; r == -ESTALE && i < STALE_TRIES; i++) {
                _cleanup_place_ struct place p = {0};
                arena_reset(&j->arena);
                r = place_find(j, j->path, follow, &p);
                if (r == 0)
                        r = fn(j, &p);
        }
        return r;
}

ssize_t place_do_there(struct job *j, bool follow, ssize_t (*fn)(struct job *j, struct place *p))
{
        ssize_t r = -ESTALE;
        for (unsigned i = 0; r == -ESTALE && i < STALE_TRIES; i++) {
                _cleanup_place_ struct place p = {0};
                arena_reset(&j->arena);
                r = place_find(j, j->path, follow, &p);
                j->r.inode = p.inode;
                j->r.parent = NULL;
                if (r == 0)
                        r = p.inode ? fn(j, &p) : -ENOENT;
        }
        return r;
}

/* ---- the root --------------------------------------------------------------------------------------------------- */

int client_open(struct fibre *self, struct client *s, struct error *err)
{
        _cleanup_arena_ struct arena arena = ARENA_INIT(MIB);
        _cleanup_vnode_ struct vnode *root = vnode_new(s->volume, &GFID_ROOT, S_IFDIR);
        if (!root)
                return error_set(err, -ENOMEM, "out of memory");
        struct request r = {.arena = &arena, .inode = root};
        struct lookup_fop_req req = {.gfid = GFID_ROOT, .bname = STR("")};
        struct lookup_fop_rep rep = {0};
        r.cred.flavour = RPC_AUTH_GLUSTERFS_V3;
        int result = dict_add_gfid(&req.xdata, &arena, "gfid-req", &GFID_ROOT);
        if (result == 0)
                result = subvolume_lookup(self, volume_top(s->volume), &r, &req, &rep);
        if (result < 0)
                return error_set(err, result, "The root of the volume cannot be looked up: %s", strerror(-result));
        if (!S_ISDIR(rep.prestat.mode))
                return error_set(err, -ENOTDIR, "The root of the volume is not a directory");
        rep.prestat.gfid = GFID_ROOT;
        s->root = vnode_link(root, &rep.prestat);
        return 0;
}

void client_close(struct client *s)
{
        s->root = vnode_unref(s->root);
}
