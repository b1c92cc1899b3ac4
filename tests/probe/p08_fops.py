"""Brick.md section 8: the file operations."""
import hashlib
import os
import stat
import struct
import zlib
from errno import (EACCES, EBADF, EBUSY, EEXIST, EINVAL, EISDIR, ELOOP, EMLINK, ENODATA, ENOENT, ENOSYS, ENOTDIR, ENOTEMPTY, ENOTSUP,
                   ENXIO, EPERM)

from messages import NULL_GFID, Gfid, Typed
from probe import ANONYMOUS, ROOT, flavour, probe
from servers import Flavour

NO_INO = 2 ** 64 - 1
LINKTO = {"trusted.glusterfs.dht.linkto": b"x-client-1\0"}


def rename(t, old, new, parent=None, target=None):
    return t.c.rename(oldgfid=parent or t.dir, newgfid=target or parent or t.dir, oldbname=old, newbname=new)


def unlink(t, name, parent=None, **xdata):
    return t.c.unlink(pargfid=parent or t.dir, bname=name, xdata=xdata)


# ---- creations -------------------------------------------------------------------------------------------------------


@probe("§8.2", "attributes are born with the object")
def _(t):
    xdata = {"trusted.afr.x-client-0": bytes(11) + b"\1", "user.a": b"b", "trusted.text": "abc", "security.y": b"z"}
    for name, make in (("d", t.mkdir), ("f", t.mknod)):
        make(name, **xdata)
        t.eq("count", t.xattr(t.disk(name), "trusted.afr.x-client-0"), bytes(11) + b"\1")
        t.eq("user", t.xattr(t.disk(name), "user.a"), b"b")
        t.eq("security", t.xattr(t.disk(name), "security.y"), b"z")
        t.eq("a string keeps its NUL", t.xattr(t.disk(name), "trusted.text"), b"abc\0")


@probe("§8.2", "a key that is no attribute does not keep others from being stored")
def _(t):
    r = t.c.mknod(pargfid=t.dir, mode=0o100644, bname="f", xdata={"nonsense": b"1", "user.a": b"2", "user.b": b"3",
                                                                  "gfid-req": Gfid(t.gfid("f"))})
    t.ok(r)
    t.eq("stored", [t.xattr(t.disk("f"), n) for n in ("user.a", "user.b")], [b"2", b"3"])


@probe("§8.2", "keys that steer are not stored")
def _(t):
    t.mknod("f", **{"glusterfs-internal-fop": "yes", "glusterfs.inodelk-count": 0, "gfidless-lookup": 1,
                    "glusterfs.internal-ctx": 1})
    t.eq("attributes", sorted(n.split("path.")[0] for n in os.listxattr(t.disk("f"))), ["trusted.gfid", "trusted.gfid2"])


@probe("§8.2", "owner and set-group-id of the parent")
def _(t):
    d = t.mkdir("d", 0o755)
    t.ok(t.c.setattr(gfid=d, stbuf=dict(uid=5, gid=77, mode=0o042777), valid=7))
    user = t.c.by(uid=1000, gid=1001)
    t.mkdir("sub", 0o755, parent=d, by=user)
    t.mknod("f", parent=d, by=user)
    st = os.stat(t.disk("d", "sub"))
    t.eq("directory", (st.st_uid, st.st_gid, oct(st.st_mode)), (1000, 77, "0o42755"))
    st = os.stat(t.disk("d", "f"))
    t.eq("file", (st.st_uid, st.st_gid, oct(st.st_mode)), (1000, 77, "0o100644"))


@probe("§8.2", "mkdir takes the sticky bit and no set-group-id")
def _(t):
    t.mkdir("d", 0o3755)
    t.eq("mode", oct(os.stat(t.disk("d")).st_mode), "0o41755")


@probe("§8.2", "mknod's device argument")
def _(t):
    t.ok(t.c.mknod(pargfid=t.dir, mode=stat.S_IFBLK | 0o600, dev=0x0103, bname="n", xdata=t.req("n")))
    st = os.stat(t.disk("n"))
    t.eq("device", (os.major(st.st_rdev), os.minor(st.st_rdev)), (1, 3))


@probe("§8.2", "symlinks are stored as they are")
def _(t):
    r = t.ok(t.c.symlink(pargfid=t.dir, bname="l", linkname="../../../etc/./passwd", xdata=t.req("l")))
    t.eq("target", os.readlink(t.disk("l")), "../../../etc/./passwd")
    t.eq("mode", oct(r.stat["mode"]), "0o120777")


@probe("§8.2", "masks and forced modes", "modes")
def _(t):
    t.mknod("f", 0o100666)
    t.mkdir("d", 0o777)
    t.ok(t.c.setattr(gfid=t.mknod("g", 0o100600), stbuf=dict(mode=0o666), valid=1))
    t.eq("modes", [oct(stat.S_IMODE(os.stat(t.disk(n)).st_mode)) for n in "fdg"], ["0o642", "0o755", "0o642"])


flavour("modes", Flavour(storage__posix={"create-mask": "0640", "force-create-mode": "0002", "create-directory-mask": "0751",
                                         "force-directory-mode": "0004"}))


@probe("§8.3", "create opens what exists")
def _(t):
    g = t.mknod("f", 0o100600)
    r = t.ok(t.c.by(pid=1).create(pargfid=t.dir, bname="f", flags=os.O_RDWR, mode=0o666, xdata=t.req("other", **{"user.a": b"1"})))
    t.eq("gfid and mode", (r.stat["gfid"], oct(r.stat["mode"])), (g, "0o100600"))
    t.eq("attributes", t.xattr(t.disk("f"), "user.a"), None)
    t.eq("written", t.c.write(gfid=g, fd=r.fd, data=b"x").op_ret, 1)


@probe("§8.3", "create of what exists, exclusively or as a directory")
def _(t):
    t.mknod("f")
    t.mkdir("d")
    t.err(t.c.create(pargfid=t.dir, bname="f", flags=os.O_RDWR | os.O_EXCL, mode=0o666, xdata=t.req("x")), EEXIST)
    t.err(t.c.create(pargfid=t.dir, bname="d", flags=os.O_RDWR, mode=0o666, xdata=t.req("x")), EISDIR)
    t.err(t.c.create(pargfid=t.dir, bname="f", flags=0, mode=0o666, xdata=t.req("x")), EEXIST)


# ---- open ------------------------------------------------------------------------------------------------------------


@probe("§8.4", "open of links, devices and directories")
def _(t):
    t.ok(t.c.symlink(pargfid=t.dir, bname="l", linkname="x", xdata=t.req("l")))
    t.err(t.c.open(gfid=t.gfid("l"), flags=os.O_RDONLY), ELOOP)
    t.ok(t.c.mknod(pargfid=t.dir, mode=stat.S_IFCHR | 0o600, dev=0x0103, bname="n", xdata=t.req("n")))
    t.err(t.c.open(gfid=t.gfid("n"), flags=os.O_RDWR), EINVAL)
    d = t.mkdir("d")
    t.err(t.c.open(gfid=d, flags=os.O_RDWR), EISDIR)
    t.ok(t.c.open(gfid=d, flags=os.O_RDONLY))


@probe("§8.4", "open truncates")
def _(t):
    g, _ = t.file("f", data=b"hello")
    t.ok(t.c.open(gfid=g, flags=os.O_RDWR | os.O_TRUNC))
    t.eq("size", os.stat(t.disk("f")).st_size, 0)


@probe("§8.4", "a descriptor that appends, appends at any offset")
def _(t):
    g, _ = t.file("f", data=b"hello")
    fd = t.c.open(gfid=g, flags=os.O_RDWR | os.O_APPEND).fd
    t.ok(t.c.write(gfid=g, fd=fd, offset=0, data=b" world"))
    with open(t.disk("f"), "rb") as f:
        t.eq("content", f.read(), b"hello world")


@probe("§8.5", "opendir of a file")
def _(t):
    t.err(t.c.opendir(gfid=t.mknod("f")), ENOTDIR)


@probe("§8.5", "fsyncdir and flush")
def _(t):
    fd = t.ok(t.c.opendir(gfid=t.dir)).fd
    t.ok(t.c.fsyncdir(gfid=t.dir, fd=fd))
    g, fd = t.file("f")
    t.ok(t.c.flush(gfid=g, fd=fd))
    t.ok(t.c.flush(gfid=g, fd=ANONYMOUS))
    t.err(t.c.flush(gfid=g, fd=77), EBADF)


@probe("§8.5", "release of numbers nobody has")
def _(t):
    t.ok(t.c.release(gfid=t.dir, fd=4711))
    t.ok(t.c.releasedir(gfid=t.dir, fd=4711))


@probe("§8.5", "release and releasedir act on one table")
def _(t):
    fd = t.c.opendir(gfid=t.dir).fd
    t.ok(t.c.release(gfid=t.dir, fd=fd))
    t.err(t.c.readdir(gfid=t.dir, fd=fd, size=4096), EBADF)


# ---- link, unlink, rmdir ---------------------------------------------------------------------------------------------


@probe("§8.6", "a hundred names and no more")
def _(t):
    g = t.mknod("f")
    last = 0
    for i in range(100):
        last = t.c.link(oldgfid=g, newgfid=t.dir, newbname="l%d" % i)
        if last.err:
            break
    t.err(last, EMLINK)
    t.eq("names", len(os.listdir(t.disk())), 100)


@probe("§8.6", "link of symlinks and directories")
def _(t):
    t.ok(t.c.symlink(pargfid=t.dir, bname="l", linkname="nowhere", xdata=t.req("l")))
    r = t.ok(t.c.link(oldgfid=t.gfid("l"), newgfid=t.dir, newbname="m"))
    t.eq("links", r.stat["nlink"], 2)
    t.eq("it is the link", os.readlink(t.disk("m")), "nowhere")
    t.err(t.c.link(oldgfid=t.mkdir("d"), newgfid=t.dir, newbname="e"), EPERM)


@probe("§8.6", "link keeps gfid2path")
def _(t):
    g = t.mknod("f")
    t.ok(t.c.link(oldgfid=g, newgfid=t.dir, newbname="g"))
    t.eq("attributes", sum(n.startswith("trusted.gfid2path.") for n in os.listxattr(t.disk("f"))), 2)
    t.ok(unlink(t, "f"))
    t.eq("attributes", sum(n.startswith("trusted.gfid2path.") for n in os.listxattr(t.disk("g"))), 1)


@probe("§8.6", "mknod and link that replace a linkto file")
def _(t):
    for name in ("a", "b", "c"):
        t.mknod(name, 0o101000, **LINKTO)
    t.ok(t.c.mknod(pargfid=t.dir, mode=0o100644, bname="a", xdata=t.req("new", **{"force-replace": 1})))
    t.eq("gfid", t.xattr(t.disk("a"), "trusted.gfid"), t.gfid("new"))
    t.ok(t.c.link(oldgfid=t.gfid("new"), newgfid=t.dir, newbname="b", xdata={"force-replace": 1}))
    t.true("linked", os.path.samefile(t.disk("a"), t.disk("b")))
    t.mknod("plain")
    t.err(t.c.mknod(pargfid=t.dir, mode=0o100644, bname="plain", xdata=t.req("n2", **{"force-replace": 1})), EEXIST)


@probe("§8.7", "unlink only of what is not open")
def _(t):
    g, fd = t.file("f")
    t.err(unlink(t, "f", **{"dont-unlink-for-open-fd": 1}), EBUSY)
    t.ok(t.c.release(gfid=g, fd=fd))
    t.ok(unlink(t, "f", **{"dont-unlink-for-open-fd": 1}))


@probe("§8.7", "unlink only of linkto files")
def _(t):
    key = {"unlink-only-if-dht-linkto-file": 1}
    t.mknod("data")
    t.mknod("mode", 0o101000)
    t.mknod("attribute", 0o100644, **LINKTO)
    t.mknod("linkto", 0o101000, **LINKTO)
    for name in ("data", "mode", "attribute"):
        t.err(unlink(t, name, **key), EBUSY)
    t.ok(unlink(t, "linkto", **key))
    t.ok(unlink(t, "data", **{"unlink-only-if-dht-linkto-file": 0}))


@probe("§8.7", "unlink removes the handle with the last name")
def _(t):
    g = t.mknod("f")
    t.ok(t.c.link(oldgfid=g, newgfid=t.dir, newbname="g"))
    t.ok(unlink(t, "f"))
    t.true("handle", os.path.lexists(t.handle(g)))
    t.ok(unlink(t, "g"))
    t.eq("handle", os.path.lexists(t.handle(g)), False)


@probe("§8.7", "unlink of a directory")
def _(t):
    t.mkdir("d")
    t.err(unlink(t, "d"), EISDIR)


@probe("§8.8", "rmdir and what it refuses")
def _(t):
    d = t.mkdir("d")
    t.mknod("f", parent=d)
    t.err(t.c.rmdir(pargfid=t.dir, bname="d"), ENOTEMPTY)
    t.err(t.c.rmdir(pargfid=d, bname="f"), ENOTDIR)
    t.ok(unlink(t, "f", parent=d))
    t.ok(t.c.rmdir(pargfid=t.dir, bname="d"))
    t.eq("handle", os.path.lexists(t.handle(d)), False)


@probe("§8.8", "rmdir of a whole tree", "landfill")
def _(t):
    d = t.mkdir("d")
    sub = t.mkdir("sub", parent=d)
    g = t.mknod("f", parent=sub)
    t.ok(t.c.rmdir(pargfid=t.dir, bname="d", xflags=1))
    t.eq("names", os.listdir(t.disk()), [])
    t.eventually("the landfill is emptied", lambda: os.listdir(t.store("landfill")) == [])
    t.eventually("the handles of what was in it go", lambda: not any(map(os.path.lexists, map(t.handle, (sub, g)))))


flavour("landfill", Flavour(storage__posix={"janitor-sleep-duration": "1"}))


@probe("§8.8", "rmdir keeps a handle that leads elsewhere")
def _(t):
    g = t.mkdir("first")
    t.ok(t.c.mkdir(pargfid=t.dir, mode=0o755, bname="second", xdata={"gfid-req": Gfid(g)}))
    t.ok(t.c.rmdir(pargfid=t.dir, bname="first"))
    t.true("handle", os.path.lexists(t.handle(g)))


# ---- rename ----------------------------------------------------------------------------------------------------------


@probe("§8.9", "rename of a directory moves its handle")
def _(t):
    a, g = t.mkdir("a"), t.mkdir("d")
    t.ok(rename(t, "d", "e", target=a))
    t.true("it leads there", os.path.samefile(t.handle(g), t.disk("a", "e")))


@probe("§8.9", "rename of a file moves its gfid2path")
def _(t):
    g = t.mknod("f")
    t.ok(rename(t, "f", "g"))
    names = [n for n in os.listxattr(t.disk("g")) if n.startswith("trusted.gfid2path.")]
    t.eq("paths", [t.xattr(t.disk("g"), n).rsplit(b"/", 1)[1] for n in names], [b"g"])
    t.eq("links", t.c.stat(gfid=g).stat["nlink"], 1)


@probe("§8.9", "rename over a file removes its handle")
def _(t):
    t.mknod("f")
    g = t.mknod("g")
    t.ok(rename(t, "f", "g"))
    t.eq("handle", os.path.lexists(t.handle(g)), False)


@probe("§8.9", "rename over a file with other names keeps it")
def _(t):
    t.mknod("f")
    g = t.mknod("g")
    t.ok(t.c.link(oldgfid=g, newgfid=t.dir, newbname="h"))
    t.ok(rename(t, "f", "g"))
    t.eq("links", t.c.stat(gfid=g).stat["nlink"], 1)


@probe("§8.9", "rename between kinds")
def _(t):
    d = t.mkdir("d")
    t.mknod("f")
    t.err(rename(t, "d", "f"), ENOTDIR)
    t.err(rename(t, "f", "d"), EISDIR)
    t.mkdir("e")
    t.mknod("x", parent=d)
    t.err(rename(t, "e", "d"), ENOTEMPTY, EEXIST)


@probe("§8.9", "rename over an empty directory that is known")
def _(t):
    t.mkdir("d")
    e = t.mkdir("e")
    t.ok(t.c.lookup(pargfid=t.dir, bname="e"))
    t.ok(rename(t, "d", "e"))
    t.eq("handle of the replaced one", os.path.lexists(t.handle(e)), False)


@probe("§8.9", "rename between two names of one file changes nothing")
def _(t):
    g = t.mknod("f")
    t.ok(t.c.link(oldgfid=g, newgfid=t.dir, newbname="g"))
    t.ok(rename(t, "f", "g"))
    t.eq("names", sorted(os.listdir(t.disk())), ["f", "g"])
    t.ok(t.c.stat(gfid=g))


# ---- reading and writing ---------------------------------------------------------------------------------------------


@probe("§8.10", "readlink")
def _(t):
    t.ok(t.c.symlink(pargfid=t.dir, bname="l", linkname="target", xdata=t.req("l")))
    r = t.ok(t.c.readlink(gfid=t.gfid("l"), size=100))
    t.eq("whole", (r.op_ret, r.path), (6, "target"))
    r = t.ok(t.c.readlink(gfid=t.gfid("l"), size=3))
    t.eq("cut", (r.op_ret, r.path), (3, "tar"))
    t.err(t.c.readlink(gfid=t.mknod("f"), size=100), EINVAL)


@probe("§8.10", "access")
def _(t):
    g = t.mknod("f", 0o100640)
    user = t.c.by(uid=1000, gid=1000)
    for mask, want in ((0, 0), (4, EACCES), (2, EACCES), (1, EACCES)):
        t.err(user.access(gfid=g, mask=mask), want)
    t.ok(t.c.access(gfid=g, mask=6))


@probe("§8.11", "read at and beyond the end")
def _(t):
    g, fd = t.file("f", data=b"hello")
    for offset, size, data, end in ((0, 3, b"hel", False), (0, 5, b"hello", True), (3, 100, b"lo", True), (5, 1, b"", True),
                                    (100, 1, b"", True)):
        r = t.ok(t.c.read(gfid=g, fd=fd, offset=offset, size=size))
        t.eq("%d+%d" % (offset, size), (r.data, r.op_errno == ENOENT), (data, end))
    e, fd = t.file("empty")
    t.eq("empty", t.c.read(gfid=e, fd=fd, size=10).op_errno, ENOENT)


@probe("§8.11", "read of nothing")
def _(t):
    g, fd = t.file("f", data=b"hello")
    t.err(t.c.read(gfid=g, fd=fd, size=0), EINVAL)


@probe("§8.11", "read of directories")
def _(t):
    d = t.mkdir("d")
    t.err(t.c.read(gfid=d, fd=ANONYMOUS, size=10), EISDIR)


@probe("§8.12", "write beyond the end")
def _(t):
    g, fd = t.file("f")
    r = t.c.write(gfid=g, fd=fd, offset=10, data=b"x")
    t.eq("size", (r.op_ret, r.poststat["size"]), (1, 11))
    t.eq("the hole", t.c.read(gfid=g, fd=fd, size=100).data, bytes(10) + b"x")


@probe("§8.12", "write protection")
def _(t):
    g, fd = t.file("f")
    key, avoid = "trusted.glusterfs.protect.writes", {"glusterfs.avoid.overwrite": 1}
    t.ok(t.c.write(gfid=g, fd=fd, data=b"a", xdata={key: b"yes"}))
    t.eq("stored", t.xattr(t.disk("f"), key), b"yes")
    t.err(t.c.write(gfid=g, fd=fd, data=b"a", xdata=avoid), EBUSY)
    t.ok(t.c.lookup(pargfid=t.dir, bname="f", xdata={"glusterfs.clean.writexattr": 1}))
    t.eq("removed", t.xattr(t.disk("f"), key), None)
    t.ok(t.c.write(gfid=g, fd=fd, data=b"a", xdata=avoid))


@probe("§8.13", "truncate and ftruncate")
def _(t):
    g, fd = t.file("f", data=b"hello")
    r = t.ok(t.c.truncate(gfid=g, offset=2))
    t.eq("sizes", (r.prestat["size"], r.poststat["size"]), (5, 2))
    t.ok(t.c.ftruncate(gfid=g, fd=fd, offset=10))
    t.err(t.c.truncate(gfid=g, offset=-1), EINVAL)
    t.err(t.c.truncate(gfid=t.mkdir("d"), offset=0), EISDIR)


@probe("§8.14", "fsync")
def _(t):
    g, fd = t.file("f", data=b"hello")
    for data in (0, 1):
        r = t.ok(t.c.fsync(gfid=g, fd=fd, data=data))
        t.eq("size", r.poststat["size"], 5)


@probe("§8.15", "setattr of mode, owner and times")
def _(t):
    g = t.mknod("f")
    r = t.ok(t.c.setattr(gfid=g, stbuf=dict(mode=0o600, uid=5, gid=6, atime=11, mtime=12), valid=0x37))
    t.eq("before", oct(r.prestat["mode"]), "0o100644")
    s = r.poststat
    t.eq("after", (oct(s["mode"]), s["uid"], s["gid"], s["atime"], s["mtime"]), ("0o100600", 5, 6, 11, 12))


@probe("§8.15", "setattr of one time keeps the other")
def _(t):
    g = t.mknod("f")
    t.ok(t.c.setattr(gfid=g, stbuf=dict(atime=11, mtime=12), valid=0x30))
    r = t.ok(t.c.setattr(gfid=g, stbuf=dict(atime=13), valid=0x10))
    t.eq("times", (r.poststat["atime"], r.poststat["mtime"]), (13, 12))


@probe("§8.15", "setattr of a symlink's mode and times")
def _(t):
    t.ok(t.c.symlink(pargfid=t.dir, bname="l", linkname="nowhere", xdata=t.req("l")))
    r = t.ok(t.c.setattr(gfid=t.gfid("l"), stbuf=dict(mode=0o600, atime=11, mtime=12), valid=0x31))
    t.eq("mode and times", (oct(r.poststat["mode"]), r.poststat["mtime"]), ("0o120777", 12))


@probe("§8.15", "setattr of nothing and of the size")
def _(t):
    g, fd = t.file("f", data=b"hello")
    t.ok(t.c.setattr(gfid=g, stbuf={}, valid=0))
    r = t.ok(t.c.fsetattr(gfid=g, fd=fd, stbuf=dict(size=1), valid=8))
    t.eq("size", r.poststat["size"], 5)


@probe("§8.16", "fallocate, discard, zerofill")
def _(t):
    g, fd = t.file("f", data=b"x" * 20000)
    r = t.ok(t.c.fallocate(gfid=g, fd=fd, flags=1, offset=0, size=100000))
    t.eq("size kept", r.poststat["size"], 20000)
    r = t.ok(t.c.fallocate(gfid=g, fd=fd, flags=0, offset=0, size=30000))
    t.eq("size grown", r.poststat["size"], 30000)
    t.ok(t.c.discard(gfid=g, fd=fd, offset=4096, size=4096))
    t.eq("punched", t.c.read(gfid=g, fd=fd, offset=4090, size=10).data, b"xxxxxx" + bytes(4))
    r = t.ok(t.c.zerofill(gfid=g, fd=fd, offset=0, size=40000))
    t.eq("zeros", (r.poststat["size"], t.c.read(gfid=g, fd=fd, size=4).data), (40000, bytes(4)))


@probe("§8.17", "seek")
def _(t):
    g, fd = t.file("f", data=b"hello")
    t.eq("data", t.c.seek(gfid=g, fd=fd, offset=0, what=0).offset, 0)
    t.eq("hole", t.c.seek(gfid=g, fd=fd, offset=0, what=1).offset, 5)
    t.err(t.c.seek(gfid=g, fd=fd, offset=100, what=0), ENXIO)
    t.err(t.c.seek(gfid=g, fd=fd, offset=0, what=2), ENOTSUP)


@probe("§8.18", "rchecksum")
def _(t):
    g, fd = t.file("f", data=b"hello world")
    r = t.ok(t.c.rchecksum(gfid=g, fd=fd, offset=0, len=5, flags=0))
    t.eq("weak", r.weak_checksum, zlib.adler32(b"hello", 0))
    t.eq("strong", r.strong_checksum[:32], hashlib.sha256(b"hello").digest())
    t.eq("kind", (r.flags, r.xdata.get("fips-mode-rchecksum")), (1, 1))


@probe("§8.18", "rchecksum without fips mode", "md5")
def _(t):
    g, fd = t.file("f", data=b"hello world")
    r = t.ok(t.c.rchecksum(gfid=g, fd=fd, offset=0, len=5, flags=0))
    t.eq("strong", r.strong_checksum[:16], hashlib.md5(b"hello").digest())
    t.eq("key", "fips-mode-rchecksum" in r.xdata, False)


flavour("listing", Flavour())
flavour("md5", Flavour(storage__posix={"fips-mode-rchecksum": "off"}))


@probe("§8.18", "rchecksum notices zeros")
def _(t):
    g, fd = t.file("f", data=bytes(100) + b"x")
    for size, want in ((100, 1), (101, 0)):
        r = t.ok(t.c.rchecksum(gfid=g, fd=fd, len=size, xdata={"check-zero-filled": 1}))
        t.eq("%d bytes" % size, r.xdata.get("buf-has-zeroes", 0), want)


# ---- directories -----------------------------------------------------------------------------------------------------


def filled(t, count):
    for i in range(count):
        t.mknod("file-%03d" % i)
    return t.c.opendir(gfid=t.dir).fd


@probe("§8.19", "the budget of a listing")
def _(t):
    fd = filled(t, 40)
    for plus in ("readdir", "readdirp"):
        r = t.ok(getattr(t.c, plus)(gfid=t.dir, fd=fd, offset=0, size=4096))
        t.true(plus, 0 < r.op_ret <= 4096 // 208)
        t.eq("%s returned" % plus, r.op_ret, len(r.reply))


@probe("§8.19", "a budget too small for anything")
def _(t):
    fd = filled(t, 3)
    r = t.ok(t.c.readdirp(gfid=t.dir, fd=fd, offset=0, size=200))
    t.eq("entries and errno", (r.op_ret, r.op_errno), (0, 0))


@probe("§8.19", "every entry is listed once")
def _(t):
    fd, offset, seen = filled(t, 50), 0, []
    while True:
        r = t.ok(t.c.readdirp(gfid=t.dir, fd=fd, offset=offset, size=2000))
        seen += [e["name"] for e in r.reply]
        if r.op_errno == ENOENT or r.err or not r.reply:
            break
        offset = r.reply[-1]["off"]
    t.eq("names", sorted(seen), sorted([".", ".."] + os.listdir(t.disk())))


@probe("§8.19", "positions are good in other descriptors")
def _(t):
    fd = filled(t, 20)
    r = t.c.readdir(gfid=t.dir, fd=fd, size=2000)
    rest = [e["name"] for e in t.c.readdir(gfid=t.dir, fd=fd, offset=r.reply[4]["off"], size=100000).reply]
    other = t.connect()
    again = other.readdir(gfid=t.dir, fd=other.opendir(gfid=t.dir).fd, offset=r.reply[4]["off"], size=100000)
    t.eq("the same rest", [e["name"] for e in again.reply], rest)


@probe("§8.19", "the end of a directory")
def _(t):
    fd = filled(t, 3)
    r = t.ok(t.c.readdir(gfid=t.dir, fd=fd, size=100000))
    t.eq("with the last entries", (r.op_ret, r.op_errno), (5, ENOENT))
    last = max(r.reply, key=lambda e: e["off"])
    r = t.ok(t.c.readdir(gfid=t.dir, fd=fd, offset=last["off"], size=100000))
    t.eq("behind them", (r.op_ret, r.op_errno), (0, ENOENT))


@probe("§8.19", "the root's listing", "listing")
def _(t):
    fd = t.c.opendir(gfid=ROOT).fd
    r = t.ok(t.c.readdirp(gfid=ROOT, fd=fd, size=1 << 20))
    t.true("no .glusterfs", all(e["name"] != ".glusterfs" for e in r.reply))
    up = [e for e in r.reply if e["name"] == ".."][0]
    t.eq("the parent", (up["stat"]["gfid"], up["ino"]), (NULL_GFID, NO_INO))


@probe("§8.19", "types and attributes of entries")
def _(t):
    t.mkdir("d")
    t.mknod("f", **{"trusted.afr.x": bytes(12)})
    fd = t.c.opendir(gfid=t.dir).fd
    r = t.ok(t.c.readdirp(gfid=t.dir, fd=fd, size=10000, xdata={"trusted.afr.x": 0}))
    entries = {e["name"]: e for e in r.reply}
    t.eq("types", (entries["d"]["type"], entries["f"]["type"]), (4, 8))
    t.eq("attribute", entries["f"]["dict"].get("trusted.afr.x"), bytes(12))
    t.eq("gfid", entries["f"]["stat"]["gfid"], t.gfid("f"))


@probe("§8.19", "listings without directories")
def _(t):
    t.mkdir("d")
    t.mknod("f")
    fd = t.c.opendir(gfid=t.dir).fd
    r = t.ok(t.c.readdirp(gfid=t.dir, fd=fd, size=10000, xdata={"readdir-filter-directories": 1}))
    t.true("no d", all(e["name"] != "d" for e in r.reply))
    t.true("f", any(e["name"] == "f" for e in r.reply))


@probe("§8.19", "an anonymous descriptor of a directory")
def _(t):
    t.mknod("f")
    for plus in ("readdir", "readdirp"):
        r = t.ok(getattr(t.c, plus)(gfid=t.dir, fd=ANONYMOUS, size=10000))
        t.eq("names", sorted(e["name"] for e in r.reply), [".", "..", "f"])


@probe("§8.19", "listing a file")
def _(t):
    g, fd = t.file("f")
    t.err(t.c.readdir(gfid=g, fd=fd, size=4096), EINVAL)


@probe("§8.20", "copy_file_range")
def _(t):
    a, fda = t.file("a", data=b"hello world")
    b, fdb = t.file("b")
    r = t.ok(t.c.copy_file_range(gfid1=a, gfid2=b, fd_in=fda, fd_out=fdb, off_in=6, off_out=0, size=5, flag=0))
    t.eq("copied", (r.op_ret, t.c.read(gfid=b, fd=fdb, size=10).data), (5, b"world"))


@probe("§8.23", "ipc")
def _(t):
    t.err(t.c.ipc(op=0), 0)
    t.err(t.c.ipc(op=2, xdata={"user.x": 0}), 0)
    t.err(t.c.ipc(op=77), ENOTSUP)


@probe("§8.23", "leases are not offered")
def _(t):
    g, fd = t.file("f")
    t.err(t.c.lease(gfid=g, lease=dict(cmd=2, type=1, id=b"i" * 16)), ENOSYS)


@probe("§8.23", "icreate", "crash")
def _(t):
    t.err(t.c.icreate(gfid=t.gfid("x"), mode=0o644), ENOSYS, ENOTSUP)


@probe("§8.23", "namelink", "crash")
def _(t):
    t.err(t.c.namelink(pargfid=t.dir, bname="x"), ENOSYS, ENOTSUP)


@probe("§8.14", "the path of a file without records of its names")
def _(t):
    g = t.mknod("f")
    for n in os.listxattr(t.disk("f")):
        if n.startswith("trusted.gfid2path."):
            os.removexattr(t.disk("f"), n)
    for c in t.connections:
        c.close()
    t.connections.clear()
    t.server.restart()
    t.c = t.connect()
    r = t.ok(t.c.getxattr(gfid=g, name="glusterfs.gfid2path", namelen=19))
    t.true("a text that stands for the gfid", r.dict["glusterfs.gfid2path"].startswith("<gfid:"))
