# shellcheck shell=bash
# A device is unplugged by the machine, or removed by sysfs: with the host, taken, leased, and in use. While the kernel
# waits for who has it open, he is asked, the group is stuck with his name, and everybody else is served.
# What is plugged in afterwards is as good as new.

start_daemon <<END
[rule all]
match = pci:id=8086:10d3
match = pci:address=$EDU
allow = user:alice
allow = user:bob
END
state() { vfioctl status "$GUEST" --json | json group binding; }
is() { [ "$(state)" = "$1" ]; }
is_on() { [ "$(driver_of "$1")" = "$2" ]; }
no_journal() { [ -z "$(find "$STATE_DIR/journal" -type f)" ]; }
plug() {
	plug_in e1000e '"romfile":""'
	wait_until 30 is_on "$GUEST" e1000e
	wait_until 10 is host
	assert_eq "$(override_of "$GUEST")" ""
}
# Nothing is left of it: no process waits, no list names it, no lease or journal is about it.
assert_gone() {
	wait_until 60 nothing_behind_spare
	wait_until 20 list_agrees
	wait_until 10 no_journal
	assert_eq "$(vfioctl leases --json | json leases)" "[]"
}
others_are_served() { as_user bob vfioctl --timeout 20 run --device "$NIC_1" -- true; }
in_background monitor vfioctl monitor --json
said monitor '.*"ready"'

# With the host; and taken, without a lease.
plug
ask_out
assert_gone
for way in ask_out remove_out; do
	plug
	vfioctl take "$GUEST"
	wait_until 10 is taken
	$way
	assert_gone
done

# Leased, and no device of it open: the kernel waits for nobody.
plug
in_background client as_user alice "$PROGRAMS/lib/lease" "$GUEST"
client=$PID
said client granted
ask_out
assert_eq "$(said client "event deviceGone")" "event deviceGone $GUEST"
assert_contains "$(said client "event ended")" "its last device has left the host"
assert_gone
kill "$client"
wait_until 10 has_ended "$client"

# Open.
for way in ask_out remove_out; do
	plug
	in_background client as_user alice "$PROGRAMS/lib/lease" --open "$GUEST" "$EDU"
	client=$PID
	said client open
	group=$(group_of "$GUEST")
	$way
	said client asked
	assert_contains "$(said client "event releaseRequested")" "the kernel takes $GUEST away"
	wait_until 30 is stuck
	grep '"deviceLeaving"' monitor | tail -n 1 | grep "\"$GUEST\""
	is_named() { vfioctl status | xargs | grep -F "open by lease (pid $client, uid 1000)"; }
	wait_until 30 is_named
	assert_contains "$(vfioctl status | xargs)" "!! $group"
	answer=$(refused as_user bob "$PROGRAMS/lib/lease" "$GUEST")
	assert_contains "$answer" "error org.vfiod.Broker.Stuck {\"group\":$group,\"device\":\"$GUEST\",\"step\":\"unbind\""
	others_are_served
	[ -e "/sys/bus/pci/devices/$GUEST" ] || fail "the kernel did not wait"
	# One group goes, the lease is over as its client ends.
	kill "$client"
	wait_until 30 has_ended "$client"
	assert_gone
	wait_until 20 is_on "$EDU" ""
done
# The lease goes on with what is left of it, and says so.
plug
in_background client as_user alice "$PROGRAMS/lib/lease" "$GUEST" "$EDU"
client=$PID
said client granted
ask_out
assert_eq "$(said client "event deviceGone")" "event deviceGone $GUEST"
wait_until 30 nothing_behind_spare
wait_until 10 grep -q '"leaseReduced"' monitor
assert_eq "$(vfioctl leases --json | json leases 0 groups)" "[$(group_of "$EDU")]"
! grep "event ended" client || fail "it is over"
end "$client"
assert_gone

# Its lease is over, and a process still has it open: the group lingers, then it is stuck; a daemon that
# starts meanwhile serves others, and sees the same.
plug
as_user alice vfioctl run --device "$GUEST" -- "$PROGRAMS/edu-dma" --fork-holder "{group}" "$GUEST" >held 2>&1
holder=$(awk '/^holder / { print $2 }' held)
ask_out
wait_until 30 is stuck
kill_daemon
cp vfiod.conf rules
start_daemon <rules
others_are_served
wait_until 30 is stuck
kill "$holder"
assert_gone
# And then as if nothing had been.
plug
as_user bob vfioctl run --device "$GUEST" -- true
wait_until 20 is_on "$GUEST" e1000e
ask_out
assert_gone
