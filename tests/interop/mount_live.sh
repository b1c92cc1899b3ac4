#!/bin/bash
# Volfiles that change under our mount: a stock volume gets bricks and copies and loses bricks while a verifying writer goes on;
# what our client does not have is refused; CHANGES (50) changed volfiles leave memory and descriptors as they were.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
CHANGES=${CHANGES:-50}
chmod 755 "$W"
ln -s "${MORTAR_MOUNT:-$B/mortar-mount}" "$W/mount.glusterfs"
M=$W/mnt
L=$W/mount.log
mkdir "$M"
client() { pgrep -f "^$W/mount.glusterfs "; }
mount_it() { timeout 60 "$W/mount.glusterfs" "$HOST:/$1" "$M" -o "log-file=$L" || fail "$1: mount"; }
unmount_it() { umount "$M" && until_true 15 eval '! client >/dev/null' || fail "unmount"; }
# lines TEXT -- of the log that have it
lines() { grep -c -- "$1" "$L"; }
more_lines() { [ "$(lines "$1")" -gt "$2" ]; }
# told TEXT COMMAND… -- COMMAND makes the log say TEXT once more
told() {
        local text=$1 before
        shift
        before=$(lines "$text")
        "$@" >/dev/null 2>"$W/err" || { cat "$W/err" >&2; return 1; }
        until_true 40 more_lines "$text" "$before"
}

# writer DIRECTORY -- files are made, renamed, appended to and read again until $W/stop is there; one stays open and locked
writer() {
        python3 - "$1" "$W/stop" <<'X'
import fcntl, os, sys
top, stop = sys.argv[1:]
os.mkdir(top)
kept = os.open(top + "/kept", os.O_RDWR | os.O_CREAT)
fcntl.lockf(kept, fcntl.LOCK_EX)
n = 0
while not os.path.exists(stop) or n < 20:
    text = b"round %d\n" % n * 100
    path = "%s/f%d" % (top, n)
    with open(path + ".new", "wb") as f:
        f.write(text)
        f.flush()
        os.fsync(f.fileno())
    os.rename(path + ".new", path)
    os.pwrite(kept, text, 0)
    assert os.pread(kept, len(text), 0) == text, "kept"
    for k in {n, n // 2, 0}:
        with open("%s/f%d" % (top, k), "rb") as f:
            assert f.read() == b"round %d\n" % k * 100, k
    n += 1
names = set(os.listdir(top))
assert names == {"kept"} | {"f%d" % k for k in range(n)}, "names"
print(n, "rounds")
X
}
writing() { rm -f "$W/stop"; writer "$M/$1" >"$W/writer" 2>&1 & WRITER=$!; until_true 20 test -e "$M/$1/f3"; }
written() { # NAME -- the writer goes on for a while, then ends without having seen an error
        local now
        now=$(ls "$M/$1" | wc -l)
        until_true 20 eval "[ \$(ls $M/$1 | wc -l) -gt $((now + 5)) ]" || fail "$1: the writer stands still"
        touch "$W/stop"
        if wait $WRITER; then pass "$1: $(cat "$W/writer") without an error"; else fail "$1: $(tail -2 "$W/writer")"; fi
}

# ---- stock: bricks come and go ------------------------------------------------------------------------------------------------
storage fs 2G || { fail "XFS in a loop file"; finish; }
start_stock || { fail "glusterd starts"; finish; }
volume stock d fs/d1 || fail "stock: a volume"
mount_it d
writing one
told "have changed; the mount uses" stock volume add-brick d "$HOST:$W/fs/d2" force && pass "add-brick: the mount uses the new brick" || fail "add-brick: $(tail -3 "$L")"
written one
stock volume rebalance d fix-layout start >/dev/null || fail "fix-layout"
until_true 40 eval 'stock volume rebalance d status | grep -q "fix-layout completed"' || fail "fix-layout: $(stock volume rebalance d status)"
mkdir "$M/fresh" && (cd "$M/fresh" && seq -f 'n%g' 1 40 | xargs touch)
n=$(find "$W/fs/d2/fresh" -type f | wc -l)
[ "$n" -gt 0 ] && [ "$n" -lt 40 ] && pass "of 40 new files $n are on the new brick" || fail "$n of 40 files are on the new brick"
(cd "$M/one" && seq -f 'late%g' 1 40 | xargs touch)
n=$(find "$W/fs/d2/one" -name 'late*' -size 0 ! -perm -1000 | wc -l)
[ "$n" -gt 0 ] && pass "in a directory that was there before: $n of 40" || fail "a directory that was there before: $n of 40"
stock volume remove-brick d "$HOST:$W/fs/d2" start >/dev/null 2>&1 || fail "remove-brick"
until_true 60 eval 'stock volume remove-brick d '"$HOST:$W/fs/d2"' status | grep -q completed' || fail "remove-brick: $(stock volume remove-brick d "$HOST:$W/fs/d2" status)"
writing two
told "have changed; the mount uses" stock volume remove-brick d "$HOST:$W/fs/d2" commit && pass "remove-brick: the mount does without" || fail "remove-brick commit: $(cat "$W/err") $(tail -3 "$L")"
written two
[ "$(ls "$M/fresh" | wc -l)" = 40 ] && pass "nothing is missing" || fail "of 40 files $(ls "$M/fresh" | wc -l) are left"
told "features/shard" stock volume set d features.shard on && pass "a translator that is not there is refused, with its name" || fail "shard: $(tail -2 "$L")"
tail -5 "$L" | grep -q "stock client" || fail "shard: the log does not say what to do"
echo goes on >"$M/after" && [ "$(cat "$M/after")" = "goes on" ] && pass "the mount goes on with what it had" || fail "after shard"
unmount_it
stop_stock

# ---- many changes ---------------------------------------------------------------------------------------------------------------
start_ours && volume ours v fs/v || { fail "ours: a volume"; finish; }
mount_it v
exec 9>"$M/held"
resident() { awk '/VmRSS/ {print $2}' "/proc/$(client)/status"; }
descriptors() { ls "/proc/$(client)/fd" | wc -l; }
fetched() { # how often the mount has fetched the volfile again; by the figures that USR1 writes
        local before
        before=$(grep -c "fetched again" "$L")
        kill -USR1 "$(client)"
        until_true 5 eval '[ $(grep -c "fetched again" '"$L"') -gt '"$before"' ]'
        tail -1 "$L" | grep -o 'fetched again [0-9]*' | grep -o '[0-9]*$'
}
# one N -- a changed option; now and then one that is refused, and taken back
one() {
        case $(($1 % 6)) in
        0) ours volume set v features.shard on ;;
        1) ours volume set v features.shard off ;;
        *) ours volume set v network.ping-timeout $((20 + $1 % 20)) ;;
        esac >/dev/null || fail "volume set $1"
}
for n in $(seq 0 29); do one "$n"; done
told "fetched again" kill -USR1 "$(client)"
memory=$(resident) fds=$(descriptors) before=$(fetched)
for n in $(seq 30 $((CHANGES + 29))); do one "$n"; done
caught_up() { [ $(($(fetched) - before)) -ge $((CHANGES * 3 / 4)) ]; } # some come so fast that one fetch does for two
until_true 10 caught_up && pass "the volfile was fetched $(($(fetched) - before)) times" || fail "$CHANGES changes, $(($(fetched) - before)) fetches"
now=$(resident)
[ "$now" -le $((memory + 512)) ] && pass "$CHANGES changes: $memory KiB before, $now after" || fail "$CHANGES changes: $memory KiB before, $now after"
[ "$(descriptors)" -le "$fds" ] && pass "$CHANGES changes: $fds descriptors before and after" || fail "$fds descriptors before, $(descriptors) after"
echo still >&9 && exec 9>&- && [ "$(cat "$M/held")" = still ] && pass "a file that was open all the time" || fail "a file that was open all the time"
unmount_it
finish
