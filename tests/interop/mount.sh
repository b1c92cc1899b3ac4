#!/bin/bash
# Our client on our bricks, or with SERVER=stock on GlusterFS's: mount.sh [one|dist2|rep3|arbiter|2x3]…
# The tour's transcript is compared with the same tour on the backing file system; then the workloads, unless TOUR_ONLY is set.
# OPTIONS=LIST: further mount options.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$ROOT/tests/interop/workloads.sh"
T=$B/tests/interop
case ${TIER:-check} in full) MIB=256 JOBS=4 MANY=20000 FILES=2200 ;; *) MIB=16 JOBS=2 MANY=2000 FILES=300 ;; esac
[ $# -gt 0 ] || set -- one dist2
ring=/sys/module/fuse/parameters/enable_uring
case ,${OPTIONS:-}, in
*,io-uring,*)
        if [ ! -w $ring ]; then
                skip "io-uring: this kernel has no FUSE over io_uring"
                finish
        fi
        ring_before=$(cat $ring)
        trap 'echo "$ring_before" >$ring; cleanup' EXIT
        echo Y >$ring
        ;;
esac
chmod 755 "$W"
ln -s "${MORTAR_MOUNT:-$B/mortar-mount}" "$W/mount.glusterfs"
ln -s "${MORTAR_MOUNT:-$B/mortar-mount}" "$W/glusterfs"
bricks() {
        case $2 in
        one) echo "fs/$1-one" ;;
        dist2) echo "fs/$1-d1 fs/$1-d2" ;;
        rep3) echo "replica 3 fs/$1-r1 fs/$1-r2 fs/$1-r3" ;;
        arbiter) echo "replica 3 arbiter 1 fs/$1-a1 fs/$1-a2 fs/$1-a3" ;;
        2x3) echo "replica 3 fs/$1-m1 fs/$1-m2 fs/$1-m3 fs/$1-m4 fs/$1-m5 fs/$1-m6" ;;
        esac
}

# mount_ours SPEC MOUNTPOINT [OPTIONS]
mount_ours() {
        mkdir -p "$2"
        timeout 60 "$W/mount.glusterfs" "$1" "$2" -o "rw,log-file=$W/mount.log,log-level=INFO${3:+,$3}${OPTIONS:+,$OPTIONS}"
}
client_pid() { pgrep -f "^$W/mount.glusterfs .* $1 " || pgrep -f "^$W/glusterfs .*$1"; }
# gone MOUNTPOINT -- nothing is mounted there and no client is left
gone() { ! mountpoint -q "$1" && ! client_pid "$1" >/dev/null; }

storage fs 6G || { fail "XFS in a loop file"; finish; }
mkdir "$W/fs/backing"
"$T/tour" "$W/fs/backing" >"$W/tour.backing" 2>&1
SERVER=${SERVER:-ours}
start_$SERVER || { fail "the $SERVER server starts"; finish; }
pair=mount-
[ $SERVER = ours ] || pair=mount-stock-

# ---- the tour ----------------------------------------------------------------------------------------------------------
for layout in "$@"; do
        volume $SERVER "$layout" $(bricks $SERVER "$layout") || { fail "$layout: create and start"; continue; }
        mnt=$W/m-$layout
        begin=$(date +%s%N)
        if ! mount_ours "$HOST:/$layout" "$mnt" acl; then
                fail "$layout: mount"
                tail -30 "$W/mount.log"
                continue
        fi
        pass "$layout: mounted in $((($(date +%s%N) - begin) / 1000000)) ms"
        mkdir "$mnt/t"
        timeout 300 "$T/tour" "$mnt/t" >"$W/tour.$pair$layout" 2>&1 || fail "$layout: the tour ended with $?"
        known=$ROOT/tests/interop/tour-known.tsv
        python3 "$ROOT/tests/interop/compare.py" "$known" backing "$W/tour.backing" "$pair$layout" "$W/tour.$pair$layout" || failures=1
        [ -z "${KEEP_TOURS:-}" ] || cp "$W"/tour.* "$KEEP_TOURS/"
        rm -rf "$mnt/t"
        if [ -z "${TOUR_ONLY:-}" ]; then
                w_many "$mnt" "$layout" $MANY
                w_git "$mnt" "$layout" $FILES
                w_fio "$mnt" "$layout" $MIB
                w_untar "$mnt" "$layout" $JOBS
        fi
        rss=$(awk '/VmRSS/ {print int($2 / 1024)}' "/proc/$(client_pid "$mnt")/status")
        [ "$rss" -lt 200 ] && pass "$layout: the client has $rss MiB" || fail "$layout: the client has $rss MiB"
        umount "$mnt" || fail "$layout: umount"
        until_true 10 gone "$mnt" && pass "$layout: the client ends with the mount" || fail "$layout: the client stays"
done
if [ -n "${ring_before:-}" ]; then
        grep -q "Requests come by io_uring" "$W/mount.log" && pass "requests came by io_uring" || fail "no ring: $(grep io-uring "$W/mount.log")"
fi
case ,${OPTIONS:-} in
*,fuse-minor=*)
        minor=${OPTIONS##*fuse-minor=}
        minor=${minor%%,*}
        grep -q "The kernel speaks FUSE 7.$minor\." "$W/mount.log" && pass "7.$minor was agreed" || fail "not 7.$minor: $(grep "speaks FUSE" "$W/mount.log")"
        ;;
esac
odd=$(grep -E " [EW] " "$W/mount.log" | grep -v "held the event loop") # that is the load of the machine
[ -z "$odd" ] && pass "the client's log is quiet" || fail "the client's log: $odd"
[ -z "${KEEP_TOURS:-}" ] || cp "$W/mount.log" "$KEEP_TOURS/"
finish
