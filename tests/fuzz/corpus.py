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
    for path in glob.glob(os.path.join(data, 'fuzz', '*', '*')):
        with open(path, 'rb') as f:
            corpus.add(os.path.basename(os.path.dirname(path)), f.read())
    with open(stamp, 'w', encoding='utf-8'):
        pass


if __name__ == '__main__':
    main(*sys.argv[1:])
