#!/bin/bash
# probes.sh [WORDS…] -- the observations of brick.md as RPC probes, on a stock brick and on ours.
. "$(dirname "${BASH_SOURCE[0]}")/../interop/lib.sh"
if [ ! -x /usr/sbin/glusterfsd ] && [ "${ONLY:-}" != ours ]; then
        skip "conformance probes: no stock glusterfsd to compare with"
        finish
fi
storage fs 6G || { fail "XFS in a loop file"; finish; }
python3 "$ROOT/tests/probe/main.py" "$W/fs" "$@" || failures=1
finish
