#!/bin/bash
# initramfs.sh MODULES IOMMU OUTPUT: makes the initramfs that enters the host's root file system.
# MODULES is the directory of a kernel's modules. Busybox, the modules that reach the share,
# and tests/vm/guest/initramfs-init; a boot adds its own vm.env behind it (run.sh).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
modules=$1
output=$3
wanted='virtio_pci 9pnet_virtio 9p overlay'
# What is behind it is not probed before it is there.
[ "$2" != virtio ] || wanted="virtio_iommu $wanted"

# modules.dep: "kernel/a.ko: kernel/b.ko kernel/c.ko"; to be loaded from right to left.
# Prints the files of a module in their order of loading; nothing if it is built in.
files_of() {
	awk -v name="$1" '{
		file = $1; sub(/:$/, "", file)
		base = file; sub(/.*\//, "", base); sub(/\.ko.*/, "", base); gsub(/-/, "_", base)
		if (base == name) { for (i = NF; i > 1; i--) print $i; print file; found = 1 }
	}' "$modules/modules.dep"
}

busybox=$(command -v busybox) || { echo "initramfs.sh: no busybox (Debian: busybox-static)" >&2; exit 1; }
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
# mktemp's 0700 would become the mode of / for everybody in the guest.
chmod 0755 "$root"
mkdir -p "$root"/{bin,modules,proc,sys,dev,host,upper,new}
cp "$busybox" "$root/bin/busybox"
for module in $wanted; do
	files_of "$module"
done | awk '!seen[$0]++' >"$root/files"
while read -r file; do
	case $file in
	*.ko) cp "$modules/$file" "$root/modules/" ;;
	*.ko.xz) xz -dc "$modules/$file" >"$root/modules/$(basename "$file" .xz)" ;;
	*) echo "initramfs.sh: cannot unpack $file" >&2; exit 1 ;;
	esac
	basename "$file" | sed 's/\.ko.*/.ko/' >>"$root/modules/order"
done <"$root/files"
touch "$root/modules/order"
rm "$root/files"
install -m 0755 "$here/guest/initramfs-init" "$root/init"
(cd "$root" && find . | cpio -o -H newc --owner 0:0 --quiet | gzip -1) >"$output.$$"
mv "$output.$$" "$output"
