# shellcheck shell=bash
# A device can be plugged into the spare port from inside, and pulled out; PCI remove and rescan
# bring a device back.

behind_spare() { # the children of a port that are PCI devices, not services of the port
	local path
	path=$(compgen -G "/sys/bus/pci/devices/$SPARE_PORT/*/vendor") && basename "${path%/vendor}"
}
nothing_behind_spare() { ! behind_spare; }
has_driver() { [ "$(driver_of "$1")" = "$2" ]; }

refused qmp '{"execute":"no-such-command"}'
qmp '{"execute":"device_add","arguments":{"driver":"e1000e","id":"guest","bus":"spare","romfile":""}}'
wait_until 20 behind_spare
plugged=$(behind_spare)
wait_until 20 has_driver "$plugged" e1000e
[ -n "$(group_of "$plugged")" ] || fail "$plugged has no group"
qmp '{"execute":"device_del","arguments":{"id":"guest"}}'
wait_until 20 nothing_behind_spare

echo 1 >"/sys/bus/pci/devices/$NIC_1/remove"
[ ! -e "/sys/bus/pci/devices/$NIC_1" ] || fail "$NIC_1 is still there"
echo 1 >/sys/bus/pci/rescan
wait_until 10 has_driver "$NIC_1" e1000e
