"""A brick under probing: a directory served by a stock glusterfsd or by a mortar-brick, from the same volfile text."""
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
from rpcwire import CONTROL, HANDSHAKE, Client, Closed, old_dict, opaque, parse_old_dict

LAYOUTS = os.path.join(HERE, "../data/volfile/layouts")
STOCK = "/usr/sbin/glusterfsd"
PATIENCE = 20


class Flavour:
    """What the brick is made of: a recorded volfile of the stock programs, and options by translator type."""

    def __init__(self, base="one/brick-0.vol", mib=0, **options):
        self.base, self.mib, self.options = base, mib, {k.replace("__", "/").replace("_", "-"): v for k, v in options.items()}

    def volfile(self, path, volume_id):
        with open(os.path.join(LAYOUTS, self.base)) as f:
            text = f.read()
        directory = re.search(r"option directory (\S+)", text)[1]
        old_id = re.search(r"option volume-id (\S+)", text)[1]
        text = text.replace(directory, path).replace(old_id, str(volume_id))
        for kind, options in self.options.items():
            for key, value in options.items():
                text = set_option(text, kind, key, value)
        return text


def set_option(text, kind, key, value):
    head = "    type %s\n" % kind
    assert head in text, "the volfile has no %s" % kind
    begin = text.index(head) + len(head)
    end = text.index("end-volume", begin)
    section = re.sub(r"    option %s .*\n" % re.escape(key), "", text[begin:end])
    return text[:begin] + "    option %s %s\n" % (key, value) + section + text[end:]


class Server:
    """One process with one brick."""

    def __init__(self, kind, flavour, work):
        self.kind, self.flavour, self.work, self.process = kind, flavour, work, None
        self.path, self.id = os.path.join(work, "b"), uuid.UUID("1f78ae8e-04cf-4bfe-8437-cb02026dc277")
        os.makedirs(work)
        if flavour.mib:
            self.small_file_system(flavour.mib)
        os.makedirs(self.path)
        os.setxattr(self.path, "trusted.glusterfs.volume-id", self.id.bytes)
        if kind == "stock":
            os.mkdir(os.path.join(self.path, ".glusterfs"), 0o600)  # glusterd's work, without which the index refuses
        self.start()

    def small_file_system(self, mib):
        image = self.work + ".img"
        with open(image, "wb") as f:
            f.truncate(mib << 20)
        subprocess.run(["mkfs.xfs", "-q", "-f", image], check=True)
        subprocess.run(["mount", "-o", "loop,noatime", image, self.work], check=True)

    def start(self):
        volfile = self.flavour.volfile(self.path, self.id)
        self.log = self.work + ".log"
        (self.start_stock if self.kind == "stock" else self.start_ours)(volfile)

    def start_stock(self, volfile):
        self.port = free_port()
        file = self.work + ".vol"
        with open(file, "w") as f:
            f.write(set_option(volfile, "protocol/server", "transport.socket.listen-port", self.port))
        self.process = subprocess.Popen([STOCK, "-N", "-f", file, "-l", self.log, "-p", self.work + ".pid"],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def start_ours(self, volfile):
        control = self.work + ".control"
        r, w = os.pipe()
        program = os.path.join(os.environ.get("MORTAR_BUILD", os.path.join(HERE, "../../build")), "mortar-brick")
        self.process = subprocess.Popen([program, "--control", control, "--listen", "127.0.0.1", "--ready-fd", str(w),
                                         "--log-file", self.log], pass_fds=[w])
        os.close(w)
        with os.fdopen(r) as f:
            self.port = int(f.readline())
        c = Client(path=control)
        status, reply = c.call(CONTROL, 1, 2, opaque(volfile.encode()))
        ret, _, size = struct.unpack_from(">iiI", reply)
        assert (status, ret) == (0, 0), reply[12:12 + size].decode()
        c.close()

    def connection(self, pairs):
        """A connection that has done its handshake; waits for a process that is just starting."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                c = Client(self.port, timeout=PATIENCE)
                ret, errno, answer = handshake(c, dict({"remote-subvolume": self.path}, **pairs))
                if ret == 0:
                    return c
                c.close()
                if errno not in (2, 11):
                    raise PermissionError(errno, str(answer))
            except (ConnectionRefusedError, Closed):
                pass
            assert time.monotonic() < end and self.process.poll() is None, "the brick does not start, see " + self.log
            time.sleep(0.02)

    def alive(self):
        return self.process.poll() is None

    def dies(self):
        """Whether a process that closed a connection is ending: a crashed one takes a moment."""
        try:
            self.process.wait(2)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
        if self.process:
            self.process.wait()

    def restart(self):
        self.stop()
        self.start()

    def end(self):
        self.stop()
        if self.flavour.mib:
            subprocess.run(["umount", self.work], check=True)
        shutil.rmtree(self.work)


def handshake(c, pairs):
    """SETVOLUME with the time of day in the credential, as clients send it: stock tells connections apart by that."""
    body = struct.pack(">iIIIIQI", 1, 0, 0, 0, 0, time.time_ns(), 0) + opaque(b"")
    credential = struct.pack(">I", 390040) + opaque(body)
    status, reply = c.call(HANDSHAKE, 2, 1, opaque(old_dict(pairs)), credential=credential)
    assert status == 0, status
    ret, errno, size = struct.unpack_from(">iiI", reply)
    return ret, errno, parse_old_dict(reply[12:12 + size])


def free_port():
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    port = s.getsockname()[1]
    s.close()
    return port
