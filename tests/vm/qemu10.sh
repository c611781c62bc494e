#!/bin/bash
# A QEMU that takes devices and an iommufd by descriptor (9 and later; Debian 12 has 7.2): that of this
# Debian's backports, unpacked and not installed. Prints the directory that its usr/bin is in.
#
#   qemu10.sh             downloads it if need be
#   qemu10.sh --cached    status 1, silent, if it is not there
#
# It is kept in qemu10 in $VFIOD_VM_CACHE (build/vm). Its firmware is that of the installed QEMU, which
# has the libraries that it needs, too.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${VFIOD_VM_CACHE:-$here/../../build/vm}/qemu10

if [ ! -e "$cache/complete" ]; then
	[ "${1:-}" != --cached ] || exit 1
	reason=$("$here/../setup/other-suite.sh" backports "$cache" qemu-system-x86 qemu-system-common qemu-system-data) || {
		echo "qemu10.sh: $reason" >&2
		exit 1
	}
fi
(cd "$cache/root" && pwd)
