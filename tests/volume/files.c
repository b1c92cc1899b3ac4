/* Paths, for tests (files.h). */
#include "files.h"

#include <fcntl.h>

static struct gfid root_gfid = GFID_ROOT;

/* ---- finding ------------------------------------------------------------------------------------------------------------- */

static int look(struct fibre *self, struct world_client *c, struct request *r, struct vnode *parent, struct str name,
                struct vnode **ret, struct iatt *ret_stat)
{
        _cleanup_vnode_ struct vnode *fresh = vnode_new(c->volume, name.len ? NULL : &root_gfid, name.len ? 0 : S_IFDIR);
        struct request own = *r;
        struct lookup_fop_req req = {.xdata = DICT_NULL, .bname = name};
        struct lookup_fop_rep rep = {0};
        own.inode = fresh;
        own.parent = parent;
        if (name.len == 0)
                req.gfid = root_gfid;
        else
                req.pargfid = parent->gfid;
        int result = subvolume_lookup(self, volume_entry(c->volume), &own, &req, &rep);
        if (result < 0)
                return result;
        *ret = vnode_link(fresh, &rep.prestat);
        if (ret_stat)
                *ret_stat = rep.prestat;
        return 0;
}

/* The directory of PATH's last component, and that component. The root is looked up every time. */
static int walk(struct fibre *self, struct world_client *c, struct request *r, const char *path, bool whole,
                struct vnode **ret, struct str *ret_name, struct iatt *ret_stat)
{
        struct vnode *at = NULL;
        int result = look(self, c, r, NULL, STR(""), &at, ret_stat);
        if (result < 0)
                return result;
        assert_int_equal(path[0], '/');
        for (const char *p = path + 1; *p;) {
                size_t len = strcspn(p, "/");
                struct str name = {arena_strndup(r->arena, p, len), (uint32_t)len};
                p += len + (p[len] == '/');
                if (!*p && !whole) {
                        *ret_name = name;
                        break;
                }
                struct vnode *next;
                result = look(self, c, r, at, name, &next, ret_stat);
                vnode_unref(at);
                if (result < 0)
                        return result;
                at = next;
        }
        *ret = at;
        return 0;
}

struct vnode *files_find(struct fibre *self, struct world_client *c, const char *path, int *ret_error)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(FILES_ARENA);
        struct request r = world_request(c, &a);
        struct vnode *i = NULL;
        int result = walk(self, c, &r, path, true, &i, NULL, NULL);
        if (ret_error)
                *ret_error = result;
        return i;
}

int files_lookup(struct fibre *self, struct world_client *c, const char *path, struct iatt *ret)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(FILES_ARENA);
        _cleanup_vnode_ struct vnode *i = NULL;
        struct request r = world_request(c, &a);
        return walk(self, c, &r, path, true, &i, NULL, ret);
}

/* A call on the object at PATH: `r` and `i` are set. */
#define ON_PATH                                                                                                        \
        _cleanup_arena_ struct arena a = ARENA_INIT(FILES_ARENA);                                                      \
        _cleanup_vnode_ struct vnode *i = NULL;                                                                        \
        struct request r = world_request(c, &a);                                                                       \
        int result = walk(self, c, &r, path, true, &i, NULL, NULL);                                                    \
        if (result < 0)                                                                                                \
                return result;                                                                                         \
        r.inode = i

#define CALL(NAME, lower, rep, ...)                                                                                    \
        ({                                                                                                             \
                struct lower##_fop_req req_ = {__VA_ARGS__};                                                           \
                volume_stamp(c->volume, &r.cred, FOP_##NAME);                                                          \
                int result_ = subvolume_##lower(self, volume_entry(c->volume), &r, &req_, (rep));                        \
                if (result_ < 0 && result_ != -ENOTCONN)                                                               \
                        assert_int_equal((rep)->op_errno, -result_);                                                   \
                result_;                                                                                               \
        })

int files_stat(struct fibre *self, struct world_client *c, const char *path, struct iatt *ret)
{
        ON_PATH;
        struct stat_fop_rep rep = {0};
        result = CALL(STAT, stat, &rep, .gfid = i->gfid, .xdata = DICT_NULL);
        *ret = rep.stat;
        return MIN(result, 0);
}

/* ---- names --------------------------------------------------------------------------------------------------------------- */

#define IN_PARENT                                                                                                      \
        _cleanup_arena_ struct arena a = ARENA_INIT(FILES_ARENA);                                                      \
        _cleanup_vnode_ struct vnode *parent = NULL;                                                                   \
        struct request r = world_request(c, &a);                                                                       \
        struct str name;                                                                                               \
        int result = walk(self, c, &r, path, false, &parent, &name, NULL);                                             \
        if (result < 0)                                                                                                \
                return result;                                                                                         \
        r.parent = parent

#define NEW_OBJECT(type)                                                                                               \
        struct gfid gfid = world_gfid(c);                                                                              \
        _cleanup_vnode_ struct vnode *i = vnode_new(c->volume, &gfid, (type));                                         \
        struct vnode *seen = NULL;                                                                                     \
        if (look(self, c, &r, parent, name, &seen, NULL) == 0) {                                                       \
                vnode_unref(seen);                                                                                     \
                return -EEXIST;                                                                                        \
        }                                                                                                              \
        r.inode = i

int files_create(struct fibre *self, struct world_client *c, const char *path, const char *text)
{
        IN_PARENT;
        NEW_OBJECT(S_IFREG);
        struct vfile *f = vfile_new(i, O_RDWR, false);
        struct create_fop_rep rep = {0};
        r.file = f;
        result = CALL(CREATE, create, &rep, .pargfid = parent->gfid, .flags = O_RDWR | O_CREAT | O_EXCL, .mode = 0644,
                      .bname = name, .xdata = world_gfid_req(&a, &gfid));
        if (result >= 0) {
                assert_true(gfid_equal(&rep.stat.gfid, &gfid));
                vnode_unref(vnode_link(i, &rep.stat));
                if (text)
                        result = files_write_at(self, c, f, 0, text);
        }
        vfile_unref(f);
        return MIN(result, 0);
}

int files_mknod(struct fibre *self, struct world_client *c, const char *path, uint32_t mode)
{
        IN_PARENT;
        NEW_OBJECT(S_IFREG);
        struct mknod_fop_rep rep = {0};
        result = CALL(MKNOD, mknod, &rep, .pargfid = parent->gfid, .mode = S_IFREG | mode, .bname = name,
                      .xdata = world_gfid_req(&a, &gfid));
        return MIN(result, 0);
}

int files_mkdir(struct fibre *self, struct world_client *c, const char *path)
{
        IN_PARENT;
        NEW_OBJECT(S_IFDIR);
        struct mkdir_fop_rep rep = {0};
        result = CALL(MKDIR, mkdir, &rep, .pargfid = parent->gfid, .mode = 0755, .bname = name,
                      .xdata = world_gfid_req(&a, &gfid));
        if (result >= 0)
                vnode_unref(vnode_link(i, &rep.stat));
        return MIN(result, 0);
}

int files_symlink(struct fibre *self, struct world_client *c, const char *target, const char *path)
{
        IN_PARENT;
        NEW_OBJECT(S_IFLNK);
        struct symlink_fop_rep rep = {0};
        result = CALL(SYMLINK, symlink, &rep, .pargfid = parent->gfid, .bname = name, .linkname = str_of(target),
                      .xdata = world_gfid_req(&a, &gfid));
        return MIN(result, 0);
}

int files_link(struct fibre *self, struct world_client *c, const char *from, const char *path)
{
        IN_PARENT;
        struct link_fop_rep rep = {0};
        _cleanup_vnode_ struct vnode *i = files_find(self, c, from, &result);
        if (!i)
                return result;
        struct vnode *seen = NULL;
        if (look(self, c, &r, parent, name, &seen, NULL) == 0) {
                vnode_unref(seen);
                return -EEXIST;
        }
        r.inode = i;
        r.parent = NULL;
        r.new_parent = parent;
        result = CALL(LINK, link, &rep, .oldgfid = i->gfid, .newgfid = parent->gfid, .newbname = name, .xdata = DICT_NULL);
        return MIN(result, 0);
}

int files_unlink(struct fibre *self, struct world_client *c, const char *path)
{
        IN_PARENT;
        struct unlink_fop_rep rep = {0};
        _cleanup_vnode_ struct vnode *i = NULL;
        result = look(self, c, &r, parent, name, &i, NULL);
        if (result < 0)
                return result;
        if (i->type == S_IFDIR)
                return -EISDIR;
        r.inode = i;
        result = CALL(UNLINK, unlink, &rep, .pargfid = parent->gfid, .bname = name, .xdata = DICT_NULL);
        return MIN(result, 0);
}

int files_rmdir(struct fibre *self, struct world_client *c, const char *path)
{
        IN_PARENT;
        struct rmdir_fop_rep rep = {0};
        _cleanup_vnode_ struct vnode *i = NULL;
        result = look(self, c, &r, parent, name, &i, NULL);
        if (result < 0)
                return result;
        if (i->type != S_IFDIR)
                return -ENOTDIR;
        r.inode = i;
        result = CALL(RMDIR, rmdir, &rep, .pargfid = parent->gfid, .bname = name, .xdata = DICT_NULL);
        return MIN(result, 0);
}

int files_rename(struct fibre *self, struct world_client *c, const char *path, const char *to)
{
        IN_PARENT;
        struct rename_fop_rep rep = {0};
        struct str new_name;
        _cleanup_vnode_ struct vnode *i = NULL, *new_parent = NULL, *target = NULL;
        result = look(self, c, &r, parent, name, &i, NULL);
        if (result == 0)
                result = walk(self, c, &r, to, false, &new_parent, &new_name, NULL);
        if (result < 0)
                return result;
        result = look(self, c, &r, new_parent, new_name, &target, NULL);
        if (result < 0 && result != -ENOENT)
                return result;
        if (target == i)
                return 0;
        if (target && (target->type == S_IFDIR) != (i->type == S_IFDIR))
                return target->type == S_IFDIR ? -EISDIR : -ENOTDIR;
        r.inode = i;
        r.new_parent = new_parent;
        r.new_inode = target;
        result = CALL(RENAME, rename, &rep, .oldgfid = parent->gfid, .newgfid = new_parent->gfid, .oldbname = name,
                      .newbname = new_name, .xdata = DICT_NULL);
        if (result >= 0 && i->type != S_IFDIR)
                assert_true(gfid_equal(&rep.stat.gfid, &i->gfid));
        return MIN(result, 0);
}

/* ---- open files ------------------------------------------------------------------------------------------------------------ */

struct vfile *files_open(struct fibre *self, struct world_client *c, const char *path, uint32_t flags, int *ret_error)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(FILES_ARENA);
        struct request r = world_request(c, &a);
        struct open_fop_rep rep = {0};
        int result;
        _cleanup_vnode_ struct vnode *i = files_find(self, c, path, &result);
        struct vfile *f = i ? vfile_new(i, flags, false) : NULL;
        if (f) {
                r.inode = i;
                r.file = f;
                result = CALL(OPEN, open, &rep, .gfid = i->gfid, .flags = flags, .xdata = DICT_NULL);
        }
        if (ret_error)
                *ret_error = MIN(result, 0);
        return result < 0 ? vfile_unref(f) : f;
}

#define ON_FILE                                                                                                        \
        _cleanup_arena_ struct arena a = ARENA_INIT(FILES_ARENA);                                                      \
        struct request r = world_request(c, &a);                                                                       \
        r.inode = f->inode;                                                                                            \
        r.file = f

int files_write_at(struct fibre *self, struct world_client *c, struct vfile *f, uint64_t offset, const char *text)
{
        ON_FILE;
        struct write_fop_rep rep = {0};
        uint32_t len = (uint32_t)strlen(text);
        int result = CALL(WRITE, write, &rep, .gfid = f->inode->gfid, .offset = offset, .size = len, .flag = f->flags,
                          .data = {(const uint8_t *)text, len}, .xdata = DICT_NULL);
        return result;
}

int files_read_at(struct fibre *self, struct world_client *c, struct vfile *f, uint64_t offset, char *to, uint32_t size)
{
        ON_FILE;
        struct read_fop_rep rep = {0};
        int result = CALL(READ, read, &rep, .gfid = f->inode->gfid, .offset = offset, .size = size, .flag = f->flags,
                          .xdata = DICT_NULL);
        if (result > 0)
                memcpy(to, rep.data.data, (size_t)result);
        return result;
}

int files_fsync(struct fibre *self, struct world_client *c, struct vfile *f)
{
        ON_FILE;
        struct fsync_fop_rep rep = {0};
        return CALL(FSYNC, fsync, &rep, .gfid = f->inode->gfid, .xdata = DICT_NULL);
}

int files_flush(struct fibre *self, struct world_client *c, struct vfile *f)
{
        ON_FILE;
        struct flush_fop_rep rep = {0};
        return CALL(FLUSH, flush, &rep, .gfid = f->inode->gfid, .xdata = DICT_NULL);
}

int files_ftruncate(struct fibre *self, struct world_client *c, struct vfile *f, uint64_t size)
{
        ON_FILE;
        struct ftruncate_fop_rep rep = {0};
        return CALL(FTRUNCATE, ftruncate, &rep, .gfid = f->inode->gfid, .offset = size, .xdata = DICT_NULL);
}

int files_fallocate(struct fibre *self, struct world_client *c, struct vfile *f, uint64_t offset, uint64_t size)
{
        ON_FILE;
        struct fallocate_fop_rep rep = {0};
        return CALL(FALLOCATE, fallocate, &rep, .gfid = f->inode->gfid, .offset = offset, .size = size, .xdata = DICT_NULL);
}

int files_read(struct fibre *self, struct world_client *c, const char *path, char *to, uint32_t size)
{
        int result;
        struct vfile *f = files_open(self, c, path, O_RDONLY, &result);
        if (!f)
                return result;
        result = files_read_at(self, c, f, 0, to, size - 1);
        if (result >= 0)
                to[result] = '\0';
        vfile_unref(f);
        return result;
}

int files_write(struct fibre *self, struct world_client *c, const char *path, const char *text)
{
        int result;
        struct vfile *f = files_open(self, c, path, O_RDWR, &result);
        if (!f)
                return result;
        result = files_write_at(self, c, f, 0, text);
        vfile_unref(f);
        return MIN(result, 0);
}

int files_truncate(struct fibre *self, struct world_client *c, const char *path, uint64_t size)
{
        ON_PATH;
        struct truncate_fop_rep rep = {0};
        return CALL(TRUNCATE, truncate, &rep, .gfid = i->gfid, .offset = size, .xdata = DICT_NULL);
}

/* ---- attributes -------------------------------------------------------------------------------------------------------------- */

int files_chmod(struct fibre *self, struct world_client *c, const char *path, uint32_t mode)
{
        ON_PATH;
        struct setattr_fop_rep rep = {0};
        return CALL(SETATTR, setattr, &rep, .gfid = i->gfid, .stbuf = {.mode = mode}, .valid = SETATTR_MODE,
                    .xdata = DICT_NULL);
}

int files_chown(struct fibre *self, struct world_client *c, const char *path, uint32_t uid, uint32_t gid)
{
        ON_PATH;
        struct setattr_fop_rep rep = {0};
        return CALL(SETATTR, setattr, &rep, .gfid = i->gfid, .stbuf = {.uid = uid, .gid = gid},
                    .valid = SETATTR_UID | SETATTR_GID, .xdata = DICT_NULL);
}

int files_utimens(struct fibre *self, struct world_client *c, const char *path, int64_t time)
{
        ON_PATH;
        struct setattr_fop_rep rep = {0};
        return CALL(SETATTR, setattr, &rep, .gfid = i->gfid, .stbuf = {.atime.sec = time, .mtime.sec = time},
                    .valid = SETATTR_ATIME | SETATTR_MTIME, .xdata = DICT_NULL);
}

int files_readlink(struct fibre *self, struct world_client *c, const char *path, char *to, size_t size)
{
        ON_PATH;
        struct readlink_fop_rep rep = {0};
        result = CALL(READLINK, readlink, &rep, .gfid = i->gfid, .size = PATH_LIMIT, .xdata = DICT_NULL);
        if (result >= 0)
                (void)snprintf(to, size, "%.*s", (int)rep.path.len, rep.path.s);
        return MIN(result, 0);
}

int files_setxattr(struct fibre *self, struct world_client *c, const char *path, const char *name, const char *value)
{
        ON_PATH;
        struct dict d = DICT_NULL;
        struct setxattr_fop_rep rep = {0};
        assert_int_equal(dict_add_ptr(&d, &a, name, value, (uint32_t)strlen(value)), 0);
        return CALL(SETXATTR, setxattr, &rep, .gfid = i->gfid, .dict = d, .xdata = DICT_NULL);
}

int files_removexattr(struct fibre *self, struct world_client *c, const char *path, const char *name)
{
        ON_PATH;
        struct removexattr_fop_rep rep = {0};
        return CALL(REMOVEXATTR, removexattr, &rep, .gfid = i->gfid, .name = str_of(name), .xdata = DICT_NULL);
}

int files_getxattr(struct fibre *self, struct world_client *c, const char *path, const char *name, char *to, size_t size)
{
        ON_PATH;
        struct getxattr_fop_rep rep = {0};
        struct slice value;
        result = CALL(GETXATTR, getxattr, &rep, .gfid = i->gfid, .namelen = name[0] != '\0', .name = str_of(name),
                      .xdata = DICT_NULL);
        if (result < 0)
                return result;
        if (name[0] == '\0') { /* the list */
                to[0] = '\0';
                for (uint32_t k = 0; k < rep.dict.count; k++) {
                        size_t len = strlen(to);
                        (void)snprintf(to + len, size - len, "%s ", rep.dict.pairs[k].key.s);
                }
                return result;
        }
        result = dict_get_bytes(&rep.dict, name, &value);
        if (result == 0)
                (void)snprintf(to, size, "%.*s", (int)value.len, (const char *)value.data);
        return result;
}

int files_statfs(struct fibre *self, struct world_client *c, struct statfs *ret)
{
        const char *path = "/";
        ON_PATH;
        struct statfs_fop_rep rep = {0};
        result = CALL(STATFS, statfs, &rep, .gfid = i->gfid, .xdata = DICT_NULL);
        *ret = rep.statfs;
        return MIN(result, 0);
}

/* ---- listing ------------------------------------------------------------------------------------------------------------------ */

static int list_all(struct fibre *self, struct world_client *c, struct vfile *f, uint32_t size, struct files_names *ret)
{
        uint64_t offset = 0;
        for (;;) {
                ON_FILE;
                struct readdirp_fop_rep rep = {0};
                int result = CALL(READDIRP, readdirp, &rep, .gfid = f->inode->gfid, .offset = offset, .size = size,
                                  .xdata = DICT_NULL);
                if (result < 0 || rep.reply.n == 0)
                        return result;
                for (uint32_t k = 0; k < rep.reply.n; k++) {
                        const struct dirent_entry *e = &rep.reply.v[k];
                        if (str_is(e->name, ".") || str_is(e->name, ".."))
                                continue;
                        assert_true(ret->n < FILES_NAMES_MAX && e->name.len < sizeof ret->v[0]);
                        memcpy(ret->v[ret->n++], e->name.s, e->name.len + 1);
                }
                offset = rep.reply.v[rep.reply.n - 1].off;
        }
}

int files_list(struct fibre *self, struct world_client *c, const char *path, uint32_t size, struct files_names *ret)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(FILES_ARENA);
        struct request r = world_request(c, &a);
        struct opendir_fop_rep rep = {0};
        int result;
        _cleanup_vnode_ struct vnode *i = files_find(self, c, path, &result);
        if (!i)
                return result;
        struct vfile *f = vfile_new(i, O_RDONLY | O_DIRECTORY, true);
        r.inode = i;
        r.file = f;
        ret->n = 0;
        result = CALL(OPENDIR, opendir, &rep, .gfid = i->gfid, .xdata = DICT_NULL);
        if (result >= 0)
                result = list_all(self, c, f, size, ret);
        vfile_unref(f);
        return MIN(result, 0);
}

bool files_names_has(const struct files_names *names, const char *name)
{
        for (unsigned i = 0; i < names->n; i++)
                if (streq(names->v[i], name))
                        return true;
        return false;
}
