#!/bin/bash
# The index of pending work, asked by direct calls: a stock brick and ours must give the same answers and leave the same
# on the disk, except where index-known.tsv says why not. With the volfile of a replicated and of a dispersed volume.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
P=$B/tests/interop/index_probe
PORT=49200 # each brick gets another one

# brick_volfile LAYOUT DIRECTORY [PORT] -- a recorded volfile for a brick in DIRECTORY
brick_volfile() {
        sed -e "s#/srv/[a-z0-9]*/[a-z0-9]*#$2#g" \
                -e "/type protocol\/server/a\\    option transport.socket.listen-port ${3:-0}" \
                "$ROOT/tests/data/volfile/layouts/$1/brick-0.vol"
}

# make_brick LAYOUT DIRECTORY
make_brick() {
        local id
        mkdir -p "$2/.glusterfs" && chmod 755 "$2" && chmod 600 "$2/.glusterfs" # as stock's management daemon does
        id=$(sed -n 's/.*option volume-id \([0-9a-f]*-.*\)/\1/p' "$ROOT/tests/data/volfile/layouts/$1/brick-0.vol" | head -1)
        setfattr -n trusted.glusterfs.volume-id -v "0x${id//-/}" "$2"
}

# probe SERVER KIND LAYOUT DIRECTORY COMMAND… -- the transcript goes to $W/SERVER-KIND.txt
probe() {
        local server=$1 kind=$2 layout=$3 brick=$4 pid
        shift 4
        PORT=$((PORT + 1))
        make_brick "$layout" "$brick"
        brick_volfile "$layout" "$brick" $PORT >"$W/$server-$kind.vol"
        "$@" >"$W/$server-$kind.log" 2>&1 &
        pid=$!
        if ! until_true 20 eval "ss -Hltn 'sport = :$PORT' | grep -q ."; then
                fail "$server brick starts"
                tail -20 "$W/$server-$kind.log"
                return 1
        fi
        "$P" 127.0.0.1 $PORT "$brick" "$brick" "$kind" >"$W/$server-$kind.txt" || fail "$server $kind: the probe ends"
        kill $pid
        wait $pid 2>/dev/null
        [ -z "${KEEP:-}" ] || cp "$W/$server-$kind".* "$KEEP/"
}

storage fs 1G || { fail "XFS in a loop file"; finish; }
for kind in afr ec; do
        [ $kind = afr ] && layout=rep3 || layout=disp
        probe stock $kind $layout "$W/fs/stock-$kind" /usr/sbin/glusterfsd -N -f "$W/stock-$kind.vol" -l "$W/stock-$kind.log" \
                --brick-name "$W/fs/stock-$kind" --brick-port $((PORT + 1)) --xlator-option "$layout-server.listen-port=$((PORT + 1))"
        probe ours $kind $layout "$W/fs/ours-$kind" "$B/mortar-brick" --listen 127.0.0.1 --port $((PORT + 1)) --volfile "$W/ours-$kind.vol"
done
for server in stock ours; do sed 's/^/ec: /' "$W/$server-ec.txt" | cat "$W/$server-afr.txt" - >"$W/$server.txt"; done
python3 "$ROOT/tests/interop/compare.py" "$ROOT/tests/interop/index-known.tsv" stock "$W/stock.txt" ours "$W/ours.txt" || failures=1
finish
