#!/bin/bash
# Debian's stock 10.3 client on our bricks: stock_client.sh [one|dist2]…
# The tour's transcript is compared with the same tour on the backing file system and on stock servers; then the workloads.
# TIER full: larger counts.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$ROOT/tests/interop/workloads.sh"
T=$B/tests/interop
[ $# -gt 0 ] || set -- one dist2
case ${TIER:-check} in full) MIB=256 JOBS=4 ;; *) MIB=32 JOBS=2 ;; esac
MANY=20000 FILES=2200
chmod 755 "$W"
bricks() { case $2 in one) echo "fs/$1-one" ;; dist2) echo "fs/$1-d1 fs/$1-d2" ;; esac; }

storage fs 6G || { fail "XFS in a loop file"; finish; }
mkdir "$W/fs/backing"
"$T/tour" "$W/fs/backing" >"$W/tour.backing" 2>&1

start_stock || { fail "stock glusterd starts"; finish; }
for layout in "$@"; do
        volume stock "s-$layout" $(bricks stock "$layout")
        mount_stock "s-$layout" "$W/stock-$layout" --acl || fail "stock mounts stock $layout"
        mkdir "$W/stock-$layout/t"
        "$T/tour" "$W/stock-$layout/t" >"$W/tour.stock-$layout" 2>&1
        umount "$W/stock-$layout"
        stock volume stop "s-$layout" >/dev/null
done
stop_stock

start_ours || { fail "mortard starts"; finish; }
for layout in "$@"; do
        if ! volume ours "$layout" $(bricks ours "$layout"); then
                fail "$layout: create and start"
                continue
        fi
        mnt=$W/ours-$layout
        begin=$(date +%s%N)
        if ! mount_stock "$layout" "$mnt" --acl; then
                fail "$layout: mount"
                tail -30 "$W/client-$layout.log" "$W"/ours/log/*
                continue
        fi
        took=$((($(date +%s%N) - begin) / 1000000))
        if [ $took -lt 2000 ]; then pass "$layout: mounted in $took ms"; else fail "$layout: mounting took $took ms"; fi
        mkdir "$mnt/t"
        "$T/tour" "$mnt/t" >"$W/tour.ours-$layout" 2>&1
        known=$ROOT/tests/interop/tour-known.tsv
        python3 "$ROOT/tests/interop/compare.py" "$known" backing "$W/tour.backing" "ours-$layout" "$W/tour.ours-$layout" || failures=1
        python3 "$ROOT/tests/interop/compare.py" "$known" "stock-$layout" "$W/tour.stock-$layout" "ours-$layout" "$W/tour.ours-$layout" || failures=1
        [ -z "${KEEP_TOURS:-}" ] || cp "$W"/tour.* "$KEEP_TOURS/"
        rm -rf "$mnt/t"
        w_many "$mnt" "$layout" $MANY
        w_git "$mnt" "$layout" $FILES
        w_fio "$mnt" "$layout" $MIB
        w_untar "$mnt" "$layout" $JOBS
        if [ -x "$T/gfapi_walk" ]; then
                check "$layout: libgfapi creates, writes, reads and lists" "$T/gfapi_walk" "$HOST" "$layout"
        else
                skip "$layout: libgfapi: built without libglusterfs-dev"
        fi
        # something for the brick check to look at
        cp -a "$W/git-source/dir00" "$W/git-source/dir01" "$mnt/" && ln "$mnt/dir00/sub0/file00000.txt" "$mnt/second-name" &&
                ln -s dir00 "$mnt/symlink" && mkfifo "$mnt/fifo" && mv "$mnt/dir01" "$mnt/dir00/moved" || fail "$layout: last files"
        umount "$mnt" || fail "$layout: umount"
        # without "acl" the client leaves permissions to the brick
        mount_stock "$layout" "$mnt" && echo program >"$mnt/suid" && chmod 6777 "$mnt/suid" &&
                setpriv --reuid 1001 --regid 1001 --clear-groups bash -c 'echo more >>"$1"' - "$mnt/suid" &&
                [ "$(stat -c %a "$mnt/suid")" = 777 ] && pass "$layout: a write by another user clears the set-id bits" ||
                fail "$layout: a write by another user does not clear the set-id bits"
        umount "$mnt" || fail "$layout: second umount"
        client_log "$layout" || cp "$W/client-$layout.log" "$B/check/" 2>/dev/null
        for b in $(bricks ours "$layout"); do
                check "$layout: brick $b keeps the invariants" python3 "$ROOT/tests/interop/brick_check.py" "$W/$b"
        done
        ours volume stop "$layout" >/dev/null || fail "$layout: stop"
done

# The tests notice an I/O error: one failing write in the brick must show in the client's log check.
stop_ours
export LD_PRELOAD_BRICK=$T/libeio_shim.so
cat >"$W/brick-with-eio" <<X
#!/bin/sh
LD_PRELOAD=$T/libeio_shim.so MORTAR_EIO_WRITE=3 exec "$B/mortar-brick" "\$@"
X
chmod +x "$W/brick-with-eio"
MORTAR_BRICK=$W/brick-with-eio start_ours || fail "mortard starts again"
if volume ours eio fs/eio && mount_stock eio "$W/eio"; then
        for i in 1 2 3 4 5 6; do echo "$i" >"$W/eio/$i"; done 2>/dev/null
        umount "$W/eio"
        if (client_log eio) >/dev/null; then fail "an injected EIO goes unnoticed"; else pass "an injected EIO fails the client log check"; fi
else
        fail "volume for the injected EIO"
fi
stop_ours
finish
