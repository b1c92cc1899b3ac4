/* The bridge between the kernel and a volume: the kernel's side is a socket (tests/fuse/device.h), the volume keeps
 * files in memory (fake_top.h). */
#include "kernel.h"

#include <linux/falloc.h>

/* ---- names ------------------------------------------------------------------------------------------------------- */

SCENARIO(lookup)
{
        fake_make(k->fake, "f", S_IFREG | 0640, "hello");
        assert_int_equal(ASK(k, FUSE_LOOKUP, FUSE_ROOT_ID, TEXT("none")), -ENOENT);
        uint64_t node = lookup(k, FUSE_ROOT_ID, "f");
        struct fuse_entry_out e = last_entry(k);
        assert_int_equal(e.attr.mode, S_IFREG | 0640);
        assert_int_equal(e.attr.size, 5);
        assert_int_equal(e.entry_valid, 1);
        assert_int_equal(e.attr_valid, 1);
        assert_int_equal(lookup(k, FUSE_ROOT_ID, "f"), node);
        struct fuse_getattr_in in = {0};
        assert_int_equal(ASK(k, FUSE_GETATTR, node, PART(in)), 0);
        forget(k, node, 1);
        assert_int_equal(ASK(k, FUSE_GETATTR, node, PART(in)), 0);
        forget(k, node, 1);
        assert_int_equal(ASK(k, FUSE_GETATTR, node, PART(in)), -ESTALE);
        assert_true(lookup(k, FUSE_ROOT_ID, "f") != node);
        assert_int_equal(ASK(k, FUSE_GETATTR, FUSE_ROOT_ID, PART(in)), 0);
        assert_int_equal(last_attr(k).ino, 1);
}

/* Another client put another object in its place. */
SCENARIO(replaced)
{
        fake_make(k->fake, "f", S_IFREG | 0600, "old");
        uint64_t old = lookup(k, FUSE_ROOT_ID, "f");
        fake_remove(k->fake, "f");
        fake_make(k->fake, "f", S_IFREG | 0600, "newer");
        uint64_t new = lookup(k, FUSE_ROOT_ID, "f");
        assert_true(new != old);
        assert_int_equal(last_entry(k).attr.size, 5);
        struct fuse_getattr_in in = {0};
        assert_int_equal(ASK(k, FUSE_GETATTR, old, PART(in)), -ESTALE);
        fake_remove(k->fake, "f");
        fake_make(k->fake, "f", S_IFREG | 0600, "third");
        assert_int_equal(ASK(k, FUSE_UNLINK, FUSE_ROOT_ID, TEXT("f")), 0);
        assert_null(fake_contents(k->fake, "f"));
        assert_int_equal(ASK(k, FUSE_UNLINK, FUSE_ROOT_ID, TEXT("f")), -ENOENT);
}

SCENARIO(making)
{
        struct fuse_mkdir_in mkdir_in = {.mode = 0777, .umask = 027};
        assert_int_equal(ASK(k, FUSE_MKDIR, FUSE_ROOT_ID, PART(mkdir_in), TEXT("d")), 0);
        assert_int_equal(last_entry(k).attr.mode, S_IFDIR | 0750);
        uint64_t d = last_entry(k).nodeid;
        assert_int_equal(ASK(k, FUSE_MKDIR, FUSE_ROOT_ID, PART(mkdir_in), TEXT("d")), -EEXIST);
        struct fuse_mknod_in mknod_in = {.mode = S_IFCHR | 0600, .rdev = 0x0103};
        assert_int_equal(ASK(k, FUSE_MKNOD, d, PART(mknod_in), TEXT("null")), 0);
        assert_int_equal(last_entry(k).attr.rdev, 0x0103);
        assert_int_equal(ASK(k, FUSE_SYMLINK, d, TEXT("link"), TEXT("a/b")), 0);
        uint64_t link = last_entry(k).nodeid;
        size_t n;
        assert_int_equal(hear(k, tell(k, FUSE_READLINK, link, NULL, 0), &n), 0);
        assert_int_equal(n, 3);
        assert_memory_equal(k->d->message, "a/b", 3);
        struct fuse_link_in link_in = {.oldnodeid = link};
        assert_int_equal(ASK(k, FUSE_LINK, FUSE_ROOT_ID, PART(link_in), TEXT("second")), 0);
        assert_int_equal(last_entry(k).nodeid, link);
        assert_int_equal(last_entry(k).attr.nlink, 2);
        assert_int_equal(ASK(k, FUSE_RMDIR, FUSE_ROOT_ID, TEXT("d")), -ENOTEMPTY);
        /* nobody was asked for what was known */
        assert_int_equal(fake_count(k->fake, FOP_LOOKUP), 0);
}

/* Who loses the race for a name opens what is there; with O_EXCL it is an error. */
SCENARIO(race)
{
        uint64_t node;
        struct fuse_create_in in = {.flags = O_CREAT | O_EXCL | O_RDWR, .mode = S_IFREG | 0600};
        fake_make(k->fake, "f", S_IFREG | 0600, "theirs");
        assert_int_equal(ASK(k, FUSE_CREATE, FUSE_ROOT_ID, PART(in), TEXT("f")), -EEXIST);
        uint64_t fh = create(k, "f", O_RDWR, &node);
        assert_int_equal(fake_count(k->fake, FOP_OPEN), 1);
        assert_string_equal(fake_contents(k->fake, "f"), "theirs");
        assert_int_equal(release(k, FUSE_RELEASE, node, fh), 0);
        fh = create(k, "f", O_RDWR | O_TRUNC, &node);
        assert_string_equal(fake_contents(k->fake, "f"), "");
        assert_int_equal(last_entry(k).attr.size, 0);
        fake_make(k->fake, "d", S_IFDIR | 0700, NULL);
        in.flags = O_CREAT | O_RDWR;
        assert_int_equal(ASK(k, FUSE_CREATE, FUSE_ROOT_ID, PART(in), TEXT("d")), -EISDIR);
        fake_fail_next(k->fake, FOP_CREATE, -EEXIST); /* and what was there is removed before it can be opened */
        (void)create(k, "g", O_RDWR, &node);
        assert_int_equal(last_entry(k).attr.size, 0);
}

SCENARIO(rename)
{
        fake_make(k->fake, "a", S_IFREG | 0600, "a");
        fake_make(k->fake, "b", S_IFREG | 0600, "bb");
        uint64_t a = lookup(k, FUSE_ROOT_ID, "a");
        assert_int_equal(ASK(k, FUSE_LOOKUP, FUSE_ROOT_ID, TEXT("c")), -ENOENT);
        fake_reset_counts(k->fake);
        struct fuse_rename_in in = {.newdir = FUSE_ROOT_ID};
        assert_int_equal(ASK(k, FUSE_RENAME, FUSE_ROOT_ID, PART(in), TEXT("a"), TEXT("c")), 0);
        assert_int_equal(fake_count(k->fake, FOP_LOOKUP), 0); /* the kernel had just asked */
        assert_int_equal(lookup(k, FUSE_ROOT_ID, "c"), a);
        /* over something that was not looked up before */
        assert_int_equal(ASK(k, FUSE_RENAME, FUSE_ROOT_ID, PART(in), TEXT("c"), TEXT("b")), 0);
        assert_string_equal(fake_contents(k->fake, "b"), "a");
        /* what is known is out of date: another client has put something else there */
        fake_make(k->fake, "e", S_IFREG | 0600, "e");
        assert_int_equal(ASK(k, FUSE_LOOKUP, FUSE_ROOT_ID, TEXT("x")), -ENOENT);
        fake_make(k->fake, "x", S_IFREG | 0600, "x");
        assert_int_equal(ASK(k, FUSE_RENAME, FUSE_ROOT_ID, PART(in), TEXT("e"), TEXT("x")), 0);
        assert_string_equal(fake_contents(k->fake, "x"), "e");
        assert_int_equal(ASK(k, FUSE_RENAME, FUSE_ROOT_ID, PART(in), TEXT("none"), TEXT("x")), -ENOENT);
        in.newdir = 99;
        assert_int_equal(ASK(k, FUSE_RENAME, FUSE_ROOT_ID, PART(in), TEXT("x"), TEXT("y")), -ESTALE);
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

SCENARIO(files)
{
        uint64_t node, fh = create(k, "f", O_RDWR, &node);
        struct fuse_read_in read_in = {.fh = fh, .offset = 1, .size = 100};
        size_t n;
        assert_int_equal(flush(k, node, fh, 1), 0);
        assert_int_equal(fake_count(k->fake, FOP_FLUSH), 0); /* there is nothing to be said */
        assert_int_equal(write_text(k, node, fh, 0, "hello", 0), 0);
        assert_int_equal(flush(k, node, fh, 1), 0);
        assert_int_equal(fake_count(k->fake, FOP_FLUSH), 1);
        const struct iovec part = PART(read_in);
        assert_int_equal(hear(k, tell(k, FUSE_READ, node, &part, 1), &n), 0);
        assert_int_equal(n, 4);
        assert_memory_equal(k->d->message, "ello", 4);
        struct fuse_fsync_in fsync_in = {.fh = fh, .fsync_flags = 1};
        assert_int_equal(ASK(k, FUSE_FSYNC, node, PART(fsync_in)), 0);
        /* open, without names */
        assert_int_equal(ASK(k, FUSE_UNLINK, FUSE_ROOT_ID, TEXT("f")), 0);
        struct fuse_getattr_in in = {0};
        assert_int_equal(ASK(k, FUSE_GETATTR, node, PART(in)), 0);
        assert_int_equal(last_attr(k).nlink, 0);
        assert_int_equal(release(k, FUSE_RELEASE, node, fh), 0);
        assert_int_equal(ASK(k, FUSE_GETATTR, node, PART(in)), -ESTALE);
        assert_int_equal(write_text(k, node, fh, 0, "x", 0), -EBADF);
        assert_int_equal(release(k, FUSE_RELEASE, node, 0x700000007ull), -EBADF);
}

/* The place of a closed file is used again, its number is not. */
SCENARIO(handles)
{
        fake_make(k->fake, "f", S_IFREG | 0600, "data");
        uint64_t node = lookup(k, FUSE_ROOT_ID, "f"), first = open_file(k, node, O_RDONLY, NULL);
        assert_int_equal(release(k, FUSE_RELEASE, node, first), 0);
        uint64_t second = open_file(k, node, O_RDONLY, NULL);
        assert_true(first != second);
        struct fuse_read_in in = {.fh = first, .size = 10};
        assert_int_equal(ASK(k, FUSE_READ, node, PART(in)), -EBADF);
        uint32_t flags;
        (void)open_file(k, node, O_WRONLY | O_APPEND, &flags);
        assert_true(flags & FOPEN_DIRECT_IO);
        (void)open_file(k, node, O_WRONLY, &flags);
        assert_int_equal(flags, 0);
}

SCENARIO(set_id)
{
        struct iatt stat;
        uint64_t node, fh = create(k, "f", O_RDWR, &node);
        struct fuse_setattr_in in = {.valid = FATTR_MODE, .mode = 06755};
        assert_int_equal(ASK(k, FUSE_SETATTR, node, PART(in)), 0);
        assert_int_equal(last_attr(k).mode, S_IFREG | 06755);
        assert_int_equal(write_text(k, node, fh, 0, "x", 0), 0);
        assert_true(fake_stat(k->fake, "f", &stat) && (stat.mode & 07777) == 06755);
        k->uid = 1000;
        assert_int_equal(write_text(k, node, fh, 0, "x", FUSE_WRITE_KILL_SUIDGID), 0);
        assert_true(fake_stat(k->fake, "f", &stat) && (stat.mode & 07777) == 0755);
        assert_int_equal(fake_last_cred(k->fake)->uid, 0); /* it is not the writer's right */
        k->uid = 0;
        in.mode = 02745; /* setgid without group execution stays: it means mandatory locks */
        assert_int_equal(ASK(k, FUSE_SETATTR, node, PART(in)), 0);
        in = (struct fuse_setattr_in){.valid = FATTR_SIZE | FATTR_KILL_SUIDGID, .size = 0};
        assert_int_equal(ASK(k, FUSE_SETATTR, node, PART(in)), 0);
        assert_int_equal(last_attr(k).mode & 07777, 02745);
        in = (struct fuse_setattr_in){.valid = FATTR_MODE, .mode = 04755};
        assert_int_equal(ASK(k, FUSE_SETATTR, node, PART(in)), 0);
        in = (struct fuse_setattr_in){.valid = FATTR_UID, .uid = 7};
        assert_int_equal(ASK(k, FUSE_SETATTR, node, PART(in)), 0);
        assert_int_equal(last_attr(k).mode & 07777, 0755);
        assert_int_equal(last_attr(k).uid, 7);
}

SCENARIO(attributes)
{
        uint64_t node, fh = create(k, "f", O_RDWR, &node);
        struct fuse_setattr_in in = {.valid = FATTR_SIZE | FATTR_MODE | FATTR_FH | FATTR_MTIME,
                                     .fh = fh,
                                     .size = 10,
                                     .mode = 0600,
                                     .mtime = 77,
                                     .mtimensec = 5};
        assert_int_equal(ASK(k, FUSE_SETATTR, node, PART(in)), 0);
        struct fuse_attr a = last_attr(k);
        assert_int_equal(a.size, 10);
        assert_int_equal(a.mode, S_IFREG | 0600);
        assert_int_equal(a.mtime, 77);
        assert_int_equal(a.mtimensec, 5);
        assert_int_equal(fake_count(k->fake, FOP_FTRUNCATE), 1);
        assert_int_equal(fake_count(k->fake, FOP_FSETATTR), 1);
        struct fuse_statfs_out *st = (void *)k->d->message;
        assert_int_equal(ask(k, FUSE_STATFS, FUSE_ROOT_ID, NULL, 0), 0);
        assert_int_equal(st->st.blocks, 1000);
        struct fuse_access_in access_in = {.mask = W_OK};
        assert_int_equal(ASK(k, FUSE_ACCESS, node, PART(access_in)), -EACCES);
}

static struct fuse_attr root_attr(struct kernel *k)
{
        struct fuse_getattr_in in = {0};
        assert_int_equal(ASK(k, FUSE_GETATTR, FUSE_ROOT_ID, PART(in)), 0);
        return last_attr(k);
}

/* After each change of names the kernel asks for the directory again: what it was, and what this changed, is known. */
SCENARIO(kept)
{
        uint64_t node;
        struct iatt stat;
        uint64_t before = root_attr(k).mtime;
        (void)create(k, "a", O_RDWR, &node);
        assert_true(root_attr(k).mtime > before);
        assert_int_equal(ASK(k, FUSE_UNLINK, FUSE_ROOT_ID, TEXT("a")), 0);
        (void)create(k, "b", O_RDWR, &node);
        assert_int_equal(fake_count(k->fake, FOP_STAT), 1);
        assert_true(fake_attributes(k->fake, &GFID_ROOT, &stat));
        assert_int_equal(root_attr(k).mtime, stat.mtime.sec);
        /* not if another client was there */
        fake_make(k->fake, "z", S_IFREG | 0600, NULL);
        (void)create(k, "y", O_RDWR, &node);
        (void)root_attr(k);
        assert_int_equal(fake_count(k->fake, FOP_STAT), 2);
        /* not after other changes, nor what was asked for before one, nor for ever */
        struct fuse_setattr_in in = {.valid = FATTR_MODE, .mode = 0700};
        assert_int_equal(ASK(k, FUSE_SETATTR, FUSE_ROOT_ID, PART(in)), 0);
        fake_reset_counts(k->fake);
        assert_int_equal(root_attr(k).mode & 07777, 0700);
        (void)create(k, "c", O_RDWR, &node);
        assert_int_equal(root_attr(k).mode & 07777, 0700);
        unsigned asked = fake_count(k->fake, FOP_STAT);
        struct subvolume_event e = {.kind = SUBVOLUME_INVALIDATE, .gfid = GFID_ROOT};
        bridge_event(fake_volume(k->fake), &e, k->bridge);
        fake_hold(k->fake, FOP_STAT);
        struct fuse_getattr_in getattr_in = {0};
        uint64_t unique = tell(k, FUSE_GETATTR, FUSE_ROOT_ID, &PART(getattr_in), 1);
        while (fake_held(k->fake) == 0)
                fibre_sleep(k->self, NS_PER_MSEC);
        (void)create(k, "d", O_RDWR, &node);
        fake_release(k->fake);
        assert_int_equal(hear(k, unique, NULL), 0);
        (void)root_attr(k);
        assert_int_equal(fake_count(k->fake, FOP_STAT), asked + 2);
        fibre_sleep(k->self, NS_PER_SEC + NS_PER_MSEC);
        (void)root_attr(k);
        assert_int_equal(fake_count(k->fake, FOP_STAT), asked + 3);
}

SCENARIO(space)
{
        uint64_t node, fh = create(k, "f", O_RDWR, &node);
        static const struct {
                uint32_t mode;
                int result;
                enum fop fop;
        } cases[] = {
                {0, 0, FOP_FALLOCATE},
                {FALLOC_FL_KEEP_SIZE, 0, FOP_FALLOCATE},
                {FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, FOP_DISCARD},
                {FALLOC_FL_ZERO_RANGE, 0, FOP_ZEROFILL},
                {FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 0, FOP_FALLOCATE}, /* all of it lies behind the end */
                {FALLOC_FL_COLLAPSE_RANGE, -EOPNOTSUPP, FOP_NULL},
                {FALLOC_FL_INSERT_RANGE, -EOPNOTSUPP, FOP_NULL},
        };
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                struct fuse_fallocate_in in = {.fh = fh, .offset = 4096, .length = 4096, .mode = cases[i].mode};
                fake_reset_counts(k->fake);
                assert_int_equal(ASK(k, FUSE_FALLOCATE, node, PART(in)), cases[i].result);
                if (cases[i].fop)
                        assert_int_equal(fake_count(k->fake, cases[i].fop), 1);
        }
        assert_int_equal(write_text(k, node, fh, 0, "data", 0), 0);
        struct fuse_lseek_in seek = {.fh = fh, .offset = 1, .whence = SEEK_HOLE};
        assert_int_equal(ASK(k, FUSE_LSEEK, node, PART(seek)), 0);
        assert_int_equal(((const struct fuse_lseek_out *)(const void *)k->d->message)->offset, 4);
        seek.whence = SEEK_SET;
        assert_int_equal(ASK(k, FUSE_LSEEK, node, PART(seek)), -EINVAL);
}

/* ---- directories ------------------------------------------------------------------------------------------------- */

/* Reads a piece at OFFSET; counts entries and look-ups, returns the offset to go on from; OFFSET itself at the end. */
static uint64_t read_piece(struct kernel *k, uint32_t opcode, uint64_t fh, uint64_t offset, unsigned *names,
                           unsigned *nodes)
{
        struct fuse_read_in in = {.fh = fh, .offset = offset, .size = 4096};
        const struct iovec part = PART(in);
        size_t size;
        assert_int_equal(hear(k, tell(k, opcode, FUSE_ROOT_ID, &part, 1), &size), 0);
        for (size_t at = 0; at < size;) {
                const struct fuse_direntplus *plus = (const void *)(k->d->message + at);
                const struct fuse_dirent *e = opcode == FUSE_READDIRPLUS ? &plus->dirent : (const void *)plus;
                at += opcode == FUSE_READDIRPLUS ? FUSE_DIRENTPLUS_SIZE(plus) : FUSE_DIRENT_SIZE(e);
                offset = e->off;
                (*names)++;
                if (opcode == FUSE_READDIRPLUS && plus->entry_out.nodeid)
                        (*nodes)++;
        }
        return offset;
}

static unsigned read_all(struct kernel *k, uint32_t opcode, uint64_t fh, uint64_t offset, unsigned *nodes)
{
        unsigned names = 0;
        for (;;) {
                uint64_t next = read_piece(k, opcode, fh, offset, &names, nodes);
                if (next == offset)
                        return names;
                offset = next;
        }
}

static uint64_t open_directory(struct kernel *k)
{
        struct fuse_open_in in = {.flags = O_RDONLY | O_DIRECTORY};
        assert_int_equal(ASK(k, FUSE_OPENDIR, FUSE_ROOT_ID, PART(in)), 0);
        return ((const struct fuse_open_out *)(const void *)k->d->message)->fh;
}

SCENARIO(directory)
{
        unsigned nodes = 0, first = 0;
        char name[32];
        for (int i = 0; i < 1000; i++) {
                (void)snprintf(name, sizeof name, "name%d", i);
                fake_make(k->fake, name, S_IFREG | 0600, NULL);
        }
        uint64_t fh = open_directory(k);
        assert_int_equal(read_all(k, FUSE_READDIRPLUS, fh, 0, &nodes), 1002);
        assert_int_equal(nodes, 1000);
        assert_true(fake_count(k->fake, FOP_READDIRP) <= 3);
        struct bridge_stats stats;
        bridge_get_stats(k->bridge, &stats);
        assert_int_equal(stats.nodes, 1001);
        fake_reset_counts(k->fake);
        /* names of it are known now */
        assert_int_equal(ASK(k, FUSE_UNLINK, FUSE_ROOT_ID, TEXT("name7")), 0);
        assert_int_equal(fake_count(k->fake, FOP_LOOKUP), 0);
        assert_int_equal(read_all(k, FUSE_READDIR, fh, 0, &nodes), 1001);
        /* going back */
        uint64_t after_first = read_piece(k, FUSE_READDIR, fh, 0, &first, &nodes);
        unsigned rest = read_all(k, FUSE_READDIR, fh, after_first, &nodes),
                 again = read_all(k, FUSE_READDIR, fh, after_first, &nodes);
        assert_int_equal(first + rest, 1001);
        assert_int_equal(again, rest);
        assert_int_equal(release(k, FUSE_RELEASEDIR, FUSE_ROOT_ID, fh), 0);
        /* an object that changed after the directory was read is told by name only */
        fh = open_directory(k);
        nodes = first = 0;
        uint64_t next = read_piece(k, FUSE_READDIRPLUS, fh, 0, &first, &nodes);
        struct fuse_mkdir_in in = {.mode = 0777};
        assert_int_equal(ASK(k, FUSE_MKDIR, FUSE_ROOT_ID, PART(in), TEXT("new")), 0);
        unsigned before = nodes;
        (void)read_piece(k, FUSE_READDIRPLUS, fh, next, &first, &nodes);
        assert_int_equal(nodes, before);
}

/* ---- xattrs ------------------------------------------------------------------------------------------------------ */

static int set_xattr(struct kernel *k, uint64_t node, const char *name, const char *value)
{
        struct fuse_setxattr_in in = {.size = (uint32_t)strlen(value)};
        const struct iovec head = {&in,
                                   k->d->session && (fuse_session_protocol(k->d->session)->flags & FUSE_SETXATTR_EXT)
                                           ? sizeof in
                                           : FUSE_COMPAT_SETXATTR_IN_SIZE};
        struct iovec data = {(void *)value, strlen(value)};
        return ASK(k, FUSE_SETXATTR, node, head, TEXT(name), data);
}

static int get_xattr(struct kernel *k, uint64_t node, const char *name, uint32_t size, size_t *ret)
{
        struct fuse_getxattr_in in = {.size = size};
        const struct iovec parts[] = {PART(in), TEXT(name)};
        return hear(k, tell(k, FUSE_GETXATTR, node, parts, 2), ret);
}

SCENARIO(xattrs)
{
        size_t n;
        uint64_t node;
        (void)create(k, "f", O_RDWR, &node);
        assert_int_equal(set_xattr(k, node, "user.a", "value"), 0);
        assert_int_equal(set_xattr(k, node, "trusted.mine", "t"), 0);
        assert_int_equal(get_xattr(k, node, "user.a", 100, &n), 0);
        assert_int_equal(n, 5);
        assert_memory_equal(k->d->message, "value", 5);
        assert_int_equal(get_xattr(k, node, "user.a", 2, &n), -ERANGE);
        assert_int_equal(get_xattr(k, node, "user.a", 0, &n), 0);
        assert_int_equal(((const struct fuse_getxattr_out *)(const void *)k->d->message)->size, 5);
        assert_int_equal(get_xattr(k, node, "user.none", 100, &n), -ENODATA);
        /* the volume's own */
        assert_int_equal(set_xattr(k, node, "trusted.glusterfs.dht", "x"), -EPERM);
        assert_int_equal(set_xattr(k, node, "trusted.afr.dirty", "x"), -EPERM);
        assert_int_equal(set_xattr(k, node, "trusted.gfid", "x"), -EPERM);
        assert_int_equal(get_xattr(k, node, "trusted.gfid", 100, &n), -ENODATA);
        assert_int_equal(get_xattr(k, node, "trusted.afr.dirty", 100, &n), -ENODATA);
        assert_int_equal(set_xattr(k, node, "system.posix_acl_access", "x"), -EOPNOTSUPP);
        assert_int_equal(get_xattr(k, node, "system.posix_acl_access", 100, &n), -EOPNOTSUPP);
        assert_int_equal(get_xattr(k, node, "security.selinux", 100, &n), -ENODATA);
        assert_int_equal(get_xattr(k, node, "glusterfs.gfid.string", 100, &n), 0);
        assert_int_equal(n, 36);
        /* lists */
        struct fuse_getxattr_in in = {.size = 100};
        const struct iovec part = PART(in);
        assert_int_equal(hear(k, tell(k, FUSE_LISTXATTR, node, &part, 1), &n), 0);
        assert_int_equal(n, sizeof "user.a" + sizeof "trusted.mine");
        k->uid = 1000;
        assert_int_equal(hear(k, tell(k, FUSE_LISTXATTR, node, &part, 1), &n), 0);
        assert_int_equal(n, sizeof "user.a");
        k->uid = 0;
        assert_int_equal(ASK(k, FUSE_REMOVEXATTR, node, TEXT("user.a")), 0);
        assert_int_equal(ASK(k, FUSE_REMOVEXATTR, node, TEXT("user.a")), -ENODATA);
        /* that there is no capability is remembered, until somebody sets one */
        fake_reset_counts(k->fake);
        for (int i = 0; i < 5; i++)
                assert_int_equal(get_xattr(k, node, "security.capability", 100, &n), -ENODATA);
        assert_int_equal(fake_count(k->fake, FOP_GETXATTR), 1);
        assert_int_equal(set_xattr(k, node, "security.capability", "cap"), 0);
        assert_int_equal(get_xattr(k, node, "security.capability", 100, &n), 0);
}

/* ---- locks ------------------------------------------------------------------------------------------------------- */

static int set_lock(struct kernel *k, uint64_t node, uint64_t fh, uint64_t owner, uint32_t type)
{
        struct fuse_lk_in in = {.fh = fh, .owner = owner, .lk = {.start = 10, .end = 19, .type = type, .pid = 5}};
        return ASK(k, FUSE_SETLK, node, PART(in));
}

SCENARIO(locks)
{
        uint64_t node, fh = create(k, "f", O_RDWR, &node);
        assert_int_equal(set_lock(k, node, fh, 1, F_WRLCK), 0);
        /* who gets a lock reads what others wrote: the kernel was told before */
        assert_int_equal(k->n_notices, 1);
        assert_non_null(noticed(k, FUSE_NOTIFY_INVAL_INODE, node, NULL));
        assert_int_equal(k->notices[0].offset, 0);
        assert_int_equal(set_lock(k, node, fh, 2, F_RDLCK), -EAGAIN);
        struct fuse_lk_in in = {.fh = fh, .owner = 2, .lk = {.start = 0, .end = INT64_MAX, .type = F_WRLCK}};
        assert_int_equal(ASK(k, FUSE_GETLK, node, PART(in)), 0);
        const struct fuse_lk_out *out = (const void *)k->d->message;
        assert_int_equal(out->lk.type, F_WRLCK);
        assert_int_equal(out->lk.start, 10);
        assert_int_equal(set_lock(k, node, fh, 1, F_UNLCK), 0);
        assert_int_equal(k->n_notices, 1);
        assert_int_equal(ASK(k, FUSE_GETLK, node, PART(in)), 0);
        assert_int_equal(out->lk.type, F_UNLCK);
        /* close tells the bricks: there may be locks of this owner */
        assert_int_equal(flush(k, node, fh, 1), 0);
        assert_int_equal(fake_count(k->fake, FOP_FLUSH), 1);
        static const uint8_t owner[8] = {1};
        assert_int_equal(fake_last_cred(k->fake)->owner_len, 8);
        assert_memory_equal(fake_last_cred(k->fake)->owner, owner, 8);
}

SCENARIO(interrupt)
{
        uint64_t node, fh = create(k, "f", O_RDWR, &node);
        struct fuse_read_in in = {.fh = fh, .size = 100};
        fake_hold(k->fake, FOP_READ);
        const struct iovec part = PART(in);
        uint64_t unique = tell(k, FUSE_READ, node, &part, 1);
        while (fake_held(k->fake) == 0)
                fibre_sleep(k->self, NS_PER_MSEC);
        struct fuse_interrupt_in interrupt = {.unique = unique};
        const struct iovec ipart = PART(interrupt);
        (void)tell(k, FUSE_INTERRUPT, 0, &ipart, 1);
        assert_int_equal(hear(k, unique, NULL), -EINTR);
        fake_release(k->fake);
}

/* ---- what the kernel may believe --------------------------------------------------------------------------------- */

static void tell_event(struct kernel *k, enum subvolume_event_kind kind, struct gfid gfid, uint32_t flags)
{
        bridge_event(fake_volume(k->fake), &(struct subvolume_event){.kind = kind, .gfid = gfid, .flags = flags},
                     k->bridge);
}

SCENARIO(invalidation)
{
        struct gfid gfid = fake_make(k->fake, "f", S_IFREG | 0600, "x");
        uint64_t node = lookup(k, FUSE_ROOT_ID, "f");
        tell_event(k, SUBVOLUME_INVALIDATE, (struct gfid){.b = {9}}, 0x18); /* nobody knows it */
        tell_event(k, SUBVOLUME_INVALIDATE, gfid, 0x18);
        hear_notices(k, 1);
        assert_int_equal(noticed(k, FUSE_NOTIFY_INVAL_INODE, node, NULL)->offset, 0);
        k->n_notices = 0;
        tell_event(k, SUBVOLUME_INVALIDATE, gfid, 0x211);
        hear_notices(k, 2);
        assert_non_null(noticed(k, FUSE_NOTIFY_INVAL_ENTRY, FUSE_ROOT_ID, "f"));
        assert_non_null(noticed(k, FUSE_NOTIFY_INVAL_INODE, node, NULL));
        /* an answer that was asked for before is not believed */
        struct fuse_getattr_in in = {0};
        fake_hold(k->fake, FOP_STAT);
        const struct iovec part = PART(in);
        uint64_t unique = tell(k, FUSE_GETATTR, node, &part, 1);
        while (fake_held(k->fake) == 0)
                fibre_sleep(k->self, NS_PER_MSEC);
        tell_event(k, SUBVOLUME_INVALIDATE, gfid, 0x18);
        fake_release(k->fake);
        assert_int_equal(hear(k, unique, NULL), 0);
        const struct fuse_attr_out *out = (const void *)k->d->message;
        assert_int_equal(out->attr_valid, 0);
        assert_int_equal(out->attr_valid_nsec, 0);
        assert_int_equal(ASK(k, FUSE_GETATTR, node, PART(in)), 0);
        assert_int_equal(out->attr_valid, 1);
}

/* While bricks tell of changes things are believed for long; when one goes away that is taken back. */
static void outage_scenario(struct kernel *k)
{
        fake_make(k->fake, "f", S_IFREG | 0600, "x");
        bridge_set_invalidation(k->bridge, 600 * NS_PER_SEC);
        uint64_t node = lookup(k, FUSE_ROOT_ID, "f");
        assert_int_equal(last_entry(k).entry_valid, 600);
        assert_int_equal(last_entry(k).attr_valid, 600);
        tell_event(k, SUBVOLUME_DOWN, (struct gfid){0}, 0);
        hear_notices(k, 2);
        assert_non_null(noticed(k, FUSE_NOTIFY_INVAL_ENTRY, FUSE_ROOT_ID, "f"));
        assert_non_null(noticed(k, FUSE_NOTIFY_INVAL_INODE, node, NULL));
        (void)lookup(k, FUSE_ROOT_ID, "f");
        assert_int_equal(last_entry(k).entry_valid, 1);
        tell_event(k, SUBVOLUME_UP, (struct gfid){0}, 0);
        (void)lookup(k, FUSE_ROOT_ID, "f");
        assert_int_equal(last_entry(k).entry_valid, 600);
}
static void test_outage(void **state)
{
        run(outage_scenario, &(struct bridge_config){.attribute_timeout = UINT64_MAX,
                                                     .entry_timeout = UINT64_MAX,
                                                     .negative_timeout = UINT64_MAX});
}

static void negative_scenario(struct kernel *k)
{
        assert_int_equal(ASK(k, FUSE_LOOKUP, FUSE_ROOT_ID, TEXT("none")), 0);
        assert_int_equal(last_entry(k).nodeid, 0);
        assert_int_equal(last_entry(k).entry_valid, 3);
}
static void test_negative(void **state)
{
        run(negative_scenario, &(struct bridge_config){.negative_timeout = 3 * NS_PER_SEC});
}

/* ---- opening without asking bricks twice ------------------------------------------------------------------------- */

static unsigned asked(const struct kernel *k)
{
        unsigned n = 0;
        for (unsigned fop = 0; fop < FOP_MAX; fop++)
                n += fake_count(k->fake, (enum fop)fop);
        return n;
}

static void check_read(struct kernel *k, uint64_t node, uint64_t fh, uint64_t offset, const char *expected)
{
        struct fuse_read_in in = {.fh = fh, .offset = offset, .size = 4096};
        const struct iovec part = PART(in);
        size_t n;
        assert_int_equal(hear(k, tell(k, FUSE_READ, node, &part, 1), &n), 0);
        assert_int_equal(n, strlen(expected));
        assert_memory_equal(k->d->message, expected, n);
}

/* Waits until bricks were asked N times to open something. */
static void opened_late(struct kernel *k, unsigned n)
{
        while (fake_count(k->fake, FOP_OPEN) < n)
                fibre_sleep(k->self, NS_PER_MSEC);
}

/* open + read + close of a small file: one message, and what another client wrote is seen. */
SCENARIO(small)
{
        uint32_t flags;
        fake_make(k->fake, "f", S_IFREG | 0600, "one");
        uint64_t node = lookup(k, FUSE_ROOT_ID, "f");
        fake_reset_counts(k->fake);
        uint64_t fh = open_file(k, node, O_RDONLY, &flags);
        assert_int_equal(flags & FOPEN_KEEP_CACHE, 0);
        check_read(k, node, fh, 0, "one");
        assert_int_equal(flush(k, node, fh, 1), 0);
        assert_int_equal(release(k, FUSE_RELEASE, node, fh), 0);
        assert_int_equal(asked(k), 1);
        fh = open_file(k, node, O_RDONLY, &flags);
        assert_true(flags & FOPEN_KEEP_CACHE); /* it is as it was */
        assert_int_equal(release(k, FUSE_RELEASE, node, fh), 0);
        fake_write(k->fake, "f", "three");
        fh = open_file(k, node, O_RDONLY, &flags);
        assert_int_equal(flags & FOPEN_KEEP_CACHE, 0);
        assert_non_null(noticed(k, FUSE_NOTIFY_INVAL_INODE, node, NULL)); /* its size is not what the kernel believes */
        check_read(k, node, fh, 0, "three");
        assert_int_equal(fake_count(k->fake, FOP_OPEN), 0);
        opened_late(k, 1); /* it is open still */
        check_read(k, node, fh, 0, "three"); /* once more: read there */
        assert_int_equal(fake_count(k->fake, FOP_READ), 4);
        assert_int_equal(release(k, FUSE_RELEASE, node, fh), 0);
}

/* What was read at the open is not given after a change, by whomever. */
SCENARIO(stale)
{
        uint64_t node, writer, unique;
        fake_make(k->fake, "f", S_IFREG | 0600, "old");
        node = lookup(k, FUSE_ROOT_ID, "f");
        uint64_t fh = open_file(k, node, O_RDONLY, NULL);
        writer = open_file(k, node, O_RDWR, NULL);
        assert_int_equal(write_text(k, node, writer, 0, "new", 0), 0);
        check_read(k, node, fh, 0, "new");
        assert_int_equal(release(k, FUSE_RELEASE, node, fh), 0);
        assert_int_equal(release(k, FUSE_RELEASE, node, writer), 0);
        struct iatt stat;
        assert_true(fake_stat(k->fake, "f", &stat));
        (void)lookup(k, FUSE_ROOT_ID, "f");
        fh = open_file(k, node, O_RDONLY, NULL);
        fake_write(k->fake, "f", "newest");
        tell_event(k, SUBVOLUME_INVALIDATE, stat.gfid, 0x18);
        hear_notices(k, 1);
        check_read(k, node, fh, 0, "newest");
        /* an answer older than a local change decides nothing */
        (void)lookup(k, FUSE_ROOT_ID, "f");
        fake_reset_counts(k->fake);
        struct fuse_open_in in = {.flags = O_RDONLY};
        const struct iovec part = PART(in);
        fake_hold(k->fake, FOP_READ);
        unique = tell(k, FUSE_OPEN, node, &part, 1);
        while (fake_held(k->fake) == 0)
                fibre_sleep(k->self, NS_PER_MSEC);
        struct fuse_setattr_in cut = {.valid = FATTR_SIZE, .size = 2};
        assert_int_equal(ASK(k, FUSE_SETATTR, node, PART(cut)), 0);
        fake_release(k->fake);
        assert_int_equal(hear(k, unique, NULL), 0);
        struct fuse_open_out out;
        memcpy(&out, k->d->message, sizeof out);
        assert_int_equal(out.open_flags, 0);
        assert_int_equal(fake_count(k->fake, FOP_OPEN), 1);
        check_read(k, node, out.fh, 0, "ne");
}

/* A file that is open stays when its name goes; who may not read for certain is not opened for the kernel only. */
SCENARIO(belated)
{
        fake_make(k->fake, "f", S_IFREG | 0644, "data");
        uint64_t node = lookup(k, FUSE_ROOT_ID, "f"), fh = open_file(k, node, O_RDONLY, NULL);
        assert_int_equal(fake_count(k->fake, FOP_OPEN), 0);
        assert_int_equal(ASK(k, FUSE_UNLINK, FUSE_ROOT_ID, TEXT("f")), 0);
        assert_int_equal(fake_count(k->fake, FOP_OPEN), 1);
        check_read(k, node, fh, 0, "data");
        fake_make(k->fake, "g", S_IFREG | 0644, "data");
        node = lookup(k, FUSE_ROOT_ID, "g");
        k->uid = 1001;
        (void)open_file(k, node, O_RDONLY, NULL);
        assert_int_equal(fake_count(k->fake, FOP_OPEN), 2);
        k->uid = 0;
        fake_fail_next(k->fake, FOP_READ, -EACCES);
        (void)open_file(k, node, O_RDONLY, NULL); /* the open itself decides */
        assert_int_equal(fake_count(k->fake, FOP_OPEN), 3);
}

/* A large file whose pages the kernel has: one STAT says whether they are right. */
SCENARIO(cached)
{
        static char text[100 * KIB];
        uint32_t flags;
        memset(text, 'x', sizeof text - 1);
        fake_make(k->fake, "f", S_IFREG | 0600, text);
        uint64_t node = lookup(k, FUSE_ROOT_ID, "f");
        (void)open_file(k, node, O_RDONLY, &flags);
        assert_int_equal(flags, 0);
        fake_reset_counts(k->fake);
        (void)open_file(k, node, O_RDONLY, &flags);
        assert_int_equal(flags, FOPEN_KEEP_CACHE);
        assert_int_equal(fake_count(k->fake, FOP_STAT), 1);
        assert_int_equal(fake_count(k->fake, FOP_OPEN), 1);
        assert_int_equal(asked(k), 2);
        text[0] = 'y';
        fake_write(k->fake, "f", text);
        (void)open_file(k, node, O_RDONLY, &flags);
        assert_int_equal(flags, 0);
        assert_int_equal(fake_count(k->fake, FOP_OPEN), 2);
        /* opened before it was removed elsewhere: it stays */
        uint64_t fh = open_file(k, node, O_RDONLY, NULL);
        fake_remove(k->fake, "f");
        struct fuse_read_in in = {.fh = fh, .offset = 99 * KIB, .size = 4096};
        assert_int_equal(ASK(k, FUSE_READ, node, PART(in)), 0);
        struct fuse_getattr_in attr = {0};
        assert_int_equal(ASK(k, FUSE_GETATTR, node, PART(attr)), 0);
        assert_int_equal(last_attr(k).nlink, 0);
}

/* A small file that another client removes before bricks have opened it is what was read of it; afterwards it is at the
 * bricks. */
SCENARIO(gone)
{
        struct fuse_getattr_in attr = {0};
        fake_make(k->fake, "f", S_IFREG | 0600, "data");
        uint64_t node = lookup(k, FUSE_ROOT_ID, "f");
        uint64_t late = open_file(k, node, O_RDONLY, NULL);
        opened_late(k, 1);
        uint64_t fh = open_file(k, node, O_RDONLY, NULL);
        fake_remove(k->fake, "f");
        check_read(k, node, late, 0, "data");
        for (int i = 0; i < 3; i++) {
                check_read(k, node, fh, 0, "data");
                check_read(k, node, fh, 2, "ta");
                check_read(k, node, fh, 4, "");
                assert_int_equal(ASK(k, FUSE_GETATTR, node, PART(attr)), 0);
                assert_int_equal(last_attr(k).nlink, 0);
                opened_late(k, 2); /* in vain */
        }
        assert_int_equal(release(k, FUSE_RELEASE, node, late), 0);
        assert_int_equal(ASK(k, FUSE_GETATTR, node, PART(attr)), 0);
        assert_int_equal(last_attr(k).size, 4);
        check_read(k, node, fh, 0, "data");
        assert_int_equal(release(k, FUSE_RELEASE, node, fh), 0);
        assert_int_equal(ASK(k, FUSE_GETATTR, node, PART(attr)), -ESTALE);
}

/* The same with a change in between: what is left is the file as it was when it was opened. */
SCENARIO(gone_changed)
{
        struct iatt stat;
        fake_make(k->fake, "f", S_IFREG | 0600, "old");
        uint64_t node = lookup(k, FUSE_ROOT_ID, "f"), fh = open_file(k, node, O_RDONLY, NULL);
        assert_true(fake_stat(k->fake, "f", &stat));
        tell_event(k, SUBVOLUME_INVALIDATE, stat.gfid, 0x18);
        fake_remove(k->fake, "f");
        check_read(k, node, fh, 0, "old");
        check_read(k, node, fh, 0, "old");
}

/* The kernel tries an open that finds its object gone once more, from the look-up: that finds what stays. */
SCENARIO(replaced_again)
{
        struct fuse_open_in in = {.flags = O_RDWR};
        fake_make(k->fake, "f", S_IFREG | 0600, "1");
        uint64_t node = lookup(k, FUSE_ROOT_ID, "f");
        fake_remove(k->fake, "f");
        assert_int_equal(ASK(k, FUSE_OPEN, node, PART(in)), -ESTALE);
        assert_int_equal(ASK(k, FUSE_LOOKUP, FUSE_ROOT_ID, TEXT("f")), -ENOENT);
        fake_make(k->fake, "f", S_IFREG | 0600, "22");
        fake_reset_counts(k->fake);
        node = lookup(k, FUSE_ROOT_ID, "f");
        assert_int_equal(fake_count(k->fake, FOP_OPEN), 1);
        assert_int_equal(lookup(k, FUSE_ROOT_ID, "f"), node);
        fake_remove(k->fake, "f");
        fake_make(k->fake, "f", S_IFREG | 0600, "333");
        uint64_t fh = open_file(k, node, O_RDWR, NULL);
        assert_int_equal(fake_count(k->fake, FOP_OPEN), 1);
        check_read(k, node, fh, 0, "22");
        /* and while it looks it up */
        node = lookup(k, FUSE_ROOT_ID, "f");
        fake_fail_next(k->fake, FOP_OPEN, -ENOENT);
        assert_int_equal(ASK(k, FUSE_OPEN, node, PART(in)), -ESTALE);
        fake_fail_next(k->fake, FOP_OPEN, -ENOENT);
        fake_reset_counts(k->fake);
        (void)lookup(k, FUSE_ROOT_ID, "f");
        assert_int_equal(fake_count(k->fake, FOP_OPEN), 2);
        assert_int_equal(fake_count(k->fake, FOP_LOOKUP), 2);
        /* nobody comes for it: it is closed at the end */
}

/* While bricks tell of changes the kernel's pages are kept; when one of several goes away that ends. */
static void told_scenario(struct kernel *k)
{
        uint32_t flags;
        struct gfid gfid = fake_make(k->fake, "f", S_IFREG | 0600, "x");
        bridge_set_invalidation(k->bridge, 600 * NS_PER_SEC);
        uint64_t node = lookup(k, FUSE_ROOT_ID, "f");
        (void)open_file(k, node, O_RDONLY, NULL);
        fake_reset_counts(k->fake);
        (void)open_file(k, node, O_RDONLY, &flags);
        assert_int_equal(flags, FOPEN_KEEP_CACHE);
        assert_int_equal(asked(k), 1);
        tell_event(k, SUBVOLUME_INVALIDATE, gfid, 0x18);
        (void)lookup(k, FUSE_ROOT_ID, "f");
        fake_reset_counts(k->fake);
        (void)open_file(k, node, O_RDONLY, &flags);
        assert_int_equal(flags, 0);
        assert_int_equal(asked(k), 1);
        tell_event(k, SUBVOLUME_BRICK_DOWN, (struct gfid){0}, 0);
        (void)lookup(k, FUSE_ROOT_ID, "f");
        assert_int_equal(last_entry(k).attr_valid, 1);
        tell_event(k, SUBVOLUME_BRICK_DOWN, (struct gfid){0}, 0);
        tell_event(k, SUBVOLUME_BRICK_UP, (struct gfid){0}, 0);
        (void)lookup(k, FUSE_ROOT_ID, "f");
        assert_int_equal(last_entry(k).attr_valid, 1); /* the other one is still away */
        fake_reset_counts(k->fake);
        (void)open_file(k, node, O_RDONLY, &flags);
        assert_int_equal(asked(k), 1);
        tell_event(k, SUBVOLUME_BRICK_UP, (struct gfid){0}, 0);
        (void)lookup(k, FUSE_ROOT_ID, "f");
        assert_int_equal(last_entry(k).attr_valid, 600);
}
static void test_told(void **state)
{
        run(told_scenario, &(struct bridge_config){.attribute_timeout = UINT64_MAX,
                                                   .entry_timeout = UINT64_MAX,
                                                   .negative_timeout = UINT64_MAX});
}

static void bricks_tell(struct kernel *k, uint32_t seconds)
{
        volume_top(fake_volume(k->fake))->tells = seconds;
        tell_event(k, SUBVOLUME_BRICK_TELLS, (struct gfid){0}, 0);
}

/* Bricks that tell without an option: names and attributes are believed. */
static void tell_by_themselves_scenario(struct kernel *k)
{
        struct gfid gfid = fake_make(k->fake, "f", S_IFREG | 0600, "x");
        (void)lookup(k, FUSE_ROOT_ID, "f");
        assert_int_equal(last_entry(k).attr_valid, 1);
        bricks_tell(k, 60);
        uint64_t node = lookup(k, FUSE_ROOT_ID, "f");
        assert_int_equal(last_entry(k).entry_valid, 60);
        assert_int_equal(last_entry(k).attr_valid, 60);
        tell_event(k, SUBVOLUME_INVALIDATE, gfid, 0x211);
        hear_notices(k, 2);
        assert_non_null(noticed(k, FUSE_NOTIFY_INVAL_ENTRY, FUSE_ROOT_ID, "f"));
        k->n_notices = 0;
        (void)lookup(k, FUSE_ROOT_ID, "f");
        bricks_tell(k, 0);
        hear_notices(k, 2);
        assert_non_null(noticed(k, FUSE_NOTIFY_INVAL_INODE, node, NULL));
        (void)lookup(k, FUSE_ROOT_ID, "f");
        assert_int_equal(last_entry(k).attr_valid, 1);
        /* told of what nobody here knows yet, while it is being looked up */
        bricks_tell(k, 60);
        gfid = fake_make(k->fake, "new", S_IFREG | 0600, "x");
        fake_hold(k->fake, FOP_LOOKUP);
        const struct iovec part = TEXT("new");
        uint64_t unique = tell(k, FUSE_LOOKUP, FUSE_ROOT_ID, &part, 1);
        while (fake_held(k->fake) == 0)
                fibre_sleep(k->self, NS_PER_MSEC);
        tell_event(k, SUBVOLUME_INVALIDATE, gfid, 0x18);
        fake_release(k->fake);
        assert_int_equal(hear(k, unique, NULL), 0);
        assert_int_equal(last_entry(k).attr_valid, 0);
        assert_int_equal(last_entry(k).entry_valid, 0);
}
static void test_tell_by_themselves(void **state)
{
        run(tell_by_themselves_scenario, &(struct bridge_config){.attribute_timeout = UINT64_MAX,
                                                                 .entry_timeout = UINT64_MAX,
                                                                 .negative_timeout = UINT64_MAX});
}

/* The kernel is asked to forget files that were not used for long, never directories or open files. */
static void eviction_scenario(struct kernel *k)
{
        char name[32];
        uint64_t nodes[40];
        fake_make(k->fake, "d", S_IFDIR | 0700, NULL);
        uint64_t d = lookup(k, FUSE_ROOT_ID, "d");
        for (int i = 0; i < 40; i++) {
                (void)snprintf(name, sizeof name, "f%d", i);
                fake_make(k->fake, name, S_IFREG | 0600, NULL);
                nodes[i] = lookup(k, FUSE_ROOT_ID, name);
                if (i == 0)
                        (void)open_file(k, nodes[0], O_RDONLY, NULL);
        }
        hear_notices(k, 20);
        assert_null(noticed(k, FUSE_NOTIFY_INVAL_ENTRY, FUSE_ROOT_ID, "d"));
        assert_null(noticed(k, FUSE_NOTIFY_INVAL_ENTRY, FUSE_ROOT_ID, "f0"));
        assert_non_null(noticed(k, FUSE_NOTIFY_INVAL_ENTRY, FUSE_ROOT_ID, "f1"));
        forget(k, nodes[1], 1);
        struct bridge_stats stats;
        struct fuse_getattr_in in = {0};
        assert_int_equal(ASK(k, FUSE_GETATTR, d, PART(in)), 0);
        assert_int_equal(ASK(k, FUSE_GETATTR, nodes[1], PART(in)), -ESTALE);
        bridge_get_stats(k->bridge, &stats);
        assert_true(stats.evictions >= 20);
}
static void test_eviction(void **state)
{
        run(eviction_scenario,
            &(struct bridge_config){.nodes_max = 10, .entry_timeout = NS_PER_SEC, .negative_timeout = UINT64_MAX});
}

/* An answer to statfs comes in time, however long the volume takes. */
static void statfs_scenario(struct kernel *k)
{
        fake_hold(k->fake, FOP_STATFS);
        assert_int_equal(ask(k, FUSE_STATFS, FUSE_ROOT_ID, NULL, 0), -ENOTCONN);
        fake_release(k->fake);
}
static void test_statfs(void **state)
{
        run(statfs_scenario, &(struct bridge_config){.statfs_timeout = 50 * NS_PER_MSEC});
}

/* ---- who asks ---------------------------------------------------------------------------------------------------- */

SCENARIO(credentials)
{
        uint64_t node;
        k->uid = 1234;
        (void)create(k, "f", O_RDWR, &node);
        const struct rpc_cred *cred = fake_last_cred(k->fake);
        assert_int_equal(cred->uid, 1234);
        assert_int_equal(cred->gid, 1234);
        assert_int_equal(cred->pid, getpid());
        assert_int_equal(cred->owner_len, 4);
        assert_int_equal(cred->flavour, RPC_AUTH_GLUSTERFS_V3);
        assert_int_equal(last_entry(k).attr.uid, 1234);
        assert_int_equal(last_entry(k).attr.mode, S_IFREG | 0644);
}

static void errors_scenario(struct kernel *k)
{
        uint64_t node, fh = create(k, "f", O_RDWR, &node);
        fake_fail_next(k->fake, FOP_WRITE, -ENOSPC);
        assert_int_equal(write_text(k, node, fh, 0, "x", 0), -ENOSPC);
        fake_fail_next(k->fake, FOP_LOOKUP, -ENOTCONN);
        assert_int_equal(ASK(k, FUSE_LOOKUP, FUSE_ROOT_ID, TEXT("f")), -ENOTCONN);
        fake_fail_next(k->fake, FOP_OPEN, -ENOENT);
        struct fuse_open_in in = {.flags = O_RDONLY};
        assert_int_equal(ASK(k, FUSE_OPEN, node, PART(in)), -ESTALE); /* the kernel looks the name up again */
        fake_fail_next(k->fake, FOP_FLUSH, -EIO);
        assert_int_equal(write_text(k, node, fh, 0, "x", 0), 0);
        assert_int_equal(flush(k, node, fh, 1), -EIO);
        struct fuse_mkdir_in mkdir_in = {.mode = 0777};
        fake_fail_next(k->fake, FOP_MKDIR, -EDQUOT);
        assert_int_equal(ASK(k, FUSE_MKDIR, node, PART(mkdir_in), TEXT("d")), -EDQUOT);
        fake_fail_next(k->fake, FOP_READDIRP, -EIO);
        uint64_t dir = open_directory(k);
        struct fuse_read_in read_in = {.fh = dir, .size = 4096};
        assert_int_equal(ASK(k, FUSE_READDIR, FUSE_ROOT_ID, PART(read_in)), -EIO);
        read_in.fh = fh;
        assert_int_equal(ASK(k, FUSE_READDIR, FUSE_ROOT_ID, PART(read_in)), -ENOTDIR);
}
static void test_errors(void **state)
{
        run(errors_scenario, NULL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_lookup),  cmocka_unit_test(test_replaced),    cmocka_unit_test(test_making),
                cmocka_unit_test(test_race),    cmocka_unit_test(test_rename),      cmocka_unit_test(test_files),
                cmocka_unit_test(test_handles), cmocka_unit_test(test_set_id),      cmocka_unit_test(test_attributes),
                cmocka_unit_test(test_space),   cmocka_unit_test(test_directory),   cmocka_unit_test(test_xattrs),
                cmocka_unit_test(test_locks),   cmocka_unit_test(test_interrupt),   cmocka_unit_test(test_invalidation),
                cmocka_unit_test(test_outage),  cmocka_unit_test(test_negative),    cmocka_unit_test(test_eviction),
                cmocka_unit_test(test_statfs),  cmocka_unit_test(test_credentials), cmocka_unit_test(test_errors),
                cmocka_unit_test(test_small),   cmocka_unit_test(test_stale),       cmocka_unit_test(test_belated),
                cmocka_unit_test(test_cached),  cmocka_unit_test(test_told),        cmocka_unit_test(test_tell_by_themselves),
                cmocka_unit_test(test_gone),    cmocka_unit_test(test_gone_changed), cmocka_unit_test(test_replaced_again),
                cmocka_unit_test(test_kept),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
