#!/usr/bin/env python3
"""mortard and mortar as an operator uses them, with a brick process that serves nothing (or the real one).

Runs itself in private mount and network namespaces; needs root.
usage: cli_test.py MORTARD MORTAR BRICK [TEST...]
"""
import contextlib
import glob
import json
import os
import re
import shutil
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import wire  # noqa: E402

HOST = "127.0.0.5"  # a loopback address that `volume create` takes
FORCE_TEXT = "Or use 'force' at the end of the command if you want to override this behavior."
CREATE_USAGE = ("\nUsage:\nvolume create <NEW-VOLNAME> [[replica <COUNT> [arbiter <COUNT>]]|[replica 2 thin-arbiter 1]] "
                "[disperse [<COUNT>]] [disperse-data <COUNT>] [redundancy <COUNT>] [transport <tcp|rdma|tcp,rdma>] "
                "<NEW-BRICK> <TA-BRICK>... [force]\n\n")
USAGE_BLOCK = ("\n Usage: mortar [options] <help> <peer> <pool> <volume>\n Options:\n --help  Shows the help information\n"
               " --version  Shows the version\n --print-logdir  Shows the log directory\n"
               " --print-statedumpdir Shows the state dump directory\n\n")


def wait_for(condition, what, seconds=20):
    limit = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < limit, f"waited {seconds} s for {what}"
        time.sleep(0.02)


class Node:
    """One mortard with its directories."""

    def __init__(self, root, programs):
        self.root, self.programs, self.process = root, programs, None
        for name in ("state", "run", "log"):
            os.makedirs(f"{root}/{name}", exist_ok=True)
        os.mkdir(f"{root}/data")
        subprocess.run(["mount", "-t", "tmpfs", "data", f"{root}/data"], check=True)
        self.socket = f"{root}/run/mortard.sock"

    def start(self, *options, ready=True):
        read_end, write_end = os.pipe()
        log = open(f"{self.root}/mortard.log", "a")
        self.process = subprocess.Popen(
            [self.programs["mortard"], "--state-dir", f"{self.root}/state", "--run-dir", f"{self.root}/run", "--log-dir",
             f"{self.root}/log", "--brick-program", self.programs["brick"], "--heal-program", "none", "--hostname", "node1", "--config", "/dev/null",
             "--ready-fd", str(write_end), *options], stderr=log, pass_fds=[write_end])
        os.close(write_end)
        line = os.read(read_end, 100)
        os.close(read_end)
        assert not ready or line == b"ready\n", self.log()

    def kill(self, sig=signal.SIGKILL):
        self.process.send_signal(sig)
        status = self.process.wait()
        self.process = None
        return status

    def log(self):
        with open(f"{self.root}/mortard.log") as f:
            return f.read()

    def mortar(self, *words, stdin=""):
        r = subprocess.run([self.programs["mortar"], f"--socket={self.socket}", *words], input=stdin, capture_output=True,
                           text=True, timeout=60)
        return r.returncode, r.stdout, r.stderr

    def ok(self, *words):
        code, out, err = self.mortar("--mode=script", *words)
        assert code == 0, f"{words}: exit {code}: {out}{err}"
        return out

    def refused(self, text, *words, code=1):
        got = self.mortar("--mode=script", *words)
        assert got == (code, "", text), f"{words}: {got}\n  wanted {text!r}"

    def json(self, *words):
        return json.loads(self.ok("-o", "json", *words))

    def brick(self, name):
        return f"{HOST}:{self.root}/data/{name}"

    def status(self, volume):
        return self.json("volume", "status", volume)["volumes"][0]["bricks"]

    def online(self, volume):
        return wait_for(lambda: (lambda b: b if all(x["online"] for x in b) else None)(self.status(volume)), "all bricks online")

    def end(self):
        if self.process:
            self.kill()
        for pid in pids(self):
            os.kill(pid, signal.SIGKILL)


def pids(node):
    """Brick processes of this node."""
    found = []
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError, ValueError):
            with open(f"/proc/{int(entry)}/cmdline", "rb") as f:
                if f"{node.root}/run/brick-".encode() in f.read():
                    found.append(int(entry))
    return found


# ---- tests: each gets a node that runs ------------------------------------------------------------------------------


HEAL_USAGE = ("\nUsage:\nvolume heal <VOLNAME> [enable | disable | full |statistics [heal-count [replica <HOSTNAME:BRICKNAME>]] "
              "|info [summary | split-brain] |split-brain {bigger-file <FILE> | latest-mtime <FILE> |source-brick "
              "<HOSTNAME:BRICKNAME> [<FILE>]} |granular-entry-heal {enable | disable}]\n\n")


def test_heal(node):
    """heal: the forms, what is refused and how, which options it sets."""
    for words in ([], ["r", "bogus"], ["r", "info", "bogus"], ["r", "info", "healed"], ["r", "split-brain"],
                  ["r", "split-brain", "bogus", "/f"], ["r", "statistics", "bogus"], ["r", "granular-entry-heal"]):
        node.refused(HEAL_USAGE, "volume", "heal", *words)
    bricks = [node.brick(f"b{n}") for n in range(6)]
    node.ok("volume", "create", "dist", bricks[0])
    node.ok("volume", "create", "r", "replica", "3", *bricks[1:4], "force")
    index = "Launching heal operation to perform index self heal on volume"
    node.refused(f"{index} none has been unsuccessful:\nVolume none does not exist\n", "volume", "heal", "none")
    node.refused(f"{index} r has been unsuccessful:\nVolume r is not started.\n", "volume", "heal", "r")
    node.refused(f"{index} dist has been unsuccessful:\nSelf-heal-daemon is disabled. Heal will not be triggered on volume dist\n",
                 "volume", "heal", "dist")
    for words, code, text in ((["none", "info"], 254, "Volume none does not exist"),
                              (["dist", "info"], 234, "This command is supported for only volumes of replicate/disperse type. "
                               "Volume dist is not of type replicate/disperse"),
                              (["r", "info", "summary"], 251, "r: Not able to fetch volfile from glusterd")):
        assert node.mortar("volume", "heal", *words) == (code, text + "\nVolume heal failed.\n", ""), words
        code_xml, out, _ = node.mortar("volume", "heal", *words, "--xml")
        assert code_xml == code and f"<opErrno>{256 - code}</opErrno>" in out and f"<opErrstr>{text}</opErrstr>" in out, out
    assert node.mortar("volume", "heal", "r", "disable") == (0, "Disable heal on volume r has been successful \n", "")
    assert {"name": "cluster.self-heal-daemon", "value": "disable"} in node.json("volume", "info", "r")["volumes"][0]["options"]
    assert node.mortar("volume", "heal", "r", "granular-entry-heal", "disable") == (
        0, "Disable granular entry heal on volume r has been successful \n", "")
    assert node.json("volume", "get", "r", "cluster.granular-entry-heal")["options"][0]["value"] == "disable"
    node.ok("volume", "start", "r")
    assert "Self-heal Daemon" not in node.ok("volume", "status", "r"), "disabled"
    node.refused("Gathering count of entries to be healed on volume r has been unsuccessful:\nSelf-heal-daemon is disabled. "
                 "Heal will not be triggered on volume r\n", "volume", "heal", "r", "statistics", "heal-count")
    node.ok("volume", "heal", "r", "enable")
    assert f"{'Self-heal Daemon on localhost':<43} N/A       N/A        N       N/A  \n" in node.ok("volume", "status", "r")
    node.refused(f"{index} r has been unsuccessful:\nThe self-heal daemon is not running: mortard is set not to keep a heal daemon\n",
                 "volume", "heal", "r")
    assert 'mortar_heal_up{volume="r"} 0\n' in node.ok("metrics")


def test_life(node):
    """create, info, start, status, stop, delete: the texts."""
    assert node.mortar("volume", "list") == (0, "", "No volumes present in cluster\n")
    assert node.mortar("volume", "info") == (0, "", "No volumes present\n")
    assert node.mortar("volume", "status") == (0, "", "No volumes present\n")
    bricks = [node.brick("b1"), node.brick("b2")]
    assert node.mortar("volume", "create", "gv0", bricks[0], bricks[1] + "/") == (
        0, "volume create: gv0: success: please start the volume to access data\n", "")
    volume = node.json("volume", "info", "gv0")["volumes"][0]
    assert node.mortar("vol", "info") == (0, (
        f" \nVolume Name: gv0\nType: Distribute\nVolume ID: {volume['id']}\nStatus: Created\nSnapshot Count: 0\n"
        f"Number of Bricks: 2\nTransport-type: tcp\nBricks:\nBrick1: {bricks[0]}\nBrick2: {bricks[1]}\n"
        "Options Reconfigured:\nstorage.fips-mode-rchecksum: on\ntransport.address-family: inet\nnfs.disable: on\n"), "")
    assert node.mortar("volume", "list") == (0, "gv0\n", "")
    node.refused("Volume gv0 is not started\n", "volume", "status", "gv0")
    assert node.mortar("volume", "status") == (0, " \n", "Volume gv0 is not started\n")
    assert node.mortar("volume", "start", "gv0") == (0, "volume start: gv0: success\n", "")
    node.refused("volume start: gv0: failed: Volume gv0 already started\n", "volume", "start", "gv0")
    assert node.ok("volume", "start", "gv0", "force") == "volume start: gv0: success\n"
    rows = node.online("gv0")
    out = node.ok("volume", "status", "gv0")
    lines = out.splitlines()
    assert lines[:3] == ["Status of volume: gv0", "Gluster process" + " " * 28 + " TCP Port  RDMA Port  Online  Pid", "-" * 78]
    assert out.endswith(" \nTask Status of Volume gv0\n" + "-" * 78 + "\nThere are no active volume tasks\n \n")
    last = f"Brick {bricks[0]}"[-(len(f"Brick {bricks[0]}") % 43 or 43):]
    assert f"{last:<43} {rows[0]['port']:<10}0          Y       {rows[0]['pid']:<5}" in lines, out
    node.refused("volume delete: gv0: failed: Volume gv0 has been started.Volume needs to be stopped before deletion.\n",
                 "volume", "delete", "gv0")
    question = "Stopping volume will make its data inaccessible. Do you want to continue? (y/n) "
    assert node.mortar("volume", "stop", "gv0", stdin="n\n") == (0, question, "")
    assert node.mortar("volume", "stop", "gv0") == (
        0, question + "gluster cli read error\nInvalid input, please enter y/n\n", "")
    assert node.mortar("volume", "stop", "gv0", stdin="y\n") == (0, question + "volume stop: gv0: success\n", "")
    wait_for(lambda: not pids(node), "the end of the idle brick process")
    node.refused("volume stop: gv0: failed: Volume gv0 is not in the started state\n", "volume", "stop", "gv0")
    assert "Status: Stopped\n" in node.ok("volume", "info", "gv0")
    assert node.ok("volume", "stop", "gv0", "force") == "volume stop: gv0: success\n"
    question = "Deleting volume will erase all information about the volume. Do you want to continue? (y/n) "
    assert node.mortar("volume", "delete", "gv0", stdin="no\n") == (0, question, "")
    assert node.mortar("volume", "delete", "gv0", stdin="YES\n") == (0, question + "volume delete: gv0: success\n", "")
    assert node.mortar("volume", "list") == (0, "", "No volumes present in cluster\n")
    node.refused(f"volume create: gv0: failed: {node.root}/data/b1 is already part of a volume\n", "volume", "create", "gv0",
                 bricks[0])
    node.ok("volume", "create", "gv0", *bricks, "force")


def test_words(node):
    """The grammar: unknown, ambiguous, incomplete words, switches, exit codes."""
    def out(code, text, *words):
        got = node.mortar(*words)
        assert got == (code, text, ""), f"{words}: {got}"
    out(1, "unrecognized command\n" + USAGE_BLOCK, "volume")
    out(1, "unrecognized word: foo (position 0)\n" + USAGE_BLOCK, "foo")
    out(1, "unrecognized word: foo (position 1)\n" + USAGE_BLOCK, "volume", "foo")
    out(1, "unrecognized word: i (position 1)\n" + USAGE_BLOCK, "v", "i")
    out(1, "unrecognized word: p (position 0)\n" + USAGE_BLOCK, "p", "s")
    out(1, "unrecognized word: st (position 1)\n" + USAGE_BLOCK, "vol", "st")
    out(255, "unrecognized option --bogus\n" + USAGE_BLOCK, "--bogus", "volume", "info")
    out(255, "unrecognized option --mode=bad\n" + USAGE_BLOCK, "volume", "--mode=bad", "info")
    out(255, "unrecognized option --log-level=FOO\n" + USAGE_BLOCK, "--log-level=FOO", "volume", "info")
    node.refused("timeout value should be a positive integer\n", "--timeout=abc", "volume", "info", code=254)
    node.refused("No volumes present\n", "volume", "--timeout=30", "info", code=0)
    node.refused("mortar: 'volume quota' is not there yet\n", "vol", "quota", "gv0", "list")
    node.refused("mortar: 'volume set all' is not there yet\n", "volume", "set", "all", "a", "b")
    node.refused("mortar: 'peer probe' is not there yet\n", "peer", "probe", "x")
    node.refused("mortar: '--xml' is not there yet\n", "volume", "info", "--xml")
    for words, usage in ((("start",), "start <VOLNAME> [force]"), (("start", "v", "foo"), "start <VOLNAME> [force]"),
                         (("stop",), "stop <VOLNAME> [force]"), (("delete", "v", "force"), "delete <VOLNAME>"),
                         (("info", "v", "extra"), "info [all|<VOLNAME>]")):
        node.refused(f"\nUsage:\nvolume {usage}\n\n", "volume", *words)
    for verb in ("start", "stop", "delete"):
        node.refused(f"volume {verb}: nosuch: failed: Volume nosuch does not exist\n", "volume", verb, "nosuch")
    node.refused("Volume nosuch does not exist\n", "volume", "info", "nosuch")
    node.refused("Volume nosuch does not exist\n", "volume", "status", "nosuch")
    code, out, err = node.mortar("-o", "json", "volume", "start", "nosuch")
    assert (code, json.loads(out), err) == (1, {"error": "Volume nosuch does not exist", "errno": 2}, "")
    assert node.mortar("-o", "xml", "volume", "info") == (1, "", 'mortar: the only output format is "-o json"\n')
    assert node.mortar("--version")[1].startswith("mortar ")
    assert "volume create" in node.mortar("help")[1]
    os.symlink(node.programs["mortar"], f"{node.root}/gluster")
    r = subprocess.run([f"{node.root}/gluster", "--socket", "/nosuch", "volume", "info"], capture_output=True, text=True)
    assert (r.returncode, r.stdout) == (1, "Connection failed. Please check if gluster daemon is operational.\n")
    assert subprocess.run([f"{node.root}/gluster", "--version"], capture_output=True, text=True).stdout.startswith("glusterfs 10.")


def test_create_refusals(node):
    """What `volume create` refuses, on both sides; nothing is left behind."""
    def usage(text, *words):
        node.refused((text + "\n" if text else "") + CREATE_USAGE, "volume", "create", *words)
    def failed(text, *words):
        node.refused(f"volume create: gv0: failed: {text}\n", "volume", "create", "gv0", *words)
    b, root = node.brick, f"{node.root}/data"
    usage("")
    usage("", "gv0")
    usage('"all" cannot be the name of a volume.', "all", b("x"))
    usage('Volume name should not contain "." character.\nVolume names can onlycontain alphanumeric, \'-\' and \'_\' characters.',
          "a.b", b("x"))
    usage("", "-x", b("x"))
    usage("", "a/b", b("x"))
    loopback = ("Please provide a valid hostname/ip other than localhost, 127.0.0.1 or loopback address "
                "(0.0.0.0 to 0.255.255.255).")
    for host in ("localhost", "127.0.0.1", "0.0.0.0"):
        usage(loopback, "gv0", f"{host}:/x")
    for word in ("/data/x", "h:data", "stripe"):
        usage(f"Wrong brick type: {word}, use <HOSTNAME>:<export-dir-abs-path>", "gv0", word)
    usage(f"Found duplicate exports {b('x')}", "gv0", b("x"), b("x") + "/")
    usage("No bricks specified", "gv0", "force")
    usage("replica count should be greater than 1", "gv0", "replica", "1", b("x"))
    usage("replica count should be greater than 1", "gv0", "replica", "x", b("x"))
    usage("arbiter option must be preceded by replica option.", "gv0", "arbiter", "1", b("x"))
    usage("For arbiter configuration, replica count must be 2 and arbiter count must be 1. The 3rd brick of the replica will be"
          " the arbiter", "gv0", "replica", "4", "arbiter", "1", b("x"))
    usage("replicated-dispersed volume is not supported", "gv0", "replica", "2", "disperse", "3", b("x"), b("y"))
    usage("", "gv0", "transport", "foo", b("x"))
    three = [b("x"), b("y"), b("z")]
    usage("number of bricks is not a multiple of replica count", "gv0", "replica", "3", *three[:2])
    usage("number of bricks is not a multiple of replica count", "gv0", "replica", "2", "arbiter", "1", *three[:2])
    usage("disperse count must be greater than 2", "gv0", "disperse", "2", *three)
    usage("number of bricks must be greater than 2", "gv0", "disperse", *three[:2])
    usage("number of bricks is not a multiple of disperse count", "gv0", "disperse-data", "2", "redundancy", "1", *three[:2])
    usage("redundancy must be greater than or equal to 1 and less than 2 for a disperse 3 volume", "gv0", "disperse", "3",
          "redundancy", "2", *three)
    usage("redundancy must be greater than or equal to 1 and less than 2 for a disperse 3 volume", "gv0", "disperse", "3",
          "disperse-data", "3", *three)
    usage("Disperse count(D) should be equal to sum of disperse-data count(K) and redundancy count(R)", "gv0", "disperse", "3",
          "disperse-data", "3", "redundancy", "1", *three)
    usage("Please provide redundancy count along with disperse-data count", "gv0", "disperse-data", "2", *three, b("u"))
    usage("disperse-data must be greater than 1", "gv0", "disperse-data", "1", *three)
    usage("redundancy must be greater than 0", "gv0", "redundancy", "0", *three)
    usage("disperse option given twice", "gv0", "disperse", "3", "disperse", "3", *three)
    node.refused("mortar: thin-arbiter volumes are not there yet; nothing was changed\n", "volume", "create", "gv0", "replica",
                 "2", "thin-arbiter", "1", *three)
    for kind, words in (("replicate", ("replica", "3")), ("disperse", ("disperse", "3"))):
        failed(f"Multiple bricks of a {kind} volume are present on the same server. This setup is not optimal. Bricks should be"
               f" on different nodes to have best fault tolerant configuration. {FORCE_TEXT} ", *words, *three)
    failed("Host 192.0.2.1 is not in 'Peer in Cluster' state", "192.0.2.1:/x")
    failed(f"Failed to create brick directory for brick {b('no/x')}. Reason : No such file or directory ", b("no/x"))
    failed(f"The brick {HOST}:/mortar-test-x is being created in the root partition. It is recommended that you don't use the"
           f" system's root partition for storage backend. {FORCE_TEXT}", f"{HOST}:/mortar-test-x")
    failed(f"The brick {HOST}:{root} is a mount point. Please create a sub-directory under the mount point and use that as the"
           f" brick directory. {FORCE_TEXT}", f"{HOST}:{root}")
    failed("Brick isn't allowed to be created inside glusterd's working directory.", f"{HOST}:{node.root}/state/x", "force")
    failed(f"Host 192.0.2.1 is not in 'Peer in Cluster' state", b("x"), "192.0.2.1:/x")
    assert os.listdir(root) == []
    assert os.listdir(f"{node.root}/state/volumes") == []


def test_layouts(node):
    """Replicate, arbiter, disperse and their distributed forms: `volume info`, volfiles."""
    cases = ((("replica", "3"), 3, "Replicate", "1 x 3 = 3"), (("replica", "3"), 6, "Distributed-Replicate", "2 x 3 = 6"),
             (("replica", "2"), 2, "Replicate", "1 x 2 = 2"), (("replica", "4"), 4, "Replicate", "1 x 4 = 4"),
             (("replica", "3", "arbiter", "1"), 3, "Replicate", "1 x (2 + 1) = 3"),
             (("replica", "2", "arbiter", "1"), 6, "Distributed-Replicate", "2 x (2 + 1) = 6"),
             (("disperse", "3"), 3, "Disperse", "1 x (2 + 1) = 3"), (("disperse",), 6, "Disperse", "1 x (4 + 2) = 6"),
             (("disperse", "3", "redundancy", "1"), 6, "Distributed-Disperse", "2 x (2 + 1) = 6"),
             (("disperse-data", "2", "redundancy", "1"), 3, "Disperse", "1 x (2 + 1) = 3"),
             (("disperse-data", "4"), 6, "Disperse", "1 x (4 + 2) = 6"), (("redundancy", "2"), 6, "Disperse", "1 x (4 + 2) = 6"),
             (("disperse", "4"), 4, "Disperse", "1 x (3 + 1) = 4"))
    for i, (words, n, kind, count) in enumerate(cases):
        name, bricks = f"v{i}", [node.brick(f"v{i}-{k}") for k in range(n)]
        node.ok("volume", "create", name, *words, *bricks, "force")
        out = node.ok("volume", "info", name)
        assert f"Type: {kind}\n" in out and f"Number of Bricks: {count}\n" in out, out
        arbiter = "arbiter" in words
        for k, brick in enumerate(bricks):
            assert f"Brick{k + 1}: {brick}{' (arbiter)' if arbiter and k % 3 == 2 else ''}\n" in out, out
        tail = "storage.fips-mode-rchecksum: on\ntransport.address-family: inet\nnfs.disable: on\n"
        if "replica" in words:
            tail = "cluster.granular-entry-heal: on\n" + tail + "performance.client-io-threads: off\n"
        assert out.endswith("Options Reconfigured:\n" + tail), out
        c = wire.Connection()
        cluster = "cluster/replicate" if "replica" in words else "cluster/disperse"
        for key in (name, f"shd/{name}"):
            code, errno, text = c.getspec(key)
            assert code > 0 and f"type {cluster}\n" in text and "option username" in text, (key, code, errno)
            assert ("iam-self-heal-daemon" in text) == (key != name)
            assert ("arbiter-count 1" in text) == arbiter
    node.ok("volume", "start", "v0")
    assert len(node.online("v0")) == 3


def test_layout_questions(node):
    """What is asked before a volume is made: no means usage."""
    bricks = [node.brick(f"b{k}") for k in range(6)]
    split_brain = ("Replica 2 volumes are prone to split-brain. Use Arbiter or Replica 3 to avoid this. See: "
                   "http://docs.gluster.org/en/latest/Administrator-Guide/Split-brain-and-ways-to-deal-with-it/.\n"
                   "Do you still want to continue?\n (y/n) ")
    optimal = "The optimal redundancy for this configuration is 2. Do you want to create the volume with this value ? (y/n) "
    data = "Redundancy for this configuration is 2. Do you want to create the volume with this value ? (y/n) "
    for words, n, question in (
            (("replica", "2"), 2, split_brain), (("disperse", "6"), 6, optimal), (("disperse-data", "4"), 6, data),
            (("disperse", "4"), 4, "There isn't an optimal redundancy value for this configuration. Do you want to create the"
             " volume with redundancy 1 ? (y/n) "),
            (("disperse", "5", "redundancy", "2"), 5,
             "This configuration is not optimal on most workloads. Do you want to use it ? (y/n) ")):
        assert node.mortar("volume", "create", "gv0", *words, *bricks[:n], stdin="n\n") == (1, question, CREATE_USAGE)
    code, out, err = node.mortar("volume", "create", "gv0", "replica", "2", *bricks[:2], "force")
    assert (code, out) == (0, "volume create: gv0: success: please start the volume to access data\n"), err


def test_options(node):
    """volume set, get, reset: texts, order, what is refused; bricks and clients hear of it."""
    bricks = [node.brick(f"b{i}") for i in range(3)]
    node.ok("volume", "create", "gv0", "replica", "3", *bricks, "force")
    node.ok("volume", "create", "dist", node.brick("d"))
    node.ok("volume", "start", "gv0")
    node.online("gv0")
    usage = "\nUsage:\nvolume set <VOLNAME> group <GROUP>\n\n"
    for words in ((), ("gv0",), ("gv0", "cache-size"), ("gv0", "a", "b", "c"), ("gv0", "performance.quick-read", "")):
        node.refused(usage, "volume", "set", *words)

    def failed(text, *words, volume="gv0"):
        node.refused(f"volume set: failed: {text}\n", "volume", "set", volume, *words)
    elsewhere = "'gluster volume set <VOLNAME>"
    for words, text in (
            (("performance.cache-sise", "1"), "option : performance.cache-sise does not exist\nDid you mean performance.cache-size?"),
            (("foo", "bar"), "option : foo does not exist\nDid you mean acl or drc?"),
            (("performance.cache-size", "abc"), 'invalid number format "abc" in option "cache-size"'),
            (("performance.io-thread-count", "99"), "'99' in 'option thread-count 99' is out of range [1 - 64]"),
            (("performance.write-behind", "maybe"), "Error, Validation Failed"),
            (("cluster.quorum-count", "9"), "9 in cluster.quorum-count 9 is out of range [1 - 3]"),
            (("auth.allow", "bad_addr!"), f"option auth.addr.{node.root}/data/b0.allow bad_addr!: 'bad_addr!' is not a valid"
             " internet-address-list"),
            (("features.quota", "on"), f" {elsewhere} features.quota on' is deprecated. Use 'gluster volume quota <VOLNAME> enable'"
             " instead."),
            (("features.inode-quota", "off"), f" {elsewhere} features.inode-quota off' is deprecated. Use 'gluster volume"
             " inode-quota <VOLNAME> disable' instead."),
            (("features.bitrot", "on"), f" {elsewhere} features.bitrot' is invalid command. Use 'gluster volume bitrot <VOLNAME>"
             " {enable|disable}' instead."),
            (("features.scrub", "Active"), f" {elsewhere} features.scrub' is invalid command. Use 'gluster volume bitrot <VOLNAME>"
             " scrub {pause|resume}' instead."),
            (("cluster.granular-entry-heal", "off"), f" {elsewhere} cluster.granular-entry-heal {{enable, disable}}' is not"
             " supported. Use 'gluster volume heal <VOLNAME> granular-entry-heal {enable, disable}' instead."),
            (("cluster.server-quorum-ratio", "51"), "Not a valid option for single volume"),
            (("cluster.op-version", "100000"), 'Option "cluster.op-version" is not valid for a single volume'),
            (("features.trash", "on"), "features.trash: what this turns on is not there yet; it can only be off"),
            (("features.worm", "on"), "features.worm: what this turns on is not there yet; it can only be off"),
            (("changelog.changelog", "on"), "changelog.changelog: what this turns on is not there yet; it can only be off"),
            (("performance.read-ahead", "off", "bogus.x", "1"), "option : bogus.x does not exist\nDid you mean locks.trace?"),
            (("cluster.disperse-self-heal-daemon", "off"), "Volume gv0 is not of disperse type")):
        failed(text, *words)
    failed("Volume dist is not of replicate type", "cluster.self-heal-daemon", "off", volume="dist")
    failed("Volume nosuch does not exist", "cache-size", "1", volume="nosuch")
    fresh = ["cluster.granular-entry-heal: on", "storage.fips-mode-rchecksum: on", "transport.address-family: inet",
             "nfs.disable: on", "performance.client-io-threads: off"]

    def options():
        return node.ok("volume", "info", "gv0").split("Options Reconfigured:\n")[1].splitlines()
    assert options() == fresh

    # the records of bricks and clients follow
    c = wire.Connection()
    before = c.getspec("gv0")[2]
    pids_before = [b["pid"] for b in node.status("gv0")]
    assert node.mortar("volume", "set", "gv0", "cache-size", "64 MB", "user.foo", "any thing") == (0, "volume set: success\n", "")
    assert c.wait_callback() == (52743234, 1, 1)
    assert options() == ["user.foo: any thing", "performance.cache-size: 64MB", *fresh]
    assert "option cache-size 64MB" in c.getspec("gv0")[2] and "option cache-size 64MB" not in before
    node.ok("volume", "set", "gv0", "features.trash", "off", "storage.reserve", "5", "performance.cache-size", "32MB")
    assert options() == ["storage.reserve: 5", "features.trash: off", "user.foo: any thing", "performance.cache-size: 32MB", *fresh]
    assert [b["pid"] for b in node.status("gv0")] == pids_before
    if not node.programs["real"]:
        text = open(f"{node.root}/data/b0/.attached").read()
        assert text.count("type protocol/server") == 2 and text.count("option reserve 5\n") == 1, text

    head = f"{'Option':<40} {'Value':<39}\n{'------':<40} {'-----':<39}\n"
    for words, rows in ((("cache-size",), [("performance.cache-size", "32MB")]), (("user.foo",), [("user.foo", "any thing")]),
                        (("cluster.min-free-disk",), [("cluster.min-free-disk", "10% (DEFAULT)")]),
                        (("auth.allow",), [("auth.allow", "*")]), (("auth.reject",), [("auth.reject", "(null) (DEFAULT)")])):
        assert node.mortar("volume", "get", "gv0", *words) == (0, head + "".join(f"{k:<40} {v:<39}\n" for k, v in rows), "")
    rows = node.ok("volume", "get", "gv0", "all").splitlines()
    assert len(rows) > 300 and f"{'storage.reserve':<40} {'5':<39}" in rows
    node.refused("volume get option: failed: Did you mean performance.cache-size?\n", "volume", "get", "gv0", "performance.cache-sise")
    node.refused("volume get option: failed\n", "volume", "get", "gv0", "user.bar", code=2)
    node.refused("\nUsage:\nvolume get <VOLNAME|all> <key|all>\n\n", "volume", "get", "gv0")

    done = "volume reset: success: reset volume successful\n"
    assert node.ok("volume", "reset", "gv0", "performance.cache-size") == done
    assert node.ok("volume", "reset", "gv0", "performance.cache-size") == done
    assert node.ok("volume", "reset", "gv0", "user.foo") == done
    assert node.ok("volume", "reset", "gv0", "nfs.disable") == done
    assert options() == ["nfs.disable: on", "storage.reserve: 5", "features.trash: off", *fresh[:3], fresh[4]]
    node.refused("volume reset: failed: Option nosuch does not exist\nDid you mean anonuid or nfs?\n", "volume", "reset", "gv0", "nosuch")
    node.refused("\nUsage:\nvolume reset <VOLNAME> [option] [force]\n\n", "volume", "reset", "gv0", "foo", "bar")
    assert node.ok("volume", "reset", "gv0") == done
    assert sorted(options()) == sorted(fresh[1:4])
    node.kill()
    node.start()
    assert sorted(options()) == sorted(fresh[1:4])
    assert "Option: cluster.lookup-optimize\nDefault Value: on\nDescription: " in node.ok("volume", "set", "help")


def test_brick_restart(node):
    """New processes for bricks: all are moved, ports are known, nothing is left behind."""
    bricks = [node.brick(f"b{i}") for i in range(4)]
    node.ok("volume", "create", "r3", "replica", "3", *bricks[:3], "force")
    node.ok("volume", "create", "one", bricks[3])
    assert node.mortar("brick", "restart", "all") == (0, "", "No bricks are served\n")
    node.refused("brick restart: failed: not all of these are bricks of started volumes on this node\n", "brick", "restart", bricks[0])
    node.refused("\nUsage:\nbrick restart <HOSTNAME:BRICK>...|all\n\n", "brick", "restart")
    for v in ("r3", "one"):
        node.ok("volume", "start", v)
    before = node.online("r3") + node.online("one")
    assert len({b["pid"] for b in before}) == 1
    out = node.ok("brick", "restart", "all")
    after = node.status("r3") + node.status("one")
    assert all(b["online"] for b in after) and len({b["pid"] for b in after}) == 1 and after[0]["pid"] != before[0]["pid"]
    assert out == "".join(f"brick restart: {b['name']}: success: pid {b['pid']}, port {b['port']}\n"
                          for b in node.status("one") + node.status("r3"))
    wait_for(lambda: pids(node) == [after[0]["pid"]], "the end of the old process")
    assert wire.Connection().port(f"{node.root}/data/b0") == (0, 0, 0, after[0]["port"])
    node.kill()
    node.start()
    assert node.online("r3") + node.online("one") == after
    node.ok("brick", "restart", bricks[1])  # its process serves all of them
    assert {b["pid"] for b in node.status("one")}.isdisjoint(b["pid"] for b in after)
    node.ok("volume", "stop", "r3")
    node.ok("volume", "stop", "one")
    wait_for(lambda: not pids(node), "the end of the brick process")


def test_brick_restart_fails(node):
    """A new process that does not start, or refuses a brick: the old one goes on."""
    program = f"{node.root}/mortar-brick"
    shutil.copy(node.programs["brick"], program)
    node.kill(signal.SIGTERM)
    node.start("--brick-program", program)
    node.ok("volume", "create", "gv0", node.brick("b0"), node.brick("refuse1"), node.brick("b2"))
    node.ok("volume", "start", "gv0")
    before = node.online("gv0")
    os.unlink(program)
    for text, why in ((None, "cannot be started: No such file or directory"), ("#!/bin/sh\nexit 1\n", "it ended at once, see ")):
        if text:
            with open(program, "w") as f:
                f.write(text)
            os.chmod(program, 0o755)
        code, out, err = node.mortar("brick", "restart", "all")
        assert (code, out) == (1, "") and err.startswith("brick restart: failed: the new brick process: ") and why in err, err
        assert err.endswith("; the old one goes on\n") and node.status("gv0") == before
    if node.programs["real"]:
        return
    shutil.copy(node.programs["brick"], program + ".new")
    os.rename(program + ".new", program)
    with open(f"{node.root}/data/refuse1/refuse", "w") as f:
        f.write(str(before[1]["pid"]))
    code, out, err = node.mortar("brick", "restart", "all")
    assert code == 1 and "refuse1: the new process does not serve it, it stays with the old one: this brick is refused" in err, err
    after = node.status("gv0")
    assert all(b["online"] for b in after) and after[1]["pid"] == before[1]["pid"]
    os.unlink(f"{node.root}/data/refuse1/refuse")
    node.ok("brick", "restart", "all")
    assert all(b["online"] and b["pid"] not in [x["pid"] for x in after] for b in node.status("gv0"))


def test_records(node):
    """A volume over several nodes without a pool: define, import on each, export."""
    local, far = node.brick("b1"), "192.0.2.7:/bricks/b1"
    node.refused("volume create: gv0: failed: Host 192.0.2.7 is not in 'Peer in Cluster' state\n", "volume", "create", "gv0",
                 "replica", "3", local, far, "192.0.2.8:/b", "force")
    words = ("replica", "3", local, far, "192.0.2.8:/bricks/b1")
    record = json.loads(node.ok("record", "define", "gv0", *words))
    assert record["set_size"] == 3 and [b["id"] for b in record["bricks"]] == [f"gv0-client-{i}" for i in range(3)]
    assert record["id"] != json.loads(node.ok("record", "define", "gv0", *words))["id"]
    node.refused("record define: gv0: failed: Multiple bricks of a replicate volume are present on the same server. This setup is"
                 " not optimal. Bricks should be on different nodes to have best fault tolerant configuration. "
                 f"{FORCE_TEXT} \n", "record", "define", "gv0", "replica", "2", far, far + "2")
    assert os.listdir(f"{node.root}/data") == [] and node.mortar("volume", "list")[1] == ""
    file = f"{node.root}/gv0.json"

    def write(change=None):
        copy = json.loads(json.dumps(record))
        if change:
            change(copy)
        with open(file, "w") as f:
            json.dump(copy, f)
    for change, text in (
            (lambda r: r.pop("id"), 'member "id"'), (lambda r: r.update(set_size=2), 'member "set_size"'),
            (lambda r: r.update(schema=99), "a newer mortard wrote it"), (lambda r: r.update(name="a/b"), 'member "name"'),
            (lambda r: r["bricks"][0].update(path="/x//y"), "not in its shortest form"),
            (lambda r: r["bricks"][0].update(path="x"), 'member "path"'),
            (lambda r: r["bricks"][0].update(host="a b"), "host or id has characters"),
            (lambda r: r["bricks"][1].update(id="gv0-client-0"), "bricks 1 and 2 are the same"),
            (lambda r: r["bricks"].pop(), 'member "set_size"'), (lambda r: r.update(arbiter_count=9), 'member "arbiter_count"'),
            (lambda r: r["options"].append(["no.such", "1"]), "option no.such does not exist"),
            (lambda r: r["options"].append(["cluster.eager-lock", "maybe"]), "is not a valid boolean value"),
            (lambda r: r.update(type="disperse"), "redundancy 0 does not fit")):
        write(change)
        code, out, err = node.mortar("record", "import", file)
        assert (code, out) == (1, "") and err.startswith("record import: failed: ") and text in err, (text, err)
    assert node.mortar("record", "import", "/nosuch") == (1, "", "mortar: /nosuch: No such file or directory\n")
    assert node.mortar("volume", "list")[1] == "" and os.listdir(f"{node.root}/data") == []
    write()
    assert node.ok("record", "import", file) == "record import: gv0: success: 1 of 3 bricks are on this node\n"
    node.refused("record import: failed: Volume gv0 already exists\n", "record", "import", file)
    assert os.getxattr(f"{node.root}/data/b1", "trusted.glusterfs.volume-id").hex() == record["id"].replace("-", "")
    assert json.loads(node.ok("record", "export", "gv0")) == record
    node.ok("volume", "start", "gv0")
    assert [b["name"] for b in node.online("gv0")] == [local]
    text = wire.Connection().getspec("gv0")[2]
    assert text.count("option remote-host") == 3 and f"option password {record['password']}\n" in text
    node.kill()
    node.start()
    assert [b["name"] for b in node.online("gv0")] == [local]
    node.ok("volume", "stop", "gv0")
    node.ok("volume", "delete", "gv0")
    node.ok("record", "import", file)  # its own mark is no obstacle
    write(lambda r: r.update(id="6b1e1e26-3e6c-4b2c-9d9a-000000000001", name="other"))
    node.refused(f"record import: failed: Brick: {local} not available. Brick may be containing or be contained by an existing"
                 " brick.\n", "record", "import", file)
    node.ok("volume", "delete", "gv0")
    node.refused(f"record import: failed: {node.root}/data/b1 is already part of a volume\n", "record", "import", file)


def test_host_names(node):
    """The node's own name and addresses are this node."""
    for i, host in enumerate(("node1", "127.0.0.9", "::1")):
        node.ok("volume", "create", f"v{i}", f"{host}:{node.root}/data/h{i}")


def test_getspec(node):
    """What clients ask: DUMP, volfiles, ports, and what they are told when nothing is there."""
    b = node.brick("b1")
    node.ok("volume", "create", "gv0", b)
    c = wire.Connection()
    assert {(34123456, 1), (14398633, 2), (123451501, 1)} <= c.dump()
    assert c.call(wire.DUMP, 1, 2)[0] == 0
    n, errno, text = c.getspec("gv0")
    assert n == len(text) > 0 and "volume gv0-client-0\n" in text and f"option remote-host {HOST}\n" in text
    assert "option username" in text  # this address is one of the node's own
    for key in ("/gv0", "gv0.tcp", "gv0.tcp-fuse"):
        assert c.getspec(key)[2] == text
    brick = c.getspec("gv0." + HOST + "." + f"{node.root}/data/b1"[1:].replace("/", "-"))[2]
    assert "type protocol/server" in brick
    assert c.getspec("nosuch")[:2] == (-1, 2)
    assert c.getspec("gv0.1.2.3.4.x")[:2] == (-1, 2)
    assert c.getspec("shd/gv0")[:2] == (-1, 2)
    assert c.getspec("gv0", None)[:2] == (-1, 95)
    assert c.getspec("gv0", {})[:2] == (-1, 2)
    assert c.getspec("gv0", {"min-op-version": "1", "max-op-version": "1"})[:2] == (-1, 95)
    assert c.getspec("x" * 300)[:2] == (-1, 22)
    assert c.volume_info("gv0")[0] == 0 and node.json("volume", "info")["volumes"][0]["id"].encode() in c.volume_info("gv0")[2]
    assert c.volume_info("nosuch")[:2] == (-1, 22)
    assert c.call(wire.HANDSHAKE, 2, 3)[0] == 3  # PROC_UNAVAIL
    assert c.call(wire.HANDSHAKE, 9, 2)[0] == 2  # PROG_MISMATCH
    assert c.call(4711, 1, 1)[0] == 1  # PROG_UNAVAIL
    assert c.call(wire.HANDSHAKE, 2, 2, b"\0\0\0\0\xff\xff\xff\xff")[0] == 4  # GARBAGE_ARGS
    path = f"{node.root}/data/b1"
    assert c.port(path) == (-1, 0, 0, 0)
    node.ok("volume", "start", "gv0")
    assert c.port(path) == (0, 0, 0, node.online("gv0")[0]["port"])
    node.ok("volume", "stop", "gv0")
    assert c.port(path) == (-1, 0, 0, 0)


def test_plain_for_strangers(node):
    """Another machine does not get the credentials."""
    ns = f"stranger{os.getpid()}"
    os.makedirs("/run/netns", exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "netns", "/run/netns"], check=True)
    for words in (["netns", "add", ns], ["link", "add", "va", "type", "veth", "peer", "name", "vb", "netns", ns],
                  ["addr", "add", "10.9.9.1/24", "dev", "va"], ["link", "set", "va", "up"],
                  ["-n", ns, "addr", "add", "10.9.9.2/24", "dev", "vb"], ["-n", ns, "link", "set", "vb", "up"]):
        subprocess.run(["ip", *words], check=True)
    node.ok("volume", "create", "gv0", "10.9.9.1:" + f"{node.root}/data/b1")
    script = (f"import sys; sys.path.insert(0, {os.path.dirname(os.path.abspath(__file__))!r}); import wire; "
              "c = wire.Connection('10.9.9.1'); print(c.getspec('gv0')[2]); "
              f"print(c.getspec('gv0.10.9.9.1.' + '{node.root}/data/b1'[1:].replace('/', '-'))[:2])")
    text = subprocess.run(["ip", "netns", "exec", ns, sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "volume gv0-client-0" in text.stdout and "option username" not in text.stdout and "password" not in text.stdout
    assert text.stdout.endswith("\n(-1, 2)\n"), text.stdout
    assert "option password" in wire.Connection("10.9.9.1", source="10.9.9.1").getspec("gv0")[2]


def test_fetchspec(node):
    """Every connection hears of every change."""
    connections = [wire.Connection() for _ in range(5)]
    for c in connections:
        c.dump()
    for words in (("create", "gv0", node.brick("b1")), ("start", "gv0"), ("stop", "gv0"), ("delete", "gv0")):
        node.ok("volume", *words)
        for c in connections:
            assert c.wait_callback() == (52743234, 1, 1)
    node.mortar("volume", "start", "nosuch")
    node.json("volume", "info")
    for c in connections:
        c.dump()
        assert not c.callbacks


def test_restart_keeps_bricks(node):
    """mortard killed, ended and started again: the brick processes stay, with the same pid and port."""
    node.ok("volume", "create", "gv0", node.brick("b1"), node.brick("b2"))
    node.ok("volume", "start", "gv0")
    before = node.online("gv0")
    for sig, status in ((signal.SIGKILL, -9), (signal.SIGTERM, 0)):
        assert node.kill(sig) == status
        assert len(pids(node)) == 1
        assert node.mortar("volume", "list")[:2] == (
            1, f"Connection failed. Please check if mortard is operational ({node.socket}: Connection refused).\n"), "CLI"
        node.start()
        assert node.online("gv0") == before
    node.ok("volume", "stop", "gv0")
    wait_for(lambda: not pids(node), "the end of the brick process")


def test_brick_process_dies(node):
    """A killed brick process is started again and gets its bricks back."""
    node.ok("volume", "create", "gv0", node.brick("b1"), node.brick("b2"))
    node.ok("volume", "start", "gv0")
    before = node.online("gv0")
    os.kill(before[0]["pid"], signal.SIGKILL)
    after = wait_for(lambda: (lambda b: b if all(x["online"] and x["pid"] != before[0]["pid"] for x in b) else None)(
        node.status("gv0")), "a new brick process")
    assert after[0]["pid"] == after[1]["pid"]
    if not node.programs["real"]:
        text = open(f"{node.root}/data/b1/.attached").read()
        node_id = json.load(open(f"{node.root}/state/node.json"))["uuid"]
        assert text.count("type protocol/server") == 2 and f"option glusterd-uuid {node_id}\n" in text
    assert len(pids(node)) == 1


def test_metrics(node):
    """Text for Prometheus and JSON; a brick that is not served shows as such."""
    node.ok("volume", "create", "gv0", node.brick("b1"), node.brick("b2"))
    node.ok("volume", "start", "gv0")
    node.online("gv0")
    labels = [f'{{volume="gv0",brick="{node.root}/data/{b}"}}' for b in ("b1", "b2")]
    node.refused("\nUsage:\nmetrics\n\n", "metrics", "gv0")
    if node.programs["real"]:
        lines = node.ok("metrics").splitlines()
        for label in labels:
            assert f"mortar_brick_up{label} 1" in lines and f"mortar_brick_requests_in_flight{label} 0" in lines, lines
        assert "# TYPE mortar_brick_request_seconds histogram" in lines
        bricks = node.json("metrics")["bricks"]
        assert sorted(b["path"] for b in bricks) == [f"{node.root}/data/b1", f"{node.root}/data/b2"]
    os.kill(node.status("gv0")[0]["pid"], signal.SIGKILL)
    node.json("metrics")  # whatever it says at this moment
    node.ok("volume", "stop", "gv0")
    assert node.json("metrics")["bricks"] == []


def test_died_while_away(node):
    """Brick process and mortard both gone: both are back after a start; also a volume created meanwhile stays stopped."""
    node.ok("volume", "create", "gv0", node.brick("b1"))
    node.ok("volume", "create", "other", node.brick("b2"))
    node.ok("volume", "start", "gv0")
    pid = node.online("gv0")[0]["pid"]
    node.kill()
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not pids(node), "the end of the brick process")
    node.start()
    assert node.online("gv0")[0]["pid"] != pid
    node.refused("Volume other is not started\n", "volume", "status", "other")


def test_one_process_each(node):
    """--bricks-per-process 1."""
    node.kill(signal.SIGTERM)
    node.start("--bricks-per-process", "1")
    node.ok("volume", "create", "gv0", *(node.brick(f"b{i}") for i in range(3)))
    node.ok("volume", "start", "gv0")
    before = node.online("gv0")
    assert len({b["pid"] for b in before}) == 3 == len(pids(node))
    node.kill()
    node.start()
    assert node.online("gv0") == before
    node.ok("volume", "stop", "gv0")
    wait_for(lambda: not pids(node), "the end of the brick processes")


def test_start_refusals(node):
    """A brick that is gone or carries another id."""
    node.ok("volume", "create", "gv0", node.brick("b1"), node.brick("b2"))
    path = f"{node.root}/data/b2"
    os.rename(path, path + ".away")
    node.refused(f"volume start: gv0: failed: Failed to find brick directory {path} for volume gv0. Reason : No such file or"
                 " directory\n", "volume", "start", "gv0")
    assert "Status: Created\n" in node.ok("volume", "info", "gv0")
    node.ok("volume", "start", "gv0", "force")
    states = node.status("gv0")
    assert [b["online"] for b in states] == [True, False] and states[1]["error"]
    out = node.ok("volume", "status", "gv0")
    assert " N/A       N/A        N       N/A  \n" in out, out
    os.rename(path + ".away", path)
    node.online("gv0")  # it is tried again
    node.ok("volume", "stop", "gv0")
    os.removexattr(path, "trusted.glusterfs.volume-id")
    node.refused(f"volume start: gv0: failed: Failed to get extended attribute trusted.glusterfs.volume-id for brick dir {path}."
                 " Reason : No data available\n", "volume", "start", "gv0")


def test_brick_refuses(node):
    """A brick that its process refuses: start fails and leaves nothing, start force leaves it down."""
    if node.programs["real"]:
        return
    node.ok("volume", "create", "gv0", node.brick("b1"), node.brick("refuse"))
    open(f"{node.root}/data/refuse/refuse", "w").close()
    node.refused(f"volume start: gv0: failed: Commit failed on localhost. Brick {node.brick('refuse')} could not be started:"
                 " this brick is refused\n", "volume", "start", "gv0")
    assert "Status: Created\n" in node.ok("volume", "info", "gv0")
    wait_for(lambda: not pids(node), "the end of the brick process")
    node.ok("volume", "start", "gv0", "force")
    assert [b["online"] for b in node.status("gv0")] == [True, False]
    os.unlink(f"{node.root}/data/refuse/refuse")
    node.online("gv0")


def test_brick_process_cannot_start(node):
    """No brick program: start fails with the reason."""
    node.kill(signal.SIGTERM)
    node.start("--brick-program", "/bin/false")
    node.ok("volume", "create", "gv0", node.brick("b1"))
    node.refused(f"volume start: gv0: failed: Commit failed on localhost. Brick {node.brick('b1')} could not be started: it ended"
                 f" at once, see {node.root}/log/brick-1.log\n", "volume", "start", "gv0")
    assert "Status: Created\n" in node.ok("volume", "info", "gv0")


def test_damaged_record(node):
    """A damaged record hinders only its volume, is left alone, and its running bricks too."""
    node.ok("volume", "create", "good", node.brick("b1"))
    node.ok("volume", "create", "bad", node.brick("b2"))
    node.ok("volume", "start", "bad")
    pid = node.online("bad")[0]["pid"]
    node.kill()
    record = f"{node.root}/state/volumes/bad.json"
    with open(record) as f:
        text = f.read()
    with open(record, "w") as f:
        f.write(text[:100])
    node.start()
    node.ok("volume", "start", "good")
    node.online("good")
    for words in (("volume", "info", "bad"), ("volume", "status", "bad")):
        code, out, err = node.mortar(*words)
        assert code == 1 and err.startswith(f"Volume bad cannot be used: the record {record}: it is damaged"), err
    node.mortar("--mode=script", "volume", "delete", "bad")
    code, out, err = node.mortar("volume", "create", "bad", node.brick("b3"))
    assert code == 1 and "Volume bad already exists, but the record" in err
    assert "Status: Unusable\n" in node.ok("volume", "info") and node.ok("volume", "list") == "bad\ngood\n"
    node.ok("volume", "stop", "good")
    assert os.path.exists(f"/proc/{pid}") and pid in pids(node)
    with open(record) as f:
        assert f.read() == text[:100]
    node.kill()
    with open(record, "w") as f:
        f.write(text)
    node.start()
    assert node.online("bad")[0]["pid"] == pid


def test_state_is_away(node):
    """Started without its state (the file system is not mounted, say), mortard does not stop what is served."""
    node.ok("volume", "create", "gv0", node.brick("b1"))
    node.ok("volume", "start", "gv0")
    before = node.online("gv0")
    node.kill()
    os.rename(f"{node.root}/state", f"{node.root}/state.away")
    os.mkdir(f"{node.root}/state", 0o700)
    node.start()
    wait_for(lambda: "is left alone" in node.log(), "mortard's look at the brick process")
    assert "gv0" in node.log() and pids(node) == [before[0]["pid"]]
    assert node.mortar("volume", "list")[2] == "No volumes present in cluster\n"
    node.kill()
    shutil.rmtree(f"{node.root}/state")
    os.rename(f"{node.root}/state.away", f"{node.root}/state")
    node.start()
    assert node.online("gv0") == before
    node.ok("volume", "stop", "gv0")
    wait_for(lambda: not pids(node), "the end of the brick process")


def test_killed_while_changing(node):
    """mortard killed at some moment of a command: afterwards the state is the old or the new one, and usable."""
    bricks = [node.brick(f"b{i}") for i in range(6)]
    paths = [b.split(":", 1)[1] for b in bricks]
    for i in range(24):
        word = ("create", "start", "stop", "delete")[i % 4]
        words = (word, "gv0", *(bricks if word == "create" else ()))
        cli = subprocess.Popen([node.programs["mortar"], f"--socket={node.socket}", "--mode=script", "volume", *words],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(0.0007 * (i * 7 % 11))
        node.kill()
        cli.communicate()
        node.start()
        wait_for(lambda: settled(node) is not None, "recovery")
        info = (settled(node) or [None])[0]
        if not info:
            for path in paths:
                clean(path, word)
            if word in ("start", "stop"):
                raise AssertionError(f"the volume is gone after {word}")
        # go on from the state that this step should have reached
        state = info["status"] if info else None
        if word == "create" and not info:
            node.ok("volume", "create", "gv0", *bricks)
        if word == "start":
            if state != "Started":
                node.ok("volume", "start", "gv0")
            node.online("gv0")
        if word == "stop":
            if state == "Started":
                node.ok("volume", "stop", "gv0")
            wait_for(lambda: not pids(node), "the end of the brick process")
        if word == "delete":
            if info:
                node.ok("volume", "delete", "gv0")
            for path in paths:
                shutil.rmtree(path)


def settled(node):
    """[the volume's info], [] when it does not exist; None while something is being recovered."""
    for file in glob.glob(f"{node.root}/state/volumes/*.json"):
        with open(file) as f:
            if json.load(f)["intent"] != "none":
                return None
    volumes = node.json("volume", "info")["volumes"]
    return volumes[:1]


def clean(path, word):
    if word == "create":
        assert not os.path.exists(path), f"{path} was left behind"


def test_two_mortards(node):
    """A second one on the same state is refused."""
    r = subprocess.run([node.programs["mortard"], "--state-dir", f"{node.root}/state", "--run-dir", f"{node.root}/run", "--log-dir",
                        f"{node.root}/log", "--brick-program", node.programs["brick"]], capture_output=True, text=True)
    assert r.returncode == 1 and f"another mortard uses the state directory {node.root}/state" in r.stderr


def test_settings(node):
    """The configuration file, --check, --help, --version, bad values."""
    def run(*words):
        r = subprocess.run([node.programs["mortard"], *words], capture_output=True, text=True)
        return r.returncode, r.stdout, r.stderr
    file = f"{node.root}/conf"
    with open(file, "w") as f:
        f.write(f"# comment\nstate-dir {node.root}/state\n\n  bricks-per-process   3  \nbrick-program /bin/true\n")
    assert run("--config", file, "--check") == (0, "configuration OK\n", "")
    for words, text in ((("--bogus",), "unknown option --bogus"), (("--listen",), "--listen needs a value"),
                        (("--listen", "node1:24007"), "is no numeric address"), (("--brick-ports", "9-3"), "is no range of ports"),
                        (("--bricks-per-process=x",), "is no number up to"), (("--log-level", "loud"), "is none of error"),
                        (("--state-dir", "here"), "is no absolute path"), (("x",), "unexpected argument"),
                        (("--brick-program", "/nosuch"), "/nosuch: No such file"), (("--config", "/nosuch"), "/nosuch: No such")):
        code, out, err = run(*words, "--check") if words != ("--listen",) else run(*words)
        assert code == 1 and text in err, (words, err)
    with open(file, "a") as f:
        f.write("colour blue\n")
    assert 'line 6: unknown setting "colour"' in run("--config", file, "--check")[2]
    assert run("--version")[1].startswith("mortard ") and "--brick-ports A-B" in run("--help")[1]


def test_only_root(node):
    """The management socket is root's."""
    assert os.stat(node.socket).st_mode & 0o777 == 0o600
    os.chmod(node.socket, 0o666)
    for path in (os.path.dirname(node.socket), node.root):
        os.chmod(path, 0o755)
    r = subprocess.run(["setpriv", "--reuid=65534", "--clear-groups", node.programs["mortar"], f"--socket={node.socket}", "volume",
                        "list"], capture_output=True, text=True)
    assert r.returncode == 1 and r.stderr == "only root may manage volumes\n", r


def test_secrets(node):
    """Credentials are in records that only root reads; not in logs, not in anybody's argument vector."""
    node.ok("volume", "create", "gv0", node.brick("b1"))
    node.ok("volume", "start", "gv0")
    node.online("gv0")
    wire.Connection().getspec("gv0")
    with open(f"{node.root}/state/volumes/gv0.json") as f:
        record = json.load(f)
    secrets = (record["username"], record["password"])
    assert all(len(s) == 36 for s in secrets)
    assert os.stat(f"{node.root}/state").st_mode & 0o077 == 0 or os.stat(f"{node.root}/state/volumes").st_mode & 0o077 == 0
    for where, _, files in os.walk(f"{node.root}/state"):
        assert all(os.stat(os.path.join(where, f)).st_mode & 0o077 == 0 for f in files), files
    for path in [f"{node.root}/mortard.log", *glob.glob(f"{node.root}/log/*")]:
        text = reads(path)
        assert text and not any(s in text for s in secrets), path
    for pid in (*pids(node), node.process.pid):
        words = reads(f"/proc/{pid}/cmdline") + reads(f"/proc/{pid}/environ")
        assert not any(s in words for s in secrets)
    sockets = [p for p in glob.glob(f"{node.root}/run/*") if stat.S_ISSOCK(os.stat(p).st_mode)]
    assert len(sockets) == 2
    if node.programs["real"]:
        assert all(os.stat(p).st_mode & 0o777 == 0o600 for p in sockets), sockets


def memory(pid, key):
    return next(int(line.split()[1]) for line in reads(f"/proc/{pid}/status").splitlines() if line.startswith(key + ":"))


def test_hostile_strangers(node):
    """Whatever comes in on the clients' port: an end of that connection, bounded memory, and others are served."""
    node.ok("volume", "create", "gv0", node.brick("b1"))
    neighbour = wire.Connection()
    pid = node.process.pid
    with open(f"/proc/{pid}/clear_refs", "w") as f:
        f.write("5")
    before = memory(pid, "VmRSS")

    def push(c, data):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            c.sock.sendall(data)
            return True

    def ends(c):
        with contextlib.suppress(ConnectionResetError):
            while c.sock.recv(65536):
                pass
        return True

    header = struct.pack(">IIIIII", 1, 0, 2, wire.HANDSHAKE, 2, 2) + bytes(16)
    for attack in (struct.pack(">I", 0xFFFFFFFF) + bytes(100), struct.pack(">I", 0x7FFFFFFF) + bytes(100), bytes(4) * 5000,
                   struct.pack(">I", 0x80000000 | 1 << 20) + bytes(1 << 20), b"GET / HTTP/1.0\r\n\r\n",
                   struct.pack(">II", 0x80000008, 1) + struct.pack(">I", 7), (struct.pack(">I", 1000) + bytes(1000)) * 100):
        connections = [wire.Connection() for _ in range(20)]
        for c in connections:
            push(c, attack)
        assert all(ends(c) for c in connections) and neighbour.getspec("gv0")[0] > 0
    waiting = [wire.Connection() for _ in range(100)]  # an unfinished record each
    for c in waiting:
        push(c, struct.pack(">I", 0x80000000 | 60000) + bytes(50000))
    assert neighbour.getspec("gv0")[0] > 0
    for length in (0x7FFFFFFF, 0x80000000, 0xFFFFFFFF):
        c = wire.Connection()
        push(c, struct.pack(">I", 0x80000000 | len(header) + 8) + header + struct.pack(">II", 0, length))
        assert struct.unpack(">I", c.record()[20:24])[0] == 4
    for name in ("../gv0", "gv0/../gv0", "", "/", "..", "x" * 3000, "gv0.127.0.0.5.-etc-passwd", "%s%n"):
        assert wire.Connection().getspec(name)[0] == -1, name
    key = struct.pack(">I", 0) + wire.opaque(b"gv0\0x") + bytes(4)
    assert wire.Connection().call(wire.HANDSHAKE, 2, 2, key)[0] == 4
    reader = wire.Connection()  # asks and does not read
    reader.sock.settimeout(0.5)
    ask = header + struct.pack(">I", 0) + wire.opaque(b"gv0") + bytes(4)
    with contextlib.suppress(TimeoutError):
        for _ in range(200):
            push(reader, (struct.pack(">I", 0x80000000 | len(ask)) + ask) * 200)
    assert neighbour.getspec("gv0")[0] > 0
    grown = memory(pid, "VmHWM") - before
    assert "asan" in node.programs["mortard"] or grown < 64 << 10, f"{grown} KiB"
    node.ok("volume", "start", "gv0")
    assert node.online("gv0")


def test_many_strangers(node):
    """Clients cannot use up the descriptors that mortard needs for its own work."""
    node.kill()
    wrapper = f"{node.root}/mortard.sh"
    with open(wrapper, "w") as f:
        f.write(f'#!/bin/sh\nexec prlimit --nofile=120:120 "{node.programs["mortard"]}" "$@"\n')
    os.chmod(wrapper, 0o755)
    node.programs = dict(node.programs, mortard=wrapper)
    node.start()
    strangers = [wire.Connection() for _ in range(150)]
    node.ok("volume", "create", "gv0", node.brick("b1"))
    node.ok("volume", "start", "gv0")
    node.online("gv0")
    for c in strangers:
        c.close()
    wait_for(lambda: wire.Connection().getspec("gv0")[0] > 0, "a client that is served")


def reads(path):
    with contextlib.suppress(OSError), open(path) as f:
        return f.read()
    return None


def test_stock_client(node):
    """A stock client mounts a volume of ours."""
    if not node.programs["real"] or not shutil.which("glusterfs"):
        return
    node.ok("volume", "create", "gv0", node.brick("b1"), node.brick("b2"))
    node.ok("volume", "start", "gv0")
    mnt = f"{node.root}/mnt"
    os.mkdir(mnt)
    began = time.monotonic()
    subprocess.run(["glusterfs", "--volfile-server=127.0.0.1", "--volfile-id=gv0", f"--log-file={node.root}/client.log", mnt],
                   check=True, timeout=20)
    try:
        with open(f"{mnt}/hello", "w") as f:
            f.write("world")
        assert time.monotonic() - began < 2, "the mount took too long"
        assert open(f"{mnt}/hello").read() == "world"
        assert os.listdir(mnt) == ["hello"]
        node.kill()  # no I/O notices
        with open(f"{mnt}/again", "w") as f:
            f.write("without mortard")
        node.start()
        os.kill(node.online("gv0")[0]["pid"], signal.SIGKILL)  # clients find the new process through the port map
        wait_for(lambda: reads(f"{mnt}/again") == "without mortard", "the client's return")
        assert sorted(os.listdir(mnt)) == ["again", "hello"]
    finally:
        subprocess.run(["umount", "-l", mnt], check=True)


# ---- running ----------------------------------------------------------------------------------------------------------


def run_one(name, programs):
    root = tempfile.mkdtemp(prefix="mt", dir="/run/mortar-test")
    node = Node(root, programs)
    began = time.monotonic()
    try:
        node.start()
        globals()[name](node)
        for word in ("Sanitizer", "runtime error"):
            assert word not in node.log(), word
        # mortard warns from 100 ms on; on a crowded machine it may not be given the processor for longer than that
        assert not re.search(r"held the event loop for \d{4,} ms", node.log()), "held the event loop"
        print(f"ok   {name} ({time.monotonic() - began:.1f} s)", flush=True)
        return True
    except Exception:  # any failure is reported with the log, and the next test runs
        import traceback
        print(f"FAIL {name}\n{traceback.format_exc()}\n--- mortard's log\n{node.log()}")
        for log in glob.glob(f"{root}/log/*"):
            print(f"--- {log}\n{open(log, errors='replace').read()[-4000:]}")
        return False
    finally:
        node.end()


def main():
    if os.environ.get("MORTAR_TEST_INSIDE") != "1":
        os.environ["MORTAR_TEST_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", "-mn", "--propagation", "private", sys.executable, *sys.argv])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "run", "/run"], check=True)
    os.makedirs("/run/mortar-test")
    brick = os.path.abspath(sys.argv[3])
    programs = {"mortard": os.path.abspath(sys.argv[1]), "mortar": os.path.abspath(sys.argv[2]), "brick": brick,
                "real": os.path.basename(brick) == "mortar-brick"}
    names = sys.argv[4:] or [name for name in globals() if name.startswith("test_")]
    failed = [name for name in names if not run_one(name, programs)]
    print(f"{len(names) - len(failed)} of {len(names)} tests passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
