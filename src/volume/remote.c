/* One brick as a layer of the graph (remote.h): its options, and its operations, which all go through remote_call().
 *
 * Thread: the loop's.
 */
#include "volume/remote.h"

#include "base/log.h"
#include "volfile/option.h"
#include "volume/afr.h"
#include "volume/translator.h"

/* ---- options --------------------------------------------------------------------------------------------------- */

static int read_family(const struct volfile_section *s, struct remote_options *o, struct error *err)
{
        const char *family = section_option(s, "transport.address-family");
        if (!family || streq(family, "unspec") || streq(family, "inet/inet6") || streq(family, "inet6/inet"))
                o->family = AF_UNSPEC;
        else if (streq(family, "inet"))
                o->family = AF_INET;
        else if (streq(family, "inet6"))
                o->family = AF_INET6;
        else
                return error_set(
                        err, -EOPNOTSUPP,
                        "Section %s: this client does not have the address family %s. Use the stock client for "
                        "this volume.",
                        s->name, family);
        return 0;
}

static int read_transport(const struct volfile_section *s, struct error *err)
{
        const char *transport = section_option(s, "transport-type");
        if (!transport || streq(transport, "tcp") || streq(transport, "socket"))
                return 0;
        return error_set(err, -EOPNOTSUPP,
                         "Section %s: this client does not have the transport %s, it has tcp. Use the stock client for "
                         "this volume.",
                         s->name, transport);
}

static int read_place(const struct volfile_section *s, struct remote_options *o, struct error *err)
{
        uint64_t port = 0;
        o->host = section_option(s, "remote-host");
        o->path = section_option(s, "remote-subvolume");
        if (!o->host || !*o->host || !o->path || !*o->path)
                return error_set(err, -EINVAL, "Section %s of the volfile does not say which brick it means.", s->name);
        const char *text = section_option(s, "remote-port");
        if (text && (option_u64(text, &port) < 0 || port == 0 || port > UINT16_MAX))
                return error_set(err, -EINVAL, "Section %s: %s is no port.", s->name, text);
        o->port = (uint16_t)port;
        int r = read_family(s, o, err);
        return r < 0 ? r : read_transport(s, err);
}

/* Option NAME, OTHERWISE where there is none. Texts that are no boolean are refused. */
static int read_bool(const struct volfile_section *s, const char *name, bool otherwise, bool *ret, struct error *err)
{
        *ret = otherwise;
        const char *text = section_option(s, name);
        if (!text || option_bool(text, ret) == 0)
                return 0;
        return error_set(err, -EINVAL, "Section %s: option %s cannot be %s.", s->name, name, text);
}

static int read_seconds(const struct volfile_section *s, const char *name, uint32_t otherwise, uint64_t *ret,
                        struct error *err)
{
        uint32_t seconds = otherwise;
        const char *text = section_option(s, name);
        if (text && option_time(text, &seconds) < 0)
                return error_set(err, -EINVAL, "Section %s: option %s cannot be %s.", s->name, name, text);
        *ret = seconds * NS_PER_SEC;
        return 0;
}

static int read_tls(const struct volfile_section *s, struct remote_options *o, struct error *err)
{
        int r = read_bool(s, TLS_OPTION_ENABLED, false, &o->tls, err);
        for (size_t i = 0; r == 0 && i < s->n_options; i++) {
                if (starts_with(s->options[i].key, TLS_OPTION_PREFIX))
                        r = tls_settings_set(&o->tls_settings, s->options[i].key, s->options[i].value, err);
                if (r == -ENOENT)
                        r = 0; /* not one of those */
        }
        return r;
}

#define PING_SECONDS 42
#define FRAME_SECONDS 1800

static int read_options(const struct volfile_section *s, struct remote_options *ret, struct error *err)
{
        struct remote_options o = {0};
        int r = read_place(s, &o, err);
        if (r == 0)
                r = read_seconds(s, "ping-timeout", PING_SECONDS, &o.ping_timeout, err);
        if (r == 0)
                r = read_seconds(s, "frame-timeout", FRAME_SECONDS, &o.frame_timeout, err);
        if (r == 0)
                r = read_bool(s, "send-gids", true, &o.send_gids, err);
        if (r == 0)
                r = read_bool(s, "strict-locks", false, &o.strict_locks, err);
        if (r == 0)
                r = read_bool(s, "filter-O_DIRECT", false, &o.filter_direct, err);
        if (r == 0)
                r = read_bool(s, "client-bind-insecure", true, &o.bind_insecure, err);
        if (r == 0)
                r = read_bool(s, "mortar.chain", true, &o.chain, err);
        if (r == 0)
                r = read_bool(s, "mortar.cache-invalidation", false, &o.cache_invalidation, err);
        if (r == 0)
                r = read_bool(s, "local-reads", true, &o.local_reads, err);
        if (r == 0)
                r = read_tls(s, &o, err);
        if (r == 0)
                *ret = o;
        return r;
}

/* ---- operations ------------------------------------------------------------------------------------------------ */

#define OPERATION_(NAME, name)                                                                                         \
        static int remote_##name(struct fibre *self, struct subvolume *v, struct request *r,                           \
                                 const struct name##_fop_req *req, struct name##_fop_rep *rep)                         \
        {                                                                                                              \
                return remote_call(self, remote_of(v), FOP_##NAME, r, req, rep);                                       \
        }
SUBVOLUME_FOPS(OPERATION_)

#define STRINGS_MAX (64 * KIB)

/* ---- life ------------------------------------------------------------------------------------------------------ */

static int load_tls(const struct remote_options *o, struct remote *m, struct error *err)
{
        struct tls_context *context;
        if (!o->tls)
                return 0;
        int r = tls_context_load(&o->tls_settings, &context, err);
        if (r < 0) {
                error_prefix(err, "Volume option client.ssl is on");
                return r;
        }
        tls_source_done(&m->tls);
        tls_source_set(&m->tls, &o->tls_settings, context);
        return 0;
}

static bool same_place(const struct remote_options *a, const struct remote_options *b)
{
        return streq(a->host, b->host) && streq(a->path, b->path);
}

/* Timeouts are those of connections made from now on. */
static int remote_reconfigure(struct subvolume *v, const struct volfile_section *section, struct error *err)
{
        struct remote *m = remote_of(v);
        struct remote_options o;
        int r = read_options(section, &o, err);
        if (r < 0)
                return r;
        if (!same_place(&o, &m->options))
                return error_set(err, -EOPNOTSUPP,
                                 "Brick %s:%s was replaced by %s:%s. Unmount the volume and mount it again.",
                                 m->options.host, m->options.path, o.host, o.path);
        r = load_tls(&o, m, err);
        if (r < 0)
                return r;
        bool again = o.tls != m->options.tls || o.port != m->options.port ||
                     !tls_settings_equal(&o.tls_settings, &m->options.tls_settings);
        o.host = m->options.host;
        o.path = m->options.path;
        m->options = o;
        remote_update_tells(m);
        if (!o.local_reads)
                remote_local_end(m);
        if (again)
                remote_disconnect(m, -ECONNRESET);
        return 0;
}

static void remote_free(struct subvolume *v)
{
        struct remote *m = remote_of(v);
        tls_source_done(&m->tls);
        remote_local_end(m);
        arena_done(&m->strings);
        free(m);
}

/* What outlives the volfile it was built from. */
static int keep_strings(struct remote *m, const struct volfile_section *section)
{
        m->base.name = arena_printf(&m->strings, "%s", section->name);
        m->options.host = arena_printf(&m->strings, "%s", m->options.host);
        m->options.path = arena_printf(&m->strings, "%s", m->options.path);
        return m->base.name && m->options.host && m->options.path ? 0 : -ENOMEM;
}

#define ENTRY_(NAME, name) .name = remote_##name,
static const struct subvolume_ops remote_ops = {
        SUBVOLUME_FOPS(ENTRY_).chain = remote_chain,
        .release = remote_fd_release,
        .reconfigure = remote_reconfigure,
        .free = remote_free,
};

int remote_build(struct volume *vol, const struct volfile_section *section, struct subvolume **children,
                 unsigned n_children, struct subvolume **ret, struct error *err)
{
        struct remote *m = calloc(1, sizeof *m);
        (void)vol;
        (void)children;
        (void)n_children;
        if (!m)
                return -ENOMEM;
        m->base.ops = &remote_ops;
        m->section = section;
        m->strings = ARENA_INIT(STRINGS_MAX);
        m->turns_tail = &m->turns;
        remote_local_init(m);
        int r = read_options(section, &m->options, err);
        if (r == 0)
                r = keep_strings(m, section);
        if (r == 0)
                r = load_tls(&m->options, m, err);
        if (r < 0) {
                remote_free(&m->base);
                return r;
        }
        *ret = &m->base;
        return 0;
}

/* Whether somebody above has the same data elsewhere. */
static bool has_copies(const struct subvolume *v)
{
        for (const struct subvolume *p = v->parent; p; p = p->parent)
                if (afr_is(p))
                        return true;
        return false;
}

int remote_start(struct subvolume *v)
{
        struct remote *m = remote_of(v);
        m->replicated = has_copies(v);
        m->patient = v->volume->config.outage_wait > 0 && !m->replicated;
        int r = fibre_start(v->volume->config.loop, "connect", remote_run, m);
        m->running = r == 0;
        return r;
}

bool remote_is_at(const struct subvolume *v, const struct volfile_section *section)
{
        const struct remote *m = CONTAINER_OF(v, const struct remote, base);
        const char *host = section_option(section, "remote-host"), *path = section_option(section, "remote-subvolume");
        return v->ops == &remote_ops && host && path && streq(m->options.host, host) && streq(m->options.path, path);
}

void remote_settle_in(struct subvolume *v, const struct volfile_section *section)
{
        struct remote *m = remote_of(v);
        struct error err = {0};
        const char *name;
        if (remote_reconfigure(v, section, &err) < 0)
                log_warning(v->name, "options of brick %s:%s stay as they were: %s", m->options.host, m->options.path,
                            err.text);
        if (!streq(v->name, section->name) && (name = arena_printf(&m->strings, "%s", section->name)) != NULL)
                v->name = name;
        m->section = section;
        m->replicated = has_copies(v);
        m->patient = v->volume->config.outage_wait > 0 && !m->replicated;
        remote_update_tells(m);
        for (struct remote_fd *fd = m->fds; fd; fd = fd->next)
                fd->carried = true;
}

#define STOP_INTERVAL (10 * NS_PER_MSEC)

void remote_stop(struct fibre *self, struct subvolume *v)
{
        struct remote *m = remote_of(v);
        m->closing = true;
        remote_disconnect(m, -ESHUTDOWN);
        remote_wake(m);
        while (m->running)
                fibre_sleep(self, STOP_INTERVAL);
        remote_local_report(m);
}

const char *remote_reason(const struct subvolume *v)
{
        const struct remote *m = CONTAINER_OF(v, const struct remote, base);
        return m->reason.code ? m->reason.text : "The connection is being made.";
}

bool remote_tried(const struct subvolume *v)
{
        return v->up || CONTAINER_OF(v, const struct remote, base)->reason.code != 0;
}

bool remote_refused(const struct subvolume *v)
{
        return CONTAINER_OF(v, const struct remote, base)->refused;
}
