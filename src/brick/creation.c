/* Making a new object (creation.h; spec: brick.md §4, §5, §8.2, §15.2, §21).
 *
 * Order of effects: object, owner, ACLs, attributes, gfid, handle. A crash leaves at worst a name without gfid or without
 * handle, which look-ups repair. The entry lock is held throughout, so nobody repairs what is still being made.
 *
 * The attributes are written straight to the disk and remembered; together they become the xattr snapshot of the new inode,
 * unless the file system may have added some of its own.
 */
#include "brick/creation.h"
#include "brick/gfid2path.h"
#include "brick/confine.h"
#include "brick/names.h"

#include <sys/random.h>
#include <sys/xattr.h>

#define ACL_ACCESS "system.posix_acl_access"
#define ACL_DEFAULT "system.posix_acl_default"

/* ---- beginning ----------------------------------------------------------------------------------------------------- */

static int choose_gfid(struct op *op, struct gfid *ret)
{
        const struct xdata_gfid *want = &op->xdata.gfid_req;
        if (want->present && !gfid_is_null(&want->value)) {
                *ret = want->value;
                return gfid_is_root(ret) ? -EINVAL : 0;
        }
        uint8_t raw[16];
        if (op->caller.pid != PID_TRASH)
                return -EINVAL;
        if (getrandom(raw, sizeof raw, 0) != (ssize_t)sizeof raw)
                return -EIO;
        *ret = gfid_from_random(raw);
        return 0;
}

static int begin_checks(struct creation *c, const struct creation_request *req)
{
        struct op *op = c->op;
        int r = perm_check_entry(op, &c->parent, PERM_WRITE | PERM_EXEC, NULL);
        if (r == 0)
                r = choose_gfid(op, &c->gfid);
        if (r == 0)
                r = space_check(op);
        if (r == 0)
                r = perm_inherit(op, &c->parent, req->type, req->mode & 07777, req->umask, &c->perm);
        if (r == 0)
                r = entry_parent_before(op, &c->parent, &c->before);
        return r;
}

int creation_begin(struct op *op, const struct creation_request *req, struct creation *ret)
{
        *ret = (struct creation){.op = op, .name = req->name, .type = req->type, .complete = op->brick->bare_creations};
        int r = entry_parent(op, req->parent, req->name, -EEXIST, &ret->parent);
        if (r < 0)
                return r;
        r = begin_checks(ret, req);
        if (r < 0)
                return r;
        entry_lock(op->brick, &ret->parent.inode->gfid, req->name, &ret->guard);
        ret->made.at.dirfd = ret->parent.at.dirfd;
        memcpy(ret->made.at.path, req->name, strlen(req->name) + 1);
        return 0;
}

void creation_done(struct creation *c)
{
        entry_unlock(&c->guard);
        object_done(c->op->brick, &c->made);
        object_done(c->op->brick, &c->parent);
}

int creation_check_preop(struct creation *c, int absent)
{
        struct op *op = c->op;
        const struct xdata_text *key = &op->xdata.preop_parent_key;
        struct xattr_view view;
        struct slice want;
        if (!key->present)
                return 0;
        int r = xattr_view(op->brick, c->parent.inode, &c->parent.at, &c->parent.st, op->arena, &view);
        if (r < 0)
                return r;
        const struct xattr_pair *have = xattr_view_find(&view, key->value.s);
        if (!have && absent)
                return absent;
        if (have && dict_get_bytes(&op->xdata.others, key->value.s, &want) == 0 && want.len == have->len &&
            memcmp(want.data, have->value, want.len) == 0) {
                c->preop_key = key->value.s;
                return 0;
        }
        r = dict_add_int(&op->reply, op->arena, "glusterfs.preop.check.failed", 1);
        return r < 0 ? r : -EIO;
}

/* ---- attributes ---------------------------------------------------------------------------------------------------- */

static int set_attr(struct creation *c, const char *name, const void *value, size_t len)
{
        const struct place *at = &c->made.at;
        int r = disk_setxattr(c->op->brick->disk, at->dirfd, at->path, name, value, len, XATTR_CREATE);
        if (r < 0)
                return r;
        if (c->n < CREATION_PAIRS && (starts_with(name, "trusted.") || starts_with(name, "user.")))
                c->pairs[c->n++] = (struct xattr_pair){name, value, (uint32_t)len};
        else
                c->complete = false;
        return 0;
}

/* What an object of this kind, or this file system, cannot have is left out. But when the disk is full or broken, the whole
 * creation fails: a client takes a copy without its linkto or counters for good, and nobody blames it. */
static int if_lost(int r)
{
        return r == -ENOSPC || r == -EDQUOT || r == -EIO || r == -EROFS || r == -ENOMEM ? r : 0;
}

static int change_owner(struct creation *c)
{
        return disk_chown(c->op->brick->disk, c->made.at.dirfd, c->made.at.path, c->perm.uid, c->perm.gid);
}

/* What the process most likely gives to new files without being asked; check_owner() looks. */
static bool owner_is_given(const struct creation *c)
{
        const struct stat *parent = &c->parent.st;
        gid_t gid = parent->st_mode & S_ISGID ? parent->st_gid : c->op->brick->gid;
        return c->perm.uid == c->op->brick->uid && c->perm.gid == gid;
}

static int set_owner(struct creation *c)
{
        return owner_is_given(c) ? 0 : change_owner(c);
}

/* A file system mounted with grpid gives the directory's group whatever its mode says. */
static int check_owner(struct creation *c)
{
        if (c->made.st.st_uid == c->perm.uid && c->made.st.st_gid == c->perm.gid)
                return 0;
        int r = change_owner(c);
        return r < 0 ? r : object_restat(c->op, &c->made);
}

/* The inherited ACL, else the one the client sends. The file system may have inherited one as well: it is replaced. */
static int set_acl(struct creation *c, const char *name, struct slice acl)
{
        struct slice sent;
        if (acl.len == 0 && dict_get_bytes(&c->op->xdata.others, name, &sent) == 0)
                acl = sent;
        if (acl.len == 0)
                return 0;
        c->complete = false;
        return if_lost(disk_setxattr(c->op->brick->disk, c->made.at.dirfd, c->made.at.path, name, acl.data, acl.len, 0));
}

static int set_acls(struct creation *c)
{
        if (S_ISLNK(c->type))
                return 0;
        int r = set_acl(c, ACL_ACCESS, c->perm.access_acl);
        return r == 0 && S_ISDIR(c->type) ? set_acl(c, ACL_DEFAULT, c->perm.default_acl) : r;
}

/* Into the arena, because the pairs are kept until the snapshot is made. */
static int set_names(struct creation *c)
{
        const struct brick_options *o = c->op->brick->options;
        const struct gfid *parent = &c->parent.inode->gfid;
        if (S_ISDIR(c->type))
                return 0;
        if (o->gfid2path) {
                struct gfid2path *p = arena_alloc(c->op->arena, sizeof *p);
                if (!p)
                        return -ENOMEM;
                gfid2path_make(parent, c->name, p);
                c->names_failed = set_attr(c, p->key, p->value, p->len) < 0;
        }
        if (o->build_pgfid) {
                static const uint8_t once[4] = {[3] = 1};
                char *key = arena_alloc(c->op->arena, PGFID_KEY_MAX);
                if (!key)
                        return -ENOMEM;
                pgfid_key(parent, key);
                (void)set_attr(c, key, once, sizeof once);
        }
        return 0;
}

/* Keys with a meaning of their own are not attributes to store. */
static bool is_stored(const struct creation *c, const char *key)
{
        if (!name_in_namespace(key) || name_is_identity(key) || streq(key, ACL_ACCESS) || streq(key, ACL_DEFAULT) ||
            streq(key, XATTR_MDATA) || name_is_xfs_acl(key) || starts_with(key, XATTR_GFID2PATH))
                return false;
        return !c->preop_key || !streq(key, c->preop_key);
}

/* Linkto, layout, pending counts: born with the object. */
static int set_others(struct creation *c)
{
        const struct dict *d = &c->op->xdata.others;
        int r = 0;
        for (uint32_t k = 0; r == 0 && k < d->count; k++) {
                const struct dict_pair *p = &d->pairs[k];
                struct slice bytes;
                if (is_stored(c, p->key.s) && dict_value_bytes(&p->value, c->op->arena, &bytes) == 0)
                        r = if_lost(set_attr(c, p->key.s, bytes.data, bytes.len));
        }
        return r;
}

static void later(struct iatt_time *t, const struct iatt_time *to)
{
        if (to->sec > t->sec || (to->sec == t->sec && to->nsec > t->nsec))
                *t = *to;
}

static bool mdata_sent(const struct creation *c, struct mdata *ret)
{
        const struct dict_value *v = dict_get(&c->op->xdata.others, XATTR_MDATA);
        struct slice raw;
        if (v && v->type == DICT_MDATA) {
                *ret = v->mdata;
                return true;
        }
        return v && dict_value_bytes(v, c->op->arena, &raw) == 0 && mdata_parse(raw.data, raw.len, ret) == 0;
}

/* The time of the request, and the times sent along if they are later. */
static int set_mdata(struct creation *c)
{
        const struct op *op = c->op;
        if (!op->brick->options->ctime)
                return 0;
        struct mdata m, sent;
        bool flagged = attr_object_times(op) != 0;
        bool has_sent = mdata_sent(c, &sent);
        if (!flagged && !has_sent)
                return 0;
        const struct iatt_time *now = &op->cred->time;
        m = flagged ? (struct mdata){.atime = *now, .mtime = *now, .ctime = *now} : sent;
        if (has_sent) {
                later(&m.atime, &sent.atime);
                later(&m.mtime, &sent.mtime);
                later(&m.ctime, &sent.ctime);
        }
        uint8_t *raw = arena_alloc(op->arena, MDATA_SIZE);
        if (!raw)
                return -ENOMEM;
        mdata_format(&m, raw);
        return set_attr(c, XATTR_MDATA, raw, MDATA_SIZE);
}

/* ---- identity ------------------------------------------------------------------------------------------------------ */

/* A directory whose gfid another directory has: self-heal replays a rename, and this is the new place. */
static int take_dir_handle(struct creation *c)
{
        struct brick *b = c->op->brick;
        struct stat old;
        int r = handle_stat(b, &c->gfid, &old);
        if (r < 0)
                return r;
        if (!handle_stat_is_dir(&old) || confine_check_dir(c->op, &c->gfid) < 0)
                return -EEXIST;
        return handle_move_dir(b, &c->gfid, &c->parent.inode->gfid, c->name);
}

static int make_handle(struct creation *c)
{
        struct brick *b = c->op->brick;
        int r = handle_create(b, &c->gfid, &c->made.at, &c->made.st, &c->parent.inode->gfid, c->name);
        return r == -EEXIST && S_ISDIR(c->type) ? take_dir_handle(c) : r;
}

/* Under inode.lock. */
static int identify(struct creation *c, struct inode *inode)
{
        struct brick *b = c->op->brick;
        int r = set_attr(c, XATTR_GFID, c->gfid.b, sizeof c->gfid.b);
        if (r == 0)
                r = make_handle(c);
        if (r < 0)
                return r;
        c->has_handle = true;
        inode->generation++;
        if (inode->unlinked) { /* an open file of that gfid lost its names: it stays alive for who has it open */
                char parked[HANDLE_PATH_MAX];
                handle_unlink_path(&c->gfid, parked);
                (void)disk_unlink(b->disk, b->root_fd, parked, 0);
                inode->unlinked = false;
        }
        return 0;
}

/* ---- the whole ------------------------------------------------------------------------------------------------------ */

/* What chown, the file system's own inheritance or an unusual umask did to the mode. */
static int fix_mode(struct creation *c)
{
        const mode_t have = c->made.st.st_mode & 07777, special = S_ISUID | S_ISGID | S_ISVTX;
        mode_t want = c->perm.mode & 07777;
        if (S_ISLNK(c->type))
                return 0;
        if (S_ISDIR(c->type))
                want = (want & 01777) | (c->parent.st.st_mode & S_ISGID);
        if (have == want || (c->perm.access_acl.len > 0 && (have & special) == (want & special)))
                return 0;
        int r = disk_chmod(c->op->brick->disk, c->made.at.dirfd, c->made.at.path, want);
        return r < 0 ? r : object_restat(c->op, &c->made);
}

static int set_attributes(struct creation *c)
{
        int r = set_owner(c);
        if (r < 0)
                return r;
        r = set_acls(c);
        if (r == 0)
                r = set_names(c);
        if (r == 0)
                r = set_others(c);
        return r < 0 ? r : set_mdata(c);
}

/* Under inode.lock: from the handle on others may use the object, and what they change must not be overwritten by what
 * is remembered here. */
static int introduce(struct creation *c, struct inode *inode)
{
        struct brick *b = c->op->brick;
        int r = identify(c, inode);
        if (r == 0)
                r = object_restat(c->op, &c->made);
        if (r == 0)
                r = check_owner(c);
        if (r == 0)
                r = fix_mode(c);
        if (r < 0)
                return r;
        inode_forget(b, inode); /* what was known of an earlier object with this gfid */
        inode_set_ino(b, inode, c->made.st.st_ino, c->type);
        inode_set_handle_checked(inode, c->names_failed ? 0 : coarse_now());
        if (c->complete)
                xattr_seed(inode, &c->made.st, c->pairs, c->n);
        return 0;
}

static int dress(struct creation *c, struct inode *inode)
{
        int r = set_attributes(c);
        if (r < 0)
                return r;
        pthread_mutex_lock(&inode->lock);
        r = introduce(c, inode);
        pthread_mutex_unlock(&inode->lock);
        return r;
}

int creation_dress(struct creation *c)
{
        struct brick *b = c->op->brick;
        struct inode *inode = inode_get(b, &c->gfid);
        c->made.st.st_mode = c->type; /* all that making the handle asks of it */
        int r = inode ? dress(c, inode) : -ENOMEM;
        if (r < 0) {
                creation_undo(c);
                inode_unref(b, inode);
                return r;
        }
        c->made.inode = inode;
        return 0;
}

void creation_undo(struct creation *c)
{
        struct brick *b = c->op->brick;
        if (c->has_handle)
                (void)handle_remove(b, &c->gfid);
        (void)disk_unlink(b->disk, c->parent.at.dirfd, c->name, S_ISDIR(c->type) ? AT_REMOVEDIR : 0);
}

int creation_answer(struct creation *c, struct iatt *object, struct iatt *before, struct iatt *after)
{
        *before = c->before;
        int r = attr_iatt(c->op, &c->made, object);
        return r < 0 ? r : entry_parent_after(c->op, &c->parent, after);
}
