#!/bin/bash
# build.sh BUILD_DIR [meson options…] -- configures and builds with warnings as errors; one result line.
cd "$(dirname "$0")/../.." || exit 1
dir=$1
shift
if [ -f "$dir/build.ninja" ]; then
        meson configure "$dir" -Dwerror=true "$@" >/dev/null || exit 1
else
        meson setup "$dir" -Dwerror=true "$@" || { echo "not ok build $dir: meson setup failed"; exit 1; }
fi
ninja -C "$dir" || { echo "not ok build $dir: does not compile"; exit 1; }
echo "ok build $dir"
