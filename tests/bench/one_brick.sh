#!/bin/bash
# one_brick.sh [ROUNDS] -- fsbench with Debian's stock client on one brick: our server and the stock server in turn, both bricks on
# XFS file systems of their own on the same disk. Prints a Markdown table (median, and ratio ours/stock of the same round).
. "$(dirname "${BASH_SOURCE[0]}")/../interop/lib.sh"
rounds=${1:-3}
export SECS=${SECS:-2} TMPDIR=/var/tmp
storage ours 5G && storage stock 5G || exit 1
files=()
for r in $(seq "$rounds"); do
        out=$W/round$r.tsv
        start_stock || exit 1
        [ "$r" = 1 ] && { volume stock bench stock/b || exit 1; }
        until_true 20 eval "stock volume status bench | grep -q ' Y '"
        mount_stock bench "$W/m" || exit 1
        "$ROOT/tests/bench/fsbench.sh" "$W/m" stock >>"$out"
        umount "$W/m"
        stop_stock
        start_ours >&2 || exit 1
        [ "$r" = 1 ] && { volume ours bench ours/b || exit 1; }
        mount_stock bench "$W/m" || exit 1
        "$ROOT/tests/bench/fsbench.sh" "$W/m" mortar >>"$out"
        umount "$W/m"
        stop_ours
        files+=("$out")
        cp "$out" "${KEEP:-/tmp}/fsbench-round$r.tsv"
done
python3 "$ROOT/tests/bench/table.py" stock "${files[@]}"
