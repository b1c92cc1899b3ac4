/* Who may do what: mode bits, POSIX ACLs, sticky directories, what a new object inherits (spec: brick.md §8.2, §15).
 *
 * The brick runs as root and enforces everything itself. ACLs come from the object's attribute snapshot, so a check
 * costs no system call while the snapshot is fresh. With `acl` off nothing is checked; inheritance is done all the
 * same, because the file system below does it too. Called by handlers on any thread, without inode.lock.
 */
#include "brick/acl.h"
#include "brick/internal.h"

static struct acl_subject subject_of(const struct op *op)
{
        return (struct acl_subject){op->caller.uid, op->caller.gid, op->caller.group_count, op->caller.groups};
}

bool perm_in_group(const struct op *op, gid_t gid)
{
        struct acl_subject who = subject_of(op);
        return acl_in_group(&who, gid);
}

bool perm_is_owner(const struct op *op, const struct stat *st)
{
        return !op->brick->options->acl || op->caller.uid == 0 || op->caller.uid == st->st_uid;
}

static bool passes_always(const struct op *op)
{
        return !op->brick->options->acl || op->caller.uid == 0 || op_internal(op);
}

/* The object's ACL of that NAME; empty: it has none that can be used. */
static int acl_of(struct op *op, struct object *o, const char *name, struct slice *ret)
{
        struct xattr_view view;
        int r = xattr_view(op->brick, o->inode, &o->at, &o->st, op->arena, &view);
        if (r < 0)
                return r;
        const struct xattr_pair *p = xattr_view_find(&view, name);
        struct slice acl = p ? (struct slice){p->value, p->len} : (struct slice){NULL, 0};
        *ret = p && acl_check(acl) == 0 ? acl : (struct slice){NULL, 0};
        return 0;
}

int perm_check(struct op *op, struct object *o, unsigned want)
{
        if (passes_always(op))
                return 0;
        struct slice acl;
        int r = acl_of(op, o, ACL_XATTR_ACCESS, &acl);
        if (r < 0)
                return r;
        struct acl_subject who = subject_of(op);
        bool granted = acl.len > 0 ? acl_grants(acl, o->st.st_uid, o->st.st_gid, &who, want)
                                   : acl_mode_grants(&o->st, &who, want);
        return granted ? 0 : -EACCES;
}

int perm_check_entry(struct op *op, struct object *parent, unsigned want, struct object *victim)
{
        int r = perm_check(op, parent, want ? want : PERM_WRITE | PERM_EXEC);
        if (r < 0 || !victim || passes_always(op))
                return r;
        bool owner = op->caller.uid == parent->st.st_uid || op->caller.uid == victim->st.st_uid;
        return (parent->st.st_mode & S_ISVTX) && !owner ? -EACCES : 0;
}

/* ---- new objects ----------------------------------------------------------------------------------------------- */

/* storage.create-mask and its relatives concern the nine permission bits. */
static mode_t mode_limit(const struct brick_options *o, mode_t type, mode_t mode)
{
        bool dir = S_ISDIR(type);
        mode_t mask = dir ? o->create_directory_mask : o->create_mask;
        mode_t force = dir ? o->force_directory_mode : o->force_create_mode;
        return (mode & ~(mode_t)0777) | (((mode & mask) | force) & 0777);
}

static int inherit_acl(struct op *op, struct slice parent_default, mode_t type, struct perm_new *n)
{
        n->mode = mode_limit(op->brick->options, type, n->mode);
        int r = acl_inherit(parent_default, op->arena, &n->mode, &n->access_acl);
        if (r < 0)
                return r;
        if (S_ISDIR(type))
                n->default_acl = parent_default;
        return 0;
}

static void inherit_group(const struct object *parent, mode_t type, struct perm_new *n)
{
        if (!(parent->st.st_mode & S_ISGID))
                return;
        n->gid = parent->st.st_gid;
        if (S_ISDIR(type))
                n->mode |= S_ISGID;
}

int perm_inherit(struct op *op, struct object *parent, mode_t type, mode_t mode, mode_t umask, struct perm_new *ret)
{
        if (op->xdata.umask.present)
                umask = (mode_t)op->xdata.umask.value;
        if (op->xdata.mode.present)
                mode = (mode_t)op->xdata.mode.value;
        struct perm_new n = {.mode = mode & 07777, .uid = op->caller.uid, .gid = op->caller.gid};
        inherit_group(parent, type, &n);
        if (S_ISLNK(type)) {
                n.mode = 0777;
                *ret = n;
                return 0;
        }

        struct slice parent_default;
        int r = acl_of(op, parent, ACL_XATTR_DEFAULT, &parent_default);
        if (r < 0)
                return r;
        if (parent_default.len > 0) {
                r = inherit_acl(op, parent_default, type, &n);
                if (r < 0)
                        return r;
        } else {
                n.mode = mode_limit(op->brick->options, type, n.mode & ~(umask & 0777));
        }
        *ret = n;
        return 0;
}
