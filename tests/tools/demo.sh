#!/bin/bash
# ./demo from the beginning to its end: it says that all is well, and leaves nothing.
cd "$(dirname "$0")/../.." || exit 1
out=$(mktemp)
trap 'rm -f "$out"' EXIT
before=$(ls -d /var/tmp/mortar-demo.* 2>/dev/null)
if ./demo >"$out" 2>&1 && grep -q "never saw an error" "$out"; then echo "ok demo: shows what it is to show"; else
        echo "not ok demo: it failed"
        tail -30 "$out"
        exit 1
fi
[ "$(ls -d /var/tmp/mortar-demo.* 2>/dev/null)" = "$before" ] || { echo "not ok demo: something is left in /var/tmp"; exit 1; }
echo "ok demo: leaves nothing"
