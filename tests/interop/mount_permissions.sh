#!/bin/bash
# Permissions that users meet on our mount, on one brick and on replica 3: an application's user and group, supplementary groups,
# setgid directories, and the bits and capabilities that writing takes away, on all copies alike.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
chmod 755 "$W"
ln -s "${MORTAR_MOUNT:-$B/mortar-mount}" "$W/mount.glusterfs"
M=$W/mnt
mkdir "$M"
umask 022
as() { # UID GID GROUPS WORD…
        local uid=$1 gid=$2 groups=$3
        shift 3
        if [ -n "$groups" ]; then setpriv --reuid "$uid" --regid "$gid" --groups "$groups" "$@"
        else setpriv --reuid "$uid" --regid "$gid" --clear-groups "$@"; fi
}
app() { as 592 592 590 "$@"; }
stranger() { as 1001 1001 "" "$@"; }
is() { # NAME WANT GOT
        [ "$2" = "$3" ] && pass "$kind: $1" || fail "$kind: $1: '$3' instead of '$2'"
}
mode() { stat -c '%a %u:%g' "$M/$1"; }
# copies FILE FORMAT -- what stat says of it on every brick: one line if they agree
copies() { (cd / && for b in "$W/fs/$kind"?; do stat -c "$2" "$b/$1"; done) | sort -u; }
capabilities() { (for b in "$W/fs/$kind"?; do getcap "$b/$1" | sed 's/.* //'; done) | sort -u; }
# on_all NAME FILE MODE -- the mount and every copy say MODE
on_all() {
        until_true 5 eval '[ "$(copies '"$2"' %a)" = '"$3"' ]'
        is "$1" "$3 $3" "$(stat -c %a "$M/$2") $(copies "$2" %a | paste -sd,)"
}

try() {
        # ---- the brick's root belongs to an application ----------------------------------------------------------------------
        is "the owner of the root is shown" "2775 592:590" "$(mode .)"
        app sh -c "echo data >$M/file" && is "a user of the group writes" "644 592:590" "$(mode file)"
        as 593 593 590 sh -c "echo more >$M/other" && is "another user, by the supplementary group" "644 593:590" "$(mode other)"
        stranger sh -c "echo no >$M/no" 2>"$W/err" && fail "$kind: a stranger creates" || is "a stranger is refused" 1 "$(grep -c 'Permission denied' "$W/err")"
        stranger sh -c "echo no >>$M/file" 2>/dev/null && fail "$kind: a stranger writes" || pass "$kind: a stranger does not write"
        stranger rm -f "$M/file" 2>/dev/null && fail "$kind: a stranger removes" || pass "$kind: a stranger does not remove"
        stranger chmod 777 "$M/file" 2>/dev/null && fail "$kind: a stranger changes the mode" || pass "$kind: a stranger does not change the mode"
        is "a stranger reads" data "$(stranger cat "$M/file")"
        chmod 640 "$M/file"
        stranger cat "$M/file" >/dev/null 2>&1 && fail "$kind: a stranger reads 0640" || pass "$kind: a stranger does not read 0640"
        is "the group reads 0640" data "$(as 594 594 590 cat "$M/file")"
        # ---- setgid directories ----------------------------------------------------------------------------------------------
        app mkdir "$M/dir" && is "a directory in a setgid directory" "2755 592:590" "$(mode dir)"
        app mkdir -p "$M/dir/a/b" && is "and below" "2755 592:590" "$(mode dir/a/b)"
        app ln -s x "$M/dir/link" && app mkfifo "$M/dir/fifo" && is "all kinds get the group" "590 590" "$(stat -c %g "$M/dir/link" "$M/dir/fifo" | paste -sd' ')"
        is "on the bricks, too" "2755 592:590" "$(copies dir/a/b '%a %u:%g' | paste -sd,)"
        # ---- bits that go ----------------------------------------------------------------------------------------------------
        cp /bin/true "$M/program" && chown 592:590 "$M/program"
        chmod 6755 "$M/program" && app sh -c "echo x >>$M/program" && on_all "a write takes setuid and setgid" program 755
        chmod 6755 "$M/program" && app truncate -s 100 "$M/program" && on_all "so does truncation" program 755
        chmod 6755 "$M/program" && app sh -c ": >$M/program" && on_all "and opening to truncate" program 755
        chmod 6745 "$M/program" && app sh -c "echo x >>$M/program" && on_all "setgid without group execution" program "$(local_mode 6745)"
        chmod 6755 "$M/program" && app chown 592:592 "$M/program" 2>/dev/null && on_all "chown takes them" program 755
        chown 592:590 "$M/program" && chmod 6755 "$M/program" && app sh -c "dd if=/dev/zero of=$M/program bs=4k count=1 conv=notrunc oflag=direct" 2>/dev/null &&
                on_all "a direct write, too" program 755
        chmod 6755 "$M/program" && sh -c "echo x >>$M/program" && on_all "root keeps them" program 6755
        # ---- file capabilities -----------------------------------------------------------------------------------------------
        chmod 755 "$M/program"
        setcap cap_net_raw+ep "$M/program" && is "a capability is on all copies" "cap_net_raw=ep cap_net_raw=ep" "$(getcap "$M/program" | sed 's/.* //') $(capabilities program | paste -sd,)"
        app sh -c "echo x >>$M/program" && until_true 5 eval '[ -z "$(capabilities program)" ]'
        is "a write takes it, everywhere" "" "$(getcap "$M/program")$(capabilities program)"
        setcap cap_net_raw+ep "$M/program" && app truncate -s 10 "$M/program" && until_true 5 eval '[ -z "$(capabilities program)" ]'
        is "so does truncation" "" "$(getcap "$M/program")$(capabilities program)"
        app setcap cap_net_raw+ep "$M/program" 2>/dev/null && fail "$kind: a user gives a capability" || pass "$kind: a user gives no capability"
}
# local_mode MODE -- what is left of it on a local file system after such a write
local_mode() {
        cp /bin/true "$W/fs/local" && chown 592:590 "$W/fs/local" && chmod "$1" "$W/fs/local" && app sh -c "echo x >>$W/fs/local"
        stat -c %a "$W/fs/local"
}

storage fs 2G || { fail "XFS in a loop file"; finish; }
chmod 755 "$W/fs"
start_ours || { fail "mortard starts"; finish; }
for kind in one rep; do
        bricks=("fs/${kind}1")
        [ $kind = rep ] && bricks=(replica 3 fs/rep1 fs/rep2 fs/rep3)
        volume ours $kind "${bricks[@]}" || { fail "$kind: a volume"; continue; }
        timeout 60 "$W/mount.glusterfs" "$HOST:/$kind" "$M" -o "log-file=$W/$kind.log" || { fail "$kind: mount"; continue; }
        chown 592:590 "$M" && chmod 2775 "$M"
        try
        umount "$M" || fail "$kind: umount"
        is "the bricks' roots" "2775 592:590" "$(copies . '%a %u:%g' | paste -sd,)"
done
finish
