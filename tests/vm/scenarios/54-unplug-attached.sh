# shellcheck shell=bash
# A device is unplugged whose group is in a space: the group leaves the space, which goes on with what
# else it has. If its client has the device open, the kernel waits for him; he is asked, and what is
# pinned is paid for until then. What a client had reserved for it comes back as well.
# shellcheck source=tests/vm/guest/spaces
. "$VM/guest/spaces"

start_daemon <<END
[rule all]
match = pci:id=8086:10d3
match = pci:address=$EDU
allow = user:alice
END
state() { vfioctl status "$GUEST" --json | json group binding; }
is() { [ "$(state)" = "$1" ]; }
is_on() { [ "$(driver_of "$1")" = "$2" ]; }
book_is() { ask alice ledger && [ "$ANSWER" = "$1" ]; }
plug() {
	plug_in e1000e '"romfile":""'
	wait_until 30 is_on "$GUEST" e1000e
	wait_until 10 is host
}
gone() { # that has its lease with it
	wait_until 30 nothing_behind_spare
	wait_until 20 list_agrees
	ask_in_vain alice release guest
	assert_eq "${ANSWER%% *}" Broker.NoSuchLease
}
client alice alice
ask alice memfd m 2M
ask alice touch m 0 2M
ask alice create space 1
ask alice add space m
ask alice map space m 0 0x0 2M
ask alice acquire edu "$EDU"
ask alice attach space edu

# Nobody has it open: it is out of the space at once, and its bill is gone.
plug
ask alice acquire guest "$GUEST"
ask alice attach space guest
assert_ledger alice "host=512/1024 uid:1000=512/1024"
ask_out
gone
wait_until 20 book_is "host=512/512 uid:1000=512/512"
assert_pinned 512

# Open: paid for until it is closed.
plug
ask alice acquire guest "$GUEST"
ask alice attach space guest
ask alice device device space guest "$GUEST"
remove_out
wait_until 30 is stuck
is_named() { vfioctl status | xargs | grep -F "space-client (pid ${CLIENT[alice]}, uid 1000)"; }
wait_until 30 is_named
assert_ledger alice "host=512/1024 uid:1000=512/1024"
ask alice device other space edu "$EDU"
ask alice drop device
gone
wait_until 20 book_is "host=512/512 uid:1000=512/512"
assert_pinned 512
# The space is as good as before.
ask alice edu other
ask alice pattern m 0 3
ask alice to-device other 0x0
ask alice to-memory other 0x100000
ask alice holds m 1M 3
assert_eq "$ANSWER" yes
ask alice map space m 0 0x1000000 1M
ask alice unmap space 0x1000000 1M
ask alice drop other
vfioctl audit

# The only group of its space: nothing is pinned, and the next one is attached to the same mappings.
ask alice detach space edu
ask alice release edu
plug
ask alice acquire guest "$GUEST"
ask alice attach space guest
assert_ledger alice "host=512/512 uid:1000=512/512"
ask_out
gone
wait_until 20 book_is "host=0/0"
assert_pinned 0
plug
ask alice acquire guest "$GUEST"
ask alice attach space guest
assert_ledger alice "host=512/512 uid:1000=512/512"
ask alice destroy space
ask alice release guest
wait_until 20 is_on "$GUEST" e1000e

# A reservation.
ask alice lease direct 4M "$GUEST"
ask alice reserved
assert_contains "$ANSWER" "uid:1000=1024"
remove_out
wait_until 30 nothing_behind_spare
is_refunded() { ask alice reserved && [[ $ANSWER != *1024* ]]; }
wait_until 20 is_refunded
plug
ask_out
wait_until 30 nothing_behind_spare
dismiss alice
assert_over
