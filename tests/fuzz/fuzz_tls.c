/* The server's side of a TLS session: whatever a peer sends, before, in and after the handshake. What comes out as plain text
 * is what an honest client has put in, in its order; and nobody gets through the handshake without its certificate.
 *
 * An input is steps of {what, n, m}: bytes of its own, or the next ones of an honest client, whole, cut or with a bit changed.
 */
#include "fuzz.h"

#include "rpc/tls_session.h"
#include "support/certs.h"

#define OUT_MAX MIB
#define PLAIN_MAX (64 * KIB)
#define STEPS_MAX 64

enum step { RAW, HONEST, CHANGED, CUT, CLIENT_WRITES, SERVER_WRITES, CLIENT_ENDS, STEP_KINDS };

static struct certs *certs;
static struct tls_context *contexts[2];

static void remove_certs(void)
{
        for (size_t k = 0; k < ELEMENTSOF(contexts); k++)
                contexts[k] = tls_context_unref(contexts[k]);
        certs = certs_free(certs);
}

static void make_certs(void)
{
        static const char *const names[] = {"server", "client"};
        certs = certs_new();
        for (size_t k = 0; k < ELEMENTSOF(names); k++) {
                certs_make(certs, &(struct cert){.name = names[k]});
                contexts[k] = certs_context(certs, names[k]);
        }
        atexit(remove_certs);
}

struct end {
        struct tls_session *s;
        struct buf out;
        int state; /* 0: the handshake is done; -EAGAIN; other: broken */
};

struct world {
        struct end server, client;
        size_t written, read; /* plain text of the client: byte k of it is (uint8_t)k */
};

static void check_plain(struct world *w, const uint8_t *plain, size_t n)
{
        for (size_t k = 0; k < n; k++)
                FUZZ_CHECK(plain[k] == (uint8_t)(w->read + k));
        w->read += n;
        FUZZ_CHECK(w->read <= w->written);
}

/* The server takes SIZE bytes. */
static void feed(struct world *w, const uint8_t *data, size_t size)
{
        uint8_t plain[1000];
        struct end *e = &w->server;
        uint8_t *borrowed = malloc(size ? size : 1); /* exactly so long: reading beyond it shows */
        FUZZ_CHECK(borrowed);
        memcpy(borrowed, data, size);
        tls_session_feed(e->s, borrowed, size);
        if (e->state == -EAGAIN && (e->state = tls_session_handshake(e->s)) == 0)
                FUZZ_CHECK(strcmp(tls_session_peer_name(e->s), "client") == 0);
        ssize_t n = -EAGAIN;
        while (e->state == 0 && (n = tls_session_read(e->s, plain, sizeof plain)) > 0)
                check_plain(w, plain, (size_t)n);
        FUZZ_CHECK(n <= 0);
        if (e->state == 0 && n < 0 && n != -EAGAIN)
                e->state = (int)n;
        if (e->state < 0 && e->state != -EAGAIN)
                FUZZ_CHECK(*tls_session_error(e->s));
        FUZZ_CHECK(e->out.len <= OUT_MAX);
        tls_session_feed(e->s, NULL, 0);
        free(borrowed);
}

/* The client takes what the server has said. */
static void answer(struct world *w)
{
        struct end *e = &w->client;
        uint8_t plain[1000];
        tls_session_feed(e->s, w->server.out.data, w->server.out.len);
        if (e->state == -EAGAIN)
                e->state = tls_session_handshake(e->s);
        while (e->state == 0 && tls_session_read(e->s, plain, sizeof plain) > 0)
                continue;
        tls_session_feed(e->s, NULL, 0);
        w->server.out.len = 0;
}

/* What the client has to say goes over: all of it with XOR at one place, or not the end of it. */
static void deliver(struct world *w, enum step how, uint8_t n, uint8_t m)
{
        struct buf *b = &w->client.out;
        size_t at = b->len ? ((size_t)n << 4 ^ n) % b->len : 0;
        if (how == CHANGED && b->len > 0)
                b->data[at] ^= m;
        feed(w, b->data, how == CUT ? at : b->len);
        b->len = 0;
        answer(w);
}

static void client_writes(struct world *w, size_t len)
{
        uint8_t data[UINT8_MAX * UINT8_MAX];
        if (w->client.state != 0 || w->written + len > PLAIN_MAX)
                return;
        for (size_t k = 0; k < len; k++)
                data[k] = (uint8_t)(w->written + k);
        if (len > 0 && tls_session_write(w->client.s, &(struct iovec){data, len}, 1) == 0)
                w->written += len;
}

static void server_writes(struct world *w, size_t len)
{
        uint8_t data[UINT8_MAX] = {0};
        if (w->server.state == 0 && len > 0)
                (void)tls_session_write(w->server.s, &(struct iovec){data, len}, 1);
}

static size_t step(struct world *w, const uint8_t *data, size_t size)
{
        enum step what = data[0] % STEP_KINDS;
        size_t raw = MIN(size - 3, (size_t)data[1]);
        switch (what) {
        case RAW:
                feed(w, data + 3, raw);
                answer(w);
                return 3 + raw;
        case CLIENT_WRITES:
                client_writes(w, (size_t)data[1] * data[2]);
                return 3;
        case SERVER_WRITES:
                server_writes(w, data[1]);
                return 3;
        case CLIENT_ENDS:
                tls_session_end(w->client.s);
                return 3;
        default:
                deliver(w, what, data[1], data[2]);
                return 3;
        }
}

static void begin(struct end *e, enum tls_side side)
{
        *e = (struct end){.out = BUF_INIT(OUT_MAX), .state = -EAGAIN};
        FUZZ_CHECK(tls_session_new(contexts[side == TLS_SERVER ? 0 : 1], side, &e->out, &e->s) == 0);
}

static void end(struct end *e)
{
        e->s = tls_session_free(e->s);
        buf_done(&e->out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct world w = {0};
        if (!certs)
                make_certs();
        begin(&w.server, TLS_SERVER);
        begin(&w.client, TLS_CLIENT);
        w.client.state = tls_session_handshake(w.client.s); /* says hello */
        for (unsigned k = 0; k < STEPS_MAX && size >= 3; k++) {
                size_t used = step(&w, data, size);
                data += used;
                size -= used;
        }
        end(&w.server);
        end(&w.client);
        return 0;
}
