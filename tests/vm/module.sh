#!/bin/bash
# Builds tests/vm/module for the stock kernel (kernel.sh) and copies it:
#
#   module.sh TO.ko
#
# Debian's headers of that very kernel are downloaded by apt and unpacked, never installed. Headers and
# module stay with the kernel in the cache.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
to=$1
paths=$("$here/kernel.sh")
image=${paths%%$'\n'*}
release=$(basename "${paths#*$'\n'}")
kernel=${image%/*}
headers=$kernel/headers
module=$kernel/vfiod-pin-$(cat "$here/module"/* | sha256sum | cut -c -12).ko

die() {
	echo "module.sh: $*" >&2
	exit 1
}

# What they name is below /usr; our copy is elsewhere.
unpack_headers() {
	local version=${kernel##*/stock-} abi=${release%-amd64} package
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
	sed -i "s,^include /usr,include $headers/usr," "$headers.new/usr/src/linux-headers-$release/Makefile"
	rm -rf "$headers.new/deb" "$headers"
	mv "$headers.new" "$headers"
}

build() {
	local work
	work=$(mktemp -d "${TMPDIR:-/tmp}/vfiod-module.XXXXXX")
	# shellcheck disable=SC2064
	trap "rm -rf '$work'" EXIT
	cp "$here"/module/* "$work"
	# The flags of our own make are not the kernel's.
	env -u MAKEFLAGS -u MFLAGS -u CFLAGS -u LDFLAGS make -C "$headers/usr/src/linux-headers-$release" "M=$work" \
		modules >"$work/log" 2>&1 || { cat "$work/log" >&2 && die "the module cannot be built"; }
	mv "$work/vfiod-pin.ko" "$module.new"
	mv "$module.new" "$module"
}

exec 9>"$kernel/module.lock"
flock 9
[ -d "$headers" ] || [ -e "$module" ] || unpack_headers
[ -e "$module" ] || build
mkdir -p "$(dirname "$to")"
cp "$module" "$to"
