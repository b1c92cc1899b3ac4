#!/usr/bin/env python3
"""The invariants of a brick directory at rest (brick.md §21): brick_check.py [--old] BRICK…; exit 1 and a line per violation.

Written apart from `mortar brick check`, whose answers it is there to confirm. --old: files may have no gfid2path, or not for all names.
"""
import os, sys, uuid, collections

def check(root, old):
    bad = []
    g = os.path.join(root, '.glusterfs')
    handles = {}
    for xx in os.listdir(g):
        if len(xx) != 2:
            continue
        for yy in os.listdir(f'{g}/{xx}'):
            for name in os.listdir(f'{g}/{xx}/{yy}'):
                handles[name] = f'{g}/{xx}/{yy}/{name}'
                if name[0:2] != xx or name[2:4] != yy:
                    bad.append(f'handle in the wrong place: {handles[name]}')
    gfid_of = lambda p: str(uuid.UUID(bytes=os.getxattr(p, 'trusted.gfid', follow_symlinks=False)))
    names = collections.Counter()
    seen, paths = {}, collections.defaultdict(set)
    for d, dirs, files in os.walk(root):
        if d == root:
            dirs.remove('.glusterfs')
        try:
            dg = gfid_of(d)
        except OSError as e:
            bad.append(f'{d}: no gfid ({e.strerror})')
            continue
        if d != root:
            want = None
            parent = gfid_of(os.path.dirname(d))
            want = f'../../{parent[:2]}/{parent[2:4]}/{parent}/{os.path.basename(d)}'
            if dg not in handles or not os.path.islink(handles[dg]) or os.readlink(handles[dg]) != want:
                bad.append(f'{d}: the handle of {dg} is not a link to {want}')
        seen[dg] = d
        for f in files + [x for x in dirs if os.path.islink(os.path.join(d, x))]:
            p = os.path.join(d, f)
            st = os.lstat(p)
            try:
                fg = gfid_of(p)
            except OSError as e:
                bad.append(f'{p}: no gfid ({e.strerror})')
                continue
            names[fg] += 1
            paths[fg].add(f'{dg}/{f}')
            seen[fg] = p
            if fg not in handles:
                bad.append(f'{p}: no handle {fg}')
            elif os.lstat(handles[fg]).st_ino != st.st_ino:
                bad.append(f'{p}: the handle {fg} is another inode')
    for fg, n in names.items():
        st = os.lstat(seen[fg])
        if st.st_nlink != n + 1:
            bad.append(f'{seen[fg]}: {st.st_nlink} links for {n} names and a handle')
        have = {os.getxattr(seen[fg], x, follow_symlinks=False).decode(errors='surrogateescape')
                for x in os.listxattr(seen[fg], follow_symlinks=False) if x.startswith('trusted.gfid2path.')}
        if have != paths[fg] and not (old and have < paths[fg]):
            bad.append(f'{seen[fg]}: gfid2path says {sorted(have)}, names are {sorted(paths[fg])}')
    for fg, p in handles.items():
        if fg not in seen and fg != '00000000-0000-0000-0000-000000000001':
            bad.append(f'handle without an object: {p}')
    if os.listdir(f'{g}/unlink'):
        bad.append(f'{g}/unlink is not empty')
    return bad, len(seen)

failed = False
old = sys.argv[1:2] == ['--old']
for root in sys.argv[1 + old:]:
    bad, n = check(os.path.realpath(root), old)
    for b in bad[:20]:
        print(repr(b))
    print(f'# {root}: {n} objects, {len(bad)} violations')
    failed |= bool(bad)
sys.exit(failed)
