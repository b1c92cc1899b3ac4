#!/bin/bash
# TLS with Debian's stock 10.3 programs: its client on our bricks and our management daemon, our client on its daemon.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
T=$B/tests/interop
SECURE=/var/lib/glusterd/secure-access

# Stock looks for its certificates in OpenSSL's directory: a private one.
mkdir "$W/ssl" && mount --bind "$W/ssl" /usr/lib/ssl || { fail "a private certificate directory"; finish; }
printf '[req]\ndistinguished_name=d\n[d]\n' >"$W/openssl.cnf"
export OPENSSL_CONF=$W/openssl.cnf
cd "$W" || exit 1
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 30 -subj /CN=authority 2>/dev/null
# cert DIR CN -- a certificate of the authority in DIR under stock's names
cert() {
        mkdir -p "$1"
        openssl req -newkey rsa:2048 -nodes -keyout "$1/glusterfs.key" -out "$W/req" -subj "/CN=$2" 2>/dev/null
        openssl x509 -req -in "$W/req" -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -out "$1/glusterfs.pem" 2>/dev/null
        cp ca.pem "$1/glusterfs.ca"
}
cert "$W/ssl" node1
cert "$W/other" node2

# restart_mortard [ARGS…] -- bricks go on
restart_mortard() {
        kill "$MORTARD" && wait "$MORTARD" 2>/dev/null
        MORTARD_ARGS="$*" start_ours
}
# options VOLUME "KEY VALUE"… -- what `volume set` would record; takes effect when mortard starts
options() {
        python3 - "$W/ours/state/volumes/$1.json" "${@:2}" <<'X'
import json, sys
path, words = sys.argv[1], sys.argv[2:]
record = json.load(open(path))
record["options"] = [w.split(" ", 1) for w in words]
json.dump(record, open(path, "w"))
X
        restart_mortard
}
mounts() { mount_stock "$@" 2>/dev/null; }
unmount() { umount "$1" 2>/dev/null; until_true 20 eval "! pgrep -f 'log-file=$W/client'"; }
refuses() { # NAME -- a mount that must not work
        local mnt=$W/refused
        mkdir -p "$mnt"
        /usr/sbin/glusterfs --volfile-server="$HOST" --volfile-id="/$1" --log-file="$W/client-$1.log" "$mnt"
        ! until_true 2 eval "mountpoint -q $mnt && timeout 1 stat $mnt/."
        local r=$?
        umount -l "$mnt" 2>/dev/null
        pkill -f "volfile-id=/$1" 2>/dev/null
        until_true 20 eval "! pgrep -f 'volfile-id=/$1'"
        return $r
}
logs_say() { until_true 10 eval "cat $W/ours/log/* | grep -q -- \"$1\""; }

storage fs 2G || { fail "XFS in a loop file"; finish; }
start_ours || { fail "mortard starts"; finish; }
volume ours v fs/b1 && volume ours w fs/b2 || { fail "volumes"; finish; }
head -c 8M /dev/urandom >"$W/data"

# ---- I/O -----------------------------------------------------------------------------------------------------------------
ON=("client.ssl on" "server.ssl on")
options v "${ON[@]}"
if mounts v "$W/m"; then
        pass "stock client mounts with TLS"
        mkdir "$W/m/dir" && cp "$W/data" "$W/m/dir/data" && cmp "$W/data" "$W/fs/b1/dir/data" && cmp "$W/data" "$W/m/dir/data" &&
                pass "content is written and read" || fail "content is written and read"
        for i in $(seq 200); do echo "$i" >"$W/m/dir/$i"; done
        check "200 files" test "$(cat "$W"/m/dir/[0-9]* | sort -n | md5sum)" = "$(seq 200 | md5sum)"
        dd if=/dev/zero bs=1M count=32 2>/dev/null | openssl enc -aes-128-ctr -K 0 -iv 0 2>/dev/null >"$W/big"
        (cp "$W/big" "$W/m/big" 2>/dev/null; echo $? >"$W/big.rc") &
        until_true 10 test -s "$W/fs/b1/big"
        kill -9 "$(pgrep -x mortar-brick)"
        wait $!
        until_true 30 stat "$W/m/dir/data"
        check "after kill -9 and reconnect the content is right" cmp "$W/data" "$W/m/dir/data"
        if [ "$(cat "$W/big.rc")" = 0 ]; then
                check "a copy that went on over kill -9 is whole" cmp "$W/big" "$W/m/big"
        else
                cp "$W/big" "$W/m/big" && check "a copy after kill -9 is whole" cmp "$W/big" "$W/m/big"
        fi
        unmount "$W/m"
        check "the brick keeps the invariants" python3 "$ROOT/tests/interop/brick_check.py" "$W/fs/b1"
else
        fail "stock client mounts with TLS"
        tail -20 "$W/client-v.log" "$W"/ours/log/*
fi
if mounts w "$W/m"; then pass "a volume without TLS beside it"; else fail "a volume without TLS beside it"; fi
unmount "$W/m"

options v "${ON[@]}" "auth.ssl-allow node1,other"
check "auth.ssl-allow admits a name" mounts v "$W/m"
unmount "$W/m"
options v "${ON[@]}" "auth.ssl-allow node7"
check "auth.ssl-allow refuses another" refuses v
check "our log says so" logs_say "certificate of 'node1') was refused brick"

options v "server.ssl on"
check "a client without TLS is refused" refuses v
check "our log says why" logs_say "does not speak TLS, and server.ssl is on"
options v "client.ssl on"
check "a client with TLS is refused by a plain brick" refuses v

# Two volumes with different certificates are served by two processes.
ours volume stop w >/dev/null
options w "${ON[@]}" "ssl.own-cert $W/other/glusterfs.pem" "ssl.private-key $W/other/glusterfs.key"
options v "${ON[@]}"
ours volume start w >/dev/null
check "different certificates: two brick processes" test "$(pgrep -x mortar-brick | wc -l)" = 2
check "the first volume" mounts v "$W/m"
unmount "$W/m"
check "the second volume" mounts w "$W/m"
unmount "$W/m"

# A brick whose certificate is missing is not served, and status says which file.
ours volume stop w >/dev/null
options w "${ON[@]}" "ssl.own-cert $W/missing.pem"
ours volume start w >"$W/start" 2>&1
check "a missing certificate is named" grep -q "there is no certificate file $W/missing.pem" "$W/start"

# ---- management ----------------------------------------------------------------------------------------------------------
options v "${ON[@]}"
touch "$SECURE" "$W/secure"
restart_mortard
check "mount with management and I/O encrypted" mounts v "$W/m"
check "content is there" cmp "$W/data" "$W/m/dir/data"
unmount "$W/m"
"$T/getspec" "$HOST:24007" v tls >"$W/spec"
check "our client asks our daemon, encrypted" grep -q "volume v-client-0" "$W/spec"
rm "$SECURE"
check "a client without secure-access is refused" refuses v
check "our log says why" logs_say "was turned away: the peer does not speak TLS"
restart_mortard
touch "$SECURE"
restart_mortard --secure-access-file "$W/none"
check "a client with secure-access is refused where it is off" refuses v
check "our log says why" logs_say "speaks TLS, and management is not encrypted here"
echo "option transport.socket.ssl-own-cert $W/nowhere.pem" >"$W/secure"
kill "$MORTARD" && wait "$MORTARD" 2>/dev/null
"$B/mortard" --state-dir "$W/ours/state" --run-dir "$W/ours/run" --log-dir "$W/ours/log" --listen "*:24007" \
        --secure-access-file "$W/secure" >"$W/refused.log" 2>&1 && fail "mortard without its certificate starts"
check "mortard without its certificate says which" grep -q "there is no certificate file $W/nowhere.pem" "$W/refused.log"
pkill -x mortar-brick
until_true 10 eval '! pgrep -x mortar-brick'

# ---- a stock daemon ------------------------------------------------------------------------------------------------------
if start_stock && volume stock s fs/s1; then
        "$T/getspec" "$HOST:24007" s tls >"$W/spec" 2>"$W/spec.err"
        check "our client asks a stock daemon, encrypted" grep -q "volume s-client-0" "$W/spec"
        "$T/getspec" "$HOST:24007" s >/dev/null 2>&1 && fail "a stock daemon answers in plain text"
        stop_stock
else
        fail "stock daemon with secure-access"
fi
finish
