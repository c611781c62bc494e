# shellcheck shell=bash
# take = boot: a udev rule gives a device to VFIO before any driver of the host has it. The daemon finds
# it so, and a return gives it to whichever driver of the host wants it. The same rule keeps what comes to
# a group that is taken.

rule=/run/udev/rules.d/60-vfiod.rules
mkdir -p /run/udev/rules.d
# What fails leaves a rule that asks a configuration which is not there any more: it claims nothing.
sed "s|@sbindir@/vfiod|$BUILD/vfiod --config $WORK/vfiod.conf|" "$CHECKOUT/systemd/60-vfiod.rules.in" >"$rule"
udevadm control --reload
configuration() {
	cat <<END
[rule boot]
match = pci:address=$NIC_1
take = boot
allow = user:alice

[rule half]
match = pci:address=$NIC_A
take = boot

[rule twins]
match = pci:id=8086:100e
allow = user:alice
END
}
configuration >vfiod.conf
is_on() { [ "$(driver_of "$1") $(override_of "$1")" = "$2" ]; }
state() { vfioctl status "$1" --json | json group binding; }
is() { [ "$(state "$1")" = "$2" ]; }

# As at boot: the driver is not loaded yet, and udev loads it for the device that appears.
appear() {
	rmmod e1000e
	kernel_log_mark
	echo 1 >"/sys/bus/pci/devices/$NIC_1/remove"
	echo 1 >/sys/bus/pci/rescan
	wait_until 20 is_on "$NIC_2" "e1000e "
	udevadm settle --timeout=20
	wait_until 10 is_on "$NIC_1" "vfio-pci vfio-pci"
	[[ $(kernel_log) != *"e1000e $NIC_1"* ]] || fail "e1000e had it: $(kernel_log)"
}
appear
assert_eq "$(udevadm info --query=property --property=VFIOD_CLAIM --value "/sys/bus/pci/devices/$NIC_1")" vfio-pci

start_daemon < <(configuration)
wait_until 20 is "$NIC_1" taken
wait_until 10 test -e "$STATE_DIR/journal/$(group_of "$NIC_1").json"
as_user alice vfioctl run --device "$NIC_1" -- true
wait_until 10 is "$NIC_1" taken
assert_no_writes
assert_contains "$(vfioctl return "$NIC_1")" "$NIC_1"
assert_eq "$(driver_of "$NIC_1") $(override_of "$NIC_1")" "e1000e "
# It has a driver now: no event gives it away again.
udevadm trigger --action=add --settle "/sys/bus/pci/devices/$NIC_1"
udevadm trigger --action=change --settle "/sys/bus/pci/devices/$NIC_1"
wait_until 10 list_agrees
assert_eq "$(driver_of "$NIC_1") $(override_of "$NIC_1") $(state "$NIC_1")" "e1000e  host"
stop_daemon

# A restart of the daemon is no reason to let the host's driver have it.
appear
start_daemon < <(configuration)
wait_until 20 is "$NIC_1" taken
stop_daemon
assert_eq "$(driver_of "$NIC_1") $(override_of "$NIC_1")" "vfio-pci vfio-pci"
start_daemon < <(configuration)
wait_until 20 is "$NIC_1" taken
assert_no_writes
vfioctl return "$NIC_1"
wait_until 10 is_on "$NIC_1" "e1000e "

# Half of a group is not claimed, nor what has a driver, or an override of somebody else's.
claim() { refused vfiod --config "$WORK/vfiod.conf" --claim "/sys/bus/pci/devices/$1"; }
echo "$NIC_A" >"/sys/bus/pci/devices/$NIC_A/driver/unbind"
assert_eq "$(claim "$NIC_A")$(override_of "$NIC_A")" ""
echo "$NIC_A" >/sys/bus/pci/drivers/e1000/bind
assert_eq "$(claim "$NIC_1")$(override_of "$NIC_1")" ""
echo "$NIC_1" >"/sys/bus/pci/devices/$NIC_1/driver/unbind"
echo mine >"/sys/bus/pci/devices/$NIC_1/driver_override"
assert_eq "$(claim "$NIC_1")$(override_of "$NIC_1")" mine
echo >"/sys/bus/pci/devices/$NIC_1/driver_override"
echo "$NIC_1" >/sys/bus/pci/drivers/e1000e/bind
wait_until 10 is_unchanged

# What comes to a group that is taken: no driver of the host has it for a moment.
group=$(group_of "$NIC_A")
find_guest() {
	local name
	for name in $(members_of "$group"); do
		case $name in "$BRIDGE" | "$NIC_A" | "$NIC_B") ;; *) guest=$name && return ;; esac
	done
	return 1
}
no_guest() { ! find_guest; }
vfioctl take "$NIC_A"
rmmod e1000
kernel_log_mark
in_background monitor vfioctl monitor --json
said monitor '.*"ready"'
qmp '{"execute":"device_add","arguments":{"driver":"e1000","id":"guest","bus":"bridge","addr":"3","romfile":""}}'
wait_until 20 find_guest
said monitor '.*"deviceJoined"' >/dev/null
wait_until 10 is_on "$guest" "vfio-pci vfio-pci"
udevadm settle --timeout=20
grep -q '^e1000 ' /proc/modules || fail "udev has not loaded e1000"
[[ $(kernel_log) != *"e1000 $guest"* ]] || fail "e1000 had it: $(kernel_log)"
vfioctl return "$NIC_A"
wait_until 10 is_on "$guest" "e1000 "
rm "$rule"
udevadm control --reload
qmp '{"execute":"device_del","arguments":{"id":"guest"}}'
wait_until 20 no_guest
renew_group
