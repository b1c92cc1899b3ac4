#!/bin/sh
# Runs every fuzz target of a build made with -Dfuzz=true, each for its share of SECONDS. Fails on the first finding of any
# target and names the input that reproduces it.
# usage: run.sh SECONDS BUILD_DIR [TARGET…]
set -eu

seconds=${1:?usage: run.sh SECONDS BUILD_DIR [TARGET…]}
dir=${2:?usage: run.sh SECONDS BUILD_DIR [TARGET…]}/tests/fuzz
shift 2
if [ $# -eq 0 ]; then
        for binary in "$dir"/fuzz_*; do
                if [ -f "$binary" ] && [ -x "$binary" ]; then
                        name=${binary##*/fuzz_}
                        set -- "$@" "$name"
                fi
        done
fi
if [ $# -eq 0 ]; then
        echo "no fuzz targets in $dir: CC=clang meson setup -Dfuzz=true …, then ninja" >&2
        exit 1
fi

# the brick as a whole gets four times the share of a decoder
weight() {
        case $1 in brick | process) echo 4 ;; *) echo 1 ;; esac
}
total=0
for name in "$@"; do
        total=$((total + $(weight "$name")))
done
export ASAN_OPTIONS="malloc_context_size=3${ASAN_OPTIONS:+:$ASAN_OPTIONS}" # short traces of allocations: a third faster
findings=$dir/findings
mkdir -p "$findings"
failed=0
for name in "$@"; do
        corpus=$dir/corpus/$name
        share=$((seconds * $(weight "$name") / total))
        [ "$share" -gt 0 ] || share=1
        mkdir -p "$corpus"
        log=$findings/$name.log
        if "$dir/fuzz_$name" -max_total_time="$share" -timeout=10 -rss_limit_mb=2048 -max_len=16384 \
                -print_final_stats=1 -artifact_prefix="$findings/$name-" "$corpus" >"$log" 2>&1; then
                runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
                echo "fuzz_$name: $runs runs in $share s, nothing found"
        else
                failed=1
                echo "fuzz_$name: FAILED" >&2
                grep -E '^SUMMARY|ERROR: |runtime error|Assertion' "$log" >&2 || tail -n 20 "$log" >&2
                input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
                echo "reproduce with: $dir/fuzz_$name ${input:-(no input was written; see $log)}" >&2
        fi
done
exit "$failed"
