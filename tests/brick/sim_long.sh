#!/bin/bash
# sim_long.sh -- many seeds of the simulated cluster and of the lock model, many rounds of random disk calls: the full
# tier's share of them.
B=${MORTAR_BUILD:-$(dirname "$0")/../../build}
run() {
        local name=$1
        shift
        if "$@" >"$B/check/$name.out" 2>&1; then echo "ok $name"; else tail -30 "$B/check/$name.out"; echo "not ok $name"; bad=1; fi
}
bad=0
MORTAR_SEEDS=${SEEDS:-5000} run sim-cluster-seeds "$B/tests/brick/brick_sim_brick_test"
MORTAR_ROUNDS=${ROUNDS:-2000} run random-disk-rounds "$B/tests/base/disk_random_test"
MORTAR_LOCK_MODEL_SEEDS=${LOCK_SEEDS:-5000} run lock-model-seeds "$B/tests/brick/brick_lock_model_test"
exit $bad
