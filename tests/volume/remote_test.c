/* One brick and its clients: operations, descriptors, locks, outages (spec: wire.md §5, §6). */
#include "world.h"

#include "volume/remote.h"

#define ARENA_MAX (4 * MIB)

static struct gfid root = GFID_ROOT;
static char file_name[] = "file";

/* ---- what clients do ------------------------------------------------------------------------------------------- */

/* Makes /NAME and leaves it open. */
static struct vfile *make_file(struct fibre *self, struct world_client *c, const char *name)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(ARENA_MAX);
        struct request r = world_request(c, &a);
        struct gfid gfid = world_gfid(c);
        _cleanup_vnode_ struct vnode *parent = vnode_new(c->volume, &root, S_IFDIR);
        struct vnode *i = vnode_new(c->volume, &gfid, S_IFREG);
        struct vfile *f = vfile_new(i, O_RDWR, false);
        r.parent = parent;
        r.inode = i;
        r.file = f;
        struct create_fop_req req = {.pargfid = root,
                                     .flags = O_RDWR | O_CREAT,
                                     .mode = 0644,
                                     .bname = str_of(name),
                                     .xdata = world_gfid_req(&a, &gfid)};
        struct create_fop_rep rep;
        volume_stamp(c->volume, &r.cred, FOP_CREATE);
        assert_int_equal(subvolume_create(self, volume_top(c->volume), &r, &req, &rep), 0);
        assert_true(gfid_equal(&rep.stat.gfid, &gfid));
        vnode_unref(vnode_link(i, &rep.stat));
        vnode_unref(i);
        return f;
}

/* Opens /NAME, which another client has made. */
static struct vfile *open_file(struct fibre *self, struct world_client *c, const char *name)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(ARENA_MAX);
        struct request r = world_request(c, &a);
        struct lookup_fop_req look = {.pargfid = root, .bname = str_of(name), .xdata = DICT_NULL};
        struct lookup_fop_rep found;
        _cleanup_vnode_ struct vnode *parent = vnode_new(c->volume, &root, S_IFDIR);
        _cleanup_vnode_ struct vnode *fresh = vnode_new(c->volume, NULL, 0);
        r.parent = parent;
        r.inode = fresh;
        assert_int_equal(subvolume_lookup(self, volume_top(c->volume), &r, &look, &found), 0);
        _cleanup_vnode_ struct vnode *i = vnode_link(fresh, &found.prestat);
        struct vfile *f = vfile_new(i, O_RDWR, false);
        r.inode = i;
        r.file = f;
        struct open_fop_req req = {.gfid = i->gfid, .flags = O_RDWR, .xdata = DICT_NULL};
        struct open_fop_rep rep;
        assert_int_equal(subvolume_open(self, volume_top(c->volume), &r, &req, &rep), 0);
        return f;
}

static int put_with(struct fibre *self, struct world_client *c, struct vfile *f, const char *text,
                    struct fibre_event *cancel)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(ARENA_MAX);
        struct request r = world_request(c, &a);
        uint32_t len = (uint32_t)strlen(text);
        r.inode = f->inode;
        r.file = f;
        r.cancel = cancel;
        struct write_fop_req req = {.gfid = f->inode->gfid,
                                    .size = len,
                                    .flag = O_RDWR,
                                    .xdata = DICT_NULL,
                                    .data = {(const uint8_t *)text, len}};
        struct write_fop_rep rep;
        volume_stamp(c->volume, &r.cred, FOP_WRITE);
        return subvolume_write(self, volume_top(c->volume), &r, &req, &rep);
}

static int put(struct fibre *self, struct world_client *c, struct vfile *f, const char *text)
{
        return put_with(self, c, f, text, NULL);
}

static int lock(struct fibre *self, struct world_client *c, struct vfile *f, uint32_t cmd, uint32_t type,
                uint64_t start, uint64_t len, struct fibre_event *cancel)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(ARENA_MAX);
        struct request r = world_request(c, &a);
        r.inode = f->inode;
        r.file = f;
        r.cancel = cancel;
        struct lk_fop_req req = {.gfid = f->inode->gfid,
                                 .cmd = cmd,
                                 .type = type,
                                 .flock = {.type = type, .start = start, .len = len, .pid = (uint32_t)r.cred.pid},
                                 .xdata = DICT_NULL};
        struct lk_fop_rep rep;
        return subvolume_lk(self, volume_top(c->volume), &r, &req, &rep);
}

static int flush(struct fibre *self, struct world_client *c, struct vfile *f)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(ARENA_MAX);
        struct request r = world_request(c, &a);
        r.inode = f->inode;
        r.file = f;
        struct flush_fop_req req = {.gfid = f->inode->gfid, .xdata = DICT_NULL};
        struct flush_fop_rep rep;
        return subvolume_flush(self, volume_top(c->volume), &r, &req, &rep);
}

static int stat_root(struct fibre *self, struct world_client *c)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(ARENA_MAX);
        struct request r = world_request(c, &a);
        struct stat_fop_req req = {.gfid = root, .xdata = DICT_NULL};
        struct stat_fop_rep rep;
        return subvolume_stat(self, volume_top(c->volume), &r, &req, &rep);
}

/* The open file of each client, for scenarios of several steps. */
static struct vfile *files[WORLD_CLIENTS_MAX];

static void make_it(struct fibre *self, struct world_client *c, void *arg)
{
        files[c->index] = make_file(self, c, arg);
}

static void open_it(struct fibre *self, struct world_client *c, void *arg)
{
        files[c->index] = open_file(self, c, arg);
}

static void close_it(struct fibre *self, struct world_client *c, void *arg)
{
        (void)self;
        (void)arg;
        files[c->index] = vfile_unref(files[c->index]);
}

struct write_call {
        const char *text;
        struct fibre_event *cancel;
        int result;
};

static void write_it(struct fibre *self, struct world_client *c, void *arg)
{
        struct write_call *w = arg;
        w->result = put_with(self, c, files[c->index], w->text, w->cancel);
}

static struct remote *remote_at(struct world_client *c)
{
        return remote_of(volume_top(c->volume));
}

static bool client_is_up(void *arg)
{
        return volume_top(((struct world_client *)arg)->volume)->up;
}

static bool client_is_down(void *arg)
{
        return !client_is_up(arg);
}

/* ---- operations and descriptors -------------------------------------------------------------------------------- */

static void a_file_is_written(struct fibre *self, struct world_client *c, void *arg)
{
        (void)arg;
        struct vfile *f = make_file(self, c, "file");
        assert_int_equal(put(self, c, f, "hello"), 5);
        assert_int_equal(flush(self, c, f), 0);
        vfile_unref(f);
}

static void operations_reach_the_brick(void **state)
{
        static struct world w;
        char data[8] = "";
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_ONE, .seed = 1});
        world_run(&w, 0, a_file_is_written, NULL);
        assert_int_equal(world_read(&w.bricks[0], "/file", data, sizeof data), 5);
        assert_string_equal(data, "hello");
        assert_int_equal(w.bricks[0].asked_ports, 1);
        assert_int_equal(w.bricks[0].calls[FOP_CREATE], 1);
        assert_true(world_xattr(&w.bricks[0], "/file", "trusted.glusterfs.mdata", data, 0) > 0);
        world_close(&w);
        assert_int_equal(w.bricks[0].calls[FOP_RELEASE], 1);
}

static void a_directory_is_listed(struct fibre *self, struct world_client *c, void *arg)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(ARENA_MAX);
        struct request r = world_request(c, &a);
        (void)arg;
        vfile_unref(make_file(self, c, "one"));
        vfile_unref(make_file(self, c, "two"));
        _cleanup_vnode_ struct vnode *i = vnode_new(c->volume, &root, S_IFDIR);
        struct vfile *f = vfile_new(i, O_DIRECTORY, true);
        r.inode = i;
        r.file = f;
        struct opendir_fop_req open = {.gfid = root, .xdata = DICT_NULL};
        struct opendir_fop_rep opened;
        assert_int_equal(subvolume_opendir(self, volume_top(c->volume), &r, &open, &opened), 0);
        unsigned seen = 0, rounds = 0;
        struct readdirp_fop_req req = {.gfid = root, .size = 600, .xdata = DICT_NULL};
        struct readdirp_fop_rep rep;
        do {
                assert_int_equal(subvolume_readdirp(self, volume_top(c->volume), &r, &req, &rep), 0);
                for (uint32_t k = 0; k < rep.reply.n; k++) {
                        seen += str_is(rep.reply.v[k].name, "one") + str_is(rep.reply.v[k].name, "two");
                        req.offset = rep.reply.v[k].off;
                }
                rounds++;
        } while (rep.reply.n > 0);
        assert_int_equal(seen, 2);
        assert_true(rounds > 2);
        vfile_unref(f);
}

static void directories_are_listed_piece_by_piece(void **state)
{
        static struct world w;
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_ONE, .seed = 2});
        world_run(&w, 0, a_directory_is_listed, NULL);
        world_close(&w);
        assert_int_equal(w.bricks[0].calls[FOP_RELEASEDIR], 1);
}

/* A file that is open at no brick is written all the same; what needs the descriptor is refused. */
static void a_file_that_is_not_open_is_written(struct fibre *self, struct world_client *c, void *arg)
{
        (void)arg;
        struct vfile *f = make_file(self, c, "file");
        struct vfile *other = vfile_new(f->inode, O_RDWR, false);
        assert_int_equal(put(self, c, other, "anon"), 4);
        assert_int_equal(lock(self, c, other, LK_COMMAND_SET, LK_TYPE_WRITE, 0, 1, NULL), -EBADFD);
        assert_int_equal(flush(self, c, other), -EBADFD);
        vfile_unref(other);
        vfile_unref(f);
}

static void files_not_open_there_use_the_anonymous_descriptor(void **state)
{
        static struct world w;
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_ONE, .seed = 3});
        world_run(&w, 0, a_file_that_is_not_open_is_written, NULL);
        world_close(&w);
}

/* ---- outages --------------------------------------------------------------------------------------------------- */

/* What was open at the brick when the client said that it is up again. */
static unsigned opens_when_up, ups;

static void note_up(struct volume *vol, const struct subvolume_event *e, void *arg)
{
        struct world *w = arg;
        (void)vol;
        if (e->kind != SUBVOLUME_UP)
                return;
        ups++;
        opens_when_up = w->bricks[0].calls[FOP_OPEN];
}

static void descriptors_are_open_again_before_up_is_told(void **state)
{
        static struct world w;
        struct write_call call = {.text = "again"};
        (void)state;
        ups = 0;
        world_open(&w, &(struct world_config){.layout = WORLD_ONE, .seed = 4, .on_event = note_up, .event_arg = &w});
        world_run(&w, 0, make_it, file_name);
        world_brick_sync(&w.bricks[0]);
        uint16_t port = w.bricks[0].port;
        world_brick_crash(&w.bricks[0], true);
        world_until(&w, client_is_down, &w.clients[0]);
        world_run(&w, 0, write_it, &call);
        assert_int_equal(call.result, -ENOTCONN);
        world_brick_start(&w.bricks[0]);
        assert_true(w.bricks[0].port != port);
        world_until(&w, client_is_up, &w.clients[0]);
        assert_int_equal(ups, 2);
        assert_int_equal(opens_when_up, 1);
        world_run(&w, 0, write_it, &call);
        assert_int_equal(call.result, 5);
        world_run(&w, 0, close_it, NULL);
        world_close(&w);
}

static void operations_wait_through_an_outage(void **state)
{
        static struct world w;
        struct write_call call = {.text = "later", .result = 1};
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_ONE, .seed = 5, .outage_wait = 30 * NS_PER_SEC});
        world_run(&w, 0, make_it, file_name);
        world_brick_sync(&w.bricks[0]);
        world_brick_crash(&w.bricks[0], false);
        world_start(&w, 0, write_it, &call);
        world_pass(&w, 20 * NS_PER_SEC);
        assert_int_equal(call.result, 1);
        world_brick_start(&w.bricks[0]);
        world_wait(&w);
        assert_int_equal(call.result, 5);
        world_run(&w, 0, close_it, NULL);
        world_close(&w);
}

static void waiting_ends_with_the_time_or_the_caller(void **state)
{
        static struct world w;
        struct fibre_event cancel = {0};
        struct write_call cancelled = {.text = "never", .cancel = &cancel, .result = 1};
        struct write_call late = {.text = "never", .result = 1};
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_ONE, .seed = 6, .outage_wait = 30 * NS_PER_SEC});
        world_run(&w, 0, make_it, file_name);
        world_brick_sync(&w.bricks[0]);
        world_brick_crash(&w.bricks[0], false);
        world_until(&w, client_is_down, &w.clients[0]);
        world_start(&w, 0, write_it, &cancelled);
        world_start(&w, 0, write_it, &late);
        world_pass(&w, NS_PER_SEC);
        assert_int_equal(cancelled.result, 1);
        fibre_event_set(&cancel);
        world_pass(&w, NS_PER_SEC);
        assert_int_equal(cancelled.result, -EINTR);
        assert_int_equal(late.result, 1);
        uint64_t before = sim_now(w.sim);
        world_wait(&w);
        assert_int_equal(late.result, -ENOTCONN);
        assert_true(sim_now(w.sim) - before < 30 * NS_PER_SEC);
        world_brick_start(&w.bricks[0]);
        world_run(&w, 0, close_it, NULL);
        world_close(&w);
}

/* A write whose answer was lost: sent again to another process, not to the one that may still be working on it. */
static int lose_a_write(bool same_process, unsigned *ret_writes)
{
        static struct world w;
        struct write_call call = {.text = "lost", .result = 1};
        world_open(&w, &(struct world_config){.layout = WORLD_ONE, .seed = 7, .outage_wait = 30 * NS_PER_SEC});
        world_run(&w, 0, make_it, file_name);
        world_brick_sync(&w.bricks[0]);
        w.bricks[0].old_instance = same_process;
        if (same_process) { /* it must have been known by that name before */
                world_reset(&w, 0, 0);
                world_until(&w, client_is_down, &w.clients[0]);
                world_until(&w, client_is_up, &w.clients[0]);
        }
        world_brick_doom(&w.bricks[0], 1);
        world_start(&w, 0, write_it, &call);
        world_pass(&w, 10 * NS_PER_MSEC);
        assert_int_equal(call.result, 1);
        world_brick_crash(&w.bricks[0], false);
        world_brick_start(&w.bricks[0]);
        world_wait(&w);
        *ret_writes = w.bricks[0].calls[FOP_WRITE];
        world_run(&w, 0, close_it, NULL);
        world_close(&w);
        return call.result;
}

static void lost_writes_are_sent_again_only_to_another_process(void **state)
{
        unsigned writes;
        (void)state;
        assert_int_equal(lose_a_write(false, &writes), 4);
        assert_int_equal(writes, 2);
        assert_int_equal(lose_a_write(true, &writes), -ENOTCONN);
        assert_int_equal(writes, 1);
}

/* ---- changes of names whose answer is lost ------------------------------------------------------------------------
 */

enum naming { MAKE_DIRECTORY, MAKE_FILE, MAKE_LINK, REMOVE_FILE, REMOVE_DIRECTORY, RENAME_FILE, NAMINGS };

struct naming_call {
        enum naming kind;
        struct gfid gfid;
        int result;
};

/* What must be there before, at /old. */
static void prepare_name(struct fibre *self, struct world_client *c, void *arg)
{
        struct naming_call *n = arg;
        _cleanup_arena_ struct arena a = ARENA_INIT(ARENA_MAX);
        struct request r = world_request(c, &a);
        n->gfid = world_gfid(c);
        if (n->kind == REMOVE_DIRECTORY) {
                const struct mkdir_fop_req req = {
                        .pargfid = root, .mode = 0755, .bname = STR("old"), .xdata = world_gfid_req(&a, &n->gfid)};
                struct mkdir_fop_rep rep;
                assert_int_equal(subvolume_mkdir(self, volume_top(c->volume), &r, &req, &rep), 0);
        } else if (n->kind >= MAKE_LINK) {
                const struct mknod_fop_req req = {.pargfid = root,
                                                  .mode = S_IFREG | 0644,
                                                  .bname = STR("old"),
                                                  .xdata = world_gfid_req(&a, &n->gfid)};
                struct mknod_fop_rep rep;
                assert_int_equal(subvolume_mknod(self, volume_top(c->volume), &r, &req, &rep), 0);
        }
}

static int change_name(struct fibre *self, struct subvolume *v, struct request *r, const struct naming_call *n)
{
        const struct dict gfid_req = world_gfid_req(r->arena, &n->gfid);
        const struct mkdir_fop_req make = {.pargfid = root, .mode = 0755, .bname = STR("new"), .xdata = gfid_req};
        const struct create_fop_req create = {.pargfid = root,
                                              .flags = O_RDWR | O_CREAT | O_EXCL,
                                              .mode = 0600,
                                              .bname = STR("new"),
                                              .xdata = gfid_req};
        const struct link_fop_req link = {
                .oldgfid = n->gfid, .newgfid = root, .newbname = STR("new"), .xdata = DICT_NULL};
        const struct unlink_fop_req unlink = {.pargfid = root, .bname = STR("old"), .xdata = DICT_NULL};
        const struct rmdir_fop_req rmdir = {.pargfid = root, .bname = STR("old"), .xdata = DICT_NULL};
        const struct rename_fop_req rename = {
                .oldgfid = root, .newgfid = root, .oldbname = STR("old"), .newbname = STR("new"), .xdata = DICT_NULL};
        union {
                struct mkdir_fop_rep make;
                struct create_fop_rep create;
                struct link_fop_rep link;
                struct unlink_fop_rep unlink;
                struct rmdir_fop_rep rmdir;
                struct rename_fop_rep rename;
        } rep;
        switch (n->kind) {
        case MAKE_DIRECTORY:
                return subvolume_mkdir(self, v, r, &make, &rep.make);
        case MAKE_FILE:
                return subvolume_create(self, v, r, &create, &rep.create);
        case MAKE_LINK:
                return subvolume_link(self, v, r, &link, &rep.link);
        case REMOVE_FILE:
                return subvolume_unlink(self, v, r, &unlink, &rep.unlink);
        case REMOVE_DIRECTORY:
                return subvolume_rmdir(self, v, r, &rmdir, &rep.rmdir);
        default:
                return subvolume_rename(self, v, r, &rename, &rep.rename);
        }
}

static void change_it(struct fibre *self, struct world_client *c, void *arg)
{
        struct naming_call *n = arg;
        _cleanup_arena_ struct arena a = ARENA_INIT(ARENA_MAX);
        _cleanup_vnode_ struct vnode *i = vnode_new(c->volume, &n->gfid, 0);
        struct request r = world_request(c, &a);
        r.inode = i;
        n->result = change_name(self, volume_top(c->volume), &r, n);
}

static bool name_is_known_or_brick_died(void *arg)
{
        struct world *w = arg;
        return w->clients[0].running == 0 || world_brick_is_dead(&w->bricks[0]);
}

/* The brick's process dies after EFFECTS effects of the change. True: it did. */
static bool change_with_death(enum naming kind, unsigned effects, unsigned *unknown)
{
        static struct world w;
        struct naming_call n = {.kind = kind, .result = 1};
        world_open(&w, &(struct world_config){.layout = WORLD_ONE, .seed = 40, .outage_wait = 30 * NS_PER_SEC});
        world_run(&w, 0, prepare_name, &n);
        world_brick_sync(&w.bricks[0]);
        world_brick_doom(&w.bricks[0], effects);
        world_start(&w, 0, change_it, &n);
        world_until(&w, name_is_known_or_brick_died, &w);
        bool died = world_brick_is_dead(&w.bricks[0]);
        if (died) {
                world_brick_crash(&w.bricks[0], false);
                world_brick_start(&w.bricks[0]);
        }
        world_brick_doom(&w.bricks[0], 0);
        world_wait(&w);
        *unknown += n.result == -ENOTCONN;
        assert_true(n.result == 0 || n.result == -ENOTCONN);
        if (n.result == 0) {
                assert_true(world_exists(&w.bricks[0], "/new") == (kind <= MAKE_LINK || kind == RENAME_FILE));
                assert_true(world_exists(&w.bricks[0], "/old") == (kind == MAKE_LINK));
        }
        world_close(&w);
        return died;
}

static void changes_of_names_are_settled(void **state)
{
        unsigned deaths = 0, unknown = 0;
        (void)state;
        for (enum naming kind = 0; kind < NAMINGS; kind++)
                for (unsigned effects = 1; change_with_death(kind, effects, &unknown); effects++)
                        deaths++;
        print_message("%u deaths in the middle of a change, %u of them with an unknown outcome\n", deaths, unknown);
        assert_true(deaths > 2 * NAMINGS);
        assert_true(unknown * 2 < deaths);
}

static void silence_ends_the_connection(void **state)
{
        static struct world w;
        struct write_call call = {.text = "lost", .result = 1};
        (void)state;
        world_open(&w, &(struct world_config){
                               .layout = WORLD_ONE, .seed = 8, .client_options = "    option ping-timeout 10\n"});
        world_run(&w, 0, make_it, file_name);
        world_cut(&w, 0, 0, true);
        uint64_t before = sim_now(w.sim);
        world_run(&w, 0, write_it, &call);
        assert_int_equal(call.result, -ENOTCONN);
        assert_true(sim_now(w.sim) - before < 21 * NS_PER_SEC);
        world_cut(&w, 0, 0, false);
        world_until(&w, client_is_up, &w.clients[0]);
        world_run(&w, 0, close_it, NULL);
        world_close(&w);
}

static void look_until_cancelled(struct fibre *self, struct world_client *c, void *arg)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(ARENA_MAX);
        struct request r = world_request(c, &a);
        struct stat_fop_req req = {.gfid = root, .xdata = DICT_NULL};
        struct stat_fop_rep rep;
        r.cancel = arg;
        assert_int_equal(subvolume_stat(self, volume_top(c->volume), &r, &req, &rep), -EINTR);
        r.cancel = NULL;
        assert_int_equal(subvolume_stat(self, volume_top(c->volume), &r, &req, &rep), 0);
}

/* Who only looks need not wait until the silence is noticed. */
static void looking_can_be_given_up(void **state)
{
        static struct world w;
        struct fibre_event cancel = {0};
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_ONE, .seed = 14});
        world_cut(&w, 0, 0, true);
        world_start(&w, 0, look_until_cancelled, &cancel);
        world_pass(&w, NS_PER_SEC);
        fibre_event_set(&cancel);
        world_pass(&w, NS_PER_SEC);
        world_cut(&w, 0, 0, false);
        world_wait(&w);
        world_close(&w);
}

static void storage_that_is_down_is_waited_for(void **state)
{
        static struct world w;
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_ONE, .seed = 9});
        w.bricks[0].storage_down = true;
        world_reset(&w, 0, 0);
        world_until(&w, client_is_down, &w.clients[0]);
        world_pass(&w, 10 * NS_PER_SEC);
        assert_false(client_is_up(&w.clients[0]));
        assert_non_null(remote_at(&w.clients[0])->client);
        w.bricks[0].storage_down = false;
        world_close(&w);
}

/* ---- mounting -------------------------------------------------------------------------------------------------- */

struct mount_call {
        uint64_t timeout;
        int result;
        struct error err;
};

static void mount_it(struct fibre *self, struct world_client *c, void *arg)
{
        struct mount_call *m = arg;
        m->result = world_mount(self, c, m->timeout, &m->err);
}

static void a_client_that_is_refused_is_told_why(void **state)
{
        static struct world w;
        struct mount_call call = {.timeout = 60 * NS_PER_SEC};
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_ONE, .seed = 10, .unmounted = true});
        w.bricks[0].refuse_clients = true;
        uint64_t before = sim_now(w.sim);
        world_run(&w, 0, mount_it, &call);
        assert_int_equal(call.result, -EACCES);
        assert_non_null(strstr(call.err.text, "Authentication failed"));
        assert_non_null(strstr(call.err.text, "/brick"));
        assert_true(sim_now(w.sim) - before < NS_PER_SEC);
        world_close(&w);
}

static void a_brick_that_does_not_run_is_named(void **state)
{
        static struct world w;
        struct mount_call call = {.timeout = 5 * NS_PER_SEC};
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_ONE, .seed = 11, .unmounted = true});
        world_brick_stop(&w.bricks[0]);
        world_run(&w, 0, mount_it, &call);
        assert_int_equal(call.result, -ETIMEDOUT);
        assert_non_null(strstr(call.err.text, "not running"));
        world_brick_start(&w.bricks[0]);
        world_run(&w, 0, mount_it, &call);
        assert_int_equal(call.result, 0);
        world_close(&w);
}

/* Nobody answers: mounting ends in time, and so does giving up. */
static void silence_does_not_hold_up_a_mount(void **state)
{
        static struct world w;
        struct mount_call call = {.timeout = 3 * NS_PER_SEC};
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_ONE, .seed = 12, .unmounted = true});
        world_cut(&w, 0, 0, true);
        uint64_t before = sim_now(w.sim);
        world_run(&w, 0, mount_it, &call);
        assert_int_equal(call.result, -ETIMEDOUT);
        assert_true(sim_now(w.sim) - before < 4 * NS_PER_SEC);
        world_close(&w);
}

static void look_into_the_directory(struct fibre *self, struct world_client *c, void *arg)
{
        (void)arg;
        assert_int_equal(stat_root(self, c), 0);
        vfile_unref(make_file(self, c, "inside"));
}

static void a_subdirectory_is_mounted(void **state)
{
        static struct world w;
        (void)state;
        world_open(&w, &(struct world_config){.layout = WORLD_ONE, .seed = 13, .subdir = "/sub", .unmounted = true});
        struct mount_call call = {.timeout = 5 * NS_PER_SEC};
        world_run(&w, 0, mount_it, &call);
        assert_int_equal(call.result,
                         -ETIMEDOUT); /* there is none; the simulated brick says so without the stock words */
        w.config.subdir = NULL;
        world_run(&w, 0, mount_it, &call);
        assert_int_equal(call.result, 0);
        world_run(&w, 0, look_into_the_directory, NULL);
        world_close(&w);
}

/* ---- locks ----------------------------------------------------------------------------------------------------- */

struct lock_call {
        uint32_t cmd, type;
        uint64_t start, len;
        struct fibre_event *cancel;
        int result;
};

static void lock_it(struct fibre *self, struct world_client *c, void *arg)
{
        struct lock_call *l = arg;
        l->result = lock(self, c, files[c->index], l->cmd, l->type, l->start, l->len, l->cancel);
}

static int lock_of(struct world *w, unsigned client, uint32_t cmd, uint32_t type, uint64_t start, uint64_t len)
{
        struct lock_call l = {cmd, type, start, len, NULL, 1};
        world_run(w, client, lock_it, &l);
        return l.result;
}

static void open_two(struct world *w, uint64_t seed, uint64_t outage_wait)
{
        world_open(w,
                   &(struct world_config){.layout = WORLD_ONE, .seed = seed, .clients = 2, .outage_wait = outage_wait});
        world_run(w, 0, make_it, file_name);
        world_run(w, 1, open_it, file_name);
        world_brick_sync(&w->bricks[0]);
}

static void close_two(struct world *w)
{
        world_run(w, 0, close_it, NULL);
        world_run(w, 1, close_it, NULL);
        world_close(w);
}

static bool both_are_up(void *arg)
{
        struct world *w = arg;
        return client_is_up(&w->clients[0]) && client_is_up(&w->clients[1]);
}

static void locks_are_regained_after_a_restart(void **state)
{
        static struct world w;
        (void)state;
        open_two(&w, 20, 0);
        assert_int_equal(lock_of(&w, 0, LK_COMMAND_SET, LK_TYPE_WRITE, 100, 100), 0);
        assert_int_equal(lock_of(&w, 0, LK_COMMAND_SET, LK_TYPE_UNLOCK, 140, 10), 0); /* two pieces are left */
        assert_int_equal(lock_of(&w, 0, LK_COMMAND_SET, LK_TYPE_READ, 1000, 0), 0);
        world_brick_crash(&w.bricks[0], false);
        world_until(&w, client_is_down, &w.clients[0]);
        world_brick_start(&w.bricks[0]);
        world_until(&w, both_are_up, &w);
        assert_int_equal(lock_of(&w, 1, LK_COMMAND_SET, LK_TYPE_READ, 100, 1), -EAGAIN);
        assert_int_equal(lock_of(&w, 1, LK_COMMAND_SET, LK_TYPE_READ, 199, 1), -EAGAIN);
        assert_int_equal(lock_of(&w, 1, LK_COMMAND_SET, LK_TYPE_WRITE, 140, 10), 0);
        assert_int_equal(lock_of(&w, 1, LK_COMMAND_SET, LK_TYPE_READ, 5000, 1), 0);
        assert_int_equal(lock_of(&w, 1, LK_COMMAND_SET, LK_TYPE_WRITE, 5000, 1), -EAGAIN);
        close_two(&w);
}

static void flush_it(struct fibre *self, struct world_client *c, void *arg)
{
        *(int *)arg = flush(self, c, files[c->index]);
}

static void locks_that_were_given_back_stay_given_back(void **state)
{
        static struct world w;
        int flushed = 1;
        (void)state;
        open_two(&w, 21, 0);
        assert_int_equal(lock_of(&w, 0, LK_COMMAND_SET, LK_TYPE_WRITE, 0, 10), 0);
        world_run(&w, 0, flush_it, &flushed);
        assert_int_equal(flushed, 0);
        assert_int_equal(lock_of(&w, 0, LK_COMMAND_SET, LK_TYPE_WRITE, 50, 10), 0);
        world_brick_crash(&w.bricks[0], false);
        world_until(&w, client_is_down, &w.clients[0]);
        assert_int_equal(lock_of(&w, 0, LK_COMMAND_SET, LK_TYPE_UNLOCK, 50, 10), -ENOTCONN);
        world_brick_start(&w.bricks[0]);
        world_until(&w, both_are_up, &w);
        assert_int_equal(lock_of(&w, 1, LK_COMMAND_SET, LK_TYPE_WRITE, 0, 0), 0);
        close_two(&w);
}

/* At the first copy only, with OWNER as the first byte of the owner; client 0 has 100 by itself. */
struct first_copy {
        uint32_t type;
        uint8_t owner;
        int result;
};

static void lock_first_copy(struct fibre *self, struct world_client *c, void *arg)
{
        struct first_copy *l = arg;
        _cleanup_arena_ struct arena a = ARENA_INIT(ARENA_MAX);
        struct request r = world_request(c, &a);
        struct vfile *f = files[c->index];
        struct subvolume *top = volume_top(c->volume);
        r.inode = f->inode;
        r.file = f;
        r.cred.owner[0] = l->owner;
        struct lk_fop_req req = {.gfid = f->inode->gfid,
                                 .cmd = LK_COMMAND_SET,
                                 .type = l->type,
                                 .flock = {.type = l->type, .pid = 1},
                                 .xdata = DICT_NULL};
        struct lk_fop_rep rep;
        l->result = subvolume_lk(self, top->n_children ? top->children[0] : top, &r, &req, &rep);
}

static int lock_first(struct world *w, unsigned client, uint32_t type, uint8_t owner)
{
        struct first_copy l = {type, owner, 1};
        world_run(w, client, lock_first_copy, &l);
        return l.result;
}

static bool first_copy_is_up(void *arg)
{
        struct subvolume *top = volume_top(((struct world_client *)arg)->volume);
        return top->n_children ? top->children[0]->up : top->up;
}

static bool first_copy_is_down(void *arg)
{
        return !first_copy_is_up(arg);
}

/* Somebody, as it seems, has the lock at one brick when it comes back: the former connection, or who is going to fail at the
 * others. It is waited for. */
static void a_lock_at_one_brick_is_waited_for(enum world_layout layout, uint8_t owner)
{
        static struct world w;
        struct write_call call = {.text = "right"};
        world_open(&w, &(struct world_config){.layout = layout, .seed = 25, .clients = 2});
        world_run(&w, 0, make_it, file_name);
        world_run(&w, 1, open_it, file_name);
        assert_int_equal(lock_of(&w, 0, LK_COMMAND_SET, LK_TYPE_WRITE, 0, 0), 0);
        world_reset(&w, 0, 0);
        world_cut(&w, 0, 0, true);
        world_until(&w, first_copy_is_down, &w.clients[0]);
        world_pass(&w, NS_PER_SEC);
        assert_int_equal(lock_first(&w, 1, LK_TYPE_WRITE, owner), 0);
        world_cut(&w, 0, 0, false);
        world_pass(&w, 8 * NS_PER_SEC);
        assert_false(first_copy_is_up(&w.clients[0]));
        assert_int_equal(lock_first(&w, 1, LK_TYPE_UNLOCK, owner), 0);
        world_until(&w, first_copy_is_up, &w.clients[0]);
        assert_int_equal(lock_first(&w, 1, LK_TYPE_WRITE, 77), -EAGAIN);
        world_run(&w, 0, write_it, &call);
        assert_int_equal(call.result, 5);
        close_two(&w);
}

static void locks_of_the_former_connection_are_waited_for(void **state)
{
        (void)state;
        a_lock_at_one_brick_is_waited_for(WORLD_REP3, 99);
        a_lock_at_one_brick_is_waited_for(WORLD_ONE, 100);
}

static void a_lock_that_another_got_makes_the_file_fail(void **state)
{
        static struct world w;
        struct write_call call = {.text = "stale"};
        (void)state;
        open_two(&w, 22, 0);
        assert_int_equal(lock_of(&w, 0, LK_COMMAND_SET, LK_TYPE_WRITE, 0, 0), 0);
        world_reset(&w, 0, 0);
        world_cut(&w, 0, 0, true);
        world_until(&w, client_is_down, &w.clients[0]);
        world_pass(&w, NS_PER_SEC);
        assert_int_equal(lock_of(&w, 1, LK_COMMAND_SET, LK_TYPE_WRITE, 0, 0), 0);
        world_cut(&w, 0, 0, false);
        world_until(&w, client_is_up, &w.clients[0]);
        world_run(&w, 0, write_it, &call);
        assert_int_equal(call.result, -EIO);
        world_run(&w, 0, close_it, NULL);
        world_run(&w, 0, open_it, file_name);
        world_run(&w, 0, write_it, &call);
        assert_int_equal(call.result, 5);
        close_two(&w);
}

static void a_waiting_lock_can_be_interrupted(void **state)
{
        static struct world w;
        struct fibre_event cancel = {0};
        struct lock_call waiting = {LK_COMMAND_WAIT, LK_TYPE_WRITE, 0, 0, &cancel, 1};
        (void)state;
        open_two(&w, 23, 0);
        assert_int_equal(lock_of(&w, 0, LK_COMMAND_SET, LK_TYPE_WRITE, 0, 10), 0);
        world_start(&w, 1, lock_it, &waiting);
        world_pass(&w, NS_PER_SEC);
        assert_int_equal(waiting.result, 1);
        fibre_event_set(&cancel);
        world_wait(&w);
        assert_int_equal(waiting.result, -EINTR);
        assert_int_equal(lock_of(&w, 0, LK_COMMAND_SET, LK_TYPE_UNLOCK, 0, 10), 0);
        cancel = (struct fibre_event){0};
        world_start(&w, 1, lock_it, &waiting);
        world_wait(&w);
        assert_int_equal(waiting.result, 0);
        close_two(&w);
}

/* A lock that is waited for when the brick goes is waited for at the next one. */
static void waiting_for_a_lock_survives_a_restart(void **state)
{
        static struct world w;
        struct lock_call waiting = {LK_COMMAND_WAIT, LK_TYPE_WRITE, 0, 0, NULL, 1};
        (void)state;
        open_two(&w, 24, 30 * NS_PER_SEC);
        assert_int_equal(lock_of(&w, 0, LK_COMMAND_SET, LK_TYPE_WRITE, 0, 10), 0);
        world_start(&w, 1, lock_it, &waiting);
        world_pass(&w, NS_PER_SEC);
        world_cut(&w, 1, 0, true); /* the holder is first to come back */
        world_brick_crash(&w.bricks[0], false);
        world_until(&w, client_is_down, &w.clients[0]);
        world_brick_start(&w.bricks[0]);
        world_until(&w, client_is_up, &w.clients[0]);
        world_cut(&w, 1, 0, false);
        world_pass(&w, 15 * NS_PER_SEC);
        assert_int_equal(waiting.result, 1);
        assert_int_equal(lock_of(&w, 0, LK_COMMAND_SET, LK_TYPE_UNLOCK, 0, 10), 0);
        world_wait(&w);
        assert_int_equal(waiting.result, 0);
        close_two(&w);
}

/* ---- what bricks tell ------------------------------------------------------------------------------------------ */

static unsigned invalidations;
static struct gfid invalidated;

static void note_change(struct volume *vol, const struct subvolume_event *e, void *arg)
{
        struct world *w = arg;
        if (e->kind != SUBVOLUME_INVALIDATE || vol != w->clients[1].volume)
                return;
        invalidations++;
        invalidated = e->gfid;
}

static void changes_by_others_are_told(void **state)
{
        static struct world w;
        struct write_call call = {.text = "news"};
        (void)state;
        invalidations = 0;
        world_open(&w, &(struct world_config){.layout = WORLD_ONE,
                                              .seed = 30,
                                              .clients = 2,
                                              .cache_invalidation = true,
                                              .on_event = note_change,
                                              .event_arg = &w});
        world_run(&w, 0, make_it, file_name);
        world_run(&w, 1, open_it, file_name);
        invalidations = 0;
        world_run(&w, 0, write_it, &call);
        world_pass(&w, NS_PER_SEC);
        assert_true(invalidations > 0);
        assert_true(gfid_equal(&invalidated, &files[0]->inode->gfid));
        close_two(&w);
}

/* ---- bounds ---------------------------------------------------------------------------------------------------- */

static unsigned answered;

static void ask_once(struct fibre *self, struct world_client *c, void *arg)
{
        (void)arg;
        assert_int_equal(stat_root(self, c), 0);
        answered++;
}

static void requests_take_turns(void **state)
{
        static struct world w;
        enum { REQUESTS = 3 * REMOTE_IN_FLIGHT_MAX };
        (void)state;
        answered = 0;
        world_open(&w, &(struct world_config){.layout = WORLD_ONE, .seed = 31});
        world_cut(&w, 0, 0, true);
        for (unsigned k = 0; k < REQUESTS; k++)
                world_start(&w, 0, ask_once, NULL);
        world_pass(&w, NS_PER_SEC);
        assert_int_equal(remote_at(&w.clients[0])->in_flight, REMOTE_IN_FLIGHT_MAX);
        assert_int_equal(rpc_client_outstanding(remote_at(&w.clients[0])->client), REMOTE_IN_FLIGHT_MAX);
        world_cut(&w, 0, 0, false);
        world_wait(&w);
        assert_int_equal(answered, REQUESTS);
        assert_int_equal(remote_at(&w.clients[0])->in_flight, 0);
        world_close(&w);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(operations_reach_the_brick),
                cmocka_unit_test(directories_are_listed_piece_by_piece),
                cmocka_unit_test(files_not_open_there_use_the_anonymous_descriptor),
                cmocka_unit_test(descriptors_are_open_again_before_up_is_told),
                cmocka_unit_test(operations_wait_through_an_outage),
                cmocka_unit_test(waiting_ends_with_the_time_or_the_caller),
                cmocka_unit_test(lost_writes_are_sent_again_only_to_another_process),
                cmocka_unit_test(changes_of_names_are_settled),
                cmocka_unit_test(silence_ends_the_connection),
                cmocka_unit_test(looking_can_be_given_up),
                cmocka_unit_test(storage_that_is_down_is_waited_for),
                cmocka_unit_test(a_client_that_is_refused_is_told_why),
                cmocka_unit_test(a_brick_that_does_not_run_is_named),
                cmocka_unit_test(silence_does_not_hold_up_a_mount),
                cmocka_unit_test(a_subdirectory_is_mounted),
                cmocka_unit_test(locks_are_regained_after_a_restart),
                cmocka_unit_test(locks_that_were_given_back_stay_given_back),
                cmocka_unit_test(locks_of_the_former_connection_are_waited_for),
                cmocka_unit_test(a_lock_that_another_got_makes_the_file_fail),
                cmocka_unit_test(a_waiting_lock_can_be_interrupted),
                cmocka_unit_test(waiting_for_a_lock_survives_a_restart),
                cmocka_unit_test(changes_by_others_are_told),
                cmocka_unit_test(requests_take_turns),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
