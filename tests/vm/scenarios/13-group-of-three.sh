# shellcheck shell=bash
# A bridge and two network cards are one group: asking for one card takes both, the bridge is left
# alone, and afterwards both are with the host again, their interfaces as they were.

start_daemon <<END
[rule nics]
match = pci:address=$NIC_A
match = pci:address=$NIC_B
allow = user:alice
END

interfaces() {
	local nic
	for nic in "$NIC_A" "$NIC_B"; do
		echo "$nic $(interface_of "$nic") $(cat "/sys/bus/pci/devices/$nic/net/"*/address)"
	done
}
before=$(interfaces)
echo "$before"

in_background client as_user alice "$PROGRAMS/lib/lease" "$NIC_B"
client=$PID
said client granted
assert_eq "$(said client group | cut -d' ' -f2,5-)" "$(group_of "$NIC_A") devices $NIC_A $NIC_B"
assert_eq "$(driver_of "$NIC_A") $(driver_of "$NIC_B")" "vfio-pci vfio-pci"
assert_eq "$(interface_of "$NIC_A")$(interface_of "$NIC_B")" ""
assert_eq "$(driver_of "$BRIDGE")$(override_of "$BRIDGE")" ""
list_agrees

end "$client"
said client released
assert_unchanged
wait_until 10 grep . "/sys/bus/pci/devices/$NIC_A/net/"*/address "/sys/bus/pci/devices/$NIC_B/net/"*/address
udevadm settle
assert_eq "$(interfaces)" "$before" "the interfaces"
for nic in "$NIC_A" "$NIC_B"; do
	ip link set "$(interface_of "$nic")" up
	wait_until 10 grep -qx 1 "/sys/bus/pci/devices/$nic/net/$(interface_of "$nic")/carrier"
	ip link set "$(interface_of "$nic")" down
done

sysfs_writes
! sysfs_writes | grep -F "${BRIDGE:-no bridge}" || fail "the bridge was written to"
assert_eq "$(sysfs_writes | cut -d' ' -f1,2 | sort -u | xargs)" "$(printf '%s\n' "$NIC_A driver_override" \
	"$NIC_B driver_override" "e1000 bind" "e1000 unbind" "vfio-pci bind" "vfio-pci unbind" | sort | xargs)"
