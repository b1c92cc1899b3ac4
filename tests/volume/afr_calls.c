/* Calls of a client for tests of replicated volumes (afr_calls.h). */
#include "afr_calls.h"

#include <fcntl.h>

#define ARENA_MAX (4 * MIB)
#define DATA_MAX (1 * MIB)

static struct gfid directory_gfid(const struct vnode *dir)
{
        return dir ? dir->gfid : GFID_ROOT;
}

static struct vnode *directory(struct world_client *c, struct vnode *dir)
{
        struct gfid root = GFID_ROOT;
        if (dir)
                return vnode_ref(dir);
        struct vnode *i = vnode_find(c->volume, &root);
        if (i)
                return i;
        i = vnode_new(c->volume, &root, S_IFDIR);
        struct iatt stat = {.gfid = root, .mode = S_IFDIR | 0755};
        struct vnode *linked = vnode_link(i, &stat);
        vnode_unref(i);
        return linked;
}

#define CALL(name) subvolume_##name(self, volume_top(c->volume), &r, &req, &rep)
#define BEGIN(NAME)                                                                                                    \
        _cleanup_arena_ struct arena a = ARENA_INIT(ARENA_MAX);                                                        \
        struct request r = world_request(c, &a);                                                                       \
        volume_stamp(c->volume, &r.cred, FOP_##NAME)

int call_lookup(struct fibre *self, struct world_client *c, struct vnode *dir, const char *name, struct vnode **ret)
{
        BEGIN(LOOKUP);
        _cleanup_vnode_ struct vnode *parent = directory(c, dir);
        _cleanup_vnode_ struct vnode *i = vnode_new(c->volume, NULL, 0);
        r.parent = parent;
        r.inode = i;
        struct lookup_fop_req req = {.pargfid = parent->gfid, .bname = str_of(name)};
        struct lookup_fop_rep rep;
        int result = CALL(lookup);
        if (result >= 0)
                *ret = vnode_link(i, &rep.prestat);
        return result;
}

int call_look_again(struct fibre *self, struct world_client *c, struct vnode *dir, const char *name, struct vnode *i)
{
        BEGIN(LOOKUP);
        _cleanup_vnode_ struct vnode *parent = directory(c, dir);
        r.parent = parent;
        r.inode = i;
        struct lookup_fop_req req = {.gfid = i->gfid, .pargfid = parent->gfid, .bname = str_of(name)};
        struct lookup_fop_rep rep;
        int result = CALL(lookup);
        if (result >= 0)
                assert_true(gfid_equal(&rep.prestat.gfid, &i->gfid));
        return result;
}

int call_create(struct fibre *self, struct world_client *c, struct vnode *dir, const char *name, uint32_t flags,
                struct vfile **ret)
{
        BEGIN(CREATE);
        struct gfid gfid = world_gfid(c);
        _cleanup_vnode_ struct vnode *parent = directory(c, dir);
        _cleanup_vnode_ struct vnode *i = vnode_new(c->volume, &gfid, S_IFREG);
        struct vfile *f = vfile_new(i, O_RDWR | flags, false);
        r.parent = parent;
        r.inode = i;
        r.file = f;
        struct create_fop_req req = {.pargfid = parent->gfid,
                                     .flags = O_RDWR | O_CREAT | flags,
                                     .mode = 0644,
                                     .bname = str_of(name),
                                     .xdata = world_gfid_req(&a, &gfid)};
        struct create_fop_rep rep;
        int result = CALL(create);
        if (result < 0) {
                vfile_unref(f);
                return result;
        }
        vnode_unref(vnode_link(i, &rep.stat));
        *ret = f;
        return 0;
}

int call_open(struct fibre *self, struct world_client *c, struct vnode *dir, const char *name, uint32_t flags,
              struct vfile **ret)
{
        struct vnode *i = NULL;
        int result = call_lookup(self, c, dir, name, &i);
        if (result < 0)
                return result;
        BEGIN(OPEN);
        struct vfile *f = vfile_new(i, O_RDWR | flags, false);
        r.inode = i;
        r.file = f;
        struct open_fop_req req = {.gfid = i->gfid, .flags = O_RDWR | flags};
        struct open_fop_rep rep;
        result = CALL(open);
        vnode_unref(i);
        if (result < 0)
                vfile_unref(f);
        else
                *ret = f;
        return result;
}

int call_write(struct fibre *self, struct world_client *c, struct vfile *f, uint64_t offset, const void *data, size_t n)
{
        BEGIN(WRITE);
        r.inode = f->inode;
        r.file = f;
        struct write_fop_req req = {.gfid = f->inode->gfid,
                                    .offset = offset,
                                    .size = (uint32_t)n,
                                    .flag = f->flags,
                                    .data = {data, (uint32_t)n}};
        struct write_fop_rep rep;
        return CALL(write);
}

int call_read(struct fibre *self, struct world_client *c, struct vfile *f, uint64_t offset, void *data, size_t n)
{
        BEGIN(READ);
        r.inode = f->inode;
        r.file = f;
        struct read_fop_req req = {.gfid = f->inode->gfid, .offset = offset, .size = (uint32_t)n};
        struct read_fop_rep rep;
        int result = CALL(read);
        if (result > 0)
                memcpy(data, rep.data.data, MIN(n, (size_t)rep.data.len));
        return result;
}

int call_fsync(struct fibre *self, struct world_client *c, struct vfile *f)
{
        BEGIN(FSYNC);
        r.inode = f->inode;
        r.file = f;
        struct fsync_fop_req req = {.gfid = f->inode->gfid};
        struct fsync_fop_rep rep;
        return CALL(fsync);
}

int call_close(struct fibre *self, struct world_client *c, struct vfile *f)
{
        BEGIN(FLUSH);
        r.inode = f->inode;
        r.file = f;
        struct flush_fop_req req = {.gfid = f->inode->gfid};
        struct flush_fop_rep rep;
        int result = CALL(flush);
        vfile_unref(f);
        return result;
}

int call_ftruncate(struct fibre *self, struct world_client *c, struct vfile *f, uint64_t size)
{
        BEGIN(FTRUNCATE);
        r.inode = f->inode;
        r.file = f;
        struct ftruncate_fop_req req = {.gfid = f->inode->gfid, .offset = size};
        struct ftruncate_fop_rep rep;
        return CALL(ftruncate);
}

int call_fstat(struct fibre *self, struct world_client *c, struct vfile *f, struct iatt *ret)
{
        BEGIN(FSTAT);
        r.inode = f->inode;
        r.file = f;
        struct fstat_fop_req req = {.gfid = f->inode->gfid};
        struct fstat_fop_rep rep;
        int result = CALL(fstat);
        if (result >= 0)
                *ret = rep.stat;
        return result;
}

int call_stat(struct fibre *self, struct world_client *c, struct vnode *i, struct iatt *ret)
{
        BEGIN(STAT);
        r.inode = i;
        struct stat_fop_req req = {.gfid = i->gfid};
        struct stat_fop_rep rep;
        int result = CALL(stat);
        if (result >= 0)
                *ret = rep.stat;
        return result;
}

int call_chmod(struct fibre *self, struct world_client *c, struct vnode *i, uint32_t mode)
{
        BEGIN(SETATTR);
        r.inode = i;
        struct setattr_fop_req req = {.gfid = i->gfid, .stbuf.mode = mode, .valid = SETATTR_MODE};
        struct setattr_fop_rep rep;
        return CALL(setattr);
}

int call_mkdir(struct fibre *self, struct world_client *c, struct vnode *dir, const char *name)
{
        BEGIN(MKDIR);
        struct gfid gfid = world_gfid(c);
        _cleanup_vnode_ struct vnode *parent = directory(c, dir), *i = vnode_new(c->volume, &gfid, S_IFDIR);
        r.parent = parent;
        r.inode = i;
        struct mkdir_fop_req req = {
                .pargfid = parent->gfid, .mode = 0755, .bname = str_of(name), .xdata = world_gfid_req(&a, &gfid)};
        struct mkdir_fop_rep rep;
        return CALL(mkdir);
}

int call_mknod(struct fibre *self, struct world_client *c, struct vnode *dir, const char *name, uint32_t mode)
{
        BEGIN(MKNOD);
        struct gfid gfid = world_gfid(c);
        _cleanup_vnode_ struct vnode *parent = directory(c, dir), *i = vnode_new(c->volume, &gfid, mode & S_IFMT);
        r.parent = parent;
        r.inode = i;
        struct mknod_fop_req req = {
                .pargfid = parent->gfid, .mode = mode, .bname = str_of(name), .xdata = world_gfid_req(&a, &gfid)};
        struct mknod_fop_rep rep;
        return CALL(mknod);
}

int call_symlink(struct fibre *self, struct world_client *c, struct vnode *dir, const char *name, const char *target)
{
        BEGIN(SYMLINK);
        struct gfid gfid = world_gfid(c);
        _cleanup_vnode_ struct vnode *parent = directory(c, dir), *i = vnode_new(c->volume, &gfid, S_IFLNK);
        r.parent = parent;
        r.inode = i;
        struct symlink_fop_req req = {.pargfid = parent->gfid,
                                      .bname = str_of(name),
                                      .linkname = str_of(target),
                                      .xdata = world_gfid_req(&a, &gfid)};
        struct symlink_fop_rep rep;
        return CALL(symlink);
}

int call_unlink(struct fibre *self, struct world_client *c, struct vnode *dir, const char *name)
{
        BEGIN(UNLINK);
        _cleanup_vnode_ struct vnode *parent = directory(c, dir);
        r.parent = parent;
        struct unlink_fop_req req = {.pargfid = parent->gfid, .bname = str_of(name)};
        struct unlink_fop_rep rep;
        return CALL(unlink);
}

int call_rmdir(struct fibre *self, struct world_client *c, struct vnode *dir, const char *name)
{
        _cleanup_vnode_ struct vnode *i = NULL;
        int result = call_lookup(self, c, dir, name, &i);
        if (result < 0)
                return result;
        BEGIN(RMDIR);
        _cleanup_vnode_ struct vnode *parent = directory(c, dir);
        r.parent = parent;
        r.inode = i;
        struct rmdir_fop_req req = {.pargfid = parent->gfid, .bname = str_of(name)};
        struct rmdir_fop_rep rep;
        return CALL(rmdir);
}

int call_rename(struct fibre *self, struct world_client *c, struct vnode *from, const char *old, struct vnode *to,
                const char *new)
{
        _cleanup_vnode_ struct vnode *i = NULL, *there = NULL;
        int result = call_lookup(self, c, from, old, &i);
        if (result < 0)
                return result;
        result = call_lookup(self, c, to, new, &there);
        if (result < 0 && result != -ENOENT)
                return result;
        BEGIN(RENAME);
        _cleanup_vnode_ struct vnode *parent = directory(c, from), *new_parent = directory(c, to);
        r.inode = i;
        r.new_inode = there;
        r.parent = parent;
        r.new_parent = new_parent;
        struct rename_fop_req req = {.oldgfid = directory_gfid(from),
                                     .newgfid = directory_gfid(to),
                                     .oldbname = str_of(old),
                                     .newbname = str_of(new)};
        struct rename_fop_rep rep;
        return CALL(rename);
}

int call_setxattr(struct fibre *self, struct world_client *c, struct vnode *i, const char *name, const char *value)
{
        BEGIN(SETXATTR);
        r.inode = i;
        struct setxattr_fop_req req = {.gfid = i->gfid};
        struct setxattr_fop_rep rep;
        assert_int_equal(dict_add_ptr(&req.dict, &a, name, value, (uint32_t)strlen(value)), 0);
        return CALL(setxattr);
}

int call_removexattr(struct fibre *self, struct world_client *c, struct vnode *i, const char *name)
{
        BEGIN(REMOVEXATTR);
        r.inode = i;
        struct removexattr_fop_req req = {.gfid = i->gfid, .name = str_of(name)};
        struct removexattr_fop_rep rep;
        return CALL(removexattr);
}

int call_getxattr(struct fibre *self, struct world_client *c, struct vnode *i, const char *name, char *value,
                  size_t size)
{
        BEGIN(GETXATTR);
        struct str text;
        r.inode = i;
        struct getxattr_fop_req req = {.gfid = i->gfid, .namelen = 1, .name = str_of(name)};
        struct getxattr_fop_rep rep;
        int result = CALL(getxattr);
        if (result >= 0 && dict_get_str(&rep.dict, &a, name, &text) == 0)
                (void)snprintf(value, size, "%s", text.s);
        return result;
}

int call_lk(struct fibre *self, struct world_client *c, struct vfile *f, bool wait, uint32_t type, uint32_t owner)
{
        BEGIN(LK);
        r.inode = f->inode;
        r.file = f;
        r.cred.owner_len = 8;
        memset(r.cred.owner, 0, 8);
        memcpy(r.cred.owner, &owner, sizeof owner);
        r.cred.owner[7] = 1;
        struct lk_fop_req req = {.gfid = f->inode->gfid, .cmd = wait ? 2 : 1, .type = type, .flock.type = type};
        struct lk_fop_rep rep;
        return CALL(lk);
}

static int list_opened(struct fibre *self, struct world_client *c, struct vfile *f)
{
        int n = 0;
        for (uint64_t offset = 0;;) {
                BEGIN(READDIRP);
                r.inode = f->inode;
                r.file = f;
                struct readdirp_fop_req req = {.gfid = f->inode->gfid, .offset = offset, .size = 65536};
                struct readdirp_fop_rep rep;
                int result = CALL(readdirp);
                if (result < 0)
                        return result;
                if (rep.reply.n == 0)
                        return n;
                for (uint32_t k = 0; k < rep.reply.n; k++) {
                        n += !str_is(rep.reply.v[k].name, ".") && !str_is(rep.reply.v[k].name, "..");
                        offset = rep.reply.v[k].off;
                }
        }
}

int call_list(struct fibre *self, struct world_client *c, struct vnode *dir)
{
        BEGIN(OPENDIR);
        _cleanup_vnode_ struct vnode *i = directory(c, dir);
        _cleanup_vfile_ struct vfile *f = vfile_new(i, O_RDONLY | O_DIRECTORY, true);
        r.inode = i;
        r.file = f;
        struct opendir_fop_req req = {.gfid = i->gfid};
        struct opendir_fop_rep rep;
        int result = CALL(opendir);
        return result < 0 ? result : list_opened(self, c, f);
}

struct iatt call_listed(struct fibre *self, struct world_client *c, const char *name)
{
        BEGIN(OPENDIR);
        _cleanup_vnode_ struct vnode *i = directory(c, NULL);
        _cleanup_vfile_ struct vfile *f = vfile_new(i, O_RDONLY | O_DIRECTORY, true);
        r.inode = i;
        r.file = f;
        struct opendir_fop_req open = {.gfid = i->gfid};
        struct opendir_fop_rep opened;
        assert_int_equal(subvolume_opendir(self, volume_top(c->volume), &r, &open, &opened), 0);
        struct readdirp_fop_req req = {.gfid = i->gfid, .size = 65536};
        struct readdirp_fop_rep rep;
        assert_int_equal(CALL(readdirp), 0);
        for (uint32_t k = 0; k < rep.reply.n; k++) {
                if (str_is(rep.reply.v[k].name, name))
                        return rep.reply.v[k].stat;
        }
        fail_msg("%s is not listed", name);
        return (struct iatt){0};
}

int call_statfs(struct fibre *self, struct world_client *c, struct statfs *ret)
{
        BEGIN(STATFS);
        _cleanup_vnode_ struct vnode *i = directory(c, NULL);
        r.inode = i;
        struct statfs_fop_req req = {.gfid = i->gfid};
        struct statfs_fop_rep rep;
        int result = CALL(statfs);
        if (result >= 0)
                *ret = rep.statfs;
        return result;
}

/* ---- what is on disk --------------------------------------------------------------------------------------------- */

static int32_t be32(const uint8_t *p)
{
        return (int32_t)((uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3]);
}

const char *disk_counter(struct world *w, unsigned brick, const char *path, int child, char text[static 40])
{
        char name[64];
        uint8_t value[12] = {0};
        if (!world_exists(&w->bricks[brick], path))
                return "?";
        (void)snprintf(name, sizeof name, child < 0 ? "trusted.afr.dirty" : "trusted.afr." WORLD_VOLUME "-client-%d",
                       child);
        ssize_t n = world_xattr(&w->bricks[brick], path, name, value, sizeof value);
        assert_true(n == 12 || n == -ENODATA);
        (void)snprintf(text, 40, "%d,%d,%d", be32(value), be32(value + 4), be32(value + 8));
        return text;
}

void assert_clean(struct world *w, const char *path)
{
        for (unsigned b = 0; b < w->n_bricks; b++) {
                for (int child = -1; child < (int)w->n_bricks; child++)
                        assert_counter(w, b, path, child, "0,0,0");
        }
}

void assert_identical(struct world *w, const char *path)
{
        static uint8_t first[DATA_MAX], other[DATA_MAX];
        ssize_t n = world_read(&w->bricks[0], path, first, sizeof first);
        assert_true(n >= 0);
        for (unsigned b = 1; b < w->n_bricks; b++) {
                ssize_t m = world_read(&w->bricks[b], path, other, sizeof other);
                assert_int_equal(m, w->bricks[b].arbiter ? 0 : n);
                assert_memory_equal(first, other, (size_t)m);
        }
}
