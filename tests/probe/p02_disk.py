"""Brick.md sections 1 to 4: what a brick's directory looks like, attributes, times."""
import errno
import os
import re
import stat
import struct

from messages import Gfid, Mdata
from probe import ANONYMOUS, ROOT, Conn, flavour, probe
from servers import Flavour

flavour("plain", Flavour())
ALL_TIMES = dict(flags=0x1F)


def mode_of(path):
    st = os.lstat(path)
    return "%s %o" % ("dir" if stat.S_ISDIR(st.st_mode) else "file" if stat.S_ISREG(st.st_mode) else "other",
                      stat.S_IMODE(st.st_mode))


def mdata_of(t, path):
    """(flags, ctime, mtime, atime) as stored."""
    v = t.xattr(path, "trusted.glusterfs.mdata")
    if v is None:
        return None
    assert len(v) == 57 and v[0] == 1, v
    n = struct.unpack(">7Q", v[1:])
    return n[0], n[1:3], n[3:5], n[5:7]


@probe("§1", "xattrop is not permission checked")
def _(t):
    g = t.mknod("f")
    r = t.c.by(uid=1000, gid=1000).xattrop(gfid=g, flags=0, dict={"trusted.afr.x": struct.pack(">3i", 1, 0, 0)})
    t.ok(r)


@probe("§1", "reads and writes through a descriptor are not permission checked")
def _(t):
    g, fd = t.file("f", data=b"hello")
    user = t.c.by(uid=1000, gid=1000)
    t.eq("written", user.write(gfid=g, fd=fd, data=b"H").op_ret, 1)
    t.eq("read", user.read(gfid=g, fd=fd, size=10).data, b"Hello")


@probe("§1", "locks are granted to anybody")
def _(t):
    g = t.mknod("f", 0o100600)
    user = t.c.by(uid=1000, gid=1000)
    t.ok(user.inodelk(gfid=g, cmd=1, type=1, volume="d", flock=dict(type=1)))
    t.ok(user.entrylk(gfid=t.dir, cmd=2, type=1, namelen=1, name="f", volume="d"))


@probe("§2.1", "a fresh root has its gfid and no layout", "fresh")
def _(t):
    t.eq("gfid", t.xattr(t.server.path, "trusted.gfid"), ROOT)
    t.eq("layout", t.xattr(t.server.path, "trusted.glusterfs.dht"), None)
    t.eq("volume", t.xattr(t.server.path, "trusted.glusterfs.volume-id"), t.server.id.bytes)


flavour("fresh", Flavour(storage__posix={"health-check-interval": "1"}))

LAYOUT = {"": "dir 600", "00": "dir 700", "7f": "dir 700", "ff": "dir 700", "unlink": "dir 600", "landfill": "dir 755",
          "indices": "dir 600", "indices/xattrop": "dir 600", "indices/dirty": "dir 600",
          "indices/entry-changes": "dir 600", "changelogs": "dir 600", "changelogs/htime": "dir 600",
          "changelogs/csnap": "dir 600"}


@probe("§2.2", "the parts of .glusterfs", "fresh")
def _(t):
    for path, want in LAYOUT.items():
        t.eq(path or ".glusterfs", mode_of(t.store(path)) if os.path.lexists(t.store(path)) else None, want)
    t.eq("first level", sum(1 for n in os.listdir(t.store()) if re.fullmatch("[0-9a-f]{2}", n)), 256)


@probe("§2.2", "the handle of the root", "fresh")
def _(t):
    path = t.handle(ROOT)
    t.eq("target", os.readlink(path), "../../..")
    t.true("it is the root", os.path.samefile(path, t.server.path))


@probe("§2.2", "the health check's file", "fresh")
def _(t):
    t.eventually("written", lambda: os.path.exists(t.store("health_check")) and os.path.getsize(t.store("health_check")))
    with open(t.store("health_check")) as f:
        text = f.read()
    t.eq("mode", mode_of(t.store("health_check")), "file 644")
    t.true("25 bytes of time", re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}", text))


@probe("§2.3", "handles of directories are links to parent and name")
def _(t):
    d = t.mkdir("docs")
    s = t.mkdir("sub", parent=d)
    p = os.path.basename(t.handle(d))
    t.eq("target", os.readlink(t.handle(s)), "../../%s/%s/%s/sub" % (p[:2], p[2:4], p))
    t.true("it leads there", os.path.samefile(t.handle(s), t.disk("docs", "sub")))


@probe("§2.3", "handles of everything else are hard links")
def _(t):
    t.mknod("file")
    t.mknod("fifo", stat.S_IFIFO | 0o644)
    t.mknod("socket", stat.S_IFSOCK | 0o644)
    t.ok(t.c.symlink(pargfid=t.dir, bname="link", linkname="file", xdata=t.req("link")))
    for name in ("file", "fifo", "socket", "link"):
        a, b = os.lstat(t.disk(name)), os.lstat(t.handle(t.gfid(name)))
        t.eq(name + " is its handle", (a.st_ino == b.st_ino, a.st_nlink), (True, 2))


@probe("§2.3", "depths beyond the kernel's limit of links")
def _(t):
    d = t.dir
    for i in range(60):
        d = t.mkdir("d%d" % i, parent=d)
    g = t.mknod("f", parent=d)
    t.ok(t.c.stat(gfid=g))
    t.ok(t.c.lookup(pargfid=d, bname="f"))
    t.ok(t.c.opendir(gfid=d))


@probe("§2.4", "gfid2path is named by the XXH64 of its value")
def _(t):
    # the observed example has the parent 0ac9c268-8645-4a3c-a464-972b9ba87677 and the name a.txt
    parent = Gfid(bytes.fromhex("0ac9c26886454a3ca464972b9ba87677"))
    t.ok(t.c.mkdir(pargfid=t.dir, mode=0o755, bname="docs", xdata={"gfid-req": parent}))
    t.mknod("a.txt", parent=bytes(parent))
    t.eq("value", t.xattr(t.disk("docs", "a.txt"), "trusted.gfid2path.008fd96ad8b4256c"),
         b"0ac9c268-8645-4a3c-a464-972b9ba87677/a.txt")


@probe("§2.5", "a linkto file is what the client makes it")
def _(t):
    t.mknod("f", 0o101000, **{"trusted.glusterfs.dht.linkto": b"dist-client-1\0", "glusterfs-internal-fop": "yes"})
    t.eq("mode", mode_of(t.disk("f")), "file 1000")
    t.eq("linkto", t.xattr(t.disk("f"), "trusted.glusterfs.dht.linkto"), b"dist-client-1\0")


@probe("§2.5", "ACLs of a linkto file are dropped")
def _(t):
    g = t.mknod("f", 0o101000, **{"trusted.glusterfs.dht.linkto": b"dist-client-1\0"})
    t.ok(t.c.setxattr(gfid=g, dict={"glusterfs.posix.acl": "u::rwx,u:1001:r--,g::r--,m::r--,o::r--"}))
    t.eq("ACL", t.xattr(t.disk("f"), "system.posix_acl_access"), None)


@probe("§2.6", "attributes of new objects")
def _(t):
    c = t.c.by(time=(1000, 5), **ALL_TIMES)
    t.mkdir("d", by=c)
    t.mknod("f", by=c)
    t.ok(c.symlink(pargfid=t.dir, bname="l", linkname="x", xdata=t.req("l")))
    for name in "dfl":
        names = sorted(re.sub("path.*", "path", n) for n in os.listxattr(t.disk(name), follow_symlinks=False))
        t.eq(name, names, ["trusted.gfid"] + ["trusted.gfid2path"] * (name != "d") + ["trusted.glusterfs.mdata"])


@probe("§3", "client data is stored as it is")
def _(t):
    values = {"trusted.ec.config": bytes.fromhex("0000080301000200"),
              "trusted.glusterfs.dht": bytes.fromhex("0000000100000000000000007ffffffe")}
    d = t.mkdir("d")
    t.ok(t.c.setxattr(gfid=d, dict=values))
    for name, value in values.items():
        t.eq(name, t.xattr(t.disk("d"), name), value)


@probe("§3", "pending counts that went to zero stay as zeros")
def _(t):
    g = t.mknod("f")
    for delta in ((2, 1, 0), (-2, -1, 0)):
        t.ok(t.c.xattrop(gfid=g, flags=0, dict={"trusted.afr.x-client-2": struct.pack(">3i", *delta)}))
    t.eq("stored", t.xattr(t.disk("f"), "trusted.afr.x-client-2"), bytes(12))


@probe("§4.1", "the layout of mdata")
def _(t):
    g = t.mknod("f", by=t.c.by(time=(500, 7), **ALL_TIMES))
    st = dict(atime=400, atime_nsec=123456789, mtime=300, mtime_nsec=5)
    t.ok(t.c.by(time=(700, 9), flags=1).setattr(gfid=g, stbuf=st, valid=0x30))
    t.eq("stored", t.xattr(t.disk("f"), "trusted.glusterfs.mdata"),
         struct.pack(">B7Q", 1, 0, 700, 9, 300, 5, 400, 123456789))


@probe("§4.2", "without flags there is no mdata and times are the disk's")
def _(t):
    g = t.mknod("f", by=t.c.by(time=(1000, 0), flags=0))
    t.eq("stored", mdata_of(t, t.disk("f")), None)
    t.true("times of now", t.c.stat(gfid=g).stat["mtime"] > 1 << 30)
    t.ok(t.c.by(time=(1000, 0), flags=0).truncate(gfid=g, offset=5))
    t.eq("stored after a change", mdata_of(t, t.disk("f")), None)


@probe("§4.2", "each flag has its field")
def _(t):
    g = t.mknod("f", by=t.c.by(time=(100, 0), **ALL_TIMES))
    for flags, when, want in ((1, 200, (200, 100, 100)), (2, 300, (200, 300, 100)), (4, 400, (200, 300, 400))):
        t.ok(t.c.by(time=(when, 0), flags=flags).truncate(gfid=g, offset=1))
        _, c, m, a = mdata_of(t, t.disk("f"))
        t.eq("flag %d" % flags, (c[0], m[0], a[0]), want)


@probe("§4.3", "the first change of an object without mdata sets all three times")
def _(t):
    g = t.mknod("f")
    t.ok(t.c.by(time=(100, 3), flags=2).truncate(gfid=g, offset=1))
    t.eq("stored", mdata_of(t, t.disk("f")), (0, (100, 3), (100, 3), (100, 3)))


@probe("§4.3", "times never go backwards by themselves")
def _(t):
    g = t.mknod("f", by=t.c.by(time=(1000, 0), **ALL_TIMES))
    t.ok(t.c.by(time=(900, 0), flags=3).truncate(gfid=g, offset=1))
    t.eq("stored", mdata_of(t, t.disk("f")), (0, (1000, 0),) + ((1000, 0),) * 2)


@probe("§4.3", "utimes may go backwards, ctime may not")
def _(t):
    g = t.mknod("f", by=t.c.by(time=(1000, 0), **ALL_TIMES))
    t.ok(t.c.by(time=(2000, 0), flags=0).setattr(gfid=g, stbuf=dict(atime=10, mtime=20), valid=0x30))
    t.eq("stored", mdata_of(t, t.disk("f")), (0, (2000, 0), (20, 0), (10, 0)))
    t.ok(t.c.by(time=(1500, 0), flags=0).setattr(gfid=g, stbuf=dict(atime=5, mtime=6), valid=0x30))
    t.eq("stored", mdata_of(t, t.disk("f")), (0, (2000, 0), (6, 0), (5, 0)))


@probe("§4.3", "a later change with an older time leaves utimes' values")
def _(t):
    g = t.mknod("f", by=t.c.by(time=(1000, 0), **ALL_TIMES))
    t.ok(t.c.by(time=(1200, 0), flags=1).setattr(gfid=g, stbuf=dict(atime=1111, mtime=1112), valid=0x30))
    t.ok(t.c.by(time=(1100, 0), flags=3).truncate(gfid=g, offset=1))
    t.eq("stored", mdata_of(t, t.disk("f")), (0, (1200, 0), (1112, 0), (1111, 0)))


@probe("§4.3", "utimes without mdata write none")
def _(t):
    g = t.mknod("f")
    t.ok(t.c.by(time=(1200, 0), flags=0).setattr(gfid=g, stbuf=dict(atime=11, mtime=12), valid=0x30))
    t.eq("stored", mdata_of(t, t.disk("f")), None)
    t.eq("reported", [t.c.stat(gfid=g).stat[k] for k in ("atime", "mtime")], [11, 12])


@probe("§4.3", "setattr of ctime")
def _(t):
    g, bare = t.mknod("f", by=t.c.by(time=(1000, 0), **ALL_TIMES)), t.mknod("g")
    for when, want in ((1500, 1500), (1400, 1500)):
        t.ok(t.c.setattr(gfid=g, stbuf=dict(ctime=when), valid=0x40))
        t.eq("ctime", mdata_of(t, t.disk("f"))[1], (want, 0))
    t.ok(t.c.setattr(gfid=bare, stbuf=dict(ctime=77), valid=0x40))
    t.eq("without mdata", mdata_of(t, t.disk("g")), None)


@probe("§4.3", "entry operations change the parents' times")
def _(t):
    c = t.c
    a, b = t.mkdir("a", by=c.by(time=(100, 0), flags=0x1F)), t.mkdir("b", by=c.by(time=(100, 0), flags=0x1F))
    t.mknod("f", parent=a, by=c.by(time=(200, 0), flags=0x1F))
    t.eq("after mknod", mdata_of(t, t.disk("a"))[1:], ((200, 0), (200, 0), (100, 0)))
    t.ok(c.by(time=(300, 0), flags=0x19).rename(oldgfid=a, newgfid=b, oldbname="f", newbname="g"))
    for d in "ab":
        t.eq("%s after rename" % d, mdata_of(t, t.disk(d))[1:], ((300, 0), (300, 0), (100, 0)))
    t.eq("the file after rename", mdata_of(t, t.disk("b", "g"))[1:], ((300, 0), (200, 0), (200, 0)))
    t.ok(c.by(time=(400, 0), flags=0x19).unlink(pargfid=b, bname="g"))
    t.eq("after unlink", mdata_of(t, t.disk("b"))[1:], ((400, 0), (400, 0), (100, 0)))


@probe("§4.4", "answers hold the new times")
def _(t):
    g = t.mknod("f", by=t.c.by(time=(1000, 0), **ALL_TIMES))
    r = t.c.by(time=(1100, 0), flags=3).truncate(gfid=g, offset=1)
    t.eq("before", r.prestat["mtime"], 1000)
    t.eq("after", r.poststat["mtime"], 1100)


@probe("§4.5", "set-ctime-mdata")
def _(t):
    g = t.mknod("f")
    for given, want in ((((30, 0), (20, 0), (10, 0)), ((10, 0), (20, 0), (30, 0))),
                        (((5, 0), (25, 0), (8, 0)), ((10, 0), (25, 0), (30, 0)))):
        t.ok(t.c.setxattr(gfid=g, dict={"set-ctime-mdata": Mdata(given)}))
        t.eq("stored", mdata_of(t, t.disk("f"))[1:], want)


@probe("§4.5", "setxattr of mdata merges")
def _(t):
    g = t.mknod("f", by=t.c.by(time=(100, 0), **ALL_TIMES))
    value = struct.pack(">B7Q", 1, 0, 50, 0, 150, 0, 60, 0)
    t.ok(t.c.setxattr(gfid=g, dict={"trusted.glusterfs.mdata": value}))
    t.eq("stored", mdata_of(t, t.disk("f")), (0, (100, 0), (150, 0), (100, 0)))


@probe("§4.5", "fsetxattr of mdata writes it raw")
def _(t):
    g, fd = t.file("f", by=None)
    value = struct.pack(">B7Q", 1, 0, 50, 0, 150, 0, 60, 0)
    t.ok(t.c.fsetxattr(gfid=g, fd=fd, dict={"trusted.glusterfs.mdata": value}))
    t.eq("stored", t.xattr(t.disk("f"), "trusted.glusterfs.mdata"), value)


@probe("§4.5", "mdata given at creation is merged")
def _(t):
    value = struct.pack(">B7Q", 1, 0, 500, 0, 600, 0, 700, 0)
    t.mknod("f", **{"trusted.glusterfs.mdata": value})
    t.eq("stored", mdata_of(t, t.disk("f")), (0, (500, 0), (600, 0), (700, 0)))
