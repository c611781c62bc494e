# shellcheck shell=bash
# kill -9 of the child that moves the drivers, in the middle: what it left is found and given back.

start_daemon <<END
[rule all]
match = pci:address=$NIC_A
match = pci:address=$NIC_B
allow = user:alice
END
is_on() { [ "$(driver_of "$1")" = "$2" ]; }
# The child of a take that has opened FILE for writing, killed there.
take_until() { # FILE
	block "$1"
	in_background client as_user alice "$PROGRAMS/lib/lease" "$NIC_A"
	client=$PID
	wait_blocked
}
kill_child() { # FILE
	local child
	child=$(bind_child)
	kill -STOP "$DAEMON"
	kill -KILL "$child"
	# The next child is not to be stopped there.
	wait_until 10 has_ended "$child"
	umount -l "$1"
	rm "$(fifo_of "$1")"
	kill -CONT "$DAEMON"
}
assert_given_back() {
	local status=0 error
	wait "$client" || status=$?
	cat client
	assert_eq "$status" 1
	error=$(sed -n 's/^error org.vfiod.Broker.TakeFailed //p' client)
	assert_contains "$(json reason <<<"$error")" "killed at step $1"
	wait_until 20 is_unchanged
	wait_until 10 [ ! -s "$STATE_DIR/journal/$(group_of "$NIC_A").json" ]
	wait_until 10 list_agrees
}

# The first device is on no driver, with an override.
take_until /sys/bus/pci/drivers/vfio-pci/bind
assert_eq "$(driver_of "$NIC_A") $(override_of "$NIC_A")" " vfio-pci"
kill_child /sys/bus/pci/drivers/vfio-pci/bind
assert_given_back "bind of $NIC_A"

# The first is on VFIO, the second is not.
override=/sys/bus/pci/devices/$NIC_B/driver_override
take_until "$override"
answer_read "$override"
wait_until 20 is_on "$NIC_A" vfio-pci
wait_blocked
kill_child "$override"
assert_given_back "override of $NIC_B"

# Before anything was written.
take_until "$override"
forget_writes
kill_child "$override"
status=0
wait "$client" || status=$?
cat client
assert_eq "$status" 1
assert_no_writes
assert_unchanged

# On the way back.
in_background client as_user alice "$PROGRAMS/lib/lease" "$NIC_A"
client=$PID
said client granted
block /sys/bus/pci/drivers/e1000/bind
kill -KILL "$client"
returning() { [ "$(vfioctl status "$NIC_A" --json | json group binding)" = returning ]; }
wait_until 10 returning
wait_blocked
assert_eq "$(driver_of "$NIC_B")" ""
kill_child /sys/bus/pci/drivers/e1000/bind
wait_until 20 is_unchanged
wait_until 10 list_agrees

as_user alice vfioctl run --device "$NIC_A" -- true
assert_unchanged
