#!/usr/bin/env python3
"""A load that keeps what was acknowledged to it outside the volume.

    faults_load.py run KIND DIRECTORY CONTROL      works in DIRECTORY until CONTROL/stop exists
    faults_load.py verify DIRECTORY CONTROL        whether everything that was acknowledged is there

KIND: records   appends lines and overwrites blocks, an fsync after each; small files, renamed when they are on disk
      git       commits
      sqlite    transactions
What the volume acknowledged goes to CONTROL/KIND.acks afterwards, so whatever stands there must be found. CONTROL/KIND.ops has the number of
acknowledgements and the slowest of them in seconds since CONTROL/mark was touched. Any error ends it with status 1 and its reason.
"""
import os, sqlite3, subprocess, sys, time, traceback, zlib

BLOCKS, BLOCK = 32, 4096


def block(n, version):
    head = b'%d %d ' % (n, version)
    body = (head * (BLOCK // len(head) + 1))[:BLOCK - 10]
    return body + b'%010d' % zlib.crc32(body)


class Acks:
    def __init__(self, kind, control):
        self.kind, self.control = kind, control
        self.file = open(f'{control}/{kind}.acks', 'a', buffering=1)
        self.n, self.slowest, self.mark, self.begin = 0, 0.0, 0, 0.0

    def stopped(self):
        self.begin = time.monotonic()
        return os.path.exists(f'{self.control}/stop')

    def add(self, *words):
        took = time.monotonic() - self.begin
        self.file.write(' '.join(map(str, words)) + '\n')
        self.n += 1
        mark = os.stat(f'{self.control}/mark').st_mtime_ns
        self.slowest = took if mark != self.mark else max(took, self.slowest)
        self.mark = mark
        with open(f'{self.control}/{self.kind}.ops.new', 'w') as f:
            f.write(f'{self.n} {self.slowest:.1f}\n')
        os.rename(f'{self.control}/{self.kind}.ops.new', f'{self.control}/{self.kind}.ops')

    @staticmethod
    def read(kind, control):
        with open(f'{control}/{kind}.acks') as f:
            return [line.split() for line in f]


def synced(path, data):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    assert os.write(fd, data) == len(data)
    os.fsync(fd)
    os.close(fd)


# ---- records ----------------------------------------------------------------------------------------------------------------------
def run_records(d, acks):
    first = len(Acks.read('records', acks.control))
    log = os.open(f'{d}/log', os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    blocks = os.open(f'{d}/blocks', os.O_RDWR | os.O_CREAT, 0o644)
    i = first
    while not acks.stopped():
        line = b'%d %s\n' % (i, b'x' * (i % 97))
        assert os.write(log, line) == len(line)
        os.fsync(log)
        acks.add('line', i)
        acks.begin = time.monotonic()
        n = i * 7 % BLOCKS
        assert os.pwrite(blocks, block(n, i), n * BLOCK) == BLOCK
        os.fdatasync(blocks)
        acks.add('block', n, i)
        acks.begin = time.monotonic()
        name = f'{d}/small-{i % 50}'
        synced(f'{name}.new', b'%d\n' % i)
        os.rename(f'{name}.new', name)
        acks.add('small', i % 50, i)
        i += 1


def verify_records(d, acks):
    newest, lines = {}, set()
    for kind, *words in acks:
        if kind == 'line':
            lines.add(int(words[0]))
        else:
            newest[kind, int(words[0])] = int(words[1])
    seen = set()
    for line in open(f'{d}/log', 'rb'):
        i, tail = line[:-1].split(b' ')
        assert tail == b'x' * (int(i) % 97) and line.endswith(b'\n'), f'a torn line: {line!r}'
        assert int(i) not in seen, f'line {i} is there twice'
        seen.add(int(i))
    assert lines <= seen, f'{len(lines - seen)} acknowledged lines are missing: {sorted(lines - seen)[:5]}'
    data = open(f'{d}/blocks', 'rb').read()
    for (kind, n), version in newest.items():
        if kind == 'block':
            b = data[n * BLOCK:(n + 1) * BLOCK]
            got = int(b.split(b' ')[1])
            assert b == block(n, got), f'block {n} is torn'
        else:
            got = int(open(f'{d}/small-{n}').read())
        assert got >= version, f'{kind} {n}: version {got}, but {version} was acknowledged'
    return f'{len(lines)} lines, {len(newest)} blocks and files'


# ---- git --------------------------------------------------------------------------------------------------------------------------
def git(d, *words):
    p = subprocess.run(['git', '-C', d, '-c', 'user.name=t', '-c', 'user.email=t@localhost', '-c', 'gc.auto=0', '-c', 'core.fsync=all',
                        '-c', 'safe.directory=*', *words], capture_output=True, text=True)
    assert p.returncode == 0, f'git {words[0]}: {p.stderr.strip()[-400:]}'
    return p.stdout.strip()


def run_git(d, acks):
    repo = f'{d}/repo'
    if not os.path.isdir(repo):
        git(d, 'init', '-q', 'repo')
    i = 0
    while not acks.stopped():
        for k in range(3):
            with open(f'{repo}/file-{(i + k) % 40}', 'a') as f:
                f.write(f'{i} {k}\n')
        git(repo, 'add', '.')
        git(repo, 'commit', '-q', '-m', f'{i}')
        acks.add('commit', git(repo, 'rev-parse', 'HEAD'))
        i += 1


def verify_git(d, acks):
    git(f'{d}/repo', 'fsck', '--full')
    there = set(git(f'{d}/repo', 'log', '--format=%H').split())
    missing = [h for _, h in acks if h not in there]
    assert not missing, f'{len(missing)} acknowledged commits are missing'
    return f'{len(acks)} commits'


# ---- sqlite -----------------------------------------------------------------------------------------------------------------------
def run_sqlite(d, acks):
    db = sqlite3.connect(f'{d}/db', timeout=60, isolation_level=None)
    db.execute('PRAGMA synchronous=FULL')
    db.execute('CREATE TABLE IF NOT EXISTS t (i INTEGER PRIMARY KEY, text TEXT)')
    i = (db.execute('SELECT MAX(i) FROM t').fetchone()[0] or 0) + 1
    while not acks.stopped():
        db.execute('BEGIN IMMEDIATE')
        db.execute('INSERT INTO t VALUES (?, ?)', (i, 'y' * (i % 300)))
        db.execute('COMMIT')
        acks.add('row', i)
        i += 1
    db.close()


def verify_sqlite(d, acks):
    db = sqlite3.connect(f'{d}/db')
    whole = db.execute('PRAGMA integrity_check').fetchone()[0]
    assert whole == 'ok', whole
    rows = {i: text for i, text in db.execute('SELECT i, text FROM t')}
    db.close()
    missing = [i for _, i in acks if rows.get(int(i)) != 'y' * (int(i) % 300)]
    assert not missing, f'{len(missing)} acknowledged rows are missing: {missing[:5]}'
    return f'{len(acks)} rows'


KINDS = {'records': (run_records, verify_records), 'git': (run_git, verify_git), 'sqlite': (run_sqlite, verify_sqlite)}


def main():
    if sys.argv[1] == 'run':
        kind, directory, control = sys.argv[2:]
        os.makedirs(f'{directory}/{kind}', exist_ok=True)
        acks = Acks(kind, control)
        try:
            KINDS[kind][0](f'{directory}/{kind}', acks)
        except Exception:
            print(f'{kind}: {time.strftime("%H:%M:%S", time.gmtime())} after {time.monotonic() - acks.begin:.1f} s: {traceback.format_exc(limit=-2)}')
            sys.exit(1)
        return
    directory, control = sys.argv[2:]
    bad = False
    for kind, (_, verify) in KINDS.items():
        try:
            print(f'# {kind}: {verify(f"{directory}/{kind}", Acks.read(kind, control))}')
        except Exception as e:
            print(f'{kind}: {type(e).__name__}: {e}')
            bad = True
    sys.exit(bad)


main()
