"""Brick.md sections 5 to 7: gfids, how objects are addressed, what iatts hold."""
import os
import stat
import struct
from errno import EBADF, EEXIST, EINVAL, ENAMETOOLONG, ENODATA, ENOENT, ENOTDIR, EPERM, ESTALE

from messages import NULL_GFID, Gfid
from probe import ANONYMOUS, NO_FD, ROOT, flavour, probe
from servers import Flavour

NO_INO = 2 ** 64 - 1


def make(t, kind, **xdata):
    if kind == "create":
        return t.c.create(pargfid=t.dir, flags=os.O_RDWR, mode=0o644, bname=kind, xdata=xdata)
    if kind == "symlink":
        return t.c.symlink(pargfid=t.dir, bname=kind, linkname="x", xdata=xdata)
    mode = 0o755 if kind == "mkdir" else 0o100644
    return getattr(t.c, kind)(pargfid=t.dir, mode=mode, bname=kind, xdata=xdata)


for kind in ("create", "mkdir", "mknod", "symlink"):
    @probe("§5", "%s without gfid-req" % kind)
    def _(t, kind=kind):
        t.err(make(t, kind), EINVAL)
        t.err(make(t, kind, **{"gfid-req": Gfid(NULL_GFID)}), EINVAL)
        t.eq("left behind", os.listdir(t.disk()), [])

    @probe("§5", "%s with a plain value as gfid-req" % kind)
    def _(t, kind=kind):
        t.ok(make(t, kind, **{"gfid-req": bytes(t.gfid("new"))}))
        t.eq("gfid", t.xattr(t.disk(kind), "trusted.gfid"), t.gfid("new"))


for kind in ("create", "mknod", "symlink"):
    @probe("§5", "%s with a gfid that is taken" % kind)
    def _(t, kind=kind):
        g = t.mknod("first")
        r = make(t, kind, **{"gfid-req": Gfid(g)})
        t.err(r, EEXIST, ENODATA)
        t.eq("names", os.listdir(t.disk()), ["first"])
        t.ok(t.c.stat(gfid=g))


@probe("§5", "mknod of a taken gfid by an internal client links")
def _(t):
    g = t.mknod("first")
    r = t.c.mknod(pargfid=t.dir, mode=0o100644, bname="second", xdata={"gfid-req": Gfid(g), "glusterfs-internal-fop": "yes"})
    t.ok(r)
    t.true("same file", os.path.samefile(t.disk("first"), t.disk("second")))
    t.eq("links", t.c.stat(gfid=g).stat["nlink"], 2)


@probe("§5", "mkdir of a taken directory gfid moves the handle")
def _(t):
    g = t.mkdir("first")
    t.ok(t.c.mkdir(pargfid=t.dir, mode=0o755, bname="second", xdata={"gfid-req": Gfid(g)}))
    t.true("the handle leads to the new name", os.readlink(t.handle(g)).endswith("/second"))


@probe("§5", "mkdir of the same name and gfid")
def _(t):
    g = t.mkdir("d")
    t.err(t.c.mkdir(pargfid=t.dir, mode=0o755, bname="d", xdata={"gfid-req": Gfid(g)}), EEXIST)


@probe("§5", "lookup gives a gfid-less object the gfid it brings")
def _(t):
    os.mkdir(t.disk("d"))
    with open(t.disk("f"), "w"):
        pass
    for name in "df":
        r = t.ok(t.c.lookup(pargfid=t.dir, bname=name, xdata=t.req(name)))
        t.eq("gfid", r.prestat["gfid"], t.gfid(name))
        t.eq("stored", t.xattr(t.disk(name), "trusted.gfid"), t.gfid(name))
        t.true("handle", os.path.samefile(t.handle(t.gfid(name)), t.disk(name)))


@probe("§5", "lookup of a gfid-less object without gfid-req")
def _(t):
    with open(t.disk("f"), "w"):
        pass
    t.err(t.c.lookup(pargfid=t.dir, bname="f"), ENODATA)
    r = t.ok(t.c.lookup(pargfid=t.dir, bname="f", xdata={"gfidless-lookup": 1}))
    t.eq("gfid and ino", (r.prestat["gfid"], r.prestat["ino"]), (NULL_GFID, NO_INO))


@probe("§5", "lookup makes a lost handle again after a restart")
def _(t):
    g = t.mknod("f")
    os.unlink(t.handle(g))
    restarted(t)
    t.ok(t.c.lookup(pargfid=t.dir, bname="f"))
    t.true("handle", os.path.lexists(t.handle(g)) and os.path.samefile(t.handle(g), t.disk("f")))


def restarted(t):
    for c in t.connections:
        c.close()
    t.connections.clear()
    t.server.restart()
    t.c = t.connect()


@probe("§5", "nameless lookup removes a dangling handle")
def _(t):
    g, d = t.mknod("f"), t.mkdir("d")
    os.unlink(t.disk("f"))
    os.rmdir(t.disk("d"))
    restarted(t)
    for one in (g, d):
        t.err(t.c.lookup(gfid=one), ENOENT, ESTALE)
        t.eq("handle", os.path.lexists(t.handle(one)), False)


@probe("§5", "trusted.gfid and volume-id cannot be changed")
def _(t):
    g = t.mknod("f")
    other = t.gfid("other")
    t.ok(t.c.setxattr(gfid=g, dict={"trusted.gfid": bytes(other)}))
    t.ok(t.c.setxattr(gfid=ROOT, dict={"trusted.glusterfs.volume-id": bytes(16)}))
    t.err(t.c.removexattr(gfid=g, name="trusted.gfid"), EPERM)
    t.err(t.c.removexattr(gfid=ROOT, name="trusted.glusterfs.volume-id"), EPERM)
    t.eq("gfid", t.xattr(t.disk("f"), "trusted.gfid"), g)
    t.eq("volume", t.xattr(t.server.path, "trusted.glusterfs.volume-id"), t.server.id.bytes)


# ---- section 6 -------------------------------------------------------------------------------------------------------

UNKNOWN = {
    "stat": {}, "open": {}, "setattr": dict(stbuf={}, valid=1), "getxattr": dict(name="user.x", namelen=6),
    "xattrop": dict(dict={"trusted.afr.x": bytes(12)}), "opendir": {}, "truncate": {}, "readlink": dict(size=100), "statfs": {},
    "inodelk": dict(cmd=1, type=1, volume="d", flock=dict(type=1)), "access": dict(mask=4),
    "entrylk": dict(cmd=2, type=1, namelen=1, name="x", volume="d"), "setxattr": dict(dict={"user.x": b"1"}),
    "removexattr": dict(name="user.x"),
}
for name, fields in UNKNOWN.items():
    @probe("§6", "%s of a gfid that nothing has" % name)
    def _(t, name=name, fields=fields):
        t.err(getattr(t.c, name)(gfid=t.gfid("nothing"), **fields), ESTALE)


@probe("§6", "link of a gfid that nothing has")
def _(t):
    t.err(t.c.link(oldgfid=t.gfid("nothing"), newgfid=t.dir, newbname="x"), ESTALE)


@probe("§6", "nameless lookup of a gfid that nothing has")
def _(t):
    t.err(t.c.lookup(gfid=t.gfid("nothing")), ENOENT)


def unlinked(t):
    """An open file without a name."""
    g, fd = t.file("f", data=b"hello")
    t.ok(t.c.unlink(pargfid=t.dir, bname="f"))
    return g, fd


@probe("§6", "an open file without a name, by gfid")
def _(t):
    g, _ = unlinked(t)
    for name in ("stat", "open", "lookup"):
        t.err(getattr(t.c, name)(gfid=g), ENOENT)


@probe("§6", "an open file without a name, by descriptor")
def _(t):
    g, fd = unlinked(t)
    for n in (fd, ANONYMOUS):
        t.eq("read", t.c.read(gfid=g, fd=n, size=10).data, b"hello")
        t.eq("written", t.c.write(gfid=g, fd=n, data=b"hello").op_ret, 5)
        t.ok(t.c.fstat(gfid=g, fd=n))
    t.ok(t.c.ftruncate(gfid=g, fd=fd, offset=1))


@probe("§6", "unlinked-lookup of an open file without a name")
def _(t):
    g, _ = unlinked(t)
    r = t.ok(t.c.lookup(gfid=g, xdata={"unlinked-lookup": 1}))
    t.eq("links and size", (r.prestat["nlink"], r.prestat["size"]), (0, 5))
    t.err(t.c.lookup(gfid=t.gfid("nothing"), xdata={"unlinked-lookup": 1}), ENOENT)


NAMED = {
    "lookup": lambda p, n: dict(pargfid=p, bname=n), "mkdir": lambda p, n: dict(pargfid=p, bname=n, mode=0o755),
    "mknod": lambda p, n: dict(pargfid=p, bname=n, mode=0o100644), "symlink": lambda p, n: dict(pargfid=p, bname=n, linkname="x"),
    "create": lambda p, n: dict(pargfid=p, bname=n, flags=2, mode=0o644), "unlink": lambda p, n: dict(pargfid=p, bname=n),
    "rmdir": lambda p, n: dict(pargfid=p, bname=n),
}
CREATIONS = ("mkdir", "mknod", "symlink", "create")


def named(t, name, parent, bname):
    fields = NAMED[name](parent, bname)
    if name in CREATIONS:
        fields["xdata"] = t.req("new")
    return getattr(t.c, name)(**fields)


for name in NAMED:
    @probe("§6", "%s in a directory that nothing has" % name)
    def _(t, name=name):
        t.err(named(t, name, t.gfid("nothing"), "x"), ESTALE)

    @probe("§6", "%s in a parent that is no directory" % name)
    def _(t, name=name):
        t.err(named(t, name, t.mknod("f"), "x"), EPERM)

    @probe("§6", "%s of a name with a slash" % name)
    def _(t, name=name):
        t.err(named(t, name, t.dir, "a/b"), EPERM)

    @probe("§6", "%s of a name that is too long" % name)
    def _(t, name=name):
        t.err(named(t, name, t.dir, "n" * 256), ENAMETOOLONG)

    @probe("§6", "%s of .glusterfs in the root" % name)
    def _(t, name=name):
        t.err(named(t, name, ROOT, ".glusterfs"), EPERM)
        t.true("still there", os.path.isdir(t.store("00")))


@probe("§6", "rename and link with .glusterfs in the root")
def _(t):
    g = t.mknod("f")
    t.err(t.c.rename(oldgfid=ROOT, newgfid=t.dir, oldbname=".glusterfs", newbname="x"), EPERM)
    t.err(t.c.rename(oldgfid=t.dir, newgfid=ROOT, oldbname="f", newbname=".glusterfs"), EPERM)
    t.err(t.c.link(oldgfid=g, newgfid=ROOT, newbname=".glusterfs"), EPERM)
    t.true("still there", os.path.isdir(t.store("00")))


@probe("§6", "entries that are not there")
def _(t):
    r = t.err(t.c.lookup(pargfid=t.dir, bname="x"), ENOENT)
    t.eq("the parent is told all the same", r.poststat["gfid"], t.dir)
    t.err(t.c.unlink(pargfid=t.dir, bname="x"), ENOENT)
    t.err(t.c.rmdir(pargfid=t.dir, bname="x"), ENOENT)
    t.err(t.c.rename(oldgfid=t.dir, newgfid=t.dir, oldbname="x", newbname="y"), ENOENT)


@probe("§6", "entries that exist already")
def _(t):
    g = t.mknod("f")
    for kind in ("mkdir", "mknod"):
        t.err(getattr(t.c, kind)(pargfid=t.dir, mode=0o644 | (0 if kind == "mkdir" else 0o100000), bname="f",
                                 xdata=t.req("new")), EEXIST)
    t.err(t.c.symlink(pargfid=t.dir, bname="f", linkname="x", xdata=t.req("new")), EEXIST)
    t.err(t.c.create(pargfid=t.dir, bname="f", flags=os.O_RDWR | os.O_EXCL, mode=0o644, xdata=t.req("new")), EEXIST)
    t.err(t.c.link(oldgfid=t.mknod("g"), newgfid=t.dir, newbname="f"), EEXIST)
    t.ok(t.c.stat(gfid=g))


@probe("§6", "descriptor numbers nobody has")
def _(t):
    g = t.mknod("f")
    t.err(t.c.read(gfid=g, fd=99, size=1), EBADF)
    t.err(t.c.write(gfid=g, fd=99, data=b"x"), EBADF)
    t.err(t.c.fstat(gfid=g, fd=99), EBADF)
    t.err(t.c.flush(gfid=g, fd=99), EBADF)


@probe("§6", "an anonymous descriptor of a gfid that nothing has")
def _(t):
    g = t.gfid("nothing")
    t.err(t.c.read(gfid=g, fd=ANONYMOUS, size=1), ENOENT)
    t.err(t.c.write(gfid=g, fd=ANONYMOUS, data=b"x"), ENOENT)
    t.err(t.c.fstat(gfid=g, fd=ANONYMOUS), ENOENT)


@probe("§6", "descriptor -1", "crash")
def _(t):
    t.err(t.c.read(gfid=t.mknod("f"), fd=NO_FD, size=1), EBADF)


flavour("crash", Flavour())


@probe("§6", "a sub-directory is the root of who mounted it")
def _(t):
    d = t.mkdir("d")
    t.mknod("f", parent=d)
    c = t.connect(**{"subdir-mount": "/%s/d" % t.place})
    r = t.ok(c.lookup(gfid=ROOT))
    t.eq("gfid and ino", (r.prestat["gfid"], r.prestat["ino"]), (ROOT, 1))
    t.ok(c.lookup(pargfid=ROOT, bname="f"))
    t.eq("parent in the answer", c.lookup(pargfid=ROOT, bname="f").poststat["gfid"], ROOT)


@probe("§6", "a sub-directory's parent cannot be reached by name")
def _(t):
    t.mkdir("d")
    c = t.connect(**{"subdir-mount": "/%s/d" % t.place})
    r = c.readdirp(gfid=ROOT, fd=c.opendir(gfid=ROOT).fd, size=4096)
    parent = [e for e in r.reply if e["name"] == ".."][0]
    t.true("the entry .. tells nothing of it", parent["stat"]["gfid"] in (NULL_GFID, ROOT))


# ---- section 7 -------------------------------------------------------------------------------------------------------


@probe("§7", "inode numbers are the end of the gfid")
def _(t):
    g = t.mknod("f")
    t.eq("ino", t.c.stat(gfid=g).stat["ino"], struct.unpack(">Q", g[8:])[0])
    t.eq("root", t.c.stat(gfid=ROOT).stat["ino"], 1)


@probe("§7", "flags of an iatt")
def _(t):
    t.eq("flags", t.c.stat(gfid=t.mknod("f")).stat["flags"], 0x17ff)
    t.eq("btime", t.c.stat(gfid=ROOT).stat["btime"], 0)


@probe("§7", "links of directories, files and files without a name")
def _(t):
    d = t.mkdir("d")
    t.mkdir("sub", parent=d)
    t.eq("directory", t.c.stat(gfid=d).stat["nlink"], os.stat(t.disk("d")).st_nlink)
    g, fd = t.file("f")
    t.eq("file", t.c.stat(gfid=g).stat["nlink"], 1)
    t.ok(t.c.link(oldgfid=g, newgfid=t.dir, newbname="g"))
    t.eq("file with two names", t.c.stat(gfid=g).stat["nlink"], 2)
    t.ok(t.c.unlink(pargfid=t.dir, bname="g"))
    t.ok(t.c.unlink(pargfid=t.dir, bname="f"))
    t.eq("without a name", t.c.fstat(gfid=g, fd=fd).stat["nlink"], 0)


@probe("§7", "blocks never exceed the size")
def _(t):
    g, fd = t.file("f", data=b"hello world")
    t.eq("11 bytes", t.c.stat(gfid=g).stat["blocks"], 1)
    t.ok(t.c.ftruncate(gfid=g, fd=fd, offset=1 << 20))
    t.true("sparse", t.c.stat(gfid=g).stat["blocks"] <= 2048)


@probe("§7", "device numbers")
def _(t):
    t.ok(t.c.mknod(pargfid=t.dir, mode=stat.S_IFCHR | 0o600, dev=0x0103, bname="n", xdata=t.req("n")))
    t.eq("rdev", t.c.stat(gfid=t.gfid("n")).stat["rdev"], 1 << 32 | 3)
    st = os.stat(t.disk("n"))
    t.eq("on disk", (os.major(st.st_rdev), os.minor(st.st_rdev)), (1, 3))


@probe("§7", "iatts before and after bracket the change")
def _(t):
    g, fd = t.file("f", data=b"hello")
    r = t.c.write(gfid=g, fd=fd, offset=5, data=b" world")
    t.eq("sizes", (r.prestat["size"], r.poststat["size"]), (5, 11))
    r = t.c.mkdir(pargfid=t.dir, mode=0o755, bname="d", xdata=t.req("d"))
    t.eq("links of the parent", r.postparent["nlink"] - r.preparent["nlink"], 1)


@probe("§7", "a failure's iatts are empty")
def _(t):
    r = t.err(t.c.truncate(gfid=t.gfid("nothing"), offset=1), ESTALE)
    t.eq("iatts", (r.prestat["gfid"], r.poststat["mode"]), (NULL_GFID, 0))
