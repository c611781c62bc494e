# shellcheck shell=bash
# A take fails, and so does its rollback: the group is failed, what is left where is said and stays
# in the journal, nobody gets the group; and when the cause has gone, an administrator returns it.

start_daemon <<END
[rule all]
match = pci:address=$NIC_A
match = pci:address=$NIC_B
match = pci:address=$EDU
allow = user:alice
END
group=$(group_of "$NIC_A")
override_a=/sys/bus/pci/devices/$NIC_A/driver_override
override_b=/sys/bus/pci/devices/$NIC_B/driver_override
binding() { vfioctl status "$NIC_A" --json | json group binding; }

# The host's driver does not accept the first device again.
mount --bind /dev/full "$override_b"
mount --bind /dev/full /sys/bus/pci/drivers/e1000/bind
answer=$(refused as_user alice "$PROGRAMS/lib/lease" "$NIC_A")
echo "$answer"
error=${answer#error * }
assert_contains "$answer" "error org.vfiod.Broker.TakeFailed "
assert_eq "$(json device <<<"$error") $(json step <<<"$error") $(json errno <<<"$error")" "$NIC_B override 28"
assert_eq "$(json rolledBack <<<"$error")" false
left="$NIC_A is on no driver, was on e1000 (bind: No space left on device)"
assert_contains "$(json reason <<<"$error")" "$left"
assert_eq "$(driver_of "$NIC_A") $(driver_of "$NIC_B")" " e1000"

assert_eq "$(binding)" failed
assert_contains "$(vfioctl status "$NIC_A" --json | json group failure)" "$left"
assert_contains "$(vfioctl list | grep "^$group ")" failed
shown=$(vfioctl status | xargs)
assert_contains "$shown" "!! $group"
assert_contains "$shown" "$NIC_A is on no driver, was on e1000"
[ -s "$STATE_DIR/journal/$group.json" ] || fail "the journal does not have it"

# Nobody gets it, and nobody touches it; the others do not suffer from it.
forget_writes
answer=$(refused as_user alice "$PROGRAMS/lib/lease" "$NIC_B")
assert_contains "$answer" "error org.vfiod.Broker.GroupFailed {\"group\":$group,"
assert_contains "$answer" "$left"
answer=$(refused vfioctl take "$NIC_B" 2>&1)
assert_contains "$answer" "$left"
assert_no_writes
as_user alice vfioctl run --device "$EDU" -- true

# The cause is there still.
answer=$(refused vfioctl return "$group" 2>&1)
echo "$answer"
assert_contains "$answer" "step bind of $NIC_A failed (No space left on device)"
assert_eq "$(binding)" failed
umount /sys/bus/pci/drivers/e1000/bind
umount "$override_b"
assert_contains "$(vfioctl return "$group")" "group $group returned: $NIC_A"
assert_eq "$(binding)" host
assert_unchanged
assert_eq "$(find "$STATE_DIR/journal" -type f)" "" "the journal"

# The same where the override of the first cannot be written any more: it stays on VFIO.
block "$override_b"
in_background client as_user alice "$PROGRAMS/lib/lease" "$NIC_A"
client=$PID
wait_blocked
answer_read "$override_b"
is_on() { [ "$(driver_of "$1")" = "$2" ]; }
wait_until 20 is_on "$NIC_A" vfio-pci
wait_blocked
echo vfio-pci >frozen
# Read-only before it is seen anywhere: what becomes so later does not in a service's namespace.
mount --bind frozen frozen
mount -o remount,bind,ro frozen
mount --bind frozen "$override_a"
unblock "$override_b" /dev/full
status=0
wait "$client" || status=$?
cat client
assert_eq "$status" 1
error=$(sed -n 's/^error org.vfiod.Broker.TakeFailed //p' client)
assert_eq "$(json device <<<"$error") $(json step <<<"$error") $(json rolledBack <<<"$error")" "$NIC_B override false"
left="$NIC_A is on vfio-pci with driver_override vfio-pci, was on e1000 (override: Read-only file system)"
assert_contains "$(json reason <<<"$error")" "$left"
assert_eq "$(driver_of "$NIC_A") $(driver_of "$NIC_B")" "vfio-pci e1000"
assert_contains "$(vfioctl status "$NIC_A" --json | json group failure)" "$left"

umount "$override_a" "$override_b" frozen
vfioctl return "$NIC_B"
assert_unchanged
list_agrees
