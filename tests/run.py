#!/usr/bin/env python3
"""Runs the suites of a tier: tests/run.py quick|check|full [SUITE…]

tests/budget.tsv lists the suites: name, tiers, seconds allowed, command. A suite prints one line per test,
    ok NAME            not ok NAME: why            skip NAME: reason
and exits non-zero when something failed. Past its budget it is stopped and counts as failed; a suite without a single
result line counts as failed too. Logs: build/check/SUITE.log. The last line counts everything.
"""
import os, pathlib, re, signal, subprocess, sys, time

ROOT = pathlib.Path(__file__).resolve().parent.parent
LOGS = ROOT / 'build' / 'check'
LINE = re.compile(r'^(ok|not ok|skip) (.*)$')


def read_budget():
    for line in (ROOT / 'tests' / 'budget.tsv').read_text().splitlines():
        if line and not line.startswith('#'):
            name, tiers, seconds, command = line.split('\t')
            yield name, tiers.split(','), int(seconds), command


def run_suite(name, seconds, command, tier):
    log = LOGS / f'{name}.log'
    start = time.monotonic()
    env = dict(os.environ, TIER=tier, BUDGET=str(seconds), LC_ALL='C.UTF-8')
    with open(log, 'wb') as out:
        p = subprocess.Popen(['bash', '-c', command], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out,
                             stderr=subprocess.STDOUT, start_new_session=True, env=env)
        try:
            code = p.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            code = None
            os.killpg(p.pid, signal.SIGTERM)
            try:
                p.wait(timeout=10)
            except subprocess.TimeoutExpired:
                pass
        try:
            os.killpg(p.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    took = time.monotonic() - start
    results = {'ok': [], 'not ok': [], 'skip': []}
    for line in log.read_text(errors='replace').splitlines():
        if m := LINE.match(line):
            results[m.group(1)].append(m.group(2))
    if code is None:
        results['not ok'].append(f'{name}: stopped after its budget of {seconds} s')
    elif code != 0 and not results['not ok']:
        results['not ok'].append(f'{name}: exited {code}')
    elif not any(results.values()):
        results['not ok'].append(f'{name}: printed no result')
    return results, took, log


def main():
    tier = sys.argv[1] if len(sys.argv) > 1 else 'check'
    only = sys.argv[2:]
    if tier not in ('quick', 'check', 'full'):
        sys.exit('usage: tests/run.py quick|check|full [SUITE...]')
    LOGS.mkdir(parents=True, exist_ok=True)
    total = {'ok': 0, 'not ok': 0, 'skip': 0}
    skips = []
    for name, tiers, seconds, command in read_budget():
        if (only and name not in only) or (not only and tier not in tiers):
            continue
        print(f'{name:<14} ', end='', flush=True)
        results, took, log = run_suite(name, seconds, command, tier)
        for kind in total:
            total[kind] += len(results[kind])
        skips += results['skip']
        print(f"{len(results['ok']):>4} passed {len(results['not ok']):>3} failed {len(results['skip']):>3} skipped"
              f"  {took:6.1f} s of {seconds}", flush=True)
        for line in results['not ok']:
            print(f'    failed: {line}')
        if results['not ok']:
            print(f'    log: {log.relative_to(ROOT)}')
            print(''.join('    | ' + l + '\n' for l in log.read_text(errors='replace').splitlines()[-40:]), end='')
            if name == 'build':
                print('nothing else can be tested before it builds')
                break
    for s in skips:
        print(f'skipped: {s}')
    print(f"{total['ok']} passed, {total['not ok']} failed, {total['skip']} skipped")
    sys.exit(1 if total['not ok'] or not total['ok'] else 0)


main()
