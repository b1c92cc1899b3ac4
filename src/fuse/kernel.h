/* The kernel's structures: <linux/fuse.h>, and what newer kernels have than the header this is built with.
 *
 * Values and layouts are the kernel's ABI (include/uapi/linux/fuse.h); they never change.
 */
#pragma once

#include <stdint.h>

#include <linux/fuse.h>

#define FUSE_MINOR_OLDEST 31u /* Linux 5.4 */
#define FUSE_MINOR_NEWEST 45u /* the newest whose messages this layer knows: Linux 6.18 */

#if FUSE_KERNEL_MINOR_VERSION < 38
#error "<linux/fuse.h> of Linux 6.1 or newer is needed to build"
#endif

#if FUSE_KERNEL_MINOR_VERSION < 39
#define FUSE_STATX 52
#define FUSE_DIRECT_IO_ALLOW_MMAP (1ULL << 36)

struct fuse_sx_time {
        int64_t tv_sec;
        uint32_t tv_nsec;
        int32_t __reserved;
};

struct fuse_statx {
        uint32_t mask;
        uint32_t blksize;
        uint64_t attributes;
        uint32_t nlink;
        uint32_t uid;
        uint32_t gid;
        uint16_t mode;
        uint16_t __spare0[1];
        uint64_t ino;
        uint64_t size;
        uint64_t blocks;
        uint64_t attributes_mask;
        struct fuse_sx_time atime;
        struct fuse_sx_time btime;
        struct fuse_sx_time ctime;
        struct fuse_sx_time mtime;
        uint32_t rdev_major;
        uint32_t rdev_minor;
        uint32_t dev_major;
        uint32_t dev_minor;
        uint64_t __spare2[14];
};

struct fuse_statx_in {
        uint32_t getattr_flags;
        uint32_t reserved;
        uint64_t fh;
        uint32_t sx_flags;
        uint32_t sx_mask;
};

struct fuse_statx_out {
        uint64_t attr_valid;
        uint32_t attr_valid_nsec;
        uint32_t flags;
        uint64_t spare[2];
        struct fuse_statx stat;
};
#endif

#if FUSE_KERNEL_MINOR_VERSION < 45
#define FUSE_COPY_FILE_RANGE_64 53

struct fuse_copy_file_range_out {
        uint64_t bytes_copied;
};
#endif

#if FUSE_KERNEL_MINOR_VERSION < 42
#define FUSE_OVER_IO_URING (1ULL << 41)
#define FUSE_URING_IN_OUT_HEADER_SZ 128
#define FUSE_URING_OP_IN_OUT_SZ 128

struct fuse_uring_ent_in_out {
        uint64_t flags;
        uint64_t commit_id; /* of the request: for COMMIT_AND_FETCH */
        uint32_t payload_sz;
        uint32_t padding;
        uint64_t reserved;
};

struct fuse_uring_req_header {
        char in_out[FUSE_URING_IN_OUT_HEADER_SZ]; /* struct fuse_in_header, of an answer fuse_out_header */
        char op_in[FUSE_URING_OP_IN_OUT_SZ];      /* the operation's fixed part */
        struct fuse_uring_ent_in_out ring_ent_in_out;
};

enum fuse_uring_cmd {
        FUSE_IO_URING_CMD_INVALID = 0,
        FUSE_IO_URING_CMD_REGISTER = 1,
        FUSE_IO_URING_CMD_COMMIT_AND_FETCH = 2,
};

struct fuse_uring_cmd_req {
        uint64_t flags;
        uint64_t commit_id;
        uint16_t qid;
        uint8_t padding[6];
};
#endif

/* Operations without a structure of their own in front of names and data. */
struct fuse_no_in {};
