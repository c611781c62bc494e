# shellcheck shell=bash
# Two clients want the same two groups, in opposite order: one gets both, then the other does, and
# never has each of them one.

start_daemon <<END
[rule both]
match = pci:address=$EDU
match = pci:address=$NIC_2
allow = user:alice
allow = user:bob
require-reset = no
END

granted() { grep -qx granted "$1" && echo "$1"; }
one_granted() { granted alice || granted bob; }
both_are_open_by() { # PID
	assert_eq "$(openers_of "$EDU")" "$1" "who has $EDU"
	assert_eq "$(openers_of "$NIC_2")" "$1" "who has $NIC_2"
}

# Who comes first varies.
for round in 1 2 3 4; do
	rm -f alice bob
	if ((round % 2)); then
		in_background alice as_user alice "$PROGRAMS/lib/lease" --wait 60 "$EDU" "$NIC_2"
		alice=$PID
	fi
	in_background bob as_user bob "$PROGRAMS/lib/lease" --wait 60 "$NIC_2" "$EDU"
	bob=$PID
	if ((!(round % 2))); then
		in_background alice as_user alice "$PROGRAMS/lib/lease" --wait 60 "$EDU" "$NIC_2"
		alice=$PID
	fi
	wait_until 20 one_granted
	first=$(one_granted)
	[ "$first" = alice ] && second=bob || second=alice
	echo "round $round: $first was the first"
	both_are_open_by "${!first}"
	! granted "$second" || fail "both were granted"
	assert_eq "$(vfioctl status --json | json leases)" 1
	end "${!first}"
	said "$second" granted
	both_are_open_by "${!second}"
	end "${!second}"
	# In the order that each asked in.
	assert_eq "$(awk '/^group/ { print $6 }' alice | xargs)" "$EDU $NIC_2"
	assert_eq "$(awk '/^group/ { print $6 }' bob | xargs)" "$NIC_2 $EDU"
	assert_unchanged
done

# While alice has one of the two, bob waits for both without holding the other: mallory's turn there
# is not taken from her, but she came later, and waits behind him.
in_background one as_user alice "$PROGRAMS/lib/lease" "$EDU"
one=$PID
said one granted
in_background bob as_user bob "$PROGRAMS/lib/lease" --wait 60 "$NIC_2" "$EDU"
bob=$PID
waits() { [ "$(vfioctl status --json | json waiting)" = 1 ]; }
wait_until 10 waits
assert_eq "$(driver_of "$NIC_2")" e1000e "while bob waits"
answer=$(refused as_user alice "$PROGRAMS/lib/lease" "$NIC_2")
assert_contains "$answer" "error org.vfiod.Broker.GroupBusy {\"group\":$(group_of "$NIC_2"),"
in_background alice as_user alice "$PROGRAMS/lib/lease" --wait 60 "$NIC_2"
alice=$PID
end "$one"
said bob granted
both_are_open_by "$bob"
! granted alice || fail "alice overtook bob"
end "$bob"
said alice granted
end "$alice"
