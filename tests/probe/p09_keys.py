"""Brick.md sections 9 to 11: request keys, extended attributes, xattrop."""
import os
import struct
from errno import (EACCES, EBUSY, EEXIST, EINVAL, EIO, ENODATA, ENOTDIR, ENOTSUP, EPERM, ERANGE)

from messages import NULL_GFID, Gfid, Mdata
from probe import ANONYMOUS, ROOT, flavour, probe
from servers import Flavour


def i32(*n):
    return struct.pack(">%di" % len(n), *n)


def i64(*n):
    return struct.pack(">%dq" % len(n), *n)


def lookup(t, name, **xdata):
    return t.ok(t.c.lookup(pargfid=t.dir, bname=name, xdata={k.replace("__", "."): v for k, v in xdata.items()}))


def look(t, name, keys):
    return t.ok(t.c.lookup(pargfid=t.dir, bname=name, xdata=keys))


# ---- section 9 -------------------------------------------------------------------------------------------------------


@probe("§9", "keys are patterns of attribute names")
def _(t):
    g = t.mknod("f", **{"trusted.afr.a": b"1", "trusted.afr.b": b"2", "user.a": b"3"})
    for keys, want in (({"trusted.afr.a": 0}, ["trusted.afr.a"]), ({"trusted.afr.*": 0}, ["trusted.afr.a", "trusted.afr.b"]),
                       ({"trusted.afr.?": 0}, ["trusted.afr.a", "trusted.afr.b"]), ({"*.a": 0}, ["trusted.afr.a", "user.a"]),
                       ({"trusted.afr.[b]": 0}, ["trusted.afr.b"]), ({"trusted.nothing": 0}, []), ({"nonsense": 0}, [])):
        t.eq(str(keys), sorted(look(t, "f", keys).xdata), want)
    t.eq("in stat", sorted(t.c.stat(gfid=g, xdata={"user.a": 0}).xdata), ["user.a"])


@probe("§9", "the store's own attributes are not hidden from patterns")
def _(t):
    t.mknod("f", by=t.c.by(time=(1000, 0), flags=0x1F))
    x = look(t, "f", {"trusted.gfid": 0, "trusted.glusterfs.mdata": 0, "trusted.gfid2path.*": 0}).xdata
    t.eq("gfid", x.get("trusted.gfid"), t.gfid("f"))
    t.true("mdata", "trusted.glusterfs.mdata" in x)
    t.true("gfid2path", any(k.startswith("trusted.gfid2path.") for k in x))


@probe("§9", "list-xattr")
def _(t):
    t.mknod("f", by=t.c.by(time=(1000, 0), flags=0x1F), **{"trusted.afr.a": b"1", "user.a": b"2"})
    os.setxattr(t.disk("f"), "trusted.glusterfs.quota.size", b"x")
    os.setxattr(t.disk("f"), "security.selinux", b"label")
    names = sorted(look(t, "f", {"list-xattr": 1}).xdata)
    t.eq("names", [n for n in names if n != "trusted.glusterfs.mdata"], ["trusted.afr.a", "user.a"])


@probe("§9", "content of small files")
def _(t):
    t.file("f", data=b"hello")
    t.file("empty")
    for name, size, want in (("f", 100, b"hello"), ("f", 5, b"hello"), ("f", 4, None), ("empty", 0, b""), ("empty", 10, b"")):
        t.eq("%s, %d" % (name, size), look(t, name, {"glusterfs.content": size}).xdata.get("glusterfs.content"), want)


@probe("§9", "open descriptors are counted")
def _(t):
    g, fd = t.file("f")
    other = t.connect()
    other.open(gfid=g, flags=os.O_RDWR)
    keys = {"glusterfs.open-fd-count": 0, "glusterfs.open-active-fd-count": 0}
    t.eq("two", [look(t, "f", keys).xdata.get(k) for k in keys], [2, 2])
    t.ok(t.c.release(gfid=g, fd=fd))
    t.eventually("one", lambda: look(t, "f", keys).xdata.get("glusterfs.open-fd-count") == 1)


@probe("§9", "sizes and links")
def _(t):
    g, fd = t.file("f", data=b"hello")
    t.eq("size", look(t, "f", {"get-size": 0}).xdata.get("get-size"), 5)
    t.ok(t.c.link(oldgfid=g, newgfid=t.dir, newbname="g"))
    r = t.ok(t.c.unlink(pargfid=t.dir, bname="g", xdata={"get-link-count": 0, "gf_request_link_count": 0,
                                                         "gf_get_file_block_count": 0}))
    t.eq("of unlink", [r.xdata.get(k) for k in ("get-link-count", "gf_response_link_count", "gf_get_file_block_count")], [2, 2, 1])


@probe("§9", "rename tells the links of what it replaced")
def _(t):
    g = t.mknod("g")
    t.mknod("f")
    t.ok(t.c.link(oldgfid=g, newgfid=t.dir, newbname="h"))
    r = t.ok(t.c.rename(oldgfid=t.dir, newgfid=t.dir, oldbname="f", newbname="g", xdata={"get-link-count": 0}))
    t.eq("links", r.xdata.get("get-link-count"), 2)


@probe("§9", "unlink returns what is left")
def _(t):
    g = t.mknod("f")
    t.ok(t.c.link(oldgfid=g, newgfid=t.dir, newbname="g"))
    r = t.ok(t.c.unlink(pargfid=t.dir, bname="g", xdata={"dht-get-iatt-in-xattr": 1}))
    for key in ("dht-get-iatt-in-xattr", "virt-gf-poststat"):
        t.eq(key, r.xdata.get(key, {}).get("nlink"), 1)


@probe("§9", "mode in the answer of xattrop")
def _(t):
    g = t.mknod("f", 0o100640)
    r = t.ok(t.c.xattrop(gfid=g, dict={"trusted.afr.x": i32(0, 0, 0)}, xdata={"dht-get-mode-in-xattr": 1}))
    t.eq("mode", r.xdata.get("dht-get-mode-in-xattr"), 0o100640)


for kind in ("mkdir", "create"):
    @probe("§9", "%s only under a parent that is as expected" % kind)
    def _(t, kind=kind):
        key = "trusted.glusterfs.dht"
        d = t.mkdir("d", **{key: b"layout-of-parent"})

        def make(name, value):
            more = dict(mode=0o755) if kind == "mkdir" else dict(mode=0o644, flags=os.O_RDWR | os.O_EXCL)
            xdata = t.req(name, **{"glusterfs.preop.parent.key": key, key: value})
            return getattr(t.c, kind)(pargfid=d, bname=name, xdata=xdata, **more)
        r = t.err(make("no", b"another-layout-x"), EIO)
        t.true("told why", "glusterfs.preop.check.failed" in (r.xdata or {}))
        t.eq("nothing made", os.listdir(t.disk("d")), [])
        t.ok(make("yes", b"layout-of-parent"))
        t.eq("not stored on the child", t.xattr(t.disk("d", "yes"), key), None)


@probe("§9", "parents without the expected attribute")
def _(t):
    d = t.mkdir("d")
    key = {"glusterfs.preop.parent.key": "trusted.glusterfs.dht", "trusted.glusterfs.dht": b"x"}
    r = t.err(t.c.mkdir(pargfid=d, bname="m", mode=0o755, xdata=t.req("m", **key)), ENODATA)
    t.eq("no key", "glusterfs.preop.check.failed" in (r.xdata or {}), False)
    t.err(t.c.create(pargfid=d, bname="c", mode=0o644, flags=0o302, xdata=t.req("c", **key)), EIO)


@probe("§9", "a write tells whether it appended")
def _(t):
    g, fd = t.file("f", data=b"hello")
    key = "glusterfs.write-is-append"
    for offset, want in ((5, 1), (0, 0), (100, 0)):
        r = t.c.write(gfid=g, fd=fd, offset=offset, data=b"x", xdata={key: 1})
        t.eq("at %d" % offset, r.xdata.get(key, 0), want)


@probe("§9", "the whole set of attributes of a directory is replaced")
def _(t):
    d = t.mkdir("d", **{"user.old": b"1", "trusted.keep": b"2"})
    t.ok(t.c.setxattr(gfid=d, dict={"user.new": b"3"}, xdata={"sync_backend_xattrs": 1}))
    t.eq("names", sorted(n for n in os.listxattr(t.disk("d")) if "gfid" not in n), ["trusted.keep", "user.new"])


@probe("§9", "umask and mode of a request's keys")
def _(t):
    t.mknod("f", 0o100666, **{"umask": 0o027})
    t.eq("mode", oct(os.stat(t.disk("f")).st_mode), "0o100640")


# ---- section 10 ------------------------------------------------------------------------------------------------------


@probe("§10.1", "names that are dropped")
def _(t):
    g = t.mknod("f")
    t.ok(t.c.setxattr(gfid=g, dict={"trusted.io-stats-dump": b"/tmp/dump\0", "user.a": b"1"}))
    t.eq("not stored", t.xattr(t.disk("f"), "trusted.io-stats-dump"), None)
    t.eq("the other", t.xattr(t.disk("f"), "user.a"), b"1")


@probe("§10.1", "names that are refused")
def _(t):
    g, fd = t.file("f")
    for name, want in (("trusted.glusterfs.pathinfo", EACCES), ("glusterfs.pathinfo", EACCES), ("trusted.gfid2path.0", ENOTSUP),
                       ("trusted.bit-rot.version", EINVAL), ("nonsense", ENOTSUP)):
        t.err(t.c.setxattr(gfid=g, dict={name: b"x"}), want)


@probe("§10.1", "create only and replace only")
def _(t):
    g = t.mknod("f")
    t.err(t.c.setxattr(gfid=g, flags=2, dict={"user.a": b"1"}), ENODATA)
    t.ok(t.c.setxattr(gfid=g, flags=1, dict={"user.a": b"1"}))
    t.err(t.c.setxattr(gfid=g, flags=1, dict={"user.a": b"2"}), EEXIST)
    t.ok(t.c.setxattr(gfid=g, flags=2, dict={"user.a": b"2"}))
    t.eq("stored", t.xattr(t.disk("f"), "user.a"), b"2")


@probe("§10.1", "the security label has another name on disk")
def _(t):
    g = t.mknod("f")
    t.ok(t.c.setxattr(gfid=g, dict={"security.selinux": b"label"}))
    t.eq("stored", t.xattr(t.disk("f"), "trusted.glusterfs.selinux"), b"label")
    r = t.ok(t.c.getxattr(gfid=g, name="security.selinux", namelen=16))
    t.eq("read", r.dict, {"security.selinux": b"label"})


@probe("§10.1", "attributes before and after in the answer")
def _(t):
    g, fd = t.file("f")
    for r in (t.c.setxattr(gfid=g, dict={"user.a": b"1"}), t.c.fsetxattr(gfid=g, fd=fd, dict={"user.b": b"1"}),
              t.c.removexattr(gfid=g, name="user.a"), t.c.fremovexattr(gfid=g, fd=fd, name="user.b")):
        t.ok(r)
        for key in ("dht-get-iatt-in-xattr", "virt-gf-prestat", "virt-gf-poststat"):
            t.eq(key, r.xdata.get(key, {}).get("gfid"), g)


@probe("§10.1", "numbers are stored as text")
def _(t):
    g = t.mknod("f")
    t.ok(t.c.setxattr(gfid=g, dict={"user.n": 42, "user.s": "abc"}))
    t.eq("stored", [t.xattr(t.disk("f"), n) for n in ("user.n", "user.s")], [b"42\0", b"abc\0"])


@probe("§10.2", "names that cannot be removed")
def _(t):
    g = t.mknod("f", **{"user.a": b"1"})
    path = [n for n in os.listxattr(t.disk("f")) if n.startswith("trusted.gfid2path.")][0]
    for name, want in (("trusted.gfid", EPERM), ("trusted.glusterfs.volume-id", EPERM), ("trusted.gfid2path.0", ENODATA),
                       ("trusted.bit-rot.version", EINVAL), ("user.absent", ENODATA), ("user.a", 0)):
        t.err(t.c.removexattr(gfid=g, name=name), want)
    t.err(t.c.removexattr(gfid=g, name=path), ENODATA)
    t.true("still there", t.xattr(t.disk("f"), path))


@probe("§10.2", "many are removed at once")
def _(t):
    g = t.mknod("f", **{"user.a": b"1", "user.b": b"2", "user.c": b"3"})
    t.ok(t.c.removexattr(gfid=g, name="", xdata={"user.a": b"", "user.b": b"", "user.absent": b""}))
    t.eq("left", [n for n in os.listxattr(t.disk("f")) if n.startswith("user.")], ["user.c"])
    t.err(t.c.removexattr(gfid=g, name="", xdata={"trusted.gfid": b""}), EPERM)


@probe("§10.3", "a list of all attributes")
def _(t):
    g, fd = t.file("f", by=t.c)
    for name in ("user.a", "trusted.afr.x", "trusted.glusterfs.1234.xtime", "trusted.glusterfs.1234.stime", "trusted.glusterfs.mdata"):
        os.setxattr(t.disk("f"), name, bytes(57) if "mdata" in name else b"x")
    for r in (t.c.getxattr(gfid=g), t.c.fgetxattr(gfid=g, fd=fd)):
        t.ok(r)
        t.eq("names", sorted(r.dict), ["trusted.afr.x", "user.a"])


@probe("§10.3", "hidden names by name")
def _(t):
    g = t.mknod("f")
    for name in ("trusted.glusterfs.1234.xtime", "trusted.glusterfs.mdata"):
        os.setxattr(t.disk("f"), name, struct.pack(">B7Q", 1, 0, 9, 0, 9, 0, 9, 0))
        t.err(t.c.getxattr(gfid=g, name=name, namelen=len(name)), ENODATA)
    t.ok(t.c.by(pid=-1).getxattr(gfid=g, name="trusted.glusterfs.1234.xtime", namelen=28))
    t.ok(t.c.by(pid=-6).getxattr(gfid=g, name="trusted.glusterfs.mdata", namelen=23))
    path = [n for n in os.listxattr(t.disk("f")) if n.startswith("trusted.gfid2path.")][0]
    t.err(t.c.getxattr(gfid=g, name=path, namelen=len(path)), ENODATA)


@probe("§10.3", "the gfid by name is an empty answer")
def _(t):
    g = t.mknod("f")
    t.eq("gfid", t.ok(t.c.getxattr(gfid=g, name="trusted.gfid", namelen=12)).dict, {})
    t.eq("volume", t.ok(t.c.getxattr(gfid=ROOT, name="trusted.glusterfs.volume-id", namelen=27)).dict, {})


def ask(t, gfid, name, want=0):
    return t.err(t.c.getxattr(gfid=gfid, name=name, namelen=len(name)), want)


@probe("§10.3", "pathinfo")
def _(t):
    d = t.mkdir("d")
    g = t.mknod("f", parent=d)
    for name in ("trusted.glusterfs.pathinfo", "glusterfs.pathinfo"):
        text = ask(t, g, name).dict[name]
        text = text.decode().rstrip("\0") if isinstance(text, bytes) else text
        t.true(name, text.startswith("<POSIX(%s):" % t.server.path) and text.endswith(":%s>" % t.disk("d", "f")))


@probe("§10.3", "the node's uuid when there is none")
def _(t):
    ask(t, t.mknod("f"), "trusted.glusterfs.node-uuid", ENODATA)


@probe("§10.3", "get_real_filename")
def _(t):
    d = t.mkdir("d")
    g = t.mknod("MixedCase", parent=d)
    r = ask(t, d, "glusterfs.get_real_filename:mixedcase")
    t.true("found", "MixedCase" in str(r.dict))
    ask(t, d, "glusterfs.get_real_filename:nothing", ENODATA)
    ask(t, g, "glusterfs.get_real_filename:x", ENOTDIR)


@probe("§10.3", "paths of files and directories")
def _(t):
    d = t.mkdir("d")
    g = t.mknod("f", parent=d)
    t.ok(t.c.link(oldgfid=g, newgfid=t.dir, newbname="g"))
    text = str(ask(t, g, "glusterfs.gfidtopath").dict)
    t.true("both names", "/%s/d/f" % t.place in text and "/%s/g" % t.place in text)
    t.true("directory", "/%s/d" % t.place in str(ask(t, d, "glusterfs.gfidtopath").dict))


@probe("§10.3", "ancestry of a directory")
def _(t):
    d = t.mkdir("d")
    t.true("path", "/%s/d" % t.place in str(ask(t, d, "glusterfs.ancestry.path").dict))
    ask(t, t.mknod("f"), "glusterfs.ancestry.path", ENODATA)


@probe("§10.3", "whether a file is open")
def _(t):
    g, fd = t.file("f")
    t.eq("open", ask(t, g, "glusterfs.open-fd-count").dict.get("glusterfs.open-fd-count"), 1)


@probe("§10.3", "names that belong to clients")
def _(t):
    g = t.mknod("f")
    for name in ("glusterfs.gfid", "glusterfs.gfid.string", "glusterfs.heal-info"):
        ask(t, g, name, ENOTSUP)
    ask(t, g, "trusted.glusterfs.list-node-uuids", ENODATA)


@probe("§10.3", "names nobody has")
def _(t):
    g, fd = t.file("f")
    ask(t, g, "user.absent", ENODATA)
    t.err(t.c.fgetxattr(gfid=g, fd=fd, name="user.absent", namelen=11), ENODATA)


@probe("§10.3", "getxattr fills its xdata too")
def _(t):
    g = t.mknod("f", **{"user.a": b"1", "user.b": b"2"})
    r = t.ok(t.c.getxattr(gfid=g, name="user.a", namelen=6, xdata={"user.b": 0}))
    t.eq("both", (r.dict, r.xdata), ({"user.a": b"1"}, {"user.b": b"2"}))


# ---- section 11 ------------------------------------------------------------------------------------------------------


def xattrop(t, g, op, value, key="trusted.afr.x", want=0):
    r = t.err(t.c.xattrop(gfid=g, flags=op, dict={key: value}), want)
    return r.dict.get(key) if not r.err else None


@probe("§11", "arrays of numbers are added")
def _(t):
    g = t.mknod("f")
    t.eq("first", xattrop(t, g, 0, i32(1, 2, 3)), i32(1, 2, 3))
    t.eq("second", xattrop(t, g, 0, i32(1, -2, -4)), i32(2, 0, -1))
    t.eq("64 bits", xattrop(t, g, 1, i64(1, 1 << 40), "trusted.ec.version"), i64(1, 1 << 40))
    t.eq("again", xattrop(t, g, 1, i64(-1, 1), "trusted.ec.version"), i64(0, (1 << 40) + 1))
    t.eq("stored", t.xattr(t.disk("f"), "trusted.afr.x"), i32(2, 0, -1))


@probe("§11", "addition wraps around")
def _(t):
    g = t.mknod("f")
    xattrop(t, g, 0, i32(2 ** 31 - 1))
    t.eq("wrapped", xattrop(t, g, 0, i32(1)), i32(-2 ** 31))


@probe("§11", "or and and")
def _(t):
    g = t.mknod("f")
    for op in (2, 3):
        xattrop(t, g, op, i32(1), want=EINVAL)
    t.eq("stored", t.xattr(t.disk("f"), "trusted.afr.x"), None)


@probe("§11", "get and set")
def _(t):
    g = t.mknod("f")
    t.eq("before the first", xattrop(t, g, 4, b"one"), None)
    t.eq("before the second", xattrop(t, g, 4, b"two"), b"one")
    t.eq("stored", t.xattr(t.disk("f"), "trusted.afr.x"), b"two")


@probe("§11", "addition with a default")
def _(t):
    g = t.mknod("f")
    t.eq("missing", xattrop(t, g, 5, i32(1, 2, 10, 20)), i32(11, 22))
    t.eq("there", xattrop(t, g, 5, i32(1, 2, 10, 20)), i32(12, 24))
    t.eq("stored", t.xattr(t.disk("f"), "trusted.afr.x"), i32(12, 24))
    t.eq("64 bits", xattrop(t, g, 6, i64(1, 10), "trusted.wide"), i64(11))
    t.eq("64 bits again", xattrop(t, g, 6, i64(1, 10), "trusted.wide"), i64(12))


@probe("§11", "sizes that differ from what is stored")
def _(t):
    g = t.mknod("f")
    xattrop(t, g, 0, i32(1, 2, 3))
    xattrop(t, g, 0, i32(1), want=ERANGE)
    t.eq("longer", xattrop(t, g, 0, i32(1, 1, 1, 1)), i32(2, 3, 4, 1))


@probe("§11", "zeros read and write nothing")
def _(t):
    g = t.mknod("f")
    for op, width in ((0, i32(0, 0, 0)), (1, i64(0, 0))):
        t.eq("missing", xattrop(t, g, op, width), width)
    t.eq("stored", t.xattr(t.disk("f"), "trusted.afr.x"), None)
    xattrop(t, g, 0, i32(1, 2, 3))
    t.eq("there", xattrop(t, g, 0, i32(0, 0, 0)), i32(1, 2, 3))


@probe("§11", "fxattrop through an anonymous descriptor")
def _(t):
    g = t.mknod("f")
    r = t.ok(t.c.fxattrop(gfid=g, fd=ANONYMOUS, flags=0, dict={"trusted.afr.x": i32(1, 2, 3)}))
    t.eq("result", r.dict.get("trusted.afr.x"), i32(1, 2, 3))


@probe("§11", "xattrop leaves ctime alone")
def _(t):
    g = t.mknod("f", by=t.c.by(time=(1000, 0), flags=0x1F))
    t.ok(t.c.by(time=(2000, 0), flags=0).xattrop(gfid=g, dict={"trusted.afr.x": i32(1)}))
    t.eq("ctime", t.c.stat(gfid=g).stat["ctime"], 1000)


@probe("§11", "keys before the one that fails stay changed")
def _(t):
    g = t.mknod("f", **{"trusted.afr.b": i32(1, 2, 3)})
    t.err(t.c.xattrop(gfid=g, dict={"trusted.afr.a": i32(1), "trusted.afr.b": i32(1)}), ERANGE)
