#!/usr/bin/env python3
"""Writes the seed corpora of the fuzz targets.

usage: corpus.py TEST_DATA CORPUS_DIR STAMP

From the captured records come whole records, headers, messages and dictionaries, each under the target that decodes it.
tests/data/fuzz/NAME/* is copied to CORPUS_DIR/NAME. A seed is named by its contents, so running again adds nothing.
"""
import glob
import hashlib
import os
import re
import struct
import sys

HANDSHAKE_MESSAGES = 23


def u32(data, at):
    return struct.unpack_from('>I', data, at)[0]


def padded(n):
    return (n + 3) & ~3


class Corpus:
    def __init__(self, top):
        self.top = top

    def add(self, target, data):
        folder = os.path.join(self.top, target)
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, hashlib.sha256(data).hexdigest()[:16]), 'wb') as f:
            f.write(data)


def body_of(record):
    """What follows the RPC header."""
    if u32(record, 4) == 1:
        return record[24:]
    at = 32 + padded(u32(record, 28))
    return record[at + 8 + padded(u32(record, at + 4)):]


def typed_dicts(body):
    for at in range(0, len(body) - 12, 4):
        size, count, pairs = struct.unpack_from('>III', body, at)
        if count == pairs and 0 < pairs <= 64 and 12 * pairs <= size <= len(body) - at - 12:
            yield body[at:at + 12 + size]


def old_dicts(body):
    for at in range(0, len(body) - 8, 4):
        size, pairs = struct.unpack_from('>II', body, at)
        if 0 < pairs <= 64 and 9 * pairs + 4 <= size <= len(body) - at - 4:
            yield body[at + 4:at + 4 + size]


def add_record(corpus, record):
    mark = struct.pack('>I', 0x80000000 | len(record))
    corpus.add('record', b'\0' + mark + record)
    third = len(record) // 3
    corpus.add('record', b'\7' + struct.pack('>I', third) + record[:third] + bytes(4) +
               struct.pack('>I', 0x80000000 | (len(record) - third)) + record[third:])
    corpus.add('rpc_header', record)


def add_message(corpus, record, program, procedure):
    body = body_of(record)
    if program == 1298437:
        target = 'fop_rep' if u32(record, 4) == 1 else 'fop_req'
        corpus.add(target, bytes([procedure]) + body)
        for found in typed_dicts(body):
            corpus.add('dict', found)
    else:
        for number in range(HANDSHAKE_MESSAGES):
            corpus.add('handshake', bytes([number]) + body)
    for found in old_dicts(body):
        corpus.add('dict_old', found)


def add_brick_calls(corpus, count):
    """Inputs of fuzz_brick.c: all recorded calls in a row and pairs of them, and every procedure after some objects exist."""
    def block(choice, *more):
        return bytes([choice, 0x10, 0] + list(more)).ljust(64, b'\0')
    recorded = [block(0x80 | i) for i in range(count)]
    corpus.add('brick', bytes(8) + b''.join(recorded))
    for i in range(0, count, 8):
        corpus.add('process', b''.join(recorded[i:i + 8]))
    corpus.add('process', b''.join(recorded[:6]) + bytes([0x7f, 40]) + struct.pack('>I', 0x80000020) + bytes(58))
    corpus.add('brick', bytes(8) + b''.join(recorded[::-1]))
    # MKDIR, CREATE and MKNOD of names in the root with a gfid-req
    objects = [block(4, 0, 2, 0, i, 4, 0x10 + i) for i in range(2)] + [block(23, 0, 2, 0, 0, 2 + i, 4, 0x20 + i) for i in range(2)]
    for proc in range(57):
        for first in range(4):
            corpus.add('brick', bytes(8) + b''.join(objects) + block(proc, first) + block(proc, first, first, 1, 2) * 2)
    for steps in ((0, 3), (3, 0), (9, 10, 11), (6, 1, 3), (5, 4, 0), (2, 3, 9), (2, 12)):
        for first in range(4):
            chain = block(0x7c, len(steps), *steps).ljust(64, b'\0')
            corpus.add('brick', bytes(8) + b''.join(objects) + (chain[:8] + bytes([first]) + chain[9:]) * 2)


def add_texts(corpus, data):
    for n, texts in enumerate((
            [struct.pack('<I', 2) + b''.join(struct.pack('<HHI', tag, 4, 1001 if tag == 2 else 0xffffffff)
                                             for tag in (1, 2, 4, 16, 32))],
            [b'u::rw-,u:1001:r--,g::r--,m::r--,o::r--', b'user::rwx,group::r-x,other::---'],
            [b'vol', b'/vol', b'vol.tcp', b'vol.host.srv-a', b'shd/vol', b'/snaps/s/vol', b'gluster/quotad'],
            [b'10.0.0.*,192.168.1.0/24,host\n10.0.0.7:1000', b'/a(10.0.0.1|host*),/b(*)\n[fe80::1]:5', b'*\nunix'],
            [b'[::1]:24007', b'127.0.0.1:5', b'*:24007', b'unix:/run/x'])):
        for t in texts:
            corpus.add('text', bytes([n]) + t)
    for path in glob.glob(os.path.join(data, 'volfile', 'layouts', '*', 'brick-0.vol')):
        with open(path, 'rb') as f:
            corpus.add('control', b'\1' + f.read())
    spec = struct.pack('>II', 0, 3) + b'vol\0' + struct.pack('>I', 0)
    corpus.add('serve', bytes([1, len(spec) // 4]) + spec)
    brick = struct.pack('>I', 6) + b'/srv/a\0\0'
    corpus.add('serve', bytes([5, len(brick) // 4]) + brick + bytes([0, 0]))


def main(data, top, stamp):
    corpus = Corpus(top)
    with open(os.path.join(data, 'wire', 'README.md'), encoding='utf-8') as f:
        sections = re.split(r'^### (\S+\.bin)$', f.read(), flags=re.M)
    for name, text in zip(sections[1::2], sections[2::2]):
        with open(os.path.join(data, 'wire', name), 'rb') as f:
            record = f.read()
        program, procedure = map(int, re.search(r'program (\d+) version \d+ procedure (\d+)', text).groups())
        add_record(corpus, record)
        add_message(corpus, record, program, procedure)
    add_texts(corpus, data)
    add_brick_calls(corpus, len(glob.glob(os.path.join(data, 'wire', '*-call.bin'))))
    for path in glob.glob(os.path.join(data, 'fuzz', '*', '*')):
        with open(path, 'rb') as f:
            corpus.add(os.path.basename(os.path.dirname(path)), f.read())
    with open(stamp, 'w', encoding='utf-8'):
        pass


if __name__ == '__main__':
    main(*sys.argv[1:])
