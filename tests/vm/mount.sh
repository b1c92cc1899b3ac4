#!/bin/bash
# Our mount on the kernel of Debian 12 (6.1), in a VM: mount.sh [LAYOUT…] runs tests/interop/mount.sh there.
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
[ $# -gt 0 ] || set -- one
out=$(mktemp -d /var/tmp/mortar-vm.XXXXXX) || exit 1
trap 'rm -rf "$out"' EXIT
cat >"$out/guest" <<'E2'
#!/bin/bash
echo "ok kernel $(uname -r)"
exec bash "$1/tests/interop/mount.sh" "${@:2}"
E2
"$ROOT/tests/vm/run.sh" -s "$out" -m 3072 -t "${BUDGET:-900}" "$out/guest" "$ROOT" "$@"
