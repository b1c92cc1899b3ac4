/* Locks as clients see them (spec: brick.md §13): removal guard, release, clearing, handing over, mandatory locks,
 * revocation, counts, limits, draining. Answers marked observed are those of a stock brick (tests/interop/lock_probe.py).
 */
#include "lock_calls.h"

#include "proto/handshake.h"

#define DOMAIN "vol-replicate-0"

static const struct gfid root = GFID_ROOT;

struct scene {
        struct harness h;
        struct client *a, *b, *c;
        struct gfid file;
        int64_t a_fd, b_fd, c_fd;
};

static struct client *newcomer(struct scene *s, const char *owner)
{
        struct client *c = client_open(&s->h);
        as_owner(c, owner);
        return c;
}

static void open_clients(struct scene *s)
{
        s->a = newcomer(s, "owner-a");
        s->b = newcomer(s, "owner-b");
        s->c = newcomer(s, "owner-c");
}

static void open_fds(struct scene *s)
{
        assert_int_equal(try_open(s->a, &s->file, O_RDWR, &s->a_fd), 0);
        assert_int_equal(try_open(s->b, &s->file, O_RDWR, &s->b_fd), 0);
        assert_int_equal(try_open(s->c, &s->file, O_RDWR, &s->c_fd), 0);
}

static int setup(void **state)
{
        struct scene *s = calloc(1, sizeof *s);
        harness_posix(&s->h);
        open_clients(s);
        s->file = make_file(s->a, &root, "file");
        open_fds(s);
        *state = s;
        return 0;
}

static void close_clients(struct scene *s)
{
        struct client **all[] = {&s->a, &s->b, &s->c};
        for (size_t i = 0; i < ELEMENTSOF(all); i++)
                if (*all[i])
                        *all[i] = client_close(*all[i]);
}

static int teardown(void **state)
{
        struct scene *s = *state;
        struct brick_stats stats;
        close_clients(s);
        brick_get_stats(s->h.brick, &stats);
        assert_int_equal(stats.locks + stats.locks_waiting, 0);
        harness_close(&s->h);
        free(s);
        return 0;
}

/* The brick again with other options. */
static void reopen(struct scene *s)
{
        close_clients(s);
        harness_reopen(&s->h);
        open_clients(s);
        open_fds(s);
}

static void set_option(struct scene *s, const char *name, const char *value)
{
        struct error e = {0};
        assert_int_equal(brick_options_set(&s->h.options, name, value, &e), 0);
}

static int take(struct client *c, const struct gfid *g)
{
        return inodelk(c, g, LK_TRY, LK_WRITE, 0, 0, DOMAIN);
}

static int let_go(struct client *c, const struct gfid *g)
{
        return inodelk(c, g, LK_TRY, LK_UNLOCK, 0, 0, DOMAIN);
}

/* The answer that came for C meanwhile; CLIENT_PARKED if none did. */
static int answered(struct client *c)
{
        uint32_t xid;
        int error;
        client_run_resumed(c);
        return client_take_answer(c, &xid, &error) ? error : CLIENT_PARKED;
}

static unsigned told(struct client *c)
{
        return client_take_callbacks(c, CALLBACK_INODELK_CONTENTION);
}

/* ---- removal guard ------------------------------------------------------------------------------------------------- */

static void removal_waits_for_locks_of_others(void **state)
{
        struct scene *s = *state;
        assert_int_equal(take(s->a, &s->file), 0);
        assert_int_equal(try_unlink(s->b, &root, "file"), CLIENT_PARKED);
        assert_int_equal(told(s->a), 1);
        assert_int_equal(try_lookup(s->c, &root, "file", NULL), 0); /* nothing else waits */
        assert_int_equal(answered(s->b), CLIENT_PARKED);
        assert_int_equal(let_go(s->a, &s->file), 0);
        assert_int_equal(answered(s->b), 0);
        assert_int_equal(try_lookup(s->c, &root, "file", NULL), -ENOENT);
}

static void own_and_internal_locks_do_not_delay(void **state)
{
        struct scene *s = *state;
        assert_int_equal(take(s->b, &s->file), 0);
        s->a->cred.pid = -6;
        assert_int_equal(inodelk(s->a, &s->file, LK_TRY, LK_WRITE, 0, 0, "heal"), 0);
        assert_int_equal(try_unlink(s->b, &root, "file"), 0);
        assert_int_equal(told(s->a), 0);
        s->a->cred.pid = 7;
        struct gfid other = make_file(s->a, &root, "other");
        assert_int_equal(take(s->a, &other), 0);
        s->b->cred.pid = -6; /* an internal remover waits as well: observed */
        assert_int_equal(try_unlink(s->b, &root, "other"), CLIENT_PARKED);
        assert_int_equal(let_go(s->a, &other), 0);
        assert_int_equal(answered(s->b), 0);
}

/* A rename by distribute waits for the names that the remover's replica set has locked. */
static void locks_of_distribute_do_not_delay(void **state)
{
        struct scene *s = *state;
        assert_int_equal(inodelk(s->a, &s->file, LK_TRY, LK_WRITE, 0, 0, "dht.file.migrate"), 0);
        assert_int_equal(try_unlink(s->b, &root, "file"), 0);
        assert_int_equal(told(s->a), 0);
}

/* Meanwhile only who already holds an inode lock gets more of them. */
static void new_locks_wait_for_the_removal(void **state)
{
        struct scene *s = *state;
        assert_int_equal(take(s->a, &s->file), 0);
        assert_int_equal(try_unlink(s->b, &root, "file"), CLIENT_PARKED);
        assert_int_equal(inodelk(s->a, &s->file, LK_TRY, LK_WRITE, 0, 0, "second"), 0);
        assert_int_equal(inodelk(s->b, &s->file, LK_TRY, LK_WRITE, 0, 0, "third"), -EAGAIN); /* observed */
        assert_int_equal(inodelk(s->c, &s->file, LK_TRY, LK_WRITE, 0, 0, "third"), -EAGAIN);
        assert_int_equal(inodelk(s->c, &s->file, LK_WAIT, LK_WRITE, 0, 0, "third"), CLIENT_PARKED);
        assert_int_equal(entrylk(s->c, &s->file, 2, LK_WRITE, NULL, DOMAIN), 0); /* of another kind */
        assert_int_equal(let_go(s->a, &s->file), 0);
        assert_int_equal(answered(s->b), CLIENT_PARKED); /* "second" is held */
        assert_int_equal(inodelk(s->a, &s->file, LK_TRY, LK_UNLOCK, 0, 0, "second"), 0);
        assert_int_equal(answered(s->c), CLIENT_PARKED); /* the removal comes first */
        assert_int_equal(answered(s->b), 0);
        assert_int_equal(answered(s->c), 0); /* granted on what is gone: observed */
        assert_int_equal(inodelk(s->c, &s->file, LK_TRY, LK_UNLOCK, 0, 0, "third"), 0);
}

static void rmdir_and_replaced_targets_wait(void **state)
{
        struct scene *s = *state;
        struct gfid dir = make_dir(s->a, &root, "dir"), target = make_file(s->a, &root, "target");
        assert_int_equal(take(s->a, &dir), 0);
        assert_int_equal(take(s->a, &target), 0);
        assert_int_equal(take(s->a, &s->file), 0);
        assert_int_equal(try_rmdir(s->b, &root, "dir"), CLIENT_PARKED);
        assert_int_equal(try_rename(s->c, &root, "file", &root, "target"), CLIENT_PARKED);
        assert_int_equal(let_go(s->a, &dir), 0);
        assert_int_equal(let_go(s->a, &target), 0);
        assert_int_equal(answered(s->b), 0);
        assert_int_equal(answered(s->c), 0); /* the lock on the source does not matter: observed */
        assert_int_equal(try_lookup(s->b, &root, "dir", NULL), -ENOENT);
        assert_int_equal(try_lookup(s->b, &root, "file", NULL), -ENOENT);
}

/* It is the same request that is served again: what it finds then counts. */
static void a_parked_removal_looks_again(void **state)
{
        struct scene *s = *state;
        assert_int_equal(take(s->a, &s->file), 0);
        assert_int_equal(try_unlink(s->b, &root, "file"), CLIENT_PARKED);
        assert_int_equal(try_rename(s->c, &root, "file", &root, "elsewhere"), 0);
        struct gfid other = make_file(s->c, &root, "file");
        assert_int_equal(take(s->c, &other), 0);
        assert_int_equal(let_go(s->a, &s->file), 0);
        assert_int_equal(answered(s->b), CLIENT_PARKED); /* again, for the new file */
        assert_int_equal(take(s->a, &s->file), 0);       /* nothing is pending there any more */
        assert_int_equal(let_go(s->c, &other), 0);
        assert_int_equal(answered(s->b), 0);
        assert_int_equal(try_lookup(s->b, &root, "elsewhere", NULL), 0);
        assert_int_equal(try_lookup(s->b, &root, "file", NULL), -ENOENT);
}

static void two_removals_of_one_name(void **state)
{
        struct scene *s = *state;
        assert_int_equal(take(s->a, &s->file), 0);
        assert_int_equal(try_unlink(s->b, &root, "file"), CLIENT_PARKED);
        assert_int_equal(try_unlink(s->c, &root, "file"), CLIENT_PARKED);
        s->a = client_close(s->a); /* its end lets them go as well */
        assert_int_equal(answered(s->c), 0);
        assert_int_equal(answered(s->b), -ENOENT);
}

static void a_parked_removal_goes_with_its_client(void **state)
{
        struct scene *s = *state;
        struct brick_stats stats;
        assert_int_equal(take(s->a, &s->file), 0);
        assert_int_equal(try_unlink(s->b, &root, "file"), CLIENT_PARKED);
        assert_int_equal(inodelk(s->c, &s->file, LK_WAIT, LK_WRITE, 0, 0, "other"), CLIENT_PARKED);
        brick_get_stats(s->h.brick, &stats);
        assert_int_equal(stats.locks, 1);
        assert_int_equal(stats.locks_waiting, 2);
        s->b = client_close(s->b);
        assert_int_equal(answered(s->c), 0);
        assert_int_equal(let_go(s->a, &s->file), 0);
        assert_int_equal(try_lookup(s->c, &root, "file", NULL), 0);
        assert_int_equal(inodelk(s->c, &s->file, LK_TRY, LK_UNLOCK, 0, 0, "other"), 0);
}

/* Handed to its client at the moment that goes. */
static void a_resumed_removal_goes_with_its_client(void **state)
{
        struct scene *s = *state;
        assert_int_equal(take(s->a, &s->file), 0);
        assert_int_equal(try_unlink(s->b, &root, "file"), CLIENT_PARKED);
        assert_int_equal(let_go(s->a, &s->file), 0);
        s->b = client_close(s->b);
        assert_int_equal(try_lookup(s->c, &root, "file", NULL), 0);
        assert_int_equal(take(s->c, &s->file), 0);
        assert_int_equal(let_go(s->c, &s->file), 0);
}

static void failed_removals_end_the_guard(void **state)
{
        struct scene *s = *state;
        struct gfid dir = make_dir(s->a, &root, "full");
        make_file(s->a, &dir, "inside");
        assert_int_equal(try_rmdir(s->b, &root, "full"), -ENOTEMPTY);
        assert_int_equal(take(s->c, &dir), 0);
        assert_int_equal(try_rmdir(s->b, &root, "full"), CLIENT_PARKED);
        assert_int_equal(let_go(s->c, &dir), 0);
        assert_int_equal(answered(s->b), -ENOTEMPTY);
        assert_int_equal(take(s->a, &dir), 0);
        assert_int_equal(let_go(s->a, &dir), 0);
}

static void who_may_not_remove_does_not_wait(void **state)
{
        struct scene *s = *state;
        assert_int_equal(take(s->a, &s->file), 0);
        s->b->cred.uid = s->b->cred.gid = 1000;
        assert_int_equal(try_unlink(s->b, &root, "file"), -EACCES);
        s->b->cred.uid = s->b->cred.gid = 0;
        assert_int_equal(told(s->a), 0);
        assert_int_equal(let_go(s->a, &s->file), 0);
}

/* ---- clear-locks ---------------------------------------------------------------------------------------------------- */

static void assert_cleared(struct scene *s, struct client *c, int64_t fd, const char *name, const char *kind,
                           unsigned waiting, unsigned granted)
{
        char text[4096], expect[4096];
        snprintf(expect, sizeof expect, "testhost:%s/: %s blocked locks=%u granted locks=%u", s->h.path, kind, waiting,
                 granted);
        assert_int_equal(getxattr_text(c, &s->file, fd, name, text), 0);
        assert_string_equal(text, waiting + granted ? expect : "No locks cleared.");
}

static void locks_are_cleared(void **state)
{
        struct scene *s = *state;
        assert_int_equal(take(s->a, &s->file), 0);
        assert_int_equal(inodelk(s->a, &s->file, LK_TRY, LK_WRITE, 10, 5, "other"), 0);
        assert_int_equal(inodelk(s->b, &s->file, LK_WAIT, LK_WRITE, 0, 0, DOMAIN), CLIENT_PARKED);
        assert_cleared(s, s->c, -1, "glusterfs.clrlk.tentry.kall", "entry", 0, 0);
        assert_cleared(s, s->c, -1, "glusterfs.clrlk.tposix.kall", "posix", 0, 0);
        assert_cleared(s, s->c, -1, "glusterfs.clrlk.tinode.kall.0,10-6", "inode", 0, 0); /* exactly that range */
        assert_cleared(s, s->c, -1, "glusterfs.clrlk.tinode.kall.1,10-5", "inode", 0, 0);
        assert_cleared(s, s->c, -1, "glusterfs.clrlk.tinode.kall.0,-5-5", "inode", 0, 0);
        assert_cleared(s, s->c, -1, "glusterfs.clrlk.tinode.kall.0,10-5", "inode", 0, 1);
        assert_cleared(s, s->c, -1, "glusterfs.clrlk.tinode.kblocked", "inode", 1, 0);
        assert_int_equal(answered(s->b), -EAGAIN);
        assert_int_equal(inodelk(s->b, &s->file, LK_WAIT, LK_WRITE, 0, 0, DOMAIN), CLIENT_PARKED);
        assert_cleared(s, s->c, -1, "glusterfs.clrlk.tinode.kgranted.0,0-0", "inode", 0, 1);
        assert_int_equal(answered(s->b), 0); /* its turn */
        assert_int_equal(let_go(s->a, &s->file), -EINVAL);
        assert_cleared(s, s->c, s->c_fd, "glusterfs.clrlk.tinode.kall.", "inode", 0, 1);
}

static void posix_and_entry_locks_are_cleared(void **state)
{
        struct scene *s = *state;
        assert_int_equal(lk(s->a, &s->file, s->a_fd, LK_TRY, LK_WRITE, 0, 100, 0, NULL), 0);
        assert_int_equal(lk(s->b, &s->file, s->b_fd, LK_WAIT, LK_WRITE, 10, 5, 0, NULL), CLIENT_PARKED);
        assert_int_equal(lk(s->c, &s->file, s->c_fd, LK_WAIT, LK_WRITE, 50, 5, 0, NULL), CLIENT_PARKED);
        assert_cleared(s, s->a, -1, "glusterfs.clrlk.tposix.kblocked.0,10-5", "posix", 1, 0);
        assert_int_equal(answered(s->b), -EINTR);
        assert_int_equal(answered(s->c), CLIENT_PARKED);
        assert_cleared(s, s->a, -1, "glusterfs.clrlk.tposix.kgranted", "posix", 0, 1);
        assert_int_equal(answered(s->c), 0);

        assert_int_equal(entrylk(s->a, &s->file, 2, LK_WRITE, "x", DOMAIN), 0);
        assert_int_equal(entrylk(s->a, &s->file, 2, LK_WRITE, "x", "other"), 0);
        assert_int_equal(entrylk(s->a, &s->file, 2, LK_WRITE, "y", DOMAIN), 0);
        assert_int_equal(entrylk(s->b, &s->file, 0, LK_WRITE, "x", DOMAIN), CLIENT_PARKED);
        assert_cleared(s, s->c, -1, "glusterfs.clrlk.tentry.kall.z", "entry", 0, 0);
        assert_cleared(s, s->c, -1, "glusterfs.clrlk.tentry.kgranted.x", "entry", 0, 2); /* in all domains */
        assert_int_equal(answered(s->b), 0);
        assert_cleared(s, s->c, -1, "glusterfs.clrlk.tentry.kall", "entry", 0, 2);
}

static void clearing_lets_a_removal_go(void **state)
{
        struct scene *s = *state;
        assert_int_equal(take(s->a, &s->file), 0);
        assert_int_equal(try_unlink(s->b, &root, "file"), CLIENT_PARKED);
        assert_cleared(s, s->c, -1, "glusterfs.clrlk.tinode.kall", "inode", 0, 1);
        assert_int_equal(answered(s->b), 0);
}

static void bad_clear_requests(void **state)
{
        struct scene *s = *state;
        static const char *const bad[] = {
                "glusterfs.clrlk",
                "glusterfs.clrlk.",
                "glusterfs.clrlk.kall",
                "glusterfs.clrlk.kall.tinode",
                "glusterfs.clrlk.tinode",
                "glusterfs.clrlk.tfoo.kall",
                "glusterfs.clrlk.tinode.kfoo",
                "glusterfs.clrlk.tinode.kall.x",
                "glusterfs.clrlk.tinode.kall.0",
                "glusterfs.clrlk.tinode.kall.0,5",
                "glusterfs.clrlk.tinode.kall.0,0-",
                "glusterfs.clrlk.tposix.kall.%s%n,1-2",
                "glusterfs.clrlk.tinode.kallx",
        };
        char text[4096];
        assert_int_equal(take(s->a, &s->file), 0);
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert_int_equal(getxattr_text(s->c, &s->file, -1, bad[i], text), -EINVAL);
        assert_int_equal(getxattr_text(s->c, &s->file, -1, "glusterfs.intrlk.tposix.kall", text), -ENOTSUP);
        s->c->cred.uid = 1000; /* an ordinary user must not free what protects others' transactions */
        assert_int_equal(getxattr_text(s->c, &s->file, -1, "glusterfs.clrlk.tinode.kall", text), -EPERM);
        s->c->cred.uid = 0;
        assert_int_equal(let_go(s->a, &s->file), 0);
}

/* What a client sends when a signal interrupts F_SETLKW. */
static void a_waiting_lock_is_interrupted(void **state)
{
        struct scene *s = *state;
        assert_int_equal(lk(s->a, &s->file, s->a_fd, LK_TRY, LK_WRITE, 0, 0, 0, NULL), 0);
        s->b->cred.pid = 501;
        assert_int_equal(lk(s->b, &s->file, s->b_fd, LK_WAIT, LK_WRITE, 0, 0, 0, NULL), CLIENT_PARKED);
        s->c->cred.pid = 501; /* the same number on another machine */
        assert_int_equal(lk(s->c, &s->file, s->c_fd, LK_WAIT, LK_WRITE, 0, 0, 0, NULL), CLIENT_PARKED);
        s->b->cred.pid = 502;
        assert_cleared(s, s->b, s->b_fd, "glusterfs.intrlk.tposix.kblocked.0,0-0", "posix", 0, 0);
        s->b->cred.pid = 501;
        assert_cleared(s, s->b, s->b_fd, "glusterfs.intrlk.tposix.kblocked.0,5-6", "posix", 0, 0);
        s->b->cred.uid = 1000; /* no privilege is needed for one's own */
        assert_cleared(s, s->b, s->b_fd, "glusterfs.intrlk.tposix.kblocked.0,0-0", "posix", 1, 0);
        assert_int_equal(answered(s->b), -EINTR);
        assert_int_equal(answered(s->c), CLIENT_PARKED);
        assert_int_equal(lk(s->a, &s->file, s->a_fd, LK_TRY, LK_UNLOCK, 0, 0, 0, NULL), 0);
        assert_int_equal(answered(s->c), 0);
}

/* ---- lockinfo ------------------------------------------------------------------------------------------------------- */

static struct slice lockinfo_of(struct client *c, const struct gfid *g, int64_t fd)
{
        static const char name[] = "trusted.glusterfs.lockinfo";
        struct fgetxattr_fop_rep rep;
        const struct fgetxattr_fop_req req = {
                .gfid = *g, .fd = fd, .namelen = sizeof name - 1, .name = str_of(name), .xdata = DICT_NULL};
        struct slice value = {0};
        assert_int_equal(CALL(c, FGETXATTR, &req, &rep), 0);
        if (rep.dict.count > 0)
                assert_int_equal(dict_get_bytes(&rep.dict, name, &value), 0);
        return value;
}

static int take_over(struct client *c, const struct gfid *g, int64_t fd, struct slice value)
{
        struct fsetxattr_fop_rep rep;
        struct fsetxattr_fop_req req = {.gfid = *g, .fd = fd, .xdata = DICT_NULL};
        assert_int_equal(
                dict_add_ptr(&req.dict, &c->arena, "trusted.glusterfs.lockinfo", value.data, value.len), 0);
        return CALL(c, FSETXATTR, &req, &rep);
}

static uint32_t holder_seen(struct client *c, const struct gfid *g, int64_t fd)
{
        struct flock_range f;
        assert_int_equal(lk(c, g, fd, LK_GET, LK_WRITE, 0, 0, 0, &f), 0);
        return f.type;
}

static void posix_locks_move_to_another_descriptor(void **state)
{
        struct scene *s = *state;
        assert_int_equal(lockinfo_of(s->a, &s->file, s->a_fd).len, 0);
        assert_int_equal(lk(s->a, &s->file, s->a_fd, LK_TRY, LK_WRITE, 0, 10, 0, NULL), 0);
        assert_int_equal(lk(s->a, &s->file, s->a_fd, LK_TRY, LK_READ, 20, 10, 0, NULL), 0);
        struct slice info = lockinfo_of(s->a, &s->file, s->a_fd);
        assert_true(info.len > 8);
        assert_int_equal(take_over(s->b, &s->file, s->b_fd, (struct slice){(const uint8_t *)"x", 1}), -EINVAL);
        assert_int_equal(take_over(s->b, &s->file, s->b_fd, info), 0);
        assert_int_equal(holder_seen(s->a, &s->file, s->a_fd), LK_WRITE); /* not its own any more */
        as_owner(s->b, "owner-a");
        assert_int_equal(holder_seen(s->b, &s->file, s->b_fd), LK_UNLOCK);
        as_owner(s->b, "owner-b");
        assert_int_equal(take_over(s->b, &s->file, s->b_fd, info), 0); /* nothing is left to move */
        s->a = client_close(s->a);
        assert_int_equal(holder_seen(s->c, &s->file, s->c_fd), LK_WRITE);
        release(s->b, s->b_fd);
        assert_int_equal(holder_seen(s->c, &s->file, s->c_fd), LK_UNLOCK);
}

static void lockinfo_of_other_bricks_is_left_alone(void **state)
{
        struct scene *s = *state;
        _cleanup_buf_ struct buf b = BUF_INIT(KIB);
        struct dict d = client_dict(s->b, "<POSIX(/else):where", 12345);
        assert_int_equal(lk(s->a, &s->file, s->a_fd, LK_TRY, LK_WRITE, 0, 10, 0, NULL), 0);
        assert_int_equal(dict_encode_old(&b, &d), 0);
        assert_int_equal(take_over(s->b, &s->file, s->b_fd, (struct slice){b.data, (uint32_t)b.len}), 0);
        assert_int_equal(holder_seen(s->a, &s->file, s->a_fd), LK_UNLOCK);
}

/* Taking over beside locks that the new owner has: they merge. */
static void moved_locks_merge(void **state)
{
        struct scene *s = *state;
        assert_int_equal(lk(s->a, &s->file, s->a_fd, LK_TRY, LK_READ, 0, 20, 0, NULL), 0);
        as_owner(s->b, "owner-a");
        assert_int_equal(lk(s->b, &s->file, s->b_fd, LK_TRY, LK_READ, 10, 20, 0, NULL), 0);
        assert_int_equal(take_over(s->b, &s->file, s->b_fd, lockinfo_of(s->a, &s->file, s->a_fd)), 0);
        struct flock_range f;
        assert_int_equal(lk(s->c, &s->file, s->c_fd, LK_GET, LK_WRITE, 0, 0, 0, &f), 0);
        assert_int_equal(f.start, 0);
        assert_int_equal(f.len, 30);
}

/* ---- mandatory locks ------------------------------------------------------------------------------------------------ */

static int write_at(struct client *c, const struct gfid *g, int64_t fd, uint64_t offset)
{
        struct write_fop_rep rep;
        const struct write_fop_req req = {.gfid = *g,
                                          .fd = fd,
                                          .offset = offset,
                                          .size = 10,
                                          .data = {(const uint8_t *)"0123456789", 10},
                                          .xdata = DICT_NULL};
        return CALL(c, WRITE, &req, &rep);
}

static int read_at(struct client *c, const struct gfid *g, int64_t fd, uint64_t offset)
{
        struct read_fop_rep rep;
        const struct read_fop_req req = {.gfid = *g, .fd = fd, .offset = offset, .size = 10, .xdata = DICT_NULL};
        return CALL(c, READ, &req, &rep);
}

static int truncate_to(struct client *c, const struct gfid *g, uint64_t size)
{
        struct truncate_fop_rep rep;
        const struct truncate_fop_req req = {.gfid = *g, .offset = size, .xdata = DICT_NULL};
        return CALL(c, TRUNCATE, &req, &rep);
}

static int ftruncate_to(struct client *c, const struct gfid *g, int64_t fd, uint64_t size)
{
        struct ftruncate_fop_rep rep;
        const struct ftruncate_fop_req req = {.gfid = *g, .fd = fd, .offset = size, .xdata = DICT_NULL};
        return CALL(c, FTRUNCATE, &req, &rep);
}

static int discard_at(struct client *c, const struct gfid *g, int64_t fd, uint64_t offset)
{
        struct discard_fop_rep rep;
        const struct discard_fop_req req = {.gfid = *g, .fd = fd, .offset = offset, .size = 10, .xdata = DICT_NULL};
        return CALL(c, DISCARD, &req, &rep);
}

static void forced_locks_bind_everybody(void **state)
{
        struct scene *s = *state;
        set_option(s, "mandatory-locking", "forced");
        reopen(s);
        int64_t nonblock, ignored;
        assert_int_equal(try_open(s->b, &s->file, O_RDWR | O_NONBLOCK, &nonblock), 0);
        assert_int_equal(truncate_to(s->a, &s->file, 300), 0);
        assert_int_equal(lk(s->a, &s->file, s->a_fd, LK_TRY, LK_READ, 0, 100, 0, NULL), 0);
        assert_int_equal(read_at(s->b, &s->file, nonblock, 0), 0);
        assert_int_equal(write_at(s->b, &s->file, nonblock, 0), -EAGAIN);
        assert_int_equal(lk(s->a, &s->file, s->a_fd, LK_TRY, LK_WRITE, 0, 100, 0, NULL), 0);
        assert_int_equal(read_at(s->b, &s->file, nonblock, 95), -EAGAIN);
        assert_int_equal(write_at(s->b, &s->file, nonblock, 100), 0);
        assert_int_equal(discard_at(s->b, &s->file, nonblock, 90), -EAGAIN);
        assert_int_equal(discard_at(s->b, &s->file, nonblock, 200), 0);
        assert_int_equal(ftruncate_to(s->b, &s->file, nonblock, 99), -EAGAIN);
        assert_int_equal(ftruncate_to(s->b, &s->file, nonblock, 100), 0);
        assert_int_equal(truncate_to(s->b, &s->file, 50), -EAGAIN); /* never waits: observed */
        assert_int_equal(try_open(s->b, &s->file, O_RDWR | O_TRUNC, &ignored), -EAGAIN);
        assert_int_equal(write_at(s->a, &s->file, s->a_fd, 0), 0);
        s->b->cred.pid = -6;
        assert_int_equal(write_at(s->b, &s->file, nonblock, 0), 0);
}

static void io_waits_for_a_mandatory_lock(void **state)
{
        struct scene *s = *state;
        set_option(s, "mandatory-locking", "forced");
        reopen(s);
        assert_int_equal(lk(s->a, &s->file, s->a_fd, LK_TRY, LK_WRITE, 0, 100, 0, NULL), 0);
        assert_int_equal(write_at(s->b, &s->file, s->b_fd, 0), CLIENT_PARKED);
        assert_int_equal(read_at(s->c, &s->file, FD_ANONYMOUS, 0), CLIENT_PARKED);
        struct brick_stats stats;
        brick_get_stats(s->h.brick, &stats);
        assert_int_equal(stats.locks_waiting, 2);
        assert_int_equal(lk(s->a, &s->file, s->a_fd, LK_TRY, LK_UNLOCK, 0, 50, 0, NULL), 0);
        assert_int_equal(answered(s->b), 0);
        assert_int_equal(answered(s->c), 0);
        assert_int_equal(write_at(s->b, &s->file, s->b_fd, 60), CLIENT_PARKED);
        s->b = client_close(s->b); /* a parked write is never made */
        uint8_t byte = 1;
        assert_int_equal(lk(s->a, &s->file, s->a_fd, LK_TRY, LK_UNLOCK, 0, 0, 0, NULL), 0);
        int fd = open(on_disk(&s->h, "file"), O_RDONLY);
        assert_int_equal(pread(fd, &byte, 1, 60), 0);
        close(fd);
}

/* Only locks that were asked for as mandatory ones. */
static void optimal_locks(void **state)
{
        struct scene *s = *state;
        set_option(s, "mandatory-locking", "optimal");
        reopen(s);
        int64_t nonblock;
        assert_int_equal(try_open(s->b, &s->file, O_RDWR | O_NONBLOCK, &nonblock), 0);
        assert_int_equal(lk(s->a, &s->file, s->a_fd, LK_TRY, LK_WRITE, 0, 100, 2, NULL), 0);
        assert_int_equal(write_at(s->b, &s->file, nonblock, 0), 0);
        assert_int_equal(lk(s->a, &s->file, s->a_fd, LK_TRY, LK_WRITE, 0, 100, 1, NULL), 0); /* observed: bit 0 */
        assert_int_equal(write_at(s->b, &s->file, nonblock, 0), -EAGAIN);
}

static int set_mark(struct client *c, const struct gfid *g)
{
        struct setxattr_fop_rep rep;
        struct setxattr_fop_req req = {.gfid = *g, .xdata = DICT_NULL};
        assert_int_equal(dict_add_str(&req.dict, &c->arena, "trusted.glusterfs.enforce-mandatory-lock", "set"), 0);
        return CALL(c, SETXATTR, &req, &rep);
}

static int remove_mark(struct client *c, const struct gfid *g)
{
        struct removexattr_fop_rep rep;
        const struct removexattr_fop_req req = {
                .gfid = *g, .name = str_of("trusted.glusterfs.enforce-mandatory-lock"), .xdata = DICT_NULL};
        return CALL(c, REMOVEXATTR, &req, &rep);
}

static void the_mark_needs_mode_and_option(void **state)
{
        struct scene *s = *state;
        assert_int_equal(set_mark(s->a, &s->file), -EINVAL);
        assert_int_equal(remove_mark(s->a, &s->file), -EINVAL);
        set_option(s, "enforce-mandatory-lock", "on");
        reopen(s);
        assert_int_equal(set_mark(s->a, &s->file), -EINVAL);
        set_option(s, "mandatory-locking", "forced");
        reopen(s);
        assert_int_equal(set_mark(s->a, &s->file), 0);
        assert_int_equal(remove_mark(s->a, &s->file), 0);
}

static void enforced_locks(void **state)
{
        struct scene *s = *state;
        set_option(s, "enforce-mandatory-lock", "on");
        set_option(s, "mandatory-locking", "forced");
        reopen(s);
        assert_int_equal(truncate_to(s->a, &s->file, 300), 0);
        assert_int_equal(set_mark(s->a, &s->file), 0);
        assert_int_equal(read_at(s->a, &s->file, s->a_fd, 0), -EAGAIN);
        assert_int_equal(write_at(s->a, &s->file, s->a_fd, 0), -EBUSY);
        assert_int_equal(truncate_to(s->a, &s->file, 300), -EAGAIN);
        assert_int_equal(lk(s->a, &s->file, s->a_fd, LK_TRY, LK_READ, 0, 50, 0, NULL), 0);
        assert_int_equal(lk(s->a, &s->file, s->a_fd, LK_TRY, LK_WRITE, 50, 50, 0, NULL), 0);
        assert_int_equal(read_at(s->a, &s->file, s->a_fd, 45), 0); /* two locks cover it together */
        assert_int_equal(write_at(s->a, &s->file, s->a_fd, 45), -EBUSY);
        assert_int_equal(write_at(s->a, &s->file, s->a_fd, 60), 0);
        assert_int_equal(write_at(s->a, &s->file, s->a_fd, 95), -EBUSY);
        assert_int_equal(write_at(s->b, &s->file, s->b_fd, 60), -EBUSY);
        s->b->cred.pid = -6;
        assert_int_equal(write_at(s->b, &s->file, s->b_fd, 60), 0);
        s->b->cred.pid = 7;
        assert_int_equal(lk(s->b, &s->file, s->b_fd, LK_TRY, LK_WRITE, 60, 10, 0, NULL), 0); /* taken away */
        assert_int_equal(write_at(s->a, &s->file, s->a_fd, 60), -EBUSY);
        assert_int_equal(read_at(s->a, &s->file, s->a_fd, 0), 0);
        assert_int_equal(write_at(s->b, &s->file, s->b_fd, 60), 0);
        assert_int_equal(remove_mark(s->a, &s->file), 0);
        assert_int_equal(write_at(s->a, &s->file, s->a_fd, 200), 0);
}

/* ---- revocation ----------------------------------------------------------------------------------------------------- */

static void waiters_revoke(void **state)
{
        struct scene *s = *state;
        struct client *d = newcomer(s, "owner-d");
        set_option(s, "revocation-secs", "1000");
        set_option(s, "revocation-max-blocked", "2");
        assert_int_equal(brick_reconfigure(s->h.brick, &s->h.options), 0);
        assert_int_equal(take(s->a, &s->file), 0);
        assert_int_equal(inodelk(s->a, &s->file, LK_TRY, LK_WRITE, 0, 0, "other"), 0);
        assert_int_equal(inodelk(s->b, &s->file, LK_WAIT, LK_WRITE, 0, 0, DOMAIN), CLIENT_PARKED);
        assert_int_equal(inodelk(s->c, &s->file, LK_WAIT, LK_WRITE, 0, 0, DOMAIN), CLIENT_PARKED);
        assert_int_equal(inodelk(d, &s->file, LK_WAIT, LK_WRITE, 0, 0, DOMAIN), CLIENT_PARKED);
        assert_int_equal(answered(s->b), 0);
        assert_int_equal(answered(s->c), CLIENT_PARKED);
        assert_int_equal(let_go(s->a, &s->file), -EINVAL);
        assert_int_equal(inodelk(s->a, &s->file, LK_TRY, LK_UNLOCK, 0, 0, "other"), 0); /* that domain alone */
        set_option(s, "revocation-clear-all", "on");
        assert_int_equal(brick_reconfigure(s->h.brick, &s->h.options), 0);
        assert_int_equal(inodelk(s->a, &s->file, LK_TRY, LK_WRITE, 0, 0, DOMAIN), 0);
        assert_int_equal(answered(s->c), -EAGAIN);
        assert_int_equal(answered(d), -EAGAIN);
        client_close(d);
}

static void old_locks_are_revoked(void **state)
{
        struct scene *s = *state;
        set_option(s, "revocation-secs", "1");
        assert_int_equal(brick_reconfigure(s->h.brick, &s->h.options), 0);
        assert_int_equal(entrylk(s->a, &root, 2, LK_WRITE, "x", DOMAIN), 0);
        assert_int_equal(entrylk(s->b, &root, 2, LK_WRITE, "x", DOMAIN), -EAGAIN);
        int r = -EAGAIN;
        for (unsigned k = 0; r == -EAGAIN && k < 500; k++) {
                assert_int_equal(entrylk(s->c, &root, 2, LK_WRITE, "y", DOMAIN), 0); /* in nobody's way: revokes nothing */
                assert_int_equal(entrylk(s->c, &root, 1, LK_WRITE, "y", DOMAIN), 0);
                (void)nanosleep(&(struct timespec){.tv_nsec = 20 * (long)NS_PER_MSEC}, NULL);
                r = entrylk(s->b, &root, 2, LK_WRITE, "x", DOMAIN);
        }
        assert_int_equal(r, 0);
        assert_int_equal(entrylk(s->a, &root, 1, LK_WRITE, "x", DOMAIN), -EINVAL);
}

/* ---- requests ------------------------------------------------------------------------------------------------------- */

static void owners_ranges_and_commands(void **state)
{
        struct scene *s = *state;
        as_owner(s->a, "");
        assert_int_equal(take(s->a, &s->file), -EINVAL);
        assert_int_equal(entrylk(s->a, &root, 2, LK_WRITE, "x", DOMAIN), -EINVAL);
        assert_int_equal(lk(s->a, &s->file, s->a_fd, LK_TRY, LK_WRITE, 0, 0, 0, NULL), -EINVAL);
        s->a->cred.owner_len = 8;
        memset(s->a->cred.owner, 0, 8);
        assert_int_equal(take(s->a, &s->file), -EINVAL);
        as_owner(s->a, "owner-a");
        assert_int_equal(inodelk(s->a, &s->file, LK_GET, LK_WRITE, 0, 0, DOMAIN), -EOPNOTSUPP);
        assert_int_equal(inodelk(s->a, &s->file, LK_TRY, LK_WRITE, 1ull << 63, 1, DOMAIN), -EINVAL);
        assert_int_equal(inodelk(s->a, &s->file, LK_TRY, LK_WRITE, 0, 1ull << 63, DOMAIN), -EINVAL);
        assert_int_equal(inodelk(s->a, &s->file, LK_TRY, 3, 0, 0, DOMAIN), -EINVAL);
        for (int cmd = 3; cmd <= 5; cmd++)
                assert_int_equal(lk(s->a, &s->file, s->a_fd, cmd, LK_WRITE, 0, 10, 0, NULL), -EOPNOTSUPP);
        assert_int_equal(lk(s->a, &s->file, s->a_fd, 7, LK_WRITE, 0, 10, 0, NULL), -EOPNOTSUPP);
        assert_int_equal(lk(s->a, &s->file, 12345, LK_TRY, LK_WRITE, 0, 10, 0, NULL), -EBADF);
        struct flock_range f;
        assert_int_equal(lk(s->a, &s->file, s->a_fd, LK_TRY, LK_WRITE, 10, (uint64_t)-5, 0, &f), 0);
        assert_int_equal(f.start, 5); /* observed */
        assert_int_equal(f.len, 5);
        assert_int_equal(lk(s->a, &s->file, s->a_fd, LK_TRY, LK_WRITE, 3, (uint64_t)-5, 0, NULL), -EINVAL);
        assert_int_equal(lk(s->a, &s->file, s->a_fd, LK_TRY, LK_WRITE, 1ull << 62, INT64_MAX, 0, NULL), -EINVAL);
        assert_int_equal(lk(s->a, &s->file, s->a_fd, LK_TRY, LK_UNLOCK, 7, 1, 0, &f), 0);
        assert_int_equal(f.type, LK_READ); /* something is still held through the descriptor */
        assert_int_equal(lk(s->a, &s->file, s->a_fd, LK_TRY, LK_UNLOCK, 0, 0, 0, &f), 0);
        assert_int_equal(f.type, LK_UNLOCK);
}

static void the_metadata_range_has_its_own_domain(void **state)
{
        struct scene *s = *state;
        const uint64_t metadata = INT64_MAX - 1;
        assert_int_equal(take(s->a, &s->file), 0);
        assert_int_equal(inodelk(s->b, &s->file, LK_TRY, LK_WRITE, metadata, 0, DOMAIN), 0);
        assert_int_equal(inodelk(s->c, &s->file, LK_TRY, LK_WRITE, 0, 0, DOMAIN ":metadata"), -EAGAIN);
        assert_int_equal(inodelk(s->c, &s->file, LK_TRY, LK_WRITE, metadata, 0, DOMAIN ":metadata"), -EAGAIN);
        assert_int_equal(inodelk(s->b, &s->file, LK_TRY, LK_UNLOCK, metadata, 0, DOMAIN), 0);
}

static void flush_release_and_disconnect(void **state)
{
        struct scene *s = *state;
        int64_t second;
        assert_int_equal(try_open(s->a, &s->file, O_RDWR, &second), 0);
        assert_int_equal(lk(s->a, &s->file, s->a_fd, LK_TRY, LK_WRITE, 0, 10, 0, NULL), 0);
        assert_int_equal(flush(s->a, &s->file, second), 0); /* by owner, whatever descriptor */
        assert_int_equal(holder_seen(s->b, &s->file, s->b_fd), LK_UNLOCK);
        assert_int_equal(lk(s->a, &s->file, s->a_fd, LK_TRY, LK_WRITE, 0, 10, 0, NULL), 0);
        assert_int_equal(lk(s->a, &s->file, second, LK_TRY, LK_WRITE, 20, 10, 0, NULL), 0);
        release(s->a, second);
        assert_int_equal(lk(s->b, &s->file, s->b_fd, LK_WAIT, LK_WRITE, 0, 0, 0, NULL), CLIENT_PARKED);
        assert_int_equal(lk(s->c, &s->file, s->c_fd, LK_WAIT, LK_WRITE, 0, 0, 0, NULL), CLIENT_PARKED);
        release(s->b, s->b_fd); /* what waits through it ends */
        assert_int_equal(answered(s->b), -EBADF);
        s->a = client_close(s->a);
        assert_int_equal(answered(s->c), 0);
}

/* ---- counts --------------------------------------------------------------------------------------------------------- */

static int64_t count_in(const struct dict *d, const char *key)
{
        int64_t n;
        return dict_get_int(d, key, &n) == 0 ? n : -1;
}

/* What LOOKUP of NAME answers for KEY. */
static int64_t looked_up(struct client *c, const char *name, const char *key, const char *value)
{
        struct lookup_fop_rep rep;
        struct lookup_fop_req req = {.pargfid = root, .bname = str_of(name)};
        assert_int_equal(dict_add_str(&req.xdata, &c->arena, key, value), 0);
        if (starts_with(key, "glusterfs.inodelk-dom-prefix:"))
                assert_int_equal(dict_add_int(&req.xdata, &c->arena, "glusterfs.multi-dom-lk-cnt-req", 1), 0);
        (void)CALL(c, LOOKUP, &req, &rep);
        return count_in(&rep.xdata, key);
}

static void counts_in_answers(void **state)
{
        struct scene *s = *state;
        struct client *c = s->c;
        assert_int_equal(inodelk(s->a, &s->file, LK_TRY, LK_WRITE, 0, 0, "d1"), 0);
        assert_int_equal(inodelk(s->a, &s->file, LK_TRY, LK_WRITE, 0, 0, "d1"), 0);
        assert_int_equal(inodelk(s->a, &s->file, LK_TRY, LK_WRITE, 0, 0, "d2"), 0);
        assert_int_equal(inodelk(s->b, &s->file, LK_WAIT, LK_WRITE, 0, 0, "d1"), CLIENT_PARKED);
        assert_int_equal(lk(s->a, &s->file, s->a_fd, LK_TRY, LK_WRITE, 0, 10, 0, NULL), 0);
        assert_int_equal(lk(s->b, &s->file, s->b_fd, LK_WAIT, LK_WRITE, 0, 10, 0, NULL), CLIENT_PARKED);
        assert_int_equal(entrylk(s->a, &root, 2, LK_WRITE, "file", DOMAIN), 0);
        assert_int_equal(entrylk(s->a, &root, 2, LK_WRITE, "ghost", DOMAIN), 0);
        assert_int_equal(looked_up(c, "file", "glusterfs.inodelk-count", ""), 4);
        assert_int_equal(looked_up(c, "file", "glusterfs.posixlk-count", ""), 2);
        assert_int_equal(looked_up(c, "file", "glusterfs.entrylk-count", ""), 0);
        assert_int_equal(looked_up(c, "file", "glusterfs.parent-entrylk", ""), 1);
        assert_int_equal(looked_up(c, "ghost", "glusterfs.parent-entrylk", ""), -1); /* the look-up fails */
        assert_int_equal(looked_up(c, "file", "glusterfs.inodelk-dom-prefix:d1", "d1"), 3);
        assert_int_equal(looked_up(c, "file", "glusterfs.inodelk-dom-prefix:none", "none"), 0);
        struct unlink_fop_rep rep;
        make_file(s->a, &root, "gone");
        struct unlink_fop_req req = {.pargfid = root, .bname = str_of("gone")};
        assert_int_equal(dict_add_int(&req.xdata, &c->arena, "glusterfs.entrylk-count", 0), 0);
        assert_int_equal(CALL(c, UNLINK, &req, &rep), 0);
        assert_int_equal(count_in(&rep.xdata, "glusterfs.entrylk-count"), 2); /* of the parent */
}

static void counts_of_readdirp(void **state)
{
        struct scene *s = *state;
        int64_t fd;
        struct opendir_fop_rep opened;
        const struct opendir_fop_req open_req = {.gfid = root, .xdata = DICT_NULL};
        assert_int_equal(CALL(s->c, OPENDIR, &open_req, &opened), 0);
        fd = opened.fd;
        assert_int_equal(inodelk(s->a, &s->file, LK_TRY, LK_WRITE, 0, 0, "d1"), 0);
        assert_int_equal(entrylk(s->a, &root, 2, LK_WRITE, "file", DOMAIN), 0);
        struct readdirp_fop_rep rep;
        struct readdirp_fop_req req = {.gfid = root, .fd = fd, .size = 65536};
        assert_int_equal(dict_add_int(&req.xdata, &s->c->arena, "glusterfs.parent-entrylk", 0), 0);
        assert_int_equal(dict_add_int(&req.xdata, &s->c->arena, "glusterfs.inodelk-count", 0), 0);
        assert_int_equal(CALL(s->c, READDIRP, &req, &rep), 0);
        bool seen = false;
        for (uint32_t i = 0; i < rep.reply.n; i++) {
                const struct dirent_entry *e = &rep.reply.v[i];
                if (!streq(e->name.s, "file"))
                        continue;
                seen = true;
                assert_int_equal(count_in(e->dict, "glusterfs.parent-entrylk"), 1);
                assert_int_equal(count_in(e->dict, "glusterfs.inodelk-count"), 1);
        }
        assert_true(seen);
}

static void active_locks_are_listed(void **state)
{
        struct scene *s = *state;
        struct getactivelk_fop_rep rep;
        const struct getactivelk_fop_req req = {.gfid = s->file, .xdata = DICT_NULL};
        assert_int_equal(CALL(s->c, GETACTIVELK, &req, &rep), 0);
        assert_int_equal(rep.op_ret, 0);
        assert_int_equal(lk(s->a, &s->file, s->a_fd, LK_TRY, LK_READ, 5, 10, 0, NULL), 0);
        assert_int_equal(lk(s->b, &s->file, s->b_fd, LK_TRY, LK_READ, 50, 0, 0, NULL), 0);
        assert_int_equal(CALL(s->c, GETACTIVELK, &req, &rep), 0);
        assert_int_equal(rep.op_ret, 2);
        assert_int_equal(rep.reply.n, 2);
        assert_int_equal(rep.reply.v[0].flock.start, 5);
        assert_int_equal(rep.reply.v[0].flock.len, 10);
        assert_int_equal(rep.reply.v[1].flock.len, 0);
        assert_string_equal(rep.reply.v[0].client_uid.s, "CTX_ID:test-0");
}

/* ---- limits and draining -------------------------------------------------------------------------------------------- */

#define LOCKS_MAX 65536 /* LOCKS_PER_SESSION, LOCK_WAITS_PER_SESSION */
#define WAITS_MAX 16384

static void one_client_has_a_limit_of_locks(void **state)
{
        struct scene *s = *state;
        for (unsigned i = 0; i < LOCKS_MAX; i += 1024) { /* many objects: a set is a list */
                char name[16];
                snprintf(name, sizeof name, "many%u", i);
                struct gfid g = make_file(s->a, &root, name);
                for (unsigned k = 0; k < 1024; k++)
                        if (inodelk(s->a, &g, LK_TRY, LK_READ, 0, 0, "limit") != 0)
                                fail_msg("lock %u is refused", i + k);
        }
        assert_int_equal(take(s->a, &s->file), -ENOLCK);
        assert_int_equal(lk(s->a, &s->file, s->a_fd, LK_TRY, LK_READ, 0, 1, 0, NULL), -ENOLCK);
        assert_int_equal(take(s->b, &s->file), 0); /* others are not concerned */
        s->a = client_close(s->a);
}

static void one_client_has_a_limit_of_waits(void **state)
{
        struct scene *s = *state;
        assert_int_equal(take(s->a, &s->file), 0);
        for (unsigned i = 0; i < WAITS_MAX; i++)
                if (inodelk(s->b, &s->file, LK_WAIT, LK_WRITE, 0, 0, DOMAIN) != CLIENT_PARKED)
                        fail_msg("request %u does not wait", i);
        assert_int_equal(inodelk(s->b, &s->file, LK_WAIT, LK_WRITE, 0, 0, DOMAIN), -ENOLCK);
        assert_int_equal(take(s->b, &s->file), -EAGAIN);
        assert_int_equal(try_unlink(s->b, &root, "file"), -ENOLCK); /* would have to wait */
        assert_int_equal(inodelk(s->c, &s->file, LK_WAIT, LK_WRITE, 0, 0, DOMAIN), CLIENT_PARKED);
        s->b = client_close(s->b);
        assert_int_equal(let_go(s->a, &s->file), 0);
        assert_int_equal(answered(s->c), 0);
}

#define PARKED_MAX (8 * MIB) /* PARKED_BYTES_PER_SESSION */

static int write_much(struct client *c, const struct gfid *g, int64_t fd)
{
        static const uint8_t data[MIB];
        struct write_fop_rep rep;
        const struct write_fop_req req = {
                .gfid = *g, .fd = fd, .size = sizeof data, .xdata = DICT_NULL, .data = {data, sizeof data}};
        return CALL(c, WRITE, &req, &rep);
}

static void one_client_has_a_limit_of_parked_bytes(void **state)
{
        struct scene *s = *state;
        set_option(s, "mandatory-locking", "forced");
        reopen(s);
        assert_int_equal(lk(s->a, &s->file, s->a_fd, LK_TRY, LK_WRITE, 0, 0, 0, NULL), 0);
        for (unsigned parked = 1; parked < PARKED_MAX / MIB; parked++) /* a call is more than its data */
                assert_int_equal(write_much(s->b, &s->file, s->b_fd), CLIENT_PARKED);
        assert_int_equal(write_much(s->b, &s->file, s->b_fd), -ENOLCK);
        assert_int_equal(write_at(s->b, &s->file, s->b_fd, 0), CLIENT_PARKED); /* there is room for a small one */
        assert_int_equal(write_much(s->c, &s->file, s->c_fd), CLIENT_PARKED); /* others are not concerned */
        assert_int_equal(lk(s->a, &s->file, s->a_fd, LK_TRY, LK_UNLOCK, 0, 0, 0, NULL), 0);
        client_run_resumed(s->b);
        assert_int_equal(lk(s->a, &s->file, s->a_fd, LK_TRY, LK_WRITE, 0, 0, 0, NULL), 0);
        assert_int_equal(write_much(s->b, &s->file, s->b_fd), CLIENT_PARKED); /* what went on does not count */
}

static void draining(void **state)
{
        struct scene *s = *state;
        assert_int_equal(brick_held_locks(s->h.brick), 0);
        assert_int_equal(take(s->a, &s->file), 0);
        assert_int_equal(entrylk(s->a, &root, 2, LK_WRITE, "x", DOMAIN), 0);
        assert_int_equal(lk(s->a, &s->file, s->a_fd, LK_TRY, LK_WRITE, 0, 10, 0, NULL), 0);
        assert_int_equal(inodelk(s->b, &s->file, LK_WAIT, LK_WRITE, 0, 0, "new"), 0);
        assert_int_equal(inodelk(s->c, &s->file, LK_WAIT, LK_WRITE, 0, 0, DOMAIN), CLIENT_PARKED);
        assert_int_equal(told(s->a), 1);
        assert_int_equal(brick_held_locks(s->h.brick), 3);
        brick_refuse_new_locks(s->h.brick);
        assert_int_equal(answered(s->c), -ENOTCONN);
        assert_int_equal(told(s->b), 1);
        assert_int_equal(client_take_callbacks(s->a, CALLBACK_ENTRYLK_CONTENTION), 1);
        assert_int_equal(take(s->c, &s->file), -ENOTCONN);
        assert_int_equal(inodelk(s->a, &s->file, LK_WAIT, LK_WRITE, 0, 0, "nested"), -ENOTCONN);
        assert_int_equal(lk(s->c, &s->file, s->c_fd, LK_TRY, LK_WRITE, 50, 1, 0, NULL), -ENOTCONN);
        assert_int_equal(lk(s->a, &s->file, s->a_fd, LK_TRY, LK_UNLOCK, 0, 0, 0, NULL), 0);
        assert_int_equal(write_at(s->a, &s->file, s->a_fd, 0), 0);
        assert_int_equal(let_go(s->a, &s->file), 0);
        assert_int_equal(entrylk(s->a, &root, 1, LK_WRITE, "x", DOMAIN), 0);
        assert_int_equal(brick_held_locks(s->h.brick), 1);
        s->b = client_close(s->b);
        assert_int_equal(brick_held_locks(s->h.brick), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        const struct CMUnitTest tests[] = {
                T(removal_waits_for_locks_of_others),
                T(own_and_internal_locks_do_not_delay),
                T(new_locks_wait_for_the_removal),
                T(rmdir_and_replaced_targets_wait),
                T(a_parked_removal_looks_again),
                T(two_removals_of_one_name),
                T(a_parked_removal_goes_with_its_client),
                T(a_resumed_removal_goes_with_its_client),
                T(failed_removals_end_the_guard),
                T(locks_of_distribute_do_not_delay),
                T(who_may_not_remove_does_not_wait),
                T(locks_are_cleared),
                T(posix_and_entry_locks_are_cleared),
                T(clearing_lets_a_removal_go),
                T(bad_clear_requests),
                T(a_waiting_lock_is_interrupted),
                T(posix_locks_move_to_another_descriptor),
                T(lockinfo_of_other_bricks_is_left_alone),
                T(moved_locks_merge),
                T(forced_locks_bind_everybody),
                T(io_waits_for_a_mandatory_lock),
                T(optimal_locks),
                T(the_mark_needs_mode_and_option),
                T(enforced_locks),
                T(waiters_revoke),
                T(old_locks_are_revoked),
                T(owners_ranges_and_commands),
                T(the_metadata_range_has_its_own_domain),
                T(flush_release_and_disconnect),
                T(counts_in_answers),
                T(counts_of_readdirp),
                T(active_locks_are_listed),
                T(one_client_has_a_limit_of_locks),
                T(one_client_has_a_limit_of_waits),
                T(one_client_has_a_limit_of_parked_bytes),
                T(draining),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
