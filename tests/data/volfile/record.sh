#!/bin/bash
# record.sh DIR -- records volfiles of a stock management daemon (glusterfs-server 10.3) as golden files into DIR: layouts/,
# effects/ and values.tsv. Needs root. Everything runs in a network namespace and a private mount namespace of its own, so
# neither ports nor /var/lib/glusterd of this machine are touched; only processes started here are ended.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=$(mkdir -p "$1" && cd "$1" && pwd)
data=$(mktemp -d)
ns=${PFX:-vf}r
ip netns add "$ns"
trap 'kill -9 $(ip netns pids "$ns") 2>/dev/null || :; sleep 0.2; ip netns del "$ns"; rm -rf "$data"' EXIT
ip -n "$ns" link set lo up
ip -n "$ns" addr add "${SUBNET:-10.96.7}.1/32" dev lo
mkdir -p "$data"/{lib,run/gluster,log} /var/lib/glusterd /var/log/glusterfs
cat >"$data/inside.sh" <<'INSIDE'
set -eu
data=$1 out=$2 here=$3 host=$4
mount --make-rprivate /
mount --bind "$data/lib" /var/lib/glusterd
mount --bind "$data/run" /run
mount --bind "$data/log" /var/log/glusterfs
mount -t tmpfs none /srv
for i in 1 2 3 4 5 6; do mkdir "/srv/b$i"; mount -t tmpfs none "/srv/b$i"; done  # six file systems ...
mkdir /srv/s                                                                        # ... and one shared by bricks
glusterd -N &
until gluster --mode=script pool list >/dev/null 2>&1; do kill -0 $!; sleep 0.1; done
python3 "$here/record.py" "$host" "$out"
INSIDE
ip netns exec "$ns" unshare -m bash "$data/inside.sh" "$data" "$out" "$here" "${SUBNET:-10.96.7}.1"
