#!/bin/bash
# Debian's self-heal daemon and heal-info program find their work by the index of our bricks: a brick dies, files change, it
# comes back, the daemon empties the indices and all bricks are the same. heal_index.sh [rep3|mixed|disp]…
# `mixed`: the second brick is a stock one. Without any management daemon: recorded volfiles, ports written into them.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ $# -gt 0 ] || set -- rep3 mixed disp
NODE=4a7c3f5e-2b0d-4c77-9d3c-5a2f0d9b1e10
PORT=49200
declare -A PIDS

layout_of() { case $1 in mixed) echo rep3 ;; *) echo "$1" ;; esac; }
recorded() { echo "$ROOT/tests/data/volfile/layouts/$(layout_of "$1")/$2"; }
brick_dir() { echo "$W/fs/$1-$2"; }
is_stock() { [ "$1" = mixed ] && [ "$2" = 1 ]; }

# brick_volfile CASE NUMBER PORT
brick_volfile() {
        local path
        path=$(sed -n 's/.*option directory //p' "$(recorded "$1" "brick-$2.vol")")
        sed -e "s#$path#$(brick_dir "$1" "$2")#g" -e '/listen-port/d' \
                -e "/type protocol\/server/a\\    option transport.socket.listen-port $3" \
                -e "/type storage\/posix/a\\    option glusterd-uuid $NODE\n    option hostname $(uname -n)" "$(recorded "$1" "brick-$2.vol")"
}

# client_volfile CASE FILE -- with the bricks' directories and ports
client_volfile() {
        local text n path
        text=$(sed -e 's/remote-host .*/remote-host 127.0.0.1/' "$(recorded "$1" "$2")")
        for n in 0 1 2; do
                path=$(sed -n 's/.*option directory //p' "$(recorded "$1" "brick-$n.vol")")
                text=$(sed "s#remote-subvolume $path\$#remote-subvolume $(brick_dir "$1" $n)\n    option remote-port $((PORT + n))#" <<<"$text")
        done
        echo "$text"
}

make_brick() {
        local d id
        d=$(brick_dir "$1" "$2")
        mkdir -p "$d/.glusterfs" && chmod 755 "$d" && chmod 600 "$d/.glusterfs"
        id=$(sed -n 's/.*option volume-id \([0-9a-f]*-.*\)/\1/p' "$(recorded "$1" "brick-$2.vol")" | head -1)
        setfattr -n trusted.glusterfs.volume-id -v "0x${id//-/}" "$d"
        brick_volfile "$1" "$2" $((PORT + $2)) >"$W/$1-$2.vol"
}

start_brick() {
        local port=$((PORT + $2))
        if is_stock "$1" "$2"; then
                /usr/sbin/glusterfsd -N -f "$W/$1-$2.vol" -l "$W/$1-$2.log" --brick-name "$(brick_dir "$1" "$2")" \
                        --brick-port $port >/dev/null 2>&1 &
        else
                "$B/mortar-brick" --listen 127.0.0.1 --port $port --volfile "$W/$1-$2.vol" >>"$W/$1-$2.log" 2>&1 &
        fi
        PIDS[$2]=$!
        until_true 20 eval "ss -Hltn 'sport = :$port' | grep -q ."
}

kill_brick() { # CASE NUMBER SIGNAL
        kill "-$3" "${PIDS[$2]}"
        wait "${PIDS[$2]}" 2>/dev/null
}

# entries CASE NUMBER -- names in the three directories, base files aside
entries() {
        local i
        i=$(brick_dir "$1" "$2")/.glusterfs/indices
        find "$i" -mindepth 2 ! -name 'xattrop-*' ! -name 'dirty-*' ! -name 'entry-changes-*' | wc -l
}
all_empty() { [ "$(($(entries "$1" 0) + $(entries "$1" 1) + $(entries "$1" 2)))" = 0 ]; }

# picture CASE NUMBER -- what a brick holds; of disperse, fragments differ, and so do attributes
picture() {
        local d
        d=$(brick_dir "$1" "$2")
        (cd "$d" && find . -path ./.glusterfs -prune -o -path './.glusterfs-anonymous-inode*' -prune -o -print | sort | while read -r f; do
                printf '%s %s ' "$f" "$(stat -c '%A %U %G' "$f")"
                getfattr -h --absolute-names -e hex -n trusted.gfid "$f" 2>/dev/null | sed -n 's/trusted.gfid=//p' | tr '\n' ' '
                [ "$(layout_of "$1")" = disp ] && getfattr -h --absolute-names -e hex -d -m 'trusted.ec.(size|version)' "$f" 2>/dev/null | grep = | grep -v '=0x0*$' | sort | tr '\n' ' '
                if [ -f "$f" ] && [ ! -L "$f" ]; then
                        if [ "$(layout_of "$1")" = disp ]; then stat -c %s "$f"; else md5sum <"$f"; fi
                elif [ -L "$f" ]; then readlink "$f"; else echo; fi
        done)
}

# not_zero CASE -- changelog attributes that still say something
not_zero() {
        local n
        for n in 0 1 2; do
                find "$(brick_dir "$1" $n)" -path '*/.glusterfs' -prune -o -print0 |
                        xargs -0 getfattr -h --absolute-names -e hex -d -m 'trusted.(afr|ec.dirty)' 2>/dev/null
        done | grep = | grep -v '=0x0*$'
}

# healed_info CASE -- the sum of "Number of entries"
heal_info() {
        /usr/lib/x86_64-linux-gnu/glusterfs/glfsheal "$(layout_of "$1")" volfile-path "$W/$1-client.vol" >"$W/$1-info" 2>&1 || return 1
        grep -q '^Number of entries: [0-9]' "$W/$1-info" && awk '/^Number of entries:/ {n += $4} END {print n}' "$W/$1-info"
}

change() { # with a brick missing
        cd "$1" || return 1
        mkdir dir/new && for i in $(seq 20); do echo "new $i" >"dir/new/f$i"; done && echo more >>file && rm gone &&
                mv moved dir/elsewhere && chmod 600 mode && setfattr -n user.key -v value attr && ln -s target dir/link && ln file dir/hard &&
                truncate -s 100000 long && rm -r tree
}

prepare() {
        cd "$1" || return 1
        mkdir dir tree tree/sub && for f in file gone moved mode attr long tree/sub/f; do echo "$f" >$f || return 1; done
}

run_case() {
        local case=$1 n mnt=$W/mnt-$1 info shd client
        for n in 0 1 2; do
                make_brick "$case" $n
                start_brick "$case" $n || { fail "$case: brick $n starts"; tail -5 "$W/$case-$n.log"; return; }
        done
        client_volfile "$case" client.vol >"$W/$case-client.vol"
        # names put away while the daemon was at work are for its next round; of disperse, rounds are at least a minute apart
        client_volfile "$case" shd.vol >"$W/$case-shd.vol"
        n=5
        [ "$(layout_of "$case")" = disp ] && n=60
        sed -i -e "s/.*option iam-self-heal-daemon .*/&\n    option heal-timeout $n/" "$W/$case-shd.vol"
        mkdir -p "$mnt"
        /usr/sbin/glusterfs -N -f "$W/$case-client.vol" -l "$W/$case-client.log" "$mnt" &
        client=$!
        until_true 20 mountpoint -q "$mnt" && until_true 20 stat "$mnt/." || { fail "$case: mount"; tail -20 "$W/$case-client.log"; return; }
        (prepare "$mnt") || { fail "$case: first files"; return; }
        kill_brick "$case" 2 KILL
        (change "$mnt") || { fail "$case: I/O goes on without a brick"; return; }
        check "$case: the indices have entries" [ "$(entries "$case" 0)" -gt 5 ]
        info=$(heal_info "$case")
        check "$case: heal info lists what is pending (${info:-nothing})" [ "${info:-0}" -gt 5 ]
        kill_brick "$case" 0 TERM
        start_brick "$case" 0 # entries of an earlier run are as good
        start_brick "$case" 2
        /usr/sbin/glusterfs -N -f "$W/$case-shd.vol" -l "$W/$case-shd.log" --process-name glustershd --client-pid=-6 \
                --xlator-option "*replicate*.node-uuid=$NODE" --xlator-option "*disperse*.node-uuid=$NODE" >/dev/null 2>&1 &
        shd=$!
        if until_true 150 all_empty "$case"; then pass "$case: the self-heal daemon empties the indices"
        else
                fail "$case: the indices are not empty: $(entries "$case" 0) $(entries "$case" 1) $(entries "$case" 2)"
                find "$(brick_dir "$case" 0)/.glusterfs/indices" | head -20
                grep -E ' [EW] ' "$W/$case-shd.log" | tail -20
        fi
        info=$(heal_info "$case")
        check "$case: heal info lists nothing" [ "${info:-none}" = 0 ]
        for n in 0 1 2; do picture "$case" $n >"$W/$case-$n.picture"; done
        check "$case: bricks 0 and 1 are the same" diff "$W/$case-0.picture" "$W/$case-1.picture"
        check "$case: bricks 0 and 2 are the same" diff "$W/$case-0.picture" "$W/$case-2.picture"
        if [ -z "$(not_zero "$case")" ]; then pass "$case: nothing is pending"; else fail "$case: still pending"; not_zero "$case" | head; fi
        umount "$mnt"
        wait $client
        kill $shd && wait $shd 2>/dev/null
        for n in 0 1 2; do kill_brick "$case" $n TERM; done
        [ -z "${KEEP:-}" ] || cp "$W/$case"* "$KEEP/" 2>/dev/null
        PORT=$((PORT + 3))
}

storage fs 2G || { fail "XFS in a loop file"; finish; }
for case in "$@"; do run_case "$case"; done
finish
