# shellcheck shell=bash
# A lease with mode cdev: an unprivileged client binds its device's node to its own context, and does
# DMA. It is exclusive with all other leases, and what is open is seen.

modprobe iommufd
start_daemon <<END
[rule all]
match = pci:address=$EDU
match = pci:address=$NIC_A
match = pci:address=$NIC_B
allow = user:alice
allow = user:bob
trusted = yes
require-reset = no
END
group=$(group_of "$EDU")
lease() { # [OPTION]: alice's
	in_background client as_user alice "$PROGRAMS/lib/cdev-lease" "$@" "$EDU"
	client=$PID
	said client holding
}

lease
cat client
assert_contains "$(cat client)" "\"mode\":\"cdev\""
assert_contains "$(cat client)" "equal: 2048 bytes"
assert_eq "$("$PROGRAMS/lib/call" org.vfiod.Broker.Leases | json leases 0 mode)" cdev
answer=$(refused as_user bob "$PROGRAMS/lib/lease" "$EDU")
assert_contains "$answer" "org.vfiod.Broker.GroupBusy {\"group\":$group"
answer=$(refused as_user bob "$PROGRAMS/lib/cdev-lease" "$EDU")
assert_contains "$answer" "org.vfiod.Broker.GroupBusy {\"group\":$group"
end "$client"
wait_until 20 is_unchanged

# Nothing is bound: the same.
lease --unbound
kill -KILL "$client"
wait_until 20 is_unchanged

# Another way, at once.
as_user bob vfioctl run --device "$EDU" -- "$PROGRAMS/edu-dma" "{group}" "$EDU"
wait_until 20 is_unchanged
