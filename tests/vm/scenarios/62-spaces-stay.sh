# shellcheck shell=bash
# The daemon is killed, and the next one takes spaces over: devices go on, and what is pinned is what is charged, whatever
# was under way.
# shellcheck source=tests/vm/guest/spaces
. "$VM/guest/spaces"
# shellcheck source=tests/vm/guest/kept
. "$VM/guest/kept"

start_kept_daemon <<END
[daemon]
resume-timeout = 3600
[rule alice]
match = pci:address=$EDU
match = pci:address=$NIC_1
allow = user:alice
END
client alice alice
ask alice acquire lease "$EDU"
ask alice acquire other "$NIC_1"
ask alice memfd m 64M
ask alice touch m 0 64M
ask alice create space 1
ask alice add space m
ask alice attach space lease
ask alice map space m 0 0x0 2M
ask alice map space m 1M 0x1000000 2M
keeper_of alice space
keeper=$KEEPER
ask alice device device space lease "$EDU"
ask alice edu device

state_is() { # STATE
	ask alice describe space
	value state
	[ "$VALUE" = "$1" ]
}
# What the kernel has pinned and bills the keeper is what the book says; and it is the same keeper.
assert_consistent() {
	local bill
	wait_until 20 state_is live
	keeper_of alice space
	assert_eq "$KEEPER" "$keeper" "the keeper"
	ask alice ledger
	bill=${ANSWER#host=*/} bill=${bill%% *}
	assert_pinned "$bill"
	assert_locked "$keeper" "$bill"
}
assert_same() {
	assert_consistent
	assert_ledger alice "host=768/1024 uid:1000=768/1024"
}
seed=0
dma() {
	seed=$((seed + 1))
	ask alice pattern m 0 "$seed"
	ask alice to-device device 0x0
	ask alice to-memory device 0x1000000
	ask alice holds m 1M "$seed"
	assert_eq "$ANSWER" yes "DMA without a daemon"
}
dma
assert_same

# Nothing is under way.
kill_kept dma
assert_same
vfioctl ledger
ask alice map space m 8M 0x2000000 2M
ask alice unmap space 0x2000000 2M
assert_same

# A Map that is under way in its keeper, which has not come to it yet: undone, and can be asked again.
kill -STOP "$keeper"
tell alice map space m 0 0x10000000 64M
# Its message was there before this one's.
vfioctl list >/dev/null
kill -KILL "$DAEMON"
next_one
kill -CONT "$keeper"
hear alice
note "map: $ANSWER"
[[ $ANSWER == *Interrupted* ]] || ask alice unmap space 0x10000000 64M
dma
assert_same
ask alice map space m 0 0x10000000 64M
assert_ledger alice "host=16384/17408 uid:1000=16384/17408"
assert_consistent
# An answer that was half sent, or a call half read: there is no connection then.
connections=0
again() {
	connections=$((connections + 1))
	ask alice connect "c$connections"
	ask alice use "c$connections"
}
tell alice unmap space 0x10000000 64M
kill -KILL "$DAEMON"
hear alice
next_one
[[ $ANSWER != failed* ]] || again
dma
ask alice unmap space 0x10000000 64M
assert_same

# Whatever it is, at some system call of the daemon: all of it or nothing.
interrupt() { # COMMAND…
	local killer
	in_background at-call "$PROGRAMS/kill-call" "$DAEMON" $((RANDOM % 40 + 1))
	killer=$PID
	said at-call armed
	tell alice "$*"
	hear alice
	kill -TERM "$killer" 2>/dev/null || true
	wait "$killer" || fail "kill-call: $(<at-call)"
	kill -KILL "$DAEMON" 2>/dev/null || true # it may be ending
	next_one
	note "$*: $ANSWER"
	# The answer may have left without the daemon knowing yet: then there is no connection, either.
	tell alice describe space
	hear alice
	[[ $ANSWER != failed* ]] || again
	assert_consistent
}
for _ in 1 2; do
	interrupt attach space other
	ask alice describe space
	[[ $ANSWER == *"containers.1."* ]] || ask alice attach space other
	assert_consistent
	bill=$((1024 * $(bills 2)))
	assert_ledger alice "host=768/$bill uid:1000=768/$bill"
	interrupt map space m 4M 0x4000000 1M
	interrupt unmap space 0x4000000 1M
	interrupt detach space other
	ask alice describe space
	[[ $ANSWER != *"containers.1."* ]] || ask alice detach space other
	tell alice unmap space 0x4000000 1M
	hear alice
	assert_same
done
dma

# With its keeper: what it had pinned stays charged while the device is open, and not a page longer.
kill -KILL "$DAEMON" "$keeper"
next_one
wait_until 10 state_is orphaned
assert_ledger alice "host=768/1024 uid:1000=768/1024"
assert_pinned 1024
dma
kill_kept dma
wait_until 10 state_is orphaned
assert_ledger alice "host=768/1024 uid:1000=768/1024"
ask alice drop device
is_free() { ask alice ledger && [ "$ANSWER" = "host=0/0" ]; }
wait_until 20 is_free
assert_pinned 0
ask alice destroy space

ask alice release lease
ask alice release other
dismiss alice

# Its client has gone while nobody was there.
client alice alice
ask alice acquire lease "$EDU"
ask alice memfd m 2M
ask alice create space
ask alice add space m
ask alice attach space lease
ask alice map space m 0 0x0 2M
kill_kept kill_client alice
assert_over
