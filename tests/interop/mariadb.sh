#!/bin/bash
# A MariaDB primary and two replicas of it, each on a mount of its own of one replicated volume, while every node is killed and
# comes back in turn: no error for the writer, all that was acknowledged is there, the three databases and the three bricks agree.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$ROOT/tests/interop/nodes.sh"
T=$ROOT/tests/interop
command -v mariadbd >/dev/null || PATH=$PATH:/usr/sbin
command -v mariadbd >/dev/null || { skip "mariadb: mariadb-server is not installed"; finish; }
chmod 755 "$W"
declare -A DB_PID
export HOME=$W HEALER=ours

sql() { mariadb --no-defaults --socket="$W/db$1.sock" --user=root --batch --skip-column-names "${@:2}"; }
# db_start N -- server N on the mount of node N
db_start() {
        mariadbd --no-defaults --user=root --datadir="$W/m$1/db$1" --socket="$W/db$1.sock" --pid-file="$W/db$1.pid" --port=$((3306 + $1)) \
                --bind-address=127.0.0.1 --server-id="$1" --log-bin=log --binlog-format=ROW --sync-binlog=1 --innodb-flush-log-at-trx-commit=1 \
                --innodb-buffer-pool-size=32M --innodb-log-file-size=8M --gtid-strict-mode=1 --sync-relay-log=1 --slave-net-timeout=5 \
                --log-error="$W/db$1.log" >>"$W/db$1.out" 2>&1 &
        DB_PID[$1]=$!
        until_true 120 sql "$1" -e "SELECT 1"
}
replicate() {
        sql "$1" -e "CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=3307, MASTER_USER='copy', MASTER_PASSWORD='copy',
                MASTER_CONNECT_RETRY=1, MASTER_USE_GTID=slave_pos; START SLAVE"
}
# Every transaction that was acknowledged is a line outside of the volume.
writer() {
        local id=0
        while [ ! -e "$W/stop" ]; do
                id=$((id + 1))
                sql 1 shop -e "START TRANSACTION; INSERT INTO orders (id, what) VALUES ($id, REPEAT(MD5($id), 20));
                        UPDATE stock SET n = n + 1 WHERE k = $((id % 10)); COMMIT" 2>>"$W/writer.err" || echo "$id" >>"$W/refused"
                echo "$id" >>"$W/acknowledged"
        done
}
acknowledged() { wc -l <"$W/acknowledged"; }
goes_on() { local from; from=$(acknowledged); until_true 60 eval '[ $(acknowledged) -ge '$((from + $1))' ]'; }
digest() { sql "$1" shop -e "SELECT COUNT(*), MAX(id) FROM orders; SELECT SUM(n) FROM stock; CHECKSUM TABLE orders, stock EXTENDED"; }
caught_up() { [ "$(digest "$1")" = "$(digest 1)" ]; }
# As a node sees it: healers' volfiles are for nodes only.
healed() {
        node 1 "$B/mortar-heal" --info --all --server "$(node_address 1)" db | python3 -c '
import json, sys
sys.exit(any(b["pending"] or b["split_brain"] or not b["connected"] for b in json.load(sys.stdin)["bricks"]))'
}
brick_paths() { for n in 1 2 3; do brick_path "$n"; done; }
nothing_pending() { python3 "$T/replicas.py" wait "$1" $(brick_paths); }

storage fs 6G || { fail "XFS in a loop file"; finish; }
nodes_up 3 && volume_make db rep3 cluster.heal-timeout=5 network.ping-timeout=5 && volume_start mortard || { fail "nodes, bricks"; finish; }
shd_start
ln -s "${MORTAR_MOUNT:-$B/mortar-mount}" "$W/mount.glusterfs"
for n in 1 2 3; do
        mkdir "$W/m$n"
        timeout 60 "$W/mount.glusterfs" "$(node_address "$n"):/db" "$W/m$n" -o "log-file=$W/m$n.log" || { fail "mount $n"; finish; }
        mkdir "$W/m$n/db$n"
        mariadb-install-db --no-defaults --user=root --datadir="$W/m$n/db$n" --skip-test-db --auth-root-authentication-method=normal \
                --skip-name-resolve >"$W/install$n.log" 2>&1 || { fail "mariadb-install-db: $(tail -3 "$W/install$n.log")"; finish; }
        db_start "$n" || { fail "database $n: $(tail -3 "$W/db$n.log")"; finish; }
done
pass "three databases run on three mounts"
sql 1 -e "CREATE USER 'copy'@'127.0.0.1' IDENTIFIED BY 'copy'; GRANT REPLICATION SLAVE ON *.* TO 'copy'@'127.0.0.1'" || fail "user"
replicate 2 && replicate 3 || fail "replication"
sql 1 -e "CREATE DATABASE shop; USE shop; CREATE TABLE orders (id INT PRIMARY KEY, what TEXT) ENGINE=InnoDB;
        CREATE TABLE stock (k INT PRIMARY KEY, n INT) ENGINE=InnoDB;
        INSERT INTO stock VALUES (0,0),(1,0),(2,0),(3,0),(4,0),(5,0),(6,0),(7,0),(8,0),(9,0)" || fail "tables"
: >"$W/acknowledged"
writer &
WRITER=$!
goes_on 30 || fail "the writer does not go on"
for n in 1 2 3; do
        node_cut "$n"
        node_kill_brick "$n" || fail "node $n: kill"
        if goes_on 40; then pass "node $n away: transactions go on"; else fail "node $n away: transactions do not go on"; break; fi
        node_heal "$n"
        node_start "$n" || { fail "node $n does not come back"; break; }
        goes_on 20 || fail "node $n is back: transactions do not go on"
        until_true 120 healed && pass "node $n: healed under the writers" || { fail "node $n: not healed"; break; }
done
touch "$W/stop"
wait $WRITER
[ ! -s "$W/refused" ] && pass "$(acknowledged) transactions, none was refused" || fail "refused: $(wc -l <"$W/refused"): $(head -3 "$W/writer.err")"
for n in 2 3; do until_true 60 caught_up "$n" && pass "replica $n has the same" || fail "replica $n: $(digest "$n") against $(digest 1); $(sql "$n" -E -e 'SHOW SLAVE STATUS' | grep -E 'Running|Error')"; done
last=$(tail -1 "$W/acknowledged")
[ "$(sql 1 shop -e "SELECT COUNT(*), MAX(id) FROM orders" | tr '\t' ' ')" = "$last $last" ] && pass "every acknowledged transaction is there" || fail "acknowledged $last, there are $(sql 1 shop -e "SELECT COUNT(*), MAX(id) FROM orders")"
for n in 3 2 1; do # the primary last: its replicas would miss it
        sql "$n" shop -e "CHECK TABLE orders, stock EXTENDED" | grep -qv 'OK$' && fail "database $n: CHECK TABLE"
        sql "$n" -e SHUTDOWN && wait "${DB_PID[$n]}" || fail "database $n ended badly"
        odd=$(grep -E '\[ERROR\]|Assertion|signal' "$W/db$n.log")
        [ -z "$odd" ] && pass "database $n saw no error" || fail "database $n: $(head -3 <<<"$odd")"
done
for n in 1 2 3; do umount "$W/m$n" || fail "umount $n"; done
nothing_pending 60 && pass "nothing is pending" || fail "something is pending"
check "the bricks agree" python3 "$T/replicas.py" replicate $(brick_paths)
shd_stop
volume_stop
for n in 1 2 3; do check "brick $n keeps the invariants" brick_check "$n"; done
[ -z "${KEEP_LOGS:-}" ] || cp "$W"/*.log "$KEEP_LOGS/"
finish
