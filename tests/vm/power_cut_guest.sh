#!/bin/bash
# Runs inside the VM: power_cut_guest.sh ROOT COUNT CUTS. Disks: three of bricks (vda-vdc), their logs (vdd-vdf), three to replay to (vdg-vdi).
COUNT=$2 CUTS=$3
. "$1/tests/interop/lib.sh"
modprobe dm-log-writes || { fail "dm-log-writes"; finish; }
disks=(a b c) logs=(d e f) targets=(g h i)
mount_bricks() {
        local n
        for n in 0 1 2; do
                mkdir -p "$W/b$n"
                mount -t xfs "$1${disks[n]}" "$W/b$n" || return 1
        done
}
start() { ours volume start v force >/dev/null && timeout 120 "$W/mount.glusterfs" "$HOST:/v" "$W/m" -o "log-file=$W/m.log"; }
stop() { umount "$W/m" && ours volume stop v >/dev/null && until_true 60 eval '! pgrep -x mortar-brick' && umount "$W"/b?; }
on_disk() { python3 "$1/tests/vm/power_cut.py" check "$W/journal" "$2" 2 "$W"/b?/brick; }
through_mount() { python3 "$1/tests/vm/power_cut.py" check "$W/journal" "$2" 1 "$W/m"; }

# What is marked first; then what nobody could note, as all lost power at once.
heal() { for how in "" --full; do timeout 120 "$B/mortar-heal" --once $how --server "$HOST" v >"$W/heal" 2>&1 || return 1; done; }

ln -s "$B/mortar-mount" "$W/mount.glusterfs"
mkdir "$W/m"
for n in 0 1 2; do
        disk=/dev/vd${disks[n]}
        dmsetup create "brick-${disks[n]}" --table "0 $(blockdev --getsz $disk) log-writes $disk /dev/vd${logs[n]}" || { fail "log-writes"; finish; }
        mkfs.xfs -q -f "/dev/mapper/brick-${disks[n]}" || { fail "mkfs"; finish; }
done
mount_bricks /dev/mapper/brick- || { fail "bricks' file systems"; finish; }
start_ours || { fail "mortard starts"; finish; }
ours volume create v replica 3 "$HOST:$W/b0/brick" "$HOST:$W/b1/brick" "$HOST:$W/b2/brick" force >/dev/null && start || { fail "volume and mount"; cat "$W/m.log"; finish; }
timeout 400 python3 "$1/tests/vm/power_cut.py" write "$W/m" "$W/journal" "$COUNT" /dev/mapper/brick-{a,b,c} || { fail "writing"; tail -3 "$W/m.log"; }
[ "$(wc -l <"$W/journal")" = "$COUNT" ] && pass "$COUNT records written and synced, on $(uname -r)" || fail "only $(wc -l <"$W/journal") records"
stop || fail "stop"
for n in 0 1 2; do dmsetup remove "brick-${disks[n]}" || fail "dmsetup remove"; done
for cut in $(seq "$CUTS"); do
        mark=$((COUNT * cut / CUTS))
        [ $cut -lt "$CUTS" ] || mark=$((COUNT - 1))
        for n in 0 1 2; do
                blkdiscard -f "/dev/vd${targets[n]}" 2>/dev/null
                python3 "$1/tests/vm/power_cut.py" replay "/dev/vd${logs[n]}" "/dev/vd${targets[n]}" $mark $((cut * 7 + n * 3)) || fail "replay"
        done
        disks=("${targets[@]}")
        mount_bricks /dev/vd || { fail "cut after $mark: a file system does not come back"; break; }
        on_disk "$1" $mark && pass "cut after $mark: every acknowledged record is on two of three disks" || fail "cut after $mark: on the disks"
        start || { fail "cut after $mark: volume and mount"; tail -3 "$W/m.log"; break; }
        through_mount "$1" $mark && pass "cut after $mark: and is read through the mount" || fail "cut after $mark: through the mount"
        heal || { fail "cut after $mark: heal: $(tail -3 "$W/heal")"; "$B/mortar-heal" --info --server "$HOST" v; }
        through_mount "$1" $mark || fail "cut after $mark: after the heal"
        stop || fail "stop"
        mount_bricks /dev/vd
        same=$(cd "$W" && for b in b0 b1 b2; do (cd $b/brick && find . -path ./.glusterfs -prune -o -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum); done | sort -u | wc -l)
        [ "$same" = 1 ] && pass "cut after $mark: three equal copies after the heal" || fail "cut after $mark: copies differ after the heal"
        pending=$(getfattr -R -h -d -m 'trusted.afr' -e hex "$W"/b?/brick 2>/dev/null | grep -v -e '^#' -e '=0x0*$' -e '^$' | sort | uniq -c)
        [ -z "$pending" ] && pass "cut after $mark: nothing is pending" || fail "cut after $mark: pending: $pending"
        umount "$W"/b?
done
kill "$MORTARD"
finish
