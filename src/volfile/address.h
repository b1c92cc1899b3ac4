/* The little languages of two option types (cli.md 9.8, wire.md 5.5). Pure functions; any thread. */
#pragma once

#include "base/util.h"

/* "ADDRESS,ADDRESS…" or "/DIR(ADDRESS|ADDRESS),/DIR(…)". An address is a host name, an IPv4 or IPv6 address, an IPv4
 * pattern with '*' for whole numbers, an IPv4 network "10.0.0.0/8", or '*' for any. Empty list elements are ignored. */
bool address_list_is_valid(const char *text);

/* "PATTERN:PRIORITY,PATTERN:PRIORITY…" with non-negative priorities. */
bool priority_list_is_valid(const char *text);
