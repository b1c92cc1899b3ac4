#!/usr/bin/env python3
"""Layers include only themselves and those below (docs/architecture.md). Prints one result line per layer."""
import re, sys, pathlib

LAYERS = ['base', 'proto', 'rpc', 'volfile', 'brick', 'pool', 'cli']
root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else '.')
failed = False
seen = {p.name for p in (root / 'src').iterdir() if p.is_dir()}
for unknown in sorted(seen - set(LAYERS)):
    print(f'not ok includes {unknown}: src/{unknown} is not in the list of layers of tests/tools/includes.py')
    failed = True
for level, layer in enumerate(LAYERS):
    bad = []
    for path in sorted((root / 'src' / layer).glob('**/*.[chS]')):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            m = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if not m:
                continue
            target = m.group(1).split('/')[0]
            if '/' not in m.group(1):
                bad.append(f'{path}:{number}: write the layer into #include "{m.group(1)}"')
            elif target not in LAYERS or LAYERS.index(target) > level:
                bad.append(f'{path}:{number}: {layer} must not include {m.group(1)}')
    for b in bad:
        print(b)
    print(f'not ok includes {layer}: {len(bad)} includes point upward' if bad else f'ok includes {layer}')
    failed |= bool(bad)
sys.exit(failed)
