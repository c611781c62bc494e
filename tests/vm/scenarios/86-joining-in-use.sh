# shellcheck shell=bash
# A device joins a taken group, and the host uses it before vfiod hears of it: it is left alone, and the
# group is shown as what it is. And one that no rule allows the group's holder is kept from him, too.

start_daemon <<END
[rule all]
match = pci:address=$NIC_A
match = pci:address=$NIC_B
allow = user:alice
END
group=$(group_of "$NIC_A")
state() { vfioctl status "$NIC_A" --json | json group binding; }
is_taken() { [ "$(state)" = taken ]; }
is_on() { [ "$(driver_of "$1") $(override_of "$1")" = "$2" ]; }
find_guest() {
	local name
	for name in $(members_of "$group"); do
		case $name in "$BRIDGE" | "$NIC_A" | "$NIC_B") ;; *) guest=$name && return ;; esac
	done
	return 1
}
no_guest() { ! find_guest; }
has_joined() { [ "$(grep -c '"deviceJoined"' monitor)" = "$1" ]; }
plug() {
	qmp '{"execute":"device_add","arguments":{"driver":"e1000","id":"guest","bus":"bridge","addr":"3","romfile":""}}'
	wait_until 20 find_guest
}
come_back() {
	echo 1 >"/sys/bus/pci/devices/$guest/remove"
	echo 1 >/sys/bus/pci/rescan
	[ -e "/sys/bus/pci/devices/$guest" ] || fail "$guest has not come back"
}
# It comes up with an address before vfiod hears of it.
come_back_in_use() {
	kill -STOP "$DAEMON"
	come_back
	wait_until 20 has_interface "$guest"
	udevadm settle --timeout=20
	ip address add 10.99.0.1/24 dev "$(interface_of "$guest")"
	ip link set "$(interface_of "$guest")" up
	forget_writes
	kill -CONT "$DAEMON"
}
lease() {
	in_background client as_user alice "$PROGRAMS/lib/lease" "$NIC_A"
	client=$PID
	said client granted
}
in_background monitor vfioctl monitor --json
said monitor '.*"ready"'

# What no rule allows the holder: by its address it is another than its twins.
lease
plug
wait_until 20 has_joined 1
assert_eq "$(driver_of "$guest") $(override_of "$guest")" " vfiod-parked"
assert_contains "$(grep '"deviceJoined"' monitor)" "no rule allows"
wait_until 10 is_taken
end "$client"
wait_until 10 is_on "$guest" "e1000 "

# In use by the host. Once the host lets go of it, it joins.
cat >vfiod.conf <<END
[rule all]
match = pci:id=8086:100e
allow = user:alice
END
vfioctl reload
lease
come_back_in_use
wait_until 20 has_joined 2
assert_contains "$(grep '"deviceJoined"' monitor | tail -n 1)" "10.99.0.1"
assert_eq "$(driver_of "$guest") $(override_of "$guest")" "e1000 "
assert_no_writes
assert_eq "$(state)" failed
failure=$(vfioctl status "$NIC_A" --json | json group failure)
assert_contains "$failure" "$guest"
assert_contains "$failure" "not viable"
assert_contains "$(vfioctl status)" "$guest"
echo "$guest" >"/sys/bus/pci/devices/$guest/driver/unbind"
wait_until 20 has_joined 3
wait_until 10 is_taken
assert_eq "$(driver_of "$guest") $(override_of "$guest")" "vfio-pci vfio-pci"
# It comes again, and the host never lets go: the group goes back without it.
come_back_in_use
wait_until 20 has_joined 4
end "$client"
wait_until 10 is_on "$NIC_A" "e1000 "
assert_eq "$(state) $(driver_of "$NIC_B")" "host e1000"
assert_contains "$(ip address show "$(interface_of "$guest")")" 10.99.0.1
ip address flush dev "$(interface_of "$guest")"

qmp '{"execute":"device_del","arguments":{"id":"guest"}}'
wait_until 20 no_guest
renew_group
wait_until 10 list_agrees
assert_eq "$(find "$STATE_DIR/journal" -type f)" "" "the journal"
