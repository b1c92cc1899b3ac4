#!/bin/bash
# Bricks that are stopped and replaced in order: graceful.sh
# A replica 3 volume whose bricks have a process each, stock's client and self-heal daemon. What clients had just written must
# not need healing after `brick restart` and `volume stop`; under load, only what was written meanwhile may.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
T=$ROOT/tests/interop
HELD=50 LOAD=8
case ${TIER:-check} in full) ROUNDS=3 ;; *) ROUNDS=1 ;; esac
chmod 755 "$W"
B1=$W/fs/b1 B2=$W/fs/b2 B3=$W/fs/b3

# pending -- lines "BRICK GFID", one for each object that a brick remembers as not in order
pending() {
        local b
        for b in $B1 $B2 $B3; do
                find "$b/.glusterfs/indices/xattrop" "$b/.glusterfs/indices/dirty" -mindepth 1 -not -name 'xattrop-*' -not -name 'dirty-*' \
                        -printf "${b##*/} %f\n" 2>/dev/null
        done
}
nothing_pending() { [ -z "$(pending)" ]; }
pending_objects() { pending | cut -d' ' -f2 | sort -u | wc -l; }
# accused -- paths of files of which some brick says that another one lacks something, or that are dirty
accused() {
        local b
        for b in $B1 $B2 $B3; do
                (cd "$b" && getfattr -R -h -d -m 'trusted\.afr\.' -e hex . 2>/dev/null) |
                        awk '/^# file: /{f = $3} /=0x0*[1-9a-f]/ && f !~ /^\.glusterfs/ {print f}'
        done | sort -u
}
# restart N -- of brick N, by another process
restart() {
        local before
        before=$(brick_pid "$1")
        ours brick restart "$HOST:$W/fs/b$1" >"$W/out" 2>&1 && [ "$before" != "$(brick_pid "$1")" ] || { cat "$W/out"; return 1; }
}
brick_pid() { ours -o json volume status "$V" | python3 -c 'import json,sys; print(json.load(sys.stdin)["volumes"][0]["bricks"][int(sys.argv[1]) - 1]["pid"])' "$1"; }
brick_online() { ours -o json volume status "$V" | python3 -c 'import json,sys; b=json.load(sys.stdin)["volumes"][0]["bricks"]; sys.exit(not all(x["online"] for x in b))'; }
# clients_back N TIMES -- the client has connected to brick N that often
clients_back() { [ "$(grep -c "$V-client-$(($1 - 1)): Connected, attached" "$W/client-$V.log")" -ge "$2" ]; }
connected_times() { grep -c "$V-client-$(($1 - 1)): Connected, attached" "$W/client-$V.log"; }

start_hold() { # written files stay open, so that the client's post-op is still due
        rm -f "$W/hold.in" && mkfifo "$W/hold.in"
        python3 "$T/graceful_load.py" hold "$MNT" $HELD <"$W/hold.in" >"$W/hold.out" &
        HOLD=$!
        exec 7>"$W/hold.in"
        until_true 20 grep -q written "$W/hold.out"
}
end_hold() {
        exec 7>&-
        wait $HOLD
}

start_load() {
        mkdir -p "$W/load" "$MNT/load"
        python3 "$T/graceful_load.py" run "$MNT/load" $LOAD "$W/load" >"$W/load.out" 2>&1 &
        LOADER=$!
        load_goes_on
}
turns() { cat "$W/load/turns" 2>/dev/null || echo 0; }
turned() { [ "$(turns)" -ge "$1" ]; }
load_goes_on() { kill -0 $LOADER && until_true 60 turned $(($(turns) + 3)); }
pause_load() { touch "$W/load/pause"; until_true 30 test -e "$W/load/paused"; }
resume_load() { rm "$W/load/pause"; load_goes_on; }

start_shd() {
        /usr/sbin/glusterfs -s localhost --volfile-id "shd/$V" -p "$W/shd.pid" -l "$W/shd.log" --process-name glustershd \
                --client-pid=-6 --xlator-option "*replicate*.node-uuid=$NODE" || return 1
        until_true 20 eval "[ \$(grep -c 'Connected, attached' '$W/shd.log') -ge 3 ]"
}
nudge_shd() { kill "$(cat "$W/shd.pid")" && until_true 10 eval "! kill -0 $(cat "$W/shd.pid")"; start_shd; }

storage fs 4G || { fail "XFS in a loop file"; finish; }
MORTARD_ARGS="--bricks-per-process 1" start_ours || { fail "mortard starts"; finish; }
V=r3 MNT=$W/mnt NODE=$(python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))["uuid"])' "$W/ours/state/node.json")
ours volume create $V replica 3 "$HOST:$B1" "$HOST:$B2" "$HOST:$B3" force >/dev/null && ours volume start $V >/dev/null ||
        { fail "create and start"; finish; }
ours volume set $V cluster.self-heal-daemon on cluster.heal-timeout 5 >/dev/null
mount_stock $V "$MNT" || { fail "mount"; tail -20 "$W/client-$V.log"; finish; }

# ---- options reach clients that are mounted -------------------------------------------------------------------------------
echo before >"$MNT/kept" && exec 8<>"$MNT/kept"
check "volume set with a client" eval "ours volume set $V performance.read-ahead on performance.io-cache on >/dev/null"
check "the client switches to the new graph" until_true 30 eval "stat '$MNT' && grep -q 'switched to graph' <(grep -v 'graph 0 ' '$W/client-$V.log')"
check "a file stays open across the switch" eval "echo after >&8 && [ \"\$(cat '$MNT/kept')\" = after ]"
exec 8>&-
check "volume reset with a client" eval "ours volume reset $V performance.read-ahead >/dev/null"

# ---- just written, then restarted: nothing to heal ------------------------------------------------------------------------
for n in 1 2 3; do
        start_hold || fail "writing $HELD files"
        times=$(connected_times $n) begin=$(date +%s%N)
        check "brick $n: restart" restart $n
        took=$((($(date +%s%N) - begin) / 1000000))
        check "brick $n: the client is back" until_true 20 clients_back $n $((times + 1))
        end_hold
        if until_true 5 nothing_pending && [ -z "$(accused)" ]; then
                pass "brick $n: of $HELD files just written none needs healing (restart took $took ms)"
        else
                fail "brick $n: of $HELD files just written $(pending_objects) need healing (restart took $took ms)"
                accused | head -5
                grep -h "b$n" "$W"/ours/log/brick-*.log | tail -5
        fi
done

# ---- the same with SIGKILL, for comparison --------------------------------------------------------------------------------
times=$(connected_times 2) pid=$(brick_pid 2)
start_hold
kill -9 "$pid"
until_true 20 brick_online && until_true 20 clients_back 2 $((times + 1)) || fail "brick 2 comes back after SIGKILL"
end_hold
echo "# after SIGKILL of brick 2: $(pending_objects) of $HELD files need healing"
start_shd || { fail "stock's self-heal daemon connects"; tail -20 "$W/shd.log"; }
check "the self-heal daemon empties the indices after SIGKILL" until_true 60 nothing_pending

# ---- under load: only what was written meanwhile, and it heals ------------------------------------------------------------
for i in $(seq 100); do echo "idle $i" >"$MNT/idle-$i"; done
until_true 10 nothing_pending
start_load || fail "load"
for round in $(seq $ROUNDS); do
        for n in 1 2 3; do
                check "brick $n: restart under load" restart $n
                marked=$(pending_objects)
                load_goes_on || { fail "brick $n: the load goes on"; cat "$W/load.out"; }
                pause_load || { fail "brick $n: the load stands"; cat "$W/load.out"; }
                odd=$(accused | grep -v '^load' | head -5)
                if [ -z "$odd" ]; then pass "brick $n: only files that were being written need healing"; else fail "brick $n: $odd needs healing"; fi
                echo "# brick $n: $marked objects in the indices right after its restart, $LOAD files being written all the time"
                if until_true 60 nothing_pending; then pass "brick $n: healed"; else
                        nudge_shd
                        if until_true 60 nothing_pending; then pass "brick $n: healed by a new daemon"; else
                                fail "brick $n: not healed"
                                pending | head
                        fi
                fi
                resume_load || { fail "brick $n: the load goes on after healing"; cat "$W/load.out"; }
        done
done
touch "$W/load/stop"
check "the writers saw no error" wait $LOADER
cat "$W/load.out"
check "what was written is read" eval "cd '$MNT/load' && sha256sum --quiet -c '$W/load/sums'"
for b in $B1 $B2 $B3; do check "${b##*/} holds what was written" eval "cd '$b/load' && sha256sum --quiet -c '$W/load/sums'"; done
kill "$(cat "$W/shd.pid")"

# ---- volume stop: all bricks let go together ------------------------------------------------------------------------------
start_hold
check "volume stop" eval "ours volume stop $V >/dev/null"
end_hold 2>/dev/null
if nothing_pending && [ -z "$(accused)" ]; then pass "volume stop: of $HELD files just written none needs healing"; else
        fail "volume stop: $(pending_objects) of $HELD files just written need healing"
        accused | head -5
fi
umount -l "$MNT"
stop_ours
finish
