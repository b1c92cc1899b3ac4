/* What may be one chain, and how its messages look (docs/formats/chain.md). */
#include "proto/chain.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static const struct gfid made = {.b = {1, [15] = 7}}, other = {.b = {2, [15] = 9}};

/* One letter is one operation; see make(). */
union any {
        struct inodelk_fop_req inodelk;
        struct finodelk_fop_req finodelk;
        struct entrylk_fop_req entrylk;
        struct xattrop_fop_req xattrop;
        struct fxattrop_fop_req fxattrop;
        struct fsync_fop_req fsync;
        struct mknod_fop_req mknod;
        struct create_fop_req create;
        struct lookup_fop_req lookup;
        struct open_fop_req open;
        struct read_fop_req read;
        struct write_fop_req write;
        struct unlink_fop_req unlink;
        struct setattr_fop_req setattr;
        uint8_t zero[MSG_SIZE_MAX];
};

static struct arena arena = ARENA_INIT(64 * KIB);

static struct dict gfid_req(const struct gfid *g)
{
        struct dict d = {0};
        assert_int_equal(dict_add_gfid(&d, &arena, "gfid-req", g), 0);
        return d;
}

static enum fop make(char letter, union any *r)
{
        *r = (union any){0};
        switch (letter) {
        case 'l': /* lock of the new object */
                r->inodelk = (struct inodelk_fop_req){.gfid = made, .cmd = 2, .type = 1};
                return FOP_INODELK;
        case 'k': /* lock of another one */
                r->inodelk = (struct inodelk_fop_req){.gfid = other, .cmd = 2, .type = 1};
                return FOP_INODELK;
        case 'f':
                r->finodelk = (struct finodelk_fop_req){.gfid = made, .fd = 3, .cmd = 1, .type = 0};
                return FOP_FINODELK;
        case 'F': /* through the descriptor that was opened before */
                r->finodelk = (struct finodelk_fop_req){.gfid = made, .fd = CHAIN_FD_OPENED, .cmd = 1, .type = 1};
                return FOP_FINODELK;
        case 'e':
                r->entrylk = (struct entrylk_fop_req){.gfid = made, .cmd = 0, .type = 1};
                return FOP_ENTRYLK;
        case 'u':
                r->inodelk = (struct inodelk_fop_req){.gfid = made, .cmd = 1, .type = 2};
                return FOP_INODELK;
        case 'v':
                r->entrylk = (struct entrylk_fop_req){.gfid = made, .cmd = 1, .type = 1};
                return FOP_ENTRYLK;
        case 'x':
                r->xattrop = (struct xattrop_fop_req){.gfid = made};
                return FOP_XATTROP;
        case 'y':
                r->fxattrop = (struct fxattrop_fop_req){.gfid = made, .fd = 3};
                return FOP_FXATTROP;
        case 'z':
                r->xattrop = (struct xattrop_fop_req){.gfid = other};
                return FOP_XATTROP;
        case 's':
                r->fsync = (struct fsync_fop_req){.gfid = made, .fd = 3};
                return FOP_FSYNC;
        case 'c':
                r->create = (struct create_fop_req){.pargfid = other, .xdata = gfid_req(&made)};
                return FOP_CREATE;
        case 'C': /* without a gfid */
                r->create = (struct create_fop_req){.pargfid = other, .xdata = DICT_NULL};
                return FOP_CREATE;
        case 'm':
                r->mknod = (struct mknod_fop_req){.pargfid = other, .xdata = gfid_req(&made)};
                return FOP_MKNOD;
        case 'n':
                return FOP_LOOKUP;
        case 'o':
                r->open = (struct open_fop_req){.flags = O_RDWR};
                return FOP_OPEN;
        case 'p': /* of a known object */
                r->open = (struct open_fop_req){.gfid = made};
                return FOP_OPEN;
        case 't':
                r->open = (struct open_fop_req){.flags = O_RDWR | O_TRUNC};
                return FOP_OPEN;
        case 'r':
                r->read = (struct read_fop_req){.fd = FD_ANONYMOUS, .size = CHAIN_READ_MAX};
                return FOP_READ;
        case 'R':
                r->read = (struct read_fop_req){.gfid = made, .fd = CHAIN_FD_OPENED, .size = 1};
                return FOP_READ;
        case 'B':
                r->read = (struct read_fop_req){.gfid = made, .fd = FD_ANONYMOUS, .size = CHAIN_READ_MAX + 1};
                return FOP_READ;
        case 'w':
                return FOP_WRITE;
        case 'd':
                return FOP_UNLINK;
        case 'a':
                return FOP_SETATTR;
        default:
                fail_msg("no such letter");
                return FOP_NULL;
        }
}

static int check(const char *letters)
{
        static union any reqs[16];
        struct chain_member members[16];
        unsigned n = 0;
        for (; letters[n]; n++)
                members[n] = (struct chain_member){make(letters[n], &reqs[n]), &reqs[n]};
        int r = chain_check(members, n);
        arena_done(&arena);
        return r;
}

static void what_is_in_the_table_is_allowed(void **state)
{
        static const char *const chains[] = {
                "lx", "llxx", "ex", "eexx", "exn", "fy", "l", "en", "lxn",               /* a transaction begins */
                "xu", "yu", "xxuu", "xv", "uu", "syu", "sy", "su", "vv", "xyuv", "u",    /* … is settled */
                "clx", "mlx", "cl", "clxx", "cFx", "cly", "mllxx",                       /* a new object */
                "no", "nor", "noR", "nr", "pR", "n",                                     /* reading */
        };
        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(chains); i++)
                if (check(chains[i]) != 0)
                        fail_msg("%s is refused", chains[i]);
}

static void everything_else_is_refused(void **state)
{
        static const char *const chains[] = {
                "",   "w",  "d",  "a",                                   /* nothing, and changes */
                "lw", "lxw", "ed", "exd", "la", "lxa", "edv", "lau",     /* with the lock that protects them */
                "wxu", "du", "dv", "au",                                 /* with what ends their transaction */
                "lu", "lxu", "ul", "xl", "xe", "nl", "nx", "sl",         /* locks and unlocks, out of order */
                "ck", "ckx", "clz", "Clx", "cnl", "cx", "cen", "elc", "lc", "ec", "cc", "clu", /* not the new one's */
                "or", "o", "r", "pr", "nR", "nB", "B", "nt", "non", "noo", "rn", "pRR", /* left open, too large */
                "lllllx", "xxxxxu", "uuuuu", "xxxxuuuuu",                /* too many */
        };
        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(chains); i++)
                if (check(chains[i]) != -EINVAL)
                        fail_msg("%s is allowed", chains[i]);
}

/* No sequence with a lock has a change that this lock could be for: all of three letters. */
static void no_change_travels_with_its_lock(void **state)
{
        static const char letters[] = "lkfeuvxyzscmnoprRwdat";
        (void)state;
        for (const char *a = letters; *a; a++)
                for (const char *b = letters; *b; b++)
                        for (const char *c = letters; *c; c++) {
                                const char chain[] = {*a, *b, *c, '\0'};
                                bool change = strpbrk(chain, "wdat") != NULL, made_late = strpbrk(chain + 1, "cm");
                                bool locked = strpbrk(chain, "lkfe"), unlocked = strpbrk(chain, "uv");
                                if ((change || made_late || (locked && unlocked)) && check(chain) == 0)
                                        fail_msg("%s is allowed", chain);
                        }
}

/* ---- the messages ----------------------------------------------------------------------------------------------- */

static void put_step(struct buf *b, char letter, struct slice cred)
{
        union any req;
        enum fop fop = make(letter, &req);
        xdr_write_u32(b, fop);
        xdr_write_opaque(b, cred.data, cred.len);
        chain_append(b, fop_by_number(fop)->req, &req);
}

static void a_request_looks_so(void **state)
{
        static const uint8_t expected[] = {
                0, 0, 0, 2,                                                    /* two steps */
                0, 0, 0, 112,                                                  /* in so many bytes */
                0, 0, 0, 27, 0, 0, 0, 0, 0, 0, 0, 52,                          /* LOOKUP, as the message's caller */
                0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,                /* gfid */
                0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,                /* of the parent */
                0, 0, 0, 0, 0, 0, 0, 0,                                        /* flags, name */
                0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,                            /* xdata */
                0, 0, 0, 11, 0, 0, 0, 3, 'm', 'e', '!', 0, 0, 0, 0, 32,        /* OPEN, as somebody else */
                0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, O_RDWR, /* what was found */
                0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        };
        struct buf steps = BUF_INIT(KIB), b = BUF_INIT(KIB);
        (void)state;
        put_step(&steps, 'n', (struct slice){0});
        put_step(&steps, 'o', (struct slice){(const uint8_t *)"me!", 3});
        const struct chain_req req = {.count = 2, .steps = {steps.data, (uint32_t)steps.len}};
        msg_encode(&chain_req_desc, &req, &b);
        assert_int_equal(b.error, 0);
        assert_int_equal(b.len, sizeof expected);
        assert_memory_equal(b.data, expected, sizeof expected);
        buf_done(&steps);
        buf_done(&b);
}

/* Data of any length is padded, so that the next part is found. */
static void parts_are_padded(void **state)
{
        (void)state;
        for (uint32_t len = 0; len < 9; len++) {
                struct buf b = BUF_INIT(4 * KIB);
                const struct read_fop_rep rep = {
                        .op_ret = (int32_t)len,
                        .size = len,
                        .xdata = DICT_NULL,
                        .data = {(const uint8_t *)"12345678", len},
                };
                for (int k = 0; k < 2; k++) {
                        xdr_write_u32(&b, FOP_READ);
                        chain_append(&b, &read_fop_rep_desc, &rep);
                }
                struct xdr_reader in = xdr_reader_of(b.data, b.len);
                for (int k = 0; k < 2; k++) {
                        struct chain_answer_part part;
                        struct read_fop_rep got;
                        assert_int_equal(msg_decode(&chain_answer_part_desc, &in, &arena, &part), 0);
                        struct xdr_reader inner = xdr_reader_of(part.reply.data, part.reply.len);
                        assert_int_equal(msg_decode(&read_fop_rep_desc, &inner, &arena, &got), 0);
                        assert_int_equal(got.data.len, len);
                        assert_memory_equal(got.data.data, "12345678", len);
                }
                assert_int_equal(xdr_left(&in), 0);
                buf_done(&b);
                arena_done(&arena);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(what_is_in_the_table_is_allowed),
                cmocka_unit_test(everything_else_is_refused),
                cmocka_unit_test(no_change_travels_with_its_lock),
                cmocka_unit_test(a_request_looks_so),
                cmocka_unit_test(parts_are_padded),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
