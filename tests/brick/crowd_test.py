#!/usr/bin/env python3
"""Many clients of a brick process at once, who come, go, and get in each other's way, while bricks are reconfigured and
detached: every call is answered, nothing ends that should not. Meant to be run with a sanitizer; CROWD_SECONDS=N runs
each test for N seconds (default 1).

usage: crowd_test.py MORTAR_BRICK HANG_PRELOAD [TEST…]
"""
import os
import random
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from process import SANITIZED, Brick, eventually, main
from rpcwire import FOP, NULL_DICT, ROOT, Closed, gfid_req, opaque

SECONDS = float(os.environ.get("CROWD_SECONDS", "1"))
NAMES = [b"n%d" % i for i in range(6)]
GONE = (Closed, ConnectionError, AssertionError)


# ---- what a member of the crowd does ---------------------------------------------------------------------------------


def pair(key, value, kind):
    body = opaque(key + b"\0") + struct.pack(">I", kind) + value
    return struct.pack(">IiI", len(body), 1, 1) + body


class Member:
    """Sends random calls on few names and a few objects that all members know, several at a time."""

    def __init__(self, client, seed, gfids):
        self.c, self.rng, self.gfids, self.locked = client, random.Random(seed), gfids, []

    def some(self):
        return self.rng.choice(self.gfids) if self.gfids and self.rng.random() < 0.9 else ROOT

    def name(self):
        return opaque(self.rng.choice(NAMES))

    def make(self, proc, head, tail=b""):
        gfid = os.urandom(16)
        self.gfids.append(gfid)
        if len(self.gfids) > 24:
            self.gfids.pop(0)
        return proc, ROOT + head + self.name() + tail + gfid_req(gfid)

    def lock(self):
        """Taken and given back in one breath, so nobody waits for ever."""
        flock = struct.pack(">IIQQI", 1, 0, self.rng.randrange(8), self.rng.randrange(1, 8), 0) + opaque(b"")
        tail = flock + opaque(b"crowd") + NULL_DICT
        gfid = self.some()
        self.locked.append((29, gfid + struct.pack(">II", 1, 2) + tail))
        return 29, gfid + struct.pack(">II", self.rng.choice((1, 2)), 1) + tail

    def request(self):
        r, g = self.rng, self.some
        offset = struct.pack(">qQ", -2, r.randrange(1 << 16))
        kinds = (
            lambda: self.make(23, struct.pack(">III", os.O_RDWR, 0o644, 0)), lambda: self.make(4, struct.pack(">II", 0o755, 0)),
            lambda: self.make(3, struct.pack(">QII", 0, 0o100644, 0)),
            lambda: self.make(7, b"", struct.pack(">I", 0) + opaque(b"n0")),
            lambda: (5, ROOT + self.name() + struct.pack(">I", 0) + NULL_DICT),
            lambda: (6, ROOT + struct.pack(">i", 0) + self.name() + NULL_DICT),
            lambda: (8, ROOT + ROOT + self.name() + self.name() + NULL_DICT),
            lambda: (9, g() + ROOT + self.name() + NULL_DICT),
            lambda: (27, bytes(16) + ROOT + struct.pack(">I", 0) + self.name() + NULL_DICT),
            lambda: (13, g() + offset + struct.pack(">II", 3000, 0) + NULL_DICT + bytes(3000)),
            lambda: (12, g() + offset + struct.pack(">II", 9000, 0) + NULL_DICT), lambda: (1, g() + NULL_DICT),
            lambda: (10, g() + struct.pack(">Q", r.randrange(1 << 16)) + NULL_DICT),
            lambda: (11, g() + struct.pack(">I", os.O_RDWR) + NULL_DICT), lambda: (20, g() + NULL_DICT),
            lambda: (15, g() + struct.pack(">q", r.randrange(4)) + NULL_DICT),
            lambda: (41, g() + struct.pack(">q", r.randrange(4)) + NULL_DICT),
            lambda: (25, g() + struct.pack(">q", r.randrange(4)) + NULL_DICT),
            lambda: (40, g() + struct.pack(">qQI", r.randrange(4), 0, 4096) + NULL_DICT),
            lambda: (16, g() + struct.pack(">qI", -2, 0) + NULL_DICT), lambda: (14, g() + NULL_DICT),
            lambda: (17, g() + bytes(4) + pair(b"user.x", opaque(os.urandom(20)), 6) + NULL_DICT),
            lambda: (18, g() + struct.pack(">I", 6) + opaque(b"user.x") + NULL_DICT),
            lambda: (33, g() + bytes(4) + pair(b"trusted.afr.vol", opaque(struct.pack(">III", 1, 0, 0)), 6) + NULL_DICT),
            lambda: (38, g() + bytes(140) + struct.pack(">I", 0o640) + bytes(4) + struct.pack(">i", 1) + NULL_DICT),
            self.lock,
        )
        return r.choice(kinds)()

    def breath(self):
        """A handful of calls at once, then all their answers."""
        calls = [self.request() for _ in range(self.rng.randrange(1, 12))]
        calls += self.locked
        self.locked = []
        xids = [self.c.fop_send(proc, body) for proc, body in calls]
        for xid, (proc, _) in zip(xids, calls):
            status, body = self.c.wait(xid)
            assert status == 0, "procedure %d was answered with accept status %d" % (proc, status)


def crowd(count, work):
    """Runs WORK(number, end) on COUNT threads; raises the first trouble of any."""
    troubles, end = [], time.monotonic() + SECONDS

    def run(i):
        try:
            work(i, end)
        except Exception as e:
            troubles.append(e)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(SECONDS + 60)
        assert not t.is_alive(), "a member of the crowd waits for an answer"
    if troubles:
        raise troubles[0]


# ---- tests -----------------------------------------------------------------------------------------------------------


def test_crowd(p):
    """Everybody does everything."""
    brick, gfids = p.serve(Brick(p.work + "/crowd")), []

    def work(i, end):
        member = Member(p.client(brick), i, gfids)
        while time.monotonic() < end:
            member.breath()
        member.c.close()

    crowd(8, work)
    eventually("all are gone", lambda: p.status()[brick.path]["clients"] == 0)
    assert p.status()[brick.path]["fds"] == 0
    assert p.detach(brick)[0] == 0


def test_coming_and_going(p):
    """Clients leave in the middle of what they asked for."""
    brick, gfids = p.serve(Brick(p.work + "/going")), []

    def work(i, end):
        n = 0
        while time.monotonic() < end:
            n += 1
            member = Member(p.client(brick), i * 100000 + n, gfids)
            for proc, body in [member.request() for _ in range(member.rng.randrange(12))]:
                member.c.fop_send(proc, body)
            member.c.close()

    crowd(8, work)
    eventually("all are gone", lambda: p.status()[brick.path]["clients"] == 0)
    assert p.status()[brick.path]["fds"] == 0
    c = p.client(brick)
    gfid = c.create("after")
    assert c.inodelk(gfid, 1, 1, b"after", domain="crowd")[0] == 0
    assert p.detach(brick)[0] == 0


def test_reconfigured_meanwhile(p):
    brick, gfids = p.serve(Brick(p.work + "/reconfigured")), []
    brick.options.append("")
    rounds = [0] * 4

    def work(i, end):
        if i == 0:
            n = 0
            while time.monotonic() < end or min(rounds[1:]) < 3:
                n += 1
                brick.options[-1] = ("ctime off", "gfid2path-separator x", "reserve %d" % (n % 7), "root-squash on",
                                     "rpc.outstanding-rpc-limit %d" % (1 + n % 9))[n % 5]
                p.serve(brick)
            return
        member = Member(p.client(brick), i, gfids)
        while time.monotonic() < end or rounds[i] < 3:
            member.breath()
            rounds[i] += 1

    crowd(4, work)
    assert p.detach(brick)[0] == 0


def test_detached_meanwhile(p):
    """A brick goes, and comes back, under clients that come, go and work; another one is left alone."""
    brick, fine = p.serve(Brick(p.work + "/detached")), p.serve(Brick(p.work + "/intact"))
    gfids, spared = [], []

    def work(i, end):
        if i == 0:
            while time.monotonic() < end:
                assert p.detach(brick)[0] == 0
                p.serve(brick)
                time.sleep(0.01)
        elif i == 1:
            member = Member(p.client(fine), i, spared)
            while time.monotonic() < end:
                member.breath()
        else:
            n = 0
            while time.monotonic() < end:
                n += 1
                try:
                    member = Member(p.client(brick), i * 100000 + n, gfids)
                    for _ in range(member.rng.randrange(3)):
                        member.breath()
                    member.c.close()
                except GONE:
                    pass

    crowd(8, work)
    assert p.client(brick).stat()[0] == 0 and p.client(fine).stat()[0] == 0


def test_stopped_meanwhile(p):
    """The process is told to end while everybody is busy."""
    bricks = [p.serve(Brick("%s/stopped/%d" % (p.work, i))) for i in range(3)]
    gfids, busy = [[], [], []], threading.Barrier(7)

    def work(i, end):
        if i == 0:
            busy.wait()
            p.control_call(4)
            return
        member = Member(p.client(bricks[i % 3]), i, gfids[i % 3])
        busy.wait()
        try:
            while True:
                member.breath()
        except GONE:
            pass

    crowd(7, work)
    assert p.p.wait(20) == 0


# ---- cost ------------------------------------------------------------------------------------------------------------


def test_idle_bricks(p):
    """A brick that nobody uses, and one whose client is idle, cost little."""
    p.serve(Brick(p.work + "/idle/first"))
    p.client(p.serve(Brick(p.work + "/idle/warm"))).stat()
    before = p.rss()
    bricks = [p.serve(Brick("%s/idle/%d" % (p.work, i))) for i in range(100)]
    unused = (p.rss() - before) / 100
    clients = [p.client(b) for b in bricks]
    assert all(c.stat()[0] == 0 for c in clients)
    used = (p.rss() - before) / 100
    print("     %d KiB a brick, %d KiB with a client that was served" % (unused / 1024, used / 1024))
    assert SANITIZED or (unused < 128 << 10 and used < 512 << 10), (unused, used)


sys.exit(main((), [test_crowd, test_coming_and_going, test_reconfigured_meanwhile, test_detached_meanwhile], (),
              [test_stopped_meanwhile, test_idle_bricks]))
