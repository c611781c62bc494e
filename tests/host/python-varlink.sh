#!/bin/bash
# Prints the directory of the Python module of python3-varlink, from the backports of this Debian.
#
#   python-varlink.sh [DIRECTORY]      (build/python-varlink)
#
# Exit status 1, with the reason, where it cannot be had.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${1:-$here/../../build/python-varlink}
modules=root/usr/lib/python3/dist-packages

die() {
	echo "python3-varlink: $*"
	exit 1
}

reason=$("$here/../setup/other-suite.sh" backports "$cache" python3-varlink) || die "$reason"
cache=$(cd "$cache" && pwd)
[ -d "$cache/$modules/varlink" ] || die "the package has no module any more; remove $cache"
echo "$cache/$modules"
