# shellcheck shell=bash
# A device is unplugged while a process has it open that nobody leases it to any more, and the daemon is killed: the next one
# sees that the kernel waits, although (since Linux 6.6) VFIO's directory below the device has gone already.

start_daemon <<END
[rule all]
match = pci:id=8086:10d3
allow = user:alice
END
is() { [ "$(vfioctl status "$GUEST" --json | json group binding)" = "$1" ]; }
is_on() { [ "$(driver_of "$1")" = "$2" ]; }
plug_in e1000e '"romfile":""'
wait_until 30 is_on "$GUEST" e1000e
as_user alice vfioctl run --device "$GUEST" -- "$PROGRAMS/edu-dma" --fork-holder "{group}" "$GUEST" >held 2>&1
holder=$(awk '/^holder / { print $2 }' held)
ask_out
wait_until 30 is stuck
kill_daemon
cp vfiod.conf rules
start_daemon <rules
[ ! -e "/sys/bus/pci/devices/$GUEST/vfio-dev" ] || fail "this kernel keeps the directory: nothing is proven"
wait_until 30 is stuck
assert_contains "$(vfioctl status | xargs)" "the kernel takes $GUEST away"
assert_contains "$(vfioctl status | xargs)" "(pid $holder, uid 1000)"
kill "$holder"
wait_until 60 nothing_behind_spare
wait_until 20 list_agrees
assert_no_records
