/* The checker: rounds, findings, the root of the brick (checker.h).
 *
 * A round is a walk over all names, then one over all handles:
 *
 *      survey     nothing is changed or reported; findings are kept, and the gfids of several objects noted
 *      report     only if the survey's findings cannot be reported as they are: because something is to be repaired,
 *                 because several objects have one gfid, or because the brick is served and a second look tells what
 *                 is really there. A clean brick is walked once.
 *
 * If the tables of objects grow beyond their limit, the survey begins again with half of the gfids (by first byte), and
 * a further round does the others. After repairs everything is looked at once more, and what is left is counted.
 *
 * Repairs are single system calls on a brick that nobody serves; any prefix of them is a better brick, so a crash in
 * between needs nothing but another run. One thread.
 */
#include "brick/check.h"
#include "brick/cache.h"
#include "brick/names.h"

#include <stdarg.h>
#include <sys/xattr.h>
#include <xxhash.h>

#define GFID_BYTES 256u
#define KEPT_MAX 10000u
#define KEYS_MAX 1000000u
#define TEXT_MAX 1024
#define PATH_BYTES MIB /* of one path in the tree; longer ones are cut */
#define ROOT_HANDLE ".glusterfs/00/00/00000000-0000-0000-0000-000000000001"
#define ROOT_TARGET "../../.."

static const struct {
        const char *word;
        enum finding_severity severity;
} classes[FINDING_CLASS_MAX] = {
#define X(name, word, severity) {word, FINDING_##severity},
        FINDING_CLASSES(X)
#undef X
};

const char *finding_class_word(enum finding_class c)
{
        return classes[c].word;
}

const char *finding_severity_word(enum finding_severity s)
{
        static const char *const words[FINDING_SEVERITIES] = {"note", "repairable", "error"};
        return words[s];
}

/* ---- findings ------------------------------------------------------------------------------------------------------ */

/* A finding of the survey; path and text follow it. */
struct kept {
        struct kept *next;
        struct finding f;
        char text[];
};

/* Which finding it is, for comparing two walks. */
static uint64_t finding_key(const struct finding *f)
{
        XXH64_hash_t h = XXH64(f->path, strlen(f->path), f->class);
        return XXH64(f->gfid.b, sizeof f->gfid.b, h);
}

static void count_finding(struct check_totals *t, const struct finding *f)
{
        t->found[f->severity]++;
        t->by_class[f->class]++;
        t->repaired += f->outcome == FINDING_REPAIRED;
}

static void report(struct checker *c, const struct finding *f)
{
        count_finding(&c->totals, f);
        if (c->config->report)
                c->config->report(c->config->arg, f);
}

static void keep(struct checker *c, const struct finding *f)
{
        uint64_t key = finding_key(f);
        if (c->keys.n < KEYS_MAX)
                (void)table_add(&c->keys, &key);
        if (c->kept_count++ >= KEPT_MAX)
                return;
        size_t path = strlen(f->path) + 1, text = strlen(f->text) + 1;
        struct kept *k = malloc(sizeof *k + path + text);
        if (!k) {
                c->kept_count = KEPT_MAX + 1; /* another walk will report them */
                return;
        }
        *k = (struct kept){.f = *f};
        k->f.path = memcpy(k->text, f->path, path);
        k->f.text = memcpy(k->text + path, f->text, text);
        *c->kept_last = k;
        c->kept_last = &k->next;
}

static void forget_kept(struct checker *c)
{
        while (c->kept) {
                struct kept *next = c->kept->next;
                free(c->kept);
                c->kept = next;
        }
        c->kept_last = &c->kept;
        c->kept_count = 0;
        table_done(&c->keys);
}

bool check_found(struct checker *c, enum finding_class class, const char *path, const struct gfid *g, check_fix fix,
                 void *arg, const char *format, ...)
{
        char text[TEXT_MAX];
        struct finding f = {.class = class,
                            .severity = classes[class].severity,
                            .path = path ? path : check_path(c),
                            .gfid = g ? *g : (struct gfid){{0}},
                            .text = text};
        va_list ap;
        va_start(ap, format);
        (void)vsnprintf(text, sizeof text, format, ap);
        va_end(ap);
        if (f.severity == FINDING_REPAIRABLE && !fix)
                f.severity = FINDING_ERROR;
        if (!c->reporting) {
                keep(c, &f);
                c->wrong += f.severity != FINDING_NOTE || fix;
                return false;
        }
        if (c->config->served && c->keys.n < KEYS_MAX && !table_has_u64(&c->keys, finding_key(&f)))
                return false;
        if (c->repairing && fix) {
                f.error = fix(c, arg);
                f.outcome = f.error < 0 ? FINDING_FAILED : FINDING_REPAIRED;
        }
        report(c, &f);
        return f.outcome == FINDING_REPAIRED;
}

void check_failed(struct checker *c, const char *path, int error, const char *what)
{
        if (error == -ENOENT || error == -ESTALE)
                return;
        c->totals.incomplete = true;
        check_found(c, FINDING_UNREADABLE, path, NULL, NULL, NULL, "%s: %s", what, strerror(-error));
}

/* ---- what is remembered -------------------------------------------------------------------------------------------- */

static void remember(struct checker *c, struct table *t, const void *element)
{
        size_t memory = c->config->memory ? c->config->memory : CHECK_MEMORY_DEFAULT;
        if (table_add(t, element) < 0)
                c->overflow = true;
        else if (!c->reporting && c->first < c->last && c->known.n * c->known.size + c->records.n * c->records.size > memory)
                c->overflow = true;
}

void check_know(struct checker *c, const struct gfid *g, bool landfill)
{
        uint64_t mark = gfid_mark(g);
        remember(c, landfill ? &c->removed : &c->known, &mark);
}

void check_record(struct checker *c, const struct name_record *r)
{
        remember(c, &c->records, r);
}

void check_spare(struct checker *c, ino_t ino)
{
        uint64_t number = ino;
        remember(c, &c->spare, &number);
}

/* ---- paths, directories -------------------------------------------------------------------------------------------- */

void check_path_cut(struct checker *c, size_t len)
{
        c->path.len = MIN(c->path.len, len);
}

void check_path_push(struct checker *c, size_t len, const char *name)
{
        check_path_cut(c, len);
        if (len > 0)
                (void)buf_append(&c->path, "/", 1);
        (void)buf_append_str(&c->path, name);
        if (c->path.error == -E2BIG)
                c->path.error = 0;
}

const char *check_path(struct checker *c)
{
        const char *path = buf_cstr(&c->path);
        return path && *path ? path : ".";
}

int check_each(struct checker *c, int fd, void (*fn)(struct checker *c, int fd, const char *name, void *arg), void *arg)
{
        _Alignas(struct disk_dirent) uint8_t data[8192];
        ssize_t n;
        while (!c->overflow && (n = disk_getdents(c->b.disk, fd, data, sizeof data)) != 0) {
                if (n < 0)
                        return (int)n;
                for (ssize_t at = 0; at < n && !c->overflow;) {
                        const struct disk_dirent *d = (const void *)(data + at);
                        at += d->d_reclen;
                        if (!streq(d->d_name, ".") && !streq(d->d_name, ".."))
                                fn(c, fd, d->d_name, arg);
                }
        }
        return 0;
}

int check_open_dir(struct checker *c, int dirfd, const char *path)
{
        return disk_open(c->b.disk, dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
}

/* ---- the root ------------------------------------------------------------------------------------------------------ */

static int fix_root_gfid(struct checker *c, void *arg)
{
        struct gfid root = GFID_ROOT;
        (void)arg;
        return disk_setxattr(c->b.disk, c->b.root_fd, "", XATTR_GFID, root.b, sizeof root.b, XATTR_CREATE);
}

static int make_dir(struct checker *c, const char *path, mode_t mode)
{
        int r = disk_mkdir(c->b.disk, c->b.root_fd, path, mode);
        return r == -EEXIST ? 0 : r;
}

/* What other repairs need; the brick process makes the rest. */
static int fix_layout(struct checker *c, void *arg)
{
        (void)arg;
        int r = make_dir(c, ".glusterfs", 0600);
        return r < 0 ? r : make_dir(c, ".glusterfs/unlink", 0600);
}

static int fix_root_handle(struct checker *c, void *arg)
{
        struct disk *d = c->b.disk;
        int r = fix_layout(c, arg);
        if (r == 0)
                r = make_dir(c, ".glusterfs/00", 0700);
        if (r == 0)
                r = make_dir(c, ".glusterfs/00/00", 0700);
        if (r == 0)
                r = disk_symlink(d, ROOT_TARGET, c->b.root_fd, ROOT_HANDLE);
        if (r != -EEXIST)
                return r;
        r = check_put_aside(c, ROOT_HANDLE);
        return r < 0 ? r : disk_symlink(d, ROOT_TARGET, c->b.root_fd, ROOT_HANDLE);
}

static void check_root_gfid(struct checker *c)
{
        struct place root = {.dirfd = c->b.root_fd};
        struct gfid g;
        int r = gfid_read(&c->b, &root, &g);
        if (r == -ENODATA)
                check_found(c, FINDING_LAYOUT, ".", NULL, fix_root_gfid, NULL, "the root has no " XATTR_GFID);
        else if (r == -EUCLEAN || (r == 0 && !gfid_is_root(&g)))
                check_found(c, FINDING_ROOT, ".", r == 0 ? &g : NULL, NULL, NULL,
                            "the root's " XATTR_GFID " is not that of a root: the directory is a part of another brick, "
                            "or a copy of one");
        else if (r < 0)
                check_failed(c, ".", r, "reading " XATTR_GFID);
}

static void check_root_handle(struct checker *c)
{
        char target[64];
        ssize_t n = disk_readlink(c->b.disk, c->b.root_fd, ROOT_HANDLE, target, sizeof target - 1);
        struct gfid root = GFID_ROOT;
        if (n >= 0)
                target[n] = '\0';
        if (n == -ENOENT)
                check_found(c, FINDING_LAYOUT, ROOT_HANDLE, &root, fix_root_handle, NULL, "the root has no handle");
        else if (n == -EINVAL || (n >= 0 && !streq(target, ROOT_TARGET)))
                check_found(c, FINDING_LAYOUT, ROOT_HANDLE, &root, fix_root_handle, NULL,
                            "the root's handle does not lead to the root: the brick refuses to start");
        else if (n < 0)
                check_failed(c, ROOT_HANDLE, (int)n, "reading");
}

static void check_volume_id(struct checker *c)
{
        struct gfid *id = &c->totals.volume_id;
        ssize_t n = disk_getxattr(c->b.disk, c->b.root_fd, "", XATTR_VOLUME_ID, id->b, sizeof id->b);
        if (n == (ssize_t)sizeof id->b && !gfid_is_null(id))
                return;
        *id = (struct gfid){0};
        check_found(c, FINDING_ROOT, ".", NULL, NULL, NULL,
                    n == -ENODATA ? "the root has no " XATTR_VOLUME_ID ": the brick refuses to start; `mortar volume info` "
                                    "(or another brick of the volume) tells the id, setfattr writes it"
                                  : XATTR_VOLUME_ID " is not a volume's id: the brick refuses to start");
}

static void check_root(struct checker *c)
{
        struct stat st;
        check_volume_id(c);
        check_root_gfid(c);
        if (disk_stat(c->b.disk, c->b.root_fd, ".glusterfs", &st) == -ENOENT)
                check_found(c, FINDING_LAYOUT, ".glusterfs", NULL, fix_layout, NULL,
                            "there is no .glusterfs: the brick was never served, or somebody has removed it");
        check_root_handle(c);
}

/* ---- rounds -------------------------------------------------------------------------------------------------------- */

static void walk_tree(struct checker *c)
{
        struct gfid root = GFID_ROOT;
        int fd = check_open_dir(c, c->b.root_fd, ".");
        check_path_cut(c, 0);
        if (fd < 0)
                check_failed(c, ".", fd, "opening");
        else
                check_walk(c, fd, &root, false);
        c->totals.rounds++;
}

static void clear_tables(struct checker *c)
{
        table_done(&c->known);
        table_done(&c->removed);
        table_done(&c->records);
        table_done(&c->spare);
        c->overflow = false;
        c->wrong = 0;
}

/* One look at everything. Ends early when the tables overflow. */
static void walk_all(struct checker *c)
{
        clear_tables(c);
        check_know(c, &GFID_ROOT, false);
        if (c->first == 0)
                check_root(c);
        check_removed(c);
        walk_tree(c);
        if (c->overflow)
                return;
        table_sort_u64(&c->known);
        table_sort_u64(&c->removed);
        table_sort_records(&c->records);
        if (!c->reporting)
                check_find_twice(c);
        check_handles(c);
        table_sort_u64(&c->spare);
        check_groups(c);
        if (c->first == 0) {
                check_indices(c);
                check_lost_found(c);
        }
}

/* Surveys as many gfids from c->first on as the tables hold. */
static int survey(struct checker *c)
{
        struct check_totals before = c->totals;
        c->reporting = c->repairing = false;
        for (;;) {
                forget_kept(c);
                table_done(&c->twice);
                walk_all(c);
                if (!c->overflow)
                        break;
                if (c->first == c->last)
                        return -ENOMEM;
                unsigned rounds = c->totals.rounds;
                c->totals = before;
                c->totals.rounds = rounds;
                c->last = c->first + (c->last - c->first) / 2;
        }
        table_sort_u64(&c->keys);
        return 0;
}

static bool second_look(const struct checker *c)
{
        if (c->kept_count == 0)
                return false;
        return c->kept_count > KEPT_MAX || c->twice.n > 0 || (c->wrong > 0 && (c->config->served || c->config->repair));
}

/* The objects were counted by the survey. */
static int look_again(struct checker *c)
{
        struct check_totals counted = c->totals;
        c->reporting = true;
        c->repairing = c->config->repair;
        walk_all(c);
        struct check_totals t = c->totals;
        c->totals.directories = counted.directories;
        c->totals.files = counted.files;
        c->totals.others = counted.others;
        c->totals.without_mdata = counted.without_mdata;
        c->totals.without_gfid2path = counted.without_gfid2path;
        c->totals.pending = counted.pending;
        c->totals.rounds = t.rounds;
        return c->overflow ? -ENOMEM : 0;
}

static int round_of(struct checker *c)
{
        int r = survey(c);
        if (r < 0)
                return r;
        if (second_look(c))
                return look_again(c);
        for (const struct kept *k = c->kept; k; k = k->next)
                report(c, &k->f);
        return 0;
}

static int all_rounds(struct checker *c)
{
        int r = 0;
        for (c->first = 0; r == 0 && c->first < GFID_BYTES; c->first = c->last + 1) {
                c->last = GFID_BYTES - 1;
                r = round_of(c);
        }
        return r;
}

/* ---- the whole ----------------------------------------------------------------------------------------------------- */

static void checker_free(struct checker *c)
{
        clear_tables(c);
        forget_kept(c);
        table_done(&c->twice);
        buf_done(&c->path);
        if (c->b.root_fd >= 0)
                disk_close(c->b.disk, c->b.root_fd);
        free(c);
}
DEFINE_CLEANUP(struct checker *, checker_free)

static struct checker *checker_new(struct disk *disk, const struct check_config *config)
{
        struct checker *c = calloc(1, sizeof *c);
        if (!c)
                return NULL;
        c->b.disk = disk;
        c->b.root_fd = -EBADF;
        c->config = config;
        c->path = BUF_INIT(PATH_BYTES);
        c->known.size = c->removed.size = c->spare.size = c->keys.size = sizeof(uint64_t);
        c->records.size = sizeof(struct name_record);
        c->twice.size = sizeof(struct gfid);
        c->kept_last = &c->kept;
        return c;
}

/* Something that was never a brick is not looked at. */
static int open_brick(struct checker *c, const char *path, struct error *e)
{
        struct stat st;
        int fd = disk_open(c->b.disk, AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
        if (fd < 0)
                return error_set(e, fd, "%s: %s.", path, strerror(-fd));
        c->b.root_fd = fd;
        int r = disk_stat(c->b.disk, fd, "", &st);
        if (r < 0)
                return error_set(e, r, "%s: %s.", path, strerror(-r));
        c->dev = st.st_dev;
        c->root_ino = st.st_ino;
        ssize_t n = disk_getxattr(c->b.disk, fd, "", XATTR_VOLUME_ID, NULL, 0);
        if (n < 0 && disk_stat(c->b.disk, fd, ".glusterfs", &st) < 0)
                return error_set(e, -ENODATA, "%s is not a brick: it has neither %s nor .glusterfs.", path, XATTR_VOLUME_ID);
        return 0;
}

/* What is left after repairs. */
static int look_once_more(struct checker *c)
{
        const struct check_config *asked = c->config;
        const struct check_config silent = {.memory = asked->memory};
        struct check_totals before = c->totals;
        c->config = &silent;
        c->totals = (struct check_totals){.rounds = before.rounds};
        int r = all_rounds(c);
        before.left = c->totals.found[FINDING_ERROR] + c->totals.found[FINDING_REPAIRABLE];
        before.rounds = c->totals.rounds;
        c->totals = before;
        c->config = asked;
        return r;
}

int brick_check(struct disk *disk, const char *path, const struct check_config *config, struct check_totals *ret,
                struct error *e)
{
        _cleanup_(checker_freep) struct checker *c = checker_new(disk, config);
        if (!c)
                return error_set(e, -ENOMEM, "%s: no memory.", path);
        int r = open_brick(c, path, e);
        if (r < 0)
                return r;
        r = all_rounds(c);
        c->totals.left = c->totals.found[FINDING_ERROR] + c->totals.found[FINDING_REPAIRABLE];
        if (r == 0 && c->totals.repaired > 0)
                r = look_once_more(c);
        if (r < 0)
                return error_set(e, r, "%s: %s.", path, strerror(-r));
        *ret = c->totals;
        return 0;
}
