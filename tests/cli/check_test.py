#!/usr/bin/env python3
"""`mortar brick check` as an operator uses it: texts, JSON, exit statuses, bricks that are served, mounted read-only, or none.

Runs itself in a private mount namespace; needs root.
usage: check_test.py MORTAR MORTAR_BRICK [TEST...]
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import traceback
import uuid

MORTAR, MORTAR_BRICK = (os.path.abspath(p) for p in sys.argv[1:3])
ROOT_GFID = uuid.UUID(int=1)


class Brick:
    """A brick directory made by hand, without gfid2path and times, as old releases made them."""

    def __init__(self, path):
        self.path, self.id = path, uuid.uuid4()
        os.makedirs(f"{path}/.glusterfs/00/00")
        os.setxattr(path, "trusted.glusterfs.volume-id", self.id.bytes)
        os.setxattr(path, "trusted.gfid", ROOT_GFID.bytes)
        os.symlink("../../..", self.handle(ROOT_GFID))

    def handle(self, gfid):
        text = str(gfid)
        os.makedirs(f"{self.path}/.glusterfs/{text[:2]}/{text[2:4]}", exist_ok=True)
        return f"{self.path}/.glusterfs/{text[:2]}/{text[2:4]}/{text}"

    def file(self, name, handle=True):
        gfid, path = uuid.uuid4(), os.path.join(os.fsencode(self.path), os.fsencode(name))
        with open(path, "w") as f:
            f.write("text")
        os.setxattr(path, "trusted.gfid", gfid.bytes)
        if handle:
            os.link(path, self.handle(gfid))
        return gfid

    def volfile(self):
        return f"""volume v-posix
    type storage/posix
    option directory {self.path}
    option volume-id {self.id}
end-volume
volume {self.path}
    type debug/io-stats
    subvolumes v-posix
end-volume
volume v-server
    type protocol/server
    option auth.addr.{self.path}.allow *
    subvolumes {self.path}
end-volume
"""


def mortar(*words, program=MORTAR, **more):
    r = subprocess.run([program, *words], capture_output=True, text=True, timeout=60, **more)
    return r.returncode, r.stdout, r.stderr


def check(brick, *more):
    return mortar("brick", "check", brick.path, *more)


def served(brick):
    """A process that serves the brick, once it does."""
    volfile = brick.path + ".vol"
    with open(volfile, "w") as f:
        f.write(brick.volfile())
    r, w = os.pipe()
    p = subprocess.Popen([MORTAR_BRICK, "--volfile", volfile, "--listen", "127.0.0.1", "--port", "0", "--ready-fd", str(w),
                          "--log-file", brick.path + ".log"], pass_fds=[w])
    os.close(w)
    with os.fdopen(r) as f:
        assert f.readline().strip(), "the brick does not start"
    return p


def test_clean(work):
    brick = Brick(work + "/b")
    brick.file("file")
    status, out, err = check(brick)
    assert (status, err) == (0, ""), (status, out, err)
    assert "0 directories, 1 files, 0 other objects" in out and "Result: clean." in out, out
    assert "without gfid2path. That is nothing wrong." in out, out
    status, out, _ = check(brick, "-o", "json")
    j = json.loads(out)
    assert status == 0 and j["clean"] and j["findings"] == [] and j["totals"]["files"] == 1, out
    assert j["brick"] == brick.path and j["served_by"] == "" and not j["repair"], out


def test_found_and_repaired(work):
    brick = Brick(work + "/b")
    gfid = brick.file("file", handle=False)
    odd = b"new\nline \xff \xc3\xa9"
    brick.file(odd, handle=False)
    status, out, _ = check(brick)
    assert status == 1 and "repairable  no-handle        file\n" in out and str(gfid) in out, out
    assert "new\\x0aline \\xff \u00e9\n" in out, out
    assert "Result: 0 errors, 2 repairable, 0 notes; 0 repaired, 2 left." in out, out
    assert f"`mortar brick check {brick.path} --repair`" in out, out
    assert not os.path.exists(brick.handle(gfid)), "a plain check changed something"
    status, out, _ = check(brick, "-o", "json")
    j = json.loads(out)
    assert status == 1 and not j["clean"] and j["totals"]["repairable"] == 2, out
    assert {f["path"] for f in j["findings"]} == {"file", "new\\x0aline \\xff \u00e9"}, out
    assert j["findings"][0]["class"] == "no-handle" and j["totals"]["classes"] == {"no-handle": 2}, out
    status, out, _ = check(brick, "--repair")
    assert status == 0 and "repaired    no-handle        file\n" in out and "2 repaired, 0 left" in out, out
    assert os.stat(brick.handle(gfid)).st_ino == os.stat(f"{brick.path}/file").st_ino
    assert check(brick)[0] == 0


def test_many_findings_are_cut(work):
    brick = Brick(work + "/b")
    for k in range(30):
        brick.file(f"file{k}", handle=False)
    status, out, _ = check(brick)
    assert status == 1 and out.count("repairable  no-handle") == 20 and "no-handle        10 more" in out, out
    assert len(json.loads(check(brick, "-o", "json")[1])["findings"]) == 30


def test_errors_are_left(work):
    brick = Brick(work + "/b")
    gfid = brick.file("file")
    shutil.copy(f"{brick.path}/file", f"{brick.path}/copy")
    os.setxattr(f"{brick.path}/copy", "trusted.gfid", gfid.bytes)
    for more in ([], ["--repair"], []):
        status, out, _ = check(brick, *more)
        assert status == 1 and "error       same-gfid        copy\n" in out and "1 left" in out, out


def test_what_is_no_brick(work):
    for words in (["brick", "check", work], ["brick", "check", work + "/nowhere"], ["brick", "check", "/dev/null"],
                  ["brick", "check"], ["brick", "check", "--repair"], ["brick", "check", work, work]):
        status, out, err = mortar(*words)
        assert status == 2 and out == "" and err, (words, status, out, err)
    assert "is not a brick" in mortar("brick", "check", work)[2]
    status, out, _ = mortar("brick", "check", work, "-o", "json")
    assert status == 2 and "is not a brick" in json.loads(out)["error"], out


def test_only_root(work):
    brick = Brick(work + "/b")
    os.chmod(work, 0o755)
    status, _, err = mortar("brick", "check", brick.path, user=65534, group=65534, extra_groups=[])
    assert status == 2 and "root" in err, err


def test_served_by_ours(work):
    brick = Brick(work + "/b")
    brick.file("file", handle=False)
    p = served(brick)
    try:
        status, _, err = check(brick, "--repair")
        assert status == 2 and f"served by mortar-brick (pid {p.pid})" in err and "Stop the brick" in err, err
        status, out, _ = check(brick)
        assert status == 1 and f"is being served by mortar-brick (pid {p.pid})." in out and "seen twice" in out, out
        assert json.loads(check(brick, "-o", "json")[1])["served_by"] == "mortar-brick"
    finally:
        p.terminate()
        p.wait()
    assert check(brick, "--repair")[0] == 0
    p = served(brick)  # and it is a brick still
    p.terminate()
    assert p.wait() == 0


def test_a_stock_process_is_seen(work):
    """Stock bricks take no lock: a program of that name that says the path, or has the directory open."""
    brick = Brick(work + "/b")
    program = work + "/glusterfsd"
    shutil.copy("/bin/bash", program)
    fd = os.open(brick.path, os.O_RDONLY)
    for more, fds in ((["--brick-name", brick.path], []), ([], [fd])):
        p = subprocess.Popen([program, "-c", "read x; exit", *more], stdin=subprocess.PIPE, pass_fds=fds)
        status, _, err = check(brick, "--repair")
        assert status == 2 and f"served by glusterfsd (pid {p.pid})" in err, err
        p.stdin.close()
        p.wait()
    os.close(fd)
    assert check(brick, "--repair")[0] == 0


def test_read_only(work):
    brick = Brick(work + "/b")
    brick.file("file", handle=False)
    subprocess.run(["mount", "--bind", brick.path, brick.path], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", brick.path], check=True)
    try:
        status, out, _ = check(brick)
        assert status == 1 and "no-handle" in out, out
        status, out, _ = check(brick, "--repair")
        assert status == 1 and "could not be repaired: Read-only file system" in out and "1 left" in out, out
    finally:
        subprocess.run(["umount", brick.path], check=True)


def test_mounted_inside(work):
    brick = Brick(work + "/b")
    os.mkdir(brick.path + "/dir")
    gfid = uuid.uuid4()
    os.setxattr(brick.path + "/dir", "trusted.gfid", gfid.bytes)
    os.symlink(f"../../00/00/{ROOT_GFID}/dir", brick.handle(gfid))
    brick.file("dir/file")
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", brick.path + "/dir"], check=True)
    try:
        status, out, _ = check(brick, "--repair")
    finally:
        subprocess.run(["umount", brick.path + "/dir"], check=True)
    assert status == 1 and "error       mounted-inside   dir\n" in out and "Not all could be read" in out, out
    assert os.path.islink(brick.handle(gfid)), "the handle of a hidden directory was removed"
    assert check(brick)[0] == 0


def test_gluster_does_not_know_the_switch(work):
    os.symlink(MORTAR, work + "/gluster")
    status, out, _ = mortar("brick", "check", work, "--repair", program=work + "/gluster")
    assert status == 255 and "unrecognized option --repair" in out, out


def run_one(name):
    work = tempfile.mkdtemp(prefix="mortar-check-", dir="/dev/shm")
    try:
        globals()[name](work)
        print("ok", name)
        return True
    except Exception:
        print(f"not ok {name}: {traceback.format_exc()}")
        return False
    finally:
        shutil.rmtree(work, ignore_errors=True)


def main():
    if os.environ.get("MORTAR_TEST_INSIDE") != "1":
        os.environ["MORTAR_TEST_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", "-m", "--propagation", "private", sys.executable, *sys.argv])
    names = sys.argv[3:] or [name for name in globals() if name.startswith("test_")]
    return 0 if all([run_one(name) for name in names]) else 1


if __name__ == "__main__":
    sys.exit(main())
