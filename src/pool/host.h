/* Which hosts and addresses are this machine. */
#pragma once

#include <sys/socket.h>

#include "base/util.h"

/* An address of one of this machine's interfaces, a loopback address or a unix socket. Does not block. */
bool host_address_is_local(const struct sockaddr *address);

/* HOST is OWN_NAME or resolves to an address of this machine. Blocking. */
bool host_is_this_machine(const char *own_name, const char *host);

/* The first address of HOST as text, HOST itself when it has none. Blocking. */
void host_first_address(const char *host, char *ret, size_t size);
