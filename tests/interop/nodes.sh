# nodes.sh -- nodes for tests of volumes with several bricks; source it after lib.sh.
#
# A node is a network namespace (address 10.98.1.N, a link to the bridge of the script's namespace), a mount namespace with a
# /run and directories of glusterfs of its own, and a host name. Processes belong to the script's process namespace, so they
# end with it. The script's own namespace is the client's: 10.98.1.254.
#
#   nodes_up COUNT                      makes the nodes
#   node N COMMAND…                     runs a command on a node
#   volume_make NAME LAYOUT [KEY=VALUE]…   brick directories, volfiles; LAYOUTS: one dist2 rep3 arb disp dist-rep
#   node_start N [ours|stock]           starts the node's brick (the program may change between starts)
#   node_stop N, node_kill_brick N      SIGTERM, SIGKILL, and waits until it is gone
#   node_cut N, node_heal N             the node's link down, up
#   volume_mount NAME MOUNTPOINT [OPTION…]   Debian's FUSE client; log in $W/client-NAME.log
#   shd_start, shd_stop                 Debian's self-heal daemons, one per node
#   volume_stop                         ends the bricks
NODE_PORT=49152
NODE_UUID=8f7be0cb-6b1f-4a4d-a2ac-5a4e3c1f7a # and two digits for the node
VOLUME_ID=3f0e3a5c-8d0b-4c62-9a51-6f6a1d0c7e42 # what volgen writes
declare -A NODE_PID NODE_KIND BRICK_PID SHD_PID

node_address() { echo "10.98.1.$1"; }

# The first process of a node: makes the directories private, then waits to be killed.
node_main() {
        local d
        mount -t tmpfs tmpfs /run && mkdir -p /run/gluster
        for d in /var/lib/glusterd /var/log/glusterfs; do mount -t tmpfs tmpfs $d; done
        hostname "node$1"
        touch "$W/node$1.up"
        exec sleep infinity
}

nodes_up() {
        local n
        ip link add nodes type bridge forward_delay 0 && ip addr add 10.98.1.254/24 dev nodes && ip link set nodes up || return 1
        for n in $(seq "$1"); do
                export -f node_main
                W=$W unshare --mount --net --uts --propagation private bash -c "node_main $n" >"$W/node$n.out" 2>&1 &
                NODE_PID[$n]=$!
        done
        for n in $(seq "$1"); do
                until_true 10 test -e "$W/node$n.up" || { cat "$W/node$n.out"; return 1; }
                ip link add "node$n" type veth peer name eth0 netns "${NODE_PID[$n]}" || return 1
                ip link set "node$n" master nodes up
                node "$n" ip addr add "$(node_address "$n")/24" dev eth0
                node "$n" ip link set eth0 up
                node "$n" ip link set lo up
        done
        for n in $(seq "$1"); do until_true 10 eval "ip link show node$n | grep -q 'state UP'" || return 1; done
}

node() {
        local n=$1
        shift
        nsenter -t "${NODE_PID[$n]}" --mount --net --uts "$@"
}

node_cut() { ip link set "node$1" down; }
node_heal() { ip link set "node$1" up; }

# ---- volumes -------------------------------------------------------------------------------------------------------------
layout_bricks() {
        case $1 in one) echo 1 ;; dist2) echo 2 ;; dist-rep) echo 6 ;; *) echo 3 ;; esac
}
layout_type() {
        case $1 in one | dist2) echo distribute ;; rep3 | dist-rep) echo replicate ;; arb) echo arbiter ;; disp) echo disperse ;; esac
}

# What a stock management daemon sets when it creates such a volume.
layout_settings() {
        echo "storage.fips-mode-rchecksum=on transport.address-family=inet"
        case $1 in rep3 | dist-rep | arb) echo "cluster.granular-entry-heal=on performance.client-io-threads=off cluster.quorum-type=auto" ;; esac
}

brick_path() { echo "$W/fs/$VOLUME/brick$1"; }

volume_make() {
        VOLUME=$1 LAYOUT=$2
        shift 2
        local n settings=() words=() s
        for s in $(layout_settings "$LAYOUT") "$@"; do settings+=(-o "$s"); done
        BRICKS=$(layout_bricks "$LAYOUT")
        for n in $(seq "$BRICKS"); do
                mkdir -p "$(brick_path "$n")/.glusterfs/indices"
                setfattr -n trusted.glusterfs.volume-id -v "0x${VOLUME_ID//-/}" "$(brick_path "$n")" || return 1
                words+=("$(node_address "$n"):$(brick_path "$n")")
        done
        volfile() { "$B/tests/interop/volgen" "$VOLUME" "$(layout_type "$LAYOUT")" "$1" "${settings[@]}" "${words[@]}"; }
        mkdir -p "$W/volfiles"
        volfile client | sed "s/^ *option remote-host.*/&\n    option remote-port $NODE_PORT/" >"$W/volfiles/$VOLUME.client" || return 1
        case $(layout_type "$LAYOUT") in
        distribute) ;;
        *) volfile shd | sed "s/^ *option remote-host.*/&\n    option remote-port $NODE_PORT/" >"$W/volfiles/$VOLUME.shd" || return 1 ;;
        esac
        for n in $(seq "$BRICKS"); do
                volfile $((n - 1)) | sed "s/^ *type storage.posix/&\n    option glusterd-uuid ${NODE_UUID}0$n/
                        s/^ *type protocol.server/&\n    option transport.socket.listen-port $NODE_PORT/" >"$W/volfiles/$VOLUME.brick$n" || return 1
        done
}

node_listens() { node "$1" ss -Hltn "sport = :$NODE_PORT" | grep -q .; }

node_start() {
        local n=$1 kind=${2:-${NODE_KIND[$1]:-ours}} volfile
        volfile=$W/volfiles/$VOLUME.brick$n
        NODE_KIND[$n]=$kind
        case $kind in
        ours)
                nsenter -t "${NODE_PID[$n]}" --mount --net --uts "${MORTAR_BRICK:-$B/mortar-brick}" --port $NODE_PORT --volfile "$volfile" \
                        --log-file "$W/$VOLUME-brick$n.log" >>"$W/$VOLUME-brick$n.out" 2>&1 &
                ;;
        stock)
                nsenter -t "${NODE_PID[$n]}" --mount --net --uts /usr/sbin/glusterfsd -N -f "$volfile" --brick-name "$(brick_path "$n")" \
                        --brick-port $NODE_PORT --log-file "$W/$VOLUME-brick$n.log" >>"$W/$VOLUME-brick$n.out" 2>&1 &
                ;;
        esac
        BRICK_PID[$n]=$!
        until_true 20 node_listens "$n" || { tail -n 20 "$W/$VOLUME-brick$n".*; return 1; }
}

node_end() {
        [ -n "${BRICK_PID[$1]:-}" ] || return 0
        kill "$2" "${BRICK_PID[$1]}" 2>/dev/null
        wait "${BRICK_PID[$1]}" 2>/dev/null
        BRICK_PID[$1]=
}
node_stop() { node_end "$1" -TERM; }
node_kill_brick() { node_end "$1" -KILL; }

# volume_start [KIND…] -- every brick; node N runs the N-th kind, the last one given also those after it
volume_start() {
        local n kind=ours
        for n in $(seq "$BRICKS"); do
                if [ $# -gt 0 ]; then kind=$1 && shift; fi
                node_start "$n" "$kind" || return 1
        done
}
volume_stop() {
        local n
        for n in $(seq "$BRICKS"); do node_stop "$n"; done
}

# volume_mount MOUNTPOINT [OPTION…] -- waits until the client is connected to every brick that runs
volume_mount() {
        local mnt=$1 n
        shift
        mkdir -p "$mnt"
        /usr/sbin/glusterfs -f "$W/volfiles/$VOLUME.client" --log-level=INFO --log-file="$W/client-$VOLUME.log" "$@" "$mnt" || return 1
        until_true 20 mountpoint -q "$mnt" && until_true 20 stat "$mnt/." || return 1
        for n in $(seq "$BRICKS"); do
                [ -z "${BRICK_PID[$n]:-}" ] || client_sees "$mnt" "$n" 20 || return 1
        done
}

# client_sees MOUNTPOINT NODE SECONDS -- waits until the mount is connected to the node's brick
client_sees() { until_true "$3" grep -q '^connected = 1' "$1/.meta/graphs/active/$VOLUME-client-$(($2 - 1))/private"; }
client_lost() { until_true "$3" grep -q '^connected = 0' "$1/.meta/graphs/active/$VOLUME-client-$(($2 - 1))/private"; }

# One daemon per node, each heals what the index of its own brick names; a brick is its own when it reports the host name.
shd_start() {
        local n
        for n in $(seq "$BRICKS"); do
                nsenter -t "${NODE_PID[$n]}" --mount --net --uts /usr/sbin/glusterfs -N -f "$W/volfiles/$VOLUME.shd" --process-name glustershd \
                        --client-pid=-6 --log-file="$W/shd$n-$VOLUME.log" --xlator-option "*replicate*.node-uuid=${NODE_UUID}0$n" \
                        --xlator-option "*disperse*.node-uuid=${NODE_UUID}0$n" >>"$W/shd-$VOLUME.out" 2>&1 &
                SHD_PID[$n]=$!
        done
}
shd_stop() {
        kill "${SHD_PID[@]}" 2>/dev/null
        wait "${SHD_PID[@]}" 2>/dev/null || :
}
