#!/usr/bin/env python3
"""Renders docs/compat-posix.md from tests/interop/tour-known.tsv: compat.py [--check]"""
import pathlib, re, sys

root = pathlib.Path(__file__).resolve().parent.parent.parent
rows = [l.rstrip('\n').lstrip('?').split('\t') for l in open(root / 'tests/interop/tour-known.tsv') if l.strip() and l[0] != '#']
titles = {'backing:ours-*': 'Beside the file system below the brick (XFS)', 'stock-*:ours-*': 'Beside stock clients on stock bricks',
          'stock-[oar]*:ours-*': 'Beside stock clients on one stock brick, replicate and arbiter sets',
          'stock-disp:ours-disp': 'Beside stock clients on stock disperse sets'}
plain = lambda r: re.sub(r'\\(.)', r'\1', r).replace('|', ' or ')
out = ['''# What differs from a local file system

`tests/interop/tour.c` makes some 370 calls (create, rename matrix, links, directories, attributes, data, space, mmap, open-unlinked files,
xattrs, ACLs, permissions with supplementary groups, locks, large directories) and prints what they answer: results, errno, stat fields,
directory sets, contents. `tests/interop/stock_client.sh` (one brick, and distribute over two) and `tests/interop/sets.sh` (replica 3, arbiter
2+1, disperse 2+1, distributed-replicate 2×3) compare three transcripts in one run: the backing file system, Debian's stock client on stock
bricks, and the same client on our bricks. What is not in these tables is equal.
This page is made from `tests/interop/tour-known.tsv`; a difference that is not listed fails the test, and so does a listed one that is
no longer there, unless it depends on time.
''']
for pair in dict.fromkeys(r[0] for r in rows):
    out.append(f"## {titles.get(pair, pair)}\n\n| {pair.split(':')[0]} | mortar | why |\n|---|---|---|")
    out += [f'| {plain(a)} | {plain(b)} | {why} |' for p, a, b, why in rows if p == pair]
    out.append('')
if not any(r[0].startswith('stock') for r in rows):
    out.append('## Beside stock clients on stock bricks\n\nNo difference.\n')
text = '\n'.join(out)
page = root / 'docs/compat-posix.md'
if '--check' in sys.argv:
    same = page.exists() and page.read_text() == text
    print('ok docs/compat-posix.md is current' if same else 'not ok docs/compat-posix.md: run tests/interop/compat.py')
    sys.exit(not same)
page.write_text(text)
