# shellcheck shell=bash
# A device is plugged in behind the bridge of a group that is taken: it is kept from the host, whether a
# driver of the host was faster, or the kernel refused all of them.
# With the group it goes to the driver that it would have had.

renew_group
start_daemon <<END
[rule all]
match = pci:id=8086:100e
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
lease() {
	in_background client as_user alice "$PROGRAMS/lib/lease" "$NIC_A"
	client=$PID
	said client granted
}
# The group's DMA gets an owner.
cat >claim.py <<'END'
import fcntl, os, struct, sys, time
container = os.open("/dev/vfio/vfio", os.O_RDWR)
fcntl.ioctl(int(sys.argv[1]), 0x3B68, struct.pack("i", container))  # VFIO_GROUP_SET_CONTAINER
print("claimed", flush=True)
time.sleep(100)
END
claim() {
	in_background claim as_user alice vfioctl run --device "$NIC_A" -- python3 claim.py "{group}"
	run=$PID
	said claim claimed
}
disclaim() {
	kill -TERM "$run"
	wait "$run" || true
}
in_background monitor vfioctl monitor --json
said monitor '.*"ready"'

# In use: its DMA has an owner, and the kernel lets no driver of the host probe what comes. That goes
# with the group to the driver that it would have had.
claim
kernel_log_mark
forget_writes
plug
wait_until 20 has_joined 1
assert_eq "$(driver_of "$guest") $(override_of "$guest")" "vfio-pci vfio-pci"
[[ $(kernel_log) != *"e1000 $guest"*"Intel(R) PRO/1000"* ]] || fail "e1000 had it"
assert_contains "$(grep '"deviceJoined"' monitor)" "$guest"
wait_until 10 is_taken
assert_contains "$(<"$STATE_DIR/journal/$group.json")" "$guest"
# Those that were there are left alone.
[[ $(sysfs_writes) != *"$NIC_A"* && $(sysfs_writes) != *"$NIC_B"* ]] || fail "$(sysfs_writes)"
disclaim
wait_until 10 is_on "$guest" "e1000 "
wait_until 10 list_agrees

# From here on nobody claims the group any more: renew_group tells why.

# Open, but no more: the host's driver may probe what comes, and does, and has to give it back.
lease
come_back
wait_until 20 has_joined 2
assert_eq "$(driver_of "$guest") $(override_of "$guest")" "vfio-pci vfio-pci"
assert_eq "$(openers_of "$NIC_A")" "$client"
end "$client"
wait_until 10 is_on "$guest" "e1000 "
assert_eq "$(driver_of "$NIC_A") $(driver_of "$NIC_B")" "e1000 e1000"

# Between leases.
vfioctl take "$NIC_A"
come_back
wait_until 20 has_joined 3
assert_eq "$(driver_of "$guest") $(override_of "$guest")" "vfio-pci vfio-pci"
wait_until 10 is_taken
assert_contains "$(vfioctl return "$NIC_A")" "$guest"
wait_until 10 is_on "$guest" "e1000 "

qmp '{"execute":"device_del","arguments":{"id":"guest"}}'
wait_until 20 no_guest
renew_group
wait_until 10 list_agrees
assert_eq "$(find "$STATE_DIR/journal" -type f)" "" "the journal"
