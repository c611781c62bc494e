#!/bin/bash
# Prints the directory of the Python module of python3-varlink, from the backports of this Debian.
#
#   python-varlink.sh [DIRECTORY]      (build/python-varlink)
#
# Downloaded by apt with lists of its own, unpacked, never installed. The mirror is the one that the
# machine has its other packages from. Exit status 1, with the reason, where it cannot be had.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${1:-$here/../../build/python-varlink}
modules=root/usr/lib/python3/dist-packages

die() {
	echo "python3-varlink: $*"
	exit 1
}

# Every mirror that has this Debian's main, in the order of apt's sources.
mirrors() {
	# shellcheck disable=SC2016
	apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
		awk -v codename="$1" '$2 == codename && $3 == "main" && !seen[$1]++ { print $1 }'
}

# private_apt MIRROR-LIST COMMAND…
private_apt() {
	local list=$1
	shift
	"$@" -q -o Dir::Etc::SourceList="$list" -o Dir::Etc::SourceParts=/dev/null \
		-o Dir::State::Lists="$cache/lists" -o Dir::Cache="$cache/apt" \
		-o Acquire::Languages=none -o Acquire::Retries=1 -o Acquire::http::Timeout=20 \
		-o APT::Sandbox::User="$(id -un)" -o APT::Update::Error-Mode=any
}

download_from() {
	local suite=$2-backports
	rm -rf "$cache/deb" "$cache/root" "$cache/lists" "$cache/apt"
	mkdir -p "$cache/deb" "$cache/lists/partial" "$cache/apt/archives/partial"
	echo "deb $1 $suite main" >"$cache/sources.list"
	private_apt "$cache/sources.list" apt-get update &&
		(cd "$cache/deb" && private_apt "$cache/sources.list" apt-get download python3-varlink) &&
		dpkg-deb -x "$cache"/deb/*.deb "$cache/root"
}

mkdir -p "$cache" 2>/dev/null || die "cannot make $cache"
cache=$(cd "$cache" && pwd)
if [ ! -e "$cache/complete" ]; then
	{ exec 9>"$cache/lock"; } 2>/dev/null || die "cannot write into $cache"
	flock 9
fi
if [ ! -e "$cache/complete" ]; then
	# shellcheck source=/dev/null
	codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
	list=$(mirrors "$codename") || die "apt-get does not say where packages come from"
	[ -n "$list" ] || die "apt has no source of '$codename' main"
	for mirror in $list; do
		if download_from "$mirror" "$codename" >"$cache/log" 2>&1; then
			touch "$cache/complete"
			break
		fi
	done
	[ -e "$cache/complete" ] ||
		die "cannot be downloaded: $(grep -m 1 '^E: ' "$cache/log" || tail -n 1 "$cache/log")"
fi
[ -d "$cache/$modules/varlink" ] || die "the package has no module any more; remove $cache"
echo "$cache/$modules"
