# shellcheck shell=bash
# Why devices share a group, held against what QEMU built; a port whose ACS is turned off; and that
# asking writes nothing. Anybody may ask.

start_daemon </dev/null
why() { as_user mallory vfioctl why "$1" | tr -s ' \n' ' '; }
explained() { # GROUP|DEVICE: true or false
	local reply
	reply=$(vfioctl why "$1" --json)
	reply=${reply#*'"isExplained":'}
	echo "${reply%%,*}"
}
config_byte() { od -An -tx1 -j "$2" -N 1 "/sys/bus/pci/devices/$1/config" | tr -d ' '; }

# The group of three: the bridge's secondary side, whose number is the bridge's own word (offset 0x19).
text=$(why "$NIC_A")
echo "$text"
assert_contains "$text" "Group $(group_of "$NIC_A"), 3 devices"
assert_contains "$text" "$BRIDGE is a PCIe-to-PCI bridge. What is on its secondary side (bus $(config_byte "$BRIDGE" 25))"
assert_contains "$text" "cannot tell apart $NIC_A, $NIC_B and the bridge itself"
port=$(readlink -f "/sys/bus/pci/devices/$BRIDGE/..")
port=${port##*/}
assert_contains "$text" "$NIC_B pci0000:00 > root port $port (ACS on) > PCIe-to-PCI bridge $BRIDGE > PCI device $NIC_B"
assert_eq "$(explained "$(group_of "$BRIDGE")")" true
# Prose keeps to the width of a page.
assert_eq "$(vfioctl why "$NIC_A" | awk 'length > 80')" ""

# A NIC behind a port of its own.
port=$(readlink -f "/sys/bus/pci/devices/$NIC_1/..")
port=${port##*/}
assert_contains "$(why "$(interface_of "$NIC_1")")" "$NIC_1 is alone in its group. ACS (Access Control Services) is on in root port $port,"

# ICH9: a chip of several functions, on the root bus, in a group of its functions and of nobody else.
chip=$(echo /sys/bus/pci/devices/*:1f.0)
chip=${chip##*/}
mapfile -t functions < <(members_of "$(group_of "$chip")")
assert_eq "${#functions[@]}" "$(echo /sys/bus/pci/devices/"${chip%.*}".* | wc -w)" "functions of $chip"
text=$(why "$chip")
assert_contains "$text" "$chip, "
assert_contains "$text" "and ${functions[-1]} are functions of one device"
assert_contains "$text" "they are not PCI Express, so there is no ACS"

# On the root bus, one function; so for every group that is left.
assert_contains "$(why "$EDU")" "$EDU is alone in its group. It is on the root bus (pci0000:00), with no bridge above it"
for group in /sys/kernel/iommu_groups/*; do
	assert_eq "$(explained "${group##*/}")" true "group ${group##*/} is explained"
done
assert_contains "$(refused vfioctl why 99999 2>&1)" "no group 99999"

# A port whose ACS is off, when a device appears below it: the kernel puts both into one group. ACS is
# the extended capability 0x000d; its control register is 6 bytes in, SV|RR|CR|UF is 0x1d.
mapfile -t bytes < <(od -An -v -tx1 -w1 "/sys/bus/pci/devices/$port/config")
offset=256
while [ "${bytes[offset]}" != " 0d" ]; do
	offset=$((16#${bytes[offset + 3]# } << 4 | 16#${bytes[offset + 2]# } >> 4))
	((offset >= 256)) || fail "$port has no ACS"
done
control=$((offset + 6))
on=${bytes[control]# }
set_control() { echo -ne "\\x$1" | dd of="/sys/bus/pci/devices/$port/config" bs=1 seek="$control" conv=notrunc status=none; }
back() { [ -e "/sys/bus/pci/devices/$NIC_1/driver" ]; }
known() { vfioctl why "$NIC_1" --json | grep -q "^{\"group\":$(group_of "$NIC_1"),"; }
replug() {
	echo 1 >"/sys/bus/pci/devices/$NIC_1/remove"
	set_control "$1"
	echo 1 >/sys/bus/pci/rescan
	wait_until 10 back
	wait_until 10 known
}
assert_eq "$on" 1d "what the kernel turned on"
# Off now, but on when the group was made: config space alone does not explain what there is.
set_control 00
assert_eq "$(explained "$NIC_1")" false
assert_contains "$(why "$NIC_1")" "does not explain why $NIC_1 is alone"
replug 19
assert_eq "$(group_of "$NIC_1")" "$(group_of "$port")"
text=$(why "$NIC_1")
echo "$text"
assert_contains "$text" "Root port $port has ACS (Access Control Services), but P2P request redirect is off: past the IOMMU, others below and beside it can reach $NIC_1. "
assert_contains "$text" "The port can isolate: turn ACS on in the setup of the firmware"
assert_eq "$(explained "$NIC_1")" true
replug "$on"
assert_contains "$(why "$NIC_1")" "$NIC_1 is alone in its group"
wait_until 10 is_unchanged
assert_no_writes
