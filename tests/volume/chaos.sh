#!/bin/bash
# Random faults under replicated volumes, more than the unit tests run: chaos.sh [cluster] ROUNDS [FIRST-SEED]
#   cluster: whole clusters with their healer; prints what was done and which faults struck, too.
B=${MORTAR_BUILD:-$(cd "$(dirname "$0")/../.." && pwd)/build}
what=replicas program=afr_chaos
[ "${1:-}" = cluster ] && what=cluster program=cluster_chaos && shift
out=$(CHAOS_REPORT=1 CHAOS_ROUNDS=${1:-200} CHAOS_SEED=${2:-100000} "$B/tests/volume/volume_${program}_test" 2>&1)
status=$?
awk -v what=$what '/^\[ +OK \]/ { print "ok " what ": " $NF }
        /^\[ +FAILED +\] [a-z_]+$/ && !seen[$NF]++ { print "not ok " what ": " $NF ": see the log" }' <<<"$out"
sed -n '/^operations/,$p' <<<"$out"
[ $status = 0 ] || echo "$out" | grep -v '^\[' | tail -20 >&2
exit $status
