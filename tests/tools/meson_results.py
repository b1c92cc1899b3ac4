#!/usr/bin/env python3
"""Runs `meson test` in a build directory and prints one result line per test: meson_results.py BUILD [meson test args…]"""
import json, pathlib, subprocess, sys

build = pathlib.Path(sys.argv[1])
log = build / 'meson-logs' / 'testlog.json'
log.unlink(missing_ok=True)
code = subprocess.call(['meson', 'test', '-C', str(build), '--no-rebuild', '--print-errorlogs', *sys.argv[2:]])
for line in log.read_text().splitlines() if log.exists() else []:
    t = json.loads(line)
    name = t['name']
    if t['result'] in ('OK', 'EXPECTEDFAIL'):
        print(f'ok {name}')
    elif t['result'] == 'SKIP':
        reason = (t.get('stdout') or t.get('stderr') or '').strip().splitlines()
        print(f"skip {name}: {reason[-1] if reason else 'no reason was printed'}")
    else:
        print(f"not ok {name}: {t['result'].lower()} after {t['duration']:.1f} s")
sys.exit(code)
