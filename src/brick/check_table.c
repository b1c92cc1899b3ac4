/* What the checker remembers of objects (check.h): plain arrays, added to and then sorted in place.
 *
 * A brick of ten million files needs eight bytes for each of those with one name, 48 for the others. One thread.
 */
#include "brick/check.h"

#include <xxhash.h>

#define TABLE_FIRST 256

int table_add(struct table *t, const void *element)
{
        if (t->n == t->cap) {
                size_t cap = t->cap ? t->cap + t->cap / 2 : TABLE_FIRST;
                void *v = reallocarray(t->v, cap, t->size);
                if (!v)
                        return -ENOMEM;
                t->v = v;
                t->cap = cap;
        }
        memcpy((uint8_t *)t->v + t->n * t->size, element, t->size);
        t->n++;
        return 0;
}

void table_done(struct table *t)
{
        free(t->v);
        *t = (struct table){.size = t->size};
}

/* ---- numbers ------------------------------------------------------------------------------------------------------- */

/* Exchanges until those with the bit are behind those without: where they begin. */
static size_t split_by_bit(uint64_t *v, size_t n, unsigned bit)
{
        size_t low = 0, high = n;
        while (low < high) {
                if (!(v[low] >> bit & 1)) {
                        low++;
                        continue;
                }
                uint64_t x = v[--high];
                v[high] = v[low];
                v[low] = x;
        }
        return low;
}

/* By bits from the highest down: in place, and as fast for any numbers. */
static void sort_by_bits(uint64_t *v, size_t n, unsigned bits)
{
        while (n > 1 && bits > 0) {
                size_t low = split_by_bit(v, n, --bits);
                sort_by_bits(v, low, bits);
                v += low;
                n -= low;
        }
}

void table_sort_u64(struct table *t)
{
        sort_by_bits(t->v, t->n, 64);
}

static int compare_u64(const void *a, const void *b)
{
        uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
        return (x > y) - (x < y);
}

bool table_has_u64(const struct table *t, uint64_t x)
{
        return t->n > 0 && bsearch(&x, t->v, t->n, t->size, compare_u64);
}

size_t table_count_u64(const struct table *t, uint64_t x)
{
        const uint64_t *v = t->v, *at = table_has_u64(t, x) ? bsearch(&x, v, t->n, t->size, compare_u64) : NULL;
        size_t n = 0;
        for (const uint64_t *p = at; p && p < v + t->n && *p == x; p++)
                n++;
        for (const uint64_t *p = at; p && p > v && p[-1] == x; p--)
                n++;
        return n;
}

uint64_t gfid_mark(const struct gfid *g)
{
        return XXH64(g->b, sizeof g->b, 0);
}

/* ---- gfids and records --------------------------------------------------------------------------------------------- */

static int compare_gfid(const void *a, const void *b)
{
        return memcmp(a, b, sizeof(struct gfid));
}

void table_sort_gfids(struct table *t)
{
        if (t->n > 0)
                qsort(t->v, t->n, t->size, compare_gfid);
}

bool table_has_gfid(const struct table *t, const struct gfid *g)
{
        return t->n > 0 && bsearch(g, t->v, t->n, t->size, compare_gfid);
}

static int compare_record(const void *a, const void *b)
{
        const struct name_record *x = a, *y = b;
        int r = compare_gfid(&x->gfid, &y->gfid);
        return r ? r : (x->ino > y->ino) - (x->ino < y->ino);
}

void table_sort_records(struct table *t)
{
        if (t->n > 0)
                qsort(t->v, t->n, t->size, compare_record);
}
