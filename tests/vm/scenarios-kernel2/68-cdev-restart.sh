# shellcheck shell=bash
# Leases with mode cdev outlive the daemon, and so does what they owe: devices that are to be given to
# their drivers anew, or were in the middle of it.

# shellcheck source=tests/vm/guest/kept
. "$VM/guest/kept"
modprobe iommufd
start_kept_daemon <<END
[rule edu]
match = pci:address=$EDU
allow = user:alice
allow = user:bob
trusted = yes
require-reset = no
END
group=$(group_of "$EDU")
unbind=/sys/bus/pci/drivers/vfio-pci/unbind
state() { vfioctl status "$EDU" --json | json group "$1"; }
has_state() { [ "$(state "$1")" = "$2" ]; }
node() { stat -c %i "/sys/bus/pci/devices/$EDU"/vfio-dev/vfio*; }
is_new() { local now; now=$(node) && [ "$now" != "$before" ]; }
lease() { # CLIENT: alice's
	before=$(node)
	in_background "$1" as_user alice "$PROGRAMS/lib/cdev-lease" "$EDU"
	client=$PID
	said "$1" holding
}
is_at_work() { child=$(bind_child); }

vfioctl take "$EDU"
lease one
kill_kept
assert_eq "$("$PROGRAMS/lib/call" org.vfiod.Broker.Leases | json leases 0 mode)" cdev
assert_eq "$(state owner)" leased
assert_eq "$(node)" "$before"
end "$client"
wait_until 20 is_new
wait_until 20 has_state owner none
wait_until 20 has_state binding taken

# In the middle: the daemon and its child are killed, and the next one begins again.
lease two
block "$unbind"
end "$client"
wait_until 20 grep -qE '"phase": *"renewing"' "$STATE_DIR/journal/$group.json"
wait_until 20 is_at_work
kill_kept kill -KILL "$child"
unblock "$unbind"
wait_until 20 is_new
wait_until 20 has_state binding taken
wait_until 20 has_state owner none
assert_eq "$(driver_of "$EDU") $(override_of "$EDU")" "vfio-pci vfio-pci"
grep -qE '"phase": *"taken"' "$STATE_DIR/journal/$group.json"
recovered=$("$PROGRAMS/lib/call" org.vfiod.Admin.Status | json recoveries)
assert_contains "$recovered" '"found": "renewing", "outcome": "taken"'

as_user bob vfioctl run --device "$EDU" -- "$PROGRAMS/edu-dma" "{group}" "$EDU"
wait_until 20 has_state owner none
vfioctl return "$EDU"
wait_until 20 is_unchanged
