/* See secure_access.h. Looking whether a certificate was replaced reads a few small files of the system's own disk on
 * the loop, at most once a second and only when somebody connects.
 */
#include "rpc/secure_access.h"

#include <stdio.h>

#include "base/log.h"
#include "rpc/tls_stream.h"

#define COMPONENT "clients"
#define BLANKS " \t\r\n"
#define LINE_MAX_BYTES (2 * TLS_TEXT_MAX)

/* "option NAME VALUE"; anything else is for other programs. */
static int read_line(struct tls_settings *settings, char *line, struct error *e)
{
        char *rest = NULL;
        const char *word = strtok_r(line, BLANKS, &rest);
        if (!word || !streq(word, "option"))
                return 0;
        const char *name = strtok_r(NULL, BLANKS, &rest), *value = strtok_r(NULL, BLANKS, &rest);
        if (!name || !value)
                return 0;
        int r = tls_settings_set(settings, name, value, e);
        return r == -ENOENT ? 0 : r;
}

static int read_settings(FILE *f, struct tls_settings *settings, struct error *e)
{
        char line[LINE_MAX_BYTES];
        int r = 0;
        while (r == 0 && fgets(line, sizeof line, f))
                r = read_line(settings, line, e);
        return r;
}

int secure_access_load(struct secure_access *s, const char *path, struct error *e)
{
        struct tls_settings settings = {0};
        struct tls_context *context;
        FILE *f = fopen(path, "re");
        if (!f && (errno == ENOENT || errno == ENOTDIR))
                return 0;
        if (!f)
                return error_set(e, -errno, "%s: %s", path, strerror(errno));
        int r = read_settings(f, &settings, e);
        (void)fclose(f);
        if (r == 0)
                r = tls_context_load(&settings, &context, e);
        if (r < 0) {
                error_prefix(e, "management is to be encrypted because %s exists", path);
                return r;
        }
        s->on = true;
        tls_source_set(&s->source, &settings, context);
        if (*tls_context_warning(context))
                log_warning(COMPONENT, "%s", tls_context_warning(context));
        log_notice(COMPONENT, "management connections are encrypted, because %s exists", path);
        return 0;
}

static void refresh(struct secure_access *s, uint64_t now)
{
        switch (tls_source_refresh(&s->source, now)) {
        case TLS_SOURCE_SAME:
                return;
        case TLS_SOURCE_READ_AGAIN:
                log_notice(COMPONENT, "the TLS files have changed and were read again");
                return;
        case TLS_SOURCE_FAILED:
                log_error(COMPONENT, "the TLS files have changed and cannot be used; the former ones stay in use. %s",
                          s->source.error.text);
        }
}

static void client_failed(const char *peer, const char *why, void *arg)
{
        log_warning(COMPONENT, "client %s was turned away: %s", peer, why);
}

int secure_access_wrap(struct secure_access *s, struct stream *accepted, struct stream **ret)
{
        if (!s->on) {
                *ret = accepted;
                return 0;
        }
        refresh(s, loop_now(accepted->loop));
        const struct tls_stream_config config = {
                .context = s->source.context, .side = TLS_SERVER, .on_failure = client_failed};
        return tls_stream_new(accepted, &config, ret);
}
