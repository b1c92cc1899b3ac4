#!/bin/bash
# What our mount needs: idle, and after FILES (50000) files were walked: the kernel is asked to forget, and memory comes back under its
# bound. KIND: one or rep.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
FILES=${FILES:-50000}
KIND=${KIND:-one}
LIMIT=${LIMIT:-$((FILES < 500000 ? FILES / 5 : 65536))} # lru-limit of the mount that walks
chmod 755 "$W"
ln -s "${MORTAR_MOUNT:-$B/mortar-mount}" "$W/mount.glusterfs"
# client NAME OPTIONS
client() {
        mkdir -p "$W/$1"
        timeout 60 "$W/mount.glusterfs" "$HOST:/v" "$W/$1" -o "log-file=$W/$1.log${2:+,$2}" || fail "$1: mount"
}
pid_of() { pgrep -f "^$W/mount.glusterfs .* $W/$1 "; }
resident() { awk '/VmRSS/ {print $2}' "/proc/$(pid_of "$1")/status"; } # KiB
peak() { awk '/VmHWM/ {print $2}' "/proc/$(pid_of "$1")/status"; }
figure() { # NAME WORD -- from the figures that USR1 writes
        local before
        before=$(grep -c "objects" "$W/$1.log")
        kill -USR1 "$(pid_of "$1")"
        until_true 5 eval '[ $(grep -c objects '"$W/$1.log"') -gt '"$before"' ]'
        grep objects "$W/$1.log" | tail -1 | grep -o "$2 [0-9]*" | grep -o '[0-9]*$'
}

storage fs 8G || { fail "XFS in a loop file"; finish; }
start_ours || { fail "mortard starts"; finish; }
bricks=(fs/b1)
[ "$KIND" = rep ] && bricks=(replica 3 fs/b1 fs/b2 fs/b3)
volume ours v "${bricks[@]}" || { fail "a volume"; finish; }

# ---- idle ---------------------------------------------------------------------------------------------------------------
client idle
stat "$W/idle/." >/dev/null && echo x >"$W/idle/f" && [ "$(cat "$W/idle/f")" = x ] || fail "the idle mount does not work"
rss=$(resident idle)
[ "$rss" -lt 10240 ] && pass "an idle mount has $rss KiB" || fail "an idle mount has $rss KiB"

# ---- made, walked -------------------------------------------------------------------------------------------------------
umount "$W/idle" || fail "umount"
client maker lru-limit=4096
python3 - "$W/maker" "$FILES" 4 <<'X' || fail "making files"
import os, sys
top, total, workers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
def make(worker):
    for n in range(worker, total, workers):
        d = "%s/d%d" % (top, n // 1000)
        if n // workers % (1000 // workers) == 0:
            os.makedirs(d, exist_ok=True)
        os.close(os.open("%s/f%d" % (d, n), os.O_CREAT | os.O_EXCL | os.O_WRONLY))
children = []
for worker in range(workers):
    pid = os.fork()
    if pid == 0:
        make(worker)
        os._exit(0)
    children.append(pid)
sys.exit(any(os.waitpid(pid, 0)[1] for pid in children))
X
made=$(resident maker)
[ "$made" -lt 40960 ] && pass "making $FILES files: $made KiB afterwards" || fail "making $FILES files: $made KiB"
umount "$W/maker" || fail "umount"

client walker "lru-limit=$LIMIT"
began=$(resident walker)
n=$(find "$W/walker" -mindepth 2 -type f -size 0 | wc -l)
[ "$n" = "$FILES" ] && pass "a walk sees $n files" || fail "a walk sees $n of $FILES files"
few() { [ "$(figure walker objects)" -le $((LIMIT + LIMIT / 10 + 1200)) ]; } # directories are not asked for
until_true 60 few && pass "lru-limit=$LIMIT: $(figure walker objects) objects, $(figure walker evictions) were asked for" || fail "lru-limit=$LIMIT: $(figure walker objects) objects"
# 1 KiB for each object that may be known, with its names, and what a mount needs by itself
bound=$((10240 + LIMIT))
small() { [ "$(resident walker)" -lt $bound ]; }
until_true 20 small && pass "$(resident walker) KiB after the walk ($began before, $(peak walker) at most; bound $bound)" || fail "$(resident walker) KiB after the walk (bound $bound)"
# everything again, by several at once: the bound holds under load as well
WALKERS=
for i in 1 2 3; do find "$W/walker" -mindepth 2 -type f -newermt 2000-01-01 | wc -l >"$W/walk$i" & WALKERS="$WALKERS $!"; done
wait $WALKERS
[ "$(sort -u "$W"/walk? | paste -sd,)" = $FILES ] && pass "three walks at once see $FILES files" || fail "three walks see $(cat "$W"/walk? | paste -sd,)"
until_true 60 few && until_true 20 small && pass "$(resident walker) KiB after them" || fail "$(resident walker) KiB, $(figure walker objects) objects after them"
umount "$W/walker" || fail "umount"
finish
