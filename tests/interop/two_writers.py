#!/usr/bin/env python3
"""Programs on two mounts of one volume share files: two_writers.py MOUNT_A MOUNT_B [COUNT]

appends   two processes per mount append lines under fcntl locks, each through a descriptor opened once: every acknowledged line
          is there once, whole
counter   they read, add one and write under a lock, through descriptors opened once: no addition is lost
sqlite    they insert rows in transactions of their own: every commit is there, the database is whole
open      what one has open the other removes, or renames something over it: it stays, to the last byte
renames   they rename files over each other and make the same names: nobody sees an error that POSIX does not allow
"""
import errno, fcntl, os, sqlite3, subprocess, sys

A, B = sys.argv[1:3]
COUNT = int(sys.argv[3]) if len(sys.argv) > 3 else 60
failed = False


def result(name, problem):
    global failed
    failed |= bool(problem)
    print(f'not ok {name}: {problem}' if problem else f'ok {name}', flush=True)


def together(work):
    """work(mount, worker) in two processes per mount; what they wrote to their pipes"""
    children = []
    for worker, mount in enumerate((A, B, A, B)):
        r, w = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(r)
            status = 1
            try:
                os.write(w, work(mount, worker).encode())
                status = 0
            except BaseException as e:
                os.write(w, f'{type(e).__name__}: {e}'.encode())
            os._exit(status)
        os.close(w)
        children.append((pid, r))
    problems = []
    for pid, r in children:
        text = b''
        while piece := os.read(r, 65536):
            text += piece
        os.close(r)
        if os.waitpid(pid, 0)[1]:
            problems.append(text.decode())
    return '; '.join(problems)


def appends(mount, worker):
    fd = os.open(f'{mount}/appends', os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for i in range(COUNT):
        fcntl.lockf(fd, fcntl.LOCK_EX)
        line = f'{worker} {i} {"x" * (i % 50)}\n'.encode()
        assert os.write(fd, line) == len(line)
        fcntl.lockf(fd, fcntl.LOCK_UN)
    os.close(fd)
    return ''


def seek_appends(mount, worker):
    """to the end as the reader sees it, not by O_APPEND"""
    fd = os.open(f'{mount}/seeks', os.O_RDWR | os.O_CREAT, 0o644)
    for i in range(COUNT):
        fcntl.lockf(fd, fcntl.LOCK_EX)
        os.lseek(fd, 0, os.SEEK_END)
        os.write(fd, f'{worker} {i} {"x" * (i % 50)}\n'.encode())
        fcntl.lockf(fd, fcntl.LOCK_UN)
    os.close(fd)
    return ''


def counter(mount, worker):
    fd = os.open(f'{mount}/counter', os.O_RDWR)
    for _ in range(COUNT):
        fcntl.lockf(fd, fcntl.LOCK_EX)
        value = int(os.pread(fd, 20, 0) or b'0')
        os.pwrite(fd, b'%020d' % (value + 1), 0)
        fcntl.lockf(fd, fcntl.LOCK_UN)
    os.close(fd)
    return ''


def sqlite(mount, worker):
    db = sqlite3.connect(f'{mount}/db', timeout=60, isolation_level=None)
    for i in range(COUNT // 4):
        db.execute('BEGIN IMMEDIATE')
        db.execute('INSERT INTO t VALUES (?, ?)', (worker, i))
        db.execute('COMMIT')
    db.close()
    return ''


ALLOWED = {errno.ENOENT, errno.EEXIST}


def renames(mount, worker):
    for i in range(COUNT):
        name = f'{mount}/shared{i % 5}'
        try:
            with open(f'{mount}/own{worker}', 'w') as f:
                f.write(f'{worker} {i}\n')
            os.rename(f'{mount}/own{worker}', name)
            with open(name) as f:
                text = f.read()
                size = os.fstat(f.fileno()).st_size
            assert size >= len(text), f'{size} {text}'
            assert text == '' or text.endswith('\n'), text
            if i % 3 == 0:
                os.unlink(name)
            fd = os.open(f'{mount}/exclusive', os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            os.close(fd)
            os.unlink(f'{mount}/exclusive')
        except OSError as e:
            if e.errno not in ALLOWED:
                raise RuntimeError(f'step {i}: {e}')
    return ''


def read_through(fd, size, byte):
    """all of it, from the bricks where the kernel can be made to forget its pages"""
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    assert os.fstat(fd).st_size == size, os.fstat(fd)
    text = b''
    while piece := os.pread(fd, 65536, len(text)):
        text += piece
    assert text == byte * size, (len(text), size)


def stay_open():
    for i, size in enumerate((0, 10, 4096, 65536, 65537, 300000) * (COUNT // 20)):
        name, other = f'{A}/stay{size}', f'{B}/stay{size}'
        with open(other, 'wb') as f:
            f.write(b'a' * size)
        with open(name, 'rb') as f: # its pages are here now, or not
            f.read() if i % 2 else None
        held = [os.open(name, flags) for flags in (os.O_RDONLY, os.O_RDWR, os.O_RDONLY)]
        if i % 3:
            with open(f'{B}/stay.new', 'wb') as f:
                f.write(b'b' * 7)
            os.rename(f'{B}/stay.new', other)
        else:
            os.unlink(other)
        for _ in range(2):
            for fd in held:
                read_through(fd, size, b'a')
        for fd in held:
            os.close(fd)
    return ''


def check_lines(path):
    seen = {}
    for line in open(path):
        worker, i, tail = line.rstrip('\n').split(' ')
        assert len(tail) == int(i) % 50, f'torn line {line!r}'
        seen[(worker, i)] = seen.get((worker, i), 0) + 1
    missing = 4 * COUNT - len(seen)
    twice = sum(n > 1 for n in seen.values())
    return f'{missing} lines missing, {twice} twice' if missing or twice else ''


def guarded(check):
    try:
        return check()
    except Exception as e:
        return f'{type(e).__name__}: {e}'


for mount in (A, B):
    os.listdir(mount)
result('appends under locks', together(appends) or guarded(lambda: check_lines(f'{A}/appends') or check_lines(f'{B}/appends')))
result('appends by lseek', together(seek_appends) or guarded(lambda: check_lines(f'{A}/seeks') or check_lines(f'{B}/seeks')))
with open(f'{A}/counter', 'w') as f:
    f.write('%020d' % 0)
result('counter under a lock', together(counter) or guarded(
    lambda: '' if int(open(f'{B}/counter').read()) == 4 * COUNT else f'{open(B + "/counter").read()} of {4 * COUNT}'))
db = sqlite3.connect(f'{A}/db')
db.execute('CREATE TABLE t (worker INT, i INT)')
db.commit()
db.close()


def check_db():
    for mount in (A, B):
        db = sqlite3.connect(f'{mount}/db')
        whole, rows = db.execute('PRAGMA integrity_check').fetchone()[0], db.execute('SELECT COUNT(*) FROM t').fetchone()[0]
        db.close()
        if whole != 'ok' or rows != 4 * (COUNT // 4):
            return f'{mount}: {whole}, {rows} of {4 * (COUNT // 4)} commits'
    return ''


result('sqlite', together(sqlite) or guarded(check_db))
result('open files stay', guarded(stay_open))
result('renames and exclusive names', together(renames))


def git(where, *words):
    return subprocess.run(['git', '-C', where, '-c', 'user.name=x', '-c', 'user.email=x@x', '-c', 'gc.auto=0', *words],
                          check=True, capture_output=True, text=True, timeout=120).stdout


def repository():
    os.mkdir(f'{A}/repo')
    git(f'{A}/repo', 'init', '-q')
    git(f'{A}/repo', 'config', '--global', 'safe.directory', '*')
    for i in range(12):
        mount = (A, B)[i % 2]
        with open(f'{mount}/repo/file{i}', 'w') as f:
            f.write(f'{i}\n' * 100)
        git(f'{mount}/repo', 'add', '.')
        git(f'{mount}/repo', 'commit', '-qm', f'{i}')
    git(f'{B}/repo', 'fsck', '--strict')
    n = len(git(f'{A}/repo', 'log', '--oneline').splitlines())
    return '' if n == 12 else f'{n} of 12 commits'


result('a git repository in turns', guarded(repository))
sys.exit(failed)
