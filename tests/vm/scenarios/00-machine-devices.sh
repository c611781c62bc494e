# shellcheck shell=bash
# The machine is what the other scenarios take it for: devices, groups, drivers, users, disk.

# Behind virtio-iommu there is no bridge, and they are a group of two (machine.sh).
bridge=BRIDGE
[ "$IOMMU" != virtio ] || bridge=
for role in EDU NIC_A NIC_B $bridge NIC_1 NIC_2 NVME SPARE_PORT SLOT_PORT; do
	[ -e "/sys/bus/pci/devices/${!role:-none}" ] || fail "there is no $role: '${!role:-}'"
done

assert_eq "$(members_of "$(group_of "$NIC_A")" | sort | xargs)" \
	"$(printf '%s\n' ${BRIDGE:+"$BRIDGE"} "$NIC_A" "$NIC_B" | sort | xargs)" "the group of bridge and NICs"
for device in "$EDU" "$NIC_1" "$NIC_2" "$NVME"; do
	assert_eq "$(members_of "$(group_of "$device")")" "$device" "a group of its own"
done

assert_eq "$(driver_of "$EDU")" ""
assert_eq "$(driver_of "$BRIDGE")" ""
assert_eq "$(driver_of "$NIC_A") $(driver_of "$NIC_B")" "e1000 e1000"
assert_eq "$(driver_of "$NIC_1") $(driver_of "$NIC_2")" "e1000e e1000e"
assert_eq "$(driver_of "$NVME")" nvme
for device in "$NIC_A" "$NIC_B" "$NIC_1" "$NIC_2"; do
	[ -n "$(interface_of "$device")" ] || fail "$device has no interface"
done

assert_eq "$(as_user alice id -u):$(as_user alice id -g):$(as_user bob id -un):$(as_user mallory id -u)" \
	1000:1000:bob:1002
assert_eq "$(stat -c %a /dev/vfio/vfio)" 666 "mode of /dev/vfio/vfio"
as_user mallory test -x "$PROGRAMS/edu-dma" || fail "mallory cannot reach the build"

mkdir disk
mount /dev/nvme0n1 disk
touch disk/file
umount disk
