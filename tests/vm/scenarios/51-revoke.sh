# shellcheck shell=bash
# An administrator asks the holder of a lease to give it back, and then ends it: who has it is told,
# and the group goes back when he lets go.

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
