# shellcheck shell=bash
# An administrator asks the holder of a lease to give it back, and then ends it: who has it is told,
# and the group goes back when he lets go. Where the rules say so, that happens by itself, and a holder
# who does not let go is ended.
# shellcheck source=tests/vm/guest/spaces
. "$VM/guest/spaces"

start_daemon <<END
[rule all]
match = pci:address=$EDU
match = pci:address=$NIC_1
allow = user:alice
END
lease_of() { vfioctl status "$1" --json | json group lease; }

in_background client as_user alice "$PROGRAMS/lib/lease" "$EDU"
client=$PID
said client granted
in_background other as_user alice "$PROGRAMS/lib/lease" "$NIC_1"
other=$PID
said other granted
name=$(lease_of "$EDU")

assert_contains "$(refused as_user alice vfioctl revoke "$name" 2>&1)" "permission denied"
vfioctl revoke "$name" --reason "the host goes down at six"
assert_eq "$(said client "event releaseRequested")" "event releaseRequested the host goes down at six"
assert_contains "$(vfioctl leases | grep "^$name ")" "asked back"
assert_eq "$(driver_of "$EDU") $(openers_of "$EDU")" "vfio-pci $client" "it was only asked"

vfioctl revoke "$name" --end --reason "now"
assert_eq "$(said client "event ended")" "event ended now"
assert_eq "$(openers_of "$EDU")" "$client" "VFIO has no revoke"
is_lingering() { [ "$(vfioctl status "$EDU" --json | json group owner)" = lingering ]; }
wait_until 10 is_lingering
assert_eq "$(driver_of "$EDU")" vfio-pci
answer=$(refused vfioctl revoke "$name" 2>&1)
assert_contains "$answer" "there is no lease $name"
# It lets go: its release says that the lease has ended already.
kill -TERM "$client"
is_back() { [ "$(driver_of "$EDU")" = "" ]; }
wait_until 10 is_back
wait_until 10 has_ended "$client"

# A program of vfioctl run has no stream, and ends when it likes.
in_background run as_user alice vfioctl run --device "$EDU" -- sleep 1000
run=$PID
has_lease() { [ -n "$(lease_of "$EDU")" ] && [ -n "$(openers_of "$EDU")" ]; }
wait_until 20 has_lease
program=$(openers_of "$EDU")
vfioctl revoke "$(lease_of "$EDU")" --end
wait_until 10 is_lingering
kill "$program"
status=0
wait "$run" || status=$?
assert_eq "$status" 143
wait_until 10 is_back

# The other lease has heard nothing of it.
! grep event other || fail "it was told of another's lease"
assert_eq "$(openers_of "$NIC_1")" "$other"
end "$other"
assert_unchanged

# With revoke = end. Who gives it back in time has nothing to fear.
cat >vfiod.conf <<END
[rule all]
match = pci:address=$EDU
allow = user:alice
revoke = end
revoke-timeout = 600
END
vfioctl reload
in_background monitor vfioctl monitor --json
said monitor '.*"ready"'
stages() { sed -n 's/.*"revokeStage".*"text":"\([^"]*\)".*/\1/p' monitor; }
has_stage() { stages | grep -q "$1"; }
PID_MONITOR=$PID
in_background client as_user alice "$PROGRAMS/lib/lease" "$EDU"
client=$PID
said client granted
answer=$(vfioctl revoke "$(lease_of "$EDU")" --dry-run)
assert_contains "$answer" "after 600 s it would be ended, and its holder, if he still had a device open"
! grep event client || fail "a dry run asks for nothing"
answer=$(vfioctl revoke "$(lease_of "$EDU")")
assert_contains "$answer" "in 600 s the lease ends, and he, if he still has a device open"
said client "event releaseRequested" >/dev/null
assert_contains "$(vfioctl leases)" "asked back, ends in"
end "$client"
wait_until 20 has_stage "all of its groups are back"
! has_stage SIG || fail "$(stages)"
assert_unchanged

sed -i 's/= 600/= 1/' vfiod.conf
vfioctl reload

# Who does not is ended.
kill "$PID_MONITOR"
in_background monitor vfioctl monitor --json
PID_MONITOR=$PID
said monitor '.*"ready"'
in_background run as_user alice vfioctl run --device "$EDU" -- "$PROGRAMS/edu-dma" --hold "{group}" "$EDU"
run=$PID
said run holding
vfioctl revoke "$(lease_of "$EDU")" --reason "at six"
wait_until 20 has_stage "not given back in time"
wait_until 20 has_stage "SIGTERM was sent to pid"
wait_until 20 has_ended "$run"
wait_until 20 has_stage "all of its groups are back"
wait_until 10 is_unchanged

# A brokered lease: the group leaves its space, and its client lives.
client alice alice
ask alice memfd m 1M
ask alice touch m 0 1M
ask alice create space
ask alice add space m
ask alice acquire lease "$EDU"
ask alice attach space lease
ask alice map space m 0 0x0 1M
ask alice device device space lease "$EDU"
answer=$(vfioctl revoke "$(lease_of "$EDU")")
assert_contains "$answer" "in 1 s the lease ends"
wait_until 20 has_stage "as its client has a device of it open"
wait_until 10 is_lingering
assert_ledger alice "host=256/256 uid:1000=256/256"
ask_in_vain alice attach space lease
ask alice drop device
book_is() { ask alice ledger && [ "$ANSWER" = "$1" ]; }
wait_until 20 book_is "host=0/0"
wait_until 10 is_back
dismiss alice
kill "$PID_MONITOR"
assert_over
