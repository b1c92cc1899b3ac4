/* The connection to a brick: found, made, kept, and made again for ever (remote.h; spec: wire.md §5.2–5.7).
 *
 * One fibre per brick. Each time it resolves the host's name, asks the management daemon there for the brick's port
 * (which changes when the brick is started again), connects, and introduces this client. Then descriptors are opened
 * again, and only then the layers above hear that the brick is up. Pauses between attempts grow, and are never the same
 * for two clients.
 *
 * The client object may go at any suspension: remote_stop() and a lost connection free it. So nothing here keeps a
 * pointer to it across a wait. Thread: the loop's.
 */
#include "volume/remote.h"

#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"
#include "proto/chain.h"
#include "proto/handshake.h"
#include "proto/local_read.h"
#include "volume/resolve.h"
#include "volume/secure.h"

#define LINK_ARENA_MAX MIB
#define CONNECT_TIMEOUT (10 * NS_PER_SEC)
#define ASK_TIMEOUT (10 * NS_PER_SEC)
#define PAUSE_FIRST (200 * NS_PER_MSEC)
#define PAUSE_MAX (5 * NS_PER_SEC)
#define PAUSE_GROWTH 2
#define RESERVED_PORT_FIRST 512
#define RESERVED_PORT_COUNT 512
#define RESERVED_PORT_TRIES 32
#define OP_VERSION "100000"
#define CLIENT_VERSION "mortar"

/* ---- what is up ------------------------------------------------------------------------------------------------ */

void remote_tell_index(struct remote *m)
{
        if (m->index_watched)
                subvolume_tell(&m->base,
                               &(struct subvolume_event){.kind = SUBVOLUME_INDEX, .flags = m->index_pending ? 1 : 0});
}

void remote_update_tells(struct remote *m)
{
        bool may_have_missed = m->replicated && (!m->index_watched || m->index_pending);
        subvolume_set_tells(&m->base, m->options.cache_invalidation && !may_have_missed ? m->watch_seconds : 0);
}

void remote_update_up(struct remote *m)
{
        bool was = m->base.up;
        subvolume_set_up(&m->base, m->client && m->settled && m->storage_up && !m->closing);
        if (!was && m->base.up)
                remote_tell_index(m);
}

void remote_wake(struct remote *m)
{
        if (m->pause)
                fibre_event_set(m->pause);
}

static int fail(struct remote *m, struct error *err, int error, const char *format, ...) _printf_(4, 5);
static int fail(struct remote *m, struct error *err, int error, const char *format, ...)
{
        char text[ERROR_TEXT_MAX / 2];
        va_list ap;
        va_start(ap, format);
        (void)vsnprintf(text, sizeof text, format, ap);
        va_end(ap);
        return error_set(err, error, "Brick %s:%s: %s.", m->options.host, m->options.path, text);
}

static void forget_client(struct remote *m)
{
        m->client = rpc_client_free(m->client);
        remote_local_end(m);
        m->settled = false;
        m->storage_up = false;
        remote_update_up(m);
        m->watch_seconds = 0;
        remote_update_tells(m);
        remote_wake(m);
}

void remote_disconnect(struct remote *m, int error)
{
        if (m->client && m->settled)
                (void)fail(m, &m->reason, error, "the connection was ended");
        forget_client(m);
}

static const char *loss_text(int error)
{
        return error == -ETIMEDOUT ? "it does not answer, so the connection was ended" : strerror(-error);
}

static void on_disconnect(struct rpc_client *c, int error, void *arg)
{
        struct remote *m = arg;
        if (m->client != c)
                return;
        if (m->settled) {
                (void)fail(m, &m->reason, error, "the connection was lost (%s)", loss_text(error));
                log_warning(m->base.name, "%s", m->reason.text);
        }
        forget_client(m);
}

static void on_callback(struct rpc_client *c, const struct rpc_call *call, void *arg)
{
        (void)c;
        remote_told(arg, call);
}

/* ---- TLS ------------------------------------------------------------------------------------------------------- */

static void on_tls_failure(const char *peer, const char *why, void *arg)
{
        struct remote *m = arg;
        (void)fail(m, &m->reason, -EPROTO, "no TLS with %s: %s", peer, why);
}

static int wrap_brick(struct stream *lower, void *arg, struct stream **ret)
{
        struct remote *m = arg;
        return secure_connect(&m->tls, m->base.name, lower, on_tls_failure, m, ret);
}

static int wrap_management(struct stream *lower, void *arg, struct stream **ret)
{
        struct remote *m = arg;
        return secure_connect(m->base.volume->config.management_tls, m->base.name, lower, on_tls_failure, m, ret);
}

/* ---- connecting ------------------------------------------------------------------------------------------------ */

/* A port below 1024 of the family of TO, for servers that ask for one. */
static struct address reserved_address(struct loop *loop, const struct address *to)
{
        struct address a = {0};
        uint16_t draw, port;
        loop_random(loop, &draw, sizeof draw);
        port = htons((uint16_t)(RESERVED_PORT_FIRST + draw % RESERVED_PORT_COUNT));
        if (to->sa.ss_family == AF_INET6) {
                struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&a.sa;
                *in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = port};
                a.len = sizeof *in6;
        } else {
                struct sockaddr_in *in = (struct sockaddr_in *)&a.sa;
                *in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = port};
                a.len = sizeof *in;
        }
        return a;
}

static int connect_from(struct fibre *self, struct remote *m, struct rpc_client_config *config, struct rpc_client **ret)
{
        if (m->options.bind_insecure)
                return rpc_client_connect(self, config, ret);
        int r = -EADDRINUSE;
        for (unsigned i = 0; r == -EADDRINUSE && i < RESERVED_PORT_TRIES && !m->closing; i++) {
                const struct address from = reserved_address(fibre_loop(self), &config->to);
                config->from = &from;
                r = rpc_client_connect(self, config, ret);
                config->from = NULL;
        }
        return r;
}

/* Connects to CONFIG's address as m->client, in place of what was there. */
static int connect_to(struct fibre *self, struct remote *m, struct rpc_client_config *config, const char *what,
                      struct error *err)
{
        struct rpc_client *c = NULL;
        char address[ADDRESS_TEXT_MAX];
        m->client = rpc_client_free(m->client);
        m->reason.code = 0; /* a TLS failure is told there */
        int r = connect_from(self, m, config, &c);
        if (r < 0 && m->reason.code) {
                *err = m->reason;
                return r;
        }
        if (r < 0)
                return fail(m, err, r, "no connection to %s at %s: %s", what, address_format(&config->to, address),
                            strerror(-r));
        m->client = c;
        if (m->closing) {
                forget_client(m);
                return -ECANCELED;
        }
        return 0;
}

/* A call of the small programs. */
static int ask(struct fibre *self, struct remote *m, uint32_t prog, uint32_t vers, uint32_t proc,
               const struct msg_desc *req_desc, const void *req, const struct msg_desc *rep_desc, void *rep,
               struct arena *arena)
{
        static const struct rpc_cred v3 = {.flavour = RPC_AUTH_GLUSTERFS_V3, .owner_len = 4};
        bool introduces = prog == HANDSHAKE_PROGRAM;
        if (!m->client)
                return -ENOTCONN;
        return rpc_client_call(self, m->client, prog, vers, proc, introduces ? &v3 : NULL, req_desc, req, rep_desc, rep,
                               arena);
}

static int ask_programs(struct fibre *self, struct remote *m, const char *whom, struct arena *arena,
                        struct dump_rep *ret, struct error *err)
{
        const struct dump_req req = {.gfs_id = DUMP_GFS_ID};
        int r = ask(self, m, DUMP_PROGRAM, DUMP_VERSION, DUMP_DUMP, &dump_req_desc, &req, &dump_rep_desc, ret, arena);
        return r < 0 ? fail(m, err, r, "%s does not say what it serves: %s", whom, strerror(-r)) : 0;
}

static bool has_program(const struct dump_rep *d, uint32_t number, uint32_t version)
{
        for (uint32_t i = 0; i < d->programs.n; i++)
                if (d->programs.v[i].number == number && d->programs.v[i].version == version)
                        return true;
        return false;
}

/* ---- the port -------------------------------------------------------------------------------------------------- */

static int read_port(struct remote *m, const struct portbybrick_rep *rep, uint16_t *ret, struct error *err)
{
        if (rep->op_ret < 0 || rep->port == 0)
                return fail(m, err, -ENOENT, "the management daemon there says that it is not running");
        if (rep->port < 0 || rep->port > UINT16_MAX)
                return fail(m, err, -EPROTO, "the management daemon there gives the impossible port %d", rep->port);
        *ret = (uint16_t)rep->port;
        return 0;
}

static int ask_port_connected(struct fibre *self, struct remote *m, const struct address *at, uint16_t *ret,
                              struct error *err)
{
        _cleanup_arena_ struct arena arena = ARENA_INIT(LINK_ARENA_MAX);
        struct dump_rep programs;
        struct portbybrick_rep rep;
        const struct portbybrick_req req = {.brick = str_of(m->options.path)};
        int r = ask_programs(self, m, "the management daemon", &arena, &programs, err);
        if (r < 0)
                return r;
        if (!has_program(&programs, PORTMAP_PROGRAM, PORTMAP_VERSION)) {
                *ret = address_port(at); /* it is a brick itself */
                return 0;
        }
        r = ask(self, m, PORTMAP_PROGRAM, PORTMAP_VERSION, PORTMAP_PORTBYBRICK, &portbybrick_req_desc, &req,
                &portbybrick_rep_desc, &rep, &arena);
        if (r < 0)
                return fail(m, err, r, "the management daemon there does not tell its port: %s", strerror(-r));
        return read_port(m, &rep, ret, err);
}

static int ask_port(struct fibre *self, struct remote *m, const struct address *at, uint16_t *ret, struct error *err)
{
        struct rpc_client_config config = {
                .to = *at,
                .connect_timeout = CONNECT_TIMEOUT,
                .call_timeout = ASK_TIMEOUT,
                .on_disconnect = on_disconnect,
                .wrap = m->base.volume->config.management_tls ? wrap_management : NULL,
                .cancelled = &m->closing,
                .arg = m,
        };
        int r = connect_to(self, m, &config, "the management daemon", err);
        if (r == 0)
                r = ask_port_connected(self, m, at, ret, err);
        m->client = rpc_client_free(m->client);
        return r;
}

/* ---- SETVOLUME ------------------------------------------------------------------------------------------------- */

static const char *process_name(int32_t pid)
{
        return pid == PID_SELF_HEAL ? "glustershd" : pid == PID_REBALANCE ? "rebalance" : pid < 0 ? "glfsheal" : "fuse";
}

struct introduction {
        struct dict *dict;
        struct arena *arena;
        int error;
};

static void say(struct introduction *i, const char *key, const char *value)
{
        if (i->error == 0 && value)
                i->error = dict_add_str(i->dict, i->arena, key, value);
}

/* What the brick must know, with all options of the section as stock sends them. */
static int introduce(struct remote *m, struct arena *arena, struct dict *ret)
{
        const struct volume_config *config = &m->base.volume->config;
        struct introduction i = {.dict = ret, .arena = arena};
        char *uuid = arena_printf(arena, "%s-PC_NAME:%s-RECON_NO:-%llu", config->process_uuid, m->base.name,
                                  (unsigned long long)m->base.volume->handshakes++);
        if (!uuid)
                return -ENOMEM;
        *ret = (struct dict){0};
        say(&i, "opversion", OP_VERSION);
        say(&i, "clnt-lk-version", "1");
        say(&i, "volfile-checksum", "0");
        say(&i, "volfile-key", config->name);
        say(&i, "client-version", CLIENT_VERSION);
        say(&i, "process-name", process_name(config->pid));
        say(&i, "process-uuid", uuid);
        say(&i, "fops-version", "1298437");
        say(&i, "subdir-mount", config->subdir);
        say(&i, "volume-id", *m->volume_id ? m->volume_id : NULL);
        say(&i, LOCAL_READ_ASK, remote_local_wanted(m) ? "1" : NULL);
        for (size_t k = 0; k < m->section->n_options; k++)
                say(&i, m->section->options[k].key, m->section->options[k].value);
        return i.error;
}

static const char *text_in(const struct dict *d, struct arena *a, const char *key, const char *otherwise)
{
        struct str s;
        return dict_get_str(d, a, key, &s) == 0 ? s.s : otherwise;
}

static int read_refusal(struct remote *m, const struct setvolume_rep *rep, struct arena *a, struct error *err)
{
        bool wrong_directory = rep->op_errno == ENOENT && m->base.volume->config.subdir &&
                               strstr(text_in(&rep->dict, a, "ERROR", ""), "subdirectory");
        m->refused = rep->op_errno == EACCES || wrong_directory;
        return fail(m, err, rep->op_errno > 0 ? -rep->op_errno : -EIO, "it refuses this client: %s",
                    text_in(&rep->dict, a, "ERROR", strerror(rep->op_errno > 0 ? rep->op_errno : EIO)));
}

static int read_volume_id(struct remote *m, const char *id, struct error *err)
{
        struct gfid parsed;
        if (!id || gfid_parse(id, strlen(id), &parsed) < 0)
                return 0;
        if (*m->volume_id && !streq(m->volume_id, gfid_format(&parsed, (char[GFID_TEXT_LEN + 1]){0})))
                return fail(m, err, -EINVAL, "it now belongs to another volume, with id %s", id);
        gfid_format(&parsed, m->volume_id);
        return 0;
}

static int read_welcome(struct remote *m, const struct setvolume_rep *rep, struct arena *a, struct error *err)
{
        if (rep->op_ret < 0)
                return read_refusal(m, rep, a, err);
        int r = read_volume_id(m, text_in(&rep->dict, a, "volume-id", NULL), err);
        if (r < 0)
                return r;
        const char *instance = text_in(&rep->dict, a, "process-uuid", "");
        if (!streq(instance, m->instance)) {
                (void)snprintf(m->instance, sizeof m->instance, "%s", instance);
                m->instances++;
        }
        m->refused = false;
        m->storage_up = !streq(text_in(&rep->dict, a, "child_up", "1"), "0");
        m->session++;
        remote_local_begin(m, text_in(&rep->dict, a, LOCAL_READ_SOCKET, NULL),
                           text_in(&rep->dict, a, LOCAL_READ_TOKEN, NULL));
        return 0;
}

static int set_volume(struct fibre *self, struct remote *m, struct error *err)
{
        _cleanup_arena_ struct arena arena = ARENA_INIT(LINK_ARENA_MAX);
        struct dump_rep programs;
        struct setvolume_req req;
        struct setvolume_rep rep;
        int r = ask_programs(self, m, "it", &arena, &programs, err);
        if (r < 0)
                return r;
        if (!has_program(&programs, FOP_PROGRAM, FOP_VERSION))
                return fail(m, err, -EPROTO, "it is too old: it does not serve version 4 of the protocol");
        m->chains = has_program(&programs, CHAIN_PROGRAM, CHAIN_VERSION);
        m->base.chains = m->chains && m->options.chain;
        r = introduce(m, &arena, &req.dict);
        if (r == 0)
                r = ask(self, m, HANDSHAKE_PROGRAM, HANDSHAKE_VERSION, HANDSHAKE_SETVOLUME, &setvolume_req_desc, &req,
                        &setvolume_rep_desc, &rep, &arena);
        if (r < 0)
                return fail(m, err, r, "the handshake failed: %s", strerror(-r));
        return read_welcome(m, &rep, &arena, err);
}

/* ---- the index of pending work --------------------------------------------------------------------------------- */

/* From now on it tells. What it told while its answer was on the way is newer than that. */
static int watch_index(struct fibre *self, struct remote *m, struct error *err)
{
        _cleanup_arena_ struct arena arena = ARENA_INIT(LINK_ARENA_MAX);
        struct chain_index_rep rep;
        unsigned told = m->index_told;
        m->index_watched = false;
        if (!m->chains || !m->options.chain)
                return 0;
        int r = ask(self, m, CHAIN_PROGRAM, CHAIN_VERSION, CHAIN_WATCH_INDEX, NULL, NULL, &chain_index_rep_desc, &rep,
                    &arena);
        if (r < 0)
                return r == -EPROTO ? 0 : fail(m, err, r, "it does not tell about its index: %s", strerror(-r));
        m->index_watched = rep.op_ret >= 0;
        if (m->index_told == told)
                m->index_pending = rep.pending != 0;
        return 0;
}

/* ---- what others change ---------------------------------------------------------------------------------------- */

/* Bricks that do not know the question go on as before. */
static int watch_objects(struct fibre *self, struct remote *m, struct error *err)
{
        _cleanup_arena_ struct arena arena = ARENA_INIT(LINK_ARENA_MAX);
        struct chain_objects_rep rep;
        if (!m->chains || !m->options.chain || !m->options.cache_invalidation || !m->base.volume->config.hears_changes)
                return 0;
        int r = ask(self, m, CHAIN_PROGRAM, CHAIN_VERSION, CHAIN_WATCH_OBJECTS, NULL, NULL, &chain_objects_rep_desc,
                    &rep, &arena);
        if (r == -EPROTO)
                return 0;
        if (r < 0)
                return fail(m, err, r, "it does not say whether it tells what changes: %s", strerror(-r));
        m->watch_seconds = rep.op_ret < 0 ? 0 : rep.seconds;
        remote_update_tells(m);
        return 0;
}

/* ---- all together ---------------------------------------------------------------------------------------------- */

static void set_port(struct address *a, uint16_t port)
{
        if (a->sa.ss_family == AF_INET6)
                ((struct sockaddr_in6 *)&a->sa)->sin6_port = htons(port);
        else
                ((struct sockaddr_in *)&a->sa)->sin_port = htons(port);
}

static int connect_brick(struct fibre *self, struct remote *m, const struct address *at, struct error *err)
{
        struct rpc_client_config config = {
                .to = *at,
                .connect_timeout = CONNECT_TIMEOUT,
                .call_timeout = m->options.frame_timeout,
                .ping_timeout = m->options.ping_timeout,
                .on_callback = on_callback,
                .on_disconnect = on_disconnect,
                .wrap = m->options.tls ? wrap_brick : NULL,
                .cancelled = &m->closing,
                .arg = m,
        };
        int r = connect_to(self, m, &config, "it", err);
        if (r == 0)
                r = set_volume(self, m, err);
        if (r == 0)
                r = watch_index(self, m, err);
        if (r == 0)
                r = watch_objects(self, m, err);
        if (r == 0 && remote_fds_reopen(self, m) < 0)
                r = fail(m, err, -ENOTCONN, "the connection was lost while files were opened again");
        if (r == 0 && !m->client)
                r = fail(m, err, -ENOTCONN, "the connection was lost");
        if (r < 0)
                forget_client(m);
        return r;
}

static int link_at(struct fibre *self, struct remote *m, const struct address *host, struct error *err)
{
        struct address at = *host;
        uint16_t port = m->options.port;
        int r = port ? 0 : ask_port(self, m, host, &port, err);
        if (r < 0)
                return r;
        set_port(&at, port);
        return connect_brick(self, m, &at, err);
}

/* 0: connected, introduced, descriptors open. */
static int link_up(struct fibre *self, struct remote *m, struct error *err)
{
        uint16_t management = m->base.volume->config.management_port;
        struct address hosts[RESOLVE_MAX];
        unsigned n = 0;
        uint16_t port = m->options.port ? m->options.port : management ? management : REMOTE_PORT_MANAGEMENT;
        int r = resolve_host(self, m->options.host, port, m->options.family, &m->closing, hosts, &n, err);
        if (r < 0) {
                error_prefix(err, "Brick %s:%s", m->options.host, m->options.path);
                return r;
        }
        r = -ENOENT;
        for (unsigned i = 0; r < 0 && i < n && !m->closing; i++)
                r = link_at(self, m, &hosts[i], err);
        return r;
}

/* ---- the fibre ------------------------------------------------------------------------------------------------- */

static void pause_for(struct fibre *self, struct remote *m, uint64_t time)
{
        struct fibre_event e = {0};
        if (m->closing)
                return;
        m->pause = &e;
        (void)fibre_event_wait(self, &e, time);
        m->pause = NULL;
}

static void stay_connected(struct fibre *self, struct remote *m)
{
        m->reason.code = 0;
        if (!m->storage_up)
                (void)fail(m, &m->reason, -EIO, "it says that its storage is down");
        m->settled = true;
        log_notice(m->base.name, "connected to brick %s:%s", m->options.host, m->options.path);
        remote_update_up(m);
        while (m->client && !m->closing)
                pause_for(self, m, UINT64_MAX);
}

static void note_failure(struct remote *m, const struct error *err, char last[static ERROR_TEXT_MAX])
{
        bool news = !streq(last, err->text);
        m->reason = *err;
        if (news && !m->closing)
                log_warning(m->base.name, "%s It is tried again.", err->text);
        memcpy(last, err->text, ERROR_TEXT_MAX);
        volume_state_changed(m->base.volume);
}

/* TIME, a quarter more or less. */
static uint64_t jittered(struct loop *loop, uint64_t time)
{
        uint32_t draw;
        loop_random(loop, &draw, sizeof draw);
        return time - time / 4 + draw % (time / 2);
}

static void run(struct fibre *self, struct remote *m, char last[static ERROR_TEXT_MAX])
{
        uint64_t pause = PAUSE_FIRST;
        while (!m->closing) {
                struct error err = {0};
                if (link_up(self, m, &err) == 0) {
                        stay_connected(self, m);
                        pause = PAUSE_FIRST;
                        last[0] = '\0';
                } else {
                        note_failure(m, &err, last);
                }
                pause_for(self, m, jittered(fibre_loop(self), pause));
                pause = MIN(pause * PAUSE_GROWTH, PAUSE_MAX);
        }
}

void remote_run(struct fibre *self, void *arg)
{
        struct remote *m = arg;
        char *last = calloc(1, ERROR_TEXT_MAX);
        if (last)
                run(self, m, last);
        free(last);
        m->running = false;
        volume_state_changed(m->base.volume);
}
