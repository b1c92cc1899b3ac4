#!/bin/bash
# Our replicate layer (no mount) on stock's bricks: what it leaves on disk while a brick is away is what stock leaves
# (replicate.md §2), and Debian's self-heal daemon heals by it.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
PROBE=$B/tests/interop/replicate_probe

storage fs 2G || { fail "XFS in a loop file"; finish; }
probe() { "$PROBE" "$HOST" "$@" 2>"$W/probe.log" || { cat "$W/probe.log" >&2; return 1; }; }
# counter BRICK PATH KEY -- as 24 hexadecimal digits
counter() { getfattr --absolute-names -n "trusted.afr.$3" -e hex "$W/fs/$1/$2" 2>/dev/null | sed -n 's/.*=0x//p'; }
is_counter() { [ "$(counter "$1" "$2" "$3")" = "$4" ] || { echo "$1/$2 $3: $(counter "$1" "$2" "$3")"; return 1; }; }
is_clean() { case $(counter "$@") in '' | 000000000000000000000000) ;; *) echo "$*: $(counter "$@")"; return 1 ;; esac; }
all_clean() {
        local b p k
        for b in b0 b1 b2; do
                for p in . d mode moved new newdir fifo; do
                        for k in dirty v-client-0 v-client-1 v-client-2; do is_clean $b $p $k || return 1; done
                done
        done
}
same_bricks() {
        local b
        for b in b0 b1 b2; do
                (cd "$W/fs/$b" && find . -path ./.glusterfs -prune -o ! -name '.glusterfs*' -printf '%P %M %U:%G %l\n' | sort
                        cat moved new) >"$W/$b.list"
        done
        cmp "$W/b0.list" "$W/b1.list" && cmp "$W/b0.list" "$W/b2.list"
}
brick_pid() { pgrep -f "glusterfsd .*--brick-name $W/fs/$1( |$)"; }
nothing_pending() { [ "$(stock volume heal v info | grep -c '^Number of entries: 0$')" = 3 ] && all_clean; }

start_stock && volume stock v replica 3 fs/b0 fs/b1 fs/b2 || { fail "stock: a volume"; finish; }
check "operations with all bricks" probe /v make
all_clean_made() { is_clean b0 . dirty && is_clean b0 d/f dirty && is_clean b1 d/f dirty; }
check "nothing is left" until_true 10 all_clean_made
kill -9 "$(brick_pid b1)"
until_true 10 eval '! brick_pid b1'
check "operations without one" probe /v change
for b in b0 b2; do
        check "$b: append" is_counter $b moved v-client-1 000000010000000000000000
        check "$b: chmod" is_counter $b mode v-client-1 000000000000000100000000
        check "$b: create and write" is_counter $b new v-client-1 000000020000000100000000
        check "$b: mkdir" is_counter $b newdir v-client-1 000000010000000100000001
        check "$b: fifo" is_counter $b fifo v-client-1 000000000000000100000000
        check "$b: entries of the root" is_counter $b . v-client-1 000000000000000000000005
        check "$b: entries of d" is_counter $b d v-client-1 000000000000000000000001
        check "$b: nothing dirty" is_clean $b moved dirty
done
check "granular index" test -e "$W/fs/b0/.glusterfs/indices/entry-changes/00000000-0000-0000-0000-000000000001/new"
stock volume start v force >/dev/null
check "stock's daemon heals it" until_true 60 nothing_pending
check "the bricks are the same" same_bricks
check "all is found again" probe /v look
stop_stock
finish
