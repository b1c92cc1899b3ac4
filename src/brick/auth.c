/* Who may use a brick: the address module and the login module (spec: wire.md §5.5). Pure functions.
 *
 * An address list is "ENTRY,ENTRY…"; an entry is an address, a pattern (fnmatch), a network "10.0.0.0/8", or
 * "/DIR(ENTRY|ENTRY)", which decides about mounts of that sub-directory alone: in the list of who is allowed in place of
 * the other entries, in the list of who is rejected beside them. Names in lists were replaced by
 * addresses when the brick was attached; a name that is still there matches only itself.
 */
#include <arpa/inet.h>
#include <fnmatch.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>

#include "base/log.h"
#include "brick/server.h"

#define ENTRY_MAX BRICK_OPTION_TEXT_MAX /* a list may be one entry */

/* ---- one address ------------------------------------------------------------------------------------------------- */

struct network {
        uint8_t bytes[16];
        unsigned bits;
};

/* IPv4 counts as ::ffff:a.b.c.d. */
static bool address_bytes(const char *text, uint8_t bytes[static 16], unsigned *ret_offset)
{
        memset(bytes, 0, 16);
        *ret_offset = 0;
        if (inet_pton(AF_INET6, text, bytes) == 1)
                return true;
        bytes[10] = bytes[11] = 0xff;
        *ret_offset = 96;
        return inet_pton(AF_INET, text, bytes + 12) == 1;
}

static bool network_parse(const char *text, struct network *ret)
{
        char address[INET6_ADDRSTRLEN + 1];
        const char *slash = strchr(text, '/');
        if (!slash || (size_t)(slash - text) >= sizeof address)
                return false;
        memcpy(address, text, (size_t)(slash - text));
        address[slash - text] = '\0';
        unsigned offset;
        if (!address_bytes(address, ret->bytes, &offset))
                return false;
        char *end;
        unsigned long bits = strtoul(slash + 1, &end, 10);
        if (end == slash + 1 || *end || bits > 128 - offset)
                return false;
        ret->bits = (unsigned)bits + offset;
        return true;
}

static bool network_contains(const struct network *n, const char *peer)
{
        uint8_t bytes[16];
        unsigned offset;
        if (!address_bytes(peer, bytes, &offset) || memcmp(bytes, n->bytes, n->bits / 8) != 0)
                return false;
        unsigned rest = n->bits % 8;
        uint8_t mask = (uint8_t)(0xff << (8 - rest));
        return rest == 0 || (bytes[n->bits / 8] & mask) == (n->bytes[n->bits / 8] & mask);
}

/* The same address, however it is written: "2001:DB8:0::1" is 2001:db8::1. */
static bool same_address(const char *a, const char *b)
{
        uint8_t x[16], y[16];
        unsigned offset;
        return address_bytes(a, x, &offset) && address_bytes(b, y, &offset) && memcmp(x, y, sizeof x) == 0;
}

static bool entry_matches(const char *entry, const char *peer)
{
        struct network n;
        if (network_parse(entry, &n))
                return network_contains(&n, peer);
        return same_address(entry, peer) || fnmatch(entry, peer, 0) == 0;
}

/* ---- lists
 * --------------------------------------------------------------------------------------------------------------------
 */

/* Copies the next piece of *AT, up to SEPARATOR, without blanks around it. False at the end. */
static bool next_piece(const char **at, const char *stop, char separator, char ret[static ENTRY_MAX])
{
        const char *p = *at;
        if (p >= stop)
                return false;
        const char *end = p;
        for (unsigned depth = 0; end < stop && (*end != separator || depth > 0); end++)
                depth += *end == '(' ? 1 : *end == ')' && depth > 0 ? -1u : 0;
        *at = end + 1;
        while (p < end && *p == ' ')
                p++;
        while (end > p && end[-1] == ' ')
                end--;
        size_t len = MIN((size_t)(end - p), (size_t)ENTRY_MAX - 1);
        memcpy(ret, p, len);
        ret[len] = '\0';
        return true;
}

/* "/DIR(A|B)": does one of the addresses match? */
static bool group_matches(const char *group, const char *peer)
{
        const char *at = group, *stop = group + strlen(group);
        if (stop > at && stop[-1] == ')')
                stop--;
        char entry[ENTRY_MAX];
        while (next_piece(&at, stop, '|', entry))
                if (entry_matches(entry, peer))
                        return true;
        return false;
}

/* The same directory, however many slashes it is written with. */
static bool same_dir(const char *a, const char *b)
{
        for (;;) {
                a += strspn(a, "/");
                b += strspn(b, "/");
                size_t n = strcspn(a, "/");
                if (n != strcspn(b, "/") || memcmp(a, b, n) != 0)
                        return false;
                if (n == 0)
                        return true;
                a += n;
                b += n;
        }
}

/* Splits "/DIR(…" into DIR and what stands in the parentheses; false if ENTRY is a plain one. */
static bool entry_split(char *entry, const char **ret_group)
{
        char *open = entry[0] == '/' ? strchr(entry, '(') : NULL;
        if (!open)
                return false;
        *open = '\0';
        *ret_group = open + 1;
        return true;
}

struct match {
        bool plain;        /* an entry for every mount */
        bool own, has_own; /* an entry for this very sub-directory; there is one, whether it matches or not */
};

static struct match list_match(const char *list, const char *peer, const char *subdir)
{
        struct match m = {0};
        char entry[ENTRY_MAX];
        const char *at = list, *group, *stop = list + strlen(list);
        while (next_piece(&at, stop, ',', entry)) {
                if (!*entry)
                        continue;
                if (!entry_split(entry, &group)) {
                        m.plain |= entry_matches(entry, peer);
                } else if (same_dir(entry, subdir ? subdir : "/")) {
                        m.has_own = true;
                        m.own |= group_matches(group, peer);
                }
        }
        return m;
}

enum auth_verdict auth_address(const char *allow, const char *reject, const char *peer, const char *subdir)
{
        const struct match no = list_match(reject, peer, subdir), yes = list_match(allow, peer, subdir);
        if (no.plain || no.own)
                return AUTH_REJECT;
        return (yes.has_own ? yes.own : yes.plain) ? AUTH_ACCEPT : AUTH_UNDECIDED;
}

/* ---- host names -------------------------------------------------------------------------------------------------- */

#define LIST_MARKS ",|()"

static bool is_host_name(const char *entry)
{
        uint8_t bytes[16];
        unsigned offset;
        return *entry && !strpbrk(entry, "*?[/ ") && !address_bytes(entry, bytes, &offset);
}

/* Appends MARK and each address of NAME. */
static void append_addresses(struct buf *b, const char *name, char mark)
{
        const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
        struct addrinfo *found;
        int r = getaddrinfo(name, NULL, &hints, &found);
        if (r != 0) {
                log_warning("auth", "The host name %s in an address list cannot be resolved (%s): it means nobody until "
                            "the brick is attached again.", name, gai_strerror(r));
                return;
        }
        for (const struct addrinfo *a = found; a; a = a->ai_next) {
                char text[INET6_ADDRSTRLEN];
                if (getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST) == 0)
                        (void)buf_printf(b, "%c%s", mark, text);
        }
        freeaddrinfo(found);
}

void auth_resolve(char list[static BRICK_OPTION_TEXT_MAX])
{
        _cleanup_buf_ struct buf b = BUF_INIT(BRICK_OPTION_TEXT_MAX);
        bool in_group = false;
        for (const char *p = list; *p;) {
                char entry[ENTRY_MAX];
                size_t len = strcspn(p, LIST_MARKS);
                (void)buf_append(&b, p, len);
                if (len < sizeof entry) {
                        memcpy(entry, p, len);
                        entry[len] = '\0';
                        if (is_host_name(entry))
                                append_addresses(&b, entry, in_group ? '|' : ',');
                }
                p += len;
                if (!*p)
                        break;
                in_group = *p == '(' || (in_group && *p != ')');
                (void)buf_append(&b, p++, 1);
        }
        const char *text = buf_cstr(&b);
        if (text && b.len < BRICK_OPTION_TEXT_MAX)
                memcpy(list, text, b.len + 1);
        else
                log_warning("auth", "The address list %.60s... is too long with the addresses of its host names in their "
                            "place: the names mean nobody.", list);
}

/* ---- both modules ------------------------------------------------------------------------------------------------ */

/* Takes the same time wherever the difference is. */
static bool secret_equal(const char *a, const char *b)
{
        size_t n = strlen(a), m = strlen(b);
        unsigned differ = n != m;
        for (size_t i = 0; i < n; i++)
                differ |= (unsigned)(a[i] ^ (i < m ? b[i] : 0));
        return differ == 0;
}

static bool login_is_valid(const struct brick_options *o, const char *username, const char *password)
{
        if (!username || !password || !*o->auth_user || !*o->auth_password)
                return false;
        bool user = secret_equal(username, o->auth_user);
        bool secret = secret_equal(password, o->auth_password);
        return user && secret;
}

enum auth_verdict auth_certificate(const char *list, const char *certificate)
{
        char entry[ENTRY_MAX];
        const char *at = list, *stop = list + strlen(list);
        if (!certificate || !*list)
                return AUTH_UNDECIDED;
        while (next_piece(&at, stop, ',', entry))
                if (*entry && *certificate && fnmatch(entry, certificate, 0) == 0)
                        return AUTH_ACCEPT;
        return AUTH_REJECT;
}

bool auth_login(const struct export_config *config, const char *username, const char *password)
{
        return login_is_valid(&config->options, username, password);
}

bool auth_check(const struct export_config *config, const struct auth_client *client)
{
        const struct brick_options *o = &config->options;
        enum auth_verdict address = auth_address(o->auth_allow, o->auth_reject, client->peer, client->subdir);
        enum auth_verdict certificate = auth_certificate(o->auth_ssl_allow, client->certificate);
        if (address == AUTH_REJECT || certificate == AUTH_REJECT)
                return false;
        bool known = client->trusted || certificate == AUTH_ACCEPT;
        return known || (address == AUTH_ACCEPT && !config->strict_auth);
}
