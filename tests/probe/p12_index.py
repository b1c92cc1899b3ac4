"""Brick.md section 12: the index."""
import os
import re
import struct
from errno import EINVAL, ENOENT

from messages import Gfid
from probe import ANONYMOUS, ROOT, flavour, probe
from servers import Flavour

flavour("index", Flavour("rep3/brick-0.vol"))
flavour("index-ec", Flavour("disp/brick-0.vol"))
NO_INO = 2 ** 64 - 1
PENDING, DIRTY = "trusted.afr.rep3-client-1", "trusted.afr.dirty"
NAMES = {"xattrop": "glusterfs.xattrop_index_gfid", "dirty": "glusterfs.xattrop_dirty_gfid",
         "entry-changes": "glusterfs.xattrop_entry_changes_gfid"}


def i32(*n):
    return struct.pack(">%di" % len(n), *n)


def text(gfid):
    s = gfid.hex()
    return "-".join((s[:8], s[8:12], s[12:16], s[16:20], s[20:]))


def entries(t, kind):
    return [n for n in os.listdir(t.store("indices", kind)) if not n.startswith(kind)]


def indexed(t, gfid):
    """The classes GFID is in, on disk."""
    return [k for k in ("xattrop", "dirty", "entry-changes") if text(gfid) in entries(t, k)]


def mark(t, gfid, xdata=None, **counts):
    keys = {"pending": PENDING, "dirty": DIRTY}
    return t.c.xattrop(gfid=gfid, dict={keys[k]: i32(*v) for k, v in counts.items()}, xdata=xdata)


def virtual(t, kind):
    r = t.ok(t.c.getxattr(gfid=ROOT, name=NAMES[kind], namelen=len(NAMES[kind])))
    t.lines[-2:] = []
    t.unsteady.add(kind)  # other probes' entries are links of it
    return t.know(r.dict[NAMES[kind]], kind)


def listed(t, gfid, **more):
    """The entries of a virtual directory without those that clients skip anyway, as {name: type}."""
    r = t.ok(t.c.readdir(gfid=gfid, fd=t.ok(t.c.opendir(gfid=gfid)).fd, size=1 << 17, **more))
    t.lines.pop()
    return {e["name"]: e["type"] for e in r.reply if re.fullmatch("[0-9a-f]{8}-[0-9a-f-]{27}", e["name"])}


@probe("§12.1", "entries are links to one base file", "index")
def _(t):
    a, b = t.mknod("a"), t.mknod("b")
    t.ok(mark(t, a, pending=(1, 0, 0)))
    t.ok(mark(t, b, pending=(1, 0, 0)))
    base = [n for n in os.listdir(t.store("indices", "xattrop")) if n.startswith("xattrop-")]
    t.eq("base files", len(base), 1)
    sts = [os.stat(t.store("indices", "xattrop", n)) for n in base + [text(a), text(b)]]
    t.eq("inodes", len({s.st_ino for s in sts}), 1)
    t.eq("mode and size", (oct(sts[0].st_mode & 0o7777), sts[0].st_size), ("0o0", 0))


@probe("§12.2", "from dirty to pending to clean", "index")
def _(t):
    g = t.mknod("f")
    t.ok(mark(t, g, dirty=(1, 0, 0)))
    t.eq("dirty", indexed(t, g), ["dirty"])
    t.ok(mark(t, g, dirty=(-1, 0, 0), pending=(1, 0, 0)))
    t.eq("pending", indexed(t, g), ["xattrop"])
    t.ok(mark(t, g, pending=(-1, 0, 0)))
    t.eq("clean", indexed(t, g), [])


@probe("§12.2", "a class that is not mentioned stays", "index")
def _(t):
    g = t.mknod("f")
    t.ok(mark(t, g, dirty=(1, 0, 0), pending=(0, 0, 1)))
    t.eq("both", indexed(t, g), ["xattrop", "dirty"])
    t.ok(mark(t, g, dirty=(-1, 0, 0)))
    t.eq("one", indexed(t, g), ["xattrop"])


@probe("§12.2", "zeros do not make entries", "index")
def _(t):
    g = t.mknod("f")
    t.ok(mark(t, g, dirty=(0, 0, 0), pending=(0, 0, 0)))
    t.eq("none", indexed(t, g), [])


@probe("§12.2", "keys of others do not make entries", "index")
def _(t):
    g = t.mknod("f")
    t.ok(t.c.xattrop(gfid=g, dict={"trusted.afr.other-client-0": i32(1, 0, 0)}))
    t.eq("none", indexed(t, g), [])


@probe("§12.2", "fxattrop makes entries too", "index")
def _(t):
    g, fd = t.file("f")
    t.ok(t.c.fxattrop(gfid=g, fd=fd, dict={PENDING: i32(1, 0, 0)}))
    t.eq("pending", indexed(t, g), ["xattrop"])
    t.ok(t.c.fxattrop(gfid=g, fd=ANONYMOUS, dict={PENDING: i32(-1, 0, 0)}))
    t.eq("clean", indexed(t, g), [])


@probe("§12.2", "disperse marks with 64 bits", "index-ec")
def _(t):
    g = t.mknod("f")
    t.ok(t.c.xattrop(gfid=g, flags=1, dict={"trusted.ec.dirty": struct.pack(">2q", 1, 0)}))
    t.eq("pending", indexed(t, g), ["xattrop"])
    t.ok(t.c.xattrop(gfid=g, flags=1, dict={"trusted.ec.dirty": struct.pack(">2q", -1, 0)}))
    t.eq("clean", indexed(t, g), [])
    t.ok(t.c.xattrop(gfid=g, flags=1, dict={"trusted.ec.version": struct.pack(">2q", 1, 0)}))
    t.eq("not by versions", indexed(t, g), [])


@probe("§12.2", "names of entries that changed", "index")
def _(t):
    d = t.mkdir("d")
    t.ok(mark(t, d, {"glusterfs.xattrop-entry-create": "created.txt"}, pending=(0, 0, 1)))
    t.eq("classes", indexed(t, d), ["xattrop", "entry-changes"])
    t.eq("names", os.listdir(t.store("indices", "entry-changes", text(d))), ["created.txt"])
    t.ok(mark(t, d, {"glusterfs.xattrop-entry-delete": "created.txt"}, pending=(0, 0, 0)))
    t.eq("names after", os.listdir(t.store("indices", "entry-changes", text(d))), [])


@probe("§12.2", "the changed names go when the directory is clean", "index")
def _(t):
    d = t.mkdir("d")
    t.ok(mark(t, d, {"glusterfs.xattrop-entry-create": "n"}, pending=(0, 0, 1)))
    t.ok(mark(t, d, {"glusterfs.xattrop-purge-index": 1}, pending=(0, 0, -1)))
    t.eq("classes", indexed(t, d), [])


@probe("§12.3", "changed names with a slash", "index")
def _(t):
    d = t.mkdir("d")
    t.err(mark(t, d, {"glusterfs.xattrop-entry-create": "a/b"}, pending=(0, 0, 1)), EINVAL)


for kind in NAMES:
    @probe("§12.4", "the virtual directory %s" % kind, "index")
    def _(t, kind=kind):
        g = virtual(t, kind)
        r = t.ok(t.c.lookup(gfid=g, xdata={"glusterfs.index-ia-type-get-req": 1}))
        t.eq("gfid and ino", (r.prestat["gfid"], r.prestat["ino"]), (g, NO_INO))
        t.eq("type", r.xdata.get("glusterfs.index-ia-type-get-rsp"), 2 if kind == "entry-changes" else 1)
        t.eq("the same again", virtual(t, kind), g)


@probe("§12.4", "listing what is pending", "index")
def _(t):
    g, d = t.mknod("f"), t.mkdir("d")
    t.ok(mark(t, g, pending=(1, 0, 0)))
    t.ok(mark(t, d, dirty=(1, 0, 0)))
    t.true("pending", text(g) in listed(t, virtual(t, "xattrop")))
    t.eq("not dirty", text(g) in listed(t, virtual(t, "dirty")), False)
    t.true("dirty", text(d) in listed(t, virtual(t, "dirty")))


@probe("§12.4", "types of what is pending", "index")
def _(t):
    g, d, gone = t.mknod("f"), t.mkdir("d"), t.mknod("gone")
    for one in (g, d, gone):
        t.ok(mark(t, one, pending=(1, 0, 0)))
    t.ok(t.c.unlink(pargfid=t.dir, bname="gone"))
    v = virtual(t, "xattrop")
    t.eq("without asking", listed(t, v)[text(g)], 0)
    types = listed(t, v, xdata={"get-gfid-type": 1})
    t.eq("asked", (types[text(g)], types[text(d)], types.get(text(gone), 0)), (8, 4, 0))


@probe("§12.4", "listing through an anonymous descriptor", "index")
def _(t):
    g = t.mknod("f")
    t.ok(mark(t, g, pending=(1, 0, 0)))
    r = t.ok(t.c.readdir(gfid=virtual(t, "xattrop"), fd=ANONYMOUS, size=1 << 17))
    t.lines.pop()
    t.true("there", any(e["name"] == text(g) for e in r.reply))


@probe("§12.4", "base files are hidden", "index")
def _(t):
    g = t.mknod("f")
    t.ok(mark(t, g, pending=(1, 0, 0)))
    v = virtual(t, "xattrop")
    r = t.c.readdir(gfid=v, fd=t.c.opendir(gfid=v).fd, size=1 << 17)
    t.lines.pop()
    t.eq("base files", [e["name"] for e in r.reply if e["name"].startswith("xattrop-")], [])


@probe("§12.4", "looking at one entry", "index")
def _(t):
    g = t.mknod("f")
    t.ok(mark(t, g, pending=(1, 0, 0)))
    v = virtual(t, "xattrop")
    a, b = (t.c.lookup(pargfid=v, bname=text(g)) for _ in range(2))
    t.lines[-4:] = []
    t.eq("found", (a.err, b.err, a.prestat["ino"]), (0, 0, NO_INO))
    t.true("its gfid is new", a.prestat["gfid"] not in (g, v))
    t.err(t.c.lookup(pargfid=v, bname=text(t.gfid("nothing"))), ENOENT)


@probe("§12.4", "removing an entry", "index")
def _(t):
    g = t.mknod("f")
    t.ok(mark(t, g, pending=(1, 0, 0)))
    t.ok(t.c.unlink(pargfid=virtual(t, "xattrop"), bname=text(g)))
    t.eq("classes", indexed(t, g), [])
    t.err(t.c.unlink(pargfid=virtual(t, "xattrop"), bname=text(g)), ENOENT)


@probe("§12.4", "names of a changed directory", "index")
def _(t):
    d = t.mkdir("d")
    for name in ("one", "two"):
        t.ok(mark(t, d, {"glusterfs.xattrop-entry-create": name}, pending=(0, 0, 1)))
    r = t.c.lookup(pargfid=virtual(t, "entry-changes"), bname=text(d))
    t.lines.pop()
    sub = t.know(r.prestat["gfid"], "changes")
    t.ok(r)
    t.ok(t.c.lookup(gfid=sub))
    listing = t.ok(t.c.readdir(gfid=sub, fd=t.ok(t.c.opendir(gfid=sub)).fd, size=10000))
    t.eq("names", sorted(e["name"] for e in listing.reply if e["name"][0] != "."), ["one", "two"])
    t.ok(t.c.unlink(pargfid=sub, bname="one"))
    t.eq("left", os.listdir(t.store("indices", "entry-changes", text(d))), ["two"])


@probe("§12.4", "removing a changed directory", "index")
def _(t):
    d = t.mkdir("d")
    t.ok(mark(t, d, {"glusterfs.xattrop-entry-create": "n"}, pending=(0, 0, 1)))
    t.ok(t.c.rmdir(pargfid=virtual(t, "entry-changes"), bname=text(d), xflags=1))
    t.eventually("gone", lambda: text(d) not in os.listdir(t.store("indices", "entry-changes")))


@probe("§12.4", "counting", "index")
def _(t):
    g = t.mknod("f")
    t.ok(mark(t, g, pending=(1, 0, 0), dirty=(1, 0, 0)))
    for kind, name in (("xattrop", "glusterfs.xattrop_index_count"), ("dirty", "glusterfs.xattrop_dirty_count")):
        r = t.ok(t.c.getxattr(gfid=ROOT, name=name, namelen=len(name)))
        t.lines.pop()
        t.eq(kind, r.dict.get(name) == len(entries(t, kind)), True)


@probe("§12.4", "names that are no gfid are not looked for elsewhere", "index")
def _(t):
    v = virtual(t, "xattrop")
    t.mknod("f")
    for name in ("f", "nothing", "..%2f..", "x" * 36):
        t.err(t.c.lookup(pargfid=v, bname=name), ENOENT)
        t.err(t.c.unlink(pargfid=v, bname=name), ENOENT, EINVAL)
    t.true("the file is there", os.path.exists(t.disk("f")))


@probe("§12.5", "whether anything is pending", "index-count")
def _(t):
    g, fd = t.file("f")
    ask = {"link-count": "glusterfs.xattrop_index_count"}

    def count():
        return [t.c.lookup(pargfid=t.dir, bname="f", xdata=ask).xdata.get("link-count"),
                t.c.fstat(gfid=g, fd=fd, xdata=ask).xdata.get("link-count")]
    t.eq("nothing", count(), [0, 0])
    t.ok(mark(t, g, pending=(1, 0, 0)))
    t.eq("something", count(), [1, 1])
    t.ok(mark(t, g, pending=(-1, 0, 0)))
    t.eq("nothing again", count(), [0, 0])


flavour("index-count", Flavour("rep3/brick-0.vol"))
