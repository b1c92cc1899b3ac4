#!/bin/bash
# suite.sh -- builds the fuzz targets and runs them: 90 s in all, twenty minutes in the full tier; FUZZ_SECONDS=N for hours.
cd "$(dirname "$0")/../.." || exit 1
seconds=90
[ "${TIER:-check}" = full ] && seconds=1200
CC=clang tests/tools/build.sh build-fuzz -Dfuzz=true -Db_lundef=false || exit 1
tests/fuzz/run.sh "${FUZZ_SECONDS:-$seconds}" build-fuzz 2>&1 | tee build-fuzz/fuzz.out |
        sed -E 's/^(fuzz_[a-z_]+): (.*, nothing found)$/ok \1: \2/; s/^(fuzz_[a-z_]+): FAILED/not ok \1: a finding/'
exit "${PIPESTATUS[0]}"
