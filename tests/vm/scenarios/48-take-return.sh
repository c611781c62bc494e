# shellcheck shell=bash
# An administrator takes a group and returns it: it stays taken over leases. A rule says the same with
# return = no. What a lease has, he does not take or return.

start_daemon <<END
[rule all]
match = pci:address=$NIC_A
match = pci:address=$NIC_B
match = pci:address=$EDU
allow = user:alice

[rule stays]
match = pci:address=$NIC_1
allow = user:alice
return = no
END
group=$(group_of "$NIC_A")
state() { vfioctl status "$1" --json | json group binding; }
lease() {
	in_background client as_user alice "$PROGRAMS/lib/lease" "$1"
	client=$PID
	said client granted
}

assert_contains "$(refused as_user alice vfioctl take "$NIC_A" 2>&1)" "permission denied: this is for administrators"
assert_contains "$(refused as_user alice vfioctl return "$NIC_A" 2>&1)" "permission denied"
assert_no_writes

assert_eq "$(vfioctl take "$(interface_of "$NIC_A")")" "group $group taken: $NIC_A, $NIC_B"
assert_eq "$(driver_of "$NIC_A") $(driver_of "$NIC_B")" "vfio-pci vfio-pci"
assert_eq "$(driver_of "$BRIDGE")" ""
assert_eq "$(openers_of "$NIC_A")" "" "who has it open"
assert_eq "$(vfioctl take "$group")" "group $group was taken already"
assert_contains "$(vfioctl list | grep "^$group ")" taken

# Leases come and go without a write.
forget_writes
for _ in 1 2; do
	lease "$NIC_B"
	assert_eq "$(openers_of "$NIC_A")" "$client"
	end "$client"
	said client released
	assert_eq "$(driver_of "$NIC_A") $(driver_of "$NIC_B") $(state "$NIC_A")" "vfio-pci vfio-pci taken"
done
lease "$NIC_A"
kill -KILL "$client"
free() { [ "$(vfioctl status "$NIC_A" --json | json group owner)" = none ]; }
wait_until 10 free
assert_eq "$(driver_of "$NIC_A") $(driver_of "$NIC_B") $(state "$NIC_A")" "vfio-pci vfio-pci taken"
assert_no_writes
list_agrees
assert_eq "$(vfioctl return "$NIC_B")" "group $group returned: $NIC_A, $NIC_B"
assert_unchanged
assert_eq "$(vfioctl return "$NIC_B")" "group $group was with the host already"
assert_eq "$(find "$STATE_DIR/journal" -type f)" "" "the journal"

# What a lease has is its holder's.
lease "$EDU"
forget_writes
for what in take return; do
	answer=$(refused vfioctl "$what" "$EDU" 2>&1)
	assert_contains "$answer" "cannot $what $EDU: group $(group_of "$EDU") is held by pid $client (uid 1000)"
done
assert_no_writes
end "$client"
assert_unchanged

# By the rule.
lease "$NIC_1"
end "$client"
said client released
assert_eq "$(driver_of "$NIC_1") $(state "$NIC_1")" "vfio-pci taken"
forget_writes
lease "$NIC_1"
end "$client"
assert_no_writes
assert_contains "$(vfioctl return "$NIC_1")" returned
assert_unchanged

# Somebody opens the device of a group that nobody has: returning it would hang.
vfioctl take "$EDU"
in_background opener "$PROGRAMS/group-open" "$(group_of "$EDU")"
opener=$PID
said opener holding
forget_writes
assert_contains "$(refused vfioctl return "$EDU" 2>&1)" "group $(group_of "$EDU") is held"
assert_no_writes
end "$opener"
wait_until 10 is_unchanged
