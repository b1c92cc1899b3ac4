# nodes.sh -- nodes for tests of volumes with several bricks; source it after lib.sh.
#
# A node is a network namespace (address 10.98.1.N, a link to the bridge of the script's namespace), a mount namespace with a
# /run and directories of glusterfs of its own, and a host name. Processes belong to the script's process namespace, so they
# end with it. The script's own namespace is the client's: 10.98.1.254.
#
#   nodes_up COUNT                      makes the nodes
#   node N COMMAND…                     runs a command on a node
#   volume_make NAME LAYOUT [KEY=VALUE]…   brick directories, volfiles; LAYOUTS: one dist2 rep3 arb disp dist-rep
#   volume_start [KIND…]                starts the bricks; KIND of each node, the last one counts for all after it:
#       mortard   our brick, started and supervised by a mortard on the node, which also serves the volfiles
#       ours      our brick, started by hand with a volfile of ours (beside stock ones)
#       stock     glusterfsd, started by hand with a volfile of ours
#   node_start N [KIND]                 starts the node's brick (the program may change between starts)
#   node_stop N, node_kill_brick N      SIGTERM, SIGKILL, and waits until it is gone; mortard goes before, so it stays away
#   node_cut N, node_heal N             the node's link down, up
#   volume_mount NAME MOUNTPOINT [OPTION…]   Debian's FUSE client; log in $W/client-NAME.log
#   shd_start, shd_stop                 self-heal daemons, one per node: Debian's, or ours (HEALER=ours)
#   volume_stop                         ends the bricks
NODE_PORT=49152
NODE_UUID=8f7be0cb-6b1f-4a4d-a2ac-5a4e3c1f7a # and two digits for the node
VOLUME_ID=3f0e3a5c-8d0b-4c62-9a51-6f6a1d0c7e42 # what volgen writes
declare -A NODE_PID NODE_KIND BRICK_PID SHD_PID MORTARD_PID

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

# cell_of NAME… -- what of a matrix this run does: one, chosen by the commit, so that successive commits do them all; all in TIER full
cell_of() {
        [ "${TIER:-check}" != full ] || { echo "$@"; return; }
        local commit
        commit=$(git -C "$ROOT" rev-parse --short=7 HEAD 2>/dev/null) || commit=0
        shift $((16#$commit % $#))
        echo "$1"
}

# ---- volumes -------------------------------------------------------------------------------------------------------------
layout_bricks() {
        case $1 in one) echo 1 ;; dist2) echo 2 ;; dist-rep) echo 6 ;; *) echo 3 ;; esac
}
layout_words() {
        case $1 in one | dist2) ;; rep3 | dist-rep) echo "replica 3" ;; arb) echo "replica 3 arbiter 1" ;; disp) echo "disperse 3 redundancy 1" ;; esac
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

brick_check() {
        "$B/mortar" --mode=script brick check "$(brick_path "$1")" >"$W/check.out" 2>&1 || { cat "$W/check.out"; return 1; }
}

volume_make() {
        VOLUME=$1 LAYOUT=$2
        shift 2
        local n settings=() words=() s
        SETTINGS=("$@")
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

# ---- the programs of a node ------------------------------------------------------------------------------------------------
node_listens() { node "$1" ss -Hltn "sport = :$NODE_PORT" | grep -q .; }
node_mortar() { MORTAR_SOCKET=$W/node$1/run/mortard.sock "$B/mortar" --mode=script "${@:2}"; }

mortard_start() {
        local n=$1 d=$W/node$1
        mkdir -p "$d/state" "$d/run" "$d/log"
        nsenter -t "${NODE_PID[$n]}" --mount --net --uts "$B/mortard" --state-dir "$d/state" --run-dir "$d/run" --log-dir "$d/log" \
                --listen "*:24007" --hostname "$(node_address "$n")" --brick-ports $NODE_PORT-$NODE_PORT \
                --brick-program "${MORTAR_BRICK:-$B/mortar-brick}" --heal-program none >>"$d/log/mortard.log" 2>&1 &
        MORTARD_PID[$n]=$!
        until_true 10 node_mortar "$n" volume list || { tail -n 20 "$d/log/mortard.log"; return 1; }
}

# Stopping it leaves its bricks running.
mortard_stop() {
        [ -n "${MORTARD_PID[$1]:-}" ] || return 0
        kill "${MORTARD_PID[$1]}" 2>/dev/null
        wait "${MORTARD_PID[$1]}" 2>/dev/null
        MORTARD_PID[$1]=
}

# The volume becomes known to the node's mortard: all nodes import one record.
mortard_adopt() {
        local n=$1 i words=() s
        if [ ! -e "$W/volfiles/$VOLUME.record" ]; then
                for i in $(seq "$BRICKS"); do words+=("$(node_address "$i"):$(brick_path "$i")"); done
                node_mortar "$n" record define "$VOLUME" $(layout_words "$LAYOUT") "${words[@]}" force >"$W/volfiles/$VOLUME.record" || return 1
        fi
        setfattr -x trusted.glusterfs.volume-id "$(brick_path "$n")"
        node_mortar "$n" record import "$W/volfiles/$VOLUME.record" >/dev/null || return 1
        for s in "${SETTINGS[@]}"; do node_mortar "$n" volume set "$VOLUME" "${s%%=*}" "${s#*=}" >/dev/null || return 1; done
}

# the process of a program that runs on a node
node_pid_of() {
        local p
        for p in $(pgrep -x "$2"); do
                [ "$(readlink "/proc/$p/ns/net")" != "$(readlink "/proc/${NODE_PID[$1]}/ns/net")" ] || echo "$p"
        done
}

start_mortard_brick() {
        local n=$1
        [ -n "${MORTARD_PID[$n]:-}" ] || mortard_start "$n" || return 1
        if ! node_mortar "$n" volume info "$VOLUME" >/dev/null 2>&1; then mortard_adopt "$n" || return 1; fi
        node_mortar "$n" volume info "$VOLUME" | grep -q '^Status: Started' || node_mortar "$n" volume start "$VOLUME" >/dev/null || return 1
        until_true 20 node_listens "$n" || { tail -n 20 "$W/node$n/log/"*; return 1; }
        BRICK_PID[$n]=$(node_pid_of "$n" mortar-brick)
}

node_start() {
        local n=$1 kind=${2:-${NODE_KIND[$1]:-ours}} volfile=$W/volfiles/$VOLUME.brick$1 log=$W/$VOLUME-brick$1
        NODE_KIND[$n]=$kind
        case $kind in
        mortard)
                start_mortard_brick "$n"
                return
                ;;
        ours)
                nsenter -t "${NODE_PID[$n]}" --mount --net --uts "${MORTAR_BRICK:-$B/mortar-brick}" --port $NODE_PORT --volfile "$volfile" \
                        --log-file "$log.log" >>"$log.out" 2>&1 &
                ;;
        stock)
                nsenter -t "${NODE_PID[$n]}" --mount --net --uts /usr/sbin/glusterfsd -N -f "$volfile" --brick-name "$(brick_path "$n")" \
                        --brick-port $NODE_PORT --log-file "$log.log" >>"$log.out" 2>&1 &
                ;;
        esac
        BRICK_PID[$n]=$!
        until_true 20 node_listens "$n" || { tail -n 20 "$log".*; return 1; }
}

node_end() {
        [ -n "${BRICK_PID[$1]:-}" ] || return 0
        mortard_stop "$1"
        kill "$2" "${BRICK_PID[$1]}" 2>/dev/null
        wait "${BRICK_PID[$1]}" 2>/dev/null
        until_true 20 eval "! kill -0 ${BRICK_PID[$1]}" || return 1 # not a child of this shell when mortard started it
        BRICK_PID[$1]=
}
node_stop() { node_end "$1" -TERM; }
node_kill_brick() { node_end "$1" -KILL; }

volume_start() {
        local n kind=mortard
        for n in $(seq "$BRICKS"); do
                if [ $# -gt 0 ]; then kind=$1 && shift; fi
                node_start "$n" "$kind" || return 1
        done
}
volume_stop() {
        local n
        for n in $(seq "$BRICKS"); do
                [ -z "${MORTARD_PID[$n]:-}" ] || node_mortar "$n" volume stop "$VOLUME" >/dev/null
                node_stop "$n"
        done
}

managed() { [ "${NODE_KIND[1]}" = mortard ]; }

# volume_mount MOUNTPOINT [OPTION…] -- waits until the client is connected to every brick that runs
volume_mount() {
        local mnt=$1 n source=(-f "$W/volfiles/$VOLUME.client")
        shift
        if managed; then source=(--volfile-id="/$VOLUME" $(for n in $(seq "$BRICKS"); do echo "--volfile-server=$(node_address "$n")"; done)); fi
        mkdir -p "$mnt"
        /usr/sbin/glusterfs "${source[@]}" --log-level=INFO --log-file="$W/client-$VOLUME.log" "$@" "$mnt" || return 1
        until_true 20 mountpoint -q "$mnt" && until_true 20 stat "$mnt/." || return 1
        for n in $(seq "$BRICKS"); do
                [ -z "${BRICK_PID[$n]:-}" ] || client_sees "$mnt" "$n" 20 || return 1
        done
}

# client_sees MOUNTPOINT NODE SECONDS -- waits until the mount is connected to the node's brick
client_sees() { until_true "$3" grep -q '^connected = 1' "$1/.meta/graphs/active/$VOLUME-client-$(($2 - 1))/private"; }
client_lost() { until_true "$3" grep -q '^connected = 0' "$1/.meta/graphs/active/$VOLUME-client-$(($2 - 1))/private"; }

# heal_start N UUID -- our healer on node N
heal_start() {
        local source=(--volfile "$W/volfiles/$VOLUME.shd")
        if managed; then source=(--server "$(node_address "$1")"); fi
        nsenter -t "${NODE_PID[$1]}" --mount --net --uts "${MORTAR_HEAL:-$B/mortar-heal}" "${source[@]}" --local --node-uuid "$2" \
                --socket "$W/heal$1-$VOLUME.sock" "$VOLUME" >>"$W/heal$1-$VOLUME.log" 2>&1 &
        SHD_PID[$1]=$!
        until_true 10 "$B/mortar-heal" --socket "$W/heal$1-$VOLUME.sock" --status "$VOLUME" || tail -n 20 "$W/heal$1-$VOLUME.log"
}

# One daemon per node, each heals what the index of its own brick names; a brick is its own when it reports the host name.
shd_start() {
        local n uuid source
        for n in $(seq "$BRICKS"); do
                source=(-f "$W/volfiles/$VOLUME.shd") uuid=${NODE_UUID}0$n
                if managed; then
                        source=(-s "$(node_address "$n")" --volfile-id "shd/$VOLUME")
                        uuid=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["uuid"])' "$W/node$n/state/node.json")
                fi
                if [ "${HEALER:-stock}" = ours ]; then
                        heal_start "$n" "$uuid"
                        continue
                fi
                nsenter -t "${NODE_PID[$n]}" --mount --net --uts /usr/sbin/glusterfs -N "${source[@]}" --process-name glustershd \
                        --client-pid=-6 --log-file="$W/shd$n-$VOLUME.log" --xlator-option "*replicate*.node-uuid=$uuid" \
                        --xlator-option "*disperse*.node-uuid=$uuid" >>"$W/shd-$VOLUME.out" 2>&1 &
                SHD_PID[$n]=$!
        done
}
shd_stop() {
        kill "${SHD_PID[@]}" 2>/dev/null
        wait "${SHD_PID[@]}" 2>/dev/null || :
}
