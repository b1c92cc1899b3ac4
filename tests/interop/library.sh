#!/bin/bash
# libmortar as a program uses it: installed, found by pkg-config, the example built with it copies files and lists directories;
# several threads hammer a volume. On our bricks and on stock's: library.sh [one|rep3]…     HAMMER=PROGRAM: another build's
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ $# -gt 0 ] || set -- one rep3
T=$ROOT/tests/interop
HAMMER=${HAMMER:-$B/tests/library/library_hammer}
bricks() { case $1 in one) echo "fs/$2-one" ;; rep3) echo "replica 3 fs/$2-r1 fs/$2-r2 fs/$2-r3" ;; esac; }

# example_test -- the library where a package would put it, and a program that knows only that
example_test() {
        DESTDIR=$W/root meson install -C "$B" --no-rebuild --tags devel,runtime >"$W/install.log" 2>&1 || { tail "$W/install.log"; return 1; }
        local pc
        pc=$(find "$W/root" -name mortar.pc) && [ -n "$pc" ] || { echo "no mortar.pc"; return 1; }
        export PKG_CONFIG_PATH=${pc%/*} PKG_CONFIG_SYSROOT_DIR=$W/root
        cc -Wall -Wextra -Werror -o "$W/mortar-copy" "$ROOT/examples/mortar-copy.c" $(pkg-config --cflags --libs mortar) || return 1
        LIBRARY_DIR=$(pkg-config --variable=libdir mortar)
        case $LIBRARY_DIR in "$W"/*) ;; *) LIBRARY_DIR=$W/root$LIBRARY_DIR ;; esac
}
copy() { LD_LIBRARY_PATH=$LIBRARY_DIR "$W/mortar-copy" "$@"; }

agree() { case $1 in rep3) python3 "$T/replicas.py" wait 20 "$W/fs/$2"-r{1,2,3} && python3 "$T/replicas.py" replicate "$W/fs/$2"-r{1,2,3} ;; esac; }

cell() { # LAYOUT SERVER
        local v=$1 cell="$1 on $2"
        volume "$2" "$v" $(bricks "$1" "$2") || { fail "$cell: create and start"; return; }
        check "$cell: a file goes in" copy "$HOST" "$v" put "$W/source" /copied
        check "$cell: and comes out" copy "nowhere.invalid,$HOST:24007" "$v" get copied "$W/back"
        check "$cell: the same" cmp "$W/source" "$W/back"
        copy "$HOST" "$v" list / >"$W/list"
        check "$cell: it is listed" grep -q "100644 .* $(stat -c %s "$W/source") copied\$" "$W/list"
        if timeout 120 "$HAMMER" "$HOST" "$v" 6 "${ROUNDS:-30}" >"$W/hammer" 2>"$W/hammer.err"; then pass "$cell: six threads"; else
                fail "$cell: six threads"
                head -20 "$W/hammer" "$W/hammer.err"
        fi
        check "$cell: the copies agree" agree "$1" "$2"
}

storage fs 3G || { fail "XFS in a loop file"; finish; }
head -c 5000000 /dev/urandom >"$W/source"
check "the example builds with what is installed" example_test
for server in ours stock; do
        start_$server || { fail "$server starts"; continue; }
        for layout in "$@"; do cell "$layout" $server; done
        copy "$HOST" nothing list / >"$W/refused" 2>&1
        check "$server: a volume that is not there is told" grep -q "nothing" "$W/refused"
        stop_$server
done
finish
