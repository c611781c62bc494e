#!/bin/bash
# local-files.sh MODULES BUILD OUTPUT: an archive, for the initramfs, of those of the host's files that scenarios use
# all the time, and the libraries of what is in BUILD. The guest has them in memory, in /local until its root is made of
# that and of the share (guest/initramfs-init).
# From the share each program that starts costs some fifty round trips, for its libraries, its locale and the symbolic
# links on the way to them, and that was most of the suite's time. What is not here is read from the share.
set -euo pipefail

modules=$1
build=$2
output=$3
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
programs='awk basename bash busybox cat chmod chown cmp comm cp cut date dd depmod diff dirname dmsetup echo env false
	find getent grep head hostname id insmod install ip kill ln losetup ls mkdir mkfifo mknod mktemp modprobe mount
	mountpoint mv nsenter od paste pgrep pkill printf prlimit ps readlink realpath rm rmdir rmmod sed seq setpriv setsid sh
	sleep sort stat stty sync tail tee timeout touch tr true truncate udevadm umount uname uniq unshare wc xargs'

# A file, and the symbolic links on the way to it.
with_links() { # PATH
	local path=$1 target
	while :; do
		path=$(realpath "$(dirname "$path")")/$(basename "$path")
		echo "$path"
		[ -L "$path" ] || return 0
		target=$(readlink "$path")
		[[ $target == /* ]] || target=$(dirname "$path")/$target
		path=$target
	done
}

libraries_of() { # FILE…: of programs, or libraries
	{ ldd "$@" 2>/dev/null || true; } | sed -n 's/.*[[:space:]]\(\/[^ ]*\) (0x.*/\1/p' | sort -u
}

wanted() {
	local paths
	mapfile -t paths < <(for name in $programs; do type -P "$name"; done)
	paths+=(/lib/systemd/systemd-udevd /lib/*/libnss_systemd.so.2)
	printf '%s\n' "${paths[@]}"
	libraries_of "${paths[@]}" "$build"/{vfio*,shim.so,tests/vm/programs/*,tests/vm/programs/lib/*}
	ls -d /bin /sbin /lib /lib64 /etc/{ld.so.cache,nsswitch.conf,locale.alias} \
		/usr/share/locale/locale.alias /usr/lib/*/gconv/gconv-modules.cache /usr/lib/locale/C.utf8/{LC_*,LC_*/*} \
		"$modules"/modules.*.bin 2>/dev/null || true
}

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 0755 "$root"
mkdir "$root/local"
wanted | sort -u | while read -r path; do
	[ ! -e "$path" ] || with_links "$path"
done | sort -u | sed 's,^/*,,' | tar -c -C / --no-recursion -T - | tar -x -C "$root/local"
# Not compressed: the guest's processor is a slow one.
(cd "$root" && find . -mindepth 1 | cpio -o -H newc --owner 0:0 --quiet) >"$output.$$"
mv "$output.$$" "$output"
