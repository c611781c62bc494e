# shellcheck shell=bash
# A physical function is not taken from its virtual functions, one of which can be. A disk with
# two controllers is used through both.

start_daemon <<END
[rule disks]
match = pci:id=1b36:0010
allow = user:alice
END

behind_spare() { compgen -G "/sys/bus/pci/devices/$SPARE_PORT/*/vendor"; }
nothing_behind_spare() { ! behind_spare; }
is_up() { [ -e "/sys/bus/pci/devices/$1/nvme" ]; }
is_known() { vfioctl list --all | grep -q "$1"; }

qmp '{"execute":"device_add","arguments":{"driver":"nvme","id":"physical","bus":"spare","serial":"vfiod",
	"subsys":"subsystem","sriov_max_vfs":2,"sriov_vq_flexible":4,"sriov_vi_flexible":2}}'
wait_until 20 behind_spare
physical=$(basename "$(dirname "$(behind_spare)")")
wait_until 20 is_up "$physical"
wait_until 20 is_known "$physical"

mkdir disk
mount /dev/nvme0n1 disk
for device in "$NVME" "$physical"; do
	assert_in_use "$device" "block device nvme0n1 is mounted on $WORK/disk"
done
umount disk

# They are for someone else: no driver here.
echo 0 >"/sys/bus/pci/devices/$physical/sriov_drivers_autoprobe"
echo 2 >"/sys/bus/pci/devices/$physical/sriov_numvfs"
virtual=$(link_of "$physical" virtfn1)
wait_until 20 is_known "$virtual"
assert_in_use "$physical" "it has 2 virtual functions, which would go with it"
in_background client as_user alice "$PROGRAMS/lib/lease" "$virtual"
client=$PID
said client granted
assert_eq "$(driver_of "$virtual")" vfio-pci
end "$client"
has_no_driver() { [ -z "$(driver_of "$1")" ]; }
wait_until 10 has_no_driver "$virtual"
echo 0 >"/sys/bus/pci/devices/$physical/sriov_numvfs"

qmp '{"execute":"device_del","arguments":{"id":"physical"}}'
wait_until 20 nothing_behind_spare
