#!/bin/bash
# Prints two lines: the path of a kernel image, and the directory of its modules.
#
#   kernel.sh [stock|6.12|7.2|second]
#
# stock: the kernel package of this Debian, unmodified; downloaded by apt, unpacked, never
# installed. It stays in the cache, $VFIOD_VM_CACHE or build/vm, under its version.
# 6.12, 7.2: newer ones of Debian, see backport.sh. second: see kernel2.sh.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${VFIOD_VM_CACHE:-$here/../../build/vm}
# depmod is in sbin, which is not in everybody's path.
PATH=$PATH:/usr/sbin:/sbin

die() {
	echo "kernel.sh: $*" >&2
	exit 1
}

# linux-image-amd64 depends on the package of the current ABI. Its -unsigned twin has the same
# kernel without the signatures for Secure Boot.
stock_package() {
	local name
	name=$(apt-cache depends linux-image-amd64 2>/dev/null |
		sed -n 's/^ *Depends: \(linux-image-[0-9][^ ]*-amd64\)$/\1/p' | head -n 1)
	[ -n "$name" ] && apt-cache show "$name-unsigned" >/dev/null 2>&1 && echo "$name-unsigned"
}

update_lists() {
	local sudo=
	[ "$(id -u)" = 0 ] || sudo=sudo
	echo "No kernel package is known: $sudo apt-get update" >&2
	[ -z "${NO_INSTALL:-}" ] || die "NO_INSTALL is set; run it yourself"
	$sudo apt-get update -q >&2
}

# Without package lists, what has been unpacked before will do.
stock_from_cache() {
	local marker
	marker=$(find "$cache" -maxdepth 2 -path '*/stock-*/complete' 2>/dev/null | sort -V | tail -n 1)
	[ -n "$marker" ] && dirname "$marker"
}

# download_and_unpack PACKAGE VERSION DIRECTORY
download_and_unpack() {
	local package=$1 version=$2 unpacked=$3.new release
	rm -rf "$unpacked" "$3"
	mkdir -p "$unpacked/deb" "$unpacked/root"
	echo "Downloading $package $version (70 MB, once)" >&2
	# apt's own user may not be allowed to enter the cache directory.
	(cd "$unpacked/deb" && apt-get -o APT::Sandbox::User=root -q download "$package=$version" >&2) ||
		die "apt-get could not download $package"
	dpkg-deb -x "$unpacked"/deb/*.deb "$unpacked/root"
	release=$(basename "$unpacked"/root/lib/modules/*)
	# The package leaves this to its installation.
	depmod -b "$unpacked/root" "$release"
	mv "$unpacked/root/boot/vmlinuz-$release" "$unpacked/vmlinuz"
	mv "$unpacked/root/lib/modules" "$unpacked/modules"
	rm -rf "$unpacked/deb" "$unpacked/root"
	touch "$unpacked/complete"
	mv "$unpacked" "$3"
}

stock() {
	local package version directory
	package=$(stock_package) || {
		directory=$(stock_from_cache) || {
			update_lists
			package=$(stock_package) || die "apt knows no linux-image-amd64; is this Debian on amd64?"
		}
	}
	if [ -n "$package" ]; then
		version=$(apt-cache show "$package" | sed -n 's/^Version: //p' | head -n 1)
		directory=$cache/stock-$version
		exec 9>"$cache/lock"
		flock 9
		[ -e "$directory/complete" ] || download_and_unpack "$package" "$version" "$directory"
		exec 9>&-
	fi
	echo "$directory/vmlinuz"
	echo "$directory"/modules/*
}

mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
case ${1:-stock} in
stock) stock ;;
6.12 | 7.2) exec "$here/backport.sh" "$1" ;;
second) exec "$here/kernel2.sh" ;;
*) die "no kernel of kind '$1'; there are: stock, 6.12, 7.2, second" ;;
esac
