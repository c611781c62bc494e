# shellcheck shell=bash
# kill -9 of the daemon while groups are taken: the next one shows them as failed, touches nothing,
# and serves all others; an administrator returns them, from what the journal says the host had.

configuration="[rule all]
match = pci:address=$NIC_A
match = pci:address=$NIC_B
match = pci:address=$NIC_1
match = pci:address=$EDU
allow = user:alice"
start_daemon <<<"$configuration"
group=$(group_of "$NIC_A")
state() { vfioctl status "$1" --json | json group binding; }

in_background client as_user alice "$PROGRAMS/lib/lease" "$NIC_A"
client=$PID
said client granted
vfioctl take "$NIC_1"
kill_daemon
said client "event gone"
assert_eq "$(driver_of "$NIC_A") $(driver_of "$NIC_B") $(driver_of "$NIC_1")" "vfio-pci vfio-pci vfio-pci"

start_daemon <<<"$configuration"
assert_eq "$(state "$NIC_A") $(state "$NIC_1")" "failed failed"
assert_eq "$(driver_of "$NIC_A") $(driver_of "$NIC_B") $(driver_of "$NIC_1")" "vfio-pci vfio-pci vfio-pci"
assert_eq "$(openers_of "$NIC_A")" "$client"
assert_contains "$(vfioctl status "$NIC_A" --json | json group failure)" "vfioctl return $group"
assert_contains "$(vfioctl status | xargs -d '\n')" "!! $group"
answer=$(refused as_user alice "$PROGRAMS/lib/lease" "$NIC_B")
assert_contains "$answer" "error org.vfiod.Broker.GroupFailed {\"group\":$group,"
assert_no_writes
as_user alice vfioctl run --device "$EDU" -- true
assert_eq "$(driver_of "$EDU")" ""

# Still open: not now. What was asked for stays asked for.
forget_writes
assert_contains "$(refused vfioctl return "$group" 2>&1)" "group $group is held"
assert_no_writes
# Its daemon has gone: it cannot release, but it can close.
kill -KILL "$client"
is_on() { [ "$(driver_of "$1")" = "$2" ]; }
wait_until 10 is_on "$NIC_A" e1000
assert_eq "$(driver_of "$NIC_1")" vfio-pci
assert_contains "$(vfioctl return "$NIC_1")" "returned: $NIC_1"
wait_until 10 is_unchanged
assert_eq "$(state "$NIC_A") $(state "$NIC_1")" "host host"
assert_eq "$(find "$STATE_DIR/journal" -type f)" "" "the journal"
list_agrees

# In the middle of a take: the child finishes what it does, without a daemon to tell.
override=/sys/bus/pci/devices/$NIC_B/driver_override
block "$override"
in_background client as_user alice "$PROGRAMS/lib/lease" "$NIC_A"
client=$PID
wait_blocked
answer_read "$override"
wait_until 20 is_on "$NIC_A" vfio-pci
wait_blocked
child=$(bind_child)
kill_daemon
wait_until 10 has_ended "$client"
start_daemon <<<"$configuration"
assert_eq "$(state "$NIC_A")" failed
answer=$(refused vfioctl return "$NIC_A" 2>&1)
echo "$answer"
assert_contains "$answer" "group $group is stuck"
assert_contains "$answer" "pid $child"
assert_no_writes
as_user alice vfioctl run --device "$EDU" -- true
unblock "$override" "" "$child"
wait_until 20 has_ended "$child"
assert_eq "$(driver_of "$NIC_A") $(driver_of "$NIC_B") $(state "$NIC_A")" "vfio-pci vfio-pci failed"
assert_contains "$(vfioctl return "$NIC_A")" "returned: $NIC_A, $NIC_B"
assert_unchanged
