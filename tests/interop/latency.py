#!/usr/bin/env python3
"""latency.py DIR COUNT LIMIT_MS -- makes, writes, reads and removes COUNT files in DIR; fails when one step takes longer."""

import os
import sys
import time


def main():
    directory, count, limit = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) / 1000
    worst, where = 0, ""

    def timed(what, fn):
        nonlocal worst, where
        begin = time.monotonic()
        result = fn()
        took = time.monotonic() - begin
        if took > worst:
            worst, where = took, what
        return result

    for i in range(count):
        path = os.path.join(directory, f"latency{i}")
        data = os.urandom(4096)
        fd = timed("create", lambda: os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        timed("write", lambda: os.write(fd, data))
        timed("close", lambda: os.close(fd))
        with open(path, "rb") as f:
            if timed("read", f.read) != data:
                sys.exit(f"{path}: other content than was written")
        timed("unlink", lambda: os.unlink(path))
    print(f"# longest step: {where}, {worst * 1000:.0f} ms")
    if worst > limit:
        sys.exit(f"{where} took {worst * 1000:.0f} ms")


main()
