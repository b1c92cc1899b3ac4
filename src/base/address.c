/* Addresses as text: parsing, printing, ports. Pure functions; any thread. */
#include "base/loop.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/un.h>

static int port_parse(const char *text, uint16_t *ret)
{
        size_t n = strlen(text);
        if (n == 0 || n > 5 || strspn(text, "0123456789") != n)
                return -EINVAL;
        unsigned long port = strtoul(text, NULL, 10);
        if (port > UINT16_MAX)
                return -EINVAL;
        *ret = (uint16_t)port;
        return 0;
}

static int address_parse_unix(const char *path, struct address *ret)
{
        struct sockaddr_un un = {.sun_family = AF_UNIX};
        size_t n = strlen(path);
        if (path[0] != '/' || n >= sizeof un.sun_path)
                return -EINVAL;
        memcpy(un.sun_path, path, n + 1);

        *ret = (struct address){.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1)};
        memcpy(&ret->sa, &un, sizeof un);
        return 0;
}

static void address_set_in6(struct address *ret, const struct in6_addr *ip, uint16_t port)
{
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = *ip};
        *ret = (struct address){.len = sizeof in6};
        memcpy(&ret->sa, &in6, sizeof in6);
}

static void address_set_in(struct address *ret, const struct in_addr *ip, uint16_t port)
{
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = *ip};
        *ret = (struct address){.len = sizeof in};
        memcpy(&ret->sa, &in, sizeof in);
}

int address_parse(const char *text, struct address *ret)
{
        if (starts_with(text, "unix:"))
                return address_parse_unix(text + strlen("unix:"), ret);

        const char *colon = strrchr(text, ':');
        uint16_t port;
        if (!colon || port_parse(colon + 1, &port) < 0)
                return -EINVAL;

        char host[INET6_ADDRSTRLEN + 2];
        size_t n = (size_t)(colon - text);
        if (n == 0 || n >= sizeof host)
                return -EINVAL;
        memcpy(host, text, n);
        host[n] = 0;

        struct in6_addr ip6 = IN6ADDR_ANY_INIT;
        struct in_addr ip4;
        if (streq(host, "*")) {
                address_set_in6(ret, &ip6, port);
                return 0;
        }
        if (inet_pton(AF_INET, host, &ip4) == 1) {
                address_set_in(ret, &ip4, port);
                return 0;
        }
        if (host[0] != '[' || host[n - 1] != ']')
                return -EINVAL;
        host[n - 1] = 0;
        if (inet_pton(AF_INET6, host + 1, &ip6) != 1)
                return -EINVAL;
        address_set_in6(ret, &ip6, port);
        return 0;
}

static const char *address_format_in6(const struct sockaddr_in6 *in6, char buf[static ADDRESS_TEXT_MAX])
{
        char ip[INET6_ADDRSTRLEN] = "";
        unsigned port = ntohs(in6->sin6_port);
        (void)inet_ntop(AF_INET6, &in6->sin6_addr, ip, sizeof ip);
        if (IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr))
                (void)snprintf(buf, ADDRESS_TEXT_MAX, "*:%u", port);
        else
                (void)snprintf(buf, ADDRESS_TEXT_MAX, "[%s]:%u", ip, port);
        return buf;
}

const char *address_format(const struct address *a, char buf[static ADDRESS_TEXT_MAX])
{
        if (a->sa.ss_family == AF_INET6)
                return address_format_in6((const struct sockaddr_in6 *)&a->sa, buf);
        if (a->sa.ss_family == AF_INET) {
                const struct sockaddr_in *in = (const struct sockaddr_in *)&a->sa;
                char ip[INET_ADDRSTRLEN] = "";
                (void)inet_ntop(AF_INET, &in->sin_addr, ip, sizeof ip);
                (void)snprintf(buf, ADDRESS_TEXT_MAX, "%s:%u", ip, (unsigned)ntohs(in->sin_port));
                return buf;
        }
        if (a->sa.ss_family == AF_UNIX) {
                const struct sockaddr_un *un = (const struct sockaddr_un *)&a->sa;
                size_t room = a->len > offsetof(struct sockaddr_un, sun_path)
                                      ? a->len - offsetof(struct sockaddr_un, sun_path)
                                      : 0;
                int n = (int)strnlen(un->sun_path, MIN(room, sizeof un->sun_path));
                (void)snprintf(buf, ADDRESS_TEXT_MAX, "unix:%.*s", n, un->sun_path);
                return buf;
        }
        (void)snprintf(buf, ADDRESS_TEXT_MAX, "address-family-%u", (unsigned)a->sa.ss_family);
        return buf;
}

uint16_t address_port(const struct address *a)
{
        if (a->sa.ss_family == AF_INET)
                return ntohs(((const struct sockaddr_in *)&a->sa)->sin_port);
        if (a->sa.ss_family == AF_INET6)
                return ntohs(((const struct sockaddr_in6 *)&a->sa)->sin6_port);
        return 0;
}
