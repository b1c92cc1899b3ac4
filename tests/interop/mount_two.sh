#!/bin/bash
# Two of our mounts at once with default options, same files: mount_two.sh [one|dist2|rep3]…
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ $# -gt 0 ] || set -- one rep3
case ${TIER:-check} in full) COUNT=400 ;; *) COUNT=60 ;; esac
chmod 755 "$W"
ln -s "${MORTAR_MOUNT:-$B/mortar-mount}" "$W/mount.glusterfs"
bricks() {
        case $1 in
        one) echo "fs/one" ;;
        dist2) echo "fs/d1 fs/d2" ;;
        rep3) echo "replica 3 fs/r1 fs/r2 fs/r3" ;;
        esac
}
export HOME=$W
storage fs 3G || { fail "XFS in a loop file"; finish; }
start_ours || { fail "mortard starts"; finish; }
for layout in "$@"; do
        volume ours "$layout" $(bricks "$layout") || { fail "$layout: create and start"; continue; }
        mkdir "$W/$layout-a" "$W/$layout-b"
        for m in a b; do
                timeout 60 "$W/mount.glusterfs" "$HOST:/$layout" "$W/$layout-$m" -o "log-file=$W/$layout-$m.log" || fail "$layout: mount $m"
        done
        timeout 300 python3 "$ROOT/tests/interop/two_writers.py" "$W/$layout-a" "$W/$layout-b" $COUNT | sed "s/^\(not \)\?ok /&$layout: /"
        [ "${PIPESTATUS[0]}" = 0 ] || failures=1
        for m in a b; do
                umount "$W/$layout-$m" || fail "$layout: umount $m"
                odd=$(grep -E " [EW] " "$W/$layout-$m.log" | grep -v "held the event loop") # that is the load of the machine
                [ -z "$odd" ] && pass "$layout: the log of mount $m is quiet" || fail "$layout: log of mount $m: $odd"
        done
        [ -z "${KEEP_LOGS:-}" ] || cp "$W"/*.log "$KEEP_LOGS/"
done
finish
