/* Directory entries for READDIR and READDIRPLUS, in a buffer of what the kernel asked for.
 *
 * Invariant: the buffer holds whole records, each padded to 8 bytes, at most `max` bytes. Padding is zeroed: nothing of
 * an earlier request leaves the process. Thread: the loop's.
 */
#include "fuse/internal.h"

#include <limits.h>

#define MODE_TYPE(mode) (((mode) >> 12) & 15u) /* S_IF… to DT_… */

int fuse_dir_begin(struct fuse_dir *d, struct fuse_request *rq)
{
        size_t max = fuse_reply_max(rq);
        uint8_t *data = arena_alloc_uninitialised(rq->arena, MAX(max, (size_t)1));
        if (!data)
                return -ENOMEM;
        *d = (struct fuse_dir){.data = data, .max = max, .plus = rq->opcode == FUSE_READDIRPLUS};
        return 0;
}

int fuse_dir_add(struct fuse_dir *d, const char *name, size_t length, uint64_t ino, uint32_t type, uint64_t next,
                 const struct fuse_entry *entry)
{
        if (length == 0 || length > NAME_MAX || memchr(name, '/', length) || memchr(name, 0, length))
                return -EINVAL;
        size_t front = d->plus ? sizeof(struct fuse_entry_out) : 0;
        size_t size = FUSE_DIRENT_ALIGN(front + FUSE_NAME_OFFSET + length);
        if (size > d->max - d->len)
                return -ENOSPC;

        uint8_t *at = d->data + d->len;
        if (d->plus) {
                struct fuse_entry_out out = {0};
                if (entry)
                        entry_encode(entry, &out);
                memcpy(at, &out, sizeof out);
        }
        struct fuse_dirent dirent = {.ino = ino, .off = next, .namelen = (uint32_t)length, .type = MODE_TYPE(type)};
        memcpy(at + front, &dirent, FUSE_NAME_OFFSET);
        memcpy(at + front + FUSE_NAME_OFFSET, name, length);
        size_t used = front + FUSE_NAME_OFFSET + length;
        memset(at + used, 0, size - used);
        d->len += size;
        return 0;
}

int fuse_reply_dir(struct fuse_request *rq, const struct fuse_dir *d)
{
        return fuse_reply_data(rq, d->data, d->len);
}
