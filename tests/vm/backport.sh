#!/bin/bash
# A newer kernel of Debian, as it is: that package of the backports of KERNEL's suite, downloaded once, unpacked
# and never installed. Prints two lines, as kernel.sh does.
#
#   backport.sh 6.12|7.2             downloads it if need be: 100 to 170 MB
#   backport.sh --cached 6.12|7.2    status 1, silent, if it is not there
#   backport.sh --headers 6.12|7.2   to build modules for it, too; prints the directory that their usr/src is in
#
# It is kept in debian-KERNEL in $VFIOD_VM_CACHE (build/vm).
set -euo pipefail
shopt -s nullglob

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PATH=$PATH:/usr/sbin:/sbin

die() {
	echo "backport.sh: $*" >&2
	exit 1
}

what=kernel
case ${1:-} in --*) what=${1#--} && shift ;; esac
kernel=${1:-}
headers=("^linux-headers-${kernel//./\\.}\\.[^-]*-amd64\$" "^linux-headers-${kernel//./\\.}\\.[^-]*-common\$"
	"^linux-kbuild-${kernel//./\\.}[^-]*\$")
# "[^-]*": not those for clouds and for real time.
case $kernel in
6.12) suite=backports packages=('^linux-image-6\.12\.[^-]*-amd64-unsigned$') ;;
# Image, modules, and what is built in, are a package each there.
7.2) suite=trixie-backports packages=('^linux-binary-7\.2\.[^-]*-amd64$' '^linux-modules-7\.2\.[^-]*-amd64$'
	'^linux-base-7\.2\.[^-]*-amd64$') ;;
*) die "there are 6.12 and 7.2, not '$kernel'" ;;
esac
cache=${VFIOD_VM_CACHE:-$here/../../build/vm}
directory=$cache/debian-$kernel
mkdir -p "$cache"

fetch() { # DIRECTORY PACKAGE…
	local reason
	[ -e "$1/complete" ] || echo "Downloading a kernel $kernel of Debian's $suite (once)" >&2
	reason=$("$here/../setup/other-suite.sh" "$suite" "$@") || die "$suite: $reason"
}

[ "$what" != cached ] || [ -e "$directory/complete" ] || exit 1
if [ "$what" = headers ]; then
	fetch "$directory-headers" "${headers[@]}"
	(cd "$directory-headers/root" && pwd)
	exit
fi
fetch "$directory" "${packages[@]}"
root=$(cd "$directory/root" && pwd)
# Newer packages have everything in /usr.
modules=$(echo "$root"/{usr/,}lib/modules/*/kernel)
release=$(basename "${modules%/kernel}")
exec 9>"$cache/lock"
flock 9
# depmod looks there; the package leaves it to its installation.
[ -e "$root/lib/modules" ] || ln -s usr/lib "$root/lib"
[ -e "$root/depmod-done" ] || { depmod -b "$root" "$release" && touch "$root/depmod-done"; }
for image in "$root/boot/vmlinuz-$release" "$root/lib/modules/$release/vmlinuz"; do
	[ ! -f "$image" ] || break
done
[ -f "$image" ] || die "the package of $release has no image"
echo "$image"
echo "$root/lib/modules/$release"
