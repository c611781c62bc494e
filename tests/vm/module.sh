#!/bin/bash
# Builds tests/vm/module for a kernel (kernel.sh) and puts it into a directory, as vfiod-pin-RELEASE.ko:
#
#   module.sh KERNEL DIRECTORY
#
# Headers of that very kernel are downloaded by apt and unpacked, never installed; for the second kernel it is its
# source, configured as it was (kernel2-headers.sh). They and the module stay in the cache ($VFIOD_VM_CACHE, build/vm).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${VFIOD_VM_CACHE:-$here/../../build/vm}
kind=$1
to=$2
paths=$("$here/kernel.sh" "$kind")
image=${paths%%$'\n'*}
release=$(basename "${paths#*$'\n'}")
module=$cache/modules/vfiod-pin-$release-$(cat "$here/module"/* | sha256sum | cut -c -12).ko

die() {
	echo "module.sh: $*" >&2
	exit 1
}

# Sets `headers`, below which is usr/src, to those of the kernel package of this Debian.
stock_headers() {
	local version package abi=${release%-amd64}
	version=$(basename "${image%/*}")
	version=${version#stock-}
	headers=${image%/*}/headers
	[ ! -d "$headers" ] || return 0
	package=linux-headers-$release
	rm -rf "$headers.new"
	mkdir -p "$headers.new/deb"
	echo "Downloading $package $version (14 MB, once)" >&2
	(cd "$headers.new/deb" && apt-get -o APT::Sandbox::User=root -q download "$package=$version" \
		"linux-headers-$abi-common=$version" "linux-kbuild-${abi%.*}=$version" >&2) ||
		die "apt-get could not download $package"
	for package in "$headers.new"/deb/*.deb; do
		dpkg-deb -x "$package" "$headers.new"
	done
	rm -rf "$headers.new/deb"
	mv "$headers.new" "$headers"
}

# Prints the directory to build in.
tree() {
	local headers
	case $kind in
	second) "$here/kernel2-headers.sh" "${image%/*}/config-$release" "$release" && return ;;
	stock) stock_headers ;;
	6.12) headers=$("$here/backport.sh" --headers "$kind") ;;
	*) die "the headers of $kind want a newer compiler than this Debian has" ;;
	esac
	# What they name is below /usr; our copy is elsewhere.
	sed -i "s,\([ =]\)/usr/,\1$headers/usr/,g" "$headers/usr/src/linux-headers-$release/Makefile"
	echo "$headers/usr/src/linux-headers-$release"
}

# The second kernel's headers have no list of what it exports: the kernel itself says then what is missing.
build() { # TREE
	local work
	work=$(mktemp -d "${TMPDIR:-/tmp}/vfiod-module.XXXXXX")
	# shellcheck disable=SC2064
	trap "rm -rf '$work'" EXIT
	cp "$here"/module/* "$work"
	# The flags of our own make are not the kernel's.
	env -u MAKEFLAGS -u MFLAGS -u CFLAGS -u LDFLAGS make -C "$1" "M=$work" ${second:+KBUILD_MODPOST_WARN=1} CONFIG_DEBUG_INFO_BTF_MODULES= \
		modules >"$work/log" 2>&1 || { cat "$work/log" >&2 && die "the module cannot be built"; }
	mv "$work/vfiod-pin.ko" "$module.new"
	mv "$module.new" "$module"
}

second=
[ "$kind" != second ] || second=yes
mkdir -p "$cache/modules" "$to"
exec 9>"$cache/modules/lock"
flock 9
if [ ! -e "$module" ]; then
	directory=$(tree)
	build "$directory"
fi
cp "$module" "$to/vfiod-pin-$release.ko"
