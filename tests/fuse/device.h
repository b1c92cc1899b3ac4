/* The kernel's side of /dev/fuse over a socket pair, and a file system that records what it is asked.
 *
 * A scenario is a fibre on the session's loop: it sends messages as the kernel does and waits for the answers.
 */
#pragma once

#include "../base/check.h"

#include "fuse/fuse.h"

#include <stdio.h>

#define DEVICE_MESSAGE_MAX (256 * KIB)
#define FH 0x1122334455667788ull

/* What the recording file system does with a request. */
enum behaviour {
        ANSWER,    /* as the operation is answered, with known values */
        HOLD,      /* the same when released or interrupted (then -EINTR) */
        FORGETFUL, /* nothing */
        TWICE,     /* two answers */
        TOO_LARGE, /* a byte more than there is room for */
        FAIL,      /* with device.error */
};

struct record {
        uint32_t opcode, uid, gid, pid;
        uint64_t node;
        uint8_t fixed[128];
        char name[300], new_name[4200];
        size_t size;
        uint8_t *data;     /* of the last one */
        bool aligned;      /* data begins on a page */
        int second, reply; /* results of answers */
};

struct device {
        struct loop *loop;
        struct fuse_session *session;
        struct fuse_session_config config; /* changed by a test before device_run() */
        int kernel;                        /* its end; -EBADF when closed */
        struct stream *watch;
        struct fibre *waiter;
        uint64_t unique; /* last one used */
        uint8_t *message;

        enum behaviour behaviour;
        int error;
        uint32_t hold_opcode; /* HOLD: only these; 0: all */
        struct fibre *held[4096];
        unsigned n_held;
        bool released;
        unsigned asked, interrupted;
        struct record last;
        uint64_t forgotten, forgotten_sum;
        struct fuse_protocol protocol;
        unsigned inits, ends;
        int end_reason;
        struct timer deadline;
};

extern const struct fuse_ops recording_ops;

typedef void (*scenario_fn)(struct fibre *self, struct device *d);
/* Runs FN with a session; CONFIGURE (may be NULL) changes d->config before. */
void device_run(scenario_fn fn, void (*configure)(struct device *d));

/* Sends a message: header, then PARTS. Returns its unique number. */
uint64_t kernel_send(struct fibre *self, struct device *d, uint32_t opcode, const struct iovec *parts, int n);
/* The same with a whole message as it is. */
void kernel_send_raw(struct fibre *self, struct device *d, const void *message, size_t n);
/* Waits for the next answer; it is in d->message. Returns its payload's size. */
size_t kernel_receive(struct fibre *self, struct device *d, struct fuse_out_header *ret);
/* Waits for an answer to UNIQUE with ERROR and nothing else. */
void kernel_expect_error(struct fibre *self, struct device *d, uint64_t unique, int error);
/* True if an answer is there. */
bool kernel_has_answer(struct device *d);
void kernel_close(struct device *d);

/* INIT as Linux 6.18 does it: 7.45 and all flags. */
void kernel_init(struct fibre *self, struct device *d);
void kernel_init_as(struct fibre *self, struct device *d, uint32_t minor, uint64_t flags, struct fuse_init_out *ret);
#define FLAGS_ALL 0x3ffffffffffull
#define FLAGS_5_4 0x07ffffffull  /* those of 7.31 and before */
#define FLAGS_5_15 0x3fffffffull /* 7.34 */

/* Lets the held requests go on. */
void release_held(struct device *d);
/* Until *COUNT is N. */
void wait_until(struct fibre *self, struct device *d, const unsigned *count, unsigned n);

#define PART(object) ((struct iovec){(void *)&(object), sizeof(object)})
#define TEXT(text) ((struct iovec){(void *)(text), strlen(text) + 1})
