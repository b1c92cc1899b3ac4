# workloads.sh -- what real users do on a mount; sourced by the tests. Each function prints its own result line.

# w_many MNT NAME COUNT -- COUNT files in one directory: all listed once, all readable, all removed
w_many() {
        local mnt=$1 name=$2 count=$3 d=$1/many
        mkdir "$d" || { fail "$name: mkdir"; return; }
        (cd "$d" && seq -f 'file-with-a-name-%06g' 1 "$count" | xargs -n 500 touch) || { fail "$name: creating"; return; }
        local seen unique
        seen=$(find "$d" -type f | wc -l)
        unique=$(find "$d" -type f | sort -u | wc -l)
        if [ "$seen" = "$count" ] && [ "$unique" = "$count" ]; then pass "$name: $count files in one directory"
        else fail "$name: $seen entries ($unique different) instead of $count"; fi
        find "$d" -delete && [ ! -e "$d" ] || fail "$name: removing $count files"
}

# git_source DIR FILES -- a repository of at least FILES files, made once
git_source() {
        local d=$1 n=$2
        [ -d "$d/.git" ] && return
        mkdir -p "$d"
        python3 - "$d" "$n" <<'P'
import os, random, sys
r = random.Random(11)
base, n = sys.argv[1], int(sys.argv[2])
for i in range(n):
    p = f'{base}/dir{i % 40:02d}/sub{i % 7}/file{i:05d}.txt'
    os.makedirs(os.path.dirname(p), exist_ok=True)
    with open(p, 'wb') as f:
        f.write(bytes(r.randrange(32, 127) for _ in range(r.randrange(50, 3000))))
P
        (cd "$d" && git init -q . && git add -A && git -c user.name=t -c user.email=t@t commit -qm one &&
                git gc -q --prune=now)
}

# w_git MNT NAME FILES -- a clone on the mount is whole and clean, and stays so after a change and a gc
w_git() {
        local mnt=$1 name=$2
        git_source "$W/git-source" "$3"
        # Only the size and content count: a client that shows another ctime than at "git add" time must not matter.
        if git clone -q "file://$W/git-source" "$mnt/clone" &&
                git -C "$mnt/clone" fsck --full --strict >"$W/fsck.out" 2>&1 &&
                [ -z "$(git -C "$mnt/clone" status --porcelain)" ] &&
                [ "$(git -C "$mnt/clone" ls-files | wc -l)" -ge "$3" ]; then
                pass "$name: git clone and fsck of $3 files"
        else
                fail "$name: git clone or fsck"
                cat "$W/fsck.out"
        fi
        echo more >>"$mnt/clone/dir00/sub0/file00000.txt"
        if git -C "$mnt/clone" -c user.name=t -c user.email=t@t commit -qam two && git -C "$mnt/clone" gc -q &&
                git -C "$mnt/clone" fsck --full >"$W/fsck.out" 2>&1; then
                pass "$name: git commit, gc and fsck"
        else
                fail "$name: git commit, gc or fsck"
                cat "$W/fsck.out"
        fi
        rm -rf "$mnt/clone"
}

# w_fio MNT NAME MIB -- random writes verified by checksum, buffered and direct
w_fio() {
        local mnt=$1 name=$2 mib=$3 direct
        for direct in 0 1; do
                if fio --name=verify --filename="$mnt/fio.$direct" --size="${mib}m" --rw=randwrite --bsrange=4k-64k \
                        --direct=$direct --verify=crc32c --verify_fatal=1 --do_verify=1 --ioengine=psync --randrepeat=1 \
                        --blockalign=4k --aux-path="$W" --output="$W/fio.out" >/dev/null 2>&1; then
                        pass "$name: fio --verify direct=$direct"
                else
                        fail "$name: fio --verify direct=$direct"
                        tail -20 "$W/fio.out"
                fi
                rm -f "$mnt/fio.$direct"
        done
}

# w_untar MNT NAME JOBS -- the same archive unpacked by JOBS processes at once: every tree equals the original
w_untar() {
        local mnt=$1 name=$2 jobs=$3 i pids=() bad=0
        git_source "$W/git-source" 2000
        [ -f "$W/source.tar" ] || tar -C "$W/git-source" --exclude=.git -cf "$W/source.tar" .
        for i in $(seq "$jobs"); do
                mkdir "$mnt/untar$i"
                tar -C "$mnt/untar$i" -xf "$W/source.tar" &
                pids+=($!)
        done
        for i in "${pids[@]}"; do wait "$i" || bad=1; done
        for i in $(seq "$jobs"); do
                diff -r --exclude=.git "$W/git-source" "$mnt/untar$i" >"$W/diff.out" 2>&1 || { bad=1; head -5 "$W/diff.out"; }
                rm -rf "$mnt/untar$i"
        done
        if [ $bad = 0 ]; then pass "$name: parallel untar x$jobs"; else fail "$name: parallel untar x$jobs"; fi
}
