#!/bin/bash
# mortar-heal as an operator runs it, on our bricks and on stock's: what is to be healed, healing once, a replaced brick, asking a running one.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$ROOT/tests/interop/nodes.sh"
T=$ROOT/tests/interop
heal() { "$B/mortar-heal" --volfile "$W/volfiles/$VOLUME.shd" "$@" "$VOLUME"; }
brick_paths() { for n in $(seq "$BRICKS"); do brick_path "$n"; done; }
replicas_agree() { python3 "$T/replicas.py" wait 20 $(brick_paths) && python3 "$T/replicas.py" replicate $(brick_paths); }
# json EXPRESSION -- of what was printed last, as d
json() { python3 -c 'import json, sys; d = json.load(open(sys.argv[1])); sys.exit(not eval(sys.argv[2]))' "$W/out" "$1"; }

once_test() {
        local kind=$1 root
        volume_make "o-$kind" rep3 && volume_start "$kind" && volume_mount "$W/mnt-$kind" || { fail "$kind: start and mount"; return; }
        MNT=$W/mnt-$kind
        mkdir "$MNT/dir" && seq 1000 >"$MNT/dir/old" && node_kill_brick 2 && client_lost "$MNT" 2 20
        seq 20000 >"$MNT/dir/old" && echo new >"$MNT/new" && mkdir "$MNT/dir/below" && dd if=/dev/urandom of="$MNT/big" bs=1M count=5 status=none
        heal --timeout 2 --once >"$W/out" 2>"$W/err"
        check "$kind: without a brick nothing is healed, and it is told" test $? = 2
        check "$kind: the missing brick is named" json 'd["sets"][0]["waits_for"][0]["client"].endswith("client-1")'
        node_start 2 && client_sees "$MNT" 2 20
        heal --info >"$W/out" || fail "$kind: info"
        check "$kind: info names what is to be healed" json '"/dir/old" in [e["path"] for e in d["bricks"][0]["entries"]] and d["bricks"][1]["connected"]'
        check "$kind: healed once" heal --once
        check "$kind: the bricks agree" replicas_agree
        node_stop 3 && root=$(brick_path 3) && rm -rf "$root" && mkdir -p "$root/.glusterfs/indices"
        setfattr -n trusted.glusterfs.volume-id -v "0x${VOLUME_ID//-/}" "$root"
        node_start 3 && client_sees "$MNT" 3 20
        check "$kind: a replaced brick is marked" heal --mark-new "$VOLUME-client-2"
        check "$kind: and healed" heal --once --rate 4000000
        check "$kind: the bricks agree with the replaced one" replicas_agree
        HEALER=ours shd_start
        check "$kind: a running healer is told to look" "$B/mortar-heal" --socket "$W/heal1-$VOLUME.sock" --ask full "$VOLUME"
        "$B/mortar-heal" --socket "$W/heal1-$VOLUME.sock" --ask nonsense "$VOLUME" >/dev/null 2>&1
        check "$kind: and refuses what it does not know" test $? = 2
        shd_stop
        umount "$MNT" && volume_stop || fail "$kind: end"
}

storage fs 2G || { fail "XFS in a loop file"; finish; }
nodes_up 3 || { fail "nodes"; finish; }
for kind in ours stock; do once_test $kind; done
finish
