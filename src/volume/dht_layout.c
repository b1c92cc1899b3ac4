/* Layouts of directories: on disk, in memory, what can be wrong with them, and new ones (dht_layout.h).
 *
 * Invariant of layout_compute(): the ranges of the sub-volumes that take part cover 0..0xffffffff without gap or overlap.
 */
#include "volume/dht_layout.h"

#include <endian.h>

struct layout *layout_new(unsigned n)
{
        struct layout *l = calloc(1, sizeof *l + n * sizeof l->ranges[0]);
        if (!l)
                return NULL;
        l->n = n;
        l->commit = LAYOUT_COMMIT_INVALID;
        for (unsigned i = 0; i < n; i++)
                l->ranges[i].error = EINVAL;
        return l;
}

struct layout *layout_dup(const struct layout *l)
{
        struct layout *copy = layout_new(l->n);
        if (copy)
                memcpy(copy, l, sizeof *l + l->n * sizeof l->ranges[0]);
        return copy;
}

struct layout *layout_free(struct layout *l)
{
        free(l);
        return NULL;
}

/* ---- on disk ---------------------------------------------------------------------------------------------------------- */

struct layout_range layout_range_decode(const uint8_t *data, size_t len)
{
        uint32_t words[4];
        if (len != LAYOUT_DISK_SIZE)
                return (struct layout_range){.error = LAYOUT_NO_ATTRIBUTE};
        memcpy(words, data, sizeof words);
        return (struct layout_range){
                .commit = be32toh(words[0]),
                .type = be32toh(words[1]),
                .start = be32toh(words[2]),
                .stop = be32toh(words[3]),
        };
}

void layout_range_encode(const struct layout_range *r, uint8_t ret[static LAYOUT_DISK_SIZE])
{
        const uint32_t words[4] = {htobe32(r->commit), htobe32(r->type), htobe32(r->start), htobe32(r->stop)};
        memcpy(ret, words, sizeof words);
}

/* ---- as a whole ------------------------------------------------------------------------------------------------------- */

void layout_settle(struct layout *l)
{
        bool any = false;
        l->commit = LAYOUT_COMMIT_INVALID;
        for (unsigned i = 0; i < l->n; i++) {
                const struct layout_range *r = &l->ranges[i];
                if (r->error != 0)
                        continue;
                if (any && r->commit != l->commit) {
                        l->commit = LAYOUT_COMMIT_INVALID;
                        return;
                }
                l->commit = r->commit;
                any = true;
        }
}

/* The range that begins first behind HASH, or at it; NULL: none. */
static const struct layout_range *next_range(const struct layout *l, const struct layout_range *after)
{
        const struct layout_range *next = NULL;
        for (unsigned i = 0; i < l->n; i++) {
                const struct layout_range *r = &l->ranges[i];
                if (!layout_range_takes_names(r))
                        continue;
                bool behind = !after || r->start > after->start || (r->start == after->start && r > after);
                if (behind && (!next || r->start < next->start))
                        next = r;
        }
        return next;
}

static void check_coverage(const struct layout *l, struct layout_health *h)
{
        uint64_t expected = 0;
        for (const struct layout_range *r = next_range(l, NULL); r; r = next_range(l, r)) {
                if (r->start > expected)
                        h->holes++;
                else if (r->start < expected || r->stop < r->start)
                        h->overlaps++;
                expected = MAX(expected, (uint64_t)r->stop + 1);
        }
        if (expected <= UINT32_MAX)
                h->holes++;
}

struct layout_health layout_check(const struct layout *l)
{
        struct layout_health h = {0};
        for (unsigned i = 0; i < l->n; i++) {
                int error = l->ranges[i].error;
                if (error == ENOENT || error == ESTALE)
                        h.missing++;
                else if (error == LAYOUT_NO_ATTRIBUTE)
                        h.bare++;
                else if (error == ENOTCONN)
                        h.down++;
                else if (error != 0)
                        h.misc++;
        }
        check_coverage(l, &h);
        return h;
}

int layout_search(const struct layout *l, uint32_t hash)
{
        int found = -ENOENT;
        for (unsigned i = 0; i < l->n; i++) {
                const struct layout_range *r = &l->ranges[i];
                if (!layout_range_takes_names(r) || hash < r->start || hash > r->stop)
                        continue;
                if (found < 0 || r->start < l->ranges[found].start)
                        found = (int)i;
        }
        return found;
}

static bool range_equal(const struct layout_range *a, const struct layout_range *b)
{
        return a->error == b->error && a->commit == b->commit && a->type == b->type && a->start == b->start &&
               a->stop == b->stop;
}

bool layout_equal(const struct layout *a, const struct layout *b)
{
        if (a->n != b->n)
                return false;
        for (unsigned i = 0; i < a->n; i++)
                if (!range_equal(&a->ranges[i], &b->ranges[i]))
                        return false;
        return true;
}

/* ---- new ones --------------------------------------------------------------------------------------------------------- */

static unsigned count_eligible(const struct layout_plan *p)
{
        unsigned n = 0;
        for (unsigned i = 0; i < p->n; i++)
                n += p->eligible[i];
        return n;
}

/* Do sizes matter, and are all known? */
static bool is_weighted(const struct layout_plan *p)
{
        for (unsigned i = 0; p->weights && i < p->n; i++)
                if (p->eligible[i] && p->weights[i] == 0)
                        return false;
        return p->weights != NULL;
}

static uint64_t weight_of(const struct layout_plan *p, bool weighted, unsigned child)
{
        return weighted ? p->weights[child] : 1;
}

/* Those that take part, in the order of dealing: from the first by the hash on, by name. */
static unsigned take_part(const struct layout_plan *p, unsigned *ret)
{
        unsigned count = count_eligible(p), n = 0;
        if (p->spread > 0 && p->spread < count)
                count = p->spread;
        unsigned first = p->n > 0 ? p->start_hash % p->n : 0;
        for (unsigned k = 0; k < p->n && n < count; k++) {
                unsigned child = p->by_name[(first + k) % p->n];
                if (p->eligible[child])
                        ret[n++] = child;
        }
        return n;
}

/* Returns whether all ranges are dealt by the same weight. */
static bool deal(const struct layout_plan *p, const unsigned *part, unsigned n, struct layout *l)
{
        bool weighted = is_weighted(p), equal = true;
        uint64_t sum = 0;
        for (unsigned i = 0; i < n; i++) {
                sum += weight_of(p, weighted, part[i]);
                equal &= weight_of(p, weighted, part[i]) == weight_of(p, weighted, part[0]);
        }
        double unit = (double)UINT32_MAX / (double)sum;
        uint32_t start = 0;
        for (unsigned i = 0; i < n; i++) {
                uint32_t size = (uint32_t)(unit * (double)weight_of(p, weighted, part[i]));
                struct layout_range *r = &l->ranges[part[i]];
                r->start = start;
                r->stop = i + 1 < n ? start + MAX(size, 1u) - 1 : UINT32_MAX;
                start += MAX(size, 1u);
        }
        return equal;
}

static uint64_t overlap(const struct layout_range *old, const struct layout_range *now)
{
        if (!layout_range_takes_names(old) || !layout_range_takes_names(now))
                return 0;
        uint32_t from = MAX(old->start, now->start), to = MIN(old->stop, now->stop);
        return from <= to ? (uint64_t)to - from + 1 : 0;
}

static void swap_bounds(struct layout_range *a, struct layout_range *b)
{
        struct layout_range t = *a;
        a->start = b->start;
        a->stop = b->stop;
        b->start = t.start;
        b->stop = t.stop;
}

static bool swap_if_better(const struct layout *old, struct layout *l, unsigned a, unsigned b)
{
        uint64_t before = overlap(&old->ranges[a], &l->ranges[a]) + overlap(&old->ranges[b], &l->ranges[b]);
        swap_bounds(&l->ranges[a], &l->ranges[b]);
        uint64_t after = overlap(&old->ranges[a], &l->ranges[a]) + overlap(&old->ranges[b], &l->ranges[b]);
        if (after > before)
                return true;
        swap_bounds(&l->ranges[a], &l->ranges[b]);
        return false;
}

/* Each exchange makes the overlap larger, so this ends; the bound is for very many sub-volumes. */
static void keep_overlap(const struct layout *old, struct layout *l, const unsigned *part, unsigned n)
{
        bool changed = true;
        for (unsigned round = 0; changed && round < n; round++) {
                changed = false;
                for (unsigned a = 0; a < n; a++)
                        for (unsigned b = a + 1; b < n; b++)
                                changed |= swap_if_better(old, l, part[a], part[b]);
        }
}

int layout_compute(const struct layout_plan *plan, struct layout *ret)
{
        _cleanup_free_ unsigned *part = calloc(plan->n + 1, sizeof *part);
        if (!part)
                return -ENOMEM;
        unsigned n = take_part(plan, part);
        if (n == 0)
                return -ENOSPC;
        for (unsigned i = 0; i < plan->n; i++)
                ret->ranges[i] = (struct layout_range){.commit = plan->commit, .type = plan->type};
        bool equal = deal(plan, part, n, ret);
        if (plan->old && equal)
                keep_overlap(plan->old, ret, part, n);
        ret->commit = plan->commit;
        return 0;
}
