/* The kernel's operations: one table, from which come the decoder, its checks, the names in logs, `struct fuse_ops`.
 *
 *      X(NAME, name, in, names, data, minor, missing)
 *
 *  NAME     opcode FUSE_NAME
 *  name     of the function in struct fuse_ops and of the argument in union fuse_in
 *  in       the fixed part is `struct fuse_IN_in`; `no`: there is none
 *  names    the NUL-terminated strings that follow it: NONE, NAME (of a file), DOTS (the same, or "." or ".."),
 *           NAMES (two), LINK (a name and a link's target), WORD (whatever is not empty: an xattr's name)
 *  data     what follows then: NONE, VALUE (`size` of the fixed part says how much), REST (what the message has left)
 *  minor    first protocol 7.MINOR that has it
 *  missing  errno for the kernel when the file system has no such function. ENOSYS makes the kernel do without it for
 *           the life of the mount, so it stands only where that is harmless
 *
 * What the layer handles itself - INIT, INTERRUPT, FORGET, BATCH_FORGET, DESTROY - is not in it.
 */
#pragma once

#include "fuse/kernel.h"

/* clang-format off */
#define FUSE_OPERATIONS(X)                                                                                             \
        X(LOOKUP,             lookup,             no,              DOTS,  NONE,   0, ENOTSUP)                          \
        X(GETATTR,            getattr,            getattr,         NONE,  NONE,   0, ENOTSUP)                          \
        X(STATX,              statx,              statx,           NONE,  NONE,  39, ENOSYS)                           \
        X(SETATTR,            setattr,            setattr,         NONE,  NONE,   0, EROFS)                            \
        X(READLINK,           readlink,           no,              NONE,  NONE,   0, EINVAL)                           \
        X(SYMLINK,            symlink,            no,              LINK,  NONE,   0, EPERM)                            \
        X(MKNOD,              mknod,              mknod,           NAME,  NONE,   0, EPERM)                            \
        X(MKDIR,              mkdir,              mkdir,           NAME,  NONE,   0, EPERM)                            \
        X(UNLINK,             unlink,             no,              NAME,  NONE,   0, EROFS)                            \
        X(RMDIR,              rmdir,              no,              NAME,  NONE,   0, EROFS)                            \
        X(RENAME,             rename,             rename,          NAMES, NONE,   0, EROFS)                            \
        X(RENAME2,            rename2,            rename2,         NAMES, NONE,  23, EINVAL)                           \
        X(LINK,               link,               link,            NAME,  NONE,   0, EPERM)                            \
        X(OPEN,               open,               open,            NONE,  NONE,   0, ENOTSUP)                          \
        X(READ,               read,               read,            NONE,  NONE,   0, ENOTSUP)                          \
        X(WRITE,              write,              write,           NONE,  VALUE,  0, EROFS)                            \
        X(STATFS,             statfs,             no,              NONE,  NONE,   0, ENOTSUP)                          \
        X(RELEASE,            release,            release,         NONE,  NONE,   0, ENOTSUP)                          \
        X(FSYNC,              fsync,              fsync,           NONE,  NONE,   0, ENOTSUP)                          \
        X(SETXATTR,           setxattr,           setxattr,        WORD,  VALUE,  0, ENOTSUP)                          \
        X(GETXATTR,           getxattr,           getxattr,        WORD,  NONE,   0, ENOTSUP)                          \
        X(LISTXATTR,          listxattr,          getxattr,        NONE,  NONE,   0, ENOTSUP)                          \
        X(REMOVEXATTR,        removexattr,        no,              WORD,  NONE,   0, ENOTSUP)                          \
        X(FLUSH,              flush,              flush,           NONE,  NONE,   0, ENOSYS)                           \
        X(OPENDIR,            opendir,            open,            NONE,  NONE,   0, ENOTSUP)                          \
        X(READDIR,            readdir,            read,            NONE,  NONE,   0, ENOTSUP)                          \
        X(READDIRPLUS,        readdirplus,        read,            NONE,  NONE,  21, ENOTSUP)                          \
        X(RELEASEDIR,         releasedir,         release,         NONE,  NONE,   0, ENOTSUP)                          \
        X(FSYNCDIR,           fsyncdir,           fsync,           NONE,  NONE,   0, ENOSYS)                           \
        X(GETLK,              getlk,              lk,              NONE,  NONE,   7, ENOTSUP)                          \
        X(SETLK,              setlk,              lk,              NONE,  NONE,   7, ENOTSUP)                          \
        X(SETLKW,             setlkw,             lk,              NONE,  NONE,   7, ENOTSUP)                          \
        X(ACCESS,             access,             access,          NONE,  NONE,   0, ENOSYS)                           \
        X(CREATE,             create,             create,          NAME,  NONE,   0, ENOSYS)                           \
        X(BMAP,               bmap,               bmap,            NONE,  NONE,   8, ENOSYS)                           \
        X(IOCTL,              ioctl,              ioctl,           NONE,  REST,  11, ENOTTY)                           \
        X(POLL,               poll,               poll,            NONE,  NONE,  11, ENOSYS)                           \
        X(FALLOCATE,          fallocate,          fallocate,       NONE,  NONE,  19, ENOSYS)                           \
        X(LSEEK,              lseek,              lseek,           NONE,  NONE,  24, ENOSYS)                           \
        X(COPY_FILE_RANGE,    copy_file_range,    copy_file_range, NONE,  NONE,  28, ENOSYS)                           \
        X(COPY_FILE_RANGE_64, copy_file_range_64, copy_file_range, NONE,  NONE,  45, ENOSYS)                           \
        X(SYNCFS,             syncfs,             syncfs,          NONE,  NONE,  34, ENOSYS)                           \
        X(TMPFILE,            tmpfile,            create,          WORD,  NONE,  37, ENOTSUP)
/* clang-format on */

/* The fixed part of a request, by operation. Valid as long as the request. */
union fuse_in {
        const void *raw;
#define FUSE_IN_MEMBER_(NAME, name, in, names, data, minor, missing) const struct fuse_##in##_in *name;
        FUSE_OPERATIONS(FUSE_IN_MEMBER_)
#undef FUSE_IN_MEMBER_
};
