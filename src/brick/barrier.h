/* Answers held back while a snapshot of the storage is taken (spec: brick.md §19.3). */
#pragma once

#include "brick/internal.h"

int barrier_new(struct barrier **ret);
struct barrier *barrier_free(struct barrier *x);

/* The brick's options were set: the barrier goes up when `barrier` turns on, and down when it turns off. */
void barrier_follow_options(struct brick *b);
/* Takes the barrier down when `barrier-timeout` has passed since it went up. NOW: CLOCK_MONOTONIC ns. */
void barrier_maintain(struct brick *b, uint64_t now);
/* The answers to S are dropped. */
void barrier_session_gone(struct session *s);

/* Is the answer to OP, which succeeded with REQ, one to hold back? Costs nothing while the barrier is down. */
bool barrier_applies(const struct op *op, const void *req);
/* Keeps a copy of the record for later. -EAGAIN: the barrier is down now; send it. -ENOMEM. */
int barrier_hold(struct session *s, const struct iovec *iov, int n);
