/* What the tests of disks share: a directory on the kernel's disk and one on the simulated disk. */
#pragma once

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/xattr.h>

#include <cmocka.h>

#include "base/disk.h"
#include "base/sim_disk.h"

#define FIXTURE_CAPACITY (256 * MIB)

struct fixture {
        struct disk *disk;
        int dir;              /* an empty directory to play in */
        struct sim_disk *sim; /* NULL: the kernel's disk */
        char path[64];
};

static inline int fixture_remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
        return remove(path);
}

static inline void fixture_done(struct fixture *f)
{
        if (f->dir >= 0)
                assert_int_equal(disk_close(f->disk, f->dir), 0);
        if (f->sim) {
                assert_int_equal(sim_disk_open_count(f->sim), 0);
                f->sim = sim_disk_free(f->sim);
                return;
        }
        if (f->path[0])
                (void)nftw(f->path, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
        f->disk = disk_free(f->disk);
}

static inline void fixture_sim(struct fixture *f, uint64_t seed)
{
        *f = (struct fixture){.dir = -EBADF};
        assert_int_equal(sim_disk_new(seed, FIXTURE_CAPACITY, &f->sim), 0);
        f->disk = sim_disk_ops(f->sim);
        assert_int_equal(disk_mkdir(f->disk, AT_FDCWD, "/play", 0755), 0);
        f->dir = disk_open(f->disk, AT_FDCWD, "/play", O_RDONLY | O_DIRECTORY, 0);
        assert_true(f->dir >= 0);
}

/* False: this machine's /var/tmp or this user cannot have trusted xattrs. */
static inline bool fixture_posix(struct fixture *f)
{
        *f = (struct fixture){.dir = -EBADF, .path = "/var/tmp/mortar-disk-XXXXXX"};
        assert_int_equal(disk_posix_new(&f->disk), 0);
        assert_non_null(mkdtemp(f->path));
        (void)umask(0);
        f->dir = disk_open(f->disk, AT_FDCWD, f->path, O_RDONLY | O_DIRECTORY, 0);
        assert_true(f->dir >= 0);
        assert_int_equal(disk_chmod(f->disk, f->dir, "", 0755), 0);
        return disk_setxattr(f->disk, f->dir, "", "trusted.probe", "x", 1, 0) == 0 &&
               disk_removexattr(f->disk, f->dir, "", "trusted.probe") == 0;
}
