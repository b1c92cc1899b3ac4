# lib.sh -- shared by the tests against Debian's stock programs. Source it first; it re-runs the script in private
# namespaces (mount, network, pid), so nothing it starts or mounts outlives it and no name or port of the machine is used.
#
#   W            a working directory that is removed at the end      B  build directory of mortar
#   pass/fail/skip NAME [why]      result lines for tests/run.py     finish  exits with the right status

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
B=${MORTAR_BUILD:-$ROOT/build}

if [ -z "${MORTAR_NS:-}" ]; then
        exec env MORTAR_NS=1 unshare --mount --net --pid --fork --kill-child --mount-proc --propagation private \
                bash "$0" "$@"
fi

W=$(mktemp -d /var/tmp/mortar-test.XXXXXX) || exit 1
failures=0
cleanup() {
        local m
        for m in $(awk -v w="$W" '$2 ~ "^"w {print $2}' /proc/mounts | sort -r); do umount -l "$m" 2>/dev/null; done
        rm -rf --one-file-system "$W"
}
trap cleanup EXIT
trap 'exit 1' TERM INT

pass() { echo "ok $*"; }
skip() { echo "skip $*"; }
fail() { echo "not ok $*"; failures=$((failures + 1)); }
finish() { [ "$failures" = 0 ]; exit $?; }
# check NAME COMMAND… -- pass when the command succeeds
check() {
        local name=$1
        shift
        if "$@"; then pass "$name"; else fail "$name: '$*' failed"; fi
}
# until_true SECONDS COMMAND… -- waits for an event, looking again every 20 ms
until_true() {
        local tries=$(($1 * 50))
        shift
        until "$@" >/dev/null 2>&1; do
                tries=$((tries - 1))
                [ $tries -gt 0 ] || return 1
                sleep 0.02
        done
}

ulimit -c 0 # stock daemons may crash: no core files in the tree
ip link set lo up
mount -t tmpfs tmpfs /run
mkdir -p /var/lib/glusterd /var/log/glusterfs /run/gluster
mount -t tmpfs tmpfs /var/lib/glusterd
mount -t tmpfs tmpfs /var/log/glusterfs
if [ -d /var/lib/mortar ]; then mount -t tmpfs tmpfs /var/lib/mortar; fi
ip link add dummy0 type dummy 2>/dev/null && ip addr add 10.98.0.1/24 dev dummy0 && ip link set dummy0 up
HOST=10.98.0.1
ip addr show dev dummy0 >/dev/null 2>&1 || { HOST=10.98.0.1; ip addr add 10.98.0.1/32 dev lo; }

# storage NAME [SIZE] -- an XFS file system of its own at $W/NAME
storage() {
        mkdir -p "$W/$1"
        truncate -s "${2:-4G}" "$W/$1.img"
        mkfs.xfs -q -f "$W/$1.img" && mount -o loop,noatime "$W/$1.img" "$W/$1"
}

# ---- mortar ------------------------------------------------------------------------------------------------------------
start_ours() {
        mkdir -p "$W/ours/state" "$W/ours/run" "$W/ours/log"
        "$B/mortard" --state-dir "$W/ours/state" --run-dir "$W/ours/run" --log-dir "$W/ours/log" \
                --listen "*:24007" --hostname "$HOST" --brick-program "${MORTAR_BRICK:-$B/mortar-brick}" --heal-program "${MORTAR_KEEPS_HEALER:-none}" \
                ${MORTARD_ARGS:-} >"$W/ours/log/mortard.log" 2>&1 &
        MORTARD=$!
        export MORTAR_SOCKET=$W/ours/run/mortard.sock
        until_true 10 ours volume list || { cat "$W/ours/log/mortard.log"; return 1; }
}
ours() { "$B/mortar" --mode=script "$@"; }
stop_ours() {
        kill "$MORTARD" && wait "$MORTARD" 2>/dev/null
        pkill -x mortar-brick
        until_true 10 eval '! pgrep -x mortar-brick'
}

# ---- stock -------------------------------------------------------------------------------------------------------------
start_stock() {
        /usr/sbin/glusterd -N >"$W/glusterd.out" 2>&1 &
        GLUSTERD=$!
        until_true 20 stock volume list || { cat "$W/glusterd.out"; return 1; }
}
stock() { /usr/sbin/gluster --mode=script "$@"; }
stop_stock() {
        kill "$GLUSTERD" && wait "$GLUSTERD" 2>/dev/null
        pkill -x glusterfsd
        until_true 10 eval '! pgrep -x glusterfsd'
}

# volume SERVER NAME [WORD…] BRICK… -- makes and starts a volume of bricks below $W on SERVER (ours|stock); a brick has a slash
volume() {
        local server=$1 name=$2 b words=()
        shift 2
        for b in "$@"; do case $b in */*) words+=("$HOST:$W/$b") ;; *) words+=("$b") ;; esac; done
        $server volume create "$name" "${words[@]}" force >/dev/null && $server volume start "$name" >/dev/null
}

# mount_stock NAME MOUNTPOINT [OPTION…] -- Debian's FUSE client; its log is $W/client-NAME.log
mount_stock() {
        local name=$1 mnt=$2
        shift 2
        mkdir -p "$mnt"
        /usr/sbin/glusterfs --volfile-server="$HOST" --volfile-id="/$name" --log-level=INFO \
                --log-file="$W/client-$name.log" "$@" "$mnt" || return 1
        until_true 20 mountpoint -q "$mnt" && until_true 20 stat "$mnt/."
}

# client_log NAME -- every warning and error of the client's log must be in the reviewed list
client_log() {
        local log=$W/client-$1.log odd
        odd=$(grep -E '^\[[^]]*\] [EWCA] ' "$log" | grep -vEf <(grep -v '^#' "$ROOT/tests/interop/client-log-allowed.txt" | cut -f1))
        if [ -n "$odd" ]; then
                fail "client log of $1: $(wc -l <<<"$odd") lines not in the reviewed list"
                head -20 <<<"$odd"
                return 1
        fi
        pass "client log of $1 holds nothing unexpected"
}
