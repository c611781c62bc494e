# shellcheck shell=bash
# The second kernel has what it is for: iommufd, a cdev for each device on vfio-pci, emulated mediated
# devices, and failures on demand.

assert_contains "$(uname -r)" "-vfiod"
modprobe iommufd
[ -c /dev/iommu ] || fail "no /dev/iommu"

bind_by_hand "$EDU" vfio-pci
wait_until 10 compgen -G "/sys/bus/pci/devices/$EDU/vfio-dev/vfio*"
cdev=$(basename "/sys/bus/pci/devices/$EDU"/vfio-dev/vfio*)
wait_until 10 test -c "/dev/vfio/devices/$cdev"
unbind_by_hand "$EDU"
assert_eq "$(driver_of "$EDU")" ""

modprobe mtty
[ -e /sys/class/mdev_bus/mtty/mdev_supported_types/mtty-1/create ] || fail "no mdev types of mtty"
rmmod mtty

[ -w /proc/self/fail-nth ] || fail "failures cannot be injected"
