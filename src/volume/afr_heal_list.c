/* Directories of one brick: listed, the virtual ones of its index too, and what healers moved aside (afr_heal.h;
 * brick.md §12.4).
 *
 * A listing is read piece by piece with an arena that is emptied between the pieces, so it is bounded whatever the
 * directory holds; entries may be removed while it goes on.
 */
#include "volume/afr_heal.h"

#include <fcntl.h>
#include <sys/stat.h>

#define LIST_SIZE (64 * KIB)
#define LIST_ARENA (4 * MIB)
#define CALL_ARENA (1 * MIB)

/* ---- listing ----------------------------------------------------------------------------------------------------- */

struct list {
        struct afr *afr;
        unsigned child;
        struct request request;
        struct vfile *file;
        uint64_t offset;
        afr_list_fn fn;
        void *arg;
};

static int call(struct fibre *self, struct list *l, enum fop fop, const void *req, const void **ret_rep)
{
        return afr_heal_call(self, l->afr, &l->request, fop, req, l->child, ret_rep);
}

static bool is_dots(struct str name)
{
        return str_is(name, ".") || str_is(name, "..");
}

/* 1: there is more. */
static int list_piece(struct fibre *self, struct list *l)
{
        const void *rep = NULL;
        struct readdir_fop_req q = {.gfid = l->file->inode->gfid, .offset = l->offset, .size = LIST_SIZE};
        int result = call(self, l, FOP_READDIR, &q, &rep);
        if (result < 0)
                return result;
        const struct dirent_list *list = &((const struct readdir_fop_rep *)rep)->reply;
        for (uint32_t k = 0; k < list->n; k++) {
                l->offset = list->v[k].off;
                result = is_dots(list->v[k].name) ? 0 : l->fn(self, l->arg, &list->v[k]);
                if (result != 0)
                        return result;
        }
        return list->n > 0;
}

int afr_list(struct fibre *self, struct afr *a, unsigned child, const struct gfid *dir, afr_list_fn fn, void *arg)
{
        _cleanup_arena_ struct arena arena = ARENA_INIT(LIST_ARENA);
        struct request none = {.arena = &arena};
        struct list l = {.afr = a, .child = child, .fn = fn, .arg = arg};
        _cleanup_vnode_ struct vnode *i = vnode_new(a->base.volume, dir, S_IFDIR);
        _cleanup_vfile_ struct vfile *f = i ? vfile_new(i, O_RDONLY | O_DIRECTORY, true) : NULL;
        if (!f)
                return -ENOMEM;
        afr_heal_request(&none, &l.request);
        l.request.inode = i;
        l.request.file = l.file = f;
        const struct opendir_fop_req q = {.gfid = *dir};
        int result = call(self, &l, FOP_OPENDIR, &q, NULL);
        if (result < 0)
                return result;
        do {
                arena_reset(&arena);
                result = list_piece(self, &l);
        } while (result == 1);
        return result;
}

/* ---- the index --------------------------------------------------------------------------------------------------- */

static void small_request(struct arena *arena, struct request *ret)
{
        struct request none = {.arena = arena};
        afr_heal_request(&none, ret);
}

static int root_xattr(struct fibre *self, struct afr *a, struct request *r, unsigned child, const char *name,
                      const struct dict **ret)
{
        const void *rep = NULL;
        const struct getxattr_fop_req q = {.gfid = GFID_ROOT, .name = str_of(name), .namelen = (uint32_t)strlen(name)};
        int result = afr_heal_call(self, a, r, FOP_GETXATTR, &q, child, &rep);
        if (result < 0)
                return result;
        *ret = &((const struct getxattr_fop_rep *)rep)->dict;
        return 0;
}

int afr_index_gfid(struct fibre *self, struct afr *a, unsigned child, enum afr_index which, struct gfid *ret)
{
        static const char *const names[] = {[AFR_INDEX_PENDING] = "glusterfs.xattrop_index_gfid",
                                            [AFR_INDEX_DIRTY] = "glusterfs.xattrop_dirty_gfid",
                                            [AFR_INDEX_ENTRIES] = "glusterfs.xattrop_entry_changes_gfid"};
        _cleanup_arena_ struct arena arena = ARENA_INIT(CALL_ARENA);
        struct request r;
        const struct dict *d;
        small_request(&arena, &r);
        int result = root_xattr(self, a, &r, child, names[which], &d);
        return result < 0 ? result : dict_get_gfid(d, names[which], ret);
}

int afr_index_count(struct fibre *self, struct afr *a, unsigned child, enum afr_index which, uint64_t *ret)
{
        const char *name = which == AFR_INDEX_DIRTY ? "glusterfs.xattrop_dirty_count" : "glusterfs.xattrop_index_count";
        _cleanup_arena_ struct arena arena = ARENA_INIT(CALL_ARENA);
        struct request r;
        const struct dict *d;
        int64_t n = 0;
        small_request(&arena, &r);
        int result = root_xattr(self, a, &r, child, name, &d);
        if (result == 0)
                result = dict_get_int(d, name, &n);
        if (result == 0)
                *ret = (uint64_t)n;
        return result;
}

int afr_index_entries(struct fibre *self, struct afr *a, unsigned child, const struct gfid *directory, struct gfid *ret)
{
        _cleanup_arena_ struct arena arena = ARENA_INIT(CALL_ARENA);
        struct request r;
        struct gfid index;
        char text[GFID_TEXT_LEN + 1];
        const void *rep = NULL;
        small_request(&arena, &r);
        int result = afr_index_gfid(self, a, child, AFR_INDEX_ENTRIES, &index);
        if (result < 0)
                return result;
        const struct lookup_fop_req q = {.pargfid = index, .bname = str_of(gfid_format(directory, text))};
        result = afr_heal_call(self, a, &r, FOP_LOOKUP, &q, child, &rep);
        if (result < 0)
                return result == -ESTALE ? -ENOENT : result;
        *ret = ((const struct lookup_fop_rep *)rep)->prestat.gfid;
        return 0;
}

int afr_index_remove(struct fibre *self, struct afr *a, unsigned child, const struct gfid *index, const char *name)
{
        _cleanup_arena_ struct arena arena = ARENA_INIT(CALL_ARENA);
        struct request r;
        small_request(&arena, &r);
        const struct unlink_fop_req q = {.pargfid = *index, .bname = str_of(name)};
        return afr_heal_call(self, a, &r, FOP_UNLINK, &q, child, NULL);
}

/* ---- what is left over ------------------------------------------------------------------------------------------- */

struct sweep {
        struct afr *afr;
        unsigned child;
        struct gfid directory; /* that is swept */
        unsigned left;
        bool moved; /* more was moved into it */
};

/* 1: a copy of SET has the object, 0: none has, -errno: it is not known. */
static int is_known(struct fibre *self, struct afr *a, struct request *r, const struct gfid *gfid, afr_set set)
{
        struct afr_answers x;
        const struct lookup_fop_req q = {.gfid = *gfid, .bname = STR("")};
        afr_ask(self, a, r, FOP_LOOKUP, &q, set, &x);
        AFR_EACH (i, set & ~x.ok) {
                if (x.result[i] != -ENOENT && x.result[i] != -ESTALE)
                        return x.result[i];
        }
        return x.ok != 0;
}

static int remove_tree(struct fibre *self, struct sweep *s, struct request *r, struct str name)
{
        const struct rmdir_fop_req q = {.pargfid = s->directory, .xflags = 1, .bname = name};
        return afr_heal_call(self, s->afr, r, FOP_RMDIR, &q, s->child, NULL);
}

static int lookup_on(struct fibre *self, struct sweep *s, struct request *r, const struct gfid *parent, struct str name,
                     const struct iatt **ret)
{
        const void *rep = NULL;
        const struct lookup_fop_req q = {.pargfid = *parent, .bname = name};
        int result = afr_heal_call(self, s->afr, r, FOP_LOOKUP, &q, s->child, &rep);
        if (result >= 0)
                *ret = &((const struct lookup_fop_rep *)rep)->prestat;
        return result;
}

/* Whether CHILD has the object by a name that is not its place aside. 1, 0, or -errno. */
static int has_name(struct fibre *self, struct sweep *s, struct request *r, const struct gfid *gfid, unsigned child)
{
        const void *rep = NULL;
        char text[GFID_TEXT_LEN + 1];
        const struct lookup_fop_req q = {.pargfid = s->afr->options.anonymous_gfid,
                                         .bname = str_of(gfid_format(gfid, text))};
        int known = is_known(self, s->afr, r, gfid, AFR_BIT(child));
        int result = known > 0 ? afr_heal_call(self, s->afr, r, FOP_LOOKUP, &q, child, &rep) : known;
        if (known <= 0 || result == -ENOENT || result == -ESTALE)
                return known;
        if (result < 0)
                return result;
        const struct iatt *stat = &((const struct lookup_fop_rep *)rep)->prestat;
        return !gfid_equal(&stat->gfid, gfid) || (!S_ISDIR(stat->mode) && stat->nlink > 1);
}

/* Whether this name can go: another leads to the object, or no other copy has it by a name. What is aside on several copies
 * was removed by all its names, of each while another copy was away. 1, 0, or -errno. */
static int is_superfluous(struct fibre *self, struct sweep *s, struct request *r, const struct iatt *stat)
{
        if (!S_ISDIR(stat->mode) && stat->nlink > 1)
                return 1;
        AFR_EACH (i, s->afr->all & ~AFR_BIT(s->child)) {
                int named = has_name(self, s, r, &stat->gfid, i);
                if (named != 0)
                        return named < 0 ? named : 0;
        }
        return 1;
}

struct emptying {
        struct sweep *sweep;
        struct gfid directory;
};

/* What is in a directory that was moved aside: files that nobody needs go, all else is moved aside by itself. */
static int take_out(struct fibre *self, struct emptying *e, struct request *r, struct str name)
{
        const struct iatt *stat;
        struct sweep *s = e->sweep;
        char text[GFID_TEXT_LEN + 1];
        int result = lookup_on(self, s, r, &e->directory, name, &stat);
        if (result >= 0 && !S_ISDIR(stat->mode))
                result = is_superfluous(self, s, r, stat);
        if (result < 0)
                return result;
        if (result > 0) {
                const struct unlink_fop_req q = {.pargfid = e->directory, .bname = name};
                return afr_heal_call(self, s->afr, r, FOP_UNLINK, &q, s->child, NULL);
        }
        const struct rename_fop_req q = {.oldgfid = e->directory,
                                         .newgfid = s->directory,
                                         .oldbname = name,
                                         .newbname = str_of(gfid_format(&stat->gfid, text))};
        s->moved = true;
        return afr_heal_call(self, s->afr, r, FOP_RENAME, &q, s->child, NULL);
}

static int take_out_entry(struct fibre *self, void *arg, const struct dirent_entry *entry)
{
        _cleanup_arena_ struct arena arena = ARENA_INIT(CALL_ARENA);
        struct request r;
        small_request(&arena, &r);
        int result = take_out(self, arg, &r, entry->name);
        return result == -ENOENT || result == -ESTALE ? 0 : result;
}

static int remove_directory(struct fibre *self, struct sweep *s, struct request *r, struct str name,
                            const struct gfid *gfid)
{
        struct emptying e = {.sweep = s, .directory = *gfid};
        int result = afr_list(self, s->afr, s->child, gfid, take_out_entry, &e);
        if (result < 0)
                return result;
        const struct rmdir_fop_req q = {.pargfid = s->directory, .bname = name};
        return afr_heal_call(self, s->afr, r, FOP_RMDIR, &q, s->child, NULL);
}

/* An object that another copy has is to get a name on this one again. */
static int sweep_aside(struct fibre *self, struct sweep *s, struct request *r, struct str name, const struct gfid *gfid)
{
        const struct iatt *stat;
        int result = lookup_on(self, s, r, &s->directory, name, &stat);
        if (result >= 0)
                result = is_superfluous(self, s, r, stat);
        if (result <= 0) {
                s->left++;
                return result;
        }
        if (S_ISDIR(stat->mode))
                return remove_directory(self, s, r, name, gfid);
        const struct unlink_fop_req q = {.pargfid = s->directory, .bname = name};
        return afr_heal_call(self, s->afr, r, FOP_UNLINK, &q, s->child, NULL);
}

static int sweep_noted(struct fibre *self, struct sweep *s, struct request *r, struct str name, const struct gfid *gfid)
{
        int result = is_known(self, s->afr, r, gfid, s->afr->all);
        return result == 0 ? remove_tree(self, s, r, name) : MIN(result, 0);
}

typedef int sweep_fn(struct fibre *self, struct sweep *s, struct request *r, struct str name, const struct gfid *gfid);

static int sweep_name(struct fibre *self, struct sweep *s, struct str name, sweep_fn *fn)
{
        _cleanup_arena_ struct arena arena = ARENA_INIT(CALL_ARENA);
        struct request r;
        struct gfid gfid;
        if (gfid_parse(name.s, name.len, &gfid) < 0)
                return 0;
        small_request(&arena, &r);
        int result = fn(self, s, &r, name, &gfid);
        return result == -ENOENT || result == -ESTALE ? 0 : result;
}

static int aside_entry(struct fibre *self, void *arg, const struct dirent_entry *entry)
{
        return sweep_name(self, arg, entry->name, sweep_aside);
}

static int noted_entry(struct fibre *self, void *arg, const struct dirent_entry *entry)
{
        return sweep_name(self, arg, entry->name, sweep_noted);
}

int afr_heal_sweep(struct fibre *self, struct afr *a, unsigned child, unsigned *ret_left)
{
        struct sweep s = {.afr = a, .child = child, .directory = a->options.anonymous_gfid};
        int result = 0;
        if (afr_up(a) != a->all)
                return -ENOTCONN;
        do {
                s.moved = false;
                s.left = 0;
                if (a->options.anonymous_name[0])
                        result = afr_list(self, a, child, &s.directory, aside_entry, &s);
        } while (result == 0 && s.moved);
        if (result == 0 || result == -ENOENT || result == -ESTALE)
                result = afr_index_gfid(self, a, child, AFR_INDEX_ENTRIES, &s.directory);
        if (result == 0)
                result = afr_list(self, a, child, &s.directory, noted_entry, &s);
        if (ret_left)
                *ret_left = s.left;
        return result;
}
