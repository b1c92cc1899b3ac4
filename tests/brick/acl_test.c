/* ACLs: our evaluation and inheritance against the kernel's, the text form, malformed attributes. */
#include <fcntl.h>
#include <grp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include <cmocka.h>

#include "brick/acl.h"

#define ARENA_MAX (4 * MIB)

static const char *const acl_texts[] = {
        "u::rwx,g::rwx,o::rwx",
        "u::---,g::rwx,o::rwx",
        "u::rw-,g::---,o::rwx",
        "u::rwx,g::r-x,o::---",
        "u::rw-,u:1001:r--,g::---,m::rwx,o::---",
        "u::rw-,u:1001:rwx,g::r--,m::r--,o::r-x",
        "u::---,u:1000:rwx,u:1001:---,g::rwx,m::rwx,o::rwx",
        "u::rwx,g::---,g:2001:rw-,g:2002:--x,m::rwx,o::rwx",
        "u::rwx,g::r--,g:2001:-w-,g:2002:--x,m::rwx,o::---",
        "u::rwx,g::rwx,g:2001:rwx,m::--x,o::rwx",
        "u::rwx,u:1001:rw-,g::rwx,g:2000:r--,m::-w-,o::rwx",
        "u::r--,u:1002:-wx,g::-w-,g:2000:--x,g:2002:rwx,m::r-x,o::-w-",
        "u::rw-,g::rwx,m::---,o::rwx",
};

struct person {
        uint32_t uid, gid, n;
        uint32_t groups[3];
};

static const struct person people[] = {
        {1000, 3000, 0, {0}},          {1000, 2000, 1, {2001}},       {1001, 3000, 0, {0}},
        {1001, 2000, 0, {0}},          {1001, 3000, 2, {2001, 2002}}, {1002, 2000, 0, {0}},
        {1002, 3000, 1, {2000}},       {1002, 3000, 1, {2001}},       {1002, 3000, 1, {2002}},
        {1002, 2001, 2, {2002, 2000}}, {1003, 3000, 0, {0}},          {1003, 3000, 3, {5, 6, 7}},
};

static char workdir[64];

static int setup(void **state)
{
        (void)state;
        snprintf(workdir, sizeof workdir, "/var/tmp/acl_test.XXXXXX");
        return mkdtemp(workdir) && chmod(workdir, 0777) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
        (void)state;
        char command[128];
        for (size_t i = 0; i < ELEMENTSOF(acl_texts); i++) {
                snprintf(command, sizeof command, "%s/f%zu", workdir, i);
                unlink(command);
        }
        return rmdir(workdir);
}

static struct slice acl_of_text(const char *text, struct arena *a)
{
        struct slice acl;
        assert_int_equal(acl_from_text(text, a, &acl), 0);
        assert_int_equal(acl_check(acl), 0);
        return acl;
}

/* ---- evaluation ------------------------------------------------------------------------------------------------ */

static void make_file(size_t i, struct arena *a)
{
        char path[128];
        snprintf(path, sizeof path, "%s/f%zu", workdir, i);
        int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        close(fd);
        assert_int_equal(chown(path, 1000, 2000), 0);
        struct slice acl = acl_of_text(acl_texts[i], a);
        assert_int_equal(setxattr(path, ACL_XATTR_ACCESS, acl.data, acl.len, 0), 0);
}

/* What the kernel stores decides the plain mode where an ACL says no more than a mode. */
static bool ours(const char *path, struct slice acl, const struct person *p, unsigned want)
{
        struct stat st;
        struct acl_subject who = {p->uid, p->gid, p->n, p->groups};
        if (lstat(path, &st) < 0)
                return false;
        bool by_acl = acl_grants(acl, st.st_uid, st.st_gid, &who, want);
        if (acl_count(acl) == 3 && acl_mode_grants(&st, &who, want) != by_acl)
                _exit(99);
        return by_acl;
}

/* In a child that is PERSON: the number of disagreements. */
static int disagreements(const struct person *p)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(ARENA_MAX);
        gid_t groups[3] = {p->groups[0], p->groups[1], p->groups[2]};
        int n = 0;
        if (setgroups(p->n, groups) < 0 || setresgid(p->gid, p->gid, p->gid) < 0 ||
            setresuid(p->uid, p->uid, p->uid) < 0)
                return 98;
        for (size_t i = 0; i < ELEMENTSOF(acl_texts); i++) {
                char path[128];
                struct slice acl;
                snprintf(path, sizeof path, "%s/f%zu", workdir, i);
                if (acl_from_text(acl_texts[i], &a, &acl) < 0)
                        return 97;
                for (unsigned want = 1; want <= 7; want++)
                        n += (access(path, (int)want) == 0) != ours(path, acl, p, want);
        }
        return n;
}

static void evaluation_is_the_kernels(void **state)
{
        (void)state;
        _cleanup_arena_ struct arena a = ARENA_INIT(ARENA_MAX);
        for (size_t i = 0; i < ELEMENTSOF(acl_texts); i++)
                make_file(i, &a);
        for (size_t i = 0; i < ELEMENTSOF(people); i++) {
                pid_t pid = fork();
                assert_true(pid >= 0);
                if (pid == 0)
                        _exit(disagreements(&people[i]));
                int status = -1;
                assert_int_equal(waitpid(pid, &status, 0), pid);
                assert_true(WIFEXITED(status));
                assert_int_equal(WEXITSTATUS(status), 0);
        }
}

/* ---- inheritance ----------------------------------------------------------------------------------------------- */

static void compare_child(const char *dir, struct slice parent, mode_t mode, bool is_dir, struct arena *a)
{
        char path[160];
        uint8_t actual[512];
        struct stat st;
        struct slice expected;
        snprintf(path, sizeof path, "%s/child", dir);
        if (is_dir)
                assert_int_equal(mkdir(path, mode), 0);
        else
                assert_int_equal(mknod(path, S_IFREG | mode, 0), 0);
        assert_int_equal(lstat(path, &st), 0);

        mode_t wanted = mode;
        assert_int_equal(acl_inherit(parent, a, &wanted, &expected), 0);
        assert_int_equal(st.st_mode & 0777, wanted);
        ssize_t n = getxattr(path, ACL_XATTR_ACCESS, actual, sizeof actual);
        if (expected.len == 0) {
                assert_int_equal(n, -1);
        } else {
                assert_int_equal(n, expected.len);
                assert_memory_equal(actual, expected.data, expected.len);
        }
        assert_int_equal(is_dir ? rmdir(path) : unlink(path), 0);
}

static void inheritance_is_the_kernels(void **state)
{
        (void)state;
        _cleanup_arena_ struct arena a = ARENA_INIT(ARENA_MAX);
        char dir[128];
        snprintf(dir, sizeof dir, "%s/parent", workdir);
        mode_t old = umask(027); /* which a default ACL switches off */
        assert_int_equal(mkdir(dir, 0755), 0);
        static const mode_t modes[] = {0666, 0777, 0700, 0640, 0000, 0123, 0055};
        for (size_t i = 0; i < ELEMENTSOF(acl_texts); i++) {
                struct slice acl = acl_of_text(acl_texts[i], &a);
                assert_int_equal(setxattr(dir, ACL_XATTR_DEFAULT, acl.data, acl.len, 0), 0);
                for (size_t m = 0; m < ELEMENTSOF(modes); m++) {
                        compare_child(dir, acl, modes[m], false, &a);
                        compare_child(dir, acl, modes[m], true, &a);
                }
        }
        umask(old);
        assert_int_equal(rmdir(dir), 0);
}

/* ---- text ------------------------------------------------------------------------------------------------------ */

static void check_text(const char *given, const char *canonical)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(ARENA_MAX);
        struct slice acl = acl_of_text(given, &a);
        char *text;
        assert_int_equal(acl_to_text(acl.data, acl.len, &a, &text), 0);
        assert_string_equal(text, canonical);
}

static void text_form(void **state)
{
        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(acl_texts); i++)
                check_text(acl_texts[i], acl_texts[i]);
        check_text("u::rw-,u:1001:r--,g::r--,m::r--,o::r--", "u::rw-,u:1001:r--,g::r--,m::r--,o::r--");
        check_text("other::r--,mask::r,group::r,user:1001:r,user::wr", "u::rw-,u:1001:r--,g::r--,m::r--,o::r--");
        check_text("o:r--\nm:r\ng:r\nu:1001:r\nu:rw\n", "u::rw-,u:1001:r--,g::r--,m::r--,o::r--");
        check_text("u::rw-,u:9:r,u:8:w,g::r,g:20:x,g:3:x,m::r,o::-",
                   "u::rw-,u:8:-w-,u:9:r--,g::r--,g:3:--x,g:20:--x,m::r--,o::---");
}

static void text_that_is_refused(void **state)
{
        (void)state;
        static const char *const bad[] = {
                "u::rw-",                          /* incomplete */
                "u::rw-,g::r--,o::r--,o::r--",     /* twice */
                "u::rw-,u:1001:r--,g::r--,o::r--", /* no mask */
                "u::rw-,u:1001:r--,u:1001:-w-,g::r--,m::r--,o::r--",
                "u::rw-,g::r--,o:5:r--", /* others have no id */
                "u::rw-,g::r--,q::r--",  /* no such tag */
                "u::rwz,g::r--,o::r--",  /* no such permission */
                "u::rwxr,g::r--,o::r--",
                "u::,g::r--,o::r--",
                "u:4294967295:r,u::rw-,g::r--,m::r,o::r--", /* no such id */
                "u:99999999999999999999:r,u::rw-,g::r--,m::r,o::r--",
                "u:x:r,u::rw-,g::r--,m::r,o::r--",
                "nonsense",
                ",,,",
        };
        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                _cleanup_arena_ struct arena a = ARENA_INIT(ARENA_MAX);
                struct slice acl;
                assert_int_equal(acl_from_text(bad[i], &a, &acl), -EINVAL);
        }
        _cleanup_arena_ struct arena a = ARENA_INIT(ARENA_MAX);
        struct slice acl = {(const uint8_t *)"x", 1};
        assert_int_equal(acl_from_text("", &a, &acl), 0);
        assert_int_equal(acl.len, 0);
}

static void malformed_attributes(void **state)
{
        (void)state;
        _cleanup_arena_ struct arena a = ARENA_INIT(ARENA_MAX);
        struct slice good = acl_of_text("u::rw-,u:1001:r--,g::r--,m::r--,o::r--", &a);
        char *text;
        for (uint32_t len = 0; len < good.len; len++)
                assert_int_equal(acl_to_text(good.data, len, &a, &text), -EINVAL);

        uint8_t bytes[64];
        memcpy(bytes, good.data, good.len);
        struct slice bad = {bytes, good.len};
        bytes[0] = 1; /* version */
        assert_int_equal(acl_check(bad), -EINVAL);
        bytes[0] = 2;
        bytes[4] = 0x40; /* tag */
        assert_int_equal(acl_check(bad), -EINVAL);
        bytes[4] = 1;
        bytes[6] = 8; /* permission */
        assert_int_equal(acl_check(bad), -EINVAL);
        bytes[6] = 6;
        assert_int_equal(acl_check(bad), 0);
        memcpy(bytes + 4, good.data + 12, 8); /* order */
        memcpy(bytes + 12, good.data + 4, 8);
        assert_int_equal(acl_check(bad), -EINVAL);
}

static void mode_as_acl(void **state)
{
        (void)state;
        _cleanup_arena_ struct arena a = ARENA_INIT(ARENA_MAX);
        struct slice acl;
        char *text;
        assert_int_equal(acl_from_mode(S_IFREG | 0751, &a, &acl), 0);
        assert_int_equal(acl_check(acl), 0);
        assert_int_equal(acl_to_text(acl.data, acl.len, &a, &text), 0);
        assert_string_equal(text, "u::rwx,g::r-x,o::--x");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(evaluation_is_the_kernels),
                cmocka_unit_test(inheritance_is_the_kernels),
                cmocka_unit_test(text_form),
                cmocka_unit_test(text_that_is_refused),
                cmocka_unit_test(malformed_attributes),
                cmocka_unit_test(mode_as_acl),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
