#!/bin/bash
# asan.sh -- the unit and wire suites under AddressSanitizer and UndefinedBehaviorSanitizer.
cd "$(dirname "$0")/../.." || exit 1
export ASAN_OPTIONS=detect_leaks=1:abort_on_error=1:strict_string_checks=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
tests/tools/build.sh build-asan -Db_sanitize=address,undefined -Dbuildtype=debugoptimized || exit 1
python3 tests/tools/meson_results.py build-asan --suite unit --timeout-multiplier 6 | sed -E 's/^(ok|not ok|skip) /\1 asan: /'
exit "${PIPESTATUS[0]}"
