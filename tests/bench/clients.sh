#!/bin/bash
# clients.sh [one|rep3] [ROUNDS] -- fsbench, everything ours (mortar-mount on mortar-brick) and everything stock in turn, default
# options, with one brick or with three replicas, all bricks of a server on an XFS file system of their own on the same disk. Prints
# a Markdown table (median, and ratio ours/stock of the same round).
. "$(dirname "${BASH_SOURCE[0]}")/../interop/lib.sh"
layout=${1:-one} rounds=${2:-3}
case $layout in
one) words=() bricks=1 size=5G ;;
rep3) words=(replica 3) bricks=3 size=12G ;;
*) echo "usage: clients.sh [one|rep3] [ROUNDS]" >&2; exit 2 ;;
esac
export SECS=${SECS:-2} TMPDIR=/var/tmp
storage ours $size && storage stock $size || exit 1
files=()
mount_stock_client() { mount_stock bench "$W/m"; }
mount_ours_client() { mkdir -p "$W/m" && "$B/mortar-mount" "$HOST:/bench" "$W/m" -o "log-file=$W/client-bench.log"; }
# round SERVER LABEL -- serves the volume, which is made the first time, and measures
round() {
        local b dirs=()
        for b in $(seq $bricks); do dirs+=("$1/b$b"); done
        start_"$1" >&2 || return 1
        [ "$r" != 1 ] || volume "$1" bench "${words[@]}" "${dirs[@]}" || return 1
        until_true 20 eval "[ \$($1 volume status bench | grep -c ' Y ') -ge $bricks ]" || return 1
        mount_"$1"_client || return 1
        "$ROOT/tests/bench/fsbench.sh" "$W/m" "$2" >>"$out"
        umount "$W/m"
        stop_"$1"
}
for r in $(seq "$rounds"); do
        out=$W/round$r.tsv
        round stock stock && round ours mortar || exit 1
        files+=("$out")
        cp "$out" "${KEEP:-/tmp}/fsbench-clients-$layout-round$r.tsv"
done
python3 "$ROOT/tests/bench/table.py" stock "${files[@]}"
