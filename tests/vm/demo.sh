#!/bin/bash
# `make demo`: vfiod at work on real VFIO, told step by step. Runs in the guest (run.sh --plain).
# Every step is checked against sysfs and the kernel; a check that fails ends the demo with 1.
set -eEu -o pipefail
# shellcheck source=tests/vm/guest/lib.sh
. "$VM/guest/lib.sh"
exec </dev/null
scenario_begin
export COLUMNS=76

step() { printf '\n%s\n' "$*"; }
# What a command says, set apart from what the demo says.
show() { printf '   $ %s\n' "$*"; }
table() { cut -c1-72 | sed 's/^/   | /; s/ *$//'; }
quote() { fold -s -w 74 | sed 's/^/   | /; s/ *$//'; }
checked() { printf '   = %s\n' "$*"; }

# The kernel: does the host have the two NICs, and both on their interfaces?
nics_are_home() {
	[ "$(driver_of "$NIC_A") $(driver_of "$NIC_B")" = "e1000 e1000" ] &&
		[ -n "$(interface_of "$NIC_A")" ] && [ -n "$(interface_of "$NIC_B")" ] &&
		[ -z "$(override_of "$NIC_A")$(override_of "$NIC_B")" ]
}

step "1  Debian's kernel $(uname -r) runs in a VM; your devices are not touched"
start_daemon <<END
[rule nics]
match = pci:address=$NIC_A
whole-group = yes
allow = user:alice
allow = user:bob
[rule edu]
match = pci:address=$EDU
allow = user:alice
END
show "vfioctl status"
vfioctl status | table

group=$(group_of "$NIC_A")
step "2  The groups that rules cover; group $group is a bridge and two NICs behind it"
show "vfioctl list"
vfioctl list | table
assert_eq "$(members_of "$group" | xargs)" "$BRIDGE $NIC_A $NIC_B" "members of group $group"
checked "/sys/kernel/iommu_groups/$group/devices: $(members_of "$group" | xargs)"

step "3  mallory asks for a NIC: no rule allows her"
show "vfioctl run --device $NIC_A -- true"
forget_writes
refused as_user mallory vfioctl run --device "$NIC_A" -- true 2>&1 | quote
assert_no_writes
checked "writes to sysfs: 0"

step "4  The second NIC is made to fail: the first goes back to its driver"
mount --bind /dev/full "/sys/bus/pci/devices/$NIC_B/driver_override"
show "vfioctl run --device $NIC_A -- true          (as alice)"
refused as_user alice vfioctl run --device "$NIC_A" -- true 2>&1 | quote
umount "/sys/bus/pci/devices/$NIC_B/driver_override"
udevadm settle
nics_are_home || fail "the NICs are not as before"
checked "what was written to sysfs:"
sysfs_writes | sed 's/^/     /'
checked "$NIC_A is on $(driver_of "$NIC_A") again, interface $(interface_of "$NIC_A") is back"

step "5  Now alice asks for one NIC: she gets its whole group, or nothing"
show "vfioctl run --device $NIC_A -- sleep 1000     (as alice)"
in_background alice as_user alice vfioctl run --device "$NIC_A" -- sleep 1000
wait_until 20 pgrep -x sleep
vfioctl list | table
assert_eq "$(driver_of "$NIC_A") $(driver_of "$NIC_B")" "vfio-pci vfio-pci"
assert_eq "$(driver_of "$BRIDGE")" ""
holder=$(pgrep -x sleep)
checked "both NICs are on vfio-pci, the bridge is untouched"
checked "process $holder, uid $(stat -c %u "/proc/$holder"), has open:" \
	"$(readlink "/proc/$holder"/fd/* | grep ^/dev/vfio/)"

step "6  bob asks for the other NIC: one group, one owner"
show "vfioctl run --device $NIC_B -- true          (as bob)"
answer=$(refused as_user bob vfioctl run --device "$NIC_B" -- true 2>&1)
quote <<<"$answer"
assert_contains "$answer" "$holder"

step "7  alice drives edu, a device with a DMA engine, through the IOMMU"
show "vfioctl run --device $EDU -- edu-dma {group:$EDU} $EDU"
kernel_log_mark
as_user alice vfioctl run --device "$EDU" -- "$PROGRAMS/edu-dma" "{group:$EDU}" "$EDU" >dma 2>&1 ||
	fail "edu-dma: $(cat dma)"
quote <dma
faults() { kernel_log | grep -o 'DMAR: \[DMA.*' | sed 's/ *$//'; }
wait_until 10 faults
checked "the kernel says of the address that was not mapped:"
faults | fold -s -w 72 | sed 's/^/     /; s/ *$//'
assert_eq "$(driver_of "$EDU")" "" "driver of $EDU"

step "8  kill -9 of alice's program: the host has its devices back"
show "kill -9 $holder"
kill -KILL "$holder"
wait_until 20 nics_are_home
wait "$PID" || true
vfioctl list | table
assert_unchanged
checked "every driver and driver_override is as it was before the demo"

scenario_end
printf '\nAll checked against sysfs. Try: make shell\n'
