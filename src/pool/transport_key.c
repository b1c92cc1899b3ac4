/* See transport_key.h. Reads the text line by line: it was generated here. */
#include "pool/transport_key.h"

#include "rpc/tls.h"

#define OPTION "option " TLS_OPTION_PREFIX
#define ENABLED "option " TLS_OPTION_ENABLED " "

/* FNV-1a. */
static uint64_t hash_more(uint64_t h, const char *text, size_t len)
{
        for (size_t i = 0; i < len; i++)
                h = (h ^ (unsigned char)text[i]) * 0x100000001b3u;
        return h;
}

static bool says_on(const char *value, size_t len)
{
        static const char *const yes[] = {"on", "yes", "true", "enable", "1"};
        for (size_t i = 0; i < ELEMENTSOF(yes); i++)
                if (strlen(yes[i]) == len && strncasecmp(yes[i], value, len) == 0)
                        return true;
        return false;
}

uint64_t transport_key(const char *volfile)
{
        uint64_t h = 0xcbf29ce484222325u;
        bool on = false;
        for (const char *line = volfile; *line;) {
                line += strspn(line, " \t");
                size_t len = strcspn(line, "\n");
                if (starts_with(line, ENABLED))
                        on = says_on(line + strlen(ENABLED), len - strlen(ENABLED));
                else if (starts_with(line, OPTION))
                        h = hash_more(h, line, len + 1);
                line += len + (line[len] == '\n');
        }
        return on ? (h ? h : 1) : 0;
}
