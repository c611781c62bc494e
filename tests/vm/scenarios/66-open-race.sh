# shellcheck shell=bash
# While a group is returned, its child has it open: nobody else gets it, however hard he tries, and no
# unbind waits for him. Who had it open before that is named to whom it keeps away, and keeps it until he
# lets go.

start_daemon <<END
[rule nics]
match = pci:address=$NIC_A
match = pci:address=$NIC_B
allow = user:alice
END
group=$(group_of "$NIC_A")
state() { vfioctl status "$NIC_A" --json | json group "$1"; }
unbind=/sys/bus/pci/drivers/vfio-pci/unbind

in_background client as_user alice "$PROGRAMS/lib/lease" "$NIC_A"
client=$PID
said client granted
block "$unbind"
kill -TERM "$client"
wait_blocked
in_background racer "$PROGRAMS/group-open" --race "$group"
racer=$PID
said racer racing
unblock "$unbind"
wait_until 20 is_unchanged
status=0
wait "$racer" || status=$?
assert_eq "$status" 0 "the racer: $(cat racer)"
said racer "never had it"

# Somebody opens a group that nobody has.
vfioctl take "$NIC_A"
in_background opener "$PROGRAMS/group-open" "$group"
opener=$PID
said opener holding
forget_writes
answer=$(refused as_user alice "$PROGRAMS/lib/lease" "$NIC_A")
assert_contains "$answer" "error org.vfiod.Broker.GroupBusy {\"group\":$group,\"ownerPid\":$opener,\"ownerUid\":0"
assert_eq "$(state owner) $(state binding)" "lingering taken"
found() { [ "$(state holderEvidence)" = open ] && vfioctl status | xargs | grep "held open by group-open (pid $opener, uid 0)"; }
wait_until 20 found
end "$opener"
is_free() { [ "$(state owner) $(state binding)" = "none taken" ]; }
wait_until 20 is_free
assert_no_writes
as_user alice vfioctl run --device "$NIC_A" -- true
vfioctl return "$NIC_A"
assert_unchanged
list_agrees
