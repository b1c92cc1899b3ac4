/* Which number a name has in distribute (distribute.md §3): the last path component, rid of what temporary names wrap
 * around it, hashed to 32 bits. Bricks hold ranges of these numbers, so every client must find the same ones.
 *
 * Pure functions but for dht_names_init(). Any thread.
 */
#pragma once

#include "base/error.h"
#include "proto/types.h"

#include <regex.h>

#define DHT_RSYNC_REGEX "^\\.(.+)\\.[^.]+$" /* `.file1.AbCdEf` counts as `file1` */

/* How the kind of `char` of the platform enters the hash of names with bytes >= 0x80. Signed: x86 builds of stock. */
enum dht_char { DHT_CHAR_SIGNED, DHT_CHAR_UNSIGNED };

/* The hash of LEN bytes as they are. */
uint32_t dht_hash(const void *data, size_t len, enum dht_char kind);

struct dht_names {
        enum dht_char kind;
        bool has_extra, has_rsync;
        bool rsync_is_default; /* matched without the regex library */
        regex_t extra, rsync;
};

/* EXTRA and RSYNC are POSIX extended patterns with one group; NULL: none (EXTRA), the default (RSYNC); "none": none.
 * -EINVAL with a sentence for a pattern that is none. */
int dht_names_init(struct dht_names *n, const char *extra, const char *rsync, enum dht_char kind, struct error *err);
void dht_names_done(struct dht_names *n);

/* The part of NAME that is hashed: points into it. */
struct slice dht_names_effective(const struct dht_names *n, struct str name);
uint32_t dht_names_hash(const struct dht_names *n, struct str name);
