# packages.sh -- which Debian 12 packages mortar needs; sourced by ./check and ./demo.
PACKAGES_build="gcc libc6-dev meson ninja-build pkg-config python3 libssl-dev libxxhash-dev libacl1-dev libjansson-dev libcmocka-dev"
PACKAGES_run="glusterfs-client openssl fuse3 attr e2fsprogs xfsprogs util-linux iproute2 procps psmisc"
PACKAGES_demo="fuse3 attr util-linux iproute2 procps kmod e2fsprogs"
PACKAGES_test="$PACKAGES_run clang llvm libclang-rt-14-dev glusterfs-server libglusterfs-dev libgfapi0 uuid-dev acl git fio strace tar bindfs
 gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static"
PACKAGES_full="mariadb-server qemu-system-x86 qemu-system-common busybox-static cpio lvm2 kmod"

# install_packages GROUP… -- installs what is missing; quiet when nothing is.
install_packages() {
        local group want=() missing=() p
        for group in "$@"; do
                local list="PACKAGES_$group"
                want+=(${!list})
        done
        for p in "${want[@]}"; do
                [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing+=("$p")
        done
        [ ${#missing[@]} -gt 0 ] || return 0
        echo "installing: ${missing[*]}"
        local log
        log=$(mktemp) || return 1
        if ! { DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 update -qq &&
                DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 install -y -qq --no-install-recommends \
                        "${missing[@]}"; } >"$log" 2>&1; then
                tail -20 "$log" >&2
                echo "installing packages failed; the whole log is $log" >&2
                return 1
        fi
        rm -f "$log"
}
