/* The table of the kernel's operations at work: look-up by opcode, decoding, the form for logs.
 *
 * Relies on: fuse/operation.h (the table), the caller for the header and for alignment. Invariant: what a decoded
 * request points to lies within its message or its arena; strings are terminated there. The kernel is trusted no more
 * than a peer: /dev/fuse is a socket in tests, and a message that is not what the table says is refused as a whole.
 * Thread: any; no state.
 */
#include "fuse/internal.h"

#include <limits.h>
#include <stdio.h>

#define LINK_TARGET_MAX 4095

#define OPERATION_(NAME, op_name, in, op_names, op_data, op_minor, op_missing)                                         \
        [FUSE_##NAME] = {.name = #NAME,                                                                                \
                         .fibre = "fuse " #NAME,                                                                       \
                         .opcode = FUSE_##NAME,                                                                        \
                         .fixed = sizeof(struct fuse_##in##_in),                                                       \
                         .minor = op_minor,                                                                            \
                         .names = NAMES_##op_names,                                                                    \
                         .data = DATA_##op_data,                                                                       \
                         .missing = op_missing,                                                                        \
                         .member = offsetof(struct fuse_ops, op_name)},

static const struct operation operations[FUSE_OPCODES] = {FUSE_OPERATIONS(OPERATION_)};

const struct operation *operation_find(uint32_t opcode)
{
        return opcode < ELEMENTSOF(operations) && operations[opcode].name ? &operations[opcode] : NULL;
}

operation_fn operation_function(const struct operation *op, const struct fuse_ops *ops)
{
        operation_fn fn;
        memcpy(&fn, (const char *)ops + op->member, sizeof fn);
        return fn;
}

const char *fuse_operation_name(uint32_t opcode)
{
        const struct operation *op = operation_find(opcode);
        if (op)
                return op->name;
        switch (opcode) {
        case FUSE_INIT:
                return "INIT";
        case FUSE_FORGET:
                return "FORGET";
        case FUSE_BATCH_FORGET:
                return "BATCH_FORGET";
        case FUSE_INTERRUPT:
                return "INTERRUPT";
        case FUSE_DESTROY:
                return "DESTROY";
        default:
                return "?";
        }
}

/* ---- decoding ------------------------------------------------------------------------------------------------- */

/* What has not been decoded yet. */
struct rest {
        const uint8_t *at;
        size_t n;
};

/* Takes a string off REST. */
static int take_string(struct rest *rest, size_t max, const char **ret)
{
        const uint8_t *end = memchr(rest->at, 0, rest->n);
        if (!end || end == rest->at)
                return -EINVAL;
        size_t length = (size_t)(end - rest->at);
        if (length > max)
                return -ENAMETOOLONG;
        *ret = (const char *)rest->at;
        rest->at += length + 1;
        rest->n -= length + 1;
        return 0;
}

static int take_name(struct rest *rest, bool dots, const char **ret)
{
        int r = take_string(rest, NAME_MAX, ret);
        if (r < 0)
                return r;
        if (strchr(*ret, '/') || (!dots && (streq(*ret, ".") || streq(*ret, ".."))))
                return -EINVAL;
        return 0;
}

static int take_names(enum operation_names names, struct rest *rest, struct fuse_request *rq)
{
        if (names == NAMES_NONE)
                return 0;
        if (names == NAMES_WORD)
                return take_string(rest, NAME_MAX, &rq->name);
        int r = take_name(rest, names == NAMES_DOTS, &rq->name);
        if (r < 0)
                return r;
        if (names == NAMES_NAMES)
                return take_name(rest, false, &rq->new_name);
        if (names == NAMES_LINK)
                return take_string(rest, LINK_TARGET_MAX, &rq->new_name);
        return 0;
}

/* The fixed part. Where the kernel's is shorter than the structure, or that of another operation, a copy. */
static int take_fixed(const struct operation *op, uint64_t flags, struct rest *rest, struct fuse_request *rq)
{
        size_t size = op->fixed;
        if (op->opcode == FUSE_SETXATTR && !(flags & FUSE_SETXATTR_EXT))
                size = FUSE_COMPAT_SETXATTR_IN_SIZE;
        if (rest->n < size)
                return -EINVAL;
        rq->in.raw = rest->at;
        if (size < op->fixed) {
                void *copy = arena_alloc(rq->arena, op->fixed);
                if (!copy)
                        return -ENOMEM;
                memcpy(copy, rest->at, size);
                rq->in.raw = copy;
        }
        rest->at += size;
        rest->n -= size;
        return 0;
}

/* Bytes of data that the fixed part announces. */
static size_t value_size(const struct fuse_request *rq)
{
        return rq->opcode == FUSE_WRITE ? rq->in.write->size : rq->in.setxattr->size;
}

int operation_decode(const struct operation *op, uint64_t flags, const uint8_t *body, size_t n, struct fuse_request *rq)
{
        struct rest rest = {body, n};
        int r = take_fixed(op, flags, &rest, rq);
        if (r < 0)
                return r;
        r = take_names(op->names, &rest, rq);
        if (r < 0)
                return r;
        size_t data = op->data == DATA_VALUE ? value_size(rq) : op->data == DATA_REST ? rest.n : 0;
        if (rest.n != data)
                return -EINVAL;
        if (op->data != DATA_NONE) {
                rq->data = rest.at;
                rq->size = data;
        }
        return 0;
}

/* ---- for logs ------------------------------------------------------------------------------------------------- */

/* Appends to TEXT at *LEN as much as fits. */
static void text_add(char *text, size_t *len, const char *key, const char *value)
{
        if (!value)
                return;
        int n = snprintf(text + *len, FUSE_REQUEST_TEXT_MAX - *len, " %s '%.160s'", key, value);
        if (n > 0)
                *len = MIN(*len + (size_t)n, (size_t)FUSE_REQUEST_TEXT_MAX - 1);
}

const char *fuse_request_format(const struct fuse_request *rq, char text[static FUSE_REQUEST_TEXT_MAX])
{
        int n = snprintf(text, FUSE_REQUEST_TEXT_MAX, "%s unique %llu node %llu uid %u gid %u pid %u",
                         fuse_operation_name(rq->opcode), (unsigned long long)rq->unique, (unsigned long long)rq->node,
                         rq->uid, rq->gid, rq->pid);
        size_t len = n > 0 ? (size_t)n : 0;
        text_add(text, &len, "name", rq->name);
        text_add(text, &len, rq->opcode == FUSE_SYMLINK ? "target" : "new name", rq->new_name);
        if (rq->data)
                (void)snprintf(text + len, FUSE_REQUEST_TEXT_MAX - len, " size %zu", rq->size);
        return text;
}
