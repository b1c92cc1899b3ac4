/* Record marking: an assembler for incoming records, marks for outgoing ones.
 *
 * Invariants: start <= in.len; a record in one fragment is handed out in place, one in several is joined in `joined`.
 * What lies unconsumed in `in` is less than one record, so `in` stays below limit + mark + READ_AHEAD.
 * No thread of its own: the connection's owner calls.
 */
#include "rpc/record.h"

#include "proto/xdr.h"

#define READ_AHEAD (1 * MIB)    /* room for bytes behind an unfinished record */
#define LARGE_MAX (2 * MIB)     /* room offered before anything of a record is there */
#define BUFFER_KEPT (256 * KIB) /* memory a quiet connection holds on to */

void record_reader_init(struct record_reader *r, size_t limit)
{
        *r = (struct record_reader){
                .in = BUF_INIT(limit + RECORD_MARK_SIZE + READ_AHEAD),
                .limit = limit,
                .joined = BUF_INIT(limit),
        };
}

void record_reader_done(struct record_reader *r)
{
        buf_done(&r->in);
        buf_done(&r->joined);
}

static void record_reader_compact(struct record_reader *r, size_t room)
{
        if (r->start == r->in.len) {
                buf_reset(&r->in, BUFFER_KEPT);
                r->start = 0;
        }
        if (r->start > 0 && r->in.cap - r->in.len < room) {
                buf_consume(&r->in, r->start);
                r->start = 0;
        }
}

uint8_t *record_reader_space(struct record_reader *r, size_t min_bytes, size_t *ret_size)
{
        record_reader_compact(r, min_bytes);
        if (buf_reserve(&r->in, min_bytes) < 0)
                return NULL;
        *ret_size = r->in.cap - r->in.len;
        return r->in.data + r->in.len;
}

/* The first record with its mark; 0: that is not there yet. */
static size_t first_record(const struct record_reader *r)
{
        if (r->in.len - r->start < RECORD_MARK_SIZE)
                return 0;
        struct xdr_reader mark = xdr_reader_of(r->in.data + r->start, RECORD_MARK_SIZE);
        return RECORD_MARK_SIZE + (size_t)(xdr_read_u32(&mark) & ~RECORD_LAST);
}

bool record_reader_ends(const struct record_reader *r)
{
        return r->in.len > r->start && first_record(r) == r->in.len - r->start;
}

size_t record_reader_wants(const struct record_reader *r, size_t usual)
{
        size_t there = r->in.len - r->start, first = first_record(r);
        if (there == 0)
                return MAX(r->large, usual);
        if (first <= there || first < RECORD_DETACH_MIN)
                return usual;
        return MIN(first - there, there * RECORD_GROWTH);
}

void *record_reader_detach(struct record_reader *r, struct slice part, size_t *ret_size)
{
        uint8_t *memory = r->in.data;
        bool in_place = memory && part.data > memory && part.data + part.len == memory + r->in.len;
        if (part.len < RECORD_DETACH_MIN || r->whole || !in_place || r->start != r->in.len)
                return NULL;
        if (r->in.cap > 2 * r->in.len)
                return NULL; /* it would hold on to much more than it is worth */
        *ret_size = r->in.cap;
        r->in = BUF_INIT(r->in.max);
        r->start = 0;
        return memory;
}

void record_reader_filled(struct record_reader *r, size_t n)
{
        r->in.len += n;
}

static int record_missing(size_t n, size_t *ret_missing)
{
        if (ret_missing)
                *ret_missing = n;
        return 0;
}

/* Lets go of the joined record that the last call handed out. */
static void record_reader_restart(struct record_reader *r)
{
        if (!r->whole)
                return;
        buf_reset(&r->joined, BUFFER_KEPT);
        r->joining = r->whole = false;
}

/* Takes the fragment at DATA into the record. 1 when that completes it. */
static int record_take(struct record_reader *r, const uint8_t *data, size_t len, bool last, struct slice *ret)
{
        *ret = (struct slice){.data = data, .len = (uint32_t)len};
        if (r->joining || !last) {
                int error = buf_append(&r->joined, data, len);
                if (error < 0)
                        return error;
                r->joining = true;
                r->whole = last;
                *ret = (struct slice){.data = r->joined.data, .len = (uint32_t)r->joined.len};
        }
        r->fragments = last ? 0 : r->fragments + 1;
        return last;
}

int record_reader_next(struct record_reader *r, struct slice *ret, size_t *ret_missing)
{
        record_reader_restart(r);
        for (;;) {
                size_t there = r->in.len - r->start;
                if (there < RECORD_MARK_SIZE)
                        return record_missing(RECORD_MARK_SIZE - there, ret_missing);

                const uint8_t *at = r->in.data + r->start;
                struct xdr_reader mark_reader = xdr_reader_of(at, RECORD_MARK_SIZE);
                uint32_t mark = xdr_read_u32(&mark_reader);
                size_t len = mark & ~RECORD_LAST;
                if (len > r->limit - r->joined.len)
                        return -EMSGSIZE;
                if (r->fragments >= RECORD_FRAGMENTS)
                        return -EBADMSG;
                if (there - RECORD_MARK_SIZE < len)
                        return record_missing(RECORD_MARK_SIZE + len - there, ret_missing);

                struct slice record;
                int done = record_take(r, at + RECORD_MARK_SIZE, len, (mark & RECORD_LAST) != 0, &record);
                r->start += RECORD_MARK_SIZE + len;
                r->large = len < RECORD_DETACH_MIN ? 0 : MIN(len + RECORD_MARK_SIZE, (size_t)LARGE_MAX);
                if (done < 0)
                        return done;
                if (done) {
                        *ret = record;
                        return 1;
                }
        }
}

size_t record_begin(struct buf *b)
{
        size_t begin = b->len;
        xdr_write_u32(b, 0);
        return begin;
}

void record_end(struct buf *b, size_t begin, size_t payload)
{
        if (b->error)
                return;
        size_t len = b->len - begin - RECORD_MARK_SIZE + payload;
        if (len >= RECORD_LAST) {
                b->error = -E2BIG;
                return;
        }
        xdr_patch_u32(b, begin, RECORD_LAST | (uint32_t)len);
}
