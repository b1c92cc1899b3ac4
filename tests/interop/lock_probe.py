"""Lock rules as a transcript of raw calls: `lock_probe.py stock|ours PROGRAM DIRECTORY [PROBE…]`, one line a fact.

The brick is started here, below DIRECTORY, with the layers of a stock brick volfile that see locks. Both transcripts are
compared by lock_probe.sh. Lines say what was asked and what came: ok, the name of an errno, "waits", counts, strings.
"""
import errno as errnos
import os
import select
import struct
import subprocess
import sys
import time
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "brick"))
import rpcwire
from rpcwire import CONTROL, FOP, NULL_DICT, ROOT, Client, cred, opaque

READ, WRITE, UNLOCK = 0, 1, 2
SET, WAIT = 1, 2
STAT, RMDIR, UNLINK, RENAME, TRUNCATE, OPEN = 1, 6, 5, 8, 10, 11
PATIENCE = 0.3  # how long "waits" is watched before it is believed


def dict_of(pairs):
    out = b""
    for key, value in pairs.items():
        out += opaque(key.encode() + b"\0")
        if key == "glusterfs.lk.lkmode":
            out += struct.pack(">IQ", 3, value)
        elif isinstance(value, int):
            out += struct.pack(">Iq", 2, value)
        elif isinstance(value, bytes):
            out += struct.pack(">I", 6) + opaque(value)
        else:
            out += struct.pack(">I", 5) + opaque(value.encode() + b"\0")
    return struct.pack(">IiI", len(out), len(pairs), len(pairs)) + out if pairs else NULL_DICT


def parse_dict(body):
    """(pairs, what follows)"""
    size, count, n = struct.unpack_from(">IiI", body)
    at, pairs = 12, {}
    for _ in range(max(count, 0)):
        (klen,) = struct.unpack_from(">I", body, at)
        key = body[at + 4:at + 4 + klen].rstrip(b"\0").decode()
        at += 4 + klen + -klen % 4
        (kind,) = struct.unpack_from(">I", body, at)
        at += 4
        if kind in (2, 3, 4):
            (value,) = struct.unpack_from(">q", body, at)
            at += 8
        elif kind == 7:
            value, at = body[at:at + 16], at + 16
        elif kind == 8:
            value, at = None, at + IATT_SIZE
        elif kind in (1, 5, 6):
            (vlen,) = struct.unpack_from(">I", body, at)
            value = body[at + 4:at + 4 + vlen]
            at += 4 + vlen + -vlen % 4
        else:
            raise ValueError("dict type %d" % kind)
        pairs[key] = value
    return pairs, body[at:]


def flock_of(kind, start=0, length=0, pid=100, owner=b""):
    return struct.pack(">IIQQI", kind, 0, start & (1 << 64) - 1, length & (1 << 64) - 1, pid) + opaque(owner)


class LockClient(Client):
    def __init__(self, port, brick, owner=b"own-0001", pid=100, op_version=100000):
        super().__init__(port)
        self.owner, self.pid = owner, pid
        self.uid = "CTX_ID:%s-GRAPH_ID:0-PID:%d-HOST:probe-PC_NAME:probe-client-0-RECON_NO:-0" % (uuid.uuid4(), os.getpid())
        ret, err, d = self.setvolume({"remote-subvolume": brick, "process-uuid": self.uid, "fops-version": FOP,
                                      "opversion": op_version})
        assert ret == 0, (ret, err, d)

    def go(self, proc, body, owner=None, pid=None):
        return self.fop_send(proc, body, credential=cred(self.owner if owner is None else owner,
                                                         self.pid if pid is None else pid))

    def answer(self, xid):
        """(op_ret, op_errno, rest), or None if nothing comes."""
        until = time.monotonic() + PATIENCE
        while xid not in self.replies:
            left = until - time.monotonic()
            if left <= 0 or not (len(self.buffer) >= 4 or select.select([self.s], [], [], left)[0]):
                return None
            self.take_record()
        return self.fop_wait(xid)

    def said(self, xid):
        a = self.answer(xid)
        if a is None:
            return "waits"
        return "ok" if a[0] >= 0 else errnos.errorcode.get(a[1], str(a[1]))

    def take_callbacks(self):
        """Names of the contention callbacks that came."""
        until = time.monotonic() + PATIENCE
        while select.select([self.s], [], [], max(0, until - time.monotonic()))[0]:
            self.take_record()
        names = {5: "invalidation", 10: "inodelk-contention", 11: "entrylk-contention"}
        out = sorted(names.get(p, str(p)) for p in (struct.unpack_from(">I", r, 20)[0] for r in self.callbacks)
                     if p != 5)
        self.callbacks = []
        return " ".join(out) or "none"

    # -- calls; each gives the number of its call --

    def inodelk(self, gfid, cmd=SET, kind=WRITE, start=0, length=0, domain="d", owner=None, pid=None, xdata=NULL_DICT,
                flock_pid=0):
        return self.go(29, gfid + struct.pack(">II", cmd, kind) + flock_of(kind, start, length, flock_pid) +
                       opaque(domain.encode()) + xdata, owner, pid)

    def entrylk(self, gfid, name, cmd=2, kind=WRITE, domain="d", owner=None, pid=None):
        return self.go(31, gfid + struct.pack(">IIQ", cmd, kind, 1 if name else 0) + opaque((name or "").encode()) +
                       opaque(domain.encode()) + NULL_DICT, owner, pid)

    def lk(self, gfid, fd=-2, cmd=SET, kind=WRITE, start=0, length=0, owner=None, pid=None, xdata=NULL_DICT,
           flock_pid=100):
        own = self.owner if owner is None else owner
        return self.go(26, gfid + struct.pack(">qII", fd, cmd, kind) + flock_of(kind, start, length, flock_pid, own) +
                       xdata, owner, pid)

    def lk_said(self, *args, **more):
        """errno, or the flock of the answer: type start len pid"""
        a = self.answer(self.lk(*args, **more))
        if a is None or a[0] < 0:
            return "waits" if a is None else errnos.errorcode.get(a[1], str(a[1]))
        rest = parse_dict(a[2])[1]
        kind, whence, start, length, pid = struct.unpack_from(">IIQQI", rest)
        return "type %d start %d len %d pid %d" % (kind, start, length, pid)

    def unlink(self, name, parent=ROOT, pid=None, xdata=NULL_DICT):
        return self.go(5, parent + opaque(name.encode()) + struct.pack(">I", 0) + xdata, pid=pid)

    def rmdir(self, name, parent=ROOT):
        return self.go(6, parent + struct.pack(">i", 0) + opaque(name.encode()) + NULL_DICT)

    def rename(self, old, new):
        return self.go(8, ROOT + ROOT + opaque(old.encode()) + opaque(new.encode()) + NULL_DICT)

    def mkdir(self, name):
        g = os.urandom(16)
        assert self.fop_wait(self.go(4, ROOT + struct.pack(">II", 0o755, 0) + opaque(name.encode()) +
                                     rpcwire.gfid_req(g)))[0] >= 0
        return g

    def file(self, name, mode=0o644):
        """MKNOD"""
        g = os.urandom(16)
        a = self.fop_wait(self.go(3, ROOT + struct.pack(">QII", 0, 0o100000 | mode, 0) + opaque(name.encode()) +
                                  rpcwire.gfid_req(g)))
        assert a[0] >= 0, a[:2]
        self.lookup(name)
        return g

    def lookup_answer(self, name, xdata=NULL_DICT):
        return self.fop_wait(self.go(27, bytes(16) + ROOT + struct.pack(">I", 0) + opaque(name.encode()) + xdata))

    def lookup(self, name):
        a = self.lookup_answer(name)
        assert a[0] >= 0, a[:2]

    def open(self, gfid, flags=os.O_RDWR):
        a = self.fop_wait(self.go(11, gfid + struct.pack(">I", flags) + NULL_DICT))
        if a[0] < 0:
            return errnos.errorcode[a[1]]
        return struct.unpack_from(">q", parse_dict(a[2])[1])[0]

    def fd(self, gfid):
        """A descriptor that is kept for the next time."""
        self.fds = getattr(self, "fds", {})
        if gfid not in self.fds:
            self.fds[gfid] = self.open(gfid)
        return self.fds[gfid]

    def release(self, gfid, fd):
        return self.go(41, gfid + struct.pack(">q", fd) + NULL_DICT)

    def flush(self, gfid, fd, owner=None):
        return self.go(15, gfid + struct.pack(">q", fd) + NULL_DICT, owner)

    def write(self, gfid, fd=-2, offset=0, data=b"x" * 10, owner=None, pid=None):
        return self.go(13, gfid + struct.pack(">qQII", fd, offset, len(data), 0) + NULL_DICT + data, owner, pid)

    def read(self, gfid, fd=-2, offset=0, size=10, owner=None):
        return self.go(12, gfid + struct.pack(">qQII", fd, offset, size, 0) + NULL_DICT, owner)

    def truncate(self, gfid, size, owner=None):
        return self.go(10, gfid + struct.pack(">Q", size) + NULL_DICT, owner)

    def ftruncate(self, gfid, fd, size, owner=None):
        return self.go(24, gfid + struct.pack(">qQ", fd, size) + NULL_DICT, owner)

    def setxattr(self, gfid, pairs):
        return self.go(17, gfid + struct.pack(">I", 0) + dict_of(pairs) + NULL_DICT)

    def removexattr(self, gfid, name):
        return self.go(19, gfid + opaque(name.encode()) + NULL_DICT)

    def fsetxattr(self, gfid, fd, pairs):
        return self.go(36, gfid + struct.pack(">qI", fd, 0) + dict_of(pairs) + NULL_DICT)

    def dict_answer(self, xid):
        """op_ret-sign or errno, pairs"""
        a = self.answer(xid)
        if a is None:
            return "waits", {}
        if a[0] < 0:
            return errnos.errorcode.get(a[1], str(a[1])), {}
        return "ok", parse_dict(parse_dict(a[2])[1])[0]

    def getxattr(self, gfid, name, pid=None):
        return self.dict_answer(self.go(18, gfid + struct.pack(">I", len(name)) + opaque(name.encode()) + NULL_DICT,
                                        pid=pid))

    def fgetxattr(self, gfid, fd, name):
        return self.dict_answer(self.go(35, gfid + struct.pack(">qI", fd, len(name)) + opaque(name.encode()) +
                                        NULL_DICT))

    def xdata_of(self, xid):
        a = self.answer(xid)
        return parse_dict(a[2])[0] if a and a[0] >= 0 else {}

    def stat_xdata(self, gfid, keys):
        return self.xdata_of(self.go(1, gfid + dict_of(keys)))


# ---- the bricks --------------------------------------------------------------------------------------------------------

LAYERS = ("features/access-control", "features/locks", "features/upcall", "performance/io-threads", "debug/io-stats")


class Brick:
    number = 0

    def __init__(self, kind, program, work, options=()):
        Brick.number += 1
        self.kind, self.id = kind, uuid.uuid4()
        self.path = os.path.join(work, "b%d" % Brick.number)
        os.makedirs(self.path)
        os.setxattr(self.path, "trusted.glusterfs.volume-id", self.id.bytes)
        self.port = 49500 + Brick.number
        self.log = os.path.join(work, "log%d" % Brick.number)
        volfile = os.path.join(work, "vol%d" % Brick.number)
        with open(volfile, "w") as f:
            f.write(self.volfile(options))
        if kind == "stock":
            self.start_stock(program, volfile, work)
        else:
            self.start_ours(program, volfile, work)

    def volfile(self, options):
        out = "volume v-posix\n    type storage/posix\n    option directory %s\n    option volume-id %s\n    option hostname %s\nend-volume\n" \
            % (self.path, self.id, os.uname().nodename)
        below = "v-posix"
        for layer in LAYERS:
            name = self.path if layer == LAYERS[-1] else "v-" + layer.split("/")[1]
            out += "volume %s\n    type %s\n" % (name, layer)
            if layer == "features/locks":
                out += "".join("    option %s\n" % o for o in options)
            if layer == "features/upcall":
                out += "    option cache-invalidation off\n"
            out += "    subvolumes %s\nend-volume\n" % below
            below = name
        return out + ("volume v-server\n    type protocol/server\n    option transport-type tcp\n"
                      "    option transport.socket.listen-port %d\n    option transport.address-family inet\n"
                      "    option auth.addr.%s.allow *\n    option auth-path %s\n    subvolumes %s\nend-volume\n"
                      % (self.port, self.path, self.path, below))

    def start_stock(self, program, volfile, work):
        self.p = subprocess.Popen([program, "-N", "-f", volfile, "-l", self.log, "-p", volfile + ".pid"])
        until = time.monotonic() + 20
        while True:
            try:
                Client(self.port).close()
                return
            except OSError:
                assert self.p.poll() is None and time.monotonic() < until, "glusterfsd does not come up"
                time.sleep(0.02)

    def start_ours(self, program, volfile, work):
        control = volfile + ".control"
        r, w = os.pipe()
        self.p = subprocess.Popen([program, "--control", control, "--listen", "127.0.0.1", "--ready-fd", str(w),
                                   "--log-file", self.log], pass_fds=[w])
        os.close(w)
        with os.fdopen(r) as f:
            self.port = int(f.readline())
        self.control = Client(path=control)
        with open(volfile, "rb") as f:
            status, rep = self.control.call(CONTROL, 1, 2, opaque(f.read()))
        ret, err, size = struct.unpack_from(">iiI", rep)
        assert (status, ret) == (0, 0), rep[12:12 + size]

    def client(self, *args, **more):
        return LockClient(self.port, self.path, *args, **more)

    def end(self):
        self.p.terminate()
        self.p.wait(20)


def line(name, *what):
    print("%s = %s" % (name, " ".join(str(w) for w in what)), flush=True)


# ---- what is asked -----------------------------------------------------------------------------------------------------

def probe_removal(b):
    a, c = b.client(owner=b"A"), b.client(owner=b"C")
    f = a.file("f")
    line("removal: holder locks", a.said(a.inodelk(f)))
    u = c.unlink("f")
    line("removal: unlink by another", c.said(u))
    line("removal: the holder is told", a.take_callbacks())
    line("removal: holder locks the same range again", a.said(a.inodelk(f)))
    line("removal: holder locks in another domain", a.said(a.inodelk(f, domain="e")))
    line("removal: holder, other owner, other domain", a.said(a.inodelk(f, domain="e2", owner=b"A2")))
    line("removal: the remover locks another domain", c.said(c.inodelk(f, domain="e3")))
    d = b.client(owner=b"D")
    line("removal: a third locks another domain, no wait", d.said(d.inodelk(f, domain="e4")))
    line("removal: internal third locks another domain", d.said(d.inodelk(f, domain="e5", pid=-6)))
    line("removal: with that it may lock more", d.said(d.inodelk(f, domain="e6")))
    e = b.client(owner=b"E")
    w = e.inodelk(f, cmd=WAIT, domain="e7")
    line("removal: a fourth waits in another domain", e.said(w))
    line("removal: stat meanwhile", a.said(a.go(1, f + NULL_DICT)))
    line("removal: write meanwhile", a.said(a.write(f)))
    a.close()
    line("removal: still held by the third", c.said(u))
    line("removal: the third lets go", d.said(d.inodelk(f, kind=UNLOCK, domain="e6")))
    line("removal: unlink after the holders", c.said(u))
    line("removal: the fourth's lock after it", e.said(w))
    line("removal: the fourth unlocks", e.said(e.inodelk(f, kind=UNLOCK, domain="e7")))
    line("removal: a lock on what is gone", e.said(e.inodelk(f)))
    d.close(), e.close()
    f = c.file("f-own")
    c.said(c.inodelk(f))
    line("removal: own lock", c.said(c.unlink("f-own")))
    a = b.client(owner=b"A")
    f = c.file("f-internal")
    a.said(a.inodelk(f, pid=-6))
    line("removal: internal holder", c.said(c.unlink("f-internal")))
    f = c.file("f-internal-remover")
    a.said(a.inodelk(f))
    u = c.unlink("f-internal-remover", pid=-6)
    line("removal: internal remover", c.said(u))
    a.said(a.inodelk(f, kind=UNLOCK))
    line("removal: internal remover after unlock", c.said(u))
    g = c.mkdir("dir")
    a.said(a.inodelk(g))
    u = c.rmdir("dir")
    line("removal: rmdir", c.said(u))
    a.said(a.inodelk(g, kind=UNLOCK))
    line("removal: rmdir after unlock", c.said(u))
    m = c.file("migrated")
    a.said(a.inodelk(m, domain="dht.file.migrate"))
    u = c.unlink("migrated")
    line("removal: under a lock of distribute", c.said(u))
    a.said(a.inodelk(m, kind=UNLOCK, domain="dht.file.migrate"))
    c.said(u)
    c.file("from")
    t = c.file("to")
    a.said(a.inodelk(t))
    u = c.rename("from", "to")
    line("removal: rename over", c.said(u))
    a.said(a.inodelk(t, kind=UNLOCK))
    line("removal: rename after unlock", c.said(u))
    s = c.file("source")
    a.said(a.inodelk(s))
    line("removal: rename of a locked source", c.said(c.rename("source", "moved")))
    a.said(a.entrylk(s, None))
    e = c.mkdir("entry-locked")
    a.said(a.entrylk(e, "x"))
    line("removal: rmdir under an entry lock", c.said(c.rmdir("entry-locked")))
    p = c.file("posix-locked")
    a.said(a.lk(p))
    line("removal: unlink under a posix lock", c.said(c.unlink("posix-locked")))
    h = c.file("two")
    a.said(a.inodelk(h))
    x, y = c.unlink("two"), b.client(owner=b"Y")
    line("removal: first of two", c.said(x))
    z = y.unlink("two")
    line("removal: second of two", y.said(z))
    a.said(a.inodelk(h, kind=UNLOCK))
    line("removal: both after unlock", " ".join(sorted([c.said(x), y.said(z)])))
    k = c.file("nowait-then")
    a.said(a.inodelk(k))
    v = c.unlink("nowait-then")
    c.said(v)
    c.close()
    n = b.client(owner=b"N")
    line("removal: remover gone, a third locks", asked_until("ok", lambda: n.said(n.inodelk(k, domain="e"))))
    line("removal: the file is", n.said(n.go(1, k + NULL_DICT)))
    for i in (a, y, n):
        i.close()


def text_of(answer):
    word, pairs = answer
    if word != "ok":
        return word
    return "; ".join("%s = %s" % (k, v.rstrip(b"\0").decode(errors="replace") if isinstance(v, bytes) else v)
                     for k, v in sorted(pairs.items())) or "ok, empty"


def probe_clear(b):
    def clear(c, g, what, **more):
        line("clear: " + what, text_of(c.getxattr(g, "glusterfs." + what, **more)).replace(b.path, "BRICK")
             .replace(os.uname().nodename, "HOST"))

    a, c = b.client(owner=b"A"), b.client(owner=b"C")
    f = a.file("f")
    a.lookup("f")
    d = c.mkdir("dir")
    for what in ("clrlk.tinode.kall", "clrlk.tentry.kall", "clrlk.tposix.kall"):
        clear(c, f, what)
    for what in ("clrlk.tinode.kgranted", "clrlk.tinode.kblocked", "clrlk.tinode", "clrlk.kall", "clrlk.", "clrlk.tfoo.kall",
                 "clrlk.tinode.kfoo", "clrlk.tinode.kall.", "clrlk.tinode.kall.0,0-", "clrlk.tinode.kall.0,0-0",
                 "clrlk.tinode.kall.x", "clrlk.tinode.kall.0", "clrlk.tinode.kall.0,5", "clrlk.tinode.kall.0,5-6,",
                 "clrlk.tinode.kall.9,0-0", "clrlk.tposix.kall.0,0-5", "clrlk.tposix.kall.1,0-5", "clrlk.tentry.kall.name",
                 "clrlk.kall.tinode", "clrlk", "clrlk.tinode.kall.0,-5-6"):
        line("clear: setup", a.said(a.inodelk(f)), a.said(a.lk(f, a.fd(f))))
        x, y = c.inodelk(f, cmd=WAIT), c.lk(f, c.fd(f), cmd=WAIT)
        c.said(x), c.said(y)
        clear(c, f, what)
        line("clear: inodelk waiter", c.said(x), "| posix waiter", c.said(y))
        a.close(), c.close()
        a, c = b.client(owner=b"A"), b.client(owner=b"C")
    # names
    line("clear: entry setup", a.said(a.entrylk(d, "x")), a.said(a.entrylk(d, "y")), a.said(a.entrylk(d, "y", domain="e")))
    w = c.entrylk(d, "x", cmd=0)
    line("clear: entry waiter", c.said(w))
    clear(c, d, "clrlk.tentry.kblocked.y")
    clear(c, d, "clrlk.tentry.kgranted.y")
    line("clear: entry waiter", c.said(w))
    clear(c, d, "clrlk.tentry.kblocked.x")
    line("clear: entry waiter", c.said(w))
    w = c.entrylk(d, "x", cmd=0)
    clear(c, d, "clrlk.tentry.kall")
    line("clear: entry waiter", c.said(w))
    # ranges
    a.said(a.inodelk(f, start=0, length=10)), a.said(a.inodelk(f, start=100, length=10))
    w = c.inodelk(f, cmd=WAIT, start=5, length=1)
    c.said(w)
    clear(c, f, "clrlk.tinode.kgranted.0,100-10")
    clear(c, f, "clrlk.tinode.kgranted.0,3-1")
    line("clear: range waiter", c.said(w))
    a.close(), c.close()
    a, c = b.client(owner=b"A"), b.client(owner=b"C")
    # granted: the waiter gets it
    a.said(a.inodelk(f))
    w = c.inodelk(f, cmd=WAIT)
    c.said(w)
    clear(c, f, "clrlk.tinode.kgranted")
    line("clear: waiter of a cleared lock", c.said(w))
    a.said(a.lk(f, a.fd(f)))
    w = c.lk(f, c.fd(f), cmd=WAIT)
    c.said(w)
    clear(c, f, "clrlk.tposix.kgranted")
    line("clear: posix waiter of a cleared lock", c.said(w))
    line("clear: unlock of what was cleared", a.said(a.inodelk(f, kind=UNLOCK)), a.said(a.lk(f, a.fd(f), kind=UNLOCK)))
    a.close(), c.close()
    # posix, part of a range; two clients' waiters
    a, c, e = b.client(owner=b"A"), b.client(owner=b"C"), b.client(owner=b"E")
    a.said(a.lk(f, a.fd(f), start=0, length=100))
    w, v = c.lk(f, c.fd(f), cmd=WAIT, start=10, length=5), e.lk(f, e.fd(f), cmd=WAIT, start=50, length=5)
    c.said(w), e.said(v)
    clear(c, f, "clrlk.tposix.kblocked.0,10-5")
    line("clear: posix waiters", c.said(w), e.said(v))
    clear(c, f, "clrlk.tposix.kgranted.0,40-5")
    line("clear: other posix waiter", e.said(v))
    a.close(), c.close(), e.close()
    # interrupts
    a, c, e = b.client(owner=b"A"), b.client(owner=b"C"), b.client(owner=b"E")
    a.said(a.lk(f, a.fd(f)))
    w, x = c.lk(f, c.fd(f), cmd=WAIT, pid=501, owner=b"C1", flock_pid=501), c.lk(f, c.fd(f), cmd=WAIT, pid=502, owner=b"C2", flock_pid=502)
    v = e.lk(f, e.fd(f), cmd=WAIT, pid=501, flock_pid=501)
    c.said(w), c.said(x), e.said(v)
    clear(c, f, "intrlk.tposix.kblocked.0,0-0", pid=501)

    def interrupt(by, what, pid):
        xid = by.go(35, f + struct.pack(">qI", by.fd(f), len(what)) + opaque(what.encode()) + NULL_DICT, pid=pid)
        line("interrupt: %s by pid %d" % (what, pid), text_of(by.dict_answer(xid)).replace(b.path, "BRICK")
             .replace(os.uname().nodename, "HOST"))

    interrupt(a, "glusterfs.intrlk.tposix.kblocked.0,0-0", 501)
    interrupt(c, "glusterfs.intrlk.tposix.kblocked.0,0-0", 503)
    interrupt(c, "glusterfs.intrlk.tposix.kblocked.0,5-6", 501)
    line("interrupt: nobody", c.said(w), c.said(x), e.said(v))
    interrupt(c, "glusterfs.intrlk.tposix.kblocked.0,0-0", 501)
    line("interrupt: asked, same client, other client", c.said(w), c.said(x), e.said(v))
    interrupt(c, "glusterfs.intrlk.tposix.kall", 502)
    line("interrupt: all", c.said(x), e.said(v))
    interrupt(a, "glusterfs.intrlk.tposix.kgranted", 100)
    line("interrupt: of what is held", e.said(v))
    interrupt(a, "glusterfs.intrlk.tinode.kall", 100)
    interrupt(a, "glusterfs.intrlk.tfoo.kall", 100)
    interrupt(a, "glusterfs.intrlk", 100)
    line("interrupt: still held", c.lk_said(f, cmd=0))
    fd = a.open(f)
    line("clear: by descriptor", text_of(a.fgetxattr(f, fd, "glusterfs.clrlk.tposix.kall")).replace(b.path, "BRICK")
         .replace(os.uname().nodename, "HOST"))
    for i in (a, c, e):
        i.close()


def probe_lockinfo(b):
    name = "trusted.glusterfs.lockinfo"
    a, c = b.client(owner=b"A"), b.client(owner=b"C")
    f = a.file("f")
    fd, fd2 = a.open(f), a.open(f)
    line("lockinfo: without locks", text_of(a.fgetxattr(f, fd, name)))
    line("lockinfo: by path", text_of(a.getxattr(f, name)))
    line("lockinfo: lock", a.said(a.lk(f, fd, start=0, length=10)))
    word, pairs = a.fgetxattr(f, fd, name)
    value = pairs.get(name, b"")
    line("lockinfo: with locks", word, sorted(pairs))
    (pairs, key_size, value_size) = struct.unpack_from(">iii", value)
    line("lockinfo: value", pairs, value[12:12 + key_size].decode().replace(b.path, "BRICK").replace(
        os.uname().nodename, "HOST"), "number" if value[13 + key_size:].rstrip(b"\0").isdigit() else "no number")
    line("lockinfo: other descriptor of the file", text_of(a.fgetxattr(f, fd2, name)))
    cfd = c.open(f)
    line("lockinfo: conflict before", c.lk_said(f, cfd, cmd=0, start=0, length=10))
    line("lockinfo: set by path", c.said(c.setxattr(f, {name: value})))
    line("lockinfo: nonsense", c.said(c.fsetxattr(f, cfd, {name: b"nonsense"})))
    line("lockinfo: set", c.said(c.fsetxattr(f, cfd, {name: value})))
    line("lockinfo: new client, old owner sees", c.lk_said(f, cfd, cmd=0, start=0, length=10, owner=b"A"))
    line("lockinfo: new client, own owner sees", c.lk_said(f, cfd, cmd=0, start=0, length=10))
    line("lockinfo: old client sees", a.lk_said(f, fd, cmd=0, start=0, length=10))
    line("lockinfo: set again", c.said(c.fsetxattr(f, cfd, {name: value})))
    o = a.file("goes-with-its-client")
    a.said(a.inodelk(o))
    a.close()
    d = b.client(owner=b"D")
    assert asked_until("ok", lambda: d.said(d.inodelk(o)), 10) == "ok", "the old client's locks stay"
    line("lockinfo: old client gone, third sees", d.lk_said(f, cmd=0))
    c.said(c.release(f, cfd))
    line("lockinfo: new descriptor released, third sees", d.lk_said(f, cmd=0))
    c.close(), d.close()


def probe_counts(b):
    a, c = b.client(owner=b"A"), b.client(owner=b"C")
    f, d = a.file("f"), a.mkdir("dir")
    a.said(a.inodelk(f, domain="d1")), a.said(a.inodelk(f, domain="d1")), a.said(a.inodelk(f, domain="d2"))
    w = c.inodelk(f, cmd=WAIT, domain="d1")
    c.said(w)
    a.said(a.lk(f, start=0, length=1)), a.said(a.lk(f, start=10, length=1))
    x = c.lk(f, cmd=WAIT)
    c.said(x)
    a.said(a.entrylk(ROOT, "f")), a.said(a.entrylk(ROOT, "ghost", domain="e"))
    y = c.entrylk(ROOT, "f", cmd=0)
    c.said(y)

    def show(name, xdata):
        line("counts: " + name, " ".join("%s=%s" % (k, v) for k, v in sorted(xdata.items()) if "lk" in k))

    keys = {"glusterfs.inodelk-count": 0, "glusterfs.entrylk-count": 0, "glusterfs.posixlk-count": 0,
            "glusterfs.parent-entrylk": 0}
    show("stat of the file", a.stat_xdata(f, keys))
    show("stat of the root", a.stat_xdata(ROOT, keys))
    for tag, asked in (("one domain", {"glusterfs.inodelk-dom-count": "d1"}),
                       ("unknown domain", {"glusterfs.inodelk-dom-count": "none"}),
                       ("both ways", {"glusterfs.inodelk-dom-count": "d2", "glusterfs.inodelk-count": 0})):
        show(tag, parse_dict(a.lookup_answer("f", dict_of(asked))[2])[0])
    multi = {"glusterfs.multi-dom-lk-cnt-req": 1, "glusterfs.inodelk-dom-prefix:d1": "d1",
             "glusterfs.inodelk-dom-prefix:d2": "d2", "glusterfs.inodelk-dom-prefix:none": "none"}
    show("look-up", parse_dict(a.lookup_answer("f", dict_of(keys))[2])[0])
    show("look-up many", parse_dict(a.lookup_answer("f", dict_of(multi))[2])[0])
    show("look-up many without asking", parse_dict(a.lookup_answer(
        "f", dict_of({k: v for k, v in multi.items() if "req" not in k}))[2])[0])
    g = a.file("g")
    show("look-up, other name", parse_dict(a.lookup_answer("g", dict_of(keys))[2])[0])
    show("failed look-up", parse_dict(a.lookup_answer("ghost", dict_of(keys))[2])[0])
    fd = a.open(f)
    show("open", a.xdata_of(a.go(11, f + struct.pack(">I", os.O_RDWR) + dict_of(keys))))
    show("write", a.xdata_of(a.go(13, f + struct.pack(">qQII", fd, 0, 1, 0) + dict_of(keys) + b"x")))
    show("fsync", a.xdata_of(a.go(16, f + struct.pack(">qI", fd, 0) + dict_of(keys))))
    show("xattrop", a.xdata_of(a.go(33, f + struct.pack(">I", 0) + dict_of({"trusted.afr.dirty": bytes(12)}) +
                                    dict_of(keys))))
    show("getxattr", a.xdata_of(a.go(18, f + struct.pack(">I", 0) + opaque(b"") + dict_of(keys))))
    show("unlink", a.xdata_of(a.unlink("g", xdata=dict_of(keys))))
    show("inodelk", a.xdata_of(a.inodelk(f, domain="d3", xdata=dict_of(keys))))
    show("lk", a.xdata_of(a.lk(f, start=20, length=1, xdata=dict_of(keys))))
    show("mkdir", a.xdata_of(a.go(4, ROOT + struct.pack(">II", 0o755, 0) + opaque(b"m") + dict_of(dict(keys)))))
    dfd = a.fop_wait(a.go(20, ROOT + NULL_DICT))
    dfd = struct.unpack_from(">q", parse_dict(dfd[2])[1])[0]
    rep = a.fop_wait(a.go(40, ROOT + struct.pack(">qQI", dfd, 0, 65536) + dict_of(keys)))
    outer, rest = parse_dict(rep[2])
    show("readdirp", outer)
    for n, got in sorted(entries_of(rest).items()):
        show("readdirp entry " + n, got)
    for i in (a, c):
        i.close()


def entries_of(rest):
    """Names and dicts of a READDIRP answer: found by their form, an entry's stat is of fixed size."""
    out, at = {}, 0
    while struct.unpack_from(">I", rest, at)[0] == 1:
        at += 4 + 8 + 8 + 4 + 4
        (n,) = struct.unpack_from(">I", rest, at)
        name = rest[at + 4:at + 4 + n].rstrip(b"\0").decode()
        at += 4 + n + -n % 4 + IATT_SIZE
        pairs, left = parse_dict(rest[at:])
        at = len(rest) - len(left)
        out[name] = pairs
    return {k: v for k, v in out.items() if k not in (".", "..")}


IATT_SIZE = 148  # wire.md 3.2


def probe_lk(b):
    a, c = b.client(owner=b"A"), b.client(owner=b"C")
    f = a.file("f")
    fd = a.open(f)
    for cmd in (6,):
        line("lk: command %d" % cmd, a.lk_said(f, fd, cmd=cmd, start=0, length=10))
        c.close()
        c = b.client(owner=b"C")
    a.close()
    a = b.client(owner=b"A")
    fd = a.open(f)
    line("lk: negative length", a.lk_said(f, fd, start=10, length=-5))
    line("lk: as seen", c.lk_said(f, c.fd(f), cmd=0))
    line("lk: negative length before the beginning", a.lk_said(f, fd, start=3, length=-5))
    line("lk: negative length to the beginning", a.lk_said(f, fd, start=5, length=-5))
    line("lk: length too large", a.lk_said(f, fd, start=1 << 62, length=(1 << 63) - 1))
    line("inodelk: length too large", a.said(a.inodelk(f, start=1 << 62, length=(1 << 63) - 1)),
         a.said(a.inodelk(f, start=1 << 63, length=1)), a.said(a.inodelk(f, start=0, length=1 << 63)))
    line("lk: get with type unlock", c.lk_said(f, c.fd(f), cmd=0, kind=UNLOCK))
    for i, name in ((69999, "old"), (70000, "new")):
        o = b.client(owner=b"", op_version=i)
        line("owner: empty, %s client" % name, o.said(o.inodelk(f, domain="o%d" % i)),
             o.said(o.entrylk(ROOT, "o%d" % i)), o.said(o.lk(f, o.fd(f), start=1000 + i, length=1)))
        line("owner: zeros, %s client" % name, o.said(o.inodelk(f, domain="p%d" % i, owner=bytes(8))),
             o.said(o.entrylk(ROOT, "p%d" % i, owner=bytes(8))), o.said(o.lk(f, o.fd(f), start=2000000 + i, length=1, owner=bytes(8))))
        o.close()
    line("active: get", a.said(a.go(51, f + NULL_DICT)))
    line("active: set", c.said(c.go(52, f + struct.pack(">I", 0) + NULL_DICT)))
    a.close(), c.close()


def io_table(b, label, f, holder, kinds, c, flags):
    """What another owner may do in and beside a locked range."""
    for kind in kinds:
        for xd in ({}, {"glusterfs.lk.lkmode": 2}):
            hfd = holder.open(f)
            got = holder.said(holder.lk(f, hfd, kind=kind, start=0, length=100, xdata=dict_of(xd)))
            tag = "%s %s%s" % (label, "read" if kind == READ else "write", " mandatory" if xd else "")
            for fname, flag in flags:
                fd = c.open(f, os.O_RDWR | flag)
                line(tag, fname, got, "read", c.said(c.read(f, fd)), "write", c.said(c.write(f, fd)), "beside",
                     c.said(c.write(f, fd, 200)), "ftruncate", c.said(c.ftruncate(f, fd, 300)),
                     "internal", c.said(c.write(f, fd, pid=-6)))
                c.close()
                c = b.client(owner=b"C")
            line(tag, "anonymous read", c.said(c.read(f)), "write", c.said(c.write(f)), "truncate 50",
                 c.said(c.truncate(f, 50)), "truncate 300", c.said(c.truncate(f, 300)), "open trunc",
                 c.open(f, os.O_RDWR | os.O_TRUNC), "holder writes", holder.said(holder.write(f, hfd)),
                 "holder truncates", holder.said(holder.truncate(f, 300)))
            holder.said(holder.lk(f, hfd, kind=UNLOCK))
            c.close()
            c = b.client(owner=b"C")
    return c


def probe_mandatory(kind, program, work):
    for mode in ("off", "file", "forced", "optimal"):
        b = Brick(kind, program, work, ["mandatory-locking " + mode])
        a, c = b.client(owner=b"A"), b.client(owner=b"C")
        f, g = a.file("plain"), a.file("marked", 0o2644)
        a.said(a.truncate(f, 300)), a.said(a.truncate(g, 300))
        flags = (("nonblock", os.O_NONBLOCK),)
        c = io_table(b, "mandatory " + mode + " plain", f, a, (READ, WRITE), c, flags)
        c = io_table(b, "mandatory " + mode + " marked", g, a, (WRITE,), c, flags)
        hfd = a.open(f)
        a.said(a.lk(f, hfd, start=0, length=100, xdata=dict_of({"glusterfs.lk.lkmode": 2})))
        fd = c.open(f)
        w, r = c.write(f, fd), c.read(f, fd)
        line("mandatory " + mode, "blocking write", c.said(w), "read", c.said(r))
        a.said(a.lk(f, hfd, kind=UNLOCK))
        line("mandatory " + mode, "after unlock", c.said(w), c.said(r))
        a.close(), c.close(), b.end()


def probe_enforce(kind, program, work):
    name = "trusted.glusterfs.enforce-mandatory-lock"
    b = Brick(kind, program, work, ["enforce-mandatory-lock off"])
    a = b.client(owner=b"A")
    f = a.file("f")
    line("enforce off: set", a.said(a.setxattr(f, {name: "set"})), "remove", a.said(a.removexattr(f, name)))
    a.close(), b.end()
    for mode in ("off", "forced"):
        b = Brick(kind, program, work, ["enforce-mandatory-lock on", "mandatory-locking " + mode])
        tag = "enforce on, mode %s" % mode
        a, c = b.client(owner=b"A"), b.client(owner=b"C")
        f = a.file("f")
        a.said(a.truncate(f, 300))
        fd, cfd = a.open(f), c.open(f)
        line(tag, "before", a.said(a.write(f, fd)))
        line(tag, "set", a.said(a.setxattr(f, {name: "set"})), "again", a.said(a.setxattr(f, {name: "set"})),
             "get", text_of(a.getxattr(f, name)))
        line(tag, "without lock", a.said(a.read(f, fd)), a.said(a.write(f, fd)), a.said(a.ftruncate(f, fd, 300)),
             a.said(a.truncate(f, 300)))
        line(tag, "lock", a.said(a.lk(f, fd, start=0, length=100, xdata=dict_of({"glusterfs.lk.lkmode": 2}))))
        line(tag, "with lock", a.said(a.read(f, fd)), a.said(a.write(f, fd)), "outside", a.said(a.write(f, fd, 200)),
             "across", a.said(a.write(f, fd, 95)), "truncate", a.said(a.ftruncate(f, fd, 300)))
        line(tag, "other", c.said(c.read(f, cfd)), c.said(c.write(f, cfd)))
        d = b.client(owner=b"D")
        w = d.lk(f, cmd=WAIT, start=0, length=10)
        line(tag, "third waits", d.said(w))
        line(tag, "other locks", c.said(c.lk(f, cfd, start=0, length=100)))
        line(tag, "third", d.said(w), "first writes", a.said(a.write(f, fd)), "other writes", c.said(c.write(f, cfd)))
        line(tag, "old holder sees", a.lk_said(f, fd, cmd=0))
        line(tag, "remove", a.said(a.removexattr(f, name)), "write", a.said(a.write(f, fd)))
        g = c.file("late")
        gfd = c.open(g)
        c.said(c.lk(g, gfd))
        line(tag, "set while locked", a.said(a.setxattr(g, {name: "set"})), "holder writes", c.said(c.write(g, gfd)))
        for i in (a, c, d):
            i.close()
        b.end()


def probe_revocation(kind, program, work):
    b = Brick(kind, program, work, ["revocation-secs 1"])
    a, c, d = b.client(owner=b"A"), b.client(owner=b"C"), b.client(owner=b"D")
    f, g, p = a.file("f"), a.mkdir("dir"), a.file("posix")
    a.said(a.entrylk(g, "x")), a.said(a.lk(p))
    w = d.entrylk(g, "x", cmd=0)
    d.said(w)
    a.said(a.inodelk(f)), a.said(a.inodelk(f, domain="e"))
    line("revocation secs: young", c.said(c.inodelk(f)))
    line("revocation secs: old, no wait", asked_until("ok", lambda: c.said(c.inodelk(f)), 10))  # the others are older
    line("revocation secs: then", c.said(c.inodelk(f)), "unlock of the old", a.said(a.inodelk(f, kind=UNLOCK)),
         "other domain", a.said(a.inodelk(f, kind=UNLOCK, domain="e")))
    v = c.entrylk(g, "x", cmd=0)
    line("revocation secs: entry", c.said(v), "earlier waiter", d.said(w))
    line("revocation secs: posix", c.said(c.lk(p)))
    for i in (a, c, d):
        i.close()
    b.end()
    for clear in ("off", "on"):
        b = Brick(kind, program, work, ["revocation-secs 100", "revocation-max-blocked 2", "revocation-clear-all " + clear])
        tag = "revocation max-blocked 2, clear-all %s" % clear
        a, others = b.client(owner=b"A"), [b.client(owner=b"%d" % i) for i in range(4)]
        f = a.file("f")
        a.said(a.inodelk(f))
        xids = []
        for n, c in enumerate(others):
            xids.append(c.inodelk(f, cmd=WAIT))
            line(tag, "waiter %d" % n, " ".join(other_state(others[i], xids, i) for i in range(n + 1)))
        line(tag, "holder unlocks", a.said(a.inodelk(f, kind=UNLOCK)))
        for c in others + [a]:
            c.close()
        b.end()


seen = {}


def asked_until(wanted, ask, seconds=PATIENCE):
    """What is said when it is WANTED, or when time is up."""
    until = time.monotonic() + seconds
    while (said := ask()) != wanted and time.monotonic() < until:
        time.sleep(0.02)
    return said


def other_state(c, xids, i):
    key = (id(c), xids[i])
    if key not in seen or seen[key] == "waits":
        seen[key] = c.said(xids[i])
    return seen[key]


def main():
    kind, program, work = sys.argv[1:4]
    only = sys.argv[4:]
    for probe in (probe_removal, probe_clear, probe_lockinfo, probe_counts, probe_lk):
        if only and probe.__name__ not in only:
            continue
        b = Brick(kind, program, work)
        probe(b)
        b.end()
    for probe in (probe_mandatory, probe_enforce, probe_revocation):
        if not only or probe.__name__ in only:
            probe(kind, program, work)


main()
