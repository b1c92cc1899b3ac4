#!/usr/bin/env python3
"""The data that changes hands, written and looked at through a mount (handover.sh).

handover_set.py old MNT           what is written while times and gfid2path are off, as old releases did
handover_set.py write MNT COUNT   everything else, COUNT small files among it
handover_set.py change MNT        a bit of everything again, done while one brick is down
handover_set.py hold MNT          opens a file, removes it, says so and waits for end of input
handover_set.py tree MNT LAYOUT   a line for each object: all a user can see of it
handover_set.py touch MNT         writes, reads and removes a little under the new owner
"""
import concurrent.futures, errno, hashlib, os, stat, subprocess, sys

NAMES = ['plain', 'mit Leerzeichen', 'größe', '目录', 'naïve-ﬁle', 'new\nline', 'dash-', "quote'\"", 'x' * 200]
WORKERS = 8


def put(path, data, mode=0o644):
    with open(path, 'wb') as f:
        f.write(data)
    os.chmod(path, mode)


def setfacl(spec, path, default=False):
    subprocess.run(['setfacl', *(['-d'] if default else []), '-m', spec, path], check=True)


def special(base):
    """One of each kind."""
    os.makedirs(base)
    for n in NAMES:
        os.mkdir(f'{base}/dir {n}')
        put(f'{base}/dir {n}/{n}', n.encode() * 10)
    put(os.fsencode(base) + b'/not utf-8 \xff\xfe', b'bytes')
    put(f'{base}/linked', b'three names')
    os.link(f'{base}/linked', f'{base}/linked-2')
    os.link(f'{base}/linked', f'{base}/dir plain/linked-3')
    os.symlink('linked', f'{base}/symlink')
    os.symlink('/nowhere/' + 'long/' * 100, f'{base}/long symlink')
    os.mkfifo(f'{base}/fifo', 0o640)
    os.mknod(f'{base}/device', stat.S_IFCHR | 0o600, os.makedev(1, 3))
    put(f'{base}/owned', b'by somebody', 0o4750)
    os.chown(f'{base}/owned', 1234, 5678)
    os.chmod(f'{base}/owned', 0o4750)
    put(f'{base}/acl', b'with an ACL', 0o640)
    setfacl('u:1001:rw,g:1002:r', f'{base}/acl')
    os.mkdir(f'{base}/acl-dir', 0o2770)
    setfacl('u:1001:rwx,g:1002:rx', f'{base}/acl-dir', True)
    put(f'{base}/acl-dir/heir', b'inherited', 0o660)
    put(f'{base}/attrs', b'with attributes')
    os.setxattr(f'{base}/attrs', 'user.text', 'grüße'.encode())
    os.setxattr(f'{base}/attrs', 'user.bytes', bytes(range(256)))
    os.setxattr(f'{base}/dir plain', 'user.of a directory', b'1')
    with open(f'{base}/sparse', 'wb') as f:
        f.write(b'begin')
        f.seek(5 << 20)
        f.write(b'middle')
        f.truncate(64 << 20)
    with open(f'{base}/large', 'wb') as f:
        for k in range(64):
            f.write(bytes([k]) * 65537)
    os.utime(f'{base}/large', ns=(981173106123456789, 981173107987654321))


def old(mnt):
    special(f'{mnt}/old')
    for k in range(100):
        put(f'{mnt}/old/file{k}', b'%d' % k)


def some(mnt, worker, count):
    for k in range(worker, count, WORKERS):
        d = f'{mnt}/many/d{k % 50:02d}'
        os.makedirs(d, exist_ok=True)
        put(f'{d}/file{k:05d}', b'contents of %d\n' % k * (k % 7))


def write(mnt, count):
    special(f'{mnt}/special')
    with concurrent.futures.ProcessPoolExecutor(WORKERS) as pool:
        list(pool.map(some, [mnt] * WORKERS, range(WORKERS), [count] * WORKERS))
    os.mkdir(f'{mnt}/moved')
    for k in range(200):
        put(f'{mnt}/moved/before{k}', b'%d' % k)
        os.rename(f'{mnt}/moved/before{k}', f'{mnt}/moved/after{k}')
    os.makedirs(f'{mnt}/tree/a/b/c')
    put(f'{mnt}/tree/a/b/c/leaf', b'leaf')
    os.rename(f'{mnt}/tree/a', f'{mnt}/tree/z')
    os.mkdir(f'{mnt}/open')


def change(mnt):
    special(f'{mnt}/while-down')
    s = f'{mnt}/special'
    with open(f'{s}/large', 'r+b') as f:
        f.seek(100000)
        f.write(b'changed' * 1000)
    with open(f'{s}/linked', 'ab') as f:
        f.write(b' and more')
    os.truncate(f'{s}/sparse', 6 << 20)
    os.chmod(f'{s}/owned', 0o600)
    os.setxattr(f'{s}/attrs', 'user.text', b'changed')
    os.removexattr(f'{s}/attrs', 'user.bytes')
    setfacl('u:1003:r', f'{s}/acl')
    os.unlink(f'{s}/symlink')
    os.symlink('attrs', f'{s}/symlink')
    os.unlink(f'{s}/linked-2')
    os.rename(f'{s}/dir größe', f'{s}/dir renamed')
    os.rename(f'{mnt}/tree/z', f'{mnt}/tree/y')
    put(f'{mnt}/old/file0', b'changed, and it gets times of its own now')
    put(f'{mnt}/old/new', b'new')
    for k in range(0, 400, 3):
        p = f'{mnt}/many/d{k % 50:02d}/file{k:05d}'
        if k % 2:
            os.unlink(p)
        else:
            put(p, b'rewritten')


def hold(mnt):
    f = open(f'{mnt}/open/file', 'w+b', buffering=0)
    f.write(b'still here')
    os.fsync(f.fileno())
    os.unlink(f'{mnt}/open/file')
    f.seek(0)
    assert f.read() == b'still here'
    print('held', flush=True)
    sys.stdin.read()


def describe(path, name, layout):
    st = os.lstat(path)
    of_old = name.startswith(b'old/') or name == b'old'  # its times are those of whichever brick answers
    replicated = layout != 'dist2'  # while a heal is pending, the number of links is that of any brick
    disperse = layout == 'ec'  # a healed symbolic link has a new time
    what = [stat.filemode(st.st_mode), st.st_uid, st.st_gid, st.st_ino]
    if not stat.S_ISDIR(st.st_mode):
        what += [0 if replicated else st.st_nlink, st.st_size, st.st_rdev]
    if not of_old and not stat.S_ISDIR(st.st_mode) and not (disperse and stat.S_ISLNK(st.st_mode)):
        what.append(st.st_mtime_ns)
    if stat.S_ISLNK(st.st_mode):
        what.append(os.readlink(path))
    elif stat.S_ISREG(st.st_mode):
        with open(path, 'rb') as f:
            what.append(hashlib.file_digest(f, 'sha1').hexdigest())
    for x in sorted(os.listxattr(path, follow_symlinks=False)):
        if x.startswith(('user.', 'system.posix_acl')):
            what.append((x, os.getxattr(path, x, follow_symlinks=False).hex()))
    return f'{name!r} {what}'


def refuse(error):
    raise error


def names_below(top):
    for d, dirs, files in os.walk(os.fsencode(top), onerror=refuse):
        if d == os.fsencode(top):
            dirs[:] = [x for x in dirs if not x.startswith((b'.glusterfs', b'.trashcan'))]
        for n in dirs + files:
            yield os.path.join(d, n)


def tree(mnt, layout):
    """While heals go on, the disperse client may refuse a directory that has just been healed (EBADFD): then once more."""
    top = os.fsencode(mnt)
    for last in [False] * 11 + [True]:
        try:
            print('\n'.join(sorted([describe(p, p[len(top) + 1:], layout) for p in names_below(mnt)])))
            return
        except OSError as e:
            if last or e.errno not in (errno.EBADFD, errno.ESTALE):
                raise


def touch(mnt):
    base = f'{mnt}/under the new owner'
    special(base)
    for d, dirs, files in os.walk(base, topdown=False):
        for f in files + [x for x in dirs if os.path.islink(os.path.join(d, x))]:
            os.unlink(os.path.join(d, f))
        os.rmdir(d)


def main():
    command, *args = sys.argv[1:]
    os.umask(0o022)
    if command == 'write':
        write(args[0], int(args[1]))
    else:
        globals()[command](*args)


if __name__ == '__main__':
    main()
