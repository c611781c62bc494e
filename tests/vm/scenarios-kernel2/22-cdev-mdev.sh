# shellcheck shell=bash
# A mediated device, which no IOMMU translates for: listed with its parent, leased in either mode, and its
# port answers. It belongs to its driver before and after; nothing is bound.

modprobe mtty
uuid=83b8f4f2-509f-382f-3c1e-e6bfe0fa1001
echo "$uuid" >/sys/class/mdev_bus/mtty/mdev_supported_types/mtty-1/create
wait_until 10 test -e "/sys/bus/mdev/devices/$uuid/iommu_group"
snapshot
start_daemon <<END
[rule mdev]
match = bus:mdev
allow = user:alice
END
group=$(basename "$(readlink "/sys/bus/mdev/devices/$uuid/iommu_group")")
vfioctl list --all
vfioctl status "$uuid"
vfioctl why "$uuid"
assert_eq "$(vfioctl status "$uuid" --json | json group devices 0 bus)" mdev

as_user alice vfioctl run --device "$uuid" -- "$PROGRAMS/mtty-port" "{group}" "$uuid" >port
assert_contains "$(cat port)" "equal: 2 bytes"
assert_unchanged
as_user alice vfioctl run --device "$uuid" -- "$PROGRAMS/mtty-port" --iommufd "{iommufd}" "{device}" "$uuid" >port
assert_contains "$(cat port)" "equal: 2 bytes"
assert_unchanged
as_user alice vfioctl run --device "$uuid" -- env "DEVICE={device:$uuid}" >names
grep -qx "LISTEN_FDNAMES=device-$uuid:iommufd" names
grep -qx DEVICE=3 names

# While one has it, in one mode, nobody has it in the other.
for mode in group cdev; do
	in_background holder as_user alice vfioctl run --mode "$mode" --device "$uuid" -- sh -c 'echo held; exec sleep 1000'
	holder=$PID
	said holder held
	for other in group cdev; do
		answer=$(refused as_user alice vfioctl run --mode "$other" --device "$uuid" -- true 2>&1)
		assert_contains "$answer" "group $group is held by" "$other while $mode"
	done
	kill "$holder"
	wait "$holder" || true
	assert_unchanged
done
refused as_user bob vfioctl run --mode cdev --device "$uuid" -- true 2>&1
echo 1 >"/sys/bus/mdev/devices/$uuid/remove"
rmmod mtty
snapshot
