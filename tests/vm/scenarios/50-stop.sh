# shellcheck shell=bash
# The daemon is stopped while groups are leased and taken: whoever has them is told, and when he lets
# go, everything is as the host had it before the daemon ends, with status 0.

configuration="[rule all]
match = pci:address=$NIC_A
match = pci:address=$NIC_B
match = pci:address=$NIC_1
match = pci:address=$EDU
allow = user:alice"
start_daemon <<<"$configuration"

in_background client as_user alice "$PROGRAMS/lib/lease" "$NIC_A"
client=$PID
said client granted
in_background waiting as_user alice "$PROGRAMS/lib/lease" --wait 60 "$NIC_B" "$EDU"
waiting=$PID
waits() { [ "$(vfioctl status --json | json waiting)" = 1 ]; }
wait_until 10 waits
assert_eq "$(driver_of "$NIC_A") $(driver_of "$NIC_B")" "vfio-pci vfio-pci"

kill -TERM "$DAEMON"
said client "event ended vfiod is stopping"
kill -TERM "$client"
wait_until 15 has_ended "$DAEMON"
status=0
status_of_daemon "$DAEMON" || status=$?
DAEMON=
assert_eq "$status" 0
cat daemon.log
assert_unchanged
wait_until 10 has_interface "$NIC_A"
assert_eq "$(find "$STATE_DIR/journal" -type f)" "" "the journal"
# Not if it is systemd's.
[ ! -e "$SOCKET" ] || [ -n "${UNIT:-}" ] || fail "the socket is there still"
wait_until 5 has_ended "$waiting"
grep "^error org.vfiod.Broker.Interrupted" waiting

# Who does not let go: the daemon does not wait for ever, and the journal has it. What nobody has open
# goes back all the same.
start_daemon <<<"$configuration"
in_background client as_user alice "$PROGRAMS/lib/lease" "$EDU"
client=$PID
said client granted
vfioctl take "$NIC_1"
assert_eq "$(driver_of "$NIC_1")" vfio-pci
stop_daemon
assert_eq "$(driver_of "$EDU") $(driver_of "$NIC_1")" "vfio-pci e1000e"
[ -s "$STATE_DIR/journal/$(group_of "$EDU").json" ] || fail "the journal does not have it"
grep "group $(group_of "$EDU") is left taken: a process still has it open" daemon.log
kill -KILL "$client"
start_daemon <<<"$configuration"
vfioctl return "$EDU"
assert_unchanged
