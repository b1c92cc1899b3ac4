/* Makes the copies of a directory agree on one name (replicate.md §10.5.4, §10.6; afr_heal.h).
 *
 * Only with all copies there and the name locked on all. A copy is asked to delete only what every good copy of the
 * directory does not have, and then content is moved aside, not destroyed. What is created is marked before, on those
 * that have it: the healers fill it.
 */
#include "volume/afr_heal.h"

#include <sys/stat.h>

struct heal {
        struct afr *afr;
        struct request request;
        struct vnode *parent;
        const char *name;
        const struct gfid *gfid_req;
        bool decided;            /* what the good copies are */
        afr_set sources;         /* good copies of the directory; 0: none is better than the others */
        afr_set unblamed;        /* used when nothing is deleted, but a name means several objects */
        enum afr_preference prefer; /* an operator's choice where nothing else decides */
        unsigned preferred_child;
        struct afr_copy *copies; /* what each says about the name */
        struct afr_answers answers;
};

static int call(struct fibre *self, struct heal *h, enum fop fop, const void *req, unsigned child, const void **ret_rep)
{
        return afr_heal_call(self, h->afr, &h->request, fop, req, child, ret_rep);
}

/* ---- looking ----------------------------------------------------------------------------------------------------- */

static bool still_good(const struct afr *a, const struct afr_copy copies[], afr_set sources)
{
        AFR_EACH (j, sources) {
                for (unsigned i = 0; i < a->n; i++) {
                        if (copies[i].pending[j][AFR_ENTRY] != 0)
                                return false;
                }
        }
        return true;
}

/* That a good copy is dirty does not matter here, unlike in a heal of the whole directory: while the name is locked,
 * what others have begun is about other names. */
static int find_sources(struct fibre *self, struct heal *h)
{
        struct afr *a = h->afr;
        struct afr_copy *copies;
        if (h->decided && !h->sources)
                return 0;
        int result = afr_heal_inspect(self, a, &h->request, &h->parent->gfid, &copies);
        if (result < 0)
                return result;
        struct afr_direction d;
        if (h->decided)
                return still_good(a, copies, h->sources) ? 0 : -EAGAIN;
        afr_direction(copies, a->n, a->all, AFR_ENTRY, a->n / 2 + 1, &d);
        h->sources = d.sinks ? d.sources : 0; /* who blames nobody knows nothing better */
        return 0;
}

static int look(struct fibre *self, struct heal *h)
{
        struct afr *a = h->afr;
        struct arena *arena = h->request.arena;
        struct lookup_fop_req *q = arena_alloc(arena, sizeof *q);
        if (!q)
                return -ENOMEM;
        *q = (struct lookup_fop_req){.pargfid = h->parent->gfid, .bname = str_of(h->name)};
        if (afr_ask_counters(a, arena, &q->xdata) < 0 || dict_add_int(&q->xdata, arena, "gfidless-lookup", 1) < 0 ||
            dict_add_uint(&q->xdata, arena, AFR_MDATA, 0) < 0)
                return -ENOMEM;
        afr_ask(self, a, &h->request, FOP_LOOKUP, q, a->all, &h->answers);
        AFR_EACH (i, a->all & ~h->answers.ok) {
                if (h->answers.result[i] != -ENOENT)
                        return h->answers.result[i];
        }
        h->copies = afr_copies(a, arena, &h->answers);
        return h->copies ? 0 : -ENOMEM;
}

static bool all_equal(const struct heal *h, afr_set among)
{
        unsigned first = afr_next(among, 0);
        AFR_EACH (i, among) {
                const struct afr_copy *x = &h->copies[i], *y = &h->copies[first];
                if (x->result != y->result || x->type != y->type || !gfid_equal(&x->gfid, &y->gfid))
                        return false;
        }
        return true;
}

/* ---- deleting ---------------------------------------------------------------------------------------------------- */

static int make_anonymous(struct fibre *self, struct heal *h, unsigned child)
{
        const struct afr_options *o = &h->afr->options;
        struct mkdir_fop_req q = {.pargfid = GFID_ROOT, .mode = 0755, .bname = str_of(o->anonymous_name)};
        if (dict_add_gfid(&q.xdata, h->request.arena, "gfid-req", &o->anonymous_gfid) < 0 ||
            dict_add_str(&q.xdata, h->request.arena, "glusterfs-internal-fop", "yes") < 0)
                return -ENOMEM;
        int result = call(self, h, FOP_MKDIR, &q, child, NULL);
        return result == -EEXIST || result > 0 ? 0 : result;
}

static int move_aside(struct fibre *self, struct heal *h, unsigned child)
{
        const struct afr_options *o = &h->afr->options;
        char text[GFID_TEXT_LEN + 1];
        if (!o->anonymous_inode || !o->anonymous_name[0] || gfid_is_null(&h->copies[child].gfid))
                return -ENOTEMPTY;
        int result = make_anonymous(self, h, child);
        if (result < 0)
                return result;
        struct rename_fop_req q = {.oldgfid = h->parent->gfid,
                                   .newgfid = o->anonymous_gfid,
                                   .oldbname = str_of(h->name),
                                   .newbname = str_of(gfid_format(&h->copies[child].gfid, text))};
        result = call(self, h, FOP_RENAME, &q, child, NULL);
        return result == -ENOENT ? -EAGAIN : result; /* the name is locked: it is not the name that went */
}

/* Whether another copy has the object, by whatever name. */
static bool is_wanted(struct fibre *self, struct heal *h, unsigned child)
{
        struct lookup_fop_req q = {.gfid = h->copies[child].gfid, .bname = STR("")};
        AFR_EACH (i, h->afr->all & ~AFR_BIT(child)) {
                if (call(self, h, FOP_LOOKUP, &q, i, NULL) >= 0)
                        return true;
        }
        return false;
}

/* The last name of a file that is to get another one is kept aside until then. */
static int delete_file(struct fibre *self, struct heal *h, unsigned child)
{
        const struct afr_copy *c = &h->copies[child];
        bool last = !gfid_is_null(&c->gfid) && c->stat->nlink == 1;
        if (last && h->afr->options.anonymous_inode && is_wanted(self, h, child))
                return move_aside(self, h, child);
        struct unlink_fop_req q = {.pargfid = h->parent->gfid, .bname = str_of(h->name)};
        return call(self, h, FOP_UNLINK, &q, child, NULL);
}

static int delete_on(struct fibre *self, struct heal *h, unsigned child)
{
        if (h->copies[child].type != S_IFDIR)
                return delete_file(self, h, child);
        struct rmdir_fop_req q = {.pargfid = h->parent->gfid, .bname = str_of(h->name)};
        q.xflags = !h->afr->options.anonymous_inode;
        int result = call(self, h, FOP_RMDIR, &q, child, NULL);
        return result == -ENOTEMPTY ? move_aside(self, h, child) : result;
}

static int delete_on_all(struct fibre *self, struct heal *h, afr_set set)
{
        int result = 0;
        AFR_EACH (i, set) {
                int one = h->copies[i].result < 0 ? 0 : delete_on(self, h, i);
                if (one < 0 && one != -ENOENT)
                        result = one;
        }
        return result;
}

/* ---- creating ---------------------------------------------------------------------------------------------------- */

static bool has_object(struct fibre *self, struct heal *h, const struct gfid *gfid, unsigned child)
{
        struct lookup_fop_req q = {.gfid = *gfid, .bname = STR("")};
        return call(self, h, FOP_LOOKUP, &q, child, NULL) >= 0;
}

/* Of SET those that do not have the object, by any name. */
static afr_set without_object(struct fibre *self, struct heal *h, const struct gfid *gfid, afr_set set)
{
        afr_set s = 0;
        AFR_EACH (i, set) {
                if (!has_object(self, h, gfid, i))
                        s |= AFR_BIT(i);
        }
        return s;
}

/* Those that have the object say that MISS will have to be filled. It is not there: so no heal of the object can take
 * the marks for older ones, which are about what was there before. */
static int mark_new(struct fibre *self, struct heal *h, const struct gfid *gfid, uint32_t type, afr_set have,
                    afr_set miss)
{
        struct afr_tally x = {.gfid = *gfid, .blamed = miss, .amount = {[AFR_METADATA] = 1}};
        x.amount[AFR_DATA] = type == S_IFREG || (type == S_IFDIR && h->afr->options.granular);
        x.amount[AFR_ENTRY] = type == S_IFDIR;
        if (type == S_IFLNK)
                return 0;
        struct afr_answers answers;
        afr_tally(self, h->afr, &h->request, &x, have, &answers);
        return answers.ok == have ? 0 : -ENOTCONN;
}

static int make_symlink(struct fibre *self, struct heal *h, const struct dict *xdata, const struct gfid *gfid,
                        unsigned source, unsigned sink)
{
        const void *rep = NULL;
        struct readlink_fop_req q = {.gfid = *gfid, .size = PATH_LIMIT + 1};
        int result = call(self, h, FOP_READLINK, &q, source, &rep);
        if (result < 0)
                return result;
        struct symlink_fop_req make = {.pargfid = h->parent->gfid, .bname = str_of(h->name), .xdata = *xdata};
        make.linkname = ((const struct readlink_fop_rep *)rep)->path;
        return call(self, h, FOP_SYMLINK, &make, sink, NULL);
}

static int make_link(struct fibre *self, struct heal *h, const struct gfid *gfid, unsigned sink)
{
        struct link_fop_req q = {.oldgfid = *gfid, .newgfid = h->parent->gfid, .newbname = str_of(h->name)};
        return call(self, h, FOP_LINK, &q, sink, NULL);
}

static int make_file(struct fibre *self, struct heal *h, const struct dict *xdata, const struct afr_copy *c,
                     unsigned sink)
{
        uint64_t major = c->stat->rdev >> 32, minor = c->stat->rdev & 0xffffffffu;
        struct mknod_fop_req q = {.pargfid = h->parent->gfid,
                                  .dev = (minor & 0xff) | (major << 8) | ((minor & ~0xffull) << 12),
                                  .mode = c->stat->mode,
                                  .bname = str_of(h->name),
                                  .xdata = *xdata};
        return call(self, h, FOP_MKNOD, &q, sink, NULL);
}

/* Where the directory with this gfid is on CHILD. */
static int find_place(struct fibre *self, struct heal *h, const struct gfid *gfid, unsigned child,
                      struct gfid *ret_parent, struct str *ret_name)
{
        static const char key[] = "glusterfs.ancestry.path";
        const void *rep = NULL;
        struct str path;
        struct getxattr_fop_req q = {.gfid = *gfid, .name = str_of(key), .namelen = sizeof key - 1};
        int result = call(self, h, FOP_GETXATTR, &q, child, &rep);
        if (result >= 0)
                result = dict_get_str(&((const struct getxattr_fop_rep *)rep)->dict, h->request.arena, key, &path);
        if (result < 0)
                return result;
        *ret_parent = GFID_ROOT;
        char *at = arena_strndup(h->request.arena, path.s, path.len), *next = NULL;
        for (char *name = at ? strtok_r(at, "/", &next) : NULL; name; name = at) {
                at = strtok_r(NULL, "/", &next);
                *ret_name = str_of(name);
                if (!at)
                        return 0;
                struct lookup_fop_req step = {.pargfid = *ret_parent, .bname = *ret_name};
                result = call(self, h, FOP_LOOKUP, &step, child, &rep);
                if (result < 0)
                        return result;
                *ret_parent = ((const struct lookup_fop_rep *)rep)->prestat.gfid;
        }
        return -ENOENT;
}

static int move_here(struct fibre *self, struct heal *h, const struct gfid *parent, struct str name, unsigned child)
{
        struct rename_fop_req q = {
                .oldgfid = *parent, .newgfid = h->parent->gfid, .oldbname = name, .newbname = str_of(h->name)};
        return call(self, h, FOP_RENAME, &q, child, NULL);
}

/* The copy has the directory under another name: it missed a renaming. Two of one gfid there must not be. */
static int bring_directory(struct fibre *self, struct heal *h, const struct gfid *gfid, unsigned child)
{
        const struct afr_options *o = &h->afr->options;
        char text[GFID_TEXT_LEN + 1];
        struct gfid parent;
        struct str name;
        int result = -ENOENT;
        if (o->anonymous_inode && o->anonymous_name[0])
                result = move_here(self, h, &o->anonymous_gfid, str_of(gfid_format(gfid, text)), child);
        if (result >= 0)
                return result;
        result = find_place(self, h, gfid, child, &parent, &name);
        if (result >= 0)
                result = move_here(self, h, &parent, name, child);
        return result == -EINVAL ? -EAGAIN : result; /* into itself: what is above is to be healed first */
}

static int make_directory(struct fibre *self, struct heal *h, const struct dict *xdata, const struct afr_copy *c,
                          unsigned sink)
{
        struct mkdir_fop_req q = {.pargfid = h->parent->gfid, .mode = c->stat->mode & 07777, .bname = str_of(h->name)};
        q.xdata = *xdata;
        return call(self, h, FOP_MKDIR, &q, sink, NULL);
}

static int make_one(struct fibre *self, struct heal *h, const struct afr_copy *c, unsigned source, unsigned sink)
{
        struct dict xdata = {0};
        struct arena *arena = h->request.arena;
        if (dict_add_gfid(&xdata, arena, "gfid-req", &c->gfid) < 0 ||
            dict_add_str(&xdata, arena, "glusterfs-internal-fop", "yes") < 0)
                return -ENOMEM;
        struct slice times;
        int result = dict_get_bytes(c->xdata, AFR_MDATA, &times);
        if (result == 0 && dict_add_ptr(&xdata, arena, AFR_MDATA, times.data, times.len) < 0)
                return -ENOMEM;
        if (c->type == S_IFLNK)
                result = make_symlink(self, h, &xdata, &c->gfid, source, sink);
        else if (c->type == S_IFDIR)
                result = make_directory(self, h, &xdata, c, sink);
        else
                result = make_file(self, h, &xdata, c, sink);
        if (result < 0)
                return result;
        struct setattr_fop_req q = {.gfid = c->gfid, .stbuf = *c->stat, .valid = SETATTR_UID | SETATTR_GID};
        if (c->type != S_IFLNK)
                q.valid |= SETATTR_MODE;
        return call(self, h, FOP_SETATTR, &q, sink, NULL);
}

/* The name under which it was moved aside is used up: else the file would have a link too many for a while. */
static int bring_file(struct fibre *self, struct heal *h, const struct gfid *gfid, unsigned child)
{
        const struct afr_options *o = &h->afr->options;
        char text[GFID_TEXT_LEN + 1];
        int result = -ENOENT;
        if (o->anonymous_inode && o->anonymous_name[0])
                result = move_here(self, h, &o->anonymous_gfid, str_of(gfid_format(gfid, text)), child);
        return result >= 0 ? result : make_link(self, h, gfid, child);
}

/* The copy has the object already: it gets this name, too, or instead. */
static int bring_one(struct fibre *self, struct heal *h, const struct afr_copy *c, unsigned sink)
{
        return c->type == S_IFDIR ? bring_directory(self, h, &c->gfid, sink) : bring_file(self, h, &c->gfid, sink);
}

/* Those of MISS get what SOURCE has. */
static int recreate(struct fibre *self, struct heal *h, unsigned source, afr_set have, afr_set miss)
{
        const struct afr_copy *c = &h->copies[source];
        int result = delete_on_all(self, h, miss);
        afr_set new = result == 0 ? without_object(self, h, &c->gfid, miss) : 0;
        if (new)
                result = mark_new(self, h, &c->gfid, c->type, have, new);
        if (result < 0)
                return result;
        AFR_EACH (i, miss) {
                int one = new &AFR_BIT(i) ? make_one(self, h, c, source, i) : bring_one(self, h, c, i);
                if (one < 0)
                        result = one;
        }
        return result;
}

/* ---- deciding ---------------------------------------------------------------------------------------------------- */

static afr_set present(const struct heal *h, afr_set among)
{
        afr_set s = 0;
        AFR_EACH (i, among) {
                if (h->copies[i].result == 0)
                        s |= AFR_BIT(i);
        }
        return s;
}

static afr_set without_gfid(const struct heal *h, afr_set among)
{
        afr_set s = 0;
        AFR_EACH (i, among) {
                if (gfid_is_null(&h->copies[i].gfid))
                        s |= AFR_BIT(i);
        }
        return s;
}

/* Copies without a gfid get one: that of the others, or the caller's. */
static int assign_gfid(struct fibre *self, struct heal *h, const struct gfid *gfid, afr_set set)
{
        struct lookup_fop_req q = {.pargfid = h->parent->gfid, .bname = str_of(h->name)};
        if (!gfid || dict_add_gfid(&q.xdata, h->request.arena, "gfid-req", gfid) < 0)
                return -ENODATA;
        struct afr_answers x;
        afr_ask(self, h->afr, &h->request, FOP_LOOKUP, &q, set, &x);
        return x.ok == set ? 0 : afr_final_error(&x, set);
}

/* -EEXIST: a copy has the object of the name already, by another name. What is bare there was being made when its brick
 * stopped: nobody has ever written to it. */
static int name_bare(struct fibre *self, struct heal *h, afr_set bare)
{
        afr_set named = present(h, h->afr->all) & ~bare;
        const struct gfid *gfid = named ? &h->copies[afr_next(named, 0)].gfid : h->gfid_req;
        int result = assign_gfid(self, h, gfid, bare);
        return result == -EEXIST && !named ? -EIO : result;
}

static bool same_type(const struct heal *h, afr_set among)
{
        unsigned first = afr_next(among, 0);
        AFR_EACH (i, among) {
                if (h->copies[i].type != h->copies[first].type)
                        return false;
        }
        return true;
}

static afr_set same_gfid(const struct heal *h, unsigned as)
{
        afr_set s = 0;
        AFR_EACH (i, present(h, h->afr->all)) {
                if (gfid_equal(&h->copies[i].gfid, &h->copies[as].gfid) && h->copies[i].type == h->copies[as].type)
                        s |= AFR_BIT(i);
        }
        return s;
}

/* The copies that tell what the name means. */
static afr_set choose_judges(const struct heal *h)
{
        afr_set judges = present(h, h->sources ? h->sources : h->afr->all), better = present(h, h->unblamed);
        if (h->sources || !better || !(judges & ~same_gfid(h, afr_next(judges, 0))))
                return judges;
        return better;
}

static uint64_t merit(const struct heal *h, unsigned i)
{
        const struct iatt *stat = h->copies[i].stat;
        return h->prefer == AFR_PREFER_BIGGEST ? h->copies[i].size
                                               : (uint64_t)stat->mtime.sec * NS_PER_SEC + stat->mtime.nsec;
}

/* The copy that the operator prefers; AFR_NO_CHILD: that does not decide. */
static unsigned preferred(const struct heal *h)
{
        afr_set set = present(h, h->afr->all);
        unsigned best = AFR_NO_CHILD;
        bool tie = false;
        if (h->prefer == AFR_PREFER_SOURCE)
                return set & AFR_BIT(h->preferred_child) ? h->preferred_child : AFR_NO_CHILD;
        AFR_EACH (i, set & ~afr_arbiter_set(h->afr)) {
                uint64_t one = merit(h, i), most = best == AFR_NO_CHILD ? 0 : merit(h, best);
                if (best == AFR_NO_CHILD || one > most) {
                        best = i;
                        tie = false;
                } else if (one == most && !(same_gfid(h, best) & AFR_BIT(i))) {
                        tie = true;
                }
        }
        return tie ? AFR_NO_CHILD : best;
}

/* What decides when no copy of the directory is better than the others. */
static unsigned decide(const struct heal *h)
{
        if (h->sources)
                return AFR_NO_CHILD;
        return h->prefer == AFR_PREFER_NONE ? afr_heal_favorite(h->afr, h->copies) : preferred(h);
}

static int heal_locked(struct fibre *self, struct heal *h)
{
        afr_set all = h->afr->all;
        int result = find_sources(self, h);
        if (result == 0)
                result = look(self, h);
        if (result < 0)
                return result;
        if (all_equal(h, all) && !without_gfid(h, present(h, all)))
                return 0;
        if (h->sources && !present(h, h->sources))
                return delete_on_all(self, h, all);
        afr_set judges = choose_judges(h), bare = without_gfid(h, present(h, all));
        if (!same_type(h, judges) && h->prefer != AFR_PREFER_SOURCE)
                return -EIO;
        if (bare) {
                result = name_bare(self, h, bare);
                judges &= ~bare;
                if (result != -EEXIST)
                        return result;
                if (!judges)
                        return delete_on_all(self, h, all);
        }
        unsigned source = afr_next(judges, 0);
        if (judges & ~same_gfid(h, source))
                source = decide(h);
        if (source == AFR_NO_CHILD)
                return -EIO; /* several objects of one name, and nothing tells which is right */
        afr_set have = same_gfid(h, source);
        return recreate(self, h, source, have, all & ~have);
}

static int heal_name(struct fibre *self, struct heal *h)
{
        struct afr *a = h->afr;
        struct afr_locks locks = {.class = AFR_ENTRY};
        afr_set locked = 0;
        afr_locks_add(&locks, &h->parent->gfid, h->name);
        int result = afr_lock(self, a, &h->request, NULL, &locks, a->all, &locked);
        if (result < 0)
                return result;
        result = locked == a->all ? heal_locked(self, h) : -ENOTCONN;
        afr_unlock(self, a, &h->request, NULL, &locks);
        return result < 0 ? result : 0;
}

int afr_heal_name_held(struct fibre *self, struct afr *a, struct request *r, struct vnode *parent, const char *name,
                       const struct gfid *gfid_req)
{
        struct heal h = {.afr = a, .parent = parent, .name = name, .gfid_req = gfid_req};
        afr_heal_request(r, &h.request);
        return heal_locked(self, &h);
}

int afr_heal_name_from(struct fibre *self, struct afr *a, struct request *r, struct vnode *parent, const char *name,
                       afr_set sources, afr_set unblamed)
{
        struct heal h = {
                .afr = a, .parent = parent, .name = name, .decided = true, .sources = sources, .unblamed = unblamed};
        afr_heal_request(r, &h.request);
        int result = look(self, &h);
        if (result == 0 && all_equal(&h, a->all) && !without_gfid(&h, present(&h, a->all)))
                return 0; /* as most are */
        return heal_name(self, &h);
}

int afr_heal_name_look(struct fibre *self, struct afr *a, const struct gfid *parent, const char *name,
                       struct afr_heal_found *ret)
{
        return afr_heal_name_resolve(self, a, parent, name, AFR_PREFER_NONE, AFR_NO_CHILD, ret);
}

int afr_heal_name_resolve(struct fibre *self, struct afr *a, const struct gfid *parent, const char *name,
                          enum afr_preference prefer, unsigned child, struct afr_heal_found *ret)
{
        _cleanup_arena_ struct arena arena = ARENA_INIT(AFR_HEAL_ARENA);
        _cleanup_vnode_ struct vnode *directory = vnode_new(a->base.volume, parent, S_IFDIR);
        struct request none = {.arena = &arena};
        if (!directory)
                return -ENOMEM;
        struct heal h = {.afr = a, .parent = directory, .name = name, .prefer = prefer, .preferred_child = child};
        afr_heal_request(&none, &h.request);
        int result = look(self, &h);
        bool agree = result == 0 && all_equal(&h, a->all) && !without_gfid(&h, present(&h, a->all));
        if (result == 0 && !agree)
                result = heal_name(self, &h);
        if (result == 0 && !agree)
                result = look(self, &h);
        if (result < 0)
                return result;
        afr_set have = present(&h, a->all);
        if (!have)
                return -ENOENT;
        const struct afr_copy *c = &h.copies[afr_next(have, 0)];
        *ret = (struct afr_heal_found){.gfid = c->gfid, .type = c->type, .changed = !agree};
        return 0;
}
