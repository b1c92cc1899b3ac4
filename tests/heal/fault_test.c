/* Faults at every step of a crawl and of the heals that it does: a brick answers with an error, a connection breaks, there is
 * no memory, the healer is told to stop. Whatever happened, the next crawl heals everything, and nothing that the good
 * copies had is lost.
 *
 * Bricks do not know chains here, so that every operation is a message of its own. FAULT_FACTOR=10: ten times as many faults;
 * FAULT_TRACE=1 tells which.
 */
#include "heal_calls.h"


#include "base/log.h"
#include "heal/healer.h"

#define BIG 400000u
#define HOLE (1 * MIB)
#define TRIES 12

static struct world w;
static struct healer *healer;
static struct volfile *volfile;

/* ---- faults ------------------------------------------------------------------------------------------------------ */

enum kind { NO_FAULT, REFUSE, RESET, STOP, NO_MEMORY };

static struct {
        enum kind kind;
        unsigned brick; /* REFUSE */
        uint32_t fop;
        int error;
        unsigned skip, times; /* of those that count: so many go well, so many do not */
        unsigned seen, fired;
} fault;

static unsigned factor(void)
{
        const char *text = getenv("FAULT_FACTOR");
        return text ? (unsigned)MAX(strtoul(text, NULL, 10), 1ul) : 1;
}

static bool strikes(void)
{
        unsigned n = fault.seen++;
        bool now = n >= fault.skip && n - fault.skip < fault.times;
        fault.fired += now;
        return now;
}

static int on_fop(struct world_brick *b, uint32_t fop, void *arg)
{
        (void)arg;
        if (fault.kind == REFUSE && b->index == fault.brick && fop == fault.fop && strikes())
                return fault.error;
        if (fault.kind == RESET && strikes())
                world_reset(&w, 0, b->index);
        if (fault.kind == STOP && strikes())
                healer->closing = true;
        return 0;
}

void *__real_arena_alloc(struct arena *a, size_t size);
void *__wrap_arena_alloc(struct arena *a, size_t size);
char *__real_arena_strndup(struct arena *a, const void *data, size_t n);
char *__wrap_arena_strndup(struct arena *a, const void *data, size_t n);
struct vnode *__real_vnode_new(struct volume *v, const struct gfid *gfid, uint32_t type);
struct vnode *__wrap_vnode_new(struct volume *v, const struct gfid *gfid, uint32_t type);
int __real_fibre_group_start(struct loop *loop, struct fibre_group *g, const char *name, fibre_fn fn, void *arg);
int __wrap_fibre_group_start(struct loop *loop, struct fibre_group *g, const char *name, fibre_fn fn, void *arg);

/* Arenas of heals are of these sizes, and those of bricks are not. */
static bool no_memory_in(const struct arena *a)
{
        bool ours = a->max == 8 * MIB || a->max == 4 * MIB || a->max == 1 * MIB;
        return fault.kind == NO_MEMORY && ours && strikes();
}

void *__wrap_arena_alloc(struct arena *a, size_t size)
{
        return no_memory_in(a) ? NULL : __real_arena_alloc(a, size);
}

char *__wrap_arena_strndup(struct arena *a, const void *data, size_t n)
{
        return no_memory_in(a) ? NULL : __real_arena_strndup(a, data, n);
}

struct vnode *__wrap_vnode_new(struct volume *v, const struct gfid *gfid, uint32_t type)
{
        return fault.kind == NO_MEMORY && strikes() ? NULL : __real_vnode_new(v, gfid, type);
}

int __wrap_fibre_group_start(struct loop *loop, struct fibre_group *g, const char *name, fibre_fn fn, void *arg)
{
        bool ours = streq(name, "heal name") || streq(name, "heal data") || streq(name, "heal object");
        if (fault.kind == NO_MEMORY && ours && strikes())
                return -ENOMEM;
        return __real_fibre_group_start(loop, g, name, fn, arg);
}

/* ---- what is to be healed ---------------------------------------------------------------------------------------- */

static struct vnode *look_up(struct fibre *self, struct world_client *c, struct vnode *dir, const char *name)
{
        struct vnode *i = NULL;
        assert_int_equal(call_lookup(self, c, dir, name, &i), 0);
        return i;
}

static int link_to(struct fibre *self, struct world_client *c, struct vnode *i, struct vnode *dir, const char *name)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(2 * MIB);
        struct request r = world_request(c, &a);
        struct link_fop_req req = {.oldgfid = i->gfid, .newgfid = dir->gfid, .newbname = str_of(name)};
        struct link_fop_rep rep;
        r.inode = i;
        r.new_parent = dir;
        return subvolume_link(self, volume_top(c->volume), &r, &req, &rep);
}

static void make_tree(struct fibre *self, struct world_client *c, void *arg)
{
        (void)arg;
        assert_int_equal(call_mkdir(self, c, NULL, "a"), 0);
        struct vnode *a = look_up(self, c, NULL, "a");
        assert_int_equal(call_mkdir(self, c, a, "sub"), 0);
        assert_int_equal(call_mkdir(self, c, a, "gone"), 0);
        struct vnode *gone = look_up(self, c, a, "gone");
        assert_int_equal(call_mkdir(self, c, gone, "deep"), 0);
        assert_int_equal(call_mknod(self, c, gone, "z", S_IFREG | 0644), 0);
        assert_int_equal(call_mknod(self, c, a, "moved", S_IFREG | 0644), 0);
        make_file(self, c, "big", BIG, 1);
        make_file(self, c, "short", BIG / 2, 2);
        make_file(self, c, "removed", 100, 3);
        struct vnode *big = look_up(self, c, NULL, "big");
        assert_int_equal(call_setxattr(self, c, big, "user.old", "1"), 0);
        vnode_unref(big);
        vnode_unref(gone);
        vnode_unref(a);
}

static void change_names(struct fibre *self, struct world_client *c)
{
        struct vnode *a = look_up(self, c, NULL, "a"), *gone = look_up(self, c, a, "gone");
        struct vnode *big = look_up(self, c, NULL, "big");
        assert_int_equal(call_rename(self, c, a, "sub", NULL, "sub"), 0);
        assert_int_equal(call_rename(self, c, a, "moved", NULL, "moved"), 0);
        assert_int_equal(call_rmdir(self, c, gone, "deep"), 0);
        assert_int_equal(call_unlink(self, c, gone, "z"), 0);
        assert_int_equal(call_rmdir(self, c, a, "gone"), 0);
        assert_int_equal(call_unlink(self, c, NULL, "removed"), 0);
        assert_int_equal(call_mkdir(self, c, a, "new"), 0);
        struct vnode *new = look_up(self, c, a, "new");
        assert_int_equal(call_symlink(self, c, new, "link", "old"), 0);
        assert_int_equal(call_mknod(self, c, new, "pipe", S_IFIFO | 0640), 0);
        assert_int_equal(link_to(self, c, big, new, "second"), 0);
        assert_int_equal(call_chmod(self, c, new, 01777), 0);
        assert_int_equal(call_setxattr(self, c, new, "user.colour", "green"), 0);
        vnode_unref(new);
        vnode_unref(big);
        vnode_unref(gone);
        vnode_unref(a);
}

static void change_files(struct fibre *self, struct world_client *c)
{
        struct vfile *f = NULL;
        assert_int_equal(call_open(self, c, NULL, "big", 0, &f), 0);
        write_pattern(self, c, f, 0, BIG / 2, 7);
        assert_int_equal(call_chmod(self, c, f->inode, 0751), 0);
        assert_int_equal(call_removexattr(self, c, f->inode, "user.old"), 0);
        assert_int_equal(call_setxattr(self, c, f->inode, "user.new", "2"), 0);
        assert_int_equal(call_close(self, c, f), 0);
        assert_int_equal(call_open(self, c, NULL, "short", 0, &f), 0);
        assert_int_equal(call_ftruncate(self, c, f, 5000), 0);
        assert_int_equal(call_ftruncate(self, c, f, HOLE), 0);
        write_pattern(self, c, f, HOLE, 5000, 4);
        assert_int_equal(call_close(self, c, f), 0);
}

static void change_tree(struct fibre *self, struct world_client *c, void *arg)
{
        (void)arg;
        change_files(self, c);
        change_names(self, c);
}

static enum heal_kind kind_of(unsigned variant)
{
        return variant == 2 ? HEAL_FULL : HEAL_INDEX;
}

static const char *const options[] = {NULL, "    option data-self-heal-algorithm diff\n",
                                      "    option data-self-heal-algorithm full\n    option granular-entry-heal off\n"};

/* A world in which brick BEHIND missed all changes, and a healer. */
static void prepare(unsigned variant, unsigned behind)
{
        struct error err = {0};
        world_open(&w, &(struct world_config){.layout = variant == 1 ? WORLD_ARBITER : WORLD_REP3,
                                              .seed = 100 + variant,
                                              .no_chain = true,
                                              .replicate_options = options[variant]});
        w.on_fop = on_fop;
        world_run(&w, 0, make_tree, NULL);
        world_pass(&w, 2 * NS_PER_SEC);
        heal_brick_down(&w, behind);
        world_run(&w, 0, change_tree, NULL);
        world_pass(&w, 2 * NS_PER_SEC);
        heal_brick_up(&w, behind);
        assert_int_equal(volfile_parse(w.volfile, strlen(w.volfile), &volfile, &err), 0);
        const struct healer_config config = {.loop = sim_node_loop(w.clients[0].node),
                                             .name = WORLD_VOLUME,
                                             .volume = w.clients[0].volume,
                                             .volfile = volfile,
                                             .all_bricks = true};
        assert_int_equal(healer_new(&config, &healer, &err), 0);
        for (unsigned b = 0; b < w.n_bricks; b++)
                memset(w.bricks[b].calls, 0, sizeof w.bricks[b].calls);
}

static void drop(void)
{
        healer = healer_free(healer);
        volfile = volfile_free(volfile);
        world_close(&w);
}

struct once {
        enum heal_kind kind;
        uint64_t left;
        int result;
};

static void run_once(struct fibre *self, struct world_client *c, void *arg)
{
        struct once *o = arg;
        (void)c;
        o->result = healer_once(self, healer, o->kind, &o->left);
}

static struct once once(enum heal_kind kind)
{
        struct once o = {.kind = kind};
        world_run(&w, 0, run_once, &o);
        return o;
}

/* What clients were told is there: on a copy that missed nothing. */
static void assert_content(unsigned brick)
{
        static uint8_t found[BIG], expected[BIG];
        pattern(expected, BIG / 2, 0, 7);
        pattern(expected + BIG / 2, BIG / 2, BIG / 2, 1);
        assert_int_equal(world_read(&w.bricks[brick], "/big", found, BIG), BIG);
        assert_memory_equal(found, expected, BIG);
        assert_true(world_exists(&w.bricks[brick], "/a/new/pipe") && world_exists(&w.bricks[brick], "/moved"));
        assert_true(world_exists(&w.bricks[brick], "/sub") && !world_exists(&w.bricks[brick], "/removed"));
        assert_false(world_exists(&w.bricks[brick], "/a/gone"));
}

/* After the fault all is healed, in a few crawls. */
static void assert_heals(void)
{
        struct once o = {.left = 1};
        if (fault.fired > 0 && getenv("FAULT_TRACE"))
                print_message("kind %d brick %u %s skip %u of %u, %u fired\n", fault.kind, fault.brick,
                              fault.fop ? fop_by_number(fault.fop)->name : "", fault.skip, fault.seen, fault.fired);
        fault.kind = NO_FAULT;
        healer->closing = false;
        for (unsigned k = 0; k < TRIES && (o.left > 0 || o.result < 0); k++) {
                heal_wait_up(&w, 0);
                o = once(HEAL_INDEX);
                world_pass(&w, NS_PER_SEC);
        }
        if (o.left > 0 || o.result < 0)
                fail_msg("not healed: %d, %llu left, %s", o.result, (unsigned long long)o.left,
                         healer->sets[0].last_error.why);
        assert_equal_copies(&w, false);
        assert_content(0);
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

/* An error answer to operation FOP of BRICK, after SKIP of them. */
static bool refuse(unsigned v, unsigned brick, uint32_t fop, unsigned skip, unsigned times, int error)
{
        prepare(v, 1);
        memset(&fault, 0, sizeof fault);
        fault.kind = REFUSE;
        fault.brick = brick;
        fault.fop = fop;
        fault.error = error;
        fault.skip = skip;
        fault.times = times;
        (void)once(kind_of(v));
        bool fired = fault.fired > 0;
        assert_heals();
        drop();
        return fired;
}

static void errors_of_any_operation_of(unsigned brick)
{
        static const int errors[] = {EIO, ENOSPC, ENOENT, ENOMEM};
        unsigned counts[FOP_MAX], fired = 0;
        unsigned v = brick;
        prepare(v, 1);
        assert_int_equal(once(kind_of(v)).result, 0);
        memcpy(counts, w.bricks[brick].calls, sizeof counts);
        assert_heals();
        drop();
        for (uint32_t fop = 1; fop < FOP_MAX; fop++) {
                bool lock = fop == FOP_INODELK || fop == FOP_ENTRYLK; /* later ones may be those that unlock */
                if (counts[fop] == 0)
                        continue;
                fired += refuse(v, brick, fop, 0, 1, errors[fop % 4]);
                if (lock || counts[fop] < 2)
                        continue;
                fired += refuse(v, brick, fop, counts[fop] / 2, 1, errors[(fop + 1) % 4]);
                fired += refuse(v, brick, fop, 0, 1000000, errors[(fop + 2) % 4]);
        }
        assert_true(fired > 12);
}

static void errors_of_a_source(void **state)
{
        (void)state;
        errors_of_any_operation_of(0);
}

static void errors_of_a_sink(void **state)
{
        (void)state;
        errors_of_any_operation_of(1);
}

static void errors_of_another_copy(void **state)
{
        (void)state;
        errors_of_any_operation_of(2);
}

/* The fault after 0, 1, 2… of what counts, in STEPS worlds, spread over a whole crawl. */
static void everywhere(enum kind kind, unsigned steps)
{
        unsigned total[ELEMENTSOF(options)] = {0};
        steps *= factor();
        for (unsigned v = 0; v < ELEMENTSOF(options); v++) {
                prepare(v, 1);
                memset(&fault, 0, sizeof fault);
                fault.kind = kind;
                assert_int_equal(once(kind_of(v)).result, 0);
                total[v] = fault.seen;
                assert_true(total[v] > 100);
                assert_heals();
                drop();
        }
        for (unsigned k = 0; k < steps; k++) {
                unsigned v = k % ELEMENTSOF(options);
                prepare(v, 1);
                memset(&fault, 0, sizeof fault);
                fault.kind = kind;
                fault.times = 1;
                fault.skip = (unsigned)((uint64_t)k * total[v] / steps);
                if (getenv("FAULT_TRACE"))
                        print_message("next: kind %d skip %u variant %u\n", kind, fault.skip, v);
                (void)once(kind_of(v));
                assert_int_equal(fault.fired, 1);
                assert_heals();
                drop();
        }
}

static void a_connection_breaks(void **state)
{
        (void)state;
        everywhere(RESET, 24);
}

static void it_is_told_to_stop(void **state)
{
        (void)state;
        everywhere(STOP, 12);
}

static void there_is_no_memory(void **state)
{
        (void)state;
        everywhere(NO_MEMORY, 36);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(errors_of_a_source),
                cmocka_unit_test(errors_of_a_sink),
                cmocka_unit_test(errors_of_another_copy),
                cmocka_unit_test(a_connection_breaks),
                cmocka_unit_test(it_is_told_to_stop),
                cmocka_unit_test(there_is_no_memory),
        };
        log_set_level(LOG_LEVEL_ERROR);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
