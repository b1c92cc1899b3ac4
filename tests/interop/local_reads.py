#!/usr/bin/env python3
"""Reads of one mount while another one changes the file: what is read is never older than what was acknowledged before.

usage: local_reads.py changing READER_MOUNT WRITER_MOUNT SECONDS STOP_FILE    until the file is there, SECONDS at least
       local_reads.py closing READER_MOUNT WRITER_MOUNT COUNT                 close-to-open
       local_reads.py reads MOUNT NAME COUNT                                  reads NAME, a block at a time
"""
import os
import random
import struct
import sys
import threading
import time

BLOCK = 4096
BLOCKS_MAX = 64


def block(version, index):
    return struct.pack(">Q", version << 16 | index) * (BLOCK // 8)


class Changing:
    """VERSION is with the bricks; the file has BLOCKS blocks of it. SEQUENCE is odd while a change is under way."""

    def __init__(self, reader, writer):
        self.read_fd = os.open(reader + "/changing", os.O_RDONLY | os.O_CREAT, 0o644)
        self.write_fd = os.open(writer + "/changing", os.O_RDWR)
        self.version, self.blocks, self.sequence, self.over = 0, 0, 0, False
        self.trouble, self.exact, self.overtaken, self.slowest = None, 0, 0, 0.0

    def change(self):
        version, blocks = self.version + 1, random.randrange(1, BLOCKS_MAX)
        self.sequence += 1
        kind = random.randrange(3)
        if kind == 0:
            os.ftruncate(self.write_fd, 0)
        elif kind == 1:
            os.ftruncate(self.write_fd, random.randrange(self.blocks * BLOCK // 8 + 1) * 8)
        for i in random.sample(range(blocks), blocks):
            os.pwrite(self.write_fd, block(version, i), i * BLOCK)
        os.ftruncate(self.write_fd, blocks * BLOCK)
        os.fsync(self.write_fd)
        self.version, self.blocks = version, blocks
        self.sequence += 1

    def writer(self):
        try:
            while not self.over:
                begin = time.monotonic()
                self.change()
                self.slowest = max(self.slowest, time.monotonic() - begin)
                time.sleep(random.choice((0, 0, 0.01, 0.05)))
        except Exception as e:
            self.trouble = e

    def check(self):
        before, version, blocks = self.sequence, self.version, self.blocks
        pieces = [os.pread(self.read_fd, BLOCK, i * BLOCK) for i in range(BLOCKS_MAX)]
        still = before % 2 == 0 and self.sequence == before
        for i, data in enumerate(pieces):
            if still:
                expected = block(version, i) if i < blocks else b""
                assert data == expected, "block %d of version %d, %d blocks: %d bytes that begin with %r" % (
                    i, version, blocks, len(data), data[:16])
                continue
            for (found,) in struct.iter_unpack(">Q", data[:len(data) // 8 * 8]):
                assert found == 0 or (found >> 16 >= version and found & 0xffff == i), (found, version, i)
        if still:
            self.exact += 1
        else:
            self.overtaken += 1

    def run(self, seconds, stop):
        thread = threading.Thread(target=self.writer, daemon=True)
        self.change()
        thread.start()
        end = time.monotonic() + seconds
        while self.trouble is None and (time.monotonic() < end or not os.path.exists(stop)):
            self.check()
        self.over = True
        thread.join(60)
        if self.trouble:
            raise self.trouble
        print("versions %d, reads of the whole %d exact, %d overtaken, slowest change %.1f s" %
              (self.version, self.exact, self.overtaken, self.slowest))
        assert self.exact > 0 and self.version > 1


def closing(reader, writer, count):
    """Who opens after another has closed reads what that one wrote; also through pages the kernel has, and read twice, so
    that the second time is local."""
    for n in range(count):
        name = "closing-%d" % (n % 5)
        data = os.urandom(random.choice((10, BLOCK, 200000)))
        if n % 7 == 6 and os.path.exists(writer + "/" + name):
            os.unlink(writer + "/" + name)
        with open(writer + "/" + name, "wb") as f:
            f.write(data)
        with open(reader + "/" + name, "rb", buffering=0) as f:
            assert f.read() == data, (n, len(data))
            f.seek(0)
            assert f.read() == data, (n, len(data))
            for at in range(0, len(data), BLOCK):
                assert os.pread(f.fileno(), BLOCK, at) == data[at:at + BLOCK], (n, at)


def reads(path, count):
    fd = os.open(path, os.O_RDONLY)
    size = os.fstat(fd).st_size
    with open(path, "rb", buffering=0) as f:
        expected = f.read()
    for _ in range(count):
        at = random.randrange(size) // BLOCK * BLOCK
        assert os.pread(fd, BLOCK, at) == expected[at:at + BLOCK]


what, args = sys.argv[1], sys.argv[2:]
if what == "changing":
    Changing(args[0], args[1]).run(float(args[2]), args[3])
elif what == "closing":
    closing(args[0], args[1], int(args[2]))
else:
    reads(args[0] + "/" + args[1], int(args[2]))
