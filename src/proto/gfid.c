/* gfids: text form, inode numbers, new ones. Pure functions; any thread. */
#include "proto/types.h"

static const char gfid_digits[] = "0123456789abcdef";

static bool gfid_dash_at(size_t i)
{
        return i == 8 || i == 13 || i == 18 || i == 23;
}

char *gfid_format(const struct gfid *g, char buf[static GFID_TEXT_LEN + 1])
{
        size_t at = 0;
        for (size_t i = 0; i < sizeof g->b; i++) {
                if (gfid_dash_at(at))
                        buf[at++] = '-';
                buf[at++] = gfid_digits[g->b[i] >> 4];
                buf[at++] = gfid_digits[g->b[i] & 15];
        }
        buf[at] = 0;
        return buf;
}

static int gfid_digit(char c)
{
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        if (c >= 'A' && c <= 'F')
                return c - 'A' + 10;
        return -EINVAL;
}

int gfid_parse(const char *text, size_t len, struct gfid *ret)
{
        if (len != GFID_TEXT_LEN)
                return -EINVAL;

        struct gfid g;
        size_t n = 0;
        for (size_t at = 0; at < len;) {
                if (gfid_dash_at(at)) {
                        if (text[at++] != '-')
                                return -EINVAL;
                        continue;
                }
                int high = gfid_digit(text[at]);
                int low = gfid_digit(text[at + 1]);
                if (high < 0 || low < 0)
                        return -EINVAL;
                g.b[n++] = (uint8_t)(high << 4 | low);
                at += 2;
        }
        *ret = g;
        return 0;
}

uint64_t gfid_ino(const struct gfid *g)
{
        if (gfid_is_null(g))
                return UINT64_MAX;
        uint64_t ino = 0;
        for (size_t i = 8; i < sizeof g->b; i++)
                ino = ino << 8 | g->b[i];
        return ino;
}

struct gfid gfid_from_random(const uint8_t random[static 16])
{
        struct gfid g;
        memcpy(g.b, random, sizeof g.b);
        g.b[6] = (uint8_t)((g.b[6] & 0x0f) | 0x40);
        g.b[8] = (uint8_t)((g.b[8] & 0x3f) | 0x80);
        return g;
}
