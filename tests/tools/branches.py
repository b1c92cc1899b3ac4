#!/usr/bin/env python3
"""Branch coverage out of a build with -Db_coverage=true: branches.py BUILD LEAST PREFIX…

Prints for each source file whose path begins with a prefix how many of its branches were taken, and all together; less than
LEAST per cent is a failure. MISSED=1 lists the lines with branches that were not.

Counted is every conditional branch that gcov reports for the optimised code: each side of `if`, `?:`, `&&`, `||`, loops and
`switch`, also in macros, and also those that the compiler adds (a loop's first test, copies of a function that it made
inline). Nothing is left out: C has no exceptions, so there are no branches that only an exception takes.
"""
import collections, json, os, pathlib, subprocess, sys

build, least, prefixes = pathlib.Path(sys.argv[1]), float(sys.argv[2]), tuple(sys.argv[3:])
root = pathlib.Path(__file__).resolve().parent.parent.parent
taken = collections.defaultdict(dict)
for data in sorted(build.glob('src/**/*.gcda')):
    text = subprocess.run(['gcov', '--branch-probabilities', '--json-format', '--stdout', data.resolve()],
                          cwd=build, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout
    for document in text.splitlines():
        for f in json.loads(document)['files']:
            path = os.path.relpath((build.resolve() / f['file']).resolve(), root)
            if not path.startswith(prefixes):
                continue
            for line in f['lines']:
                for k, b in enumerate(line['branches']):
                    key = (line['line_number'], line.get('function_name'), k)
                    taken[path][key] = taken[path].get(key, 0) + b['count']
total = hit = 0
for path in sorted(taken):
    some = sum(1 for n in taken[path].values() if n)
    total += len(taken[path])
    hit += some
    print(f'  {100 * some / max(len(taken[path]), 1):5.1f} %  {some:4} of {len(taken[path]):4}  {path}')
    if os.environ.get('MISSED'):
        print('          ' + ' '.join(str(n) for n in sorted({k[0] for k, n in taken[path].items() if not n})))
share = 100 * hit / max(total, 1)
ok = total > 0 and share >= least
print(f"{'ok' if ok else 'not ok'} coverage: {share:.1f} % of {total} branches" + ('' if ok else f', which is less than {least} %'))
sys.exit(0 if ok else 1)
