#!/usr/bin/env python3
"""The brick process from outside: handshakes, streams, many connections, a hung disk, the control program.

usage: server_test.py MORTAR_BRICK HANG_PRELOAD [TEST…]
"""
import json
import os
import resource
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import uuid

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from process import DRAIN_SECONDS, PROGRAM, SANITIZED, Brick, Process, eventually, main
from rpcwire import CONTROL, DUMP, FOP, HANDSHAKE, NULL_DICT, ROOT, Client, call, gfid_req, old_dict, opaque, record


# ---- handshake -----------------------------------------------------------------------------------------------------


def test_small_programs(p):
    c = p.client()
    status, body = c.call(DUMP, 1, 1, struct.pack(">Q", 0xcaed))
    assert status == 0 and b"GlusterFS 4.x v1" in body and b"GlusterFS 3.3" not in body
    assert c.ping()
    assert c.call(HANDSHAKE, 2, 3)[0] == 0
    status, body = c.call(HANDSHAKE, 2, 2, struct.pack(">I", 0) + opaque(b"vol") + opaque(b""))
    assert (status, struct.unpack_from(">ii", body)) == (0, (-1, 38))
    assert c.call(HANDSHAKE, 2, 4, opaque(b"uid") + struct.pack(">i", 7)) == (0, struct.pack(">iii", 0, 0, 7))


def test_rpc_errors(p):
    brick = p.serve(Brick(p.work + "/rpc-errors"))
    for c in (p.client(), p.client(brick)):
        assert c.call(4711, 1, 1)[0] == 1
        assert c.call(FOP, 330, 1) == (2, bytes(8))
        assert c.call(HANDSHAKE, 1, 1) == (2, bytes(8))
        assert c.call(DUMP, 1, 0)[0] == 3
        assert c.call(DUMP, 1, 3)[0] == 3
        assert c.call(HANDSHAKE, 2, 5)[0] == 3
        assert c.call(FOP, 400, 200)[0] == 3
        assert c.call(HANDSHAKE, 2, 1)[0] == 4
        assert c.call(DUMP, 1, 2, rpcvers=3)[0] == 4
        assert c.call(DUMP, 1, 2, credential=struct.pack(">I", 390040) + opaque(bytes(404)))[0] == 4
        assert c.ping()
    assert p.client(brick).call(FOP, 400, 1, b"short")[0] == 4


def test_fop_before_handshake(p):
    c = p.client()
    assert c.call(FOP, 400, 1, ROOT + bytes(12))[0] == 4
    assert c.ping()


def test_handshake_errors(p):
    brick = p.serve(Brick(p.work + "/handshake"))
    good = {"remote-subvolume": brick.path, "process-uuid": "u1", "fops-version": FOP}

    def refused(errno, text, **change):
        pairs = {k: v for k, v in dict(good, **change).items() if v is not None}
        ret, got, d = p.client().setvolume(pairs)
        assert (ret, got) == (-1, errno) and d["ERROR"] == text, (ret, got, d)

    refused(2, "Brick not found", **{"remote-subvolume": "/nowhere"})
    refused(2, 'subdirectory for mount "/no/dir" is not found', **{"subdir-mount": "/no/dir"})
    refused(22, "UUID not specified", **{"process-uuid": None})
    refused(22, "No remote-subvolume option specified", **{"remote-subvolume": None})
    refused(22, "version mismatch: client(400) - client-mgmt(0)", **{"fops-version": 400})
    refused(22, "Volume-ID different, possible case of same brick re-used in another volume",
            **{"volume-id": str(uuid.uuid4())})
    status, body = p.client().call(HANDSHAKE, 2, 1, opaque(struct.pack(">iii", 1, 1000, 5)))
    assert struct.unpack_from(">ii", body) == (-1, 22) and b"failed to unserialize request dictionary" in body
    brick.options.append("auth.addr.%s.reject 127.0.0.*" % brick.path)
    p.serve(brick)
    refused(13, "Authentication failed")
    brick.options[-1] = "auth.addr.%s.reject 10.0.0.0/8" % brick.path
    p.serve(brick)
    ret, errno, d = p.client().setvolume(dict(good, **{"volume-id": str(brick.id)}))
    assert ret == 0 and d["ERROR"] == "Success" and d["child_up"] == "1" and d["volume-id"] == str(brick.id)
    assert d["process-uuid"] and d["clnt-lk-version"] == "0"


def test_setvolume_again(p):
    brick = p.serve(Brick(p.work + "/again"))
    c = p.client(brick)
    pairs = {"remote-subvolume": brick.path, "process-uuid": "again", "fops-version": FOP}
    assert c.setvolume(pairs)[0] == 0
    assert c.setvolume(dict(pairs, **{"remote-subvolume": "/other"}))[:2] == (-1, 2)
    assert c.stat()[0] == 0


def test_credentials(p):
    brick = p.serve(Brick(p.work + "/credentials"))
    assert p.client(brick, username="admin", password="wrong").stat()[0] == 0
    assert p.client(brick, username="admin", password="secret").stat()[0] == 0
    brick.options.append("strict-auth-accept on")
    p.serve(brick)
    p.client(brick, expect=-1, username="admin", password="wrong")
    p.client(brick, expect=-1)
    p.client(brick, username="admin", password="secret")


def test_auth_change_disconnects(p):
    brick = p.serve(Brick(p.work + "/dynamic-auth"))
    plain, trusted = p.client(brick), p.client(brick, username="admin", password="secret")
    brick.options.append("auth.addr.%s.reject 127.0.0.1" % brick.path)
    p.serve(brick)
    plain.wait_closed()
    trusted.wait_closed()


def test_insecure_port(p):
    brick = Brick(p.work + "/insecure", ["rpc-auth-allow-insecure off"])
    q = p.serve(brick)
    c = Client(p.port)
    status = c.setvolume({"remote-subvolume": q.path, "process-uuid": "p", "fops-version": FOP})[0]
    assert status == "denied", status


def test_subdir(p):
    brick = p.serve(Brick(p.work + "/subdir"))
    c = p.client(brick)
    gfid = uuid.uuid4().bytes
    body = ROOT + struct.pack(">II", 0o755, 0) + opaque(b"sub") + gfid_req(gfid)
    assert c.fop(4, body)[0] == 0
    d = p.client(brick, **{"subdir-mount": "/sub"})
    d.create("inside")
    assert os.path.exists(brick.path + "/sub/inside")


# ---- streams -------------------------------------------------------------------------------------------------------


def both_kinds(p, brick):
    """Connections on the control loop and on a lane."""
    return (p.client(), p.client(brick))


def test_fragments(p):
    brick = p.serve(Brick(p.work + "/fragments"))
    for c in both_kinds(p, brick):
        payload = call(9, DUMP, 1, 2)
        c.s.sendall(struct.pack(">I", 10) + payload[:10] + struct.pack(">I", 0) + record(payload[10:]))
        assert c.wait(9)[0] == 0
        for i in range(0, len(payload) + 4, 7):
            c.s.sendall(record(payload)[i:i + 7])
        assert c.wait(9)[0] == 0
        assert c.ping()


def test_hostile_streams(p):
    brick = p.serve(Brick(p.work + "/hostile"))
    for stream in (bytes(4) * 2000,                       # fragments of nothing, without end
                   struct.pack(">I", 0xFFFFFFFF) + b"x",  # 2 GiB announced
                   struct.pack(">I", 0x7FFFFFFF) + b"x",
                   record(b""), record(b"1234567"),       # no header
                   record(struct.pack(">II", 5, 9)),      # neither call nor reply
                   b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"):
        for c in both_kinds(p, brick):
            try:
                c.s.sendall(stream)
            except (BrokenPipeError, ConnectionResetError):
                pass
            c.wait_closed()
    for c in both_kinds(p, brick):
        c.s.sendall(record(struct.pack(">III", 5, 1, 0)))  # a reply nobody asked for
        assert c.ping()
    one = Client(p.port)
    one.s.sendall(record(call(2, DUMP, 1, 2))[:30])
    one.close()
    assert p.client(brick).stat()[0] == 0


def test_pipelined(p):
    brick = p.serve(Brick(p.work + "/pipelined"))
    c = p.client(brick)
    xids = range(1000, 3000)
    body = ROOT + NULL_DICT
    c.s.sendall(b"".join(record(call(x, FOP, 400, 1, body)) for x in xids))
    for x in xids:
        assert c.fop_wait(x)[0] == 0
    # the handshake and what follows it in one piece: fops before its answer may be refused, later ones may not
    d = Client(p.port)
    pairs = {"remote-subvolume": brick.path, "process-uuid": "pipelined", "fops-version": FOP}
    d.s.sendall(record(call(2, DUMP, 1, 2)) + record(call(3, HANDSHAKE, 2, 1, opaque(old_dict(pairs)))) +
                record(call(4, DUMP, 1, 2)))
    assert [d.wait(x)[0] for x in (2, 3, 4)] == [0, 0, 0]
    assert d.stat()[0] == 0


def test_large_records(p):
    brick = p.serve(Brick(p.work + "/large"))
    c = p.client(brick)
    gfid = c.create("file")
    data = os.urandom(3 << 20)
    assert c.fop_wait(c.write_send(gfid, data))[0] == len(data)
    got = c.fop_wait(c.read_send(gfid, len(data)))
    assert got[0] == len(data) and got[2].endswith(data)


def test_slow_reader(p):
    """Who asks and does not read is not read from either, and costs a bounded amount of memory; nobody else notices."""
    brick = p.serve(Brick(p.work + "/slow-reader"))
    c, other = p.client(brick), p.client(brick)
    gfid, size = c.create("file"), 1 << 17
    assert c.fop_wait(c.write_send(gfid, os.urandom(size)))[0] == size
    before, asked, unsent = p.rss(), [], b""
    c.s.setblocking(False)
    while len(asked) < 1000 and select.select([], [c.s], [], 0.2)[1]:
        if not unsent:
            c.xid += 1
            asked.append(c.xid)
            unsent = record(call(c.xid, FOP, 400, 12, gfid + struct.pack(">qQII", -2, 0, size, 0) + NULL_DICT))
        try:
            unsent = unsent[c.s.send(unsent):]
        except BlockingIOError:
            pass
    assert p.rss() - before < (400 if SANITIZED else 64) << 20, p.rss() - before
    assert len(asked) > 200 and other.stat()[0] == 0 and other.ping()
    c.s.settimeout(20)
    for x in asked[:-1]:
        assert c.fop_wait(x)[0] == size
    c.s.sendall(unsent)
    assert c.fop_wait(asked[-1])[0] == size


def test_idle_connections(p):
    brick = p.serve(Brick(p.work + "/idle"))
    warm = [p.client(brick) for _ in range(20)]
    before, base = p.rss(), p.status()[brick.path]["clients"]
    many = [p.client(brick) for _ in range(500)]
    assert p.status()[brick.path]["clients"] == base + 500
    for c in many[::50]:
        assert c.stat()[0] == 0
    cost = (p.rss() - before) / 500
    assert SANITIZED or cost < 8192, "%d bytes an idle connection" % cost
    for c in many + warm:
        c.close()
    eventually("all are gone", lambda: p.status()[brick.path]["clients"] == 0)


# ---- locks ---------------------------------------------------------------------------------------------------------


def test_disconnect_releases_locks(p):
    brick = p.serve(Brick(p.work + "/locks", []))
    a, b = p.client(brick), p.client(brick)
    gfid = a.create("file")
    assert a.inodelk(gfid, 1, 1, b"A")[0] == 0
    assert b.inodelk(gfid, 1, 1, b"B") == (-1, 11)
    assert b.inodelk(gfid, 1, 1, bytes(8)) == (-1, 22)
    assert b.inodelk(gfid, 0, 1, b"B") == (-1, 95)
    waiting = b.inodelk_send(gfid, 2, 1, b"B")
    assert b.ping() and b.stat()[0] == 0  # who waits does not stop the rest
    assert waiting not in b.replies and b.quiet()
    assert a.ping()
    assert len(a.callbacks) == 1, "one notification in five seconds"
    prog, vers, proc = struct.unpack_from(">III", a.callbacks[0], 12)
    assert (prog, vers, proc) == (52743234, 1, 10) and gfid in a.callbacks[0] and b"test" in a.callbacks[0]
    a.close()
    assert b.fop_wait(waiting)[0] == 0
    assert b.inodelk(gfid, 1, 2, b"B")[0] == 0
    assert b.inodelk(gfid, 1, 2, b"B") == (-1, 22)


def test_metadata_range_is_a_domain(p):
    brick = p.serve(Brick(p.work + "/metadata"))
    a, b = p.client(brick), p.client(brick)
    gfid, start = a.create("file"), (1 << 63) - 2
    assert a.inodelk(gfid, 1, 1, b"A", start=start)[0] == 0
    assert b.inodelk(gfid, 1, 1, b"B")[0] == 0
    assert b.inodelk(gfid, 1, 1, b"B", domain="test:metadata") == (-1, 11)


def test_waiter_goes_away(p):
    brick = p.serve(Brick(p.work + "/waiter"))
    a, b, c = (p.client(brick) for _ in range(3))
    gfid = a.create("file")
    assert a.inodelk(gfid, 1, 1, b"A")[0] == 0
    first = b.inodelk_send(gfid, 2, 1, b"B")
    second = c.inodelk_send(gfid, 2, 1, b"C")
    b.ping()
    b.close()
    eventually("B is gone", lambda: p.status()[brick.path]["clients"] == 2)
    assert a.inodelk(gfid, 1, 2, b"A")[0] == 0
    assert c.fop_wait(second)[0] == 0 and first


def unlink_send(c, name):
    return c.fop_send(5, ROOT + opaque(name.encode()) + struct.pack(">I", 0) + NULL_DICT)


def test_removals_wait_for_locks(p):
    """They hold no thread, go on when the locks are gone, and end with their client."""
    brick = p.serve(Brick(p.work + "/removals"))
    holder, remover, leaver = (p.client(brick) for _ in range(3))
    files = {"f%d" % i: holder.create("f%d" % i) for i in range(60)}
    for g in files.values():
        assert holder.inodelk(g, 1, 1, b"H")[0] == 0
    names = sorted(files)
    waiting = {n: unlink_send(remover, n) for n in names[:40]}
    left = [unlink_send(leaver, n) for n in names[20:]]
    assert remover.stat()[0] == 0 and leaver.ping() and left
    assert not set(waiting.values()) & set(remover.replies)
    assert holder.ping() and len(holder.callbacks) == 60, len(holder.callbacks)
    for n in names[:10]:
        assert holder.inodelk(files[n], 1, 2, b"H")[0] == 0
    for n in names[:10]:
        assert remover.fop_wait(waiting[n])[0] == 0, n
    leaver.close()
    eventually("the leaver is gone", lambda: p.status()[brick.path]["clients"] == 2)
    holder.close()  # lets all others go at once
    for n in names[10:40]:
        assert remover.fop_wait(waiting[n])[0] == 0, n
    assert sorted(n for n in os.listdir(brick.path) if n.startswith("f")) == names[40:]


def test_leaving_while_resumed(p):
    """The locks go at the moment the remover goes."""
    brick = p.serve(Brick(p.work + "/leaving"))
    for i in range(30):
        holder, remover = p.client(brick), p.client(brick)
        g = holder.create("g%d" % i)
        assert holder.inodelk(g, 1, 1, b"H")[0] == 0
        unlink_send(remover, "g%d" % i)
        remover.ping()
        (holder if i % 2 else remover).close()
        (remover if i % 2 else holder).close()
    eventually("all are gone", lambda: p.status()[brick.path]["clients"] == 0)
    c = p.client(brick)
    for name in os.listdir(brick.path):
        if name.startswith("g"):
            assert c.fop_wait(unlink_send(c, name))[0] == 0


# ---- many bricks, control ------------------------------------------------------------------------------------------


def test_many_bricks(p):
    bricks = [p.serve(Brick("%s/many/%d" % (p.work, i))) for i in range(16)]
    clients = [p.client(b) for b in bricks]
    for c, b in zip(clients, bricks):
        c.create("here")
        assert os.path.exists(b.path + "/here")
    assert p.detach(bricks[3])[0] == 0
    clients[3].wait_closed()
    assert bricks[3].path not in p.status()
    p.client(bricks[3], expect=-1)
    assert p.detach(bricks[3])[:2] == (-1, 2)
    assert all(c.stat()[0] == 0 for c in clients[:3] + clients[4:])
    p.serve(bricks[3])
    assert p.client(bricks[3]).stat()[0] == 0
    entry = p.status()[bricks[0].path]
    assert entry["volume"] == "vol" and entry["volume_id"] == str(bricks[0].id) and entry["down"] == ""
    assert entry["clients"] == 1 and entry["ops"] > 0
    for b in bricks:
        assert p.detach(b)[0] == 0


def test_control_errors(p):
    mode = os.stat(p.control_path).st_mode & 0o777
    assert mode == 0o600, oct(mode)
    assert p.control_call(2, opaque(b"volume x\n"))[:2] == (-1, 22)
    missing = Brick(p.work + "/missing")
    shutil.rmtree(missing.path)
    ret, errno, text = p.attach(missing)
    assert (ret, errno) == (-1, 2) and missing.path in text, (errno, text)
    assert missing.path not in p.status()
    foreign = Brick(p.work + "/foreign")
    os.setxattr(foreign.path, "trusted.glusterfs.volume-id", uuid.uuid4().bytes)
    assert p.attach(foreign)[:2] == (-1, 116)
    assert p.control.call(CONTROL, 1, 9)[0] == 3
    assert p.control.call(CONTROL, 2, 1)[0] == 2
    assert p.control.call(CONTROL, 1, 2, b"xx")[0] == 4
    assert p.status() is not None


def test_metrics(p):
    brick = p.serve(Brick(p.work + "/metrics"))
    c = p.client(brick)
    gfid = c.create("f")
    assert c.fop_wait(c.write_send(gfid, b"data"))[0] == 4
    assert c.stat(os.urandom(16))[0] == -1

    def metrics():
        status, rep = p.control.call(CONTROL, 1, 5)
        ret, errno, size = struct.unpack_from(">iiI", rep)
        assert (status, ret) == (0, 0)
        answer = json.loads(rep[12:12 + size])
        assert answer["pid"] == p.p.pid and answer["resident_bytes"] > 1 << 20 and answer["connections"] >= 1
        return next(b for b in answer["bricks"] if b["path"] == brick.path)

    eventually("the last answer's thread is done with it", lambda: metrics()["in_flight"] == 0)
    m = metrics()
    assert (m["up"], m["connections"], m["volume"]) == (1, 1, "vol"), m
    assert m["operations"] == {"WRITE": 1, "CREATE": 1, "STAT": 1} and m["errors"] == {"STAT": 1}, m
    assert m["fds"] == 1 and m["inodes"] >= 2 and m["inode_bytes"] > 0
    assert sum(m["latency"]["WRITE"]["buckets"]) == 1 and 0 < m["latency"]["WRITE"]["seconds"] < 10


# ---- a hung disk ---------------------------------------------------------------------------------------------------


def hang(p, on):
    if on:
        open(p.flag, "w").close()
    else:
        os.unlink(p.flag)


def test_hung_disk(p):
    """Requests stuck in a disk delay neither pings and other requests of their connection nor other bricks."""
    hung, fine = p.serve(Brick(p.work + "/hung/b")), p.serve(Brick(p.work + "/fine"))
    c, d, other = p.client(hung), p.client(hung), p.client(fine)
    gfid, other_gfid = c.create("file"), other.create("file")
    hang(p, True)
    stuck = [c.write_send(gfid, b"x" * 100, offset=100 * i) for i in range(3)]
    begin = time.monotonic()
    for _ in range(20):
        assert c.ping() and d.ping() and other.ping()
        assert c.stat(gfid)[0] == 0 and d.stat(gfid)[0] == 0
        assert other.fop_wait(other.write_send(other_gfid, b"y"))[0] == 1
    took = time.monotonic() - begin
    assert took < 5, "%.1f s for requests that need no disk" % took
    assert not any(x in c.replies for x in stuck)
    # more than there are threads: the rest is queued, pings are answered still
    many = [c.write_send(gfid, b"z" * 100, offset=100 * i) for i in range(40)]
    assert c.ping() and d.ping()
    assert other.fop_wait(other.write_send(other_gfid, b"y"))[0] == 1
    hang(p, False)
    assert all(c.fop_wait(x)[0] == 100 for x in stuck + many)
    assert os.path.getsize(hung.path + "/file") == 4000


def test_outstanding_limit(p):
    """A connection with too many unanswered calls is not read from, and goes on when they are answered."""
    brick = p.serve(Brick(p.work + "/hung/limit", ["rpc.outstanding-rpc-limit 4"]))
    c = p.client(brick)
    gfid = c.create("file")
    hang(p, True)
    stuck = [c.write_send(gfid, b"x" * 10, offset=10 * i) for i in range(12)]
    ping = c.send(DUMP, 1, 2)
    assert c.quiet(0.2), "the ping behind the limit was answered"
    assert p.client(brick).ping()
    hang(p, False)
    assert all(c.fop_wait(x)[0] == 10 for x in stuck)
    assert c.wait(ping)[0] == 0


def test_disconnect_while_hung(p):
    brick = p.serve(Brick(p.work + "/hung/disconnect"))
    a, b = p.client(brick), p.client(brick)
    gfid = a.create("file")
    assert a.inodelk(gfid, 1, 1, b"A")[0] == 0
    hang(p, True)
    stuck = [a.write_send(gfid, b"x") for _ in range(3)]
    waiting = b.inodelk_send(gfid, 2, 1, b"B")
    assert b.ping() and stuck
    a.close()
    assert b.ping()
    assert b.stat(gfid)[0] == 0
    hang(p, False)
    assert b.fop_wait(waiting)[0] == 0
    eventually("A is gone", lambda: p.status()[brick.path]["clients"] == 1)


def test_leaving_a_hung_disk(p):
    """What a client leaves behind may have to wait for the disk: also then pings are answered."""
    brick = p.serve(Brick(p.work + "/hung/leaving"))
    leaving, staying = [p.client(brick) for _ in range(4)], [p.client(brick) for _ in range(8)]
    gfid = staying[0].create("file")
    assert staying[0].fop(4, ROOT + struct.pack(">II", 0o755, 0) + opaque(b"dir") + gfid_req(os.urandom(16)))[0] == 0
    for i, c in enumerate(leaving):  # files without a name that are still open
        name = opaque(b"open%d" % i)
        assert c.fop(23, ROOT + struct.pack(">III", os.O_RDWR, 0o644, 0) + name + gfid_req(os.urandom(16)))[0] == 0
        assert c.fop(5, ROOT + name + struct.pack(">I", 0) + NULL_DICT)[0] == 0
    hang(p, True)
    stuck = [(c, c.write_send(gfid, b"x")) for c in staying for _ in range(30)]  # more than all threads
    assert all(c.ping() for c in staying)
    for c in leaving:
        c.close()
    for _ in range(20):
        assert all(c.ping() for c in staying)
    late = p.client(brick)
    assert late.ping()
    pairs = {"remote-subvolume": brick.path, "process-uuid": "sub", "fops-version": FOP, "subdir-mount": "/dir"}
    sub = Client(p.port)
    answer = sub.send(HANDSHAKE, 2, 1, opaque(old_dict(pairs)))
    assert sub.quiet() and all(c.ping() for c in staying)
    hang(p, False)
    assert sub.wait(answer)[0] == 0 and sub.stat()[0] == 0
    assert all(c.fop_wait(x)[0] == 1 for c, x in stuck)
    eventually("they are gone", lambda: p.status()[brick.path]["clients"] == 10)
    eventually("what they held is gone", lambda: not os.listdir(brick.path + "/.glusterfs/unlink"))
    assert p.detach(brick)[0] == 0


def test_detach_while_hung(p):
    brick = p.serve(Brick(p.work + "/hung/detach"))
    c = p.client(brick)
    gfid = c.create("file")
    hang(p, True)
    c.write_send(gfid, b"x")
    c.ping()
    answer = p.control.send(CONTROL, 1, 3, opaque(brick.path.encode()))
    c.wait_closed()
    assert brick.path not in p.status()
    assert p.control.quiet(0.1)
    hang(p, False)
    status, rep = p.control.wait(answer)
    assert (status, struct.unpack_from(">ii", rep)) == (0, (0, 0))


def test_disconnect_meets_detach(p):
    """Clients that leave while their brick is detached: only connections that are still open are told to end."""
    brick = p.serve(Brick(p.work + "/meeting"))
    clients = [p.client(brick) for _ in range(12)]
    with open(p.flag + ".close", "w"):
        pass
    for c in clients:
        c.close()
    assert p.detach(brick)[0] == 0
    os.unlink(p.flag + ".close")


def test_threads_run_out(p):
    """Without a thread a client waits, and the process does too; other clients are served by those there are."""
    brick, other = p.serve(Brick(p.work + "/no-threads")), p.serve(Brick(p.work + "/threads"))
    served = p.client(other)
    with open(p.flag + ".threads", "w"):
        pass
    c = Client(p.port)
    pairs = {"remote-subvolume": brick.path, "process-uuid": "patient", "fops-version": FOP}
    answer = c.send(HANDSHAKE, 2, 1, opaque(old_dict(pairs)))
    cpu, begin = p.cpu(), time.monotonic()
    while time.monotonic() < begin + 1:
        assert served.stat()[0] == 0 and served.ping()
        time.sleep(0.02)
    assert p.cpu() - cpu < 0.4, "%.2f s of CPU for waiting" % (p.cpu() - cpu)
    assert c.quiet(0) and p.attach(brick)[0] == -1
    os.unlink(p.flag + ".threads")
    assert c.wait(answer)[0] == 0 and c.stat()[0] == 0
    for b in (brick, other):
        assert p.detach(b)[0] == 0


def test_watches_run_out(p):
    """A connection that cannot be watched is closed, and not forgotten."""
    brick = p.serve(Brick(p.work + "/watches"))
    served, c = [p.client(brick) for _ in range(4)], Client(p.port)  # one on each lane
    assert c.ping()
    with open(p.flag + ".epoll", "w"):
        pass
    c.send(HANDSHAKE, 2, 1, opaque(old_dict({"remote-subvolume": brick.path, "process-uuid": "u", "fops-version": FOP})))
    c.wait_closed()
    eventually("it is gone", lambda: p.status()[brick.path]["clients"] == 4)
    os.unlink(p.flag + ".epoll")
    assert all(s.stat()[0] == 0 for s in served) and p.client(brick).stat()[0] == 0
    assert p.detach(brick)[0] == 0


def test_hung_health_check(p):
    """A disk that does not answer the health check in time takes its brick down, and only that."""
    options = ["health-check-interval 1", "health-check-timeout 1"]
    hung, fine = p.serve(Brick(p.work + "/hung/check", options)), p.serve(Brick(p.work + "/checked", options))
    c, other = p.client(hung), p.client(fine)
    hang(p, True)
    c.wait_closed()
    assert "not answered" in p.status()[hung.path]["down"]
    answer = other.stat()
    assert p.status()[fine.path]["down"] == "" and answer[0] == 0, answer[:2]
    hang(p, False)
    p.serve(hung)  # attached again: a new life
    assert p.status()[hung.path]["down"] == ""
    assert p.client(hung).stat()[0] == 0


def test_one_process_a_directory(p):
    brick = p.serve(Brick(p.work + "/once"))
    p.client(brick).create("here")
    with tempfile.TemporaryDirectory(prefix="mortar-brick-", dir="/var/tmp") as work:
        other = Process(work)
        try:
            ret, errno, text = other.attach(brick)
            assert (ret, errno) == (-1, 16) and "served already" in text and brick.path in text, (errno, text)
            assert brick.path not in other.status()
            assert p.client(brick).stat()[0] == 0
            assert p.detach(brick)[0] == 0
            other.serve(brick)
            assert p.attach(brick)[:2] == (-1, 16)
        finally:
            assert other.end() == 0
    p.serve(brick)  # a process that has ended holds nothing
    assert p.client(brick).stat()[0] == 0


def checked(brick):
    return os.stat(brick.path + "/.glusterfs/health_check").st_mtime_ns


def test_long_purge(p):
    """Removing what is in the landfill may take long: that is no sign of a broken disk, and checks go on."""
    brick = p.serve(Brick(p.work + "/jammed/b", ["health-check-interval 1", "health-check-timeout 1",
                                                 "janitor-sleep-duration 1"]))
    garbage = brick.path + "/.glusterfs/landfill/garbage"
    hang(p, True)
    with open(garbage, "w"):
        pass
    before = checked(brick)
    for _ in range(2):
        eventually("another check", lambda: checked(brick) > before or p.status()[brick.path]["down"])
        assert p.status()[brick.path]["down"] == ""
        before = checked(brick)
    assert os.path.exists(garbage)
    hang(p, False)
    eventually("the landfill is empty", lambda: not os.path.exists(garbage))
    assert p.detach(brick)[0] == 0


# ---- ending --------------------------------------------------------------------------------------------------------


def test_storage_fails(p):
    """The health check finds the directory gone: clients are told and disconnected, the rest goes on."""
    brick, fine = p.serve(Brick(p.work + "/failing", ["health-check-interval 1"])), p.serve(Brick(p.work + "/intact"))
    c, other = p.client(brick), p.client(fine)
    eventually("the directory is gone", lambda: shutil.rmtree(brick.path, ignore_errors=True) or
               not os.path.exists(brick.path))  # the health check may be writing there
    c.wait_closed()
    assert [struct.unpack_from(">III", r, 12) for r in c.callbacks] == [(52743234, 1, 7)]
    assert p.status()[brick.path]["down"] != ""
    d = Client(p.port)
    assert d.setvolume({"remote-subvolume": brick.path, "process-uuid": "x", "fops-version": FOP})[:2] == (-1, 11)
    assert other.stat()[0] == 0


def test_descriptors_run_out(p):
    """Without descriptors for more, the process serves those who are there, keeps its bricks, and waits quietly."""
    brick = p.serve(Brick(p.work + "/descriptors", ["health-check-interval 1"]))
    c = p.client(brick)
    gfid = c.create("file")
    count = len(os.listdir("/proc/%d/fd" % p.p.pid))
    limits = resource.prlimit(p.p.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(p.p.pid, resource.RLIMIT_NOFILE, (count + 3, limits[1]))
    strangers = [Client(p.port) for _ in range(12)]
    strangers[0].ping()
    cpu, begin = p.cpu(), time.monotonic()
    while time.monotonic() < begin + 2.5:  # longer than it takes to look after a brick
        assert c.stat()[0] == 0 and c.ping()
        time.sleep(0.05)
    assert p.cpu() - cpu < 0.5, "%.2f s of CPU for waiting" % (p.cpu() - cpu)
    assert c.fop(11, gfid + struct.pack(">I", os.O_RDWR) + NULL_DICT)[:2] == (-1, 24)
    assert p.status()[brick.path]["down"] == ""
    for s in strangers:
        s.close()
    resource.prlimit(p.p.pid, resource.RLIMIT_NOFILE, limits)
    assert p.client(brick).stat()[0] == 0


def test_one_client_takes_not_all_descriptors(p):
    limits = resource.prlimit(p.p.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(p.p.pid, resource.RLIMIT_NOFILE, (600, limits[1]))
    brick, other = p.serve(Brick(p.work + "/greedy")), p.serve(Brick(p.work + "/modest"))
    a, b = p.client(brick), p.client(other)
    opening = a.create("file") + struct.pack(">I", os.O_RDWR) + NULL_DICT
    answers = [a.fop_wait(x)[:2] for x in [a.fop_send(11, opening) for _ in range(700)]]
    assert answers.count((0, 0)) == 299 and answers.count((-1, 24)) == 401, answers  # CREATE has one as well
    for c in (b, p.client(brick)):
        gfid = c.create("another")
        assert c.fop(11, gfid + struct.pack(">I", os.O_RDWR) + NULL_DICT)[0] == 0
    resource.prlimit(p.p.pid, resource.RLIMIT_NOFILE, limits)
    for x in (brick, other):
        assert p.detach(x)[0] == 0


def test_drain(p):
    """DETACH waits until clients let go: no new clients, no new locks, everything else goes on."""
    brick = p.serve(Brick(p.work + "/drain"))
    a, b = p.client(brick), p.client(brick)
    gfid, alone = a.create("file"), a.create("alone")
    assert a.inodelk(gfid, 1, 1, b"A")[0] == 0 and a.inodelk(alone, 1, 1, b"A")[0] == 0
    waiting = b.inodelk_send(gfid, 2, 1, b"B")
    assert b.ping() and a.ping() and not any(alone in c for c in a.callbacks)
    answer = p.control.send(CONTROL, 1, 3, opaque(brick.path.encode()))
    assert b.fop_wait(waiting)[:2] == (-1, 107)
    assert b.inodelk(gfid, 1, 1, b"B", start=9, length=1) == (-1, 107)
    assert p.status()[brick.path]["down"] == "being stopped"
    late = p.client()
    ret, errno, d = late.setvolume({"remote-subvolume": brick.path, "process-uuid": "late", "fops-version": FOP, "opversion": 100000})
    assert (ret, errno) == (-1, 11), (ret, errno, d)
    assert a.fop_wait(a.write_send(gfid, b"under the lock"))[0] == 14 and b.stat(gfid)[0] == 0
    assert a.ping() and any(alone in c for c in a.callbacks), "the holder is told that the lock is wanted"
    assert a.inodelk(gfid, 1, 2, b"A")[0] == 0
    assert p.control.quiet(0.1)
    assert a.inodelk(alone, 1, 2, b"A")[0] == 0
    a.wait_closed()
    b.wait_closed()
    status, rep = p.control.wait(answer)
    assert (status, struct.unpack_from(">ii", rep)) == (0, (0, 0)) and brick.path not in p.status()
    p.serve(brick)
    assert p.client(brick).inodelk(gfid, 1, 1, b"A")[0] == 0  # a brick that is opened again knows nothing of it


def test_drain_limit(p):
    """Who does not let go is disconnected."""
    brick = p.serve(Brick(p.work + "/drain-limit"))
    a = p.client(brick)
    gfid = a.create("file")
    assert a.inodelk(gfid, 1, 1, b"A")[0] == 0
    begin = time.monotonic()
    assert p.detach(brick)[0] == 0
    assert DRAIN_SECONDS <= time.monotonic() - begin < DRAIN_SECONDS + 5
    a.wait_closed()


def test_drain_call(p):
    """DRAIN is answered at once; DETACH finishes it; without one the brick is detached at the limit."""
    bricks = [p.serve(Brick(p.work + "/drain-call%d" % i)) for i in range(2)]
    clients = [p.client(b) for b in bricks]
    gfid = clients[0].create("file")
    assert p.control_call(6, opaque(b"/no/such/brick"))[0] == -1
    for b in bricks:
        assert p.control_call(6, opaque(b.path.encode()))[0] == 0
    assert clients[0].inodelk(gfid, 1, 1, b"A") == (-1, 107) and clients[1].stat()[0] == 0
    assert p.detach(bricks[0])[0] == 0
    clients[0].wait_closed()
    assert clients[1].stat()[0] == 0
    clients[1].wait_closed()
    eventually("the end of the other", lambda: bricks[1].path not in p.status())


def test_drain_answers(p):
    """A request that runs is answered before its client is disconnected."""
    brick = p.serve(Brick(p.work + "/hung/answers"))
    c = p.client(brick)
    gfid = c.create("file")
    hang(p, True)
    written = c.write_send(gfid, b"late")
    assert c.ping()
    answer = p.control.send(CONTROL, 1, 3, opaque(brick.path.encode()))
    assert p.status()[brick.path]["down"] == "being stopped"
    assert c.quiet(0.1) and p.control.quiet(0)
    hang(p, False)
    assert c.fop_wait(written)[0] == 4
    c.wait_closed()
    status, rep = p.control.wait(answer)
    assert (status, struct.unpack_from(">ii", rep)) == (0, (0, 0))


def test_sigterm_drains(p):
    bricks = [p.serve(Brick(p.work + "/sigterm%d" % i)) for i in range(2)]
    holder, other = p.client(bricks[0]), p.client(bricks[1])
    gfid = holder.create("file")
    assert holder.inodelk(gfid, 1, 1, b"A")[0] == 0
    p.p.send_signal(signal.SIGTERM)
    other.wait_closed()
    assert holder.stat(gfid)[0] == 0 and holder.inodelk(gfid, 1, 2, b"A")[0] == 0
    holder.wait_closed()
    assert p.p.wait(10) == 0


def test_sigterm_twice(p):
    brick = p.serve(Brick(p.work + "/sigterm"))
    c = p.client(brick)
    gfid = c.create("file")
    assert c.inodelk(gfid, 1, 1, b"A")[0] == 0
    p.p.send_signal(signal.SIGTERM)
    eventually("the brick is being stopped", lambda: p.status()[brick.path]["down"] == "being stopped")
    begin = time.monotonic()
    p.p.send_signal(signal.SIGTERM)
    assert p.p.wait(10) == 0 and time.monotonic() - begin < DRAIN_SECONDS
    c.wait_closed()


def test_sigterm(p):
    brick = p.serve(Brick(p.work + "/sigterm"))
    clients = [p.client(brick) for _ in range(10)] + [p.client()]
    clients[0].create("file")
    begin = time.monotonic()
    p.p.send_signal(signal.SIGTERM)
    for c in clients:
        c.wait_closed()
    assert p.p.wait(10) == 0
    assert time.monotonic() - begin < 5
    assert not os.path.exists(p.control_path)


def test_control_shutdown(p):
    p.client(p.serve(Brick(p.work + "/shutdown")))
    assert p.control_call(4)[0] == 0
    assert p.p.wait(10) == 0


def test_command_line():
    def run(*args):
        r = subprocess.run([PROGRAM, *args], capture_output=True, text=True, timeout=20)
        return r.returncode, r.stdout + r.stderr

    assert run("--version")[0] == 0 and run("--version")[1].startswith("mortar-brick ")
    assert "--port-range" in run("--help")[1]
    for bad in ((), ("--port", "70000"), ("--port-range", "5-1"), ("--nonsense",), ("extra",), ("--log-level", "loud")):
        assert run(*bad)[0] == 2, bad
    assert run("--volfile", "/does/not/exist", "--port", "0")[0] == 1
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        code, text = run("--control", "/tmp/mortar-test-%d" % os.getpid(), "--port", str(taken.getsockname()[1]))
        assert code == 1 and "in use" in text, (code, text)


SHARED = [test_small_programs, test_rpc_errors, test_fop_before_handshake, test_handshake_errors, test_setvolume_again,
          test_credentials, test_auth_change_disconnects, test_insecure_port, test_subdir, test_fragments,
          test_hostile_streams, test_pipelined, test_large_records, test_slow_reader, test_idle_connections,
          test_disconnect_releases_locks, test_metadata_range_is_a_domain, test_waiter_goes_away,
          test_removals_wait_for_locks, test_leaving_while_resumed, test_many_bricks,
          test_control_errors, test_metrics, test_one_process_a_directory, test_drain, test_drain_limit,
          test_drain_call]
PRELOADED = [test_hung_disk, test_outstanding_limit, test_disconnect_while_hung, test_leaving_a_hung_disk,
             test_detach_while_hung, test_disconnect_meets_detach, test_threads_run_out, test_watches_run_out,
             test_hung_health_check, test_long_purge, test_drain_answers]
ALONE = [test_storage_fails, test_descriptors_run_out, test_one_client_takes_not_all_descriptors, test_sigterm,
         test_sigterm_drains, test_sigterm_twice, test_control_shutdown]

sys.exit(main([test_command_line], SHARED, PRELOADED, ALONE))
