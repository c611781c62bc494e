# shellcheck shell=bash
# A rule for a group holds for the processes that are in it: by their supplementary groups as by
# their primary one, as the kernel knows them, not as the host's files say.

start_daemon <<END
[daemon]
admin = group:4243

[rule edu]
match = pci:address=$EDU
allow = group:4242

[rule nic]
match = pci:address=$NIC_1
allow = group:dialout
END

# with_groups PRIMARY SUPPLEMENTARY COMMAND…: alice with these groups.
with_groups() {
	local primary=$1 groups=$2
	shift 2
	setpriv --reuid alice --regid "$primary" --groups "$groups" -- "$@"
}
may() { # DEVICE PRIMARY SUPPLEMENTARY: true or false
	with_groups "$2" "$3" "$PROGRAMS/lib/call" org.vfiod.Broker.Describe "{\"device\":\"$1\"}" | json group mayLease
}
dialout=$(getent group dialout | cut -d: -f3)
assert_eq "$(may "$EDU" alice 100)" false "no such group"
assert_eq "$(may "$EDU" alice 4242)" true "the only supplementary one"
assert_eq "$(may "$EDU" alice 100,4241,4242,4244)" true "one of several"
assert_eq "$(may "$EDU" alice "$(seq -s, 10000 10100),4242")" true "one of a hundred"
assert_eq "$(may "$EDU" 4242 100)" true "the primary one"
assert_eq "$(may "$EDU" alice "$dialout") $(may "$NIC_1" alice "$dialout")" "false true" "by its name"
assert_eq "$(may "$NIC_2" alice 4242) $(may "$NIC_2" alice 4243)" "false true" "administrators"

answer=$(refused with_groups alice 100 "$PROGRAMS/lib/lease" "$EDU")
assert_contains "$answer" AccessDenied
assert_no_writes
in_background client setpriv --reuid alice --regid alice --groups 100,4242 -- "$PROGRAMS/lib/lease" "$EDU"
client=$PID
said client granted
assert_contains "$(grep '^Groups:' "/proc/$client/status")" 4242
assert_eq "$(openers_of "$EDU")" "$client"
end "$client"
assert_unchanged

refused with_groups alice 4242 vfioctl reload
with_groups alice 4243 vfioctl reload
