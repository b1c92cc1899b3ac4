/* A record stream over one connection: bytes in to records, records out to bytes, both bounded. For client.c and
 * server.c.
 *
 * TLS (wire.md §1.7) is below this: a struct stream around the one that was connected or accepted, put there before the
 * first byte (rpc/tls_stream.h). The link sees a stream and nothing of what is under it.
 *
 * Thread: the loop's.
 */
#pragma once

#include "base/loop.h"
#include "rpc/record.h"

/* Bytes that end a record and are sent from where they are. Belongs to whoever sends it; the link refers to it until
 * all of it is sent, or rpc_link_withdraw(). Zero-initialised: not in use. */
struct rpc_payload {
        struct slice bytes;
        size_t sent;
        uint64_t at;    /* what goes before it: bytes ever put into `out` */
        uint8_t *owned; /* the bytes, when they became the link's */
        bool queued;
        struct rpc_payload *next;
};

struct rpc_link {
        struct stream *stream; /* NULL once closed */
        struct record_reader in;
        struct buf out; /* unsent bytes begin at `sent` */
        size_t sent;
        uint64_t dropped;             /* bytes ever taken from the front of `out` */
        struct rpc_payload *payloads; /* unsent, in order */
        size_t payload_bytes;         /* of them */
        bool eof;                     /* the peer has ended its side or failed; `in` may still hold records */
        bool broken;                  /* a record cannot be ended: nothing may be sent any more */
        int error;                    /* why, with eof; 0 for an orderly end */
        bool hangup;                  /* the peer is gone in both directions */
};

/* Takes over STREAM. RECORD: largest record taken; OUTPUT: most bytes that may wait to be sent. */
void rpc_link_init(struct rpc_link *l, struct stream *stream, size_t record, size_t output);
/* Closes; nothing is sent any more. */
void rpc_link_done(struct rpc_link *l);

/* Reads what is there, up to a bound that keeps one connection from holding up the loop. EVENTS: what the stream told;
 * with a hang-up, having nothing to read is the end. True if something came; the end of the stream and failures are in
 * `eof` and `error`. */
bool rpc_link_read(struct rpc_link *l, unsigned events);

/* Sends what the connection takes. 0 or -errno. */
int rpc_link_flush(struct rpc_link *l);

/* Bytes that wait to be sent. */
static inline size_t rpc_link_unsent(const struct rpc_link *l)
{
        return l->out.len - l->sent + l->payload_bytes;
}

/* Starts a record in `out` and gives the place for rpc_link_commit(). */
size_t rpc_link_begin(struct rpc_link *l);
/* Ends it. On an encoding error the record is taken back and the error returned. */
int rpc_link_commit(struct rpc_link *l, size_t begin);
/* The same for a record that ends with P's bytes, which are not in `out`. After success P must stay until it is sent.
 */
int rpc_link_commit_payload(struct rpc_link *l, size_t begin, struct rpc_payload *p);
/* P and its bytes are about to go: what is unsent is copied. If there is no memory for that, the next rpc_link_flush()
 * fails. */
void rpc_link_withdraw(struct rpc_link *l, struct rpc_payload *p);
