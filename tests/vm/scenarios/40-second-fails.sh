# shellcheck shell=bash
# The members of a group are moved one after another. The second cannot be: the first is back on its
# driver, with its interface, and the error names device, step and errno.

start_daemon <<END
[rule nics]
match = pci:address=$NIC_A
match = pci:address=$NIC_B
allow = user:alice
END

interface=$(interface_of "$NIC_A")
address=$(cat "/sys/class/net/$interface/address")
mount --bind /dev/full "/sys/bus/pci/devices/$NIC_B/driver_override"

answer=$(refused as_user alice vfioctl run --device "$NIC_A" -- true 2>&1)
echo "$answer"
assert_contains "$answer" "step override of $NIC_B failed (No space left on device)"
assert_contains "$answer" "all is as before"
assert_eq "$(driver_of "$NIC_A") $(driver_of "$NIC_B")" "e1000 e1000"
assert_eq "$(override_of "$NIC_A")" ""
# The first was there, and came back; nothing of the second was touched.
assert_eq "$(sysfs_writes)" "$NIC_A driver_override vfio-pci
e1000 unbind $NIC_A
vfio-pci bind $NIC_A
$NIC_A driver_override \\n
vfio-pci unbind $NIC_A
e1000 bind $NIC_A"
udevadm settle
assert_eq "$(interface_of "$NIC_A")" "$interface"
assert_eq "$(cat "/sys/class/net/$interface/address")" "$address"

answer=$(refused as_user alice "$PROGRAMS/lib/lease" "$NIC_B")
echo "$answer"
assert_contains "$answer" "error org.vfiod.Broker.TakeFailed "
error=${answer#error * }
assert_eq "$(json group <<<"$error")" "$(group_of "$NIC_B")"
assert_eq "$(json device <<<"$error")" "$NIC_B"
assert_eq "$(json step <<<"$error")" override
assert_eq "$(json errno <<<"$error")" 28
assert_eq "$(json rolledBack <<<"$error")" true
assert_eq "$(driver_of "$NIC_A") $(driver_of "$NIC_B")" "e1000 e1000"

assert_eq "$(vfioctl status "$NIC_A" --json | json group binding)" host
assert_eq "$(find "$STATE_DIR/journal" -type f)" "" "the journal"
list_agrees

# Nothing of it is left in the way.
umount "/sys/bus/pci/devices/$NIC_B/driver_override"
assert_unchanged
as_user alice vfioctl run --device "$NIC_A" -- true
assert_unchanged
