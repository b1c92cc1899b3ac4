/* Lending open files to clients on this machine (local_read.h).
 *
 * What is lent is a description of its own, opened again read-only: the brick's may be writable and shares its flags. The
 * right to read was judged when the client opened the file, as for its READs. Any thread; may block as an open does.
 */
#include "brick/local_read.h"

#include <fcntl.h>
#include <stdio.h>

#include "proto/local_read.h"

#define PROC_PATH_MAX 32

/* Under mandatory locks every READ is to be looked at. */
static bool may_lend(const struct op *op, const struct io_fd *io)
{
        const struct session *s = op->session;
        return s && s->lend && op->xdata.lend.present && op->brick->options->mandatory_locking == MANDATORY_OFF && io->of &&
               !io->of->is_dir && (io->of->flags & O_ACCMODE) != O_WRONLY;
}

void local_read_lend(struct op *op, const struct io_fd *io)
{
        char path[PROC_PATH_MAX];
        struct stat st;
        if (!may_lend(op, io))
                return;
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", io->fd);
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_ino != io->ino)
                return;
        const struct local_loan loan = {.number = (uint64_t)op->xdata.lend.value,
                                        .flags = op->brick->options->ctime ? LOCAL_LOAN_MDATA : 0};
        op->session->lend(op->session->conn, &loan, fd);
}
