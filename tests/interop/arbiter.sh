#!/bin/bash
# Debian's stock client on an arbiter set of our bricks: names and attributes on all three, contents on two.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$ROOT/tests/interop/handmade.sh"

storage fs 2G || { fail "XFS in a loop file"; finish; }
for n in 0 1 2; do
        hand_brick arb $n
        hand_start arb $n || { fail "brick $n starts"; finish; }
done
hand_client arb
M=$W/mnt
hand_mount arb "$M" || { fail "mount"; tail -20 "$W/client-mnt.log"; finish; }
pass "the stock client mounts the arbiter set"

mkdir "$M/d" && for i in $(seq 200); do echo "content $i" >"$M/d/f$i"; done
dd if=/dev/urandom of="$M/big" bs=64k count=64 status=none
cp "$M/big" "$W/big"
echo tail >>"$M/big" && echo tail >>"$W/big"
truncate -s 3000000 "$M/big" && truncate -s 3000000 "$W/big"
fallocate -p -o 4096 -l 65536 "$M/big" && fallocate -p -o 4096 -l 65536 "$W/big"
fallocate -l 4M "$M/big" && truncate -s 4M "$W/big"
check "data reads back" cmp "$M/big" "$W/big"
chmod 640 "$M/big" && setfattr -n user.k -v v "$M/big" && ln "$M/big" "$M/big2" && mv "$M/d/f1" "$M/d/g1" && rm "$M/d/f2"
umount "$M"

names() { (cd "$1" && find . -path ./.glusterfs -prune -o -printf '%p %y %m %U %G %n\n' | sort); }
names "$(hand_dir arb 0)" >"$W/names0"
check "brick 1 has the names of brick 0" diff "$W/names0" <(names "$(hand_dir arb 1)")
check "the arbiter has the names of brick 0" diff "$W/names0" <(names "$(hand_dir arb 2)")
identity() { (cd "$1" && getfattr -R -h -d -m '^(trusted.gfid|user\.)' -e hex . 2>/dev/null | grep -v '^$'); }
identity "$(hand_dir arb 0)" >"$W/id0"
check "… and its gfids and user xattrs" diff "$W/id0" <(identity "$(hand_dir arb 2)")
data=$(find "$(hand_dir arb 2)" -path '*/.glusterfs' -prune -o -type f -size +0 -print)
if [ -z "$data" ]; then pass "the arbiter's files are empty"; else fail "contents on the arbiter: $data"; fi

hand_mount arb "$M" || fail "second mount"
hand_kill 1
check "with one data brick gone the other is read" cmp "$M/big" "$W/big"
check "… and writing goes on" bash -c 'echo more >>"$1" && echo new >"$2"' - "$M/big" "$M/new"
echo more >>"$W/big"
check "… to be read back" cmp "$M/big" "$W/big"
umount "$M"
hand_kill 0
hand_start arb 1
hand_mount arb "$M" 2>/dev/null
if cat "$M/big" >"$W/out" 2>/dev/null; then
        fail "stale data is read when only the arbiter knows better: $(stat -c %s "$W/out") bytes"
else
        pass "with the arbiter and a stale copy alone nothing stale is read"
fi
umount -l "$M"
finish
