#!/usr/bin/env python3
"""Files that a brick lends to clients on its machine: who gets them, which, how many, and when they are to be given back.

usage: lender_test.py MORTAR_BRICK HANG_PRELOAD [TEST…]
"""
import os
import socket
import stat
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from process import Brick, eventually, main
from rpcwire import FOP, NULL_DICT, ROOT, opaque

ASK, LEND = "mortar-local-reads", b"mortar.lend\0"
EBADF = 9
AT_ONCE = 256  # loans before the rate counts
MDATA = 1


def lend_dict(number):
    pair = opaque(LEND) + struct.pack(">Iq", 2, number)
    return struct.pack(">IiI", len(pair), 1, 1) + pair


class Borrower:
    """A client that asks for files, and its socket."""

    def __init__(self, p, brick, token=None, connect=True):
        self.c = p.client()
        self.ret, _, self.d = self.c.setvolume({"remote-subvolume": brick.path, "process-uuid": os.urandom(8).hex(),
                                                "fops-version": FOP, "opversion": 100000, ASK: "1"})
        assert self.ret == 0, self.d
        self.path, self.token = self.d.get("mortar-local-socket"), self.d.get("mortar-local-token")
        self.s = None
        if connect:
            self.s = caller(self.path)
            self.s.send((token or self.token).encode())

    def open(self, gfid, flags=os.O_RDONLY):
        ret, errno, rest = self.c.fop(11, gfid + struct.pack(">I", flags) + NULL_DICT)
        assert ret >= 0, errno
        return struct.unpack_from(">q", rest, len(NULL_DICT))[0]

    def opendir(self, gfid):
        ret, errno, rest = self.c.fop(20, gfid + NULL_DICT)
        assert ret >= 0, errno
        return struct.unpack_from(">q", rest, len(NULL_DICT))[0]

    def read(self, gfid, fd, number=7, xdata=None):
        body = gfid + struct.pack(">qQII", fd, 0, 100, 0) + (lend_dict(number) if xdata is None else xdata)
        return self.c.fop(12, body)[:2]

    def taken(self):
        """What was lent and not taken yet: (number, flags, descriptor), or None."""
        self.s.setblocking(False)
        try:
            data, fds, flags, _ = socket.recv_fds(self.s, 100, 4)
        except BlockingIOError:
            return None
        if not data:
            raise EOFError
        assert len(data) == 16 and len(fds) == 1 and not flags & socket.MSG_CTRUNC
        return struct.unpack("QII", data)[:2] + (fds[0],)

    def is_shut(self):
        try:
            return self.taken() is None and False
        except (EOFError, ConnectionResetError):
            return True

    def close(self):
        self.c.close()
        if self.s:
            self.s.close()


def caller(path):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(20)
    s.connect(path)
    return s


def is_refused(s):
    return s.recv(1) == b""


def make_file(b, name, data=b"contents"):
    gfid = b.c.create(name)
    assert b.c.fop_wait(b.c.write_send(gfid, data))[0] == len(data)
    return gfid


def let_in(b, gfid):
    """The brick has let B in: the first loan has come."""
    fd = b.open(gfid)

    def lent():
        b.read(gfid, fd)
        t = b.taken()
        if t:
            os.close(t[2])
        return t
    eventually("the first loan", lent)
    return fd


# ---- who ---------------------------------------------------------------------------------------------------------------


def test_only_who_asks_is_told(p):
    brick = p.serve(Brick(p.work + "/asks"))
    c = p.client()
    ret, _, d = c.setvolume({"remote-subvolume": brick.path, "process-uuid": "u", "fops-version": FOP, "opversion": 1})
    assert ret == 0 and not [k for k in d if "local" in k], d
    b = Borrower(p, brick, connect=False)
    assert len(b.token) == 32 and b.path == p.work + "/local/control"
    place, sock = os.stat(os.path.dirname(b.path)), os.stat(b.path)
    assert stat.S_IMODE(place.st_mode) == 0o700 and stat.S_IMODE(sock.st_mode) & 0o077 == 0
    assert Borrower(p, brick, connect=False).token != b.token


def test_token(p):
    brick = p.serve(Brick(p.work + "/token"))
    b = Borrower(p, brick)
    gfid = make_file(b, "f")
    let_in(b, gfid)
    for text in (b"0" * 32, b"", b.token.encode()[:31], b.token.encode() + b"0", os.urandom(4000)):
        s = caller(b.path)
        s.send(text) if text else s.shutdown(socket.SHUT_WR)
        assert is_refused(s), text
    again = caller(b.path)  # let in once is all there is
    again.send(b.token.encode())
    assert is_refused(again)
    with open(p.work + "/log") as f:
        assert f.read().count("is lent nothing") == 1
    fd = b.open(gfid)
    b.read(gfid, fd)
    os.close(b.taken()[2])  # the one who is in notices nothing


def test_another_user(p):
    brick = p.serve(Brick(p.work + "/user"))
    b = Borrower(p, brick, connect=False)
    for path, mode in ((p.work, 0o711), (os.path.dirname(b.path), 0o711), (b.path, 0o666)):
        os.chmod(path, mode)  # as if somebody had been careless
    r, w = os.pipe()
    child = os.fork()
    if child == 0:
        answer = b"failed"
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            s = caller(b.path)
            try:
                s.send(b.token.encode())
                answer = b"refused" if is_refused(s) else b"served"
            except (BrokenPipeError, ConnectionResetError):
                answer = b"refused"
        finally:
            os.write(w, answer)
            os._exit(0)
    os.close(w)
    assert os.read(r, 100) == b"refused"
    os.waitpid(child, 0)
    os.chmod(os.path.dirname(b.path), 0o700)
    b.s = caller(b.path)  # the token is still good
    b.s.send(b.token.encode())
    let_in(b, make_file(b, "f"))


def test_callers_are_few_and_hurried(p):
    brick = p.serve(Brick(p.work + "/callers"))
    b = Borrower(p, brick, connect=False)
    silent = [caller(b.path) for _ in range(64)]
    begin = time.monotonic()
    assert is_refused(caller(b.path))
    assert time.monotonic() - begin < 4
    assert all(is_refused(s) for s in silent)
    assert 4 < time.monotonic() - begin < 15
    b.s = caller(b.path)
    b.s.send(b.token.encode())
    let_in(b, make_file(b, "f"))


# ---- what ----------------------------------------------------------------------------------------------------------------


def test_loan(p):
    brick = p.serve(Brick(p.work + "/loan"))
    b = Borrower(p, brick)
    gfid = make_file(b, "f", b"what is in it")
    let_in(b, gfid)
    for flags in (os.O_RDONLY, os.O_RDWR, os.O_RDWR | os.O_APPEND):
        fd = b.open(gfid, flags)
        assert b.read(gfid, fd, 1 << 40)[0] == 13
        number, loan, mine = b.taken()
        assert (number, loan) == (1 << 40, MDATA)
        assert os.pread(mine, 100, 0) == b"what is in it"
        assert os.fstat(mine).st_ino == os.stat(brick.path + "/f").st_ino
        try:
            os.pwrite(mine, b"x", 0)
            raise AssertionError("it is writable")
        except OSError as e:
            assert e.errno == EBADF
        os.close(mine)
        assert b.taken() is None  # one for one


def test_what_is_not_lent(p):
    brick = p.serve(Brick(p.work + "/not"))
    b = Borrower(p, brick)
    gfid = make_file(b, "f")
    good = let_in(b, gfid)
    written = b.open(gfid, os.O_WRONLY)
    directory = b.opendir(ROOT)
    assert b.read(gfid, written)[0] == -1 and b.taken() is None
    assert b.read(ROOT, directory)[0] == -1 and b.taken() is None
    assert b.read(gfid, 4711)[0] == -1 and b.taken() is None
    assert b.read(gfid, -1)[0] == -1 and b.taken() is None
    assert b.read(gfid, -2)[0] == 8 and b.taken() is None  # nobody's
    assert b.read(gfid, good, xdata=NULL_DICT)[0] == 8 and b.taken() is None
    other = Borrower(p, brick)
    assert other.read(gfid, good)[0] == -1  # a descriptor of another client
    assert b.read(gfid, good)[0] == 8
    os.close(b.taken()[2])


def test_rate(p):
    brick = p.serve(Brick(p.work + "/rate"))
    b = Borrower(p, brick)
    gfid = make_file(b, "f")
    fd = let_in(b, gfid)
    lent, begin = 0, time.monotonic()
    for k in range(4 * AT_ONCE):
        assert b.read(gfid, fd, k)[0] == 8
        while t := b.taken():
            os.close(t[2])
            lent += 1
    seconds = time.monotonic() - begin
    assert AT_ONCE / 2 < lent <= AT_ONCE + 1000 * seconds + 1, (lent, seconds)
    assert lent < 4 * AT_ONCE or seconds > 0.7, (lent, seconds)


def test_who_does_not_take_them(p):
    """Loans wait in the socket, as many as it holds; the brick neither waits nor keeps descriptors."""
    brick = p.serve(Brick(p.work + "/waits"))
    b = Borrower(p, brick)
    gfid = make_file(b, "f")
    fd = let_in(b, gfid)
    before = len(os.listdir("/proc/%d/fd" % p.p.pid))
    for k in range(2 * AT_ONCE):
        assert b.read(gfid, fd, k)[0] == 8
    assert len(os.listdir("/proc/%d/fd" % p.p.pid)) <= before
    b.s.close()
    assert b.read(gfid, fd)[0] == 8  # it is the socket that broke, not the connection


# ---- back ----------------------------------------------------------------------------------------------------------------


def test_it_ends_with_the_connection(p):
    brick = p.serve(Brick(p.work + "/ends"))
    b = Borrower(p, brick)
    let_in(b, make_file(b, "f"))
    b.c.close()
    eventually("the socket is shut", b.is_shut)


def test_mandatory_locks_take_it_back(p):
    brick = p.serve(Brick(p.work + "/mandatory"))
    b = Borrower(p, brick)
    gfid = make_file(b, "f")
    fd = let_in(b, gfid)
    text = brick.volfile()
    locked = text.replace("volume %s\n" % brick.path, """volume vol-locks
    type features/locks
    option mandatory-locking forced
    subvolumes vol-posix
end-volume
volume %s
""" % brick.path).replace("    type debug/io-stats\n    subvolumes vol-posix", "    type debug/io-stats\n    subvolumes vol-locks")
    assert p.control_call(2, opaque(locked.encode()))[0] == 0
    eventually("the socket is shut", b.is_shut)
    assert b.read(gfid, fd)[0] == 8
    late = Borrower(p, brick)
    fd = late.open(gfid)
    for _ in range(20):
        assert late.read(gfid, fd)[0] == 8 and late.taken() is None
    assert p.attach(brick)[0] == 0


def test_times_in_the_inode(p):
    brick = p.serve(Brick(p.work + "/times"))
    b = Borrower(p, brick)
    gfid = make_file(b, "f")
    let_in(b, gfid)
    plain = brick.volfile().replace("    option volume-id", "    option ctime off\n    option volume-id")
    assert p.control_call(2, opaque(plain.encode()))[0] == 0
    eventually("the socket is shut", b.is_shut)  # it was told otherwise
    late = Borrower(p, brick)
    fd = let_in(late, gfid)
    late.read(gfid, fd)
    assert late.taken()[1] == 0


def test_detached(p):
    brick = p.serve(Brick(p.work + "/detached"))
    b = Borrower(p, brick)
    let_in(b, make_file(b, "f"))
    assert p.detach(brick)[0] == 0
    eventually("the socket is shut", b.is_shut)




SHARED = [test_only_who_asks_is_told, test_another_user, test_callers_are_few_and_hurried, test_loan, test_what_is_not_lent,
          test_rate, test_who_does_not_take_them, test_it_ends_with_the_connection, test_mandatory_locks_take_it_back,
          test_times_in_the_inode, test_detached]
sys.exit(main([], SHARED, [], [test_token]))
