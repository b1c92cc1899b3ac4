#!/bin/bash
# Bricks that are away under our mount: who waits, how long, who can be interrupted; descriptors and locks afterwards. On one brick and
# on replica 3, all of them away.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
chmod 755 "$W"
ln -s "${MORTAR_MOUNT:-$B/mortar-mount}" "$W/mount.glusterfs"
client() { # NAME OPTIONS
        mkdir -p "$W/$1"
        timeout 60 "$W/mount.glusterfs" "$HOST:/$kind" "$W/$1" -o "log-file=$W/$kind.$1.log${2:+,$2}" || fail "$kind: $1: mount"
}
pid_of() { pgrep -f "^$W/mount.glusterfs .* $W/$1 "; }
ms() { echo $(($(date +%s%N) / 1000000)); }
# timed COMMAND… -- status in $status, milliseconds in $took, complaints in $W/err
timed() {
        local begin
        begin=$(ms)
        timeout 60 "$@" >/dev/null 2>"$W/err"
        status=$?
        took=$(($(ms) - begin))
}
# holder MOUNT -- holds a lock on MOUNT/locked; each line of input writes it to the file and says what came of it
holder() {
        python3 -c '
import errno, fcntl, os, sys
fd = os.open(sys.argv[1] + "/locked", os.O_RDWR | os.O_CREAT)
fcntl.lockf(fd, fcntl.LOCK_EX)
print("locked", flush=True)
for line in sys.stdin:
    try:
        os.pwrite(fd, line.encode(), 0)
        os.fsync(fd)
        print("written", flush=True)
    except OSError as e:
        print(errno.errorcode[e.errno], flush=True)
' "$W/$1"
}
# locks MOUNT -- takes that lock without waiting
locks() { python3 -c 'import fcntl, os, sys; fcntl.lockf(os.open(sys.argv[1] + "/locked", os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)' "$W/$1"; }
says() { local line; read -r -t 60 line <&"${HOLDER[0]}"; [ "$line" = "$1" ] || { echo "says '$line'"; return 1; }; }
noticed() { # every client has
        local name
        for name in "$@"; do until_true 20 eval '[ "$(grep -cE "connection was lost|connection.*closed" '"$W/$kind.$name.log"')" -ge '"$copies"' ]' || fail "$kind: $name notices nothing"; done
}
back() { until_true 40 stat "$W/$1/locked"; }

try() {
        client patient "" && client hasty outage-wait=0 && client other ""
        for name in patient hasty other; do stat "$W/$name/." >/dev/null; done
        coproc HOLDER { holder patient; }
        says locked && locks hasty 2>/dev/null && fail "$kind: two have the lock"
        # ---- away --------------------------------------------------------------------------------------------------------------
        ours volume stop $kind >/dev/null || fail "$kind: volume stop"
        noticed patient hasty other
        (timed cat "$W/patient/waits"; echo "$took $(cat "$W/err")" >"$W/waited") 2>/dev/null &
        waits=$!
        timed cat "$W/hasty/at-once"
        grep -q "not connected" "$W/err" && [ $took -lt 2500 ] && pass "$kind: outage-wait=0 fails at once ($took ms)" || fail "$kind: outage-wait=0: $took ms, $(cat "$W/err")"
        timed stat -f "$W/patient"
        [ $took -lt 7000 ] && pass "$kind: statfs answers after $took ms" || fail "$kind: statfs: $took ms"
        timed timeout -s INT 1 cat "$W/other/interrupted"
        [ $status = 124 ] && [ $took -lt 4000 ] && pass "$kind: who waits can be interrupted ($took ms)" || fail "$kind: interrupt: $status, $took ms"
        wait $waits
        read -r took error <"$W/waited"
        [ "$took" -ge 27000 ] && [ "$took" -le 40000 ] && [[ $error == *"not connected"* ]] && pass "$kind: by default operations wait $took ms" ||
                fail "$kind: default: $took ms, $error"
        # ---- back ----------------------------------------------------------------------------------------------------------------
        echo "during the outage" >&"${HOLDER[1]}" # waits until the bricks are back
        ours volume start $kind >/dev/null
        says written && back other && [ "$(cat "$W/other/locked")" = "during the outage" ] && pass "$kind: a write waited for the bricks, its descriptor is open again" ||
                fail "$kind: the write: $(tail -2 "$W/$kind.patient.log")"
        locks other 2>/dev/null && fail "$kind: the lock was lost" || pass "$kind: the lock was taken again"
        # ---- another one gets the lock -----------------------------------------------------------------------------------------------
        ours volume stop $kind >/dev/null
        kill -STOP "$(pid_of patient)"
        ours volume start $kind >/dev/null
        until_true 40 locks other && pass "$kind: the lock of who does not come back goes to another" || fail "$kind: the lock stays"
        { coproc OTHER { holder other; }; } 2>/dev/null # bash warns of a second one
        read -r -t 40 line <&"${OTHER[0]}"
        kill -CONT "$(pid_of patient)"
        until_true 40 grep -q "lock was lost" "$W/$kind.patient.log" || fail "$kind: the log says nothing of the lock"
        echo "without the lock" >&"${HOLDER[1]}"
        says EIO && pass "$kind: who lost the lock gets EIO" || fail "$kind: who lost the lock"
        grep -q "without the lock" "$W/other/locked" && fail "$kind: it wrote all the same"
        exec {OTHER[1]}>&- && wait $OTHER_PID
        exec {HOLDER[1]}>&- && wait $HOLDER_PID
        for name in patient hasty other; do umount "$W/$name" || fail "$kind: umount $name"; done
}

storage fs 2G || { fail "XFS in a loop file"; finish; }
start_ours || { fail "mortard starts"; finish; }
for kind in ${*:-one}; do
        bricks=("fs/${kind}1") copies=1
        [ $kind = rep ] && bricks=(replica 3 fs/rep1 fs/rep2 fs/rep3) && copies=3
        volume ours $kind "${bricks[@]}" && try || fail "$kind: a volume"
done
finish
