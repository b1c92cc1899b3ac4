/* Looking at disks (dht_look.h). */
#include "dht_look.h"

struct layout_range look_range(struct world *w, unsigned brick, const char *dir)
{
        uint8_t disk[LAYOUT_DISK_SIZE];
        ssize_t n = world_xattr(&w->bricks[brick], dir, DHT_KEY, disk, sizeof disk);
        if (n < 0)
                return (struct layout_range){.error = LAYOUT_NO_ATTRIBUTE};
        return layout_range_decode(disk, (size_t)n);
}

static struct layout *read_layout(struct world *w, const char *dir)
{
        struct layout *l = layout_new(w->n_bricks);
        for (unsigned b = 0; b < w->n_bricks; b++)
                l->ranges[b] = look_range(w, b, dir);
        return l;
}

void look_whole(struct world *w, const char *dir)
{
        _cleanup_(layout_freep) struct layout *l = read_layout(w, dir);
        struct gfid first = look_gfid(w, 0, dir);
        for (unsigned b = 0; b < w->n_bricks; b++) {
                struct gfid g = look_gfid(w, b, dir);
                assert_int_equal(look_kind(w, b, dir), LOOK_DIRECTORY);
                assert_true(gfid_equal(&g, &first));
                assert_int_equal(l->ranges[b].error, 0);
        }
        struct layout_health h = layout_check(l);
        assert_int_equal(h.holes + h.overlaps, 0);
}

unsigned look_hashed(struct world *w, const char *dir, const char *name)
{
        _cleanup_(layout_freep) struct layout *l = read_layout(w, dir);
        struct dht_names names;
        assert_int_equal(dht_names_init(&names, NULL, NULL, DHT_CHAR_SIGNED, NULL), 0);
        int child = layout_search(l, dht_names_hash(&names, str_of(name)));
        assert_true(child >= 0);
        return (unsigned)child;
}

const char *look_name(struct world *w, const char *dir, const char *prefix, unsigned brick, char to[static 64])
{
        for (unsigned i = 0;; i++) {
                (void)snprintf(to, 64, "%s%u", prefix, i);
                if (look_hashed(w, dir, to) == brick)
                        return to;
        }
}

enum look_kind look_kind(struct world *w, unsigned brick, const char *path)
{
        struct stat st;
        char at[PATH_LIMIT + 8];
        (void)snprintf(at, sizeof at, WORLD_BRICK_PATH "%s", streq(path, "/") ? "" : path);
        if (disk_stat(world_disk(&w->bricks[brick]), AT_FDCWD, at, &st) < 0)
                return LOOK_NOTHING;
        if (S_ISDIR(st.st_mode))
                return LOOK_DIRECTORY;
        bool pointer = S_ISREG(st.st_mode) && (st.st_mode & 07777) == 01000 &&
                       world_xattr(&w->bricks[brick], path, DHT_KEY_LINKTO, NULL, 0) > 0;
        return pointer ? LOOK_LINKTO : LOOK_DATA;
}

unsigned look_target(struct world *w, unsigned brick, const char *path)
{
        char name[64] = "";
        ssize_t n = world_xattr(&w->bricks[brick], path, DHT_KEY_LINKTO, name, sizeof name);
        assert_true(n > 0 && name[n - 1] == '\0');
        assert_true(starts_with(name, WORLD_VOLUME "-client-"));
        return (unsigned)(name[n - 2] - '0');
}

struct gfid look_gfid(struct world *w, unsigned brick, const char *path)
{
        struct gfid g = {0};
        assert_int_equal(world_xattr(&w->bricks[brick], path, "trusted.gfid", &g, sizeof g), sizeof g);
        return g;
}

void look_file(struct world *w, const char *path, unsigned hashed, unsigned data)
{
        struct gfid gfid = look_gfid(w, data, path);
        for (unsigned b = 0; b < w->n_bricks; b++) {
                enum look_kind want = b == data ? LOOK_DATA : b == hashed ? LOOK_LINKTO : LOOK_NOTHING;
                assert_int_equal(look_kind(w, b, path), want);
                if (want != LOOK_LINKTO)
                        continue;
                struct gfid g = look_gfid(w, b, path);
                assert_int_equal(look_target(w, b, path), data);
                assert_true(gfid_equal(&g, &gfid));
        }
}

void look_gone(struct world *w, const char *path)
{
        for (unsigned b = 0; b < w->n_bricks; b++)
                assert_int_equal(look_kind(w, b, path), LOOK_NOTHING);
}

/* ---- behind distribute's back ----------------------------------------------------------------------------------------------- */

struct subvolume *look_child(struct world_client *c, unsigned brick)
{
        char name[64];
        (void)snprintf(name, sizeof name, WORLD_VOLUME "-client-%u", brick);
        for (unsigned s = 0; s < c->volume->n_slots; s++)
                if (streq(c->volume->by_slot[s]->name, name))
                        return c->volume->by_slot[s];
        fail_msg("there is no %s", name);
        return NULL;
}

static bool all_up(void *arg)
{
        struct world *w = arg;
        for (unsigned c = 0; c < w->n_clients; c++)
                for (unsigned b = 0; b < w->n_bricks; b++)
                        if (w->clients[c].volume && !look_child(&w->clients[c], b)->up)
                                return false;
        return true;
}

void look_wait_up(struct world *w)
{
        world_until(w, all_up, w);
}

struct awaited {
        struct world *w;
        unsigned brick;
};

static bool is_down(void *arg)
{
        struct awaited *a = arg;
        for (unsigned c = 0; c < a->w->n_clients; c++)
                if (look_child(&a->w->clients[c], a->brick)->up)
                        return false;
        return true;
}

void look_wait_down(struct world *w, unsigned brick)
{
        struct awaited a = {w, brick};
        world_until(w, is_down, &a);
}

#define DIRECTLY(gfid_)                                                                                                \
        _cleanup_arena_ struct arena a = ARENA_INIT(FILES_ARENA);                                                      \
        _cleanup_vnode_ struct vnode *i = vnode_new(c->volume, (gfid_), 0);                                            \
        struct subvolume *child = look_child(c, brick);                                                                \
        struct request r = world_request(c, &a);                                                                       \
        r.inode = i

int look_set(struct fibre *self, struct world_client *c, unsigned brick, const struct gfid *g, const char *name, const void *value,
             uint32_t len)
{
        DIRECTLY(g);
        struct dict d = DICT_NULL;
        if (!value) {
                struct removexattr_fop_req req = {.gfid = *g, .name = str_of(name), .xdata = DICT_NULL};
                struct removexattr_fop_rep rep = {0};
                return subvolume_removexattr(self, child, &r, &req, &rep);
        }
        assert_int_equal(dict_add_ptr(&d, &a, name, value, len), 0);
        struct setxattr_fop_req req = {.gfid = *g, .dict = d, .xdata = DICT_NULL};
        struct setxattr_fop_rep rep = {0};
        return subvolume_setxattr(self, child, &r, &req, &rep);
}

int look_chmod(struct fibre *self, struct world_client *c, unsigned brick, const struct gfid *g, uint32_t mode)
{
        DIRECTLY(g);
        struct setattr_fop_req req = {.gfid = *g, .stbuf = {.mode = mode}, .valid = SETATTR_MODE, .xdata = DICT_NULL};
        struct setattr_fop_rep rep = {0};
        return subvolume_setattr(self, child, &r, &req, &rep);
}

int look_set_range(struct fibre *self, struct world_client *c, unsigned brick, const struct gfid *g,
                   const struct layout_range *range)
{
        uint8_t disk[LAYOUT_DISK_SIZE];
        layout_range_encode(range, disk);
        return look_set(self, c, brick, g, DHT_KEY, disk, sizeof disk);
}

int look_make(struct fibre *self, struct world_client *c, unsigned brick, const struct gfid *dir, const char *name,
              const struct gfid *g, const char *linkto)
{
        DIRECTLY(g);
        _cleanup_vnode_ struct vnode *parent = vnode_new(c->volume, dir, S_IFDIR);
        struct dict xdata = world_gfid_req(&a, g);
        r.parent = parent;
        if (linkto)
                assert_int_equal(dict_add_str(&xdata, &a, DHT_KEY_LINKTO, linkto), 0);
        struct mknod_fop_req req = {
                .pargfid = *dir, .mode = S_IFREG | (linkto ? 01000 : 0644), .bname = str_of(name), .xdata = xdata};
        struct mknod_fop_rep rep = {0};
        return subvolume_mknod(self, child, &r, &req, &rep);
}

int look_unlink(struct fibre *self, struct world_client *c, unsigned brick, const struct gfid *dir, const char *name)
{
        DIRECTLY(NULL);
        _cleanup_vnode_ struct vnode *parent = vnode_new(c->volume, dir, S_IFDIR);
        struct unlink_fop_req req = {.pargfid = *dir, .bname = str_of(name), .xdata = DICT_NULL};
        struct unlink_fop_rep rep = {0};
        r.parent = parent;
        return subvolume_unlink(self, child, &r, &req, &rep);
}
