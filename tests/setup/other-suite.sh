#!/bin/bash
# Downloads packages from another suite of Debian and unpacks them; nothing is installed, and apt
# here does not learn of the suite: its lists and its cache are in the directory, too.
#
#   other-suite.sh SUITE DIRECTORY PACKAGE…     the files are below DIRECTORY/root
#
# SUITE as in sources.list, "unstable"; "backports" is that of this Debian. PACKAGE may be a pattern
# with ^ at its beginning ("^linux-source-[0-9.]+$"): of those that fit, the newest. The mirror is the
# one that the machine has its other packages from. What is there already stays as it is; exit
# status 1, with the reason, where it cannot be had.
set -euo pipefail

suite=$1
mkdir -p "$2" 2>/dev/null || { echo "cannot make $2"; exit 1; }
directory=$(cd "$2" && pwd)
shift 2

die() {
	echo "$*"
	exit 1
}

# Every mirror that has this Debian's main, in the order of apt's sources.
mirrors() { # CODENAME
	# shellcheck disable=SC2016
	apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
		awk -v codename="$1" '$2 == codename && $3 == "main" && !seen[$1]++ { print $1 }'
}

private_apt() { # COMMAND…
	"$@" -q -o Dir::Etc::SourceList="$directory/sources.list" -o Dir::Etc::SourceParts=/dev/null \
		-o Dir::State::Lists="$directory/lists" -o Dir::Cache="$directory/apt" \
		-o Acquire::Languages=none -o Acquire::Retries=1 -o Acquire::http::Timeout=20 \
		-o APT::Sandbox::User="$(id -un)" -o APT::Update::Error-Mode=any
}

# The names that are meant, one a line.
choose() { # PACKAGE…
	local package
	for package in "$@"; do
		case $package in
		^*) private_apt apt-cache pkgnames | grep -E "$package" | sort -V | tail -n 1 ;;
		*) echo "$package" ;;
		esac
	done
}

download_from() { # MIRROR PACKAGE…
	local mirror=$1 names
	shift
	rm -rf "$directory"/{deb,root,lists,apt}
	mkdir -p "$directory"/{deb,lists/partial,apt/archives/partial}
	echo "deb $mirror $suite main" >"$directory/sources.list"
	private_apt apt-get update || return
	mapfile -t names < <(choose "$@")
	[ "${#names[@]}" = $# ] || { echo "E: $suite has not all of: $*" && return 1; }
	(cd "$directory/deb" && private_apt apt-get download "${names[@]}") || return
	for package in "$directory"/deb/*.deb; do
		dpkg-deb -x "$package" "$directory/root" || return
	done
	rm -rf "$directory"/{deb,lists,apt}
}

{ exec 9>"$directory/lock"; } 2>/dev/null || die "cannot write into $directory"
flock 9
[ ! -e "$directory/complete" ] || exit 0
# shellcheck source=/dev/null
codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
[ "$suite" != backports ] || suite=$codename-backports
list=$(mirrors "$codename") || die "apt-get does not say where packages come from"
[ -n "$list" ] || die "apt has no source of '$codename' main"
for mirror in $list; do
	if download_from "$mirror" "$@" >"$directory/log" 2>&1; then
		touch "$directory/complete"
		exit 0
	fi
done
die "cannot be downloaded: $(grep -m 1 '^E: ' "$directory/log" || tail -n 1 "$directory/log")"
