/* The space reserve and read-only volumes: two questions handlers ask first (spec: brick.md §16.2, §19.1).
 *
 * `brick.full` is kept by space_refresh(), called from maintenance every few seconds and by FALLOCATE at once; reading
 * it is free. Any thread.
 */
#include "brick/internal.h"

int space_check(struct op *op)
{
        if (!atomic_load_explicit(&op->brick->full, memory_order_relaxed))
                return 0;
        return op_internal(op) || op->xdata.internal_fop.present ? 0 : -ENOSPC;
}

int read_only_check(struct op *op)
{
        return op->brick->options->read_only && !op_internal(op) ? -EROFS : 0;
}

uint64_t space_reserved_blocks(const struct brick *b, const struct statvfs *v)
{
        const struct brick_reserve *reserve = &b->options->reserve;
        if (!reserve->is_bytes)
                return (uint64_t)((double)v->f_blocks * reserve->percent / 100.0 + 0.5);
        uint64_t bsize = v->f_frsize ? v->f_frsize : v->f_bsize ? v->f_bsize : 1;
        return reserve->bytes / bsize + (reserve->bytes % bsize != 0);
}

int space_refresh(struct brick *b)
{
        struct statvfs v;
        int r = disk_statvfs(b->disk, b->root_fd, &v);
        if (r < 0)
                return r;
        uint64_t reserved = space_reserved_blocks(b, &v);
        atomic_store_explicit(&b->full, reserved > 0 && v.f_bfree <= reserved, memory_order_relaxed);
        return 0;
}
