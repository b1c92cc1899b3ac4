#!/usr/bin/env python3
"""Whether the bricks of every set agree, looked at directly, at rest: replicas.py replicate|arbiter|disperse BRICK…
`replicas.py together CONTROL CALLS BRICK…`: whether the bricks of a disperse set all take part in what a load does.
`replicas.py wait SECONDS BRICK…` waits until the index names no work and what a healer moved away is gone.

Three bricks are a set. Compared for every name: type, mode, owner, gfid, link count, device or target, size, content, extended
attributes. What belongs to one brick is left out: trusted.afr.* and trusted.ec.dirty must be zero instead, the index of pending
work must be empty. Times and gfid2path (brick_check.py) are left out. An arbiter's files have no content; fragments of a disperse set have the same length, version and size
(a counter that is absent is zero). Changed names kept for a directory that is gone wait for the daemon's next work: not counted.
"""
import hashlib, os, stat, sys, time

ANONYMOUS = '.glusterfs-anonymous-inode-'


def attributes(path, problems):
    out = {}
    for key in os.listxattr(path, follow_symlinks=False):
        value = os.getxattr(path, key, follow_symlinks=False)
        if key.startswith('trusted.afr.') or key == 'trusted.ec.dirty':
            if any(value):
                problems.append(f'{path}: {key} is {value.hex()}')
        elif key != 'trusted.glusterfs.mdata' and not key.startswith('trusted.gfid2path.'):
            out[key] = value.hex()
    return out


def content(path):
    digest = hashlib.sha1()
    with open(path, 'rb') as f:
        while block := f.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def describe(path, layout, is_arbiter, problems):
    st = os.lstat(path)
    kind = stat.S_IFMT(st.st_mode)
    out = {'type': kind, 'mode': stat.S_IMODE(st.st_mode), 'owner': (st.st_uid, st.st_gid), 'device': st.st_rdev,
           **attributes(path, problems)}
    if kind != stat.S_IFDIR:
        out['links'] = st.st_nlink
    if kind == stat.S_IFLNK:
        out['target'] = os.readlink(path)
    if kind == stat.S_IFREG and is_arbiter:
        if st.st_size:
            problems.append(f'{path}: {st.st_size} bytes on an arbiter')
    elif kind == stat.S_IFREG:
        out['size'] = st.st_size
        if layout != 'disperse':
            out['content'] = content(path)
    return out


def exists(gfid, bricks):
    return any(os.path.lexists(f'{b}/.glusterfs/{gfid[:2]}/{gfid[2:4]}/{gfid}') for b in bricks)


def pending(brick, bricks):
    """What waits for a healer on BRICK, one of BRICKS. With NO_HEALER set, without what only it would remove: entries of
    objects that are gone from all bricks, which clients leave behind when a removal overtakes a delayed post-op."""
    names = []
    for d in ('xattrop', 'dirty'):
        try:
            names += [f'{d}/{n}' for n in os.listdir(f'{brick}/.glusterfs/indices/{d}') if not n.startswith(d + '-')
                      and ('NO_HEALER' not in os.environ or exists(n, bricks))]
        except FileNotFoundError:
            pass
    try:
        changes = f'{brick}/.glusterfs/indices/entry-changes'
        names += [f'entry-changes/{n}/{c}' for n in os.listdir(changes) if not n.startswith('entry-changes-')
                  and exists(n, [brick]) for c in os.listdir(f'{changes}/{n}')]
    except FileNotFoundError:
        pass
    for d in os.listdir(brick):
        if d.startswith(ANONYMOUS):
            names += [f'{d}/{n}' for n in os.listdir(f'{brick}/{d}')]
    return names


def tree(brick, bricks, layout, is_arbiter, problems):
    out = {'.': describe(brick, layout, is_arbiter, problems)}
    for d, dirs, files in os.walk(brick):
        if d == brick:
            dirs[:] = [n for n in dirs if n != '.glusterfs' and not n.startswith(ANONYMOUS)]
        for name in dirs + files:
            path = os.path.join(d, name)
            out[os.path.relpath(path, brick)] = describe(path, layout, is_arbiter, problems)
    problems += [f'{brick}: pending {n}' for n in pending(brick, bricks)]
    return out


def compare(bricks, trees, problems):
    for name in sorted(set().union(*trees)):
        versions = [t.get(name) for t in trees]
        lacking = [b for b, v in zip(bricks, versions) if v is None]
        if lacking:
            problems.append(f'{name}: not on {" ".join(lacking)}')
            continue
        for key in sorted(set().union(*versions)):
            nothing = '0' * len(next(v[key] for v in versions if key in v)) if key.startswith('trusted.ec.') else None
            values = [v.get(key, nothing) for v in versions if key not in ('size', 'content') or key in v]
            if any(v != values[0] for v in values):
                problems.append(f'{name}: {key} differs: {" | ".join(str(v) for v in values)}')


def main():
    layout, bricks = sys.argv[1], sys.argv[2:]
    failed = False
    for i in range(0, len(bricks), 3):
        group, problems = bricks[i:i + 3], []
        trees = [tree(b, group, layout, layout == 'arbiter' and n == 2, problems) for n, b in enumerate(group)]
        compare(group, trees, problems)
        for p in problems[:25]:
            print(p.encode(errors='replace').decode())
        print(f'# set {i // 3}: {len(trees[0])} names, {len(problems)} differences')
        failed |= bool(problems)
    sys.exit(failed)


def wait(seconds, bricks):
    end = time.monotonic() + seconds
    while names := [f'{b}: {n}' for b in bricks for n in pending(b, bricks)]:
        if time.monotonic() > end:
            print(f'{len(names)} pending:', *names[:8], sep='\n')
            return True
        time.sleep(0.2)
    return False


def versions(bricks):
    """(brick, gfid of a directory) -> (version, path), of those that have one"""
    out = {}
    for brick in bricks:
        for d, dirs, _ in os.walk(brick):
            dirs[:] = [n for n in dirs if n != '.glusterfs']
            try:
                version = os.getxattr(d, 'trusted.ec.version').hex()
                out[brick, os.getxattr(d, 'trusted.gfid')] = version, d
            except OSError:
                continue
    return {k: v for k, v in out.items() if int(v[0], 16)}


def together(control, calls, bricks):
    """Whether each of the next CALLS calls of the load on a disperse set reaches all bricks. While they do, a directory gets its
    version once, with the end of the first lock; each change that leaves a brick out, even if it is healed at once, adds to it."""
    def ops():
        with open(os.path.join(control, 'ops')) as f:
            return int(f.read().split()[0])
    limit = time.monotonic() + 60
    while not (before := versions(bricks)) and time.monotonic() < limit:
        time.sleep(0.05)
    end = ops() + calls
    while ops() < end:
        if time.monotonic() > limit:
            print('the load stands')
            return True
        time.sleep(0.05)
    after = versions(bricks)
    bad = [f'{d}: {v} is now {after[k][0]}' for k, (v, d) in before.items() if k in after and after[k][0] != v]
    print(*bad[:8], f'# {len(before)} versions of directories, {len(bad)} changed', sep='\n')
    return bool(bad) or not before


if sys.argv[1] == 'together':
    sys.exit(together(sys.argv[2], int(sys.argv[3]), sys.argv[4:]))
if sys.argv[1] == 'wait':
    sys.exit(wait(int(sys.argv[2]), sys.argv[3:]))
main()
