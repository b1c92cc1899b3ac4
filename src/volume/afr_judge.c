/* Which copies may be read, and where heals go: conclusions out of counters (replicate.md §2, §5.3, §10.2; afr.h).
 *
 * Pure functions: no state, no waiting. They are tested with tables.
 */
#include "volume/afr.h"

#include "volume/afr_be.h"

#include <sys/stat.h>

/* ---- reading answers --------------------------------------------------------------------------------------------- */

static void read_counter(const struct dict *xdata, const char *key, int32_t ret[AFR_CLASSES])
{
        struct slice bytes;
        for (unsigned c = 0; c < AFR_CLASSES; c++)
                ret[c] = 0;
        if (dict_get_bytes(xdata, key, &bytes) < 0)
                return;
        for (unsigned c = 0; c < AFR_CLASSES && 4 * (c + 1) <= bytes.len; c++)
                ret[c] = (int32_t)afr_get_be32(bytes.data + (size_t)4 * c);
}

static int64_t read_count(const struct dict *xdata, const char *key)
{
        int64_t n = 0;
        return dict_get_int(xdata, key, &n) < 0 ? 0 : n;
}

void afr_copy_read(const char *const names[], unsigned n, int result, const struct iatt *stat, const struct dict *xdata,
                   struct afr_copy *ret)
{
        *ret = (struct afr_copy){.result = result < 0 ? result : 0};
        if (result < 0)
                return;
        ret->stat = stat;
        ret->xdata = xdata;
        ret->gfid = stat->gfid;
        ret->type = stat->mode & S_IFMT;
        ret->size = stat->size;
        ret->bad = dict_has(xdata, "glusterfs.bad-inode");
        for (unsigned j = 0; j < n; j++)
                read_counter(xdata, names[j], ret->pending[j]);
        read_counter(xdata, "trusted.afr.dirty", ret->dirty);
        ret->inodelks = read_count(xdata, "glusterfs.inodelk-count");
        ret->parent_entrylks = read_count(xdata, "glusterfs.parent-entrylk");
}

/* ---- readability ------------------------------------------------------------------------------------------------- */

/* How many of BY accuse J. */
static unsigned accusers(const struct afr_copy copies[], afr_set by, unsigned j, enum afr_class class)
{
        unsigned n = 0;
        AFR_EACH(i, by)
        {
                n += i != j && copies[i].pending[j][class] != 0;
        }
        return n;
}

/* Of CANDIDATES those that less than a quorum of BY accuses, which a post-op that failed leaves behind; none if they
 * accuse each other. */
static afr_set weakly_accused(const struct afr_copy copies[], afr_set candidates, afr_set by, enum afr_class class,
                              unsigned quorum)
{
        afr_set weak = 0;
        AFR_EACH(j, candidates)
        {
                if (accusers(copies, by, j, class) < quorum)
                        weak |= AFR_BIT(j);
        }
        AFR_EACH(j, weak)
        {
                if (accusers(copies, weak, j, class) > 0)
                        return 0;
        }
        return weak;
}

afr_set afr_accused(const struct afr_copy copies[], unsigned n, enum afr_class class)
{
        afr_set answered = 0, accused = 0, all = AFR_BIT(n) - 1;
        for (unsigned i = 0; i < n; i++) {
                if (copies[i].result == 0)
                        answered |= AFR_BIT(i);
        }
        AFR_EACH(i, answered)
        {
                for (unsigned j = 0; j < n; j++) {
                        if (copies[i].pending[j][class] != 0)
                                accused |= AFR_BIT(j);
                }
        }
        if (accused == all && answered == all)
                accused &= ~weakly_accused(copies, all, all, class, n / 2 + 1);
        return accused;
}

/* Copies smaller than the largest of CANDIDATES: they missed something that nobody wrote down. */
static afr_set shorter(const struct afr_copy copies[], afr_set candidates)
{
        uint64_t largest = 0;
        AFR_EACH(i, candidates)
        {
                largest = MAX(largest, copies[i].size);
        }
        afr_set s = 0;
        AFR_EACH(i, candidates)
        {
                if (copies[i].size < largest)
                        s |= AFR_BIT(i);
        }
        return s;
}

static bool somebody_writes(const struct afr_copy copies[], afr_set answered)
{
        AFR_EACH(i, answered)
        {
                if (copies[i].inodelks > 0)
                        return true;
        }
        return false;
}

static bool any_directory(const struct afr_copy copies[], afr_set answered)
{
        AFR_EACH(i, answered)
        {
                if (S_ISDIR(copies[i].type))
                        return true;
        }
        return false;
}

void afr_judge(const struct afr_copy copies[], unsigned n, unsigned arbiter, struct afr_verdict *ret)
{
        *ret = (struct afr_verdict){.unreadable = -EIO};
        afr_set sound = 0;
        for (unsigned i = 0; i < n; i++) {
                if (copies[i].result < 0)
                        continue;
                ret->answered |= AFR_BIT(i);
                if (!copies[i].bad)
                        sound |= AFR_BIT(i);
        }
        bool directory = any_directory(copies, ret->answered);
        afr_set arbiter_set = arbiter < n ? AFR_BIT(arbiter) : 0;
        for (unsigned c = 0; c < AFR_CLASSES; c++) {
                ret->accused[c] = afr_accused(copies, n, (enum afr_class)c);
                ret->readable[c] = sound & ~ret->accused[c] & ~arbiter_set;
        }
        enum afr_class content = directory ? AFR_ENTRY : AFR_DATA;
        ret->heal = ret->accused[AFR_METADATA] || ret->accused[content];
        if (arbiter_set & sound & ~ret->accused[content])
                ret->unreadable = -ENOTCONN;
        if (directory) {
                afr_set any = sound & ~arbiter_set;
                if (ret->accused[AFR_ENTRY] != AFR_BIT(n) - 1 || ret->answered != AFR_BIT(n) - 1)
                        ret->unreadable = -ENOTCONN; /* who knows better is away, or is the arbiter */
                else
                        ret->readable[AFR_ENTRY] = any; /* in split-brain a directory still shows what it has */
                ret->readable[AFR_DATA] = ret->readable[AFR_ENTRY];
                return;
        }
        afr_set less = shorter(copies, ret->readable[AFR_DATA]);
        ret->shorter = less;
        if (less && somebody_writes(copies, ret->answered)) {
                ret->provisional = true;
                return;
        }
        ret->readable[AFR_DATA] &= ~less;
        ret->heal = ret->heal || less;
}

/* ---- direction of a heal ----------------------------------------------------------------------------------------- */

static uint32_t witness_of(const struct afr_copy copies[], unsigned n, unsigned i, enum afr_class class)
{
        uint32_t w = (uint32_t)copies[i].dirty[class];
        if (copies[i].pending[i][class] == 0)
                return w;
        for (unsigned j = 0; j < n; j++)
                w += (uint32_t)copies[i].pending[j][class];
        return w;
}

void afr_direction(const struct afr_copy copies[], unsigned n, afr_set locked, enum afr_class class, unsigned quorum,
                   struct afr_direction *ret)
{
        *ret = (struct afr_direction){0};
        afr_set self_accused = 0;
        AFR_EACH(i, locked)
        {
                if (copies[i].pending[i][class] != 0)
                        self_accused |= AFR_BIT(i);
                ret->witness[i] = witness_of(copies, n, i, class);
        }
        afr_set witnesses = locked & ~self_accused;
        AFR_EACH(j, locked)
        {
                if (accusers(copies, witnesses, j, class) == 0)
                        ret->sources |= AFR_BIT(j);
        }
        if (!ret->sources && class != AFR_ENTRY)
                ret->sources = weakly_accused(copies, locked, witnesses, class, quorum);
        AFR_EACH(j, locked & ~ret->sources)
        {
                if (accusers(copies, ret->sources & witnesses, j, class) > 0)
                        ret->sinks |= AFR_BIT(j);
        }
        ret->split_brain = !ret->sources;
}

/* ---- short writes ------------------------------------------------------------------------------------------------ */

afr_set afr_complete(const int written[], afr_set ok, afr_set arbiter)
{
        int most = 0;
        AFR_EACH(i, ok & ~arbiter)
        {
                most = MAX(most, written[i]);
        }
        AFR_EACH(i, ok & ~arbiter)
        {
                if (written[i] < most)
                        ok &= ~AFR_BIT(i);
        }
        return ok;
}

/* ---- hash -------------------------------------------------------------------------------------------------------- */

uint32_t afr_hash(const uint8_t *data, size_t len)
{
        if (len <= 1)
                return 1;
        uint32_t h = (uint32_t)len;
        for (size_t at = 0; at + 4 <= len; at += 4) {
                h += (uint32_t)data[at] | (uint32_t)data[at + 1] << 8;
                uint32_t t = ((uint32_t)data[at + 2] | (uint32_t)data[at + 3] << 8) << 11 ^ h;
                h = h << 16 ^ t;
                h += h >> 11;
        }
        h ^= h << 3;
        h += h >> 5;
        h ^= h << 4;
        h += h >> 17;
        h ^= h << 25;
        h += h >> 6;
        return h;
}
