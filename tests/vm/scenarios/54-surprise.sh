# shellcheck shell=bash
# A device is pulled out of its slot without a word to anybody, under PCIe's own hot-plug: with the host,
# taken, leased, in use, in a space. It is not there any more, and the kernel still waits for who has it open.
# What is plugged in afterwards is as good as new.
# shellcheck source=tests/vm/guest/spaces
. "$VM/guest/spaces"

start_daemon <<END
[rule all]
match = pci:id=8086:10d3
match = pci:address=$EDU
allow = user:alice
allow = user:bob
END
plug_into_the_slot
state() { vfioctl status "$GUEST" --json | json group binding; }
is() { [ "$(state)" = "$1" ]; }
is_on() { [ "$(driver_of "$1")" = "$2" ]; }
no_journal() { [ -z "$(find "$STATE_DIR/journal" -type f)" ]; }
is_named() { vfioctl status | xargs | grep -F "$1 (pid $2, uid 1000)"; }
plug() {
	plug_in e1000e '"romfile":""'
	wait_until 30 is_on "$GUEST" e1000e
	wait_until 10 is host
	assert_eq "$(override_of "$GUEST")" ""
}
assert_gone() {
	wait_until 30 nothing_behind_spare
	wait_until 20 list_agrees
	wait_until 10 no_journal
	assert_eq "$(vfioctl leases --json | json leases)" "[]"
}
others_are_served() { as_user bob vfioctl --timeout 20 run --device "$NIC_1" -- true; }

plug
pull_out
assert_gone
assert_contains "$(kernel_log)" "Card not present"
plug
vfioctl take "$GUEST"
pull_out
assert_gone

# Leased, and not open.
plug
in_background client as_user alice "$PROGRAMS/lib/lease" "$GUEST"
client=$PID
said client granted
pull_out
assert_eq "$(said client "event deviceGone")" "event deviceGone $GUEST"
assert_contains "$(said client "event ended")" "its last device has left the host"
assert_gone
kill "$client"
wait_until 10 has_ended "$client"

# Open: gone, and the kernel waits all the same.
plug
in_background client as_user alice "$PROGRAMS/lib/lease" --open "$GUEST"
client=$PID
said client open
pull_out
said client asked
assert_contains "$(said client "event releaseRequested")" "the kernel takes $GUEST away"
wait_until 30 is stuck
wait_until 30 is_named "open by lease" "$client"
others_are_served
kill "$client"
wait_until 30 has_ended "$client"
assert_gone

# In a space, in use: what is pinned for it is paid for until it is closed.
book_is() { ask alice ledger && [ "$ANSWER" = "$1" ]; }
plug
client alice alice
ask alice memfd m 2M
ask alice touch m 0 2M
ask alice create space 1
ask alice add space m
ask alice map space m 0 0x0 2M
ask alice acquire edu "$EDU"
ask alice attach space edu
ask alice acquire guest "$GUEST"
ask alice attach space guest
ask alice device device space guest "$GUEST"
pull_out
wait_until 30 is stuck
wait_until 30 is_named space-client "${CLIENT[alice]}"
assert_ledger alice "host=512/1024 uid:1000=512/1024"
ask_in_vain alice reset space guest "$GUEST"
ask alice drop device
wait_until 30 nothing_behind_spare
wait_until 20 book_is "host=512/512 uid:1000=512/512"
assert_pinned 512
dismiss alice
assert_over
assert_gone

# The machine asks for it in PCIe's way, as somebody who presses the button of its slot.
plug
as_user bob vfioctl run --device "$GUEST" -- true
wait_until 20 is_on "$GUEST" e1000e
ask_out
assert_gone
