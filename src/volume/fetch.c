/* See fetch.h.
 *
 * One fibre fetches at a time. Once there was an answer, a fibre of its own keeps the connection. The client object may
 * go at any wait, so nothing keeps a pointer to it across one. Thread: the loop's.
 */
#include "volume/fetch.h"

#include <stdio.h>

#include "base/log.h"
#include "proto/handshake.h"
#include "rpc/client.h"
#include "volume/resolve.h"
#include "volume/secure.h"

#define COMPONENT "volfile"
#define SERVER_TIMEOUT (10 * NS_PER_SEC)
#define PAUSE_FIRST (500 * NS_PER_MSEC)
#define PAUSE_MAX (10 * NS_PER_SEC)
#define WANTS_SERVERS 1u /* in GETSPEC's flags */
#define ANSWER_MAX (SPEC_LIMIT + 4 * MIB)

struct server {
        char *host;
        uint16_t port;
};

struct fetch {
        struct loop *loop;
        struct fetch_config config; /* its strings are copies, its servers are in the list below */
        struct server servers[FETCH_SERVERS_MAX];
        unsigned n_servers, current; /* current: the one that answered last */
        struct rpc_client *client;
        struct fibre_mutex busy;
        bool closing, keeping;
        struct fibre_event *pause;
        char tls_failure[256];
};

/* ---- the connection -------------------------------------------------------------------------------------------- */

static void wake(struct fetch *f)
{
        if (f->pause)
                fibre_event_set(f->pause);
}

static void on_disconnect(struct rpc_client *c, int error, void *arg)
{
        struct fetch *f = arg;
        if (f->client != c)
                return;
        f->client = rpc_client_free(c);
        log_notice(COMPONENT, "the connection to the management daemon at %s was lost: %s", f->servers[f->current].host,
                   strerror(-error));
        wake(f);
}

static void on_callback(struct rpc_client *c, const struct rpc_call *call, void *arg)
{
        struct fetch *f = arg;
        (void)c;
        if (call->prog != CALLBACK_PROGRAM || call->vers != CALLBACK_VERSION)
                return;
        if (call->proc == CALLBACK_FETCHSPEC && f->config.on_change)
                f->config.on_change(f, f->config.arg);
        else if (call->proc == CALLBACK_STATEDUMP && f->config.on_statedump)
                f->config.on_statedump(f, f->config.arg);
}

static void on_tls_failure(const char *peer, const char *why, void *arg)
{
        struct fetch *f = arg;
        (void)peer;
        (void)snprintf(f->tls_failure, sizeof f->tls_failure, "%s", why);
}

static int wrap(struct stream *connecting, void *arg, struct stream **ret)
{
        struct fetch *f = arg;
        return secure_connect(f->config.tls, COMPONENT, connecting, on_tls_failure, f, ret);
}

static int resolve(struct fibre *self, struct fetch *f, const struct server *s, struct address ret[static RESOLVE_MAX],
                   unsigned *ret_n, struct error *err)
{
        char path[ADDRESS_TEXT_MAX];
        if (s->host[0] != '/')
                return resolve_host(self, s->host, s->port, AF_UNSPEC, &f->closing, ret, ret_n, err);
        int n = snprintf(path, sizeof path, "unix:%s", s->host);
        if ((size_t)n >= sizeof path || address_parse(path, &ret[0]) < 0)
                return error_set(err, -EINVAL, "%s cannot be the path of a socket.", s->host);
        *ret_n = 1;
        return 0;
}

static int connect_to(struct fibre *self, struct fetch *f, const struct server *s, struct error *err)
{
        struct address hosts[RESOLVE_MAX];
        unsigned n = 0;
        struct rpc_client_config config = {
                .connect_timeout = f->config.timeout,
                .call_timeout = f->config.timeout,
                .on_callback = on_callback,
                .on_disconnect = on_disconnect,
                .wrap = f->config.tls && s->host[0] != '/' ? wrap : NULL,
                .cancelled = &f->closing,
                .arg = f,
        };
        f->tls_failure[0] = '\0';
        int r = resolve(self, f, s, hosts, &n, err);
        if (r < 0)
                return r;
        r = -ENOENT;
        for (unsigned i = 0; r < 0 && i < n && !f->closing; i++) {
                config.to = hosts[i];
                r = rpc_client_connect(self, &config, &f->client);
        }
        if (r < 0 && f->tls_failure[0])
                return error_set(err, r, "Management daemon %s:%u: no TLS: %s.", s->host, s->port, f->tls_failure);
        if (r < 0)
                return error_set(err, r, "Management daemon %s:%u: no connection: %s.", s->host, s->port, strerror(-r));
        return 0;
}

/* ---- GETSPEC --------------------------------------------------------------------------------------------------- */

static int read_answer(struct fetch *f, const struct server *s, const struct getspec_rep *rep, struct buf *out,
                       struct error *err)
{
        if (rep->op_ret >= 0 && rep->spec.len > 0)
                return buf_append(out, rep->spec.s, rep->spec.len);
        if (rep->op_ret < 0 && rep->op_errno == ENOENT)
                return error_set(err, -ENOENT,
                                 "Management daemon %s:%u: there is no volume for %s, or it was never started.",
                                 s->host, s->port, f->config.key);
        if (rep->op_ret < 0 && rep->op_errno == EOPNOTSUPP)
                return error_set(err, -EOPNOTSUPP,
                                 "Management daemon %s:%u: volume %s uses what this client is too old for.", s->host,
                                 s->port, f->config.key);
        int error = rep->op_ret < 0 && rep->op_errno > 0 ? -rep->op_errno : -EINVAL;
        return error_set(err, error, "Management daemon %s:%u gives no volfile for %s: %s.", s->host, s->port,
                         f->config.key, strerror(-error));
}

static int getspec(struct fibre *self, struct fetch *f, const struct server *s, struct buf *out, struct error *err)
{
        _cleanup_arena_ struct arena arena = ARENA_INIT(2 * ANSWER_MAX);
        struct getspec_req req = {.flags = WANTS_SERVERS, .key = str_of(f->config.key)};
        struct getspec_rep rep;
        int r = dict_add_str(&req.xdata, &arena, "min-op-version", "1");
        if (r == 0)
                r = dict_add_str(&req.xdata, &arena, "max-op-version", "100000");
        if (r == 0 && !f->client)
                r = -ENOTCONN;
        if (r == 0)
                r = rpc_client_call(self, f->client, HANDSHAKE_PROGRAM, HANDSHAKE_VERSION, HANDSHAKE_GETSPEC, NULL,
                                    &getspec_req_desc, &req, &getspec_rep_desc, &rep, &arena);
        if (r < 0)
                return error_set(err, r, "Management daemon %s:%u does not answer: %s.", s->host, s->port,
                                 strerror(-r));
        return read_answer(f, s, &rep, out, err);
}

/* ---- one server after the other -------------------------------------------------------------------------------- */

/* Asking somebody else is of no use. */
static bool is_final(int error)
{
        return error == -ENOENT || error == -EOPNOTSUPP || error == -ENOMEM || error == -ECANCELED;
}

static int ask_server(struct fibre *self, struct fetch *f, unsigned index, struct buf *out, struct error *err)
{
        const struct server *s = &f->servers[index];
        bool fresh = !f->client || f->current != index;
        int r = 0;
        if (fresh) {
                f->client = rpc_client_free(f->client);
                f->current = index;
                r = connect_to(self, f, s, err);
        }
        if (r == 0)
                r = getspec(self, f, s, out, err);
        if (r < 0 && !is_final(r))
                f->client = rpc_client_free(f->client);
        return r == -ENOENT && fresh && !f->client ? -EHOSTUNREACH : r;
}

/* What was said before, and what this server says. */
static void add_reason(struct error *all, const struct error *one)
{
        size_t len = strlen(all->text), more = strlen(one->text);
        all->code = one->code;
        if (len > 0 && len + 1 < sizeof all->text)
                all->text[len++] = ' ';
        more = MIN(more, sizeof all->text - 1 - len);
        memcpy(all->text + len, one->text, more);
        all->text[len + more] = '\0';
}

static int ask_in_turn(struct fibre *self, struct fetch *f, struct buf *out, struct error *err)
{
        struct error all = {0};
        bool again = f->client != NULL; /* a connection that was kept may turn out to be dead */
        unsigned first = f->current, tries = f->n_servers + (again ? 1 : 0);
        int r = -EHOSTUNREACH;
        for (unsigned i = 0; i < tries && !f->closing; i++) {
                struct error one = {0};
                unsigned index = (first + i - (again && i > 0 ? 1 : 0)) % f->n_servers;
                r = ask_server(self, f, index, out, &one);
                if (r == 0)
                        return 0;
                add_reason(&all, &one);
                if (is_final(r))
                        break;
        }
        if (err && all.code)
                *err = all;
        return r;
}

/* ---- keeping the connection ------------------------------------------------------------------------------------ */

static void pause_for(struct fibre *self, struct fetch *f, uint64_t time)
{
        struct fibre_event e = {0};
        if (f->closing)
                return;
        f->pause = &e;
        (void)fibre_event_wait(self, &e, time);
        f->pause = NULL;
}

/* To the next server that takes it. The daemon tells changes only to those who have asked. */
static bool reconnect(struct fibre *self, struct fetch *f)
{
        _cleanup_buf_ struct buf text = BUF_INIT(SPEC_LIMIT);
        fibre_mutex_lock(self, &f->busy);
        int r = f->client ? 0 : ask_in_turn(self, f, &text, NULL);
        fibre_mutex_unlock(self, &f->busy);
        return r == 0 || (is_final(r) && f->client);
}

static void keep(struct fibre *self, void *arg)
{
        struct fetch *f = arg;
        uint64_t pause = PAUSE_FIRST;
        while (!f->closing) {
                if (f->client) {
                        pause = PAUSE_FIRST;
                        pause_for(self, f, UINT64_MAX);
                        continue;
                }
                pause_for(self, f, pause);
                pause = MIN(2 * pause, PAUSE_MAX);
                if (f->closing || !reconnect(self, f))
                        continue;
                log_notice(COMPONENT, "connected to the management daemon at %s", f->servers[f->current].host);
                if (f->config.on_change)
                        f->config.on_change(f, f->config.arg);
        }
        f->keeping = false;
}

int fetch_volfile(struct fibre *self, struct fetch *f, struct buf *out, struct error *err)
{
        fibre_mutex_lock(self, &f->busy);
        int r = ask_in_turn(self, f, out, err);
        fibre_mutex_unlock(self, &f->busy);
        if (r == 0 && !f->keeping && !f->closing)
                f->keeping = fibre_start(f->loop, "volfile", keep, f) == 0;
        return r;
}

/* ---- life ------------------------------------------------------------------------------------------------------ */

static void fetch_destroy(struct fetch *f)
{
        for (unsigned i = 0; i < f->n_servers; i++)
                free(f->servers[i].host);
        free((char *)f->config.key);
        free(f);
}

int fetch_new(struct loop *loop, const struct fetch_config *config, struct fetch **ret)
{
        if (config->n_servers == 0 || config->n_servers > FETCH_SERVERS_MAX)
                return -EINVAL;
        struct fetch *f = calloc(1, sizeof *f);
        if (!f)
                return -ENOMEM;
        f->loop = loop;
        f->config = *config;
        f->config.servers = NULL;
        f->config.timeout = config->timeout ? config->timeout : SERVER_TIMEOUT;
        f->config.key = strdup(config->key);
        bool whole = f->config.key != NULL;
        for (; whole && f->n_servers < config->n_servers; f->n_servers++) {
                const struct fetch_server *s = &config->servers[f->n_servers];
                f->servers[f->n_servers] = (struct server){strdup(s->host), s->port ? s->port : FETCH_PORT};
                whole = f->servers[f->n_servers].host != NULL;
        }
        if (!whole) {
                fetch_destroy(f);
                return -ENOMEM;
        }
        *ret = f;
        return 0;
}

#define STOP_INTERVAL (10 * NS_PER_MSEC)

struct fetch *fetch_free(struct fibre *self, struct fetch *f)
{
        if (!f)
                return NULL;
        f->closing = true;
        f->client = rpc_client_free(f->client);
        wake(f);
        while (f->keeping)
                fibre_sleep(self, STOP_INTERVAL);
        fetch_destroy(f);
        return NULL;
}
