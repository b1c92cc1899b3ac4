#!/bin/bash
# clang.sh -- a second compiler's opinion: the whole tree with clang, warnings as errors.
cd "$(dirname "$0")/../.." || exit 1
CC=clang exec tests/tools/build.sh build-clang
