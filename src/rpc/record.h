/* Record marking: bytes of a stream to whole records (wire.md §1.2, RFC 5531 §11).
 *
 * The assembler is fed bytes in any pieces and gives records one after the other. Bounds: `limit` bytes a record,
 * RECORD_FRAGMENTS fragments a record; a fragment of length zero that is not the last counts too, so an endless stream
 * of them ends the connection. Memory held = the unfinished record, and it grows with the bytes received (at most
 * RECORD_GROWTH times as many), never with the length a peer announces.
 */
#pragma once

#include "base/buf.h"
#include "proto/types.h"

#define RECORD_MARK_SIZE 4
#define RECORD_LAST 0x80000000u
#define RECORD_FRAGMENTS 1024
#define RECORD_GROWTH 16

struct record_reader {
        struct buf in;      /* received bytes not yet consumed */
        size_t start;       /* first unconsumed byte of `in` */
        size_t limit;       /* bytes a record */
        struct buf joined;  /* a record made of several fragments, being joined */
        uint32_t fragments; /* of the current record */
        bool joining;
        bool whole; /* `joined` was handed out by the last call */
        size_t large; /* bytes of the last record and its mark, if it was large: the next one is often like it; else 0 */
};

void record_reader_init(struct record_reader *r, size_t limit);
void record_reader_done(struct record_reader *r);

/* Where to read() into: at least MIN_BYTES free behind what is there. NULL: -ENOMEM or ceiling. */
uint8_t *record_reader_space(struct record_reader *r, size_t min_bytes, size_t *ret_size);
/* How much to offer to the next read, so that a large record ends where its buffer does: USUAL, or more, or less. */
size_t record_reader_wants(const struct record_reader *r, size_t usual);
/* The first record is complete, and nothing lies behind it. */
bool record_reader_ends(const struct record_reader *r);
/* N bytes were put there. */
void record_reader_filled(struct record_reader *r, size_t n);

/* 1: *ret is the next whole record, valid until the next call on R. 0: more bytes are needed (*ret_missing, if not
 * NULL: how many at least). -EMSGSIZE: beyond the limit, -EBADMSG: too many fragments: close the connection. */
int record_reader_next(struct record_reader *r, struct slice *ret, size_t *ret_missing);

/* Gives away the memory that PART, of the record just handed out, lies in: from malloc, *ret_size bytes. Only if it is
 * large and nothing else lies behind it; NULL otherwise. */
#define RECORD_DETACH_MIN (32 * KIB)
void *record_reader_detach(struct record_reader *r, struct slice part, size_t *ret_size);

/* Starts a record in B: reserves the mark. Returns its offset for record_end(). */
size_t record_begin(struct buf *b);
/* Writes the mark; PAYLOAD bytes will follow that are not in B. */
void record_end(struct buf *b, size_t begin, size_t payload);
