#!/bin/bash
# probes.sh [WORDS…] -- the observations of brick.md as RPC probes, on a stock brick and on ours.
. "$(dirname "${BASH_SOURCE[0]}")/../interop/lib.sh"
if [ ! -x /usr/sbin/glusterfsd ] && [ "${ONLY:-}" != ours ]; then
        skip "conformance probes: no stock glusterfsd to compare with"
        finish
fi
storage fs 6G || { fail "XFS in a loop file"; finish; }
mkdir /run/bricks && mount --bind "$W/fs" /run/bricks # stock shows a brick's path up to the first dot
python3 "$ROOT/tests/probe/main.py" /run/bricks "$@" || failures=1
finish
