#!/usr/bin/env python3
"""A load that knows what it wrote.

    load.py run DIRECTORY CONTROL SEED [TRAIT]…     works in DIRECTORY until CONTROL/stop exists
    load.py verify DIRECTORY MODEL          compares DIRECTORY with what a run left behind

A run makes, changes, renames, links and removes files, directories and attributes at random and checks what it reads back
against a model in memory; some files stay open for long, some are unlinked while open. Any error or difference ends it with
exit status 1. In CONTROL (outside the volume): `ops` is the number of calls done so far, rewritten now and then; while
`pause` exists the run does nothing, and shows `paused`; at `stop` it checks everything and leaves `model`. `phase` says how the
bricks are: "normal" all up and healed, "down" one is away, "careful" anything between. The run tells the phase it acts on behind
the number in `ops`. Outside "normal" it leaves out what a stock 10.3 client and self-heal daemon cannot do without errors even on
stock bricks (tried; docs/formats/heal.md):
  - replacing a name which the stale brick has by another file: until it is healed a look-up may say ENOTCONN
  - removing two names of one file: the daemon moves the first away to the anonymous directory and leaves the second behind
  - rmdir of a directory that is not empty: 0 when the stale brick has it empty
  - going on with files opened while a brick was down when the next one goes down
  - a listing from the brick that goes or comes at that moment (ENOTCONN, EBADFD of the client's own making): asked again, once
On a distributed volume a stock client lists a linkto file as a file while the daemon has made it on the brick that the listing comes
from and has not yet given it its attribute, on stock bricks too. So, while a brick is being healed ("careful"), a name may be listed
twice if one of the bricks named in CONTROL/bricks has a linkto file of that name; never otherwise.
On a disperse volume the stock client shows a size that is up to a second old after LINK, RENAME, SETATTR and look-up, on stock
bricks too: with `fsync` every change of a size is followed by one. Stock bricks of such a volume cannot read files that are open
but have no name: `no-unlinked` closes them before. `plain`: no hard links, no renaming of directories.
"""
import errno, hashlib, json, os, random, stat, sys, time, traceback

CACHE_TIME = 2
SIZE_MAX = 200_000
NAMES_MAX = 150


class Difference(Exception):
    pass


class File:
    def __init__(self):
        self.data = bytearray()
        self.mode, self.uid, self.gid = 0o644, 0, 0
        self.xattrs = {}
        self.names = set()
        self.linked = False         # had a second name at some time
        self.removed = False        # lost a name since the last time that all bricks were equal
        self.birth = ''             # the phase it was made in, until all bricks have it


class Run:
    def __init__(self, root, seed, traits):
        self.traits = traits
        self.r = random.Random(seed)
        self.root = root
        self.files = {}      # name -> File
        self.links = {}      # name -> target
        self.dirs = {''}
        self.open = []       # (fd, File, phase it was opened in)
        self.phase = 'normal'
        self.serial = 0
        self.what = ''
        self.trace = None    # a file: what was done to names
        self.bricks = []     # this run's directory on the bricks of a distributed volume
        self.twice = 0       # listings with an unhealed linkto file

    def path(self, name):
        return os.path.join(self.root, name)

    def new_name(self):
        self.serial += 1
        d = self.r.choice(sorted(self.dirs))
        kind = self.r.choice(['name', 'näme', 'a name'])
        return os.path.join(d, f'{kind}-{self.serial}')

    def some_file(self):
        return self.r.choice(sorted(self.files)) if self.files else None

    def some_bytes(self):
        n = self.r.choice([0, 1, 100, 511, 4096, 5000, 30_000, self.r.randrange(1, 120_000)])
        return self.r.randbytes(n)

    def note(self, *words):
        if self.trace:
            self.trace.write(f'{time.strftime("%H:%M:%S", time.gmtime())} {self.what} {" | ".join(words)}\n')

    def check(self, name, got, want):
        if got != want:
            show = lambda v: f'{len(v)} bytes {hashlib.sha1(v).hexdigest()[:8]}' if isinstance(v, (bytes, bytearray)) and len(v) > 40 else repr(v)
            raise Difference(f'{self.what} {name}: {show(got)} instead of {show(want)}')

    # ---- calls --------------------------------------------------------------------------------------------------------
    def create(self):
        name, f = self.new_name(), File()
        f.birth = self.phase
        self.note(name)
        fd = os.open(self.path(name), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        self.files[name] = f
        f.names.add(name)
        self.write_to(fd, f, 0, self.some_bytes())
        if len(self.open) < 4 and self.r.random() < 0.3:
            self.open.append((fd, f, self.phase))
        else:
            os.close(fd)

    def write_to(self, fd, f, at, data):
        self.check('length written', os.pwrite(fd, data, at), len(data))
        if data and at > len(f.data):
            f.data.extend(bytes(at - len(f.data)))
        f.data[at:at + len(data)] = data
        if 'fsync' in self.traits:
            os.fsync(fd)

    def overwrite(self, append=False):
        name = self.some_file()
        if not name:
            return
        f, data = self.files[name], self.some_bytes()
        at = len(f.data) if append else self.r.randrange(len(f.data) + 1)
        data = data[:max(0, SIZE_MAX - at)]
        fd = os.open(self.path(name), os.O_WRONLY | (os.O_APPEND if append else 0))
        if append:
            self.check('length written', os.write(fd, data), len(data))
            f.data.extend(data)
        else:
            self.write_to(fd, f, at, data)
        if self.r.random() < 0.1 or 'fsync' in self.traits:
            os.fsync(fd)
        os.close(fd)

    def append(self):
        self.overwrite(append=True)

    def write_open(self):
        if not self.open:
            return
        fd, f, _ = self.r.choice(self.open)
        self.write_to(fd, f, self.r.randrange(len(f.data) + 1), self.some_bytes()[:SIZE_MAX - len(f.data)])
        self.check('of an open file', os.pread(fd, SIZE_MAX * 2, 0), bytes(f.data))

    def close(self):
        if self.open:
            fd, f, _ = self.open.pop(self.r.randrange(len(self.open)))
            self.check('of an open file', os.pread(fd, SIZE_MAX * 2, 0), bytes(f.data))
            os.close(fd)

    def truncate(self):
        name = self.some_file()
        if name:
            f = self.files[name]
            n = self.r.randrange(min(SIZE_MAX, len(f.data) * 2) + 1)
            fd = os.open(self.path(name), os.O_WRONLY)
            os.ftruncate(fd, n) if self.r.random() < 0.5 else os.truncate(self.path(name), n)
            if 'fsync' in self.traits:
                os.fsync(fd)
            os.close(fd)
            del f.data[n:]
            f.data.extend(bytes(n - len(f.data)))

    def read(self):
        name = self.some_file()
        if name:
            with open(self.path(name), 'rb') as got:
                self.check(name, got.read(), bytes(self.files[name].data))

    def last_name_goes(self, f):
        for o in [o for o in self.open if o[1] is f and len(f.names) == 1 and 'no-unlinked' in self.traits]:
            os.close(o[0])
            self.open.remove(o)

    def may_lose_name(self, f):
        return self.phase == 'normal' or not (f.linked and f.removed)

    def may_replace(self, f):
        return self.phase == 'normal' or (self.phase == 'down' and f.birth == 'down' and not f.linked)

    def rename(self):
        name = self.some_file()
        if not name or not self.may_lose_name(self.files[name]):
            return
        f = self.files[name]
        to = self.some_file() if self.r.random() < 0.3 else self.new_name()
        if to in self.files and not self.may_replace(self.files[to]):
            return
        if to in self.files and self.files[to] is not f:
            self.last_name_goes(self.files[to])
        self.note(name, to)
        os.rename(self.path(name), self.path(to))
        old = self.files.get(to)
        if old is f:
            return      # two names of one file, or the same name: nothing happens
        if old:
            old.names.discard(to)
        del self.files[name]
        f.names.discard(name)
        f.names.add(to)
        f.removed = True
        self.files[to] = f

    def link(self):
        name = self.some_file()
        if name and len(self.files[name].names) < 5:
            to = self.new_name()
            self.note(name, to)
            os.link(self.path(name), self.path(to))
            self.files[to] = self.files[name]
            self.files[name].names.add(to)
            self.files[name].linked = True

    def unlink(self):
        name = self.some_file()
        if name and self.may_lose_name(self.files[name]):
            self.note(name)
            self.last_name_goes(self.files[name])
            os.unlink(self.path(name))
            f = self.files.pop(name)
            f.names.discard(name)
            f.removed = True

    def symlink(self):
        name = self.new_name()
        target = self.some_file() or 'nothing'
        os.symlink(target, self.path(name))
        self.links[name] = target

    def unlink_symlink(self):
        if self.links:
            name = self.r.choice(sorted(self.links))
            self.check(name, os.readlink(self.path(name)), self.links[name])
            os.unlink(self.path(name))
            del self.links[name]

    def mkdir(self):
        name = self.new_name()
        if len(self.dirs) < 12 and name.count('/') < 3:
            os.mkdir(self.path(name), 0o755)
            self.dirs.add(name)

    def below(self, d):
        return [n for n in [*self.files, *self.links, *self.dirs] if n.startswith(d + '/')]

    def rmdir(self):
        d = self.r.choice(sorted(self.dirs))
        if not d:
            return
        if self.below(d):
            return
        self.note(d)
        os.rmdir(self.path(d))
        self.dirs.discard(d)

    def rename_dir(self):
        d = self.r.choice(sorted(self.dirs))
        to = self.new_name()
        if not d or to.startswith(d + '/') or to.count('/') > 2:
            return
        self.note(d, to)
        os.rename(self.path(d), self.path(to))
        moved = lambda n: to + n[len(d):] if n == d or n.startswith(d + '/') else n
        self.dirs = {moved(n) for n in self.dirs}
        self.links = {moved(n): t for n, t in self.links.items()}
        self.files = {moved(n): f for n, f in self.files.items()}
        for f in self.files.values():
            f.names = {moved(n) for n in f.names}

    def attributes(self):
        name = self.some_file()
        if not name:
            return
        f, p = self.files[name], self.path(name)
        choice = self.r.randrange(5)
        if choice == 0:
            f.mode = self.r.choice([0o600, 0o640, 0o644, 0o755])
            os.chmod(p, f.mode)
        elif choice == 1:
            f.uid, f.gid = self.r.randrange(1000, 1003), self.r.randrange(1000, 1003)
            os.chown(p, f.uid, f.gid)
        elif choice == 2 and f.xattrs:
            key = self.r.choice(sorted(f.xattrs))
            os.removexattr(p, key)
            del f.xattrs[key]
        else:
            key, value = f'user.key{self.r.randrange(4)}', self.r.randbytes(self.r.randrange(1, 200))
            os.setxattr(p, key, value)
            f.xattrs[key] = value
        self.check_attributes(name)

    def check_attributes(self, name):
        f, p = self.files[name], self.path(name)
        st = os.lstat(p)
        self.check(name, (stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid, st.st_size), (f.mode, f.uid, f.gid, len(f.data)))
        for key, value in f.xattrs.items():
            self.check(f'{name} {key}', os.getxattr(p, key), value)

    def list(self):
        d = self.r.choice(sorted(self.dirs))
        parent = lambda n: os.path.dirname(n)
        want = {os.path.basename(n) for n in [*self.files, *self.links, *self.dirs] if n and parent(n) == d}
        got = self.listing(d)
        if self.phase == 'careful':
            got = self.without_linktos(d, got)
        self.check(f'list of "{d}"', sorted(got), sorted(want))

    def listing(self, d):
        try:
            return os.listdir(self.path(d))
        except OSError as e:
            if self.phase != 'careful' or e.errno not in (errno.ENOTCONN, errno.EBADFD):
                raise
            return os.listdir(self.path(d))

    def without_linktos(self, d, names):
        twice = {n for n in names if names.count(n) == 2 and any(is_linkto(os.path.join(b, d, n)) for b in self.bricks)}
        self.twice += bool(twice)
        return [*twice, *(n for n in names if n not in twice)]

    # ---- the loop -----------------------------------------------------------------------------------------------------
    CALLS = dict(create=10, overwrite=8, append=8, write_open=6, close=1, truncate=3, read=10, rename=6, link=4, unlink=6, symlink=2,
                 unlink_symlink=2, mkdir=3, rmdir=2, rename_dir=1, attributes=8, list=3)

    def one(self):
        names, weights = zip(*[c for c in self.CALLS.items() if not ('plain' in self.traits and c[0] in ('link', 'rename_dir'))])
        self.what = self.r.choices(names, weights)[0]
        if len(self.files) > NAMES_MAX:
            self.what = 'unlink'
        getattr(self, self.what)()

    def settle(self):
        """All bricks will be equal when this run goes on: lets go of what was special."""
        for o in [o for o in self.open if not o[1].names or o[2] != 'normal']:
            self.check('of an open file', os.pread(o[0], SIZE_MAX * 2, 0), bytes(o[1].data))
            os.close(o[0])
            self.open.remove(o)
        for f in self.files.values():
            f.removed = False
            f.birth = ''

    def model(self):
        out = {}
        for n, f in self.files.items():
            out[n] = ['file', f.mode, f.uid, f.gid, len(f.data), hashlib.sha1(f.data).hexdigest(), len(f.names),
                      {k: v.hex() for k, v in f.xattrs.items()}]
        out.update({n: ['link', t] for n, t in self.links.items()})
        out.update({n: ['dir'] for n in self.dirs if n})
        return out


def is_linkto(path):
    """On a brick. It may be going at this moment, but only while this process does something to its name."""
    try:
        return stat.S_IMODE(os.lstat(path).st_mode) == 0o1000 and bool(os.getxattr(path, 'trusted.glusterfs.dht.linkto'))
    except OSError:
        return False


def seen(root):
    out = {}
    for d, dirs, files in os.walk(root, onerror=lambda e: print('load:', e)):
        for n in {n for n in dirs + files if (dirs + files).count(n) > 1}:
            out[os.path.join(os.path.relpath(d, root), n) + ' again'] = ['listed twice']
        for n in dirs + files:
            p = os.path.join(d, n)
            st, rel = os.lstat(p), os.path.relpath(p, root)
            if stat.S_ISLNK(st.st_mode):
                out[rel] = ['link', os.readlink(p)]
            elif stat.S_ISDIR(st.st_mode):
                out[rel] = ['dir']
            else:
                with open(p, 'rb') as f:
                    digest = hashlib.sha1(f.read()).hexdigest()
                out[rel] = ['file', stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid, st.st_size, digest, st.st_nlink,
                            {k: os.getxattr(p, k).hex() for k in os.listxattr(p) if k.startswith('user.')}]
    return out


def differences(root, model):
    got = seen(root)
    return [f'{n}: {got.get(n, "absent")} instead of {model.get(n, "absent")}' for n in sorted({*got, *model})
            if got.get(n) != model.get(n)]


def compare(root, model):
    """Stock's client shows attributes for the second that it caches them, a link count from the middle of a heal among them."""
    end = time.monotonic() + CACHE_TIME
    while (bad := differences(root, model)) and time.monotonic() < end:
        time.sleep(0.1)
    for line in bad[:10]:
        print('load:', line)
    return bad


def put(path, text):
    with open(path + '.new', 'w') as f:
        f.write(text)
    os.rename(path + '.new', path)


def run(root, control, seed, *traits):
    load, ops, worst = Run(root, seed, traits), 0, 0.0
    load.trace = open(os.path.join(control, 'trace'), 'w', buffering=1)
    has = lambda n: os.path.exists(os.path.join(control, n))
    if has('bricks'):
        with open(os.path.join(control, 'bricks')) as f:
            load.bricks = [os.path.join(b, os.path.basename(root)) for b in f.read().splitlines()]
    while not has('stop'):
        if has('pause'):
            load.settle()
            put(os.path.join(control, 'paused'), '')
            while has('pause') and not has('stop'):
                time.sleep(0.02)
            os.unlink(os.path.join(control, 'paused'))
            continue
        begin = time.monotonic()
        load.one()
        worst = max(worst, time.monotonic() - begin)
        ops += 1
        if ops % 10 == 0:
            with open(os.path.join(control, 'phase')) as f:
                load.phase = f.read().strip()
            put(os.path.join(control, 'ops'), f'{ops} {load.phase}\n')
    while load.open:
        load.close()
    put(os.path.join(control, 'model'), json.dumps(load.model()))
    twice = f', {load.twice} listings with a linkto file that was not healed yet' if load.twice else ''
    print(f'# load {seed}: {ops} calls, {len(load.files)} names, slowest call {worst:.1f} s{twice}')
    return compare(root, load.model())


def main():
    if sys.argv[1] == 'verify':
        sys.exit(bool(compare(sys.argv[2], json.load(open(sys.argv[3])))))
    load_args = sys.argv[2], sys.argv[3], int(sys.argv[4]), *sys.argv[5:]
    try:
        bad = run(*load_args)
    except Exception:
        print(f'load {load_args[2]}: {time.strftime("%H:%M:%S", time.gmtime())} {traceback.format_exc(limit=-3)}')
        sys.exit(1)
    sys.exit(bool(bad))


main()
