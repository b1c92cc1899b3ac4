#!/bin/bash
# The layers of our client (no mount) on volumes of one brick: stock's bricks and daemon, and ours; outages, TLS.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
PROBE=$B/tests/interop/volume_probe

storage fs 2G || { fail "XFS in a loop file"; finish; }

# brick_pid SERVER
brick_pid() { [ "$1" = stock ] && pgrep -x glusterfsd || pgrep -x mortar-brick; }
restart_brick() { # SERVER VOLUME -- as after a crash
        local pid
        pid=$(brick_pid "$1") && kill -9 "$pid" && until_true 10 eval "! kill -0 $pid"
        until_true 10 grep -qE "lost|closed|disconnect" "$W/probe.log" || fail "$1: the client does not notice"
        "$1" volume start "$2" force >/dev/null
}
probe() { "$PROBE" "$HOST" "$@" 2>"$W/probe.log" || { cat "$W/probe.log" >&2; return 1; }; }

for server in stock ours; do
        start_$server && volume $server v fs/$server || { fail "$server: a volume"; continue; }
        check "$server: tour" probe /v tour
        probe /v outage 6 >"$W/outage" & writer=$!
        until_true 10 grep -q locked "$W/outage"
        restart_brick $server v || fail "$server: the brick starts again"
        if wait $writer; then pass "$server: an outage is waited through ($(tail -1 "$W/outage"))"; else fail "$server: outage: $(cat "$W/outage")"; fi
        "$PROBE" "$HOST" /nothing refused >"$W/refused" 2>/dev/null
        check "$server: a volume that does not exist is named" grep -q "/nothing" "$W/refused"
        stop_$server
done

# ---- TLS, to bricks and daemon: stock looks for its certificates in OpenSSL's directory, so it gets a private one ----------
mkdir "$W/ssl" && mount --bind "$W/ssl" /usr/lib/ssl || { fail "a private certificate directory"; finish; }
printf '[req]\ndistinguished_name=d\n[d]\n' >"$W/openssl.cnf"
export OPENSSL_CONF=$W/openssl.cnf
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$W/ssl/glusterfs.key" -out "$W/ssl/glusterfs.pem" -days 30 -subj /CN=node 2>/dev/null
cp "$W/ssl/glusterfs.pem" "$W/ssl/glusterfs.ca"
touch /var/lib/glusterd/secure-access
start_stock && stock volume create t "$HOST:$W/fs/tls" force >/dev/null && stock volume set t client.ssl on >/dev/null &&
        stock volume set t server.ssl on >/dev/null && stock volume start t >/dev/null || fail "stock: a volume with TLS"
check "stock: tour through TLS" probe /t tour
mv /var/lib/glusterd/secure-access "$W/secure-access"
"$PROBE" "$HOST" /t refused >"$W/refused" 2>/dev/null
check "stock: without TLS the daemon is not reached, and that is said" grep -q "daemon $HOST:24007" "$W/refused"
mv "$W/secure-access" /var/lib/glusterd/secure-access
stop_stock
finish
