#!/usr/bin/env python3
"""Size report: lines per function, lines per file, nesting, banned calls. Prints result lines and the figures."""
import re, statistics, subprocess, sys, pathlib

ROOT = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else '.')
FUNCTION_CEILING, FILE_CEILING, MEDIAN, P95, NESTING = 100, 1000, 15, 60, 4
BANNED = re.compile(r'(?<![\w.>])(system|popen|strcpy|strcat|sprintf|vsprintf|gets|alloca|atoi|atol|strtok|gmtime|localtime|asctime|ctime)\s*\(')
UNFINISHED = re.compile(r'TODO|FIXME|XXX|not implemented|[^_]stub[^_]')


def functions(text):
    """(name, first line, lines, deepest nesting) of every function whose body starts in column one."""
    start = name = None
    depth = deepest = 0
    in_comment = False
    for n, line in enumerate(text.splitlines(), 1):
        code = re.sub(r'"(\\.|[^"\\])*"|\'(\\.|[^\'\\])*\'|//.*', '""', line)
        code = re.sub(r'/\*.*?\*/', '', code)
        if in_comment:
            if '*/' not in code:
                continue
            code, in_comment = code.split('*/', 1)[1], False
        if '/*' in code:
            code, in_comment = code.split('/*', 1)[0], True
        if start is None:
            m = re.match(r'^[A-Za-z_].*?\b(\w+)\(', code)
            if m and not code.rstrip().endswith(';') and not code.startswith(('#', 'typedef', 'struct', 'enum')) or (m and re.match(r'^(static )?(inline )?(const )?struct \w+ \**\w+\(', code) and not code.rstrip().endswith(';')):
                name = m.group(1)
            if code.startswith('{') and name:
                start, depth, deepest = n, 0, 0
        if start is not None:
            depth += code.count('{') - code.count('}')
            deepest = max(deepest, depth)
            if code.startswith('}'):
                yield name, start, n - start + 1, deepest - 1
                start = name = None


failed = False
def result(ok, what, why=''):
    global failed
    print(('ok ' if ok else 'not ok ') + what + ('' if ok else ': ' + why))
    failed |= not ok

lengths, offenders, deep, long_files, banned, unfinished = [], [], [], [], [], []
for path in sorted((ROOT / 'src').glob('**/*.[ch]')):
    text = path.read_text()
    lines = text.count('\n')
    if lines > FILE_CEILING:
        long_files.append(f'{path} ({lines} lines)')
    for number, line in enumerate(text.splitlines(), 1):
        if BANNED.search(line):
            banned.append(f'{path}:{number}')
        if UNFINISHED.search(re.sub(r'bit-?rot[-.]stub', '', line)):
            unfinished.append(f'{path}:{number}')
    if path.suffix == '.c':
        for name, at, length, nesting in functions(text):
            lengths.append(length)
            if length > FUNCTION_CEILING:
                offenders.append(f'{path}:{at} {name} ({length} lines)')
            if nesting > NESTING:
                deep.append(f'{path}:{at} {name} (nesting {nesting})')

median = statistics.median(lengths)
p95 = sorted(lengths)[int(len(lengths) * 0.95)]
print(f'# {len(lengths)} functions: median {median:g} lines, 95th percentile {p95}, longest {max(lengths)}')
result(median <= MEDIAN, 'median function length', f'{median:g} > {MEDIAN}')
result(p95 <= P95, '95th percentile of function length', f'{p95} > {P95}')
result(not offenders, 'function ceiling', ', '.join(offenders))
result(not deep, 'nesting', ', '.join(deep))
result(not long_files, 'file ceiling', ', '.join(long_files))
result(not banned, 'banned calls', ', '.join(banned))
result(not unfinished, 'unfinished marks', ', '.join(unfinished))
sys.exit(failed)
