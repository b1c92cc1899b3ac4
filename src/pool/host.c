/* Which host names mean this machine (pool/host.h). Blocking: name resolution. Runs on the worker thread. */
#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <strings.h>

#include "pool/host.h"

static bool same_address(const struct sockaddr *a, const struct sockaddr *b)
{
        if (!a || !b || a->sa_family != b->sa_family)
                return false;
        if (a->sa_family == AF_INET)
                return memcmp(&((const struct sockaddr_in *)(const void *)a)->sin_addr,
                              &((const struct sockaddr_in *)(const void *)b)->sin_addr, sizeof(struct in_addr)) == 0;
        if (a->sa_family == AF_INET6)
                return memcmp(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr,
                              &((const struct sockaddr_in6 *)(const void *)b)->sin6_addr, sizeof(struct in6_addr)) == 0;
        return false;
}

static bool is_loopback(const struct sockaddr *a)
{
        if (a->sa_family == AF_INET)
                return (ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr) >> 24) == IN_LOOPBACKNET;
        return a->sa_family == AF_INET6 &&
               IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr);
}

static void unmap(const struct sockaddr *in, struct sockaddr_storage *out)
{
        const struct sockaddr_in6 *six = (const void *)in;
        memset(out, 0, sizeof *out);
        if (in->sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&six->sin6_addr)) {
                struct sockaddr_in *four = (void *)out;
                four->sin_family = AF_INET;
                memcpy(&four->sin_addr, &six->sin6_addr.s6_addr[12], sizeof four->sin_addr);
                return;
        }
        memcpy(out, in, in->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
}

bool host_address_is_local(const struct sockaddr *address)
{
        struct sockaddr_storage plain;
        if (address->sa_family == AF_UNIX)
                return true;
        if (address->sa_family != AF_INET && address->sa_family != AF_INET6)
                return false;
        unmap(address, &plain);
        if (is_loopback((const struct sockaddr *)&plain))
                return true;
        struct ifaddrs *all = NULL;
        if (getifaddrs(&all) < 0)
                return false;
        bool local = false;
        for (const struct ifaddrs *i = all; i && !local; i = i->ifa_next)
                local = same_address(i->ifa_addr, (const struct sockaddr *)&plain);
        freeifaddrs(all);
        return local;
}

bool host_is_this_machine(const char *own_name, const char *host)
{
        if (strcasecmp(own_name, host) == 0)
                return true;
        struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *found = NULL;
        if (getaddrinfo(host, NULL, &hints, &found) != 0)
                return false;
        bool local = false;
        for (const struct addrinfo *a = found; a && !local; a = a->ai_next)
                local = host_address_is_local(a->ai_addr);
        freeaddrinfo(found);
        return local;
}

void host_first_address(const char *host, char *ret, size_t size)
{
        struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *found = NULL;
        (void)snprintf(ret, size, "%s", host);
        if (getaddrinfo(host, NULL, &hints, &found) != 0)
                return;
        if (getnameinfo(found->ai_addr, found->ai_addrlen, ret, (socklen_t)size, NULL, 0, NI_NUMERICHOST) != 0)
                (void)snprintf(ret, size, "%s", host);
        freeaddrinfo(found);
}
