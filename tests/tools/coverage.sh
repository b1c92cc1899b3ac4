#!/bin/bash
# coverage.sh [LEAST] -- branch coverage of replicate and of the healer by the tests of both and the simulator, per file.
# All branches that the compiler made count. LEAST: per cent of all together, below which it is a failure.
cd "$(dirname "$0")/../.." || exit 1
least=${1:-77}
B=build-coverage
tests/tools/build.sh $B -Db_coverage=true >$B.log 2>&1 || { tail -5 $B.log; echo "not ok coverage: does not build"; exit 1; }
find $B -name '*.gcda' -delete
python3 tests/tools/meson_results.py $B --suite unit --timeout-multiplier 20 >$B.log 2>&1 ||
        { grep '^not ok' $B.log | sed 's/^not ok /not ok coverage: /'; exit 1; }
exec python3 tests/tools/branches.py $B "$least" src/volume/afr src/heal/crawl.c src/heal/healer.c
