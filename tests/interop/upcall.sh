#!/bin/bash
# Two stock mounts with a long metadata cache on one brick: each sees at once what the other does, because the brick says so.
# With invalidation off in the brick the same mounts do not see it: the test can fail.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$ROOT/tests/interop/handmade.sh"

storage fs 1G || { fail "XFS in a loop file"; finish; }
A=$W/a D=$W/b
CACHED='/type performance\/md-cache/a\    option cache-invalidation on\n    option md-cache-timeout 600\n    option cache-posix-acl on'
hand_client one "$CACHED
/type performance\/quick-read/a\    option quick-read-cache-invalidation on\n    option cache-timeout 60"
mounts() {
        hand_mount one "$A" --attribute-timeout=0 --entry-timeout=0 &&
                hand_mount one "$D" --attribute-timeout=0 --entry-timeout=0
}

# cached COMMAND… -- what mount A is asked, so that it remembers
cached() { "$@" >/dev/null 2>&1; }
# sees NAME COMMAND… -- within two seconds; the cache would keep the old state for minutes
sees() {
        local name=$1
        shift
        if until_true 2 eval "$*"; then pass "$name"; else fail "$name: $*"; fi
}

size_is() { [ "$(stat -c %s "$A/$1")" = "$2" ]; }
mode_is() { [ "$(stat -c %a "$A/$1")" = "$2" ]; }
links_is() { [ "$(stat -c %h "$A/$1")" = "$2" ]; }
value_is() { [ "$(getfattr --only-values -n "$2" "$A/$1" 2>/dev/null)" = "$3" ]; }

hand_brick one 0 's/cache-invalidation off/cache-invalidation on\n    option cache-invalidation-timeout 600/'
hand_start one 0 || { fail "brick starts"; finish; }
mounts || { fail "mounts"; tail -5 "$W"/client-*.log; finish; }

echo one >"$D/f"
mkdir "$D/d"
cached stat "$A/f" && cached cat "$A/f" && cached ls -l "$A"
echo longer >>"$D/f"
sees "a longer file" size_is f 11
sees "… and its contents" cmp -s "$A/f" "$D/f"
truncate -s 3 "$D/f"
sees "a truncated file" size_is f 3
chmod 600 "$D/f"
sees "a mode" mode_is f 600
chown 1000:1000 "$D/f"
sees "an owner" '[ "$(stat -c %u "$A/f")" = 1000 ]'
touch -d '2001-02-03 04:05:06' "$D/f"
sees "a time" '[ "$(stat -c %Y "$A/f")" = "$(stat -c %Y "$D/f")" ]'
cached getfattr -d "$A/f"
setfattr -n user.k -v v1 "$D/f"
sees "a new xattr" value_is f user.k v1
setfattr -n user.k -v v2 "$D/f"
sees "a changed xattr" value_is f user.k v2
setfattr -x user.k "$D/f"
sees "a removed xattr" '! getfattr -n user.k "$A/f"'
ln "$D/f" "$D/d/second"
sees "a second name" links_is f 2
cached stat "$A/d/second"
rm "$D/d/second"
sees "a removed name" '[ ! -e "$A/d/second" ]'
sees "… and one link less" links_is f 1
mv "$D/f" "$D/g"
sees "the old name of a renamed file gone" '[ ! -e "$A/f" ]' # asked first: the client answers any name of what it knows
sees "… and the new one there" test -e "$A/g"
echo victim >"$D/v"
cached cat "$A/v" && cached cat "$A/g"
mv "$D/g" "$D/v"
sees "a replaced file" size_is v 3
cached stat "$A/d"
mtime=$(stat -c %Y "$A/d")
until_true 3 eval '[ $(date +%s) -gt "$mtime" ]'
mkdir "$D/d/sub"
sees "a directory's time" '[ "$(stat -c %Y "$A/d")" = "$(stat -c %Y "$D/d")" ]'
sees "a new directory" test -d "$A/d/sub"
rmdir "$D/d/sub"
sees "a removed directory" '[ ! -e "$A/d/sub" ]'
cached ls -l "$A/d"
echo x >"$A/back"
cached stat "$D/back"
echo longer >"$A/back"
if until_true 2 eval '[ "$(stat -c %s "$D/back")" = 7 ]'; then pass "the other direction"; else fail "the other direction"; fi
umount "$A" "$D"
hand_stop 0

hand_brick one 0
hand_start one 0 && mounts || { fail "second mounts"; finish; }
echo 1 >"$D/old"
cached stat "$A/old"
echo 12345 >"$D/old"
if size_is old 2; then
        pass "without invalidation the cache is stale"
else
        fail "this test cannot fail: the client does not cache"
fi
umount "$A" "$D"
hand_stop 0
finish
