#!/bin/bash
# variant.sh NAME MESON_OPTION… -- the unit suite in another build: build-NAME. Sanitizers stop at the first finding.
cd "$(dirname "$0")/../.." || exit 1
name=$1
shift
export ASAN_OPTIONS=detect_leaks=1:abort_on_error=1:strict_string_checks=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1
tests/tools/build.sh "build-$name" "$@" || exit 1
python3 tests/tools/meson_results.py "build-$name" --suite unit --suite process --timeout-multiplier 8 | sed -E "s/^(ok|not ok|skip) /\1 $name: /"
exit "${PIPESTATUS[0]}"
