/* See secure.h. Looking whether a certificate was replaced reads a few small files on the loop, at most once a second
 * and only when a connection is made. */
#include "volume/secure.h"

#include "base/log.h"

int secure_connect(struct tls_source *source, const char *component, struct stream *connecting,
                   void (*on_failure)(const char *peer, const char *why, void *arg), void *arg, struct stream **ret)
{
        if (tls_source_refresh(source, loop_now(connecting->loop)) == TLS_SOURCE_FAILED)
                log_error(component, "the TLS files have changed and cannot be used; the former ones stay in use. %s",
                          source->error.text);
        const struct tls_stream_config config = {
                .context = source->context, .side = TLS_CLIENT, .on_failure = on_failure, .arg = arg};
        return tls_stream_new(connecting, &config, ret);
}
