"""A small client for the brick's protocols, for tests that speak raw bytes. Standard library only."""
import os
import select
import socket
import ssl
import struct

DUMP, HANDSHAKE, FOP, CONTROL = 123451501, 14398633, 1298437, 1836020340
ROOT = bytes(15) + b"\x01"
NULL_DICT = struct.pack(">IiI", 0, -1, 0)
AUTH_V2, AUTH_V3 = 390039, 390040


def opaque(b):
    return struct.pack(">I", len(b)) + b + bytes(-len(b) % 4)


def old_dict(pairs):
    out = struct.pack(">i", len(pairs))
    for key, value in pairs.items():
        k, v = key.encode(), value if isinstance(value, bytes) else str(value).encode() + b"\0"
        out += struct.pack(">ii", len(k), len(v)) + k + b"\0" + v
    return out


def parse_old_dict(b):
    (count,), at, pairs = struct.unpack_from(">i", b), 4, {}
    for _ in range(count):
        klen, vlen = struct.unpack_from(">ii", b, at)
        at += 8
        key = b[at:at + klen].decode()
        at += klen + 1
        pairs[key] = b[at:at + vlen].rstrip(b"\0").decode()
        at += vlen
    return pairs


def gfid_req(gfid):
    pair = opaque(b"gfid-req\0") + struct.pack(">I", 7) + gfid
    return struct.pack(">IiI", len(pair), 1, 1) + pair


def record(payload):
    return struct.pack(">I", 0x80000000 | len(payload)) + payload


def cred(owner=b"own1", pid=100, flavour=AUTH_V3):
    head = struct.pack(">iII", pid, 0, 0)
    if flavour == AUTH_V3:
        head += struct.pack(">IIQ", 0, 0, 1)
    body = head + struct.pack(">I", 0) + opaque(owner)
    return struct.pack(">I", flavour) + opaque(body)


def call(xid, prog, vers, proc, body=b"", credential=None, rpcvers=2):
    return (struct.pack(">IIIIII", xid, 0, rpcvers, prog, vers, proc) + (credential or cred()) +
            struct.pack(">II", 0, 0) + body)


class Closed(Exception):
    pass


class Client:
    """One connection, with TLS if an SSLContext is given. Replies are kept by xid, callbacks in a list."""

    def __init__(self, port=None, path=None, timeout=20, tls=None):
        if path:
            self.s = socket.socket(socket.AF_UNIX)
            self.s.connect(path)
        else:
            self.s = socket.create_connection(("127.0.0.1", port))
            self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.s.settimeout(timeout)
        if tls:
            self.s = tls.wrap_socket(self.s)
        self.xid, self.buffer, self.replies, self.callbacks = 1, b"", {}, []

    def close(self):
        self.s.close()

    def send(self, prog, vers, proc, body=b"", **more):
        self.xid += 1
        self.s.sendall(record(call(self.xid, prog, vers, proc, body, **more)))
        return self.xid

    def read_record(self):
        while True:
            if len(self.buffer) >= 4:
                n = struct.unpack(">I", self.buffer[:4])[0] & 0x7FFFFFFF
                if len(self.buffer) >= 4 + n:
                    out, self.buffer = self.buffer[4:4 + n], self.buffer[4 + n:]
                    return out
            try:
                more = self.s.recv(1 << 20)
            except (ConnectionResetError, ssl.SSLEOFError):
                raise Closed()
            if not more:
                raise Closed()
            self.buffer += more

    def take_record(self):
        r = self.read_record()
        xid, direction = struct.unpack_from(">II", r)
        if direction == 0:
            self.callbacks.append(r)
            return None
        self.replies[xid] = r
        return xid

    def wait(self, xid):
        """(accept status, results); a denied call is ("denied", reject, auth)."""
        while xid not in self.replies:
            self.take_record()
        r = self.replies.pop(xid)
        if struct.unpack_from(">I", r, 8)[0] == 1:
            return ("denied",) + struct.unpack_from(">II", r, 12)
        return struct.unpack_from(">I", r, 20)[0], r[24:]

    def call(self, prog, vers, proc, body=b"", **more):
        return self.wait(self.send(prog, vers, proc, body, **more))

    def quiet(self, seconds=0.05):
        """True if nothing arrives for a while."""
        return not self.buffer and not select.select([self.s], [], [], seconds)[0]

    def wait_closed(self):
        try:
            while True:
                self.take_record()
        except Closed:
            return

    # -- programs --

    def ping(self):
        return self.call(DUMP, 1, 2) == (0, struct.pack(">iiI", 0, 0, 0))

    def setvolume(self, pairs):
        answer = self.call(HANDSHAKE, 2, 1, opaque(old_dict(pairs)))
        if answer[0] != 0:
            return answer[0], None, None
        body = answer[1]
        ret, errno, size = struct.unpack_from(">iiI", body)
        return ret, errno, parse_old_dict(body[12:12 + size])

    def fop_send(self, proc, body, **more):
        return self.send(FOP, 400, proc, body, **more)

    def fop_wait(self, xid):
        """(op_ret, op_errno, the rest)."""
        status, body = self.wait(xid)
        assert status == 0, "fop answered with accept status %s" % (status,)
        return struct.unpack_from(">ii", body) + (body[8:],)

    def fop(self, proc, body, **more):
        return self.fop_wait(self.fop_send(proc, body, **more))

    def create(self, name, gfid=None):
        """(fd, gfid)"""
        gfid = gfid or os.urandom(16)
        body = ROOT + struct.pack(">III", os.O_RDWR, 0o644, 0) + opaque(name.encode()) + gfid_req(gfid)
        ret, errno, rest = self.fop(23, body)
        assert ret >= 0, "create %s: errno %d" % (name, errno)
        return gfid

    def write_send(self, gfid, data, fd=-2, offset=0):
        return self.fop_send(13, gfid + struct.pack(">qQII", fd, offset, len(data), 2) + NULL_DICT + data)

    def read_send(self, gfid, size, fd=-2, offset=0):
        return self.fop_send(12, gfid + struct.pack(">qQII", fd, offset, size, 0) + NULL_DICT)

    def stat_send(self, gfid=ROOT):
        return self.fop_send(1, gfid + NULL_DICT)

    def stat(self, gfid=ROOT):
        return self.fop_wait(self.stat_send(gfid))

    def inodelk_send(self, gfid, cmd, kind, owner, domain="test", start=0, length=0):
        flock = struct.pack(">IIQQI", kind, 0, start, length, 0) + opaque(b"")
        body = gfid + struct.pack(">II", cmd, kind) + flock + opaque(domain.encode()) + NULL_DICT
        return self.fop_send(29, body, credential=cred(owner))

    def inodelk(self, *args, **more):
        return self.fop_wait(self.inodelk_send(*args, **more))[:2]
