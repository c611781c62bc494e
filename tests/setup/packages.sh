#!/bin/sh
# Installs the Debian packages that one part of the work needs, if any is missing:
#   packages.sh build|check|vm|kernel2|bench
# Prints the apt line first. NO_INSTALL=1 forbids it and fails with the line to run.
set -eu

BUILD="gcc make pkg-config libc6-dev libsystemd-dev libjson-c-dev libev-dev libudev-dev
	libkmod-dev libinih-dev libseccomp-dev uthash-dev"
CHECK="libcmocka-dev umockdev libumockdev-dev libglib2.0-dev clang clang-tidy clang-format
	libclang-rt-14-dev cppcheck valgrind mandoc shellcheck systemd python3 zsh fish"
VM="qemu-system-x86 busybox-static cpio udev kmod iproute2 util-linux e2fsprogs dmsetup apt
	dpkg python3 zstd"
# To compile the second kernel (tests/vm/kernel2.sh).
KERNEL2="$VM gcc make flex bison bc libelf-dev libssl-dev rsync xz-utils perl"
# Boost.ICL is what the ledger's coverage is compared with.
BENCH="$BUILD $VM g++ libboost-dev gnuplot-nox libcmocka-dev umockdev libumockdev-dev libglib2.0-dev"

case ${1:-} in
build) wanted=$BUILD ;;
check) wanted="$BUILD $CHECK $VM" ;;
vm) wanted="$BUILD $VM" ;;
kernel2) wanted=$KERNEL2 ;;
bench) wanted=$BENCH ;;
*) echo "usage: packages.sh build|check|vm|kernel2|bench" >&2; exit 2 ;;
esac

# dpkg-query fails when a package is unknown to it; what it prints is still right.
# shellcheck disable=SC2086
installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' $wanted 2>/dev/null |
	sed -n 's/ installed$//p') || true
missing=
for package in $wanted; do
	printf '%s\n' "$installed" | grep -qx "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
line="$sudo apt-get install -y --no-install-recommends$missing"
if [ -n "${NO_INSTALL:-}" ]; then
	echo "NO_INSTALL is set, and packages are missing. Run:" >&2
	echo "  $line" >&2
	exit 1
fi
echo "Installing what is missing: $line"
# shellcheck disable=SC2086
$sudo env DEBIAN_FRONTEND=noninteractive apt-get update -q
# shellcheck disable=SC2086
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing
