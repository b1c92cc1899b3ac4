#!/usr/bin/env python3
"""Power cuts under a replicated volume: what was acknowledged, and what the disks would have had.

    power_cut.py write DIR JOURNAL COUNT DEVICE…     writes and syncs records below DIR; each one that was acknowledged is a line
                                                      of JOURNAL and a mark in the log of every dm-log-writes DEVICE
    power_cut.py replay LOG TARGET MARK BOUNDARY     makes TARGET what the disk holds for certain at a flush after MARK: number
                                                      BOUNDARY (modulo those there are) before the next mark
    power_cut.py check JOURNAL MARK NEED DIR…        every record acknowledged until MARK is there in NEED of the directories

A record has a version; what was tried after MARK may be there already. The format of the log is that of Linux'
Documentation/admin-guide/device-mapper/log-writes.rst: a super block, then entries of one sector, each followed by its data. A
write that was not flushed is not in the log yet.
"""
import os, random, struct, subprocess, sys

SECTOR = 512
MAGIC = 0x6a736677736872
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8
SLOT = 4096
KINDS = ('new', 'append', 'overwrite', 'replace', 'osync')


# ---- writing -------------------------------------------------------------------------------------------------------------
def record(kind, slot, version):
    return (f'{kind} {slot} {version} '.encode() + bytes([version % 251]) * SLOT)[:SLOT]


def sync_dir(path):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(fd)
    os.close(fd)


def put(path, flags, data, offset=None, sync=True):
    fd = os.open(path, flags, 0o644)
    n = os.write(fd, data) if offset is None else os.pwrite(fd, data, offset)
    assert n == len(data), 'short write'
    if sync:
        os.fsync(fd)
    os.close(fd)


def write_one(top, kind, slot, version):
    data = record(kind, slot, version)
    if kind == 'new':
        put(f'{top}/new-{version}', os.O_WRONLY | os.O_CREAT | os.O_EXCL, data)
    elif kind == 'append':
        put(f'{top}/append', os.O_WRONLY | os.O_CREAT | os.O_APPEND, data)
    elif kind == 'overwrite':
        put(f'{top}/slots', os.O_WRONLY | os.O_CREAT, data, slot * SLOT)
    elif kind == 'osync':
        put(f'{top}/osync', os.O_WRONLY | os.O_CREAT | os.O_SYNC, data, slot * SLOT, sync=False)
    else:
        put(f'{top}/.replace-{slot}', os.O_WRONLY | os.O_CREAT | os.O_TRUNC, data)
        os.rename(f'{top}/.replace-{slot}', f'{top}/replace-{slot}')
        sync_dir(top)


def write(top, journal, count, devices):
    choose = random.Random(1)
    with open(journal, 'w') as out:
        for version in range(1, count + 1):
            kind, slot = choose.choice(KINDS), choose.randrange(4)
            write_one(top, kind, slot, version)
            out.write(f'{version} {kind} {slot}\n')
            out.flush()
            for d in devices:
                subprocess.run(['dmsetup', 'message', d, '0', 'mark', f'v{version}'], check=True)


# ---- replaying -----------------------------------------------------------------------------------------------------------
def entries(log):
    """(flags, sector on the disk, sectors, position of the data, mark) of each entry."""
    log.seek(0)
    magic, version, count, sector_size = struct.unpack('<QQQI', log.read(28))
    assert magic == MAGIC and version == 1 and sector_size == SECTOR, 'this is no log of dm-log-writes'
    at = SECTOR
    for _ in range(count):
        log.seek(at)
        head = log.read(SECTOR)
        sector, sectors, flags, length = struct.unpack('<QQQQ', head[:32])
        at += SECTOR
        yield flags, sector, sectors, at, head[32:32 + length].rstrip(b'\0').decode() if flags & MARK else None
        if not flags & DISCARD:
            at += sectors * SECTOR


def boundary_after(found, mark, boundary):
    """How many entries are on the disk for certain."""
    begin = next(i for i, e in enumerate(found) if e[4] == f'v{mark}') + 1
    end = next((i for i in range(begin, len(found)) if found[i][4]), len(found))
    choices = [begin] + [i + 1 for i in range(begin, end) if found[i][0] & (FLUSH | FUA)]
    return choices[boundary % len(choices)]


def replay(log_path, target_path, mark, boundary):
    with open(log_path, 'rb') as log, open(target_path, 'r+b') as target:
        found = list(entries(log))
        n = boundary_after(found, mark, boundary)
        zeros = bytes(1 << 20)
        for flags, sector, sectors, at, _ in found[:n]:
            target.seek(sector * SECTOR)
            if flags & DISCARD:
                for k in range(0, sectors * SECTOR, len(zeros)):
                    target.write(zeros[:min(len(zeros), sectors * SECTOR - k)])
            elif sectors:
                log.seek(at)
                target.write(log.read(sectors * SECTOR))
        target.flush()
        os.fsync(target.fileno())
        print(f'{log_path}: {n} of {len(found)} entries')


# ---- checking ------------------------------------------------------------------------------------------------------------
def versions_at(path, offset, kind):
    """The version of the whole record there; 0: there is none."""
    try:
        with open(path, 'rb') as f:
            f.seek(offset)
            data = f.read(SLOT)
    except FileNotFoundError:
        return 0
    words = data.split(b' ', 3)
    if len(words) < 4 or words[0] != kind.encode() or not words[2].isdigit():
        return 0
    version = int(words[2])
    return version if data == record(kind, int(words[1]), version) else 0


def place(kind, slot, version, appended):
    if kind == 'new':
        return f'new-{version}', 0
    if kind == 'append':
        return 'append', appended * SLOT
    if kind == 'replace':
        return f'replace-{slot}', 0
    return ('slots' if kind == 'overwrite' else 'osync'), slot * SLOT


def wanted(journal, mark):
    """What must be there: place → (kind, least version)."""
    want, appended = {}, 0
    for line in open(journal):
        version, kind, slot = line.split()
        if int(version) > mark:
            break
        want[place(kind, int(slot), int(version), appended)] = kind, int(version)
        appended += kind == 'append'
    return want


def check(journal, mark, need, tops):
    bad = 0
    want = wanted(journal, mark)
    for (name, offset), (kind, least) in want.items():
        seen = [versions_at(f'{top}/{name}', offset, kind) for top in tops]
        if sum(v >= least for v in seen) < need:
            print(f'power_cut: {name} at {offset}: version {least} was acknowledged, there are {seen}')
            bad += 1
    print(f'power_cut: {len(want)} records, {bad} lost')
    return bad == 0 and len(want) > 0


def main():
    what, *args = sys.argv[1:]
    if what == 'write':
        write(args[0], args[1], int(args[2]), args[3:])
    elif what == 'replay':
        replay(args[0], args[1], int(args[2]), int(args[3]))
    elif what == 'check':
        sys.exit(0 if check(args[0], int(args[1]), int(args[2]), args[3:]) else 1)
    else:
        sys.exit(__doc__)


main()
