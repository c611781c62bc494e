# shellcheck shell=bash
# Who keeps a device after its lease is found, on a kernel that shows no more of an open device than
# that it is one; who only looks as if he had it is not named. Nothing is written meanwhile.

start_daemon <<END
[rule all]
match = pci:address=$EDU
allow = user:alice
allow = user:bob
require-reset = no
END
group=$(group_of "$EDU")
has_holder() { vfioctl status "$EDU" --json | grep -F "\"holder\":{\"pid\":$1,\"uid\":1000," | grep -F '"holderEvidence":"open"'; }

# Has nothing but a file of that name. It is looked at first, as it has been there longer.
mkdir -p home/dev/vfio
chmod 0777 home/dev/vfio
in_background liar as_user alice "$PROGRAMS/fd-hold" file "$WORK/home/dev/vfio/$group"
liar=$PID
said liar holding
in_background monitor vfioctl monitor --json
said monitor '.*"ready"'

# A process keeps the device only; its parent ends, and with that the lease.
as_user alice vfioctl run --device "$EDU" -- "$PROGRAMS/edu-dma" --fork-holder "{group}" "$EDU" >first
holder=$(awk '/^holder / { print $2 }' first)
assert_eq "$(find "/proc/$holder/fd" -lname '*vfio*' -printf '%l\n')" "anon_inode:[vfio-device]"
forget_writes
wait_until 30 has_holder "$holder"
said monitor ".*\"holderFound\",\"group\":$group,.*\"held open by edu-dma (pid $holder, uid 1000)\""
status=$(vfioctl status | xargs)
assert_contains "$status" "!! $group $EDU held open by edu-dma (pid $holder, uid 1000) for"
assert_contains "$status" "End that process to return it; no other group is affected."
assert_contains "$(vfioctl list | grep "^$group ")" "alice edu-dma/$holder"
answer=$(refused as_user bob "$PROGRAMS/lib/lease" "$EDU")
assert_contains "$answer" "error org.vfiod.Broker.GroupBusy {\"group\":$group,\"ownerPid\":$holder,\"ownerUid\":1000"
assert_no_writes
kill -TERM "$holder"
wait_until 30 is_unchanged

# A lease is taken away. Not who had it, who still runs, but a child of his keeps the device.
in_background run as_user alice vfioctl run --device "$EDU" -- \
	sh -c "$PROGRAMS/edu-dma --fork-holder {group} $EDU; exec sleep 1000 3<&-"
run=$PID
read -r _ holder <<<"$(said run holder)"
forget_writes
vfioctl revoke --end "$(vfioctl leases --json | json leases 0 lease)"
wait_until 30 has_holder "$holder"
assert_no_writes
kill -TERM "$holder"
wait_until 30 is_unchanged
kill -TERM "$run" "$liar"
