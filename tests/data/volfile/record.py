"""Creates volumes on the stock management daemon of this namespace and stores the volfiles it makes (see record.sh).

layouts/NAME/spec           the volume: what the generator gets
layouts/NAME/client.vol …   what the daemon made of it
effects/NAME.txt            one key set at a time: "= KEY VALUE", then per changed file "@ FILE" and the difference to
                            layouts/NAME in the form of diff -n
values.tsv                  KEY, VALUE, "ok" or the daemon's refusal
"""
import os
import subprocess
import sys

HOST, OUT = sys.argv[1:3]
HERE = os.path.dirname(os.path.abspath(__file__))
VOLS = '/var/lib/glusterd/vols'


def gluster(*args):
    p = subprocess.run(['gluster', '--mode=script', *args], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return p.returncode, p.stdout if p.returncode == 0 else p.stdout + p.stderr


def must(*args):
    code, text = gluster(*args)
    if code:
        sys.exit(f'gluster {" ".join(args)}: {text}')


def info(vol):
    with open(f'{VOLS}/{vol}/info') as f:
        return dict(line.rstrip('\n').split('=', 1) for line in f if '=' in line)


def files(vol, bricks):
    names = {'client.vol': f'{vol}.tcp-fuse.vol', 'trusted.vol': f'trusted-{vol}.tcp-fuse.vol'}
    for i, path in enumerate(bricks):
        names[f'brick-{i}.vol'] = f'{vol}.{HOST}.{path[1:].replace("/", "-")}.vol'
    found = {}
    for name, path in names.items():
        with open(f'{VOLS}/{vol}/{path}') as f:
            found[name] = f.read()
    code, text = gluster('system::', 'getspec', 'shd/' + vol)
    if code == 0 and text.strip():
        found['shd.vol'] = text[:-1] if text.endswith('\n\n') else text
    return found


def write(path, text):
    path = f'{OUT}/{path}'
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w') as f:
        f.write(text)


def spec(vol, bricks, shared):
    i = info(vol)
    kind = {'0': 'distribute', '2': 'replicate', '4': 'disperse'}[i['type']]
    lines = [f'name {vol}', f'type {kind}', f'set-size {max(1, int(i["sub_count"]))}',
             f'arbiter {i.get("arbiter_count", 0)}', f'redundancy {i["redundancy_count"]}',
                     f'volume-id {i["volume-id"]}',
             f'username {i["username"]}', f'password {i["password"]}']
    lines += [f'brick {HOST} {path} {shared}' for path in bricks]
    lines += [f'set {k} {v}' for k, v in i.items() if '.' in k]
    return '\n'.join(lines) + '\n'


KINDS = {
    'one': (['1'], []), 'dist': (['1', '2'], []), 'rep3': (['1', '2', '3'], ['replica', '3']),
    'arb': (['1', '2', '3'], ['replica', '3', 'arbiter', '1']), 'disp': (['1', '2', '3'], ['disperse', '3',
            'redundancy', '1']),
    'dr': (['1', '2', '3', '4', '5', '6'], ['replica', '3']), 'shared': (['s'], []),
}


def create(vol, kind):
    disks, words = KINDS[kind]
    bricks = [f'/srv/b{d}/{vol}' for d in disks] if kind != 'shared' else [f'/srv/s/{vol}-a', f'/srv/s/{vol}-b']
    must('volume', 'create', vol, *words, *[f'{HOST}:{b}' for b in bricks], 'force')
    return bricks


def layout(vol, kind, settings):
    bricks = create(vol, kind)
    for setting in settings:
        must('volume', 'set', vol, *setting.split('=', 1))
    write(f'layouts/{vol}/spec', spec(vol, bricks, len(bricks) if kind == 'shared' else 1))
    found = files(vol, bricks)
    for name, text in found.items():
        write(f'layouts/{vol}/{name}', text)
    return bricks, found


def diff_n(old, new):
    write('old.tmp', old)
    write('new.tmp', new)
    return subprocess.run(['diff', '-n', f'{OUT}/old.tmp', f'{OUT}/new.tmp'], capture_output=True, text=True).stdout


def candidates(row):
    key, kind, values = row[0], row[3], row[4]
    if key == 'cluster.read-subvolume':
        return ['rep3-client-1']
    if kind == 'BOOL':
        return ['on', 'off', 'True']
    if kind == 'STR' and '|' in values:
        return [values.split('|')[0], values.split('|')[-1]]
    low = values.split('.')[0]
    fixed = {'TIME': '37', 'PERCENT': '20%', 'PERCENT_OR_SIZET': '20%', 'PATH': '/srv',
            'INTERNET_ADDRESS_LIST': '10.0.0.1',
             'INT': '0700' if values.startswith('0000') else str(int(low) + 1) if low.lstrip('-').isdigit() else '7',
             'SIZET': {'0..1MB': '512KB', '1..32': '3', '4096..131072': '8192', '1024..131072': '2048',
                       '512KB..1GB': '2MB'}.get(values, '8MB')}
    return [fixed[kind]] if kind in fixed else ['on', 'off', '7', 'INFO']


def effects(vol, bricks, base, only):
    original = info(vol)
    chunks, seen = [], set()
    for row in ROWS:
        if not any(r[1] in only for r in ROWS if r[0] == row[0]) and only or row[0] in SKIP or row[0] in seen:
            continue
        seen.add(row[0])
        for value in candidates(row):
            code, _ = gluster('volume', 'set', vol, row[0], value)
            if code:
                continue
            chunk = [f'= {row[0]} {value}\n']
            for name, text in files(vol, bricks).items():
                if text != base[name]:
                    chunk += [f'@ {name}\n', diff_n(base[name], text)]
            chunks.append(''.join(chunk))
            gluster('volume', 'reset', vol, row[0], 'force')
            if row[0] in original:
                must('volume', 'set', vol, row[0], original[row[0]])
            now = files(vol, bricks)
            traces = [f'{name}:\n{diff_n(base[name], text)}' for name, text in now.items() if text != base[name]]
            if traces:
                sys.exit(f'{row[0]} {value} left traces on {vol}: {"".join(traces)}')
    write(f'effects/{vol}.txt', ''.join(chunks))


def values(vol):
    lines = []
    with open(f'{HERE}/values.in') as f:
        for line in f:
            key, _, words = line.rstrip('\n').partition('\t')
            for value in words.split('\t'):
                code, text = gluster('volume', 'set', vol, key, value)
                said = 'ok' if code == 0 else text.strip().removeprefix('volume set: failed: ')
                lines.append(f'{key}\t{value}\t{said}')
                gluster('volume', 'reset', vol, key, 'force')
    write('values.tsv', '\n'.join(lines) + '\n')


def read_rows():
    with open(f'{HERE}/volume-options.tsv') as f:
        return [line.rstrip('\n').split('\t') for line in f if not line.startswith('#')]


ROWS = read_rows()
SKIP = {'cluster.op-version', 'cluster.enable-shared-storage', 'cluster.server-quorum-ratio',
        'cluster.brick-multiplex',
        'config.transport', 'nfs.disable'}
CLIENT_ALL = ['performance.read-ahead=on', 'performance.readdir-ahead=on', 'performance.io-cache=on',
        'performance.nl-cache=on',
              'performance.client-io-threads=on', 'features.shard=on', 'features.cloudsync=on',
                      'network.compression=on',
              'features.uss=on', 'features.tag-namespaces=on', 'features.sdfs=on', 'performance.io-thread-count=8']
TUNED = ['performance.io-cache-size=64MB', 'performance.cache-size=32MB', 'performance.cache-max-file-size=1MB',
         'performance.cache-min-file-size=1KB', 'performance.cache-refresh-timeout=3',
                 'performance.cache-priority=*.html:1',
         'performance.io-cache-pass-through=on', 'performance.quick-read-cache-size=4MB',
                 'performance.qr-cache-timeout=5',
         'performance.readdir-ahead-pass-through=on', 'performance.rda-low-wmark=8KB',
                 'performance.rda-cache-limit=20MB',
         'performance.nl-cache-timeout=600', 'performance.nl-cache-positive-entry=on',
                 'performance.nl-cache-pass-through=on',
         'features.shard-block-size=4MB', 'features.shard-lru-limit=100', 'features.cloudsync-storetype=s3',
         'network.compression.mem-level=9', 'network.compression.debug=true', 'features.snapshot-directory=.old',
         'features.show-snapshot-directory=on', 'performance.enable-least-priority=off']
TLS = ['client.ssl=on', 'server.ssl=on', 'auth.ssl-allow=alice,bob', 'ssl.own-cert=/etc/a.pem',
        'ssl.private-key=/etc/a.key',
       'ssl.ca-list=/etc/a.ca', 'ssl.crl-path=/etc/crl', 'ssl.certificate-depth=2', 'ssl.cipher-list=HIGH:!SSLv2',
       'ssl.dh-param=/etc/dh.pem', 'ssl.ec-curve=prime256v1', 'network.tcp-window-size=512KB',
               'network.frame-timeout=60',
       'auth.allow=10.0.0.*,192.168.1.1', 'auth.reject=10.0.0.9', 'transport.address-family=inet6',
       'client.bind-insecure=on', 'server.allow-insecure=off', 'network.ping-timeout=7']
LOGS = [f'diagnostics.{side}-{o}' for side in ('brick', 'client') for o in (
    'log-level=DEBUG', 'sys-log-level=WARNING', 'logger=syslog', 'log-format=no-msg-id', 'log-buf-size=7',
    'log-flush-timeout=60')] + ['config.client-threads=3', 'config.brick-threads=4', 'config.global-threading=on']
SQUASH = ['server.root-squash=on', 'server.all-squash=on', 'server.anonuid=99', 'server.manage-gids=on',
          'client.send-gids=off', 'features.trash=on', 'features.trash-dir=.bin',
          'storage.build-pgfid=off', 'changelog.changelog-dir=/srv/x', 'features.read-only=on']
HEAL = ['cluster.data-self-heal=off', 'cluster.metadata-self-heal=off', 'cluster.entry-self-heal=off',
        'cluster.background-self-heal-count=4', 'cluster.self-heal-daemon=off', 'cluster.heal-timeout=300',
        'cluster.eager-lock=off', 'cluster.shd-max-threads=4', 'cluster.granular-entry-heal=off',
                'diagnostics.count-fop-hits=on',
        'diagnostics.latency-measurement=on']
PARALLEL = ['performance.readdir-ahead=on', 'performance.parallel-readdir=on', 'performance.rda-request-size=8192']

bases = {}
for name in KINDS:
    bases[name] = layout(name, name, [])
layout('rep3-all', 'rep3', CLIENT_ALL)
layout('dist-all-tuned', 'dist', CLIENT_ALL + TUNED)
layout('rep3-tls', 'rep3', TLS)
layout('one-logs', 'one', LOGS)
layout('rep3-logs', 'rep3', LOGS)
layout('arb-squash', 'arb', SQUASH)
layout('dr-heal', 'dr', HEAL)
layout('disp-heal', 'disp', ['cluster.disperse-self-heal-daemon=off', 'cluster.heal-timeout=300',
        'disperse.background-heals=4',
                             'disperse.quorum-count=2'])
layout('dr-parallel', 'dr', PARALLEL)
layout('dist-parallel', 'dist', PARALLEL[1:])
layout('dist-nufa', 'dist', ['cluster.nufa=on', 'cluster.local-volume-name=dist-nufa-client-0',
        'cluster.min-free-disk=5%'])
layout('dist-switch', 'dist', ['cluster.switch=on', 'cluster.switch-pattern=*.jpg:dist-switch-client-1'])
layout('one-bare', 'one', [f'performance.{o}=off' for o in ('write-behind', 'open-behind', 'quick-read',
        'stat-prefetch',
                                                           'client-io-threads')] + ['features.ctime=off',
                                                                   'features.acl=off'])
effects('disp', *bases['disp'], only=['cluster/disperse'])
effects('dist', *bases['dist'], only=['cluster/distribute'])
effects('rep3', *bases['rep3'], only=[])
values('rep3')
for leftover in ('old.tmp', 'new.tmp'):
    os.unlink(f'{OUT}/{leftover}')
