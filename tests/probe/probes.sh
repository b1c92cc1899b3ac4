#!/bin/bash
# probes.sh [WORDS…] -- the observations of brick.md as RPC probes, on a stock brick and on ours.
. "$(dirname "${BASH_SOURCE[0]}")/../interop/lib.sh"
if [ ! -x /usr/sbin/glusterfsd ] && [ "${ONLY:-}" != ours ]; then
        skip "conformance probes: no stock glusterfsd to compare with"
        finish
fi
storage fs 6G || { fail "XFS in a loop file"; finish; }
mkdir /run/bricks && mount --bind "$W/fs" /run/bricks # stock shows a brick's path up to the first dot
# a stock brick follows links out of its directory: nothing but the bricks can be written meanwhile
for d in /*/; do
        case $d in /dev/ | /proc/ | /sys/ | /run/ | /tmp/ | /var/ | /lost+found/) continue ;; esac
        [ -L "${d%/}" ] || { mount --bind "$d" "$d" && mount -o remount,bind,ro "$d"; } ||
                { fail "a read-only view of $d"; finish; }
done
PYTHONDONTWRITEBYTECODE=1 python3 "$ROOT/tests/probe/main.py" /run/bricks "$@" || failures=1
finish
