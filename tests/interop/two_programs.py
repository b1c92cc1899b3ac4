#!/usr/bin/env python3
"""Programs of two mounts that share directories: two_programs.py MOUNT_A MOUNT_B [GIT_ROUNDS [COUNT]]

git     each side has a clone in its own mount and pushes commits to a bare repository that lies in the volume: every pushed commit is
        there, the repository is whole, seen from both sides
claims  both make the same names with O_EXCL, mkdir and link(2): each is won by exactly one
maildir one makes files under temporary names and renames them into a directory, the other takes them out: each arrives once, whole
"""
import errno, os, subprocess, sys, time

A, B = sys.argv[1:3]
ROUNDS = int(sys.argv[3]) if len(sys.argv) > 3 else 4
COUNT = int(sys.argv[4]) if len(sys.argv) > 4 else 40
failed = False


def result(name, problem):
    global failed
    failed |= bool(problem)
    print(f'not ok {name}: {problem}' if problem else f'ok {name}', flush=True)


def together(*works):
    """each in a process; their words, or what went wrong"""
    children, answers, problems = [], [], []
    for work in works:
        r, w = os.pipe()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.write(w, work().encode())
                status = 0
            except BaseException as e:
                os.write(w, f'{type(e).__name__}: {e}'.encode())
            os._exit(status)
        os.close(w)
        children.append((pid, r))
    for pid, r in children:
        text = b''
        while piece := os.read(r, 65536):
            text += piece
        os.close(r)
        (problems if os.waitpid(pid, 0)[1] else answers).append(text.decode())
    return answers, '; '.join(problems)


# ---- git --------------------------------------------------------------------------------------------------------------------------
def git(directory, *words, ok=True):
    p = subprocess.run(['git', '-C', directory, '-c', 'user.name=t', '-c', 'user.email=t@localhost', '-c', 'gc.auto=0',
                        '-c', 'safe.directory=*', *words], capture_output=True, text=True)
    if ok and p.returncode:
        raise RuntimeError(f'git {" ".join(words)}: {p.stderr.strip()[-300:]}')
    return p


def pushes(mount, side):
    def work():
        clone = f'{mount}/clone-{side}'
        git(mount, 'clone', '-q', f'{mount}/shared.git', clone)
        for i in range(ROUNDS):
            for k in range(5):
                with open(f'{clone}/{side}-{i}-{k}', 'w') as f:
                    f.write(f'{side} {i} {k}\n' * 50)
            git(clone, 'add', '.')
            git(clone, 'commit', '-q', '-m', f'{side} {i}')
            for attempt in range(40):
                p = git(clone, 'push', '-q', 'origin', 'HEAD:main', ok=False)
                if p.returncode == 0:
                    break
                if 'rejected' not in p.stderr and 'cannot lock ref' not in p.stderr and 'failed to lock' not in p.stderr:
                    raise RuntimeError(f'push: {p.stderr.strip()[-300:]}')
                git(clone, 'pull', '-q', '--rebase', 'origin', 'main')
            else:
                raise RuntimeError('push: rejected 40 times')
        return ''
    return work


def git_test():
    git(A, 'init', '-q', '--bare', '-b', 'main', f'{A}/shared.git')
    git(A, 'clone', '-q', f'{A}/shared.git', f'{A}/first')
    git(f'{A}/first', 'commit', '-q', '--allow-empty', '-m', 'first')
    git(f'{A}/first', 'push', '-q', 'origin', 'HEAD:main')
    os.listdir(f'{B}/shared.git/refs/heads')
    _, problem = together(pushes(A, 'a'), pushes(B, 'b'))
    if problem:
        return problem
    for mount in (A, B):
        git(f'{mount}/shared.git', 'fsck', '--full')
        log = git(f'{mount}/shared.git', 'log', '--format=%s', 'main').stdout.split('\n')
        missing = [f'{s} {i}' for s in 'ab' for i in range(ROUNDS) if f'{s} {i}' not in log]
        if missing:
            return f'{mount}: commits missing: {missing}'
    return ''


# ---- names that only one may win ------------------------------------------------------------------------------------------------
def claim(mount, kind, name, side):
    try:
        if kind == 'file':
            os.close(os.open(f'{mount}/claims/{name}', os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        elif kind == 'dir':
            os.mkdir(f'{mount}/claims/{name}')
        else:
            os.link(f'{mount}/claims/own-{side}', f'{mount}/claims/{name}')
        return True
    except FileExistsError:
        return False


def claims(mount, side):
    def work():
        open(f'{mount}/claims/own-{side}', 'w').close()
        return ' '.join(f'{kind}-{i}' for i in range(COUNT) for kind in ('file', 'dir', 'link')
                        if claim(mount, kind, f'{kind}-{i}', side))
    return work


def claims_test():
    os.mkdir(f'{A}/claims')
    answers, problem = together(*(claims(m, s) for m, s in ((A, 0), (B, 1), (A, 2), (B, 3))))
    if problem:
        return problem
    won = [n for a in answers for n in a.split()]
    if len(won) != len(set(won)):
        return f'{len(won) - len(set(won))} names were won twice'
    if len(won) != 3 * COUNT:
        return f'{3 * COUNT - len(won)} names were won by nobody'
    sides = [sorted(os.listdir(f'{m}/claims')) for m in (A, B)]
    return '' if sides[0] == sides[1] and len(sides[0]) == 3 * COUNT + 4 else f'{len(sides[0])} and {len(sides[1])} names are listed'


# ---- a maildir ------------------------------------------------------------------------------------------------------------------
def deliver(mount, side):
    def work():
        for i in range(COUNT):
            name = f'{side}-{i}'
            with open(f'{mount}/mail/tmp/{name}', 'w') as f:
                f.write(f'{name}\n' * 100)
            os.rename(f'{mount}/mail/tmp/{name}', f'{mount}/mail/new/{name}')
        return ''
    return work


def take(mount, side, wanted):
    def work():
        got, end = [], time.monotonic() + 100
        while len(got) < wanted and time.monotonic() < end:
            for name in os.listdir(f'{mount}/mail/new'):
                try:
                    os.rename(f'{mount}/mail/new/{name}', f'{mount}/mail/cur/{side}-{name}')
                except OSError as e:
                    if e.errno in (errno.ENOENT, errno.ESTALE):
                        continue
                    raise
                with open(f'{mount}/mail/cur/{side}-{name}') as f:
                    text = f.read()
                assert text == f'{name}\n' * 100, f'{name}: {len(text)} bytes'
                got.append(name)
        return ' '.join(got)
    return work


def mail_test():
    for d in ('mail', 'mail/tmp', 'mail/new', 'mail/cur'):
        os.mkdir(f'{A}/{d}')
    os.listdir(f'{B}/mail/new')
    answers, problem = together(deliver(A, 'a'), deliver(B, 'b'), take(B, "tb", 2 * COUNT))
    if problem:
        return problem
    got = [n for a in answers for n in a.split()]
    return '' if sorted(got) == sorted(f'{s}-{i}' for s in 'ab' for i in range(COUNT)) else f'{len(got)} of {2 * COUNT} arrived'


def guarded(test):
    try:
        return test()
    except Exception as e:
        return f'{type(e).__name__}: {e}'


for name, test in (('git from both sides', git_test), ('names only one may win', claims_test), ('a maildir', mail_test)):
    result(name, guarded(test))
sys.exit(failed)
