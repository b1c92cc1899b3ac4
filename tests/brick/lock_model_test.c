/* Random lock requests of many clients on a real brick, through the dispatcher, against a model that is meant to be
 * obviously right: one flat array of requests in order of arrival, and for posix locks one cell a byte and owner.
 *
 * After each operation every answer that came must be one the model expects, and the other way round; the counts in
 * answers and the brick's statistics must be those of the model. Clients come and go, locks are cleared, and a name of
 * one inode is removed again and again under the removal guard.
 *
 * MORTAR_LOCK_MODEL_SEED=n: that seed alone. MORTAR_LOCK_MODEL_SEEDS=n: so many (a long run).
 */
#include "lock_calls.h"

#include <stdatomic.h>

#include "proto/handshake.h"

#define CLIENTS 7 /* the last one is internal */
#define INTERNAL (CLIENTS - 1)
#define INODES 4
#define GUARDED (INODES - 1) /* its second name is removed; all inode locks on it are of one domain */
#define OWNERS 3
#define DOMAINS 3
#define NAMES 4
#define BYTES 24 /* the last one stands for everything behind it */
#define SLOTS 256
#define CROWD 60
#define OPS 1500
#define SEEDS 6

enum kind { INODE, ENTRY, POSIX };
enum state { FREE, GRANTED, WAITING };

/* ---- the model ------------------------------------------------------------------------------------------------------ */

struct slot { /* one lock, or one request that waits */
        enum state state;
        uint64_t seq; /* of arrival, or of being granted */
        enum kind kind;
        unsigned inode, client, owner, domain, name; /* name 0: the whole directory */
        uint32_t type;
        unsigned start, end;
        uint32_t xid;
};

struct expected {
        unsigned client;
        uint32_t xid;
        int error;
};

struct model {
        struct slot slots[SLOTS]; /* inode and entry locks; posix requests that wait */
        uint8_t cell[INODES][CLIENTS][OWNERS][BYTES]; /* posix locks: 0 none, 1 read, 2 write */
        uint64_t seq;
        bool removal; /* one waits on GUARDED */
        bool removed; /* the name is gone, and is to be made again */
        unsigned remover;
        uint32_t removal_xid;
        struct expected expected[SLOTS];
        unsigned n_expected;
};

static uint64_t rng_state;
static unsigned rng(unsigned bound)
{
        rng_state = rng_state * 6364136223846793005ull + 1442695040888963407ull;
        return (unsigned)(rng_state >> 33) % bound;
}

static void expect(struct model *m, unsigned client, uint32_t xid, int error)
{
        m->expected[m->n_expected++] = (struct expected){client, xid, error};
}

static bool same_owner(const struct slot *a, const struct slot *b)
{
        return a->client == b->client && a->owner == b->owner;
}

static bool same_space(const struct slot *a, const struct slot *b)
{
        return a->kind == b->kind && a->inode == b->inode && a->domain == b->domain;
}

static bool overlap(const struct slot *a, const struct slot *b)
{
        if (a->kind == ENTRY)
                return a->name == 0 || b->name == 0 || a->name == b->name;
        return a->start <= b->end && b->start <= a->end && (a->type == LK_WRITE || b->type == LK_WRITE);
}

static bool holds_inode_lock(const struct model *m, unsigned client, unsigned inode)
{
        for (const struct slot *s = m->slots; s < m->slots + SLOTS; s++)
                if (s->state == GRANTED && s->kind == INODE && s->client == client && s->inode == inode)
                        return true;
        return false;
}

static bool grantable(const struct model *m, const struct slot *r)
{
        bool overtakes = false, nested = false;
        if (r->kind == INODE && r->inode == GUARDED && m->removal && r->client != INTERNAL &&
            !holds_inode_lock(m, r->client, r->inode))
                return false;
        for (const struct slot *s = m->slots; s < m->slots + SLOTS; s++) {
                if (s == r || s->state == FREE || !same_space(s, r))
                        continue;
                bool before = s->state == GRANTED || s->seq < r->seq;
                if (s->state == GRANTED && !same_owner(s, r) && overlap(s, r))
                        return false;
                overtakes |= s->state == WAITING && before && overlap(s, r);
                nested |= before && same_owner(s, r);
        }
        return !overtakes || nested;
}

/* The oldest that waits and came after SEQ. */
static struct slot *next_waiting(struct model *m, uint64_t seq)
{
        struct slot *best = NULL;
        for (struct slot *s = m->slots; s < m->slots + SLOTS; s++)
                if (s->state == WAITING && s->seq > seq && (!best || s->seq < best->seq))
                        best = s;
        return best;
}

static void rescan(struct model *m, enum kind kind, unsigned inode, unsigned domain)
{
        struct slot *s;
        for (uint64_t seq = 0; (s = next_waiting(m, seq)) != NULL;) {
                seq = s->seq;
                if (s->kind != kind || s->inode != inode || s->domain != domain || !grantable(m, s))
                        continue;
                s->state = GRANTED;
                s->seq = ++m->seq; /* of two equal ranges the one granted first is released first */
                expect(m, s->client, s->xid, 0);
        }
}

static struct slot *add(struct model *m, const struct slot *r)
{
        for (struct slot *s = m->slots; s < m->slots + SLOTS; s++)
                if (s->state == FREE) {
                        *s = *r;
                        s->seq = ++m->seq;
                        return s;
                }
        fail_msg("the model is full");
        return NULL;
}

static bool cell_conflict(const struct model *m, const struct slot *r)
{
        for (unsigned c = 0; c < CLIENTS; c++)
                for (unsigned o = 0; o < OWNERS; o++)
                        for (unsigned b = r->start; b <= r->end; b++) {
                                uint8_t v = m->cell[r->inode][c][o][b];
                                if ((c != r->client || o != r->owner) && (v == 2 || (v == 1 && r->type == LK_WRITE)))
                                        return true;
                        }
        return false;
}

static void fill(struct model *m, const struct slot *r, uint8_t v)
{
        memset(&m->cell[r->inode][r->client][r->owner][r->start], v, r->end - r->start + 1);
}

static void rescan_posix(struct model *m, unsigned inode)
{
        struct slot *s;
        for (uint64_t seq = 0; (s = next_waiting(m, seq)) != NULL;) {
                seq = s->seq;
                if (s->kind != POSIX || s->inode != inode || cell_conflict(m, s))
                        continue;
                fill(m, s, s->type == LK_WRITE ? 2 : 1);
                s->state = FREE;
                expect(m, s->client, s->xid, 0);
                seq = 0; /* a write lock may have become a read lock */
        }
}

/* Stretches of equal cells: what a brick counts as one lock. */
static unsigned posix_locks(const struct model *m, unsigned inode)
{
        unsigned n = 0;
        for (unsigned c = 0; c < CLIENTS; c++)
                for (unsigned o = 0; o < OWNERS; o++) {
                        const uint8_t *cell = m->cell[inode][c][o];
                        for (unsigned b = 0; b < BYTES; b++)
                                n += cell[b] != 0 && (b == 0 || cell[b] != cell[b - 1]);
                }
        return n;
}

static unsigned count(const struct model *m, enum kind kind, unsigned inode, enum state state)
{
        unsigned n = 0;
        for (const struct slot *s = m->slots; s < m->slots + SLOTS; s++)
                n += s->state == state && s->kind == kind && s->inode == inode;
        return n;
}

static bool guards(const struct model *m, unsigned remover)
{
        for (unsigned c = 0; c < INTERNAL; c++)
                if (c != remover && holds_inode_lock(m, c, GUARDED))
                        return true;
        return false;
}

/* A removal that nothing holds up any more is made; then its inode locks have their turn. */
static void settle_removal(struct model *m)
{
        if (!m->removal || guards(m, m->remover))
                return;
        expect(m, m->remover, m->removal_xid, 0);
        m->removal = false;
        m->removed = true;
        rescan(m, INODE, GUARDED, 0);
}

static void rescan_kind(struct model *m, enum kind kind, unsigned inode)
{
        if (kind == POSIX)
                rescan_posix(m, inode);
        for (unsigned d = 0; kind != POSIX && d < DOMAINS; d++)
                rescan(m, kind, inode, d);
}

/* What waits is only looked at again where something was let go. */
static void leave_domain(struct model *m, unsigned client, enum kind kind, unsigned inode, unsigned domain)
{
        bool had = false;
        for (struct slot *s = m->slots; s < m->slots + SLOTS; s++) {
                if (s->state == FREE || s->client != client || s->kind != kind || s->inode != inode ||
                    s->domain != domain)
                        continue;
                s->state = FREE;
                had = true;
        }
        if (had && kind != POSIX)
                rescan(m, kind, inode, domain);
}

/* Nobody is there to be answered. */
static void model_disconnect(struct model *m, unsigned client)
{
        for (unsigned i = 0; i < INODES; i++) {
                for (unsigned d = 0; d < DOMAINS; d++) {
                        leave_domain(m, client, INODE, i, d);
                        leave_domain(m, client, ENTRY, i, d);
                }
                leave_domain(m, client, POSIX, i, 0);
                memset(m->cell[i][client], 0, sizeof m->cell[i][client]);
                rescan_posix(m, i);
        }
        if (m->removal && m->remover == client) {
                m->removal = false;
                rescan(m, INODE, GUARDED, 0);
        }
        settle_removal(m);
}

/* ---- the brick and the model side by side ---------------------------------------------------------------------------- */

struct world {
        struct harness h;
        struct client *clients[CLIENTS];
        struct gfid inodes[INODES];
        int64_t fds[CLIENTS][INODES];
        struct model m;
};

static const struct gfid root = GFID_ROOT;
static const char *const domains[DOMAINS] = {"vol-replicate-0", "vol-replicate-0:self-heal", "vol-disperse-1"};
static const char *const names[NAMES] = {NULL, "a", "b", "some other name"};
static const char *const owners[OWNERS] = {"1", "second owner", "a third owner with a longer name"};

static uint64_t length(const struct slot *r)
{
        return r->end == BYTES - 1 ? 0 : r->end - r->start + 1;
}

static void connect_client(struct world *w, unsigned c)
{
        w->clients[c] = client_open(&w->h);
        w->clients[c]->cred.pid = c == INTERNAL ? -6 : 100 + (int)c;
        as_owner(w->clients[c], owners[0]);
        for (unsigned i = 0; i < INODES; i++)
                assert_int_equal(try_open(w->clients[c], &w->inodes[i], O_RDWR, &w->fds[c][i]), 0);
}

static void world_open(struct world *w)
{
        memset(w, 0, sizeof *w);
        harness_posix(&w->h);
        struct client *c = client_open(&w->h);
        for (unsigned i = 0; i < INODES; i++) {
                char name[16];
                snprintf(name, sizeof name, "inode%u", i);
                w->inodes[i] = make_file(c, &root, name);
        }
        assert_int_equal(try_link(c, &w->inodes[GUARDED], &root, "removed"), 0);
        client_close(c);
        for (unsigned k = 0; k < CLIENTS; k++)
                connect_client(w, k);
}

static void world_close(struct world *w)
{
        struct brick_stats stats;
        for (unsigned c = 0; c < CLIENTS; c++)
                client_close(w->clients[c]);
        brick_get_stats(w->h.brick, &stats);
        assert_int_equal(stats.locks + stats.locks_waiting, 0);
        harness_close(&w->h);
}

static struct slot random_request(void)
{
        struct slot r = {
                .kind = rng(3),
                .inode = rng(INODES),
                .client = rng(CLIENTS),
                .owner = rng(OWNERS),
                .domain = rng(DOMAINS),
                .name = rng(NAMES),
                .type = rng(2),
                .start = rng(BYTES),
        };
        r.end = rng(4) ? r.start + rng(BYTES - r.start) : BYTES - 1;
        if (r.kind == POSIX || (r.kind == INODE && r.inode == GUARDED))
                r.domain = 0;
        if (r.kind != POSIX && rng(2)) /* whole objects are what real clients lock most */
                r.start = 0, r.end = BYTES - 1;
        return r;
}

static int send_request(struct world *w, const struct slot *r, int cmd, uint32_t type)
{
        struct client *c = w->clients[r->client];
        const struct gfid *g = &w->inodes[r->inode];
        int64_t fd = w->fds[r->client][r->inode];
        as_owner(c, owners[r->owner]);
        switch (r->kind) {
        case INODE:
                if (rng(2))
                        return inodelk(c, g, cmd, type, r->start, length(r), domains[r->domain]);
                return finodelk(c, g, fd, cmd, type, r->start, length(r), domains[r->domain]);
        case ENTRY:
                return entrylk(c, g, type == LK_UNLOCK ? 1 : cmd == LK_WAIT ? 0 : 2, r->type, names[r->name],
                               domains[r->domain]);
        case POSIX:
                return lk(c, g, fd, cmd, type, r->start, length(r), 0, NULL);
        }
        return -EINVAL;
}

static void take_expected(struct world *w, unsigned client, uint32_t xid, int error)
{
        struct model *m = &w->m;
        for (unsigned i = 0; i < m->n_expected; i++) {
                struct expected *e = &m->expected[i];
                if (e->client != client || e->xid != xid)
                        continue;
                assert_int_equal(error, e->error);
                *e = m->expected[--m->n_expected];
                return;
        }
        fail_msg("client %u: call %u is answered %d, the model does not", client, xid, error);
}

/* ---- operations ------------------------------------------------------------------------------------------------------ */

static void op_acquire(struct world *w, struct slot r, bool wait)
{
        struct model *m = &w->m;
        int want = 0;
        r.xid = client_last_xid(w->clients[r.client]) + 1;
        r.state = WAITING;
        struct slot *s = add(m, &r);
        if (grantable(m, s)) {
                s->state = GRANTED;
        } else {
                want = wait ? CLIENT_PARKED : -EAGAIN;
                if (!wait)
                        s->state = FREE;
        }
        assert_int_equal(send_request(w, &r, wait ? LK_WAIT : LK_TRY, r.type), want);
}

static bool releases(const struct slot *s, const struct slot *r)
{
        if (s->state != GRANTED || !same_space(s, r) || !same_owner(s, r))
                return false;
        if (r->kind == INODE)
                return s->start == r->start && s->end == r->end;
        return s->name == r->name && s->type == r->type;
}

static void op_release(struct world *w, struct slot r)
{
        struct model *m = &w->m;
        struct slot *oldest = NULL;
        for (struct slot *s = m->slots; s < m->slots + SLOTS; s++)
                if (releases(s, &r) && (!oldest || s->seq < oldest->seq))
                        oldest = s;
        if (oldest) {
                oldest->state = FREE;
                rescan(m, r.kind, r.inode, r.domain);
                settle_removal(m);
        }
        assert_int_equal(send_request(w, &r, LK_TRY, LK_UNLOCK), oldest ? 0 : -EINVAL);
}

static void op_posix(struct world *w, struct slot r, bool wait)
{
        struct model *m = &w->m;
        uint32_t type = rng(5) == 0 ? LK_UNLOCK : r.type;
        int want = 0;
        r.xid = client_last_xid(w->clients[r.client]) + 1;
        if (type == LK_UNLOCK) {
                fill(m, &r, 0);
        } else if (!cell_conflict(m, &r)) {
                fill(m, &r, type == LK_WRITE ? 2 : 1);
        } else if (!wait) {
                want = -EAGAIN;
        } else {
                want = CLIENT_PARKED;
                fill(m, &r, 0); /* or two who want more would wait for each other */
                rescan_posix(m, r.inode);
                r.state = WAITING;
                add(m, &r);
        }
        rescan_posix(m, r.inode);
        int got = send_request(w, &r, wait ? LK_WAIT : LK_TRY, type);
        if (want == CLIENT_PARKED && got != want)
                take_expected(w, r.client, r.xid, got);
        else
                assert_int_equal(got, want);
}

/* The lock that F_GETLK tells about must be there and be in the way. */
static void op_get(struct world *w, struct slot r)
{
        struct flock_range f;
        struct client *c = w->clients[r.client];
        as_owner(c, owners[r.owner]);
        assert_int_equal(
                lk(c, &w->inodes[r.inode], w->fds[r.client][r.inode], LK_GET, r.type, r.start, length(&r), 0, &f), 0);
        if (!cell_conflict(&w->m, &r)) {
                assert_int_equal(f.type, LK_UNLOCK);
                return;
        }
        uint8_t v = f.type == LK_WRITE ? 2 : 1;
        unsigned end = f.len == 0 ? BYTES - 1 : (unsigned)(f.start + f.len - 1);
        assert_true(f.start <= r.end && r.start <= end);
        for (unsigned k = 0; k < CLIENTS; k++)
                for (unsigned o = 0; o < OWNERS; o++) {
                        const uint8_t *cell = w->m.cell[r.inode][k][o];
                        bool all = k != r.client || o != r.owner;
                        for (uint64_t b = f.start; all && b <= end; b++)
                                all = cell[b] == v;
                        if (all && f.owner.len == strlen(owners[o]) &&
                            memcmp(f.owner.data, owners[o], f.owner.len) == 0)
                                return;
                }
        fail_msg("nobody has the lock that is said to be in the way");
}

static void op_flush(struct world *w, struct slot r)
{
        memset(w->m.cell[r.inode][r.client][r.owner], 0, BYTES);
        rescan_posix(&w->m, r.inode);
        as_owner(w->clients[r.client], owners[r.owner]);
        assert_int_equal(flush(w->clients[r.client], &w->inodes[r.inode], w->fds[r.client][r.inode]), 0);
}

static void op_release_fd(struct world *w, struct slot r)
{
        struct model *m = &w->m;
        struct slot *s;
        for (uint64_t seq = 0; (s = next_waiting(m, seq)) != NULL; seq = s->seq) {
                if (s->kind != POSIX || s->inode != r.inode || s->client != r.client)
                        continue;
                expect(m, s->client, s->xid, -EBADF);
                s->state = FREE;
        }
        memset(m->cell[r.inode][r.client], 0, sizeof m->cell[r.inode][r.client]);
        rescan_posix(m, r.inode);
        release(w->clients[r.client], w->fds[r.client][r.inode]);
        assert_int_equal(try_open(w->clients[r.client], &w->inodes[r.inode], O_RDWR, &w->fds[r.client][r.inode]), 0);
}

static void op_disconnect(struct world *w, unsigned c)
{
        model_disconnect(&w->m, c);
        client_close(w->clients[c]);
        connect_client(w, c);
}

static void op_remove(struct world *w, unsigned c)
{
        struct model *m = &w->m;
        if (m->removal)
                return;
        bool waits = guards(m, c);
        if (waits) {
                m->removal = true;
                m->remover = c;
                m->removal_xid = client_last_xid(w->clients[c]) + 1;
        } else {
                m->removed = true;
                rescan(m, INODE, GUARDED, 0); /* for those who came while it ran */
        }
        assert_int_equal(try_unlink(w->clients[c], &root, "removed"), waits ? CLIENT_PARKED : 0);
}

static void clear_slots(struct model *m, const struct slot *r, enum state state, unsigned *n)
{
        for (struct slot *s = m->slots; s < m->slots + SLOTS; s++) {
                if (s->state != state || s->kind != r->kind || s->inode != r->inode)
                        continue;
                if (state == WAITING)
                        expect(m, s->client, s->xid, r->kind == POSIX ? -EINTR : -EAGAIN);
                s->state = FREE;
                ++*n;
        }
}

static void op_clear(struct world *w, struct slot r)
{
        static const char *const kinds[] = {"inode", "entry", "posix"}, *const which[] = {"blocked", "granted", "all"};
        struct model *m = &w->m;
        unsigned choice = rng(3), waiting = 0, granted = 0;
        char name[64], text[4096], want[4096] = "No locks cleared.";
        if (choice != 1)
                clear_slots(m, &r, WAITING, &waiting);
        if (choice != 0 && r.kind == POSIX) {
                granted = posix_locks(m, r.inode);
                memset(m->cell[r.inode], 0, sizeof m->cell[r.inode]);
        } else if (choice != 0) {
                clear_slots(m, &r, GRANTED, &granted);
        }
        rescan_kind(m, r.kind, r.inode);
        settle_removal(m);
        if (waiting + granted > 0)
                snprintf(want, sizeof want, "testhost:%s/: %s blocked locks=%u granted locks=%u", w->h.path,
                         kinds[r.kind], waiting, granted);
        snprintf(name, sizeof name, "glusterfs.clrlk.t%s.k%s", kinds[r.kind], which[choice]);
        assert_int_equal(getxattr_text(w->clients[r.client], &w->inodes[r.inode], -1, name, text), 0);
        assert_string_equal(text, want);
}

/* ---- comparing ------------------------------------------------------------------------------------------------------- */

static void check_answers(struct world *w)
{
        for (unsigned c = 0; c < CLIENTS; c++) {
                client_run_resumed(w->clients[c]);
                (void)client_take_callbacks(w->clients[c], CALLBACK_INODELK_CONTENTION);
                (void)client_take_callbacks(w->clients[c], CALLBACK_ENTRYLK_CONTENTION);
        }
        for (unsigned c = 0; c < CLIENTS; c++) {
                uint32_t xid;
                int error;
                while (client_take_answer(w->clients[c], &xid, &error))
                        take_expected(w, c, xid, error);
        }
        for (unsigned i = 0; i < w->m.n_expected; i++)
                fail_msg("client %u: call %u has no answer, the model says %d", w->m.expected[i].client,
                         w->m.expected[i].xid, w->m.expected[i].error);
}

static void check_count(struct world *w, unsigned inode, const char *key, unsigned want)
{
        struct client *c = w->clients[0];
        struct stat_fop_rep rep;
        const struct stat_fop_req req = {.gfid = w->inodes[inode], .xdata = client_dict(c, key, 0)};
        int64_t n = -1;
        assert_int_equal(CALL(c, STAT, &req, &rep), 0);
        assert_int_equal(dict_get_int(&rep.xdata, key, &n), 0);
        assert_int_equal(n, want);
        arena_reset(&c->reply_arena);
}

static void check_counts(struct world *w)
{
        const struct model *m = &w->m;
        unsigned i = rng(INODES), held = 0, waiting = m->removal;
        check_count(w, i, "glusterfs.inodelk-count", count(m, INODE, i, GRANTED) + count(m, INODE, i, WAITING));
        check_count(w, i, "glusterfs.entrylk-count", count(m, ENTRY, i, GRANTED) + count(m, ENTRY, i, WAITING));
        check_count(w, i, "glusterfs.posixlk-count", posix_locks(m, i) + count(m, POSIX, i, WAITING));
        for (unsigned k = 0; k < INODES; k++) {
                held += posix_locks(m, k) + count(m, INODE, k, GRANTED) + count(m, ENTRY, k, GRANTED);
                for (enum kind kind = INODE; kind <= POSIX; kind++)
                        waiting += count(m, kind, k, WAITING);
        }
        struct brick_stats stats;
        brick_get_stats(w->h.brick, &stats);
        assert_int_equal(stats.locks, held);
        assert_int_equal(stats.locks_waiting, waiting);
}

static void check(struct world *w)
{
        check_answers(w);
        if (w->m.removed)
                assert_int_equal(try_link(w->clients[INTERNAL], &w->inodes[GUARDED], &root, "removed"), 0);
        w->m.removed = false;
        check_counts(w);
}

/* ---- random operations ----------------------------------------------------------------------------------------------- */

static bool crowded(const struct model *m)
{
        unsigned n = 0;
        for (const struct slot *s = m->slots; s < m->slots + SLOTS; s++)
                n += s->state != FREE;
        return n > CROWD;
}

/* One that is held, so that releases hit. */
static struct slot some_granted(const struct model *m, struct slot otherwise)
{
        unsigned from = rng(SLOTS);
        for (unsigned i = 0; i < SLOTS; i++) {
                const struct slot *s = &m->slots[(from + i) % SLOTS];
                if (s->state == GRANTED)
                        return *s;
        }
        return otherwise;
}

static void random_op(struct world *w)
{
        struct slot r = random_request();
        unsigned dice = rng(100);
        if (dice < 2 || crowded(&w->m)) {
                op_disconnect(w, r.client);
        } else if (dice < 4) {
                op_clear(w, r);
        } else if (dice < 7) {
                op_remove(w, r.client);
        } else if (dice < 9) {
                op_flush(w, r);
        } else if (dice < 10) {
                op_release_fd(w, r);
        } else if (dice < 13) {
                op_get(w, r);
        } else if (r.kind == POSIX) {
                op_posix(w, r, rng(2));
        } else if (dice < 50) {
                r = some_granted(&w->m, r);
                if (rng(20) == 0)
                        r.end = r.start, r.type = !r.type;
                op_release(w, r);
        } else {
                op_acquire(w, r, rng(3) > 0);
        }
}

static uint64_t number_from(const char *variable, uint64_t otherwise)
{
        const char *text = getenv(variable);
        return text ? strtoull(text, NULL, 10) : otherwise;
}

static void run_seed(uint64_t seed)
{
        struct world *w = malloc(sizeof *w);
        assert_non_null(w);
        print_message("lock model: seed %llu\n", (unsigned long long)seed);
        rng_state = seed * 0x9e3779b97f4a7c15ull;
        world_open(w);
        for (unsigned i = 0; i < OPS; i++) {
                random_op(w);
                check(w);
        }
        for (unsigned c = 0; c < CLIENTS; c++) {
                op_disconnect(w, c);
                check(w);
        }
        world_close(w);
        free(w);
}

static void random_requests(void **state)
{
        uint64_t one = number_from("MORTAR_LOCK_MODEL_SEED", 0), seeds = number_from("MORTAR_LOCK_MODEL_SEEDS", SEEDS);
        if (one)
                run_seed(one);
        for (uint64_t seed = 1; !one && seed <= seeds; seed++)
                run_seed(seed);
}

/* ---- all at once ------------------------------------------------------------------------------------------------------ */

#define THREADS 6
#define ROUNDS 300

struct crowd {
        struct harness h;
        struct gfid file;
        _Atomic int inside; /* who is in the critical section */
        atomic_uint entered;
};

struct member {
        struct crowd *crowd;
        unsigned number;
        uint64_t random;
        const char *problem;
};

static unsigned member_rng(struct member *m, unsigned bound)
{
        m->random = m->random * 6364136223846793005ull + 1442695040888963407ull;
        return (unsigned)(m->random >> 33) % bound;
}

static struct client *member_connect(struct member *m)
{
        struct client *c = client_open(&m->crowd->h);
        as_owner(c, "the same owner in all clients");
        return c;
}

/* Takes the lock however long it takes; false: no answer. */
static bool member_lock(struct member *m, struct client *c)
{
        struct inodelk_fop_rep rep;
        int r = inodelk(c, &m->crowd->file, LK_WAIT, LK_WRITE, 0, 0, "d");
        if (r == CLIENT_PARKED)
                r = client_wait(c, client_last_xid(c), FOP_INODELK, &rep);
        if (r < 0 || r == CLIENT_PARKED)
                m->problem = "the lock is not granted";
        return r == 0;
}

static struct client *member_round(struct member *m, struct client *c)
{
        struct crowd *w = m->crowd;
        if (!member_lock(m, c))
                return c;
        if (atomic_fetch_add(&w->inside, 1) != 0)
                m->problem = "two hold the lock";
        atomic_fetch_add(&w->entered, 1);
        atomic_fetch_sub(&w->inside, 1);
        if (member_rng(m, 8) > 0) {
                if (inodelk(c, &w->file, LK_TRY, LK_UNLOCK, 0, 0, "d") != 0)
                        m->problem = "the lock cannot be released";
                return c;
        }
        client_close(c); /* the lock goes with its client */
        return member_connect(m);
}

/* Takes and makes a name of the file all the time. */
static void member_removes(struct member *m, struct client *c)
{
        struct unlink_fop_rep rep;
        int r = try_unlink(c, &root, "second");
        if (r == CLIENT_PARKED)
                r = client_wait(c, client_last_xid(c), FOP_UNLINK, &rep);
        if (r != 0)
                m->problem = "the name cannot be removed";
        else if (try_link(c, &m->crowd->file, &root, "second") != 0)
                m->problem = "the name cannot be made again";
}

static void *member_main(void *arg)
{
        struct member *m = arg;
        struct client *c = member_connect(m);
        for (unsigned i = 0; i < ROUNDS && !m->problem; i++) {
                if (m->number == 0)
                        member_removes(m, c);
                else
                        c = member_round(m, c);
        }
        client_close(c);
        return NULL;
}

static void many_threads(void **state)
{
        struct crowd w = {0};
        struct member members[THREADS];
        pthread_t threads[THREADS];
        harness_posix(&w.h);
        struct client *c = client_open(&w.h);
        w.file = make_file(c, &root, "file");
        assert_int_equal(try_link(c, &w.file, &root, "second"), 0);
        client_close(c);
        for (unsigned i = 0; i < THREADS; i++) {
                members[i] = (struct member){.crowd = &w, .number = i, .random = i + 1};
                assert_int_equal(pthread_create(&threads[i], NULL, member_main, &members[i]), 0);
        }
        for (unsigned i = 0; i < THREADS; i++)
                pthread_join(threads[i], NULL);
        for (unsigned i = 0; i < THREADS; i++)
                if (members[i].problem)
                        fail_msg("client %u: %s", i, members[i].problem);
        assert_int_equal(w.entered, (THREADS - 1) * ROUNDS);
        assert_int_equal(brick_held_locks(w.h.brick), 0);
        harness_close(&w.h);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(random_requests),
                cmocka_unit_test(many_threads),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
