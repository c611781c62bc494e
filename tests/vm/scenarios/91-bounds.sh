# shellcheck shell=bash
# What one user may have of real groups: leases, places in the queue, transactions at a time. Another
# user has bounds of his own, and an administrator none.

start_daemon <<END
[daemon]
max-leases-per-user = 2
max-waiting-per-user = 1
max-transactions-per-user = 1
take-timeout = 100

[rule all]
match = pci:address=$EDU
match = pci:address=$NIC_1
match = pci:address=$NIC_2
allow = user:alice
allow = user:bob
require-reset = no
END
lease=$PROGRAMS/lib/lease
too_many() { # USER LIMIT MAX ARGUMENT…
	assert_eq "$(refused as_user "$1" "$lease" "${@:4}")" "error org.vfiod.Broker.TooMany {\"limit\":\"$2\",\"max\":$3}"
}
waiting() { [ "$(vfioctl status --json | json waiting)" = "$1" ]; }

in_background edu as_user alice "$lease" "$EDU"
edu=$PID
said edu granted

# One place in the queue, however the request is made.
in_background queued as_user bob "$lease" --wait 60 "$EDU"
queued=$PID
wait_until 10 waiting 1
too_many bob max-waiting-per-user 1 --wait 60 "$EDU"
# What need not wait is none of that.
lease_and_release() { vfioctl run --device "$1" -- true; }
as_user bob vfioctl run --device "$NIC_1" -- true

# Two leases; who waits has one.
in_background second as_user alice "$lease" "$NIC_2"
second=$PID
said second granted
too_many alice max-leases-per-user 2 "$NIC_1"
lease_and_release "$NIC_1"
end "$second"
end "$edu"
said queued granted
end "$queued"
assert_unchanged

# One transaction at a time: the second waits for the first, and is no error. Others do not.
override=/sys/bus/pci/devices/$NIC_1/driver_override
block "$override"
in_background first as_user alice "$lease" "$NIC_1"
first=$PID
wait_blocked
in_background second as_user alice "$lease" "$NIC_2"
second=$PID
as_user bob vfioctl run --device "$EDU" -- true
lease_and_release "$EDU"
assert_eq "$(driver_of "$NIC_2")" e1000e
assert_eq "$(cat second)" ""
unblock "$override"
said first granted
said second granted
end "$first"
end "$second"
assert_unchanged
