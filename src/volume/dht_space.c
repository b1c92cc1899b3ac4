/* STATFS, and which sub-volumes are full (distribute.md §8.1, §13).
 *
 * Sub-volumes are asked at most once a second, when something is to be created.
 */
#include "volume/dht.h"

#include <sys/stat.h>

#define SPACE_AGE NS_PER_SEC
#define FULL_PERCENT 100.0

static double percent(uint64_t part, uint64_t whole)
{
        return whole > 0 ? FULL_PERCENT * (double)part / (double)whole : FULL_PERCENT;
}

static void note(const struct dht_options *o, const struct statfs *s, struct dht_space *ret)
{
        uint64_t unit = s->frsize > 0 ? s->frsize : s->bsize;
        uint64_t chunk = s->bsize > 0 && s->bsize < MIB ? MIB / s->bsize : 1;
        double free = o->min_free_is_percent ? percent(s->bavail, s->blocks) : (double)(s->bavail * unit);
        *ret = (struct dht_space){
                .known = true,
                .statfs = *s,
                .free = s->bavail * unit,
                .weight = (s->blocks + chunk - 1) / chunk,
                .full = free < o->min_free_disk || (s->files > 0 && percent(s->ffree, s->files) < o->min_free_inodes),
        };
}

void dht_refresh_space(struct fibre *self, struct dht *d, struct request *r)
{
        const struct statfs_fop_req req = {.gfid = GFID_ROOT, .xdata = DICT_NULL};
        struct request own = dht_as_root(r, r->parent ? r->parent : r->inode, NULL);
        uint64_t now = loop_now(fibre_loop(self));
        unsigned n;
        if (d->space_at != 0 && now - d->space_at < SPACE_AGE)
                return;
        d->space_at = MAX(now, (uint64_t)1); /* whoever comes meanwhile goes by what is known */
        struct fan *fans = dht_fans(d, r->arena, FOP_STATFS, &req, -1, &n);
        if (!fans)
                return;
        dht_fan_out(self, FOP_STATFS, &own, fans, n);
        for (unsigned i = 0; i < n; i++) {
                const struct statfs_fop_rep *rep = fans[i].rep;
                if (fans[i].result >= 0)
                        note(&d->options, &rep->statfs, &d->space[i]);
        }
}

int dht_choose_other(const struct dht *d, const struct layout *l, int hashed)
{
        int best = -1;
        for (unsigned i = 0; i < d->n; i++) {
                const struct dht_space *s = &d->space[i];
                bool usable = (int)i != hashed && dht_child(d, (int)i)->up && l->ranges[i].error == 0 &&
                              !d->decommissioned[i] && !s->full;
                if (usable && (best < 0 || s->free > d->space[best].free))
                        best = (int)i;
        }
        return best < 0 ? hashed : best;
}

/* ---- STATFS --------------------------------------------------------------------------------------------------------------- */

/* In units of another block size. */
static uint64_t convert(uint64_t n, uint64_t from, uint64_t to)
{
        return to > 0 && from != to ? (uint64_t)((double)n * (double)from / (double)to) : n;
}

static void add(struct statfs *sum, const struct statfs *s, uint64_t bsize, uint64_t frsize)
{
        uint64_t unit = s->frsize > 0 ? s->frsize : s->bsize;
        sum->blocks += convert(s->blocks, unit, frsize);
        sum->bfree += convert(s->bfree, unit, frsize);
        sum->bavail += convert(s->bavail, unit, frsize);
        sum->files += s->files;
        sum->ffree += s->ffree;
        sum->favail += s->favail;
        sum->flag |= s->flag;
        sum->namemax = sum->namemax == 0 ? s->namemax : MIN(sum->namemax, s->namemax);
        if (sum->fsid == 0)
                sum->fsid = s->fsid;
        sum->bsize = bsize;
        sum->frsize = frsize;
}

/* An answer by quota is for the whole volume; of several the one with the most used. */
static const struct statfs_fop_rep *by_quota(const struct fan *fans, unsigned n)
{
        const struct statfs_fop_rep *found = NULL;
        for (unsigned i = 0; i < n; i++) {
                const struct statfs_fop_rep *rep = fans[i].rep;
                int64_t deem = 0;
                if (fans[i].result < 0 || dict_get_int(&rep->xdata, "quota-deem-statfs", &deem) < 0 || deem == 0)
                        continue;
                uint64_t used = rep->statfs.blocks - rep->statfs.bfree;
                if (!found || used > found->statfs.blocks - found->statfs.bfree)
                        found = rep;
        }
        return found;
}

static void sum_up(const struct fan *fans, unsigned n, struct statfs *ret)
{
        uint64_t bsize = 0, frsize = 0;
        for (unsigned i = 0; i < n; i++) {
                const struct statfs_fop_rep *rep = fans[i].rep;
                if (fans[i].result < 0)
                        continue;
                bsize = MAX(bsize, rep->statfs.bsize);
                frsize = MAX(frsize, rep->statfs.frsize > 0 ? rep->statfs.frsize : rep->statfs.bsize);
        }
        for (unsigned i = 0; i < n; i++) {
                const struct statfs_fop_rep *rep = fans[i].rep;
                if (fans[i].result >= 0)
                        add(ret, &rep->statfs, bsize, frsize);
        }
}

int dht_statfs(struct fibre *self, struct subvolume *v, struct request *r, const struct statfs_fop_req *req,
               struct statfs_fop_rep *rep)
{
        struct dht *d = dht_of(v);
        unsigned n, answered = 0;
        struct statfs_fop_req own = *req;
        if (!r->inode || r->inode->type != S_IFDIR)
                own.gfid = GFID_ROOT; /* which is everywhere */
        struct fan *fans = dht_fans(d, r->arena, FOP_STATFS, &own, -1, &n);
        if (!fans)
                return fop_failed(rep, -ENOMEM);
        dht_fan_out(self, FOP_STATFS, r, fans, n);
        for (unsigned i = 0; i < n; i++)
                answered += fans[i].result >= 0;
        if (answered == 0)
                return fop_failed(rep, dht_fan_error(fans, n, 0));
        const struct statfs_fop_rep *quota = by_quota(fans, n);
        *rep = (struct statfs_fop_rep){0};
        if (quota)
                *rep = *quota;
        else
                sum_up(fans, n, &rep->statfs);
        return 0;
}
