# shellcheck shell=bash
# The lease is over, but a child keeps the device open: nothing is written that would hang on it, the
# group is shown as lingering, all others are served; when the child ends, it goes back by itself.

start_daemon <<END
[rule all]
match = pci:address=$EDU
match = pci:address=$NIC_1
allow = user:alice
allow = user:bob
require-reset = no
END
group=$(group_of "$EDU")
owner() { vfioctl status "$EDU" --json | json group owner; }

in_background run as_user alice vfioctl run --device "$EDU" -- "$PROGRAMS/edu-dma" --fork-holder "{group}" "$EDU"
run=$PID
wait "$run" || fail "status $?: $(cat run)"
cat run
holder=$(awk '/^holder / { print $2 }' run)
grep -q "group $group is still open in some process" run
assert_eq "$(find "/proc/$holder/fd" -lname '*vfio*' -printf '%l\n')" "anon_inode:[vfio-device]"
assert_eq "$(owner)" lingering
assert_eq "$(sysfs_writes)" "$EDU driver_override vfio-pci
vfio-pci bind $EDU"
forget_writes

# It is said what the matter is, and nobody gets it.
assert_contains "$(vfioctl list | grep "^$group ")" lingering
assert_contains "$(vfioctl status | xargs)" "!! $group"
assert_contains "$(vfioctl status | xargs)" "$EDU held open"
assert_eq "$(vfioctl leases --json | json leases)" "[]"
answer=$(refused as_user bob "$PROGRAMS/lib/lease" "$EDU")
assert_contains "$answer" "error org.vfiod.Broker.GroupBusy {\"group\":$group,"
answer=$(refused vfioctl return "$EDU" 2>&1)
assert_contains "$answer" "group $group is held"
assert_no_writes

# Meanwhile somebody else gets another group, uses it, and gives it back.
as_user bob vfioctl run --device "$NIC_1" -- sh -c "exec <&3"

assert_eq "$(driver_of "$NIC_1") $(override_of "$NIC_1")" "e1000e "
[ -n "$(sysfs_writes)" ] || fail "no writes for $NIC_1"
! sysfs_writes | grep -F "$EDU" || fail "$EDU was written to"
assert_eq "$(owner) $(driver_of "$EDU")" "lingering vfio-pci"
list_agrees

kill -TERM "$holder"
wait_until 10 is_unchanged
wait_until 5 list_agrees
assert_eq "$(owner)" none
