/* The command line of mortar-mount: every name of the table, both grammars, bad words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <sys/mount.h>

#include "mount/options.h"

#define WORDS_MAX 16

struct parsed {
        struct mount_options o;
        struct error err;
        int result;
        char *argv[WORDS_MAX];
        char text[4096];
};

/* Parses LINE, words separated by blanks. */
static struct parsed *parse(struct parsed *p, const char *line)
{
        int argc = 0;
        *p = (struct parsed){0};
        (void)snprintf(p->text, sizeof p->text, "%s", line);
        for (char *save, *word = strtok_r(p->text, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
                assert_true(argc < WORDS_MAX);
                p->argv[argc++] = word;
        }
        p->result = mount_options_parse(argc, p->argv, &p->o, &p->err);
        return p;
}

static void expect_ok(struct parsed *p)
{
        if (p->result != 0)
                print_error("%s\n", p->err.text);
        assert_int_equal(p->result, 0);
}

/* ---- specs ------------------------------------------------------------------------------------------------------- */

struct spec_case {
        const char *spec, *host, *second, *volume, *subdir;
};
static const struct spec_case specs[] = {
        {"h:/v", "h", NULL, "/v", NULL},
        {"h:v", "h", NULL, "v", NULL},
        {"h:/v/sub", "h", NULL, "/v", "/sub"},
        {"h:v/sub/dir", "h", NULL, "v", "/sub/dir"},
        {"h:/v/sub//dir/", "h", NULL, "/v", "/sub/dir"},
        {"h:/v/", "h", NULL, "/v", NULL},
        {"h:/v/a:b", "h", NULL, "/v", "/a:b"},
        {"[::1]:/v", "::1", NULL, "/v", NULL},
        {"fd00::1:/v", "fd00::1", NULL, "/v", NULL},
        {"fd00::1:v", "fd00::1", NULL, "v", NULL},
        {"h1,h2:/v", "h1", "h2", "/v", NULL},
        {"[::1],h2:/v", "::1", "h2", "/v", NULL},
        {"h1,h1:/v", "h1", NULL, "/v", NULL},
        {"10.0.0.1:/v", "10.0.0.1", NULL, "/v", NULL},
        {"h:/snaps/s/v", "h", NULL, "/snaps/s/v", NULL},
};

static void test_specs(void **state)
{
        for (size_t i = 0; i < ELEMENTSOF(specs); i++) {
                const struct spec_case *s = &specs[i];
                struct parsed p;
                char line[256];
                (void)snprintf(line, sizeof line, "mount.glusterfs %s /mnt -o rw", s->spec);
                expect_ok(parse(&p, line));
                assert_string_equal(p.o.servers.v[0], s->host);
                assert_int_equal(p.o.servers.n, s->second ? 2 : 1);
                if (s->second)
                        assert_string_equal(p.o.servers.v[1], s->second);
                assert_string_equal(p.o.volume_id, s->volume);
                assert_int_equal(p.o.subdir != NULL, s->subdir != NULL);
                if (s->subdir)
                        assert_string_equal(p.o.subdir, s->subdir);
                assert_string_equal(p.o.source, s->spec);
                assert_string_equal(p.o.mountpoint, "/mnt");
                mount_options_done(&p.o);
        }
}

static void test_bad_words(void **state)
{
        static const struct {
                const char *line, *text;
                int result;
        } cases[] = {
                {"mount.glusterfs", "Server name/volume name unspecified", -EINVAL},
                {"mount.glusterfs nothing /mnt", "Please specify correct format", -EINVAL},
                {"mount.glusterfs :/v /mnt", "Server name/volume name unspecified", -EINVAL},
                {"mount.glusterfs h: /mnt", "Server name/volume name unspecified", -EINVAL},
                {"mount.glusterfs h:/ /mnt", "Server name/volume name unspecified", -EINVAL},
                {"mount.glusterfs h:/v", "ERROR: Mount point does not exist", -EINVAL},
                {"mount.glusterfs -o ro h:/v /mnt", "-o options cannot be specified in either first two", -EINVAL},
                {"mount.glusterfs h:/v /mnt -o nosuch", "Invalid option nosuch", -EINVAL},
                {"mount.glusterfs h:/v /mnt -o nosuch=1", "Invalid option: nosuch", -EINVAL},
                {"mount.glusterfs h:/v /mnt -o user_xattr", "Invalid option user_xattr", -EINVAL},
                {"mount.glusterfs h:/v /mnt -o user", "Invalid option user", -EINVAL},
                {"mount.glusterfs h:/v /mnt -o ro=1", "Invalid option: ro", -EINVAL},
                {"mount.glusterfs h:/v /mnt -o log-file", "needs a value", -EINVAL},
                {"mount.glusterfs h:/v /mnt -o attribute-timeout=x", "number of seconds", -EINVAL},
                {"mount.glusterfs h:/v /mnt -o attribute-timeout=-1", "number of seconds", -EINVAL},
                {"mount.glusterfs h:/v /mnt -o attribute-timeout=nan", "number of seconds", -EINVAL},
                {"mount.glusterfs h:/v /mnt -o lru-limit=-1", "whole number", -EINVAL},
                {"mount.glusterfs h:/v /mnt -o fuse-minor=30", "from 31 on", -EINVAL},
                {"mount.glusterfs h:/v /mnt -o direct-io-mode=maybe", "on, off or auto", -EINVAL},
                {"mount.glusterfs h:/v /mnt -o transport=rdma", "not supported", -EINVAL},
                {"mount.glusterfs h:/v /mnt -o worm", "worm", -EOPNOTSUPP},
                {"mount.glusterfs h:/v /mnt -o aux-gfid-mount", "aux-gfid-mount", -EOPNOTSUPP},
                {"mount.glusterfs h:/v /mnt -o volume-name=x", "volume-name", -EOPNOTSUPP},
                {"mount.glusterfs h:/v /mnt -o backup-volfile-servers=", "Invalid backup-volfile-servers", -EINVAL},
                {"mount.glusterfs h:/v /mnt -o backupvolfile-server=", "Invalid backup server", -EINVAL},
                {"mount.glusterfs h:/v /mnt -o backup-volfile-servers=fd00::1:fd00::2", "Invalid backup-volfile",
                 -EINVAL},
                {"mount.glusterfs h:/v /mnt -x", "Invalid option -x", -EINVAL},
                {"mount.glusterfs h:/v /mnt /more", "too many", -EINVAL},
                {"mount.glusterfs h:/v/../x /mnt", "'..'", -EINVAL},
                {"glusterfs", "USAGE: glusterfs [options] [mountpoint]", -ENODATA},
                {"glusterfs --nosuch /mnt", "unrecognized option '--nosuch'", -ENOENT},
                {"glusterfs -Z /mnt", "unrecognized option '-Z'", -ENOENT},
                {"glusterfs /mnt", "Neither a volume", -EINVAL},
                {"glusterfs --volfile-id=v", "No mount point", -EINVAL},
                {"glusterfs --volfile-server", "needs a value", -EINVAL},
                {"glusterfs --volfile-server=h --volfile-id=v --server-port=99999 /mnt", "Port", -EINVAL},
                {"glusterfs --acl=perhaps --volfile-id=v /mnt", "takes no value", -EINVAL},
                {"glusterfs --client-pid=7 --volfile-id=v /mnt", "from -13 to 0", -EINVAL},
        };
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                struct parsed p;
                parse(&p, cases[i].line);
                if (p.result != cases[i].result || !strstr(p.err.text, cases[i].text))
                        fail_msg("%s: %d, %s", cases[i].line, p.result, p.err.text);
                assert_null(strstr(p.err.text, "Invalid argument")); /* the kubelet would mount a second time */
                mount_options_done(&p.o);
        }
}

/* ---- every row --------------------------------------------------------------------------------------------------- */

/* A value that its option takes. */
static const char *value_for(const char *name)
{
        static const struct {
                const char *name, *value;
        } special[] = {
                {"transport", "tcp"},        {"log-level", "INFO"},
                {"subdir-mount", "/d"},      {"client-pid", "-1"},
                {"direct-io-mode", "auto"},  {"use-readdirp", "no"},
                {"local-reads", "no"},
                {"auto-invalidation", "no"}, {"root-squash", "yes"},
                {"no-root-squash", "no"},    {"fuse-mountopts", "nodev,context=x"},
                {"fuse-minor", "31"},
        };
        for (size_t i = 0; i < ELEMENTSOF(special); i++)
                if (streq(name, special[i].name))
                        return special[i].value;
        return "1";
}

static bool is_refused(const char *name)
{
        return streq(name, "worm") || streq(name, "aux-gfid-mount") || streq(name, "volume-name");
}

static void check_form(const char *line, bool refused)
{
        struct parsed p;
        parse(&p, line);
        if (p.result != (refused ? -EOPNOTSUPP : 0))
                fail_msg("%s: %d, %s", line, p.result, p.err.text);
        mount_options_done(&p.o);
}

static void test_every_row(void **state)
{
        struct mount_option_name n;
        unsigned rows = 0;
        for (; mount_option_at(rows, &n); rows++) {
                char line[512];
                bool refused = is_refused(n.name);
                const char *value = n.argument ? value_for(n.name) : NULL;
                if (n.listed) {
                        (void)snprintf(line, sizeof line, "mount.glusterfs h:/v /mnt -o %s%s%s", n.name,
                                       value ? "=" : "", value ? value : "");
                        check_form(line, refused);
                }
                if (n.listed && n.optional) {
                        (void)snprintf(line, sizeof line, "mount.glusterfs h:/v /mnt -o %s=yes", n.name);
                        check_form(line, refused);
                }
                if (!n.word)
                        continue;
                (void)snprintf(line, sizeof line, "glusterfs --volfile-server=h --volfile-id=v --%s%s%s /mnt", n.name,
                               value ? "=" : "", value ? value : "");
                check_form(line, refused);
                if (value) {
                        (void)snprintf(line, sizeof line, "glusterfs --volfile-server=h --volfile-id=v --%s %s /mnt",
                                       n.name, value);
                        check_form(line, refused);
                }
                if (n.letter) {
                        (void)snprintf(line, sizeof line, "glusterfs --volfile-server h --volfile-id v -%c %s /mnt",
                                       n.letter, value ? value : "");
                        check_form(line, refused);
                }
        }
        assert_true(rows > 80);
}

/* ---- meanings ---------------------------------------------------------------------------------------------------- */

static void test_values(void **state)
{
        struct parsed p;
        expect_ok(parse(
                &p,
                "mount.glusterfs h:/v /mnt -o "
                "ro,acl,log-level=ERROR,log-file=/l,attribute-timeout=2.5,entry-timeout=0,negative-timeout=10,"
                "backup-volfile-servers=h:b:[::1],fetch-attempts=3,direct-io-mode=enable,nodev,nosuid,noatime,atime,"
                "xlator-option=*dht.x=y,xlator-option=a.b=c,auto_unmount,_netdev,x-systemd.automount,"
                "context=\"u:o:t:s0:c1,c2\",lru-limit=7,fuse-minor=36,no-root-squash=yes -n"));
        assert_true(p.o.read_only && p.o.acl && p.o.auto_unmount);
        assert_int_equal(p.o.log_level, LOG_LEVEL_ERROR);
        assert_string_equal(p.o.log_file, "/l");
        assert_int_equal(p.o.attribute_timeout, 2500000000ull);
        assert_int_equal(p.o.entry_timeout, 0);
        assert_int_equal(p.o.negative_timeout, 10 * NS_PER_SEC);
        assert_int_equal(p.o.servers.n, 3);
        assert_string_equal(p.o.servers.v[1], "b");
        assert_string_equal(p.o.servers.v[2], "::1");
        assert_int_equal(p.o.fetch_attempts, 3);
        assert_int_equal(p.o.direct_io, MOUNT_DIRECT_ALWAYS);
        assert_int_equal(p.o.kernel_flags, MS_NODEV | MS_NOSUID | MS_RDONLY);
        assert_int_equal(p.o.xlator_options.n, 2);
        assert_string_equal(p.o.xlator_options.v[0], "*dht.x=y");
        assert_string_equal(p.o.kernel_options, "context=\"u:o:t:s0:c1,c2\"");
        assert_int_equal(p.o.lru_limit, 7);
        assert_int_equal(p.o.client_pid, -4);
        assert_int_equal(p.o.warnings.n, 0);
        mount_options_done(&p.o);
}

/* Of two lists the later wins; the single backup is passed over beside a list. */
static void test_backups(void **state)
{
        struct parsed p;
        expect_ok(parse(&p, "mount.glusterfs h:/v /mnt -o "
                            "backup-volfile-servers=a:b,backupvolfile-server=x,backup-volfile-servers=c"));
        assert_int_equal(p.o.servers.n, 2);
        assert_string_equal(p.o.servers.v[1], "c");
        mount_options_done(&p.o);
        expect_ok(parse(&p, "mount.glusterfs h:/v /mnt -o backupvolfile-server=x"));
        assert_int_equal(p.o.servers.n, 2);
        assert_string_equal(p.o.servers.v[1], "x");
        mount_options_done(&p.o);
}

static void test_forms(void **state)
{
        struct parsed p;
        expect_ok(parse(&p, "glusterfs --process-name fuse --volfile-server=a --volfile-server=b -s c --volfile-id=/v "
                            "--subdir-mount=/s -N -p /pid /mnt"));
        assert_int_equal(p.o.servers.n, 3);
        assert_string_equal(p.o.source, "a:/v/s");
        assert_true(p.o.foreground);
        assert_string_equal(p.o.pid_file, "/pid");
        mount_options_done(&p.o);

        expect_ok(parse(&p, "glusterfs -s ::1 --volfile-id v /mnt"));
        assert_string_equal(p.o.source, "[::1]:v");
        mount_options_done(&p.o);

        expect_ok(parse(&p, "glusterfs -f /etc/x.vol /mnt"));
        assert_string_equal(p.o.volfile, "/etc/x.vol");
        mount_options_done(&p.o);

        expect_ok(parse(&p, "mount.glusterfs /etc/x.vol /mnt"));
        assert_string_equal(p.o.volfile, "/etc/x.vol");
        assert_string_equal(p.o.source, "/etc/x.vol");
        mount_options_done(&p.o);

        expect_ok(parse(&p, "/usr/sbin/mortar-mount h:/v /mnt -o ro --debug"));
        assert_true(p.o.read_only && p.o.debug && p.o.foreground && !p.o.helper);
        mount_options_done(&p.o);

        expect_ok(parse(&p, "/sbin/mount.mortar h:/v /mnt -sfnv -N ns -t fuse.glusterfs -o nosuch,transport=tcp"));
        assert_true(p.o.sloppy && p.o.fake && p.o.verbose && p.o.helper);
        assert_int_equal(p.o.warnings.n, 1);
        assert_string_equal(p.o.volume_id, "/v.tcp");
        assert_string_equal(p.o.source, "h:/v.tcp");
        mount_options_done(&p.o);

        expect_ok(parse(&p, "mount.glusterfs h:/v /mnt -o log-level=LOUD,sync"));
        assert_int_equal(p.o.warnings.n, 2);
        assert_string_equal(p.o.warnings.v[0], "invalid log level LOUD, using INFO");
        assert_string_equal(p.o.warnings.v[1], "mount option 'sync' is not handled (yet?)");
        mount_options_done(&p.o);

        expect_ok(parse(&p, "glusterfs --version"));
        assert_true(p.o.show_version);
        mount_options_done(&p.o);
        expect_ok(parse(&p, "mount.glusterfs -V"));
        assert_true(p.o.show_version);
        mount_options_done(&p.o);
        expect_ok(parse(&p, "mount.glusterfs -h"));
        assert_true(p.o.show_helper_usage);
        mount_options_done(&p.o);
}

/* Words cannot outgrow memory. */
static void test_bounds(void **state)
{
        static char list[70000], called[] = "mount.glusterfs", spec[] = "h:/v", place[] = "/mnt", o_[] = "-o";
        char *argv[] = {called, spec, place, o_, list, NULL};
        struct mount_options o;
        struct error err;
        size_t n = (size_t)snprintf(list, sizeof list, "backup-volfile-servers=s0");
        for (int i = 1; i < 100; i++)
                n += (size_t)snprintf(list + n, sizeof list - n, ":s%d", i);
        assert_int_equal(mount_options_parse(5, argv, &o, &err), -EINVAL);
        mount_options_done(&o);
        n = 0;
        for (int i = 0; i < 1000; i++)
                n += (size_t)snprintf(list + n, sizeof list - n, "xlator-option=a.b=%d,", i);
        assert_int_equal(mount_options_parse(5, argv, &o, &err), -EINVAL);
        mount_options_done(&o);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_specs),  cmocka_unit_test(test_bad_words), cmocka_unit_test(test_every_row),
                cmocka_unit_test(test_values), cmocka_unit_test(test_backups),   cmocka_unit_test(test_forms),
                cmocka_unit_test(test_bounds),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
