#!/usr/bin/env python3
"""Turns README.md of the wire vectors into a C table for vectors_test.c.

usage: vectors.py README.md OUTPUT.h

Each row is a file with the lines of its "Decoded values" section, as they are. The size and SHA-256 that the README's
first table gives are checked against the file here, so that table and data cannot drift apart.
"""
import hashlib
import json
import os
import re
import sys


def c_string(text):
    return json.dumps(text, ensure_ascii=True)


def files(text):
    for name, size, digest in re.findall(r'^\| (\S+\.bin) \| (\d+) \| ([0-9a-f]{16}) \|', text, re.M):
        yield name, int(size), digest


def decoded(text):
    """file name -> list of lines without the leading '- '"""
    sections = re.split(r'^### (\S+\.bin)$', text, flags=re.M)
    return {name: re.findall(r'^- (.*)$', body, re.M) for name, body in zip(sections[1::2], sections[2::2])}


def main(readme, output):
    with open(readme, encoding='utf-8') as f:
        text = f.read()
    values = decoded(text)
    rows = []
    for name, size, digest in files(text):
        with open(os.path.join(os.path.dirname(readme), name), 'rb') as f:
            data = f.read()
        if len(data) != size or hashlib.sha256(data).hexdigest()[:16] != digest:
            sys.exit(f'{name}: size or SHA-256 differs from README.md')
        lines = ''.join(f'                {c_string(line)},\n' for line in values.pop(name))
        rows.append(f'        {{{c_string(name)}, {size}, (const char *const[]){{\n{lines}                NULL}}}},\n')
    if values:
        sys.exit(f'described but not in the table: {", ".join(values)}')
    with open(output, 'w', encoding='utf-8') as f:
        f.write('static const struct vector vectors[] = {\n' + ''.join(rows) + '};\n')


if __name__ == '__main__':
    main(*sys.argv[1:])
