#!/bin/bash
# The second kernel, for what Debian's own kernels have turned off (iommufd, device cdevs, mediated
# devices) or would not do to anybody (injected failures). Prints two lines, as kernel.sh does.
#
#   kernel2.sh --cached     status 1, silent, if it is not in a cache
#   kernel2.sh              builds it if need be: ten minutes on two cores
#
# It is Debian's linux-source from the backports of KERNEL2_SUITE (trixie-backports), configured by
# kernel2.config beside this file, compiled by this machine's gcc, and nothing else. A cache is a
# directory with vmlinuz-V, config-V and modules-V.tar.zst: $KERNEL2_CACHE, which is only read, or
# kernel2 in $VFIOD_VM_CACHE (build/vm). A kernel counts if its configuration has every line of
# kernel2.config; the newest does.
set -euo pipefail
shopt -s nullglob

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${VFIOD_VM_CACHE:-$here/../../build/vm}
suite=${KERNEL2_SUITE:-trixie-backports}
fragment=$here/kernel2.config
PATH=$PATH:/usr/sbin:/sbin

die() {
	echo "kernel2.sh: $*" >&2
	exit 1
}

# Prints the lines of the fragment that a configuration does not have: "=n" is also had by silence.
lacking() { # CONFIG
	sed -n 's/^# \(CONFIG_[A-Z0-9_]*\) is not set$/\1=n/p; /^CONFIG_/p' "$1" |
		awk 'NR == FNR { value[$1] = 1; split($1, part, "="); known[part[1]] = 1; next }
			/^CONFIG_/ && !value[$1] {
				split($1, part, "=")
				if (part[2] != "n" || known[part[1]]) print
			}' - "$fragment"
}

# Prints the image and the release of the newest kernel of a directory that fits.
fitting() { # DIRECTORY
	local config release
	for config in $(printf '%s\n' "$1"/config-* | sort -rV); do
		release=${config##*/config-}
		[ -f "$1/vmlinuz-$release" ] && [ -f "$1/modules-$release.tar.zst" ] &&
			[ -z "$(lacking "$config")" ] && echo "$1 $release" && return
	done
	return 1
}

# Its modules are unpacked into our own cache.
print_paths() { # DIRECTORY RELEASE
	local unpacked
	unpacked=$cache/modules-$2-$(sha256sum "$1/modules-$2.tar.zst" | cut -c -12)
	exec 9>"$cache/lock"
	flock 9
	if [ ! -d "$unpacked" ]; then
		rm -rf "$unpacked.new"
		mkdir "$unpacked.new"
		tar -xf "$1/modules-$2.tar.zst" --zstd -C "$unpacked.new"
		depmod -b "$unpacked.new" "$2"
		mv "$unpacked.new" "$unpacked"
	fi
	exec 9>&-
	printf '%s\n' "$1/vmlinuz-$2" "$unpacked/lib/modules/$2"
}

# compile SOURCE-ARCHIVE DIRECTORY: leaves the three files in it. (kernel2.sh --compile)
compile() {
	local archive=$1 to=$2 tree=$2/build release missing
	rm -rf "$tree"
	mkdir -p "$tree"
	tar -xf "$archive" -C "$tree" --strip-components=1
	cd "$tree"
	make -s tinyconfig
	scripts/kconfig/merge_config.sh -m .config "$fragment"
	make -s olddefconfig
	missing=$(lacking .config | tr '\n' ' ')
	[ -z "$missing" ] || die "this source has no $missing"
	make -s -j"$(nproc)" bzImage modules
	release=$(make -s kernelrelease)
	make -s INSTALL_MOD_PATH="$tree/root" modules_install
	rm -f "root/lib/modules/$release"/{build,source}
	tar -cf "$to/modules-$release.tar.zst" --zstd -C root lib
	cp .config "$to/config-$release"
	# Last: without it the others do not count.
	cp arch/x86/boot/bzImage "$to/vmlinuz-$release.new"
	mv "$to/vmlinuz-$release.new" "$to/vmlinuz-$release"
	cd /
	rm -rf "$tree"
}

build() {
	local reason archives
	"$here/../setup/packages.sh" kernel2 >&2
	# Backports moves on: what the configuration was made for, or else the newest.
	reason=$("$here/../setup/other-suite.sh" "$suite" "$cache/kernel2/source" linux-source-7.2) ||
		reason=$("$here/../setup/other-suite.sh" "$suite" "$cache/kernel2/source" '^linux-source-[0-9.]+$') ||
		die "$suite: $reason"
	archives=("$cache"/kernel2/source/root/usr/src/linux-source-*.tar.xz)
	[ "${#archives[@]}" = 1 ] || die "no source archive in the package of $suite"
	echo "Building $(basename "${archives[0]}" .tar.xz) (ten minutes on two cores, once)" >&2
	# A process of its own: behind ||, `set -e` would not hold in a function.
	"$here/kernel2.sh" --compile "${archives[0]}" "$cache/kernel2" >"$cache/kernel2/log" 2>&1 || {
		tail -n 20 "$cache/kernel2/log" >&2
		die "the build failed; all of it is in $cache/kernel2/log"
	}
	rm -rf "$cache/kernel2/source"
}

if [ "${1:-}" = --compile ]; then
	compile "$2" "$3"
	exit
fi
mkdir -p "$cache/kernel2"
cache=$(cd "$cache" && pwd)
exec 8>"$cache/kernel2/lock"
flock 8
for directory in ${KERNEL2_CACHE:+"$KERNEL2_CACHE"} "$cache/kernel2"; do
	read -r found release < <(fitting "$directory") && print_paths "$found" "$release" && exit
done
[ "${1:-}" != --cached ] || exit 1
build
read -r found release < <(fitting "$cache/kernel2") || die "the kernel that was built is not there"
print_paths "$found" "$release"
