#!/usr/bin/env python3
"""The fuse layer under the real kernel: the file system of memfs.h mounted, used and unmounted in every way.

Runs itself in a private mount namespace; needs root and /dev/fuse. The stall detector of memfs aborts it.
usage: mount_test.py MEMFS TOUR [TEST...]
"""
import concurrent.futures
import contextlib
import ctypes
import errno
import fcntl
import filecmp
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

MEMFS, TOUR = (os.path.abspath(p) for p in sys.argv[1:3])
HERE = os.path.dirname(os.path.abspath(__file__))
COMPARE = os.path.join(HERE, "../interop/compare.py")
ENABLE_RING = "/sys/module/fuse/parameters/enable_uring"
EVERYWHERE = os.environ.get("MEMFS_OPTIONS", "").split()  # of every mount
RING = "uring" in EVERYWHERE
WAIT = 20  # seconds that anything may take


def until(what, condition):
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def mount_entry(path):
    with open("/proc/self/mounts") as f:
        for line in f:
            source, where, kind, options = line.split()[:4]
            if where == path:
                return source, kind, options.split(",")
    return None


class Mount:
    def __init__(self, *options, source="h:/v", user=None, directory=None):
        self.path = directory or tempfile.mkdtemp(prefix="mnt.", dir=WORK)
        if user:
            os.chown(self.path, user, user)
        become = {"user": user, "group": user, "extra_groups": []} if user else {}
        self.process = subprocess.Popen([MEMFS, self.path, source, *options, *EVERYWHERE], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, **become)
        self.first = self.process.stdout.readline()

    def __enter__(self):
        assert self.first.startswith("mounted"), self.process.stderr.read()
        return self

    def __exit__(self, kind, value, trace):
        if self.process.poll() is None:
            subprocess.run(["umount", "-l", self.path], stderr=subprocess.DEVNULL)
        try:
            self.finish()
        except subprocess.TimeoutExpired:
            subprocess.run(["umount", "-f", "-l", self.path], stderr=subprocess.DEVNULL)  # lets go what hangs in the kernel
            self.process.kill()
            raise

    def first_log(self):
        """What the process logged until it was mounted."""
        return self.process.stderr.readline()

    def finish(self):
        """What was printed at the end."""
        if self.process.stdout.closed:
            return ""
        out, err = self.process.communicate(timeout=WAIT)
        assert self.process.returncode in (0, -signal.SIGKILL), f"exit {self.process.returncode}: {err}"
        assert "event loop" not in err, err
        return out

    def __truediv__(self, name):
        return os.path.join(self.path, name)

    def stats(self):
        words = os.getxattr(self.path, "user.memfs.stats").decode().split()
        return dict(zip(words[::2], map(int, words[1::2])))

    def tell(self, name, value):
        os.setxattr(self.path, "user.memfs." + name, str(value).encode())

    def minor(self):
        return int(os.getxattr(self.path, "user.memfs.protocol").decode().split()[0])


def in_child(fn, *args):
    """Runs fn in a process of its own; raises what it raised, as text."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            fn(*args)
            os._exit(0)
        except BaseException:
            os.write(write, traceback.format_exc().encode()[-3000:])
            os._exit(1)
    os.close(write)
    with os.fdopen(read) as f:
        text = f.read()
    _, status = os.waitpid(pid, 0)
    assert status == 0, text


def transcript(directory, name):
    os.mkdir(directory)
    path = f"{WORK}/{name}.txt"
    with open(path, "w") as f:
        subprocess.run([TOUR, directory], stdout=f, check=True, timeout=120)
    return path


def is_old_tmpfs(directory):
    """Before Linux 6.6: no user xattrs, no direct I/O."""
    try:
        os.setxattr(directory, "user.x", b"")
        return False
    except OSError as e:
        assert e.errno == errno.EOPNOTSUPP
        return True


def leave_out(path, words):
    """A copy without the lines that have one of these words."""
    with open(path, errors="surrogateescape") as f:
        lines = [line for line in f if not any(w in line for w in words)]
    copy = f"{WORK}/less-{os.path.basename(path)}"
    with open(copy, "w", errors="surrogateescape") as f:
        f.writelines(lines)
    return copy


def compare_tour(name, *options, delay=0):
    reference = f"{WORK}/reference"
    os.mkdir(reference)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", reference], check=True)
    with Mount(*options) as m:
        if delay:
            m.tell("delay", delay)
        ours = transcript(m / "tour", name)
        assert m.stats()["stalls"] == 0
    a = transcript(f"{reference}/tour", "tmpfs")
    known = f"{HERE}/tour-known.tsv"
    if is_old_tmpfs(reference):
        known, a, ours = (leave_out(p, ("xattr: ", "O_DIRECT", "contents direct")) for p in (known, a, ours))
    r = subprocess.run([sys.executable, COMPARE, known, "tmpfs", a, name, ours], text=True,
                       capture_output=True)
    assert r.returncode == 0, r.stdout


# ---- mounting -----------------------------------------------------------------------------------------------------


def test_mount_table():
    for source in ("h:/v", "h:v", "h:/v/sub", "10.0.0.1,10.0.0.2:/v"):
        with Mount(source=source) as m:
            got, kind, options = mount_entry(m.path)
            assert (got, kind) == (source, "fuse.glusterfs"), (got, kind)
            assert {"rw", "default_permissions", "allow_other", "user_id=0"} <= set(options), options
            df = subprocess.run(["df", "--output=source", m.path], text=True, capture_output=True, check=True)
            assert df.stdout.split("\n")[1].strip() == source
            subprocess.run(["umount", m.path], check=True)
            assert m.finish() == "ended 0\n"


def test_read_only():
    with Mount("ro") as m:
        assert "ro" in mount_entry(m.path)[2]
        try:
            os.mkdir(m / "d")
            assert False
        except OSError as e:
            assert e.errno == errno.EROFS


def test_fusermount():
    for user in (None, 1000):
        for source in ("h:/v", "a,b\\c:/v"):
            with Mount("fusermount", *(["private"] if user else []), source=source, user=user) as m:
                got, kind, options = mount_entry(m.path)
                assert got.replace("\\134", "\\") == source and kind == "fuse.glusterfs", (got, kind)
                assert {"nosuid", "nodev"} <= set(options) if user else "allow_other" in options, options
                if not user:
                    os.mkdir(m / "d")
                become = {"user": user, "group": user, "extra_groups": []} if user else {}
                subprocess.run([MEMFS, "unmount", m.path], check=True, **become)
                assert m.finish() == "ended 0\n"


def test_refused():
    for path, words in (("/nowhere/at/all", "/nowhere/at/all: No such file"), ("/etc/passwd", "not a directory")):
        m = Mount(directory=path)
        _, err = m.process.communicate(timeout=WAIT)
        assert m.process.returncode == 1 and words in err, err
    m = Mount("fusermount", directory="/nowhere/at/all")
    _, err = m.process.communicate(timeout=WAIT)
    assert m.process.returncode == 1 and "fusermount3" in err and "/nowhere" in err, err


def test_busy_and_lazy():
    with Mount() as m:
        f = open(m / "f", "w")
        assert subprocess.run(["umount", m.path], stderr=subprocess.DEVNULL).returncode != 0
        subprocess.run(["umount", "-l", m.path], check=True)
        assert m.process.poll() is None
        f.write("still there")
        f.flush()
        f.close()
        assert m.finish() == "ended 0\n"


def test_unmount():
    with Mount() as m:
        with open(m / "f", "w"):
            r = subprocess.run([MEMFS, "unmount", m.path], stderr=subprocess.PIPE, text=True)
            assert r.returncode == 1 and "busy" in r.stderr, r.stderr
        m.tell("delay", 3600_000_000_000)  # what is asked now is never answered
        asker = subprocess.Popen(["ls", "-l", m.path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        r = subprocess.run([MEMFS, "unmount", m.path, "lazy", "force"], stderr=subprocess.PIPE, text=True)
        assert r.returncode == 0, r.stderr
        until("the session ends", lambda: m.process.stdout.readline().startswith("ended"))
        asker.wait(timeout=WAIT)
        m.process.kill()  # its request sleeps for an hour
        m.process.wait(timeout=WAIT)
    r = subprocess.run([MEMFS, "unmount", WORK], stderr=subprocess.PIPE, text=True)
    assert r.returncode == 1 and "cannot unmount" in r.stderr, r.stderr


def test_killed():
    with Mount() as m:
        m.process.kill()
        m.finish()
        try:
            os.stat(m.path)
            assert False
        except OSError as e:
            # a ring lets go of the device a little later: what is asked meanwhile is aborted
            assert e.errno == errno.ENOTCONN or (RING and e.errno == errno.ECONNABORTED), e
        subprocess.run(["umount", m.path], check=True)


def test_aborted():
    """By the control file system, with a request under way."""
    connections = f"{WORK}/connections"
    os.mkdir(connections)
    subprocess.run(["mount", "-t", "fusectl", "fusectl", connections], check=True)
    with Mount() as m:
        device = os.minor(os.stat(m.path).st_dev)
        m.tell("delay", 300_000_000)
        asker = subprocess.Popen(["ls", "-l", m.path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until("a request waits", lambda: open(f"{connections}/{device}/waiting").read().strip() != "0")
        with open(f"{connections}/{device}/abort", "w") as f:
            f.write("1")
        assert m.finish() == f"ended -{errno.ECONNABORTED}\n"
        asker.wait(timeout=WAIT)


# ---- the kernel's view of it ----------------------------------------------------------------------------------------


def test_tour():
    compare_tour("mem")


def test_tour_asynchronous():
    compare_tour("mem-later", delay=1)


def test_tour_7_31():
    compare_tour("mem-31", "minor=31")


def test_tour_7_36():
    compare_tour("mem-36", "minor=36")


def test_tour_explicit():
    compare_tour("mem-explicit", "explicit")


def test_statx():
    before = int(time.time()) - 1
    with Mount() as m:
        open(m / "f", "w").close()
        born = subprocess.run(["stat", "-c", "%W", m / "f"], text=True, capture_output=True, check=True).stdout
        if m.minor() >= 39:
            assert before <= int(born) <= time.time() + 1, born
    with Mount("minor=31") as m:
        assert m.minor() == 31
        os.setxattr(m.path, "user.x", b"value", os.XATTR_CREATE)
        assert os.getxattr(m.path, "user.x") == b"value"


def test_handles():
    """A file handle is resolved by LOOKUP "."."""
    libc = ctypes.CDLL(None, use_errno=True)

    class Handle(ctypes.Structure):
        _fields_ = [("bytes", ctypes.c_uint), ("type", ctypes.c_int), ("data", ctypes.c_char * 128)]

    with Mount() as m:
        os.mkdir(m / "d")
        with open(m / "d/f", "w") as f:
            f.write("by handle")
        h, mount_id = Handle(bytes=128), ctypes.c_int()
        assert libc.name_to_handle_at(-100, (m / "d/f").encode(), ctypes.byref(h), ctypes.byref(mount_id), 0) == 0
        top = os.open(m.path, os.O_RDONLY)
        fd = libc.open_by_handle_at(top, ctypes.byref(h), os.O_RDONLY)
        assert fd >= 0, os.strerror(ctypes.get_errno())
        assert os.read(fd, 100) == b"by handle"
        os.close(fd)
        os.close(top)


def test_groups():
    def ask(path, groups):
        os.setgroups(groups)
        os.setgid(592)
        os.setuid(592)
        assert os.getxattr(path, "user.memfs.groups").decode() == " ".join(map(str, groups))

    with Mount() as m:
        for groups in ([590, 592], [], list(range(5000, 5060))):
            in_child(ask, m.path, groups)


def test_cache_and_invalidation():
    with Mount() as m:
        open(m / "f", "w").close()
        node = os.stat(m / "f").st_ino

        def asked(kind):
            before = m.stats()[kind]
            os.stat(m / "f")
            return m.stats()[kind] > before
        until("all is cached", lambda: not asked("getattr") and not asked("lookup"))
        assert not any(asked("getattr") or asked("lookup") for _ in range(50))
        m.tell("inval", node)
        until("attributes are asked for again", lambda: asked("getattr"))
        assert not asked("getattr")
        m.tell("expire", "f")
        until("the name is looked up again", lambda: asked("lookup"))
        assert not asked("lookup")
        m.tell("inval", 4711)  # the kernel does not know it: no failure
        m.tell("expire", "nothing")
        until("all are written", lambda: m.stats()["notifications"] == 4)
        assert m.stats()["failed"] == 0


def test_invalidation_never_deadlocks():
    """Names are invalidated in the directory in which others create and remove at the same time."""
    with Mount() as m:
        m.tell("delay", 1)
        stop = time.monotonic() + 2

        def work(i):
            n = 0
            while time.monotonic() < stop:
                open(m / f"w{i}", "w").close()
                m.tell("expire", f"w{i}")
                m.tell("inval", 1)
                os.unlink(m / f"w{i}")
                n += 1
            return n
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(work, range(8))) > 50
        assert os.listdir(m.path) == []


# ---- signals --------------------------------------------------------------------------------------------------------


def lock_waiter(path, flock):
    f = open(path, "r+")
    signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(InterruptedError()))
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        if flock:
            fcntl.flock(f, fcntl.LOCK_EX)
        else:
            fcntl.lockf(f, fcntl.LOCK_EX)
    except InterruptedError:
        return
    raise AssertionError("the lock was granted")


def test_interrupted_locks():
    with Mount() as m:
        for flock in (False, True):
            with open(m / "f", "w") as f:
                (fcntl.flock if flock else fcntl.lockf)(f, fcntl.LOCK_EX)
                in_child(lock_waiter, m / "f", flock)
        s = m.stats()
        assert s["interrupts"] >= 2 and s["waiting"] == 0, s


def test_killed_waiters():
    """Many wait for a lock, more than requests may be under way; all are killed; the lock is free after."""
    with Mount("in_flight=4") as m:
        f = open(m / "f", "w")
        fcntl.lockf(f, fcntl.LOCK_EX)
        waiters = []
        for _ in range(20):
            waiters.append(subprocess.Popen([sys.executable, "-c", "import fcntl,sys\n"
                                             "fcntl.lockf(open(sys.argv[1],'r+'), fcntl.LOCK_EX)", m / "f"]))
        until("all wait", lambda: m.stats()["waiting"] == 20)
        for w in waiters[:10]:
            w.kill()
            w.wait(timeout=WAIT)
        until("ten wait", lambda: m.stats()["waiting"] == 10)
        f.close()
        for w in waiters[10:]:
            assert w.wait(timeout=WAIT) == 0


def test_ring():
    """Requests come by it; many that wait for locks, all asked on one processor, leave room for what ends their wait."""
    if not RING:
        return
    with Mount() as m:
        assert "by io_uring" in m.first_log(), "no ring"
        processors = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(processors)})
        try:
            f = open(m / "f", "w")
            fcntl.lockf(f, fcntl.LOCK_EX)
            waiters = [subprocess.Popen([sys.executable, "-c", "import fcntl,sys,errno\n"
                                         "try: fcntl.lockf(open(sys.argv[1],'r+'), fcntl.LOCK_EX)\n"
                                         "except OSError as e: sys.exit(e.errno)", m / "f"]) for _ in range(40)]
            until("as many wait as may", lambda: m.stats()["waiting"] == 24 and
                  sum(w.poll() == errno.ENOLCK for w in waiters) == 16)
            assert os.listdir(m.path) == ["f"]
            f.close()
            assert sorted(w.wait(timeout=WAIT) for w in waiters) == [0] * 24 + [errno.ENOLCK] * 16
        finally:
            os.sched_setaffinity(0, processors)


def test_ring_refused():
    """The kernel does not offer it: said once, and everything goes by the device."""
    if not RING:
        return
    with open(ENABLE_RING, "w") as f:
        f.write("N")
    try:
        with Mount() as m:
            assert "does not offer it" in m.first_log()
            with open(m / "f", "w") as f:
                f.write("x")
    finally:
        with open(ENABLE_RING, "w") as f:
            f.write("Y")


# ---- load -----------------------------------------------------------------------------------------------------------


def test_tree():
    """A source tree copied in by several at once, compared, removed; names and nodes are all given back."""
    source = os.path.join(HERE, "..")
    with Mount("in_flight=16") as m:
        def copy(i):
            shutil.copytree(source, m / f"copy{i}", symlinks=True, ignore=shutil.ignore_patterns("data"))
            return i
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            for i in pool.map(copy, range(4)):
                c = filecmp.dircmp(source, m / f"copy{i}", ignore=["data"])
                assert not c.diff_files and not c.left_only and not c.right_only, (c.left_only, c.right_only)
            list(pool.map(lambda i: shutil.rmtree(m / f"copy{i}"), range(4)))
        assert os.listdir(m.path) == []
        s = m.stats()
        assert s["peak"] <= 16 and s["stalls"] == 0 and s["forgets"] > 100, s


def test_large_directory():
    with Mount() as m:
        names = {f"a rather long name of a file {i:06d}" for i in range(5000)}
        os.mkdir(m / "d")
        for n in names:
            open(os.path.join(m / "d", n), "w").close()
        with os.scandir(m / "d") as entries:
            got = {e.name: e.stat().st_ino for e in entries}
        assert set(got) == names and len(set(got.values())) == len(names)
        shutil.rmtree(m / "d")


def test_data():
    """Large writes and reads, buffered and direct, by several at once."""
    block = os.urandom(1 << 20)

    def one(args):
        m, i, direct = args
        path = m / f"f{i}"
        flag = ["oflag=direct"] if direct else []
        blob = f"{WORK}/blob{i}"
        with open(blob, "wb") as f:
            for k in range(24):
                f.write(block[k:] + block[:k])
        subprocess.run(["dd", f"if={blob}", f"of={path}", "bs=1M", *flag], check=True, stderr=subprocess.DEVNULL)
        read = subprocess.run(["dd", f"if={path}", "bs=1M", *(["iflag=direct"] if direct else [])], check=True,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
        with open(blob, "rb") as f:
            return hashlib.sha256(read).digest() == hashlib.sha256(f.read()).digest()

    for options in ([], ["minor=31"]):
        with Mount(*options) as m, concurrent.futures.ThreadPoolExecutor(3) as pool:
            assert all(pool.map(one, [(m, i, i % 2 == 0) for i in range(3)]))
            assert os.statvfs(m.path).f_namemax == 255


def test_round_trips():
    """A figure, not a limit: uncached getattr per second."""
    with Mount() as m:
        m.tell("uncached", 1)
        os.stat(m.path)
        def busy():
            with open(f"/proc/{m.process.pid}/schedstat") as f:
                return int(f.read().split()[0])

        n, before, busy_before = 20000, m.stats()["getattr"], busy()
        began = time.perf_counter()
        for _ in range(n):
            os.stat(m.path)
        each = (time.perf_counter() - began) / n
        work = (busy() - busy_before) / n / 1000
        assert m.stats()["getattr"] - before >= n
        print(f"# {1 / each:.0f} getattr/s, {each * 1e6:.1f} us each, {work:.1f} of them the server's processor")


# ---- running --------------------------------------------------------------------------------------------------------


def clean():
    with open("/proc/self/mounts") as f:
        for path in sorted((line.split()[1] for line in f if line.split()[1].startswith(WORK)), reverse=True):
            subprocess.run(["umount", "-l", path], stderr=subprocess.DEVNULL)
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(WORK)


def run_one(name):
    global WORK
    WORK = tempfile.mkdtemp(prefix="mortar-fuse.", dir="/var/tmp")
    os.chmod(WORK, 0o755)
    began = time.monotonic()
    try:
        globals()[name]()
        print(f"ok {name} ({time.monotonic() - began:.1f} s)", flush=True)
        return True
    except BaseException:
        traceback.print_exc()
        print(f"not ok {name}", flush=True)
        return False
    finally:
        clean()


def private_device():
    """A /dev/fuse that every user may open, as distributions have it, and a configuration that lets root's mounts be seen."""
    os.makedirs("/run/mortar-fuse-test", exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run/mortar-fuse-test"], check=True)
    os.mknod("/run/mortar-fuse-test/fuse", 0o666 | 0o020000, os.makedev(10, 229))
    os.chmod("/run/mortar-fuse-test/fuse", 0o666)
    subprocess.run(["mount", "--bind", "/run/mortar-fuse-test/fuse", "/dev/fuse"], check=True)


def main():
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        print("needs root and /dev/fuse")
        return 77
    if os.environ.get("MORTAR_TEST_INSIDE") != "1":
        os.environ["MORTAR_TEST_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", "-m", "--propagation", "private", sys.executable, *sys.argv])
    private_device()
    if RING and not os.path.exists(ENABLE_RING):
        print("this kernel has no FUSE over io_uring")
        return 77
    names = sys.argv[3:] or [name for name in globals() if name.startswith("test_")]
    if not RING:
        return 0 if all([run_one(name) for name in names]) else 1
    with open(ENABLE_RING) as f:
        enabled = f.read()
    with open(ENABLE_RING, "w") as f:
        f.write("Y")
    try:
        return 0 if all([run_one(name) for name in names]) else 1
    finally:
        with open(ENABLE_RING, "w") as f:
            f.write(enabled)


if __name__ == "__main__":
    sys.exit(main())
