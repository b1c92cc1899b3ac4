#!/bin/bash
# bricks.sh [one|rep3] [ROUNDS] [own] -- fsbench with Debian's stock client: our server and the stock server in turn, with one brick
# or with three replicas; "own": with our client on our server, so everything ours beside everything stock. Default options, all
# bricks of a server on an XFS file system of their own on the same disk. Prints a Markdown table (median, and ratio ours/stock of
# the same round).
. "$(dirname "${BASH_SOURCE[0]}")/../interop/lib.sh"
layout=${1:-one} rounds=${2:-3} clients=${3:-stock}
case $layout in
one) words=() bricks=1 size=5G ;;
rep3) words=(replica 3) bricks=3 size=12G ;;
*) echo "usage: bricks.sh [one|rep3] [ROUNDS] [own]" >&2; exit 2 ;;
esac
export SECS=${SECS:-2} TMPDIR=/var/tmp
storage ours $size && storage stock $size || exit 1
files=()
# mount_bench SERVER
mount_bench() {
        case $1-$clients in
        ours-own) mkdir -p "$W/m" && "$B/mortar-mount" "$HOST:/bench" "$W/m" -o "log-file=$W/client-bench.log" ;;
        *) mount_stock bench "$W/m" ;;
        esac
}
# round SERVER LABEL -- serves the volume, which is made the first time, and measures
round() {
        local b dirs=()
        for b in $(seq $bricks); do dirs+=("$1/b$b"); done
        start_"$1" >&2 || return 1
        [ "$r" != 1 ] || volume "$1" bench "${words[@]}" "${dirs[@]}" || return 1
        until_true 20 eval "[ \$($1 volume status bench | grep -c ' Y ') -ge $bricks ]" || return 1
        mount_bench "$1" || return 1
        "$ROOT/tests/bench/fsbench.sh" "$W/m" "$2" >>"$out"
        umount "$W/m"
        stop_"$1"
}
for r in $(seq "$rounds"); do
        out=$W/round$r.tsv
        round stock stock && round ours mortar || exit 1
        files+=("$out")
        cp "$out" "${KEEP:-/tmp}/fsbench-$layout-$clients-round$r.tsv"
done
python3 "$ROOT/tests/bench/table.py" stock "${files[@]}"
