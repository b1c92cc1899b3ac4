#!/bin/bash
# Our mount beside Debian's on one volume, the same files and directories: mixed_clients.sh [LAYOUT:SERVER]…
#   LAYOUT one dist2 rep3; SERVER ours stock; --cell auto: one cell, chosen by the commit; all of them in TIER full. The stock client is mounted as docs/guide/mount.md says for that: its caches are off, since
#   with them it loses locked appends and SQLite commits even beside another stock mount.
# STOCK_MOUNT, STOCK_SETTINGS: other options of the stock mount and of the volume, to see what each is for. PEER=ours|stock: instead of
# Debian's client a second one of ours; instead of ours a second one of Debian's.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
T=$ROOT/tests/interop
. "$T/nodes.sh" # cell_of
case "${1:-}" in "" | --cell) set -- $(cell_of rep3:ours rep3:stock one:ours one:stock) ;; esac
case ${TIER:-check} in full) COUNT=60 GIT=8 ;; *) COUNT=12 GIT=2 ;; esac
COUNT=${MIXED_COUNT:-$COUNT}
STOCK_MOUNT=${STOCK_MOUNT---entry-timeout=0 --attribute-timeout=0 --direct-io-mode=enable}
STOCK_SETTINGS=${STOCK_SETTINGS-performance.quick-read performance.io-cache performance.read-ahead performance.stat-prefetch performance.write-behind performance.open-behind performance.readdir-ahead}
export HOME=$W
chmod 755 "$W"
ln -s "${MORTAR_MOUNT:-$B/mortar-mount}" "$W/mount.glusterfs"
paths() { # LAYOUT SERVER
        case $1 in
        one) echo "fs/$2-one" ;;
        dist2) echo "fs/$2-d1 fs/$2-d2" ;;
        rep3) echo "fs/$2-r1 fs/$2-r2 fs/$2-r3" ;;
        esac
}
mount_ours() { timeout 60 "$W/mount.glusterfs" "$HOST:/$1" "$2" -o "log-file=$2.log"; }
mount_peer() { if [ "${PEER:-}" = ours ]; then mount_ours "$1" "$2"; else mount_stock "$1" "$2" $STOCK_MOUNT; fi; }

agree() { # LAYOUT SERVER
        case $1 in rep3) python3 "$T/replicas.py" wait 20 $(for b in $(paths "$@"); do echo "$W/$b"; done) &&
                python3 "$T/replicas.py" replicate $(for b in $(paths "$@"); do echo "$W/$b"; done) ;;
        esac
}

cell() { # LAYOUT SERVER
        local v=$1-$2 words= o a=$W/$1-$2-a b=$W/$1-$2-b bad=0
        case $1 in rep3) words="replica 3" ;; esac
        volume "$2" "$v" $words $(paths "$@") || { fail "$v: create and start"; return; }
        for o in $STOCK_SETTINGS; do "$2" volume set "$v" "$o" off >/dev/null || fail "$v: set $o"; done
        mkdir "$a" "$b"
        if [ "${PEER:-}" = stock ]; then mount_stock "$v" "$a" $STOCK_MOUNT; else mount_ours "$v" "$a"; fi || { fail "$v: our mount"; return; }
        mount_peer "$v" "$b" || { fail "$v: the stock mount"; return; }
        for test in "two_writers.py $a $b $COUNT" "two_programs.py $a $b $GIT $COUNT"; do
                timeout 240 python3 $T/$test | sed -u "s/^\(not \)\?ok /&$v: /"
                [ "${PIPESTATUS[0]}" = 0 ] || bad=1
        done
        [ $bad = 0 ] || fail "$v: programs on both mounts"
        umount "$a" "$b" || fail "$v: umount"
        check "$v: copies agree, nothing is pending" agree "$@"
        o=$(grep -E " [EW] " "$a.log" 2>/dev/null | grep -v "held the event loop") # that is the load of the machine
        if [ -z "$o" ]; then pass "$v: our log is quiet"; else fail "$v: our log: $(head -5 <<<"$o")"; fi
        [ -z "${KEEP_LOGS:-}" ] || cp "$W"/*.log "$KEEP_LOGS/"
}

storage fs 4G || { fail "XFS in a loop file"; finish; }
for server in ours stock; do
        case " $* " in *":$server "*) ;; *) continue ;; esac
        start_$server || { fail "$server starts"; continue; }
        for cell in "$@"; do [ "${cell#*:}" != $server ] || cell "${cell%:*}" $server; done
        stop_$server
done
finish
