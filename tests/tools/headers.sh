#!/bin/bash
# Every header compiles alone. Prints one result line per header that does not, and one for all.
cd "$(dirname "$0")/../.." || exit 1
cc=${CC:-gcc} tmp=$(mktemp -d) bad=0 n=0
trap 'rm -rf "$tmp"' EXIT
for h in src/*/*.h; do
        n=$((n + 1))
        printf '#include "%s"\n#include "%s"\n' "${h#src/}" "${h#src/}" >"$tmp/one.c"
        if ! "$cc" -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -Wno-unused-parameter -Werror -Isrc -Iinclude -fsyntax-only "$tmp/one.c"; then
                echo "not ok header $h: does not compile alone"
                bad=1
        fi
done
[ $bad = 1 ] || echo "ok $n headers compile alone"
exit $bad
