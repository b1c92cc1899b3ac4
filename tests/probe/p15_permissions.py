"""Brick.md sections 15 to 19: permissions, space, upcalls, arbiter, optional layers."""
import os
import re
import stat
import struct
import time
from errno import EACCES, EAGAIN, EINVAL, ENODATA, ENOENT, ENOSPC, ENOSYS, ENOTSUP, EPERM, EROFS

from messages import NULL_GFID, Gfid
from probe import ANONYMOUS, ROOT, flavour, probe
from servers import Flavour


def user(t, uid=1000, gid=1000, **more):
    return t.c.by(uid=uid, gid=gid, **more)


def own(t, gfid, uid=1000, gid=1000, mode=None):
    t.ok(t.c.setattr(gfid=gfid, stbuf=dict(uid=uid, gid=gid), valid=6))
    if mode is not None:
        t.ok(t.c.setattr(gfid=gfid, stbuf=dict(mode=mode), valid=1))


# ---- 15.1 ------------------------------------------------------------------------------------------------------------


@probe("§15.1", "creating in somebody else's directory")
def _(t):
    u = user(t)
    for kind, more in (("mkdir", dict(mode=0o755)), ("mknod", dict(mode=0o100644)), ("symlink", dict(linkname="x")),
                       ("create", dict(flags=os.O_RDWR, mode=0o644))):
        t.err(getattr(u, kind)(pargfid=t.dir, bname=kind, xdata=t.req(kind), **more), EACCES)
    t.err(u.link(oldgfid=t.mknod("f"), newgfid=t.dir, newbname="g"), EACCES)
    t.err(u.unlink(pargfid=t.dir, bname="f"), EACCES)
    t.mkdir("d")
    t.err(u.rmdir(pargfid=t.dir, bname="d"), EACCES)
    t.err(u.rename(oldgfid=t.dir, newgfid=t.dir, oldbname="f", newbname="g"), EACCES)


@probe("§15.1", "changing attributes of somebody else's file")
def _(t):
    g, u = t.mknod("f"), user(t)
    for valid, st, want in ((1, dict(mode=0o777), EPERM), (2, dict(uid=1000), EPERM), (4, dict(gid=1000), EPERM),
                            (0x30, dict(atime=1, mtime=1), EACCES)):
        t.err(u.setattr(gfid=g, stbuf=st, valid=valid), want)


@probe("§15.1", "changing attributes of one's own file")
def _(t):
    g = t.mknod("f")
    own(t, g)
    u = user(t, groups=(2000,))
    t.ok(u.setattr(gfid=g, stbuf=dict(mode=0o600), valid=1))
    t.ok(u.setattr(gfid=g, stbuf=dict(uid=1000), valid=2))
    t.ok(u.setattr(gfid=g, stbuf=dict(gid=2000), valid=4))
    t.err(u.setattr(gfid=g, stbuf=dict(gid=3000), valid=4), EPERM)
    t.err(u.setattr(gfid=g, stbuf=dict(uid=1001), valid=2), EPERM)
    t.ok(u.setattr(gfid=g, stbuf=dict(atime=1, mtime=1), valid=0x30))


@probe("§15.1", "set-group-id of a group one is not in")
def _(t):
    g = t.mknod("f")
    own(t, g, gid=3000)
    t.ok(user(t).setattr(gfid=g, stbuf=dict(mode=0o2755), valid=1))
    t.eq("mode", oct(os.stat(t.disk("f")).st_mode), "0o100755")


@probe("§15.1", "opening")
def _(t):
    g, u = t.mknod("f", 0o100644), user(t)
    t.ok(u.open(gfid=g, flags=os.O_RDONLY))
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_TRUNC, os.O_RDONLY | os.O_APPEND):
        t.err(u.open(gfid=g, flags=flags), EACCES)
    t.err(u.truncate(gfid=g, offset=0), EACCES)
    x = t.mknod("x", 0o100711)
    t.ok(u.open(gfid=x, flags=0o40))
    t.err(u.open(gfid=x, flags=os.O_RDONLY), EACCES)


@probe("§15.1", "directories that may not be read or searched")
def _(t):
    d = t.mkdir("d", 0o711)
    t.mknod("f", parent=d)
    e = t.mkdir("e", 0o744)
    t.mknod("f2", parent=e)
    u = user(t)
    t.err(u.opendir(gfid=d), EACCES)
    t.ok(u.lookup(pargfid=d, bname="f"))
    t.ok(u.opendir(gfid=e))
    t.err(u.lookup(pargfid=e, bname="f2"), EACCES)
    t.ok(u.lookup(gfid=t.gfid("f2")))


@probe("§15.1", "the sticky bit")
def _(t):
    d = t.mkdir("d", 0o1777)
    for name, uid in (("mine", 1000), ("theirs", 1001)):
        own(t, t.mknod(name, parent=d), uid)
    u = user(t)
    t.err(u.unlink(pargfid=d, bname="theirs"), EACCES)
    t.err(u.rename(oldgfid=d, newgfid=d, oldbname="theirs", newbname="x"), EACCES)
    t.err(u.rename(oldgfid=d, newgfid=d, oldbname="mine", newbname="theirs"), EACCES)
    t.ok(u.unlink(pargfid=d, bname="mine"))


@probe("§15.1", "extended attributes")
def _(t):
    g, secret, u = t.mknod("f"), t.mknod("secret", 0o100600), user(t)
    t.ok(t.c.setxattr(gfid=secret, dict={"user.a": b"1"}))
    t.err(u.setxattr(gfid=g, dict={"user.a": b"1"}), EACCES)
    t.err(u.removexattr(gfid=g, name="user.a"), EACCES)
    t.err(u.getxattr(gfid=secret, name="user.a", namelen=6), EACCES)
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", tag, 4, 0xffffffff) for tag in (1, 4, 0x20))
    t.err(u.setxattr(gfid=g, dict={"system.posix_acl_access": acl}), EPERM)
    t.err(u.removexattr(gfid=g, name="system.posix_acl_access"), EPERM)


@probe("§15.1", "what nobody is asked for")
def _(t):
    g, fd = t.file("f", 0o600, data=b"hello")
    t.ok(t.c.symlink(pargfid=t.dir, bname="l", linkname="x", xdata=t.req("l")))
    u = user(t)
    t.ok(u.stat(gfid=g))
    t.ok(u.readlink(gfid=t.gfid("l"), size=10))
    t.ok(u.statfs(gfid=g))
    t.eq("read", u.read(gfid=g, fd=fd, size=10).data, b"hello")
    t.ok(u.write(gfid=g, fd=fd, data=b"x"))
    t.ok(u.ftruncate(gfid=g, fd=fd, offset=1))
    t.ok(u.fsetxattr(gfid=g, fd=fd, dict={"user.a": b"1"}))
    t.ok(u.fgetxattr(gfid=g, fd=fd, name="user.a", namelen=6))
    t.ok(u.fremovexattr(gfid=g, fd=fd, name="user.a"))


@probe("§15.1", "internal clients pass the modes")
def _(t):
    g = t.mknod("f", 0o100600)
    u = user(t, pid=-6)
    t.ok(u.open(gfid=g, flags=os.O_RDWR))
    t.ok(u.truncate(gfid=g, offset=1))
    t.err(u.setattr(gfid=g, stbuf=dict(mode=0o777), valid=1), EPERM)


@probe("§15.1", "groups of the request")
def _(t):
    g = t.mknod("f", 0o100640)
    own(t, g, 0, 2000)
    t.err(user(t).open(gfid=g, flags=os.O_RDONLY), EACCES)
    t.ok(user(t, groups=(7, 2000)).open(gfid=g, flags=os.O_RDONLY))
    t.ok(user(t, gid=2000).open(gfid=g, flags=os.O_RDONLY))


@probe("§15.1", "without the layer nothing is checked", "no-acl")
def _(t):
    g = t.mknod("f", 0o100600)
    t.ok(user(t).open(gfid=g, flags=os.O_RDWR))


class WithoutAcl(Flavour):
    def volfile(self, path, volume_id):
        text = super().volfile(path, volume_id)
        begin = text.index("volume one-access-control")
        end = text.index("end-volume", begin) + len("end-volume\n\n")
        return (text[:begin] + text[end:]).replace("subvolumes one-access-control", "subvolumes one-bitrot-stub")


flavour("no-acl", WithoutAcl())

# ---- 15.2, 15.3 ------------------------------------------------------------------------------------------------------


@probe("§15.2", "the brick applies the umask")
def _(t):
    t.ok(t.c.mknod(pargfid=t.dir, mode=0o100666, umask=0o027, bname="f", xdata=t.req("f")))
    t.ok(t.c.mkdir(pargfid=t.dir, mode=0o777, umask=0o022, bname="d", xdata=t.req("d")))
    t.ok(t.c.create(pargfid=t.dir, mode=0o666, umask=0o077, flags=os.O_RDWR, bname="c", xdata=t.req("c")))
    t.eq("modes", [oct(stat.S_IMODE(os.stat(t.disk(n)).st_mode)) for n in "fdc"], ["0o640", "0o755", "0o600"])


DEFAULT = "u::rwx,u:1000:rwx,g::r-x,m::rwx,o::---"


@probe("§15.2", "default ACLs are inherited")
def _(t):
    d = t.mkdir("d", 0o777)
    t.ok(t.c.setxattr(gfid=d, dict={"glusterfs.posix.default_acl": DEFAULT}))
    t.ok(t.c.mknod(pargfid=d, mode=0o100666, umask=0o077, bname="f", xdata=t.req("f")))
    t.ok(t.c.mkdir(pargfid=d, mode=0o755, umask=0o077, bname="sub", xdata=t.req("sub")))
    t.eq("file", oct(stat.S_IMODE(os.stat(t.disk("d", "f")).st_mode)), "0o660")
    t.true("its ACL", t.xattr(t.disk("d", "f"), "system.posix_acl_access"))
    t.true("the directory's", t.xattr(t.disk("d", "sub"), "system.posix_acl_default"))
    t.ok(user(t).open(gfid=t.gfid("f"), flags=os.O_RDWR))
    t.err(user(t, 1001, 1001).open(gfid=t.gfid("f"), flags=os.O_RDONLY), EACCES)


def acl_text(t, g, name):
    r = t.ok(t.c.getxattr(gfid=g, name=name, namelen=len(name)))
    v = r.dict.get(name)
    return v.decode().rstrip("\0") if isinstance(v, bytes) else v


@probe("§15.3", "ACLs as text")
def _(t):
    g = t.mknod("f")
    text = "u::rw-,u:1001:r--,g::r--,m::r--,o::r--"
    t.ok(t.c.setxattr(gfid=g, dict={"glusterfs.posix.acl": text}))
    t.eq("read", acl_text(t, g, "glusterfs.posix.acl"), text)
    t.true("on disk", t.xattr(t.disk("f"), "system.posix_acl_access"))
    x = t.c.lookup(pargfid=t.dir, bname="f", xdata={"glusterfs.posix.acl": 0}).xdata.get("glusterfs.posix.acl")
    t.eq("in lookup", x.decode().rstrip("\0") if isinstance(x, bytes) else x, text)


@probe("§15.3", "a default ACL that is not there")
def _(t):
    t.eq("text", acl_text(t, t.mkdir("d"), "glusterfs.posix.default_acl"), "")


@probe("§15.3", "an ACL's mask shows in the mode")
def _(t):
    g = t.mknod("f")
    t.ok(t.c.setxattr(gfid=g, dict={"glusterfs.posix.acl": "u::rw-,u:1001:rw-,g::r--,m::rw-,o::---"}))
    t.eq("mode", oct(t.c.stat(gfid=g).stat["mode"]), "0o100660")
    t.ok(user(t, 1001, 1001).open(gfid=g, flags=os.O_RDWR))
    t.err(user(t, 1002, 1002).open(gfid=g, flags=os.O_RDONLY), EACCES)


# ---- 15.4 ------------------------------------------------------------------------------------------------------------

LOGIN = {"username": "b9fe35c7-d75c-485b-932a-00fcd2441318", "password": "65e42f4e-2875-40f6-ad78-5ae94c5abf8f"}


def made_by(t, c, name):
    """The owner of a file that C makes in a directory for all."""
    d = t.dir
    t.ok(c.mkdir(pargfid=d, mode=0o755, bname=name, xdata=t.req(name)))
    st = os.stat(t.disk(name)) if os.path.exists(t.disk(name)) else None
    return st and (st.st_uid, st.st_gid)


def open_to_all(t):
    t.ok(t.connect(**LOGIN).by(pid=-6).setattr(gfid=t.dir, stbuf=dict(mode=0o777), valid=1))


@probe("§15.4", "root is squashed", "root-squash")
def _(t):
    open_to_all(t)
    t.eq("untrusted root", made_by(t, t.connect(), "a"), (65534, 65534))
    t.eq("untrusted internal", made_by(t, t.connect().by(pid=-3), "b"), (65534, 65534))
    t.eq("untrusted user", made_by(t, t.connect().by(uid=1000, gid=1000), "c"), (1000, 1000))
    trusted = t.connect(**LOGIN)
    t.eq("trusted root", made_by(t, trusted, "d"), (65534, 65534))
    for pid in (-1, -3, -4, -5, -6):
        t.eq("trusted %d" % pid, made_by(t, trusted.by(pid=pid), "t%d" % -pid), (0, 0))


@probe("§15.4", "everybody is squashed", "all-squash")
def _(t):
    open_to_all(t)
    t.eq("user", made_by(t, t.connect().by(uid=1000, gid=1000), "a"), (4000, 5000))
    t.eq("trusted healer", made_by(t, t.connect(**LOGIN).by(pid=-6), "b"), (0, 0))


flavour("root-squash", Flavour(protocol__server={"root-squash": "on"}))
flavour("all-squash", Flavour(protocol__server={"all-squash": "on", "anonuid": "4000", "anongid": "5000"}))


@probe("§15.4", "the server's groups count", "manage-gids")
def _(t):
    g = t.mknod("f", 0o100640)
    own(t, g, 0, 2000)
    t.err(t.c.by(uid=1, gid=1, groups=(2000,)).open(gfid=g, flags=os.O_RDONLY), EACCES)


flavour("manage-gids", Flavour(protocol__server={"manage-gids": "on"}))

# ---- 16 --------------------------------------------------------------------------------------------------------------


@probe("§16.1", "statfs leaves out the reserve", "reserve")
def _(t):
    s = t.ok(t.c.statfs(gfid=ROOT)).statfs
    v = os.statvfs(t.server.path)
    reserved = s["blocks"] // 2
    t.true("blocks", s["blocks"] == v.f_blocks)
    t.true("free", abs(s["bfree"] - max(0, v.f_bfree - reserved)) < s["blocks"] // 100)
    t.true("available", s["bavail"] <= s["bfree"])


@probe("§16.1", "bricks that share a file system", "shared")
def _(t):
    s = t.ok(t.c.statfs(gfid=ROOT)).statfs
    v = os.statvfs(t.server.path)
    t.eq("blocks", s["blocks"], v.f_blocks // 4)
    t.eq("files", s["files"], v.f_files // 4)


flavour("shared", Flavour(mib=320, storage__posix={"shared-brick-count": "4"}))
flavour("reserve", Flavour(mib=320, storage__posix={"reserve": "50"}))
flavour("full", Flavour(mib=320, storage__posix={"reserve": "90"}))


@probe("§16.2", "a full brick", "full")
def _(t):
    made = t.c.by(pid=-1)
    for name in ("f", "g"):
        xdata = t.req(name, **{"glusterfs-internal-fop": "y"})
        t.ok(made.create(pargfid=t.dir, flags=os.O_RDWR, mode=0o644, bname=name, xdata=xdata))
    g = t.gfid("f")
    t.ok(made.write(gfid=g, fd=ANONYMOUS, data=b"x" * 8192, xdata={"glusterfs-internal-fop": "y"}))
    with open(os.path.join(t.server.path, ".glusterfs", "filler"), "wb") as f:
        os.posix_fallocate(f.fileno(), 0, 60 << 20)
    fd = t.ok(t.c.open(gfid=g, flags=os.O_RDWR)).fd
    first = len(t.lines)
    t.eventually("noticed", lambda: t.c.write(gfid=t.gfid("g"), fd=ANONYMOUS, offset=1 << 20, data=b"x").err == ENOSPC)
    del t.lines[first:]
    t.err(t.c.fallocate(gfid=g, fd=fd, size=1 << 20), ENOSPC)
    for kind, more in (("mkdir", dict(mode=0o755)), ("mknod", dict(mode=0o100644)), ("symlink", dict(linkname="x")),
                       ("create", dict(flags=os.O_RDWR, mode=0o644))):
        t.err(getattr(t.c, kind)(pargfid=t.dir, bname=kind, xdata=t.req(kind), **more), ENOSPC)
    t.err(t.c.link(oldgfid=g, newgfid=t.dir, newbname="l"), ENOSPC)
    t.err(t.c.setxattr(gfid=g, dict={"user.a": b"1"}), ENOSPC)
    t.err(t.c.fsetxattr(gfid=g, fd=fd, dict={"user.a": b"1"}), ENOSPC)
    t.err(t.c.write(gfid=g, fd=fd, offset=8000, data=b"x" * 1000), ENOSPC)
    t.err(t.c.zerofill(gfid=g, fd=fd, offset=0, size=1 << 20), ENOSPC)
    t.err(t.c.discard(gfid=g, fd=fd, offset=0, size=1 << 20), ENOSPC)
    # what is allowed all the same
    t.ok(t.c.write(gfid=g, fd=fd, offset=0, data=b"y" * 1000))
    t.ok(t.c.zerofill(gfid=g, fd=fd, offset=0, size=4096))
    t.ok(t.c.truncate(gfid=g, offset=4096))
    t.ok(t.c.rename(oldgfid=t.dir, newgfid=t.dir, oldbname="f", newbname="h"))
    t.ok(t.c.setattr(gfid=g, stbuf=dict(mode=0o600), valid=1))
    t.ok(t.c.xattrop(gfid=g, dict={"trusted.afr.x": struct.pack(">3i", 1, 0, 0)}))
    t.ok(t.c.removexattr(gfid=g, name="trusted.afr.x"))
    t.ok(made.mkdir(pargfid=t.dir, bname="internal", mode=0o755, xdata=t.req("internal")))
    t.ok(t.c.mkdir(pargfid=t.dir, bname="marked", mode=0o755, xdata=t.req("marked", **{"glusterfs-internal-fop": "y"})))
    t.ok(t.c.unlink(pargfid=t.dir, bname="h"))


# ---- 17 --------------------------------------------------------------------------------------------------------------

flavour("upcall", Flavour(features__upcall={"cache-invalidation": "on"}))


def watched(t):
    """A file that another client has looked at: (gfid, fd, the other client)."""
    g, fd = t.file("f", data=b"hello")
    w = t.connect()
    t.ok(w.lookup(pargfid=t.dir, bname="f"))
    return g, fd, w


def told(t, w, gfid, flags, quiet=False):
    """W is told of a change of GFID with FLAGS, among whatever else it is told meanwhile."""
    end = time.monotonic() + 5
    first = len(t.lines)
    while time.monotonic() < end:
        m = w.callback(5)
        if m is None:
            break
        if m.kind == "CACHE_INVALIDATION" and bytes.fromhex(m.gfid.replace("-", "")) == gfid:
            t.lines[first:] = []
            t.eq("flags", hex(m.flags), hex(flags))
            return m
    t.lines[first:] = []
    t.eq("flags", None, hex(flags))
    return None


CHANGES = {
    "write": (lambda t, g, fd: t.c.write(gfid=g, fd=fd, data=b"x"), 0x18),
    "truncate": (lambda t, g, fd: t.c.truncate(gfid=g, offset=1), 0x18),
    "ftruncate": (lambda t, g, fd: t.c.ftruncate(gfid=g, fd=fd, offset=1), 0x18),
    "fallocate": (lambda t, g, fd: t.c.fallocate(gfid=g, fd=fd, size=100), 0x18),
    "discard": (lambda t, g, fd: t.c.discard(gfid=g, fd=fd, size=4), 0x18),
    "zerofill": (lambda t, g, fd: t.c.zerofill(gfid=g, fd=fd, size=4), 0x18),
    "chmod": (lambda t, g, fd: t.c.setattr(gfid=g, stbuf=dict(mode=0o600), valid=1), 0x45E),
    "chown": (lambda t, g, fd: t.c.setattr(gfid=g, stbuf=dict(uid=5), valid=2), 0x5E),
    "utimes": (lambda t, g, fd: t.c.fsetattr(gfid=g, fd=fd, stbuf=dict(atime=5, mtime=5), valid=0x30), 0x5E),
    "rename": (lambda t, g, fd: t.c.rename(oldgfid=t.dir, newgfid=t.dir, oldbname="f", newbname="g"), 0x280),
    "unlink": (lambda t, g, fd: t.c.unlink(pargfid=t.dir, bname="f"), 0x211),
    "link": (lambda t, g, fd: t.c.link(oldgfid=g, newgfid=t.dir, newbname="g"), 0x211),
}
for name, (change, flags) in CHANGES.items():
    @probe("§17.1", "%s is told to who has looked" % name, "upcall")
    def _(t, change=change, flags=flags):
        g, fd, w = watched(t)
        t.ok(change(t, g, fd))
        m = told(t, w, g, flags)
        if m:
            t.eq("event and expiry", (m.event_type, m.expire_time_attr), (1, 60))


@probe("§17.1", "new entries are told to who has looked at the parent", "upcall")
def _(t):
    w = t.connect()
    t.ok(w.lookup(gfid=t.dir))
    for name in ("mkdir", "mknod", "symlink", "create"):
        if name == "mkdir":
            t.mkdir("d")
        elif name == "mknod":
            t.mknod("f")
        elif name == "symlink":
            t.ok(t.c.symlink(pargfid=t.dir, bname="l", linkname="x", xdata=t.req("l")))
        else:
            t.file("c")
        told(t, w, t.dir, 0x10)


@probe("§17.1", "readers are not told and do not tell", "upcall")
def _(t):
    g, fd, w = watched(t)
    t.ok(t.c.read(gfid=g, fd=fd, size=5))
    t.ok(t.c.stat(gfid=g))
    t.ok(t.c.open(gfid=g, flags=os.O_RDWR))
    t.true("quiet", w.quiet())


@probe("§17.1", "who changes is not told", "upcall")
def _(t):
    g, fd, w = watched(t)
    t.ok(t.c.write(gfid=g, fd=fd, data=b"x"))
    t.true("quiet", t.c.quiet())


@probe("§17.1", "who has not looked is not told", "upcall")
def _(t):
    g, fd = t.file("f")
    w = t.connect()
    t.ok(w.lookup(gfid=ROOT))
    t.ok(t.c.write(gfid=g, fd=fd, data=b"x"))
    t.true("quiet", w.quiet())


@probe("§17.1", "changed attributes that nobody registered", "upcall")
def _(t):
    g, fd, w = watched(t)
    t.ok(t.c.setxattr(gfid=g, dict={"user.unregistered": b"1"}))
    t.true("quiet", w.quiet())


@probe("§17.1", "changed attributes that somebody registered", "upcall")
def _(t):
    g, fd, w = watched(t)
    t.ok(w.ipc(op=2, xdata={"user.registered": 0}))
    t.ok(t.c.setxattr(gfid=g, dict={"user.registered": b"1"}))
    m = told(t, w, g, 0x410)
    t.eq("which", m and m.xdata.get("user.registered"), b"1")
    t.ok(w.lookup(gfid=g))
    t.ok(t.c.removexattr(gfid=g, name="user.registered"))
    told(t, w, g, 0x810)


@probe("§17.1", "xattrop of counts that became zero", "upcall")
def _(t):
    g, fd, w = watched(t)
    t.ok(w.ipc(op=2, xdata={"trusted.afr.x": 0}))
    t.ok(t.c.xattrop(gfid=g, dict={"trusted.afr.x": struct.pack(">3i", 1, 0, 0)}))
    told(t, w, g, 0x400)
    t.ok(w.lookup(gfid=g))
    t.ok(t.c.xattrop(gfid=g, dict={"trusted.afr.x": struct.pack(">3i", -1, 0, 0)}))
    t.true("quiet", w.quiet())


@probe("§17.1", "the last reference of a file without a name", "upcall")
def _(t):
    g, fd, w = watched(t)
    t.ok(t.c.unlink(pargfid=t.dir, bname="f"))
    told(t, w, g, 0x211)
    t.ok(w.lookup(gfid=t.dir))
    t.ok(t.c.release(gfid=g, fd=fd))
    told(t, w, g, 0x100)


@probe("§17.1", "nothing is told when it is off")
def _(t):
    g, fd, w = watched(t)
    t.ok(t.c.write(gfid=g, fd=fd, data=b"x"))
    t.true("quiet", w.quiet())


# ---- 18 --------------------------------------------------------------------------------------------------------------

flavour("arbiter", Flavour("arb/brick-2.vol"))


@probe("§18", "an arbiter takes writes and keeps nothing", "arbiter")
def _(t):
    g, fd = t.file("f")
    r = t.ok(t.c.write(gfid=g, fd=fd, offset=10, data=b"hello", xdata={"glusterfs.open-fd-count": 1, "glusterfs.write-is-append": 1}))
    t.eq("written", r.op_ret, 5)
    t.eq("keys", [r.xdata.get(k) for k in ("glusterfs.open-fd-count", "glusterfs.write-is-append")], [1, 1])
    t.eq("size", os.stat(t.disk("f")).st_size, 0)


@probe("§18", "an arbiter takes everything that changes sizes", "arbiter")
def _(t):
    g, fd = t.file("f")
    t.ok(t.c.lookup(pargfid=t.dir, bname="f"))
    t.ok(t.c.truncate(gfid=g, offset=100))
    t.ok(t.c.ftruncate(gfid=g, fd=fd, offset=100))
    t.ok(t.c.fallocate(gfid=g, fd=fd, size=100))
    t.ok(t.c.discard(gfid=g, fd=fd, size=100))
    t.ok(t.c.zerofill(gfid=g, fd=fd, size=100))
    t.eq("size", os.stat(t.disk("f")).st_size, 0)


@probe("§18", "an arbiter has nothing to read", "arbiter")
def _(t):
    g, fd = t.file("f")
    t.err(t.c.read(gfid=g, fd=fd, size=1), ENOSYS)
    t.err(t.c.seek(gfid=g, fd=fd, what=0), ENOSYS)


@probe("§18", "an arbiter keeps metadata and counts", "arbiter")
def _(t):
    g, fd = t.file("f")
    t.ok(t.c.setattr(gfid=g, stbuf=dict(mode=0o600), valid=1))
    t.eq("mode", oct(os.stat(t.disk("f")).st_mode), "0o100600")
    t.ok(t.c.xattrop(gfid=g, dict={"trusted.afr.arb-client-0": struct.pack(">3i", 1, 0, 0)}))
    t.eq("count", t.xattr(t.disk("f"), "trusted.afr.arb-client-0"), struct.pack(">3i", 1, 0, 0))


@probe("§18", "an arbiter's times do not follow writes", "arbiter")
def _(t):
    c = t.c.by(time=(1000, 0), flags=0x1F)
    r = t.ok(c.create(pargfid=t.dir, flags=os.O_RDWR, mode=0o644, bname="f", xdata=t.req("f")))
    t.ok(t.c.by(time=(2000, 0), flags=3).write(gfid=t.gfid("f"), fd=r.fd, data=b"x"))
    t.eq("mtime", t.c.stat(gfid=t.gfid("f")).stat["mtime"], 1000)


# ---- 19 --------------------------------------------------------------------------------------------------------------

flavour("read-only", Flavour(features__read_only={"read-only": "on"}))
flavour("bad-file", Flavour())


def standing(t):
    """A file that was there before, in a directory of the probe's own; the brick itself takes no changes."""
    os.makedirs(t.disk(), exist_ok=True)
    with open(t.disk("f"), "w") as f:
        f.write("hello")
    for path, label in ((t.disk(), "dir"), (t.disk("f"), "f")):
        r = t.c.lookup(pargfid=ROOT if label == "dir" else t.dir, bname=os.path.basename(path), xdata=t.req(label))
        t.ok(r)
    return t.gfid("f")


REFUSED = {
    "mkdir": lambda t, g: t.c.mkdir(pargfid=t.dir, mode=0o755, bname="n", xdata=t.req("n")),
    "mknod": lambda t, g: t.c.mknod(pargfid=t.dir, mode=0o100644, bname="n", xdata=t.req("n")),
    "symlink": lambda t, g: t.c.symlink(pargfid=t.dir, bname="n", linkname="x", xdata=t.req("n")),
    "create": lambda t, g: t.c.create(pargfid=t.dir, flags=2, mode=0o644, bname="n", xdata=t.req("n")),
    "unlink": lambda t, g: t.c.unlink(pargfid=t.dir, bname="f"), "rmdir": lambda t, g: t.c.rmdir(pargfid=ROOT, bname=t.place),
    "rename": lambda t, g: t.c.rename(oldgfid=t.dir, newgfid=t.dir, oldbname="f", newbname="g"),
    "link": lambda t, g: t.c.link(oldgfid=g, newgfid=t.dir, newbname="g"), "truncate": lambda t, g: t.c.truncate(gfid=g),
    "ftruncate": lambda t, g: t.c.ftruncate(gfid=g, fd=ANONYMOUS), "open for writing": lambda t, g: t.c.open(gfid=g, flags=2),
    "open with O_TRUNC": lambda t, g: t.c.open(gfid=g, flags=0o1000),
    "write": lambda t, g: t.c.write(gfid=g, fd=ANONYMOUS, data=b"x"),
    "setxattr": lambda t, g: t.c.setxattr(gfid=g, dict={"user.a": b"1"}),
    "fsetxattr": lambda t, g: t.c.fsetxattr(gfid=g, fd=ANONYMOUS, dict={"user.a": b"1"}),
    "removexattr": lambda t, g: t.c.removexattr(gfid=g, name="user.a"),
    "fremovexattr": lambda t, g: t.c.fremovexattr(gfid=g, fd=ANONYMOUS, name="user.a"),
    "setattr": lambda t, g: t.c.setattr(gfid=g, stbuf=dict(mode=0), valid=1),
    "fsetattr": lambda t, g: t.c.fsetattr(gfid=g, fd=ANONYMOUS, stbuf=dict(mode=0), valid=1),
    "fallocate": lambda t, g: t.c.fallocate(gfid=g, fd=ANONYMOUS, size=1),
    "discard": lambda t, g: t.c.discard(gfid=g, fd=ANONYMOUS, size=1),
    "zerofill": lambda t, g: t.c.zerofill(gfid=g, fd=ANONYMOUS, size=1),
    "fsyncdir": lambda t, g: t.c.fsyncdir(gfid=t.dir, fd=ANONYMOUS),
    "xattrop": lambda t, g: t.c.xattrop(gfid=g, dict={"trusted.afr.x": struct.pack(">i", 1)}),
}
for name, call in REFUSED.items():
    @probe("§19.1", "%s on a read-only brick" % name, "read-only")
    def _(t, call=call):
        t.err(call(t, standing(t)), EROFS)


@probe("§19.1", "what a read-only brick allows", "read-only")
def _(t):
    g = standing(t)
    t.eq("read", t.c.read(gfid=g, fd=t.ok(t.c.open(gfid=g)).fd, size=10).data, b"hello")
    t.ok(t.c.inodelk(gfid=g, cmd=1, type=1, volume="d", flock=dict(type=1)))
    t.ok(t.c.xattrop(gfid=g, dict={"trusted.afr.x": bytes(12)}))
    t.ok(t.c.by(pid=-6).setattr(gfid=g, stbuf=dict(mode=0o600), valid=1))


@probe("§19.6", "a file that was found to be corrupt", "bad-file")
def _(t):
    g, fd = t.file("f", data=b"hello")
    os.setxattr(t.disk("f"), "trusted.bit-rot.bad-file", b"1\0")
    for c in t.connections:
        c.close()
    t.server.restart()
    c = t.connect()
    t.ok(c.lookup(pargfid=t.dir, bname="f"))
    t.err(c.open(gfid=g, flags=os.O_RDWR), 5)
