/* The simulated disk: effects and their faults, the metadata log, what fsync makes durable and what a power cut takes.
 *
 * The log holds before-images, oldest first, of the transactions after `durable`. fsync of an object moves `durable` to
 * the latest transaction that touched it, and with it everything earlier, as a journal does; fdatasync moves it only to
 * the latest one that its contents need (creation, size, allocation). A power cut picks the last transaction that
 * survives, undoes the later ones from the newest back, and then decides for each dirty page.
 *
 * Undoing a punched hole or a truncation brings back the page as it was before it, with its dirtiness: a write to the
 * same place after the hole went to new blocks, which the undone transaction never attached.
 *
 * Called with the disk's lock held, except the functions of base/sim_disk.h.
 */
#include "base/sim_disk_priv.h"

#include <assert.h>

#define TICK_NS 1000u       /* the least time between two effects */
#define TICK_RANDOM_NS 997u /* and up to that much more */

/* ---- effects */

int sim_effect(struct sim_disk *d)
{
        d->effects++;
        if (d->effects == d->fail_at) {
                d->fail_at = 0;
                d->fired = true;
                return -d->fail_error;
        }
        if (d->effects == d->stop_at) {
                d->stop_at = 0;
                d->fired = true;
                d->stop_pending = true;
        }
        return 0;
}

int sim_txn_begin(struct sim_disk *d)
{
        int r = sim_effect(d);
        if (r < 0)
                return r;
        d->txn++;
        d->clock += TICK_NS + sim_random_next(d) % TICK_RANDOM_NS;
        return 0;
}

/* ---- the log */

static struct sim_undo *log_add(struct sim_disk *d, struct sim_inode *i, enum sim_undo_kind kind, size_t bytes)
{
        struct sim_undo *u = sim_alloc(sizeof *u);
        u->txn = d->txn;
        u->kind = kind;
        u->bytes = sizeof *u + bytes;
        u->inode = sim_inode_ref(i);
        u->prev = d->log_last;
        if (d->log_last)
                d->log_last->next = u;
        else
                d->log_first = u;
        d->log_last = u;
        d->log_bytes += u->bytes;
        return u;
}

static void log_unlink(struct sim_disk *d, struct sim_undo *u)
{
        if (u->prev)
                u->prev->next = u->next;
        else
                d->log_first = u->next;
        if (u->next)
                u->next->prev = u->prev;
        else
                d->log_last = u->prev;
        d->log_bytes -= u->bytes;
}

/* What the record holds besides references. */
static void undo_free_memory(struct sim_undo *u)
{
        if (u->kind == SIM_UNDO_ENTRY) {
                free(u->entry.name);
        } else if (u->kind == SIM_UNDO_XATTR) {
                free(u->xattr.name);
                if (u->xattr.value)
                        free(u->xattr.value->value);
                free(u->xattr.value);
        } else if (u->kind == SIM_UNDO_PAGE) {
                sim_page_free(u->page.page);
        }
        free(u);
}

static void undo_free(struct sim_disk *d, struct sim_undo *u)
{
        log_unlink(d, u);
        struct sim_inode *inode = u->inode;
        struct sim_inode *other = NULL;
        if (u->kind == SIM_UNDO_ATTR)
                other = u->attr.parent;
        else if (u->kind == SIM_UNDO_ENTRY)
                other = u->entry.child;
        undo_free_memory(u);
        sim_inode_unref(d, other);
        sim_inode_unref(d, inode);
}

/* One before-image per transaction is enough: the first. */
void sim_log_attr(struct sim_disk *d, struct sim_inode *i)
{
        if (i->logged == d->txn)
                return;
        i->logged = d->txn;
        struct sim_undo *u = log_add(d, i, SIM_UNDO_ATTR, 0);
        u->attr = i->a;
        sim_inode_ref(u->attr.parent);
}

/* A record that keeps a removed file in memory is as large as the file. */
void sim_log_entry(struct sim_disk *d, struct sim_inode *dir, const char *name, size_t len)
{
        const struct sim_entry *e = sim_entry_find(d, dir, name, len);
        size_t kept = e && e->child->a.nlink <= 1 ? e->child->n_pages * SIM_PAGE : 0;
        struct sim_undo *u = log_add(d, dir, SIM_UNDO_ENTRY, len + 1 + kept);
        u->entry.name = sim_alloc(len + 1);
        memcpy(u->entry.name, name, len);
        if (e) {
                u->entry.child = sim_inode_ref(e->child);
                u->entry.cookie = e->cookie;
        }
}

void sim_log_xattr(struct sim_disk *d, struct sim_inode *i, const char *name, struct sim_xattr *value)
{
        struct sim_undo *u = log_add(d, i, SIM_UNDO_XATTR, value ? value->size : 0);
        u->xattr.name = sim_copy(name, strlen(name) + 1);
        u->xattr.value = value;
}

void sim_log_page(struct sim_disk *d, struct sim_inode *i, uint64_t index, struct sim_page *page)
{
        struct sim_undo *u = log_add(d, i, SIM_UNDO_PAGE, page ? sizeof *page + SIM_PAGE : 0);
        u->page.index = index;
        u->page.page = page;
}

void sim_log_data(struct sim_disk *d, struct sim_inode *i)
{
        i->logged_data = d->txn;
}

void sim_log_commit(struct sim_disk *d, uint64_t txn)
{
        if (txn <= d->durable)
                return;
        d->durable = txn;
        while (d->log_first && d->log_first->txn <= txn) {
                const struct sim_undo *u = d->log_first;
                if (d->ordered && u->kind == SIM_UNDO_ATTR && S_ISREG(u->attr.mode) && u->attr.size < u->inode->a.size)
                        sim_data_grown(u->inode, u->attr.size);
                undo_free(d, d->log_first);
        }
}

void sim_log_trim(struct sim_disk *d)
{
        while (d->txn - d->durable > SIM_LOG_TXNS_MAX || (d->log_bytes > SIM_LOG_BYTES_MAX && d->txn > d->durable))
                sim_log_commit(d, d->durable + (d->txn - d->durable + 1) / 2);
}

static void undo_attr(struct sim_disk *d, struct sim_undo *u)
{
        struct sim_inode *new_parent = u->inode->a.parent;
        u->inode->a = u->attr;
        u->attr.parent = new_parent; /* undo_free() drops its reference; the old one moved back */
}

static void undo_xattr(struct sim_undo *u)
{
        struct sim_xattr *now = sim_xattr_take(u->inode, u->xattr.name);
        if (u->xattr.value)
                sim_xattr_put(u->inode, u->xattr.value);
        u->xattr.value = now;
}

static void undo_page(struct sim_undo *u)
{
        struct sim_page *now = sim_page_take(u->inode, u->page.index);
        if (u->page.page)
                sim_page_put(u->inode, u->page.page);
        u->page.page = now;
}

static void undo(struct sim_disk *d, struct sim_undo *u)
{
        switch (u->kind) {
        case SIM_UNDO_ATTR:
                undo_attr(d, u);
                break;
        case SIM_UNDO_ENTRY:
                sim_entry_put(d, u->inode, u->entry.name, strlen(u->entry.name), u->entry.child, u->entry.cookie);
                break;
        case SIM_UNDO_XATTR:
                undo_xattr(u);
                break;
        case SIM_UNDO_PAGE:
                undo_page(u);
                break;
        }
        undo_free(d, u);
}

int sim_op_sync(struct disk *disk, int fd, bool data_only)
{
        _cleanup_(sim_leave) struct sim_disk *d = sim_enter(disk);
        if (d->stopped)
                return -EIO;
        struct sim_fd *f = sim_fd_usable(d, fd);
        if (!f)
                return -EBADF;
        struct sim_inode *i = f->inode;
        if (!S_ISREG(i->a.mode) && !S_ISDIR(i->a.mode))
                return -EINVAL;
        int r = sim_effect(d);
        if (r < 0)
                return r;
        sim_data_synced(i);
        sim_log_commit(d, data_only && S_ISREG(i->a.mode) ? i->logged_data : i->logged);
        return 0;
}

/* ---- crashes */

/* The last transaction that survives: all and none are as likely as anything between. */
static uint64_t pick_survivor(struct sim_disk *d)
{
        uint64_t n = d->txn - d->durable;
        switch (sim_random_next(d) % 4) {
        case 0:
                return d->txn;
        case 1:
                return d->durable;
        default:
                return d->durable + sim_random_next(d) % (n + 1);
        }
}

static void recount(struct sim_disk *d)
{
        d->used = 0;
        for (struct sim_inode *i = d->all_first; i; i = i->all_next) {
                i->charged = i->a.nlink || i->opens ? sim_inode_cost(i) : 0;
                d->used += i->charged;
        }
}

static void revive(struct sim_disk *d)
{
        d->stopped = d->stop_pending = false;
        d->fail_at = d->stop_at = 0;
}

void sim_disk_power_cut(struct sim_disk *d)
{
        pthread_mutex_lock(&d->lock);
        sim_fd_close_all(d);
        uint64_t survivor = pick_survivor(d);
        while (d->log_last && d->log_last->txn > survivor)
                undo(d, d->log_last);
        sim_log_commit(d, d->txn);
        for (struct sim_inode *i = d->all_first; i; i = i->all_next)
                sim_data_power_cut(d, i);
        recount(d);
        revive(d);
        pthread_mutex_unlock(&d->lock);
}

void sim_disk_process_crash(struct sim_disk *d)
{
        pthread_mutex_lock(&d->lock);
        sim_fd_close_all(d);
        revive(d);
        pthread_mutex_unlock(&d->lock);
}

void sim_disk_set_ordered(struct sim_disk *d, bool ordered)
{
        d->ordered = ordered;
}

uint64_t sim_disk_effects(const struct sim_disk *d)
{
        return d->effects;
}

void sim_disk_fail_nth(struct sim_disk *d, uint64_t n, int error)
{
        assert(n > 0 && error > 0);
        pthread_mutex_lock(&d->lock);
        d->fail_at = d->effects + n;
        d->fail_error = error;
        pthread_mutex_unlock(&d->lock);
}

void sim_disk_stop_after(struct sim_disk *d, uint64_t n)
{
        assert(n > 0);
        pthread_mutex_lock(&d->lock);
        d->stop_at = d->effects + n;
        pthread_mutex_unlock(&d->lock);
}

bool sim_disk_fault_fired(const struct sim_disk *d)
{
        return d->fired;
}

void sim_disk_faults_clear(struct sim_disk *d)
{
        pthread_mutex_lock(&d->lock);
        d->effects = d->fail_at = d->stop_at = 0;
        d->fired = false;
        pthread_mutex_unlock(&d->lock);
}

unsigned sim_disk_open_count(const struct sim_disk *d)
{
        return d->n_open;
}

/* ---- the disk itself */

/* Not under the lock: nobody uses it any more. References are not followed, as everything goes. */
static void log_drop(struct sim_disk *d)
{
        while (d->log_first) {
                struct sim_undo *u = d->log_first;
                log_unlink(d, u);
                undo_free_memory(u);
        }
}

struct sim_disk *sim_disk_free(struct sim_disk *d)
{
        if (!d)
                return NULL;
        log_drop(d);
        while (d->all_first)
                sim_inode_drop(d, d->all_first);
        for (unsigned n = 0; n < SIM_FD_MAX; n++)
                free(d->fds[n]);
        free(d->fds);
        free(d->hash);
        pthread_mutex_destroy(&d->lock);
        free(d);
        return NULL;
}

int sim_disk_new(uint64_t seed, uint64_t capacity_bytes, struct sim_disk **ret)
{
        struct sim_disk *d = sim_alloc(sizeof *d);
        d->disk.ops = &sim_disk_table;
        pthread_mutex_init(&d->lock, NULL);
        d->random = seed;
        d->capacity = capacity_bytes;
        d->clock = 1000000000ull * NS_PER_SEC;
        d->next_ino = 2;
        d->fds = sim_alloc(SIM_FD_MAX * sizeof(struct sim_fd *));
        d->root = sim_inode_ref(sim_inode_new(d));
        d->root->a = (struct sim_attr){.mode = S_IFDIR | 0755, .nlink = 2};
        d->root->a.atime = d->root->a.mtime = d->root->a.ctime = sim_now_ts(d);
        sim_charge(d, d->root, (int64_t)sim_inode_cost(d->root));
        *ret = d;
        return 0;
}

struct disk *sim_disk_ops(struct sim_disk *d)
{
        return &d->disk;
}

struct sim_disk *sim_enter(struct disk *disk)
{
        struct sim_disk *d = CONTAINER_OF(disk, struct sim_disk, disk);
        pthread_mutex_lock(&d->lock);
        return d;
}

void sim_leave(struct sim_disk **p)
{
        struct sim_disk *d = *p;
        if (d->stop_pending) {
                d->stopped = true;
                d->stop_pending = false;
        }
        sim_log_trim(d);
        pthread_mutex_unlock(&d->lock);
}
