# shellcheck shell=bash
# Who has no rule, or a rule for a part of the group only, gets nothing: the refusal says why, and
# not one write is made.

start_daemon <<END
[rule edu]
match = pci:address=$EDU
allow = user:alice

[rule one-nic]
match = pci:address=$NIC_A
allow = user:alice
END

# denied USER DEVICE OF TEXT: a refusal that is about the device OF.
denied() {
	local answer
	answer=$(refused as_user "$1" vfioctl run --device "$2" -- true 2>&1)
	echo "$answer"
	assert_contains "$answer" "access denied to $3"
	assert_contains "$answer" "$4"
	answer=$(refused as_user "$1" "$PROGRAMS/lib/lease" "$2")
	assert_contains "$answer" "error org.vfiod.Broker.AccessDenied {\"device\":\"$3\""
	assert_contains "$answer" "$4"
}
denied alice "$NIC_1" "$NIC_1" "no rule matches $NIC_1"
denied mallory "$EDU" "$EDU" "rule 'edu' ($WORK/vfiod.conf:1) matches $EDU (1234:11e8) but does not allow uid 1002"
for asked in "$NIC_A" "$NIC_B"; do
	denied alice "$asked" "$NIC_B" "$NIC_B (8086:100e), which is in one group with $NIC_A"
	denied alice "$asked" "$NIC_B" "whole-group = yes"
done
# All or none: what she may have does not come without what she may not.
answer=$(refused as_user alice "$PROGRAMS/lib/lease" "$EDU" "$NIC_A")
assert_contains "$answer" AccessDenied
assert_no_writes
assert_unchanged

# A group of nothing that could be handed out: not even root's.
answer=$(refused "$PROGRAMS/lib/lease" "$SPARE_PORT")
assert_contains "$answer" "error org.vfiod.Broker.NotSupported"
answer=$(refused as_user alice "$PROGRAMS/lib/lease" 0000:ff:1f.7)
assert_contains "$answer" "error org.vfiod.Broker.NoSuchDevice"
answer=$(refused as_user alice "$PROGRAMS/lib/lease" group:4711)
assert_contains "$answer" 'error org.vfiod.Broker.NoSuchGroup {"group":4711}'
assert_no_writes

cat >>vfiod.conf <<END
whole-group = yes
END
vfioctl reload
in_background client as_user alice "$PROGRAMS/lib/lease" "$NIC_B"
client=$PID
said client granted
assert_eq "$(driver_of "$NIC_A") $(driver_of "$NIC_B")" "vfio-pci vfio-pci"
end "$client"
assert_unchanged
