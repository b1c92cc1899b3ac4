/* Extended attributes: those that are the replica set's own, those that are put together from all copies, and the plain
 * ones (replicate.md §8.5, §9.2, §11).
 */
#include "volume/afr_xattr.h"

#include <sys/stat.h>

#include "volume/afr_heal.h"

#define CHOICE_TIME (300 * NS_PER_SEC)
#define COUNTER_PREFIX "trusted.afr."

static bool is_counter(struct str name)
{
        return starts_with(name.s, COUNTER_PREFIX);
}

/* ---- from all copies --------------------------------------------------------------------------------------------- */

/* Asks the children of SET for the xattr NAME. */
static int ask_value(struct fibre *self, struct afr *a, struct request *r, const struct gfid *gfid, const char *name,
                     afr_set set, struct afr_answers *ret)
{
        struct getxattr_fop_req *q = arena_alloc(r->arena, sizeof *q);
        if (!q)
                return -ENOMEM;
        *q = (struct getxattr_fop_req){.gfid = *gfid, .namelen = 1, .name = str_of(name)};
        struct request plain = *r;
        plain.file = NULL;
        afr_ask(self, a, &plain, FOP_GETXATTR, q, set, ret);
        return ret->ok ? 0 : afr_final_error(ret, ret->asked);
}

static const char *value_of(const struct afr_answers *x, struct arena *arena, unsigned i, const char *name)
{
        struct str s;
        if (!(x->ok & AFR_BIT(i)))
                return NULL;
        const struct dict *d = &((const struct getxattr_fop_rep *)x->rep[i])->dict;
        return dict_get_str(d, arena, name, &s) == 0 ? s.s : NULL;
}

static char *joined(const struct afr_answers *x, struct arena *arena, unsigned n, const char *name, const char *missing)
{
        char *text = arena_printf(arena, "%s", "");
        for (unsigned i = 0; i < n && text; i++) {
                const char *value = value_of(x, arena, i, name);
                if (!value)
                        value = missing;
                if (value)
                        text = arena_printf(arena, "%s%s%s", text, *text ? " " : "", value);
        }
        return text;
}

/* What a name that no copy can answer alone is answered with; NULL: it is a plain one. */
static char *pathinfo_text(const struct afr *a, struct arena *arena, const struct afr_answers *x, const char *name)
{
        const char *all = joined(x, arena, a->n, name, NULL);
        return all ? arena_printf(arena, "(<REPLICATE:%s> %s)", a->base.name, all) : NULL;
}

static char *split_brain_text(struct afr *a, struct vnode *i, struct arena *arena)
{
        const struct afr_inode *x = afr_inode(a, i);
        if (!x)
                return NULL;
        bool data = !S_ISDIR(i->type) && !x->verdict.readable[AFR_DATA];
        bool metadata = !x->verdict.readable[AFR_METADATA];
        if (!data && !metadata)
                return arena_printf(arena, "The file is not under data or metadata split-brain");
        char *choices = arena_printf(arena, "%s", "");
        for (unsigned k = 0; k < a->n && choices; k++) {
                if (k != a->arbiter)
                        choices =
                                arena_printf(arena, "%s%s%s", choices, *choices ? "," : "", a->base.children[k]->name);
        }
        return choices ? arena_printf(arena, "data-split-brain:%s    metadata-split-brain:%s    Choices:%s",
                                      data ? "yes" : "no", metadata ? "yes" : "no", choices)
                       : NULL;
}

static const char *heal_info_text(struct fibre *self, struct afr *a, struct vnode *i)
{
        static const char *const texts[] = {[AFR_HEALTHY] = "no-heal",
                                            [AFR_HEAL_PENDING] = "heal-pending",
                                            [AFR_HEALING] = "possibly-healing",
                                            [AFR_SPLIT_BRAIN] = "split-brain"};
        enum afr_heal_state state = AFR_HEAL_PENDING; /* nobody can tell while a copy is away */
        (void)afr_heal_look(self, a, &i->gfid, &state);
        return texts[state];
}

enum kind { PLAIN, COUNTER, PATHINFO, NODE_UUID, NODE_UUIDS, JOINED, SPLIT_BRAIN, HEAL_INFO };

static enum kind kind_of(struct str name)
{
        if (is_counter(name))
                return COUNTER;
        if (str_is(name, "trusted.glusterfs.pathinfo") || str_is(name, "glusterfs.pathinfo"))
                return PATHINFO;
        if (str_is(name, "trusted.glusterfs.node-uuid"))
                return NODE_UUID;
        if (str_is(name, "trusted.glusterfs.list-node-uuids"))
                return NODE_UUIDS;
        if (starts_with(name.s, "glusterfs.clrlk") || starts_with(name.s, "glusterfs.intrlk"))
                return JOINED;
        if (str_is(name, "glusterfs.heal-info"))
                return HEAL_INFO;
        return str_is(name, "replica.split-brain-status") ? SPLIT_BRAIN : PLAIN;
}

/* The text for NAME, which is not plain. -errno. */
static int combined(struct fibre *self, struct afr *a, struct request *r, enum kind kind, struct str name,
                    const char **ret)
{
        static const char no_uuid[] = "00000000-0000-0000-0000-000000000000";
        const char *asked = kind == NODE_UUIDS ? "trusted.glusterfs.node-uuid" : name.s;
        struct arena *arena = r->arena;
        const struct gfid *gfid = &r->inode->gfid;
        struct afr_answers x = {0};
        int result = 0;
        if (kind == COUNTER)
                return -ENODATA;
        if (kind == HEAL_INFO) {
                *ret = heal_info_text(self, a, r->inode);
                return 0;
        }
        if (kind == SPLIT_BRAIN)
                result = afr_refresh(self, a, r, r->inode, r->file);
        else
                result = ask_value(self, a, r, gfid, asked, afr_up(a), &x);
        if (result < 0)
                return result;
        if (kind == SPLIT_BRAIN)
                *ret = split_brain_text(a, r->inode, arena);
        else if (kind == PATHINFO)
                *ret = pathinfo_text(a, arena, &x, asked);
        else if (kind == NODE_UUID)
                *ret = value_of(&x, arena, afr_next(x.ok, 0), asked);
        else
                *ret = joined(&x, arena, a->n, asked, kind == NODE_UUIDS ? no_uuid : NULL);
        return *ret ? 0 : -ENOMEM;
}

static void hide_counters(struct dict *d)
{
        uint32_t kept = 0;
        for (uint32_t k = 0; k < d->count; k++) {
                if (!is_counter(d->pairs[k].key))
                        d->pairs[kept++] = d->pairs[k];
        }
        d->count = kept;
}

/* GETXATTR and FGETXATTR of a name that is not plain. */
static int get_combined(struct fibre *self, struct afr *a, enum fop fop, struct request *r, enum kind kind,
                        struct str name, void *rep, struct dict *ret_dict)
{
        const char *text = NULL;
        int result = afr_ready(self, a, r);
        if (result == 0)
                result = combined(self, a, r, kind, name, &text);
        if (result < 0)
                return afr_fail(fop, rep, result);
        (void)afr_fail(fop, rep, 0);
        *(int32_t *)rep = (int32_t)strlen(text);
        struct dict d = {0};
        result = dict_add_str(&d, r->arena, name.s, text);
        if (result < 0)
                return afr_fail(fop, rep, result);
        *ret_dict = d;
        return 0;
}

int afr_getxattr(struct fibre *self, struct subvolume *v, struct request *r, const struct getxattr_fop_req *req,
                 struct getxattr_fop_rep *rep)
{
        enum kind kind = req->namelen ? kind_of(req->name) : PLAIN;
        if (kind != PLAIN)
                return get_combined(self, afr_of(v), FOP_GETXATTR, r, kind, req->name, rep, &rep->dict);
        int result = afr_read_any(self, afr_of(v), FOP_GETXATTR, AFR_METADATA, r, req, rep);
        if (result >= 0)
                hide_counters(&rep->dict);
        return result;
}

int afr_fgetxattr(struct fibre *self, struct subvolume *v, struct request *r, const struct fgetxattr_fop_req *req,
                  struct fgetxattr_fop_rep *rep)
{
        enum kind kind = req->namelen ? kind_of(req->name) : PLAIN;
        if (kind != PLAIN)
                return get_combined(self, afr_of(v), FOP_FGETXATTR, r, kind, req->name, rep, &rep->dict);
        int result = afr_read_any(self, afr_of(v), FOP_FGETXATTR, AFR_METADATA, r, req, rep);
        if (result >= 0)
                hide_counters(&rep->dict);
        return result;
}

/* ---- setting: commands ------------------------------------------------------------------------------------------- */

static unsigned child_by_name(const struct afr *a, const char *name)
{
        for (unsigned i = 0; i < a->n; i++) {
                if (streq(a->base.children[i]->name, name))
                        return i;
        }
        return AFR_NO_CHILD;
}

static int set_choice(struct fibre *self, struct afr *a, struct request *r, const char *name)
{
        struct afr_inode *x = afr_inode(a, r->inode);
        int result = afr_refresh(self, a, r, r->inode, NULL);
        if (!x || result < 0)
                return x ? result : -ENOMEM;
        if (streq(name, "none")) {
                x->choice = AFR_NO_CHILD;
                return 0;
        }
        unsigned child = child_by_name(a, name);
        if (child == AFR_NO_CHILD || child == a->arbiter)
                return -EINVAL;
        if (afr_readable(x, AFR_DATA) && afr_readable(x, AFR_METADATA))
                return -EINVAL; /* there is nothing to choose */
        if (!x->choice_time)
                x->choice_time = CHOICE_TIME;
        x->choice = child;
        x->choice_until = loop_now(afr_loop(a)) + x->choice_time;
        return 0;
}

static int set_choice_time(struct afr *a, struct request *r, const struct dict *d, const char *key)
{
        int64_t minutes;
        struct afr_inode *x = afr_inode(a, r->inode);
        if (!x || dict_get_int(d, key, &minutes) < 0 || minutes < 0 || minutes > 1000000)
                return x ? -EINVAL : -ENOMEM;
        x->choice_time = (uint64_t)minutes * 60 * NS_PER_SEC;
        return 0;
}

/* The copy of child NAME is empty: all others blame it for everything in the root, so that the healer fills it [11]. */
static int mark_new_copy(struct fibre *self, struct afr *a, struct request *r, const char *name)
{
        unsigned child = child_by_name(a, name);
        if (child == AFR_NO_CHILD || !gfid_is_root(&r->inode->gfid))
                return -EINVAL;
        afr_set others = a->all & ~AFR_BIT(child), locked = 0;
        if ((afr_up(a) & a->all) != a->all)
                return -ENOTCONN;
        struct afr_locks locks = {.class = AFR_ENTRY};
        afr_locks_add(&locks, &r->inode->gfid, "");
        int result = afr_lock(self, a, r, NULL, &locks, a->all, &locked);
        if (result < 0)
                return result;
        struct afr_answers marked, dirty;
        struct afr_tally x = {.gfid = r->inode->gfid, .blamed = AFR_BIT(child), .amount = {1, 1, 1}};
        struct afr_tally y = {.gfid = r->inode->gfid, .dirty = {[AFR_ENTRY] = 1}};
        afr_tally(self, a, r, &y, locked & AFR_BIT(child), &dirty);
        afr_tally(self, a, r, &x, locked & others, &marked);
        afr_unlock(self, a, r, NULL, &locks);
        return marked.ok == others && dirty.ok ? 0 : -ENOTCONN;
}

/* The copy of SOURCE is right. What of the object is not in split-brain is healed as always. */
static int heal_from(struct fibre *self, struct afr *a, struct request *r, unsigned source)
{
        struct afr_heal_report report = {.prefer = AFR_PREFER_SOURCE, .preferred_child = source};
        if (source == AFR_NO_CHILD || source == a->arbiter)
                return -EINVAL;
        int result = afr_heal_resolve(self, a, &r->inode->gfid, &report);
        if (result < 0)
                return result;
        struct afr_inode *x = afr_inode(a, r->inode);
        if (x)
                x->choice = AFR_NO_CHILD;
        return afr_refresh(self, a, r, r->inode, NULL);
}

/* A command in the shape of an xattr. 1: KEY is none. */
static int command(struct fibre *self, struct afr *a, struct request *r, const struct dict *d, struct str key)
{
        if (is_counter(key))
                return -EPERM;
        if (str_is(key, "replica.split-brain-choice-timeout"))
                return set_choice_time(a, r, d, key.s);
        bool choice = str_is(key, "replica.split-brain-choice"),
             heal = str_is(key, "replica.split-brain-heal-finalize");
        bool mark = str_is(key, "trusted.add-brick") || str_is(key, "trusted.replace-brick");
        struct str value;
        if (!choice && !heal && !mark)
                return 1;
        if (dict_get_str(d, r->arena, key.s, &value) < 0)
                return -EINVAL;
        if (choice)
                return set_choice(self, a, r, value.s);
        if (mark)
                return mark_new_copy(self, a, r, value.s);
        return heal_from(self, a, r, child_by_name(a, value.s));
}

/* 1: nothing in D is a command; else the result of the first that is. */
static int commands(struct fibre *self, struct afr *a, struct request *r, const struct dict *d)
{
        for (uint32_t k = 0; k < d->count; k++) {
                int result = command(self, a, r, d, d->pairs[k].key);
                if (result <= 0)
                        return result;
        }
        return 1;
}

static int finish_command(enum fop fop, void *rep, int result)
{
        (void)afr_fail(fop, rep, result);
        if (result == 0)
                *(int32_t *)rep = 0;
        return result;
}

static int set(struct fibre *self, struct afr *a, enum fop fop, struct request *r, const void *req,
               const struct dict *d, void *rep)
{
        int result = afr_ready(self, a, r);
        if (result == 0)
                result = commands(self, a, r, d);
        if (result <= 0)
                return finish_command(fop, rep, result);
        return afr_metadata_transaction(self, a, fop, r, req, rep);
}

int afr_setxattr(struct fibre *self, struct subvolume *v, struct request *r, const struct setxattr_fop_req *req,
                 struct setxattr_fop_rep *rep)
{
        return set(self, afr_of(v), FOP_SETXATTR, r, req, &req->dict, rep);
}

int afr_fsetxattr(struct fibre *self, struct subvolume *v, struct request *r, const struct fsetxattr_fop_req *req,
                  struct fsetxattr_fop_rep *rep)
{
        return set(self, afr_of(v), FOP_FSETXATTR, r, req, &req->dict, rep);
}

int afr_removexattr(struct fibre *self, struct subvolume *v, struct request *r, const struct removexattr_fop_req *req,
                    struct removexattr_fop_rep *rep)
{
        if (is_counter(req->name))
                return afr_fail(FOP_REMOVEXATTR, rep, -EPERM);
        return afr_metadata_transaction(self, afr_of(v), FOP_REMOVEXATTR, r, req, rep);
}

int afr_fremovexattr(struct fibre *self, struct subvolume *v, struct request *r, const struct fremovexattr_fop_req *req,
                     struct fremovexattr_fop_rep *rep)
{
        if (is_counter(req->name))
                return afr_fail(FOP_FREMOVEXATTR, rep, -EPERM);
        return afr_metadata_transaction(self, afr_of(v), FOP_FREMOVEXATTR, r, req, rep);
}
