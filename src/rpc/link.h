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

struct rpc_link {
        struct stream *stream; /* NULL once closed */
        struct record_reader in;
        struct buf out; /* unsent bytes begin at `sent` */
        size_t sent;
        bool eof;    /* the peer has ended its side or failed; `in` may still hold records */
        int error;   /* why, with eof; 0 for an orderly end */
        bool hangup; /* the peer is gone in both directions */
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
        return l->out.len - l->sent;
}

/* Starts a record in `out` and gives the place for rpc_link_commit(). */
size_t rpc_link_begin(struct rpc_link *l);
/* Ends it. On an encoding error the record is taken back and the error returned. */
int rpc_link_commit(struct rpc_link *l, size_t begin);
