#!/bin/bash
# `make demo`: vfiod at work on real VFIO, told step by step. Runs in the guest (run.sh --plain).
# Every step is checked against sysfs and the kernel; a check that fails ends the demo with 1.
set -eEu -o pipefail
# shellcheck source=tests/vm/guest/lib.sh
. "$VM/guest/lib.sh"
exec </dev/null
scenario_begin
# A directory that looks well in messages; scenario_exit removes it.
rm -r "$WORK"
WORK=/tmp/demo
mkdir -m 0755 "$WORK"
cd "$WORK"
PATH=$PROGRAMS:$PATH

step() { printf '\n%s\n' "$*"; }
# prompt USER COMMAND…: shows what is run; the output of it is set apart from what the demo says.
prompt() { printf '   %s$ %s\n' "$1" "${*:2}"; }
table() { cut -c1-72 | sed 's/^/   | /; s/ *$//'; }
quote() { fold -s -w 74 | sed 's/^/   | /; s/ *$//'; }
details() { fold -s -w 74 | sed 's/^/     /; s/ *$//'; }
checked() { printf '   = %s\n' "$*"; }
as_root() {
	prompt root "$@"
	"$@" | table
}
# USER is refused: what she is told is left in $answer.
ask_in_vain() { # USER COMMAND…
	prompt "$@"
	answer=$(refused as_user "$@" 2>&1) || fail "$answer"
	quote <<<"$answer"
}
nics_are_home() {
	[ "$(driver_of "$NIC_A") $(driver_of "$NIC_B")" = "e1000 e1000" ] &&
		[ -n "$(interface_of "$NIC_A")" ] && [ -n "$(interface_of "$NIC_B")" ] &&
		[ -z "$(override_of "$NIC_A")$(override_of "$NIC_B")" ]
}
group_is_open() { [ -n "$(openers_of "$NIC_A")" ]; }

step "1  Debian's kernel $(uname -r) runs in a VM; your devices are not touched"
# shellcheck disable=SC2119
start_daemon <<END
[rule nics]
match = pci:address=$NIC_A
whole-group = yes
allow = user:alice
allow = user:bob

[rule edu]
match = pci:id=1234:11e8
match = pci:address=$NIC_1
allow = user:alice
END
as_root vfioctl status
read -r maker </sys/class/dmi/id/sys_vendor
assert_eq "$maker" QEMU "who made this machine"
[ -e /sys/class/iommu/dmar0 ] || fail "the IOMMU is off"
checked "the machine is made by $maker; its IOMMU is on: /sys/class/iommu/dmar0"

group=$(group_of "$NIC_A")
step "2  The groups that rules cover; group $group is a bridge and two NICs behind it"
as_root cat vfiod.conf
as_root vfioctl list
list_agrees >agreed || fail "$(cat agreed)"
checked "list --all agrees with sysfs:"
details <agreed
assert_eq "$(members_of "$group" | xargs)" "$BRIDGE $NIC_A $NIC_B" "members of group $group"
checked "/sys/kernel/iommu_groups/$group/devices has:"
details <<<"$(members_of "$group" | xargs)"

step "3  mallory asks for a NIC: no rule allows her, and nothing is touched"
forget_writes
ask_in_vain mallory vfioctl run --device "$NIC_A" -- true
assert_contains "$answer" "access denied"
assert_no_writes
nics_are_home || fail "the NICs are not as before"
checked "writes to sysfs since she asked, seen by a probe in the kernel: $(sysfs_writes | wc -l)"

step "4  alice may, but the second NIC is made to fail: the first goes back"
interface=$(interface_of "$NIC_A")
prompt root "mount --bind /dev/full …/$NIC_B/driver_override"
mount --bind /dev/full "/sys/bus/pci/devices/$NIC_B/driver_override"
ask_in_vain alice vfioctl run --device "$NIC_A" -- true
umount "/sys/bus/pci/devices/$NIC_B/driver_override"
assert_contains "$answer" "$NIC_B failed (No space left on device)"
udevadm settle
nics_are_home || fail "the NICs are not as before"
assert_eq "$(interface_of "$NIC_A")" "$interface" "interface of $NIC_A"
sysfs_writes >writes
grep -qx "vfio-pci bind $NIC_A" writes || fail "the first NIC was never taken"
checked "$NIC_A was taken and is on e1000 again, interface $interface is back;"
checked "written to sysfs, by device or driver:"
details <writes

step "5  Now alice asks for one NIC: she gets its whole group, or nothing"
prompt alice vfioctl run --device "$NIC_A" -- sleep 1000
in_background alice as_user alice vfioctl run --device "$NIC_A" -- sleep 1000
vfioctl=$PID
wait_until 20 group_is_open
as_root vfioctl list
assert_eq "$(driver_of "$NIC_A") $(driver_of "$NIC_B")" "vfio-pci vfio-pci"
assert_eq "$(driver_of "$BRIDGE")$(override_of "$BRIDGE")" "" "driver of the bridge"
holder=$(openers_of "$NIC_A")
assert_eq "$(stat -c %U "/proc/$holder")" alice "who has group $group open"
checked "both NICs are on vfio-pci, the bridge is untouched;"
checked "/dev/vfio/$group is open in process $holder, uid $(stat -c %u "/proc/$holder"), and nowhere else;"
cgroup=$(cut -d : -f 3 "/proc/$holder/cgroup")
assert_eq "$(stat -c '%U %a' "/sys/fs/cgroup$cgroup/memory.max")" "root 644" "who may raise memory.max"
checked "what she pins is bounded: memory.max of $cgroup is $(cat "/sys/fs/cgroup$cgroup/memory.max"),"
details <<<"and only root can raise it"

step "6  bob asks for the other NIC, as he may: but one group, one owner"
ask_in_vain bob vfioctl run --device "$NIC_B" -- true
assert_contains "$answer" "group $group is held by pid $holder (uid 1000)"
assert_eq "$(openers_of "$NIC_A")" "$holder" "who has group $group open"
checked "/dev/vfio/$group is open in process $holder, and nowhere else"

step "7  alice drives edu, a device with a DMA engine, through the IOMMU"
mkfifo go
exec 8<>go
prompt alice vfioctl run --device "$EDU" -- \\
details <<<"edu-dma --pause {group} $EDU"
in_background dma as_user alice vfioctl run --device "$EDU" -- edu-dma --pause "{group}" "$EDU" <&8
dma=$PID
said dma memory: >/dev/null
assert_translated dma >translated
echo >&8
wait "$dma" || fail "status $?: $(cat dma)"
quote <dma
assert_eq "$(grep -c '^equal: 2048 bytes' dma) $(grep -c '^blocked: ' dma)" "1 2" "DMA"
checked "the address that the device uses is not that of the memory:"
details <translated
assert_faults "$EDU" >faults
checked "the kernel says of the address that was not mapped any more:"
grep -o 'DMAR: \[DMA.*' faults | details
assert_eq "$(driver_of "$EDU")$(override_of "$EDU")" "" "driver of $EDU"
checked "edu is with the host again, without a driver, as before"

step "8  alice's other program is killed: the host has its devices back"
prompt root kill -9 "$holder"
kill -KILL "$holder"
wait_until 20 is_unchanged
wait "$vfioctl" 2>/dev/null && fail "vfioctl does not tell that its program was killed"
as_root vfioctl list
wait_until 10 nics_are_home
assert_unchanged
assert_eq "$(interface_of "$NIC_A")" "$interface" "interface of $NIC_A"
checked "every driver and driver_override is as it was before the demo,"
checked "and interface $interface is back"

step "9  One memory, two containers: the kernel bills 64 MiB, the ledger 32"
prompt alice two-containers 32 "$EDU" "$NIC_1"
in_background space as_user alice "$PROGRAMS/lib/two-containers" 32 "$EDU" "$NIC_1" <&8
space=$PID
said space space >/dev/null
quote <space
as_root vfioctl ledger
keeper=$(pgrep -x vfiod-keeper)
assert_eq "$(awk '$1 == "VmLck:" { print $2, $3 }' "/proc/$keeper/status")" "65536 kB" "what the kernel bills"
assert_eq "$("$PROGRAMS/frames" memfd:memory "$keeper")" 8192 "distinct page frames"
assert_contains "$(xargs <space)" "owed 33554432, kernel bill 67108864"
checked "the kernel bills the keeper of her space, process $keeper, 65536 kB (VmLck);"
checked "in its page tables these are 8192 distinct page frames: 32 MiB"
echo >&8
wait "$space" || fail "status $?: $(cat space)"
wait_until 10 nothing_is_owed
checked "she has ended, and nobody owes anything"

scenario_end
printf '\nAll checked against sysfs. Try: make shell\n'
