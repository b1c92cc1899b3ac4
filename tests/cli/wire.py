"""The few RPC calls a client makes to mortard, by hand (wire.md §1, §2.1, §4.3-4.5)."""
import socket
import struct

HANDSHAKE, PORTMAP, DUMP, CALLBACK = 14398633, 34123456, 123451501, 52743234


def pad(data):
    return data + b"\0" * (-len(data) % 4)


def opaque(data):
    return struct.pack(">I", len(data)) + pad(data)


def old_dict(pairs):
    out = struct.pack(">I", len(pairs))
    for key, value in pairs.items():
        value = value.encode() + b"\0"
        out += struct.pack(">II", len(key), len(value)) + key.encode() + b"\0" + value
    return out


class Connection:
    def __init__(self, host="127.0.0.1", port=24007, source=None):
        self.sock = socket.create_connection((host, port), timeout=10, source_address=source and (source, 0))
        self.xid = 0
        self.callbacks = []

    def close(self):
        self.sock.close()

    def read(self, n):
        data = b""
        while len(data) < n:
            piece = self.sock.recv(n - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def record(self):
        data, last = b"", False
        while not last:
            mark, = struct.unpack(">I", self.read(4))
            last = bool(mark & 0x80000000)
            data += self.read(mark & 0x7FFFFFFF)
        return data

    def wait_callback(self):
        while not self.callbacks:
            self.take(self.record())
        return self.callbacks.pop(0)

    def take(self, record):
        """A reply's (status, body), or None when the record was a callback."""
        xid, direction = struct.unpack(">II", record[:8])
        if direction == 0:
            self.callbacks.append(struct.unpack(">III", record[12:24]))
            return None
        assert xid == self.xid, "reply to another call"
        denied, _, verf = struct.unpack(">III", record[8:20])
        assert denied == 0
        body = record[20 + verf:]
        return struct.unpack(">I", body[:4])[0], body[4:]

    def call(self, program, version, procedure, args=b""):
        self.xid += 1
        body = struct.pack(">IIIIII", self.xid, 0, 2, program, version, procedure) + struct.pack(">IIII", 0, 0, 0, 0) + args
        self.sock.sendall(struct.pack(">I", 0x80000000 | len(body)) + body)
        reply = None
        while reply is None:
            reply = self.take(self.record())
        return reply

    def dump(self):
        status, body = self.call(DUMP, 1, 1, struct.pack(">Q", 0xCAED))
        assert status == 0
        at, programs = 16, set()
        while struct.unpack(">I", body[at:at + 4])[0]:
            size, = struct.unpack(">I", body[at + 4:at + 8])
            at += 8 + size + -size % 4
            programs.add(struct.unpack(">QQ", body[at:at + 16]))
            at += 16
        return programs

    def getspec(self, key, xdata={"min-op-version": "1", "max-op-version": "100000"}):
        """(op_ret, op_errno, text)"""
        args = struct.pack(">I", 1) + opaque(key.encode()) + opaque(b"" if xdata is None else old_dict(xdata))
        status, body = self.call(HANDSHAKE, 2, 2, args)
        assert status == 0
        op_ret, op_errno, size = struct.unpack(">iiI", body[:12])
        return op_ret, op_errno, body[12:12 + size].decode()

    def port(self, brick):
        status, body = self.call(PORTMAP, 1, 1, opaque(brick.encode()))
        assert status == 0
        return struct.unpack(">iiii", body[:16])

    def volume_info(self, volume):
        status, body = self.call(HANDSHAKE, 2, 6, opaque(old_dict({"flags": "1", "volname": volume})))
        assert status == 0
        return struct.unpack(">ii", body[:8]) + (body[8:],)
