# shellcheck shell=bash
# A member leaves the host (PCI remove) in the middle of a take: the rest is as before, what is listed
# stays true, and when the device comes back, so does everything else.

start_daemon <<END
[rule all]
match = pci:address=$NIC_A
match = pci:address=$NIC_B
match = pci:address=$NIC_1
allow = user:alice
END
group=$(group_of "$NIC_A")
is_on() { [ "$(driver_of "$1")" = "$2" ]; }
assert_refused() {
	local status=0
	wait_until 20 has_ended "$client"
	wait "$client" || status=$?
	cat client
	assert_eq "$status" 1
}
take_failed_of() { sed -n 's/^error org.vfiod.Broker.TakeFailed //p' "$WORK/client"; }

# The second: the first has been moved, the child is about to write the second's override.
override=/sys/bus/pci/devices/$NIC_B/driver_override
block "$override"
in_background client as_user alice "$PROGRAMS/lib/lease" "$NIC_A"
client=$PID
wait_blocked
answer_read "$override"
wait_until 20 is_on "$NIC_A" vfio-pci
wait_blocked
echo 1 >"/sys/bus/pci/devices/$NIC_B/remove"
[ ! -e "/sys/bus/pci/devices/$NIC_B" ] || fail "$NIC_B is still there"
unblock "$override"
assert_refused
error=$(take_failed_of)
assert_eq "$(json device <<<"$error") $(json errno <<<"$error") $(json rolledBack <<<"$error")" "$NIC_B 19 true"
assert_contains "$(json reason <<<"$error")" "$NIC_B: it has left the host"
assert_eq "$(driver_of "$NIC_A") $(override_of "$NIC_A")" "e1000 "
wait_until 10 has_interface "$NIC_A"
wait_until 10 list_agrees
assert_eq "$(vfioctl status "$NIC_A" --json | json group binding)" host
assert_eq "$(find "$STATE_DIR/journal" -type f)" "" "the journal"
echo 1 >/sys/bus/pci/rescan
wait_until 20 is_unchanged
wait_until 10 list_agrees

# The first: it has been moved already, and leaves while the second is on its way. The client asked
# for what is not there any more.
block "$override"
in_background client as_user alice "$PROGRAMS/lib/lease" "$NIC_A"
client=$PID
wait_blocked
answer_read "$override"
wait_until 20 is_on "$NIC_A" vfio-pci
wait_blocked
echo 1 >"/sys/bus/pci/devices/$NIC_A/remove"
unblock "$override"
assert_refused
error=$(take_failed_of)
assert_eq "$(json device <<<"$error") $(json errno <<<"$error") $(json rolledBack <<<"$error")" "$NIC_A 19 true"
assert_eq "$(driver_of "$NIC_B") $(override_of "$NIC_B")" "e1000 "
wait_until 10 list_agrees
echo 1 >/sys/bus/pci/rescan
wait_until 20 is_unchanged
wait_until 10 list_agrees

# The only one: its group goes with it.
block /sys/bus/pci/drivers/e1000e/unbind
in_background client as_user alice "$PROGRAMS/lib/lease" "$NIC_1"
client=$PID
wait_blocked
group=$(group_of "$NIC_1")
echo 1 >"/sys/bus/pci/devices/$NIC_1/remove"
[ ! -e "/sys/kernel/iommu_groups/$group" ] || fail "group $group is still there"
unblock /sys/bus/pci/drivers/e1000e/unbind
assert_refused
grep -q '^error org.vfiod.Broker.\(TakeFailed\|NoSuchGroup\) ' client
wait_until 10 list_agrees
refused vfioctl status "$NIC_1"
assert_eq "$(find "$STATE_DIR/journal" -type f)" "" "the journal"
echo 1 >/sys/bus/pci/rescan
wait_until 20 is_unchanged
wait_until 10 list_agrees

# It comes back before the child goes on, which takes from the one that came the driver that the kernel has
# just given it; and that driver refuses it. The group that it is in now says so, and what to do.
block /sys/bus/pci/drivers/e1000e/unbind
in_background client as_user alice "$PROGRAMS/lib/lease" "$NIC_1"
client=$PID
wait_blocked
echo 1 >"/sys/bus/pci/devices/$NIC_1/remove"
echo 1 >/sys/bus/pci/rescan
wait_until 20 is_unchanged
mount --bind /dev/full /sys/bus/pci/drivers/e1000e/bind
unblock /sys/bus/pci/drivers/e1000e/unbind
assert_refused
has_failed() { [ "$(vfioctl status "$NIC_1" --json | json group binding)" = failed ]; }
wait_until 20 has_failed
assert_eq "$(driver_of "$NIC_1")" "" "the driver of $NIC_1"
assert_contains "$(vfioctl status "$NIC_1" | xargs)" "an administrator has to return it"
assert_eq "$(find "$STATE_DIR/journal" -type f)" "$STATE_DIR/journal/$(group_of "$NIC_1").json" "the journal"
# The next daemon knows it, too.
kill_daemon
start_daemon <<<"$(<vfiod.conf)"
has_failed || fail "$(vfioctl status "$NIC_1")"
umount /sys/bus/pci/drivers/e1000e/bind
vfioctl return "$NIC_1"
assert_unchanged
assert_eq "$(find "$STATE_DIR/journal" -type f)" "" "the journal"

# And then as if nothing had been.
renew_group
as_user alice vfioctl run --device "$NIC_A" --device "$NIC_1" -- true
assert_unchanged
