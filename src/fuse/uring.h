/* FUSE over io_uring (Linux 6.14): requests and answers by rings instead of read(2) and writev(2) (uring.c).
 *
 * Made before INIT is answered, since a kernel that was told of it sends nothing until every queue has an entry.
 * Thread: the loop's.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct fuse_session;
struct uring;

/* A ring and entries for PAYLOAD bytes, one queue per possible processor. -errno: this kernel or its limits say no. */
int uring_new(struct fuse_session *s, uint32_t payload, struct uring **ret);
/* INIT was answered: hands the entries over and begins to take requests. -errno: the kernel waits for them in vain,
 * the mount cannot be used. */
int uring_start(struct uring *u);
/* Whether requests are taken. */
void uring_watch(struct uring *u, bool on);
/* Takes no more requests; answers are still written. */
void uring_stop(struct uring *u);
/* NULL is fine; returns NULL. */
struct uring *uring_free(struct uring *u);

/* The answer to UNIQUE: struct fuse_out_header in IOV[0], payload behind it. False: that request did not come by the
 * ring. */
bool uring_answer(struct uring *u, uint64_t unique, const struct iovec *iov, int n);
/* UNIQUE may wait for somebody else's request without keeping that from coming. True also if it did not come by the
 * ring. */
bool uring_may_wait(struct uring *u, uint64_t unique);
