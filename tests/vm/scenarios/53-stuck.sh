# shellcheck shell=bash
# The kernel does not let go of a device: the client is told after take-timeout, the group is shown as
# stuck, and nobody else waits for it. When the kernel lets go, the group is the host's by itself.

start_daemon <<END
[daemon]
take-timeout = 3

[rule all]
match = pci:address=$NIC_1
match = pci:address=$EDU
match = pci:address=$NIC_A
match = pci:address=$NIC_B
allow = user:alice
END
group=$(group_of "$NIC_1")
state() { vfioctl status "$1" --json | json group binding; }
is_host() { [ "$(state "$1")" = host ]; }
# What is not meant to hang may take longer, on a busy machine.
patience() {
	sed -i "s/^take-timeout.*/take-timeout = $1/" vfiod.conf
	vfioctl reload
}
unbind=/sys/bus/pci/drivers/e1000e/unbind

# In a take.
block "$unbind"
began=$SECONDS
answer=$(refused as_user alice "$PROGRAMS/lib/lease" "$NIC_1")
echo "$answer"
# The default would be 30 s.
((SECONDS - began < 30)) || fail "take-timeout = 3, and it took $((SECONDS - began)) s"
error=${answer#error * }
assert_contains "$answer" "error org.vfiod.Broker.Stuck "
assert_eq "$(json group <<<"$error") $(json device <<<"$error") $(json step <<<"$error")" "$group $NIC_1 unbind"
assert_eq "$(state "$NIC_1")" stuck
failure=$(vfioctl status "$NIC_1" --json | json group failure)
assert_contains "$failure" "does not let go of $NIC_1"
assert_contains "$failure" "step unbind"
assert_contains "$(vfioctl status | xargs -d '\n')" "!! $group"
assert_contains "$(vfioctl list | grep "^$group ")" stuck

patience 60
# Others are served; this one is not asked for again and again.
children() {
	local child n=0
	for child in $(<"/proc/$DAEMON/task/$DAEMON/children"); do
		! grep -qsx vfiod-bind "/proc/$child/comm" || n=$((n + 1))
	done
	echo "$n"
}
assert_eq "$(children)" 1
answer=$(refused as_user alice "$PROGRAMS/lib/lease" "$NIC_1")
assert_contains "$answer" "error org.vfiod.Broker.Stuck {\"group\":$group,\"device\":\"$NIC_1\",\"step\":\"unbind\""
assert_contains "$(refused as_user alice vfioctl run --device "$NIC_1" -- true 2>&1)" "group $group is stuck"
for what in take return; do
	assert_contains "$(refused vfioctl "$what" "$NIC_1" 2>&1)" "group $group is stuck"
done
for device in "$EDU" "$NIC_A"; do
	as_user alice vfioctl run --device "$device" -- true
	assert_eq "$(state "$device")" host
done
assert_eq "$(children)" 1

unblock "$unbind"
wait_until 20 is_host "$NIC_1"
wait_until 10 is_unchanged
assert_eq "$(find "$STATE_DIR/journal" -type f)" "" "the journal"

# On the way back.
in_background client as_user alice "$PROGRAMS/lib/lease" "$NIC_1"
client=$PID
said client granted
bind=/sys/bus/pci/drivers/e1000e/bind
block "$bind"
patience 3
kill -TERM "$client"
status=0
wait "$client" || status=$?
cat client
assert_eq "$status" 1
assert_contains "$(cat client)" "error org.vfiod.Broker.Stuck {\"group\":$group,\"device\":\"$NIC_1\",\"step\":\"bind\""
assert_eq "$(state "$NIC_1") $(driver_of "$NIC_1")" "stuck "
patience 60
as_user alice vfioctl run --device "$EDU" -- true
unblock "$bind"
wait_until 20 is_host "$NIC_1"
wait_until 10 is_unchanged

# Before the first write nothing is stuck: the device is not even read.
override=/sys/bus/pci/devices/$NIC_1/driver_override
block "$override"
patience 3
forget_writes
answer=$(refused as_user alice "$PROGRAMS/lib/lease" "$NIC_1")
echo "$answer"
assert_contains "$answer" "\"device\":\"$NIC_1\",\"step\":\"read\""
assert_eq "$(state "$NIC_1")" host
assert_no_writes
unblock "$override"
no_children() { ! bind_child; }
wait_until 10 no_children
assert_no_writes
patience 60
as_user alice vfioctl run --device "$NIC_1" -- true
assert_unchanged
list_agrees
