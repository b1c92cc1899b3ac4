/* Chains (chain.h): messages, and the table of what may be one. Pure functions; any thread. */
#include "proto/chain.h"

#include <fcntl.h>

CHAIN_MESSAGES(MSG_DEFINE)

/* ---- the table --------------------------------------------------------------------------------------------------- */

enum kind { NOTHING, LOCK, UNLOCK, MARK, SYNC, MAKE, LOOK, OPEN, READ };

#define PARTS_MAX 4

/* Kinds that follow each other, each so often. */
struct sequence {
        struct {
                uint8_t kind, min, max;
        } parts[PARTS_MAX];
        bool about_new; /* locks and marks are those of the object that the first step makes */
};

static const struct sequence sequences[] = {
        /* a transaction begins, or looks at what it is about to change */
        {{{LOCK, 1, 4}, {MARK, 0, 4}, {LOOK, 0, 1}}},
        /* it is settled and ends */
        {{{SYNC, 0, 1}, {MARK, 0, 4}, {UNLOCK, 0, 4}}},
        /* an object that nobody knows yet is made, and its first transaction begins */
        {{{MAKE, 1, 1}, {LOCK, 1, 2}, {MARK, 0, 2}}, .about_new = true},
        /* reading, from the name on */
        {{{LOOK, 0, 1}, {OPEN, 0, 1}, {READ, 0, 1}}},
};

/* ---- what a request is ------------------------------------------------------------------------------------------- */

enum { INODELK_TYPE_UNLOCK = 2, ENTRYLK_CMD_UNLOCK = 1 };

static enum kind kind_of_lock(bool unlock)
{
        return unlock ? UNLOCK : LOCK;
}

static enum kind kind_of(const struct chain_member *m)
{
        switch (m->fop) {
        case FOP_INODELK:
                return kind_of_lock(((const struct inodelk_fop_req *)m->req)->type == INODELK_TYPE_UNLOCK);
        case FOP_FINODELK:
                return kind_of_lock(((const struct finodelk_fop_req *)m->req)->type == INODELK_TYPE_UNLOCK);
        case FOP_ENTRYLK:
                return kind_of_lock(((const struct entrylk_fop_req *)m->req)->cmd == ENTRYLK_CMD_UNLOCK);
        case FOP_FENTRYLK:
                return kind_of_lock(((const struct fentrylk_fop_req *)m->req)->cmd == ENTRYLK_CMD_UNLOCK);
        case FOP_XATTROP:
        case FOP_FXATTROP:
                return MARK;
        case FOP_FSYNC:
                return SYNC;
        case FOP_CREATE:
        case FOP_MKNOD:
        case FOP_MKDIR:
                return MAKE;
        case FOP_LOOKUP:
                return LOOK;
        case FOP_OPEN:
                return ((const struct open_fop_req *)m->req)->flags & O_TRUNC ? NOTHING : OPEN;
        case FOP_READ:
                return ((const struct read_fop_req *)m->req)->size > CHAIN_READ_MAX ? NOTHING : READ;
        default:
                return NOTHING;
        }
}

#define GFID_OF_(NAME, name)                                                                                           \
        case FOP_##NAME:                                                                                               \
                return &((struct name##_fop_req *)req)->gfid;
struct gfid *chain_gfid_of(enum fop fop, void *req)
{
        switch (fop) {
                GFID_OF_(INODELK, inodelk)
                GFID_OF_(FINODELK, finodelk)
                GFID_OF_(ENTRYLK, entrylk)
                GFID_OF_(FENTRYLK, fentrylk)
                GFID_OF_(XATTROP, xattrop)
                GFID_OF_(FXATTROP, fxattrop)
                GFID_OF_(FSYNC, fsync)
                GFID_OF_(OPEN, open)
                GFID_OF_(READ, read)
        default:
                return NULL;
        }
}

#define FD_OF_(NAME, name)                                                                                             \
        case FOP_##NAME:                                                                                               \
                return &((struct name##_fop_req *)req)->fd;
int64_t *chain_fd_of(enum fop fop, void *req)
{
        switch (fop) {
                FD_OF_(FINODELK, finodelk)
                FD_OF_(FENTRYLK, fentrylk)
                FD_OF_(FXATTROP, fxattrop)
                FD_OF_(FSYNC, fsync)
                FD_OF_(READ, read)
        default:
                return NULL;
        }
}

/* ---- the check --------------------------------------------------------------------------------------------------- */

/* The kinds of a sequence differ, so taking as many as there are is right. */
static bool matches(const struct sequence *s, const enum kind kinds[], unsigned n)
{
        unsigned at = 0;
        for (unsigned p = 0; p < PARTS_MAX && s->parts[p].max > 0; p++) {
                unsigned count = 0;
                while (at < n && kinds[at] == s->parts[p].kind) {
                        at++;
                        count++;
                }
                if (count < s->parts[p].min || count > s->parts[p].max)
                        return false;
        }
        return at == n;
}

static bool new_gfid(const struct chain_member *m, struct gfid *ret)
{
        const struct dict *xdata = m->fop == FOP_CREATE  ? &((const struct create_fop_req *)m->req)->xdata
                                   : m->fop == FOP_MKNOD ? &((const struct mknod_fop_req *)m->req)->xdata
                                                         : &((const struct mkdir_fop_req *)m->req)->xdata;
        return dict_get_gfid(xdata, "gfid-req", ret) == 0 && !gfid_is_null(ret);
}

static const struct gfid *subject(const struct chain_member *m)
{
        return chain_gfid_of(m->fop, (void *)m->req);
}

static bool all_about_new(const struct chain_member *m, unsigned n)
{
        struct gfid made;
        if (!new_gfid(&m[0], &made))
                return false;
        for (unsigned i = 1; i < n; i++)
                if (!gfid_equal(subject(&m[i]), &made))
                        return false;
        return true;
}

/* What a step leaves open was told by one before it. */
static bool is_closed(const struct chain_member *m, unsigned n)
{
        bool found = false, opened = false;
        for (unsigned i = 0; i < n; i++) {
                const struct gfid *gfid = subject(&m[i]);
                const int64_t *fd = chain_fd_of(m[i].fop, (void *)m[i].req);
                if ((gfid && gfid_is_null(gfid) && !found) || (fd && *fd == CHAIN_FD_OPENED && !opened))
                        return false;
                found = found || m[i].fop == FOP_LOOKUP;
                opened = opened || m[i].fop == FOP_OPEN || m[i].fop == FOP_CREATE;
        }
        return true;
}

int chain_check(const struct chain_member *members, unsigned n)
{
        enum kind kinds[CHAIN_STEPS_MAX];
        if (n == 0 || n > CHAIN_STEPS_MAX || !is_closed(members, n))
                return -EINVAL;
        for (unsigned i = 0; i < n; i++)
                kinds[i] = kind_of(&members[i]);
        for (size_t s = 0; s < ELEMENTSOF(sequences); s++)
                if (matches(&sequences[s], kinds, n))
                        return sequences[s].about_new && !all_about_new(members, n) ? -EINVAL : 0;
        return -EINVAL;
}

/* ---- parts ------------------------------------------------------------------------------------------------------- */

void chain_append(struct buf *b, const struct msg_desc *desc, const void *msg)
{
        static const uint8_t padding[4];
        size_t begin = b->len;
        xdr_write_u32(b, 0);
        msg_encode(desc, msg, b);
        if (b->error)
                return;
        size_t len = b->len - begin - 4;
        xdr_patch_u32(b, begin, (uint32_t)len);
        (void)buf_append(b, padding, (4 - len % 4) % 4);
}
