#!/usr/bin/env bash
# Installs what building, ./demo and ./test need, from Debian 12's own archive. Does nothing, quickly, when it is all there.
# As root. `scripts/deps.sh --list` prints the names. Names of parts of ./test may follow: `guest` needs more than the others.
set -euo pipefail

packages=(
	# build
	build-essential clang clang-format clang-tidy cmake ninja-build pkg-config git
	libcap-ng-dev libcjson-dev libcmocka-dev libevent-dev libldns-dev libmnl-dev libseccomp-dev libsodium-dev
	libssl-dev libwslay-dev llvm libclang-rt-14-dev
	# what the demo and the interoperability tests put around the gateway
	ca-certificates coturn curl dnsmasq-base iperf3 iproute2 iputils-ping libcap2-bin nftables nginx-light openssl
	procps python3 python3-aioice python3-aiohttp python3-pytest unbound util-linux wireguard-go wireguard-tools
	# other tests
	checkpolicy cloc policycoreutils selinux-policy-default selinux-policy-dev
	semodule-utils setools strace systemd shellcheck valgrind
)

# an emulated machine for the client; its kernel and busybox are fetched by tests/guest/image.py, not installed
[[ " $* " != *" guest "* ]] || packages+=(cpio qemu-system-x86 socat)

if [ "${1:-}" = --list ]; then
	printf '%s\n' "${packages[@]}"
	exit 0
fi

missing=()
have=" $(dpkg-query -W -f '${db:Status-Status}:${Package} ' 2>/dev/null || true)"
for package in "${packages[@]}"; do
	[[ $have == *" installed:$package "* ]] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
	echo "deps.sh: run as root, or install: ${missing[*]}" >&2
	exit 1
fi
echo "installing ${#missing[@]} packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
# The packages' own services (coturn, nginx) must not start on this machine: the tests run their own, in namespaces.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
	trap 'rm -f $policy' EXIT
fi
log=$(mktemp)
install() {
	apt-get install -y --no-install-recommends "${missing[@]}"
}
if ! { apt-get update && install; } >"$log" 2>&1; then
	cat "$log" >&2
	echo "deps.sh: apt-get failed" >&2
	exit 1
fi
rm -f "$log"
