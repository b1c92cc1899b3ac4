/* Attributes: set, get, remove, arithmetic, what is virtual, hidden or protected, what requests ask by keys; the
 * observed facts of brick.md §9–§11. */
#include <stdio.h>
#include <sys/xattr.h>

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

/* ---- calls ----------------------------------------------------------------------------------------------------- */

static struct dict one(const char *name, const void *value, uint32_t len)
{
        struct dict d = {0};
        assert_int_equal(dict_add_ptr(&d, &fx.arena, name, value, len), 0);
        return d;
}

static int set_dict(struct gfid g, struct dict d, uint32_t flags)
{
        struct setxattr_fop_rep rep;
        return CALL(&fx, SETXATTR, setxattr, &rep, .gfid = g, .flags = flags, .dict = d);
}

static int set(struct gfid g, const char *name, const char *value)
{
        return set_dict(g, one(name, value, (uint32_t)strlen(value)), 0);
}

static int fset(struct gfid g, int64_t fd, const char *name, const void *value, uint32_t len)
{
        struct fsetxattr_fop_rep rep;
        return CALL(&fx, FSETXATTR, fsetxattr, &rep, .gfid = g, .fd = fd, .dict = one(name, value, len));
}

static int get(struct gfid g, const char *name, struct dict *ret)
{
        struct getxattr_fop_rep rep;
        int r = CALL(&fx, GETXATTR, getxattr, &rep, .gfid = g, .namelen = name[0] != '\0', .name = str_of(name));
        *ret = rep.dict;
        return r;
}

static int fget(struct gfid g, int64_t fd, const char *name, struct dict *ret)
{
        struct fgetxattr_fop_rep rep;
        int r = CALL(&fx, FGETXATTR, fgetxattr, &rep, .gfid = g, .fd = fd, .namelen = name[0] != '\0',
                     .name = str_of(name));
        *ret = rep.dict;
        return r;
}

static int removal(struct gfid g, const char *name)
{
        struct removexattr_fop_rep rep;
        return CALL(&fx, REMOVEXATTR, removexattr, &rep, .gfid = g, .name = str_of(name));
}

static void assert_value(const struct dict *d, const char *name, const void *value, uint32_t len)
{
        struct slice v;
        assert_int_equal(dict_get_bytes(d, name, &v), 0);
        assert_int_equal(v.len, len);
        assert_memory_equal(v.data, value, len);
}

/* The virtual NAME answers TEXT with its NUL. */
static void assert_text(struct gfid g, const char *name, const char *text)
{
        struct dict d;
        assert_int_equal(get(g, name, &d), 0);
        assert_value(&d, name, text, (uint32_t)strlen(text) + 1);
}

static int get_result(struct gfid g, const char *name)
{
        struct dict d;
        return get(g, name, &d);
}

static ssize_t on_disk(const char *file, const char *name, void *buf, size_t size)
{
        char path[256];
        snprintf(path, sizeof path, "%s/%s", fx.path, file);
        return lgetxattr(path, name, buf, size);
}

/* ---- SETXATTR -------------------------------------------------------------------------------------------------- */

static void set_and_answer(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        fixture_time(&fx, TIMES_CTIME, 4000000000, 9);
        assert_int_equal(set(f, "user.a", "value"), 0);
        static const char *const keys[] = {"dht-get-iatt-in-xattr", "virt-gf-prestat", "virt-gf-poststat"};
        for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
                const struct dict_value *v = dict_get(&fx.reply, keys[i]);
                assert_non_null(v);
                assert_int_equal(v->type, DICT_IATT);
                assert_true(gfid_equal(&v->iatt->gfid, &f));
                assert_int_equal(v->iatt->ctime.sec == 4000000000, i != 1);
        }
        char buf[16];
        assert_int_equal(on_disk("f", "user.a", buf, sizeof buf), 5);

        struct dict many = {0};
        assert_int_equal(dict_add_str(&many, &fx.arena, "user.str", "abc"), 0);
        assert_int_equal(dict_add_int(&many, &fx.arena, "user.int", 42), 0);
        assert_int_equal(set_dict(f, many, 0), 0);
        assert_int_equal(on_disk("f", "user.str", buf, sizeof buf), 4); /* with its NUL (observed) */
        assert_int_equal(on_disk("f", "user.int", buf, sizeof buf), 3);
        assert_memory_equal(buf, "42", 3);

        assert_int_equal(set_dict(f, one("user.a", "x", 1), XATTR_CREATE), -EEXIST);
        assert_int_equal(set_dict(f, one("user.b", "x", 1), XATTR_REPLACE), -ENODATA);
        assert_int_equal(set_dict(f, one("user.a", "x", 1), XATTR_REPLACE), 0);
        assert_int_equal(set_dict(f, one("user.b", "x", 1), XATTR_CREATE), 0);
        assert_int_equal(set_dict(f, one("user.b", "x", 1), 4), -EINVAL);
        assert_int_equal(set(fixture_new_gfid(), "user.a", "x"), -ESTALE);
}

static void names_with_a_meaning(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        int64_t fd = fixture_fd(&fx, f, O_RDWR);
        uint8_t gfid[16];
        assert_int_equal(set(f, "trusted.gfid", "0123456789abcdef"), 0); /* dropped (observed) */
        assert_int_equal(on_disk("f", "trusted.gfid", gfid, 16), 16);
        assert_memory_equal(gfid, f.b, 16);
        assert_int_equal(set(f, "trusted.glusterfs.volume-id", "0123456789abcdef"), 0);
        assert_int_equal(on_disk("f", "trusted.glusterfs.volume-id", gfid, 16), -1);
        assert_int_equal(set(f, "trusted.io-stats-dump", "/tmp/x"), 0);
        assert_int_equal(set(f, "glusterfs.internal-ctx", "x"), 0);
        assert_int_equal(set(f, "trusted.glusterfs.pathinfo", "x"), -EACCES);
        assert_int_equal(set(f, "glusterfs.pathinfo", "x"), -EACCES);
        assert_int_equal(set(f, "trusted.gfid2path.0123456789abcdef", "x"), -ENOTSUP);
        assert_int_equal(set(f, "trusted.bit-rot.signature", "x"), -EINVAL);
        assert_int_equal(set(f, "trusted.glusterfs.set-signature", "x"), -EINVAL);
        assert_int_equal(set(f, "nonsense", "x"), -ENOTSUP);
        assert_int_equal(set(f, "glusterfs.whatever", "x"), -ENOTSUP);
        assert_int_equal(fset(f, fd, "trusted.gfid", "0123456789abcdef", 16), 0);
        assert_int_equal(fset(f, fd, "trusted.glusterfs.lockinfo", "x", 1), -EINVAL);

        assert_int_equal(set(f, "security.selinux", "label"), 0); /* observed */
        assert_int_equal(on_disk("f", "trusted.glusterfs.selinux", gfid, 16), 5);
        struct dict d;
        assert_int_equal(get(f, "security.selinux", &d), 0);
        assert_value(&d, "security.selinux", "label", 5);
        assert_int_equal(removal(f, "security.selinux"), 0);
        assert_int_equal(get_result(f, "security.selinux"), -ENODATA);

        struct dict two = one("user.first", "1", 1); /* the first failure ends it, names before stay */
        assert_int_equal(dict_add_ptr(&two, &fx.arena, "nonsense", "2", 1), 0);
        assert_int_equal(dict_add_ptr(&two, &fx.arena, "user.third", "3", 1), 0);
        assert_int_equal(set_dict(f, two, 0), -ENOTSUP);
        assert_int_equal(on_disk("f", "user.first", gfid, 16), 1);
        assert_int_equal(on_disk("f", "user.third", gfid, 16), -1);
}

static void set_permissions(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        int64_t fd = fixture_fd(&fx, f, O_RDWR);
        fixture_be(&fx, 1000, 1000, 1000);
        assert_int_equal(set(f, "user.a", "x"), -EACCES);
        assert_int_equal(set(f, "glusterfs.posix.acl", "u::rw-,g::r--,o::r--"), -EPERM);
        assert_int_equal(set(f, "system.posix_acl_access", "x"), -EPERM);
        assert_int_equal(removal(f, "user.a"), -EACCES);
        assert_int_equal(removal(f, "system.posix_acl_access"), -EPERM);
        assert_int_equal(fset(f, fd, "user.a", "x", 1), 0);
        assert_int_equal(get_result(f, "user.a"), 0);
        fx.cred.pid = -6; /* the ownership rule holds for internal clients too */
        assert_int_equal(set(f, "user.b", "x"), 0);
        assert_int_equal(set(f, "glusterfs.posix.acl", "u::rw-,g::r--,o::r--"), -EPERM);
        fixture_be(&fx, 0, 0, 0);
        fx.cred.pid = 0;
        struct gfid secret = fixture_file(&fx, GFID_ROOT, "s", 0600);
        fixture_be(&fx, 1000, 1000, 1000);
        assert_int_equal(get_result(secret, "user.a"), -EACCES);
        assert_int_equal(get_result(secret, ""), -EACCES);
        assert_int_equal(get_result(secret, "system.posix_acl_access"), -ENODATA);
        assert_int_equal(get_result(secret, "glusterfs.posix.acl"), 0);
}

static void full_and_read_only(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        struct setattr_fop_rep rep;
        assert_int_equal(set(f, "user.a", "x"), 0);
        atomic_store(&fx.brick->full, true);
        assert_int_equal(set(f, "user.b", "x"), -ENOSPC);
        assert_int_equal(fset(f, FD_ANONYMOUS, "user.b", "x", 1), -ENOSPC);
        assert_int_equal(removal(f, "user.a"), 0); /* observed */
        assert_int_equal(CALL(&fx, SETATTR, setattr, &rep, .gfid = f, .valid = SETATTR_MODE, .stbuf = {.mode = 0600}),
                         0);
        atomic_store(&fx.brick->full, false);
        fx.options.read_only = true;
        assert_int_equal(set(f, "user.b", "x"), -EROFS);
        assert_int_equal(fset(f, FD_ANONYMOUS, "user.b", "x", 1), -EROFS);
        assert_int_equal(removal(f, "user.a"), -EROFS);
        assert_int_equal(CALL(&fx, SETATTR, setattr, &rep, .gfid = f, .valid = SETATTR_MODE), -EROFS);
        fx.cred.pid = -6;
        assert_int_equal(set(f, "user.b", "x"), 0);
}

static void stored_times(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        struct mdata m = {.atime = {100, 1}, .mtime = {200, 2}, .ctime = {300, 3}}, now;
        uint8_t raw[MDATA_SIZE];
        struct dict d = {0};
        assert_int_equal(
                dict_add(&d, &fx.arena, STR("set-ctime-mdata"), (struct dict_value){.type = DICT_MDATA, .mdata = m}),
                0);
        assert_int_equal(set_dict(f, d, 0), 0);
        assert_true(fx.reply.null); /* nothing else of such a request counts */
        assert_int_equal(on_disk("f", "trusted.glusterfs.mdata", raw, sizeof raw), MDATA_SIZE);
        assert_int_equal(mdata_parse(raw, sizeof raw, &now), 0);
        assert_int_equal(now.mtime.sec, 200);

        m = (struct mdata){.atime = {50, 0}, .mtime = {250, 0}, .ctime = {350, 0}};
        mdata_format(&m, raw);
        assert_int_equal(set_dict(f, one("trusted.glusterfs.mdata", raw, sizeof raw), 0), 0);
        assert_int_equal(on_disk("f", "trusted.glusterfs.mdata", raw, sizeof raw), MDATA_SIZE);
        assert_int_equal(mdata_parse(raw, sizeof raw, &now), 0);
        assert_int_equal(now.atime.sec, 100); /* the later of the two */
        assert_int_equal(now.mtime.sec, 250);
        assert_int_equal(now.ctime.sec, 350);

        mdata_format(&m, raw);
        assert_int_equal(fset(f, FD_ANONYMOUS, "trusted.glusterfs.mdata", raw, sizeof raw), 0); /* raw */
        assert_int_equal(on_disk("f", "trusted.glusterfs.mdata", raw, sizeof raw), MDATA_SIZE);
        assert_int_equal(mdata_parse(raw, sizeof raw, &now), 0);
        assert_int_equal(now.atime.sec, 50);
        assert_int_equal(set(f, "trusted.glusterfs.mdata", "short"), -EINVAL);
}

static void acl_texts(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644), d = fixture_dir(&fx, GFID_ROOT, "d", 0755);
        struct gfid l = fixture_symlink(&fx, GFID_ROOT, "l", "x"), linkto = fixture_file(&fx, GFID_ROOT, "lt", 01000);
        const char *text = "u::rw-,u:1001:r--,g::r--,m::r--,o::r--";
        uint8_t acl[64];
        assert_text(f, "glusterfs.posix.acl", "u::rw-,g::r--,o::r--");
        assert_int_equal(set_dict(f, one("glusterfs.posix.acl", text, (uint32_t)strlen(text) + 1), 0), 0);
        assert_int_equal(on_disk("f", "system.posix_acl_access", acl, sizeof acl), 44);
        assert_value(&fx.reply, "system.posix_acl_access", acl, 44);
        assert_text(f, "glusterfs.posix.acl", text); /* observed */
        assert_text(d, "glusterfs.posix.default_acl", "");
        assert_int_equal(set(d, "glusterfs.posix.default_acl", "u::rwx,u:1000:rwx,g::r-x,m::rwx,o::---"), 0);
        assert_text(d, "glusterfs.posix.default_acl", "u::rwx,u:1000:rwx,g::r-x,m::rwx,o::---");
        assert_int_equal(set(d, "glusterfs.posix.default_acl", ""), 0);
        assert_text(d, "glusterfs.posix.default_acl", "");
        assert_int_equal(get_result(f, "glusterfs.posix.default_acl"), -ENODATA);
        assert_int_equal(get_result(l, "glusterfs.posix.acl"), -ENODATA);
        assert_int_equal(set(f, "glusterfs.posix.acl", "rubbish"), -EINVAL);
        assert_int_equal(set(linkto, "glusterfs.posix.acl", text), 0); /* silently dropped */
        assert_int_equal(set_dict(linkto, one("system.posix_acl_access", acl, 44), 0), 0);
        assert_int_equal(on_disk("lt", "system.posix_acl_access", acl, sizeof acl), -1);
        assert_int_equal(removal(f, "system.posix_acl_access"), 0);
        assert_text(f, "glusterfs.posix.acl", "u::rw-,g::r--,o::r--");
}

/* DHT's heal of a directory: user attributes and ACLs become exactly those of the request. */
static void backend_sync(void **state)
{
        (void)state;
        struct gfid d = fixture_dir(&fx, GFID_ROOT, "d", 0755);
        uint8_t buf[16], layout[16] = {0, 0, 0, 1};
        assert_int_equal(set(d, "user.old", "x"), 0);
        assert_int_equal(set(d, "user.kept", "old"), 0);
        assert_int_equal(set(d, "trusted.other", "x"), 0);
        assert_int_equal(set_dict(d, one("trusted.glusterfs.dht", layout, 16), 0), 0);
        assert_int_equal(dict_add_int(&fx.xdata, &fx.arena, "sync_backend_xattrs", 1), 0);
        assert_int_equal(set(d, "user.kept", "new!"), 0);
        assert_int_equal(on_disk("d", "user.old", buf, 16), -1);
        assert_int_equal(on_disk("d", "user.kept", buf, 16), 4);
        assert_int_equal(on_disk("d", "trusted.other", buf, 16), 1);
        assert_int_equal(on_disk("d", "trusted.glusterfs.dht", buf, 16), 16);
        assert_int_equal(on_disk("d", "trusted.gfid", buf, 16), 16);
}

/* ---- REMOVEXATTR ----------------------------------------------------------------------------------------------- */

static void removals(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        assert_int_equal(set(f, "user.a", "x"), 0);
        assert_int_equal(removal(f, "user.a"), 0);
        assert_true(dict_has(&fx.reply, "virt-gf-poststat"));
        assert_int_equal(removal(f, "user.a"), -ENODATA);
        assert_int_equal(removal(f, "trusted.gfid"), -EPERM);
        assert_int_equal(removal(f, "trusted.glusterfs.volume-id"), -EPERM);
        assert_int_equal(removal(f, "trusted.gfid2path.0123456789abcdef"), -ENODATA);
        assert_int_equal(removal(f, "trusted.bit-rot.version"), -EINVAL);
        assert_int_equal(removal(f, "nonsense"), -ENOTSUP);
        assert_int_equal(removal(f, ""), -ENOTSUP);
        fx.xdata = (struct dict){0}; /* a list without names */
        assert_int_equal(removal(f, ""), 0);
        struct fremovexattr_fop_rep rep;
        assert_int_equal(set(f, "user.a", "x"), 0);
        assert_int_equal(
                CALL(&fx, FREMOVEXATTR, fremovexattr, &rep, .gfid = f, .fd = FD_ANONYMOUS, .name = STR("user.a")), 0);
        assert_int_equal(get_result(f, "user.a"), -ENODATA);
}

static void bulk_removal(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        assert_int_equal(set(f, "user.a", "x"), 0);
        assert_int_equal(set(f, "user.b", "x"), 0);
        fx.xdata = one("user.a", "", 0);
        assert_int_equal(dict_add_ptr(&fx.xdata, &fx.arena, "user.absent", "", 0), 0);
        assert_int_equal(dict_add_ptr(&fx.xdata, &fx.arena, "user.b", "", 0), 0);
        assert_int_equal(removal(f, ""), 0);
        assert_int_equal(get_result(f, "user.a"), -ENODATA);
        assert_int_equal(get_result(f, "user.b"), -ENODATA);
        fx.xdata = one("trusted.gfid", "", 0);
        assert_int_equal(removal(f, ""), -EPERM);

        static const char acl[] = "u::rw-,u:1001:rwx,g::rw-,m::rwx,o::rw-"; /* everybody may write, root owns it */
        assert_int_equal(set(f, "glusterfs.posix.acl", acl), 0);
        fixture_be(&fx, 1000, 1000, 1000);
        fx.xdata = one("system.posix_acl_access", "", 0);
        assert_int_equal(removal(f, ""), -EPERM);
        assert_text(f, "glusterfs.posix.acl", acl);
}

/* ---- GETXATTR -------------------------------------------------------------------------------------------------- */

static void lists_and_filters(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        fixture_time(&fx, TIMES_CTIME, 4000000000, 0);
        assert_int_equal(set(f, "user.a", "value"), 0);
        fixture_put(&fx, "f", "trusted.afr.dirty", "123456789012", 12);
        fixture_put(&fx, "f", "trusted.glusterfs.b0b0.xtime", "12345678", 8);
        fixture_put(&fx, "f", "trusted.bit-rot.version", "1234567890123456", 16);
        struct dict d, raw;
        for (int by_fd = 0; by_fd < 2; by_fd++) {
                assert_int_equal(by_fd ? fget(f, FD_ANONYMOUS, "", &d) : get(f, "", &d), 0);
                assert_int_equal(d.count, 2);
                assert_value(&d, "user.a", "value", 5);
                assert_value(&d, "trusted.afr.dirty", "123456789012", 12);
        }
        assert_int_equal(get_result(f, "trusted.glusterfs.mdata"), -ENODATA);
        assert_int_equal(get_result(f, "trusted.glusterfs.b0b0.xtime"), -ENODATA);
        assert_int_equal(get(f, "trusted.gfid", &d), 0); /* observed: success and nothing */
        assert_int_equal(d.count, 0);
        assert_int_equal(get(f, "trusted.glusterfs.volume-id", &d), 0);
        assert_int_equal(d.count, 0);
        assert_int_equal(get_result(f, "user.absent"), -ENODATA);
        assert_int_equal(get_result(f, "glusterfs.gfid"), -ENOTSUP);
        fx.cred.pid = -6;
        assert_int_equal(get(f, "trusted.glusterfs.mdata", &raw), 0); /* observed */
        assert_int_equal(get(f, "", &d), 0);
        assert_true(dict_has(&d, "trusted.glusterfs.mdata"));
        assert_int_equal(get_result(f, "trusted.glusterfs.b0b0.xtime"), -ENODATA);
        fx.cred.pid = PID_GSYNCD;
        assert_int_equal(get_result(f, "trusted.glusterfs.b0b0.xtime"), 0);
        assert_int_equal(get(f, "", &d), 0);
        assert_false(dict_has(&d, "trusted.glusterfs.b0b0.xtime"));
        assert_int_equal(get_result(fixture_new_gfid(), "user.a"), -ESTALE);
}

static void path_names(void **state)
{
        (void)state;
        struct gfid u = fixture_dir(&fx, GFID_ROOT, "u", 0755), w = fixture_dir(&fx, u, "w", 0755);
        struct gfid f = fixture_file(&fx, w, "f", 0644);
        char text[256];
        snprintf(text, sizeof text, "<POSIX(%s):host:%s/u/w/f>", fx.path, fx.path);
        assert_text(f, "trusted.glusterfs.pathinfo", text);
        assert_text(f, "glusterfs.pathinfo", text);
        snprintf(text, sizeof text, "<POSIX(%s):host:%s/u/w>", fx.path, fx.path);
        assert_text(w, "trusted.glusterfs.pathinfo", text);
        snprintf(text, sizeof text, "<POSIX(%s):host:%s>", fx.path, fx.path);
        assert_text(GFID_ROOT, "trusted.glusterfs.pathinfo", text);
        assert_int_equal(get_result(f, "trusted.glusterfs.node-uuid"), -ENODATA);
        fx.brick->node_uuid = (struct gfid){.b = {1, 2, 3, 4}};
        assert_text(f, "trusted.glusterfs.node-uuid", "01020304-0000-0000-0000-000000000000");

        assert_text(w, "glusterfs.gfidtopath", "/u/w");
        struct dict d;
        assert_int_equal(get(f, "glusterfs.gfidtopath", &d), 0);
        assert_value(&d, "glusterfs.gfidtopath", "/u/w/f", 6); /* without a NUL (observed) */
        assert_text(f, "glusterfs.gfid2path", "/u/w/f");
        assert_text(w, "glusterfs.ancestry.path", "/u/w");
        assert_text(GFID_ROOT, "glusterfs.ancestry.path", "/");
        assert_int_equal(get_result(f, "glusterfs.ancestry.path"), -ENODATA);

        struct link_fop_rep link;
        assert_int_equal(CALL(&fx, LINK, link, &link, .oldgfid = f, .newgfid = u, .newbname = STR("second")), 0);
        struct str paths;
        assert_int_equal(get(f, "glusterfs.gfidtopath", &d), 0);
        assert_int_equal(dict_get_str(&d, &fx.arena, "glusterfs.gfidtopath", &paths), 0);
        assert_true(str_is(paths, "/u/w/f:/u/second") || str_is(paths, "/u/second:/u/w/f"));
}

static void real_file_name(void **state)
{
        (void)state;
        struct gfid d = fixture_dir(&fx, GFID_ROOT, "d", 0755), f = fixture_file(&fx, d, "ReadMe.TXT", 0644);
        assert_text(d, "glusterfs.get_real_filename:readme.txt", "ReadMe.TXT");
        assert_int_equal(get_result(d, "glusterfs.get_real_filename:other"), -ENODATA);
        assert_int_equal(get_result(f, "glusterfs.get_real_filename:x"), -ENOTDIR);
        char name[256] = "", asked[512] = "glusterfs.get_real_filename:";
        memset(name, 'n', 255);
        fixture_file(&fx, d, name, 0644);
        memset(asked + strlen(asked), 'N', 255);
        assert_text(d, asked, name);
        struct dict dict;
        assert_int_equal(fget(d, fixture_dirfd(&fx, d), "glusterfs.get_real_filename:README.txt", &dict), 0);
        assert_true(dict_has(&dict, "glusterfs.get_real_filename:README.txt"));
}

static void other_virtual_names(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        struct dict d;
        int64_t n;
        assert_int_equal(get(f, "glusterfs.open-fd-count", &d), 0);
        assert_int_equal(dict_get_int(&d, "glusterfs.open-fd-count", &n), 0);
        assert_int_equal(n, 0);
        int64_t fd = fixture_fd(&fx, f, O_RDONLY);
        fixture_fd(&fx, f, O_RDONLY);
        assert_int_equal(get(f, "glusterfs.open-fd-count", &d), 0);
        assert_int_equal(dict_get_int(&d, "glusterfs.open-fd-count", &n), 0);
        assert_int_equal(n, 1);
        assert_int_equal(fget(f, fd, "trusted.glusterfs.lockinfo", &d), 0); /* observed */
        assert_int_equal(d.count, 0);
        static const char *const none[] = {
                "trusted.glusterfs.get-signature", "trusted.bit-rot.version",      "trusted.glusterfs.list-node-uuids",
        };
        for (size_t i = 0; i < ELEMENTSOF(none); i++)
                assert_int_equal(get_result(f, none[i]), -ENODATA);
        assert_text(f, "trusted.limit.list", "Quota is disabled please turn on");
        char long_name[300] = "user.";
        memset(long_name + 5, 'x', sizeof long_name - 6);
        assert_int_equal(get_result(f, long_name), -ERANGE);
}

/* ---- keys ------------------------------------------------------------------------------------------------------ */

static void ask(const char *key)
{
        assert_int_equal(dict_add_uint(&fx.xdata, &fx.arena, key, 0), 0);
}

static void keys_of_a_request(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        fixture_write(&fx, f, FD_ANONYMOUS, 0, "content", 7);
        fixture_put(&fx, "f", "trusted.afr.v-client-0", "123456789012", 12);
        fixture_put(&fx, "f", "trusted.afr.dirty", "abcdefghijkl", 12);
        fixture_put(&fx, "f", "user.x", "1", 1);
        struct dict d;
        ask("trusted.afr.*");
        ask("trusted.afr.dirty");
        ask("trusted.absent");
        ask("trusted.gfid");
        ask("user.[xy]");
        ask("get-size");
        ask("glusterfs.open-fd-count");
        ask("glusterfs.inodelk-count");
        ask("glusterfs.entrylk-count");
        ask("glusterfs.posixlk-count");
        ask("glusterfs.multi-dom-lk-cnt-req");
        ask("glusterfs.inodelk-dom-prefix:dom");
        ask("glusterfs.posix.acl");
        assert_int_equal(get(f, "user.x", &d), 0);
        assert_value(&fx.reply, "trusted.afr.v-client-0", "123456789012", 12);
        assert_value(&fx.reply, "trusted.afr.dirty", "abcdefghijkl", 12);
        assert_value(&fx.reply, "trusted.gfid", f.b, 16); /* observed: not filtered here */
        assert_value(&fx.reply, "user.x", "1", 1);
        assert_value(&fx.reply, "glusterfs.posix.acl", "u::rw-,g::r--,o::r--", 21);
        assert_false(dict_has(&fx.reply, "trusted.absent"));
        assert_int_equal(reply_int(&fx, "get-size"), 7);
        assert_int_equal(reply_int(&fx, "glusterfs.open-fd-count"), 0);
        assert_int_equal(reply_int(&fx, "glusterfs.inodelk-count"), 0);
        assert_int_equal(reply_int(&fx, "glusterfs.entrylk-count"), 0);
        assert_int_equal(reply_int(&fx, "glusterfs.posixlk-count"), 0);
        assert_int_equal(reply_int(&fx, "glusterfs.inodelk-dom-prefix:dom"), 0);
        assert_int_equal(fx.reply.count, 11);
}

static void listing_for_heal(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        fixture_put(&fx, "f", "user.x", "1", 1);
        fixture_put(&fx, "f", "trusted.glusterfs.quota.limit-set", "1", 1);
        fixture_put(&fx, "f", "trusted.afr.dirty", "abcdefghijkl", 12);
        struct dict d;
        ask("list-xattr");
        assert_int_equal(get(f, "user.x", &d), 0);
        assert_int_equal(fx.reply.count, 2);
        assert_true(dict_has(&fx.reply, "user.x"));
        assert_true(dict_has(&fx.reply, "trusted.afr.dirty"));
}

static int look_up(struct gfid parent, const char *name)
{
        struct lookup_fop_rep rep;
        return CALL(&fx, LOOKUP, lookup, &rep, .pargfid = parent, .bname = str_of(name));
}

static int stat_with_keys(struct gfid g)
{
        struct stat_fop_rep rep;
        return CALL(&fx, STAT, stat, &rep, .gfid = g);
}

/* What quota, pgfid and bitrot noted is for their layers: LOOKUP does not show it, STAT does (observed). */
static void records_of_layers(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        static const char *const names[] = {"trusted.glusterfs.quota.dirty", "trusted.bit-rot.version",
                                            "trusted.pgfid.00000000-0000-0000-0000-000000000001"};
        for (size_t k = 0; k < ELEMENTSOF(names); k++)
                fixture_put(&fx, "f", names[k], "1", 1);
        ask("trusted.*");
        ask(names[0]);
        assert_int_equal(look_up(GFID_ROOT, "f"), 0);
        assert_true(dict_has(&fx.reply, "trusted.gfid"));
        for (size_t k = 0; k < ELEMENTSOF(names); k++)
                assert_false(dict_has(&fx.reply, names[k]));
        ask("trusted.*");
        assert_int_equal(stat_with_keys(f), 0);
        for (size_t k = 0; k < ELEMENTSOF(names); k++)
                assert_true(dict_has(&fx.reply, names[k]));
        struct dict d;
        assert_int_equal(get(f, "", &d), 0);
        for (size_t k = 0; k < ELEMENTSOF(names); k++)
                assert_false(dict_has(&d, names[k]));
        assert_int_equal(get_result(f, names[0]), 0);
}

static void keys_that_are_echoed(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        assert_int_equal(dict_add_uint(&fx.xdata, &fx.arena, "gf_request_link_count", 7), 0);
        ask("trusted.glusterfs.cs.status");
        assert_int_equal(stat_with_keys(f), 0);
        assert_int_equal(reply_int(&fx, "gf_request_link_count"), 7);
        assert_int_equal(reply_int(&fx, "trusted.glusterfs.cs.status"), 1);
}

/* XFS lists its own form of an ACL; who copies a listing must not write it. */
static void xfs_acls_are_not_written(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        assert_int_equal(set(f, "trusted.SGI_ACL_FILE", "x"), 0);
        assert_int_equal(get_result(f, "trusted.SGI_ACL_FILE"), -ENODATA);
        assert_int_equal(removal(f, "trusted.SGI_ACL_FILE"), 0);
}

static void content_of_small_files(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        fixture_file(&fx, GFID_ROOT, "empty", 0644);
        fixture_dir(&fx, GFID_ROOT, "d", 0755);
        fixture_write(&fx, f, FD_ANONYMOUS, 0, "content", 7);
        assert_int_equal(dict_add_uint(&fx.xdata, &fx.arena, "glusterfs.content", 7), 0);
        assert_int_equal(look_up(GFID_ROOT, "f"), 0);
        assert_value(&fx.reply, "glusterfs.content", "content", 7);
        assert_int_equal(dict_add_uint(&fx.xdata, &fx.arena, "glusterfs.content", 6), 0); /* too large: absent */
        assert_int_equal(look_up(GFID_ROOT, "f"), 0);
        assert_false(dict_has(&fx.reply, "glusterfs.content"));
        assert_int_equal(dict_add_uint(&fx.xdata, &fx.arena, "glusterfs.content", 65536), 0);
        assert_int_equal(look_up(GFID_ROOT, "empty"), 0);
        assert_value(&fx.reply, "glusterfs.content", "", 0);
        assert_int_equal(dict_add_uint(&fx.xdata, &fx.arena, "glusterfs.content", 65536), 0);
        assert_int_equal(look_up(GFID_ROOT, "d"), 0);
        assert_false(dict_has(&fx.reply, "glusterfs.content"));
}

/* ---- XATTROP --------------------------------------------------------------------------------------------------- */

static int combine(struct gfid g, uint32_t kind, const char *name, const void *value, uint32_t len, struct dict *ret)
{
        struct xattrop_fop_rep rep;
        int r = CALL(&fx, XATTROP, xattrop, &rep, .gfid = g, .flags = kind, .dict = one(name, value, len));
        *ret = rep.dict;
        return r;
}

static void adding(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        uint8_t buf[32];
        struct dict d;
        static const uint8_t zeros[16];
        assert_int_equal(combine(f, 0, "trusted.afr.x", zeros, 12, &d), 0);
        assert_value(&d, "trusted.afr.x", zeros, 12);
        assert_int_equal(on_disk("f", "trusted.afr.x", buf, 32), -1); /* reading creates nothing (observed) */

        assert_int_equal(combine(f, 0, "trusted.afr.x", "\0\0\0\1\0\0\0\2\0\0\0\0", 12, &d), 0);
        assert_value(&d, "trusted.afr.x", "\0\0\0\1\0\0\0\2\0\0\0\0", 12);
        assert_int_equal(combine(f, 0, "trusted.afr.x", "\xff\xff\xff\xff\0\0\0\0\0\1\0\0", 12, &d), 0); /* -1 */
        assert_value(&d, "trusted.afr.x", "\0\0\0\0\0\0\0\2\0\1\0\0", 12);
        assert_int_equal(on_disk("f", "trusted.afr.x", buf, 32), 12);
        assert_memory_equal(buf, "\0\0\0\0\0\0\0\2\0\1\0\0", 12);
        assert_int_equal(combine(f, 0, "trusted.afr.x", zeros, 12, &d), 0);
        assert_value(&d, "trusted.afr.x", "\0\0\0\0\0\0\0\2\0\1\0\0", 12);

        assert_int_equal(combine(f, 0, "trusted.afr.x", "\0\0\0\1", 4, &d), -ERANGE); /* observed */
        assert_int_equal(combine(f, 0, "trusted.afr.x", "\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\7", 16, &d), 0);
        assert_value(&d, "trusted.afr.x", "\0\0\0\1\0\0\0\2\0\1\0\0\0\0\0\7", 16); /* the rest read as zero */

        assert_int_equal(combine(f, 1, "trusted.ec.size", "\0\0\0\0\0\0\1\0", 8, &d), 0);
        assert_int_equal(combine(f, 1, "trusted.ec.size", "\0\0\0\0\xff\xff\xff\xff", 8, &d), 0);
        assert_value(&d, "trusted.ec.size", "\0\0\0\1\0\0\0\xff", 8); /* a carry across the halves */
}

static void other_kinds(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        struct dict d;
        static const uint32_t refused[] = {2, 3, 7, 100, UINT32_MAX};
        for (size_t i = 0; i < ELEMENTSOF(refused); i++)
                assert_int_equal(combine(f, refused[i], "trusted.x", "\0\0\0\1", 4, &d), -EINVAL); /* observed */

        assert_int_equal(combine(f, 4, "trusted.s", "first", 5, &d), 0);
        assert_int_equal(d.count, 0);                                   /* there was none (observed) */
        assert_int_equal(combine(f, 4, "trusted.s", "\0\0", 2, &d), 0); /* zeros are stored here */
        assert_value(&d, "trusted.s", "first", 5);
        assert_int_equal(combine(f, 4, "trusted.s", "x", 1, &d), 0);
        assert_value(&d, "trusted.s", "\0\0", 2);

        assert_int_equal(combine(f, 5, "trusted.d",
                                 "\0\0\0\1\0\0\0\2"
                                 "\0\0\0\x10\0\0\0\x20",
                                 16, &d),
                         0);
        assert_value(&d, "trusted.d", "\0\0\0\x11\0\0\0\x22", 8); /* n of 2n (observed) */
        assert_int_equal(combine(f, 5, "trusted.d",
                                 "\0\0\0\1\0\0\0\2"
                                 "\0\0\0\x10\0\0\0\x20",
                                 16, &d),
                         0);
        assert_value(&d, "trusted.d", "\0\0\0\x12\0\0\0\x24", 8);
        assert_int_equal(combine(f, 6, "trusted.e",
                                 "\0\0\0\0\0\0\0\1"
                                 "\0\0\0\0\0\0\1\0",
                                 16, &d),
                         0);
        assert_value(&d, "trusted.e", "\0\0\0\0\0\0\1\1", 8);

        assert_int_equal(combine(f, 0, "trusted.x", "\0\0\1", 3, &d), -EINVAL);
        assert_int_equal(combine(f, 0, "trusted.x", "", 0, &d), -EINVAL);
        assert_int_equal(combine(f, 1, "trusted.x", "\0\0\0\1", 4, &d), -EINVAL);
        assert_int_equal(combine(f, 5, "trusted.x", "\0\0\0\1", 4, &d), -EINVAL);
        assert_int_equal(combine(f, 0, "nonsense", "\0\0\0\1", 4, &d), -EOPNOTSUPP);
        assert_int_equal(combine(f, 4, "trusted.gfid", "0123456789abcdef", 16, &d), -EPERM);
        assert_int_equal(combine(fixture_new_gfid(), 0, "trusted.x", "\0\0\0\1", 4, &d), -ESTALE);
}

static void order_and_rights(void **state)
{
        (void)state;
        struct gfid f = fixture_file(&fx, GFID_ROOT, "f", 0644);
        struct dict three = one("trusted.a", "\0\0\0\1", 4);
        assert_int_equal(dict_add_ptr(&three, &fx.arena, "trusted.b", "\0\1", 2), 0);
        assert_int_equal(dict_add_ptr(&three, &fx.arena, "trusted.c", "\0\0\0\1", 4), 0);
        struct xattrop_fop_rep rep;
        uint8_t buf[16];
        assert_int_equal(CALL(&fx, XATTROP, xattrop, &rep, .gfid = f, .dict = three), -EINVAL);
        assert_int_equal(on_disk("f", "trusted.a", buf, 16), 4); /* the first error aborts; what was done stays */
        assert_int_equal(on_disk("f", "trusted.c", buf, 16), -1);

        struct dict d;
        fixture_be(&fx, 1000, 1000, 1000);
        assert_int_equal(combine(f, 0, "trusted.a", "\0\0\0\1", 4, &d), 0); /* observed: not checked */
        atomic_store(&fx.brick->full, true);
        assert_int_equal(combine(f, 0, "trusted.a", "\0\0\0\1", 4, &d), 0);
        atomic_store(&fx.brick->full, false);
        fx.options.read_only = true;
        assert_int_equal(combine(f, 0, "trusted.a", "\0\0\0\1", 4, &d), -EROFS);
        assert_int_equal(combine(f, 0, "trusted.a", "\0\0\0\0", 4, &d), 0);
        assert_value(&d, "trusted.a", "\0\0\0\3", 4);
        fx.options.read_only = false;

        struct fxattrop_fop_rep frep;
        ask("trusted.a");
        ask("dht-get-mode-in-xattr");
        assert_int_equal(CALL(&fx, FXATTROP, fxattrop, &frep, .gfid = f, .fd = FD_ANONYMOUS, .flags = 0,
                              .dict = one("trusted.a", "\0\0\0\1", 4)),
                         0); /* observed */
        assert_value(&frep.dict, "trusted.a", "\0\0\0\4", 4);
        assert_value(&fx.reply, "trusted.a", "\0\0\0\4", 4);
        assert_int_equal(reply_int(&fx, "dht-get-mode-in-xattr"), S_IFREG | 0644);
}

struct adders {
        struct gfid g;
        struct brick *brick;
        struct session *session;
        atomic_int failed;
};

#define ADDS 500

static void *add_many(void *arg)
{
        struct adders *a = arg;
        struct fixture local = {
                .brick = a->brick, .session = a->session, .arena = ARENA_INIT(16 * MIB), .xdata = DICT_NULL};
        for (int i = 0; i < ADDS; i++) {
                struct op op = {.brick = a->brick,
                                .session = a->session,
                                .fop = FOP_XATTROP,
                                .cred = &local.cred,
                                .xdata = {.others = DICT_NULL},
                                .reply = DICT_NULL,
                                .arena = &local.arena};
                struct xattrop_fop_req req = {.gfid = a->g, .xdata = DICT_NULL};
                struct xattrop_fop_rep rep = {0};
                if (dict_add_ptr(&req.dict, &local.arena, "trusted.counter", "\0\0\0\1\0\0\0\2", 8) < 0 ||
                    fop_xattrop(&op, &req, &rep) < 0)
                        atomic_fetch_add(&a->failed, 1);
                arena_reset(&local.arena);
        }
        arena_done(&local.arena);
        return NULL;
}

static void no_addition_is_lost(void **state)
{
        (void)state;
        struct adders a = {.g = fixture_file(&fx, GFID_ROOT, "f", 0644), .brick = fx.brick, .session = fx.session};
        pthread_t threads[4];
        for (size_t i = 0; i < ELEMENTSOF(threads); i++)
                assert_int_equal(pthread_create(&threads[i], NULL, add_many, &a), 0);
        for (size_t i = 0; i < ELEMENTSOF(threads); i++)
                pthread_join(threads[i], NULL);
        assert_int_equal(atomic_load(&a.failed), 0);
        uint8_t buf[8], expected[8] = {0, 0, ADDS * 4 >> 8, ADDS * 4 & 255, 0, 0, ADDS * 8 >> 8, ADDS * 8 & 255};
        assert_int_equal(on_disk("f", "trusted.counter", buf, 8), 8);
        assert_memory_equal(buf, expected, 8);
}

#define WITH_BRICK(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
        const struct CMUnitTest tests[] = {
                WITH_BRICK(set_and_answer),      WITH_BRICK(names_with_a_meaning),
                WITH_BRICK(set_permissions),     WITH_BRICK(full_and_read_only),
                WITH_BRICK(stored_times),        WITH_BRICK(acl_texts),
                WITH_BRICK(backend_sync),        WITH_BRICK(removals),
                WITH_BRICK(bulk_removal),        WITH_BRICK(lists_and_filters),
                WITH_BRICK(path_names),          WITH_BRICK(records_of_layers),
                WITH_BRICK(keys_that_are_echoed), WITH_BRICK(xfs_acls_are_not_written),
                WITH_BRICK(real_file_name),
                WITH_BRICK(other_virtual_names), WITH_BRICK(keys_of_a_request),
                WITH_BRICK(listing_for_heal),    WITH_BRICK(content_of_small_files),        WITH_BRICK(adding),
                WITH_BRICK(other_kinds),         WITH_BRICK(order_and_rights),
                WITH_BRICK(no_addition_is_lost),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
