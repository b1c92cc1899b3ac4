#!/bin/bash
# The mount helper as administrators and the kubelet use it: what is typed is shown, failures say why and leave nothing, signals and
# dead servers, changed options.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
chmod 755 "$W"
for name in mount.glusterfs mount.mortar glusterfs; do ln -s "${MORTAR_MOUNT:-$B/mortar-mount}" "$W/$name"; done
M=$W/mnt
L=$W/mount.log
mkdir "$M"

# helper WORD… -- mount.glusterfs with these words; output in $W/out, status in $status, time in $took (ms)
helper() {
        local begin
        begin=$(date +%s%N)
        timeout 100 "$W/mount.glusterfs" "$@" >"$W/out" 2>&1
        status=$?
        took=$((($(date +%s%N) - begin) / 1000000))
}
mounted() { mountpoint -q "$M"; }
clients() { pgrep -f "^$W/(mount.glusterfs|mount.mortar|glusterfs) "; }
no_clients() { ! clients >/dev/null; }
shown() { awk -v m="$M" '$2 == m {print $1, $3}' /proc/mounts; }
unmount() { umount "$M" && until_true 10 no_clients || fail "$1: unmounting"; }
# refused NAME STATUS TEXT WORD… -- fails with status and text, says so in the log, leaves nothing
refused() {
        local name=$1 want=$2 text=$3
        shift 3
        rm -f "$L"
        helper "$@"
        if [ $status != "$want" ]; then fail "$name: status $status: $(tail -3 "$W/out")"
        elif ! grep -qF -- "$text" "$W/out"; then fail "$name: says '$(cat "$W/out")'"
        elif mounted; then fail "$name: something is mounted"; umount -l "$M"
        elif ! until_true 5 no_clients; then fail "$name: a client is left"
        else pass "$name ($took ms)"; fi
}
logged() { tail -1 "$L" | grep -qF -- "$2" && pass "$1: the last line of the log says why" || fail "$1: last line of the log: $(tail -1 "$L")"; }

storage fs 2G || { fail "XFS in a loop file"; finish; }
MORTARD_ARGS="--listen $HOST:24007" # nobody else on this machine answers
start_ours || { fail "mortard starts"; finish; }
volume ours v fs/v || fail "volume"
volume ours stopped fs/stopped && ours volume stop stopped >/dev/null
volume ours shard fs/shard && ours volume set shard features.shard on >/dev/null

# ---- what is typed is shown ----------------------------------------------------------------------------------------------
for spec in "$HOST:/v" "$HOST:v"; do
        helper "$spec" "$M" -o "rw,log-file=$L"
        [ $status = 0 ] && [ "$(shown)" = "$spec fuse.glusterfs" ] && pass "df shows $spec ($took ms)" || fail "$spec: $status $(shown) $(cat "$W/out")"
        [ "$(df --output=source "$M" | tail -1)" = "$spec" ] || fail "df of $spec: $(df "$M")"
        mkdir -p "$M/a/b" && echo inside >"$M/a/b/f"
        unmount "$spec"
done
for spec in "$HOST:/v/a/b" "$HOST:v/a/b"; do
        helper "$spec" "$M" -o "rw,log-file=$L"
        [ "$(shown)" = "$spec fuse.glusterfs" ] && [ "$(cat "$M/f")" = inside ] && [ "$(stat -c %i "$M")" = 1 ] &&
                pass "a directory of the volume as $spec" || fail "$spec: $status $(shown) $(cat "$W/out")"
        unmount "$spec"
done
timeout 60 "$W/glusterfs" --process-name fuse --volfile-server="$HOST" --volfile-id=/v --log-file="$L" "$M" && [ "$(shown)" = "$HOST:/v fuse.glusterfs" ] &&
        pass "glusterfs --volfile-server --volfile-id" || fail "client words: $(shown)"
grep -q "default_permissions,allow_other" <(grep " $M " /proc/mounts) && pass "mount table has default_permissions,allow_other" || fail "$(grep " $M " /proc/mounts)"
helper "$HOST:/v" "$M" -o "log-file=$L"
[ $status = 32 ] && grep -q "already mounted" "$W/out" && pass "mounting twice: 32" || fail "mounting twice: $status"
unmount "client words"
"$B/tests/interop/getspec" "$HOST:24007" v >"$W/v.vol" 2>/dev/null || true
if [ -s "$W/v.vol" ]; then
        timeout 60 "$W/glusterfs" -f "$W/v.vol" -l "$L" "$M" && [ "$(shown)" = "$W/v.vol fuse.glusterfs" ] && pass "a volfile instead of servers" || fail "volfile: $(shown)"
        unmount volfile
else
        skip "a volfile instead of servers: getspec gives none"
fi

# ---- failures ------------------------------------------------------------------------------------------------------------
refused "no such volume" 1 "there is no volume" "$HOST:/nosuch" "$M" -o "log-file=$L,log-level=ERROR" && logged "no such volume" "no volume for /nosuch"
refused "nobody listens" 1 "Connection refused" "127.0.0.9:/v" "$M" -o "log-file=$L,log-level=ERROR" && logged "nobody listens" "refused"
refused "name unknown" 1 "failed" "no-such-host.invalid:/v" "$M" -o "log-file=$L" && logged "name unknown" "no-such-host.invalid"
refused "stopped volume" 1 "stopped" "$HOST:/stopped" "$M" -o "log-file=$L,mount-timeout=3" && logged "stopped volume" "stopped"
refused "no such directory" 1 "failed" "$HOST:/v/no/dir" "$M" -o "log-file=$L,mount-timeout=5" && logged "no such directory" "subdirectory"
refused "sharded volume" 1 "features/shard" "$HOST:/shard" "$M" -o "log-file=$L" && logged "sharded volume" "stock client"
refused "unknown option" 1 "Invalid option: nosuch" "$HOST:/v" "$M" -o "nosuch=1"
refused "no mount point" 1 "Mount point does not exist" "$HOST:/v" "$W/none" -o "rw"
refused "a file as mount point" 1 "Mount point does not exist" "$HOST:/v" "$W/v.vol" -o "rw"
refused "over the root" 2 "Cannot mount over root" "$HOST:/v" /
refused "over /tmp" 2 "Cannot mount over /tmp" "$HOST:/v" /tmp
refused "over a brick" 2 "in use as a brick" "$HOST:/v" "$W/fs/v"
helper "$HOST:/v" "$M" -f
[ $status = 0 ] && ! mounted && pass "-f mounts nothing" || fail "-f: $status"
"$W/glusterfs" >"$W/out" 2>&1; [ $? = 255 ] && grep -q USAGE "$W/out" && pass "no words: 255" || fail "no words"
"$W/glusterfs" --nosuch "$M" >/dev/null 2>&1; [ $? = 64 ] && pass "unknown word: 64" || fail "unknown word"
"$W/glusterfs" --version | grep -q "^glusterfs 10.3" && "$W/mount.glusterfs" -V | grep -q glusterfs && pass "version" || fail "version"

# ---- servers that are dead -----------------------------------------------------------------------------------------------
helper "127.0.0.9:/v" "$M" -o "ro,auto_unmount,backup-volfile-servers=127.0.0.9:$HOST,log-file=$L,log-level=ERROR"
[ $status = 0 ] && [ "$(shown)" = "127.0.0.9:/v fuse.glusterfs" ] && pass "a backup server answers ($took ms)" || fail "backup server: $status $(cat "$W/out")"
touch "$M/x" 2>/dev/null && fail "ro: a file was made" || pass "ro"
[ "$(clients | wc -l)" = 2 ] && pass "auto_unmount keeps a watcher" || fail "auto_unmount: $(clients | wc -l) processes"
kill -9 "$(clients | head -1)"
until_true 5 eval '! mountpoint -q '"$M" && until_true 5 no_clients && pass "auto_unmount after kill -9" || fail "auto_unmount after kill -9"
# a server that accepts and never answers
python3 -c "
import socket, time
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('127.0.0.8', 24007)); s.listen(50)
time.sleep(300)" &
mute=$!
until_true 5 eval 'ss -ltn | grep -q 127.0.0.8:24007'
refused "a server that is mute" 1 "failed" "127.0.0.8:/v" "$M" -o "log-file=$L,mount-timeout=4"
logged "a mute server" "127.0.0.8:24007"
[ $took -lt 15000 ] && pass "a mute server: in time" || fail "a mute server: $took ms"
helper "127.0.0.8:/v" "$M" -o "backup-volfile-servers=$HOST,log-file=$L,mount-timeout=8"
[ $status = 0 ] && pass "a mute server with a backup ($took ms)" || fail "mute with backup: $(cat "$W/out")"
mounted && unmount "mute with backup"
kill $mute
# bricks that hang
pkill -STOP -x mortar-brick
refused "bricks that are stopped" 1 "failed" "$HOST:/v" "$M" -o "log-file=$L,mount-timeout=4"
logged "stopped bricks" "cannot be used"
[ $took -lt 25000 ] && pass "stopped bricks: in time" || fail "stopped bricks: $took ms"
pkill -CONT -x mortar-brick

# ---- a mount that lives ----------------------------------------------------------------------------------------------------
helper "$HOST:/v" "$M" -o "log-file=$L"
[ $status = 0 ] || fail "mount: $(cat "$W/out")"
mv "$L" "$L.old"
kill -HUP "$(clients)"
until_true 5 test -f "$L" && pass "HUP begins a new log" || fail "HUP"
kill -USR1 "$(clients)"
until_true 5 grep -q "objects" "$L" && pass "USR1 writes figures" || fail "USR1"
ours volume set v performance.md-cache-timeout 7 >/dev/null
until_true 10 grep -q "options of the volume" "$L" && pass "changed options are in force" || fail "changed options: $(tail -2 "$L")"
pid=$(clients)
rss=$(awk '/VmRSS/ {print $2}' "/proc/$pid/status")
[ "$rss" -lt 10240 ] && pass "an idle mount has $rss KiB" || fail "an idle mount has $rss KiB"
exec 9>"$M/held"
kill -TERM "$pid"
until_true 5 eval '! mountpoint -q '"$M" && pass "TERM unmounts, though busy" || fail "TERM"
exec 9>&-
until_true 10 no_clients && pass "TERM ends the client" || fail "TERM: the client stays"
# groups: a directory of group 590, a process with it as supplementary group
helper "$HOST:/v" "$M" -o "log-file=$L"
mkdir "$M/shared" && chown 0:590 "$M/shared" && chmod 2770 "$M/shared"
setpriv --reuid 592 --regid 592 --groups 590 sh -c "echo x >$M/shared/f" && [ "$(stat -c %g "$M/shared/f")" = 590 ] && pass "supplementary groups" || fail "supplementary groups"
setpriv --reuid 1001 --regid 1001 --clear-groups sh -c "echo x >$M/shared/g" 2>/dev/null && fail "a stranger writes" || pass "strangers are refused"
unmount groups
finish
