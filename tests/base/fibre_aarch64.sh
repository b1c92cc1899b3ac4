#!/bin/sh
# The aarch64 fibre switch: cross-builds the base layer and fibre_aarch64_check.c statically, runs it under emulation.
# Usage: fibre_aarch64.sh SOURCE_ROOT. Exit status 77: a tool is missing (said on standard output).
set -eu
root=${1:-$(dirname "$0")/../..}
for tool in aarch64-linux-gnu-gcc qemu-aarch64-static; do
        if ! command -v "$tool" >/dev/null; then
                echo "skipped: $tool is not installed (Debian: gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static)"
                exit 77
        fi
done
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
cd "$root"
for portable in "" -DFIBRE_PORTABLE=1; do
        aarch64-linux-gnu-gcc -std=gnu17 -D_GNU_SOURCE -O2 -g -Wall -static -Isrc $portable \
                tests/base/fibre_aarch64_check.c src/base/fibre.c src/base/fibre_context.c src/base/fibre_switch_aarch64.S \
                src/base/loop_epoll.c src/base/timer_heap.c src/base/address.c src/base/log.c \
                -o "$out/check" -lpthread
        timeout 60 qemu-aarch64-static "$out/check"
done
