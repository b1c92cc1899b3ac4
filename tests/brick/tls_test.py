#!/usr/bin/env python3
"""The brick process and TLS: handshakes good and bad, who is let in, plain and encrypted bricks in one process,
certificates that are missing, wrong or replaced, and clients that misbehave.

usage: tls_test.py MORTAR_BRICK HANG_PRELOAD [TEST…]
"""
import os
import random
import resource
import select
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import uuid

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from process import SANITIZED, Brick, eventually, main
from rpcwire import CONTROL, DUMP, FOP, Client, Closed, call, opaque, record

MIB = 1 << 20
EACCES, EINVAL, EXDEV = 13, 22, 18
CERTS = tempfile.mkdtemp(prefix="mortar-tls-")


# ---- certificates ----------------------------------------------------------------------------------------------------


def openssl(*words):
    subprocess.run(["openssl"] + list(words), cwd=CERTS, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def make_ca(name):
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", name + ".key", "-out",
            name + ".pem", "-days", "365", "-subj", "/CN=" + name)


def make_cert(name, ca="ca", cn=None, days=365):
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", name + ".key", "-out",
            name + ".csr", "-subj", "/CN=" + (cn or name))
    openssl("x509", "-req", "-in", name + ".csr", "-CA", ca + ".pem", "-CAkey", ca + ".key", "-CAcreateserial", "-out",
            name + ".pem", "-days", str(days))


def path(name):
    return os.path.join(CERTS, name)


def make_certs():
    for ca in ("ca", "stranger"):
        make_ca(ca)
    for name in ("server", "client1", "client2"):
        make_cert(name)
    make_cert("unknown", "stranger")
    make_cert("expired", days=-1)


def context(name="client1", ca="ca"):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname = False
    c.load_verify_locations(path(ca + ".pem"))
    if name:
        c.load_cert_chain(path(name + ".pem"), path(name + ".key"))
    return c


def options(cert="server", key=None, ca="ca"):
    return ["transport.socket.ssl-enabled on", "transport.socket.ssl-own-cert " + path(cert + ".pem"),
            "transport.socket.ssl-private-key " + path((key or cert) + ".key"),
            "transport.socket.ssl-ca-list " + path(ca + ".pem")]


def tls_brick(p, name, *more):
    brick = Brick(os.path.join(p.work, name), options())
    brick.options += [m % brick.path for m in more]
    return p.serve(brick)


def log(p):
    with open(p.work + "/log") as f:
        return f.read()


def says(p, text):
    eventually("the log says " + text, lambda: text in log(p))


# ---- use -------------------------------------------------------------------------------------------------------------


def test_use(p):
    brick = tls_brick(p, "use")
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        tls = context()
        tls.minimum_version = tls.maximum_version = version
        c = p.client(brick, tls=tls)
        assert c.ping() and c.stat()[0] == 0
        gfid = c.create("use-%s" % version.name)
        for size in (1, 100, 16383, 16384, 16385, 131072, MIB):
            data = os.urandom(size)
            assert c.fop_wait(c.write_send(gfid, data))[0] == size
            ret, _, rest = c.fop_wait(c.read_send(gfid, size))
            assert ret == size and rest.endswith(data), (version, size, ret)
        c.close()


def test_pipelined(p):
    """Many calls in flight, both ways, larger than any buffer."""
    brick = tls_brick(p, "pipelined")
    c = p.client(brick, tls=context())
    gfid, data = c.create("file"), os.urandom(MIB)
    writes = [c.write_send(gfid, data, offset=i * MIB) for i in range(16)]
    assert all(c.fop_wait(x)[0] == MIB for x in writes)
    reads = [c.read_send(gfid, MIB, offset=i * MIB) for i in range(16)]
    for x in reads:
        ret, _, rest = c.fop_wait(x)
        assert ret == MIB and rest.endswith(data)
    small = [c.stat_send() for _ in range(2000)]
    assert all(c.fop_wait(x)[0] == 0 for x in small)


def test_never_reads(p):
    """Answers wait encrypted, reading stops; a neighbour notices nothing; nothing is lost."""
    brick = tls_brick(p, "never-reads")
    c, other = p.client(brick, tls=context()), p.client(brick, tls=context("client2"))
    gfid, data = c.create("file"), os.urandom(MIB)
    assert c.fop_wait(c.write_send(gfid, data))[0] == MIB
    reads = [c.read_send(gfid, MIB) for _ in range(60)]
    for _ in range(50):
        assert other.stat()[0] == 0
    for x in reads:
        ret, _, rest = c.fop_wait(x)
        assert ret == MIB and rest.endswith(data)


def test_both_kinds(p):
    """A plain and an encrypted brick in one process: each refuses the other kind of client, in words."""
    secret, plain = tls_brick(p, "kinds-tls"), p.serve(Brick(p.work + "/kinds-plain"))
    pairs = {"process-uuid": "kinds", "fops-version": FOP}
    ret, errno, d = p.client().setvolume(dict(pairs, **{"remote-subvolume": secret.path}))
    assert (ret, errno) == (-1, EINVAL) and "set client.ssl on" in d["ERROR"], d
    ret, errno, d = p.client(tls=context()).setvolume(dict(pairs, **{"remote-subvolume": plain.path}))
    assert (ret, errno) == (-1, EINVAL) and "server.ssl is off" in d["ERROR"], d
    assert p.client(plain).stat()[0] == 0
    assert p.client(secret, tls=context()).stat()[0] == 0
    asks = {"process-uuid": "kinds", "fops-version": FOP, "mortar-local-reads": "1"}
    ret, errno, d = p.client(tls=context()).setvolume(dict(asks, **{"remote-subvolume": secret.path}))
    assert ret == 0 and "mortar-local-token" not in d, d  # files of a volume with TLS are not lent
    ret, errno, d = p.client().setvolume(dict(asks, **{"remote-subvolume": plain.path}))
    assert ret == 0 and "mortar-local-token" in d, d
    says(p, "does not speak TLS, and server.ssl is on")
    says(p, "speaks TLS, and server.ssl is off")


def test_switched_at_run_time(p):
    brick = p.serve(Brick(p.work + "/switched"))
    c = p.client(brick)
    brick.options += options()
    p.serve(brick)
    c.wait_closed()
    d = p.client(brick, tls=context())
    brick.options = []
    p.serve(brick)
    d.wait_closed()
    assert p.client(brick).stat()[0] == 0


# ---- who is let in -----------------------------------------------------------------------------------------------------


def test_names(p):
    brick = tls_brick(p, "names", "auth.login.%s.ssl-allow other,client1")
    assert p.client(brick, tls=context()).stat()[0] == 0
    p.client(brick, expect=-1, tls=context("client2"))
    says(p, "certificate of 'client2') was refused brick " + brick.path)
    # what stock does (docs/formats/wire.md): the list decides before the volume's credentials do
    p.client(brick, expect=-1, tls=context("client2"), username="admin", password="secret")


def test_name_patterns(p):
    brick = tls_brick(p, "patterns", "auth.login.%s.ssl-allow cli*2")
    assert p.client(brick, tls=context("client2")).stat()[0] == 0
    p.client(brick, expect=-1, tls=context("client1"))
    reject = tls_brick(p, "rejected", "auth.login.%s.ssl-allow *", "auth.addr.%s.reject 127.0.0.1")
    p.client(reject, expect=-1, tls=context())


def test_without_list_addresses_count(p):
    brick = tls_brick(p, "addresses")
    brick.options.append("auth.addr.%s.reject 127.0.0.*" % brick.path)
    p.serve(brick)
    p.client(brick, expect=-1, tls=context())


def test_change_of_names_disconnects(p):
    brick = tls_brick(p, "names-change")
    c, d = p.client(brick, tls=context("client1")), p.client(brick, tls=context("client2"))
    brick.options.append("auth.login.%s.ssl-allow client2" % brick.path)
    p.serve(brick)
    c.wait_closed()
    assert d.stat()[0] == 0


def refused(p, tls, because):
    """The handshake fails, or the connection ends before anything is answered."""
    try:
        c = Client(p.port, tls=tls)
        c.ping()
    except (ssl.SSLError, Closed, ConnectionError):
        says(p, because)
        return
    raise AssertionError("was let in, expected: " + because)


def test_certificates_of_clients(p):
    tls_brick(p, "certificates")
    refused(p, context(None), "the peer has no certificate")
    refused(p, context("unknown"), "the peer's certificate of 'unknown' is not believed")
    refused(p, context("expired"), "the peer's certificate of 'expired' is not believed (certificate has expired)")
    refused(p, context(ca="stranger"), "the peer does not believe this node's certificate")


def test_old_versions(p):
    tls_brick(p, "old")
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        tls = context()
        tls.set_ciphers("ALL:@SECLEVEL=0")
        tls.minimum_version = tls.maximum_version = version
        refused(p, tls, "speaks no version of TLS that is allowed here (1.2 or later)")


# ---- misbehaviour --------------------------------------------------------------------------------------------------------


class InMemory:
    """A TLS client whose bytes the test moves itself."""

    def __init__(self, p, tls):
        self.s = socket.create_connection(("127.0.0.1", p.port))
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.s.settimeout(20)
        self.i, self.o = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = tls.wrap_bio(self.i, self.o)

    def step(self, fn, send):
        while True:
            try:
                return fn()
            except ssl.SSLWantReadError:
                send(self.o.read())
                more = self.s.recv(65536)
                if not more:
                    raise Closed()
                self.i.write(more)

    def byte_by_byte(self, data):
        for i in range(len(data)):
            self.s.sendall(data[i:i + 1])


def test_fragments(p):
    """Handshake and calls one byte at a time."""
    brick = tls_brick(p, "fragments")
    m = InMemory(p, context())
    m.step(m.tls.do_handshake, m.byte_by_byte)
    m.byte_by_byte(m.o.read())
    m.tls.write(record(call(7, DUMP, 1, 2)))
    m.byte_by_byte(m.o.read())
    got = m.step(lambda: m.tls.read(1000), m.s.sendall)
    assert struct.unpack_from(">I", got, 4)[0] == 7
    assert p.client(brick, tls=context()).stat()[0] == 0


def test_first_call_with_the_handshake(p):
    """The last message of the handshake and the first calls in one segment."""
    tls_brick(p, "early")
    m = InMemory(p, context())
    m.step(m.tls.do_handshake, m.s.sendall)
    m.tls.write(record(call(7, DUMP, 1, 2)) + record(call(8, DUMP, 1, 2)))
    m.s.sendall(m.o.read())
    got = b""
    while len(got) < 2 * 40:
        got += m.step(lambda: m.tls.read(1000), m.s.sendall)
    assert struct.unpack_from(">I", got, 4)[0] == 7 and struct.unpack_from(">I", got, 44)[0] == 8


class Ending:
    """In place of a context: its connection can send its last calls and good-bye in one segment."""

    def wrap_socket(self, s):
        self.s, self.i, self.o = s, ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context().wrap_bio(self.i, self.o)
        InMemory.step(self, self.tls.do_handshake, s.sendall)
        self.flush()
        return self

    def flush(self):
        self.s.sendall(self.o.read())

    def sendall(self, data):
        self.tls.write(data)
        self.flush()

    def recv(self, size):
        return InMemory.step(self, lambda: self.tls.read(size), lambda data: self.s.sendall(data))

    def end_with(self, data):
        self.tls.write(data)
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        self.flush()


def test_last_calls(p):
    """Calls that come with the good-bye are served, as those of a plain connection are."""
    brick = tls_brick(p, "last")
    end = Ending()
    c = Client(p.port, tls=end)
    end.end_with(record(call(7, DUMP, 1, 2)))
    assert struct.unpack_from(">I", end.recv(1000), 4)[0] == 7
    end = Ending()
    c = p.client(brick, tls=end)
    gfid = c.create("file")
    sent, end.sendall = [], lambda data: sent.append(data)
    c.write_send(gfid, b"the last words")
    end.end_with(b"".join(sent))
    try:
        assert end.recv(1) != b""
        while end.recv(1 << 16):
            pass
    except (Closed, ssl.SSLError):
        pass
    with open(os.path.join(brick.path, "file"), "rb") as f:
        assert f.read() == b"the last words"


def test_cut_handshakes(p):
    """The connection ends at every stage; nothing is kept."""
    brick = tls_brick(p, "cut")
    before = len(os.listdir("/proc/%d/fd" % p.p.pid))
    hello = InMemory(p, context())
    try:
        hello.tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    first = hello.o.read()
    hello.s.close()
    for n in list(range(1, 12)) + [len(first) // 2, len(first) - 1, len(first)]:
        s = socket.create_connection(("127.0.0.1", p.port))
        s.sendall(first[:n])
        s.close()
    m = InMemory(p, context())
    m.step(m.tls.do_handshake, m.s.sendall)  # the last flight is never sent
    m.s.close()
    assert p.client(brick, tls=context()).stat()[0] == 0
    eventually("descriptors are closed", lambda: len(os.listdir("/proc/%d/fd" % p.p.pid)) <= before + 8)


def test_garbage(p):
    """What begins like TLS and is not; and damaged records behind a good handshake."""
    brick = tls_brick(p, "garbage")
    rng = random.Random(4)
    for i in range(200):
        s = socket.create_connection(("127.0.0.1", p.port))
        head = rng.choice([b"\x16", b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"])
        try:
            s.sendall(head + rng.randbytes(rng.randrange(600)))
        except ConnectionError:
            pass
        s.close()
    for i in range(30):
        m = InMemory(p, context())
        m.step(m.tls.do_handshake, m.s.sendall)
        m.tls.write(record(call(7, DUMP, 1, 2)) * 3)
        data = bytearray(m.o.read())
        at = rng.randrange(len(data) - 64, len(data)) if i % 2 else rng.randrange(len(data))
        data[at] ^= 1 << rng.randrange(8)
        try:
            m.s.sendall(data)
            while m.s.recv(4096):
                pass
        except ConnectionError:
            pass
        m.s.close()
    assert p.client(brick, tls=context()).stat()[0] == 0


def s_client(p, version):
    """openssl s_client, for its interactive commands."""
    return subprocess.Popen(["openssl", "s_client", "-connect", "127.0.0.1:%d" % p.port, "-CAfile", path("ca.pem"), "-cert",
                          path("client1.pem"), "-key", path("client1.key"), version], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def test_renegotiation(p):
    """Renegotiation is refused, key updates without data have a limit."""
    brick = tls_brick(p, "renegotiation")
    for version, command, most in (("-tls1_2", b"R\n", 1), ("-tls1_3", b"K\n", 200)):
        q = s_client(p, version)
        os.set_blocking(q.stdout.fileno(), False)
        seen = b""

        def connected():
            nonlocal seen
            seen += q.stdout.read() or b""
            return b"Verify return code" in seen
        eventually("s_client is connected", connected)
        try:
            for _ in range(most):
                q.stdin.write(command)
                q.stdin.flush()
                time.sleep(0.002)  # s_client takes one command a read
        except BrokenPipeError:
            pass
        eventually("s_client ends", lambda: q.poll() is not None)
    says(p, "is given up: the peer sends nothing but protocol messages")
    assert p.client(brick, tls=context()).stat()[0] == 0


def test_crowd(p):
    """Many clients at once, and some that stop in the middle of the handshake; a client of the brick goes on."""
    brick = tls_brick(p, "crowd")
    stuck = []
    for _ in range(100):
        s = socket.create_connection(("127.0.0.1", p.port))
        s.sendall(b"\x16\x03\x01")
        stuck.append(s)
    c, slowest, over, trouble = p.client(brick, tls=context()), 0.0, [], []

    def come_and_go():
        try:
            for _ in range(10):
                d = p.client(brick, tls=context("client2"))
                assert d.stat()[0] == 0
                d.close()
        except Exception as e:
            trouble.append(e)
        over.append(1)
    threads = [threading.Thread(target=come_and_go, daemon=True) for _ in range(8)]
    for t in threads:
        t.start()
    while len(over) < len(threads):
        begin = time.monotonic()
        assert c.stat()[0] == 0 and c.ping()
        slowest = max(slowest, time.monotonic() - begin)
    assert not trouble, trouble
    assert slowest < (20 if SANITIZED else 2), slowest
    for s in stuck:
        s.close()


def test_oldest_goes(p):
    """With too many handshakes at once the oldest ones make room, and who means it gets through."""
    most, more = 2048, 5
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, max(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1])))
    brick = tls_brick(p, "oldest")
    begin, stuck = time.monotonic(), []

    def get_stuck(n):
        for _ in range(n):
            s = socket.create_connection(("127.0.0.1", p.port))
            s.sendall(b"\x16")
            s.settimeout(20)
            stuck.append(s)
    get_stuck(more)
    assert p.client(brick, tls=context()).stat()[0] == 0  # the first ones have got to where handshakes are done
    get_stuck(most)
    for s in stuck[:more]:
        assert s.recv(1) == b""
    readable = select.select(stuck[more:900], [], [], 0)[0]
    assert SANITIZED or time.monotonic() - begin < 8, "dropped for being late"
    assert SANITIZED or not readable, len(readable)
    says(p, "too many are in the middle of a handshake")
    assert p.client(brick, tls=context()).stat()[0] == 0
    for s in stuck:
        s.close()
    assert p.client(brick, tls=context()).stat()[0] == 0


def test_slow_handshake(p):
    """Who does not finish the handshake in time is dropped, however busy it keeps the line."""
    tls_brick(p, "slow")
    begin = time.monotonic()
    silent, busy = (socket.create_connection(("127.0.0.1", p.port)) for _ in range(2))
    silent.sendall(b"\x16")
    busy.sendall(b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03")
    busy.settimeout(0.5)
    try:
        while time.monotonic() - begin < 60:
            busy.sendall(b"x")
            try:
                if busy.recv(1) == b"":
                    break
            except socket.timeout:
                pass
    except ConnectionError:
        pass
    assert 5 < time.monotonic() - begin < 30
    silent.settimeout(20)
    assert silent.recv(1) == b""
    says(p, "it did not finish the handshake in time")


def test_none_served(p):
    """A TLS client where nobody has it on."""
    p.serve(Brick(p.work + "/plain"))
    s = socket.create_connection(("127.0.0.1", p.port))
    s.sendall(b"\x16\x03\x01")
    s.settimeout(20)
    try:
        assert s.recv(1) == b""
    except ConnectionError:
        pass
    says(p, "speaks TLS, but no brick served here has it on")


# ---- files -----------------------------------------------------------------------------------------------------------


def test_files_at_attach(p):
    """What is wrong is said in one line that names the file; the brick is not served."""
    def attach(opts, text):
        brick = Brick(p.work + "/" + str(uuid.uuid4()), opts)
        ret, errno, error = p.attach(brick)
        assert ret == -1 and text in error and "\n" not in error, error
        assert brick.path not in p.status()
    with open(path("garbage.pem"), "w") as f:
        f.write("this is no certificate\n")
    with open(path("secret.key"), "wb") as f:
        f.write(subprocess.run(["openssl", "ec", "-in", path("server.key"), "-aes128", "-passout", "pass:x"], check=True,
                               capture_output=True).stdout)
    attach(options("missing"), "there is no certificate file %s: put it there, or name another with ssl.own-cert"
           % path("missing.pem"))
    attach(options(key="missing"), "there is no private key file %s" % path("missing.key"))
    attach(options(ca="missing"), "there is no CA file %s" % path("missing.pem"))
    attach(options("garbage", "server"), "%s holds no certificate that can be used" % path("garbage.pem"))
    attach(options(ca="garbage"), "%s holds no certificates that can be used" % path("garbage.pem"))
    attach(options("server", "client1"), "%s does not belong to the certificate %s" % (path("client1.key"), path("server.pem")))
    attach(options("server", "secret"), "%s is protected by a passphrase" % path("secret.key"))
    attach(options("expired"), "the certificate %s expired at " % path("expired.pem"))
    attach(options()[:1] + ["transport.socket.ssl-own-cert " + CERTS], "is not a file")
    attach(options() + ["transport.socket.ssl-cipher-list nonsense"], "ssl.cipher-list 'nonsense' names no cipher")
    attach(options() + ["transport.socket.ssl-cert-depth x"], "ssl.certificate-depth is 'x'")
    attach(options() + ["transport.socket.ssl-ec-curve x"], "ssl.ec-curve 'x' is not a curve")
    attach(options() + ["transport.socket.ssl-dh-param /nowhere"], "there is no Diffie-Hellman parameters file /nowhere")
    attach(options() + ["transport.socket.ssl-crl-path /nowhere"], "ssl.crl-path /nowhere is not a directory")
    with open(p.work + "/log") as f:
        assert "PRIVATE KEY" not in f.read()


def test_other_certificate(p):
    """One process, one certificate."""
    tls_brick(p, "mine")
    ret, errno, error = p.attach(Brick(p.work + "/theirs", options("client1")))
    assert (ret, errno) == (-1, EXDEV) and "other TLS files" in error, (errno, error)


def test_rules_that_change_at_once(p):
    """One brick gets other files while another one comes with the former ones: never both."""
    first, second = tls_brick(p, "changes"), Brick(os.path.join(p.work, "comes"), options())
    first.options[-len(options()):] = options(cert="client2")
    sent = [p.control.send(CONTROL, 1, 2, opaque(b.volfile().encode())) for b in (first, second)]
    results = [struct.unpack_from(">ii", p.control.wait(x)[1]) for x in sent]
    assert sorted(r[0] for r in results) == [-1, 0] and (-1, EXDEV) in results, results


def test_believed_by_former_rules(p):
    """Who was let through the handshake by one volume's authority does not get another one's brick."""
    brick = tls_brick(p, "former")
    early, again = Client(p.port, tls=context()), Client(p.port, tls=context())

    def ask(c, b):
        return c.setvolume({"remote-subvolume": b.path, "process-uuid": str(uuid.uuid4()), "fops-version": FOP,
                            "opversion": 100000})
    assert p.attach(brick)[0] == 0
    assert ask(again, brick)[0] == 0  # the same rules, read again
    assert p.detach(brick)[0] == 0
    other = p.serve(Brick(os.path.join(p.work, "latter"), options(cert="unknown", ca="stranger")))
    ret, errno, d = ask(early, other)
    assert (ret, errno) == (-1, EINVAL) and "no longer in use" in d["ERROR"], (ret, errno, d)
    assert p.client(other, tls=context("unknown", ca="stranger")).stat()[0] == 0


def peer_name(p):
    c = Client(p.port, tls=context())
    der = c.s.getpeercert()
    c.close()
    return dict(x[0] for x in der["subject"])["commonName"]


def test_files_are_read_again(p):
    for name in ("first", "second"):
        make_cert(name)
    for suffix in (".pem", ".key"):
        shutil.copy(path("first" + suffix), path("node" + suffix))
    brick = p.serve(Brick(p.work + "/again", options("node")))
    assert peer_name(p) == "first"
    c = p.client(brick, tls=context())
    for suffix in (".pem", ".key"):
        shutil.copy(path("second" + suffix), path("node" + suffix))
    eventually("the new certificate is shown", lambda: peer_name(p) == "second")
    assert c.stat()[0] == 0
    with open(path("node.pem"), "w") as f:
        f.write("broken\n")

    def told():
        assert peer_name(p) == "second"
        return "cannot be used; the former ones stay in use. TLS: %s holds no certificate" % path("node.pem") in log(p)
    eventually("broken files are told", told)
    shutil.copy(path("first.pem"), path("node.pem"))
    shutil.copy(path("first.key"), path("node.key"))
    eventually("mended files are used", lambda: peer_name(p) == "first")


def test_memory(p):
    """What an idle client with TLS takes."""
    brick = tls_brick(p, "memory")
    keep = [p.client(brick, tls=context()) for _ in range(20)]
    before, tls = p.rss(), context()
    keep += [p.client(brick, tls=tls) for _ in range(200)]
    each = (p.rss() - before) // 200
    print("     an idle client with TLS: %d bytes" % each)
    assert SANITIZED or each < 32 << 10, each


if __name__ == "__main__":
    make_certs()
    try:
        sys.exit(main(shared=[test_none_served, test_use, test_pipelined, test_never_reads, test_both_kinds,
                              test_switched_at_run_time, test_names, test_name_patterns,
                              test_without_list_addresses_count, test_change_of_names_disconnects,
                              test_certificates_of_clients, test_old_versions, test_fragments,
                              test_first_call_with_the_handshake, test_last_calls, test_cut_handshakes, test_garbage, test_renegotiation,
                              test_crowd, test_other_certificate],
                      alone=[test_files_at_attach, test_believed_by_former_rules, test_rules_that_change_at_once,
                             test_files_are_read_again, test_memory, test_slow_handshake, test_oldest_goes]))
    finally:
        shutil.rmtree(CERTS)
