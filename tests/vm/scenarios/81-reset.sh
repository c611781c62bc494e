# shellcheck shell=bash
# What one user leaves in a device does not reach another: a device that cannot be reset goes to
# nobody else, over restarts of the daemon too, unless its rule says so; one that can be, alone or
# with its bus, comes out reset.

# word USER DEVICE OFFSET [VALUE]: a word of the device, through a lease of one's own
word() {
	as_user "$1" vfioctl run --device "$2" -- "$PROGRAMS/device-word" "{group}" "${@:2}"
}
needs_reset() { # USER FORMER
	local answer
	answer=$(refused as_user "$1" "$PROGRAMS/lib/lease" "$EDU")
	echo "$answer"
	assert_contains "$answer" "error org.vfiod.Broker.ResetRequired {\"group\":$(group_of "$EDU"),\"device\":\"$EDU\","
	assert_contains "$answer" "$EDU was lent to uid $2, "
}
may() { # USER DEVICE
	as_user "$1" vfioctl status "$2" --json | json group mayLease
}

# Of e1000e's ways only that with its bus: QEMU does nothing at a change of the power state.
saved=$(cat "/sys/bus/pci/devices/$NIC_1/reset_method")
echo bus >"/sys/bus/pci/devices/$NIC_1/reset_method"
[ ! -e "/sys/bus/pci/devices/$EDU/reset_method" ] || fail "edu can be reset"
[ ! -e "/sys/bus/pci/devices/$NIC_B/reset_method" ] || fail "$NIC_B can be reset by itself"

configuration="[rule nics]
match = pci:address=$NIC_1
match = pci:address=$NIC_A
whole-group = yes
allow = user:alice
allow = user:bob
# No driver of the host, which would reset them itself, comes in between.
return = no
[rule edu]
match = pci:address=$EDU
allow = user:alice
allow = user:bob"
start_daemon <<<"$configuration"

# The same user finds what he left: edu's DMA source address.
assert_eq "$(word alice "$EDU" 0x80 0x5ec4e7)" 0x5ec4e7
assert_eq "$(word alice "$EDU" 0x80)" 0x5ec4e7
forget_writes
needs_reset bob 1000
needs_reset root 1000
assert_eq "$(may alice "$EDU") $(may bob "$EDU")" "true false"
answer=$(refused as_user bob vfioctl run --wait 60 --device "$EDU" -- true 2>&1)
echo "$answer"
assert_contains "$answer" "a reset is needed first: $EDU was lent to uid 1000, "
assert_contains "$answer" "add require-reset = no to rule 'edu' ($WORK/vfiod.conf:9)"
assert_contains "$(as_user bob vfioctl status "$EDU" | xargs)" "it has no way of being reset"
assert_no_writes
# As long as alice has it, that is why bob does not; he may wait, and is told when his turn comes.
in_background holder as_user alice "$PROGRAMS/lib/lease" "$EDU"
holder=$PID
said holder granted
assert_contains "$(refused as_user bob "$PROGRAMS/lib/lease" "$EDU")" "error org.vfiod.Broker.GroupBusy"
in_background waiting as_user bob vfioctl run --wait 60 --device "$EDU" -- true
waiting=$PID
wait_until 20 grep -F "vfioctl: waiting for $EDU: next in the queue" waiting
end "$holder"
wait_until 20 grep -F "a reset is needed first: $EDU was lent to uid 1000, " waiting
wait_until 10 has_ended "$waiting"
forget_writes
# An administrator's take hands it to nobody.
vfioctl take "$EDU"
vfioctl return "$EDU"
needs_reset bob 1000
kill_daemon
start_daemon <<<"$configuration"
needs_reset bob 1000

# It would have been there for him to read.
echo "require-reset = no" >>vfiod.conf
vfioctl reload
assert_eq "$(word bob "$EDU" 0x80)" 0x5ec4e7
sed -i '$d' vfiod.conf
vfioctl reload
needs_reset alice 1001
# Pulled out, and in again: another one.
echo 1 >"/sys/bus/pci/devices/$EDU/remove"
echo 1 >/sys/bus/pci/rescan
known() { vfioctl status "$EDU"; }
wait_until 10 known
assert_eq "$(may alice "$EDU") $(may bob "$EDU")" "true true"

# A word of the multicast table, in the cards that VFIO resets.
for nic in "$NIC_1" "$NIC_A" "$NIC_B"; do
	assert_eq "$(word alice "$nic" 0x5200 0x5ec4e7)" 0x5ec4e7
done
for nic in "$NIC_1" "$NIC_A" "$NIC_B"; do
	assert_eq "$(driver_of "$nic") $(may bob "$nic")" "vfio-pci true"
	assert_eq "$(word bob "$nic" 0x5200)" 0x0 "what is left in $nic"
done
vfioctl return "$NIC_1"
vfioctl return "$NIC_A"
echo "$saved" >"/sys/bus/pci/devices/$NIC_1/reset_method"
