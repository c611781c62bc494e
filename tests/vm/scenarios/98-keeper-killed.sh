# shellcheck shell=bash
# A keeper or a client is killed, at whatever point: no process is left, no charge without a pin, no pin without
# a charge. As long as the client's device is open, its memory stays pinned, and paid for.
# shellcheck source=tests/vm/guest/spaces
. "$VM/guest/spaces"

start_daemon <<END
[rule alice]
match = pci:address=$EDU
match = pci:address=$NIC_1
allow = user:alice
[rule bob]
match = pci:address=$NIC_2
allow = user:bob
END
client bob bob
ask bob acquire lease "$NIC_2"
ask bob create space
ask bob attach space lease
ask bob memfd m 4K
ask bob touch m 0 4K
ask bob add space m
bob_is_served() {
	ask bob map space m 0 0x0 4K
	ask bob unmap space 0x0 4K
}
is_free() { ask bob ledger && [ "$ANSWER" = "host=0/0" ]; }
state_is() { # STATE
	ask alice describe space
	value state
	[ "$VALUE" = "$1" ]
}

client alice alice
ask alice acquire lease "$EDU"
ask alice acquire other "$NIC_1"
ask alice memfd m 4M
ask alice touch m 0 4M

# Two containers, a device open: the pins outlive the keeper, and so does their charge.
ask alice create space 1
ask alice add space m
ask alice attach space lease
ask alice attach space other
ask alice map space m 0 0x0 2M
ask alice map space m 1M 0x1000000 2M
keeper_of alice space
ask alice device device space lease "$EDU"
ask alice edu device
assert_pinned $((1024 * $(bills 2)))
kill -KILL "$KEEPER"
wait_until 10 state_is orphaned
# The container without the device has gone with the keeper.
book_is() { ask alice ledger && [ "$ANSWER" = "$1" ]; }
wait_until 10 book_is "host=768/1024 uid:1000=768/1024"
assert_pinned 1024
vfioctl ledger
vfioctl audit || true
# The device works on, into memory that is paid for.
ask alice pattern m 0 5
ask alice to-device device 0x0
ask alice to-memory device 0x1000000
ask alice holds m 1M 5
assert_eq "$ANSWER" yes
for command in "map space m 0 0x2000000 4K" "unmap space 0x0 2M" "attach space other"; do
	# shellcheck disable=SC2086
	ask_in_vain alice $command
	assert_eq "${ANSWER%% *}" Space.SpaceEnded "$command"
done
bob_is_served
ask alice drop device
wait_until 20 is_free
assert_pinned 0
wait_until 10 state_is ended
ask alice destroy space

# At its N-th system call, from when its memory is there to when everything is detached again.
sequence() {
	local command
	for command in "map space m 0 0x0 1M" "attach space lease" "map space m 512K 0x1000000 1M" "attach space other" \
		"unmap space 0x0 1M" "detach space lease"; do
		tell alice "$command"
		hear alice
		case $ANSWER in
		ok*) ;;
		"error org.vfiod.Space.SpaceEnded "* | "error org.vfiod.Broker.Interrupted"**) return 0 ;;
		*) fail "$command: $ANSWER" ;;
		esac
	done
}
every=${KILL_EVERY:-12}
at=$((RANDOM % every + 1)) killed=0
while :; do
	ask alice create space 1
	ask alice add space m
	keeper_of alice space
	in_background at-call "$PROGRAMS/kill-call" "$KEEPER" "$at"
	killer=$PID
	said at-call armed
	sequence
	bob_is_served
	kill -TERM "$killer" 2>/dev/null || true
	wait "$killer" || fail "kill-call: $(<at-call)"
	ask alice destroy space
	wait_until 10 has_ended "$KEEPER"
	wait_until 10 is_free
	assert_pinned 0
	[[ $(<at-call) != *alone* ]] || break
	killed=$((killed + 1)) at=$((at + every))
done
note "$killed kills among $(grep -o '[0-9]*$' at-call) calls of a keeper"

# The client, when it has sent a call, and has not read the answer; its keeper goes, and its groups come back.
dismiss alice
is_with_host() { [ -z "$(driver_of "$EDU")" ]; }
prepare() {
	client alice alice
	ask alice acquire lease "$EDU"
	ask alice memfd m 4M
	ask alice touch m 0 4M
	ask alice create space
	ask alice add space m
	ask alice map space m 0 0x0 2M
	keeper_of alice space
}
for command in create "attach space lease" "map space m 2M 0x1000000 2M" "unmap space 0x0 2M" \
	"device device space lease $EDU" "detach space lease" "destroy space"; do
	prepare
	case $command in create | attach*) ;; *) ask alice attach space lease ;; esac
	[ "$command" != create ] || command="create second"
	# shellcheck disable=SC2086
	tell alice $command
	# It is under way when the daemon has it, or is not: both will do.
	kill_client alice
	bob_is_served
	wait_until 10 has_ended "$KEEPER"
	wait_until 10 is_free
	assert_pinned 0
done
wait_until 20 is_with_host

# A lease ends while a device of it is open in a space: that stays, and is paid for, until it is closed.
prepare
ask alice attach space lease
ask alice device device space lease "$EDU"
ask alice release lease
assert_eq "$ANSWER" "lingering.0=$(group_of "$EDU")"
assert_ledger alice "host=512/512 uid:1000=512/512"
assert_pinned 512
ask alice drop device
wait_until 20 is_free
assert_pinned 0
wait_until 20 is_with_host
dismiss alice
dismiss bob
assert_over
