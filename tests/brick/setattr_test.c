/* SETATTR and its rights, ACCESS, STATFS, READLINK, the rarely used procedures, sessions and sub-directory mounts. */
#include <stdio.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

#include "brick/acl.h"
#include "fixture.h"

static struct fixture fx;

static int setup(void **state)
{
        (void)state;
        fixture_init(&fx);
        return 0;
}

static int teardown(void **state)
{
        (void)state;
        fixture_done(&fx);
        return 0;
}

static int begin(void **state)
{
        (void)state;
        fixture_begin(&fx);
        return 0;
}

static int end(void **state)
{
        (void)state;
        fixture_end(&fx);
        return 0;
}

static struct setattr_fop_rep last;

static int set(struct gfid g, int valid, struct iatt want)
{
        return CALL(&fx, SETATTR, setattr, &last, .gfid = g, .valid = valid, .stbuf = want);
}

static int set_mode(struct gfid g, uint32_t mode)
{
        return set(g, SETATTR_MODE, (struct iatt){.mode = mode});
}

static int fset(struct gfid g, int64_t fd, int valid, struct iatt want)
{
        struct fsetattr_fop_rep rep;
        return CALL(&fx, FSETATTR, fsetattr, &rep, .gfid = g, .fd = fd, .valid = valid, .stbuf = want);
}

static void own(const char *name, uid_t uid, gid_t gid)
{
        char path[256];
        snprintf(path, sizeof path, "%s/%s", fx.path, name);
        assert_int_equal(lchown(path, uid, gid), 0);
}

static mode_t mode_of(const char *name)
{
        return fixture_stat(&fx, name).st_mode & 07777;
}

/* ---- SETATTR --------------------------------------------------------------------------------------------------- */

static void modes(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644), d = fixture_dir(&fx, GFID_ROOT, "d", 0755);
        struct gfid l = fixture_symlink(&fx, GFID_ROOT, "l", "f");
        assert_int_equal(set_mode(f, 04711), 0);
        assert_int_equal(last.prestat.mode, S_IFREG | 0644);
        assert_int_equal(last.poststat.mode, S_IFREG | 04711);
        assert_int_equal(set_mode(l, 0700), 0); /* no effect, and not on the target */
        assert_int_equal(mode_of("f"), 04711);
        assert_int_equal(fset(f, FD_ANONYMOUS, SETATTR_MODE, (struct iatt){.mode = 0600}), 0);
        assert_int_equal(mode_of("f"), 0600);
        assert_int_equal(set_mode(fixture_new_gfid(), 0700), -ESTALE);
        assert_int_equal(fset(f, 99, SETATTR_MODE, (struct iatt){0}), -EBADF);

        fx.options.create_mask = 0750;
        fx.options.force_create_mode = 0001;
        fx.options.create_directory_mask = 0770;
        fx.options.force_directory_mode = 0002;
        assert_int_equal(set_mode(f, 04777), 0);
        assert_int_equal(mode_of("f"), 04751);
        assert_int_equal(set_mode(d, 01777), 0);
        assert_int_equal(mode_of("d"), 01772);
        assert_int_equal(fset(d, FD_ANONYMOUS, SETATTR_MODE, (struct iatt){.mode = 0777}), 0);
        assert_int_equal(mode_of("d"), 0751); /* those of files */
}

static void owners(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 06755), l = fixture_symlink(&fx, GFID_ROOT, "l", "f");
        assert_int_equal(set(f, SETATTR_UID, (struct iatt){.uid = 5, .gid = 6}), 0);
        struct stat st = fixture_stat(&fx, "f");
        assert_int_equal(st.st_uid, 5);
        assert_int_equal(st.st_gid, 0);             /* only what was named */
        assert_int_equal(st.st_mode & 07777, 0755); /* set-id bits go */
        assert_int_equal(set(f, SETATTR_GID | SETATTR_MODE, (struct iatt){.gid = 6, .mode = 04755}), 0);
        assert_int_equal(last.poststat.gid, 6);
        assert_int_equal(mode_of("f"), 04755); /* the mode comes after the owner */
        assert_int_equal(set(l, SETATTR_UID, (struct iatt){.uid = 9}), 0);
        assert_int_equal(fixture_stat(&fx, "l").st_uid, 9);
        assert_int_equal(fixture_stat(&fx, "f").st_uid, 5);
        assert_int_equal(set(f, 0, (struct iatt){.uid = 1, .gid = 1, .mode = 0}), 0); /* touches ctime only */
        assert_int_equal(fixture_stat(&fx, "f").st_uid, 5);
}

static void times(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        struct iatt want = {.atime = {1000, 1}, .mtime = {2000, 2}, .ctime = {5000000000, 3}};
        struct stat before = fixture_stat(&fx, "f");
        assert_int_equal(set(f, SETATTR_MTIME, want), 0); /* no mdata: the file system's */
        struct stat st = fixture_stat(&fx, "f");
        assert_int_equal(st.st_mtim.tv_sec, 2000);
        assert_int_equal(st.st_atim.tv_sec, before.st_atim.tv_sec);
        assert_int_equal(last.poststat.mtime.sec, 2000);
        char raw[MDATA_SIZE], path[128];
        snprintf(path, sizeof path, "%s/f", fx.path);
        assert_int_equal(getxattr(path, "trusted.glusterfs.mdata", raw, sizeof raw), -1);

        fixture_time(&fx, TIMES_CTIME, 4000000000, 4);
        assert_int_equal(set_mode(f, 0600), 0); /* makes mdata: all three times are that of the request */
        assert_int_equal(last.poststat.mtime.sec, 4000000000);
        assert_int_equal(last.poststat.ctime.sec, 4000000000);
        fixture_time(&fx, 0, 4000000100, 5);
        assert_int_equal(set(f, SETATTR_ATIME | SETATTR_MTIME, want), 0);
        assert_int_equal(last.poststat.atime.sec, 1000); /* backwards allowed */
        assert_int_equal(last.poststat.mtime.nsec, 2);
        assert_int_equal(last.poststat.ctime.sec, 4000000100);
        fixture_time(&fx, TIMES_CTIME, 10, 0);
        assert_int_equal(set_mode(f, 0644), 0);
        assert_int_equal(last.poststat.ctime.sec, 4000000100); /* never back */
        assert_int_equal(set(f, SETATTR_CTIME, want), 0);
        assert_int_equal(last.poststat.ctime.sec, 5000000000);

        want.mtime.nsec = UTIME_OMIT;
        assert_int_equal(set(f, SETATTR_MTIME, want), -EINVAL);
        want.mtime.nsec = UTIME_NOW;
        assert_int_equal(set(f, SETATTR_MTIME, want), -EINVAL);
        want.atime.nsec = 1000000000;
        assert_int_equal(set(f, SETATTR_ATIME, want), -EINVAL);
}

static void times_of_links(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644), l = fixture_symlink(&fx, GFID_ROOT, "l", "f");
        (void)f;
        assert_int_equal(set(l, SETATTR_MTIME, (struct iatt){.mtime = {1234, 0}}), 0);
        assert_int_equal(fixture_stat(&fx, "l").st_mtim.tv_sec, 1234);
        assert_int_not_equal(fixture_stat(&fx, "f").st_mtim.tv_sec, 1234);
}

static void rights_of_others(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        int64_t fd = fixture_fd(&fx, f, O_RDWR);
        struct iatt want = {.uid = 1000, .gid = 1000, .mode = 0777, .mtime = {1, 0}};
        fixture_be(&fx, 1000, 1000, 2000);
        assert_int_equal(set(f, SETATTR_MODE, want), -EPERM);   /* observed */
        assert_int_equal(set(f, SETATTR_UID, want), -EPERM);    /* observed */
        assert_int_equal(set(f, SETATTR_GID, want), -EPERM);    /* observed */
        assert_int_equal(set(f, SETATTR_MTIME, want), -EACCES); /* observed */
        fx.cred.pid = -6;                                       /* ownership counts for internal clients too */
        assert_int_equal(set(f, SETATTR_MODE, want), -EPERM);
        assert_int_equal(set(f, SETATTR_MTIME, want), 0);
        fx.cred.pid = 0;
        assert_int_equal(fset(f, fd, SETATTR_MODE, (struct iatt){.mode = 0646}), 0); /* a descriptor is a right */
        assert_int_equal(set(f, SETATTR_MTIME, want), 0);                            /* w is enough */
        fx.options.acl = false;
        assert_int_equal(set(f, SETATTR_UID, want), 0);
}

static void rights_of_the_owner(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0444);
        own("f", 1000, 1000);
        fixture_be(&fx, 1000, 1000, 2000);
        assert_int_equal(set_mode(f, 0400), 0);
        assert_int_equal(set(f, SETATTR_MTIME, (struct iatt){.mtime = {1, 0}}), 0);
        assert_int_equal(set(f, SETATTR_UID, (struct iatt){.uid = 1000}), 0); /* the same */
        assert_int_equal(set(f, SETATTR_UID, (struct iatt){.uid = 1001}), -EPERM);
        assert_int_equal(set(f, SETATTR_GID, (struct iatt){.gid = 3000}), -EPERM);
        assert_int_equal(set(f, SETATTR_GID, (struct iatt){.gid = 2000}), 0);
        assert_int_equal(set_mode(f, 02755), 0); /* member of 2000 */
        assert_int_equal(mode_of("f"), 02755);
        own("f", 1000, 3000);
        assert_int_equal(set_mode(f, 06755), 0);
        assert_int_equal(mode_of("f"), 04755); /* not of 3000: S_ISGID is dropped silently */
}

/* The kernel of a client sends this before it lets somebody else than the owner write. */
static void privileges_go_before_a_write(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        own("f", 500, 600);
        assert_int_equal(set_mode(f, 06777), 0);
        fixture_be(&fx, 1000, 1000, 1000);
        assert_int_equal(set_mode(f, 06777), -EPERM); /* nothing goes */
        assert_int_equal(set_mode(f, 0775), -EPERM);
        assert_int_equal(set_mode(f, 01777), -EPERM);
        assert_int_equal(set(f, SETATTR_CTIME, (struct iatt){.ctime = {6000000000, 0}}), 0); /* may write */
        assert_int_equal(set_mode(f, 0777), 0);
        assert_int_equal(mode_of("f"), 0777);
        assert_int_equal(set_mode(f, 04777), -EPERM);
        fixture_be(&fx, 0, 0, 0);
        assert_int_equal(set_mode(f, 04755), 0);
        fixture_be(&fx, 1000, 1000, 1000);
        assert_int_equal(set_mode(f, 0755), -EPERM); /* may not write */
        assert_int_equal(set(f, SETATTR_CTIME, (struct iatt){.ctime = {6000000000, 0}}), -EACCES);
        fixture_be(&fx, 0, 0, 0);
        assert_int_equal(set_mode(f, 04767), 0);
        fx.options.create_mask = 0750; /* would change more than that */
        fixture_be(&fx, 1000, 1000, 1000);
        assert_int_equal(set_mode(f, 0767), -EPERM);
        assert_int_equal(mode_of("f"), 04767);
}

static void chmod_keeps_acls_in_step(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        struct slice acl;
        assert_int_equal(acl_from_text("u::rw-,u:1000:rw-,g::r--,m::rw-,o::---", &fx.arena, &acl), 0);
        fixture_put(&fx, "f", ACL_XATTR_ACCESS, acl.data, acl.len);
        struct access_fop_rep rep;
        fixture_be(&fx, 1000, 1000, 1000);
        assert_int_equal(CALL(&fx, ACCESS, access, &rep, .gfid = f, .mask = 6), 0);
        fixture_be(&fx, 0, 0, 0);
        assert_int_equal(set_mode(f, 0640), 0); /* the group bits are the mask */
        struct getxattr_fop_rep get;
        struct str s;
        assert_int_equal(
                CALL(&fx, GETXATTR, getxattr, &get, .gfid = f, .namelen = 1, .name = STR("glusterfs.posix.acl")), 0);
        assert_int_equal(dict_get_str(&get.dict, &fx.arena, "glusterfs.posix.acl", &s), 0);
        assert_string_equal(s.s, "u::rw-,u:1000:rw-,g::r--,m::r--,o::---");
        fixture_be(&fx, 1000, 1000, 1000);
        assert_int_equal(CALL(&fx, ACCESS, access, &rep, .gfid = f, .mask = 6), -EACCES);
        assert_int_equal(CALL(&fx, ACCESS, access, &rep, .gfid = f, .mask = 4), 0);
}

/* ---- ACCESS, STATFS, READLINK ---------------------------------------------------------------------------------- */

static int may(struct gfid g, uint32_t mask, struct access_fop_rep *rep)
{
        return CALL(&fx, ACCESS, access, rep, .gfid = g, .mask = mask);
}

static void access_bits(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0754);
        own("f", 1000, 2000);
        struct access_fop_rep rep;
        static const struct {
                uint32_t uid, gid, group;
                unsigned bits;
        } people[] = {{1000, 9, 9, 7}, {1001, 2000, 9, 5}, {1001, 9, 2000, 5}, {1001, 9, 9, 4}, {0, 0, 0, 7}};
        for (size_t i = 0; i < ELEMENTSOF(people); i++) {
                fixture_be(&fx, people[i].uid, people[i].gid, people[i].group);
                for (unsigned mask = 0; mask <= 7; mask++) {
                        fx.cred.pid = 0;
                        assert_int_equal(may(f, mask, &rep), (mask & ~people[i].bits) ? -EACCES : 0);
                        fx.cred.pid = 1; /* the NFS server is told the subset */
                        assert_int_equal(may(f, mask, &rep), 0);
                        assert_int_equal(rep.op_errno, (int)(mask & people[i].bits));
                }
        }
        fx.cred.pid = 0;
        assert_int_equal(may(fixture_new_gfid(), 4, &rep), -ESTALE);
}

static void sticky_directories(void **state)
{
        (void)state;
        struct gfid d = fixture_dir(&fx, GFID_ROOT, "d", 01777);
        fixture_file(&fx, d, "roots", 0666);
        fixture_file(&fx, d, "mine", 0644);
        own("d/mine", 1000, 1000);
        fixture_be(&fx, 1000, 1000, 1000);
        assert_int_equal(fixture_unlink(&fx, d, "roots"), -EACCES);
        assert_int_equal(fixture_unlink(&fx, d, "mine"), 0);
        fx.cred.pid = -6;
        assert_int_equal(fixture_unlink(&fx, d, "roots"), 0);
}

static void statfs_answers(void **state)
{
        (void)state;
        struct statfs_fop_rep rep;
        struct statvfs v;
        assert_int_equal(statvfs(fx.path, &v), 0);
        fx.options.reserve = (struct brick_reserve){.percent = 10};
        assert_int_equal(CALL(&fx, STATFS, statfs, &rep, .gfid = GFID_ROOT), 0);
        uint64_t reserved = (uint64_t)((double)v.f_blocks / 10 + 0.5);
        assert_int_equal(rep.statfs.blocks, v.f_blocks);
        assert_int_equal(rep.statfs.bsize, v.f_bsize);
        assert_int_equal(rep.statfs.namemax, v.f_namemax);
        assert_true(rep.statfs.bavail <= rep.statfs.bfree);
        uint64_t expected = v.f_bfree > reserved ? v.f_bfree - reserved : 0;
        uint64_t off = rep.statfs.bfree > expected ? rep.statfs.bfree - expected : expected - rep.statfs.bfree;
        assert_true(off < v.f_blocks / 100); /* others use the disk meanwhile */

        fx.options.reserve = (struct brick_reserve){.is_bytes = true, .bytes = UINT64_MAX / 2};
        fx.options.shared_brick_count = 4;
        assert_int_equal(CALL(&fx, STATFS, statfs, &rep, .gfid = GFID_ROOT), 0);
        assert_int_equal(rep.statfs.bfree, 0);
        assert_int_equal(rep.statfs.bavail, 0);
        assert_int_equal(rep.statfs.blocks, v.f_blocks / 4);
        assert_int_equal(rep.statfs.files, v.f_files / 4);
        assert_int_equal(CALL(&fx, STATFS, statfs, &rep, .gfid = fixture_new_gfid()), -ESTALE);
}

/* FALLOCATE looks at the reserve at once. */
static void reserve(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        struct fallocate_fop_rep rep;
        fx.options.reserve = (struct brick_reserve){.percent = 100};
        assert_int_equal(CALL(&fx, FALLOCATE, fallocate, &rep, .gfid = f, .fd = FD_ANONYMOUS, .size = 10), -ENOSPC);
        assert_true(atomic_load(&fx.brick->full));
        fx.options.reserve = (struct brick_reserve){0};
        assert_int_equal(CALL(&fx, FALLOCATE, fallocate, &rep, .gfid = f, .fd = FD_ANONYMOUS, .size = 10), 0);
        assert_false(atomic_load(&fx.brick->full));
}

static void link_targets(void **state)
{
        (void)state;
        struct gfid l = fixture_symlink(&fx, GFID_ROOT, "l", "some/where"), f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        struct readlink_fop_rep rep;
        assert_int_equal(CALL(&fx, READLINK, readlink, &rep, .gfid = l, .size = 4096), 0);
        assert_int_equal(rep.op_ret, 10);
        assert_string_equal(rep.path.s, "some/where");
        assert_true(S_ISLNK(rep.buf.mode));
        assert_int_equal(CALL(&fx, READLINK, readlink, &rep, .gfid = l, .size = 4), 0);
        assert_string_equal(rep.path.s, "some"); /* cut, no error */
        assert_int_equal(CALL(&fx, READLINK, readlink, &rep, .gfid = l, .size = UINT32_MAX), 0);
        assert_int_equal(CALL(&fx, READLINK, readlink, &rep, .gfid = f, .size = 4096), -EINVAL);
        assert_int_equal(CALL(&fx, READLINK, readlink, &rep, .gfid = GFID_ROOT, .size = 4096), -EINVAL);
}

static void rarely_used(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        struct ipc_fop_rep ipc;
        struct lease_fop_rep lease;
        struct getactivelk_fop_rep get;
        struct setactivelk_fop_rep setlk;
        struct icreate_fop_rep icreate;
        struct namelink_fop_rep namelink;
        struct put_fop_rep put;
        assert_int_equal(CALL(&fx, IPC, ipc, &ipc, .op = 0), 0);
        assert_int_equal(CALL(&fx, IPC, ipc, &ipc, .op = 2), 0);
        assert_int_equal(CALL(&fx, IPC, ipc, &ipc, .op = 1), -ENOTSUP); /* observed */
        assert_int_equal(CALL(&fx, LEASE, lease, &lease, .gfid = f), -ENOSYS);
        assert_int_equal(CALL(&fx, GETACTIVELK, getactivelk, &get, .gfid = f), 0);
        assert_int_equal(get.op_ret, 0);
        assert_int_equal(CALL(&fx, SETACTIVELK, setactivelk, &setlk, .gfid = f), 0);
        assert_int_equal(CALL(&fx, ICREATE, icreate, &icreate, .gfid = f), -ENOSYS);
        assert_int_equal(CALL(&fx, NAMELINK, namelink, &namelink, .pargfid = GFID_ROOT), -ENOSYS);
        assert_int_equal(CALL(&fx, PUT, put, &put, .pargfid = GFID_ROOT), -ENOSYS);
}

/* ---- creation modes -------------------------------------------------------------------------------------------- */

static mode_t created(struct gfid parent, const char *name, mode_t mode, uint32_t umask)
{
        struct mknod_fop_rep rep;
        struct gfid g = fixture_new_gfid();
        assert_int_equal(dict_add_gfid(&fx.xdata, &fx.arena, "gfid-req", &g), 0);
        assert_int_equal(CALL(&fx, MKNOD, mknod, &rep, .pargfid = parent, .bname = str_of(name), .mode = S_IFREG | mode,
                              .umask = umask),
                         0);
        return rep.stat.mode & 07777;
}

static void creation_modes(void **state)
{
        (void)state;
        struct gfid d = fixture_dir(&fx, GFID_ROOT, "d", 0755);
        char path[128];
        struct slice acl;
        assert_int_equal(created(d, "a", 0666, 027), 0640); /* observed */
        assert_int_equal(dict_add_int(&fx.xdata, &fx.arena, "umask", 077), 0);
        assert_int_equal(dict_add_int(&fx.xdata, &fx.arena, "mode", 0777), 0);
        assert_int_equal(created(d, "b", 0666, 0), 0700);
        assert_int_equal(acl_from_text("u::rwx,u:1000:rwx,g::r-x,m::rwx,o::---", &fx.arena, &acl), 0);
        fixture_put(&fx, "d", ACL_XATTR_DEFAULT, acl.data, acl.len);
        assert_int_equal(created(d, "c", 0666, 077), 0660); /* observed: the umask does not count */
        uint8_t buf[64];
        snprintf(path, sizeof path, "%s/d/c", fx.path);
        assert_int_equal(getxattr(path, ACL_XATTR_ACCESS, buf, sizeof buf), 44);
        struct gfid sub = fixture_dir(&fx, d, "sub", 0750);
        (void)sub;
        snprintf(path, sizeof path, "%s/d/sub", fx.path);
        assert_int_equal(getxattr(path, ACL_XATTR_DEFAULT, buf, sizeof buf), 44);
        assert_memory_equal(buf, acl.data, 44);
        assert_int_equal(mode_of("d/sub"), 0750);
}

static void group_of_the_directory(void **state)
{
        (void)state;
        struct gfid d = fixture_dir(&fx, GFID_ROOT, "d", 0777);
        own("d", 0, 3000);
        assert_int_equal(set_mode(d, 02777), 0);
        fixture_be(&fx, 1000, 1000, 1000);
        fixture_file(&fx, d, "f", 0644);
        fixture_dir(&fx, d, "s", 0755);
        assert_int_equal(fixture_stat(&fx, "d/f").st_gid, 3000);
        assert_int_equal(fixture_stat(&fx, "d/f").st_uid, 1000);
        assert_int_equal(fixture_stat(&fx, "d/s").st_gid, 3000);
        assert_int_equal(mode_of("d/s"), 02755);
}

/* ---- sub-directory mounts -------------------------------------------------------------------------------------- */

static void subdirectory_sessions(void **state)
{
        (void)state;
        struct gfid a = fixture_dir(&fx, GFID_ROOT, "a", 0755), b = fixture_dir(&fx, a, "b", 0755);
        struct gfid f = fixture_file(&fx, b, "f", 0644);
        fixture_symlink(&fx, GFID_ROOT, "l", "a");
        struct session *whole = fx.session, *sub;
        static const char *const wrong[] = {"/nowhere", "/a/nowhere", "/a/../a/b", "/a/b/f", "/l/b", "/.glusterfs"};
        for (size_t i = 0; i < ELEMENTSOF(wrong); i++) {
                struct session_config config = {.client_uid = "c", .subdir = wrong[i]};
                assert_int_equal(session_open(fx.brick, &config, &sub), -ENOENT);
        }
        struct session_config config = {.client_uid = "c", .subdir = "//a/b/"};
        assert_int_equal(session_open(fx.brick, &config, &sub), 0);
        assert_ptr_equal(session_brick(sub), fx.brick);
        fx.session = sub;
        struct readdirp_fop_rep rep;
        assert_int_equal(CALL(&fx, READDIRP, readdirp, &rep, .gfid = GFID_ROOT, .fd = fixture_dirfd(&fx, GFID_ROOT),
                              .size = 131072),
                         0);
        assert_int_equal(rep.op_ret, 3);
        for (uint32_t i = 0; i < 3; i++) {
                const struct dirent_entry *e = &rep.reply.v[i];
                if (str_is(e->name, "."))
                        assert_true(gfid_is_root(&e->stat.gfid) && e->stat.ino == 1);
                else if (str_is(e->name, ".."))
                        assert_true(gfid_is_null(&e->stat.gfid));
                else
                        assert_true(gfid_equal(&e->stat.gfid, &f));
        }
        struct getxattr_fop_rep get;
        struct str s;
        assert_int_equal(
                CALL(&fx, GETXATTR, getxattr, &get, .gfid = f, .namelen = 1, .name = STR("glusterfs.gfidtopath")), 0);
        assert_int_equal(dict_get_str(&get.dict, &fx.arena, "glusterfs.gfidtopath", &s), 0);
        assert_string_equal(s.s, "/f");
        fx.session = whole;
        session_close(sub);
}

#define WITH_BRICK(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
        const struct CMUnitTest tests[] = {
                WITH_BRICK(modes),
                WITH_BRICK(owners),
                WITH_BRICK(times),
                WITH_BRICK(times_of_links),
                WITH_BRICK(rights_of_others),
                WITH_BRICK(rights_of_the_owner),
                WITH_BRICK(privileges_go_before_a_write),
                WITH_BRICK(chmod_keeps_acls_in_step),
                WITH_BRICK(access_bits),
                WITH_BRICK(sticky_directories),
                WITH_BRICK(statfs_answers),
                WITH_BRICK(reserve),
                WITH_BRICK(link_targets),
                WITH_BRICK(rarely_used),
                WITH_BRICK(creation_modes),
                WITH_BRICK(group_of_the_directory),
                WITH_BRICK(subdirectory_sessions),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
