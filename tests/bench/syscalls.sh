#!/bin/bash
# syscalls.sh -- system calls a brick makes for one call of a client: ours and stock side by side, counted with strace over COUNT
# calls, minus what the same connection costs without them. Prints a Markdown table; the time per call is without strace.
. "$(dirname "${BASH_SOURCE[0]}")/../interop/lib.sh"
COUNT=${COUNT:-500}
R=$B/tests/bench/rpc_calls
for tool in strace /usr/sbin/glusterd; do
        if ! command -v $tool >/dev/null; then
                skip "system calls per call: there is no $tool"
                finish
        fi
done
storage fs 5G || { fail "XFS in a loop file"; finish; }
declare -A calls times

port_stock() { stock --xml volume status "$1" | sed -n 's/.*<port>\([0-9]*\)<.*/\1/p' | head -1; }

# count SERVER PID PORT BRICK
count() {
        local server=$1 pid=$2 port=$3 brick=$4 kind
        "$R" "$HOST" "$port" "$brick" prepare $((COUNT * 2)) || return 1
        for kind in none lookup write4k readdirp100 create unlink; do
                strace -f -qq -c -o "$W/strace" -p "$pid" 2>/dev/null &
                local s=$!
                until_true 5 eval "grep -q 'TracerPid:.$s' /proc/$pid/status"
                "$R" "$HOST" "$port" "$brick" $kind "$COUNT" >"$W/out" || return 1
                kill -TERM $s
                wait $s 2>/dev/null
                calls[$server.$kind]=$(awk '$NF == "total" {print $4}' "$W/strace")
                cp "$W/strace" "${KEEP:-/tmp}/strace.$server.$kind"
        done
}

timed() {
        local server=$1 port=$2 brick=$3 kind
        for kind in lookup write4k readdirp100 create unlink; do
                times[$server.$kind]=$("$R" "$HOST" "$port" "$brick" $kind "$COUNT" | awk -F'\t' '{print $3+0}')
        done
}

start_stock && volume stock one fs/stock || exit 1
until_true 20 eval "stock volume status one | grep -q ' Y '"
port=$(port_stock one)
count stock "$(pgrep -x glusterfsd)" "$port" "$W/fs/stock" || exit 1
stock volume stop one >/dev/null && stock volume create two "$HOST:$W/fs/stock2" force >/dev/null && stock volume start two >/dev/null
until_true 20 eval "stock volume status two | grep -q ' Y '"
port=$(port_stock two)
"$R" "$HOST" "$port" "$W/fs/stock2" prepare "$COUNT" && timed stock "$port" "$W/fs/stock2"
stop_stock

start_ours && volume ours one fs/ours || exit 1
port_of() { ours -o json volume status "$1" | python3 -c 'import json,sys
def find(o):
    if isinstance(o, dict):
        if o.get("port"): print(o["port"]); sys.exit()
        for v in o.values(): find(v)
    if isinstance(o, list):
        for v in o: find(v)
find(json.load(sys.stdin))'; }
until_true 10 eval '[ -n "$(port_of one)" ]'
count ours "$(pgrep -x mortar-brick)" "$(port_of one)" "$W/fs/ours" || exit 1
ours volume stop one >/dev/null
ours volume create two "$HOST:$W/fs/ours2" force >/dev/null && ours volume start two >/dev/null
until_true 10 eval '[ -n "$(port_of two)" ]'
"$R" "$HOST" "$(port_of two)" "$W/fs/ours2" prepare "$COUNT" && timed ours "$(port_of two)" "$W/fs/ours2"
stop_ours

echo "| call | stock: system calls | mortar | ratio | stock: µs | mortar: µs |"
echo "|---|---:|---:|---:|---:|---:|"
# what a call costs here; a tenth more fails, and so does more than half of what it costs stock
declare -A COSTS=([lookup]=5.1 [create]=12.5 [write4k]=7.2 [readdirp100]=117.5 [unlink]=9.2)
for kind in lookup create write4k readdirp100 unlink; do
        python3 - "$kind" "${calls[stock.$kind]}" "${calls[stock.none]:-0}" "${calls[ours.$kind]}" "${calls[ours.none]:-0}" "$COUNT" "${times[stock.$kind]}" "${times[ours.$kind]}" "${COSTS[$kind]}" <<'P' || failures=1
import sys
k, s, s0, o, o0, n, ts, to, cost = sys.argv[1:]
s, o, cost = (int(s) - int(s0)) / int(n), (int(o) - int(o0)) / int(n), float(cost)
print(f'| {k} | {s:.1f} | {o:.1f} | {o / s:.2f} | {float(ts):.0f} | {float(to):.0f} |')
if o > cost * 1.1:
    sys.exit(print(f'not ok system calls of {k}: {o:.1f}, and {cost} were enough before') or 1)
if o > s / 2:
    sys.exit(print(f'not ok system calls of {k}: {o:.1f} are more than half of the {s:.1f} of stock') or 1)
print(f'ok system calls of {k}: {o:.1f}, stock {s:.1f}')
P
done
finish
