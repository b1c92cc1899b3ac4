/* A client of a simulated brick (sim_client.h).
 *
 * Results of calls: 0, -errno of the answer, or LOST when there was no answer. After LOST the client connects again,
 * waits until the server has forgotten its old connection (so no old request can be served any more) and looks at
 * everything.
 */
#include "sim_client.h"

#include <dirent.h>

#define LOST (-100000)
#define ATTR "user.tag"
#define CONNECT_TIMEOUT (20 * NS_PER_MSEC)
#define CALL_TIMEOUT (100 * NS_PER_MSEC)
#define PING_TIMEOUT (30 * NS_PER_MSEC)
#define ARENA_MAX (16 * MIB)
#define LIST_SIZE 1000 /* a few names: directories take several answers */

static const struct gfid root = GFID_ROOT;

/* With MORTAR_TRACE set, what clients do and find is told. */
static void _printf_(2, 3) trace(const struct sim_client *c, const char *format, ...)
{
        static int wanted = -1;
        if (wanted < 0)
                wanted = getenv("MORTAR_TRACE") != NULL;
        if (!wanted)
                return;
        va_list ap;
        va_start(ap, format);
        fprintf(stderr, "%12llu client %u: ", (unsigned long long)sim_now(c->sim), c->number);
        vfprintf(stderr, format, ap);
        fputc('\n', stderr);
        va_end(ap);
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

static struct rpc_cred next_cred(struct sim_client *c)
{
        struct rpc_cred cred = {.flavour = RPC_AUTH_GLUSTERFS_V3,
                                .pid = 1000 + (int32_t)c->number,
                                .flags = TIMES_CTIME | TIMES_MTIME | TIMES_PARENT_CTIME | TIMES_PARENT_MTIME,
                                .time = {.sec = 1700000000 + c->ticks++},
                                .owner_len = 8};
        cred.owner[0] = (uint8_t)(c->number + 1);
        return cred;
}

static int call(struct fibre *self, struct sim_client *c, enum fop fop, const void *req, void *rep)
{
        const struct fop_desc *d = fop_by_number(fop);
        struct rpc_cred cred = next_cred(c);
        memset(rep, 0, d->rep->size);
        int r = rpc_client_call(self, c->rpc, FOP_PROGRAM, FOP_VERSION, fop, &cred, d->req, req, d->rep, rep,
                                &c->arena);
        if (r == -EPROTO || r == -EBADMSG || r == -ENOMEM)
                fail_msg("client %u: %s: %s", c->number, d->name, strerror(-r));
        if (r < 0) {
                c->gone = c->unsure = true; /* also when only time was up */
                return LOST;
        }
        const int32_t *head = rep;
        return head[0] < 0 ? -head[1] : 0;
}

static struct gfid new_gfid(struct sim_client *c)
{
        uint32_t n = ++c->next_gfid;
        return (struct gfid){.b = {(uint8_t)(n * 37),
                                   (uint8_t)c->number, [6] = 0x40, [8] = 0x80, [14] = (uint8_t)(n >> 8), (uint8_t)n}};
}

static struct dict gfid_req(struct sim_client *c, const struct gfid *g, uint32_t tag)
{
        struct dict d = {0};
        assert_int_equal(dict_add_gfid(&d, &c->arena, "gfid-req", g), 0);
        uint32_t *copy = arena_alloc(&c->arena, sizeof *copy);
        assert_non_null(copy);
        *copy = tag;
        if (tag)
                assert_int_equal(dict_add_ptr(&d, &c->arena, ATTR, copy, sizeof *copy), 0);
        return d;
}

static struct str name_text(struct sim_client *c, uint8_t name)
{
        char *s = arena_printf(&c->arena, "n%u", name);
        assert_non_null(s);
        return str_of(s);
}

static const struct gfid *gfid_of(const struct sim_client *c, uint8_t object)
{
        return &c->model.objects[object].gfid;
}

static int64_t fd_of(const struct sim_client *c, uint8_t object)
{
        for (unsigned k = 0; k < SIM_CLIENT_FDS; k++)
                if (c->fds[k].object == object)
                        return c->fds[k].number;
        return FD_ANONYMOUS;
}

/* ---- looking ----------------------------------------------------------------------------------------------------- */

static int read_pages(struct fibre *self, struct sim_client *c, const struct gfid *g, int64_t fd, uint64_t size,
                      uint32_t page[MODEL_PAGES])
{
        struct read_fop_rep rep;
        const struct read_fop_req req = {.gfid = *g, .fd = fd, .size = MODEL_PAGES * MODEL_PAGE};
        assert_true(size % MODEL_PAGE == 0 && size <= MODEL_PAGES * MODEL_PAGE);
        int r = call(self, c, FOP_READ, &req, &rep);
        if (r < 0)
                return r;
        assert_int_equal(rep.data.len, size);
        for (size_t p = 0; p < size / MODEL_PAGE; p++) {
                const uint8_t *data = rep.data.data + p * MODEL_PAGE;
                memcpy(&page[p], data, sizeof page[p]);
                for (size_t at = 0; at < MODEL_PAGE; at += sizeof page[p])
                        assert_memory_equal(data + at, &page[p], sizeof page[p]);
        }
        return 0;
}

static int read_attr(struct fibre *self, struct sim_client *c, const struct gfid *g, uint32_t *ret)
{
        struct getxattr_fop_rep rep;
        const struct getxattr_fop_req req = {.gfid = *g, .namelen = sizeof ATTR - 1, .name = STR(ATTR)};
        struct slice v;
        *ret = 0;
        int r = call(self, c, FOP_GETXATTR, &req, &rep);
        if (r == -ENODATA)
                return 0;
        if (r < 0)
                return r;
        assert_int_equal(dict_get_bytes(&rep.dict, ATTR, &v), 0);
        assert_int_equal(v.len, sizeof *ret);
        memcpy(ret, v.data, sizeof *ret);
        return 0;
}

/* Symbolic links say "t" and a number. */
static int read_target(struct fibre *self, struct sim_client *c, const struct gfid *g, uint32_t *ret)
{
        struct readlink_fop_rep rep;
        const struct readlink_fop_req req = {.gfid = *g, .size = 64};
        int r = call(self, c, FOP_READLINK, &req, &rep);
        if (r == 0)
                *ret = (uint32_t)strtoul(rep.path.s + 1, NULL, 10);
        return r;
}

static int lookup(struct fibre *self, struct sim_client *c, const struct gfid *dir, struct str name, struct iatt *ret)
{
        struct lookup_fop_rep rep;
        struct gfid fresh = new_gfid(c);
        const struct lookup_fop_req req = {.pargfid = *dir, .bname = name, .xdata = gfid_req(c, &fresh, 0)};
        int r = call(self, c, FOP_LOOKUP, &req, &rep);
        if (r == 0)
                *ret = rep.prestat;
        return r;
}

/* Names of a directory, as numbers; attributes of those that have some. */
struct listing {
        unsigned n;
        uint8_t name[MODEL_NAMES];
        struct gfid gfid[MODEL_NAMES];
};

static int list_more(struct fibre *self, struct sim_client *c, const struct gfid *dir, uint64_t *offset, bool *end,
                     struct listing *l)
{
        struct readdirp_fop_rep rep;
        const struct readdirp_fop_req req = {.gfid = *dir, .fd = FD_ANONYMOUS, .offset = *offset, .size = LIST_SIZE};
        int r = call(self, c, FOP_READDIRP, &req, &rep);
        if (r < 0)
                return r;
        *end = rep.reply.n == 0 || rep.op_errno == ENOENT;
        for (uint32_t k = 0; k < rep.reply.n; k++) {
                const struct dirent_entry *e = &rep.reply.v[k];
                *offset = e->off;
                if (e->name.s[0] == '.')
                        continue;
                assert_true(e->name.s[0] == 'n' && l->n < MODEL_NAMES);
                l->gfid[l->n] = e->stat.gfid;
                l->name[l->n++] = (uint8_t)strtoul(e->name.s + 1, NULL, 10);
        }
        return 0;
}

static int list(struct fibre *self, struct sim_client *c, const struct gfid *dir, struct listing *l)
{
        uint64_t offset = 0;
        bool end = false;
        int r = 0;
        l->n = 0;
        while (r == 0 && !end)
                r = list_more(self, c, dir, &offset, &end, l);
        return r;
}

/* ---- after a fault: everything
 * --------------------------------------------------------------------------------------- */

static int see_object(struct fibre *self, struct sim_client *c, const struct iatt *i, struct model_seen *seen,
                      uint8_t *ret)
{
        uint32_t target = 0;
        int r = S_ISLNK(i->mode) ? read_target(self, c, &i->gfid, &target) : 0;
        if (r < 0)
                return r;
        uint8_t object = model_seen_object(&c->model, &i->gfid, i->mode & S_IFMT, target);
        if (object == MODEL_NONE)
                fail_msg("client %u: an object of mode %o has a gfid of another kind", c->number, i->mode);
        if (S_ISREG(i->mode)) {
                seen->v.pages[object] = (uint8_t)(i->size / MODEL_PAGE);
                r = read_pages(self, c, &i->gfid, FD_ANONYMOUS, i->size, seen->page[object]);
        }
        if (r == 0 && !S_ISLNK(i->mode))
                r = read_attr(self, c, &i->gfid, &seen->v.attr[object]);
        *ret = object;
        return r;
}

static int see_dir(struct fibre *self, struct sim_client *c, uint8_t dir, struct model_seen *seen)
{
        struct listing l;
        int r = list(self, c, gfid_of(c, dir), &l);
        for (unsigned k = 0; r == 0 && k < l.n; k++) {
                struct iatt i;
                uint8_t object = MODEL_NONE;
                r = lookup(self, c, gfid_of(c, dir), name_text(c, l.name[k]), &i);
                if (r == 0)
                        r = see_object(self, c, &i, seen, &object);
                if (r < 0)
                        break;
                assert_true(seen->v.n < MODEL_NAMES);
                seen->v.names[seen->v.n++] = (struct model_name){dir, l.name[k], object};
                if (S_ISDIR(i.mode))
                        r = see_dir(self, c, object, seen);
        }
        return r;
}

static void accept_seen(struct sim_client *c, const struct model_seen *seen, unsigned crashes, unsigned power_cuts)
{
        enum model_loss loss = power_cuts != c->power_cuts_seen ? MODEL_LOST_POWER
                               : crashes != c->crashes_seen     ? MODEL_LOST_NODE
                                                                : MODEL_LOST_CALL;
        trace(c, "looked after loss %d at version %u%s", (int)loss, c->model.last,
              c->model.asked ? " (asked for)" : "");
        if (!model_accept(&c->model, loss, seen))
                fail_msg("client %u at %llu ns", c->number, (unsigned long long)sim_now(c->sim));
        c->crashes_seen = crashes;
        c->power_cuts_seen = power_cuts;
        c->unsure = false;
        c->looks++;
}

/* A directory that is gone is not found by its gfid either; its handle goes now, if a crash kept it. */
static int look_for_gone(struct fibre *self, struct sim_client *c)
{
        int r = -ENOENT;
        for (unsigned k = 1; k < c->model.n && r == -ENOENT; k++) {
                struct lookup_fop_rep rep;
                const struct lookup_fop_req req = {.gfid = *gfid_of(c, (uint8_t)k)};
                if (S_ISDIR(c->model.objects[k].type) && model_links(&c->seen->v, (uint8_t)k) == 0)
                        r = call(self, c, FOP_LOOKUP, &req, &rep);
        }
        return r == -ENOENT ? 0 : r == 0 ? -EEXIST : r;
}

static void look_at_all(struct fibre *self, struct sim_client *c)
{
        unsigned crashes = c->server->crashes, power_cuts = c->server->power_cuts;
        struct model_seen *seen = c->seen;
        struct iatt i;
        *seen = (struct model_seen){0};
        int r = lookup(self, c, &root, str_of(c->dir_name), &i);
        if (r == 0)
                r = read_attr(self, c, gfid_of(c, 0), &seen->v.attr[0]);
        if (r == 0)
                r = see_dir(self, c, 0, seen);
        if (r == 0)
                r = look_for_gone(self, c);
        if (r == 0)
                accept_seen(c, seen, crashes, power_cuts);
        else if (r != LOST)
                fail_msg("client %u cannot look at its directory: %s", c->number, strerror(-r));
}

/* ---- connecting -------------------------------------------------------------------------------------------------- */

static void on_disconnect(struct rpc_client *rpc, int error, void *arg)
{
        struct sim_client *c = arg;
        (void)rpc;
        (void)error;
        c->gone = true;
}

static void disconnect(struct sim_client *c)
{
        c->rpc = rpc_client_free(c->rpc);
        c->gone = c->holds_lock = false;
        for (unsigned k = 0; k < SIM_CLIENT_FDS; k++)
                c->fds[k].object = MODEL_NONE;
}

static void connect_to_brick(struct fibre *self, struct sim_client *c)
{
        const struct rpc_client_config config = {.to = c->to,
                                                 .connect_timeout = CONNECT_TIMEOUT,
                                                 .call_timeout = CALL_TIMEOUT,
                                                 .ping_timeout = PING_TIMEOUT,
                                                 .on_disconnect = on_disconnect,
                                                 .arg = c};
        if (rpc_client_connect(self, &config, &c->rpc) < 0) {
                fibre_sleep(self, 5 * NS_PER_MSEC);
                return;
        }
        while (!c->gone && sim_server_sessions(c->server, &c->self) != 1)
                fibre_sleep(self, NS_PER_MSEC);
}

/* ---- changing ---------------------------------------------------------------------------------------------------- */

static int do_make(struct fibre *self, struct sim_client *c, const struct model_action *a)
{
        const struct gfid *dir = gfid_of(c, a->dir), *g = gfid_of(c, a->object);
        struct str name = name_text(c, a->name);
        struct dict xdata = gfid_req(c, g, a->op == MODEL_SYMLINK ? 0 : a->tag);
        if (a->op == MODEL_MKDIR) {
                struct mkdir_fop_rep rep;
                const struct mkdir_fop_req req = {.pargfid = *dir, .mode = 0755, .bname = name, .xdata = xdata};
                return call(self, c, FOP_MKDIR, &req, &rep);
        }
        if (a->op == MODEL_MKNOD) {
                struct mknod_fop_rep rep;
                const struct mknod_fop_req req = {
                        .pargfid = *dir, .mode = S_IFREG | 0644, .bname = name, .xdata = xdata};
                return call(self, c, FOP_MKNOD, &req, &rep);
        }
        struct symlink_fop_rep rep;
        const struct symlink_fop_req req = {
                .pargfid = *dir,
                .bname = name,
                .linkname = str_of(arena_printf(&c->arena, "t%u", c->model.objects[a->object].target)),
                .xdata = xdata};
        return call(self, c, FOP_SYMLINK, &req, &rep);
}

static void keep_fd(struct fibre *self, struct sim_client *c, uint8_t object, int64_t number)
{
        for (unsigned k = 0; k < SIM_CLIENT_FDS; k++) {
                if (c->fds[k].object == MODEL_NONE) {
                        c->fds[k].object = object;
                        c->fds[k].number = number;
                        return;
                }
        }
        struct release_fop_rep rep;
        const struct release_fop_req req = {.gfid = *gfid_of(c, object), .fd = number};
        (void)call(self, c, FOP_RELEASE, &req, &rep);
}

static int do_create(struct fibre *self, struct sim_client *c, const struct model_action *a)
{
        struct create_fop_rep rep;
        const struct create_fop_req req = {.pargfid = *gfid_of(c, a->dir),
                                           .flags = O_RDWR | O_CREAT | O_EXCL,
                                           .mode = S_IFREG | 0644,
                                           .bname = name_text(c, a->name),
                                           .xdata = gfid_req(c, gfid_of(c, a->object), a->tag)};
        int r = call(self, c, FOP_CREATE, &req, &rep);
        if (r == 0)
                keep_fd(self, c, a->object, (int64_t)rep.fd);
        return r;
}

static int do_link(struct fibre *self, struct sim_client *c, const struct model_action *a)
{
        struct link_fop_rep rep;
        const struct link_fop_req req = {
                .oldgfid = *gfid_of(c, a->object), .newgfid = *gfid_of(c, a->dir), .newbname = name_text(c, a->name)};
        return call(self, c, FOP_LINK, &req, &rep);
}

static int do_remove(struct fibre *self, struct sim_client *c, const struct model_action *a)
{
        if (a->op == MODEL_RMDIR) {
                struct rmdir_fop_rep rep;
                const struct rmdir_fop_req req = {.pargfid = *gfid_of(c, a->dir), .bname = name_text(c, a->name)};
                return call(self, c, FOP_RMDIR, &req, &rep);
        }
        struct unlink_fop_rep rep;
        const struct unlink_fop_req req = {.pargfid = *gfid_of(c, a->dir), .bname = name_text(c, a->name)};
        return call(self, c, FOP_UNLINK, &req, &rep);
}

static int do_rename(struct fibre *self, struct sim_client *c, const struct model_action *a)
{
        struct rename_fop_rep rep;
        const struct rename_fop_req req = {.oldgfid = *gfid_of(c, a->dir),
                                           .newgfid = *gfid_of(c, a->dir2),
                                           .oldbname = name_text(c, a->name),
                                           .newbname = name_text(c, a->name2)};
        return call(self, c, FOP_RENAME, &req, &rep);
}

static int do_write(struct fibre *self, struct sim_client *c, const struct model_action *a)
{
        uint32_t len = a->pages * MODEL_PAGE;
        uint8_t *data = arena_alloc(&c->arena, len);
        assert_non_null(data);
        for (uint32_t at = 0; at < len; at += sizeof a->tag)
                memcpy(data + at, &a->tag, sizeof a->tag);
        struct write_fop_rep rep;
        const struct write_fop_req req = {.gfid = *gfid_of(c, a->object),
                                          .fd = fd_of(c, a->object),
                                          .offset = (uint64_t)a->page * MODEL_PAGE,
                                          .size = len,
                                          .data = {data, len}};
        return call(self, c, FOP_WRITE, &req, &rep);
}

static int do_truncate(struct fibre *self, struct sim_client *c, const struct model_action *a)
{
        struct ftruncate_fop_rep rep;
        const struct ftruncate_fop_req req = {
                .gfid = *gfid_of(c, a->object), .fd = fd_of(c, a->object), .offset = (uint64_t)a->pages * MODEL_PAGE};
        return call(self, c, FOP_FTRUNCATE, &req, &rep);
}

static int do_attr(struct fibre *self, struct sim_client *c, const struct model_action *a)
{
        if (a->op == MODEL_REMOVEXATTR) {
                struct removexattr_fop_rep rep;
                const struct removexattr_fop_req req = {.gfid = *gfid_of(c, a->object), .name = STR(ATTR)};
                return call(self, c, FOP_REMOVEXATTR, &req, &rep);
        }
        struct setxattr_fop_rep rep;
        struct setxattr_fop_req req = {.gfid = *gfid_of(c, a->object)};
        assert_int_equal(dict_add_ptr(&req.dict, &c->arena, ATTR, &a->tag, sizeof a->tag), 0);
        return call(self, c, FOP_SETXATTR, &req, &rep);
}

static int perform(struct fibre *self, struct sim_client *c, const struct model_action *a)
{
        static int (*const how[MODEL_OPS])(struct fibre * self, struct sim_client * c, const struct model_action *a) = {
                do_make,   do_create, do_make,  do_make,     do_link, do_remove,
                do_remove, do_rename, do_write, do_truncate, do_attr, do_attr};
        return how[a->op](self, c, a);
}

/* ---- choosing ---------------------------------------------------------------------------------------------------- */

static uint32_t draw(struct sim_client *c, uint32_t bound)
{
        return (uint32_t)sim_random(c->sim, bound);
}

static uint8_t draw_dir(struct sim_client *c)
{
        const struct model_version *v = model_now(&c->model);
        for (unsigned attempt = 0; attempt < 4 && v->n > 0; attempt++) {
                uint8_t object = v->names[draw(c, v->n)].object;
                if (S_ISDIR(c->model.objects[object].type))
                        return object;
        }
        return 0;
}

/* A name that is there, mostly. */
static void draw_name(struct sim_client *c, uint8_t *dir, uint8_t *name)
{
        const struct model_version *v = model_now(&c->model);
        if (v->n > 0 && draw(c, 8) != 0) {
                const struct model_name *at = &v->names[draw(c, v->n)];
                *dir = at->dir;
                *name = at->name;
                return;
        }
        *dir = draw_dir(c);
        *name = (uint8_t)draw(c, MODEL_NAME_COUNT);
}

/* A non-directory with a name, of type TYPE (0: any), or with a descriptor. */
static uint8_t draw_object(struct sim_client *c, mode_t type)
{
        const struct model_version *v = model_now(&c->model);
        uint8_t open = c->fds[draw(c, SIM_CLIENT_FDS)].object;
        if (type == S_IFREG && open != MODEL_NONE && draw(c, 3) == 0)
                return open;
        for (unsigned attempt = 0; attempt < 8 && v->n > 0; attempt++) {
                uint8_t object = v->names[draw(c, v->n)].object;
                mode_t have = c->model.objects[object].type;
                if (type ? have == type : !S_ISDIR(have))
                        return object;
        }
        return MODEL_NONE;
}

static bool choose_making(struct sim_client *c, struct model_action *a)
{
        static const mode_t types[] = {
                [MODEL_MKDIR] = S_IFDIR, [MODEL_CREATE] = S_IFREG, [MODEL_MKNOD] = S_IFREG, [MODEL_SYMLINK] = S_IFLNK};
        struct gfid g = new_gfid(c);
        if (model_now(&c->model)->n + 1 >= MODEL_NAMES || c->model.n + MODEL_RESERVE >= MODEL_OBJECTS)
                return false;
        a->dir = draw_dir(c);
        a->name = (uint8_t)draw(c, MODEL_NAME_COUNT);
        if (a->op == MODEL_LINK)
                a->object = draw_object(c, 0);
        else
                a->object = model_object_new(&c->model, &g, types[a->op], a->op == MODEL_SYMLINK ? a->tag : 0);
        return a->object != MODEL_NONE && model_links(model_now(&c->model), a->object) < 20;
}

static bool choose_rename(struct sim_client *c, struct model_action *a)
{
        const struct model_version *v = model_now(&c->model);
        draw_name(c, &a->dir, &a->name);
        draw_name(c, &a->dir2, &a->name2);
        if (draw(c, 2)) {
                a->dir2 = draw_dir(c);
                a->name2 = (uint8_t)draw(c, MODEL_NAME_COUNT);
        }
        uint8_t source = model_find(v, a->dir, a->name), target = model_find(v, a->dir2, a->name2);
        bool into_itself = source != MODEL_NONE && model_is_below(v, a->dir2, source);
        bool over_its_top = target != MODEL_NONE && model_is_below(v, a->dir, target);
        return !into_itself && !over_its_top;
}

static bool choose_contents(struct sim_client *c, struct model_action *a)
{
        a->object = draw_object(c, S_IFREG);
        a->page = (uint8_t)draw(c, MODEL_PAGES);
        a->pages = (uint8_t)(a->op == MODEL_WRITE ? 1 + draw(c, MODEL_PAGES - a->page) : draw(c, MODEL_PAGES + 1));
        return a->object != MODEL_NONE;
}

/* By path, so it needs a name. */
static bool choose_attr(struct sim_client *c, struct model_action *a)
{
        a->object = draw(c, 3) ? draw_object(c, S_IFREG) : draw_dir(c);
        return a->object == 0 || (a->object != MODEL_NONE && model_links(model_now(&c->model), a->object) > 0);
}

static bool choose(struct sim_client *c, struct model_action *a)
{
        *a = (struct model_action){.op = draw(c, MODEL_OPS), .object = MODEL_NONE, .tag = ++c->next_tag};
        switch (a->op) {
        case MODEL_UNLINK:
        case MODEL_RMDIR:
                draw_name(c, &a->dir, &a->name);
                return true;
        case MODEL_RENAME:
                return choose_rename(c, a);
        case MODEL_WRITE:
        case MODEL_TRUNCATE:
                return choose_contents(c, a);
        case MODEL_SETXATTR:
        case MODEL_REMOVEXATTR:
                return choose_attr(c, a);
        default:
                return choose_making(c, a);
        }
}

/* ---- one step ---------------------------------------------------------------------------------------------------- */

static void expect(struct sim_client *c, const char *what, int r, int want)
{
        if (r != LOST && r != want)
                fail_msg("client %u at %llu ns: %s answers %d (%s), not %d", c->number,
                         (unsigned long long)sim_now(c->sim), what, r, strerror(-r), want);
}

static void sync_object(struct fibre *self, struct sim_client *c, uint8_t object)
{
        int r;
        if (S_ISDIR(c->model.objects[object].type)) {
                struct fsyncdir_fop_rep rep;
                const struct fsyncdir_fop_req req = {.gfid = *gfid_of(c, object), .fd = FD_ANONYMOUS};
                r = call(self, c, FOP_FSYNCDIR, &req, &rep);
        } else {
                struct fsync_fop_rep rep;
                const struct fsync_fop_req req = {.gfid = *gfid_of(c, object), .fd = fd_of(c, object)};
                r = call(self, c, FOP_FSYNC, &req, &rep);
        }
        trace(c, "sync of %u, version %u of %u: %d", object, c->model.objects[object].last_version, c->model.last, r);
        expect(c, "fsync", r, 0);
        if (r == 0)
                model_synced(&c->model, object);
}

static void step_change(struct fibre *self, struct sim_client *c)
{
        struct model_action a;
        if (!choose(c, &a))
                return;
        if (model_is_full(&c->model, a.op < MODEL_WRITE ? MODEL_NONE : a.object)) {
                sync_object(self, c, a.op < MODEL_WRITE || draw(c, 2) ? 0 : a.object);
                return;
        }
        int want = model_ask(&c->model, &a);
        int r = perform(self, c, &a);
        trace(c, "version %u: %s %u/n%u to %u/n%u of %u, pages %u+%u, tag %u: %d", c->model.last, model_op_names[a.op],
              a.dir, a.name, a.dir2, a.name2, a.object, a.page, a.pages, a.tag, r);
        expect(c, model_op_names[a.op], r, want);
        if (r == 0)
                model_answered(&c->model, &a);
        c->changes += r == 0;
}

static void step_sync(struct fibre *self, struct sim_client *c)
{
        uint8_t object = draw(c, 2) ? draw_object(c, S_IFREG) : draw_dir(c);
        if (object != MODEL_NONE)
                sync_object(self, c, object);
}

static void step_read(struct fibre *self, struct sim_client *c)
{
        uint8_t object = draw_object(c, S_IFREG);
        uint32_t page[MODEL_PAGES];
        if (object == MODEL_NONE)
                return;
        uint8_t pages = model_now(&c->model)->pages[object];
        int64_t fd = draw(c, 2) ? fd_of(c, object) : FD_ANONYMOUS; /* works while one descriptor or name is left */
        int r = read_pages(self, c, gfid_of(c, object), fd, pages * (uint64_t)MODEL_PAGE, page);
        expect(c, "read", r, 0);
        for (unsigned p = 0; r == 0 && p < pages; p++)
                assert_true(model_page_is(&c->model, object, p, page[p]));
}

static void step_list(struct fibre *self, struct sim_client *c)
{
        struct listing l;
        uint8_t dir = draw_dir(c);
        const struct model_version *v = model_now(&c->model);
        unsigned want = 0;
        int r = list(self, c, gfid_of(c, dir), &l);
        expect(c, "readdirp", r, 0);
        if (r < 0)
                return;
        for (unsigned k = 0; k < v->n; k++)
                want += v->names[k].dir == dir;
        assert_int_equal(l.n, want);
        for (unsigned k = 0; k < l.n; k++) {
                uint8_t object = model_find(v, dir, l.name[k]);
                assert_int_not_equal(object, MODEL_NONE);
                assert_memory_equal(&l.gfid[k], gfid_of(c, object), sizeof l.gfid[k]);
        }
}

static void step_lookup(struct fibre *self, struct sim_client *c)
{
        const struct model_version *v = model_now(&c->model);
        struct iatt i;
        uint8_t dir, name;
        draw_name(c, &dir, &name);
        uint8_t object = model_find(v, dir, name);
        int r = lookup(self, c, gfid_of(c, dir), name_text(c, name), &i);
        expect(c, "lookup", r, object == MODEL_NONE ? -ENOENT : 0);
        if (r != 0)
                return;
        assert_memory_equal(&i.gfid, gfid_of(c, object), sizeof i.gfid);
        assert_int_equal(i.mode & S_IFMT, c->model.objects[object].type);
        if (!S_ISDIR(i.mode))
                assert_int_equal(i.nlink, model_links(v, object));
        if (S_ISREG(i.mode))
                assert_int_equal(i.size, v->pages[object] * MODEL_PAGE);
}

/* Descriptors outlive names. */
static void step_fd(struct fibre *self, struct sim_client *c)
{
        unsigned k = draw(c, SIM_CLIENT_FDS);
        uint8_t object = c->fds[k].object;
        int r;
        if (object != MODEL_NONE) {
                struct release_fop_rep rep;
                const struct release_fop_req req = {.gfid = *gfid_of(c, object), .fd = c->fds[k].number};
                r = call(self, c, FOP_RELEASE, &req, &rep);
                c->fds[k].object = MODEL_NONE;
                expect(c, "release", r, 0);
                return;
        }
        object = draw_object(c, S_IFREG);
        if (object == MODEL_NONE || model_links(model_now(&c->model), object) == 0)
                return;
        struct open_fop_rep rep;
        const struct open_fop_req req = {.gfid = *gfid_of(c, object), .flags = O_RDWR};
        r = call(self, c, FOP_OPEN, &req, &rep);
        expect(c, "open", r, 0);
        if (r == 0)
                keep_fd(self, c, object, rep.fd);
}

static int inodelk(struct fibre *self, struct sim_client *c, uint32_t cmd, uint32_t type)
{
        struct inodelk_fop_rep rep;
        const struct inodelk_fop_req req = {
                .gfid = root, .cmd = cmd, .type = type, .flock = {.type = type}, .volume = STR("sim")};
        return call(self, c, FOP_INODELK, &req, &rep);
}

/* All clients of a brick want the same lock; the one who has it is alone as long as the server knows it. */
static void step_lock(struct fibre *self, struct sim_client *c)
{
        int r = inodelk(self, c, 2, 1);
        expect(c, "lock", r, 0);
        if (r != 0 || c->gone)
                return;
        for (unsigned k = 0; k < c->n_others; k++) {
                struct sim_client *o = &c->others[k];
                if (o != c && o->server == c->server && o->holds_lock && !o->gone)
                        assert_int_equal(sim_server_sessions(c->server, &o->self), 0);
        }
        c->holds_lock = true;
        fibre_sleep(self, draw(c, 2000) * NS_PER_USEC);
        c->holds_lock = false;
        if (!c->gone)
                expect(c, "unlock", inodelk(self, c, 1, 2), 0);
}

/* After an answer that something is pending, the index must say so. */
static void expect_pending(struct fibre *self, struct sim_client *c)
{
        struct lookup_fop_rep rep;
        struct lookup_fop_req req = {.gfid = root};
        assert_int_equal(dict_add_str(&req.xdata, &c->arena, "link-count", "glusterfs.xattrop_index_count"), 0);
        int64_t n = 0;
        int r = call(self, c, FOP_LOOKUP, &req, &rep);
        expect(c, "look-up", r, 0);
        if (r == 0)
                assert_true(dict_get_int(&rep.xdata, "link-count", &n) == 0 && n == 1);
}

static void add_counter(struct sim_client *c, struct dict *d, const char *attr, int by, bool wide)
{
        uint8_t *value = arena_alloc(&c->arena, 16);
        assert_non_null(value);
        memset(value, by < 0 ? 0xff : 0, wide ? 8 : 4);
        value[wide ? 7 : 3] = (uint8_t)by;
        assert_int_equal(dict_add_ptr(d, &c->arena, attr, value, wide ? 16 : 12), 0);
}

/* Counts something up or down as the clients of a replicated (odd numbers) or dispersed volume do, who send all counters
 * of a kind at once. What they come to is nobody's concern here; what stands on the disk when the brick rests must be in
 * the index (check.h). */
static void step_pending(struct fibre *self, struct sim_client *c)
{
        struct model_action a = {.object = MODEL_NONE};
        struct xattrop_fop_rep rep;
        bool wide = c->number % 2 == 0;
        const char *attr = wide ? "trusted.ec.dirty" : "trusted.afr.v-client-1";
        if (!choose_attr(c, &a))
                return;
        struct xattrop_fop_req req = {.gfid = *gfid_of(c, a.object), .flags = wide};
        if (!wide)
                add_counter(c, &req.dict, "trusted.afr.dirty", (int)draw(c, 3) - 1, false);
        add_counter(c, &req.dict, attr, (int)draw(c, 3) - 1, wide);
        if (S_ISDIR(c->model.objects[a.object].type) && draw(c, 2))
                assert_int_equal(dict_add_str(&req.xdata, &c->arena, "glusterfs.xattrop-entry-create", "name"), 0);
        int r = call(self, c, FOP_XATTROP, &req, &rep);
        trace(c, "xattrop of %u: %d", a.object, r);
        expect(c, "xattrop", r, 0);
        struct slice result = {0};
        if (r == 0 && !c->gone)
                assert_int_equal(dict_get_bytes(&rep.dict, attr, &result), 0);
        for (uint32_t k = 0; k < result.len; k++)
                if (result.data[k]) {
                        expect_pending(self, c);
                        return;
                }
}

static void step(struct fibre *self, struct sim_client *c)
{
        arena_reset(&c->arena);
        switch (draw(c, 16)) {
        case 0:
                step_sync(self, c);
                break;
        case 1:
                step_read(self, c);
                break;
        case 2:
                step_list(self, c);
                break;
        case 3:
                step_lookup(self, c);
                break;
        case 4:
                step_fd(self, c);
                break;
        case 5:
                step_lock(self, c);
                break;
        case 6:
                step_pending(self, c);
                break;
        default:
                step_change(self, c);
        }
}

static void work(struct fibre *self, void *arg)
{
        struct sim_client *c = arg;
        for (;;) {
                if (c->gone)
                        disconnect(c);
                if (c->pause && !c->unsure && c->crashes_seen == c->server->crashes) {
                        disconnect(c);
                        c->idle = true;
                        fibre_sleep(self, NS_PER_MSEC);
                        continue;
                }
                c->idle = false;
                if (!c->rpc)
                        connect_to_brick(self, c);
                else if (c->unsure || c->crashes_seen != c->server->crashes)
                        look_at_all(self, c);
                else
                        step(self, c);
        }
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

void sim_client_init(struct sim_client *c, struct sim *sim, unsigned number, struct sim_server *server,
                     const char *server_name)
{
        char name[16];
        *c = (struct sim_client){.sim = sim, .number = number, .server = server, .arena = ARENA_INIT(ARENA_MAX)};
        snprintf(name, sizeof name, "client%u", number);
        snprintf(c->dir_name, sizeof c->dir_name, "c%u", number);
        assert_int_equal(sim_node_new(sim, name, &c->node), 0);
        assert_int_equal(sim_address(sim, name, 0, &c->self), 0);
        assert_int_equal(sim_address(sim, server_name, SIM_SERVER_PORT, &c->to), 0);
        struct gfid g = new_gfid(c);
        model_init(&c->model, &g);
        c->seen = calloc(1, sizeof *c->seen);
        assert_non_null(c->seen);
        disconnect(c);
}

void sim_client_make_dir(struct sim_client *c)
{
        struct disk *d = sim_disk_ops(c->server->disk);
        char path[64];
        snprintf(path, sizeof path, SIM_SERVER_PATH "/%s", c->dir_name);
        assert_int_equal(disk_mkdir(d, AT_FDCWD, path, 0755), 0);
        assert_int_equal(disk_setxattr(d, AT_FDCWD, path, "trusted.gfid", gfid_of(c, 0)->b, 16, 0), 0);
        c->unsure = true;
}

void sim_client_start(struct sim_client *c)
{
        assert_int_equal(fibre_start(sim_node_loop(c->node), "client", work, c), 0);
}

void sim_client_crash(struct sim_client *c)
{
        if (!c->rpc)
                return;
        sim_node_crash(c->node);
        disconnect(c);
        c->unsure = true;
        sim_node_restart(c->node);
        sim_client_start(c);
}

void sim_client_done(struct sim_client *c)
{
        sim_node_crash(c->node);
        disconnect(c);
        arena_done(&c->arena);
        free(c->seen);
}
