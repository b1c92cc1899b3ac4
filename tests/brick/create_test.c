/* MKDIR, MKNOD, SYMLINK, CREATE, LINK (spec: brick.md §4, §5, §8.2, §8.3, §8.6, §9, §15). */
#include "harness.h"

#include "brick/internal.h"
#include "counting_disk.h"

#include <sys/xattr.h>

static const struct gfid root = GFID_ROOT;

static int setup(void **state)
{
        struct harness *h = malloc(sizeof *h);
        harness_posix(h);
        *state = h;
        return 0;
}

static int teardown(void **state)
{
        harness_close(*state);
        free(*state);
        return 0;
}

static ssize_t attr_of(struct harness *h, const char *path, const char *name, void *buf, size_t size)
{
        return disk_getxattr(h->disk, AT_FDCWD, path, name, buf, size);
}

static int mknod_with(struct client *c, const struct gfid *parent, const char *name, mode_t mode, struct dict xdata,
                      struct mknod_fop_rep *rep)
{
        const struct mknod_fop_req req = {.pargfid = *parent, .mode = mode, .bname = str_of(name), .xdata = xdata};
        return CALL(c, MKNOD, &req, rep);
}

static int mkdir_with(struct client *c, const struct gfid *parent, const char *name, mode_t mode, uint32_t umask_,
                      struct dict xdata, struct mkdir_fop_rep *rep)
{
        const struct mkdir_fop_req req = {
                .pargfid = *parent, .mode = mode, .umask = umask_, .bname = str_of(name), .xdata = xdata};
        return CALL(c, MKDIR, &req, rep);
}

static void every_kind_of_object(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        static const mode_t types[] = {S_IFREG, S_IFIFO, S_IFSOCK, S_IFBLK, S_IFCHR};
        for (size_t k = 0; k < ELEMENTSOF(types); k++) {
                struct gfid g = harness_gfid(h);
                struct mknod_fop_rep rep;
                char name[8];
                snprintf(name, sizeof name, "n%zu", k);
                assert_int_equal(mknod_with(c, &root, name, types[k] | 0640, client_gfid_req(c, &g), &rep), 0);
                assert_int_equal(rep.stat.mode, types[k] | 0640);
                assert_int_equal(rep.stat.nlink, 1);
                assert_true(gfid_equal(&rep.stat.gfid, &g));
                assert_true(gfid_is_root(&rep.preparent.gfid) && gfid_is_root(&rep.postparent.gfid));
                struct iatt i;
                assert_int_equal(try_stat(c, &g, &i), 0);
                assert_memory_equal(&i, &rep.stat, sizeof i);
        }
        struct gfid g = harness_gfid(h);
        struct symlink_fop_rep rep;
        const struct symlink_fop_req req = {
                .pargfid = root, .bname = STR("link"), .linkname = STR("/some/where"), .xdata = client_gfid_req(c, &g)};
        assert_int_equal(CALL(c, SYMLINK, &req, &rep), 0);
        assert_int_equal(rep.stat.mode, S_IFLNK | 0777);
        char target[32];
        assert_int_equal(disk_readlink(h->disk, AT_FDCWD, on_disk(h, "link"), target, sizeof target), 11);
        assert_memory_equal(target, "/some/where", 11);
        struct mknod_fop_rep none;
        g = harness_gfid(h);
        assert_int_equal(mknod_with(c, &root, "dir", S_IFDIR | 0755, client_gfid_req(c, &g), &none), -EINVAL);
        client_close(c);
}

static void handles_find_their_directory(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid f = harness_gfid(h), g = harness_gfid(h);
        struct counting_disk count;
        int64_t fd;
        char text[GFID_TEXT_LEN + 1];
        h->brick->disk = counting_disk_init(&count, h->disk);
        assert_int_equal(try_create(c, &root, "f", O_RDWR, &f, &fd), 0);
        assert_int_equal(count.n.mkdir, 1); /* the second level */
        assert_int_equal(count.n.link, 2);
        h->brick->disk = h->disk;
        release(c, fd);
        g.b[0] ^= 1; /* away from the first one's handle */
        gfid_format(&g, text);
        const char *first = on_disk(h, ".glusterfs/%.2s", text);
        assert_int_equal(disk_unlink(h->disk, AT_FDCWD, first, AT_REMOVEDIR), 0);
        assert_int_equal(try_mknod(c, &root, "g", &g), 0);
        client_close(c);
}

/* A file system that is mounted with grpid. */
#define FOREIGN_GROUP 4242
static struct disk *plain;

static int with_group(int r, int dirfd, const char *path)
{
        return r < 0 || disk_chown(plain, dirfd, path, (uid_t)-1, FOREIGN_GROUP) == 0 ? r : -EIO;
}

static int grpid_mkdir(struct disk *d, int dirfd, const char *path, mode_t mode)
{
        return with_group(disk_mkdir(plain, dirfd, path, mode), dirfd, path);
}

static int grpid_mknod(struct disk *d, int dirfd, const char *path, mode_t mode, dev_t dev)
{
        return with_group(disk_mknod(plain, dirfd, path, mode, dev), dirfd, path);
}

static int grpid_open(struct disk *d, int dirfd, const char *path, int flags, mode_t mode)
{
        int fd = disk_open(plain, dirfd, path, flags, mode);
        return flags & O_CREAT ? with_group(fd, dirfd, path) : fd;
}

static void one_of_each(struct harness *h, struct client *c, gid_t gid)
{
        struct gfid d = harness_gfid(h), n = harness_gfid(h), f = harness_gfid(h);
        const struct gfid *const all[] = {&d, &n, &f};
        int64_t fd;
        c->cred.gid = gid;
        assert_int_equal(try_mkdir(c, &root, gid ? "theirs" : "ours", &d), 0);
        assert_int_equal(try_mknod(c, &d, "n", &n), 0);
        assert_int_equal(try_create(c, &d, "f", O_RDWR, &f, &fd), 0);
        for (size_t k = 0; k < ELEMENTSOF(all); k++) {
                struct iatt i;
                assert_int_equal(try_stat(c, all[k], &i), 0);
                assert_int_equal(i.uid, 0);
                assert_int_equal(i.gid, gid);
        }
        release(c, fd);
}

static void objects_belong_to_who_makes_them(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct disk_ops ops = *h->disk->ops;
        struct disk grpid = {.ops = &ops};
        ops.mkdir = grpid_mkdir;
        ops.mknod = grpid_mknod;
        ops.open = grpid_open;
        plain = h->disk;
        h->brick->disk = &grpid;
        one_of_each(h, c, 0);
        one_of_each(h, c, 1000);
        h->brick->disk = h->disk;
        client_close(c);
}

static void a_gfid_must_be_chosen(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct mkdir_fop_rep rep;
        struct gfid null = {0}, g = harness_gfid(h), top = GFID_ROOT;
        assert_int_equal(mkdir_with(c, &root, "d", 0755, 0, client_dict(c, NULL, 0), &rep), -EINVAL);
        assert_int_equal(try_mkdir(c, &root, "d", &null), -EINVAL);
        assert_int_equal(try_mkdir(c, &root, "d", &top), -EINVAL);
        c->cred.pid = PID_TRASH;
        assert_int_equal(mkdir_with(c, &root, "trash", 0755, 0, client_dict(c, NULL, 0), &rep), 0);
        assert_false(gfid_is_null(&rep.stat.gfid));
        c->cred.pid = 1;
        struct dict d = {0}; /* the form of old clients */
        assert_int_equal(dict_add_ptr(&d, &c->arena, "gfid-req", g.b, 16), 0);
        assert_int_equal(mkdir_with(c, &root, "old", 0755, 0, d, &rep), 0);
        assert_true(gfid_equal(&rep.stat.gfid, &g));
        client_close(c);
}

static void names_in_use(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid dir = make_dir(c, &root, "dir"), file = make_file(c, &root, "file"), g = harness_gfid(h);
        int64_t fd;
        assert_int_equal(try_mkdir(c, &root, "dir", &g), -EEXIST);
        assert_int_equal(try_mkdir(c, &root, "dir", &dir), -EEXIST);
        assert_int_equal(try_mkdir(c, &root, "file", &g), -EEXIST);
        assert_int_equal(try_mknod(c, &root, "file", &g), -EEXIST);
        assert_int_equal(try_link(c, &file, &root, "dir"), -EEXIST);
        assert_int_equal(try_create(c, &root, "file", O_RDWR | O_EXCL, &g, &fd), -EEXIST);
        assert_int_equal(try_create(c, &root, "dir", O_RDWR, &g, &fd), -EISDIR);
        client_close(c);
}

/* Whatever the client asks for, one gfid is one object. */
static void gfids_in_use(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid dir = make_dir(c, &root, "dir"), file = make_file(c, &root, "file");
        int64_t fd;
        assert_int_equal(try_mknod(c, &root, "x", &file), -EEXIST);
        assert_int_equal(try_mknod(c, &root, "x", &dir), -EEXIST);
        assert_int_equal(try_create(c, &root, "x", O_RDWR, &file, &fd), -EEXIST);
        assert_int_equal(try_mkdir(c, &root, "x", &file), -EEXIST);
        assert_false(exists_on_disk(h, on_disk(h, "x")));
        assert_int_equal(try_stat(c, &file, NULL), 0);
        assert_int_equal(try_stat(c, &dir, NULL), 0);
        client_close(c);
}

/* Self-heal replays the rename of a directory as a creation elsewhere, then removes the old place. */
static void a_directory_takes_its_gfid_along(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid a = make_dir(c, &root, "a"), dir = make_dir(c, &root, "dir");
        assert_int_equal(try_lookup(c, &dir, "x", NULL), -ENOENT);
        assert_int_equal(try_mkdir(c, &a, "moved", &dir), 0);
        make_file(c, &dir, "in-new-place");
        assert_true(exists_on_disk(h, on_disk(h, "a/moved/in-new-place")));
        assert_int_equal(try_lookup(c, &root, "dir", NULL), 0); /* does not turn the handle back */
        assert_int_equal(try_rmdir(c, &root, "dir"), 0);
        assert_int_equal(try_lookup(c, &dir, "in-new-place", NULL), 0);
        assert_true(exists_on_disk(h, handle_on_disk(h, &dir)));
        client_close(c);
}

static void attributes_are_born_with_the_object(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid g = harness_gfid(h);
        struct mknod_fop_rep rep;
        char buf[64];
        struct dict d = client_gfid_req(c, &g);
        struct arena *a = &c->arena;
        dict_add_str(&d, a, "trusted.glusterfs.dht.linkto", "vol-client-1");
        dict_add_ptr(&d, a, "foreign.key", "x", 1);
        dict_add_ptr(&d, a, "trusted.client.mark", "\0\0\0\0\0\0\0\1\0\0\0\0", 12);
        dict_add_uint(&d, a, "glusterfs.inodelk-count", 0);
        dict_add_ptr(&d, a, "trusted.gfid", "0123456789abcdef", 16);
        dict_add_ptr(&d, a, "trusted.glusterfs.volume-id", "0123456789abcdef", 16);
        dict_add_ptr(&d, a, "user.mine", "value", 5);
        assert_int_equal(mknod_with(c, &root, "f", S_IFREG | 01000, d, &rep), 0);
        assert_int_equal(rep.stat.mode, S_IFREG | 01000);
        const char *f = on_disk(h, "f");
        assert_int_equal(attr_of(h, f, "trusted.glusterfs.dht.linkto", buf, sizeof buf), 13);
        assert_memory_equal(buf, "vol-client-1", 13);
        assert_int_equal(attr_of(h, f, "trusted.client.mark", buf, sizeof buf), 12);
        assert_int_equal(attr_of(h, f, "user.mine", buf, sizeof buf), 5);
        assert_int_equal(attr_of(h, f, "trusted.glusterfs.volume-id", buf, sizeof buf), -ENODATA);
        assert_int_equal(attr_of(h, f, "trusted.gfid", buf, sizeof buf), 16);
        assert_memory_equal(buf, g.b, 16);
        assert_int_equal(listxattr(f, NULL, 0) > 0, true);
        client_close(c);
}

/* What the new object's attributes are must be the same from our memory and from the disk. */
static void the_answer_to_a_lookup_after_creation(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid g = harness_gfid(h);
        struct mknod_fop_rep made;
        struct lookup_fop_rep seen[2];
        c->cred.flags = 0x1f;
        struct dict d = client_gfid_req(c, &g);
        dict_add_ptr(&d, &c->arena, "trusted.client.mark", "123456789012", 12);
        assert_int_equal(mknod_with(c, &root, "f", S_IFREG | 0600, d, &made), 0);
        for (int k = 0; k < 2; k++) {
                const struct lookup_fop_req req = {
                        .pargfid = root, .bname = STR("f"), .xdata = client_dict(c, "trusted.*", 0)};
                assert_int_equal(CALL(c, LOOKUP, &req, &seen[k]), 0);
                assert_memory_equal(&seen[k].prestat, &made.stat, sizeof made.stat);
                assert_int_equal(seen[k].xdata.count, 4); /* gfid, gfid2path, mdata, afr */
                struct slice v;
                assert_int_equal(dict_get_bytes(&seen[k].xdata, "trusted.client.mark", &v), 0);
                assert_memory_equal(v.data, "123456789012", 12);
                if (k == 0) {
                        client_close(c);
                        harness_reopen(h);
                        c = client_open(h);
                }
        }
        client_close(c);
}

static void names_are_recorded(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid docs = {.b = {0x0a, 0xc9, 0xc2, 0x68, 0x86, 0x45, 0x4a, 0x3c, 0xa4, 0x64, 0x97, 0x2b, 0x9b, 0xa8,
                                  0x76, 0x77}};
        char buf[300];
        assert_int_equal(try_mkdir(c, &root, "docs", &docs), 0);
        make_file(c, &docs, "a.txt");
        /* the example of brick.md §2.4 */
        ssize_t n = attr_of(h, on_disk(h, "docs/a.txt"), "trusted.gfid2path.008fd96ad8b4256c", buf, sizeof buf);
        assert_int_equal(n, 42);
        assert_memory_equal(buf, "0ac9c268-8645-4a3c-a464-972b9ba87677/a.txt", 42);
        ssize_t len = disk_readlink(h->disk, AT_FDCWD, handle_on_disk(h, &docs), buf, sizeof buf);
        buf[len] = '\0';
        assert_string_equal(buf, "../../00/00/00000000-0000-0000-0000-000000000001/docs");
        client_close(c);
}

static void parents_are_counted_if_wanted(void **state)
{
        struct harness *h = *state;
        uint8_t v[8];
        const char *key = "trusted.pgfid.00000000-0000-0000-0000-000000000001";
        h->options.build_pgfid = true;
        harness_reopen(h);
        struct client *c = client_open(h);
        struct gfid f = make_file(c, &root, "f"), dir = make_dir(c, &root, "d");
        assert_int_equal(attr_of(h, on_disk(h, "f"), key, v, sizeof v), 4);
        assert_memory_equal(v, "\0\0\0\1", 4);
        assert_int_equal(try_link(c, &f, &root, "g"), 0);
        assert_int_equal(attr_of(h, on_disk(h, "f"), key, v, sizeof v), 4);
        assert_memory_equal(v, "\0\0\0\2", 4);
        assert_int_equal(try_rename(c, &root, "g", &dir, "g"), 0);
        assert_int_equal(attr_of(h, on_disk(h, "f"), key, v, sizeof v), 4);
        assert_memory_equal(v, "\0\0\0\1", 4);
        assert_int_equal(try_unlink(c, &root, "f"), 0);
        assert_int_equal(attr_of(h, on_disk(h, "d/g"), key, v, sizeof v), -ENODATA);
        harness_next_tick();
        assert_int_equal(disk_removexattr(h->disk, AT_FDCWD, on_disk(h, "d/g"),
                                          "trusted.pgfid.ab4a0000-0000-4000-8000-000000000002"), 0);
        assert_int_equal(try_lookup(c, &dir, "g", NULL), 0);
        assert_int_equal(attr_of(h, on_disk(h, "d/g"), "trusted.pgfid.ab4a0000-0000-4000-8000-000000000002", v, 8), 4);
        client_close(c);
}

static void owners_modes_and_masks(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct mkdir_fop_rep rep;
        struct gfid g = harness_gfid(h);
        assert_int_equal(mkdir_with(c, &root, "open", 01777, 0, client_gfid_req(c, &g), &rep), 0);
        assert_int_equal(rep.stat.mode, S_IFDIR | 01777);
        struct gfid open = g;
        c->cred.uid = 1000;
        c->cred.gid = 1001;
        g = harness_gfid(h);
        assert_int_equal(mkdir_with(c, &open, "mine", 0777, 022, client_gfid_req(c, &g), &rep), 0);
        assert_int_equal(rep.stat.mode, S_IFDIR | 0755);
        assert_int_equal(rep.stat.uid, 1000);
        assert_int_equal(rep.stat.gid, 1001);
        g = harness_gfid(h);
        assert_int_equal(try_mkdir(c, &root, "forbidden", &g), -EACCES);
        struct mknod_fop_rep node;
        assert_int_equal(mknod_with(c, &open, "suid", S_IFREG | 06755, client_gfid_req(c, &g), &node), 0);
        assert_int_equal(node.stat.mode, S_IFREG | 06755); /* chown takes these bits away; they come back */
        assert_int_equal(node.stat.uid, 1000);
        client_close(c);

        h->options.create_mask = 0770;
        h->options.force_create_mode = 0002;
        h->options.force_directory_mode = 0005;
        harness_reopen(h);
        c = client_open(h);
        g = harness_gfid(h);
        assert_int_equal(mknod_with(c, &root, "masked", S_IFREG | 0644, client_gfid_req(c, &g), &node), 0);
        assert_int_equal(node.stat.mode, S_IFREG | 0642);
        g = harness_gfid(h);
        assert_int_equal(mkdir_with(c, &root, "forced", 0700, 0, client_gfid_req(c, &g), &rep), 0);
        assert_int_equal(rep.stat.mode, S_IFDIR | 0705);
        client_close(c);
}

static void set_gid_directories(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct mkdir_fop_rep rep;
        struct mknod_fop_rep node;
        struct gfid dir = make_dir(c, &root, "dir"), g = harness_gfid(h);
        assert_int_equal(chown(on_disk(h, "dir"), 0, 77), 0);
        assert_int_equal(chmod(on_disk(h, "dir"), 02777), 0);
        c->cred.uid = c->cred.gid = 1000;
        assert_int_equal(mkdir_with(c, &dir, "sub", 0755, 0, client_gfid_req(c, &g), &rep), 0);
        assert_int_equal(rep.stat.mode, S_IFDIR | 02755);
        assert_int_equal(rep.stat.gid, 77);
        g = harness_gfid(h);
        assert_int_equal(mknod_with(c, &dir, "f", S_IFREG | 0644, client_gfid_req(c, &g), &node), 0);
        assert_int_equal(node.stat.gid, 77);
        assert_int_equal(node.stat.uid, 1000);
        c->cred.uid = c->cred.gid = 0;
        g = harness_gfid(h);
        assert_int_equal(mkdir_with(c, &root, "asked", 02755, 0, client_gfid_req(c, &g), &rep), 0);
        assert_int_equal(rep.stat.mode, S_IFDIR | 0755); /* as mkdir(2) does */
        client_close(c);
}

/* u::rwx,u:1000:rwx,g::r-x,m::rwx,o::--- */
static const uint8_t default_acl[] = {2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 7, 0, 0xe8, 3, 0, 0,
                                      4, 0, 5, 0, 255, 255, 255, 255, 16, 0, 7, 0, 255, 255, 255, 255,
                                      32, 0, 0, 0, 255, 255, 255, 255};

static void default_acls_are_inherited(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid dir = make_dir(c, &root, "dir"), g = harness_gfid(h);
        uint8_t acl[64];
        harness_next_tick();
        if (setxattr(on_disk(h, "dir"), "system.posix_acl_default", default_acl, sizeof default_acl, 0) < 0) {
                client_close(c);
                skip();
        }
        struct mknod_fop_rep rep;
        const struct mknod_fop_req req = {.pargfid = dir, .mode = S_IFREG | 0666, .umask = 077, .bname = STR("f"),
                                          .xdata = client_gfid_req(c, &g)};
        assert_int_equal(CALL(c, MKNOD, &req, &rep), 0);
        assert_int_equal(rep.stat.mode, S_IFREG | 0660);
        assert_int_equal(attr_of(h, on_disk(h, "dir/f"), "system.posix_acl_access", acl, sizeof acl),
                         (ssize_t)sizeof default_acl);
        struct mkdir_fop_rep sub;
        g = harness_gfid(h);
        assert_int_equal(mkdir_with(c, &dir, "sub", 0700, 0, client_gfid_req(c, &g), &sub), 0);
        assert_int_equal(attr_of(h, on_disk(h, "dir/sub"), "system.posix_acl_default", acl, sizeof acl),
                         (ssize_t)sizeof default_acl);
        client_close(c);
}

/* ---- times --------------------------------------------------------------------------------------------------------- */

static void times_come_from_the_client(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid g = harness_gfid(h);
        struct mkdir_fop_rep rep;
        uint8_t raw[64];
        c->cred.flags = 0x1f;
        c->cred.time = (struct iatt_time){.sec = 981173106, .nsec = 123456789};
        assert_int_equal(mkdir_with(c, &root, "d", 0755, 0, client_gfid_req(c, &g), &rep), 0);
        assert_int_equal(rep.stat.mtime.sec, 981173106);
        assert_int_equal(rep.stat.mtime.nsec, 123456789);
        assert_int_equal(rep.stat.ctime.sec, 981173106);
        assert_int_equal(rep.postparent.mtime.sec, 981173106); /* the root had none: all three are set */
        assert_int_equal(rep.postparent.atime.sec, 981173106);
        assert_int_equal(attr_of(h, on_disk(h, "d"), "trusted.glusterfs.mdata", raw, sizeof raw), 57);
        static const uint8_t want[] = {1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x3a, 0x7b, 0x83, 0x72, 0, 0, 0, 0,
                                       0x07, 0x5b, 0xcd, 0x15};
        assert_memory_equal(raw, want, sizeof want);

        c->cred.time.sec = 900000000; /* never backwards */
        g = harness_gfid(h);
        assert_int_equal(mkdir_with(c, &root, "e", 0755, 0, client_gfid_req(c, &g), &rep), 0);
        assert_int_equal(rep.stat.mtime.sec, 900000000);
        assert_int_equal(rep.postparent.mtime.sec, 981173106);

        c->cred.flags = 0; /* a client without the feature */
        g = harness_gfid(h);
        assert_int_equal(mkdir_with(c, &root, "f", 0755, 0, client_gfid_req(c, &g), &rep), 0);
        assert_true(rep.stat.mtime.sec > 1700000000);
        assert_int_equal(attr_of(h, on_disk(h, "f"), "trusted.glusterfs.mdata", raw, sizeof raw), -ENODATA);
        client_close(c);
}

static void times_sent_along_are_merged(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid g = harness_gfid(h);
        struct mkdir_fop_rep rep;
        uint8_t raw[57] = {1, [9 + 6] = 0x20, [25 + 4] = 0x7f, [41 + 5] = 0x10};
        c->cred.flags = 0x1f;
        c->cred.time = (struct iatt_time){.sec = 1000000000};
        struct dict d = client_gfid_req(c, &g);
        dict_add_ptr(&d, &c->arena, "trusted.glusterfs.mdata", raw, sizeof raw);
        assert_int_equal(mkdir_with(c, &root, "d", 0755, 0, d, &rep), 0);
        assert_int_equal(rep.stat.ctime.sec, 1000000000);
        assert_int_equal(rep.stat.mtime.sec, 0x7f000000);
        client_close(c);
}

/* ---- layout check, link files, reserve ------------------------------------------------------------------------------ */

static void a_changed_layout_is_refused(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        static const char key[] = "trusted.glusterfs.dht";
        struct mkdir_fop_rep rep;
        struct create_fop_rep created;
        for (int round = 0; round < 3; round++) { /* no layout, another one, the same one */
                struct gfid g = harness_gfid(h);
                struct dict d = client_gfid_req(c, &g);
                dict_add_str(&d, &c->arena, "glusterfs.preop.parent.key", key);
                dict_add_ptr(&d, &c->arena, key, round < 2 ? "layout-A" : "layout-B", 8);
                int want = round == 0 ? -ENODATA : round == 1 ? -EIO : 0;
                assert_int_equal(mkdir_with(c, &root, "d", 0755, 0, d, &rep), want);
                assert_int_equal(dict_has(&rep.xdata, "glusterfs.preop.check.failed"), round == 1);

                g = harness_gfid(h);
                d = client_gfid_req(c, &g);
                dict_add_str(&d, &c->arena, "glusterfs.preop.parent.key", key);
                dict_add_ptr(&d, &c->arena, key, round < 2 ? "layout-A" : "layout-B", 8);
                const struct create_fop_req req = {.pargfid = root, .flags = O_RDWR, .mode = 0644, .bname = STR("f"),
                                                   .xdata = d};
                assert_int_equal(CALL(c, CREATE, &req, &created), round < 2 ? -EIO : 0);
                assert_int_equal(dict_has(&created.xdata, "glusterfs.preop.check.failed"), round < 2);
                assert_false(dict_has(&created.xdata, key));
                assert_int_equal(setxattr(h->path, key, "layout-B", 8, 0), 0);
        }
        char buf[16];
        assert_int_equal(attr_of(h, on_disk(h, "d"), key, buf, sizeof buf), -ENODATA); /* consumed */
        client_close(c);
}

static void a_known_gfid_is_linked_for_internal_clients(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid f = make_file(c, &root, "f"), dir = make_dir(c, &root, "d");
        struct mknod_fop_rep rep;
        struct dict d = client_gfid_req(c, &f);
        dict_add_str(&d, &c->arena, "glusterfs-internal-fop", "yes");
        assert_int_equal(mknod_with(c, &root, "g", S_IFREG | 01000, d, &rep), 0);
        assert_true(gfid_equal(&rep.stat.gfid, &f));
        assert_int_equal(rep.stat.nlink, 2);
        d = client_gfid_req(c, &dir);
        dict_add_str(&d, &c->arena, "glusterfs-internal-fop", "yes");
        assert_int_equal(mknod_with(c, &root, "h", S_IFREG | 01000, d, &rep), -EEXIST);
        client_close(c);
}

static void link_files_make_way(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct mknod_fop_rep rep;
        struct gfid old = harness_gfid(h), g = harness_gfid(h), source = make_file(c, &root, "source");
        assert_int_equal(mknod_with(c, &root, "f", S_IFREG | 01000, client_gfid_req(c, &old), &rep), 0);
        assert_int_equal(try_mknod(c, &root, "f", &g), -EEXIST);
        struct dict d = client_gfid_req(c, &g);
        dict_add_str(&d, &c->arena, "force-replace", "yes");
        assert_int_equal(mknod_with(c, &root, "f", S_IFREG | 0644, d, &rep), 0);
        assert_true(gfid_equal(&rep.stat.gfid, &g));
        assert_int_equal(try_stat(c, &old, NULL), -ESTALE);
        d = client_gfid_req(c, &old);
        dict_add_str(&d, &c->arena, "force-replace", "yes");
        assert_int_equal(mknod_with(c, &root, "f", S_IFREG | 0644, d, &rep), -EEXIST); /* a real file does not */

        assert_int_equal(mknod_with(c, &root, "l", S_IFREG | 01000, client_gfid_req(c, &old), &rep), 0);
        struct link_fop_rep linked;
        d = client_dict(c, "force-replace", 1);
        const struct link_fop_req req = {.oldgfid = source, .newgfid = root, .newbname = STR("l"), .xdata = d};
        assert_int_equal(CALL(c, LINK, &req, &linked), 0);
        assert_true(gfid_equal(&linked.stat.gfid, &source));

        assert_int_equal(mknod_with(c, &root, "l2", S_IFREG | 01000, client_gfid_req(c, &old), &rep), 0);
        struct link_fop_req self = {.oldgfid = old, .newgfid = root, .newbname = STR("l2")};
        self.xdata = client_dict(c, "force-replace", 1);
        assert_int_equal(CALL(c, LINK, &self, &linked), -EEXIST); /* its own name makes no way */
        assert_int_equal(try_lookup(c, &root, "l2", NULL), 0);
        assert_int_equal(try_stat(c, &old, NULL), 0);
        d = client_gfid_req(c, &old);
        dict_add_str(&d, &c->arena, "force-replace", "yes");
        dict_add_str(&d, &c->arena, "glusterfs-internal-fop", "yes");
        assert_int_equal(mknod_with(c, &root, "l2", S_IFREG | 01000, d, &rep), -EEXIST);
        assert_int_equal(try_lookup(c, &root, "l2", NULL), 0);
        client_close(c);
}

static void nothing_is_made_when_space_is_short(void **state)
{
        struct harness *h = *state;
        h->options.reserve = (struct brick_reserve){.is_bytes = true, .bytes = 1ull << 60};
        harness_reopen(h);
        struct client *c = client_open(h);
        struct gfid g = harness_gfid(h);
        struct mkdir_fop_rep rep;
        assert_int_equal(try_mkdir(c, &root, "d", &g), -ENOSPC);
        assert_int_equal(try_mknod(c, &root, "d", &g), -ENOSPC);
        struct dict d = client_gfid_req(c, &g);
        dict_add_str(&d, &c->arena, "glusterfs-internal-fop", "yes");
        assert_int_equal(mkdir_with(c, &root, "d", 0755, 0, d, &rep), 0);
        c->cred.pid = PID_SELF_HEAL;
        g = harness_gfid(h);
        assert_int_equal(try_mknod(c, &root, "f", &g), 0);
        c->cred.pid = 0;
        assert_int_equal(try_link(c, &g, &root, "g"), -ENOSPC);
        assert_int_equal(try_unlink(c, &root, "f"), 0);
        client_close(c);
}

static void a_read_only_volume_stays_as_it_is(void **state)
{
        struct harness *h = *state;
        h->options.read_only = true;
        harness_reopen(h);
        struct client *c = client_open(h);
        struct gfid g = harness_gfid(h);
        assert_int_equal(try_mkdir(c, &root, "d", &g), -EROFS);
        assert_int_equal(try_unlink(c, &root, "d"), -EROFS);
        assert_int_equal(try_rename(c, &root, "d", &root, "e"), -EROFS);
        c->cred.pid = PID_SELF_HEAL;
        assert_int_equal(try_mkdir(c, &root, "d", &g), 0);
        client_close(c);
}

/* ---- CREATE -------------------------------------------------------------------------------------------------------- */

static void create_opens_what_it_makes(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct gfid g = harness_gfid(h), other = harness_gfid(h);
        int64_t fd, second;
        assert_int_equal(try_create(c, &root, "f", O_WRONLY | O_TRUNC, &g, &fd), 0);
        struct fstat_fop_rep rep;
        const struct fstat_fop_req req = {.gfid = g, .fd = fd};
        assert_int_equal(CALL(c, FSTAT, &req, &rep), 0);
        assert_true(gfid_equal(&rep.stat.gfid, &g));
        assert_int_equal(try_create(c, &root, "f", O_RDWR, &other, &second), 0); /* opened */
        assert_int_not_equal(fd, second);
        struct iatt i;
        assert_int_equal(try_lookup(c, &root, "f", &i), 0);
        assert_true(gfid_equal(&i.gfid, &g));
        assert_int_equal(try_create(c, &root, "f", 0, &other, &second), -EEXIST); /* flags 0 mean O_EXCL */
        assert_int_equal(try_create(c, &root, "g", 3, &other, &second), -EINVAL);
        release(c, fd);
        client_close(c); /* with a descriptor open */
        struct brick_stats s;
        brick_get_stats(h->brick, &s);
        assert_int_equal(s.fds, 0);
        assert_int_equal(s.sessions, 0);
        assert_int_equal(s.by_fop[FOP_CREATE], 4);
}

static void create_sends_the_keys_back(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        const struct gfid g = harness_gfid(h);
        static const uint8_t zeros[16];
        struct dict d = client_gfid_req(c, &g);
        dict_add_ptr(&d, &c->arena, "trusted.ec.version", zeros, sizeof zeros);
        dict_add_int(&d, &c->arena, "umask", 022);
        dict_add_str(&d, &c->arena, "glusterfs.inodelk-dom-count", "v-disperse-0");
        const struct create_fop_req req = {.pargfid = root, .flags = O_RDWR, .mode = 0644, .bname = STR("f"), .xdata = d};
        for (int round = 0; round < 2; round++) { /* made, opened */
                struct create_fop_rep rep;
                struct slice version;
                assert_int_equal(CALL(c, CREATE, &req, &rep), 0);
                assert_int_equal(rep.xdata.count, 3);
                assert_int_equal(dict_get(&rep.xdata, "gfid-req")->type, DICT_GFUUID);
                assert_int_equal(dict_get_bytes(&rep.xdata, "trusted.ec.version", &version), 0);
                assert_int_equal(version.len, sizeof zeros);
                assert_true(dict_has(&rep.xdata, "glusterfs.inodelk-count"));
                release(c, (int64_t)rep.fd);
        }
        client_close(c);
}

/* ---- LINK ---------------------------------------------------------------------------------------------------------- */

static int fails_at; /* the how manyth stat of a descriptor fails */

static int failing_stat(struct disk *d, int dirfd, const char *path, struct stat *ret)
{
        return !path[0] && --fails_at == 0 ? -EIO : disk_stat(plain, dirfd, path, ret);
}

static void a_failed_create_leaves_no_descriptor(void **state)
{
        struct harness *h = *state;
        struct client *c = client_open(h);
        struct disk_ops ops = *h->disk->ops;
        struct disk failing = {.ops = &ops};
        struct brick_stats stats;
        bool done = false;
        ops.stat = failing_stat;
        plain = h->disk;
        for (int at = 1; !done; at++) {
                struct gfid g = harness_gfid(h);
                int64_t fd;
                h->brick->disk = &failing;
                fails_at = at;
                done = try_create(c, &root, "f", O_RDWR | O_EXCL, &g, &fd) == 0;
                h->brick->disk = h->disk;
                brick_get_stats(h->brick, &stats);
                assert_int_equal(stats.fds, done);
                if (done)
                        release(c, fd);
                int r = try_unlink(c, &root, "f"); /* one that failed at its end is there */
                assert_true(r == 0 || r == -ENOENT);
        }
        client_close(c);
}

static void links_are_counted_and_limited(void **state)
{
        struct harness *h = *state;
        h->options.max_hardlinks = 3;
        harness_reopen(h);
        struct client *c = client_open(h);
        struct gfid f = make_file(c, &root, "f"), dir = make_dir(c, &root, "d");
        struct link_fop_rep rep;
        const struct link_fop_req req = {.oldgfid = f, .newgfid = dir, .newbname = STR("g")};
        assert_int_equal(CALL(c, LINK, &req, &rep), 0);
        assert_int_equal(rep.stat.nlink, 2);
        assert_true(gfid_equal(&rep.postparent.gfid, &dir));
        assert_int_equal(try_link(c, &f, &root, "h"), 0);
        assert_int_equal(try_link(c, &f, &root, "i"), -EMLINK);
        assert_int_equal(try_link(c, &dir, &root, "i"), -EPERM);
        assert_int_equal(try_unlink(c, &root, "h"), 0);
        assert_int_equal(try_link(c, &f, &root, "i"), 0);
        struct gfid s = harness_gfid(h);
        struct symlink_fop_rep made;
        const struct symlink_fop_req sym = {
                .pargfid = root, .bname = STR("sym"), .linkname = STR("f"), .xdata = client_gfid_req(c, &s)};
        assert_int_equal(CALL(c, SYMLINK, &sym, &made), 0);
        assert_int_equal(try_link(c, &s, &root, "sym2"), 0); /* the link, not what it points to */
        struct iatt i;
        assert_int_equal(try_lookup(c, &root, "sym2", &i), 0);
        assert_true(S_ISLNK(i.mode));
        client_close(c);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(every_kind_of_object),
                TEST(handles_find_their_directory),
                TEST(objects_belong_to_who_makes_them),
                TEST(a_gfid_must_be_chosen),
                TEST(names_in_use),
                TEST(gfids_in_use),
                TEST(a_directory_takes_its_gfid_along),
                TEST(attributes_are_born_with_the_object),
                TEST(the_answer_to_a_lookup_after_creation),
                TEST(names_are_recorded),
                TEST(parents_are_counted_if_wanted),
                TEST(owners_modes_and_masks),
                TEST(set_gid_directories),
                TEST(default_acls_are_inherited),
                TEST(times_come_from_the_client),
                TEST(times_sent_along_are_merged),
                TEST(a_changed_layout_is_refused),
                TEST(a_known_gfid_is_linked_for_internal_clients),
                TEST(link_files_make_way),
                TEST(nothing_is_made_when_space_is_short),
                TEST(a_read_only_volume_stays_as_it_is),
                TEST(create_opens_what_it_makes),
                TEST(create_sends_the_keys_back),
                TEST(a_failed_create_leaves_no_descriptor),
                TEST(links_are_counted_and_limited),
        };
        return cmocka_run_group_tests_name("brick/create", tests, NULL, NULL);
}
