#!/bin/bash
# Random faults under replicated volumes, more than the unit tests run: chaos.sh ROUNDS [FIRST-SEED]
B=${MORTAR_BUILD:-$(cd "$(dirname "$0")/../.." && pwd)/build}
out=$(CHAOS_ROUNDS=${1:-200} CHAOS_SEED=${2:-100000} "$B/tests/volume/volume_afr_chaos_test" 2>&1)
status=$?
awk '/^\[ +OK \]/ { print "ok replicas: " $NF } /^\[ +FAILED +\] [a-z_]+$/ && !seen[$NF]++ { print "not ok replicas: " $NF ": see the log" }' <<<"$out"
[ $status = 0 ] || echo "$out" | grep -v '^\[' | tail -20 >&2
exit $status
