# shellcheck shell=bash
# A device comes to a group that is on its way: it waits for that. What comes during a take is joined
# when the group is taken; what comes during a return, and has no driver, is offered to the host's.

start_daemon <<END
[rule all]
match = pci:id=8086:100e
allow = user:alice
END
group=$(group_of "$NIC_A")
is_on() { [ "$(driver_of "$1") $(override_of "$1")" = "$2" ]; }
find_guest() {
	local name
	for name in $(members_of "$group"); do
		case $name in "$BRIDGE" | "$NIC_A" | "$NIC_B") ;; *) guest=$name && return ;; esac
	done
	return 1
}
no_guest() { ! find_guest; }
# Without a driver, as if the kernel had refused all of them.
lose_driver() {
	wait_until 20 is_on "$guest" "e1000 "
	echo "$guest" >"/sys/bus/pci/devices/$guest/driver/unbind"
}
in_background monitor vfioctl monitor --json
said monitor '.*"ready"'

# During a return.
vfioctl take "$NIC_A"
block /sys/bus/pci/drivers/e1000/bind
in_background return vfioctl return "$NIC_A"
return=$PID
wait_blocked
qmp '{"execute":"device_add","arguments":{"driver":"e1000","id":"guest","bus":"bridge","addr":"3","romfile":""}}'
wait_until 20 find_guest
lose_driver
forget_writes
unblock /sys/bus/pci/drivers/e1000/bind
wait "$return"
assert_eq "$(driver_of "$NIC_A") $(driver_of "$NIC_B")" "e1000 e1000"
assert_eq "$(driver_of "$guest") $(override_of "$guest")" "e1000 "
assert_contains "$(sysfs_writes)" "drivers_probe $guest"
assert_eq "$(find "$STATE_DIR/journal" -type f)" "" "the journal"

# During a take: two of three are planned.
echo 1 >"/sys/bus/pci/devices/$guest/remove"
override=/sys/bus/pci/devices/$NIC_B/driver_override
block "$override"
in_background client as_user alice "$PROGRAMS/lib/lease" "$NIC_A"
client=$PID
wait_blocked
answer_read "$override"
wait_until 20 is_on "$NIC_A" "vfio-pci vfio-pci"
wait_blocked
echo 1 >/sys/bus/pci/rescan
lose_driver
unblock "$override"
said client granted
said monitor '.*"deviceJoined"'
wait_until 10 is_on "$guest" "vfio-pci vfio-pci"
assert_eq "$(vfioctl status "$NIC_A" --json | json group binding)" taken
end "$client"
wait_until 10 is_on "$guest" "e1000 "

qmp '{"execute":"device_del","arguments":{"id":"guest"}}'
wait_until 20 no_guest
renew_group
