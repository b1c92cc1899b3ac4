/* The layers of our client on a real volume, without a mount: volume_probe HOST KEY SCENARIO [SECONDS]
 *
 *   tour      one call of nearly every operation, looked at
 *   outage    a file is locked and written block by block for SECONDS while somebody stops and starts the brick;
 * nothing may fail, and the lock is there at the end refused   mounting must fail; the reason goes to standard output
 *
 * A distribute section with one sub-volume is passed by. TLS as /var/lib/glusterd/secure-access says. Prints what
 * failed. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "rpc/secure_access.h"
#include "volume/fetch.h"
#include "volume/volume.h"

#define ARENA_MAX (8 * MIB)
#define BLOCK (128 * KIB)
#define PROBE_LOCK_SET 1u
#define PROBE_LOCK_WRITE 1u
#define OUTAGE_WAIT (30 * NS_PER_SEC)
#define MOUNT_WAIT (20 * NS_PER_SEC)

struct probe {
        const char *host, *key, *scenario;
        unsigned seconds;
        struct loop *loop;
        struct secure_access access;
        struct volume *volume;
        struct arena arena;
        struct request request;
        struct fibre *self;
        unsigned failures;
};

static const struct gfid root = GFID_ROOT;

/* ---- small things ------------------------------------------------------------------------------------------------ */

static void expect(struct probe *p, const char *what, long long got, long long wanted)
{
        if (got == wanted)
                return;
        p->failures++;
        printf("%s: %lld instead of %lld\n", what, got, wanted);
}

#define CALL(p, FOP, name, req, rep)                                                                                   \
        (volume_stamp((p)->volume, &(p)->request.cred, FOP_##FOP),                                                     \
         subvolume_##name((p)->self, volume_top((p)->volume), &(p)->request, req, rep))

static struct gfid new_gfid(struct probe *p)
{
        uint8_t random[16];
        loop_random(p->loop, random, sizeof random);
        return gfid_from_random(random);
}

static struct dict gfid_req(struct probe *p, const struct gfid *g)
{
        struct dict d = {0};
        (void)dict_add_gfid(&d, &p->arena, "gfid-req", g);
        return d;
}

static struct vfile *create(struct probe *p, const struct gfid *dir, const char *name, struct gfid *ret)
{
        struct gfid g = new_gfid(p);
        struct vnode *i = vnode_new(p->volume, &g, S_IFREG);
        struct vfile *f = vfile_new(i, O_RDWR, false);
        p->request.inode = i;
        p->request.file = f;
        struct create_fop_req req = {.pargfid = *dir,
                                     .flags = O_RDWR | O_CREAT | O_EXCL,
                                     .mode = 0640,
                                     .bname = str_of(name),
                                     .xdata = gfid_req(p, &g)};
        struct create_fop_rep rep;
        expect(p, "create", CALL(p, CREATE, create, &req, &rep), 0);
        expect(p, "gfid of a new file", gfid_equal(&rep.stat.gfid, &g), true);
        expect(p, "mode of a new file", rep.stat.mode, S_IFREG | 0640);
        vnode_unref(vnode_link(i, &rep.stat));
        vnode_unref(i);
        *ret = g;
        return f;
}

static int write_block(struct probe *p, struct vfile *f, uint64_t offset, const uint8_t *data, uint32_t len)
{
        p->request.inode = f->inode;
        p->request.file = f;
        struct write_fop_req req = {.gfid = f->inode->gfid,
                                    .offset = offset,
                                    .size = len,
                                    .flag = O_RDWR,
                                    .xdata = DICT_NULL,
                                    .data = {data, len}};
        struct write_fop_rep rep;
        return CALL(p, WRITE, write, &req, &rep);
}

static int lock_file(struct probe *p, struct vfile *f)
{
        p->request.inode = f->inode;
        p->request.file = f;
        struct lk_fop_req req = {.gfid = f->inode->gfid,
                                 .cmd = PROBE_LOCK_SET,
                                 .type = PROBE_LOCK_WRITE,
                                 .flock = {.type = PROBE_LOCK_WRITE},
                                 .xdata = DICT_NULL};
        struct lk_fop_rep rep;
        return CALL(p, LK, lk, &req, &rep);
}

/* ---- the tour ---------------------------------------------------------------------------------------------------- */

static void tour_data(struct probe *p, struct vfile *f)
{
        static uint8_t data[BLOCK];
        for (size_t k = 0; k < sizeof data; k++)
                data[k] = (uint8_t)(k * 7);
        for (uint64_t k = 0; k < 8; k++)
                expect(p, "write", write_block(p, f, k * BLOCK, data, BLOCK), BLOCK);
        struct read_fop_req req = {.gfid = f->inode->gfid, .offset = 3 * BLOCK, .size = BLOCK, .xdata = DICT_NULL};
        struct read_fop_rep rep;
        expect(p, "read", CALL(p, READ, read, &req, &rep), BLOCK);
        expect(p, "what was read", rep.data.len == BLOCK && memcmp(rep.data.data, data, BLOCK) == 0, true);
        struct fstat_fop_req look = {.gfid = f->inode->gfid, .xdata = DICT_NULL};
        struct fstat_fop_rep seen;
        expect(p, "fstat", CALL(p, FSTAT, fstat, &look, &seen), 0);
        expect(p, "size", (long long)seen.stat.size, 8 * BLOCK);
        struct ftruncate_fop_req cut = {.gfid = f->inode->gfid, .offset = 100, .xdata = DICT_NULL};
        struct ftruncate_fop_rep after;
        expect(p, "ftruncate", CALL(p, FTRUNCATE, ftruncate, &cut, &after), 0);
        expect(p, "size then", (long long)after.poststat.size, 100);
        struct fsync_fop_req sync = {.gfid = f->inode->gfid, .xdata = DICT_NULL};
        struct fsync_fop_rep synced;
        expect(p, "fsync", CALL(p, FSYNC, fsync, &sync, &synced), 0);
        expect(p, "lock", lock_file(p, f), 0);
        struct flush_fop_req flush = {.gfid = f->inode->gfid, .xdata = DICT_NULL};
        struct flush_fop_rep flushed;
        expect(p, "flush", CALL(p, FLUSH, flush, &flush, &flushed), 0);
}

static void tour_xattr(struct probe *p, const struct gfid *g)
{
        struct dict d = {0};
        (void)dict_add_ptr(&d, &p->arena, "user.probe", "value", 5);
        struct setxattr_fop_req set = {.gfid = *g, .dict = d, .xdata = DICT_NULL};
        struct setxattr_fop_rep was_set;
        expect(p, "setxattr", CALL(p, SETXATTR, setxattr, &set, &was_set), 0);
        struct getxattr_fop_req get = {.gfid = *g, .namelen = 1, .name = STR("user.probe"), .xdata = DICT_NULL};
        struct getxattr_fop_rep got;
        struct slice value = {0};
        expect(p, "getxattr", CALL(p, GETXATTR, getxattr, &get, &got), 0);
        (void)dict_get_bytes(&got.dict, "user.probe", &value);
        expect(p, "value", value.len == 5 && memcmp(value.data, "value", 5) == 0, true);
        get.name = STR("user.none");
        expect(p, "getxattr of none", CALL(p, GETXATTR, getxattr, &get, &got), -ENODATA);
}

static void tour_list(struct probe *p, const struct gfid *dir)
{
        struct vnode *i = vnode_new(p->volume, dir, S_IFDIR);
        struct vfile *f = vfile_new(i, O_DIRECTORY, true);
        unsigned names = 0;
        p->request.inode = i;
        p->request.file = f;
        struct opendir_fop_req open = {.gfid = *dir, .xdata = DICT_NULL};
        struct opendir_fop_rep opened;
        expect(p, "opendir", CALL(p, OPENDIR, opendir, &open, &opened), 0);
        struct readdirp_fop_req req = {.gfid = *dir, .size = 4096, .xdata = DICT_NULL};
        struct readdirp_fop_rep rep;
        do {
                expect(p, "readdirp", CALL(p, READDIRP, readdirp, &req, &rep), 0);
                for (uint32_t k = 0; k < rep.reply.n; k++) {
                        req.offset = rep.reply.v[k].off;
                        names += rep.reply.v[k].name.s[0] != '.';
                }
        } while (rep.reply.n > 0);
        expect(p, "names", names, 2);
        vfile_unref(f);
        vnode_unref(i);
}

static void tour_names(struct probe *p, const struct gfid *dir, const struct gfid *file)
{
        struct gfid g = new_gfid(p);
        p->request.file = NULL;
        struct symlink_fop_req make = {
                .pargfid = *dir, .bname = STR("l"), .linkname = STR("target"), .xdata = gfid_req(p, &g)};
        struct symlink_fop_rep made;
        expect(p, "symlink", CALL(p, SYMLINK, symlink, &make, &made), 0);
        struct readlink_fop_req read = {.gfid = g, .size = 4096, .xdata = DICT_NULL};
        struct readlink_fop_rep was;
        expect(p, "readlink", CALL(p, READLINK, readlink, &read, &was), 0);
        expect(p, "target", str_is(was.path, "target"), true);
        tour_list(p, dir);
        p->request.file = NULL;
        struct link_fop_req link = {.oldgfid = *file, .newgfid = *dir, .newbname = STR("h"), .xdata = DICT_NULL};
        struct link_fop_rep linked;
        expect(p, "link", CALL(p, LINK, link, &link, &linked), 0);
        expect(p, "links", linked.stat.nlink, 2);
        struct rename_fop_req move = {
                .oldgfid = *dir, .newgfid = root, .oldbname = STR("h"), .newbname = STR("moved"), .xdata = DICT_NULL};
        struct rename_fop_rep moved;
        expect(p, "rename", CALL(p, RENAME, rename, &move, &moved), 0);
        struct lookup_fop_req look = {.pargfid = *dir, .bname = STR("h"), .xdata = DICT_NULL};
        struct lookup_fop_rep found;
        expect(p, "lookup of none", CALL(p, LOOKUP, lookup, &look, &found), -ENOENT);
}

static void remove_name(struct probe *p, const struct gfid *dir, const char *name)
{
        struct unlink_fop_req req = {.pargfid = *dir, .bname = str_of(name), .xdata = DICT_NULL};
        struct unlink_fop_rep rep;
        expect(p, "unlink", CALL(p, UNLINK, unlink, &req, &rep), 0);
}

static void tour(struct probe *p)
{
        struct gfid dir = new_gfid(p), file;
        struct mkdir_fop_req make = {.pargfid = root, .mode = 0755, .bname = STR("d"), .xdata = gfid_req(p, &dir)};
        struct mkdir_fop_rep made;
        expect(p, "mkdir", CALL(p, MKDIR, mkdir, &make, &made), 0);
        struct vfile *f = create(p, &dir, "f", &file);
        tour_data(p, f);
        vfile_unref(f);
        p->request.file = NULL;
        tour_xattr(p, &file);
        tour_names(p, &dir, &file);
        struct statfs_fop_req space = {.gfid = root, .xdata = DICT_NULL};
        struct statfs_fop_rep has;
        expect(p, "statfs", CALL(p, STATFS, statfs, &space, &has), 0);
        expect(p, "blocks", has.statfs.blocks > 0, true);
        remove_name(p, &dir, "f");
        remove_name(p, &dir, "l");
        remove_name(p, &root, "moved");
        struct rmdir_fop_req remove = {.pargfid = root, .bname = STR("d"), .xdata = DICT_NULL};
        struct rmdir_fop_rep removed;
        expect(p, "rmdir", CALL(p, RMDIR, rmdir, &remove, &removed), 0);
}

/* ---- an outage --------------------------------------------------------------------------------------------------- */

static void outage(struct probe *p)
{
        static uint8_t block[4096];
        struct gfid g;
        uint64_t end = loop_now(p->loop) + p->seconds * NS_PER_SEC, n = 0;
        struct vfile *f = create(p, &root, "outage", &g);
        expect(p, "lock", lock_file(p, f), 0);
        puts("locked");
        (void)fflush(stdout);
        for (; loop_now(p->loop) < end && p->failures == 0; n++) {
                memset(block, 'a' + (int)(n % 26), sizeof block);
                expect(p, "write", write_block(p, f, n * sizeof block, block, sizeof block), sizeof block);
                fibre_sleep(p->self, 5 * NS_PER_MSEC);
                arena_reset(&p->arena);
        }
        printf("%llu blocks\n", (unsigned long long)n);
        vfile_unref(f);
}

/* ---- mounting ---------------------------------------------------------------------------------------------------- */

static void pass_by_single_distribute(struct volfile *v)
{
        for (size_t k = 0; k < v->n_sections; k++)
                if (streq(v->sections[k]->type, "cluster/distribute") && v->sections[k]->n_subvolumes == 1)
                        v->sections[k]->type = "debug/io-stats";
}

static int mount_volume(struct probe *p, struct error *err)
{
        _cleanup_buf_ struct buf text = BUF_INIT(VOLFILE_TEXT_MAX);
        _cleanup_volfile_ struct volfile *volfile = NULL;
        struct tls_source *tls = p->access.on ? &p->access.source : NULL;
        const struct fetch_server server = {p->host, 0};
        const struct fetch_config from = {.servers = &server, .n_servers = 1, .key = p->key, .tls = tls};
        struct fetch *f = NULL;
        int r = fetch_new(p->loop, &from, &f);
        if (r == 0)
                r = fetch_volfile(p->self, f, &text, err);
        fetch_free(p->self, f);
        if (r == 0)
                r = volfile_parse((const char *)text.data, text.len, &volfile, err);
        if (r < 0)
                return r;
        pass_by_single_distribute(volfile);
        const struct volume_config config = {
                .loop = p->loop, .name = p->key, .volfile = volfile, .outage_wait = OUTAGE_WAIT, .management_tls = tls};
        r = volume_open(&config, &p->volume, err);
        return r < 0 ? r : volume_wait_up(p->self, p->volume, MOUNT_WAIT, err);
}

static void run(struct fibre *self, void *arg)
{
        struct probe *p = arg;
        struct error err = {0};
        p->self = self;
        p->request = (struct request){
                .arena = &p->arena,
                .cred = {.flavour = RPC_AUTH_GLUSTERFS_V3, .pid = 4711, .owner_len = 8, .owner = "probe"}};
        int r = mount_volume(p, &err);
        if (streq(p->scenario, "refused")) {
                expect(p, "mounting", r < 0, true);
                printf("%s\n", err.text);
        } else if (r < 0) {
                p->failures++;
                printf("mounting: %s\n", err.text);
        } else if (streq(p->scenario, "tour")) {
                tour(p);
        } else {
                outage(p);
        }
        p->volume = volume_close(self, p->volume);
        loop_stop(p->loop);
}

int main(int argc, char **argv)
{
        struct probe p = {.arena = ARENA_INIT(ARENA_MAX)};
        struct error err = {0};
        if (argc < 4)
                return 2;
        p.host = argv[1];
        p.key = argv[2];
        p.scenario = argv[3];
        p.seconds = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 5;
        if (loop_epoll_new(&p.loop) < 0 || secure_access_load(&p.access, "/var/lib/glusterd/secure-access", &err) < 0 ||
            fibre_start(p.loop, "probe", run, &p) < 0) {
                printf("%s\n", err.text);
                return 2;
        }
        (void)loop_run(p.loop);
        loop_free(p.loop);
        tls_source_done(&p.access.source);
        arena_done(&p.arena);
        return p.failures > 0;
}
