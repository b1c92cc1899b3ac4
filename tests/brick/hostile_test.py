#!/usr/bin/env python3
"""What a brick process makes of hostile and damaged input: a clear error, bounded memory, and a neighbour who notices
nothing. Every attack runs under the eyes of clients of the same brick and of another one.

usage: hostile_test.py MORTAR_BRICK HANG_PRELOAD [TEST…]
"""
import contextlib
import os
import random
import shutil
import stat
import struct
import subprocess
import sys
import threading
import time
import uuid

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from process import PROGRAM, SANITIZED, Brick, eventually, main
from rpcwire import (CONTROL, DUMP, FOP, HANDSHAKE, NULL_DICT, ROOT, Client, Closed, call, cred, gfid_req, old_dict,
                     opaque, record)

MIB = 1 << 20
RECORD_LIMIT = 64 * MIB  # of a client that has a brick
GREETING_LIMIT = 64 << 10  # of one that has none yet
EPERM, ENOENT, E2BIG, EBADF, EINVAL, ENAMETOOLONG, ENODATA, ESTALE = 1, 2, 7, 9, 22, 36, 61, 116
GARBAGE = 4
PATIENCE = 20 if SANITIZED else 5  # seconds within which a neighbour is answered, on a busy machine


# ---- neighbours ----------------------------------------------------------------------------------------------------


class Neighbour(threading.Thread):
    """Uses a brick as long as it lives, and remembers the first thing that went wrong."""

    def __init__(self, p, brick):
        super().__init__(daemon=True)
        self.c, self.rounds, self.trouble, self.over, self.slowest = p.client(brick), 0, None, False, 0.0
        self.gfid = self.c.create("neighbour-%s" % uuid.uuid4())
        self.start()

    def round(self):
        data = os.urandom(100)
        assert self.c.fop_wait(self.c.write_send(self.gfid, data))[0] == 100
        ret, _, rest = self.c.fop_wait(self.c.read_send(self.gfid, 200))
        assert ret == 100 and rest.endswith(data)
        assert self.c.stat()[0] == 0 and self.c.ping()

    def run(self):
        try:
            while not self.over:
                begin = time.monotonic()
                self.round()
                self.slowest = max(self.slowest, time.monotonic() - begin)
                self.rounds += 1
                time.sleep(0.001)
        except Exception as e:
            self.trouble = e

    def check(self, rounds):
        end = time.monotonic() + PATIENCE
        while self.rounds <= rounds and not self.trouble and time.monotonic() < end:
            time.sleep(0.001)
        assert not self.trouble, "a neighbour's request failed: %r" % self.trouble
        assert self.rounds > rounds, "a neighbour waits"
        assert self.slowest < PATIENCE, "a neighbour waited %.1f s" % self.slowest


def peak(p):
    with open("/proc/%d/status" % p.p.pid) as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmHWM")) * 1024


def settled_rss(p):
    """Makes the peak begin now: what earlier tests held is given back by then."""
    while True:
        with open("/proc/%d/clear_refs" % p.p.pid, "w") as f:
            f.write("5")
        time.sleep(0.002)
        rss = p.rss()
        if peak(p) - rss < MIB:
            return rss


class Field:
    """A brick that is attacked, another one, and their neighbours."""

    def __init__(self, p, name):
        self.p = p
        self.brick, self.fine = p.serve(Brick("%s/%s" % (p.work, name))), p.serve(Brick("%s/%s-fine" % (p.work, name)))
        self.neighbours = [Neighbour(p, self.brick), Neighbour(p, self.fine)]

    def end(self):
        for n in self.neighbours:
            n.over = True
            n.join()
            n.c.close()
            assert not n.trouble, repr(n.trouble)
        for b in (self.brick, self.fine):
            assert self.p.detach(b)[0] == 0

    @contextlib.contextmanager
    def attack(self, what, mib=8):
        """Memory may grow by MIB at most meanwhile; the neighbours are served before its end, and it lives after it."""
        try:
            for n in self.neighbours:
                n.check(n.rounds)
                n.slowest = 0.0
            rounds = [n.rounds for n in self.neighbours]
            before = settled_rss(self.p)
            yield
            for n, r in zip(self.neighbours, rounds):
                n.check(r)
            growth = peak(self.p) - before
            assert SANITIZED or growth < mib * MIB, "%.1f MiB" % (growth / MIB)
            assert self.p.status()[self.brick.path]["down"] == ""
        except Exception as e:
            raise AssertionError("%s: %r" % (what, e)) from e

    def both_kinds(self):
        """A connection that has no brick yet, on the control loop, and one that has, on a lane."""
        return (self.p.client(), self.p.client(self.brick))


@contextlib.contextmanager
def field(p, name):
    f = Field(p, name)
    yield f
    f.end()


def push(c, data):
    """Sends as much of DATA as the other side takes; False: it has closed."""
    try:
        c.s.sendall(data)
        return True
    except (BrokenPipeError, ConnectionResetError):
        return False


# ---- records -------------------------------------------------------------------------------------------------------


def test_announced_lengths(p):
    """A record that is announced too large ends the connection at its mark, whatever follows."""
    with field(p, "announced") as f:
        for mark in (0xFFFFFFFF, 0x7FFFFFFF, 0x80000000 | (RECORD_LIMIT + 1), RECORD_LIMIT + 1, 0xFFFFFFFE, 0xBFFFFFFF):
            with f.attack("mark %#x" % mark):
                for c in f.both_kinds():
                    push(c, struct.pack(">I", mark) + bytes(1000))
                    c.wait_closed()


def test_first_bytes(p):
    """Every first byte, also that of TLS, where nobody has TLS on: none does harm, TLS is turned away."""
    rng = random.Random(22)
    with field(p, "first-bytes") as f:
        with f.attack("first bytes"):
            for first in list(range(256)) + [0x16] * 200:
                c = p.client()
                push(c, bytes([first]) + rng.randbytes(rng.randrange(300)))
                if first == 0x16:
                    c.wait_closed()
                c.close()


def test_endless_fragments(p):
    """A record without an end is given up at its limit, in bytes or in fragments."""
    with field(p, "endless") as f:
        for size in (MIB, 65536, 5000, 1, 0):
            fragment = struct.pack(">I", size) + bytes(size)
            for c, limit in zip(f.both_kinds(), (GREETING_LIMIT, RECORD_LIMIT)):
                with f.attack("fragments of %d bytes" % size, 4 + 2 * limit // MIB):
                    sent = 0
                    while push(c, fragment):
                        sent += 1
                        assert sent * (size + 4) < limit + 32 * MIB and sent < 10 * MIB, "%d were taken" % sent
                    c.wait_closed()


def test_unfinished_records(p):
    """What was received of a record costs memory, what was announced does not; and it is given back."""
    with field(p, "unfinished") as f:
        with f.attack("announced but not sent"):
            waiting = [f.p.client(f.brick) for _ in range(50)]
            for c in waiting:
                push(c, struct.pack(">I", 0x80000000 | RECORD_LIMIT) + bytes(100))
            assert all(c.quiet(0.01) for c in waiting)
        before = p.rss()
        with f.attack("a large one", 150):
            big = f.p.client(f.brick)
            assert push(big, struct.pack(">I", 0x80000000 | RECORD_LIMIT) + bytes(60 * MIB))
        for c in waiting + [big]:
            c.close()
        with f.attack("after it"):
            pass
        if not SANITIZED:
            eventually("the memory is given back", lambda: p.rss() < before + 8 * MIB)


def test_memory_is_given_back(p):
    """Many large records of many sizes, of clients on all lanes: the peak passes."""
    with field(p, "given-back") as f:
        with f.attack("warm"):
            pass
        before = p.rss()
        for size in (3, 7, 14, 20, 30):
            many = [p.client(f.brick) for _ in range(8)]
            for c in many:
                push(c, struct.pack(">I", 0x80000000 | RECORD_LIMIT) + bytes(size * MIB))
            for c in many:
                c.close()
        if not SANITIZED:
            eventually("the memory is given back", lambda: p.rss() < before + 32 * MIB)
        with f.attack("after it"):
            pass


def test_trickle(p):
    """A large record that comes in small pieces costs no more than its bytes, in memory and in work."""
    with field(p, "trickle") as f:
        with f.attack("a trickle", 40):
            c = p.client(f.brick)
            push(c, struct.pack(">I", 0x80000000 | RECORD_LIMIT) + bytes(12 * MIB))
            others = [p.client(f.brick) for _ in range(8)]  # some on its lane: their answers come after its bytes
            for o in others:
                o.ping()
            cpu = p.cpu()
            for _ in range(300):
                push(c, b"x")
                xids = [o.send(DUMP, 1, 2) for o in others]
                for o, xid in zip(others, xids):
                    o.wait(xid)
            took = p.cpu() - cpu
            assert SANITIZED or took < 1, "%.1f s of CPU for 300 bytes" % took
        c.close()


def test_records_before_the_handshake(p):
    """Who has not said what it wants cannot make the process hold much."""
    with field(p, "greeting") as f:
        with f.attack("a mebibyte each", 8):
            many = [p.client() for _ in range(64)]
            for c in many:
                push(c, struct.pack(">I", 0x80000000 | (MIB - 1)) + bytes(900 << 10))
            for c in many:
                c.wait_closed()
        with f.attack("just what is allowed", 16):
            many = [p.client() for _ in range(64)]
            for c in many:
                assert push(c, struct.pack(">I", 0x80000000 | GREETING_LIMIT) + bytes(GREETING_LIMIT - 1))
            assert all(c.quiet(0) for c in many)
        for c in many:
            c.close()


def test_damaged_records(p):
    """No header, half a header, neither call nor reply: closed. Bytes that are no RPC at all: closed or ignored."""
    rng = random.Random(7)
    whole = call(9, DUMP, 1, 2)
    with field(p, "damaged") as f:
        with f.attack("cut headers"):
            for n in range(0, 28):
                for c in f.both_kinds():
                    push(c, record(whole[:n]))
                    c.wait_closed()
        with f.attack("neither call nor reply"):
            for direction in (2, 3, 0xFFFFFFFF):
                for c in f.both_kinds():
                    push(c, record(struct.pack(">II", 5, direction) + bytes(100)))
                    c.wait_closed()
        with f.attack("noise"):
            for _ in range(100):
                for c in f.both_kinds():
                    push(c, rng.randbytes(rng.randrange(1, 3000)))
                    c.close()
        with f.attack("a connection that ends in the middle"):
            for n in range(1, len(record(whole))):
                for c in f.both_kinds():
                    push(c, record(whole)[:n])
                    c.close()


def test_never_reads(p):
    """Who asks for much and reads nothing is not read from any more; when it reads at last, everything comes."""
    with field(p, "never-reads") as f:
        with f.attack("large reads", 120):
            c = p.client(f.brick)
            gfid = c.create("sparse")
            os.truncate(f.brick.path + "/sparse", 1 << 40)
            xids = [c.read_send(gfid, 16 * MIB) for _ in range(40)]
            f.neighbours[1].check(f.neighbours[1].rounds + 50)
            for xid in xids:
                assert c.fop_wait(xid)[0] == 16 * MIB
        with f.attack("pings without a brick"):
            d = p.client()
            d.s.settimeout(1)
            pings = record(call(9, DUMP, 1, 2)) * 1000
            with contextlib.suppress(TimeoutError):
                for _ in range(1000):
                    if not push(d, pings):
                        break
        c.close()
        d.close()


# ---- calls ---------------------------------------------------------------------------------------------------------


def test_unknown_programs(p):
    with field(p, "programs") as f, f.attack("unknown programs"):
        for c in f.both_kinds():
            for prog in (0, 1, 100003, CONTROL, FOP + 1, 0x7FFFFFFF, 0xFFFFFFFF):
                assert c.call(prog, 1, 1)[0] == 1, prog
            for prog, vers in ((FOP, 330), (FOP, 0), (FOP, 0xFFFFFFFF), (DUMP, 2), (HANDSHAKE, 1), (HANDSHAKE, 3)):
                assert c.call(prog, vers, 1) == (2, bytes(8)), (prog, vers)
            for prog, vers in ((DUMP, 1), (HANDSHAKE, 2), (FOP, 400)):
                for proc in (57, 58, 100, 0x7FFFFFFF, 0xFFFFFFFF):
                    assert c.call(prog, vers, proc)[0] == 3, (prog, proc)
            assert c.ping()


def test_rpc_credentials(p):
    """A credential that is no credential refuses its call, not the connection."""
    def flavour(number, body):
        return struct.pack(">I", number) + opaque(body)

    bad = [flavour(n, body) for n, head in ((390039, bytes(12)), (390040, bytes(28)), (1, bytes(16))) for body in
           (b"", head, head + struct.pack(">I", 0xFFFFFFFF), head + struct.pack(">I", 99) + bytes(368))]
    bad += [flavour(390039, bytes(16) + struct.pack(">I", size)) for size in (0x7FFFFFFF, 0xFFFFFFFF, 400)]
    bad += [flavour(390040, bytes(404)), flavour(0, bytes(404)), flavour(77, bytes(5000))]
    with field(p, "rpc-credentials") as f, f.attack("credentials"):
        for c in f.both_kinds():
            for credential in bad:
                status = c.call(DUMP, 1, 2, credential=credential)[0]
                assert status == GARBAGE, (status, credential[:40])
            assert c.call(DUMP, 1, 2, rpcvers=0)[0] == GARBAGE
            assert c.ping()
            for length in (0x7FFFFFFF, 0xFFFFFFFF, 0x80000000):
                d = Client(p.port)
                push(d, record(struct.pack(">IIIIIIII", 1, 0, 2, DUMP, 1, 2, 390040, length)))
                d.wait_closed()


def test_wrong_credentials(p):
    """Wrong names and passwords, and addresses that may not: refused with a reason; nothing of it is in the log."""
    with field(p, "login") as f:
        f.brick.options = ["strict-auth-accept on"]
        n = f.neighbours.pop(0)
        n.over = True
        n.join()
        p.serve(f.brick)
        pairs = {"remote-subvolume": f.brick.path, "process-uuid": "u", "fops-version": FOP}
        wrong = [{}, {"username": "admin"}, {"password": "secret"}, {"username": "admin", "password": "hush-hush"},
                 {"username": "", "password": ""}, {"username": "root", "password": "secret"},
                 {"username": "admin", "password": "secret" * 1000}, {"username": "admin", "password": b"secret\0x"},
                 {"username": "admin", "password": b"secre"}]
        with f.attack("logins"):
            for login in wrong:
                c = p.client()
                ret, errno, d = c.setvolume(dict(pairs, **login))
                assert (ret, errno, d["ERROR"]) == (-1, 13, "Authentication failed"), (login, ret, errno)
                assert c.call(FOP, 400, 1, ROOT + NULL_DICT)[0] == GARBAGE
            good = p.client(f.brick, username="admin", password="secret")
            assert good.stat()[0] == 0
        with open(p.work + "/log") as log:
            text = log.read()
            assert "secret" not in text and "hush-hush" not in text and "refused" in text


def test_damaged_handshakes(p):
    with field(p, "handshakes") as f:
        good = old_dict({"remote-subvolume": f.brick.path, "process-uuid": "u", "fops-version": FOP})
        values = {"remote-subvolume": f.brick.path, "process-uuid": "u", "fops-version": FOP}
        with f.attack("cut dictionaries"):
            c = p.client()
            for n in range(len(good)):
                status, body = c.call(HANDSHAKE, 2, 1, opaque(good[:n]))
                assert status == 0 and struct.unpack_from(">ii", body) == (-1, 22), n
        with f.attack("impossible lengths"):
            for number in (0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x00FFFFFF):
                pair = struct.pack(">III", 1, number, 5) + b"abc"
                for d in (struct.pack(">I", number), pair, struct.pack(">III", 1, 5, number) + b"abcde\0"):
                    status, body = p.client().call(HANDSHAKE, 2, 1, opaque(d))
                    assert status == 0 and struct.unpack_from(">ii", body)[0] == -1
                status = p.client().call(HANDSHAKE, 2, 1, struct.pack(">I", number) + b"abc")[0]
                assert status == GARBAGE, status
        with f.attack("impossible values"):
            for key, value in (("process-uuid", "x" * 5000), ("process-uuid", b"a\0b"), ("process-uuid", b""),
                               ("fops-version", "9" * 40), ("fops-version", "-1"), ("fops-version", b"\xff\xfe"),
                               ("remote-subvolume", f.brick.path + "/"), ("remote-subvolume", f.brick.path + "/.."),
                               ("remote-subvolume", "/" + "x" * 5000), ("remote-subvolume", b"/a\0b"),
                               ("subdir-mount", "../.."), ("subdir-mount", "/../.."), ("subdir-mount", "/.glusterfs"),
                               ("subdir-mount", "/" + "x" * 300), ("subdir-mount", "/a" * 5000),
                               ("volume-id", str(uuid.uuid4())), ("volume-id", "x"), ("volume-id", b"\xff" * 36)):
                ret, errno, d = p.client().setvolume(dict(values, **{key: value}))
                assert ret == -1 and errno in (ENOENT, EINVAL) and d["ERROR"], (key, value, ret, errno)
            assert p.client().setvolume(values)[0] == 0


def test_refused_handshakes(p):
    """A connection that got no brick keeps nothing of what it asked for."""
    with field(p, "refused") as f:
        values = {"remote-subvolume": f.brick.path, "process-uuid": "u", "fops-version": FOP}
        before, keep = settled_rss(p), []
        for _ in range(300):
            keep.append(p.client())
            ret, errno, d = keep[-1].setvolume(dict(values, **{"subdir-mount": "/a" * 30000}))
            assert (ret, errno) == (-1, ENOENT), (ret, errno, d)
        each = (p.rss() - before) // len(keep)
        assert SANITIZED or each < 16 << 10, each
        for c in keep:
            c.close()


def tree(directory):
    """Everything in DIRECTORY but what the neighbours and the health check write."""
    found = []
    for where, dirs, files in os.walk(directory):
        for name in dirs + files:
            path = os.path.join(where, name)
            st = os.lstat(path)
            if name != "health_check" and not name.startswith("neighbour"):
                found.append((os.path.relpath(path, directory), st.st_mode, st.st_nlink, st.st_ino))
    return sorted(found)


FOP_PROCS = [n for n in range(0, 57) if n not in (49, 55)]


def test_fops_before_the_handshake(p):
    """Whoever has no brick gets none of its files, before a handshake, after a refused one, or beside it."""
    with field(p, "before") as f:
        inside = p.client(f.brick)
        gfid = inside.create("file")
        before = tree(f.brick.path)
        bodies = (b"", ROOT + NULL_DICT, gfid + struct.pack(">q", -2) + NULL_DICT,
                  gfid + struct.pack(">qQII", -2, 0, 4, 0) + NULL_DICT + b"data",
                  ROOT + struct.pack(">III", os.O_RDWR | os.O_CREAT, 0o644, 0) + opaque(b"new") + gfid_req(os.urandom(16)))
        refused = p.client()
        assert refused.setvolume({"remote-subvolume": f.brick.path, "process-uuid": "u", "fops-version": FOP,
                                  "volume-id": str(uuid.uuid4())})[0] == -1
        with f.attack("fops without a brick"):
            for c in (p.client(), refused):
                for proc in FOP_PROCS[1:]:
                    for body in bodies:
                        status = c.call(FOP, 400, proc, body)[0]
                        assert status == GARBAGE, (proc, status)
                assert c.ping()
        assert tree(f.brick.path) == before and os.path.getsize(f.brick.path + "/file") == 0


def test_damaged_fops(p):
    """Every procedure with no, cut, long and random arguments: an answer each time."""
    rng = random.Random(11)
    with field(p, "damaged-fops") as f:
        c = p.client(f.brick)
        for proc in FOP_PROCS:
            with f.attack("procedure %d" % proc, 24):
                bodies = [b"", bytes(16), ROOT, ROOT + b"\xff" * 300, b"\xff" * 300, bytes(300), ROOT + bytes(300)]
                bodies += [ROOT + struct.pack(">q", -2) + rng.randbytes(rng.randrange(200)) for _ in range(10)]
                xids = [c.send(FOP, 400, proc, body) for body in bodies]
                for xid in xids:
                    status = c.wait(xid)[0]
                    assert status in (0, 3, GARBAGE, 5), status
                assert c.ping()


# ---- names ---------------------------------------------------------------------------------------------------------


def name_bodies(name, gfid, directory):
    """(procedure, arguments) of every call with a basename, NAME in the directory DIRECTORY."""
    n, new, d = opaque(name), gfid_req(os.urandom(16)), directory
    modes = struct.pack(">II", 0o755, 0)
    return ((3, d + struct.pack(">Q", 0) + modes + n + new), (4, d + modes + n + new),
            (5, d + n + struct.pack(">I", 0) + NULL_DICT), (6, d + struct.pack(">i", 0) + n + NULL_DICT),
            (7, d + n + struct.pack(">I", 0) + opaque(b"target") + new),
            (8, d + d + n + opaque(b"to") + NULL_DICT), (8, d + d + opaque(b"victim") + n + NULL_DICT),
            (9, gfid + d + n + NULL_DICT), (23, d + struct.pack(">III", os.O_RDWR, 0o644, 0) + n + new),
            (27, bytes(16) + d + struct.pack(">I", 0) + n + NULL_DICT), (54, d + n + NULL_DICT),
            (31, d + struct.pack(">IIQ", 2, 1, len(name)) + n + opaque(b"domain") + NULL_DICT))


def test_names(p):
    """Names that are none are refused by every call that takes one, and nothing is made or removed anywhere."""
    bad = [(b"a/b", EPERM), (b"/", EPERM), (b"/etc", EPERM), (b"../escape", EPERM), (b"..", EPERM), (b".", EPERM),
           (b"a\0b", EINVAL), (b"\0", EINVAL), (b"x" * 256, ENAMETOOLONG), (b"x" * 5000, ENAMETOOLONG),
           (b"x" * 300000, ENAMETOOLONG), (b"/" * 256, EPERM), (b"\xff" * 256, ENAMETOOLONG)]
    with field(p, "names") as f:
        c = p.client(f.brick)
        gfid, sub = c.create("victim"), os.urandom(16)
        assert c.fop(4, ROOT + struct.pack(">II", 0o755, 0) + opaque(b"dir") + gfid_req(sub))[0] == 0
        before, outside = tree(f.brick.path), sorted(os.listdir(p.work))
        for name, errno in bad:
            with f.attack("name %r" % name[:20]):
                for directory in (ROOT, sub):
                    for proc, body in name_bodies(name, gfid, directory):
                        answer = c.fop(proc, body)
                        assert answer[:2] == (-1, errno), (proc, answer[:2])
        with f.attack("the brick's own directory"):
            for proc, body in name_bodies(b".glusterfs", gfid, ROOT):
                assert c.fop(proc, body)[0] == (0 if proc == 31 else -1), proc
            for name in (b".glusterfs/health_check", b".glusterfs/00"):
                for proc, body in name_bodies(name, gfid, ROOT):
                    assert c.fop(proc, body)[:2] == (-1, EPERM), proc
        with f.attack("empty names"):
            for proc, body in name_bodies(b"", gfid, ROOT):
                assert proc in (27, 31) or c.fop(proc, body)[0] == -1, proc
        assert tree(f.brick.path) == before and sorted(os.listdir(p.work)) == outside
        longest = b"x" * 255
        assert c.fop(4, ROOT + struct.pack(">II", 0o755, 0) + opaque(longest) + gfid_req(os.urandom(16)))[0] == 0


PTR, STR = 6, 5


def one_pair(key, value, kind=PTR):
    pair = opaque(key + b"\0") + struct.pack(">I", kind) + value
    return struct.pack(">IiI", len(pair), 1, 1) + pair


def test_attribute_names(p):
    """Attributes that clients must not touch, and names that cannot be."""
    with field(p, "attributes") as f:
        c = p.client(f.brick)
        gfid = c.create("file")
        volume_id = os.getxattr(f.brick.path, "trusted.glusterfs.volume-id")
        root_gfid = os.getxattr(f.brick.path, "trusted.gfid")
        impossible = (b"user." + b"x" * 251, b"x" * 5000, b"a\0b", b"")
        with f.attack("attribute names"):
            for name in impossible + (b"trusted.glusterfs.volume-id", b"trusted.gfid"):
                for target in (gfid, ROOT):
                    status = c.call(FOP, 400, 17, target + struct.pack(">I", 0) +
                                    one_pair(name, opaque(b"0123456789abcdef")) + NULL_DICT)
                    if name in impossible:
                        assert status[0] == GARBAGE or struct.unpack_from(">i", status[1])[0] == -1, (name, status)
                    else:
                        assert status[0] == 0  # what it did, the disk tells below
                    status = c.call(FOP, 400, 19, target + opaque(name) + NULL_DICT)
                    assert status[0] == GARBAGE or struct.unpack_from(">i", status[1])[0] == -1, (name, status)
        assert os.getxattr(f.brick.path, "trusted.glusterfs.volume-id") == volume_id
        assert os.getxattr(f.brick.path, "trusted.gfid") == root_gfid
        assert os.getxattr(f.brick.path + "/file", "trusted.gfid") == gfid
        with f.attack("link targets"):
            for size in (4096, 5000, 1 << 20):
                body = ROOT + opaque(b"link") + struct.pack(">I", 0) + opaque(b"t" * size) + gfid_req(os.urandom(16))
                assert c.call(FOP, 400, 7, body)[0] == GARBAGE
        assert not os.path.lexists(f.brick.path + "/link")


def test_special_files(p):
    """Devices, FIFOs, sockets and symbolic links are objects with a name, and nothing is ever opened through them."""
    with field(p, "special") as f:
        c = p.client(f.brick)
        made = {}
        for kind in (stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK):
            made[kind] = os.urandom(16)
            body = ROOT + struct.pack(">QII", 0x0105, kind | 0o666, 0) + opaque(b"s%o" % kind) + gfid_req(made[kind])
            assert c.fop(3, body)[0] == 0
        victim = p.work + "/victim"  # of our own: if a link were followed, it would suffer
        with open(victim, "w") as v:
            v.write("root:" * 100)
        for name, target in ((b"dir", p.work.encode()), (b"file", victim.encode())):
            made[name] = os.urandom(16)
            assert c.fop(7, ROOT + opaque(name) + bytes(4) + opaque(target) + gfid_req(made[name]))[0] == 0
        outside = sorted(os.listdir(p.work))
        with f.attack("opening"):
            for kind, g in made.items():
                name = opaque(kind if isinstance(kind, bytes) else b"s%o" % kind)
                for flags in (os.O_RDONLY, os.O_WRONLY | os.O_TRUNC, os.O_RDWR):
                    assert c.fop(11, g + struct.pack(">I", flags) + NULL_DICT)[0] == -1, kind
                for body in (ROOT + struct.pack(">III", os.O_RDWR, 0o666, 0) + name + gfid_req(os.urandom(16)),
                             g + struct.pack(">III", os.O_RDWR, 0o666, 0) + opaque(b"below") + gfid_req(os.urandom(16))):
                    assert c.fop(23, body)[0] == -1, kind
                assert c.fop_wait(c.read_send(g, 100))[0] == -1, kind
                assert c.fop_wait(c.write_send(g, b"x"))[0] == -1, kind
                assert c.fop(10, g + struct.pack(">Q", 0) + NULL_DICT)[0] == -1, kind
                assert c.fop(20, g + NULL_DICT)[0] == -1, kind
                assert c.fop(27, bytes(16) + g + bytes(4) + opaque(b"victim") + NULL_DICT)[0] == -1, kind
                assert c.fop(4, g + struct.pack(">II", 0o755, 0) + opaque(b"below") + gfid_req(os.urandom(16)))[0] == -1
                ret, _, rest = c.fop(27, bytes(16) + ROOT + bytes(4) + name + one_pair(b"glusterfs.content", struct.pack(">q", 9999), 2))
                assert ret == 0 and b"root:" not in rest, kind
        assert sorted(os.listdir(p.work)) == outside and os.path.getsize(victim) == 500


def test_format_strings(p):
    """What a client sends reaches the log as it is."""
    nasty = "%n%s%s%n%99999999d"
    with field(p, nasty) as f:
        with f.attack("names"):
            pairs = {"process-name": nasty, "client-version": nasty, "username": nasty, "password": nasty}
            c = p.client(f.brick, **pairs)
            for proc, body in name_bodies(nasty.encode(), c.create(nasty), ROOT):
                c.fop(proc, body)
            assert c.fop(17, ROOT + bytes(4) + one_pair(b"user." + nasty.encode(), opaque(b"x")) + NULL_DICT)[0] == 0
            c.fop(18, ROOT + struct.pack(">I", 20) + opaque(b"glusterfs.clrlk.t" + nasty.encode()) + NULL_DICT)
            c.close()
        with f.attack("handshakes"):
            for pairs in ({"remote-subvolume": nasty}, {"remote-subvolume": f.brick.path, "subdir-mount": "/" + nasty},
                          {"remote-subvolume": f.brick.path, "volume-id": nasty}, {"remote-subvolume": f.brick.path, "fops-version": nasty}):
                assert p.client().setvolume(dict({"process-uuid": nasty, "fops-version": FOP}, **pairs))[0] == -1, pairs
        with f.attack("volfiles"):
            other = Brick(p.work + "/" + nasty + "-absent")
            os.rmdir(other.path)
            assert nasty in p.attach(other)[2]
    with open(p.work + "/log") as log:
        assert nasty in log.read()


# ---- what bricks have been attacked with before ----------------------------------------------------------------------


def get(c, gfid, name):
    """(op_ret, op_errno, the first value)"""
    ret, errno, rest = c.fop(18, gfid + struct.pack(">I", len(name)) + opaque(name) + NULL_DICT)
    if ret < 0:
        return ret, errno, b""
    (size,) = struct.unpack_from(">I", rest, 24)  # behind no xdata and the head of the dict
    at = 28 + size + -size % 4 + 4  # and the type
    return ret, errno, rest[at + 4:at + 4 + struct.unpack_from(">I", rest, at)[0]]


def index_names():
    """Names that are no entry of an index: ways out of it, base files, and what only looks like a gfid."""
    text = str(uuid.uuid4()).encode()
    return (b"", b".", b"..", b"name", b"victim", b"../../victim", b"../../../victim", b"/victim", b"../dirty/" + text,
            text + b"/x", text[:-1], text + b"0", text + b"\n", text.replace(b"-", b"_"), b"{" + text + b"}",
            b"urn:uuid:" + text, text.replace(b"-", b""), b"xattrop-" + text, b"ABCDEF00-0000-4000-8000-000000000000",
            b"%s%n", b"\xff" * 36, b"x" * 255)


def index_calls(name, gfid, directory):
    """(procedure, arguments) of calls that would look up, make or remove NAME in DIRECTORY."""
    whole = (6, directory + struct.pack(">i", 1) + opaque(name) + NULL_DICT)
    calls = [call for call in name_bodies(name, gfid, directory) if call[0] != 31]  # anything may be locked
    return [whole] + [call for call in calls if name or call[0] != 27]  # no name: the directory itself


def test_index_names(p):
    """Through the directories of the index nothing is found, made or removed that is not an entry of it."""
    with field(p, "index") as f:
        c = p.client(f.brick)
        gfid, sub = c.create("victim"), os.urandom(16)
        assert c.fop(4, ROOT + struct.pack(">II", 0o755, 0) + opaque(b"dir") + gfid_req(sub))[0] == 0
        one = one_pair(b"trusted.afr.dirty", opaque(struct.pack(">III", 1, 0, 0)))
        assert c.fop(33, gfid + bytes(4) + one + NULL_DICT)[0] == 0
        virtual = [get(c, ROOT, b"glusterfs.xattrop_%s_gfid" % n)[2] for n in (b"index", b"dirty", b"entry_changes")]
        entry = opaque(str(uuid.UUID(bytes=gfid)).encode())
        assert c.fop(27, bytes(16) + virtual[1] + bytes(4) + entry + NULL_DICT)[0] == 0
        before, outside = tree(f.brick.path), sorted(os.listdir(p.work))
        with f.attack("names"):
            for name in index_names():
                for directory in virtual:
                    for proc, body in index_calls(name, gfid, directory):
                        status, answer = c.call(FOP, 400, proc, body)
                        assert status == 0 and struct.unpack_from(">i", answer)[0] == -1, (proc, name, status, answer)
        with f.attack("names that are noted"):
            for key in (b"glusterfs.xattrop-entry-create", b"glusterfs.xattrop-entry-delete"):
                for name in (b"a/b", b"../escape", b"../../../escape", b"../../../victim", b"/", b"/escape", b"x" * 256,
                             b"x" * 5000, b".", b"..", b"..\0x", b"../../../victim\0x"):
                    for kind in (PTR, STR):
                        for end in (b"", b"\0"):
                            c.call(FOP, 400, 33, sub + bytes(4) + one + one_pair(key, opaque(name + end), kind))
                            c.call(FOP, 400, 33, sub + bytes(4) + one.replace(b"\0\0\0\1", b"\xff\xff\xff\xff") +
                                   one_pair(key, opaque(name + end), kind))
        assert sorted(os.listdir(p.work)) == outside

        def noted(entry):
            return entry[0].startswith(".glusterfs/indices/dirty/") or entry[0] == ".glusterfs/indices/entry-changes"

        def but_noted(entries):
            return [e for e in entries if not noted(e)]

        assert but_noted(tree(f.brick.path)) == but_noted(before)
        assert c.fop(5, virtual[1] + entry + bytes(4) + NULL_DICT)[0] == 0  # by its name it can be removed


def test_dump_paths(p):
    """No client makes the brick write a report, and not where it likes."""
    with field(p, "dumps") as f:
        c = p.client(f.brick)
        gfid = c.create("file")
        fd = struct.unpack_from(">q", c.fop(11, gfid + struct.pack(">I", os.O_RDWR) + NULL_DICT)[2], 12)[0]
        before, outside = tree(f.brick.path), sorted(os.listdir(p.work))
        here = os.listdir("/proc/%d/cwd" % p.p.pid)
        names = [b + n for b in (b"", b"trusted.", b"user.", b"glusterfs.", b"trusted.glusterfs.", b"%n.")
                 for n in (b"io-stats-dump", b"io-stats-dump.%s", b"statedump", b"dump", b"latency-dump")]
        with f.attack("dumps"):
            for name in names:
                for path in (p.work + "/dumped", "dumped", "../dumped", f.brick.path + "/dumped", "%s%n"):
                    pair = one_pair(name, opaque(path.encode() + b"\0"))
                    for target in (gfid, ROOT):
                        c.fop(17, target + bytes(4) + pair + NULL_DICT)
                        c.fop(33, target + bytes(4) + pair + NULL_DICT)
                    c.fop(36, gfid + struct.pack(">q", fd) + bytes(4) + pair + NULL_DICT)
                    get(c, gfid, name)
        assert tree(f.brick.path) == before and sorted(os.listdir(p.work)) == outside
        assert os.listdir("/proc/%d/cwd" % p.p.pid) == here
        assert not [n for n in os.listxattr(f.brick.path + "/file") if "dump" in n and not n.startswith(("user.", "trusted."))]


def test_attribute_questions(p):
    """Attributes that once told what is outside of a brick, kept memory for ever, or overran a buffer."""
    with field(p, "questions") as f:
        c = p.client(f.brick)
        gfid = c.create("file")
        with open(p.work + "/secret", "w") as secret:
            secret.write("root:" * 100)
        questions = [b"glusterfs.file." + n for n in (b"/etc/passwd", b"../secret", b"file")]
        questions += [b"glusterfs.get_real_filename:" + n for n in (b"../secret", b"/etc/passwd", b"..", b"x" * 4000)]
        questions += [b"glusterfs.clrlk.t" + n for n in (b"", b"inode", b"inode.k", b"posix.kall." + b"9" * 3000 + b",0-0",
                                                         b"entry.kall." + b"x" * 3000, b"inode.kall.%n%s", b"posix.kall.0,-1--1")]
        questions += [b"trusted.glusterfs.lockinfo", b"glusterfs.lock-migration-meta-lock", b"trusted.glusterfs.pathinfo/../x",
                      b"glusterfs.ancestry.path/../..", b"trusted." + b"%s%n" * 60, b"glusterfs." + b"x" * 4000]
        with f.attack("questions", 4):
            for name in questions:
                for target in (gfid, ROOT):
                    status, answer = c.call(FOP, 400, 18, target + struct.pack(">I", len(name)) + opaque(name) + NULL_DICT)
                    assert status in (0, GARBAGE) and b"root:" not in answer, (name, answer)
            status, answer = c.call(FOP, 400, 27, bytes(16) + ROOT + bytes(4) + opaque(b"file") +
                                    one_pair(b"glusterfs.file.../secret", struct.pack(">q", 9999), 2))
            assert status == 0 and b"root:" not in answer
        with f.attack("what was never given back", 4):
            for _ in range(2000):
                for key in (b"glusterfs.lock-migration-meta-lock", b"trusted.glusterfs.lockinfo", b"glusterfs.xattr-scan"):
                    c.fop(17, gfid + bytes(4) + one_pair(key, opaque(b"\0\0\0\1" * 500)) + NULL_DICT)


# ---- lengths -------------------------------------------------------------------------------------------------------

EDGES32 = (0x7FFFFFFE, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFB, 0xFFFFFFFC, 0xFFFFFFFF)
EDGES64 = ((1 << 63) - 1, 1 << 63, (1 << 63) + 1, (1 << 64) - 1, (1 << 63) - 4096)


def test_lengths_of_32_bits(p):
    """Lengths and counts that are not there."""
    with field(p, "lengths32") as f:
        c = p.client(f.brick)
        gfid = c.create("file")
        for n in EDGES32:
            with f.attack("%#x" % n, 40):
                u = struct.pack(">I", n)
                for proc, body in (
                        (27, bytes(16) + ROOT + bytes(4) + u + b"name"), (4, ROOT + bytes(8) + u + b"name" + NULL_DICT),
                        (18, gfid + bytes(4) + u + b"user.x" + NULL_DICT), (1, gfid + u + struct.pack(">iI", 1, 1)),
                        (1, gfid + struct.pack(">IiI", 20, 1, n)), (1, gfid + struct.pack(">III", n, n, n) + bytes(40)),
                        (1, gfid + struct.pack(">IiI", 20, 1, 1) + u + b"key\0"),
                        (1, gfid + struct.pack(">IiI", 20, 1, 1) + opaque(b"key\0") + struct.pack(">I", 3) + u + b"v"),
                        (13, gfid + struct.pack(">qQII", -2, 0, n, 0) + NULL_DICT + b"data"),
                        (29, gfid + struct.pack(">II", 1, 1) + struct.pack(">IIQQI", 1, 0, 0, 0, 0) + u + b"owner"),
                        (52, gfid + u + bytes(60))):
                    assert c.call(FOP, 400, proc, body)[0] == GARBAGE, proc
                ret, errno, rest = c.fop(12, gfid + struct.pack(">qQII", -2, 0, n, 0) + NULL_DICT)
                assert ret == 0, ("read", ret, errno)
                directory = struct.unpack(">q", c.fop(20, ROOT + NULL_DICT)[2][12:20])[0]
                for proc in (28, 40):
                    ret, errno, rest = c.fop(proc, ROOT + struct.pack(">qQI", directory, 0, n) + NULL_DICT)
                    assert ret > 0 or errno == EINVAL, (proc, ret, errno)
                assert c.fop(2, gfid + u + NULL_DICT)[0] == -1
                assert c.fop(37, gfid + struct.pack(">qQII", -2, 0, n, 0) + NULL_DICT)[0] in (0, -1)
                assert c.fop(25, gfid + struct.pack(">q", n) + NULL_DICT)[:2] == (-1, EBADF)
        assert os.path.getsize(f.brick.path + "/file") == 0


def test_lengths_of_64_bits(p):
    """Offsets and sizes beyond what a file can have: refused before the disk sees them."""
    with field(p, "lengths64") as f:
        c = p.client(f.brick)
        gfid = c.create("file")
        assert c.fop_wait(c.write_send(gfid, b"content"))[0] == 7
        for n in EDGES64:
            with f.attack("%#x" % n, 24):
                calls = [(10, gfid + struct.pack(">Q", n)), (24, gfid + struct.pack(">qQ", -2, n))]
                if n >= 1 << 63:
                    calls += [(12, gfid + struct.pack(">qQII", -2, n, 10, 0))]
                calls += [(44, gfid + struct.pack(">qIQQ", -2, 0, a, b)) for a, b in ((n, 1), (0, n), (n, n), (5, n))]
                calls += [(proc, gfid + struct.pack(">qQQ", -2, a, b)) for proc in (45, 46) for a, b in ((n, 5), (n, n))]
                calls += [(56, gfid + gfid + struct.pack(">qqQQII", -2, -2, a, b, 10, 0)) for a, b in ((n, 0), (0, n))]
                calls += [(37, gfid + struct.pack(">qQII", -2, n, 10, 0)), (48, gfid + struct.pack(">qQi", -2, n, 0))]
                for proc, body in calls:
                    answer = c.fop(proc, body + NULL_DICT)
                    assert answer[0] <= 0 and (answer[0] == -1 or proc in (37, 45, 56)), (proc, answer[:2])
                answer = c.fop_wait(c.write_send(gfid, b"data", offset=n))
                assert answer[0] == -1, answer[:2]
                for start, length in ((n, 0), (0, n), (n, n), (1, n)):
                    answer = c.inodelk(gfid, 1, 1, b"owner", start=start, length=length)
                    if answer[0] == 0:
                        assert c.inodelk(gfid, 1, 2, b"owner", start=start, length=length)[0] == 0
                for fd in (n, n >> 1):
                    number = struct.pack(">Q", fd)
                    for proc in (15, 16, 25):
                        body = gfid + number + (bytes(4) if proc == 16 else b"") + NULL_DICT
                        assert c.fop(proc, body)[:2] == (-1, EBADF), (proc, fd)
                directory = struct.unpack(">q", c.fop(20, ROOT + NULL_DICT)[2][12:20])[0]
                ret, errno, _ = c.fop(40, ROOT + struct.pack(">qQI", directory, n, 4096) + NULL_DICT)
                assert ret >= -1
        with open(f.brick.path + "/file", "rb") as file:
            assert file.read(100) == b"content"


# ---- directories that are no brick -----------------------------------------------------------------------------------


def broken_bricks(work):
    """(brick, errno, what its error has to say)"""
    absent, plain, foreign, cut, file, member = (Brick("%s/broken/%s" % (work, n))
                                                 for n in ("absent", "plain", "foreign", "cut", "file", "member"))
    shutil.rmtree(absent.path)
    os.removexattr(plain.path, "trusted.glusterfs.volume-id")
    os.setxattr(foreign.path, "trusted.glusterfs.volume-id", uuid.uuid4().bytes)
    os.setxattr(cut.path, "trusted.glusterfs.volume-id", b"short")
    os.rmdir(file.path)
    with open(file.path, "w"):
        pass
    os.setxattr(member.path, "trusted.gfid", uuid.uuid4().bytes)
    return ((absent, ENOENT, "No such file or directory"), (plain, ENODATA, "has no trusted.glusterfs.volume-id"),
            (foreign, ESTALE, "belongs to another volume"), (cut, ESTALE, "belongs to another volume"),
            (file, 20, "Not a directory"), (member, ESTALE, "foreign trusted.gfid"))


def test_broken_bricks(p):
    """A directory that is not the brick it should be is refused, named, and left as it is."""
    with field(p, "broken-field") as f:
        for brick, errno, words in broken_bricks(p.work):
            before = tree(brick.path)
            with f.attack(words):
                for _ in range(20):
                    ret, got, text = p.attach(brick)
                    assert (ret, got) == (-1, errno) and brick.path in text and words in text, (ret, got, text)
                assert brick.path not in p.status()
                ret, got, d = p.client().setvolume({"remote-subvolume": brick.path, "process-uuid": "u",
                                                    "fops-version": FOP})
                assert (ret, got, d["ERROR"]) == (-1, ENOENT, "Brick not found")
            assert tree(brick.path) == before
        with f.attack("volfiles"):
            assert p.control.call(CONTROL, 1, 2, opaque(b"volume\0x"))[0] == GARBAGE
            for text in (b"", b"volume", b"x" * 100000, f.brick.volfile().encode().replace(b"posix\n", b"posic\n"),
                         f.brick.volfile().encode().replace(b"directory /", b"directory "),
                         f.brick.volfile().encode().replace(str(f.brick.id).encode(), b"no-uuid"),
                         f.brick.volfile().encode().replace(b"directory /", b"directory /" + b"x/" * 2500)):
                ret, errno, why = p.control_call(2, opaque(text))
                assert ret == -1 and errno in (EINVAL, E2BIG) and why, (ret, errno, why)
            other = Brick(p.work + "/other-id")
            other.path = f.brick.path
            ret, errno, why = p.attach(other)
            assert (ret, errno) == (-1, 17) and "another volume" in why, (ret, errno, why)


def test_broken_brick_at_start():
    """Started for a directory that is no brick, the process ends with a sentence that names it."""
    import tempfile
    with tempfile.TemporaryDirectory(prefix="mortar-brick-", dir="/var/tmp") as work:
        for brick, _, words in broken_bricks(work):
            with open(work + "/volfile", "w") as f:
                f.write(brick.volfile())
            r = subprocess.run([PROGRAM, "--volfile", work + "/volfile", "--listen", "127.0.0.1", "--port", "0"],
                               capture_output=True, text=True, timeout=20)
            assert r.returncode == 1 and brick.path in r.stderr and words in r.stderr, (r.returncode, r.stderr)


SHARED = [test_announced_lengths, test_first_bytes, test_endless_fragments, test_unfinished_records,
          test_memory_is_given_back,
          test_trickle, test_records_before_the_handshake, test_damaged_records, test_never_reads,
          test_unknown_programs, test_rpc_credentials, test_wrong_credentials, test_damaged_handshakes,
          test_refused_handshakes,
          test_fops_before_the_handshake, test_damaged_fops, test_names, test_attribute_names, test_special_files,
          test_format_strings, test_index_names, test_dump_paths, test_attribute_questions,
          test_lengths_of_32_bits, test_lengths_of_64_bits, test_broken_bricks]

sys.exit(main([test_broken_brick_at_start], SHARED))
