#!/bin/bash
# mutants.sh [rotate K | NAME…] -- each planted bug of tests/volume/mutants.tsv has to be found by the tests of the client.
# The simulator runs the seeds of the unit tests.
#   rotate K: K of them, others with each commit; nothing: all.
# The sources are copied to a build of their own, one bug is planted, what depends on it is built and tested, and it is taken
# out again. A text that is not in its file exactly once is a failure: the table keeps up with the code.
set -u
cd "$(dirname "$0")/../.." || exit 1
ROOT=$PWD
TABLE=tests/volume/mutants.tsv
SCRATCH=${MUTANTS_DIR:-$ROOT/build-mutants}
# The quick ones first.
TESTS="volume/afr_judge volume/afr_lookup volume/afr_mark volume/afr_lk volume/afr_fault volume/afr_eager volume/afr_heal volume/afr_heal_entry
 volume/afr_heal_data volume/afr_heal_meta heal/healer heal/daemon heal/fault brick/index volume/cluster_chaos volume/remote volume/dht_rename"

programs() {
        for t in $TESTS; do
                echo "tests/${t%/*}/${t%/*}_${t#*/}_test"
        done
}

prepare() {
        mkdir -p "$SCRATCH/tree" || return 1
        git ls-files -z | tar --null -T - -cf - | tar -C "$SCRATCH/tree" -xf - --skip-old-files 2>/dev/null
        git ls-files -z | while IFS= read -r -d '' f; do
                cmp -s "$f" "$SCRATCH/tree/$f" || cp -p "$f" "$SCRATCH/tree/$f"
        done
        [ -f "$SCRATCH/build/build.ninja" ] || meson setup "$SCRATCH/build" "$SCRATCH/tree" >"$SCRATCH/setup.log" 2>&1 || return 1
        compile
}

compile() {
        ninja -C "$SCRATCH/build" $(programs) >"$SCRATCH/ninja.log" 2>&1
}

# replace FILE OLD NEW: once, or a failure.
replace() {
        python3 - "$@" <<'PY'
import sys
path, old, new = sys.argv[1:]
text = open(path).read()
if text.count(old) != 1:
    sys.exit(f'the text is {text.count(old)} times in the file')
open(path, 'w').write(text.replace(old, new))
PY
}

# The first test that fails, in FOUND.
find_it() {
        FOUND=
        for t in $TESTS; do
                if ! timeout 120 "$SCRATCH/build/tests/${t%/*}/${t%/*}_${t#*/}_test" >"$SCRATCH/test.log" 2>&1; then
                        FOUND=$t
                        return
                fi
        done
}

try() {
        local name=$1 file=$2 old=$3 new=$4 why
        if ! why=$(replace "$SCRATCH/tree/$file" "$old" "$new" 2>&1); then
                echo "not ok mutant $name: $file: $why"
                return 1
        fi
        if compile; then
                find_it
        else
                FOUND=compiler
        fi
        cp -p "$file" "$SCRATCH/tree/$file"
        touch "$SCRATCH/tree/$file"
        case $FOUND in
        compiler) echo "not ok mutant $name: does not compile, see $SCRATCH/ninja.log" ;;
        '') echo "not ok mutant $name: no test finds it" ;;
        *) echo "ok mutant $name found by $FOUND" && return 0 ;;
        esac
        return 1
}

chosen() {
        if [ "${1:-}" = rotate ]; then
                local n first
                n=$(grep -vc '^#' "$TABLE")
                first=$(($(git rev-list --count HEAD) * $2 % n))
                grep -v '^#' "$TABLE" "$TABLE" -h | tail -n "+$((first + 1))" | head -n "$2"
        elif [ $# -gt 0 ]; then
                for m; do grep -P "^$m\t" "$TABLE" || echo "$m"; done
        else
                grep -v '^#' "$TABLE"
        fi
}

ulimit -c 0
prepare || { echo "not ok mutants: the tree without bugs does not build, see $SCRATCH"; exit 1; }
find_it
[ -z "$FOUND" ] || { echo "not ok mutants: $FOUND fails without any bug"; exit 1; }
status=0
while IFS=$'\t' read -r name file old new; do
        try "$name" "$file" "$old" "$new" || status=1
done < <(chosen "$@")
exit $status
