"""Brick.md sections 13 and 14: locks, descriptors and clients."""
import os
import struct
from errno import EAGAIN, EBADF, EBUSY, EINVAL, ENOENT, ENOTSUP, ESTALE

from messages import Gfid
from probe import ANONYMOUS, ROOT, flavour, probe
from servers import Flavour

GET, SET, WAIT = 0, 1, 2
READ, WRITE, UNLOCK = 0, 1, 2


def inodelk(c, g, kind=WRITE, start=0, length=0, owner=b"own1", cmd=SET, domain="dom", fd=None, xdata=None):
    """A pending inodelk or finodelk."""
    more = dict(gfid=g, cmd=cmd, type=kind, volume=domain, flock=dict(type=kind, start=start, len=length, owner=owner), xdata=xdata)
    c = c.by(owner=owner)
    return c.start("inodelk", **more) if fd is None else c.start("finodelk", fd=fd, **more)


def entrylk(c, g, name, kind=WRITE, owner=b"own1", cmd=2, domain="dom", fd=None):
    more = dict(gfid=g, cmd=cmd, type=kind, namelen=1 if name else 0, name=name or "", volume=domain)
    c = c.by(owner=owner)
    return c.start("entrylk", **more) if fd is None else c.start("fentrylk", fd=fd, **more)


def lk(c, g, fd, kind=WRITE, start=0, length=0, owner=b"own1", cmd=SET, pid=1, xdata=None):
    return c.by(owner=owner).start("lk", gfid=g, fd=fd, cmd=cmd, type=kind, xdata=xdata,
                                   flock=dict(type=kind, start=start, len=length, owner=owner, pid=pid))


def two(t):
    """A file and two clients."""
    return t.mknod("f"), t.c, t.connect()


def granted(t, c, pending):
    return t.ok(c.answer(pending))


def refused(t, c, pending, err=EAGAIN):
    return t.err(c.answer(pending), err)


def waiting(t, c, pending):
    t.eq("waits", c.blocked(pending), True)
    return pending


# ---- identities and domains ------------------------------------------------------------------------------------------


@probe("§13.1", "connections with one process uuid are two clients")
def _(t):
    uid = "CTX_ID:same-GRAPH_ID:0-PID:1-HOST:h-PC_NAME:x-client-0-RECON_NO:-0-%s" % t.place
    g = t.mknod("f")
    a, b = t.connect(**{"process-uuid": uid}), t.connect(**{"process-uuid": uid})
    granted(t, a, inodelk(a, g))
    refused(t, b, inodelk(b, g))
    a.close()
    t.ok(b.answer(inodelk(b, g, cmd=WAIT)))


@probe("§13.1", "owners that are null")
def _(t):
    g, fd = t.file("f")
    for owner in (b"", bytes(8)):
        refused(t, t.c, inodelk(t.c, g, owner=owner), EINVAL)
        refused(t, t.c, entrylk(t.c, t.dir, "x", owner=owner), EINVAL)
        refused(t, t.c, lk(t.c, g, fd, owner=owner), EINVAL)


@probe("§13.2", "domains are independent")
def _(t):
    g, a, b = two(t)
    granted(t, a, inodelk(a, g, domain="one"))
    granted(t, b, inodelk(b, g, domain="two"))
    refused(t, b, inodelk(b, g, domain="one"))
    granted(t, a, entrylk(a, t.dir, "n", domain="one"))
    granted(t, b, entrylk(b, t.dir, "n", domain="two"))


@probe("§13.2", "the range that is a domain of its own")
def _(t):
    g, a, b = two(t)
    granted(t, a, inodelk(a, g, start=2 ** 63 - 2))
    granted(t, b, inodelk(b, g, owner=b"own2"))
    refused(t, b, inodelk(b, g, domain="dom:metadata", owner=b"own3"))
    granted(t, a, inodelk(a, g, start=2 ** 63 - 2, kind=UNLOCK))
    granted(t, b, inodelk(b, g, domain="dom:metadata", owner=b"own3"))


# ---- inodelk ---------------------------------------------------------------------------------------------------------


@probe("§13.3", "commands and ranges that do not exist")
def _(t):
    g = t.mknod("f")
    refused(t, t.c, inodelk(t.c, g, cmd=GET), ENOTSUP)
    refused(t, t.c, inodelk(t.c, g, start=-1), EINVAL)
    refused(t, t.c, inodelk(t.c, g, length=-1), EINVAL)


@probe("§13.3", "readers share and writers do not")
def _(t):
    g, a, b = two(t)
    granted(t, a, inodelk(a, g, READ))
    granted(t, b, inodelk(b, g, READ))
    refused(t, b, inodelk(b, g, WRITE, owner=b"other"))
    granted(t, a, inodelk(a, g, UNLOCK))
    granted(t, b, inodelk(b, g, UNLOCK))
    granted(t, b, inodelk(b, g, WRITE))
    refused(t, a, inodelk(a, g, READ))


@probe("§13.3", "ranges")
def _(t):
    g, a, b = two(t)
    granted(t, a, inodelk(a, g, start=10, length=10))
    for start, length, free in ((0, 10, True), (20, 0, True), (19, 1, False), (0, 11, False), (0, 0, False), (15, 100, False)):
        p = inodelk(b, g, start=start, length=length)
        if free:
            granted(t, b, p)
            granted(t, b, inodelk(b, g, UNLOCK, start=start, length=length))
        else:
            refused(t, b, p)


@probe("§13.3", "by gfid and by descriptor is the same")
def _(t):
    g, fd = t.file("f")
    other = t.connect()
    granted(t, t.c, inodelk(t.c, g, fd=fd))
    refused(t, other, inodelk(other, g))
    refused(t, other, inodelk(other, g, fd=ANONYMOUS))
    granted(t, t.c, inodelk(t.c, g, UNLOCK))
    granted(t, other, inodelk(other, g, fd=ANONYMOUS))


@probe("§13.3", "an owner's own locks are counted one by one")
def _(t):
    g, a, b = two(t)
    for _ in range(3):
        granted(t, a, inodelk(a, g))
    for i in range(3):
        refused(t, b, inodelk(b, g, owner=b"other"))
        granted(t, a, inodelk(a, g, UNLOCK))
    granted(t, b, inodelk(b, g, owner=b"other"))


@probe("§13.3", "unlock only of exactly what was locked")
def _(t):
    g, a, b = two(t)
    granted(t, a, inodelk(a, g, start=10, length=10))
    refused(t, a, inodelk(a, g, UNLOCK, start=10, length=5), EINVAL)
    refused(t, a, inodelk(a, g, UNLOCK), EINVAL)
    refused(t, a, inodelk(a, g, UNLOCK, start=10, length=10, owner=b"other"), EINVAL)
    refused(t, b, inodelk(b, g, UNLOCK, start=10, length=10), EINVAL)
    granted(t, a, inodelk(a, g, UNLOCK, start=10, length=10))
    refused(t, a, inodelk(a, g, UNLOCK, start=10, length=10), EINVAL)


@probe("§13.3", "who waits is granted when the holder unlocks")
def _(t):
    g, a, b = two(t)
    granted(t, a, inodelk(a, g))
    p = waiting(t, b, inodelk(b, g, cmd=WAIT))
    granted(t, a, inodelk(a, g, UNLOCK))
    granted(t, b, p)


@probe("§13.3", "a reader does not overtake a writer that waits")
def _(t):
    g, a, b = two(t)
    third = t.connect()
    granted(t, a, inodelk(a, g, READ))
    writer = waiting(t, b, inodelk(b, g, WRITE, cmd=WAIT))
    refused(t, third, inodelk(third, g, READ))
    reader = waiting(t, third, inodelk(third, g, READ, cmd=WAIT))
    granted(t, a, inodelk(a, g, UNLOCK))
    granted(t, b, writer)
    waiting(t, third, reader)
    granted(t, b, inodelk(b, g, UNLOCK))
    granted(t, third, reader)


@probe("§13.3", "an owner that has a lock in the domain may overtake")
def _(t):
    g, a, b = two(t)
    granted(t, a, inodelk(a, g, READ))
    waiting(t, b, inodelk(b, g, WRITE, cmd=WAIT))
    granted(t, a, inodelk(a, g, READ))
    refused(t, a, inodelk(a, g, READ, owner=b"other"))


@probe("§13.3", "waiters are served in order")
def _(t):
    g, a, b = two(t)
    granted(t, a, inodelk(a, g))
    pending = [waiting(t, b, inodelk(b, g, cmd=WAIT, owner=b"w%d" % i)) for i in range(3)]
    granted(t, a, inodelk(a, g, UNLOCK))
    for i, p in enumerate(pending):
        granted(t, b, p)
        for later in pending[i + 1:]:
            waiting(t, b, later)
        granted(t, b, inodelk(b, g, UNLOCK, owner=b"w%d" % i))


# ---- entrylk ---------------------------------------------------------------------------------------------------------


@probe("§13.4", "names and the whole directory")
def _(t):
    a, b = t.c, t.connect()
    granted(t, a, entrylk(a, t.dir, "one"))
    granted(t, b, entrylk(b, t.dir, "two", owner=b"own2"))
    refused(t, b, entrylk(b, t.dir, "one", owner=b"own2"))
    refused(t, b, entrylk(b, t.dir, None, owner=b"own3"))
    granted(t, b, entrylk(b, t.dir, "two", owner=b"own2", cmd=1))
    granted(t, a, entrylk(a, t.dir, "one", cmd=1))
    granted(t, b, entrylk(b, t.dir, None, owner=b"own3"))
    refused(t, a, entrylk(a, t.dir, "any"))


@probe("§13.4", "the type makes no difference to conflicts")
def _(t):
    a, b = t.c, t.connect()
    granted(t, a, entrylk(a, t.dir, "n", WRITE))
    refused(t, b, entrylk(b, t.dir, "n", READ))
    granted(t, a, entrylk(a, t.dir, "m", READ))
    refused(t, b, entrylk(b, t.dir, "m", READ))


@probe("§13.4", "unlock needs owner, name and type")
def _(t):
    a, b = t.c, t.connect()
    granted(t, a, entrylk(a, t.dir, "n"))
    refused(t, a, entrylk(a, t.dir, "n", READ, cmd=1), EINVAL)
    refused(t, a, entrylk(a, t.dir, "m", cmd=1), EINVAL)
    refused(t, a, entrylk(a, t.dir, "n", cmd=1, owner=b"other"), EINVAL)
    refused(t, b, entrylk(b, t.dir, "n", cmd=1), EINVAL)
    granted(t, a, entrylk(a, t.dir, "n", cmd=1))


@probe("§13.4", "a directory that is waited for keeps names from others")
def _(t):
    a, b, third = t.c, t.connect(), t.connect()
    granted(t, a, entrylk(a, t.dir, "one"))
    whole = waiting(t, b, entrylk(b, t.dir, None, cmd=0))
    refused(t, third, entrylk(third, t.dir, "two"))
    granted(t, a, entrylk(a, t.dir, "three"))
    granted(t, a, entrylk(a, t.dir, "one", cmd=1))
    waiting(t, b, whole)
    granted(t, a, entrylk(a, t.dir, "three", cmd=1))
    granted(t, b, whole)


@probe("§13.4", "by descriptor of the directory")
def _(t):
    other = t.connect()
    fd = t.c.opendir(gfid=t.dir).fd
    granted(t, t.c, entrylk(t.c, t.dir, "n", fd=fd))
    refused(t, other, entrylk(other, t.dir, "n"))
    refused(t, other, entrylk(other, t.dir, "n", fd=ANONYMOUS))


# ---- removal guard ---------------------------------------------------------------------------------------------------

REMOVALS = {
    "unlink": (lambda t: t.mknod("x"), lambda t: ("unlink", dict(pargfid=t.dir, bname="x"))),
    "rmdir": (lambda t: t.mkdir("x"), lambda t: ("rmdir", dict(pargfid=t.dir, bname="x"))),
    "rename": (lambda t: (t.mknod("y"), t.mknod("x"))[1],
               lambda t: ("rename", dict(oldgfid=t.dir, newgfid=t.dir, oldbname="y", newbname="x"))),
}
for name, (make, remove) in REMOVALS.items():
    @probe("§13.5", "%s waits for another client's inodelk" % name)
    def _(t, make=make, remove=remove):
        g, other = make(t), t.connect()
        granted(t, t.c, inodelk(t.c, g))
        call, fields = remove(t)
        p = waiting(t, other, other.start(call, **fields))
        m = t.c.callback()
        t.eq("the holder is told", m and m.kind, "INODELK_CONTENTION")
        granted(t, t.c, inodelk(t.c, g, UNLOCK))
        granted(t, other, p)

    @probe("§13.5", "%s does not wait for the client's own inodelk" % name)
    def _(t, make=make, remove=remove):
        g = make(t)
        granted(t, t.c, inodelk(t.c, g))
        call, fields = remove(t)
        t.ok(getattr(t.c, call)(**fields))


@probe("§13.5", "inodelks wait while a removal waits")
def _(t):
    g, a, b = two(t)
    third = t.connect()
    granted(t, a, inodelk(a, g))
    removal = waiting(t, b, b.start("unlink", pargfid=t.dir, bname="f"))
    lock = waiting(t, third, inodelk(third, g, cmd=WAIT, domain="another"))
    granted(t, a, inodelk(a, g, UNLOCK))
    granted(t, b, removal)
    granted(t, third, lock)


@probe("§13.5", "inodelks of internal clients do not delay")
def _(t):
    g, a, b = two(t)
    granted(t, a, inodelk(a.by(pid=-6), g))
    t.ok(b.unlink(pargfid=t.dir, bname="f"))


# ---- disconnect, flush, release --------------------------------------------------------------------------------------


@probe("§13.6", "a client that goes leaves no locks")
def _(t):
    g, a, b = two(t)
    granted(t, a, inodelk(a, g))
    granted(t, a, entrylk(a, t.dir, "n"))
    p, q = waiting(t, b, inodelk(b, g, cmd=WAIT)), waiting(t, b, entrylk(b, t.dir, "n", cmd=0))
    a.close()
    granted(t, b, p)
    granted(t, b, q)


@probe("§13.6", "a waiter that goes is not granted")
def _(t):
    g, a, b = two(t)
    third = t.connect()
    granted(t, a, inodelk(a, g))
    waiting(t, b, inodelk(b, g, cmd=WAIT))
    b.close()
    p = waiting(t, third, inodelk(third, g, cmd=WAIT))
    granted(t, a, inodelk(a, g, UNLOCK))
    granted(t, third, p)


def posix(t):
    """(gfid, fd of the first client, second client, its fd)"""
    g, fd = t.file("f")
    other = t.connect()
    return g, fd, other, t.ok(other.open(gfid=g, flags=os.O_RDWR)).fd


@probe("§13.6", "posix locks go with the client")
def _(t):
    g, fd, other, ofd = posix(t)
    granted(t, t.c, lk(t.c, g, fd))
    p = waiting(t, other, lk(other, g, ofd, cmd=WAIT))
    t.c.close()
    granted(t, other, p)


@probe("§13.6", "flush drops the owner's locks whatever the descriptor")
def _(t):
    g, fd, other, ofd = posix(t)
    second = t.c.open(gfid=g, flags=os.O_RDWR).fd
    granted(t, t.c, lk(t.c, g, fd))
    t.ok(t.c.by(owner=b"own1").flush(gfid=g, fd=second))
    granted(t, other, lk(other, g, ofd))


@probe("§13.6", "flush leaves other owners' locks")
def _(t):
    g, fd, other, ofd = posix(t)
    granted(t, t.c, lk(t.c, g, fd, owner=b"keep"))
    t.ok(t.c.by(owner=b"own1").flush(gfid=g, fd=fd))
    refused(t, other, lk(other, g, ofd))
    t.ok(t.c.by(owner=b"").flush(gfid=g, fd=fd))
    granted(t, other, lk(other, g, ofd))


@probe("§13.6", "release drops the locks taken through it")
def _(t):
    g, fd, other, ofd = posix(t)
    granted(t, t.c, lk(t.c, g, fd))
    p = waiting(t, other, lk(other, g, ofd, cmd=WAIT))
    t.ok(t.c.release(gfid=g, fd=fd))
    granted(t, other, p)


# ---- posix locks -----------------------------------------------------------------------------------------------------


@probe("§13.7", "posix locks conflict, wait and are told")
def _(t):
    g, fd, other, ofd = posix(t)
    granted(t, t.c, lk(t.c, g, fd, start=10, length=10, pid=77))
    refused(t, other, lk(other, g, ofd, start=15, length=1))
    granted(t, other, lk(other, g, ofd, start=20, length=1))
    r = granted(t, other, lk(other, g, ofd, cmd=GET))
    f = r.flock
    t.eq("who has it", (f["type"], f["start"], f["len"], f["pid"], f["owner"]), (WRITE, 10, 10, 77, b"own1"))
    r = granted(t, other, lk(other, g, ofd, cmd=GET, start=100, length=5))
    t.eq("nobody has it", (r.flock["type"], r.flock["start"], r.flock["len"]), (UNLOCK, 100, 5))


@probe("§13.7", "posix locks merge and split")
def _(t):
    g, fd, other, ofd = posix(t)
    granted(t, t.c, lk(t.c, g, fd, start=0, length=12))
    granted(t, t.c, lk(t.c, g, fd, start=10, length=10))
    t.eq("merged", granted(t, other, lk(other, g, ofd, cmd=GET)).flock["len"], 20)
    granted(t, t.c, lk(t.c, g, fd, UNLOCK, start=5, length=5))
    granted(t, other, lk(other, g, ofd, start=5, length=5))
    refused(t, other, lk(other, g, ofd, start=4, length=1))
    refused(t, other, lk(other, g, ofd, start=10, length=1))


@probe("§13.7", "neighbouring posix locks merge")
def _(t):
    g, fd, other, ofd = posix(t)
    granted(t, t.c, lk(t.c, g, fd, start=0, length=10))
    granted(t, t.c, lk(t.c, g, fd, start=10, length=10))
    t.eq("merged", granted(t, other, lk(other, g, ofd, cmd=GET)).flock["len"], 20)


@probe("§13.7", "posix ranges")
def _(t):
    g, fd, other, ofd = posix(t)
    refused(t, t.c, lk(t.c, g, fd, start=-1), EINVAL)
    granted(t, t.c, lk(t.c, g, fd, start=20, length=-10))
    f = granted(t, other, lk(other, g, ofd, cmd=GET)).flock
    t.eq("backwards", (f["start"], f["len"]), (10, 10))
    refused(t, t.c, lk(t.c, g, fd, start=5, length=-10), EINVAL)


@probe("§13.7", "the answer to an unlock tells whether locks are left")
def _(t):
    g, fd, other, ofd = posix(t)
    granted(t, t.c, lk(t.c, g, fd, start=0, length=10))
    t.eq("left", granted(t, t.c, lk(t.c, g, fd, UNLOCK, start=0, length=5)).flock["type"], READ)
    t.eq("none left", granted(t, t.c, lk(t.c, g, fd, UNLOCK)).flock["type"], UNLOCK)


@probe("§13.7", "one owner on two connections is two owners")
def _(t):
    g, fd, other, ofd = posix(t)
    granted(t, t.c, lk(t.c, g, fd))
    refused(t, other, lk(other, g, ofd))


@probe("§13.7", "who waits is granted after an unlock")
def _(t):
    g, fd, other, ofd = posix(t)
    granted(t, t.c, lk(t.c, g, fd))
    p = waiting(t, other, lk(other, g, ofd, cmd=WAIT))
    granted(t, t.c, lk(t.c, g, fd, UNLOCK))
    granted(t, other, p)


@probe("§13.7", "a read lock becomes a write lock")
def _(t):
    g, fd, other, ofd = posix(t)
    granted(t, t.c, lk(t.c, g, fd, READ))
    granted(t, t.c, lk(t.c, g, fd, WRITE))
    refused(t, other, lk(other, g, ofd, READ))
    granted(t, t.c, lk(t.c, g, fd, READ))
    granted(t, other, lk(other, g, ofd, READ))


@probe("§13.7", "anonymous and unknown descriptors")
def _(t):
    g, fd, other, ofd = posix(t)
    granted(t, t.c, lk(t.c, g, ANONYMOUS))
    refused(t, other, lk(other, g, ofd))
    refused(t, other, lk(other, g, 99), EBADF)


@probe("§13.7", "an attribute that needs an option")
def _(t):
    g, fd = t.file("f")
    t.err(t.c.fsetxattr(gfid=g, fd=fd, dict={"trusted.glusterfs.enforce-mandatory-lock": b"on"}), EINVAL)


@probe("§13.7", "forced mandatory locks", "mandatory")
def _(t):
    g, fd, other, _ = posix(t)
    t.ok(t.c.write(gfid=g, fd=fd, data=b"hello"))
    ofd = t.ok(other.open(gfid=g, flags=os.O_RDWR | os.O_NONBLOCK)).fd
    granted(t, t.c, lk(t.c, g, fd, WRITE, start=0, length=10))
    t.err(other.by(owner=b"own2").write(gfid=g, fd=ofd, data=b"x"), EAGAIN)
    t.err(other.by(owner=b"own2").read(gfid=g, fd=ofd, size=1), EAGAIN)
    t.ok(other.by(owner=b"own2").write(gfid=g, fd=ofd, offset=10, data=b"x"))
    t.err(other.open(gfid=g, flags=os.O_RDWR | os.O_TRUNC), EAGAIN)
    t.ok(t.c.write(gfid=g, fd=fd, data=b"mine"))


flavour("mandatory", Flavour(features__locks={"mandatory-locking": "forced"}))


# ---- contention, lockinfo, clear-locks -------------------------------------------------------------------------------


@probe("§13.8", "each holder is told of contention")
def _(t):
    g, a, b = two(t)
    third = t.connect()
    granted(t, a, inodelk(a, g, READ, start=0, length=10))
    granted(t, b, inodelk(b, g, READ, start=5, length=10, owner=b"own2"))
    refused(t, third, inodelk(third, g, WRITE, owner=b"own3"))
    for c, start in ((a, 0), (b, 5)):
        m = c.callback()
        t.eq("kind", m and m.kind, "INODELK_CONTENTION")
        if m:
            t.eq("lock", (m.gfid, m.flock["start"], m.flock["len"], m.domain), (g, start, 10, "dom"))


@probe("§13.8", "contention is told once in a while")
def _(t):
    g, a, b = two(t)
    granted(t, a, inodelk(a, g))
    refused(t, b, inodelk(b, g))
    refused(t, b, inodelk(b, g))
    t.true("once", a.callback())
    t.true("not twice", a.quiet())


@probe("§13.8", "holders of names are told")
def _(t):
    a, b = t.c, t.connect()
    granted(t, a, entrylk(a, t.dir, "n"))
    waiting(t, b, entrylk(b, t.dir, "n", cmd=0))
    m = a.callback()
    t.eq("kind", m and m.kind, "ENTRYLK_CONTENTION")
    if m:
        t.eq("lock", (m.gfid, m.name, m.domain), (t.dir, "n", "dom"))


@probe("§13.8", "nobody is told when it is switched off", "silent")
def _(t):
    g, a, b = two(t)
    granted(t, a, inodelk(a, g))
    refused(t, b, inodelk(b, g))
    t.true("quiet", a.quiet())


flavour("silent", Flavour(features__locks={"notify-contention": "no"}))


@probe("§13.8", "lockinfo without locks")
def _(t):
    g, fd = t.file("f")
    r = t.ok(t.c.fgetxattr(gfid=g, fd=fd, name="trusted.glusterfs.lockinfo", namelen=26))
    t.eq("empty", r.dict, {})


def ask(t, g, name, want=0):
    r = t.err(t.c.getxattr(gfid=g, name=name, namelen=len(name)), want)
    value = r.dict.get(name) if not r.err else None
    return value.rstrip(b"\0").decode() if isinstance(value, bytes) else value


@probe("§13.8", "clear-locks of posix locks")
def _(t):
    g, fd, other, ofd = posix(t)
    granted(t, t.c, lk(t.c, g, fd))
    text = ask(t, g, "glusterfs.clrlk.tposix.kgranted")
    t.true("text", text and text.endswith(": posix blocked locks=0 granted locks=1"))
    granted(t, other, lk(other, g, ofd))


@probe("§13.8", "clear-locks of inodelks and entrylks")
def _(t):
    g, a, b = two(t)
    granted(t, a, inodelk(a, g))
    p = waiting(t, b, inodelk(b, g, cmd=WAIT))
    text = ask(t, g, "glusterfs.clrlk.tinode.kblocked")
    t.true("blocked", text and text.endswith(": inode blocked locks=1 granted locks=0"))
    refused(t, b, p)
    text = ask(t, g, "glusterfs.clrlk.tinode.kall")
    t.true("all", text and text.endswith(": inode blocked locks=0 granted locks=1"))
    granted(t, a, entrylk(a, t.dir, "n"))
    text = ask(t, t.dir, "glusterfs.clrlk.tentry.kgranted.n")
    t.true("entry", text and text.endswith(": entry blocked locks=0 granted locks=1"))


@probe("§13.8", "clear-locks of nothing and of nonsense")
def _(t):
    g = t.mknod("f")
    t.eq("nothing", ask(t, g, "glusterfs.clrlk.tinode.kall"), "No locks cleared.")
    ask(t, g, "glusterfs.clrlk.tnonsense.kall", EINVAL)


# ---- counts ----------------------------------------------------------------------------------------------------------


@probe("§13.9", "inodelks are counted")
def _(t):
    g, a, b = two(t)
    granted(t, a, inodelk(a, g, domain="one"))
    granted(t, a, inodelk(a, g, domain="one"))
    granted(t, a, inodelk(a, g, domain="two"))
    waiting(t, b, inodelk(b, g, domain="one", cmd=WAIT))
    look = {"pargfid": t.dir, "bname": "f"}
    t.eq("all", t.c.lookup(xdata={"glusterfs.inodelk-count": 0}, **look).xdata.get("glusterfs.inodelk-count"), 4)
    t.eq("one domain", t.c.lookup(xdata={"glusterfs.inodelk-dom-count": "one"}, **look).xdata.get("glusterfs.inodelk-count"), 3)
    keys = {"glusterfs.multi-dom-lk-cnt-req": 0, "glusterfs.inodelk-dom-prefix:one": 0, "glusterfs.inodelk-dom-prefix:two": 0}
    x = t.c.lookup(xdata=keys, **look).xdata
    t.eq("each domain", [x.get("glusterfs.inodelk-dom-prefix:" + d) for d in ("one", "two")], [3, 1])


@probe("§13.9", "entrylks and posix locks are counted")
def _(t):
    g, fd, other, ofd = posix(t)
    granted(t, t.c, entrylk(t.c, t.dir, "f"))
    granted(t, t.c, lk(t.c, g, fd))
    waiting(t, other, lk(other, g, ofd, cmd=WAIT))
    x = t.c.lookup(gfid=t.dir, xdata={"glusterfs.entrylk-count": 0}).xdata
    t.eq("entry", x.get("glusterfs.entrylk-count"), 1)
    x = t.c.lookup(pargfid=t.dir, bname="f", xdata={"glusterfs.posixlk-count": 0, "glusterfs.parent-entrylk": 0}).xdata
    t.eq("posix and parent", (x.get("glusterfs.posixlk-count"), x.get("glusterfs.parent-entrylk")), (2, 1))


@probe("§13.9", "counts are not stored and not matched")
def _(t):
    t.mknod("f", **{"glusterfs.inodelk-count": 0})
    x = t.ok(t.c.lookup(pargfid=t.dir, bname="f", xdata={"glusterfs.inodelk-count": 0})).xdata
    t.eq("answer", x, {"glusterfs.inodelk-count": 0})


# ---- section 14 ------------------------------------------------------------------------------------------------------


@probe("§14.1", "numbers of another connection")
def _(t):
    g, fd = t.file("f", data=b"hello")
    other = t.connect()
    t.err(other.read(gfid=g, fd=fd, size=5), EBADF)
    t.err(other.fstat(gfid=g, fd=fd), EBADF)


@probe("§14.1", "numbers are unique and small")
def _(t):
    c = t.connect()
    g = t.mknod("f")
    fds = [t.ok(c.open(gfid=g, flags=os.O_RDWR)).fd for _ in range(4)]
    t.eq("first ones", fds, [0, 1, 2, 3])
    for fd in (1, 2):
        t.ok(c.release(gfid=g, fd=fd))
    again = {c.open(gfid=g, flags=os.O_RDWR).fd for _ in range(2)}
    t.eq("reused", again, {1, 2})


@probe("§14.2", "what an anonymous descriptor does")
def _(t):
    g, _ = t.file("f", data=b"hello")
    fd = ANONYMOUS
    t.eq("read", t.c.read(gfid=g, fd=fd, size=10).data, b"hello")
    t.eq("write", t.c.write(gfid=g, fd=fd, offset=5, data=b"!").op_ret, 1)
    for name, more in (("fstat", {}), ("ftruncate", dict(offset=3)), ("fsetxattr", dict(dict={"user.a": b"1"})),
                       ("fgetxattr", dict(name="user.a", namelen=6)), ("fremovexattr", dict(name="user.a")), ("fsync", {}),
                       ("flush", {}), ("fallocate", dict(size=100)), ("discard", dict(size=1)), ("zerofill", dict(size=10)),
                       ("seek", dict(what=0)), ("rchecksum", dict(len=1)), ("fsetattr", dict(stbuf=dict(mode=0o600), valid=1))):
        t.ok(getattr(t.c, name)(gfid=g, fd=fd, **more))


@probe("§14.3", "nothing survives a reconnect")
def _(t):
    g, fd = t.file("f")
    t.c.close()
    c = t.connect()
    t.err(c.write(gfid=g, fd=fd, data=b"x"), EBADF)
    t.ok(c.open(gfid=g, flags=os.O_RDWR))


@probe("§14.4", "where an open file without a name is kept")
def _(t):
    g, fd = t.file("f", data=b"hello")
    name = os.path.basename(t.handle(g))
    t.ok(t.c.unlink(pargfid=t.dir, bname="f"))
    t.true("kept", os.path.exists(t.store("unlink", name)))
    t.eq("handle", os.path.lexists(t.handle(g)), False)
    t.ok(t.c.release(gfid=g, fd=fd))
    t.eventually("gone", lambda: not os.path.exists(t.store("unlink", name)))


@probe("§14.4", "the last of several descriptors counts")
def _(t):
    g, fd = t.file("f", data=b"hello")
    other = t.connect()
    ofd = other.open(gfid=g, flags=os.O_RDWR).fd
    t.ok(t.c.unlink(pargfid=t.dir, bname="f"))
    t.c.close()
    t.eq("read", other.read(gfid=g, fd=ofd, size=10).data, b"hello")
    other.close()
    t.eventually("gone", lambda: os.listdir(t.store("unlink")) == [])


@probe("§14.4", "an internal mknod brings it back")
def _(t):
    g, fd = t.file("f", data=b"hello")
    t.ok(t.c.unlink(pargfid=t.dir, bname="f"))
    t.ok(t.c.mknod(pargfid=t.dir, mode=0o100644, bname="again", xdata={"gfid-req": Gfid(g), "glusterfs-internal-fop": "yes"}))
    t.eq("content", t.c.read(gfid=g, fd=ANONYMOUS, size=10).data, b"hello")
    t.true("handle", os.path.samefile(t.handle(g), t.disk("again")))
    t.ok(t.c.stat(gfid=g))


@probe("§14.4", "a restart ends it")
def _(t):
    g, fd = t.file("f", data=b"hello")
    t.ok(t.c.unlink(pargfid=t.dir, bname="f"))
    t.server.process.kill()
    t.server.stop()
    t.server.start()
    c = t.connect()
    t.err(c.open(gfid=g, flags=os.O_RDWR), ESTALE, ENOENT)
    t.eventually("emptied", lambda: os.listdir(t.store("unlink")) == [])
