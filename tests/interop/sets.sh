#!/bin/bash
# Volumes of several nodes under Debian's stock client: sets.sh [LAYOUT…|--cell auto]     LAYOUT: rep3 arb disp dist-rep
# The tour (tour.c) runs on the backing file system, on stock bricks and on ours in the same layout and is compared; then the workloads on
# ours; then the bricks are compared with each other. Each node has a mortard, which the client asks for volfile and ports.
# --cell auto: one layout, chosen by the commit; all of them in TIER full.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$ROOT/tests/interop/nodes.sh"
. "$ROOT/tests/interop/workloads.sh"
T=$ROOT/tests/interop
export NO_HEALER=1
case ${TIER:-check} in full) MANY=20000 FILES=2200 MIB=128 JOBS=4 ;; *) MANY=2000 FILES=300 MIB=8 JOBS=2 ;; esac
layouts=(rep3 arb disp dist-rep)
case "$*" in "" | "--cell auto") set -- $(cell_of "${layouts[@]}") ;; esac
chmod 755 "$W"

brick_paths() { for n in $(seq "$BRICKS"); do brick_path "$n"; done; }
# tour_on NAME KIND LAYOUT -- the transcript goes to $W/tour.NAME; the volume stays mounted at $MNT
tour_on() {
        MNT=$W/mnt-$1
        volume_make "$1" "$3" && volume_start "$2" || { fail "$1: make and start"; return 1; }
        local begin took
        begin=$(date +%s%N)
        volume_mount "$MNT" --acl || { fail "$1: mount"; tail -n 30 "$W/client-$1.log"; return 1; }
        took=$((($(date +%s%N) - begin) / 1000000))
        if [ $took -lt 3000 ]; then pass "$1: mounted in $took ms"; else fail "$1: mounting took $took ms"; fi
        mkdir "$MNT/t" && "$B/tests/interop/tour" "$MNT/t" >"$W/tour.$1" 2>&1
}
leave() {
        umount "$MNT" || fail "$VOLUME: umount"
        volume_stop || fail "$VOLUME: stop"
}

workloads() {
        rm -rf "$MNT/t"
        w_many "$MNT" "$1" $MANY
        w_git "$MNT" "$1" $FILES
        w_fio "$MNT" "$1" $MIB
        w_untar "$MNT" "$1" $JOBS
        # something for the bricks to agree on
        cp -a "$W/git-source/dir00" "$W/git-source/dir01" "$MNT/" && ln "$MNT/dir00/sub0/file00000.txt" "$MNT/second-name" &&
                ln -s dir00 "$MNT/symlink" && mkfifo "$MNT/fifo" && mv "$MNT/dir01" "$MNT/dir00/moved" &&
                setfattr -n user.note -v value "$MNT/second-name" && truncate -s 5M "$MNT/sparse" || fail "$1: last files"
}

set_test() {
        local layout=$1 ours=ours-$1 stock=stock-$1
        if tour_on "$stock" stock "$layout"; then leave; fi
        tour_on "$ours" mortard "$layout" || return
        python3 "$T/compare.py" "$T/tour-known.tsv" backing "$W/tour.backing" "$ours" "$W/tour.$ours" || failures=1
        python3 "$T/compare.py" "$T/tour-known.tsv" "$stock" "$W/tour.$stock" "$ours" "$W/tour.$ours" || failures=1
        workloads "$layout"
        check "$layout: nothing is pending" python3 "$T/replicas.py" wait 20 $(brick_paths)
        leave
        check "$layout: the bricks agree" python3 "$T/replicas.py" "$(layout_type "$layout")" $(brick_paths)
        client_log "$ours" || cp "$W/client-$ours.log" "$B/check/" 2>/dev/null
        for n in $(seq "$BRICKS"); do
                check "$layout: brick $n keeps the invariants" brick_check "$n"
        done
}

storage fs 6G || { fail "XFS in a loop file"; finish; }
mkdir "$W/fs/backing" && "$B/tests/interop/tour" "$W/fs/backing" >"$W/tour.backing" 2>&1
nodes_up 6 || { fail "nodes"; finish; }
for layout in "$@"; do set_test "$layout"; done
[ -z "${KEEP_TOURS:-}" ] || cp "$W"/tour.* "$KEEP_TOURS/"
finish
