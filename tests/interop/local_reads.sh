#!/bin/bash
# Reads past a brick on the same machine (docs/decisions/006): that they happen, that they stop where they must, and that no reader
# sees anything older than a READ would have shown: while another mount changes the file, and while bricks are killed, stopped and behind.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
PROBE="timeout 200 python3 $ROOT/tests/interop/local_reads.py"
export TMPDIR=/var/tmp
MORTARD_ARGS="--bricks-per-process 1"

storage fs 2G || { fail "XFS in a loop file"; finish; }
start_ours || { fail "mortard starts"; finish; }

# reads_of BRICK… -- READs that these bricks have served; one that is away has none
reads_of() {
        local b
        ours metrics | { for b in "$@"; do echo "$b"; done | sed "s|.*|brick=\"$W/fs/&\",fop=\"READ\"|" >"$W/keys"
                grep mortar_brick_operations_total | grep -F -f "$W/keys" | awk '{n += $2} END {print n + 0}'; }
}
mount_ours() { # VOLUME NAME [OPTIONS]
        mkdir -p "$W/$2" && timeout 60 "$B/mortar-mount" "$HOST:/$1" "$W/$2" -o "log-file=$W/$2.log${3:+,$3}"
}
# brick_pid BRICK -- the process that has its directory open
brick_pid() {
        local p
        for p in $(pgrep -x mortar-brick); do
                ls -l "/proc/$p/fd" | grep -q " $W/fs/$1\$" && echo "$p"
        done
}
# brick_kill BRICK -- it stays away until brick_back, since mortard is away, too
brick_kill() {
        local pid
        pid=$(brick_pid "$1")
        kill "$MORTARD" && wait "$MORTARD" 2>/dev/null
        kill -9 "$pid"
        until_true 10 eval "! brick_pid $1 | grep -q ."
}
# brick_back BRICK -- and the mount `near` is connected to it again
brick_back() {
        local sees
        sees=$(grep -c "connected to brick .*/fs/$1\$" "$W/near.log")
        start_ours 5<&- && until_true 20 connected near "$1" $((sees + 1))
}
lends() { [ "$(grep -c 'lends its files' "$W/$1.log")" -ge "$2" ]; }
connected() { [ "$(grep -c "connected to brick .*/fs/$2\$" "$W/$1.log")" -ge "$3" ]; }
# mounts_read NAME COUNT -- the READs that the bricks of v serve while COUNT blocks are read through mount NAME
mounts_read() {
        local before after
        before=$(reads_of b0 b1 b2)
        $PROBE reads "$W/$1" file "$2" || return 1
        after=$(reads_of b0 b1 b2)
        echo $((after - before))
}
few() { [ -n "$1" ] && [ "$1" -lt $((COUNT / 4)) ] || { echo "$1 READs for $COUNT"; return 1; }; }
many() { [ -n "$1" ] && [ "$1" -ge $COUNT ] || { echo "$1 READs for $COUNT"; return 1; }; }
COUNT=4000

# ---- they happen, and can be turned off ------------------------------------------------------------------------------
volume ours v replica 3 fs/b0 fs/b1 fs/b2 && ours volume set v network.ping-timeout 3 >/dev/null || { fail "a volume"; finish; }
mount_ours v near direct-io-mode=on,attribute-timeout=0 && mount_ours v far direct-io-mode=on,local-reads=no &&
        mount_ours v plain || { fail "mounts"; cat "$W"/*.log; finish; }
dd if=/dev/urandom of="$W/far/file" bs=64k count=16 status=none
check "the mount is let in at all bricks" until_true 10 lends near 3
check "reads go past the bricks" few "$(mounts_read near $COUNT)"
check "none with local-reads=no" many "$(mounts_read far $COUNT)"
check "no descriptor of a brick in that mount" eval "! ls -l /proc/\$(pgrep -f 'mortar-mount.* $W/far ')/fd | grep -q ' $W/fs/'"
ours volume set v mortar.local-reads off >/dev/null || fail "the volume's option"
turned_off() { local n; n=$(mounts_read near 400) && [ "$n" -ge 400 ]; }
check "the volume's option takes effect at once" until_true 20 turned_off
ours volume reset v mortar.local-reads >/dev/null
umount "$W/near" && mount_ours v near direct-io-mode=on,attribute-timeout=0 || fail "mounting again"
check "and is taken back" few "$(mounts_read near $COUNT)"
ours volume set v locks.mandatory-locking forced >/dev/null || fail "mandatory locking"
check "none under mandatory locks" until_true 20 turned_off
ours volume reset v locks.mandatory-locking >/dev/null
umount "$W/near" && mount_ours v near direct-io-mode=on,attribute-timeout=0 || fail "mounting again"
umount "$W/far" && mount_ours v far || fail "mounting again"

# ---- what is read --------------------------------------------------------------------------------------------------------
check "close-to-open" $PROBE closing "$W/plain" "$W/far" 60
check "and through the other" $PROBE closing "$W/near" "$W/plain" 60
touch "$W/stop"
check "a reader while another mount overwrites and truncates" $PROBE changing "$W/near" "$W/far" 4 "$W/stop"

# faults while it runs: the brick that is read is killed and started again, then stopped for longer than the others wait
rm -f "$W/stop"
before=$(reads_of b0)
$PROBE changing "$W/near" "$W/far" 4 "$W/stop" >"$W/changing.out" 2>&1 &
reader=$!
until_true 5 eval "[ \$(reads_of b0) -gt $before ]" || fail "b0 is not the one that is read"
brick_kill b0 || fail "b0 ends"
brick_back b0 || fail "b0 comes back"
# the one that is read, which is not b0 until the file is opened again
read_now() {
        local b n
        for b in b0 b1 b2; do
                n=$(reads_of $b)
                [ -z "${seen[$b]:-}" ] || [ "$n" -lt $((${seen[$b]} + 3)) ] || { victim=$b && return 0; }
                seen[$b]=${seen[$b]:-$n}
        done
        return 1
}
declare -A seen=()
until_true 20 read_now || fail "no brick is read"
lost() { [ "$(grep -c "connection was lost\|does not answer" "$W/$1.log")" -gt "$2" ]; }
near_lost=$(grep -c "connection was lost\|does not answer" "$W/near.log")
far_lost=$(grep -c "connection was lost\|does not answer" "$W/far.log")
pid=$(brick_pid "$victim")
kill -STOP "$pid"
until_true 20 lost far "$far_lost" || fail "$victim is taken for dead by the writer"
until_true 20 lost near "$near_lost" || fail "$victim is taken for dead by the reader"
kill -CONT "$pid"
touch "$W/stop"
heal_all() { "$B/mortar-heal" --server "$HOST" --once v >"$W/heal.out" 2>&1; }
if wait "$reader"; then pass "a reader while the brick it reads is killed, behind, and stopped ($(cat "$W/changing.out"))"; else
        fail "a reader while the brick it reads is killed, behind, and stopped"
        tail -5 "$W/changing.out"
fi
until_true 30 heal_all || fail "healing after the stop"

# ---- a copy that is behind -------------------------------------------------------------------------------------------
seq 30000 >"$W/far/behind" && sync "$W/far/behind"
$PROBE reads "$W/near" behind 500 || fail "reading before"
exec 5<"$W/near/behind" # stays open, so that it was lent
dd if="$W/near/behind" bs=4k status=none | cmp - "$W/far/behind" || fail "reading before"
brick_kill b0 || fail "b0 ends"
seq 30001 60000 >"$W/far/behind" && sync "$W/far/behind"
brick_back b0 || fail "b0 comes back"
check "its copy is behind" eval "! cmp -s '$W/fs/b0/behind' '$W/fs/b1/behind'"
before=$(reads_of b0)
check "a copy that is behind is not read, however often" $PROBE reads "$W/near" behind $COUNT
check "nor through a file that was open before" eval "python3 -c 'import os; os.pread(5, 9, 0) == b\"30001\\n300\" or exit(1)'"
check "not by READs either" test "$(reads_of b0)" = "$before"
check "it is healed" until_true 30 heal_all
check "and equal" cmp "$W/fs/b0/behind" "$W/fs/b1/behind"
read_again() { $PROBE reads "$W/near" behind 500 && [ "$(reads_of b0)" -gt "$before" ]; }
check "then it is read again" until_true 20 read_again # when the mount has looked it up again
exec 5<&-

# ---- the end -----------------------------------------------------------------------------------------------------------------
for m in near far plain; do umount "$W/$m" || fail "umount $m"; done
told() { grep -q 'went past brick' "$W/near.log"; }
check "the log tells how many" until_true 10 told
check "mortar-mount has not complained" eval "! grep -h ' E mortar-mount' '$W'/*.log"
stop_ours
check "no socket is left" eval "[ -z \"\$(ls '$W/ours/run/local')\" ] || { ls -l '$W/ours/run/local'; false; }"
finish
