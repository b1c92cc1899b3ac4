"""A running mortar-brick and its bricks, for tests from outside, and how such tests are run.

A test program calls main() with its tests; its own arguments are MORTAR_BRICK HANG_PRELOAD [TEST…].
"""
import json
import os
import re
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import uuid

from rpcwire import CONTROL, FOP, Client, opaque

SKIP = 77
PROGRAM, PRELOAD = sys.argv[1], sys.argv[2]
with open(PROGRAM, "rb") as program:
    CODE = program.read()
SANITIZED = any(s in CODE for s in (b"__asan_init", b"__tsan_init"))


DRAIN_SECONDS = 2


def eventually(what, condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "timed out: " + what
        time.sleep(0.005)


class Brick:
    def __init__(self, directory, server_options=()):
        self.path, self.id = directory, uuid.uuid4()
        os.makedirs(directory)
        os.setxattr(directory, "trusted.glusterfs.volume-id", self.id.bytes)
        self.options = list(server_options)

    def volfile(self):
        p = self.path
        options = ["auth.login.%s.allow admin" % p, "auth.login.admin.password secret",
                   "auth.addr.%s.allow *" % p] + self.options
        return """volume vol-posix
    type storage/posix
    option directory %s
    option volume-id %s
end-volume
volume %s
    type debug/io-stats
    subvolumes vol-posix
end-volume
volume vol-server
    type protocol/server
%s
    subvolumes %s
end-volume
""" % (p, self.id, p, "\n".join("    option " + o for o in options), p)


class Process:
    """A running mortar-brick with a control socket, and what it serves."""

    def __init__(self, work, preload=False):
        self.work, self.flag = work, os.path.join(work, "hang-flag")
        self.control_path = os.path.join(work, "control")
        r, w = os.pipe()
        env = dict(os.environ, MORTAR_TEST_HANG=self.flag)
        if preload:
            env["LD_PRELOAD"] = PRELOAD
            env["ASAN_OPTIONS"] = "verify_asan_link_order=0:" + env.get("ASAN_OPTIONS", "")
        command = [PROGRAM, "--control", self.control_path, "--listen", "127.0.0.1", "--ready-fd", str(w),
                   "--log-file", os.path.join(work, "log"), "--drain-seconds", str(DRAIN_SECONDS)]
        self.p = subprocess.Popen(command, env=env, pass_fds=[w])
        os.close(w)
        with os.fdopen(r) as f:
            self.port = int(f.readline())
        self.control = Client(path=self.control_path)

    def control_call(self, proc, body=b""):
        status, rep = self.control.call(CONTROL, 1, proc, body)
        assert status == 0, status
        ret, errno, size = struct.unpack_from(">iiI", rep)
        return ret, errno, rep[12:12 + size].decode()

    def attach(self, brick):
        return self.control_call(2, opaque(brick.volfile().encode()))

    def serve(self, brick):
        ret, errno, text = self.attach(brick)
        assert ret == 0, text
        return brick

    def detach(self, brick):
        return self.control_call(3, opaque(brick.path.encode()))

    def status(self):
        status, rep = self.control.call(CONTROL, 1, 1)
        ret, errno, port, pid, size = struct.unpack_from(">iiiiI", rep)
        assert (status, ret, port, pid) == (0, 0, self.port, self.p.pid)
        at = 20 + size + -size % 4
        (size,) = struct.unpack_from(">I", rep, at)
        return {b["path"]: b for b in json.loads(rep[at + 4:at + 4 + size])}

    def client(self, brick=None, expect=0, tls=None, **pairs):
        c = Client(self.port, tls=tls)
        if brick:
            ret, errno, d = c.setvolume(dict({"remote-subvolume": brick.path, "process-uuid": str(uuid.uuid4()),
                                              "fops-version": FOP, "opversion": 100000}, **pairs))
            assert ret == expect, (ret, errno, d)
        return c

    def rss(self):
        with open("/proc/%d/status" % self.p.pid) as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmRSS")) * 1024

    def cpu(self):
        """Seconds used so far."""
        with open("/proc/%d/stat" % self.p.pid) as f:
            user, system = f.read().rsplit(")", 1)[1].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def end(self):
        if self.p.poll() is None:
            if os.path.exists(self.flag):
                os.unlink(self.flag)
            self.p.send_signal(signal.SIGTERM)
        return self.p.wait(20)


def run_all(selected, single, shared, preloaded, alone):
    """SINGLE take no argument, SHARED and PRELOADED share a process, each of ALONE has its own."""
    failed = 0

    def one(test, *args):
        nonlocal failed
        if selected and test.__name__ not in selected:
            return
        begin = time.monotonic()
        try:
            test(*args)
            print("ok   %-36s %.2f s" % (test.__name__, time.monotonic() - begin), flush=True)
        except Exception:
            failed += 1
            traceback.print_exc()
            print("FAIL %s" % test.__name__, flush=True)

    def group(tests, preload):
        nonlocal failed
        if not [t for t in tests if not selected or t.__name__ in selected]:
            return
        before = failed
        with tempfile.TemporaryDirectory(prefix="mortar-brick-", dir="/var/tmp") as work:
            p = Process(work, preload)
            for t in tests:
                one(t, p)
                if p.p.poll() is not None:
                    break
            code = p.end()
            with open(work + "/log") as f:
                log = f.read()
            # it warns from 100 ms on; on a crowded machine it may not be given the processor for longer than that
            stalled = not SANITIZED and re.search(r"held the event loop for \d{4,} ms", log)
            if code != 0 or stalled or failed > before:
                failed = max(failed, before + 1)
                print("exit code %d, log:\n%s" % (code, log))

    for t in single:
        one(t)
    group(shared, False)
    group(preloaded, True)
    for t in alone:
        group([t], False)
    return failed


def main(single=(), shared=(), preloaded=(), alone=()):
    try:
        probe = tempfile.mkdtemp(dir="/var/tmp")
        os.setxattr(probe, "trusted.mortar-test", b"1")
    except OSError:
        print("needs root and a file system with trusted extended attributes")
        return SKIP
    finally:
        os.rmdir(probe)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    return 1 if run_all(sys.argv[3:], single, shared, preloaded, alone) else 0
