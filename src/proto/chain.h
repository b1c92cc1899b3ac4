/* Our own program beside stock's: several file operations of one client in one message (docs/formats/chain.md).
 *
 * A step is one operation as the fop program has it, its request in an opaque of its own; the answer has the replies of
 * the steps that were performed: all, or those up to the first that failed. Which operations may follow each other is a
 * table here, used by who sends and by who serves: what is not in it is refused. Its rule is that an operation never
 * travels with the lock that protects it, since it may only be sent once the quorum of bricks has granted the lock.
 */
#pragma once

#include "proto/fop.h"

#define CHAIN_PROGRAM 1297044052u /* "MORT" */
#define CHAIN_VERSION 1u
#define CHAIN_PROGRAM_NAME "mortar chain"

enum { CHAIN_PERFORM = 1, CHAIN_WATCH_INDEX = 2, CHAIN_WATCH_OBJECTS = 3 };
/* What a brick tells who watches its index of pending work: a call of the same program in the other direction. */
enum { CHAIN_INDEX_CHANGED = 1 };

#define CHAIN_STEPS_MAX 8u
#define CHAIN_STEPS_BYTES (256 * KIB)  /* of all steps of a request */
#define CHAIN_ANSWERS_BYTES (16 * MIB) /* of all answers */
#define CHAIN_READ_MAX (128 * KIB)     /* what a READ in a chain may ask for */
#define CHAIN_CRED_MAX 512u

/* As the descriptor of a step: that of the OPEN or CREATE before it. */
#define CHAIN_FD_OPENED (-3)

#define MSG_CHAIN_REQ(F) F(u32, count, 0) F(opaque, steps, CHAIN_STEPS_BYTES)
#define MSG_CHAIN_REP(F)                                                                                               \
        F(i32, op_ret, 0) F(i32, op_errno, 0) F(u32, count, 0) F(opaque, answers, CHAIN_ANSWERS_BYTES)
#define MSG_CHAIN_STEP(F) F(u32, fop, 0) F(opaque, cred, CHAIN_CRED_MAX) F(opaque, request, CHAIN_STEPS_BYTES)
#define MSG_CHAIN_INDEX_REP(F) F(i32, op_ret, 0) F(i32, op_errno, 0) F(u32, pending, 0)
#define MSG_CHAIN_OBJECTS_REP(F) F(i32, op_ret, 0) F(i32, op_errno, 0) F(u32, seconds, 0)
#define MSG_CHAIN_INDEX_CBK(F) F(u32, pending, 0)
#define MSG_CHAIN_ANSWER(F) F(u32, fop, 0) F(opaque, reply, CHAIN_ANSWERS_BYTES)

/* name of the struct, fields. A refused chain has op_ret -1: none of it was performed. A step's `cred` is empty (that
 * of the message), or one as in the header of a call. */
#define CHAIN_MESSAGES(M)                                                                                              \
        M(chain_req, MSG_CHAIN_REQ)                                                                                    \
        M(chain_rep, MSG_CHAIN_REP)                                                                                    \
        M(chain_index_rep, MSG_CHAIN_INDEX_REP)                                                                        \
        M(chain_objects_rep, MSG_CHAIN_OBJECTS_REP)                                                                    \
        M(chain_index_cbk, MSG_CHAIN_INDEX_CBK)                                                                        \
        M(chain_step_part, MSG_CHAIN_STEP)                                                                             \
        M(chain_answer_part, MSG_CHAIN_ANSWER)

CHAIN_MESSAGES(MSG_DECLARE)

/* One operation: its request decoded. */
struct chain_member {
        enum fop fop;
        const void *req;
};
/* 0: these may be one chain. -EINVAL. */
int chain_check(const struct chain_member *members, unsigned n);

/* Where the gfid or descriptor number is that a later step may leave open: it means what the step before found (a null
 * gfid after LOOKUP) or opened (CHAIN_FD_OPENED). NULL: the operation has none. */
struct gfid *chain_gfid_of(enum fop fop, void *req);
int64_t *chain_fd_of(enum fop fop, void *req);

/* Appends MSG as the opaque of one part, behind the part's other fields. */
void chain_append(struct buf *b, const struct msg_desc *desc, const void *msg);
