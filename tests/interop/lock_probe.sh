#!/bin/bash
# Lock rules, asked by direct calls: a stock brick and ours must give the same answers, except where lock-known.tsv says
# why not. Removal guard, clear-locks, lockinfo, counts, ranges and owners, mandatory locks, revocation.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# probe SERVER PROGRAM -- the transcript goes to $W/SERVER.txt
probe() {
        mkdir -p "/run/bricks/$1"
        timeout 300 python3 "$ROOT/tests/interop/lock_probe.py" "$1" "$2" "/run/bricks/$1" >"$W/$1.txt" 2>"$W/$1.err" && return
        fail "$1: the probe ends"
        tail -20 "$W/$1.err"
}

storage fs 1G || { fail "XFS in a loop file"; finish; }
mkdir /run/bricks && mount --bind "$W/fs" /run/bricks # stock shows a brick's path up to the first dot
probe stock /usr/sbin/glusterfsd &
probe ours "${MORTAR_BRICK:-$B/mortar-brick}"
wait $!
[ -z "${KEEP:-}" ] || cp "$W"/stock.* "$W"/ours.* "$KEEP/"
python3 "$ROOT/tests/interop/compare.py" "$ROOT/tests/interop/lock-known.tsv" stock "$W/stock.txt" ours "$W/ours.txt" 280 || failures=1
finish
