#!/bin/bash
# Brick sets change hands: handover.sh [LAYOUT-DIRECTION]…     layouts: dist2 rep3 arb ec      directions: to-ours to-stock (stock-stock)
# One owner's brick processes write a set (handover_set.py) and die by kill -9, one of them long before the others; the
# other owner's serve the same directories, finish the heals, and everything is as it was. Both times the definitions are
# those of a stock glusterd; Debian's client mounts. Without an argument: tier check runs one of the eight cells, another
# each day; full runs all.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
SET="python3 $ROOT/tests/interop/handover_set.py"
VOLS=/var/lib/glusterd/vols
COUNT=${COUNT:-10000}
CELLS=(dist2-to-ours rep3-to-stock ec-to-ours arb-to-stock rep3-to-ours dist2-to-stock arb-to-ours ec-to-stock)
if [ $# -gt 0 ]; then CELLS=("$@")
elif [ "${TIER:-check}" != full ]; then CELLS=("${CELLS[$(($(date +%s) / 86400 % 8))]}"); fi

layout_words() { case $1 in dist2) ;; rep3) echo replica 3 ;; arb) echo replica 3 arbiter 1 ;; ec) echo disperse 3 redundancy 1 ;; esac; }
layout_bricks() { case $1 in dist2) echo 1 2 ;; *) echo 1 2 3 ;; esac; }
brick() { echo "$W/fs/$V-b$1"; }
# Stock clients put off the last step of a change for a second, and forget it when they end: here they do not put it off.
layout_settings() {
        case $1 in
        rep3 | arb) echo cluster.post-op-delay-secs 0 ;;
        ec) echo disperse.eager-lock off; echo disperse.other-eager-lock off ;;
        esac
}
bricks() { local k; for k in $(layout_bricks "$LAYOUT"); do brick "$k"; done; }
layout_type() { case $LAYOUT in rep3) echo replicate ;; arb) echo arbiter ;; ec) echo disperse ;; esac; }
has_spare() { [ "$LAYOUT" != dist2 ]; } # may lose a brick

# ---- our processes, one per brick, by the stock brick's volfile ------------------------------------------------------------
declare -A PORT PID
serve_one() {
        local k=$1 p vol node
        p=$(brick "$k") vol=$W/$V-b$k.vol
        node=$(sed -n 's/^UUID=//p' /var/lib/glusterd/glusterd.info)
        sed "/type storage\/posix/a\\    option glusterd-uuid $node" "$VOLS/$V/$V.$HOST.${p//\//-}.vol" 2>/dev/null >"$vol" ||
                sed "/type storage\/posix/a\\    option glusterd-uuid $node" "$VOLS/$V/$V.$HOST.$(tr / - <<<"${p#/}").vol" >"$vol"
        rm -f "$W/port-$k"
        mkfifo "$W/port-$k"
        "$B/mortar-brick" --volfile "$vol" --listen "$HOST" --port-range 49152-60999 --ready-fd 3 --log-file "$W/$V-b$k.log" \
                3>"$W/port-$k" &
        PID[$k]=$!
        PORT[$k]=$(timeout 20 head -1 "$W/port-$k")
        [ -n "${PORT[$k]}" ] || { tail -5 "$W/$V-b$k.log"; return 1; }
}
# with_ports VOLFILE -- the client's volfile, told where our bricks listen
with_ports() {
        local k script=()
        for k in $(layout_bricks "$LAYOUT"); do
                script+=(-e "s|^\( *\)option remote-subvolume $(brick "$k")\$|&\n\1option remote-port ${PORT[$k]}|")
        done
        sed "${script[@]}" "$1"
}
# The disperse client takes sizes in readdirp from one brick, also from one that waits for self-heal.
mount_options() { if [ "$LAYOUT" = ec ]; then echo --use-readdirp=no; fi; }
# connected_to N -- so many bricks: a disperse client answers EBADFD to a listing that begins while one of its bricks connects
connected() { [ "$(grep -oE -- '-client-[0-9]+: Connected, attached' "$W/client-$V.log" | sort -u | wc -l)" -ge "$1" ]; }
connected_to() { until_true 20 connected "$1"; }
ours_up() { local k; for k in $(layout_bricks "$LAYOUT"); do serve_one "$k" || return 1; done; }
ours_kill() { kill -9 "${PID[$1]}" && wait "${PID[$1]}" 2>/dev/null; unset "PID[$1]"; }
ours_mount() {
        mkdir -p "$1"
        rm -f "$W/client-$V.log"
        with_ports "$VOLS/$V/trusted-$V.tcp-fuse.vol" >"$W/$V-fuse.vol"
        /usr/sbin/glusterfs --volfile="$W/$V-fuse.vol" --acl $(mount_options) --log-file="$W/client-$V.log" "$1" &&
                until_true 20 mountpoint -q "$1" && until_true 20 stat "$1/." && connected_to ${#PID[@]}
}
# What a self-heal daemon cannot heal in a round, because the parent is not there yet, it tries again after 600 s, or when it
# is started again.
ours_heal() {
        local round r=1 uuid
        uuid=$(sed -n 's/^UUID=//p' /var/lib/glusterd/glusterd.info)
        with_ports "$VOLS/$V/$V-shd.vol" >"$W/$V-shd.vol"
        for round in $(seq 20); do
                /usr/sbin/glusterfs -N --volfile="$W/$V-shd.vol" --log-file="$W/shd-$V.log" --process-name glustershd --client-pid=-6 \
                        --xlator-option "*replicate*.node-uuid=$uuid" &
                SHD=$!
                healed 8
                r=$?
                kill $SHD && wait $SHD 2>/dev/null
                [ $r != 0 ] || break
        done
        [ $r = 0 ] || head -5 "$W/waiting"
        return $r
}
ours_down() {
        local k
        for k in "${!PID[@]}"; do kill "${PID[$k]}"; wait "${PID[$k]}" || echo "brick $k: exit $?"; unset "PID[$k]"; done
}

# ---- stock processes -------------------------------------------------------------------------------------------------------
stock_up() {
        stock volume start "$V" >/dev/null || return 1
        [ "$(stock volume status "$V" detail | grep -c 'Online.*: Y')" = "$(layout_bricks "$LAYOUT" | wc -w)" ]
}
stock_pid() { pgrep -f -- "--brick-name $(brick "$1") "; }
stock_kill() { local p; p=$(stock_pid "$1") && kill -9 "$p" && until_true 10 eval "! kill -0 $p"; }
stock_mount() {
        rm -f "$W/client-$V.log"
        mount_stock "$V" "$1" --acl $(mount_options) && connected_to "$(pgrep -fc -- "--brick-name $W/fs/$V-b")"
}
stock_heal() {
        local round
        for round in $(seq 20); do
                stock volume heal "$V" >/dev/null
                healed 8 && return
        done
        return 1
}
stock_down() { stock volume stop "$V" force >/dev/null; }

# ---- what is looked at -----------------------------------------------------------------------------------------------------
purged() { ! find "$W"/fs/"$V"-b?/.glusterfs/landfill -mindepth 1 | grep -q .; }
healed() { python3 "$ROOT/tests/interop/replicas.py" wait "$1" $(bricks) >"$W/waiting"; } # SECONDS
clean() { # WHEN
        local k out bad=0
        for k in $(layout_bricks "$LAYOUT"); do
                out=$("$B/mortar" brick check "$(brick "$k")") || { bad=1; echo "$out" | tail -15; }
                grep -oE '^(note|error|repairable) +[^ ]+' <<<"$out" | sort | uniq -c | sed "s/^/# $CELL brick $k $1: /"
        done
        [ $bad = 0 ] && pass "$CELL: the checker finds nothing $1" || fail "$CELL: the checker has findings $1"
}
ids() { for k in $(layout_bricks "$LAYOUT"); do getfattr --absolute-names -m 'trusted.glusterfs.volume-id' -d -e hex "$(brick "$k")"; done; }
same() { # NAME EXPECTED ACTUAL
        if cmp -s "$2" "$3"; then pass "$CELL: $1"; else fail "$CELL: $1"; diff "$2" "$3" | head -10; fi
}

# ---- one cell --------------------------------------------------------------------------------------------------------------
write_set() { # OWNER
        local owner=$1 mnt=$W/mnt held
        stock volume set "$V" features.ctime off >/dev/null && stock volume set "$V" storage.gfid2path off >/dev/null &&
                "${owner}_up" && "${owner}_mount" "$mnt" && $SET old "$mnt" && umount "$mnt" && "${owner}_down" || return 1
        stock volume set "$V" features.ctime on >/dev/null && stock volume set "$V" storage.gfid2path on >/dev/null &&
                "${owner}_up" && "${owner}_mount" "$mnt" && $SET write "$mnt" "$COUNT" && umount "$mnt" || return 1
        if has_spare; then
                "${owner}_kill" 2 && "${owner}_mount" "$mnt" && $SET change "$mnt" && umount "$mnt" || return 1
        fi
        "${owner}_mount" "$mnt" || return 1
        coproc HOLD { $SET hold "$mnt"; }
        read -r -t 20 -u "${HOLD[0]}" held && [ "$held" = held ] || return 1
        $SET tree "$mnt" "$LAYOUT" >"$W/tree.before"
        for k in $(layout_bricks "$LAYOUT"); do
                has_spare && [ "$k" = 2 ] || "${owner}_kill" "$k" || return 1
        done
        umount -l "$mnt"
        kill $HOLD_PID 2>/dev/null
        wait $HOLD_PID 2>/dev/null
        pkill -9 -x glusterfs
        until_true 10 eval '! pgrep -x glusterfs'
        "${owner}_down"
        [ "$(find "$W"/fs/"$V"-b?/.glusterfs/unlink -type f | wc -l)" -ge 1 ] && [ "$(wc -l <"$W/tree.before")" -gt "$COUNT" ]
}
linkto_files() { find "$W"/fs/"$V"-b? -path '*/.glusterfs' -prune -o -type f -perm 1000 -print | wc -l; }

take_over() { # OWNER
        local owner=$1 mnt=$W/mnt held
        "${owner}_up" && "${owner}_mount" "$mnt" || return 1
        $SET tree "$mnt" "$LAYOUT" >"$W/tree.after"
        same "the mount shows what it showed before" "$W/tree.before" "$W/tree.after"
        check "$CELL: a little work under the new owner" $SET touch "$mnt"
        if has_spare; then
                check "$CELL: the heals finish under the new owner" "${owner}_heal"
                umount "$mnt" && "${owner}_mount" "$mnt" || return 1
                $SET tree "$mnt" "$LAYOUT" >"$W/tree.healed"
                same "and after the heals" "$W/tree.before" "$W/tree.healed"
        fi
        umount "$mnt"
        until_true 40 purged || fail "$CELL: what was removed is not deleted"
        "${owner}_down"
}

run_cell() {
        CELL=$1 LAYOUT=${1%%-*}
        local from=stock to=ours words=() k key value
        V=v-${CELL//-/_}
        case ${CELL#*-} in to-stock) from=ours to=stock ;; stock-stock) to=stock ;; esac # the last: what to expect of stock
        for k in $(layout_bricks "$LAYOUT"); do words+=("$HOST:$(brick "$k")"); done
        stock volume create "$V" $(layout_words "$LAYOUT") "${words[@]}" force >/dev/null || { fail "$CELL: create"; return; }
        while read -r key value; do stock volume set "$V" "$key" "$value" >/dev/null; done < <(layout_settings "$LAYOUT")
        ids >"$W/ids.before"
        if ! write_set $from; then
                fail "$CELL: $from writes the set"
                tail -5 "$W/client-$V.log" "$W"/"$V"-b?.log 2>/dev/null
                return
        fi
        [ "$LAYOUT" != dist2 ] || { local n; n=$(linkto_files); [ "$n" -gt 20 ] && pass "$CELL: $n linkto files" || fail "$CELL: $n linkto files"; }
        clean before
        has_spare && healed 0 && fail "$CELL: nothing waits for self-heal"
        take_over $to || { fail "$CELL: $to takes over"; tail -5 "$W/client-$V.log" "$W"/"$V"-b?.log 2>/dev/null; }
        clean after
        ids >"$W/ids.after"
        same "volume-ids are what they were" "$W/ids.before" "$W/ids.after"
        has_spare && check "$CELL: the bricks agree" python3 "$ROOT/tests/interop/replicas.py" "$(layout_type)" $(bricks)
        check "$CELL: the other checker agrees" python3 "$ROOT/tests/interop/brick_check.py" --old $(bricks)
        for k in $(layout_bricks "$LAYOUT"); do rm -rf "$(brick "$k")"; done
}

chmod 755 "$W"
storage fs 6G || { fail "XFS in a loop file"; finish; }
start_stock || { fail "stock glusterd starts"; finish; }
for cell in "${CELLS[@]}"; do
        begin=$SECONDS
        run_cell "$cell"
        echo "# $cell: $((SECONDS - begin)) s"
done
stop_stock
finish
