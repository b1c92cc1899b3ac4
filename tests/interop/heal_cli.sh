#!/bin/bash
# Healing as an operator meets it, on one node: the heal daemon that mortard keeps, `mortar volume heal`, split-brain.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
M=$W/mnt
V=v
mkdir "$M"
brick() { echo "$W/fs/b$1"; }
ports() { ours -o json volume status $V | python3 -c 'import json, sys; d = json.load(sys.stdin)["volumes"][0]; print(*[b["pid"] for b in d["bricks"]])'; }
brick_pid() { ports | cut -d' ' -f "$1"; }
bricks_up() { [ "$(ports | tr ' ' '\n' | grep -cv '^0$')" = "$1" ]; }
healer_pid() { ours -o json volume status $V | python3 -c 'import json, sys; print(json.load(sys.stdin)["volumes"][0].get("self_heal", {}).get("pid", 0))'; }
healer_up() { [ "$(healer_pid)" -gt 0 ]; }
# Bricks that clients of one set see: mortard must not bring a killed one back before the test says so.
brick_down() { mv "$(brick "$1")" "$W/fs/away$1"; kill -9 "$(brick_pid "$1")"; until_true 10 bricks_up 2; }
brick_up() { mv "$W/fs/away$1" "$(brick "$1")" && ours volume start $V force >/dev/null && until_true 20 bricks_up 3; }
info() { ours volume heal $V info "$@"; }
nothing_left() { [ "$(info | grep -c '^Number of entries: 0$')" = 3 ]; }
counts() { info summary | awk -F': ' '/Total/ {printf "%s ", $2}'; }
sums() { for n in 1 2 3; do sha256sum <"$(brick $n)/$1"; done | sort -u | wc -l; }
same() { [ "$(sums "$1")" = 1 ]; }
see() { [ "$(cd "$(brick 1)" && find . -name .glusterfs -prune -o -type f -exec sha256sum {} + | sort)" = "$(cd "$(brick "$1")" && find . -name .glusterfs -prune -o -type f -exec sha256sum {} + | sort)" ]; }
mount_it() { "$B/mortar-mount" "$HOST:/$V" "$M" -o "log-file=$W/mount.log" >"$W/out" 2>&1; }
sees() { [ "$(getfattr -n trusted.glusterfs.list-node-uuids --only-values "$M" 2>/dev/null | tr ' ' '\n' | grep -vc '^00000000')" = "$1" ]; }

storage fs 1G || { fail "XFS in a loop file"; finish; }
MORTARD_ARGS="--bricks-per-process 1" MORTAR_KEEPS_HEALER=$B/mortar-heal start_ours || { fail "mortard starts"; finish; }
volume ours $V replica 3 fs/b1 fs/b2 fs/b3 || { fail "volume"; finish; }

# ---- supervision -----------------------------------------------------------------------------------------------------------
check "a heal daemon is started with the volume" until_true 15 healer_up
ours volume status $V | grep -qE '^Self-heal Daemon on localhost               N/A       N/A        Y       [0-9]+ *$' && pass "status shows it as stock does" || fail "status: $(ours volume status $V)"
H=$(healer_pid)
kill -9 "$H"
other_healer() { healer_up && [ "$(healer_pid)" != "$H" ]; }
check "killed, it is started again" until_true 20 other_healer
H=$(healer_pid)
kill -9 "$MORTARD" && wait "$MORTARD" 2>/dev/null
MORTARD_ARGS="--bricks-per-process 1" MORTAR_KEEPS_HEALER=$B/mortar-heal start_ours || fail "mortard starts again"
check "it survives mortard and is found again" until_true 15 healer_up
[ "$(healer_pid)" = "$H" ] && pass "it is the same one" || fail "another one: $(healer_pid), was $H"
ours volume heal $V disable >"$W/out" && [ "$(cat "$W/out")" = "Disable heal on volume v has been successful " ] && pass "disable says what stock says" || fail "disable: $(cat "$W/out")"
gone() { ! kill -0 "$H" 2>/dev/null; }
check "disabled, it ends" until_true 15 gone
ours volume status $V | grep -q Self-heal && fail "status shows it though it is disabled" || pass "status does not show it"
ours volume heal $V 2>"$W/out"; [ $? = 1 ] && grep -q "^Self-heal-daemon is disabled. Heal will not be triggered on volume v$" "$W/out" && pass "heal is refused as stock does" || fail "heal, disabled: $(cat "$W/out")"
ours volume heal $V enable >/dev/null
check "enabled, it is back" until_true 15 healer_up

# ---- a brick away ------------------------------------------------------------------------------------------------------------
mount_it || { fail "mount: $(cat "$W/out")"; finish; }
until_true 10 sees 3
mkdir "$M/d" && echo old >"$M/d/f" && nothing_left && pass "nothing to heal at first" || fail "at first: $(info)"
brick_down 2 && until_true 10 sees 2 || fail "brick 2 down"
echo new >"$M/d/f" && dd if=/dev/urandom of="$M/big" bs=1M count=40 status=none && mkdir "$M/e"
for n in $(seq 50); do echo "$n" >"$M/e/f$n"; done
sync -f "$M/big"
seen() { info | grep -qx '/big ' && info | grep -qx '/d/f '; }
check "info names what the brick missed" until_true 10 seen
info | awk '/b2$/ {getline; print}' | grep -qx 'Status: Transport endpoint is not connected' && pass "info: the missing brick is not connected" || fail "info: $(info)"
info --xml | python3 -c 'import sys, xml.etree.ElementTree as E; d = E.fromstring(sys.stdin.buffer.read()); b = d.findall("healInfo/bricks/brick"); sys.exit(not (len(b) == 3 and b[1].get("hostUuid") == "-" and b[1].findtext("numberOfEntries") == "-" and len(b[0].findall("file")) == int(b[0].findtext("numberOfEntries"))))' && pass "info --xml" || fail "info --xml: $(info --xml | head -30)"
ours volume heal $V 2>"$W/out"; [ $? = 1 ] && grep -q "Brick $HOST:$W/fs/b2 is not connected" "$W/out" && pass "heal says which brick it needs" || fail "heal without a brick: $(cat "$W/out")"
ours volume heal $V statistics heal-count | grep -qx 'Status: Brick is not connected' && pass "heal-count" || fail "heal-count: $(ours volume heal $V statistics heal-count)"
"$B/mortar" volume heal $V info --watch >"$W/watch" 2>&1 &
WATCH=$!
until_true 10 grep -q "waits for brick $HOST:$W/fs/b2" "$W/watch" && pass "--watch says what is waited for" || fail "--watch: $(cat "$W/watch")"
brick_up 2 || fail "brick 2 back"
check "the daemon heals it" until_true 40 nothing_left
until_true 20 eval "! kill -0 $WATCH 2>/dev/null"; wait $WATCH
[ $? = 0 ] && tail -1 "$W/watch" | grep -q "nothing is pending" && pass "--watch ends when nothing is pending" || fail "--watch at the end: $(tail -3 "$W/watch")"
check "the bricks agree" until_true 5 see 2
ours volume heal $V statistics | grep -q "^No. of entries healed: [1-9]" && pass "statistics know of it" || fail "statistics: $(ours volume heal $V statistics)"
"$B/mortar" metrics | grep -qE '^mortar_heal_healed_objects_total\{volume="v"\} [1-9]' && pass "metrics count it" || fail "metrics: $("$B/mortar" metrics | grep heal)"
ours volume heal $V full | grep -q "^Launching heal operation to perform full self heal on volume v has been successful $" && pass "full" || fail "full"

# ---- split-brain ----------------------------------------------------------------------------------------------------------
ours volume heal $V disable >/dev/null && ours volume set $V cluster.quorum-type none >/dev/null && until_true 10 sees 3
for f in bigger mtime source finalize all1 all2; do echo "common" >"$M/$f"; done
sync -f "$M/bigger"
split() { # WRITER LINES -- with only this brick up
        local n f
        for n in 1 2 3; do [ $n = "$1" ] || kill -9 "$(brick_pid $n)" ; [ $n = "$1" ] || mv "$(brick $n)" "$W/fs/away$n"; done
        until_true 10 bricks_up 1 && until_true 10 sees 1 || fail "only brick $1 up"
        for f in bigger mtime source finalize all1 all2; do seq "$2" >"$M/$f"; done
        sync -f "$M/bigger"
        for n in 1 2 3; do [ $n = "$1" ] || mv "$W/fs/away$n" "$(brick $n)"; done
        ours volume start $V force >/dev/null && until_true 20 bricks_up 3 && until_true 20 sees 3 || fail "all bricks up"
}
split 1 1000
split 2 5000
in_split() { [ "$(info split-brain | awk -F': ' '/split-brain:/ {printf "%s ", $2}')" = "$1" ]; }
check "files are in split-brain" until_true 10 in_split "6 6 0 "
info | grep -qx '/bigger - Is in split-brain' && pass "info says so" || fail "info: $(info)"
until_true 5 eval '! cat "$M/bigger" >/dev/null 2>&1' && pass "nobody reads them" || fail "a file in split-brain is read"
getfattr -n replica.split-brain-status --only-values "$M/bigger" 2>/dev/null | grep -q '^data-split-brain:yes    metadata-split-brain:no    Choices:v-client-0,v-client-1,v-client-2' &&
        pass "the mount says so" || fail "status: $(getfattr -n replica.split-brain-status --only-values "$M/bigger" 2>&1)"
setfattr -n replica.split-brain-choice -v v-client-0 "$M/bigger" && seq 1000 | cmp -s - "$M/bigger" && setfattr -n replica.split-brain-choice -v none "$M/bigger" &&
        pass "a copy is chosen for reading" || fail "choice"
says() { # NAME STATUS TEXT WORD…
        local name=$1 want=$2 text=$3
        shift 3
        ours volume heal $V split-brain "$@" >"$W/out" 2>&1
        status=$?
        [ $status = "$want" ] && [ "$(cat "$W/out")" = "$text" ] && pass "$name" || fail "$name: status $status: $(cat "$W/out")"
}
says "no such file" 22 "Lookup failed on /nosuch:No such file or directory.
Volume heal failed." bigger-file /nosuch
says "not in split-brain" 1 "Healing /d/f failed: File not in split-brain.
Volume heal failed." bigger-file /d/f
says "no such brick" 1 "\"$HOST:$W/fs/b9\"- No such brick available in the volume.
Volume heal failed." source-brick "$HOST:$W/fs/b9" /source
holds() { same "$1" && seq "$2" | cmp -s - "$(brick 3)/$1" && seq "$2" | cmp -s - "$M/$1"; }
says "bigger-file" 0 "Healed /bigger." bigger-file /bigger
check "bigger-file: the bigger one is everywhere" holds bigger 5000
says "latest-mtime" 0 "Healed /mtime." latest-mtime /mtime
check "latest-mtime: the newer one is everywhere" holds mtime 5000
says "source-brick" 0 "Healed /source." source-brick "$HOST:$W/fs/b1" /source
check "source-brick: its copy is everywhere" holds source 1000
setfattr -n replica.split-brain-heal-finalize -v v-client-0 "$M/finalize" || fail "heal-finalize"
check "heal-finalize on the mount: the copy is everywhere" holds finalize 1000
says "source-brick for all" 0 "Status: Connected
Number of healed entries: 2" source-brick "$HOST:$W/fs/b2"
check "source-brick for all: its copies are everywhere" holds all1 5000
check "of every file" holds all2 5000
check "nothing is left" until_true 20 nothing_left

# ---- a policy decides ------------------------------------------------------------------------------------------------------------
split 1 9000; split 2 20
ours volume set $V cluster.favorite-child-policy size >/dev/null && ours volume heal $V enable >/dev/null
check "with favorite-child-policy the daemon decides" until_true 40 nothing_left
check "by size" holds all1 9000
umount "$M"
ours volume stop $V >/dev/null && ! pgrep -x mortar-heal >/dev/null && pass "stopping the volume ends its healing" || { until_true 10 eval '! pgrep -x mortar-heal' && pass "stopping the volume ends its healing" || fail "a heal daemon is left"; }
finish
