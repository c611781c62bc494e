# shellcheck shell=bash
# vfioctl run tells its user what happens to the lease: the queue, a request to give it back, its end,
# the daemon's. The program goes on until it ends by itself.

configuration="[rule edu]
match = pci:address=$EDU
allow = user:alice
allow = user:bob
require-reset = no"
start_daemon <<<"$configuration"
asked() { # NAME USER: a run that waits in the queue, and then stays
	in_background "$1" as_user "$2" vfioctl run --wait 60 --device "$EDU" -- sh -c "echo $1 has it; exec sleep 1000"
}
program_of() { openers_of "$EDU"; } # the only one that has it open
said_in() { wait_until 20 grep -F "$2" "$WORK/$1"; } # NAME TEXT

asked first alice
said first "first has it"
asked second bob
second=$PID
said_in second "vfioctl: waiting for $EDU: next in the queue"
asked third alice
third=$PID
said_in third "vfioctl: waiting for $EDU: 1 request before this one"

lease=$(vfioctl leases --no-legend | awk 'NR == 1 { print $1 }')
vfioctl revoke "$lease" --reason "update at six"
said_in first "vfioctl: an administrator asks for the devices back: update at six; they go back when sh ends"
# It is asked, and not made to.
[ "$(program_of | wc -l)" = 1 ] || fail "nobody has it open"
kill "$(program_of)"
said second "second has it"
said_in third "vfioctl: waiting for $EDU: next in the queue"

# Ended while the program goes on: it lingers, until the program has ended.
lease=$(vfioctl leases --no-legend | awk 'NR == 1 { print $1 }')
vfioctl revoke --end "$lease" --reason maintenance
said_in second "vfioctl: the lease has ended: maintenance; sh goes on, and its devices go back when it has closed them"
kill "$(program_of)"
refused wait "$second"
said third "third has it"
if grep -F "lease has ended" first; then
	fail "the end of a program is no news"
fi

# The daemon goes: so is said, and the program still has its device, and its lease when there is a
# daemon again.
kill_daemon
said_in third "vfioctl: lost vfiod; sh goes on with its devices"
start_daemon <<<"$configuration"
said_in third "vfioctl: vfiod is back, and sh has its lease as before"
assert_eq "$(vfioctl leases --json | json leases 0 followsProcess)" true
assert_eq "$(vfioctl status "$EDU" --json | json group owner)" leased
[ "$(program_of | wc -l)" = 1 ] || fail "nobody has it open"
kill "$(program_of)"
refused wait "$third"
wait_until 20 is_unchanged
