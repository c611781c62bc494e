# shellcheck shell=bash
# What the host is using is not taken: a mounted disk, an interface with an address. The refusal names
# device and use, and not one write is made. With force an interface is taken, and comes back.

start_daemon <<END
[rule all]
match = pci:address=$NVME
match = pci:address=$NIC_1
match = pci:address=$NIC_A
whole-group = yes
allow = user:alice
END

# in_use DEVICE OF USE: a refusal that is about the device OF.
in_use() {
	local answer
	answer=$(refused as_user alice "$PROGRAMS/lib/lease" "$1")
	echo "$answer"
	assert_contains "$answer" "error org.vfiod.Broker.DeviceInUse {\"group\":$(group_of "$1"),\"device\":\"$2\",\"use\":\"$3"
	answer=$(refused as_user alice vfioctl run --device "$1" -- true 2>&1)
	assert_contains "$answer" "$2 is in use: $3"
	assert_no_writes
	assert_unchanged
}

mkdir disk
mount /dev/nvme0n1 disk
echo here >disk/file
in_use "$NVME" "$NVME" "block device nvme0n1 is mounted on $WORK/disk"
assert_eq "$(cat disk/file)" here
umount disk
# In a namespace that the daemon does not look into.
mkfifo go
exec 8<>go
in_background hidden unshare --mount bash -c "mount /dev/nvme0n1 '$WORK/disk' && echo mounted && read -r" <&8
hidden=$PID
said hidden mounted
in_use "$NVME" "$NVME" "block device nvme0n1 is mounted on $WORK/disk in the mount namespace of bash (pid $hidden)"
echo >&8
wait "$hidden"

interface=$(interface_of "$NIC_1")
address=$(cat "/sys/class/net/$interface/address")
ip address add 192.0.2.1/24 dev "$interface"
ip link set "$interface" up
in_use "$NIC_1" "$NIC_1" "interface $interface is up with address 192.0.2.1"
assert_contains "$(ip -o -4 address show dev "$interface")" 192.0.2.1/24

# The other card of the group.
other=$(interface_of "$NIC_B")
ip address add 2001:db8::1/64 dev "$other"
ip link set "$other" up
in_use "$NIC_A" "$NIC_B" "interface $other is up with address 2001:db8::1"
ip link set "$other" down
ip address flush dev "$other"

# Now that it is not in use, the disk is given, and its file system is there afterwards.
in_background client as_user alice "$PROGRAMS/lib/lease" "$NVME"
client=$PID
said client granted
[ ! -e /dev/nvme0n1 ] || fail "there is a disk without a driver"
end "$client"
assert_unchanged
wait_until 10 mount /dev/nvme0n1 disk
assert_eq "$(cat disk/file)" here
rm disk/file
umount disk

echo "force = yes" >>vfiod.conf
vfioctl reload
forget_writes
in_background client as_user alice "$PROGRAMS/lib/lease" "$NIC_1"
client=$PID
said client granted
assert_eq "$(driver_of "$NIC_1")" vfio-pci
[ ! -e "/sys/class/net/$interface" ] || fail "the interface $interface is still there"
end "$client"
assert_unchanged
udevadm settle
assert_eq "$(interface_of "$NIC_1")" "$interface"
assert_eq "$(cat "/sys/class/net/$interface/address")" "$address"
