"""The messages of the fop program in Python, read from the table that the C code is made of (src/proto/fop.h)."""
import os
import re
import struct

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../src/proto/")
NULL_GFID = bytes(16)


class Gfid(bytes):
    """A dict value of type GFUUID."""


class Mdata(tuple):
    """A dict value of type MDATA: atime, mtime, ctime, each (seconds, nanoseconds)."""


class Bare(str):
    """A dict key that goes over the wire without its NUL."""


class Typed(tuple):
    """A dict value (type number, the bytes on the wire)."""


# ---- the table -------------------------------------------------------------------------------------------------------


def read_table(name):
    with open(os.path.join(SOURCE, name)) as f:
        text = re.sub(r"\\\n", " ", f.read())
    lists = {m[1]: m[2] for m in re.finditer(r"#define\s+((?:MSG|FOP)_\w+)\(F\)(.*)", text)}

    def fields(key):
        body, out = lists[key], []
        for m in re.finditer(r"(FOP_R\w)\(F\)|F\((\w+),\s*(\w+),[^)]*\)", body):
            out += fields(m[1]) if m[1] else [(m[2], m[3])]
        return out

    numbers = {m[2]: int(m[1]) for m in re.finditer(r"X\((\d+), (\w+), \w+\)", text)}
    return fields, numbers


_fields, _numbers = read_table("fop.h")
FOPS = {name: (number, _fields("MSG_%s_REQ" % name), _fields("MSG_%s_REP" % name)) for name, number in _numbers.items()}
_handshake_fields, _ = read_table("handshake.h")
CALLBACKS = {5: ("CACHE_INVALIDATION", _handshake_fields("MSG_CACHE_INVALIDATION_CBK")),
             10: ("INODELK_CONTENTION", _handshake_fields("MSG_INODELK_CONTENTION_CBK")),
             11: ("ENTRYLK_CONTENTION", _handshake_fields("MSG_ENTRYLK_CONTENTION_CBK"))}

# ---- encoding --------------------------------------------------------------------------------------------------------

IATT = ("gfid:16s flags:Q ino:Q dev:Q rdev:Q size:Q blocks:Q attributes:Q attributes_mask:Q atime:q mtime:q ctime:q btime:q "
        "atime_nsec:I mtime_nsec:I ctime_nsec:I btime_nsec:I nlink:I uid:I gid:I blksize:I mode:I")
OLD_IATT = ("gfid:16s ino:Q dev:Q mode:I nlink:I uid:I gid:I rdev:Q size:Q blksize:I blocks:Q atime:I atime_nsec:I mtime:I "
            "mtime_nsec:I ctime:I ctime_nsec:I")
STATFS = ("bsize:Q frsize:Q blocks:Q bfree:Q bavail:Q files:Q ffree:Q favail:Q fsid:Q flag:Q namemax:Q")
LEASE = "cmd:I type:I id:16s flags:I"


def shape(text):
    names, codes = zip(*(word.split(":") for word in text.split()))
    return names, struct.Struct(">" + "".join(codes))


SHAPES = {"iatt": shape(IATT), "oiatt": shape(OLD_IATT), "statfs": shape(STATFS), "lease": shape(LEASE)}
NUMBERS = {"u32": ("I", 32), "i32": ("I", 32), "u64": ("Q", 64), "i64": ("Q", 64)}


def opaque(b):
    return struct.pack(">I", len(b)) + b + bytes(-len(b) % 4)


def pack_shape(kind, values):
    names, s = SHAPES[kind]
    full = [values.get(n, NULL_GFID if n in ("gfid", "id") else 0) for n in names]
    return s.pack(*full)


def typed(value):
    """(type, wire bytes) of a dict value by its Python type."""
    if isinstance(value, Typed):
        return value
    if isinstance(value, Gfid):
        return 7, bytes(value)
    if isinstance(value, Mdata):
        return 9, struct.pack(">qqqIII", *[t[0] for t in value], *[t[1] for t in value])
    if isinstance(value, bytes):
        return 6, opaque(value)
    if isinstance(value, str):
        return 5, opaque(value.encode() + b"\0")
    return 2, struct.pack(">q", value)


def pack_dict(pairs):
    if pairs is None:
        return struct.pack(">IiI", 0, -1, 0)
    body = b""
    for key, value in pairs.items():
        kind, data = typed(value)
        body += opaque(key.encode() + (b"" if isinstance(key, Bare) else b"\0")) + struct.pack(">i", kind) + data
    return struct.pack(">IiI", len(body), len(pairs), len(pairs)) + body


def pack_flock(f):
    f = dict(dict(type=0, whence=0, start=0, len=0, pid=0, owner=b""), **(f or {}))
    return struct.pack(">IIQQI", f["type"], f["whence"], f["start"] & (2 ** 64 - 1), f["len"] & (2 ** 64 - 1), f["pid"]) + \
        opaque(f["owner"])


def pack_field(kind, value, request):
    if kind in NUMBERS:
        code, bits = NUMBERS[kind]
        return struct.pack(">" + code, (value or 0) & (2 ** bits - 1))
    if kind == "gfid":
        return value or NULL_GFID
    if kind in ("name", "text", "opaque"):
        return opaque(value.encode() if isinstance(value, str) else value or b"")
    if kind == "dict":
        return pack_dict(value)
    if kind == "flock":
        return pack_flock(value)
    if kind == "plen":
        return struct.pack(">I", len(request.get("data") or b""))
    if kind == "payload":
        return value or b""
    if kind in SHAPES:
        return pack_shape(kind, value or {})
    if kind == "locks":
        return bytes(4)
    raise TypeError(kind)


def pack_request(name, values):
    number, fields, _ = FOPS[name]
    unknown = set(values) - {f for _, f in fields}
    if unknown:
        raise TypeError("%s has no %s" % (name, ", ".join(unknown)))
    return number, b"".join(pack_field(kind, values.get(f), values) for kind, f in fields)


# ---- decoding --------------------------------------------------------------------------------------------------------


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, s):
        s = struct.Struct(">" + s) if isinstance(s, str) else s
        values = s.unpack_from(self.data, self.at)
        self.at += s.size
        return values[0] if len(values) == 1 else values

    def opaque(self):
        n = self.take("I")
        out = self.data[self.at:self.at + n]
        self.at += n + -n % 4
        return out

    def shape(self, kind):
        names, s = SHAPES[kind]
        return dict(zip(names, self.take(s)))

    def dict(self):
        _, count, pairs = self.take("IiI")
        if count < 0:
            return {}
        out = {}
        for _ in range(pairs):
            key = self.opaque().rstrip(b"\0").decode(errors="surrogateescape")
            kind = self.take("i")
            if kind in (1, 6):
                out[key] = self.opaque()
            elif kind == 5:
                out[key] = self.opaque().rstrip(b"\0").decode(errors="surrogateescape")
            elif kind in (2, 3):
                out[key] = self.take("q" if kind == 2 else "Q")
            elif kind == 7:
                out[key] = Gfid(self.take("16s"))
            elif kind == 8:
                out[key] = self.shape("iatt")
            elif kind == 9:
                out[key] = Mdata(self.take("qqqIII"))
            else:
                raise ValueError("dict value of type %d" % kind)
        return out

    def old_dict(self):
        data, out = Reader(self.opaque()), {}
        if data.data:
            for _ in range(data.take("i")):
                klen, vlen = data.take("ii")
                key = data.data[data.at:data.at + klen].decode()
                data.at += klen + 1
                out[key] = data.data[data.at:data.at + vlen]
                data.at += vlen
        return out

    def list(self, one):
        out = []
        while self.take("I"):
            out.append(one())
        return out

    def entry(self, plus):
        e = dict(zip(("ino", "off", "len", "type"), self.take("QQII")), name=self.opaque().decode(errors="surrogateescape"))
        if plus:
            e["stat"], e["dict"] = self.shape("iatt"), self.dict()
        return e

    def flock(self):
        f = dict(zip(("type", "whence", "start", "len", "pid"), self.take("IIqqI")))
        return dict(f, owner=self.opaque())

    def lock(self):
        return dict(flock=self.flock(), client_uid=self.opaque(), flags=self.take("I"))

    def field(self, kind):
        simple = {"gfid": "16s", "u32": "I", "i32": "i", "u64": "Q", "i64": "q", "plen": "I"}
        if kind in simple:
            return self.take(simple[kind])
        if kind in SHAPES:
            return self.shape(kind)
        if kind in ("name", "text"):
            return self.opaque().decode(errors="surrogateescape")
        if kind == "payload":
            return self.data[self.at:]
        return {"opaque": self.opaque, "dict": self.dict, "odict": self.old_dict, "flock": self.flock,
                "dirents": lambda: self.list(lambda: self.entry(False)),
                "direntps": lambda: self.list(lambda: self.entry(True)), "locks": lambda: self.list(self.lock)}[kind]()


class Message:
    """A decoded reply or callback: its fields as attributes; `kind` is its procedure, `err` 0 or the errno of a failed call."""

    def __init__(self, kind, values):
        self.kind, self.values = kind, values
        self.__dict__.update(values)
        self.err = (values["op_errno"] or -1) if values.get("op_ret", 0) < 0 else 0


def unpack_reply(name, data):
    r = Reader(data)
    return Message(name, {f: r.field(kind) for kind, f in FOPS[name][2]})


def unpack_callback(number, data):
    name, fields = CALLBACKS.get(number, ("CALLBACK_%d" % number, []))
    r = Reader(data)
    return Message(name, {f: r.field(kind) for kind, f in fields})
