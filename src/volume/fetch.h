/* The volfile of a volume, from one of several management daemons (GETSPEC; spec: wire.md §5.1).
 *
 * Servers are asked in turn, beginning with the one that answered last. The connection to it is kept, because the
 * daemon tells over it that some volfile has changed; when it is lost, it is made again, to the next server if need be.
 *
 * Thread: the loop's.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"
#include "base/fibre.h"
#include "rpc/tls.h"

#define FETCH_SERVERS_MAX 32
#define FETCH_PORT 24007

struct fetch;

struct fetch_server {
        const char *host; /* name, numeric address, or the path of a unix socket */
        uint16_t port;    /* 0: 24007 */
};

struct fetch_config {
        const struct fetch_server *servers;
        unsigned n_servers;     /* at most FETCH_SERVERS_MAX */
        const char *key;        /* "/VOLUME", "shd/VOLUME" (volfile/key.h) */
        struct tls_source *tls; /* NULL: plain connections (rpc/secure_access.h). Outlives the object */
        uint64_t timeout;       /* ns for one server; 0: 10 s */
        /* The daemon says that some volfile has changed, or may have said it while there was no connection: fetch again
         * and compare. On the loop; must not wait. May be NULL. */
        void (*on_change)(struct fetch *f, void *arg);
        /* The daemon asks for a state dump. May be NULL. */
        void (*on_statedump)(struct fetch *f, void *arg);
        void *arg;
};

/* Connects to nobody yet. -EINVAL: no server, or too many; -ENOMEM. CONFIG need not outlive the call. */
int fetch_new(struct loop *loop, const struct fetch_config *config, struct fetch **ret);
/* Appends the volfile's text to OUT. -ENOENT: there is no such volume, -EOPNOTSUPP: it is for newer clients, or the
 * last server's -errno; with a sentence that tells what each server said. */
int fetch_volfile(struct fibre *self, struct fetch *f, struct buf *out, struct error *err);
/* Disconnects. Nobody may be fetching. */
struct fetch *fetch_free(struct fibre *self, struct fetch *f);
