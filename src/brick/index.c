/* The index of pending work, as far as answers need it (spec: brick.md §12.4, §12.5).
 *
 * Entries are names of gfids in .glusterfs/indices/xattrop, written by whoever changes the changelog attributes. Here
 * they are only looked at. Any thread, no locks.
 */
#include "brick/internal.h"

#define INDEX_DIR ".glusterfs/indices/xattrop"
#define INDEX_READ_SIZE 4096

/* Is a gfid among the N bytes of directory entries? Base files (xattrop-UUID) and dots are not. */
static bool entries_have_gfid(const uint8_t *data, size_t n)
{
        for (size_t at = 0; at < n;) {
                const struct disk_dirent *d = (const void *)(data + at);
                struct gfid g;
                if (gfid_parse(d->d_name, strlen(d->d_name), &g) == 0)
                        return true;
                at += d->d_reclen;
        }
        return false;
}

bool index_pending(struct brick *b)
{
        int fd = disk_open(b->disk, b->root_fd, INDEX_DIR, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
        if (fd < 0)
                return false;
        _Alignas(struct disk_dirent) uint8_t data[INDEX_READ_SIZE];
        bool found = false;
        ssize_t n;
        while (!found && (n = disk_getdents(b->disk, fd, data, sizeof data)) > 0)
                found = entries_have_gfid(data, (size_t)n);
        disk_close(b->disk, fd);
        return found;
}

int index_getxattr(struct op *op, const char *name, struct dict *dict)
{
        (void)op;
        (void)dict;
        return starts_with(name, "glusterfs.xattrop_") ? -ENODATA : -ENOENT;
}
