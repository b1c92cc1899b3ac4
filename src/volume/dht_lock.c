/* Locks between clients (dht.h, distribute.md §6).
 *
 * Invariant: every client takes the locks of one operation in the same order: inode locks of files in migration first, then
 * what protects names, each by sub-volume name, then gfid, then name. So no two operations wait for each other.
 *
 * Bricks put off the removal of a file that another client has an inode lock on, except locks of internal clients
 * (docs/formats/locks.md). Ours are taken as such: else an unlink, waiting in a brick with the replica set's locks of the name,
 * and a rename, waiting for those with the file's, would wait for each other.
 */
#include "volume/dht.h"

#define LK_SET_WAIT 2u
#define LK_SET 1u
#define LOCK_READ 0u
#define LOCK_WRITE 1u
#define LOCK_UNLOCK 2u
#define ENTRY_LOCK 0u
#define ENTRY_UNLOCK 1u

void dht_locks_init(struct dht_locks *l, struct dht *d, const struct request *r)
{
        l->dht = d;
        l->request = dht_as_root(r, NULL, NULL);
        l->request.cancel = r->cancel;
        l->request.cred.pid = PID_NO_ROOT_SQUASH;
        l->n = 0;
        l->more = NULL;
        uint64_t owner = ++d->next_owner;
        memcpy(l->request.cred.owner, &owner, sizeof owner);
        l->request.cred.owner_len = sizeof owner;
}

static struct dht_lock *list_of(struct dht_locks *l)
{
        return l->more ? l->more : l->v;
}

static bool same_lock(const struct dht_lock *a, const struct dht_lock *b)
{
        return a->child == b->child && streq(a->domain, b->domain) && gfid_equal(&a->gfid, &b->gfid) &&
               a->name.len == b->name.len && memcmp(a->name.s, b->name.s, a->name.len) == 0;
}

static void add(struct dht_locks *l, const struct dht_lock *lock)
{
        struct dht_lock *v = list_of(l);
        for (unsigned i = 0; i < l->n; i++) {
                if (same_lock(&v[i], lock)) {
                        v[i].write |= lock->write;
                        return;
                }
        }
        v[l->n++] = *lock;
}

void dht_locks_inode(struct dht_locks *l, int child, struct vnode *i, const char *domain, bool write, bool optional)
{
        add(l, &(struct dht_lock){.child = child, .domain = domain, .inode = i, .gfid = i->gfid, .name = STR(""),
                                  .write = write, .optional = optional});
}

void dht_locks_name(struct dht_locks *l, int child, struct vnode *parent, struct str name)
{
        dht_locks_inode(l, child, parent, DHT_DOMAIN_LAYOUT, false, false);
        dht_locks_entry(l, child, parent, name);
}

void dht_locks_entry(struct dht_locks *l, int child, struct vnode *parent, struct str name)
{
        add(l, &(struct dht_lock){.child = child, .domain = DHT_DOMAIN_ENTRY, .inode = parent, .gfid = parent->gfid,
                                  .name = name, .write = true});
}

/* ---- order ------------------------------------------------------------------------------------------------------------ */

static int by_number(int a, int b)
{
        return a < b ? -1 : a > b;
}

/* Names first by sub-volume, then by the text of the directory's gfid and the name: so an inode lock that belongs to the name
 * comes right before it. */
static int compare(const struct dht *d, const struct dht_lock *a, const struct dht_lock *b)
{
        int order = by_number(!streq(a->domain, DHT_DOMAIN_MIGRATE), !streq(b->domain, DHT_DOMAIN_MIGRATE));
        if (order == 0)
                order = strcmp(dht_child(d, a->child)->name, dht_child(d, b->child)->name);
        if (order == 0)
                order = memcmp(a->gfid.b, b->gfid.b, sizeof a->gfid.b);
        if (order == 0)
                order = by_number(a->name.len > 0, b->name.len > 0);
        return order ? order : strcmp(a->name.s, b->name.s);
}

static void sort(struct dht_locks *l)
{
        struct dht_lock *v = list_of(l);
        for (unsigned i = 1; i < l->n; i++) {
                struct dht_lock lock = v[i];
                unsigned k = i;
                for (; k > 0 && compare(l->dht, &v[k - 1], &lock) > 0; k--)
                        v[k] = v[k - 1];
                v[k] = lock;
        }
}

/* ---- taking and dropping ---------------------------------------------------------------------------------------------- */

static int call_entry(struct fibre *self, struct dht_locks *l, const struct dht_lock *lock, bool unlock)
{
        struct entrylk_fop_rep rep = {0};
        const struct entrylk_fop_req req = {
                .gfid = lock->gfid,
                .cmd = unlock ? ENTRY_UNLOCK : ENTRY_LOCK,
                .type = LOCK_WRITE,
                .namelen = lock->name.len,
                .name = lock->name,
                .volume = str_of(lock->domain),
                .xdata = DICT_NULL,
        };
        return subvolume_entrylk(self, dht_child(l->dht, lock->child), &l->request, &req, &rep);
}

static int call_inode(struct fibre *self, struct dht_locks *l, const struct dht_lock *lock, bool unlock)
{
        struct inodelk_fop_rep rep = {0};
        uint32_t type = unlock ? LOCK_UNLOCK : lock->write ? LOCK_WRITE : LOCK_READ;
        const struct inodelk_fop_req req = {
                .gfid = lock->gfid,
                .cmd = unlock ? LK_SET : LK_SET_WAIT,
                .type = type,
                .flock = {.type = type},
                .volume = str_of(lock->domain),
                .xdata = DICT_NULL,
        };
        return subvolume_inodelk(self, dht_child(l->dht, lock->child), &l->request, &req, &rep);
}

static int call(struct fibre *self, struct dht_locks *l, const struct dht_lock *lock, bool unlock)
{
        l->request.inode = lock->inode;
        return lock->name.len > 0 ? call_entry(self, l, lock, unlock) : call_inode(self, l, lock, unlock);
}

/* Who has no such object cannot be asked to keep it. */
static bool forgivable(const struct dht_lock *lock, int result)
{
        return lock->optional && (dht_is_absent(result) || result == -EIO);
}

int dht_locks_take(struct fibre *self, struct dht_locks *l)
{
        struct dht_lock *v = list_of(l);
        sort(l);
        for (unsigned i = 0; i < l->n; i++) {
                int r = call(self, l, &v[i], false);
                if (r < 0 && !forgivable(&v[i], r)) {
                        dht_locks_drop(self, l);
                        return r;
                }
                v[i].held = r >= 0;
        }
        return 0;
}

/* A lock whose brick went away went with it. */
void dht_locks_drop(struct fibre *self, struct dht_locks *l)
{
        struct dht_lock *v = list_of(l);
        l->request.cancel = NULL;
        for (unsigned i = l->n; i-- > 0;) {
                if (v[i].held)
                        (void)call(self, l, &v[i], true);
                v[i].held = false;
        }
}
