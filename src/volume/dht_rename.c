/* RENAME (distribute.md §8.6, §8.7).
 *
 * A file's data stays where it is. Four sub-volumes can be concerned: where the old and the new name belong (SH, DH) and where
 * the file and what it replaces are (SC, DC). Everything happens with both names locked and both files safe from migration,
 * by what is there then. The new name appears by one rename on DH; what is done before can be undone, what is done after
 * removes what nobody looks at any more.
 */
#include "volume/dht.h"

#include "base/log.h"

#include <sys/stat.h>

#define ATTEMPTS 8 /* each fails only if somebody else changed what the names mean before they were locked */

/* One of the two names. */
struct side {
        struct vnode *parent;
        struct vnode *inode; /* what it means, as far as the caller knows; NULL: nothing */
        struct str name;
        int hashed;
        int cached;   /* -1: nothing has this name */
        bool linkto;  /* hashed points to cached */
        bool directory;
        struct iatt stat;
};

struct rename {
        struct fibre *self;
        struct dht *d;
        struct request *r;
        const struct rename_fop_req *req;
        struct rename_fop_rep *rep;
        struct side from, to;
};

static void init(struct rename *m, struct fibre *self, struct dht *d, struct request *r, const struct rename_fop_req *req,
                 struct rename_fop_rep *rep)
{
        *m = (struct rename){
                .self = self,
                .d = d,
                .r = r,
                .req = req,
                .rep = rep,
                .from = {.parent = r->parent, .inode = r->inode, .name = req->oldbname, .cached = -1},
                .to = {.parent = r->new_parent, .inode = r->new_inode, .name = req->newbname, .cached = -1},
        };
}

static int hash_both(struct rename *m)
{
        int result = dht_hashed(m->self, m->d, m->r, m->from.parent, m->from.name, &m->from.hashed, NULL);
        if (result == 0)
                result = dht_hashed(m->self, m->d, m->r, m->to.parent, m->to.name, &m->to.hashed, NULL);
        return result;
}

static void lock_names(struct rename *m, struct dht_locks *l)
{
        dht_locks_name(l, m->from.hashed, m->from.parent, m->from.name);
        dht_locks_name(l, m->to.hashed, m->to.parent, m->to.name);
}

/* ---- steps, all on behalf of distribute ----------------------------------------------------------------------------------- */

static int unlink_data(struct rename *m, const struct side *s, struct vnode *inode, int child)
{
        _cleanup_vnode_ struct vnode *unknown = vnode_new(s->parent->volume, NULL, S_IFREG);
        struct request own = dht_as_root(m->r, inode ? inode : unknown, s->parent);
        struct dht_xdata x = dht_xdata_from(m->r->arena, NULL, NULL);
        struct unlink_fop_rep rep = {0};
        if (!unknown)
                return -ENOMEM;
        dht_xdata_str(&x, DHT_KEY_INTERNAL, "yes");
        dht_xdata_str(&x, DHT_KEY_DONT_ACCOUNT, "yes");
        const struct unlink_fop_req req = {.pargfid = s->parent->gfid, .bname = s->name, .xdata = x.dict};
        return x.error < 0 ? x.error : subvolume_unlink(m->self, dht_child(m->d, child), &own, &req, &rep);
}

/* The part of SIDE on CHILD, which nobody needs any more. */
static void clean(struct rename *m, const struct side *s, struct vnode *inode, int child)
{
        int result = unlink_data(m, s, inode, child);
        if (result < 0 && !dht_is_absent(result))
                log_warning(m->d->v.name, "after a rename, \"%s\" is left over on %s: %s", s->name.s,
                            dht_child(m->d, child)->name, strerror(-result));
}

static void clean_linkto(struct rename *m, const struct side *s, int child)
{
        (void)dht_remove_linkto(m->self, m->d, m->r, s->parent, s->name, child, false);
}

/* The new name as another link to the data, as the caller may or may not. */
static int link_new(struct rename *m, struct link_fop_rep *rep)
{
        struct request own = *m->r;
        struct dht_xdata x = dht_xdata_from(m->r->arena, NULL, NULL);
        own.parent = NULL;
        dht_xdata_str(&x, DHT_KEY_FORCE_REPLACE, "yes");
        dht_xdata_str(&x, DHT_KEY_INTERNAL, "yes");
        dht_xdata_str(&x, DHT_KEY_DONT_ACCOUNT, "yes");
        const struct link_fop_req req = {.oldgfid = m->from.inode->gfid,
                                         .newgfid = m->to.parent->gfid,
                                         .newbname = m->to.name,
                                         .xdata = x.dict};
        return x.error < 0 ? x.error : subvolume_link(m->self, dht_child(m->d, m->from.cached), &own, &req, rep);
}

static int rename_on(struct rename *m, int child)
{
        *m->rep = (struct rename_fop_rep){0};
        return subvolume_rename(m->self, dht_child(m->d, child), m->r, m->req, m->rep);
}

/* ---- the cases ------------------------------------------------------------------------------------------------------------ */

/* What was replaced was somewhere else. */
static void clean_replaced(struct rename *m)
{
        int dc = m->to.cached;
        if (dc >= 0 && dc != m->to.hashed && dc != m->from.cached)
                clean(m, &m->to, m->to.inode, dc);
}

static void clean_old_pointer(struct rename *m)
{
        if (m->from.hashed != m->from.cached)
                clean_linkto(m, &m->from, m->from.hashed);
}

/* Makes DH say where the new name is. */
static int point(struct rename *m)
{
        return dht_make_linkto(m->self, m->d, m->r, m->to.parent, m->to.name, &m->from.stat, m->to.hashed, m->from.cached,
                               true, NULL);
}

/* SC = DC: one rename replaces the file; then DH learns of it. A file that came to be there meanwhile is replaced as well. */
static int rename_in_place(struct rename *m)
{
        int result = rename_on(m, m->from.cached);
        if (result < 0)
                return result;
        if (m->to.hashed != m->from.cached && point(m) == -EEXIST) {
                clean(m, &m->to, m->to.inode, m->to.hashed);
                (void)point(m);
        }
        clean_old_pointer(m);
        return 0;
}

/* SC = DH: the data comes to be where the new name belongs. */
static int rename_home(struct rename *m)
{
        int result = rename_on(m, m->to.hashed);
        if (result < 0)
                return result;
        clean_old_pointer(m);
        clean_replaced(m);
        return 0;
}

/* The pointer with the old name on DH becomes one with the new name. If it vanished, a new one does as well, unless the file
 * to be replaced is in its place. */
static int rename_pointer(struct rename *m)
{
        int result = rename_on(m, m->to.hashed);
        if (!dht_is_absent(result) || m->to.cached == m->to.hashed)
                return result;
        return point(m);
}

/* SC ≠ DH: data and pointer both get the new name; SH may be DH, whose pointer is then the one that is renamed. */
static int rename_away(struct rename *m)
{
        struct link_fop_rep linked = {0};
        bool own_pointer = m->to.hashed != m->from.hashed;
        int result = 0;
        if (own_pointer || !m->from.linkto)
                result = dht_make_linkto(m->self, m->d, m->r, m->from.parent, m->from.name, &m->from.stat, m->to.hashed,
                                         m->from.cached, true, NULL);
        if (result < 0)
                return result;
        result = link_new(m, &linked);
        if (result >= 0) {
                result = rename_pointer(m);
                if (result < 0)
                        clean(m, &m->to, m->from.inode, m->from.cached);
        }
        if (result < 0) {
                if (own_pointer)
                        clean_linkto(m, &m->from, m->to.hashed);
                return result;
        }
        m->rep->stat = linked.stat;
        m->rep->stat.nlink -= m->rep->stat.nlink > 1;
        clean(m, &m->from, m->from.inode, m->from.cached);
        if (own_pointer)
                clean_old_pointer(m);
        clean_replaced(m);
        return 0;
}

static int rename_file_held(struct rename *m)
{
        if (m->to.cached >= 0 && gfid_equal(&m->from.stat.gfid, &m->to.stat.gfid)) {
                m->rep->stat = m->from.stat; /* two names of one file: nothing happens */
                return 0;
        }
        if (m->from.cached == m->to.cached)
                return rename_in_place(m);
        if (m->from.cached == m->to.hashed)
                return rename_home(m);
        return rename_away(m);
}

/* ---- files ------------------------------------------------------------------------------------------------------------------ */

/* What SIDE means now. 0 also if nothing has the name. */
static int look(struct rename *m, struct side *s, struct vnode *inode)
{
        struct dht_found *found = arena_alloc(m->r->arena, sizeof *found);
        struct request own = dht_as_root(m->r, inode, s->parent);
        const struct lookup_fop_req req = {.pargfid = s->parent->gfid, .bname = s->name, .xdata = DICT_NULL};
        if (!found)
                return -ENOMEM;
        int locked = s->hashed;
        int result = dht_find(m->self, m->d, &own, &req, false, found);
        s->cached = -1;
        s->directory = false;
        if (result < 0 && result != -ENOENT)
                return result;
        if (found->hashed >= 0 && found->hashed != locked)
                return -EAGAIN; /* the layout is another one by now */
        if (result == -ENOENT)
                return 0;
        s->directory = found->directory;
        s->cached = found->cached;
        s->linkto = found->linkto;
        s->stat = found->rep.prestat;
        return 0;
}

static int look_source(struct rename *m)
{
        int expected = m->from.cached;
        int result = look(m, &m->from, m->from.inode);
        if (result < 0)
                return result;
        if (m->from.directory)
                return -ESTALE;
        if (m->from.cached < 0)
                return -ENOENT;
        if (!gfid_equal(&m->from.stat.gfid, &m->from.inode->gfid))
                return -ESTALE;
        if (m->from.cached == expected)
                return 0;
        result = dht_remember_file(m->d, m->from.inode, &m->from.inode->gfid, m->from.cached);
        return result < 0 ? result : -EAGAIN;
}

/* *INODE: what the caller, or the last attempt, took for it; it is replaced when it is another object. */
static int look_target(struct rename *m, struct vnode **inode)
{
        _cleanup_vnode_ struct vnode *fresh = vnode_new(m->to.parent->volume, NULL, 0);
        int expected = m->to.cached;
        if (!fresh)
                return -ENOMEM;
        int result = look(m, &m->to, fresh);
        if (result < 0)
                return result;
        if (m->to.directory)
                return -EISDIR;
        if (m->to.cached < 0)
                return 0;
        bool same = *inode && gfid_equal(&(*inode)->gfid, &m->to.stat.gfid);
        if (same && m->to.cached == expected)
                return 0;
        if (!same) {
                vnode_unref(*inode);
                *inode = vnode_new(m->to.parent->volume, &m->to.stat.gfid, m->to.stat.mode & S_IFMT);
                if (!*inode)
                        return -ENOMEM;
        }
        result = dht_remember_file(m->d, *inode, &m->to.stat.gfid, m->to.cached);
        return result < 0 ? result : -EAGAIN;
}

static int rename_file_once(struct rename *m, struct vnode **target)
{
        struct dht_locks locks;
        int result = hash_both(m);
        if (result < 0)
                return result;
        const struct dht_inode *source = dht_known(m->d, m->from.inode);
        const struct dht_inode *known = *target ? dht_known(m->d, *target) : NULL;
        m->from.cached = source->cached;
        m->to.cached = known && !known->directory ? known->cached : -1;
        m->to.inode = *target;
        dht_locks_init(&locks, m->d, m->r);
        dht_locks_inode(&locks, m->from.cached, m->from.inode, DHT_DOMAIN_MIGRATE, true, true);
        if (m->to.cached >= 0)
                dht_locks_inode(&locks, m->to.cached, *target, DHT_DOMAIN_MIGRATE, true, true);
        lock_names(m, &locks);
        result = dht_locks_take(m->self, &locks);
        if (result < 0)
                return result;
        result = look_source(m);
        if (result == 0)
                result = look_target(m, target);
        if (result == 0)
                result = rename_file_held(m);
        dht_locks_drop(m->self, &locks);
        return result;
}

static int rename_file(struct rename *m)
{
        _cleanup_vnode_ struct vnode *target = m->to.inode ? vnode_ref(m->to.inode) : NULL;
        int result = -EAGAIN;
        for (unsigned i = 0; i < ATTEMPTS && result == -EAGAIN; i++)
                result = rename_file_once(m, &target);
        if (result < 0)
                return result == -EAGAIN ? -ESTALE : result;
        return dht_remember_file(m->d, m->from.inode, &m->from.inode->gfid, m->from.cached);
}

/* ---- directories ---------------------------------------------------------------------------------------------------------- */

static int all_up(const struct dht *d)
{
        for (unsigned i = 0; i < d->n; i++)
                if (!dht_child(d, (int)i)->up)
                        return -ENOTCONN;
        return 0;
}

/* 1: there is a directory of this name, with this gfid; 0: there is nothing. */
static int look_directory(struct rename *m, const struct side *s, struct vnode *inode, struct gfid *ret)
{
        const struct lookup_fop_req req = {.pargfid = s->parent->gfid, .bname = s->name, .xdata = DICT_NULL};
        struct request own = dht_as_root(m->r, inode, s->parent);
        struct dht_answers all;
        int result = dht_ask_all(m->self, m->d, &own, &req, &all);
        if (result == 0)
                result = dht_fan_error(all.fans, all.n, DHT_MAY_BE_ABSENT);
        if (result < 0)
                return result;
        bool found = false;
        for (unsigned i = 0; i < all.n; i++) {
                if (all.fans[i].result < 0)
                        continue;
                if (!S_ISDIR(all.reps[i].prestat.mode))
                        return -ENOTDIR;
                if (found && !gfid_equal(ret, &all.reps[i].prestat.gfid))
                        return -EIO;
                *ret = all.reps[i].prestat.gfid;
                found = true;
        }
        return found;
}

static int check_source(struct rename *m)
{
        struct gfid gfid;
        int result = look_directory(m, &m->from, m->from.inode, &gfid);
        if (result <= 0)
                return result < 0 ? result : -ENOENT;
        return gfid_equal(&gfid, &m->from.inode->gfid) ? 0 : -ESTALE;
}

/* What is replaced must be empty everywhere. */
static int check_target(struct rename *m)
{
        _cleanup_vnode_ struct vnode *fresh = vnode_new(m->to.parent->volume, NULL, 0);
        struct gfid gfid;
        int result = fresh ? look_directory(m, &m->to, fresh, &gfid) : -ENOMEM;
        if (result <= 0)
                return result;
        if (gfid_equal(&gfid, &m->from.inode->gfid))
                return -EIO;
        fresh->gfid = gfid;
        return dht_check_empty(m->self, m->d, m->r, fresh);
}

/* Back to the old name on CHILD. */
static int rename_back(struct rename *m, int child)
{
        struct request own = dht_as_root(m->r, m->from.inode, m->to.parent);
        struct rename_fop_rep rep = {0};
        const struct rename_fop_req req = {.oldgfid = m->req->newgfid,
                                           .newgfid = m->req->oldgfid,
                                           .oldbname = m->req->newbname,
                                           .newbname = m->req->oldbname,
                                           .xdata = DICT_NULL};
        own.new_parent = m->from.parent;
        return subvolume_rename(m->self, dht_child(m->d, child), &own, &req, &rep);
}

static void undo(struct rename *m, const struct fan *fans, unsigned n)
{
        int result = rename_back(m, m->to.hashed);
        for (unsigned i = 0; i < n; i++)
                if (fans[i].result >= 0)
                        result = MIN(rename_back(m, dht_fan_child(m->d, &fans[i])), result);
        if (result < 0)
                log_error(m->d->v.name,
                          "renaming directory \"%s\" failed, and it could not be named so again on all sub-volumes: %s",
                          m->from.name.s, strerror(-result));
}

static void merge(struct rename_fop_rep *into, const struct rename_fop_rep *from)
{
        dht_merge_directory(&into->stat, &from->stat);
        dht_merge_directory(&into->preoldparent, &from->preoldparent);
        dht_merge_directory(&into->postoldparent, &from->postoldparent);
        dht_merge_directory(&into->prenewparent, &from->prenewparent);
        dht_merge_directory(&into->postnewparent, &from->postnewparent);
}

static int rename_directory_held(struct rename *m)
{
        unsigned n;
        struct fan *fans = dht_fans(m->d, m->r->arena, FOP_RENAME, m->req, m->to.hashed, &n);
        int result = fans ? check_source(m) : -ENOMEM;
        if (result == 0)
                result = check_target(m);
        if (result == 0)
                result = rename_on(m, m->to.hashed);
        if (result < 0)
                return result;
        dht_fan_out(m->self, FOP_RENAME, m->r, fans, n);
        result = dht_fan_error(fans, n, DHT_MAY_BE_ABSENT);
        if (result < 0) {
                undo(m, fans, n);
                return result;
        }
        for (unsigned i = 0; i < n; i++)
                if (fans[i].result >= 0)
                        merge(m->rep, fans[i].rep);
        return 0;
}

/* The layouts of directories go by their path; what is below keeps those it has. */
static void remember_path(struct rename *m)
{
        struct dht_inode *known = dht_known(m->d, m->from.inode);
        const char *path = dht_path_of(m->d, m->r->arena, m->to.parent, m->to.name);
        if (!known)
                return;
        free(known->path);
        known->path = path ? strdup(path) : NULL;
}

static int rename_directory(struct rename *m)
{
        struct dht_locks locks;
        int result = all_up(m->d);
        if (result == 0)
                result = hash_both(m);
        if (result < 0)
                return result;
        dht_locks_init(&locks, m->d, m->r);
        lock_names(m, &locks);
        result = dht_locks_take(m->self, &locks);
        if (result < 0)
                return result;
        result = rename_directory_held(m);
        dht_locks_drop(m->self, &locks);
        if (result == 0)
                remember_path(m);
        return result;
}

int dht_rename(struct fibre *self, struct subvolume *v, struct request *r, const struct rename_fop_req *req,
               struct rename_fop_rep *rep)
{
        struct dht *d = dht_of(v);
        struct dht_inode *known;
        struct rename m;
        int result = dht_resolve(self, d, r, r->inode, &known);
        if (result < 0)
                return fop_failed(rep, result);
        init(&m, self, d, r, req, rep);
        result = known->directory ? rename_directory(&m) : rename_file(&m);
        if (result < 0)
                return fop_failed(rep, result);
        dht_strip_phase1(&rep->stat);
        dht_fix_directory(&rep->stat);
        dht_fix_directory(&rep->preoldparent);
        dht_fix_directory(&rep->postoldparent);
        dht_fix_directory(&rep->prenewparent);
        dht_fix_directory(&rep->postnewparent);
        return 0;
}
