#!/bin/bash
# Many changed volfiles, options and bricks in turn, more than the unit tests have: changes.sh COUNT
B=${MORTAR_BUILD:-$(cd "$(dirname "$0")/../.." && pwd)/build}
out=$(MORTAR_CHANGES=${1:-1000} "$B/tests/volume/volume_replace_test" 2>&1)
status=$?
awk '/^\[ +OK \]/ { print "ok volfiles: " $NF } /^\[ +FAILED +\] [a-z_]+$/ && !seen[$NF]++ { print "not ok volfiles: " $NF ": see the log" }' <<<"$out"
grep "bytes before" <<<"$out" >&2
[ $status = 0 ] || echo "$out" | grep -v '^\[' | tail -20 >&2
exit $status
