/* Names whose change was sent, and the answer lost (remote.h): was it done?
 *
 * Asked only when another process serves the brick now, so that the lost request cannot run any more. The objects tell
 * by their gfids: what was to be made has one that nobody else chose, what was to go is the object the caller meant. So
 * a change is never done twice to something that others put there meanwhile, but for the moment between asking and
 * sending.
 *
 * Thread: the loop's.
 */
#include "volume/remote.h"

#include <fcntl.h>

struct place {
        const struct gfid *dir;
        struct str name;
};

/* Replies of MKNOD, MKDIR, SYMLINK and LINK are alike, and so are those of UNLINK and RMDIR. */
_Static_assert(sizeof(struct mknod_fop_rep) == sizeof(struct mkdir_fop_rep), "made objects are told alike");
_Static_assert(sizeof(struct symlink_fop_rep) == sizeof(struct mkdir_fop_rep), "made objects are told alike");
_Static_assert(sizeof(struct link_fop_rep) == sizeof(struct mkdir_fop_rep), "made objects are told alike");
_Static_assert(sizeof(struct unlink_fop_rep) == sizeof(struct rmdir_fop_rep), "removals are told alike");

/* ---- looking --------------------------------------------------------------------------------------------------- */

/* What is at PLACE: 0, -ENOENT, or why that cannot be known. */
static int look(struct fibre *self, struct remote *m, struct request *r, struct place place, struct lookup_fop_rep *ret)
{
        const struct lookup_fop_req req = {.pargfid = *place.dir, .bname = place.name, .xdata = DICT_NULL};
        int result = remote_send(self, m, FOP_LOOKUP, &r->cred, &req, ret, r->arena, NULL);
        if (result < 0)
                return -ENOTCONN;
        if (ret->op_ret >= 0)
                return 0;
        return ret->op_errno == ENOENT ? -ENOENT : -ENOTCONN;
}

static int look_at_directory(struct fibre *self, struct remote *m, struct request *r, const struct gfid *dir,
                             struct iatt *ret)
{
        const struct stat_fop_req req = {.gfid = *dir, .xdata = DICT_NULL};
        struct stat_fop_rep rep;
        int result = remote_send(self, m, FOP_STAT, &r->cred, &req, &rep, r->arena, NULL);
        if (result < 0 || rep.op_ret < 0)
                return -ENOTCONN;
        *ret = rep.stat;
        return 0;
}

/* ---- what was to be made --------------------------------------------------------------------------------------- */

static struct place place_made(enum fop fop, const void *req)
{
        switch (fop) {
        case FOP_MKNOD:
                return (struct place){&((const struct mknod_fop_req *)req)->pargfid,
                                      ((const struct mknod_fop_req *)req)->bname};
        case FOP_MKDIR:
                return (struct place){&((const struct mkdir_fop_req *)req)->pargfid,
                                      ((const struct mkdir_fop_req *)req)->bname};
        case FOP_SYMLINK:
                return (struct place){&((const struct symlink_fop_req *)req)->pargfid,
                                      ((const struct symlink_fop_req *)req)->bname};
        case FOP_LINK:
                return (struct place){&((const struct link_fop_req *)req)->newgfid,
                                      ((const struct link_fop_req *)req)->newbname};
        default:
                return (struct place){&((const struct create_fop_req *)req)->pargfid,
                                      ((const struct create_fop_req *)req)->bname};
        }
}

static int gfid_made(enum fop fop, const void *req, struct gfid *ret)
{
        switch (fop) {
        case FOP_MKNOD:
                return dict_get_gfid(&((const struct mknod_fop_req *)req)->xdata, "gfid-req", ret);
        case FOP_MKDIR:
                return dict_get_gfid(&((const struct mkdir_fop_req *)req)->xdata, "gfid-req", ret);
        case FOP_SYMLINK:
                return dict_get_gfid(&((const struct symlink_fop_req *)req)->xdata, "gfid-req", ret);
        case FOP_LINK:
                *ret = ((const struct link_fop_req *)req)->oldgfid;
                return 0;
        default:
                return dict_get_gfid(&((const struct create_fop_req *)req)->xdata, "gfid-req", ret);
        }
}

static int settle_made(struct fibre *self, struct remote *m, enum fop fop, struct request *r, void *req, void *rep,
                       bool *ret_again)
{
        struct lookup_fop_rep found;
        struct gfid wanted;
        if (gfid_made(fop, req, &wanted) < 0)
                return -ENOTCONN;
        int result = look(self, m, r, place_made(fop, req), &found);
        *ret_again = result == -ENOENT;
        if (result < 0)
                return result;
        bool ours = gfid_equal(&found.prestat.gfid, &wanted);
        if (fop == FOP_CREATE) { /* it is opened once more, now that it exists; another's is refused as it was to be */
                if (ours)
                        ((struct create_fop_req *)req)->flags &= ~(uint32_t)O_EXCL;
                *ret_again = true;
                return 0;
        }
        struct mkdir_fop_rep *made = rep;
        if (!ours)
                return fop_failed(made, -EEXIST);
        made->stat = found.prestat;
        made->preparent = made->postparent = found.poststat;
        return 0;
}

/* ---- what was to go -------------------------------------------------------------------------------------------- */

static int settle_removed(struct fibre *self, struct remote *m, enum fop fop, struct request *r, const void *req,
                          void *rep, bool *ret_again)
{
        const struct unlink_fop_req *file = req;
        const struct rmdir_fop_req *directory = req;
        struct place place = fop == FOP_UNLINK ? (struct place){&file->pargfid, file->bname}
                                               : (struct place){&directory->pargfid, directory->bname};
        struct unlink_fop_rep *gone = rep;
        struct lookup_fop_rep found;
        if (!r->inode || gfid_is_null(&r->inode->gfid))
                return -ENOTCONN;
        int result = look(self, m, r, place, &found);
        if (result < 0 && result != -ENOENT)
                return result;
        *ret_again = result == 0 && gfid_equal(&found.prestat.gfid, &r->inode->gfid);
        if (*ret_again)
                return 0;
        result = look_at_directory(self, m, r, place.dir, &gone->prestat);
        gone->poststat = gone->prestat;
        return result;
}

static int settle_renamed(struct fibre *self, struct remote *m, struct request *r, const struct rename_fop_req *req,
                          struct rename_fop_rep *rep, bool *ret_again)
{
        struct lookup_fop_rep from, to;
        if (!r->inode || gfid_is_null(&r->inode->gfid))
                return -ENOTCONN;
        int result = look(self, m, r, (struct place){&req->oldgfid, req->oldbname}, &from);
        *ret_again = result == 0 && gfid_equal(&from.prestat.gfid, &r->inode->gfid);
        if (*ret_again || (result < 0 && result != -ENOENT))
                return result;
        result = look(self, m, r, (struct place){&req->newgfid, req->newbname}, &to);
        if (result < 0 || !gfid_equal(&to.prestat.gfid, &r->inode->gfid))
                return -ENOTCONN;
        rep->stat = to.prestat;
        rep->prenewparent = rep->postnewparent = to.poststat;
        result = look_at_directory(self, m, r, &req->oldgfid, &rep->preoldparent);
        rep->postoldparent = rep->preoldparent;
        return result;
}

int remote_settle(struct fibre *self, struct remote *m, enum fop fop, struct request *r, void *req, void *rep,
                  bool *ret_again)
{
        *ret_again = false;
        memset(rep, 0, fop_by_number(fop)->rep->size);
        if (fop == FOP_RENAME)
                return settle_renamed(self, m, r, req, rep, ret_again);
        if (fop == FOP_UNLINK || fop == FOP_RMDIR)
                return settle_removed(self, m, fop, r, req, rep, ret_again);
        return settle_made(self, m, fop, r, req, rep, ret_again);
}
