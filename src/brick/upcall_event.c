/* What requests mean to other clients' memories (upcall.h; spec: brick.md §17.1).
 *
 * Called by the dispatcher with a served request and its answer, before the answer is sent: who is told of a change has
 * been told when the one who made it goes on. Gfids of a request may be those of a sub-directory mount; iatts are handed
 * on as answered, upcall.c translates both. Any thread.
 */
#include "brick/names.h"
#include "brick/upcall.h"

#define XATTROP_GET_AND_SET 4
#define SIZE_CHANGED (UPCALL_SIZE | UPCALL_TIMES)
#define ATTRIBUTES_CHANGED (UPCALL_SIZE | UPCALL_TIMES | UPCALL_OWNER | UPCALL_MODE | UPCALL_PERMISSION)
#define NAME_CHANGED (UPCALL_LINKS | UPCALL_TIMES | UPCALL_PARENT_TIMES)

/* The client has seen the object G of its request, and changed it (FLAGS, STAT) in the eyes of others. */
static void changed(struct op *op, const struct gfid *g, uint32_t flags, const struct iatt *stat)
{
        const struct upcall_event e = {
                .object = attr_gfid_from_client(op, g), .flags = flags, .stat = stat, .xattrs = DICT_NULL};
        upcall_watch(op, &e.object);
        if (flags)
                upcall_tell(op, &e);
}

static void seen(struct op *op, const struct gfid *g)
{
        changed(op, g, 0, NULL);
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

static void directory_changed(struct op *op, const struct gfid *g, const struct iatt *after)
{
        changed(op, g, UPCALL_TIMES, after);
}

/* An object got a name or lost one. */
static void named(struct op *op, const struct gfid *object, uint32_t flags, const struct iatt *stat,
                  const struct iatt *parent, const struct iatt *old_parent)
{
        const struct upcall_event e = {.object = *object,
                                       .flags = flags,
                                       .stat = stat,
                                       .parent = parent,
                                       .old_parent = old_parent,
                                       .xattrs = DICT_NULL};
        upcall_tell(op, &e);
}

static void victim_told(struct op *op, const struct iatt *parent)
{
        const struct op_victim *v = &op->victim;
        if (gfid_is_null(&v->gfid))
                return;
        named(op, &v->gfid, NAME_CHANGED, NULL, parent, NULL);
        if (v->gone)
                upcall_forget(op->brick, op->session, &v->gfid);
}

static void removed(struct op *op, const struct gfid *parent, const struct iatt *after)
{
        victim_told(op, after);
        directory_changed(op, parent, after);
}

static void linked(struct op *op, const struct link_fop_req *req, const struct link_fop_rep *rep)
{
        named(op, &req->oldgfid, NAME_CHANGED, &rep->stat, &rep->postparent, NULL);
        seen(op, &req->oldgfid);
        directory_changed(op, &req->newgfid, &rep->postparent);
}

static void renamed(struct op *op, const struct rename_fop_req *req, const struct rename_fop_rep *rep)
{
        named(op, &rep->stat.gfid, UPCALL_RENAME | UPCALL_PARENT_TIMES, &rep->stat, &rep->postnewparent,
              &rep->postoldparent);
        seen(op, &rep->stat.gfid);
        victim_told(op, &rep->postnewparent);
        directory_changed(op, &req->oldgfid, &rep->postoldparent);
        if (!gfid_equal(&req->oldgfid, &req->newgfid))
                directory_changed(op, &req->newgfid, &rep->postnewparent);
}

static void listed(struct op *op, const struct readdirp_fop_req *req, const struct readdirp_fop_rep *rep)
{
        seen(op, &req->gfid);
        for (uint32_t k = 0; k < rep->reply.n; k++)
                if (!gfid_is_null(&rep->reply.v[k].stat.gfid))
                        seen(op, &rep->reply.v[k].stat.gfid);
}

/* ---- xattrs ------------------------------------------------------------------------------------------------------ */

/* ANYHOW: programs can see the change, of which stock tells only those names that were registered. */
static void xattrs_told(struct op *op, const struct gfid *g, uint32_t flags, const struct dict *names, bool anyhow)
{
        const struct dict_value *after = dict_get(&op->reply, "virt-gf-poststat");
        const struct upcall_event e = {
                .object = attr_gfid_from_client(op, g),
                .flags = after ? flags | UPCALL_TIMES : flags,
                .stat = after && after->type == DICT_IATT ? after->iatt : NULL,
                .xattrs = *names,
                .askers_only = names->count == 0,
        };
        if (names->count > 0 || anyhow)
                upcall_tell(op, &e);
}

static void add_if_wanted(struct op *op, struct dict *told, struct str name, const struct dict_value *value)
{
        struct slice bytes;
        if (!name_in_namespace(name.s) || !upcall_name_is_registered(op->brick, name.s) ||
            dict_value_bytes(value, op->arena, &bytes) < 0)
                return;
        (void)dict_add_ptr(told, op->arena, name.s, bytes.data, bytes.len);
}

static bool programs_see(const char *name)
{
        return name_is_acl(name) || (name_in_namespace(name) && !starts_with(name, "trusted."));
}

/* The text form of an ACL sets the binary one, which is in the answer. */
static void xattrs_set(struct op *op, const struct gfid *g, const struct dict *dict)
{
        struct dict told = DICT_NULL;
        bool visible = false;
        seen(op, g);
        for (uint32_t k = 0; k < dict->count; k++) {
                visible |= programs_see(dict->pairs[k].key.s);
                add_if_wanted(op, &told, dict->pairs[k].key, &dict->pairs[k].value);
        }
        for (uint32_t k = 0; k < op->reply.count; k++)
                if (name_is_acl(op->reply.pairs[k].key.s))
                        add_if_wanted(op, &told, op->reply.pairs[k].key, &op->reply.pairs[k].value);
        xattrs_told(op, g, UPCALL_XATTR, &told, visible);
}

/* Names only: each has a value of one zero byte. An empty NAME stands for all keys of BULK. */
static void xattrs_removed(struct op *op, const struct gfid *g, struct str name, const struct dict *bulk)
{
        const struct dict_value nothing = {.type = DICT_PTR, .bytes = {(const uint8_t *)"", 1}};
        struct dict told = DICT_NULL;
        bool visible = name.len > 0 && programs_see(name.s);
        seen(op, g);
        if (name.len > 0)
                add_if_wanted(op, &told, name, &nothing);
        for (uint32_t k = 0; name.len == 0 && k < bulk->count; k++) {
                visible |= programs_see(bulk->pairs[k].key.s);
                add_if_wanted(op, &told, bulk->pairs[k].key, &nothing);
        }
        xattrs_told(op, g, UPCALL_XATTR_REMOVED, &told, visible);
}

static bool all_zero(struct slice s)
{
        uint8_t any = 0;
        for (uint32_t k = 0; k < s.len; k++)
                any |= s.data[k];
        return any == 0;
}

/* GET_AND_SET answers the value before, arithmetic the value after. Adding zeros changes nothing. */
static void xattrs_counted(struct op *op, const struct gfid *g, uint32_t kind, const struct dict *asked,
                           const struct dict *answered)
{
        const bool set = kind == XATTROP_GET_AND_SET;
        struct dict told = DICT_NULL;
        seen(op, g);
        for (uint32_t k = 0; k < asked->count; k++) {
                const struct dict_pair *p = &asked->pairs[k];
                const struct dict_value *now = set ? &p->value : dict_get(answered, p->key.s);
                struct slice bytes, left;
                if (!now || dict_value_bytes(&p->value, op->arena, &bytes) < 0 || (!set && all_zero(bytes)))
                        continue;
                if (starts_with(p->key.s, "trusted.afr") && dict_value_bytes(now, op->arena, &left) == 0 && all_zero(left))
                        continue; /* nothing is pending any more: stock does not tell that */
                add_if_wanted(op, &told, p->key, now);
        }
        xattrs_told(op, g, UPCALL_XATTR, &told, false);
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

#define REQ(name) ((const struct name##_fop_req *)req)
#define REP(name) ((const struct name##_fop_rep *)rep)

#define LOOKING(F)                                                                                                     \
        F(STAT, stat)                                                                                                  \
        F(READLINK, readlink)                                                                                          \
        F(READ, read)                                                                                                  \
        F(GETXATTR, getxattr)                                                                                          \
        F(OPENDIR, opendir)                                                                                            \
        F(ACCESS, access)                                                                                              \
        F(FSTAT, fstat)                                                                                                \
        F(READDIR, readdir)                                                                                            \
        F(FGETXATTR, fgetxattr)                                                                                        \
        F(RCHECKSUM, rchecksum)                                                                                        \
        F(SEEK, seek)                                                                                                  \
        F(FSYNC, fsync)
#define LOOKING_CASE(NAME, name)                                                                                       \
        case FOP_##NAME:                                                                                               \
                seen(op, &REQ(name)->gfid);                                                                            \
                return;

#define RESIZING(F)                                                                                                    \
        F(WRITE, write)                                                                                                \
        F(TRUNCATE, truncate)                                                                                          \
        F(FTRUNCATE, ftruncate)                                                                                        \
        F(FALLOCATE, fallocate)                                                                                        \
        F(DISCARD, discard)                                                                                            \
        F(ZEROFILL, zerofill)
#define RESIZING_CASE(NAME, name)                                                                                      \
        case FOP_##NAME:                                                                                               \
                changed(op, &REQ(name)->gfid, SIZE_CHANGED, &REP(name)->poststat);                                     \
                return;

#define SETTING(F) F(SETATTR, setattr) F(FSETATTR, fsetattr)
#define SETTING_CASE(NAME, name)                                                                                       \
        case FOP_##NAME:                                                                                               \
                changed(op, &REQ(name)->gfid,                                                                          \
                        ATTRIBUTES_CHANGED | (REQ(name)->valid & SETATTR_MODE ? UPCALL_XATTR : 0),                     \
                        &REP(name)->poststat);                                                                         \
                return;

#define MAKING(F) F(MKNOD, mknod) F(MKDIR, mkdir) F(SYMLINK, symlink)
#define MAKING_CASE(NAME, name)                                                                                        \
        case FOP_##NAME:                                                                                               \
                seen(op, &REP(name)->stat.gfid);                                                                       \
                directory_changed(op, &REQ(name)->pargfid, &REP(name)->postparent);                                       \
                return;

#define REMOVING(F) F(UNLINK, unlink) F(RMDIR, rmdir)
#define REMOVING_CASE(NAME, name)                                                                                      \
        case FOP_##NAME:                                                                                               \
                removed(op, &REQ(name)->pargfid, &REP(name)->poststat);                                                \
                return;

void upcall_request_done(struct op *op, const void *req, const void *rep)
{
        switch (op->fop) {
                LOOKING(LOOKING_CASE)
                RESIZING(RESIZING_CASE)
                SETTING(SETTING_CASE)
                MAKING(MAKING_CASE)
                REMOVING(REMOVING_CASE)
        case FOP_LOOKUP:
                if (REP(lookup)->op_ret == 0)
                        seen(op, &REP(lookup)->prestat.gfid);
                return;
        case FOP_READDIRP:
                listed(op, req, rep);
                return;
        case FOP_OPEN: /* the answer has no attributes */
                changed(op, &REQ(open)->gfid, REQ(open)->flags & O_TRUNC ? UPCALL_DROP_ATTRIBUTES : 0, NULL);
                return;
        case FOP_CREATE:
                changed(op, &REP(create)->stat.gfid, REQ(create)->flags & O_TRUNC ? SIZE_CHANGED : 0, &REP(create)->stat);
                directory_changed(op, &REQ(create)->pargfid, &REP(create)->postparent);
                return;
        case FOP_COPY_FILE_RANGE:
                seen(op, &REQ(copy_file_range)->gfid1);
                changed(op, &REQ(copy_file_range)->gfid2, SIZE_CHANGED, &REP(copy_file_range)->postparent);
                return;
        case FOP_LINK:
                linked(op, req, rep);
                return;
        case FOP_RENAME:
                renamed(op, req, rep);
                return;
        case FOP_SETXATTR:
                xattrs_set(op, &REQ(setxattr)->gfid, &REQ(setxattr)->dict);
                return;
        case FOP_FSETXATTR:
                xattrs_set(op, &REQ(fsetxattr)->gfid, &REQ(fsetxattr)->dict);
                return;
        case FOP_REMOVEXATTR:
                xattrs_removed(op, &REQ(removexattr)->gfid, REQ(removexattr)->name, &REQ(removexattr)->xdata);
                return;
        case FOP_FREMOVEXATTR:
                xattrs_removed(op, &REQ(fremovexattr)->gfid, REQ(fremovexattr)->name, &REQ(fremovexattr)->xdata);
                return;
        case FOP_XATTROP:
                xattrs_counted(op, &REQ(xattrop)->gfid, REQ(xattrop)->flags, &REQ(xattrop)->dict, &REP(xattrop)->dict);
                return;
        case FOP_FXATTROP:
                xattrs_counted(op, &REQ(fxattrop)->gfid, REQ(fxattrop)->flags, &REQ(fxattrop)->dict,
                               &REP(fxattrop)->dict);
                return;
        default:
                return;
        }
}
