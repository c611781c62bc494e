# shellcheck shell=bash
# A lease of a group of three on this kernel, too; and all as it was.

start_daemon <<END
[rule nics]
match = pci:address=$NIC_A
match = pci:address=$NIC_B
allow = user:alice
END
in_background client as_user alice "$PROGRAMS/lib/lease" "$NIC_B"
client=$PID
said client granted
assert_eq "$(driver_of "$NIC_A") $(driver_of "$NIC_B")" "vfio-pci vfio-pci"
assert_eq "$(driver_of "$BRIDGE")$(override_of "$BRIDGE")" ""
end "$client"
said client released
assert_unchanged
