/* How a brick lends files to a client on its machine (docs/formats/wire.md, "Lent files"; decision 006).
 *
 *      SETVOLUME     the client asks with LOCAL_READ_ASK; the brick answers with a socket's path and a token
 *      unix socket   SOCK_SEQPACKET; the client connects and sends the token, once per connection to the brick
 *      READ          of a file the client has open, with the number LOCAL_READ_LEND in its xdata: before the answer, the
 *                    brick sends a struct local_loan with that number and a read-only descriptor of the file
 *
 * A client that does not find the socket goes on as before. Stock clients do not ask, stock bricks do not answer.
 */
#pragma once

#include "base/util.h"

#define LOCAL_READ_ASK "mortar-local-reads"
#define LOCAL_READ_SOCKET "mortar-local-socket"
#define LOCAL_READ_TOKEN "mortar-local-token"
#define LOCAL_READ_LEND "mortar.lend"

#define LOCAL_TOKEN_LEN 32u /* hexadecimal digits */

/* Times of the file are in its mdata attribute, if it has one. */
#define LOCAL_LOAN_MDATA 1u

/* Both ends are on one machine: as it lies in memory. */
struct local_loan {
        uint64_t number; /* the request's */
        uint32_t flags;
        uint32_t unused;
};
