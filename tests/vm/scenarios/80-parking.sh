# shellcheck shell=bash
# The disk controller of the chipset is in one group with the LPC bridge, which the host has a driver
# for. Taking the group keeps every driver away from the bridge, hands it to nobody, and gives it
# back; a host bridge alone is nothing to hand out.

functions=$(members_of "$(group_of "$AHCI")")
lpc=$(head -n 1 <<<"$functions")
smbus=$(tail -n 1 <<<"$functions")
assert_eq "$functions" "$lpc
$AHCI
$smbus"
assert_eq "$(driver_of "$lpc") $(driver_of "$AHCI") $(driver_of "$smbus")" "lpc_ich ahci i801_smbus"
rule="[rule disk]
match = pci:address=$AHCI
allow = user:alice"

# The bridge loses its driver, so it needs a rule as well.
start_daemon <<<"$rule"
answer=$(refused as_user alice vfioctl run --device "$AHCI" -- true 2>&1)
echo "$answer"
assert_contains "$answer" "access denied to $lpc: no rule for uid 1000 matches $lpc"
assert_contains "$answer" "whole-group = yes"
assert_no_writes
assert_contains "$(vfioctl status "$lpc")" "lpc_ich; taking the group keeps every driver away"
echo "whole-group = yes" >>vfiod.conf
vfioctl reload

taken_drivers() { echo "$(driver_of "$lpc")|$(override_of "$lpc")|$(driver_of "$AHCI")|$(driver_of "$smbus")"; }
in_background client as_user alice "$PROGRAMS/lib/lease" "$AHCI"
client=$PID
said client granted
assert_eq "$(taken_drivers)" "|vfiod-parked|vfio-pci|vfio-pci"
assert_eq "$(said client group | cut -d' ' -f2,5-)" "$(group_of "$AHCI") devices $AHCI $smbus"
list_agrees
# Whoever offers it to drivers now finds none.
echo "$lpc" >/sys/bus/pci/drivers_probe
assert_eq "$(driver_of "$lpc")" ""
end "$client"
said client released
assert_unchanged
sysfs_writes
assert_eq "$(sysfs_writes | grep -F "$lpc")" "$lpc driver_override vfiod-parked
lpc_ich unbind $lpc
$lpc driver_override \\n
lpc_ich bind $lpc"

# Without a driver it is parked all the same, and is without one afterwards; also where it is all
# that there is to do, and after the daemon was killed.
echo "$lpc" >/sys/bus/pci/drivers/lpc_ich/unbind
bind_by_hand "$AHCI" vfio-pci
bind_by_hand "$smbus" vfio-pci
snapshot
as_user alice vfioctl run --device "$AHCI" -- true
assert_unchanged
vfioctl take "$AHCI"
assert_eq "$(taken_drivers)" "|vfiod-parked|vfio-pci|vfio-pci"
kill_daemon
start_daemon <<<"$rule"
vfioctl return "$AHCI"
assert_unchanged
unbind_by_hand "$AHCI"
unbind_by_hand "$smbus"
echo "$lpc" >/sys/bus/pci/drivers_probe
wait_until 10 list_agrees

# The last of the three cannot be taken: the bridge has its driver again.
echo "whole-group = yes" >>vfiod.conf
vfioctl reload
mount --bind /dev/full "/sys/bus/pci/devices/$smbus/driver_override"
answer=$(refused as_user alice vfioctl run --device "$AHCI" -- true 2>&1)
umount "/sys/bus/pci/devices/$smbus/driver_override"
assert_contains "$answer" "step override of $smbus failed (No space left on device)"
assert_contains "$answer" "all is as before"
assert_eq "$(driver_of "$lpc")|$(override_of "$lpc")" "lpc_ich|"
assert_eq "$(find "$STATE_DIR/journal" -type f)" "" "the journal"

root=$(members_of 0)
assert_eq "$(cut -c 1-4 "/sys/bus/pci/devices/$root/class")" 0x06
answer=$(refused vfioctl run --device "$root" -- true 2>&1)
assert_contains "$answer" "no device that can be handed out"
assert_eq "$(override_of "$root")" ""
