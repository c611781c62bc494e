#!/bin/bash
# What it takes to build a module for the second kernel (kernel2.sh): its source, configured as it was, prepared, without
# what no module needs. Prints the directory.
#
#   kernel2-headers.sh CONFIG RELEASE
#
# It is kept in kernel2 in $VFIOD_VM_CACHE (build/vm). Debian's headers are no help: they are of other configurations.
set -euo pipefail
shopt -s nullglob

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
config=$(realpath "$1")
release=$2
cache=${VFIOD_VM_CACHE:-$here/../../build/vm}/kernel2
suite=${KERNEL2_SUITE:-trixie-backports}

die() {
	echo "kernel2-headers.sh: $*" >&2
	exit 1
}

mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
headers=$cache/headers-$release
exec 9>"$cache/headers.lock"
flock 9
[ ! -d "$headers" ] || { echo "$headers" && exit; }

"$here/../setup/packages.sh" kernel2 >&2
# 7.2.12-vfiod: linux-source-7.2
series=${release%%-*}
echo "Downloading the source of $release (150 MB, once)" >&2
reason=$("$here/../setup/other-suite.sh" "$suite" "$cache/headers-source" "linux-source-${series%.*}") || die "$suite: $reason"
archives=("$cache"/headers-source/root/usr/src/linux-source-*.tar.xz)
rm -rf "$headers.new"
mkdir "$headers.new"
# But for most of what no module includes, and configuring does not read.
tar -xf "${archives[0]}" -C "$headers.new" --strip-components=1 --exclude='*/drivers/*.[chS]' --exclude='*/sound/*.[ch]' \
	--exclude='*/fs/*.c' --exclude='*/net/*.c' --exclude='*/Documentation/*.rst' --exclude='*/tools/testing/*'
cp "$config" "$headers.new/.config"
# The flags of our own make are not the kernel's.
kernel_make() { env -u MAKEFLAGS -u MFLAGS -u CFLAGS -u LDFLAGS make -s -C "$headers.new" "$@"; }
kernel_make -j"$(nproc)" modules_prepare >"$cache/headers.log" 2>&1 ||
	die "the source cannot be prepared: $(tail -n 5 "$cache/headers.log")"
[ "$(kernel_make kernelrelease)" = "$release" ] || die "$suite has the source of $(kernel_make kernelrelease) now, \
and the kernel in the cache is $release: it has to be built anew"
rm -rf "$cache/headers-source"
mv "$headers.new" "$headers"
echo "$headers"
