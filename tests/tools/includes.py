#!/usr/bin/env python3
"""Layers include only themselves and those below (docs/architecture.md). Prints one result line per layer.

The client (volume, fuse, mount, heal, library) and the server (brick, pool, cli) stand side by side on the same ground."""
import re, sys, pathlib

GROUND = ['base', 'proto', 'rpc', 'volfile']
BELOW = {layer: GROUND[:i] for i, layer in enumerate(GROUND)}
BELOW['brick'] = GROUND
BELOW['pool'] = GROUND + ['brick']
BELOW['cli'] = GROUND + ['brick', 'pool']
BELOW['volume'] = GROUND
BELOW['fuse'] = ['base']
BELOW['mount'] = GROUND + ['volume', 'fuse']
BELOW['heal'] = GROUND + ['volume']
BELOW['library'] = GROUND + ['volume', 'mortar']  # mortar: the public header
root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else '.')
failed = False
seen = {p.name for p in (root / 'src').iterdir() if p.is_dir()}
for unknown in sorted(seen - set(BELOW)):
    print(f'not ok includes {unknown}: src/{unknown} is not in the list of layers of tests/tools/includes.py')
    failed = True
for layer, below in BELOW.items():
    bad = []
    for path in sorted((root / 'src' / layer).glob('**/*.[chS]')):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            m = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if not m:
                continue
            target = m.group(1).split('/')[0]
            if '/' not in m.group(1):
                bad.append(f'{path}:{number}: write the layer into #include "{m.group(1)}"')
            elif target != layer and target not in below:
                bad.append(f'{path}:{number}: {layer} must not include {m.group(1)}')
    for b in bad:
        print(b)
    print(f'not ok includes {layer}: {len(bad)} includes point upward' if bad else f'ok includes {layer}')
    failed |= bool(bad)
sys.exit(failed)
