# shellcheck shell=bash
# sysfs_writes sees every write of who is traced and of its children, and nobody else's.

device=/sys/bus/pci/devices/$EDU
# Started before: not traced.
mkfifo go
bash -c "read -r < go; printf pci-stub >$device/driver_override" &
other=$!

echo "$BASHPID" >"$TRACE/set_event_pid"
echo 1 >"$TRACE/events/vfiod/enable"
forget_writes
echo >go
wait "$other"
assert_eq "$(override_of "$EDU")" pci-stub
assert_no_writes

printf vfio-pci >"$device/driver_override"
bash -c "echo >$device/driver_override"
refused bash -c "echo 0000:ff:00.0 >/sys/bus/pci/drivers/e1000/bind" 2>/dev/null
assert_eq "$(sysfs_writes)" "$EDU driver_override vfio-pci
$EDU driver_override \\n
e1000 bind 0000:ff:00.0\\n"
(assert_no_writes) >seen && fail "assert_no_writes did not see them"
forget_writes
assert_no_writes
echo >"$TRACE/set_event_pid"
