# shellcheck shell=bash
# Somebody beside the broker has a device's own node open without binding it: the group can be opened,
# and an unbind waits for him. Seen in time, the unbind is not tried. If not, the group is stuck, with
# the holder named; the daemon can be killed meanwhile, others are served, and it ends by itself.

configuration() {
	cat <<END
[daemon]
take-timeout = 2
[rule all]
match = pci:address=$EDU
match = pci:address=$NIC_1
allow = user:alice
END
}
start_daemon < <(configuration)
group=$(group_of "$EDU")
state() { vfioctl status "$EDU" --json | json group "$1"; }
has_state() { [ "$(state "$1")" = "$2" ]; }
is_found() { vfioctl status "$EDU" --json | grep -F "\"holder\":{\"pid\":$opener," | grep -F "\"holderEvidence\":\"open\""; }
lease() {
	in_background client as_user alice "$PROGRAMS/lib/lease" "$EDU"
	client=$PID
	said client granted
}
open_node() {
	in_background opener "$PROGRAMS/cdev-open" "$EDU"
	opener=$PID
	said opener holding
}

# This kernel does not show the stack of a process, but which call it is in, and with what: 257 is
# openat(2), 1 is write(2).
is_in_call() { # NUMBER: the child of the daemon, for longer than a moment
	local call
	child=$(bind_child) && call=$(<"/proc/$child/syscall") && sleep 0.3 &&
		[ "$call" = "$(<"/proc/$child/syscall")" ] && [ "${call%% *}" = "$1" ]
}

# In time.
lease
open_node
end "$client"
wait_until 20 has_state owner lingering
wait_until 20 is_found
# The first write of a return would be to the override.
assert_eq "$(driver_of "$EDU") $(override_of "$EDU")" "vfio-pci vfio-pci"
assert_contains "$(vfioctl status | xargs)" "!! $group $EDU held open by cdev-open (pid $opener, uid 0) for"
end "$opener"
wait_until 20 is_unchanged

# The other way of opening a device is told by the kernel as well.
as_user alice vfioctl run --device "$EDU" -- "$PROGRAMS/edu-dma" --fork-holder "{group}" "$EDU" >holder
opener=$(awk '/^holder / { print $2 }' holder)
grep -h vfio-device-syspath "/proc/$opener"/fdinfo/*
wait_until 20 is_found
kill "$opener"
wait_until 20 is_unchanged

# After the look.
lease
unbind=/sys/bus/pci/drivers/vfio-pci/unbind
block "$unbind"
kill -KILL "$client"
wait_until 20 is_in_call 257
open_node
unblock "$unbind"
wait_until 30 has_state binding stuck
is_in_call 1 || fail "the child does not wait in write(2)"
wait_until 30 is_found
status=$(vfioctl status | xargs)
assert_contains "$status" "!! $group the kernel does not let go of $EDU of group $group, step unbind"
assert_contains "$status" "It is held open by cdev-open (pid $opener, uid 0)"
answer=$(refused as_user alice "$PROGRAMS/lib/lease" "$EDU")
assert_contains "$answer" "error org.vfiod.Broker.Stuck {\"group\":$group,\"device\":\"$EDU\",\"step\":\"unbind\",\"holderPid\":$opener"
as_user alice vfioctl run --device "$NIC_1" -- true

# A daemon that is killed and started again waits for nothing but this group.
kill_daemon
start_daemon < <(configuration)
assert_eq "$(state binding)" stuck
as_user alice vfioctl run --device "$NIC_1" -- true
wait_until 30 is_found
! has_ended "$child" || fail "the child has ended: this scenario shows nothing"
end "$opener"
wait_until 20 is_unchanged
wait_until 20 has_state binding host
assert_eq "$(find "$STATE_DIR/journal" -type f -name '*.json')" "" "the journal"
list_agrees
