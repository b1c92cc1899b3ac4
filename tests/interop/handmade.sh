# handmade.sh -- volumes without a management daemon: the recorded volfiles of tests/data, with our directories and ports.
# Source it after lib.sh. A volume is called as its layout (arb, one, …); its bricks are the directories $W/fs/LAYOUT-N.

LAYOUTS=$ROOT/tests/data/volfile/layouts
HAND_PORT=${HAND_PORT:-49400}

hand_dir() { echo "$W/fs/$1-$2"; }
hand_port() { echo $((HAND_PORT + $2)); }

# hand_brick LAYOUT N [SED] -- makes directory and volfile of brick N; SED edits the volfile
hand_brick() {
        local layout=$1 n=$2 dir was id
        dir=$(hand_dir "$layout" "$n")
        was=$(awk '$2 == "directory" {print $3}' "$LAYOUTS/$layout/brick-$n.vol")
        id=$(awk '$2 == "volume-id" {gsub("-", "", $3); print $3; exit}' "$LAYOUTS/$layout/brick-$n.vol")
        mkdir -p "$dir/.glusterfs/indices"
        chmod 600 "$dir/.glusterfs"
        setfattr -n trusted.glusterfs.volume-id -v "0x$id" "$dir"
        sed -e "s|$was|$dir|g" -e "${3:-}" "$LAYOUTS/$layout/brick-$n.vol" >"$W/$layout-$n.vol"
}

# hand_start LAYOUT N [ours|stock] -- one process for the brick; its pid is in HAND_PID[N]
declare -A HAND_PID
hand_start() {
        local port
        port=$(hand_port "$1" "$2")
        if [ "${3:-ours}" = ours ]; then
                "$B/mortar-brick" --listen "$HOST" --port "$port" --volfile "$W/$1-$2.vol" \
                        --control "$W/$1-$2.control" --log-file "$W/$1-$2.log" &
        else
                sed "s|type protocol/server|&\n    option transport.socket.listen-port $port|" "$W/$1-$2.vol" >"$W/$1-$2.stock.vol"
                /usr/sbin/glusterfsd -N -f "$W/$1-$2.stock.vol" --brick-port "$port" -l "$W/$1-$2.log" &
        fi
        HAND_PID[$2]=$!
        until_true 10 eval "exec 9<>/dev/tcp/$HOST/$port" || { cat "$W/$1-$2.log"; return 1; }
}
hand_kill() {
        kill -9 "${HAND_PID[$1]}"
        wait "${HAND_PID[$1]}" 2>/dev/null
        return 0
}
hand_stop() {
        kill "${HAND_PID[$1]}" && wait "${HAND_PID[$1]}" 2>/dev/null
        return 0
}

# hand_client LAYOUT [SED] -- the client's volfile, $W/LAYOUT.vol
hand_client() {
        awk -v layout="$1" -v dir="$W/fs/$1-" -v port="$HAND_PORT" -v host="$HOST" '
                $1 == "volume" && $2 ~ layout "-client-[0-9]+$" {n = $2; sub(".*-", "", n)}
                $2 == "remote-host" {$3 = host; print "    option remote-port " port + n}
                $2 == "remote-subvolume" {$3 = dir n}
                {print}' "$LAYOUTS/$1/client.vol" | sed -e "${2:-}" >"$W/$1.vol"
}

# hand_mount LAYOUT MOUNTPOINT [OPTION…] -- Debian's FUSE client; its log is $W/client-NAME.log of the mount point's name
hand_mount() {
        local layout=$1 mnt=$2
        shift 2
        mkdir -p "$mnt"
        /usr/sbin/glusterfs -f "$W/$layout.vol" --log-level=INFO --log-file="$W/client-$(basename "$mnt").log" "$@" "$mnt" || return 1
        until_true 20 mountpoint -q "$mnt" && until_true 20 stat "$mnt/."
}
