"""Probes of a brick: short programs that state what the specification says and leave a transcript.

    @probe("§6", "a gfid nobody has")               a section of brick.md and a title, which together name the probe
    def _(t):
        t.err(t.c.stat(gfid=t.gfid("nobody")), ESTALE)

A probe runs on a stock brick and on ours, each time in a directory of its own (t.dir) with the same gfids. The expectations
(t.err, t.ok, t.eq) are the specification's; everything that is sent and answered goes into the transcript in a form that does
not depend on time, host, paths or inode numbers, and the two transcripts are compared.
"""
import hashlib
import itertools
import os
import re
import select
import socket
import stat
import struct
import time

from messages import FOPS, NULL_GFID, Gfid, Mdata, Message, pack_request, unpack_callback, unpack_reply
from rpcwire import FOP, Client, Closed, call, record
from rpcwire import opaque as xdr_opaque

ROOT = bytes(15) + b"\x01"
ANONYMOUS, NO_FD = -2, -1
PROBES = []
FLAVOURS = {}


class Probe:
    def __init__(self, section, title, run, flavour):
        self.section, self.title, self.run, self.flavour = section, title, run, flavour
        self.name = "%s %s" % (section, title)


def probe(section, title, flavour="plain"):
    def add(run):
        assert all((p.section, p.title) != (section, title) for p in PROBES), title
        PROBES.append(Probe(section, title, run, flavour))
        return run
    return add


def flavour(name, value):
    FLAVOURS[name] = value


# ---- connections -----------------------------------------------------------------------------------------------------


def credential(pid=100, uid=0, gid=0, flags=0, time=(0, 0), groups=(), owner=b"own1"):
    body = struct.pack(">iIIIIQI", pid, uid, gid, flags, time[1], time[0], len(groups))
    body += b"".join(struct.pack(">I", g) for g in groups) + xdr_opaque(owner)
    return struct.pack(">I", 390040) + xdr_opaque(body)


class Pending:
    def __init__(self, name, xid, asked):
        self.name, self.xid, self.asked = name, xid, asked


class Conn:
    """A client. conn.stat(gfid=…) calls and returns the reply; conn.start("inodelk", …) only sends; conn.by(uid=…) is the
    same connection with other credentials."""

    def __init__(self, t, label, client, cred=None):
        self.t, self.label, self.client, self.cred = t, label, client, cred or {}

    def by(self, **cred):
        return Conn(self.t, self.label, self.client, dict(self.cred, **cred))

    def start(self, name, /, **fields):
        number, body = pack_request(name.upper(), fields)
        self.client.xid += 1
        self.client.s.sendall(record(call(self.client.xid, FOP, 400, number, body, credential(**self.cred))))
        self.t.note_request(self, name, fields)
        return Pending(name.upper(), self.client.xid, fields.get("xdata") or {})

    def answer(self, pending):
        status, body = self.client.wait(pending.xid)
        if status != 0:
            self.t.note("  rpc status %s" % (status,))
            return Message(pending.name, {"op_ret": -1, "op_errno": 1000 + (status if isinstance(status, int) else 0)})
        reply = unpack_reply(pending.name, body)
        self.t.note_reply(reply, pending.asked)
        return reply

    def __getattr__(self, name):
        if name.upper() not in FOPS:
            raise AttributeError(name)
        return lambda **fields: self.answer(self.start(name, **fields))

    def blocked(self, pending, seconds=0.15):
        """No answer: after two round trips and a while in which nothing arrives."""
        self.client.ping()
        self.client.ping()
        end = time.monotonic() + seconds
        while pending.xid not in self.client.replies and time.monotonic() < end:
            if select.select([self.client.s], [], [], max(0, end - time.monotonic()))[0]:
                self.client.take_record()
        return pending.xid not in self.client.replies

    def callback(self, seconds=5):
        """The next callback that arrives within SECONDS, or None."""
        end = time.monotonic() + seconds
        while not self.client.callbacks:
            left = end - time.monotonic()
            if left <= 0 or not (self.client.buffer or select.select([self.client.s], [], [], left)[0]):
                self.t.note("%s gets no callback" % self.label)
                return None
            self.client.take_record()
        r = self.client.callbacks.pop(0)
        prog, number = struct.unpack_from(">I", r, 12)[0], struct.unpack_from(">I", r, 20)[0]
        assert prog == 52743234, prog
        m = unpack_callback(number, r[40:])
        if "flock" in m.values:  # stock: the pid of the request's flock, ours the owner's; the same stands beside it
            m.values["flock"]["pid"] = m.pid
        self.t.note("%s gets %s" % (self.label, self.t.render(m)))
        return m

    def quiet(self, seconds=0.3):
        return self.callback(seconds) is None

    def close(self):
        self.client.close()


# ---- transcript ------------------------------------------------------------------------------------------------------

KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "link", stat.S_IFCHR: "char", stat.S_IFBLK: "block",
         stat.S_IFIFO: "fifo", stat.S_IFSOCK: "socket"}
# what stock's layers add to failures, where it means nothing
ADDED_TO_FAILURES = {"dht-get-iatt-in-xattr", "virt-gf-prestat", "virt-gf-poststat"}
# of a real clock; smaller ones were chosen by a probe
NOW = 1 << 30


class Trial:
    """A probe on one server."""

    def __init__(self, server, name):
        self.server, self.name, self.lines, self.wrong, self.names, self.connections = server, name, [], [], {}, []
        self.counter, self.unsteady = itertools.count(1), {"root"}
        self.names[ROOT], self.names[NULL_GFID] = "root", "null"
        self.c = self.connect()
        self.place = "p" + hashlib.sha1(name.encode()).hexdigest()[:10]
        self.dir = self.gfid("dir")
        self.lines.clear()
        made = self.c.mkdir(pargfid=ROOT, mode=0o755, bname=self.place, xdata={"gfid-req": Gfid(self.dir)})
        if made.err:  # a brick that takes no changes, or a squashed root: made behind its back
            os.mkdir(self.disk(), 0o755)
            assert self.c.lookup(pargfid=ROOT, bname=self.place, xdata={"gfid-req": Gfid(self.dir)}).err == 0
        self.lines.clear()

    # -- what probes use --

    def connect(self, **pairs):
        n = next(self.counter)
        uid = "CTX_ID:%s-%d-%d-GRAPH_ID:0-PID:1-HOST:h-PC_NAME:x-client-0-RECON_NO:-0" % (
            hashlib.sha1(self.name.encode()).hexdigest()[:8], n, time.monotonic_ns())
        client = self.server.connection(dict({"process-uuid": uid, "fops-version": FOP, "opversion": 100000,
                                              "client-version": "10.3", "process-name": "probe"}, **pairs))
        c = Conn(self, "c%d" % n, client)
        self.connections.append(c)
        return c

    def gfid(self, label):
        """A gfid of this probe's own, the same on every server."""
        g = hashlib.sha256(("%s/%s" % (self.name, label)).encode()).digest()[:16]
        self.names[g] = label
        return g

    def know(self, gfid, label):
        """A gfid the server chose: shown as LABEL."""
        self.names[bytes(gfid)] = label
        return gfid

    def req(self, label, **more):
        return dict({"gfid-req": Gfid(self.gfid(label))}, **more)

    def file(self, name, mode=0o644, parent=None, data=b"", by=None):
        """An open file: (gfid, fd) of the first connection."""
        c = by or self.c
        r = c.create(pargfid=parent or self.dir, flags=os.O_RDWR, mode=mode, bname=name, xdata=self.req(name))
        self.ok(r)
        if data:
            self.eq("bytes written", c.write(gfid=self.gfid(name), fd=r.fd, data=data).op_ret, len(data))
        return self.gfid(name), r.fd

    def mknod(self, name, mode=0o100644, parent=None, by=None, **xdata):
        self.ok((by or self.c).mknod(pargfid=parent or self.dir, mode=mode, bname=name, xdata=self.req(name, **xdata)))
        return self.gfid(name)

    def mkdir(self, name, mode=0o755, parent=None, by=None, **xdata):
        self.ok((by or self.c).mkdir(pargfid=parent or self.dir, mode=mode, bname=name, xdata=self.req(name, **xdata)))
        return self.gfid(name)

    def disk(self, *parts):
        """A path in the probe's directory on the brick."""
        return os.path.join(self.server.path, self.place, *parts)

    def store(self, *parts):
        return os.path.join(self.server.path, ".glusterfs", *parts)

    def handle(self, gfid):
        s = gfid.hex()
        text = "-".join((s[:8], s[8:12], s[12:16], s[16:20], s[20:]))
        return self.store(text[:2], text[2:4], text)

    def xattr(self, path, name):
        try:
            return os.getxattr(path, name, follow_symlinks=False)
        except OSError:
            return None

    def ok(self, reply):
        return self.err(reply, 0)

    def err(self, reply, *allowed):
        if reply.err not in allowed:
            self.fail("%s answers %s, not %s" % (reply.kind, errno_name(reply.err), " or ".join(map(errno_name, allowed))))
        return reply

    def eq(self, what, got, want):
        self.note("%s: %s" % (what, self.show(got)))
        if got != want:
            self.fail("%s is %s, not %s" % (what, self.show(got), self.show(want)))

    def true(self, what, condition):
        self.eq(what, bool(condition), True)

    def eventually(self, what, condition, seconds=15):
        end = time.monotonic() + seconds
        while not condition() and time.monotonic() < end:
            time.sleep(0.02)
        self.true(what, condition())

    # -- records --

    def fail(self, what):
        self.wrong.append(what)

    def note(self, line):
        line = line.replace(self.server.path, "BRICK").replace(self.server.work, "WORK").replace(socket.gethostname(), "HOST")
        self.lines.append(re.sub(r"-?\d{10,}", lambda m: "N" if abs(int(m[0])) > 1 << 62 else m[0], line))

    def note_request(self, conn, name, fields):
        shown = " ".join("%s=%s" % (k, self.show(v)) for k, v in fields.items())
        who = "".join(" %s=%s" % (k, self.show(v)) for k, v in conn.cred.items())
        self.note("%s%s %s %s" % (conn.label, who, name, shown))

    def note_reply(self, reply, asked):
        self.note("  -> " + self.render(reply, asked))

    def render(self, m, asked=()):
        if m.err:  # with its keys, but those it only echoes
            return errno_name(m.err) + "".join(" " + k for k in sorted(m.values.get("xdata") or {})
                                              if k not in asked and k not in ADDED_TO_FAILURES)
        out = []
        for k, v in m.values.items():
            if k == "op_errno":
                if m.kind.startswith("READ") and m.kind != "READLINK" and v == 2:
                    out.append("end")
            elif k == "fd" or k == "op_ret" and "GETXATTR" in m.kind:
                pass  # clients only want to know that they are not negative
            elif v not in ({}, "", b"", []):
                out.append("%s=%s" % (k, self.show(v)))
        return m.kind + " " + " ".join(out)

    def show(self, v):
        if isinstance(v, dict):
            if "blksize" in v:
                return self.show_iatt(v)
            hidden = ("off", "bsize", "frsize", "fsid", "blocks", "bfree", "bavail", "files", "ffree", "favail", "namemax")
            if "len" in v and "name" in v:  # of a listing; the brick's own inode numbers unless there is an iatt
                hidden += ("len",) if v.get("stat") else ("len", "ino")
            return "{%s}" % ", ".join("%s: %s" % (k, self.show(v[k])) for k in sorted(v) if k not in hidden)
        if isinstance(v, (list, tuple)):
            items = sorted((self.show(x) for x in v)) if v and isinstance(v[0], dict) else [self.show(x) for x in v]
            return "[%s]" % ", ".join(items)
        if isinstance(v, bytes):
            if len(v) == 16 and bytes(v) in self.names:
                return "<%s>" % self.names[bytes(v)]
            return repr(v)[1:] if len(v) < 200 else "%d bytes" % len(v)
        return repr(v)

    def show_iatt(self, i):
        if not any(v for v in i.values() if v != NULL_GFID):
            return "-"
        ino = "" if i["ino"] == struct.unpack(">Q", i["gfid"][8:])[0] else " ino!"
        seconds = [i[k] for k in ("atime", "mtime", "ctime")]
        times = " times " + "/".join("now" if s > NOW else str(s) for s in seconds) if min(seconds) < NOW else ""
        kind = KINDS.get(stat.S_IFMT(i["mode"]), "none")
        size = "" if kind in ("dir", "link") else " size %d" % i["size"]
        flags = "" if i.get("flags", 0x17ff) == 0x17ff else " flags %#x" % i["flags"]
        links = "" if self.names.get(i["gfid"]) in self.unsteady else " n%d" % i["nlink"]
        return "(%s %s %o%s u%d g%d%s%s%s%s)" % (self.show(i["gfid"]), kind, stat.S_IMODE(i["mode"]), links, i["uid"],
                                                 i["gid"], size, ino, times, flags)


def errno_name(e):
    import errno
    return "ok" if e == 0 else errno.errorcode.get(e, "errno %d" % e)


def run(p, server):
    """(what is not as specified, transcript)."""
    if not server.alive():
        server.restart()
    t = None
    try:
        t = Trial(server, p.name)
        p.run(t)
    except Exception as e:
        if t is None:
            return ["could not begin: %r" % e], []
        if isinstance(e, (Closed, ConnectionError)) and server.dies():
            t.fail("the server crashed")
        else:
            t.fail("ended at line %d: %r" % (line_in_probe(e.__traceback__, p.run), e))
    finally:
        for c in t.connections if t else ():
            c.close()
    return t.wrong, t.lines


def line_in_probe(traceback, function):
    line = 0
    while traceback:
        if traceback.tb_frame.f_code.co_filename == function.__code__.co_filename:
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return line
