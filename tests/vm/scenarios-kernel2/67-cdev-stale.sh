# shellcheck shell=bash
# After a lease with mode cdev on a group that stays taken, its devices are given to their drivers anew:
# a node that somebody has kept is seen, or, where he hides it, keeps the group from everybody; in no
# case can he bind it when somebody else has the device. So also after a restart, and where the devices
# were with VFIO before vfiod came.

modprobe iommufd
configuration() {
	cat <<END
[daemon]
take-timeout = 2
[rule all]
match = pci:address=$EDU
match = pci:address=$NIC_1
allow = user:alice
allow = user:bob
trusted = yes
require-reset = no
END
}
start_daemon < <(configuration)
group=$(group_of "$EDU")
state() { vfioctl status "$EDU" --json | json group "$1"; }
has_state() { [ "$(state "$1")" = "$2" ]; }
# The kernel's time of the device in sysfs: another one is another node.
node() { stat -c %i "/sys/bus/pci/devices/$EDU"/vfio-dev/vfio*; }
is_new() { local now; now=$(node) && [ "$now" != "$before" ]; }
journal_has() { grep -E "$1" "$STATE_DIR/journal/$group.json"; }
lease() { # CLIENT [OPTION]: alice's
	in_background "$1" as_user alice "$PROGRAMS/lib/cdev-lease" "${@:2}" "$EDU"
	client=$PID
}

vfioctl take "$EDU"
before=$(node)
lease one
said one holding
assert_contains "$(cat one)" "equal: 2048 bytes"
journal_has '"nodes": *true'
end "$client"
wait_until 20 has_state owner none
wait_until 20 has_state binding taken
wait_until 20 is_new
assert_eq "$(driver_of "$EDU") $(override_of "$EDU")" "vfio-pci vfio-pci"
journal_has '"nodes": *false'

# With mode group nothing has to be done.
before=$(node)
as_user bob vfioctl run --device "$EDU" -- "$PROGRAMS/edu-dma" "{group}" "$EDU"
wait_until 20 has_state owner none
assert_eq "$(node)" "$before"

# Seen: it lingers, and nobody is hung. SIGSTOP: the lease is ended, its process is not.
lease two --unbound
said two holding
token=$(grep -o '"token":"[^"]*"' two | cut -d'"' -f4)
"$PROGRAMS/lib/call" org.vfiod.Broker.Release "{\"token\":\"$token\"}" | json lingering 0
has_state owner lingering
assert_eq "$(node)" "$before"
# The next daemon knows it, too.
kill_daemon
start_daemon < <(configuration)
wait_until 20 has_state owner lingering
answer=$(refused as_user bob "$PROGRAMS/lib/lease" "$EDU")
assert_contains "$answer" "GroupBusy"
end "$client"
wait_until 20 is_new
wait_until 20 has_state owner none
before=$(node)

# Hidden: the group is stuck, others are served, and what he has is good for nothing.
mkfifo lines
as_user alice "$PROGRAMS/lib/cdev-lease" --hide "$EDU" <lines >three 2>&1 &
hider=$!
exec 9>lines
said three hidden
wait_until 20 has_state binding stuck
answer=$(refused as_user bob "$PROGRAMS/lib/lease" "$EDU")
assert_contains "$answer" "org.vfiod.Broker.Stuck {\"group\":$group,\"device\":\"$EDU\",\"step\":\"unbind\""
as_user bob vfioctl run --device "$NIC_1" -- true
echo >&9
said three bind:
cat three
refuses() { grep -E "bind: E(BUSY|NODEV|INVAL)" three; }
refuses
echo >&9
exec 9>&-
wait "$hider"
wait_until 20 has_state binding taken
wait_until 20 is_new
as_user bob vfioctl run --device "$EDU" -- "$PROGRAMS/edu-dma" "{group}" "$EDU"
wait_until 20 has_state owner none
vfioctl return "$EDU"
wait_until 20 is_unchanged

# With VFIO before vfiod came: not its to return, and given anew all the same.
bind_by_hand "$EDU" vfio-pci
wait_until 10 has_state binding taken
before=$(node)
lease four
said four holding
end "$client"
wait_until 20 is_new
assert_eq "$(driver_of "$EDU")" vfio-pci
wait_until 20 has_state owner none
[ ! -e "$STATE_DIR/journal/$group.json" ] || fail "a journal of what is not vfiod's"
unbind_by_hand "$EDU"
