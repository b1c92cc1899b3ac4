#!/bin/bash
# Our mount through TLS, to our bricks and to stock's: I/O, outages, who has no certificate or one of another authority, names that
# are not allowed, TLS to the management daemon, and TLS switched on under a mount.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
chmod 755 "$W"
ln -s "${MORTAR_MOUNT:-$B/mortar-mount}" "$W/mount.glusterfs"
M=$W/mnt
L=$W/mount.log
SECURE=/var/lib/glusterd/secure-access
mkdir "$M"

# Stock looks for its certificates in OpenSSL's directory, and ours where stock does: a private one.
mkdir "$W/ssl" && mount --bind "$W/ssl" /usr/lib/ssl || { fail "a private certificate directory"; finish; }
printf '[req]\ndistinguished_name=d\n[d]\n' >"$W/openssl.cnf"
export OPENSSL_CONF=$W/openssl.cnf
cd "$W" || exit 1
authority() { openssl req -x509 -newkey rsa:2048 -nodes -keyout "$1.key" -out "$1.pem" -days 30 -subj "/CN=$1" 2>/dev/null; }
# cert DIR CN AUTHORITY -- a certificate in DIR under stock's names
cert() {
        mkdir -p "$1"
        openssl req -newkey rsa:2048 -nodes -keyout "$1/glusterfs.key" -out req -subj "/CN=$2" 2>/dev/null
        openssl x509 -req -in req -CA "$3.pem" -CAkey "$3.key" -CAcreateserial -days 30 -out "$1/glusterfs.pem" 2>/dev/null
        cp "$3.pem" "$1/glusterfs.ca"
}
authority good && authority other
cert ssl node1 good
cert stranger node1 other
mkdir none && cp good.pem none/glusterfs.ca

clients() { pgrep -f "^$W/mount.glusterfs "; }
no_clients() { ! clients >/dev/null; }
# mount_it [OPTIONS] -- with what is in $CERTIFICATES as its own, in a mount namespace of its own, if that is not empty
mount_it() {
        local words=("$W/mount.glusterfs" "$HOST:/v" "$M" -o "log-file=$L${1:+,$1}")
        if [ -n "${CERTIFICATES:-}" ]; then
                timeout 60 unshare --mount sh -c 'mount --bind "$0" /usr/lib/ssl && exec "$@"' "$W/$CERTIFICATES" "${words[@]}" >"$W/out" 2>&1
        else
                timeout 60 "${words[@]}" >"$W/out" 2>&1
        fi
}
unmount_it() { umount "$M" && until_true 10 no_clients || fail "$server: unmount"; }
refused() { # NAME TEXT -- fails in time, says why
        rm -f "$L"
        if mount_it mount-timeout=4; then fail "$server: $1: it mounts"; unmount_it
        elif ! grep -qE -- "$2" "$W/out"; then fail "$server: $1: says '$(cat "$W/out")'"
        elif ! until_true 10 no_clients || mountpoint -q "$M"; then fail "$server: $1: something is left"
        else pass "$server: $1 is refused: $(head -1 "$W/out" | cut -c1-100)"; fi
}
io() {
        mkdir "$M/d$1" && cp "$W/data" "$M/d$1/f" && cmp "$W/data" "$M/d$1/f" && for i in $(seq 100); do echo "$i"; done >"$M/d$1/n" &&
                (cd "$M/d$1" && seq 100 | xargs -I{} sh -c 'echo {} >{}' && cat [0-9]* | sort -n | md5sum) | grep -q "$(seq 100 | md5sum | cut -c1-32)"
}

storage fs 2G || { fail "XFS in a loop file"; finish; }
head -c 8M /dev/urandom >"$W/data"
for server in ours stock; do
        brick=$([ $server = ours ] && echo mortar-brick || echo glusterfsd)
        rm -f $SECURE
        start_$server && volume $server v fs/$server || { fail "$server: a volume"; continue; }
        # ---- plain, then switched on: takes effect on the mount that is there -------------------------------------------------
        mount_it && io 1 && pass "$server: I/O without TLS" || fail "$server: without TLS: $(cat "$W/out")"
        exec 8>>"$M/open"
        $server volume set v server.ssl on >/dev/null && $server volume set v client.ssl on >/dev/null || fail "$server: volume set"
        $server volume stop v >/dev/null && $server volume start v >/dev/null || fail "$server: volume start"
        until_true 30 stat "$M/d1/f" && cmp "$W/data" "$M/d1/f" && echo later >&8 && [ "$(cat "$M/open")" = later ] &&
                pass "$server: TLS is switched on under the mount" || fail "$server: switched on: $(tail -3 "$L")"
        exec 8>&-
        unmount_it
        # ---- TLS from the beginning -----------------------------------------------------------------------------------------------
        mount_it && io 2 && pass "$server: I/O through TLS" || fail "$server: through TLS: $(cat "$W/out") $(tail -3 "$L")"
        kill -9 "$(pgrep -x $brick | head -1)"
        $server volume start v force >/dev/null
        until_true 30 stat "$M/d2/f" && io 3 && pass "$server: back after kill -9 of the brick" || fail "$server: after kill -9: $(tail -3 "$L")"
        unmount_it
        $server volume set v client.ssl off >/dev/null
        refused "a client without TLS" "TLS|connection|handshake|does not say"
        $server volume set v client.ssl on >/dev/null
        # ---- who is not let in ------------------------------------------------------------------------------------------------------
        CERTIFICATES=stranger refused "a certificate of another authority" "certificate|TLS"
        CERTIFICATES=none refused "no certificate" "no certificate file"
        $server volume set v auth.ssl-allow node7 >/dev/null && $server volume stop v >/dev/null && $server volume start v >/dev/null || fail "$server: auth.ssl-allow"
        refused "a name that is not allowed" "refuse|allow|denied|Authentication|connection was lost|closed"
        $server volume set v auth.ssl-allow node1,node7 >/dev/null && $server volume stop v >/dev/null && $server volume start v >/dev/null
        mount_it && [ -s "$M/d2/f" ] && pass "$server: a name that is allowed" || fail "$server: allowed name: $(cat "$W/out")"
        mountpoint -q "$M" && unmount_it
        # ---- the management daemon ----------------------------------------------------------------------------------------------------
        stop_$server
        touch $SECURE
        start_$server || { fail "$server: starts with secure-access"; continue; }
        $server volume start v force >/dev/null 2>&1
        mount_it && io 4 && pass "$server: the volfile through TLS" || fail "$server: volfile through TLS: $(cat "$W/out")"
        if mountpoint -q "$M"; then
                before=$(grep -c "Changed options" "$L")
                $server volume set v network.ping-timeout 37 >/dev/null
                until_true 20 eval '[ $(grep -c "Changed options" '"$L"') -gt '"$before"' ]' && pass "$server: told of changes through TLS" || fail "$server: changes through TLS"
                unmount_it
        fi
        rm $SECURE
        refused "the daemon without TLS" "daemon|failed"
        touch $SECURE
        stop_$server
done
finish
