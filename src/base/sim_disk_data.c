/* The simulated disk: contents of regular files.
 *
 * A file is a sorted array of pages; what has no page is a hole. Writing marks a page dirty and remembers what the
 * medium has; the medium catches up at fsync, or by chance when a dirty page is written again (the kernel's
 * write-back). Space is taken when a page comes to be. Truncation, punching and zeroing are metadata: they go to the
 * log and act on both the page and its medium.
 *
 * Invariant: bytes between the end of the file and the end of its last page are zero.
 * Called with the disk's lock held, except the sim_op_* calls, which take it.
 */
#include "base/sim_disk_priv.h"

#include <assert.h>

#define WRITE_BACK_ODDS 4 /* one in so many rewrites of a dirty page finds it written back */
#define COPY_CHUNK (16u * SIM_PAGE)
#define IOV_COUNT_MAX 1024

/* ---- pages */

static void content_set(struct sim_content *c, enum sim_content_kind kind, uint8_t *bytes)
{
        free(c->bytes);
        *c = (struct sim_content){.kind = kind, .bytes = bytes};
}

static void content_copy(struct sim_content *to, const struct sim_content *from)
{
        content_set(to, from->kind, from->kind == SIM_DATA ? sim_copy(from->bytes, SIM_PAGE) : NULL);
}

static void content_zero(struct sim_content *c, size_t from, size_t to)
{
        if (c->kind == SIM_DATA)
                memset(c->bytes + from, 0, to - from);
}

void sim_page_free(struct sim_page *p)
{
        if (!p)
                return;
        free(p->now.bytes);
        free(p->medium.bytes);
        free(p);
}

static struct sim_page *page_new(uint64_t index, enum sim_content_kind kind)
{
        struct sim_page *p = sim_alloc(sizeof *p);
        p->index = index;
        content_set(&p->now, kind, kind == SIM_DATA ? sim_alloc(SIM_PAGE) : NULL);
        return p;
}

static struct sim_page *page_copy(const struct sim_page *p)
{
        struct sim_page *copy = sim_alloc(sizeof *copy);
        copy->index = p->index;
        copy->dirty = p->dirty;
        content_copy(&copy->now, &p->now);
        content_copy(&copy->medium, &p->medium);
        return copy;
}

/* The place in the array of the first page that is not before INDEX. */
static size_t page_place(const struct sim_inode *i, uint64_t index)
{
        size_t low = 0, high = i->n_pages;
        while (low < high) {
                size_t middle = low + (high - low) / 2;
                if (i->pages[middle]->index < index)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

struct sim_page *sim_page_find(const struct sim_inode *i, uint64_t index)
{
        size_t at = page_place(i, index);
        return at < i->n_pages && i->pages[at]->index == index ? i->pages[at] : NULL;
}

void sim_page_put(struct sim_inode *i, struct sim_page *p)
{
        size_t at = page_place(i, p->index);
        assert(at == i->n_pages || i->pages[at]->index != p->index);
        if (i->n_pages == i->cap_pages) {
                i->cap_pages = i->cap_pages ? i->cap_pages * 2 : 4;
                i->pages = sim_realloc(i->pages, i->cap_pages * sizeof(struct sim_page *));
        }
        memmove(i->pages + at + 1, i->pages + at, (i->n_pages - at) * sizeof(struct sim_page *));
        i->pages[at] = p;
        i->n_pages++;
}

static struct sim_page *page_take_at(struct sim_inode *i, size_t at)
{
        struct sim_page *p = i->pages[at];
        i->n_pages--;
        memmove(i->pages + at, i->pages + at + 1, (i->n_pages - at) * sizeof(struct sim_page *));
        return p;
}

struct sim_page *sim_page_take(struct sim_inode *i, uint64_t index)
{
        size_t at = page_place(i, index);
        return at < i->n_pages && i->pages[at]->index == index ? page_take_at(i, at) : NULL;
}

void sim_data_free(struct sim_inode *i)
{
        for (size_t n = 0; n < i->n_pages; n++)
                sim_page_free(i->pages[n]);
        free(i->pages);
}

/* ---- what the medium has */

static void page_clean(struct sim_page *p)
{
        content_set(&p->medium, SIM_HOLE, NULL);
        p->dirty = false;
}

void sim_data_synced(struct sim_inode *i)
{
        for (size_t n = 0; n < i->n_pages; n++)
                page_clean(i->pages[n]);
}

void sim_data_grown(struct sim_inode *i, int64_t from)
{
        for (size_t n = 0; n < i->n_pages; n++)
                if ((i->pages[n]->index + 1) * SIM_PAGE > (uint64_t)from)
                        page_clean(i->pages[n]);
}

static void page_lose(struct sim_page *p)
{
        free(p->now.bytes);
        p->now = p->medium;
        p->medium = (struct sim_content){.kind = SIM_HOLE};
        p->dirty = false;
}

/* A size that was taken back leaves nothing behind it but space that was asked for. */
static bool page_fits(struct sim_page *p, int64_t size)
{
        uint64_t start = p->index * SIM_PAGE;
        if (start >= (uint64_t)size)
                return p->now.kind == SIM_UNWRITTEN;
        if ((uint64_t)size - start < SIM_PAGE)
                content_zero(&p->now, (uint64_t)size - start, SIM_PAGE);
        return p->now.kind != SIM_HOLE;
}

void sim_data_power_cut(struct sim_disk *d, struct sim_inode *i)
{
        size_t kept = 0;
        for (size_t n = 0; n < i->n_pages; n++) {
                struct sim_page *p = i->pages[n];
                if (p->dirty && sim_random_next(d) % 2)
                        page_lose(p);
                page_clean(p);
                if (page_fits(p, i->a.size))
                        i->pages[kept++] = p;
                else
                        sim_page_free(p);
        }
        i->n_pages = kept;
}

/* ---- changes inside a transaction */

void sim_data_changed(struct sim_disk *d, struct sim_inode *i)
{
        sim_log_attr(d, i);
        i->a.mtime = i->a.ctime = sim_now_ts(d);
        sim_xattr_forget_capability(d, i);
}

static void page_cut(struct sim_disk *d, struct sim_inode *i, size_t at, int64_t from, int64_t to)
{
        struct sim_page *p = i->pages[at];
        int64_t start = (int64_t)(p->index * SIM_PAGE);
        if (from <= start && start + SIM_PAGE <= to) {
                sim_log_page(d, i, p->index, page_take_at(i, at));
                sim_charge(d, i, -(int64_t)SIM_PAGE);
                return;
        }
        sim_log_page(d, i, p->index, page_copy(p));
        size_t a = (size_t)(MAX(from, start) - start);
        size_t b = (size_t)(MIN(to, start + SIM_PAGE) - start);
        content_zero(&p->now, a, b);
        content_zero(&p->medium, a, b);
}

/* Bytes [FROM, TO) become zeros; pages wholly inside become holes. */
static void data_punch(struct sim_disk *d, struct sim_inode *i, int64_t from, int64_t to)
{
        size_t first = page_place(i, (uint64_t)from / SIM_PAGE);
        for (size_t at = page_place(i, ((uint64_t)to + SIM_PAGE - 1) / SIM_PAGE); at > first; at--)
                page_cut(d, i, at - 1, from, to);
}

/* Every hole that [FROM, TO) touches becomes unwritten space. */
static void data_allocate(struct sim_disk *d, struct sim_inode *i, int64_t from, int64_t to)
{
        for (uint64_t index = (uint64_t)from / SIM_PAGE; index * SIM_PAGE < (uint64_t)to; index++) {
                if (sim_page_find(i, index))
                        continue;
                sim_log_page(d, i, index, NULL);
                sim_page_put(i, page_new(index, SIM_UNWRITTEN));
                sim_charge(d, i, SIM_PAGE);
        }
}

void sim_data_resize(struct sim_disk *d, struct sim_inode *i, int64_t size)
{
        sim_data_changed(d, i);
        sim_log_data(d, i);
        if (size < i->a.size)
                data_punch(d, i, size, INT64_MAX - SIM_PAGE);
        i->a.size = size;
}

static struct sim_page *page_for_write(struct sim_disk *d, struct sim_inode *i, uint64_t index)
{
        struct sim_page *p = sim_page_find(i, index);
        if (!p) {
                p = page_new(index, SIM_DATA);
                sim_page_put(i, p);
                sim_charge(d, i, SIM_PAGE);
        } else if (!p->dirty || sim_random_next(d) % WRITE_BACK_ODDS == 0) {
                content_copy(&p->medium, &p->now);
        }
        p->dirty = true;
        if (p->now.kind != SIM_DATA)
                content_set(&p->now, SIM_DATA, sim_alloc(SIM_PAGE));
        return p;
}

static void data_write(struct sim_disk *d, struct sim_inode *i, int64_t off, const uint8_t *bytes, size_t len)
{
        while (len > 0) {
                size_t at = (size_t)(off % SIM_PAGE);
                size_t n = MIN(len, SIM_PAGE - at);
                memcpy(page_for_write(d, i, (uint64_t)off / SIM_PAGE)->now.bytes + at, bytes, n);
                off += (int64_t)n;
                bytes += n;
                len -= n;
        }
}

static void data_read(const struct sim_inode *i, int64_t off, uint8_t *bytes, size_t len)
{
        while (len > 0) {
                size_t at = (size_t)(off % SIM_PAGE);
                size_t n = MIN(len, SIM_PAGE - at);
                const struct sim_page *p = sim_page_find(i, (uint64_t)off / SIM_PAGE);
                if (p && p->now.kind == SIM_DATA)
                        memcpy(bytes, p->now.bytes + at, n);
                else
                        memset(bytes, 0, n);
                off += (int64_t)n;
                bytes += n;
                len -= n;
        }
}

/* Bytes of space that [FROM, TO) lacks. */
static uint64_t space_missing(const struct sim_inode *i, int64_t from, int64_t to)
{
        uint64_t first = (uint64_t)from / SIM_PAGE;
        uint64_t end = ((uint64_t)to + SIM_PAGE - 1) / SIM_PAGE;
        return (end - first - (page_place(i, end) - page_place(i, first))) * SIM_PAGE;
}

/* How many of LEN bytes at OFF the disk has room for. */
static size_t room_for_write(const struct sim_disk *d, const struct sim_inode *i, int64_t off, size_t len)
{
        if (sim_has_room(d, space_missing(i, off, off + (int64_t)len)))
                return len;
        int64_t end = off;
        uint64_t missing = 0;
        while (end < off + (int64_t)len) {
                int64_t next = (end / SIM_PAGE + 1) * SIM_PAGE;
                missing += sim_page_find(i, (uint64_t)end / SIM_PAGE) ? 0 : SIM_PAGE;
                if (!sim_has_room(d, missing))
                        break;
                end = next;
        }
        return MIN(len, (size_t)(end - off));
}

/* How many of LEN bytes may be written at OFF; opens the transaction. */
static ssize_t write_begin(struct sim_disk *d, struct sim_inode *i, int64_t off, size_t len)
{
        if (off >= SIM_FILE_MAX)
                return -EFBIG;
        len = room_for_write(d, i, off, MIN(len, (size_t)(SIM_FILE_MAX - off)));
        if (len == 0)
                return -ENOSPC;
        int r = sim_txn_begin(d);
        if (r < 0)
                return r;
        sim_data_changed(d, i);
        if (off + (int64_t)len > i->a.size) {
                sim_log_data(d, i);
                i->a.size = off + (int64_t)len;
        }
        return (ssize_t)len;
}

/* ---- calls */

/* The number of bytes; -EINVAL as the kernel has it. */
static ssize_t iov_bytes(const struct iovec *iov, int n)
{
        if (n < 0 || n > IOV_COUNT_MAX)
                return -EINVAL;
        size_t total = 0;
        for (int k = 0; k < n; k++) {
                if (iov[k].iov_len > SSIZE_MAX - total)
                        return -EINVAL;
                total += iov[k].iov_len;
        }
        return (ssize_t)total;
}

static int io_check(struct sim_disk *d, int fd, off_t off, int denied, struct sim_fd **ret)
{
        if (d->stopped)
                return -EIO;
        if (off < 0)
                return -EINVAL;
        struct sim_fd *f = sim_fd_usable(d, fd);
        if (!f)
                return -EBADF;
        if (S_ISFIFO(f->inode->a.mode))
                return -ESPIPE;
        if ((f->flags & O_ACCMODE) == denied)
                return -EBADF;
        *ret = f;
        return 0;
}

ssize_t sim_op_preadv(struct disk *disk, int fd, const struct iovec *iov, int n, off_t off)
{
        _cleanup_(sim_leave) struct sim_disk *d = sim_enter(disk);
        struct sim_fd *f;
        int r = io_check(d, fd, off, O_WRONLY, &f);
        if (r < 0)
                return r;
        ssize_t wanted = iov_bytes(iov, n);
        if (wanted <= 0)
                return wanted;
        if (S_ISDIR(f->inode->a.mode))
                return -EISDIR;
        if (off >= f->inode->a.size)
                return 0;
        ssize_t total = MIN(wanted, f->inode->a.size - off);
        ssize_t done = 0;
        for (int k = 0; done < total; k++) {
                size_t part = MIN(iov[k].iov_len, (size_t)(total - done));
                data_read(f->inode, off + done, iov[k].iov_base, part);
                done += (ssize_t)part;
        }
        return total;
}

ssize_t sim_op_pwritev(struct disk *disk, int fd, const struct iovec *iov, int n, off_t off)
{
        _cleanup_(sim_leave) struct sim_disk *d = sim_enter(disk);
        struct sim_fd *f;
        int r = io_check(d, fd, off, O_RDONLY, &f);
        if (r < 0)
                return r;
        ssize_t wanted = iov_bytes(iov, n);
        if (wanted <= 0)
                return wanted;
        if (f->flags & O_APPEND)
                off = f->inode->a.size;
        ssize_t total = write_begin(d, f->inode, off, (size_t)wanted);
        ssize_t done = 0;
        for (int k = 0; done < total; k++) {
                size_t part = MIN(iov[k].iov_len, (size_t)(total - done));
                data_write(d, f->inode, off + done, iov[k].iov_base, part);
                done += (ssize_t)part;
        }
        return total;
}

static int truncate_inode(struct sim_disk *d, struct sim_inode *i, off_t size)
{
        if (size > i->a.size && size > SIM_FILE_MAX)
                return -EFBIG;
        int r = sim_txn_begin(d);
        if (r < 0)
                return r;
        sim_data_resize(d, i, size);
        return 0;
}

int sim_op_truncate(struct disk *disk, int dirfd, const char *path, off_t size)
{
        _cleanup_(sim_leave) struct sim_disk *d = sim_enter(disk);
        if (d->stopped)
                return -EIO;
        struct sim_inode *i;
        int r = sim_lookup(d, dirfd, path, SIM_EMPTY, &i);
        if (r < 0)
                return r;
        if (size < 0)
                return -EINVAL;
        if (S_ISDIR(i->a.mode))
                return -EISDIR;
        if (!S_ISREG(i->a.mode))
                return -EINVAL;
        return truncate_inode(d, i, size);
}

int sim_op_ftruncate(struct disk *disk, int fd, off_t size)
{
        _cleanup_(sim_leave) struct sim_disk *d = sim_enter(disk);
        if (d->stopped)
                return -EIO;
        if (size < 0)
                return -EINVAL;
        struct sim_fd *f = sim_fd_usable(d, fd);
        if (!f)
                return -EBADF;
        if (!S_ISREG(f->inode->a.mode) || (f->flags & O_ACCMODE) == O_RDONLY)
                return -EINVAL;
        return truncate_inode(d, f->inode, size);
}

static int fallocate_check(struct sim_fd *f, int mode, off_t off, off_t len)
{
        if (off < 0 || len <= 0)
                return -EINVAL;
        int what = mode & ~FALLOC_FL_KEEP_SIZE;
        if (what != 0 && what != FALLOC_FL_PUNCH_HOLE && what != FALLOC_FL_ZERO_RANGE)
                return -EOPNOTSUPP;
        if (what == FALLOC_FL_PUNCH_HOLE && !(mode & FALLOC_FL_KEEP_SIZE))
                return -EOPNOTSUPP;
        if ((f->flags & O_ACCMODE) == O_RDONLY)
                return -EBADF;
        if (what != 0 && (f->flags & O_APPEND) && !S_ISREG(f->inode->a.mode))
                return -EPERM;
        if (S_ISFIFO(f->inode->a.mode))
                return -ESPIPE;
        if (!S_ISREG(f->inode->a.mode))
                return -ENODEV;
        return off > SIM_FILE_MAX - len ? -EFBIG : 0;
}

/* A hole that reaches over the end of the file takes the whole last page, as on ext4. */
static off_t punch_end(const struct sim_inode *i, off_t end)
{
        return end > i->a.size ? (i->a.size + SIM_PAGE - 1) / SIM_PAGE * SIM_PAGE : end;
}

int sim_op_fallocate(struct disk *disk, int fd, int mode, off_t off, off_t len)
{
        _cleanup_(sim_leave) struct sim_disk *d = sim_enter(disk);
        if (d->stopped)
                return -EIO;
        struct sim_fd *f = sim_fd_usable(d, fd);
        if (!f)
                return -EBADF;
        int r = fallocate_check(f, mode, off, len);
        if (r < 0)
                return r;
        struct sim_inode *i = f->inode;
        bool take_space = !(mode & FALLOC_FL_PUNCH_HOLE);
        if (take_space && !sim_has_room(d, space_missing(i, off, off + len)))
                return -ENOSPC;
        r = sim_txn_begin(d);
        if (r < 0)
                return r;
        sim_data_changed(d, i);
        sim_log_data(d, i);
        off_t end = (mode & FALLOC_FL_PUNCH_HOLE) ? punch_end(i, off + len) : off + len;
        if ((mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) && off < end)
                data_punch(d, i, off, end);
        if (take_space)
                data_allocate(d, i, off, off + len);
        if (take_space && !(mode & FALLOC_FL_KEEP_SIZE))
                i->a.size = MAX(i->a.size, off + len);
        return 0;
}

/* The first page at or after OFF that is data, or that is not, as SEEK_DATA and SEEK_HOLE see it. */
static off_t seek_content(const struct sim_inode *i, off_t off, bool data)
{
        if (off < 0 || off >= i->a.size)
                return -ENXIO;
        for (uint64_t index = (uint64_t)off / SIM_PAGE;; index++) {
                off_t at = MAX(off, (off_t)(index * SIM_PAGE));
                size_t place = page_place(i, index);
                if (place == i->n_pages || at >= i->a.size)
                        return data ? -ENXIO : MIN(at, i->a.size);
                const struct sim_page *p = i->pages[place];
                bool is_data = p->index == index && p->now.kind == SIM_DATA;
                if (is_data == data)
                        return at;
                if (data && p->index > index)
                        index = p->index - 1; /* over the hole in one step */
        }
}

static off_t seek_to(const struct sim_fd *f, off_t off, int whence)
{
        off_t base = 0;
        switch (whence) {
        case SEEK_DATA:
        case SEEK_HOLE:
                return S_ISREG(f->inode->a.mode) ? seek_content(f->inode, off, whence == SEEK_DATA) : -EINVAL;
        case SEEK_CUR:
                base = f->pos;
                break;
        case SEEK_END:
                base = f->inode->a.size;
                break;
        case SEEK_SET:
                break;
        default:
                return -EINVAL;
        }
        off_t limit = S_ISREG(f->inode->a.mode) ? SIM_FILE_MAX : INT64_MAX;
        if (__builtin_add_overflow(base, off, &base) || base < 0 || base > limit)
                return -EINVAL;
        return base;
}

off_t sim_op_lseek(struct disk *disk, int fd, off_t off, int whence)
{
        _cleanup_(sim_leave) struct sim_disk *d = sim_enter(disk);
        if (d->stopped)
                return -EIO;
        struct sim_fd *f = sim_fd_usable(d, fd);
        if (!f)
                return -EBADF;
        if (S_ISFIFO(f->inode->a.mode))
                return -ESPIPE;
        off_t at = seek_to(f, off, whence);
        if (at >= 0)
                f->pos = at;
        return at;
}

/* The number of bytes to copy, cut at the end of the source. */
static int64_t copy_check(const struct sim_fd *in, off_t off_in, const struct sim_fd *out, off_t off_out, size_t len)
{
        const struct sim_inode *i = in->inode, *o = out->inode;
        if (S_ISDIR(i->a.mode) || S_ISDIR(o->a.mode))
                return -EISDIR;
        if (!S_ISREG(i->a.mode) || !S_ISREG(o->a.mode))
                return -EINVAL;
        if ((in->flags & O_ACCMODE) == O_WRONLY || (out->flags & O_ACCMODE) == O_RDONLY || (out->flags & O_APPEND))
                return -EBADF;
        if (off_in < 0 || off_out < 0)
                return -EINVAL;
        if ((uint64_t)off_in > UINT64_MAX - len || (uint64_t)off_out > UINT64_MAX - len)
                return -EOVERFLOW;
        int64_t n = off_in >= i->a.size ? 0 : (int64_t)MIN((uint64_t)len, (uint64_t)(i->a.size - off_in));
        if (n > 0 && off_out >= SIM_FILE_MAX)
                return -EFBIG;
        n = MIN(n, SIM_FILE_MAX - off_out);
        if (i == o && off_out + n > off_in && off_out < off_in + n)
                return -EINVAL;
        return n;
}

ssize_t sim_op_copy(struct disk *disk, int fd_in, off_t off_in, int fd_out, off_t off_out, size_t len)
{
        _cleanup_(sim_leave) struct sim_disk *d = sim_enter(disk);
        if (d->stopped)
                return -EIO;
        struct sim_fd *in = sim_fd_usable(d, fd_in);
        struct sim_fd *out = sim_fd_usable(d, fd_out);
        if (!in || !out)
                return -EBADF;
        int64_t n = copy_check(in, off_in, out, off_out, len);
        if (n <= 0)
                return n;
        ssize_t total = write_begin(d, out->inode, off_out, (size_t)n);
        _cleanup_free_ uint8_t *chunk = sim_alloc(COPY_CHUNK);
        for (ssize_t done = 0; done < total;) {
                size_t part = MIN((size_t)COPY_CHUNK, (size_t)(total - done));
                data_read(in->inode, off_in + done, chunk, part);
                data_write(d, out->inode, off_out + done, chunk, part);
                done += (ssize_t)part;
        }
        return total;
}
