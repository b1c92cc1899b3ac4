#!/usr/bin/env python3
"""Writers for graceful.sh.

graceful_load.py hold DIR N        writes N new files, prints "written" and keeps them open until its input ends
graceful_load.py run DIR N STATE   writes on and on into N files, in turns, from the start again after 16 MiB, until STATE/stop
                                   exists; waits while STATE/pause exists (then STATE/paused does, too); at the end
                                   STATE/sums holds the digests of what must be in the files
Any error of the file system ends it with status 1 and the reason.
"""
import hashlib
import os
import random
import sys
import time

SIZE_MAX = 16 << 20


def hold(where, n):
    fds = [os.open(f"{where}/held-{time.time_ns()}-{i}", os.O_CREAT | os.O_WRONLY) for i in range(n)]
    for fd in fds:
        os.write(fd, b"just written\n")
    print("written", flush=True)
    sys.stdin.read()
    for fd in fds:
        os.close(fd)


def pause(state, turns):
    with open(f"{state}/turns", "w") as f:
        f.write(str(turns))
    if os.path.exists(f"{state}/pause"):
        open(f"{state}/paused", "w").close()
        while os.path.exists(f"{state}/pause"):
            time.sleep(0.02)
        os.unlink(f"{state}/paused")


def run(where, n, state):
    dice = random.Random(1)
    names = [f"{where}/load-{i}" for i in range(n)]
    files = [os.open(name, os.O_CREAT | os.O_RDWR) for name in names]
    contents = [bytearray() for _ in names]
    at = [0] * n
    turns = 0
    while not os.path.exists(f"{state}/stop"):
        for i, fd in enumerate(files):
            data = dice.randbytes(dice.randrange(1, 20000))
            if os.pwrite(fd, data, at[i]) != len(data):
                raise OSError("a short write")
            contents[i][at[i]:at[i] + len(data)] = data
            at[i] = (at[i] + len(data)) if at[i] + len(data) < SIZE_MAX else 0
        turns += 1
        pause(state, turns)
    for fd in files:
        os.fsync(fd)
        os.close(fd)
    with open(f"{state}/sums", "w") as f:
        for name, content in zip(names, contents):
            f.write(f"{hashlib.sha256(content).hexdigest()}  {os.path.basename(name)}\n")


def main():
    try:
        if sys.argv[1] == "hold":
            hold(sys.argv[2], int(sys.argv[3]))
        else:
            run(sys.argv[2], int(sys.argv[3]), sys.argv[4])
    except OSError as e:
        sys.exit(f"graceful_load: {e}")


main()
