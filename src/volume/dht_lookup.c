/* LOOKUP (distribute.md §7).
 *
 * A file that is known is asked for where it was; if it is not there any more, or only a pointer is, it is looked for as if
 * nothing were known. A directory is always asked for everywhere: its layout and attributes come from all.
 */
#include "volume/dht.h"

#include <sys/stat.h>

static int answer(struct dht *d, struct request *r, int cached, const struct lookup_fop_rep *from, struct lookup_fop_rep *rep)
{
        *rep = *from;
        if (!gfid_is_null(&r->inode->gfid) && !gfid_equal(&r->inode->gfid, &rep->prestat.gfid))
                return fop_failed(rep, -ESTALE);
        dht_xattr_hide(&rep->xdata);
        dht_strip_phase1(&rep->prestat);
        dht_fix_directory(&rep->poststat);
        int result = dht_remember_file(d, r->inode, &rep->prestat.gfid, cached);
        return result < 0 ? fop_failed(rep, result) : 0;
}

/* 1: answered; 0: it is not there any more. */
static int revalidate_file(struct fibre *self, struct dht *d, struct request *r, const struct lookup_fop_req *req,
                           struct lookup_fop_rep *rep)
{
        struct lookup_fop_rep found = {0};
        int cached = dht_known(d, r->inode)->cached;
        int result = dht_ask(self, d, cached, r, req, &found);
        bool moved = dht_is_absent(result) ||
                     (result >= 0 && (dht_is_linkto(&found.prestat, &found.xdata, r->arena, NULL) ||
                                      S_ISDIR(found.prestat.mode)));
        if (moved)
                return 0;
        if (result < 0)
                return fop_failed(rep, result);
        result = answer(d, r, cached, &found, rep);
        return result < 0 ? result : 1;
}

static int lookup_fresh(struct fibre *self, struct dht *d, struct request *r, const struct lookup_fop_req *req,
                        struct lookup_fop_rep *rep)
{
        struct dht_found found;
        int result = dht_find(self, d, r, req, true, &found);
        if (result < 0) {
                *rep = found.rep;
                dht_fix_directory(&rep->poststat);
                return fop_failed(rep, result);
        }
        if (found.directory)
                return dht_directory_found(self, d, r, req, &found.all, rep);
        return answer(d, r, found.cached, &found.rep, rep);
}

/* What is known to be a directory, or can be nothing else. */
static int lookup_directory(struct fibre *self, struct dht *d, struct request *r, const struct lookup_fop_req *req,
                            struct lookup_fop_rep *rep)
{
        const struct gfid *wanted = gfid_is_null(&r->inode->gfid) ? &req->gfid : &r->inode->gfid;
        struct dht_answers all;
        bool found = false;
        int result = dht_ask_all(self, d, r, req, &all);
        if (result < 0)
                return fop_failed(rep, result);
        for (unsigned i = 0; i < all.n; i++) {
                if (all.fans[i].result < 0)
                        continue;
                if (!S_ISDIR(all.reps[i].prestat.mode) || !gfid_equal(&all.reps[i].prestat.gfid, wanted))
                        return lookup_fresh(self, d, r, req, rep);
                found = true;
        }
        return found ? dht_directory_found(self, d, r, req, &all, rep) : lookup_fresh(self, d, r, req, rep);
}

int dht_lookup(struct fibre *self, struct subvolume *v, struct request *r, const struct lookup_fop_req *req,
               struct lookup_fop_rep *rep)
{
        struct dht *d = dht_of(v);
        const struct dht_inode *known = dht_known(d, r->inode);
        if ((known && known->directory) || (req->bname.len == 0 && gfid_is_root(&req->gfid)))
                return lookup_directory(self, d, r, req, rep);
        if (known && known->cached >= 0) {
                int result = revalidate_file(self, d, r, req, rep);
                if (result != 0)
                        return MIN(result, 0);
        }
        return lookup_fresh(self, d, r, req, rep);
}
