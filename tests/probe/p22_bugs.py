"""Brick.md section 22: what stock does and a brick should not. The expectations are those of the column "Ours"."""
import os
import struct
from errno import EBADF, EEXIST, EINVAL, ENODATA, ENOENT, ENOSYS, ENOTEMPTY

from messages import Bare, Gfid
from probe import ANONYMOUS, ROOT, flavour, probe
from servers import Flavour


@probe("§22", "leases are not offered even when they are on", "leases")
def _(t):
    g, fd = t.file("f")
    t.err(t.c.lease(gfid=g, lease=dict(cmd=2, type=1, id=b"i" * 16)), ENOSYS)


flavour("leases", Flavour(features__leases={"leases": "on"}))


@probe("§22", "a directory that cannot be renamed keeps its handle")
def _(t):
    g, d = t.mkdir("from"), t.mkdir("to")
    t.mknod("f", parent=d)
    t.err(t.c.rename(oldgfid=t.dir, newgfid=t.dir, oldbname="from", newbname="to"), ENOTEMPTY, EEXIST)
    t.true("handle", os.path.lexists(t.handle(g)))
    t.ok(t.c.stat(gfid=g))


@probe("§22", "a file renamed onto itself keeps its handle")
def _(t):
    g = t.mknod("f")
    t.ok(t.c.rename(oldgfid=t.dir, newgfid=t.dir, oldbname="f", newbname="f"))
    t.true("handle", os.path.lexists(t.handle(g)))


@probe("§22", "an open file that is renamed over stays usable")
def _(t):
    t.mknod("new")
    g, fd = t.file("old", data=b"hello")
    t.ok(t.c.rename(oldgfid=t.dir, newgfid=t.dir, oldbname="new", newbname="old"))
    t.eq("by descriptor", t.c.read(gfid=g, fd=fd, size=10).data, b"hello")
    r = t.ok(t.c.read(gfid=g, fd=ANONYMOUS, size=10))
    t.eq("anonymously", r.values.get("data"), b"hello")


@probe("§22", "mkdir with the gfid of a file")
def _(t):
    g = t.mknod("f")
    t.err(t.c.mkdir(pargfid=t.dir, mode=0o755, bname="d", xdata={"gfid-req": Gfid(g)}), EEXIST)
    t.eq("names", os.listdir(t.disk()), ["f"])
    t.true("the file's handle", os.path.samefile(t.handle(g), t.disk("f")))


@probe("§22", "the first key that cannot be stored does not suppress the others")
def _(t):
    t.ok(t.c.mkdir(pargfid=t.dir, mode=0o755, bname="d", xdata={"gfid-req": Gfid(t.gfid("d")), "nonsense": b"x", "user.a": b"1"}))
    t.eq("stored", t.xattr(t.disk("d"), "user.a"), b"1")


# A disperse client compares the answers of a set's bricks by their keys.
@probe("§22", "create echoes its keys")
def _(t):
    keys = {"user.a": b"1", "trusted.ec.size": bytes(8), "umask": 0o22, "glusterfs.inodelk-dom-count": "d", "nonsense": 5}
    r = t.ok(t.c.create(pargfid=t.dir, flags=2, mode=0o644, bname="f", xdata=t.req("f", **keys)))
    t.eq("keys", sorted(r.xdata), ["gfid-req", "glusterfs.inodelk-count", "nonsense", "trusted.ec.size", "user.a"])
    r = t.ok(t.c.create(pargfid=t.dir, flags=2, mode=0o644, bname="f", xdata=t.req("other", **{"user.a": b"1"})))
    t.eq("keys of one that exists", sorted(r.xdata), ["gfid-req", "user.a"])


@probe("§22", "unlink counts links unasked, as zero")
def _(t):
    g = t.mknod("f")
    t.ok(t.c.link(oldgfid=g, newgfid=t.dir, newbname="g"))
    t.eq("unasked", t.ok(t.c.unlink(pargfid=t.dir, bname="f")).xdata, {"get-link-count": 0})
    t.eq("of the last", t.ok(t.c.unlink(pargfid=t.dir, bname="g", xdata={"get-link-count": 0})).xdata, {"get-link-count": 0})


@probe("§22", "unlinked-lookup answers with gfid and inode number")
def _(t):
    g, fd = t.file("f")
    t.ok(t.c.unlink(pargfid=t.dir, bname="f"))
    r = t.ok(t.c.lookup(gfid=g, xdata={"unlinked-lookup": 1}))
    t.eq("gfid and ino", (r.prestat["gfid"], r.prestat["ino"]), (g, struct.unpack(">Q", g[8:])[0]))


@probe("§22", "force-replace looks at the disk")
def _(t):
    t.mknod("a", 0o101000, **{"trusted.glusterfs.dht.linkto": b"x\0"})
    t.ok(t.c.lookup(pargfid=t.dir, bname="a"))
    t.ok(t.c.mknod(pargfid=t.dir, mode=0o100644, bname="a", xdata=t.req("new", **{"force-replace": 1})))


@probe("§22", "lookup always makes a lost handle again")
def _(t):
    g = t.mknod("f")
    t.ok(t.c.lookup(pargfid=t.dir, bname="f"))
    os.unlink(t.handle(g))
    t.ok(t.c.lookup(pargfid=t.dir, bname="f"))
    t.true("handle", os.path.lexists(t.handle(g)))


@probe("§22", "dict keys without their NUL")
def _(t):
    t.ok(t.c.mknod(pargfid=t.dir, mode=0o100644, bname="f", xdata={Bare("gfid-req"): Gfid(t.gfid("f")), Bare("user.a"): b"1"}))
    t.eq("gfid", t.xattr(t.disk("f"), "trusted.gfid"), t.gfid("f"))
    t.eq("attribute", t.xattr(t.disk("f"), "user.a"), b"1")
