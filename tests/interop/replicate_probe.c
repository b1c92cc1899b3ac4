/* Our replicate layer on a volume of stock or own bricks, without a mount: replicate_probe HOST KEY SCENARIO
 *
 *   make     /d, /d/f with "hello", /mode
 *   change   appends to /d/f, changes the mode of /mode, makes /new with "data", /newdir, /fifo and /link, renames /d/f
 * to /moved look     finds all that, and reads it
 *
 * Prints what failed. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "volume/fetch.h"
#include "volume/volume.h"

#define ARENA_MAX (8 * MIB)
#define MOUNT_WAIT (30 * NS_PER_SEC)

struct probe {
        const char *host, *key, *scenario;
        struct loop *loop;
        struct volume *volume;
        struct arena arena;
        struct request request;
        struct fibre *self;
        struct vnode *root;
        unsigned failures;
};

static void expect(struct probe *p, const char *what, const char *name, long long got, long long wanted)
{
        if (got == wanted)
                return;
        p->failures++;
        printf("%s of %s: %lld instead of %lld\n", what, name, got, wanted);
}

#define CALL(p, FOP, name, req, rep)                                                                                   \
        (volume_stamp((p)->volume, &(p)->request.cred, FOP_##FOP),                                                     \
         subvolume_##name((p)->self, volume_top((p)->volume), &(p)->request, req, rep))

/* ---- objects ----------------------------------------------------------------------------------------------------- */

static struct vnode *fresh(struct probe *p, uint32_t type, struct dict *xdata)
{
        uint8_t random[16];
        loop_random(p->loop, random, sizeof random);
        struct gfid g = gfid_from_random(random);
        (void)dict_add_gfid(xdata, &p->arena, "gfid-req", &g);
        return vnode_new(p->volume, &g, type);
}

static struct vnode *look_up(struct probe *p, struct vnode *dir, const char *name, int wanted)
{
        _cleanup_vnode_ struct vnode *i = vnode_new(p->volume, NULL, 0);
        p->request.parent = dir;
        p->request.inode = i;
        p->request.file = NULL;
        struct lookup_fop_req req = {.pargfid = dir->gfid, .bname = str_of(name)};
        struct lookup_fop_rep rep;
        int r = CALL(p, LOOKUP, lookup, &req, &rep);
        expect(p, "look-up", name, r, wanted);
        return r < 0 ? NULL : vnode_link(i, &rep.prestat);
}

static struct vfile *create(struct probe *p, struct vnode *dir, const char *name)
{
        struct create_fop_req req = {
                .pargfid = dir->gfid, .flags = O_RDWR | O_CREAT | O_EXCL, .mode = 0640, .bname = str_of(name)};
        struct create_fop_rep rep;
        _cleanup_vnode_ struct vnode *i = fresh(p, S_IFREG, &req.xdata);
        struct vfile *f = vfile_new(i, O_RDWR, false);
        p->request.parent = dir;
        p->request.inode = i;
        p->request.file = f;
        expect(p, "create", name, CALL(p, CREATE, create, &req, &rep), 0);
        vnode_unref(vnode_link(i, &rep.stat));
        return f;
}

static struct vfile *open_file(struct probe *p, struct vnode *i, const char *name)
{
        struct vfile *f = vfile_new(i, O_RDWR, false);
        struct open_fop_req req = {.gfid = i->gfid, .flags = O_RDWR};
        struct open_fop_rep rep;
        p->request.inode = i;
        p->request.file = f;
        expect(p, "open", name, CALL(p, OPEN, open, &req, &rep), 0);
        return f;
}

static void write_text(struct probe *p, struct vfile *f, uint64_t offset, const char *text)
{
        uint32_t len = (uint32_t)strlen(text);
        struct write_fop_req req = {.gfid = f->inode->gfid,
                                    .offset = offset,
                                    .size = len,
                                    .flag = O_RDWR,
                                    .data = {(const uint8_t *)text, len}};
        struct write_fop_rep rep;
        p->request.inode = f->inode;
        p->request.file = f;
        expect(p, "write", text, CALL(p, WRITE, write, &req, &rep), len);
}

static void close_file(struct probe *p, struct vfile *f)
{
        struct flush_fop_req req = {.gfid = f->inode->gfid};
        struct flush_fop_rep rep;
        p->request.inode = f->inode;
        p->request.file = f;
        expect(p, "flush", "a file", CALL(p, FLUSH, flush, &req, &rep), 0);
        vfile_unref(f);
}

static void make_file(struct probe *p, struct vnode *dir, const char *name, const char *text)
{
        struct vfile *f = create(p, dir, name);
        if (text)
                write_text(p, f, 0, text);
        close_file(p, f);
}

static void make_directory(struct probe *p, const char *name)
{
        struct mkdir_fop_req req = {.pargfid = p->root->gfid, .mode = 0755, .bname = str_of(name)};
        struct mkdir_fop_rep rep;
        _cleanup_vnode_ struct vnode *i = fresh(p, S_IFDIR, &req.xdata);
        p->request.parent = p->root;
        p->request.inode = i;
        expect(p, "mkdir", name, CALL(p, MKDIR, mkdir, &req, &rep), 0);
}

static void make_others(struct probe *p)
{
        struct mknod_fop_req fifo = {.pargfid = p->root->gfid, .mode = S_IFIFO | 0600, .bname = STR("fifo")};
        struct mknod_fop_rep made;
        _cleanup_vnode_ struct vnode *i = fresh(p, S_IFIFO, &fifo.xdata);
        p->request.parent = p->root;
        p->request.inode = i;
        expect(p, "mknod", "fifo", CALL(p, MKNOD, mknod, &fifo, &made), 0);
        struct symlink_fop_req link = {.pargfid = p->root->gfid, .bname = STR("link"), .linkname = STR("target")};
        struct symlink_fop_rep linked;
        _cleanup_vnode_ struct vnode *k = fresh(p, S_IFLNK, &link.xdata);
        p->request.inode = k;
        expect(p, "symlink", "link", CALL(p, SYMLINK, symlink, &link, &linked), 0);
}

/* ---- scenarios --------------------------------------------------------------------------------------------------- */

static void make(struct probe *p)
{
        make_directory(p, "d");
        _cleanup_vnode_ struct vnode *d = look_up(p, p->root, "d", 0);
        make_file(p, d, "f", "hello");
        make_file(p, p->root, "mode", NULL);
}

static void change(struct probe *p)
{
        _cleanup_vnode_ struct vnode *d = look_up(p, p->root, "d", 0), *f = look_up(p, d, "f", 0),
                                     *mode = look_up(p, p->root, "mode", 0);
        struct vfile *file = open_file(p, f, "f");
        write_text(p, file, 5, " world");
        close_file(p, file);
        p->request.file = NULL;
        p->request.inode = mode;
        struct setattr_fop_req set = {.gfid = mode->gfid, .stbuf.mode = 0604, .valid = SETATTR_MODE};
        struct setattr_fop_rep was;
        expect(p, "setattr", "mode", CALL(p, SETATTR, setattr, &set, &was), 0);
        make_file(p, p->root, "new", "data");
        p->request.file = NULL;
        make_directory(p, "newdir");
        make_others(p);
        p->request.inode = f;
        p->request.new_inode = NULL;
        p->request.parent = d;
        p->request.new_parent = p->root;
        struct rename_fop_req move = {
                .oldgfid = d->gfid, .newgfid = p->root->gfid, .oldbname = STR("f"), .newbname = STR("moved")};
        struct rename_fop_rep moved;
        expect(p, "rename", "f", CALL(p, RENAME, rename, &move, &moved), 0);
}

static void look(struct probe *p)
{
        static const char *const names[] = {"newdir", "fifo", "link", "new", "mode"};
        for (size_t k = 0; k < ELEMENTSOF(names); k++)
                vnode_unref(look_up(p, p->root, names[k], 0));
        _cleanup_vnode_ struct vnode *d = look_up(p, p->root, "d", 0), *i = look_up(p, p->root, "moved", 0);
        vnode_unref(look_up(p, d, "f", -ENOENT));
        struct vfile *f = open_file(p, i, "moved");
        struct read_fop_req req = {.gfid = i->gfid, .size = 100};
        struct read_fop_rep rep;
        expect(p, "read", "moved", CALL(p, READ, read, &req, &rep), 11);
        expect(p, "content", "moved", rep.data.len == 11 && memcmp(rep.data.data, "hello world", 11) == 0, true);
        close_file(p, f);
}

/* ---- mounting ---------------------------------------------------------------------------------------------------- */

static void pass_by_single_distribute(struct volfile *v)
{
        for (size_t k = 0; k < v->n_sections; k++) {
                if (streq(v->sections[k]->type, "cluster/distribute") && v->sections[k]->n_subvolumes == 1)
                        v->sections[k]->type = "debug/io-stats";
        }
}

static int mount_volume(struct probe *p, struct error *err)
{
        _cleanup_buf_ struct buf text = BUF_INIT(VOLFILE_TEXT_MAX);
        _cleanup_volfile_ struct volfile *volfile = NULL;
        const struct fetch_server server = {p->host, 0};
        const struct fetch_config from = {.servers = &server, .n_servers = 1, .key = p->key};
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
        const struct volume_config config = {.loop = p->loop, .name = p->key, .volfile = volfile};
        r = volume_open(&config, &p->volume, err);
        return r < 0 ? r : volume_wait_up(p->self, p->volume, MOUNT_WAIT, err);
}

static struct vnode *root_of(struct volume *vol)
{
        struct gfid gfid = GFID_ROOT;
        struct iatt stat = {.gfid = gfid, .mode = S_IFDIR | 0755};
        struct vnode *i = vnode_new(vol, &gfid, S_IFDIR), *linked = vnode_link(i, &stat);
        vnode_unref(i);
        return linked;
}

static void run(struct fibre *self, void *arg)
{
        struct probe *p = arg;
        struct error err = {0};
        p->self = self;
        p->request = (struct request){
                .arena = &p->arena,
                .cred = {.flavour = RPC_AUTH_GLUSTERFS_V3, .pid = 4711, .owner_len = 8, .owner = "probe"}};
        if (mount_volume(p, &err) < 0) {
                p->failures++;
                printf("mounting: %s\n", err.text);
        } else {
                p->root = root_of(p->volume);
                (streq(p->scenario, "make") ? make : streq(p->scenario, "change") ? change : look)(p);
                vnode_unref(p->root);
        }
        if (p->volume)
                p->volume = volume_close(self, p->volume);
        loop_stop(p->loop);
}

int main(int argc, char **argv)
{
        struct probe p = {.arena = ARENA_INIT(ARENA_MAX)};
        if (argc < 4)
                return 2;
        p.host = argv[1];
        p.key = argv[2];
        p.scenario = argv[3];
        if (loop_epoll_new(&p.loop) < 0 || fibre_start(p.loop, "probe", run, &p) < 0)
                return 2;
        (void)loop_run(p.loop);
        loop_free(p.loop);
        arena_done(&p.arena);
        return p.failures > 0;
}
