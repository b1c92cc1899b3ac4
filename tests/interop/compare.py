#!/usr/bin/env python3
"""Compares tour transcripts: compare.py KNOWN NAME_A FILE_A NAME_B FILE_B [LEAST]

KNOWN (tests/interop/tour-known.tsv) lists the reviewed differences: pair (a glob), regular expression on the line of A, the
one on the line of B, reason. A difference that is not listed fails; so does a listed one for this pair that no longer shows,
unless "?" before the pair says that it depends on time.
"""
import fnmatch, re, sys

known_path, name_a, path_a, name_b, path_b = sys.argv[1:6]
least = int(sys.argv[6]) if len(sys.argv) > 6 else 300
pair = f'{name_a}:{name_b}'
known = []
for line in open(known_path):
    if line.strip() and not line.startswith('#'):
        p, a, b, why = line.rstrip('\n').split('\t')
        if fnmatch.fnmatch(pair, p.lstrip('?')):
            known.append([re.compile(a), re.compile(b), p.startswith('?'), False])

def keyed(path):
    """(label, occurrence) -> result, so that one difference does not shift the others"""
    seen, out = {}, {}
    for line in open(path, errors='surrogateescape'):
        label, _, value = line.rstrip('\n').partition(' = ')
        n = seen[label] = seen.get(label, 0) + 1
        out[(label, n)] = line.rstrip('\n')
    return out

a, b = keyed(path_a), keyed(path_b)
unexplained = 0
for key in list(dict.fromkeys([*a, *b])):
    la, lb = a.get(key, '(absent)'), b.get(key, '(absent)')
    if la == lb:
        continue
    for k in known:
        if k[0].fullmatch(la) and k[1].fullmatch(lb):
            k[3] = True
            break
    else:
        unexplained += 1
        print(f'  {name_a}: {la}\n  {name_b}: {lb}'.encode(errors='replace').decode())
unused = [k for k in known if not k[3] and not k[2]]
for k in unused:
    print(f'  listed but not seen: {k[0].pattern} / {k[1].pattern}')
print(f'# {len(a)} lines, {sum(k[3] for k in known)} reviewed differences, {unexplained} unexplained')
if unexplained or unused:
    print(f'not ok tour {pair}: {unexplained} unexplained differences, {len(unused)} listed ones not seen')
    sys.exit(1)
if len(a) < least:
    print(f'not ok tour {pair}: only {len(a)} lines')
    sys.exit(1)
print(f'ok tour {pair}')
