/* Sends COUNT calls of one kind to a brick and prints how long one took, for counting system calls from outside:
 *
 *      rpc_calls HOST PORT BRICK prepare|lookup|create|write4k|readdirp100|unlink|none COUNT
 *
 * `prepare` makes what the others work on. The request keys are those Debian's client sends on a one-brick volume.
 */
#include <stdio.h>
#include <time.h>

#include "support/brick_client.h"

static struct gfid gfid_of(uint32_t kind, uint32_t n)
{
        struct gfid g = {.b = {0xab, (uint8_t)kind, [6] = 0x40, [8] = 0x80}};
        for (int i = 0; i < 4; i++)
                g.b[12 + i] = (uint8_t)(n >> (24 - 8 * i));
        return g;
}

static void stamp(struct brick_client *c, uint32_t flags)
{
        struct timespec now;
        (void)clock_gettime(CLOCK_REALTIME, &now);
        c->cred.flags = flags;
        c->cred.time = (struct iatt_time){now.tv_sec, (uint32_t)now.tv_nsec};
}

static void ask(struct dict *d, struct arena *a)
{
        (void)dict_add_int(d, a, "trusted.glusterfs.mdata", 1);
        (void)dict_add_uint(d, a, "glusterfs.content", 65536);
        (void)dict_add_int(d, a, "security.ima", 0);
        (void)dict_add_int(d, a, "security.capability", 0);
}

static int make_dir(struct brick_client *c, struct arena *a, struct gfid parent, const char *name, struct gfid gfid)
{
        struct mkdir_fop_req req = {.pargfid = parent, .mode = 0755, .bname = str_of(name)};
        struct mkdir_fop_rep rep;
        stamp(c, 0x1f);
        (void)dict_add_gfid(&req.xdata, a, "gfid-req", &gfid);
        int r = brick_client_fop(c, FOP_MKDIR, &req, &rep);
        return r < 0 ? r : rep.op_ret < 0 ? -rep.op_errno : 0;
}

static int create(struct brick_client *c, struct arena *a, struct gfid parent, const char *name, struct gfid gfid, int64_t *ret_fd)
{
        struct create_fop_req req = {.pargfid = parent, .flags = 0102, .mode = 0100644, .bname = str_of(name)};
        struct create_fop_rep rep;
        stamp(c, 0x1f);
        (void)dict_add_gfid(&req.xdata, a, "gfid-req", &gfid);
        int r = brick_client_fop(c, FOP_CREATE, &req, &rep);
        if (r < 0 || rep.op_ret < 0)
                return r < 0 ? r : -rep.op_errno;
        *ret_fd = (int64_t)rep.fd;
        return 0;
}

static int release(struct brick_client *c, struct gfid gfid, int64_t fd)
{
        struct release_fop_req req = {.gfid = gfid, .fd = fd};
        struct release_fop_rep rep;
        return brick_client_fop(c, FOP_RELEASE, &req, &rep);
}

static int prepare(struct brick_client *c, struct arena *a, uint32_t count)
{
        int64_t fd;
        int r = make_dir(c, a, GFID_ROOT, "bench", gfid_of(1, 0));
        if (r == 0)
                r = make_dir(c, a, GFID_ROOT, "hundred", gfid_of(1, 1));
        if (r == 0)
                r = make_dir(c, a, GFID_ROOT, "unlink", gfid_of(1, 2));
        for (uint32_t i = 0; r == 0 && i < count; i++) {
                char name[32];
                (void)snprintf(name, sizeof name, "victim%06u", i);
                r = create(c, a, gfid_of(1, 2), name, gfid_of(4, i), &fd);
                if (r == 0)
                        r = release(c, gfid_of(4, i), fd);
                arena_reset(a);
        }
        for (uint32_t i = 0; r == 0 && i < 98; i++) { /* with . and .. that makes 100 */
                char name[32];
                (void)snprintf(name, sizeof name, "entry%02u", i);
                r = create(c, a, gfid_of(1, 1), name, gfid_of(2, i), &fd);
                if (r == 0)
                        r = release(c, gfid_of(2, i), fd);
        }
        return r;
}

static int lookup(struct brick_client *c, struct arena *a, uint32_t i)
{
        char name[32];
        (void)snprintf(name, sizeof name, "entry%02u", i % 98);
        struct lookup_fop_req req = {.pargfid = gfid_of(1, 1), .bname = str_of(name)};
        struct lookup_fop_rep rep;
        stamp(c, 0);
        ask(&req.xdata, a);
        int r = brick_client_fop(c, FOP_LOOKUP, &req, &rep);
        return r < 0 ? r : rep.op_ret < 0 ? -rep.op_errno : 0;
}

static int create_one(struct brick_client *c, struct arena *a, uint32_t i)
{
        char name[32];
        int64_t fd;
        (void)snprintf(name, sizeof name, "new%06u", i);
        return create(c, a, gfid_of(1, 0), name, gfid_of(3, i), &fd);
}

static int write4k(struct brick_client *c, struct arena *a, uint32_t i)
{
        static const uint8_t page[4096];
        struct write_fop_req req = {.gfid = gfid_of(5, 0), .fd = 0, .offset = (i % 256) * 4096ull, .size = 4096, .flag = 0100001,
                                    .data = {page, sizeof page}};
        struct write_fop_rep rep;
        stamp(c, 3);
        int r = brick_client_fop(c, FOP_WRITE, &req, &rep);
        return r < 0 ? r : rep.op_ret < 0 ? -rep.op_errno : 0;
}

static int readdirp(struct brick_client *c, struct arena *a, uint32_t i)
{
        struct readdirp_fop_req req = {.gfid = gfid_of(1, 1), .fd = 0, .offset = 0, .size = 131072};
        struct readdirp_fop_rep rep;
        stamp(c, 0);
        (void)dict_add_int(&req.xdata, a, "security.ima", 0);
        (void)dict_add_int(&req.xdata, a, "security.capability", 0);
        int r = brick_client_fop(c, FOP_READDIRP, &req, &rep);
        return r < 0 ? r : rep.op_ret != 100 ? -EBADMSG : 0;
}

static int unlink_one(struct brick_client *c, struct arena *a, uint32_t i)
{
        char name[32];
        (void)snprintf(name, sizeof name, "victim%06u", i);
        struct unlink_fop_req req = {.pargfid = gfid_of(1, 2), .bname = str_of(name)};
        struct unlink_fop_rep rep;
        stamp(c, 0x19);
        int r = brick_client_fop(c, FOP_UNLINK, &req, &rep);
        return r < 0 ? r : rep.op_ret < 0 ? -rep.op_errno : 0;
}

static int none(struct brick_client *c, struct arena *a, uint32_t i)
{
        return 0;
}

static const struct {
        const char *name;
        int (*call)(struct brick_client *c, struct arena *a, uint32_t i);
} kinds[] = {{"lookup", lookup}, {"create", create_one}, {"write4k", write4k}, {"readdirp100", readdirp}, {"unlink", unlink_one},
             {"none", none}};

/* What the measured calls need on this connection: descriptor 0. */
static int open_what_it_needs(struct brick_client *c, struct arena *a, const char *kind)
{
        int64_t fd;
        if (streq(kind, "write4k")) {
                int r = create(c, a, gfid_of(1, 0), "written", gfid_of(5, 0), &fd);
                return r < 0 ? r : fd != 0 ? -EBADF : 0;
        }
        if (!streq(kind, "readdirp100"))
                return 0;
        struct opendir_fop_req req = {.gfid = gfid_of(1, 1)};
        struct opendir_fop_rep rep;
        int r = brick_client_fop(c, FOP_OPENDIR, &req, &rep);
        return r < 0 ? r : rep.op_ret < 0 ? -rep.op_errno : rep.fd != 0 ? -EBADF : 0;
}

static int measure(struct brick_client *c, struct arena *a, const char *kind, uint32_t count)
{
        int r = open_what_it_needs(c, a, kind);
        struct timespec from, to;
        (void)clock_gettime(CLOCK_MONOTONIC, &from);
        for (size_t k = 0; k < ELEMENTSOF(kinds); k++) {
                if (!streq(kinds[k].name, kind))
                        continue;
                for (uint32_t i = 0; r == 0 && i < count; i++) {
                        r = kinds[k].call(c, a, i);
                        arena_reset(a);
                }
        }
        (void)clock_gettime(CLOCK_MONOTONIC, &to);
        double us = ((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) / 1e3;
        printf("%s\t%u\t%.1f us each\n", kind, count, us / count);
        return r;
}

int main(int argc, char **argv)
{
        if (argc != 6) {
                fprintf(stderr, "usage: rpc_calls HOST PORT BRICK KIND COUNT\n");
                return 2;
        }
        struct brick_client c;
        _cleanup_arena_ struct arena a = ARENA_INIT(MIB);
        uint32_t count = (uint32_t)strtoul(argv[5], NULL, 10);
        int r = brick_client_open(&c, argv[1], (uint16_t)strtoul(argv[2], NULL, 10), argv[3]);
        if (r == 0)
                r = streq(argv[4], "prepare") ? prepare(&c, &a, count) : measure(&c, &a, argv[4], count);
        brick_client_close(&c);
        if (r < 0)
                fprintf(stderr, "rpc_calls: %s\n", strerror(-r));
        return r < 0;
}
