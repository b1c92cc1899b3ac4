/* The lock rules (src/brick/lock_set.c, lock_posix.c): named cases of brick.md §13, and random operations against a
 * naive model that keeps flat arrays, one entry a lock, and for posix locks one cell a byte and owner. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "brick/lock_set.h"

#define CLIENTS 4
#define OWNERS 3
#define BYTES 24
#define DOMAINS 2
#define SLOTS 512
#define OPS 6000

static const char *const domain_names[DOMAINS] = {"vol-replicate-0", "vol-replicate-0:metadata"};
static const char *const entry_names[] = {NULL, "a", "b", "c"};
static const uint8_t owner_bytes[OWNERS][8] = {{1}, {2, 2, 2}, {3, 0, 0, 0, 0, 0, 0, 1}};
static const uint32_t owner_lens[OWNERS] = {1, 3, 8};

static uint64_t rng_state;
static uint32_t rng(uint32_t bound)
{
        rng_state = rng_state * 6364136223846793005ull + 1442695040888963407ull;
        return (uint32_t)(rng_state >> 33) % bound;
}

/* ---- the model ----------------------------------------------------------------------------------------------------
 */

enum slot_state { FREE, GRANTED, WAITING };

struct slot { /* one lock or waiter, in order of arrival */
        enum slot_state state;
        uint64_t seq;
        enum lock_kind kind;
        int client, owner, domain, name;
        uint32_t type;
        uint64_t start, end;
        int fd;
        int id; /* of a waiter: what `answer` is expected for */
};

struct model {
        struct slot slots[SLOTS];             /* inode and entry locks; posix waiters */
        uint8_t cell[CLIENTS][OWNERS][BYTES]; /* posix: 0 none, 1 read, 2 write */
        int cell_fd[CLIENTS][OWNERS][BYTES];
        uint64_t seq;
        int answered[SLOTS * 64]; /* by id: 0 waiting, else 1000 + -error */
};

static bool model_overlap(const struct slot *a, const struct slot *b)
{
        if (a->kind != b->kind || a->domain != b->domain)
                return false;
        if (a->kind == LOCK_ENTRY)
                return a->name == 0 || b->name == 0 || a->name == b->name;
        if (a->end < b->start || b->end < a->start)
                return false;
        return a->type == LOCK_TYPE_WRITE || b->type == LOCK_TYPE_WRITE;
}

static bool model_same(const struct slot *a, const struct slot *b)
{
        return a->client == b->client && a->owner == b->owner;
}

static bool model_grantable(const struct model *m, const struct slot *s)
{
        bool overtakes = false, nested = false;
        for (int i = 0; i < SLOTS; i++) {
                const struct slot *o = &m->slots[i];
                if (o->state == FREE || o == s || o->kind != s->kind || o->domain != s->domain)
                        continue;
                if (o->state == GRANTED && !model_same(o, s) && model_overlap(o, s))
                        return false;
                if (o->state == WAITING && o->seq < s->seq && model_overlap(o, s))
                        overtakes = true;
                if (model_same(o, s) && (o->state == GRANTED || o->seq < s->seq))
                        nested = true;
        }
        return !overtakes || nested;
}

static struct slot *model_oldest(struct model *m, enum slot_state state, uint64_t after)
{
        struct slot *best = NULL;
        for (int i = 0; i < SLOTS; i++) {
                struct slot *s = &m->slots[i];
                if (s->state == state && s->seq > after && (!best || s->seq < best->seq))
                        best = s;
        }
        return best;
}

static struct slot *model_slot(struct model *m)
{
        for (int i = 0; i < SLOTS; i++)
                if (m->slots[i].state == FREE) {
                        m->slots[i] = (struct slot){.seq = ++m->seq};
                        return &m->slots[i];
                }
        fail_msg("model is full");
        return NULL;
}

/* Every waiter of one kind and domain again, oldest first. */
static void model_rescan(struct model *m, enum lock_kind kind, int domain)
{
        struct slot *s;
        for (uint64_t after = 0; (s = model_oldest(m, WAITING, after)) != NULL; after = s->seq) {
                if (s->kind != kind || s->domain != domain)
                        continue;
                if (model_grantable(m, s)) {
                        s->state = GRANTED;
                        m->answered[s->id] = 1000;
                }
        }
}

static bool model_posix_conflict(const struct model *m, const struct slot *s)
{
        for (int c = 0; c < CLIENTS; c++)
                for (int o = 0; o < OWNERS; o++)
                        for (uint64_t b = s->start; b <= s->end && b < BYTES; b++) {
                                if (c == s->client && o == s->owner)
                                        continue;
                                uint8_t v = m->cell[c][o][b];
                                if (v == 2 || (v == 1 && s->type == LOCK_TYPE_WRITE))
                                        return true;
                        }
        return false;
}

static void model_posix_fill(struct model *m, const struct slot *s, uint8_t v)
{
        for (uint64_t b = s->start; b <= s->end && b < BYTES; b++) {
                m->cell[s->client][s->owner][b] = v;
                m->cell_fd[s->client][s->owner][b] = s->fd;
        }
}

static void model_posix_rescan(struct model *m)
{
        struct slot *s;
        for (uint64_t after = 0; (s = model_oldest(m, WAITING, after)) != NULL; after = s->seq) {
                if (s->kind != LOCK_POSIX || model_posix_conflict(m, s))
                        continue;
                model_posix_fill(m, s, s->type == LOCK_TYPE_WRITE ? 2 : 1);
                s->state = FREE;
                m->answered[s->id] = 1000;
                after = 0;
                s->seq = 0;
        }
}

/* ---- both side by side
 * ----------------------------------------------------------------------------------------------- */

struct world {
        struct lock_set set;
        struct lock_client clients[CLIENTS];
        struct lock_totals totals[CLIENTS];
        struct model model;
        int answered[SLOTS * 64];
        int next_id;
        uint32_t contended;
        struct lock_events events;
        int fds[CLIENTS]; /* addresses stand for descriptors */
};

static void world_answer(struct lock *l, int error, void *arg)
{
        struct world *w = arg;
        int id = (int)(intptr_t)l->cookie;
        assert_int_equal(w->answered[id], 0);
        w->answered[id] = 1000 - error;
}

static void world_contended(struct lock *l, void *arg)
{
        struct world *w = arg;
        w->contended++;
}

static struct world *world_new(void)
{
        struct world *w = calloc(1, sizeof *w);
        w->events = (struct lock_events){.answer = world_answer, .contended = world_contended, .arg = w};
        w->next_id = 1;
        for (int c = 0; c < CLIENTS; c++)
                w->clients[c].totals = &w->totals[c];
        return w;
}

static void world_free(struct world *w)
{
        lock_set_done(&w->set);
        free(w);
}

static struct lock_request request_of(struct world *w, const struct slot *s)
{
        return (struct lock_request){
                .kind = s->kind,
                .client = &w->clients[s->client],
                .owner = {owner_bytes[s->owner], owner_lens[s->owner]},
                .type = s->type,
                .start = s->start,
                .end = s->end == BYTES - 1 ? LOCK_END_MAX : s->end,
                .domain = domain_names[s->domain],
                .name = s->kind == LOCK_ENTRY ? entry_names[s->name] : NULL,
                .fd = s->kind == LOCK_POSIX ? &w->fds[s->fd] : NULL,
                .cookie = (void *)(intptr_t)s->id,
        };
}

static void world_acquire(struct world *w, struct slot want, bool wait)
{
        struct slot *s = model_slot(&w->model);
        want.seq = s->seq;
        want.id = w->next_id++;
        *s = want;
        int expect = 0;
        if (model_grantable(&w->model, s)) {
                s->state = GRANTED;
        } else {
                s->state = wait ? WAITING : FREE;
                expect = wait ? LOCK_WAITS : -EAGAIN;
        }
        struct lock_request r = request_of(w, &want);
        r.wait = wait;
        assert_int_equal(lock_acquire(&w->set, &r, &w->events), expect);
}

static void world_release(struct world *w, struct slot want)
{
        struct slot *found = NULL;
        for (int i = 0; i < SLOTS; i++) {
                struct slot *s = &w->model.slots[i];
                if (s->state != GRANTED || s->kind != want.kind || s->domain != want.domain || !model_same(s, &want))
                        continue;
                if (want.kind == LOCK_INODE ? s->start != want.start || s->end != want.end
                                            : s->name != want.name || s->type != want.type)
                        continue;
                found = s;
                break;
        }
        if (found)
                found->state = FREE;
        if (found)
                model_rescan(&w->model, want.kind, want.domain);
        struct lock_request r = request_of(w, &want);
        assert_int_equal(lock_release(&w->set, &r, &w->events), found ? 0 : -EINVAL);
}

static void world_posix(struct world *w, struct slot want, bool wait)
{
        struct model *m = &w->model;
        want.id = w->next_id++;
        int expect = 0;
        if (want.type == LOCK_TYPE_UNLOCK) {
                model_posix_fill(m, &want, 0);
        } else if (!model_posix_conflict(m, &want)) {
                model_posix_fill(m, &want, want.type == LOCK_TYPE_WRITE ? 2 : 1);
        } else if (!wait) {
                expect = -EAGAIN;
        } else {
                model_posix_fill(m, &want, 0);
                model_posix_rescan(m);
                struct slot *s = model_slot(m);
                want.seq = s->seq;
                want.state = WAITING;
                *s = want;
                expect = LOCK_WAITS;
        }
        model_posix_rescan(m);
        struct lock_request r = request_of(w, &want);
        r.wait = wait;
        assert_int_equal(posix_lock_apply(&w->set, &r, &w->events), expect);
}

static void model_client_gone(struct model *m, int c)
{
        for (int i = 0; i < SLOTS; i++)
                if (m->slots[i].state != FREE && m->slots[i].client == c) {
                        if (m->slots[i].state == WAITING)
                                m->answered[m->slots[i].id] = 1000 + EAGAIN;
                        m->slots[i].state = FREE;
                }
        memset(m->cell[c], 0, sizeof m->cell[c]);
        for (int d = 0; d < DOMAINS; d++) {
                model_rescan(m, LOCK_INODE, d);
                model_rescan(m, LOCK_ENTRY, d);
        }
        model_posix_rescan(m);
}

static void world_flush(struct world *w, int c, int o)
{
        memset(w->model.cell[c][o], 0, BYTES);
        model_posix_rescan(&w->model);
        posix_lock_flush(&w->set, &w->clients[c], (struct slice){owner_bytes[o], owner_lens[o]}, NULL, &w->events);
}

/* ---- comparing
 * ---------------------------------------------------------------------------------------------------------- */

static void check_posix_cells(struct world *w)
{
        uint8_t cell[CLIENTS][OWNERS][BYTES] = {0};
        const struct lock_space *sp = lock_space_find(&w->set, LOCK_POSIX, "");
        for (const struct lock *l = sp ? sp->granted.head : NULL; l; l = l->next) {
                int c = (int)(l->client - w->clients), o = 0;
                while (!lock_same_owner(l, l->client, (struct slice){owner_bytes[o], owner_lens[o]}))
                        o++;
                assert_true(l->start <= l->end);
                for (uint64_t b = l->start; b <= l->end && b < BYTES; b++) {
                        assert_int_equal(cell[c][o][b], 0);
                        cell[c][o][b] = l->type == LOCK_TYPE_WRITE ? 2 : 1;
                }
        }
        assert_memory_equal(cell, w->model.cell, sizeof cell);
}

static void check_counts(struct world *w)
{
        uint32_t count[LOCK_KIND_MAX][DOMAINS] = {0}, waiting[CLIENTS] = {0}, totals[CLIENTS] = {0};
        for (int i = 0; i < SLOTS; i++) {
                const struct slot *s = &w->model.slots[i];
                if (s->state == FREE)
                        continue;
                count[s->kind][s->domain]++;
                totals[s->client]++;
                waiting[s->client] += s->state == WAITING;
        }
        for (int d = 0; d < DOMAINS; d++) {
                assert_int_equal(lock_set_count(&w->set, LOCK_INODE, domain_names[d]), count[LOCK_INODE][d]);
                assert_int_equal(lock_set_count(&w->set, LOCK_ENTRY, domain_names[d]), count[LOCK_ENTRY][d]);
        }
        uint32_t posix = lock_set_count(&w->set, LOCK_POSIX, NULL), sum = 0,
                 posix_granted = posix - count[LOCK_POSIX][0];
        for (int c = 0; c < CLIENTS; c++) {
                assert_int_equal(w->clients[c].waiting, waiting[c]);
                uint32_t all = w->clients[c].waiting;
                assert_int_equal(w->clients[c].waiting, w->totals[c].waiting);
                for (int k = 0; k < LOCK_KIND_MAX; k++) {
                        assert_int_equal(w->clients[c].granted[k], w->totals[c].granted[k]);
                        all += w->clients[c].granted[k];
                }
                sum += all - totals[c];
        }
        assert_int_equal(sum, posix_granted);
}

static void world_check(struct world *w)
{
        check_posix_cells(w);
        check_counts(w);
        assert_memory_equal(w->answered, w->model.answered, sizeof w->answered);
}

/* ---- random operations
 * ----------------------------------------------------------------------------------------------------- */

static struct slot random_slot(void)
{
        struct slot s = {
                .kind = rng(LOCK_KIND_MAX),
                .client = (int)rng(CLIENTS),
                .owner = (int)rng(OWNERS),
                .domain = (int)rng(DOMAINS),
                .name = (int)rng(ELEMENTSOF(entry_names)),
                .type = rng(2),
                .start = rng(BYTES),
                .fd = (int)rng(2),
        };
        s.end = s.start + rng((uint32_t)(BYTES - s.start));
        if (s.kind == LOCK_POSIX)
                s.domain = 0;
        return s;
}

/* A granted lock of the model to release, so that releases hit. */
static struct slot some_granted(struct world *w, struct slot fallback)
{
        int from = (int)rng(SLOTS);
        for (int i = 0; i < SLOTS; i++) {
                const struct slot *s = &w->model.slots[(from + i) % SLOTS];
                if (s->state == GRANTED)
                        return *s;
        }
        return fallback;
}

static bool model_is_crowded(const struct model *m)
{
        int used = 0;
        for (int i = 0; i < SLOTS; i++)
                used += m->slots[i].state != FREE;
        return used > 40;
}

static void random_op(struct world *w)
{
        uint32_t dice = rng(100);
        struct slot s = random_slot();
        if (dice < 2 || model_is_crowded(&w->model)) {
                model_client_gone(&w->model, s.client);
                lock_set_client_gone(&w->set, &w->clients[s.client], &w->events);
                for (int i = 0; i < SLOTS; i++)
                        assert_true(w->model.slots[i].state == FREE || w->model.slots[i].client != s.client);
        } else if (dice < 4) {
                world_flush(w, s.client, s.owner);
        } else if (s.kind == LOCK_POSIX) {
                s.type = rng(3);
                world_posix(w, s, rng(2) == 0);
        } else if (dice < 50) {
                s = some_granted(w, s);
                if (rng(20) == 0)
                        s.end = s.start;
                world_release(w, s);
        } else {
                world_acquire(w, s, rng(3) > 0);
        }
}

static void test_random_against_model(void **state)
{
        for (uint64_t seed = 1; seed <= 12; seed++) {
                rng_state = seed * 0x9e3779b97f4a7c15ull;
                struct world *w = world_new();
                for (int i = 0; i < OPS / 4; i++) {
                        random_op(w);
                        world_check(w);
                }
                for (int c = 0; c < CLIENTS; c++) {
                        model_client_gone(&w->model, c);
                        lock_set_client_gone(&w->set, &w->clients[c], &w->events);
                }
                world_check(w);
                assert_true(lock_set_is_empty(&w->set));
                world_free(w);
        }
}

/* ---- named cases
 * ------------------------------------------------------------------------------------------------------------- */

static struct slot inode_range(int client, uint32_t type, uint64_t start, uint64_t end)
{
        return (struct slot){.kind = LOCK_INODE, .client = client, .type = type, .start = start, .end = end};
}

static struct slot entry(int client, int name)
{
        return (struct slot){.kind = LOCK_ENTRY, .client = client, .name = name, .type = LOCK_TYPE_WRITE};
}

static int acquire(struct world *w, struct slot s, bool wait)
{
        s.id = w->next_id++;
        struct lock_request r = request_of(w, &s);
        r.wait = wait;
        return s.kind == LOCK_POSIX ? posix_lock_apply(&w->set, &r, &w->events) : lock_acquire(&w->set, &r, &w->events);
}

static int release(struct world *w, struct slot s)
{
        struct lock_request r = request_of(w, &s);
        return lock_release(&w->set, &r, &w->events);
}

static void test_unlock_is_exact(void **state)
{
        struct world *w = world_new();
        assert_int_equal(acquire(w, inode_range(0, LOCK_TYPE_WRITE, 0, 9), false), 0);
        assert_int_equal(acquire(w, inode_range(0, LOCK_TYPE_WRITE, 0, 9), false), 0);
        assert_int_equal(release(w, inode_range(0, LOCK_TYPE_WRITE, 0, 8)), -EINVAL);
        assert_int_equal(release(w, inode_range(1, LOCK_TYPE_WRITE, 0, 9)), -EINVAL);
        assert_int_equal(release(w, inode_range(0, LOCK_TYPE_WRITE, 0, 9)), 0);
        assert_int_equal(acquire(w, inode_range(1, LOCK_TYPE_WRITE, 5, 5), false), -EAGAIN);
        assert_int_equal(release(w, inode_range(0, LOCK_TYPE_WRITE, 0, 9)), 0);
        assert_int_equal(release(w, inode_range(0, LOCK_TYPE_WRITE, 0, 9)), -EINVAL);
        assert_true(lock_set_is_empty(&w->set));
        world_free(w);
}

/* A waiting whole-directory lock keeps other owners out, but not who already holds a name. */
static void test_waiters_are_not_overtaken(void **state)
{
        struct world *w = world_new();
        assert_int_equal(acquire(w, entry(0, 1), true), 0);
        assert_int_equal(acquire(w, entry(1, 0), true), LOCK_WAITS); /* id 2 */
        assert_int_equal(w->contended, 1);
        assert_int_equal(acquire(w, entry(2, 2), true), LOCK_WAITS); /* id 3 */
        assert_int_equal(acquire(w, entry(2, 3), false), 0);         /* already waits here: exempt */
        assert_int_equal(acquire(w, entry(3, 3), false), -EAGAIN);
        assert_int_equal(acquire(w, entry(0, 2), false), 0);
        assert_int_equal(release(w, entry(0, 1)), 0);
        assert_int_equal(w->answered[2], 0);
        assert_int_equal(release(w, entry(0, 2)), 0);
        assert_int_equal(w->answered[2], 0);
        assert_int_equal(w->answered[3], 1000); /* its owner holds "c", so it may go ahead */
        lock_set_client_gone(&w->set, &w->clients[2], &w->events);
        assert_int_equal(w->answered[2], 1000);
        lock_set_client_gone(&w->set, &w->clients[1], &w->events);
        assert_true(lock_set_is_empty(&w->set));
        world_free(w);
}

static void test_entry_type_counts_only_on_unlock(void **state)
{
        struct world *w = world_new();
        struct slot a = entry(0, 1), b = entry(1, 1);
        assert_int_equal(acquire(w, a, false), 0);
        b.type = LOCK_TYPE_READ;
        assert_int_equal(acquire(w, b, false), -EAGAIN);
        assert_true(lock_set_has_name(&w->set, "a"));
        assert_false(lock_set_has_name(&w->set, "b"));
        a.type = LOCK_TYPE_READ;
        assert_int_equal(release(w, a), -EINVAL);
        a.type = LOCK_TYPE_WRITE;
        assert_int_equal(release(w, a), 0);
        world_free(w);
}

/* Two readers that both want to write: the second one in line gives up its read lock, so the first gets through. */
static void test_posix_upgrade_does_not_deadlock(void **state)
{
        struct world *w = world_new();
        struct slot a = {.kind = LOCK_POSIX, .client = 0, .type = LOCK_TYPE_READ, .start = 0, .end = 9};
        struct slot b = a;
        b.client = 1;
        assert_int_equal(acquire(w, a, true), 0);
        assert_int_equal(acquire(w, b, true), 0);
        a.type = b.type = LOCK_TYPE_WRITE;
        assert_int_equal(acquire(w, a, true), LOCK_WAITS); /* id 3 */
        assert_int_equal(acquire(w, b, true), 0);
        assert_int_equal(w->answered[3], 0);
        b.type = LOCK_TYPE_UNLOCK;
        assert_int_equal(acquire(w, b, true), 0);
        assert_int_equal(w->answered[3], 1000);
        world_free(w);
}

/* Queueing lets another request go, which turns the write lock in the way into a read lock. */
static void test_posix_queued_and_granted_at_once(void **state)
{
        struct world *w = world_new();
        struct slot a = {.kind = LOCK_POSIX, .client = 0, .type = LOCK_TYPE_WRITE, .start = 10, .end = 19};
        struct slot b = {.kind = LOCK_POSIX, .client = 1, .type = LOCK_TYPE_READ, .start = 0, .end = 19};
        assert_int_equal(acquire(w, a, true), 0);
        assert_int_equal(acquire(w, b, true), LOCK_WAITS); /* id 2 */
        b.type = LOCK_TYPE_WRITE;
        b.end = 9;
        assert_int_equal(acquire(w, b, true), 0);
        a.type = LOCK_TYPE_READ;
        a.start = 0;
        assert_int_equal(acquire(w, a, true), LOCK_WAITS); /* id 4 */
        assert_int_equal(w->answered[2], 1000);
        assert_int_equal(w->answered[4], 1000);
        world_free(w);
}

static void test_posix_descriptor_gone(void **state)
{
        struct world *w = world_new();
        struct slot a = {.kind = LOCK_POSIX, .client = 0, .type = LOCK_TYPE_WRITE, .start = 0, .end = 4, .fd = 0};
        struct slot b = a, c = a;
        b.client = 1;
        c.fd = 1;
        c.start = c.end = 9;
        assert_int_equal(acquire(w, a, true), 0);
        assert_int_equal(acquire(w, c, true), 0);
        assert_int_equal(acquire(w, b, true), LOCK_WAITS); /* id 3 */
        posix_lock_fd_gone(&w->set, &w->clients[1], &w->fds[0], &w->events);
        assert_int_equal(w->answered[3], 1000 + EBADF);
        posix_lock_fd_gone(&w->set, &w->clients[0], &w->fds[0], &w->events);
        assert_false(posix_lock_held(&w->set, &w->clients[0], &w->fds[0]));
        assert_true(posix_lock_held(&w->set, &w->clients[0], &w->fds[1]));
        world_free(w);
}

static void test_posix_split_and_conflict(void **state)
{
        struct world *w = world_new();
        struct slot a = {.kind = LOCK_POSIX, .client = 0, .type = LOCK_TYPE_WRITE, .start = 0, .end = BYTES - 1};
        assert_int_equal(acquire(w, a, false), 0);
        a.type = LOCK_TYPE_UNLOCK;
        a.start = a.end = 7;
        assert_int_equal(acquire(w, a, false), 0);
        assert_int_equal(lock_set_count(&w->set, LOCK_POSIX, NULL), 2);
        struct slot b = {.kind = LOCK_POSIX, .client = 1, .type = LOCK_TYPE_READ, .start = 7, .end = 7};
        struct lock_request r = request_of(w, &b);
        assert_null(posix_lock_conflict(&w->set, &r));
        r.end = 8;
        const struct lock *l = posix_lock_conflict(&w->set, &r);
        assert_non_null(l);
        assert_int_equal(l->start, 8);
        assert_int_equal(l->end, LOCK_END_MAX);
        world_free(w);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_unlock_is_exact),
                cmocka_unit_test(test_waiters_are_not_overtaken),
                cmocka_unit_test(test_entry_type_counts_only_on_unlock),
                cmocka_unit_test(test_posix_upgrade_does_not_deadlock),
                cmocka_unit_test(test_posix_queued_and_granted_at_once),
                cmocka_unit_test(test_posix_descriptor_gone),
                cmocka_unit_test(test_posix_split_and_conflict),
                cmocka_unit_test(test_random_against_model),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
