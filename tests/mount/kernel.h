/* The kernel's side of a bridge whose volume keeps files in memory (fake_top.h): what a test tells it and hears. */
#pragma once

#include "../fuse/device.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "fake_top.h"
#include "mount/bridge.h"

#define NOTICES_MAX 256

struct notice {
        int code;
        uint64_t node;
        int64_t offset;
        char name[64];
};

struct kernel {
        struct fibre *self;
        struct device *d;
        struct fake_volume *fake;
        struct bridge *bridge;
        struct bridge_config config;
        uint64_t unique;
        uint32_t uid;
        struct notice notices[NOTICES_MAX];
        unsigned n_notices;
        void (*scenario)(struct kernel *k);
};

uint64_t tell(struct kernel *k, uint32_t opcode, uint64_t node, const struct iovec *parts, int n);
/* The answer to UNIQUE; notifications before it are kept. */
int hear(struct kernel *k, uint64_t unique, size_t *ret_size);
int ask(struct kernel *k, uint32_t opcode, uint64_t node, const struct iovec *parts, int n);
/* Waits for N notifications in all. */
void hear_notices(struct kernel *k, unsigned n);
const struct notice *noticed(const struct kernel *k, int code, uint64_t node, const char *name);
struct fuse_entry_out last_entry(const struct kernel *k);
struct fuse_attr last_attr(const struct kernel *k);
uint64_t lookup(struct kernel *k, uint64_t parent, const char *name);
void forget(struct kernel *k, uint64_t node, uint64_t n);
uint64_t open_file(struct kernel *k, uint64_t node, uint32_t flags, uint32_t *ret_flags);
uint64_t create(struct kernel *k, const char *name, uint32_t flags, uint64_t *ret_node);
int write_text(struct kernel *k, uint64_t node, uint64_t fh, uint64_t offset, const char *text, uint32_t flags);
int flush(struct kernel *k, uint64_t node, uint64_t fh, uint64_t owner);
int release(struct kernel *k, uint32_t opcode, uint64_t node, uint64_t fh);
void run(void (*fn)(struct kernel *k), const struct bridge_config *config);

#define ASK(k, opcode, node, ...)                                                                                      \
        ({                                                                                                             \
                const struct iovec parts_[] = {__VA_ARGS__};                                                           \
                ask(k, opcode, node, parts_, (int)ELEMENTSOF(parts_));                                                 \
        })

#define SCENARIO(name)                                                                                                 \
        static void name##_scenario(struct kernel *k);                                                                 \
        static void test_##name(void **state)                                                                          \
        {                                                                                                              \
                run(name##_scenario, NULL);                                                                            \
        }                                                                                                              \
        static void name##_scenario(struct kernel *k)
