#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static int (*real_stat)(struct disk *, int, const char *, struct stat *);

static int stat_with_devices(struct disk *d, int dirfd, const char *path, struct stat *ret)
{
        int r = real_stat(d, dirfd, path, ret);
        if (r == 0)
                ret->st_dev = starts_with(path, "/data2") ? 200 : starts_with(path, "/data") ? 100 : 1;
        return r;
}

static bool local(void *arg, const char *host)
{
        (void)arg;
        return streq(host, "here");
}

static void machine(void *arg, const char *host, char ret[static CHECK_MACHINE_SIZE])
{
        (void)snprintf(ret, CHECK_MACHINE_SIZE, "%s", local(arg, host) ? "this node" : host);
}

void world_init(struct world *w, uint64_t seed)
{
        static struct disk_ops ops;
        *w = (struct world){0};
        assert_int_equal(sim_disk_new(seed, 64 * MIB, &w->sim), 0);
        w->disk = sim_disk_ops(w->sim);
        real_stat = w->disk->ops == &ops ? real_stat : w->disk->ops->stat;
        ops = *w->disk->ops;
        ops.stat = stat_with_devices;
        w->disk->ops = &ops;
        assert_int_equal(disk_mkdir(w->disk, AT_FDCWD, "/data", 0755), 0);
        assert_int_equal(disk_mkdir(w->disk, AT_FDCWD, "/data2", 0755), 0);
        int fd = disk_open(w->disk, AT_FDCWD, "/", O_RDONLY | O_DIRECTORY, 0);
        assert_true(fd >= 0);
        assert_int_equal(disk_sync(w->disk, fd, false), 0);
        disk_close(w->disk, fd);
        world_boot(w);
}

void world_halt(struct world *w)
{
        volume_set_done(&w->volumes);
        w->store = store_free(w->store);
}

void world_done(struct world *w)
{
        world_halt(w);
        assert_int_equal(sim_disk_open_count(w->sim), 0);
        sim_disk_free(w->sim);
}

static void recover(struct world *w)
{
        for (size_t i = 0; i < w->volumes.n;) {
                struct volume *v = w->volumes.v[i].volume;
                struct error e = {0};
                bool gone = false;
                if (v && v->intent != INTENT_NONE && change_recover(&w->change, v, &gone, &e) < 0)
                        fail_msg("recovery of %s: %s", v->name, e.text);
                if (gone)
                        volume_set_remove(&w->volumes, w->volumes.v[i].name);
                else
                        i++;
        }
}

void world_boot(struct world *w)
{
        static const uint8_t random[16] = {1, 2, 3};
        struct error e = {0};
        if (store_open(w->disk, "/state", random, &w->store, &e) < 0 || store_load(w->store, &w->volumes, &e) < 0)
                fail_msg("%s", e.text);
        w->change = (struct change){
                .check = {.disk = w->disk,
                          .state_dir = "/state",
                          .volumes = &w->volumes,
                          .host_is_local = local,
                          .host_machine = machine},
                .store = w->store,
        };
        recover(w);
}

struct volume *world_volume(const char *name, ...)
{
        va_list ap;
        size_t n = 0;
        va_start(ap, name);
        while (va_arg(ap, const char *))
                n++;
        va_end(ap);
        struct volume *v = volume_new(name, n);
        assert_non_null(v);
        va_start(ap, name);
        for (size_t i = 0; i < n; i++) {
                const char *text = va_arg(ap, const char *), *colon = strchr(text, ':');
                v->bricks[i].host = arena_strndup(&v->memory, text, (size_t)(colon - text));
                v->bricks[i].path = arena_strndup(&v->memory, colon + 1, strlen(colon + 1));
                v->bricks[i].id = arena_printf(&v->memory, "%s-client-%zu", name, i);
        }
        va_end(ap);
        for (size_t i = 0; i < sizeof v->id.b; i++)
                v->id.b[i] = (uint8_t)(name[0] + i);
        gfid_format(&v->id, v->username);
        gfid_format(&v->id, v->password);
        v->op_version = 40000;
        v->client_op_version = 2;
        return v;
}

bool world_exists(struct world *w, const char *path)
{
        struct stat st;
        return disk_stat(w->disk, AT_FDCWD, path, &st) == 0;
}

bool world_marked(struct world *w, const char *path, const struct gfid *id)
{
        struct gfid found;
        return check_mark(w->disk, path, &found) == 0 && gfid_equal(&found, id);
}
