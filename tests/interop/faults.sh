#!/bin/bash
# Faults as machines have them, one copy of three at a time, under our mount and a load that keeps outside the volume what was
# acknowledged to it (faults_load.py): faults.sh [FAULT…|--cell auto]
#   kill    SIGKILL of the brick's process            stop    SIGSTOP for longer than network.ping-timeout
#   cut     the node's link goes down                 full    its disk has no space left
#   ro      its file system turns read-only           wipe    its disk is replaced by an empty one
# While the fault lasts and afterwards no call of the load may fail, or take longer than documented (docs/guide/mount.md: at once, or the ping
# timeout when a node falls silent). Then our healer empties the indices, the copies are compared, what was acknowledged is looked for.
# --cell auto: one fault, chosen by the commit; all of them in TIER full.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$ROOT/tests/interop/nodes.sh"
T=$ROOT/tests/interop
ACKS=${ACKS:-8}       # of each kind while the fault lasts, and as many after it
PING_TIMEOUT=5
AT_ONCE=8             # seconds: the machine that runs the tests may be busy
SILENT=$((PING_TIMEOUT + AT_ONCE))
KINDS="records git sqlite"
HEALER=ours
export HOME=$W
chmod 755 "$W"

brick_path() { echo "$W/disk$1/brick"; }
brick_paths() { for n in 1 2 3; do brick_path "$n"; done; }

# disk N -- an ext4 file system that turns read-only when it meets an error, seen by all nodes: before nodes_up
disk() {
        mkdir -p "$W/disk$1" && truncate -s 600M "$W/disk$1.img" && mkfs.ext4 -q -m 0 "$W/disk$1.img" &&
                mount -o loop,noatime,errors=remount-ro "$W/disk$1.img" "$W/disk$1"
}

# ---- the load --------------------------------------------------------------------------------------------------------------------
declare -A LOAD_PID
acks() { cut -d' ' -f1 "$C/$1.ops" 2>/dev/null || echo 0; }
slowest() { cat "$C"/*.ops | cut -d' ' -f2 | sort -n | tail -1; }
load_start() {
        local k
        rm -f "$C"/stop "$C"/*.ops
        touch "$C/mark"
        for k in $KINDS; do
                python3 "$T/faults_load.py" run $k "$MNT" "$C" >"$C/$k.out" 2>&1 &
                LOAD_PID[$k]=$!
        done
}
load_runs() {
        local k
        for k in $KINDS; do kill -0 "${LOAD_PID[$k]}" 2>/dev/null || { cat "$C/$k.out"; return 1; }; done
}
# load_goes_on -- each kind gets ACKS more acknowledgements
load_goes_on() {
        local k
        declare -A want
        for k in $KINDS; do want[$k]=$(($(acks $k) + ACKS)); done
        for k in $KINDS; do
                until_true 60 eval "[ \$(acks $k) -ge ${want[$k]} ] || ! kill -0 ${LOAD_PID[$k]} 2>/dev/null" ||
                        { echo "$k stands at $(acks $k), ${want[$k]} were awaited"; return 1; }
        done
        load_runs
}
load_stop() {
        local k bad=0
        touch "$C/stop"
        for k in $KINDS; do wait "${LOAD_PID[$k]}" || { bad=1; cat "$C/$k.out"; }; done
        return $bad
}

# ---- the faults: begin_FAULT N, end_FAULT N ------------------------------------------------------------------------------------
begin_kill() { node_kill_brick "$1"; }
end_kill() { node_start "$1"; }
begin_stop() { kill -STOP "${BRICK_PID[$1]}"; }
end_stop() { kill -CONT "${BRICK_PID[$1]}"; }
begin_cut() { node_cut "$1"; }
end_cut() { node_heal "$1"; }
begin_full() {
        local free
        free=$(df --output=avail -B1 "$W/disk$1" | tail -1)
        fallocate -l "$free" "$W/disk$1/filler" 2>/dev/null || dd if=/dev/zero of="$W/disk$1/filler" bs=1M status=none 2>/dev/null
        [ "$(df --output=avail -B1 "$W/disk$1" | tail -1)" -lt 1000000 ]
}
end_full() { rm "$W/disk$1/filler"; }
begin_ro() {
        local device
        device=$(findmnt -no SOURCE "$W/disk$1")
        echo 1 >"/sys/fs/ext4/${device##*/}/trigger_fs_error"
        until_true 5 eval "! touch '$W/disk$1/probe'"
}
# As an operator does: stops the brick, has the file system checked, starts it again.
end_ro() {
        node_stop "$1" || return 1
        local n
        for n in 1 2 3; do node "$n" umount "$W/disk$1" || return 1; done
        umount "$W/disk$1" || return 1
        e2fsck -fy "$W/disk$1.img" >"$W/fsck.out" 2>&1
        [ $? -le 1 ] || { cat "$W/fsck.out"; return 1; }
        mount -o loop,noatime,errors=remount-ro "$W/disk$1.img" "$W/disk$1" &&
                node "$1" mount "$(findmnt -no SOURCE "$W/disk$1")" "$W/disk$1" && node_start "$1"
}
begin_wipe() { node_kill_brick "$1" && rm -rf "$(brick_path "$1")"; }
end_wipe() {
        mkdir -p "$(brick_path "$1")/.glusterfs/indices"
        setfattr -n trusted.glusterfs.volume-id -v "0x${VOLUME_ID//-/}" "$(brick_path "$1")" && node_start "$1" &&
                "$B/mortar-heal" --volfile "$W/volfiles/$VOLUME.shd" --mark-new "$VOLUME-client-$(($1 - 1))" "$VOLUME"
}

fault_test() { # FAULT N
        local limit=$AT_ONCE s begin
        case $1 in stop | cut) limit=$SILENT ;; esac
        load_start
        load_goes_on || { fail "$1: the load before anything happened"; load_stop; return; }
        touch "$C/mark"
        begin_$1 "$2" || { fail "$1: it does not begin"; load_stop; return; }
        if load_goes_on; then pass "$1: I/O goes on without node $2"; else fail "$1: I/O does not go on without node $2"; fi
        end_$1 "$2" || { fail "$1: it does not end"; load_stop; return; }
        if load_goes_on; then pass "$1: I/O goes on when it is back"; else fail "$1: I/O does not go on when it is back"; fi
        s=$(slowest)
        if load_stop; then pass "$1: no call failed"; else fail "$1: a call failed"; fi
        if [ "${s%.*}" -lt $limit ]; then pass "$1: the slowest call took $s s"; else fail "$1: a call took $s s, more than $limit"; fi
        # What was not yet on its disk when a file system broke is lost on that brick, as in a power cut, and nobody noted it: everything is
        # looked at (docs/guide/heal.md).
        if [ "$1" = ro ]; then "$B/mortar-heal" --volfile "$W/volfiles/$VOLUME.shd" --once --full "$VOLUME" >"$W/full.out" || cat "$W/full.out"; fi
        begin=$SECONDS
        if python3 "$T/replicas.py" wait 60 $(brick_paths); then pass "$1: healed after $((SECONDS - begin)) s"; else fail "$1: not healed after 60 s"; fi
        check "$1: the copies agree" python3 "$T/replicas.py" replicate $(brick_paths)
        check "$1: what was acknowledged is there" python3 "$T/faults_load.py" verify "$MNT" "$C"
}

case "${1:-}" in "" | --cell) set -- $(cell_of kill stop cut full ro wipe) ;; esac
for n in 1 2 3; do disk $n || { fail "file systems in loop files"; finish; }; done
nodes_up 3 && volume_make faults rep3 cluster.heal-timeout=5 network.ping-timeout=$PING_TIMEOUT && volume_start ours || { fail "a volume"; finish; }
MNT=$W/mnt C=$W/control
mkdir "$MNT" "$C"
timeout 60 "${MORTAR_MOUNT:-$B/mortar-mount}" -f "$W/volfiles/faults.client" --log-file="$W/mount.log" "$MNT" || { fail "mount"; cat "$W/mount.log"; finish; }
shd_start
node=0
for fault in "$@"; do fault_test "$fault" $((node++ % 3 + 1)); done
shd_stop
umount "$MNT" || fail "umount"
volume_stop
for n in 1 2 3; do check "brick $n keeps the invariants" brick_check $n; done
[ -z "${KEEP_LOGS:-}" ] || cp "$W"/*.log "$W"/*.out "$KEEP_LOGS/"
finish
