/* Program 1298437 version 400: every file operation, as a table (spec: wire.md §4.2).
 *
 * FOPS(X) lists X(number, NAME, name). For each there are `struct NAME_fop_req` and `struct NAME_fop_rep` with the
 * fields below, and their descriptors. The payloads of PUT and WRITE follow the XDR part of the call, READ's that
 * of the reply.
 */
#pragma once

#include "proto/message.h"

#define FOP_PROGRAM 1298437u
#define FOP_VERSION 400u

#define FOPS(X)                                                                                                        \
        X(1, STAT, stat)                                                                                               \
        X(2, READLINK, readlink)                                                                                       \
        X(3, MKNOD, mknod)                                                                                             \
        X(4, MKDIR, mkdir)                                                                                             \
        X(5, UNLINK, unlink)                                                                                           \
        X(6, RMDIR, rmdir)                                                                                             \
        X(7, SYMLINK, symlink)                                                                                         \
        X(8, RENAME, rename)                                                                                           \
        X(9, LINK, link)                                                                                               \
        X(10, TRUNCATE, truncate)                                                                                      \
        X(11, OPEN, open)                                                                                              \
        X(12, READ, read)                                                                                              \
        X(13, WRITE, write)                                                                                            \
        X(14, STATFS, statfs)                                                                                          \
        X(15, FLUSH, flush)                                                                                            \
        X(16, FSYNC, fsync)                                                                                            \
        X(17, SETXATTR, setxattr)                                                                                      \
        X(18, GETXATTR, getxattr)                                                                                      \
        X(19, REMOVEXATTR, removexattr)                                                                                \
        X(20, OPENDIR, opendir)                                                                                        \
        X(21, FSYNCDIR, fsyncdir)                                                                                      \
        X(22, ACCESS, access)                                                                                          \
        X(23, CREATE, create)                                                                                          \
        X(24, FTRUNCATE, ftruncate)                                                                                    \
        X(25, FSTAT, fstat)                                                                                            \
        X(26, LK, lk)                                                                                                  \
        X(27, LOOKUP, lookup)                                                                                          \
        X(28, READDIR, readdir)                                                                                        \
        X(29, INODELK, inodelk)                                                                                        \
        X(30, FINODELK, finodelk)                                                                                      \
        X(31, ENTRYLK, entrylk)                                                                                        \
        X(32, FENTRYLK, fentrylk)                                                                                      \
        X(33, XATTROP, xattrop)                                                                                        \
        X(34, FXATTROP, fxattrop)                                                                                      \
        X(35, FGETXATTR, fgetxattr)                                                                                    \
        X(36, FSETXATTR, fsetxattr)                                                                                    \
        X(37, RCHECKSUM, rchecksum)                                                                                    \
        X(38, SETATTR, setattr)                                                                                        \
        X(39, FSETATTR, fsetattr)                                                                                      \
        X(40, READDIRP, readdirp)                                                                                      \
        X(41, RELEASE, release)                                                                                        \
        X(42, RELEASEDIR, releasedir)                                                                                  \
        X(43, FREMOVEXATTR, fremovexattr)                                                                              \
        X(44, FALLOCATE, fallocate)                                                                                    \
        X(45, DISCARD, discard)                                                                                        \
        X(46, ZEROFILL, zerofill)                                                                                      \
        X(47, IPC, ipc)                                                                                                \
        X(48, SEEK, seek)                                                                                              \
        X(50, LEASE, lease)                                                                                            \
        X(51, GETACTIVELK, getactivelk)                                                                                \
        X(52, SETACTIVELK, setactivelk)                                                                                \
        X(53, ICREATE, icreate)                                                                                        \
        X(54, NAMELINK, namelink)                                                                                      \
        X(55, PUT, put)                                                                                                \
        X(56, COPY_FILE_RANGE, copy_file_range)

/* Beginnings of replies; the names are those of the spec. */
#define FOP_R0(F)                                                                                                      \
        F(i32, op_ret, 0) F(i32, op_errno, 0) F(dict, xdata, 0)
#define FOP_R1(F)                                                                                                      \
        FOP_R0(F) F(iatt, stat, 0)
#define FOP_R2(F)                                                                                                      \
        FOP_R0(F) F(iatt, prestat, 0) F(iatt, poststat, 0)
#define FOP_R3(F)                                                                                                      \
        FOP_R0(F) F(iatt, stat, 0) F(iatt, preparent, 0) F(iatt, postparent, 0)
#define FOP_RD(F)                                                                                                      \
        FOP_R0(F) F(dict, dict, 0) F(iatt, prestat, 0) F(iatt, poststat, 0)

#define MSG_STAT_REQ(F)                                                                                                \
        F(gfid, gfid, 0) F(dict, xdata, 0)
#define MSG_STAT_REP(F)                                                                                                \
        FOP_R1(F)
#define MSG_READLINK_REQ(F)                                                                                            \
        F(gfid, gfid, 0) F(u32, size, 0) F(dict, xdata, 0)
#define MSG_READLINK_REP(F)                                                                                            \
        FOP_R0(F) F(iatt, buf, 0) F(text, path, PATH_LIMIT)
#define MSG_MKNOD_REQ(F)                                                                                               \
        F(gfid, pargfid, 0) F(u64, dev, 0) F(u32, mode, 0) F(u32, umask, 0) F(name, bname, 0) F(dict, xdata, 0)
#define MSG_MKNOD_REP(F)                                                                                               \
        FOP_R3(F)
#define MSG_MKDIR_REQ(F)                                                                                               \
        F(gfid, pargfid, 0) F(u32, mode, 0) F(u32, umask, 0) F(name, bname, 0) F(dict, xdata, 0)
#define MSG_MKDIR_REP(F)                                                                                               \
        FOP_R3(F)
#define MSG_UNLINK_REQ(F)                                                                                              \
        F(gfid, pargfid, 0) F(name, bname, 0) F(u32, xflags, 0) F(dict, xdata, 0)
#define MSG_UNLINK_REP(F)                                                                                              \
        FOP_R2(F)
#define MSG_RMDIR_REQ(F)                                                                                               \
        F(gfid, pargfid, 0) F(i32, xflags, 0) F(name, bname, 0) F(dict, xdata, 0)
#define MSG_RMDIR_REP(F)                                                                                               \
        FOP_R2(F)
#define MSG_SYMLINK_REQ(F)                                                                                             \
        F(gfid, pargfid, 0) F(name, bname, 0) F(u32, umask, 0) F(text, linkname, PATH_LIMIT) F(dict, xdata, 0)
#define MSG_SYMLINK_REP(F)                                                                                             \
        FOP_R3(F)
#define MSG_RENAME_REQ(F)                                                                                              \
        F(gfid, oldgfid, 0) F(gfid, newgfid, 0) F(name, oldbname, 0) F(name, newbname, 0) F(dict, xdata, 0)
#define MSG_RENAME_REP(F)                                                                                              \
        FOP_R0(F) F(iatt, stat, 0) F(iatt, preoldparent, 0) F(iatt, postoldparent, 0) F(iatt, prenewparent, 0)         \
        F(iatt, postnewparent, 0)
#define MSG_LINK_REQ(F)                                                                                                \
        F(gfid, oldgfid, 0) F(gfid, newgfid, 0) F(name, newbname, 0) F(dict, xdata, 0)
#define MSG_LINK_REP(F)                                                                                                \
        FOP_R3(F)
#define MSG_TRUNCATE_REQ(F)                                                                                            \
        F(gfid, gfid, 0) F(u64, offset, 0) F(dict, xdata, 0)
#define MSG_TRUNCATE_REP(F)                                                                                            \
        FOP_R2(F)
#define MSG_OPEN_REQ(F)                                                                                                \
        F(gfid, gfid, 0) F(u32, flags, 0) F(dict, xdata, 0)
#define MSG_OPEN_REP(F)                                                                                                \
        FOP_R0(F) F(i64, fd, 0)
#define MSG_READ_REQ(F)                                                                                                \
        F(gfid, gfid, 0) F(i64, fd, 0) F(u64, offset, 0) F(u32, size, 0) F(u32, flag, 0) F(dict, xdata, 0)
#define MSG_READ_REP(F)                                                                                                \
        F(i32, op_ret, 0) F(i32, op_errno, 0) F(iatt, stat, 0) F(plen, size, 0) F(dict, xdata, 0)                      \
        F(payload, data, 0)
#define MSG_WRITE_REQ(F)                                                                                               \
        F(gfid, gfid, 0) F(i64, fd, 0) F(u64, offset, 0) F(plen, size, 0) F(u32, flag, 0) F(dict, xdata, 0)            \
        F(payload, data, 0)
#define MSG_WRITE_REP(F)                                                                                               \
        FOP_R2(F)
#define MSG_STATFS_REQ(F)                                                                                              \
        F(gfid, gfid, 0) F(dict, xdata, 0)
#define MSG_STATFS_REP(F)                                                                                              \
        FOP_R0(F) F(statfs, statfs, 0)
#define MSG_FLUSH_REQ(F)                                                                                               \
        F(gfid, gfid, 0) F(i64, fd, 0) F(dict, xdata, 0)
#define MSG_FLUSH_REP(F)                                                                                               \
        FOP_R0(F)
#define MSG_FSYNC_REQ(F)                                                                                               \
        F(gfid, gfid, 0) F(i64, fd, 0) F(u32, data, 0) F(dict, xdata, 0)
#define MSG_FSYNC_REP(F)                                                                                               \
        FOP_R2(F)
#define MSG_SETXATTR_REQ(F)                                                                                            \
        F(gfid, gfid, 0) F(u32, flags, 0) F(dict, dict, 0) F(dict, xdata, 0)
#define MSG_SETXATTR_REP(F)                                                                                            \
        FOP_R0(F)
#define MSG_GETXATTR_REQ(F)                                                                                            \
        F(gfid, gfid, 0) F(u32, namelen, 0) F(text, name, XATTR_NAME_LIMIT) F(dict, xdata, 0)
#define MSG_GETXATTR_REP(F)                                                                                            \
        FOP_RD(F)
#define MSG_REMOVEXATTR_REQ(F)                                                                                         \
        F(gfid, gfid, 0) F(text, name, XATTR_NAME_LIMIT) F(dict, xdata, 0)
#define MSG_REMOVEXATTR_REP(F)                                                                                         \
        FOP_R0(F)
#define MSG_OPENDIR_REQ(F)                                                                                             \
        F(gfid, gfid, 0) F(dict, xdata, 0)
#define MSG_OPENDIR_REP(F)                                                                                             \
        FOP_R0(F) F(i64, fd, 0)
#define MSG_FSYNCDIR_REQ(F)                                                                                            \
        F(gfid, gfid, 0) F(i64, fd, 0) F(i32, data, 0) F(dict, xdata, 0)
#define MSG_FSYNCDIR_REP(F)                                                                                            \
        FOP_R0(F)
#define MSG_ACCESS_REQ(F)                                                                                              \
        F(gfid, gfid, 0) F(u32, mask, 0) F(dict, xdata, 0)
#define MSG_ACCESS_REP(F)                                                                                              \
        FOP_R0(F)
#define MSG_CREATE_REQ(F)                                                                                              \
        F(gfid, pargfid, 0) F(u32, flags, 0) F(u32, mode, 0) F(u32, umask, 0) F(name, bname, 0)                        \
        F(dict, xdata, 0)
#define MSG_CREATE_REP(F)                                                                                              \
        FOP_R0(F) F(iatt, stat, 0) F(u64, fd, 0) F(iatt, preparent, 0) F(iatt, postparent, 0)
#define MSG_FTRUNCATE_REQ(F)                                                                                           \
        F(gfid, gfid, 0) F(i64, fd, 0) F(u64, offset, 0) F(dict, xdata, 0)
#define MSG_FTRUNCATE_REP(F)                                                                                           \
        FOP_R2(F)
#define MSG_FSTAT_REQ(F)                                                                                               \
        F(gfid, gfid, 0) F(i64, fd, 0) F(dict, xdata, 0)
#define MSG_FSTAT_REP(F)                                                                                               \
        FOP_R1(F)
#define MSG_LK_REQ(F)                                                                                                  \
        F(gfid, gfid, 0) F(i64, fd, 0) F(u32, cmd, 0) F(u32, type, 0) F(flock, flock, 0) F(dict, xdata, 0)
#define MSG_LK_REP(F)                                                                                                  \
        FOP_R0(F) F(flock, flock, 0)
#define MSG_LOOKUP_REQ(F)                                                                                              \
        F(gfid, gfid, 0) F(gfid, pargfid, 0) F(u32, flags, 0) F(name, bname, 0) F(dict, xdata, 0)
#define MSG_LOOKUP_REP(F)                                                                                              \
        FOP_R2(F)
#define MSG_READDIR_REQ(F)                                                                                             \
        F(gfid, gfid, 0) F(i64, fd, 0) F(u64, offset, 0) F(u32, size, 0) F(dict, xdata, 0)
#define MSG_READDIR_REP(F)                                                                                             \
        FOP_R0(F) F(dirents, reply, 0)
#define MSG_INODELK_REQ(F)                                                                                             \
        F(gfid, gfid, 0) F(u32, cmd, 0) F(u32, type, 0) F(flock, flock, 0) F(text, volume, DOMAIN_LIMIT)               \
        F(dict, xdata, 0)
#define MSG_INODELK_REP(F)                                                                                             \
        FOP_R0(F)
#define MSG_FINODELK_REQ(F)                                                                                            \
        F(gfid, gfid, 0) F(i64, fd, 0) F(u32, cmd, 0) F(u32, type, 0) F(flock, flock, 0)                               \
        F(text, volume, DOMAIN_LIMIT) F(dict, xdata, 0)
#define MSG_FINODELK_REP(F)                                                                                            \
        FOP_R0(F)
#define MSG_ENTRYLK_REQ(F)                                                                                             \
        F(gfid, gfid, 0) F(u32, cmd, 0) F(u32, type, 0) F(u64, namelen, 0) F(name, name, 0)                            \
        F(text, volume, DOMAIN_LIMIT) F(dict, xdata, 0)
#define MSG_ENTRYLK_REP(F)                                                                                             \
        FOP_R0(F)
#define MSG_FENTRYLK_REQ(F)                                                                                            \
        F(gfid, gfid, 0) F(i64, fd, 0) F(u32, cmd, 0) F(u32, type, 0) F(u64, namelen, 0) F(name, name, 0)              \
        F(text, volume, DOMAIN_LIMIT) F(dict, xdata, 0)
#define MSG_FENTRYLK_REP(F)                                                                                            \
        FOP_R0(F)
#define MSG_XATTROP_REQ(F)                                                                                             \
        F(gfid, gfid, 0) F(u32, flags, 0) F(dict, dict, 0) F(dict, xdata, 0)
#define MSG_XATTROP_REP(F)                                                                                             \
        FOP_RD(F)
#define MSG_FXATTROP_REQ(F)                                                                                            \
        F(gfid, gfid, 0) F(i64, fd, 0) F(u32, flags, 0) F(dict, dict, 0) F(dict, xdata, 0)
#define MSG_FXATTROP_REP(F)                                                                                            \
        FOP_RD(F)
#define MSG_FGETXATTR_REQ(F)                                                                                           \
        F(gfid, gfid, 0) F(i64, fd, 0) F(u32, namelen, 0) F(text, name, XATTR_NAME_LIMIT) F(dict, xdata, 0)
#define MSG_FGETXATTR_REP(F)                                                                                           \
        FOP_RD(F)
#define MSG_FSETXATTR_REQ(F)                                                                                           \
        F(gfid, gfid, 0) F(i64, fd, 0) F(u32, flags, 0) F(dict, dict, 0) F(dict, xdata, 0)
#define MSG_FSETXATTR_REP(F)                                                                                           \
        FOP_R0(F)
#define MSG_RCHECKSUM_REQ(F)                                                                                           \
        F(gfid, gfid, 0) F(i64, fd, 0) F(u64, offset, 0) F(u32, len, 0) F(u32, flags, 0) F(dict, xdata, 0)
#define MSG_RCHECKSUM_REP(F)                                                                                           \
        FOP_R0(F) F(u32, flags, 0) F(u32, weak_checksum, 0) F(opaque, strong_checksum, 64)
#define MSG_SETATTR_REQ(F)                                                                                             \
        F(gfid, gfid, 0) F(iatt, stbuf, 0) F(i32, valid, 0) F(dict, xdata, 0)
#define MSG_SETATTR_REP(F)                                                                                             \
        FOP_R2(F)
#define MSG_FSETATTR_REQ(F)                                                                                            \
        F(gfid, gfid, 0) F(i64, fd, 0) F(iatt, stbuf, 0) F(i32, valid, 0) F(dict, xdata, 0)
#define MSG_FSETATTR_REP(F)                                                                                            \
        FOP_R2(F)
#define MSG_READDIRP_REQ(F)                                                                                            \
        F(gfid, gfid, 0) F(i64, fd, 0) F(u64, offset, 0) F(u32, size, 0) F(dict, xdata, 0)
#define MSG_READDIRP_REP(F)                                                                                            \
        FOP_R0(F) F(direntps, reply, 0)
#define MSG_RELEASE_REQ(F)                                                                                             \
        F(gfid, gfid, 0) F(i64, fd, 0) F(dict, xdata, 0)
#define MSG_RELEASE_REP(F)                                                                                             \
        FOP_R0(F)
#define MSG_RELEASEDIR_REQ(F)                                                                                          \
        F(gfid, gfid, 0) F(i64, fd, 0) F(dict, xdata, 0)
#define MSG_RELEASEDIR_REP(F)                                                                                          \
        FOP_R0(F)
#define MSG_FREMOVEXATTR_REQ(F)                                                                                        \
        F(gfid, gfid, 0) F(i64, fd, 0) F(text, name, XATTR_NAME_LIMIT) F(dict, xdata, 0)
#define MSG_FREMOVEXATTR_REP(F)                                                                                        \
        FOP_R0(F)
#define MSG_FALLOCATE_REQ(F)                                                                                           \
        F(gfid, gfid, 0) F(i64, fd, 0) F(u32, flags, 0) F(u64, offset, 0) F(u64, size, 0) F(dict, xdata, 0)
#define MSG_FALLOCATE_REP(F)                                                                                           \
        FOP_R2(F)
#define MSG_DISCARD_REQ(F)                                                                                             \
        F(gfid, gfid, 0) F(i64, fd, 0) F(u64, offset, 0) F(u64, size, 0) F(dict, xdata, 0)
#define MSG_DISCARD_REP(F)                                                                                             \
        FOP_R2(F)
#define MSG_ZEROFILL_REQ(F)                                                                                            \
        F(gfid, gfid, 0) F(i64, fd, 0) F(u64, offset, 0) F(u64, size, 0) F(dict, xdata, 0)
#define MSG_ZEROFILL_REP(F)                                                                                            \
        FOP_R2(F)
#define MSG_IPC_REQ(F)                                                                                                 \
        F(i32, op, 0) F(dict, xdata, 0)
#define MSG_IPC_REP(F)                                                                                                 \
        FOP_R0(F)
#define MSG_SEEK_REQ(F)                                                                                                \
        F(gfid, gfid, 0) F(i64, fd, 0) F(u64, offset, 0) F(i32, what, 0) F(dict, xdata, 0)
#define MSG_SEEK_REP(F)                                                                                                \
        FOP_R0(F) F(u64, offset, 0)
#define MSG_LEASE_REQ(F)                                                                                               \
        F(gfid, gfid, 0) F(lease, lease, 0) F(dict, xdata, 0)
#define MSG_LEASE_REP(F)                                                                                               \
        FOP_R0(F) F(lease, lease, 0)
#define MSG_GETACTIVELK_REQ(F)                                                                                         \
        F(gfid, gfid, 0) F(dict, xdata, 0)
#define MSG_GETACTIVELK_REP(F)                                                                                         \
        FOP_R0(F) F(locks, reply, 0)
#define MSG_SETACTIVELK_REQ(F)                                                                                         \
        F(gfid, gfid, 0) F(locks, request, 0) F(dict, xdata, 0)
#define MSG_SETACTIVELK_REP(F)                                                                                         \
        FOP_R0(F)
#define MSG_ICREATE_REQ(F)                                                                                             \
        F(gfid, gfid, 0) F(u32, mode, 0) F(dict, xdata, 0)
#define MSG_ICREATE_REP(F)                                                                                             \
        FOP_R1(F)
#define MSG_NAMELINK_REQ(F)                                                                                            \
        F(gfid, pargfid, 0) F(name, bname, 0) F(dict, xdata, 0)
#define MSG_NAMELINK_REP(F)                                                                                            \
        FOP_R2(F)
#define MSG_PUT_REQ(F)                                                                                                 \
        F(gfid, pargfid, 0) F(name, bname, 0) F(u32, mode, 0) F(u32, umask, 0) F(u32, flag, 0) F(u64, offset, 0)       \
        F(plen, size, 0) F(dict, xattr, 0) F(dict, xdata, 0) F(payload, data, 0)
#define MSG_PUT_REP(F)                                                                                                 \
        FOP_R3(F)
#define MSG_COPY_FILE_RANGE_REQ(F)                                                                                     \
        F(gfid, gfid1, 0) F(gfid, gfid2, 0) F(i64, fd_in, 0) F(i64, fd_out, 0) F(u64, off_in, 0)                       \
        F(u64, off_out, 0) F(u32, size, 0) F(u32, flag, 0) F(dict, xdata, 0)
#define MSG_COPY_FILE_RANGE_REP(F)                                                                                     \
        FOP_R3(F)

MSG_DECLARE(stat_fop_req, MSG_STAT_REQ)
MSG_DECLARE(stat_fop_rep, MSG_STAT_REP)
MSG_DECLARE(readlink_fop_req, MSG_READLINK_REQ)
MSG_DECLARE(readlink_fop_rep, MSG_READLINK_REP)
MSG_DECLARE(mknod_fop_req, MSG_MKNOD_REQ)
MSG_DECLARE(mknod_fop_rep, MSG_MKNOD_REP)
MSG_DECLARE(mkdir_fop_req, MSG_MKDIR_REQ)
MSG_DECLARE(mkdir_fop_rep, MSG_MKDIR_REP)
MSG_DECLARE(unlink_fop_req, MSG_UNLINK_REQ)
MSG_DECLARE(unlink_fop_rep, MSG_UNLINK_REP)
MSG_DECLARE(rmdir_fop_req, MSG_RMDIR_REQ)
MSG_DECLARE(rmdir_fop_rep, MSG_RMDIR_REP)
MSG_DECLARE(symlink_fop_req, MSG_SYMLINK_REQ)
MSG_DECLARE(symlink_fop_rep, MSG_SYMLINK_REP)
MSG_DECLARE(rename_fop_req, MSG_RENAME_REQ)
MSG_DECLARE(rename_fop_rep, MSG_RENAME_REP)
MSG_DECLARE(link_fop_req, MSG_LINK_REQ)
MSG_DECLARE(link_fop_rep, MSG_LINK_REP)
MSG_DECLARE(truncate_fop_req, MSG_TRUNCATE_REQ)
MSG_DECLARE(truncate_fop_rep, MSG_TRUNCATE_REP)
MSG_DECLARE(open_fop_req, MSG_OPEN_REQ)
MSG_DECLARE(open_fop_rep, MSG_OPEN_REP)
MSG_DECLARE(read_fop_req, MSG_READ_REQ)
MSG_DECLARE(read_fop_rep, MSG_READ_REP)
MSG_DECLARE(write_fop_req, MSG_WRITE_REQ)
MSG_DECLARE(write_fop_rep, MSG_WRITE_REP)
MSG_DECLARE(statfs_fop_req, MSG_STATFS_REQ)
MSG_DECLARE(statfs_fop_rep, MSG_STATFS_REP)
MSG_DECLARE(flush_fop_req, MSG_FLUSH_REQ)
MSG_DECLARE(flush_fop_rep, MSG_FLUSH_REP)
MSG_DECLARE(fsync_fop_req, MSG_FSYNC_REQ)
MSG_DECLARE(fsync_fop_rep, MSG_FSYNC_REP)
MSG_DECLARE(setxattr_fop_req, MSG_SETXATTR_REQ)
MSG_DECLARE(setxattr_fop_rep, MSG_SETXATTR_REP)
MSG_DECLARE(getxattr_fop_req, MSG_GETXATTR_REQ)
MSG_DECLARE(getxattr_fop_rep, MSG_GETXATTR_REP)
MSG_DECLARE(removexattr_fop_req, MSG_REMOVEXATTR_REQ)
MSG_DECLARE(removexattr_fop_rep, MSG_REMOVEXATTR_REP)
MSG_DECLARE(opendir_fop_req, MSG_OPENDIR_REQ)
MSG_DECLARE(opendir_fop_rep, MSG_OPENDIR_REP)
MSG_DECLARE(fsyncdir_fop_req, MSG_FSYNCDIR_REQ)
MSG_DECLARE(fsyncdir_fop_rep, MSG_FSYNCDIR_REP)
MSG_DECLARE(access_fop_req, MSG_ACCESS_REQ)
MSG_DECLARE(access_fop_rep, MSG_ACCESS_REP)
MSG_DECLARE(create_fop_req, MSG_CREATE_REQ)
MSG_DECLARE(create_fop_rep, MSG_CREATE_REP)
MSG_DECLARE(ftruncate_fop_req, MSG_FTRUNCATE_REQ)
MSG_DECLARE(ftruncate_fop_rep, MSG_FTRUNCATE_REP)
MSG_DECLARE(fstat_fop_req, MSG_FSTAT_REQ)
MSG_DECLARE(fstat_fop_rep, MSG_FSTAT_REP)
MSG_DECLARE(lk_fop_req, MSG_LK_REQ)
MSG_DECLARE(lk_fop_rep, MSG_LK_REP)
MSG_DECLARE(lookup_fop_req, MSG_LOOKUP_REQ)
MSG_DECLARE(lookup_fop_rep, MSG_LOOKUP_REP)
MSG_DECLARE(readdir_fop_req, MSG_READDIR_REQ)
MSG_DECLARE(readdir_fop_rep, MSG_READDIR_REP)
MSG_DECLARE(inodelk_fop_req, MSG_INODELK_REQ)
MSG_DECLARE(inodelk_fop_rep, MSG_INODELK_REP)
MSG_DECLARE(finodelk_fop_req, MSG_FINODELK_REQ)
MSG_DECLARE(finodelk_fop_rep, MSG_FINODELK_REP)
MSG_DECLARE(entrylk_fop_req, MSG_ENTRYLK_REQ)
MSG_DECLARE(entrylk_fop_rep, MSG_ENTRYLK_REP)
MSG_DECLARE(fentrylk_fop_req, MSG_FENTRYLK_REQ)
MSG_DECLARE(fentrylk_fop_rep, MSG_FENTRYLK_REP)
MSG_DECLARE(xattrop_fop_req, MSG_XATTROP_REQ)
MSG_DECLARE(xattrop_fop_rep, MSG_XATTROP_REP)
MSG_DECLARE(fxattrop_fop_req, MSG_FXATTROP_REQ)
MSG_DECLARE(fxattrop_fop_rep, MSG_FXATTROP_REP)
MSG_DECLARE(fgetxattr_fop_req, MSG_FGETXATTR_REQ)
MSG_DECLARE(fgetxattr_fop_rep, MSG_FGETXATTR_REP)
MSG_DECLARE(fsetxattr_fop_req, MSG_FSETXATTR_REQ)
MSG_DECLARE(fsetxattr_fop_rep, MSG_FSETXATTR_REP)
MSG_DECLARE(rchecksum_fop_req, MSG_RCHECKSUM_REQ)
MSG_DECLARE(rchecksum_fop_rep, MSG_RCHECKSUM_REP)
MSG_DECLARE(setattr_fop_req, MSG_SETATTR_REQ)
MSG_DECLARE(setattr_fop_rep, MSG_SETATTR_REP)
MSG_DECLARE(fsetattr_fop_req, MSG_FSETATTR_REQ)
MSG_DECLARE(fsetattr_fop_rep, MSG_FSETATTR_REP)
MSG_DECLARE(readdirp_fop_req, MSG_READDIRP_REQ)
MSG_DECLARE(readdirp_fop_rep, MSG_READDIRP_REP)
MSG_DECLARE(release_fop_req, MSG_RELEASE_REQ)
MSG_DECLARE(release_fop_rep, MSG_RELEASE_REP)
MSG_DECLARE(releasedir_fop_req, MSG_RELEASEDIR_REQ)
MSG_DECLARE(releasedir_fop_rep, MSG_RELEASEDIR_REP)
MSG_DECLARE(fremovexattr_fop_req, MSG_FREMOVEXATTR_REQ)
MSG_DECLARE(fremovexattr_fop_rep, MSG_FREMOVEXATTR_REP)
MSG_DECLARE(fallocate_fop_req, MSG_FALLOCATE_REQ)
MSG_DECLARE(fallocate_fop_rep, MSG_FALLOCATE_REP)
MSG_DECLARE(discard_fop_req, MSG_DISCARD_REQ)
MSG_DECLARE(discard_fop_rep, MSG_DISCARD_REP)
MSG_DECLARE(zerofill_fop_req, MSG_ZEROFILL_REQ)
MSG_DECLARE(zerofill_fop_rep, MSG_ZEROFILL_REP)
MSG_DECLARE(ipc_fop_req, MSG_IPC_REQ)
MSG_DECLARE(ipc_fop_rep, MSG_IPC_REP)
MSG_DECLARE(seek_fop_req, MSG_SEEK_REQ)
MSG_DECLARE(seek_fop_rep, MSG_SEEK_REP)
MSG_DECLARE(lease_fop_req, MSG_LEASE_REQ)
MSG_DECLARE(lease_fop_rep, MSG_LEASE_REP)
MSG_DECLARE(getactivelk_fop_req, MSG_GETACTIVELK_REQ)
MSG_DECLARE(getactivelk_fop_rep, MSG_GETACTIVELK_REP)
MSG_DECLARE(setactivelk_fop_req, MSG_SETACTIVELK_REQ)
MSG_DECLARE(setactivelk_fop_rep, MSG_SETACTIVELK_REP)
MSG_DECLARE(icreate_fop_req, MSG_ICREATE_REQ)
MSG_DECLARE(icreate_fop_rep, MSG_ICREATE_REP)
MSG_DECLARE(namelink_fop_req, MSG_NAMELINK_REQ)
MSG_DECLARE(namelink_fop_rep, MSG_NAMELINK_REP)
MSG_DECLARE(put_fop_req, MSG_PUT_REQ)
MSG_DECLARE(put_fop_rep, MSG_PUT_REP)
MSG_DECLARE(copy_file_range_fop_req, MSG_COPY_FILE_RANGE_REQ)
MSG_DECLARE(copy_file_range_fop_rep, MSG_COPY_FILE_RANGE_REP)

#define FOP_ENUM_(number, NAME, name) FOP_##NAME = number,
enum fop { FOP_NULL = 0, FOPS(FOP_ENUM_) FOP_MAX = 57 };

struct fop_desc {
        const char *name; /* "LOOKUP"; NULL = no such procedure (0, COMPOUND) */
        const struct msg_desc *req;
        const struct msg_desc *rep;
};

/* By procedure number; NULL when there is none. */
const struct fop_desc *fop_by_number(uint32_t number);
