#!/bin/bash
# header.sh SOURCE LIBRARY -- the public header compiles alone as C and as C++, strictly, and the library exports exactly
# what it declares.
set -u
header=$1/include/mortar/mortar.h tmp=$(mktemp -d) bad=0
trap 'rm -rf "$tmp"' EXIT
try() { "$@" || { echo "failed: $*"; bad=1; }; }
printf '#include <mortar/mortar.h>\n#include <mortar/mortar.h>\nint main(void) { return mortar_version_text() == 0; }\n' >"$tmp/one.c"
cp "$tmp/one.c" "$tmp/one.cc"
for std in c99 gnu17; do
        try cc -std=$std -D_POSIX_C_SOURCE=200809L -Wall -Wextra -pedantic -Werror -I"$1/include" -fsyntax-only "$tmp/one.c"
done
for cxx in c++ g++ clang++; do
        command -v $cxx >/dev/null || continue
        try $cxx -std=c++11 -Wall -Wextra -pedantic -Werror -I"$1/include" -fsyntax-only "$tmp/one.cc"
        checked=1
done
[ -n "${checked:-}" ] || { echo "no C++ compiler"; exit 77; }
grep -oE '\bmortar_[a-z_]+\(' "$header" | tr -d '(' | grep -v _fn | sort -u >"$tmp/declared"
grep -cE '^MORTAR_API' "$header" | grep -qx "$(wc -l <"$tmp/declared")" || { echo "a declaration without MORTAR_API, or twice"; bad=1; }
nm -D --defined-only "$2" | awk '$2 != "A" {print $3}' | sed 's/@.*//' | sort -u >"$tmp/exported"
try diff -u "$tmp/declared" "$tmp/exported"
[ -s "$tmp/exported" ] || { echo "nothing is exported"; bad=1; }
objdump -p "$2" | grep -q 'SONAME *libmortar.so.0$' || { echo "the soname is not libmortar.so.0"; bad=1; }
exit $bad
