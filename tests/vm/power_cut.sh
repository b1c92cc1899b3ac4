#!/bin/bash
# fsync and power cuts: a rep3 volume in a VM whose disks log their flushes; the disks as they would be after a cut at flush
# boundaries, each brick at another one, must have every acknowledged record on a quorum. power_cut.sh [COUNT [CUTS]]
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
case ${TIER:-check} in full) set -- "${1:-120}" "${2:-6}" ;; *) set -- "${1:-30}" "${2:-2}" ;; esac
out=$(mktemp -d /var/tmp/mortar-vm.XXXXXX) || exit 1
trap 'rm -rf "$out"' EXIT
disks=()
for _ in a b c d e f g h i; do disks+=(-d 640M); done
"$ROOT/tests/vm/run.sh" -s "$out" -m 3072 -t "${BUDGET:-900}" "${disks[@]}" "$ROOT/tests/vm/power_cut_guest.sh" "$ROOT" "$@"
