"""What a client must not be able to do to the store, on both bricks. Expectations are ours; where stock allows it, it is listed."""
import os
import stat
import struct
from errno import EACCES, EBADF, EINVAL, EISDIR, ELOOP, ENODATA, ENOENT, ENOTDIR, ENOTSUP, ENXIO, EPERM, ESTALE

from messages import Gfid
from probe import ANONYMOUS, ROOT, flavour, probe
from servers import Flavour

flavour("attack", Flavour())
STORE = ("trusted.gfid", "trusted.glusterfs.volume-id", "trusted.gfid2path.0123456789abcdef")


def refused(t, reply):
    t.true("%s is refused" % reply.kind, reply.err)


def made_outside(t):
    """A directory beside the brick with a file in it; never anything of the machine: stock follows links there."""
    path = os.path.join(t.server.work, "outside")
    os.makedirs(path, exist_ok=True)
    with open(path + "/victim", "w") as f:
        f.write("victim")
    return path


def unchanged(t, g):
    t.eq("gfid", t.xattr(t.disk("f"), "trusted.gfid"), g)
    t.eq("foreign path", t.xattr(t.disk("f"), "trusted.gfid2path.0123456789abcdef"), None)
    t.eq("volume id", t.xattr(t.disk("f"), "trusted.glusterfs.volume-id"), None)
    t.eq("the root's volume id", t.xattr(t.server.path, "trusted.glusterfs.volume-id"), t.server.id.bytes)
    t.eq("the root's gfid", t.xattr(t.server.path, "trusted.gfid"), ROOT)


@probe("attack", "xattrop on what identifies objects", "attack-identity")
def _(t):
    g = t.mknod("f")
    for target in (g, ROOT):
        for name in STORE:
            for op in (0, 1, 4, 5):
                t.c.xattrop(gfid=target, flags=op, dict={name: b"0123456789abcdef"})
    unchanged(t, g)


@probe("attack", "xattrop on attributes that mean something to the kernel", "attack")
def _(t):
    g = t.mknod("f")
    user = t.c.by(uid=1000, gid=1000)
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", tag, 7, 0xffffffff) for tag in (1, 4, 0x20))
    for name, value in (("system.posix_acl_access", acl), ("security.capability", b"\1\0\0\2" + bytes(16)),
                        ("user.x", b"1234")):
        user.xattrop(gfid=g, flags=4, dict={name: value})
        t.eq(name, t.xattr(t.disk("f"), name), None)
    t.eq("mode", oct(os.stat(t.disk("f")).st_mode), "0o100644")


@probe("attack", "creation with what identifies objects", "attack")
def _(t):
    xdata = {n: b"0123456789abcdef" for n in STORE}
    t.c.mknod(pargfid=t.dir, mode=0o100644, bname="f", xdata=t.req("f", **xdata))
    unchanged(t, t.gfid("f"))


@probe("attack", "setxattr and removexattr of what identifies objects", "attack")
def _(t):
    g, fd = t.file("f")
    for target in (g, ROOT):
        for name in STORE:
            t.c.setxattr(gfid=target, dict={name: b"0123456789abcdef"})
            t.c.removexattr(gfid=target, name=name)
            t.c.removexattr(gfid=target, name="", xdata={name: b""})
    for name in STORE:
        t.c.fsetxattr(gfid=g, fd=fd, dict={name: b"0123456789abcdef"})
        t.c.fremovexattr(gfid=g, fd=fd, name=name)
    unchanged(t, g)


@probe("attack", "replacing all attributes of a directory keeps its identity", "attack")
def _(t):
    d = t.mkdir("f")
    t.c.setxattr(gfid=d, dict={n: b"0123456789abcdef" for n in STORE}, xdata={"sync_backend_xattrs": 1})
    unchanged(t, d)
    t.c.setxattr(gfid=ROOT, dict={n: b"0123456789abcdef" for n in STORE}, xdata={"sync_backend_xattrs": 1})
    unchanged(t, d)


@probe("attack", "devices cannot be opened", "attack")
def _(t):
    for kind in (stat.S_IFCHR, stat.S_IFBLK):
        name = "dev%o" % kind
        t.ok(t.c.mknod(pargfid=t.dir, mode=kind | 0o666, dev=0x0105, bname=name, xdata=t.req(name)))
        g = t.gfid(name)
        for flags in (os.O_RDONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC):
            refused(t, t.c.open(gfid=g, flags=flags))
        refused(t, t.c.create(pargfid=t.dir, flags=os.O_RDWR, mode=0o666, bname=name, xdata=t.req(name)))
        refused(t, t.c.read(gfid=g, fd=ANONYMOUS, size=10))
        refused(t, t.c.write(gfid=g, fd=ANONYMOUS, data=b"x"))
        refused(t, t.c.truncate(gfid=g, offset=0))
        refused(t, t.c.opendir(gfid=g))
    x = t.c.lookup(pargfid=t.dir, bname="dev%o" % stat.S_IFCHR, xdata={"glusterfs.content": 4096}).xdata
    t.eq("content in lookup", x.get("glusterfs.content"), None)


@probe("attack", "fifos and sockets hold nobody up", "attack-crash")
def _(t):
    for kind in (stat.S_IFIFO, stat.S_IFSOCK):
        name = "n%o" % kind
        t.mknod(name, kind | 0o666)
        g = t.gfid(name)
        for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
            refused(t, t.c.open(gfid=g, flags=flags))
        refused(t, t.c.read(gfid=g, fd=ANONYMOUS, size=10))
        refused(t, t.c.write(gfid=g, fd=ANONYMOUS, data=b"x"))
    t.ok(t.c.stat(gfid=t.dir))


flavour("attack-crash", Flavour())
flavour("attack-identity", Flavour())


@probe("attack", "a symbolic link is no way out", "attack")
def _(t):
    outside = made_outside(t)
    t.ok(t.c.symlink(pargfid=t.dir, bname="l", linkname=outside, xdata=t.req("l")))
    g = t.gfid("l")
    refused(t, t.c.lookup(pargfid=g, bname="victim"))
    refused(t, t.c.mkdir(pargfid=g, bname="x", mode=0o755, xdata=t.req("x")))
    refused(t, t.c.create(pargfid=g, bname="x", flags=2, mode=0o644, xdata=t.req("x")))
    refused(t, t.c.unlink(pargfid=g, bname="nothing"))
    refused(t, t.c.opendir(gfid=g))
    refused(t, t.c.readdirp(gfid=g, fd=ANONYMOUS, size=4096))
    t.ok(t.c.symlink(pargfid=t.dir, bname="p", linkname=outside + "/victim", xdata=t.req("p")))
    p = t.gfid("p")
    refused(t, t.c.open(gfid=p, flags=os.O_RDONLY))
    refused(t, t.c.read(gfid=p, fd=ANONYMOUS, size=100))
    refused(t, t.c.write(gfid=p, fd=ANONYMOUS, data=b""))
    refused(t, t.c.create(pargfid=t.dir, bname="p", flags=2, mode=0o644, xdata=t.req("y")))
    refused(t, t.c.truncate(gfid=p, offset=4096))
    t.eq("content in lookup", t.c.lookup(pargfid=t.dir, bname="p", xdata={"glusterfs.content": 9999}).xdata.get("glusterfs.content"), None)
    t.eq("what is there", (os.listdir(outside), os.path.getsize(outside + "/victim")), (["victim"], 6))


@probe("attack", "a link that takes a directory's place is no way out", "attack")
def _(t):
    d = t.mkdir("d")
    sub = t.mkdir("sub", parent=d)
    t.ok(t.c.lookup(pargfid=d, bname="sub"))
    t.ok(t.c.rename(oldgfid=t.dir, newgfid=t.dir, oldbname="d", newbname="e"))
    t.ok(t.c.symlink(pargfid=t.dir, bname="d", linkname=made_outside(t), xdata=t.req("l")))
    t.ok(t.c.stat(gfid=sub))
    t.ok(t.c.mknod(pargfid=sub, mode=0o100644, bname="f", xdata=t.req("f")))
    t.true("in its own place", os.path.exists(t.disk("e", "sub", "f")))
    refused(t, t.c.lookup(pargfid=t.gfid("l"), bname="victim"))


@probe("attack", "dumps go nowhere", "attack")
def _(t):
    g, fd = t.file("f")
    where = t.disk("dumped")
    for name in ("trusted.io-stats-dump", "io-stats-dump", "trusted.glusterfs.io-stats-dump"):
        for value in (where.encode() + b"\0", b"../../../dumped\0"):
            t.c.setxattr(gfid=g, dict={name: value})
            t.c.setxattr(gfid=ROOT, dict={name: value})
            t.c.fsetxattr(gfid=g, fd=fd, dict={name: value})
    t.eq("dumped", os.path.exists(where), False)


@probe("attack", "format strings in names", "attack")
def _(t):
    nasty = "%n%s%s%n%999999d"
    g = t.mknod(nasty)
    t.ok(t.c.lookup(pargfid=t.dir, bname=nasty))
    t.c.rename(oldgfid=t.dir, newgfid=t.dir, oldbname=nasty, newbname=nasty + "%p")
    t.c.getxattr(gfid=g, name="user." + nasty, namelen=30)
    t.c.inodelk(gfid=g, cmd=1, type=1, volume=nasty, flock=dict(type=1))
    refused(t, t.c.getxattr(gfid=g, name="glusterfs.clrlk.t" + nasty, namelen=30))
    c = t.connect(**{"process-name": nasty, "client-version": nasty, "process-uuid": nasty})
    t.ok(c.stat(gfid=g))


@probe("attack", "a guessed gfid outside of a mounted sub-directory", "attack")
def _(t):
    t.mkdir("in")
    out = t.mkdir("out")
    secret = t.mknod("secret", parent=out, by=None)
    t.ok(t.c.write(gfid=secret, fd=ANONYMOUS, data=b"secret"))
    t.ok(t.c.symlink(pargfid=out, bname="link", linkname="x", xdata=t.req("link")))
    c = t.connect(**{"subdir-mount": "/%s/in" % t.place})
    for g in (secret, out, t.dir, t.gfid("link")):
        for name, more in (("stat", {}), ("lookup", {}), ("open", {}), ("opendir", {}), ("setattr", dict(stbuf=dict(mode=0), valid=1)),
                           ("truncate", {}), ("readlink", dict(size=10)), ("getxattr", {}), ("access", dict(mask=4)),
                           ("setxattr", dict(dict={"user.a": b"1"}))):
            refused(t, getattr(c, name)(gfid=g, **more))
        refused(t, c.read(gfid=g, fd=ANONYMOUS, size=10))
        refused(t, c.write(gfid=g, fd=ANONYMOUS, data=b"x"))
        refused(t, c.readdirp(gfid=g, fd=ANONYMOUS, size=4096))
    refused(t, c.lookup(pargfid=out, bname="secret"))
    refused(t, c.lookup(pargfid=ROOT, bname=".."))
    refused(t, c.unlink(pargfid=out, bname="secret"))
    refused(t, c.link(oldgfid=secret, newgfid=ROOT, newbname="mine"))
    refused(t, c.rename(oldgfid=out, newgfid=ROOT, oldbname="secret", newbname="mine"))
    refused(t, c.mknod(pargfid=out, bname="x", mode=0o100644, xdata=t.req("x")))
    t.eq("content", t.c.read(gfid=secret, fd=ANONYMOUS, size=10).data, b"secret")


@probe("attack", "a file inside of a mounted sub-directory is served", "attack")
def _(t):
    d = t.mkdir("in")
    sub = t.mkdir("sub", parent=d)
    f = t.mknod("f", parent=sub)
    c = t.connect(**{"subdir-mount": "/%s/in" % t.place})
    t.ok(c.stat(gfid=f))
    t.ok(c.lookup(gfid=sub))
    t.ok(c.lookup(pargfid=sub, bname="f"))
    t.ok(c.open(gfid=f, flags=os.O_RDWR))
    t.ok(c.link(oldgfid=f, newgfid=ROOT, newbname="g"))
    t.ok(c.rename(oldgfid=sub, newgfid=ROOT, oldbname="f", newbname="h"))
    t.ok(c.rename(oldgfid=ROOT, newgfid=ROOT, oldbname="sub", newbname="moved"))
    t.ok(c.stat(gfid=sub))
    t.ok(c.stat(gfid=f))
