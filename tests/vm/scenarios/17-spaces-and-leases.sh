# shellcheck shell=bash
# Leases and spaces end in every order, and no group lingers of which no device is open.
# shellcheck source=tests/vm/guest/spaces
. "$VM/guest/spaces"

start_daemon <<END
[rule all]
match = pci:address=$EDU
match = pci:address=$NIC_1
match = pci:address=$NIC_2
allow = user:alice
allow = user:bob
require-reset = no
END
group=$(group_of "$EDU")

# The client and its memory, of which two megabytes are mapped in space "one"; its lease.
prepare() { # [DEVICE]
	client alice alice
	ask alice memfd m 4M
	ask alice touch m 0 4M
	ask alice create one
	ask alice add one m
	ask alice map one m 0 0x0 2M
	ask alice create two
	ask alice acquire lease "$EDU" "$@"
}
is_with_host() { [ -z "$(driver_of "$EDU")" ]; }

# Granted without a descriptor: nobody has it open. It is attached once, and by whom it is leased to.
prepare "$NIC_1"
assert_eq "$(openers_of "$EDU")" ""
ask_in_vain alice detach one lease
assert_eq "$ANSWER" "Space.NotAttached group=$group"
ask alice attach one lease
assert_pinned 512
for space in one two; do
	ask_in_vain alice attach "$space" lease
	assert_eq "${ANSWER%% *}" Broker.GroupBusy "twice, in $space"
done
ask alice token one
one=${ANSWER#*=}
client bob bob
ask bob acquire other "$NIC_2"
ask bob create space
ask bob open stolen "$one"
ask_in_vain bob describe stolen
assert_eq "${ANSWER%% *}" Space.NoSuchSpace
dismiss bob

# A device that is open keeps its group; then it is in another space, and its bill with it.
ask alice device device one lease "$EDU"
ask_in_vain alice detach one lease
assert_eq "${ANSWER%% *}" Broker.GroupBusy
ask alice drop device
ask alice detach one lease
assert_pinned 0
ask alice attach two lease
ask alice add two m
ask alice map two m 0 0x0 1M
assert_ledger alice "host=256/256 uid:1000=256/256"

# A space ends while its lease lives on: what is open is said, and waited for.
ask alice device device two lease "$EDU"
ask alice destroy two
assert_eq "$ANSWER" "lingering.0=$group"
assert_ledger alice "host=0/0"
assert_pinned 0
ask_in_vain alice attach one lease
assert_eq "${ANSWER%% *}" Broker.GroupBusy
ask alice drop device
ask alice attach one lease
ask alice attach one lease 1
assert_pinned 512

# The lease is released: out of the space, and home.
ask alice release lease
assert_eq "$ANSWER" ""
is_with_host || fail "not with the host"
ask alice describe one
value mappings
assert_eq "$VALUE" 1
assert_ledger alice "host=0/0"
assert_pinned 0
dismiss alice
assert_over

# It is revoked; the client goes; its keeper goes; and a device is pulled out.
prepare
ask alice attach one lease
vfioctl revoke --end "$(vfioctl leases --json | json leases 0 lease)" >revoked
wait_until 10 is_with_host
assert_pinned 0
dismiss alice
assert_over
prepare
ask alice attach one lease
kill_client alice
wait_until 10 is_with_host
assert_over
prepare "$NIC_1"
ask alice attach one lease
ask alice attach one lease 1
echo 1 >"/sys/bus/pci/devices/$NIC_1/remove"
is_without() { ask alice describe one && [[ $ANSWER == *groups.0=$group* && $ANSWER != *groups.1=* ]]; }
wait_until 10 is_without
assert_pinned 512
ask alice map one m 2M 0x1000000 1M
echo 1 >/sys/bus/pci/rescan
ask alice release lease
wait_until 20 is_with_host
dismiss alice
assert_over
prepare
ask alice attach one lease
keeper_of alice one
kill -KILL "$KEEPER"
ask alice release lease
wait_until 10 is_with_host
ask alice destroy one
dismiss alice
assert_over

# The daemon ends while a group is attached.
prepare
ask alice attach one lease
keeper_of alice one
stop_daemon
wait_until 10 has_ended "$KEEPER"
is_with_host || fail "not with the host after the daemon"
assert_pinned 0
kill_client alice
! grep "is lingering" daemon.log || fail "a group has lingered"
