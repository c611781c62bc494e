# shellcheck shell=bash
# A device leaves the host while it is leased: its holder is told, and what comes back is the host's.
# If a device of the group stays, so does the lease; what comes back joins it again.

start_daemon <<END
[rule all]
match = pci:address=$NIC_A
match = pci:address=$NIC_B
match = pci:address=$NIC_1
allow = user:alice
END
state() { vfioctl status "$1" --json | json group binding; }

in_background client as_user alice "$PROGRAMS/lib/lease" "$NIC_1"
client=$PID
said client granted
echo 1 >"/sys/bus/pci/devices/$NIC_1/remove"
assert_eq "$(said client "event deviceGone")" "event deviceGone $NIC_1"
said client "event ended"
wait_until 10 list_agrees
assert_eq "$(vfioctl leases --json | json leases)" "[]"
kill -TERM "$client"
wait_until 10 has_ended "$client"
echo 1 >/sys/bus/pci/rescan
wait_until 20 is_unchanged
wait_until 10 list_agrees
as_user alice vfioctl run --device "$NIC_1" -- true
assert_unchanged

# One of two, the other one being open.
in_background run as_user alice vfioctl run --device "$NIC_A" -- "$PROGRAMS/edu-dma" --hold "{group}" "$NIC_A"
run=$PID
said run holding
holder=$(openers_of "$NIC_A")
echo 1 >"/sys/bus/pci/devices/$NIC_B/remove"
wait_until 10 list_agrees
assert_eq "$(state "$NIC_A") $(openers_of "$NIC_A")" "taken $holder"
echo 1 >/sys/bus/pci/rescan
wait_until 10 list_agrees
[ -e "/sys/bus/pci/devices/$NIC_B" ] || fail "$NIC_B has not come back"
has_joined() { [ "$(driver_of "$NIC_B") $(override_of "$NIC_B")" = "vfio-pci vfio-pci" ]; }
wait_until 10 has_joined
assert_eq "$(driver_of "$NIC_A") $(state "$NIC_A")" "vfio-pci taken"
kill "$holder"
status=0
wait "$run" || status=$?
assert_eq "$status" 0
wait_until 20 is_unchanged
wait_until 10 list_agrees
renew_group
