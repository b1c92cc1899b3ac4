#!/bin/bash
# style.sh -- what the tree must look like: layers, headers, sizes, scripts.
cd "$(dirname "$0")/../.." || exit 1
bad=0
python3 tests/tools/includes.py || bad=1
tests/tools/headers.sh || bad=1
python3 tests/tools/sizes.py || bad=1
for s in $(git ls-files '*.sh' check demo .ci/run 2>/dev/null); do bash -n "$s" || { echo "not ok $s: does not parse"; bad=1; }; done
for f in $(git ls-files '*.py'); do python3 -c 'import ast,sys; ast.parse(open(sys.argv[1]).read())' "$f" || { echo "not ok $f: does not parse"; bad=1; }; done
python3 tests/interop/compat.py --check || bad=1
[ $bad = 0 ] && echo "ok scripts parse"
exit $bad
