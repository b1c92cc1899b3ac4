/* Checks the forms of address lists and priority lists; see address.h. What counts as an address was found by trying
 * values on a stock daemon. Pure functions, any thread.
 */
#include "volfile/address.h"

#include <arpa/inet.h>
#include <ctype.h>

enum { ADDRESS_MAX = 255 };

/* A stretch of the text under examination. */
struct part {
        const char *text;
        size_t len;
};

typedef bool part_fn(struct part p);

static bool is_host_name(struct part p)
{
        if (p.len == 0 || p.text[0] == '-' || p.text[p.len - 1] == '-' || p.text[p.len - 1] == '.')
                return false;
        for (size_t i = 0; i < p.len; i++) {
                if (!isalnum((unsigned char)p.text[i]) && p.text[i] != '-' && p.text[i] != '.')
                        return false;
                if (i > 0 && p.text[i] == '.' && p.text[i - 1] == '.')
                        return false;
        }
        return true;
}

/* Numbers up to 255 and '*' between points: "10.0.*", "10.*.0.1". */
static bool is_pattern(struct part p)
{
        unsigned number = 0;
        bool digits = false, star = false;
        size_t fields = 1;
        for (size_t i = 0; i < p.len; i++) {
                char c = p.text[i];
                if (c == '.' && (digits || star)) {
                        digits = star = false;
                        number = 0;
                        fields++;
                } else if (c == '*' && !digits && !star) {
                        star = true;
                } else if (isdigit((unsigned char)c) && !star && number <= 25) {
                        digits = true;
                        number = number * 10 + (unsigned)(c - '0');
                } else {
                        return false;
                }
        }
        return fields <= 4 && number <= 255 && (digits || star);
}

static bool is_network(struct part p)
{
        const char *slash = memchr(p.text, '/', p.len);
        if (!slash)
                return false;
        char address[INET_ADDRSTRLEN];
        size_t len = (size_t)(slash - p.text);
        if (len >= sizeof address)
                return false;
        memcpy(address, p.text, len);
        address[len] = '\0';
        struct in_addr ignored;
        if (inet_pton(AF_INET, address, &ignored) != 1)
                return false;

        unsigned bits = 0;
        size_t digits = p.len - len - 1;
        if (digits < 1 || digits > 2)
                return false;
        for (size_t i = 1; i <= digits; i++) {
                if (!isdigit((unsigned char)slash[i]))
                        return false;
                bits = bits * 10 + (unsigned)(slash[i] - '0');
        }
        return bits >= 1 && bits <= 32;
}

static bool is_ipv6(struct part p)
{
        char address[INET6_ADDRSTRLEN];
        if (p.len >= sizeof address)
                return false;
        memcpy(address, p.text, p.len);
        address[p.len] = '\0';
        struct in6_addr ignored;
        return inet_pton(AF_INET6, address, &ignored) == 1;
}

static bool is_address(struct part p)
{
        return p.len > 0 && p.len <= ADDRESS_MAX && (is_pattern(p) || is_network(p) || is_ipv6(p) || is_host_name(p));
}

static bool is_address_or_empty(struct part p)
{
        return p.len == 0 || is_address(p);
}

/* Whether all parts between separators pass. */
static bool all_parts(struct part list, char separator, part_fn *check)
{
        size_t begin = 0;
        for (size_t i = 0; i <= list.len; i++) {
                if (i < list.len && list.text[i] != separator)
                        continue;
                if (!check((struct part){list.text + begin, i - begin}))
                        return false;
                begin = i + 1;
        }
        return true;
}

/* "/DIR(ADDRESS|ADDRESS)" */
static bool is_directory_rule(struct part p)
{
        const char *open = memchr(p.text, '(', p.len);
        if (p.len == 0 || p.text[0] != '/' || !open || p.text[p.len - 1] != ')')
                return false;
        struct part addresses = {open + 1, p.len - (size_t)(open + 1 - p.text) - 1};
        return all_parts(addresses, '|', is_address);
}

bool address_list_is_valid(const char *text)
{
        struct part all = {text, strlen(text)};
        if (all.len == 0)
                return false;
        return all_parts(all, ',', text[0] == '/' ? is_directory_rule : is_address_or_empty);
}

static bool is_priority(struct part p)
{
        if (p.len == 0)
                return true;
        size_t digits = 0;
        while (digits < p.len && isdigit((unsigned char)p.text[p.len - 1 - digits]))
                digits++;
        return digits >= 1 && digits <= 9 && p.len >= digits + 2 && p.text[p.len - 1 - digits] == ':';
}

bool priority_list_is_valid(const char *text)
{
        return all_parts((struct part){text, strlen(text)}, ',', is_priority);
}
