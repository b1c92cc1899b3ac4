/* A struct disk that counts the calls it passes on to another one. One thread. */
#pragma once

#include "base/disk.h"

#define COUNTED(C)                                                                                                     \
        C(open) C(close) C(stat) C(mkdir) C(mknod) C(symlink) C(link) C(unlink) C(rename) C(readlink) C(chown)        \
        C(chmod) C(getxattr) C(listxattr) C(setxattr) C(removexattr) C(getdents) C(pwritev) C(preadv)

#define COUNTED_MEMBER_(name) unsigned name;
struct counting_disk {
        struct disk disk;
        struct disk *below;
        struct disk_ops ops;
        struct {
                COUNTED(COUNTED_MEMBER_)
        } n;
};

struct disk *counting_disk_init(struct counting_disk *c, struct disk *below);
void counting_disk_reset(struct counting_disk *c);
unsigned counting_disk_total(const struct counting_disk *c);
/* "stat=2 open=1", in a static buffer. */
const char *counting_disk_text(const struct counting_disk *c);
