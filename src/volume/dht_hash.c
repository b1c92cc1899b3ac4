/* The hash of names (dht_hash.h): Davies-Meyer over a TEA-like round, as distribute.md §3 has it.
 *
 * Invariant: the result is on disk, in the ranges of directories; it never changes. Vectors: tests/data/dht-hash.tsv.
 */
#include "volume/dht_hash.h"

#define HASH_H0 0x9464a485u
#define HASH_H1 0x542e1a94u
#define HASH_DELTA 0x9e3779b9u
#define BLOCK 16u
#define ROUNDS_FULL 6
#define ROUNDS_LAST 10

struct state {
        uint32_t h0, h1;
};

static void mix(struct state *h, const uint32_t q[4], int rounds)
{
        uint32_t s = 0, x = h->h0, y = h->h1;
        for (int i = 0; i < rounds; i++) {
                s += HASH_DELTA;
                x += ((y << 4) + q[0]) ^ (y + s) ^ ((y >> 5) + q[1]);
                y += ((x << 4) + q[2]) ^ (x + s) ^ ((x >> 5) + q[3]);
        }
        h->h0 += x;
        h->h1 += y;
}

static uint32_t little_endian(const uint8_t *p)
{
        return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint32_t tail_byte(uint8_t c, enum dht_char kind)
{
        return kind == DHT_CHAR_SIGNED && c >= 0x80 ? 0xffffff00u | c : c;
}

uint32_t dht_hash(const void *data, size_t len, enum dht_char kind)
{
        const uint8_t *p = data;
        struct state h = {HASH_H0, HASH_H1};
        uint32_t pad = (uint32_t)len | (uint32_t)len << 8;
        uint32_t q[4];
        pad |= pad << 16;
        for (; len >= BLOCK; p += BLOCK, len -= BLOCK) {
                for (unsigned i = 0; i < 4; i++)
                        q[i] = little_endian(p + 4 * i);
                mix(&h, q, ROUNDS_FULL);
        }
        for (unsigned i = 0; i < 4; i++) {
                q[i] = pad;
                if (len >= 4) {
                        q[i] = little_endian(p);
                        p += 4;
                        len -= 4;
                        continue;
                }
                for (; len > 0; len--)
                        q[i] = q[i] << 8 | tail_byte(*p++, kind);
        }
        mix(&h, q, ROUNDS_LAST);
        return h.h0 ^ h.h1;
}

/* ---- what of a name is hashed ---------------------------------------------------------------------------------------- */

static int compile(const char *option, const char *pattern, regex_t *ret, struct error *err)
{
        char why[128];
        int r = regcomp(ret, pattern, REG_EXTENDED);
        if (r != 0) {
                regerror(r, ret, why, sizeof why);
                return error_set(err, -EINVAL, "option %s: \"%s\" is not a regular expression: %s", option, pattern, why);
        }
        if (ret->re_nsub == 0) {
                regfree(ret);
                return error_set(err, -EINVAL, "option %s: \"%s\" has no group in parentheses that says what of a name "
                                 "counts", option, pattern);
        }
        return 0;
}

int dht_names_init(struct dht_names *n, const char *extra, const char *rsync, enum dht_char kind, struct error *err)
{
        *n = (struct dht_names){.kind = kind};
        if (!rsync || streq(rsync, DHT_RSYNC_REGEX)) {
                n->rsync_is_default = true;
        } else if (!streq(rsync, "none")) {
                int r = compile("rsync-hash-regex", rsync, &n->rsync, err);
                if (r < 0)
                        return r;
                n->has_rsync = true;
        }
        if (!extra || streq(extra, "none"))
                return 0;
        int r = compile("extra-hash-regex", extra, &n->extra, err);
        if (r < 0) {
                dht_names_done(n);
                return r;
        }
        n->has_extra = true;
        return 0;
}

void dht_names_done(struct dht_names *n)
{
        if (n->has_rsync)
                regfree(&n->rsync);
        if (n->has_extra)
                regfree(&n->extra);
        *n = (struct dht_names){.kind = n->kind};
}

/* The group must be there, and less than the whole name. */
static bool usable(struct str name, size_t from, size_t to, struct slice *ret)
{
        if (from >= to || to - from >= name.len)
                return false;
        *ret = (struct slice){(const uint8_t *)name.s + from, (uint32_t)(to - from)};
        return true;
}

static bool match(const regex_t *re, struct str name, struct slice *ret)
{
        regmatch_t m[2];
        if (regexec(re, name.s, ELEMENTSOF(m), m, 0) != 0 || m[1].rm_so < 0)
                return false;
        return usable(name, (size_t)m[1].rm_so, (size_t)m[1].rm_eo, ret);
}

/* DHT_RSYNC_REGEX: a dot, something, a dot, and at least one further byte without a dot. */
static bool match_rsync(struct str name, struct slice *ret)
{
        const char *dot = name.len > 0 && name.s[0] == '.' ? memrchr(name.s, '.', name.len) : NULL;
        if (!dot || dot[1] == '\0' || dot < name.s + 2)
                return false;
        return usable(name, 1, (size_t)(dot - name.s), ret);
}

struct slice dht_names_effective(const struct dht_names *n, struct str name)
{
        struct slice part;
        if (n->has_extra && match(&n->extra, name, &part))
                return part;
        if (n->rsync_is_default && match_rsync(name, &part))
                return part;
        if (n->has_rsync && match(&n->rsync, name, &part))
                return part;
        return (struct slice){(const uint8_t *)name.s, name.len};
}

uint32_t dht_names_hash(const struct dht_names *n, struct str name)
{
        struct slice part = dht_names_effective(n, name);
        return dht_hash(part.data, part.len, n->kind);
}
