#!/bin/bash
# What our mount caches: bounds, other clients' changes with and without bricks that tell of them, outages of the brick.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
case ${TIER:-check} in full) MANY=50000 ;; *) MANY=6000 ;; esac
chmod 755 "$W"
ln -s "${MORTAR_MOUNT:-$B/mortar-mount}" "$W/mount.glusterfs"
# client NAME VOLUME OPTIONS
client() {
        mkdir -p "$W/$1"
        until_true 10 eval "! pid_of $1" || fail "$1: the client of the mount before does not end" # figures are asked by its number
        timeout 60 "$W/mount.glusterfs" "$HOST:/$2" "$W/$1" -o "log-file=$W/$1.log${3:+,$3}" || fail "$1: mount"
}
pid_of() { pgrep -f "^$W/mount.glusterfs .* $W/$1 "; }
# figure NAME WORD -- from the figures that USR1 writes
figure() {
        local before
        before=$(grep -c "objects" "$W/$1.log")
        kill -USR1 "$(pid_of "$1")"
        until_true 5 eval '[ $(grep -c objects '"$W/$1.log"') -gt '"$before"' ]'
        grep objects "$W/$1.log" | tail -1 | grep -o "$2 [0-9]*" | grep -o '[0-9]*$'
}
ms() { echo $(($(date +%s%N) / 1000000)); }

storage fs 3G || { fail "XFS in a loop file"; finish; }
start_ours || { fail "mortard starts"; finish; }
volume ours v fs/v || fail "volume"

# ---- the limit ---------------------------------------------------------------------------------------------------------
client bounded v lru-limit=1000
mkdir "$W/bounded/many"
(cd "$W/bounded/many" && seq -f 'f%06g' 1 $MANY | xargs -n 500 touch)
ls -l "$W/bounded/many" | wc -l >"$W/n"
[ "$(cat "$W/n")" = $((MANY + 1)) ] || fail "listed $(cat "$W/n")"
n=$(figure bounded objects)
until_true 10 eval '[ $(figure bounded objects) -lt 1200 ]' && pass "lru-limit=1000: $n, then $(figure bounded objects) objects of $MANY" || fail "lru-limit: $(figure bounded objects) objects"
cd "$W/bounded/many" && stat -c %n . f000001 >/dev/null && pass "what was forgotten is found again" || fail "forgotten"
cd /
rss=$(awk '/VmRSS/ {print int($2 / 1024)}' "/proc/$(pid_of bounded)/status")
[ "$rss" -lt 30 ] && pass "RSS $rss MiB" || fail "RSS $rss MiB"
umount "$W/bounded" || fail "umount"

# ---- another client's changes, a second later at most ---------------------------------------------------------------------
client a v
client b v
echo one >"$W/a/f"
[ "$(cat "$W/b/f")" = one ] || fail "b does not see f"
echo longer >"$W/a/f"
begin=$(ms)
until_true 5 eval '[ "$(cat '"$W/b/f"')" = longer ]' && took=$(($(ms) - begin)) && [ $took -lt 2000 ] && pass "contents seen after $took ms" || fail "contents of another client: $(cat "$W/b/f")"
rm "$W/a/f"
begin=$(ms)
until_true 5 eval '! test -e '"$W/b/f" && took=$(($(ms) - begin)) && [ $took -lt 2000 ] && pass "removal seen after $took ms" || fail "removal"
umount "$W/a" "$W/b"

# ---- bricks that tell -----------------------------------------------------------------------------------------------------
# told LABEL [OPTIONS] -- nothing is asked for what is cached, and what another mount does is seen
told() {
        client a v "$2"
        client b v "$2"
        echo one >"$W/a/f"
        mkdir "$W/a/d"
        cat "$W/b/f" >/dev/null
        stat "$W/b/d" >/dev/null
        before=$(figure b requests)
        begin=$(ms)
        later() { stat "$W/b/f" >/dev/null; [ $(($(ms) - begin)) -gt 2100 ]; } # twice what is believed when nobody tells
        until_true 5 later || fail "$1: the clock stands still"
        [ "$(figure b requests)" -le $((before + 1)) ] && pass "$1: nothing is asked for what is cached" || fail "$1: asked: $before, $(figure b requests)"
        echo longer >"$W/a/f"
        begin=$(ms)
        until_true 5 eval '[ "$(cat '"$W/b/f"')" = longer ]' && pass "$1: told of a write: seen after $(($(ms) - begin)) ms" || fail "$1: told of a write: $(cat "$W/b/f")"
        chmod 700 "$W/a/d"
        until_true 5 eval '[ "$(stat -c %a '"$W/b/d"')" = 700 ]' && pass "$1: told of a chmod" || fail "$1: told of a chmod: $(stat -c %a "$W/b/d")"
        mv "$W/a/f" "$W/a/g"
        until_true 5 eval '! test -e '"$W/b/f" && [ "$(cat "$W/b/g")" = longer ] && pass "$1: told of a rename" || fail "$1: told of a rename"
        rm "$W/a/g"
        until_true 5 eval '! test -e '"$W/b/g" && pass "$1: told of a removal" || fail "$1: told of a removal"
        [ "$(figure b invalidations)" -ge 4 ] || fail "$1: invalidations: $(figure b invalidations)"
        rmdir "$W/a/d"
        umount "$W/a" "$W/b" || fail "$1: umount"
}
told "bricks that are asked to tell" "xlator-option=*-client-*.mortar.cache-invalidation=on"
client b v
echo x >"$W/b/f" && stat "$W/b/f" >/dev/null
before=$(figure b requests)
begin=$(ms)
later() { [ $(($(ms) - begin)) -gt 1500 ]; }
until_true 5 later
stat "$W/b/f" >/dev/null
[ "$(figure b requests)" -gt "$before" ] && pass "default options: asked again after a second" || fail "default options, and not asked again"
rm "$W/b/f"
umount "$W/b" || fail "umount"
ours volume set v features.cache-invalidation on >/dev/null && ours volume set v performance.cache-invalidation on >/dev/null &&
        ours volume set v performance.md-cache-timeout 60 >/dev/null || fail "volume set"
told "volume options"
client b v

# ---- the brick is away ----------------------------------------------------------------------------------------------------
client a v outage-wait=2
echo kept >"$W/a/x"
exec 8>>"$W/a/x"
ours volume stop v >/dev/null || fail "volume stop"
until_true 5 grep -qE "v-client-0.*(lost|disconnect|ended|closed)" "$W/a.log" || tail -3 "$W/a.log"
begin=$(ms)
timeout 20 stat -f "$W/a" >/dev/null 2>&1
took=$(($(ms) - begin))
[ $took -lt 7000 ] && pass "statfs answers after $took ms" || fail "statfs took $took ms"
begin=$(ms)
timeout 20 cat "$W/a/other" >/dev/null 2>"$W/err"
took=$(($(ms) - begin))
grep -q "not connected" "$W/err" && [ $took -ge 1000 ] && [ $took -lt 8000 ] && pass "operations wait, then fail: $took ms" || fail "outage: $took ms, $(cat "$W/err")"
timeout -s INT 1 cat "$W/a/other2" >/dev/null 2>&1
[ $? = 124 ] && pass "waiting can be interrupted" || fail "waiting cannot be interrupted"
ours volume start v >/dev/null
until_true 20 stat "$W/a/x" && pass "and is back" || fail "does not come back: $(tail -2 "$W/a.log")"
echo more >&8 && exec 8>&- && [ "$(cat "$W/a/x")" = "kept
more" ] && pass "a file that was open is written on" || fail "open file after the outage: $(cat "$W/a/x")"
umount "$W/a" "$W/b" || fail "umount"
finish
