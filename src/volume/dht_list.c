/* OPENDIR, READDIR, READDIRP, FSYNCDIR (distribute.md §9).
 *
 * Sub-volumes are read one after the other, in the order of the volfile. Files are where they are found; pointers are left out;
 * of a directory, which all have, the copy counts that is where its name belongs. Which sub-volume an offset belongs to is in
 * the offset: the protocol clients put their number there.
 */
#include "volume/dht.h"
#include "volume/leaf_offset.h"

#include <dirent.h>
#include <sys/stat.h>

#define KEY_NO_DIRECTORIES "readdir-filter-directories"

/* ---- OPENDIR, FSYNCDIR ------------------------------------------------------------------------------------------------------ */

int dht_opendir(struct fibre *self, struct subvolume *v, struct request *r, const struct opendir_fop_req *req,
                struct opendir_fop_rep *rep)
{
        struct dht *d = dht_of(v);
        unsigned n;
        struct fan *fans = dht_fans(d, r->arena, FOP_OPENDIR, req, -1, &n);
        bool opened = false;
        if (!fans)
                return fop_failed(rep, -ENOMEM);
        dht_fan_out(self, FOP_OPENDIR, r, fans, n);
        for (unsigned i = 0; i < n; i++) {
                opened |= fans[i].result >= 0;
                if (r->file)
                        dht_file_set_open(d, r->file, (int)i, fans[i].result >= 0);
        }
        if (!opened) {
                int result = dht_fan_error(fans, n, DHT_MAY_BE_ABSENT);
                return fop_failed(rep, result < 0 ? result : -ENOENT);
        }
        *rep = (struct opendir_fop_rep){0};
        return 0;
}

int dht_fsyncdir(struct fibre *self, struct subvolume *v, struct request *r, const struct fsyncdir_fop_req *req,
                 struct fsyncdir_fop_rep *rep)
{
        struct dht *d = dht_of(v);
        unsigned n;
        struct fan *fans = dht_fans(d, r->arena, FOP_FSYNCDIR, req, -1, &n);
        bool done = false;
        if (!fans)
                return fop_failed(rep, -ENOMEM);
        dht_fan_out(self, FOP_FSYNCDIR, r, fans, n);
        for (unsigned i = 0; i < n; i++) {
                int result = fans[i].result;
                done |= result >= 0;
                if (result < 0 && result != -ENOTCONN && !dht_is_absent(result) && !dht_is_bad_fd(result))
                        return fop_failed(rep, result);
        }
        return done ? 0 : fop_failed(rep, -ENOTCONN);
}

/* ---- reading ------------------------------------------------------------------------------------------------------------------ */

static int child_of(const struct dht *d, uint64_t offset)
{
        int leaf = offset == 0 ? -1 : leaf_offset_owner(offset, d->v.volume->top->n_leaves);
        if (offset == 0)
                return 0;
        for (unsigned i = 0; leaf >= 0 && i < d->n; i++) {
                const struct subvolume *c = dht_child(d, (int)i);
                if ((unsigned)leaf >= c->leaf_first && (unsigned)leaf < c->leaf_first + c->n_leaves)
                        return (int)i;
        }
        return (int)d->n;
}

struct listing {
        struct fibre *self;
        struct dht *d;
        struct request *r;
        struct vnode *dir;
        int first; /* the first child that is up */
};

static int first_up(const struct dht *d)
{
        for (unsigned i = 0; i < d->n; i++)
                if (dht_child(d, (int)i)->up)
                        return (int)i;
        return -1;
}

static bool is_last(const struct dht *d, int child)
{
        for (unsigned i = (unsigned)child + 1; i < d->n; i++)
                if (dht_child(d, (int)i)->up)
                        return false;
        return true;
}

static bool is_directory(const struct dirent_entry *e)
{
        return e->type == DT_DIR || S_ISDIR(e->stat.mode);
}

/* Whose copy of directory NAME counts. */
static int teller(const struct listing *l, struct str name)
{
        const struct dht_inode *known = dht_known(l->d, l->dir);
        if (l->d->options.readdir_optimize || !known || !known->layout || str_is(name, ".") || str_is(name, ".."))
                return l->first;
        int hashed = layout_search(known->layout, dht_names_hash(&l->d->names, name));
        return hashed >= 0 && dht_child(l->d, hashed)->up ? hashed : l->first;
}

/* Later operations on a file that was listed need not look for it. */
static void remember(struct listing *l, int child, const struct dirent_entry *e)
{
        if (gfid_is_null(&e->stat.gfid) || !(e->stat.mode & S_IFMT))
                return;
        _cleanup_vnode_ struct vnode *fresh = vnode_new(l->dir->volume, &e->stat.gfid, e->stat.mode & S_IFMT);
        _cleanup_vnode_ struct vnode *i = fresh ? vnode_link(fresh, &e->stat) : NULL;
        if (i)
                (void)dht_remember_file(l->d, i, &e->stat.gfid, child);
}

/* Is E, from CHILD, part of the listing? It is made fit for whoever reads it. */
static bool take(struct listing *l, int child, struct dirent_entry *e)
{
        static const struct dict none = {.null = true};
        const struct dict *dict = e->dict ? e->dict : &none;
        if (is_directory(e)) {
                dht_fix_directory(&e->stat);
                if (e->stat.ino != 0)
                        e->ino = e->stat.ino;
                e->stat.gfid = (struct gfid){0}; /* to be looked up: one copy does not tell */
                return teller(l, e->name) == child;
        }
        if (dht_is_linkto(&e->stat, dict, l->r->arena, NULL))
                return false;
        if (dict_has(dict, DHT_KEY_LINKTO))
                dht_strip_phase1(&e->stat);
        remember(l, child, e);
        return true;
}

static void filter(struct listing *l, int child, struct dirent_list *list)
{
        uint32_t n = 0;
        for (uint32_t i = 0; i < list->n; i++)
                if (take(l, child, &list->v[i]))
                        list->v[n++] = list->v[i];
        list->n = n;
}

static int open_there(struct listing *l, int child)
{
        const struct opendir_fop_req req = {.gfid = l->dir->gfid, .xdata = DICT_NULL};
        struct opendir_fop_rep rep = {0};
        int result = subvolume_opendir(l->self, dht_child(l->d, child), l->r, &req, &rep);
        if (result >= 0)
                dht_file_set_open(l->d, l->r->file, child, true);
        return result;
}

/* A part of CHILD's list. It may have come up after the directory was opened. */
static int read_child(struct listing *l, int child, const struct readdirp_fop_req *req, struct readdirp_fop_rep *rep)
{
        struct subvolume *c = dht_child(l->d, child);
        *rep = (struct readdirp_fop_rep){0};
        if (!c->up)
                return -ENOTCONN;
        if (l->r->file && !dht_file_is_open(l->d, l->r->file, child)) {
                int result = open_there(l, child);
                if (result < 0)
                        return result;
        }
        int result = subvolume_readdirp(l->self, c, l->r, req, rep);
        if (!l->r->file || !dht_is_bad_fd(result) || open_there(l, child) < 0)
                return result;
        return subvolume_readdirp(l->self, c, l->r, req, rep);
}

static int add_keys(struct listing *l, const struct readdirp_fop_req *req, bool no_directories,
                    struct readdirp_fop_req *ret)
{
        struct dht_xdata x = dht_xdata_from(l->r->arena, &req->xdata, NULL);
        dht_xdata_uint(&x, DHT_KEY_LINKTO, 256);
        if (no_directories)
                dht_xdata_int(&x, KEY_NO_DIRECTORIES, 1);
        *ret = *req;
        ret->xdata = x.dict;
        return x.error;
}

/* From where REQ says on: until something is found that belongs to the list, or the last sub-volume is at its end. */
static int list(struct listing *l, const struct readdirp_fop_req *req, struct readdirp_fop_rep *rep)
{
        uint64_t offset = req->offset;
        for (int child = child_of(l->d, offset); child < (int)l->d->n;) {
                struct readdirp_fop_req own;
                int result = add_keys(l, req, l->d->options.readdir_optimize && child != l->first, &own);
                if (result < 0)
                        return result;
                own.offset = offset;
                result = read_child(l, child, &own, rep);
                if (result < 0 && result != -ENOTCONN && !dht_is_absent(result) && !dht_is_bad_fd(result))
                        return result;
                if (result < 0 || rep->reply.n == 0) {
                        child++;
                        offset = 0;
                        continue;
                }
                offset = rep->reply.v[rep->reply.n - 1].off;
                filter(l, child, &rep->reply);
                if (rep->reply.n == 0)
                        continue;
                if (!is_last(l->d, child))
                        rep->op_errno = 0; /* others may have more */
                rep->op_ret = (int32_t)rep->reply.n;
                return 0;
        }
        *rep = (struct readdirp_fop_rep){.op_errno = ENOENT};
        return 0;
}

int dht_readdirp(struct fibre *self, struct subvolume *v, struct request *r, const struct readdirp_fop_req *req,
                 struct readdirp_fop_rep *rep)
{
        struct dht *d = dht_of(v);
        struct listing l = {.self = self, .d = d, .r = r, .dir = r->inode, .first = first_up(d)};
        struct dht_inode *known;
        if (l.first < 0)
                return fop_failed(rep, -ENOTCONN);
        int result = dht_resolve(self, d, r, r->inode, &known);
        if (result == 0 && !known->directory)
                result = -ENOTDIR;
        if (result == 0)
                result = list(&l, req, rep);
        return result < 0 ? fop_failed(rep, result) : result;
}

/* Without attributes pointers look like files, so they are asked for, unless that is switched off. */
int dht_readdir(struct fibre *self, struct subvolume *v, struct request *r, const struct readdir_fop_req *req,
                struct readdir_fop_rep *rep)
{
        const struct readdirp_fop_req own = {
                .gfid = req->gfid, .offset = req->offset, .size = req->size, .xdata = req->xdata};
        struct readdirp_fop_rep answer = {0};
        int result = dht_readdirp(self, v, r, &own, &answer);
        *rep = (struct readdir_fop_rep){.op_ret = answer.op_ret, .op_errno = answer.op_errno, .reply = answer.reply};
        return result;
}
