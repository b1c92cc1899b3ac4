#!/bin/bash
# Bricks that die under load: heal.sh [LAYOUT[:KINDS[:EVENTS]]]…
#   LAYOUT rep3 arb disp dist-rep; KINDS what runs on the nodes, as words joined by "-" (ours, stock; the last counts for all
#   after it); EVENTS joined by "-": kN node N's brick is killed (SIGKILL), cN node N's link is cut, rN as kN and
#   once more as soon as the brick is back.
# HEALER=ours: our mortar-heal in place of Debian's self-heal daemon.
# After every event the brick comes back under load, the load pauses, Debian's self-heal daemon empties the indices, and the
# bricks are compared.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$ROOT/tests/interop/nodes.sh"
T=$ROOT/tests/interop
[ $# -gt 0 ] || set -- rep3
OPS=${OPS:-250} # calls of each load process between two steps
LOADS=2
chmod 755 "$W"

load_ops() { cut -d' ' -f1 "$W/$VOLUME-load$1/ops" 2>/dev/null || echo 0; }
# load_phase normal|careful|down -- and waits until the load acts on it
load_phase() {
        local i
        for i in $(seq $LOADS); do echo "$1" >"$W/$VOLUME-load$i/phase.new" && mv "$W/$VOLUME-load$i/phase.new" "$W/$VOLUME-load$i/phase"; done
        for i in $(seq $LOADS); do until_true 60 eval "grep -q '$1' '$W/$VOLUME-load$i/ops' || ! kill -0 ${LOAD_PID[$i]:-$$}" || return 1; done
}
load_reached() { [ "$(load_ops "$1")" -ge "$2" ] || ! kill -0 "${LOAD_PID[$1]}" 2>/dev/null; }
load_runs() {
        local i
        for i in $(seq $LOADS); do kill -0 "${LOAD_PID[$i]}" 2>/dev/null || { cat "$W/$VOLUME-load$i/out"; return 1; }; done
}
load_start() {
        local i TRAITS=
        case $LAYOUT in disp) TRAITS="fsync no-unlinked plain" ;; esac
        for i in $(seq $LOADS); do
                mkdir -p "$W/$VOLUME-load$i" "$1/load$i"
                echo normal >"$W/$VOLUME-load$i/phase"
                case $LAYOUT in dist*) brick_paths >"$W/$VOLUME-load$i/bricks" ;; esac
                python3 "$T/load.py" run "$1/load$i" "$W/$VOLUME-load$i" "$i" ${TRAITS:-} >"$W/$VOLUME-load$i/out" 2>&1 &
                LOAD_PID[$i]=$!
        done
}
# load_goes_on SECONDS -- every load process does OPS more calls
load_goes_on() {
        local i want=()
        for i in $(seq $LOADS); do want[$i]=$(($(load_ops "$i") + OPS)); done
        for i in $(seq $LOADS); do
                until_true "$1" load_reached "$i" "${want[$i]}" || { echo "load $i stands at $(load_ops "$i") of ${want[$i]} calls"; return 1; }
        done
        load_runs
}
load_pause() {
        local i
        for i in $(seq $LOADS); do touch "$W/$VOLUME-load$i/pause"; done
        for i in $(seq $LOADS); do until_true 30 eval "[ -e '$W/$VOLUME-load$i/paused' ] || ! kill -0 ${LOAD_PID[$i]}" || return 1; done
        load_runs
}
load_resume() {
        local i
        for i in $(seq $LOADS); do rm -f "$W/$VOLUME-load$i/pause"; done
        for i in $(seq $LOADS); do until_true 30 eval "[ ! -e '$W/$VOLUME-load$i/paused' ]" || return 1; done
}
load_stop() {
        local i bad=0
        for i in $(seq $LOADS); do touch "$W/$VOLUME-load$i/stop"; done
        for i in $(seq $LOADS); do
                wait "${LOAD_PID[$i]}" || bad=1
                cat "$W/$VOLUME-load$i/out"
        done
        return $bad
}

brick_paths() { for n in $(seq "$BRICKS"); do brick_path "$n"; done; }
nothing_pending() { python3 "$T/replicas.py" wait "$1" $(brick_paths); }

# away HOW N -- node N's brick is killed or cut off, and back after some calls
away() {
        load_phase careful || return 1
        case $1 in
        kill) node_kill_brick "$2" && client_lost "$MNT" "$2" 20 ;;
        cut) node_cut "$2" && client_lost "$MNT" "$2" 40 ;;
        esac || return 1
        load_phase down && load_goes_on 60 && load_phase careful || return 1
        case $1 in kill) node_start "$2" ;; cut) node_heal "$2" ;; esac && client_sees "$MNT" "$2" 60
}
event() {
        local n=${1:1}
        case $1 in
        k*) away kill "$n" ;;
        c*) away cut "$n" ;;
        r*) away kill "$n" && away kill "$n" ;;
        esac
}

# settle NAME -- paused, healed, compared
settle() {
        load_pause || { fail "$1: the load does not pause"; return; }
        local begin=$SECONDS
        case $LAYOUT in disp) shd_stop && shd_start ;; esac
        if nothing_pending 90; then
                pass "$1: the indices are empty after $((SECONDS - begin)) s"
        else
                fail "$1: the indices are not empty after 90 s"
        fi
        check "$1: the bricks agree" python3 "$T/replicas.py" "$(layout_type "$LAYOUT")" $(brick_paths)
}

# every brick down in turn, a fresh mount reads all that was written
read_degraded() {
        local n i bad
        for n in $(seq "$BRICKS"); do
                bad=0
                node_stop "$n"
                volume_mount "$W/again-$VOLUME" --acl || bad=1
                for i in $(seq $LOADS); do
                        python3 "$T/load.py" verify "$W/again-$VOLUME/load$i" "$W/$VOLUME-load$i/model" || bad=1
                done
                umount "$W/again-$VOLUME" || bad=1
                node_start "$n" || bad=1
                if [ $bad = 0 ]; then pass "$1: all is readable without brick $n"; else fail "$1: reading without brick $n"; fi
        done
}

# together NAME -- all bricks are up: none is left out of anything
together() { check "$1: no brick is left out" python3 "$T/replicas.py" together "$W/$VOLUME-load1" "$OPS" $(brick_paths); }

heal_test() {
        local layout kinds events name e heal_timeout
        IFS=: read -r layout kinds events <<<"$1"
        kinds=${kinds:-ours} events=${events:-k1-k2-k3}
        name="$layout on ${kinds//-/ }"
        # The shortest that stock allows is 5 s for replicate and 60 s for disperse, so there it is told by a restart that there is work.
        case $layout in disp) heal_timeout= ;; *) heal_timeout=cluster.heal-timeout=5 ;; esac
        volume_make "h$((++volumes))" "$layout" $heal_timeout network.ping-timeout=5 || { fail "$name: making it"; return; }
        MNT=$W/mnt-$VOLUME
        volume_start ${kinds//-/ } && volume_mount "$MNT" --acl || { fail "$name: start and mount"; return; }
        shd_start
        load_start "$MNT"
        load_goes_on 60 || fail "$name: load before anything happened"
        case $layout in disp) together "$name" ;; esac
        for e in ${events//-/ }; do
                if event "$e"; then pass "$name: $e: I/O goes on"; else fail "$name: $e: I/O does not go on"; break; fi
                load_goes_on 60 || { fail "$name: $e: load after the brick is back"; break; }
                settle "$name: $e"
                load_resume && load_phase normal || { fail "$name: $e: the load does not go on"; break; }
        done
        if load_stop; then pass "$name: the load saw no error and reads back what it wrote"; else fail "$name: the load"; fi
        settle_closed "$name" # before the mount goes: a stock client does not finish its delayed changes when it is unmounted
        umount "$MNT" || fail "$name: umount"
        shd_stop
        [ -n "${HEALED_ONLY:-}" ] || read_degraded "$name"
        volume_stop
        for n in $(seq "$BRICKS"); do
                [ "${NODE_KIND[$n]}" = stock ] || check "$name: brick $n keeps the invariants" brick_check "$n"
        done
        [ -z "${KEEP_LOGS:-}" ] || cp -r "$W"/*"$VOLUME"*.log "$W/$VOLUME"-load* "$KEEP_LOGS/"
}
settle_closed() {
        if nothing_pending 60; then pass "$1: nothing is pending at the end"; else fail "$1: something is pending at the end"; fi
        check "$1: the bricks agree at the end" python3 "$T/replicas.py" "$(layout_type "$LAYOUT")" $(brick_paths)
}

declare -A LOAD_PID
volumes=0
storage fs 6G || { fail "XFS in a loop file"; finish; }
nodes_up 6 || { fail "nodes"; finish; }
for cell in "$@"; do heal_test "$cell"; done
finish
