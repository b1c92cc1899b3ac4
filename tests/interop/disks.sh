#!/bin/bash
# Bricks whose storage fails, under Debian's stock client: a disk that hangs, is removed, is full, turns read-only, or
# answers EIO. "good" and the others are served by one mortar-brick; "good" must not notice. Everything else must give a
# clear error, keep what was acknowledged, and work again when the trouble has passed.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
T=$ROOT/tests/interop
chmod 755 "$W"

status_of() { ours volume status "$1" -o json; }
# down VOLUME -- its only brick is not served; up VOLUME -- it is
down() { status_of "$1" | grep -q '"online": *false'; }
up() { status_of "$1" | grep -q '"online": *true'; }
reason_is() { status_of "$1" | grep -q "\"error\": .*$2"; }
reason_logged() { grep -q "$1.*$2" "$W"/ours/log/*; }
# good_is_quick WHAT -- files on the other brick are made, written, read and removed without a wait of half a second
good_is_quick() {
        if python3 "$T/latency.py" "$W/good" 100 500; then pass "$1: the other brick's I/O goes on"; else fail "$1: the other brick is slow"; fi
        local begin=$(date +%s%N)
        status_of good >/dev/null || fail "$1: status"
        local ms=$((($(date +%s%N) - begin) / 1000000))
        if [ $ms -lt 1000 ]; then pass "$1: status answers in $ms ms"; else fail "$1: status took $ms ms"; fi
}
fill() { mkdir -p "$1" && for i in 1 2 3 4 5 6 7 8; do head -c 100000 /dev/urandom >"$1/$i" || return 1; done && (cd "$1" && sha256sum [0-9]) >"$2"; }
intact() { (cd "$1" && sha256sum --quiet -c "$2"); }
sound() { check "$1: the brick keeps the invariants" python3 "$T/brick_check.py" "$2"; }
# an answer within SECONDS that fails with an error of PATTERN
refuses() { local pattern=$1 seconds=$2 out; shift 2; ! out=$(LC_ALL=C timeout "$seconds" "$@" 2>&1) && grep -Eq "$pattern" <<<"$out"; }

storage fs-good && storage fs-hung && storage fs-small 400M && storage fs-gone && storage fs-ro && storage fs-eio ||
        { fail "XFS in loop files"; finish; }
mkdir "$W/hung" "$W"/mnt-{hung,small,gone,ro} "$W/good"
bindfs -f -o allow_other,attr_timeout=0,entry_timeout=0 "$W/fs-hung" "$W/hung" &
BINDFS=$!
until_true 10 mountpoint -q "$W/hung" || { fail "bindfs mounts"; finish; }
start_ours || { fail "mortard starts"; finish; }
volume ours good fs-good/b && volume ours small fs-small/b && volume ours gone fs-gone/b && volume ours ro fs-ro/b && volume ours hung hung/b ||
        { fail "volumes"; cat "$W"/ours/log/*; finish; }
[ "$(pgrep -cx mortar-brick)" = 1 ] || fail "one process serves all bricks"
mount_stock good "$W/good"
for v in small gone ro hung; do mount_stock $v "$W/mnt-$v" && fill "$W/mnt-$v/old" "$W/$v.sums" || fail "$v: first files"; done
sync

# ---- a disk that hangs ---------------------------------------------------------------------------------------------------
kill -STOP $BINDFS
(fill "$W/mnt-hung/new" "$W/hung-new.sums" && echo done >"$W/hung.done") &
WRITER=$!
good_is_quick "hung disk"
[ ! -e "$W/hung.done" ] && pass "hung disk: its own I/O waits" || fail "hung disk: it did not hang"
kill -CONT $BINDFS
wait $WRITER
[ -e "$W/hung.done" ] && intact "$W/mnt-hung/new" "$W/hung-new.sums" && intact "$W/mnt-hung/old" "$W/hung.sums" &&
        pass "hung disk: what waited is done when it answers again" || fail "hung disk: I/O after it answers again"
sound "hung disk" "$W/fs-hung/b"

# ---- a full disk ---------------------------------------------------------------------------------------------------------
check "full disk: ENOSPC" refuses "No space left" 60 dd if=/dev/zero of="$W/mnt-small/big" bs=1M count=500 conv=fsync
good_is_quick "full disk"
# the reserve is looked at every five seconds: by then creations are refused as well
until_true 10 refuses "No space left" 5 mkdir "$W/mnt-small/dir" && pass "full disk: creations are refused within the reserve" ||
        { rmdir "$W/mnt-small/dir"; fail "full disk: creations are not refused"; }
check "full disk: what was there is intact" intact "$W/mnt-small/old" "$W/small.sums"
rm "$W/mnt-small/big"
until_true 15 mkdir "$W/mnt-small/again" && fill "$W/mnt-small/again" "$W/small-new.sums" && intact "$W/mnt-small/again" "$W/small-new.sums" &&
        pass "full disk: works again when there is space" || fail "full disk: does not recover"
sound "full disk" "$W/fs-small/b"

# ---- a disk that is read-only for a while --------------------------------------------------------------------------------
mount -o remount,ro "$W/fs-ro" || fail "remount read-only"
check "read-only disk: EROFS for a creation" refuses "Read-only file system" 10 touch "$W/mnt-ro/new"
check "read-only disk: EROFS for a removal" refuses "Read-only file system" 10 rm "$W/mnt-ro/old/1"
check "read-only disk: reads go on" intact "$W/mnt-ro/old" "$W/ro.sums"
good_is_quick "read-only disk"
mount -o remount,rw "$W/fs-ro" || fail "remount read-write"
fill "$W/mnt-ro/new" "$W/ro-new.sums" && intact "$W/mnt-ro/new" "$W/ro-new.sums" && pass "read-only disk: works again when it is writable" ||
        fail "read-only disk: does not recover"
sound "read-only disk" "$W/fs-ro/b"

# ---- a disk that is removed ------------------------------------------------------------------------------------------------
xfs_io -x -c shutdown "$W/fs-gone" >/dev/null || fail "XFS shutdown"
check "removed disk: EIO" refuses "Input/output error|not connected" 10 touch "$W/mnt-gone/new"
good_is_quick "removed disk"
until_true 60 down gone && pass "removed disk: the health check takes the brick down" || fail "removed disk: the brick is not taken down"
check "removed disk: the log names brick and reason" reason_logged fs-gone/b "health"
check "removed disk: no answer but a disconnect" refuses "not connected" 10 ls "$W/mnt-gone"
good_is_quick "removed disk, brick down"
[ "$(pgrep -cx mortar-brick)" = 1 ] && pass "removed disk: the process serves the others" || fail "removed disk: the process is gone"
until_true 20 umount "$W/fs-gone" && pass "removed disk: it can be unmounted" || { fail "removed disk: cannot be unmounted"; umount -l "$W/fs-gone"; }
until_true 40 reason_is gone "No such file" && pass "removed disk: status says why the brick is not served" || fail "removed disk: status does not say why"
mount -o loop,noatime "$W/fs-gone.img" "$W/fs-gone" || fail "the disk is back"
until_true 60 up gone && until_true 30 intact "$W/mnt-gone/old" "$W/gone.sums" && fill "$W/mnt-gone/new" "$W/gone-new.sums" &&
        pass "removed disk: served again when it is back, with its files" || fail "removed disk: does not come back"
sound "removed disk" "$W/fs-gone/b"
for v in good small gone ro hung; do umount "$W/$([ $v = good ] || echo mnt-)$v" || fail "$v: umount"; done
stop_ours

# ---- a disk that answers EIO once ------------------------------------------------------------------------------------------
cat >"$W/brick-with-eio" <<X
#!/bin/sh
LD_PRELOAD=$B/tests/interop/libeio_shim.so MORTAR_EIO_WRITE=5 MORTAR_EIO_BYTES=4096 exec "$B/mortar-brick" "\$@"
X
chmod +x "$W/brick-with-eio"
# without write-behind: that keeps a write which failed and may send it again with the fsync, so that nobody sees the error
MORTAR_BRICK=$W/brick-with-eio start_ours && volume ours eio fs-eio/b && ours volume set eio performance.write-behind off >/dev/null &&
        mount_stock eio "$W/eio" || fail "volume with EIO"
bad=0 same=0
for i in $(seq 20); do
        head -c 4096 /dev/urandom >"$W/eio.$i"
        if ! LC_ALL=C dd if="$W/eio.$i" of="$W/eio/$i" bs=4k oflag=direct conv=fsync status=none 2>"$W/eio.err"; then
                bad=$((bad + 1))
                grep -q "Input/output error" "$W/eio.err" || fail "EIO: $(cat "$W/eio.err")"
                dd if="$W/eio.$i" of="$W/eio/$i" bs=4k oflag=direct conv=fsync status=none || fail "EIO: file $i a second time"
        fi
done
for i in $(seq 20); do cmp -s "$W/eio.$i" "$W/eio/$i" && same=$((same + 1)); done
if [ $bad = 1 ]; then pass "EIO: the write fails with EIO, no other does"; else fail "EIO: $bad writes failed"; fi
if [ $same = 20 ]; then pass "EIO: the same write succeeds the second time"; else fail "EIO: only $same of 20 files are right"; fi
umount "$W/eio"
stop_ours
sound "EIO" "$W/fs-eio/b"
kill $BINDFS
finish
