#!/usr/bin/env python3
"""Runs the probes on stock bricks and on ours and compares: main.py WORK [WORDS…]; WORDS select probes by name.

known.tsv lists the reviewed exceptions: probe, side, reason. Side `stock` or `ours`: that brick does not do what the
specification says there; `differ`: both do, and their transcripts differ. An exception that does not show is as wrong as
one that is not listed. VERBOSE=1 prints transcripts; ONLY=ours leaves stock out.
"""
import difflib
import importlib
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../brick")]
import probe
import servers

SECTIONS = sorted(f[:-3] for f in os.listdir(HERE) if f[0] == "p" and f[1].isdigit())


def read_known():
    with open(os.path.join(HERE, "known.tsv")) as f:
        rows = [line.rstrip("\n").split("\t") for line in f if line.strip() and line[0] != "#"]
    return {(name, side): reason for name, side, reason in rows}


def compare(results, known, name):
    """The lines of what is wrong with one probe."""
    found, trouble = {}, []
    for side, (wrong, _) in results.items():
        if wrong:
            found[side] = "; ".join(wrong)
    if not found and len(results) == 2:
        a, b = (results[s][1] for s in ("stock", "ours"))
        if a != b:
            found["differ"] = "\n" + "\n".join(difflib.unified_diff(a, b, "stock", "ours", lineterm="", n=1))
    for side, what in found.items():
        if (name, side) not in known:
            trouble.append("%s: %s" % (side, what))
    for side in ("stock", "ours", "differ"):
        masked = side == "differ" and found or side not in results and side != "differ" or len(results) < 2
        if (name, side) in known and side not in found and not masked:
            trouble.append("listed in known.tsv (%s), but does not show" % side)
    return trouble


def main():
    work, words = sys.argv[1], sys.argv[2:]
    for s in SECTIONS:
        importlib.import_module(s)
    known = read_known()
    names = {p.name for p in probe.PROBES}
    failed = 0
    for name, side in known:
        if name not in names:
            failed += 1
            print("not ok %s: listed in known.tsv, but there is no such probe" % name)
    sides = [s for s in ("stock", "ours") if os.environ.get("ONLY", s) == s]
    chosen = [p for p in probe.PROBES if all(w.lower() in (p.name + " " + p.flavour).lower() for w in words)]
    for flavour in dict.fromkeys(p.flavour for p in chosen):
        bricks = {s: servers.Server(s, probe.FLAVOURS[flavour], os.path.join(work, "%s-%s" % (s, flavour))) for s in sides}
        for p in (p for p in chosen if p.flavour == flavour):
            results = {s: probe.run(p, b) for s, b in bricks.items()}
            trouble = compare(results, known, p.name)
            if os.environ.get("VERBOSE"):
                for s, (wrong, lines) in results.items():
                    print("---- %s %s\n%s\n%s" % (s, p.name, "\n".join(lines), "\n".join("!! " + w for w in wrong)))
            if trouble:
                failed += 1
                print("not ok %s: %s" % (p.name, "\n    ".join(trouble)), flush=True)
            else:
                print("ok %s" % p.name, flush=True)
        for b in bricks.values():
            b.end()
    return 1 if failed else 0


sys.exit(main())
