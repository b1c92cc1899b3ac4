#!/bin/bash
# Programs that lock on two mounts of Debian's client, on our brick: lock_mounts.sh
# Shared counters, hand-over without deadlock, an interrupted wait, holders that are killed, cleared locks.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
case ${TIER:-check} in full) TURNS=2000 ;; *) TURNS=300 ;; esac
chmod 755 "$W"
A=$W/mnt-a C=$W/mnt-c

P=$B/tests/interop/lock_programs
waiting() { ours metrics 2>/dev/null | awk '/^mortar_brick_locks_waiting/ {n += $2} END {print n + 0}'; }
waits() { [ "$(waiting)" -ge 1 ]; }
says() { grep -qx "$2" "$W/$1.out"; }

# start NAME VERB… -- a program in the background: its output in $W/NAME.out, its process id in $W/NAME.pid
start() {
        local name=$1
        shift
        rm -f "$W/$name.in" && mkfifo "$W/$name.in"
        "$P" "$@" <>"$W/$name.in" >"$W/$name.out" 2>&1 &
        echo $! >"$W/$name.pid"
}
end() { # NAME SIGNAL
        local pid
        pid=$(cat "$W/$1.pid")
        kill "-$2" "$pid" 2>/dev/null
        wait "$pid" 2>/dev/null
}

mounts() {
        mount_stock locks "$A" --direct-io-mode=enable && mv "$W/client-locks.log" "$W/client-a.log" &&
                mount_stock locks "$C" --direct-io-mode=enable
}

counter() { # KIND
        local f=counter-$1 p=() pid
        touch "$A/$f" && until_true 10 test -e "$C/$f"
        for m in "$A" "$C" "$A" "$C"; do
                "$P" count "$1" "$m/$f" $TURNS &
                p+=($!)
        done
        for pid in "${p[@]}"; do wait "$pid" || { fail "$1: a counting program ends"; return; }; done
        local n
        n=$(tr -d '\0' <"$A/$f")
        if [ "$n" = $((4 * TURNS)) ]; then pass "$1: four programs on two mounts counted to $n"; else fail "$1: counted to '$n', not $((4 * TURNS))"; fi
}

handover() {
        local one two
        touch "$A/ring" && until_true 10 test -e "$C/ring"
        timeout 100 "$P" ring fcntl "$A/ring" $TURNS 0 >"$W/ring.out" &
        one=$!
        until_true 10 says ring held
        timeout 100 "$P" ring fcntl "$C/ring" $TURNS 1 >/dev/null &
        two=$!
        if wait $one && wait $two; then pass "fcntl: two pass each other's byte $TURNS times"; else fail "fcntl: hand-over comes to a stop"; fi
}

# blocked KIND -- A holds, C waits, and the brick knows it
blocked() {
        local f=$1-$RANDOM
        touch "$A/$f" && until_true 10 test -e "$C/$f"
        FILE=$f
        start holder hold "$1" "$A/$f"
        until_true 10 says holder held || return 1
        start waiter wait "$1" "$C/$f"
        until_true 10 says waiter asking && until_true 10 waits
}

killed_holder() { # KIND
        blocked "$1" || { fail "$1: a lock blocks"; return; }
        end holder KILL
        if until_true 10 says waiter held; then pass "$1: the lock of a killed program is free"; else fail "$1: the lock of a killed program is kept"; fi
        end waiter TERM
}

handed_to_waiter() { # KIND
        blocked "$1" || { fail "$1: a lock blocks"; return; }
        says waiter held && fail "$1: two hold one lock"
        end holder TERM
        if until_true 10 says waiter held; then pass "$1: unlocking wakes the other mount"; else fail "$1: the other mount is not woken"; fi
        end waiter TERM
}

interrupted() { # KIND
        local f=interrupted-$1
        touch "$A/$f" && until_true 10 test -e "$C/$f"
        start holder hold "$1" "$A/$f"
        until_true 10 says holder held
        "$P" alarm "$1" "$C/$f" >"$W/alarm.out"
        if says alarm "errno EINTR"; then pass "$1: a signal interrupts who waits"; else fail "$1: interrupted: $(tail -1 "$W/alarm.out")"; fi
        if until_true 10 eval '! waits'; then pass "$1: … and the brick forgets the request"; else fail "$1: an interrupted request waits on"; fi
        end holder TERM
        if [ "$("$P" try "$1" "$A/$f")" = held ]; then pass "$1: … and nobody holds it afterwards"; else fail "$1: an interrupted request got the lock"; fi
}

cleared() {
        blocked fcntl || { fail "a lock blocks"; return; }
        local text
        # one call, where getfattr would ask for the size first
        text=$(python3 -c 'import os, sys; print(os.getxattr(sys.argv[1], "glusterfs.clrlk.tposix.kblocked").decode().rstrip("\0"))' "$A/$FILE")
        case $text in
        *"posix blocked locks=1 granted locks=0"*) pass "clear-locks: ${text##*/: }" ;;
        *) fail "clear-locks says '$text'" ;;
        esac
        # the kernel's FUSE makes ERESTARTSYS (512) of EINTR, which nobody restarts without a signal
        if until_true 10 says waiter "errno \(EINTR\|Unknown error 512\)"; then pass "clear-locks: who waited is told"; else fail "clear-locks: the waiter: $(tail -1 "$W/waiter.out")"; fi
        if [ "$("$P" try fcntl "$C/$FILE")" = "errno EAGAIN" ]; then pass "clear-locks: the holder keeps its lock"; else fail "clear-locks took the holder's lock"; fi
        end holder TERM
        end waiter TERM
}

killed_client() {
        blocked fcntl || { fail "a lock blocks"; return; }
        pkill -KILL -f "glusterfs.*$A\$"
        if until_true 10 says waiter held; then pass "the locks of a killed client are free at once"; else fail "the locks of a killed client are kept"; fi
        end holder KILL
        end waiter TERM
        umount -l "$A"
}

storage fs 2G || { fail "XFS in a loop file"; finish; }
start_ours || { fail "mortard starts"; finish; }
volume ours locks fs/b1 || { fail "the volume starts"; finish; }
for o in quick-read io-cache read-ahead write-behind stat-prefetch open-behind; do ours volume set locks performance.$o off >/dev/null; done
mounts || { fail "two mounts"; tail -30 "$W"/client-*.log; finish; }
for kind in fcntl flock; do
        counter $kind
        handed_to_waiter $kind
        killed_holder $kind
        interrupted $kind
done
handover
cleared
killed_client
held() { [ "$(ours metrics | awk '/^mortar_brick_locks_held/ {n += $2} END {print n + 0}')" = 0 ]; }
umount "$C"
check "no lock is left behind" until_true 20 held
finish
