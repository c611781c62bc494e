# shellcheck shell=bash
# What happens to devices without vfiod: whoever watches is told, and what is listed stays true.

start_daemon <<END
[rule all]
match = pci:address=$NIC_1
match = pci:address=$EDU
allow = user:alice
END

in_background monitor as_user mallory vfioctl monitor --json
monitor=$PID
said monitor '.*"ready"'
seen=0 # lines of it that are about what was before
quoted() { [ -z "$1" ] && echo null || echo "\"$1\""; }
has_said() { tail -n "+$((seen + 1))" monitor | grep -F -- "$1"; }
# told EVENT GROUP DEVICE BEFORE AFTER: waits for this event; "" is null.
told() {
	wait_until 20 has_said "{\"event\":\"$1\",\"group\":$2,\"device\":$(quoted "$3"),\"lease\":null,\"space\":null,\"before\":$(quoted "$4"),\"after\":$(quoted "$5"),"
	has_said "\"$1\",\"group\":$2"
}
group=$(group_of "$NIC_1")

# From driver to driver by hand.
echo "$NIC_1" >"/sys/bus/pci/devices/$NIC_1/driver/unbind"
told driverChanged "$group" "$NIC_1" e1000e ""
list_agrees
echo "$NIC_1" >/sys/bus/pci/drivers_probe
told driverChanged "$group" "$NIC_1" "" e1000e
list_agrees

# Taken by hand, and given back.
bind_by_hand "$EDU" vfio-pci
told driverChanged "$(group_of "$EDU")" "$EDU" "" vfio-pci
told bindingChanged "$(group_of "$EDU")" "" host taken
list_agrees
# What it had before, vfiod does not know, so it does not pretend to.
answer=$(refused vfioctl return "$EDU" 2>&1)
assert_contains "$answer" "vfiod did not take group $(group_of "$EDU")"
unbind_by_hand "$EDU"
told bindingChanged "$(group_of "$EDU")" "" taken host
list_agrees

# Removed, and found again.
echo 1 >"/sys/bus/pci/devices/$NIC_1/remove"
told deviceRemoved "$group" "$NIC_1" "" ""
told groupRemoved "$group" "" "" ""
list_agrees
refused vfioctl status "$NIC_1"
seen=$(wc -l <monitor)
echo 1 >/sys/bus/pci/rescan
wait_until 20 is_unchanged
told groupAdded "$(group_of "$NIC_1")" "" "" ""
wait_until 10 list_agrees
has_said "\"deviceAdded\",\"group\":$(group_of "$NIC_1"),\"device\":\"$NIC_1\""

# Plugged in, and pulled out.
behind_spare() {
	local path
	path=$(compgen -G "/sys/bus/pci/devices/$SPARE_PORT/*/vendor") && basename "${path%/vendor}"
}
nothing_behind_spare() { ! behind_spare; }
seen=$(wc -l <monitor)
qmp '{"execute":"device_add","arguments":{"driver":"e1000e","id":"guest","bus":"spare","romfile":""}}'
wait_until 20 behind_spare
plugged=$(behind_spare)
is_on() { [ "$(driver_of "$1")" = "$2" ]; }
wait_until 20 is_on "$plugged" e1000e
group=$(group_of "$plugged")
told groupAdded "$group" "" "" ""
wait_until 10 list_agrees
has_said "\"deviceAdded\",\"group\":$group,\"device\":\"$plugged\""
qmp '{"execute":"device_del","arguments":{"id":"guest"}}'
wait_until 30 nothing_behind_spare
told groupRemoved "$group" "" "" ""
list_agrees

# The watcher is there still; nobody was written to.
! has_ended "$monitor" || fail "the monitor has ended: $(cat monitor)"
assert_no_writes
