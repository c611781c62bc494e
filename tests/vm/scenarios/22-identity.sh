# shellcheck shell=bash
# Who somebody is, the kernel says: nobody ends another's lease, holds for another, or does what is
# for administrators. What vfiod tells each of his rights is so.

start_daemon <<END
[daemon]
admin = user:bob

[rule edu]
match = pci:address=$EDU
allow = user:alice

[rule nic]
match = pci:address=$NIC_1
allow = user:alice
allow = user:mallory
END
group=$(group_of "$EDU")
call="$PROGRAMS/lib/call"
broker=org.vfiod.Broker admin=org.vfiod.Admin
# It waits: the driver of the host is back a moment before the daemon has seen that it is.
acquire_nic_for() { # INDEX: which descriptor of the message is the holder
	printf '{"selectors":[{"device":"%s"}],"waitSeconds":20,"holderFileDescriptor":%s}' "$NIC_1" "$1"
}
acquire_nic=$(acquire_nic_for 0)

in_background alice as_user alice "$PROGRAMS/lib/lease" "$EDU"
alice=$PID
said alice granted
read -r _ name token <<<"$(said alice lease)"
forget_writes

# mallory knows the token, by whatever means. What there is not and what is not hers are the same.
answer=$(refused as_user mallory "$call" $broker.Release "{\"token\":\"$token\"}")
assert_eq "$answer" "error $broker.NoSuchLease {}"
answer=$(refused as_user alice "$call" $broker.Release '{"token":"00000000000000000000000000000000"}')
assert_eq "$answer" "error $broker.NoSuchLease {}"
! as_user mallory "$call" $broker.Leases | grep -F "$token" || fail "a token is shown"

admins_only() { # METHOD PARAMETERS
	local user
	for user in mallory alice; do
		assert_eq "$(refused as_user "$user" "$call" "$admin.$1" "$2")" \
			"error org.varlink.service.PermissionDenied {}" "$1 by $user"
	done
}
admins_only Take "{\"device\":\"$NIC_1\"}"
admins_only Return "{\"device\":\"$EDU\"}"
admins_only Revoke "{\"lease\":\"$name\",\"end\":true}"
admins_only Reload '{}'
as_user mallory "$call" $admin.Status
assert_contains "$(refused as_user mallory vfioctl take "$NIC_1" 2>&1)" "administrators"

# A process to hold for: one's own, and a process.
answer=$(refused as_user mallory "$call" --pidfd "$alice" $broker.Acquire "$acquire_nic")
assert_contains "$answer" "error $broker.AccessDenied {\"device\":null,\"reason\":\"the holder, process $alice, runs as uid 1000"
not_a_holder="error org.varlink.service.InvalidParameter {\"parameter\":\"holderFileDescriptor\"}"
for file in /dev/null "/proc/$alice" "/proc/$alice/stat"; do
	assert_eq "$(refused as_user mallory "$call" --open "$file" $broker.Acquire "$acquire_nic")" "$not_a_holder" "$file"
done
for index in 1 -1 253; do
	answer=$(refused as_user mallory "$call" --open /dev/null $broker.Acquire "$(acquire_nic_for "$index")")
	assert_eq "$answer" "$not_a_holder" "descriptor $index"
done
assert_eq "$(refused as_user mallory "$call" $broker.Acquire "$acquire_nic")" "$not_a_holder" "no descriptor"
assert_no_writes
assert_eq "$(openers_of "$EDU")" "$alice"

# Her own: the lease follows it, and not the connection, which is closed.
in_background holder as_user mallory sleep 100
holder=$PID
wait_until 5 grep -qx sleep "/proc/$holder/comm"
answer=$(as_user mallory "$call" --pidfd "$holder" $broker.Acquire "$acquire_nic")
assert_eq "$(json event <<<"$answer")" granted
assert_eq "$(vfioctl status "$NIC_1" --json | json group holder pid)" "$holder"
assert_eq "$(driver_of "$NIC_1")" vfio-pci
assert_eq "$(as_user mallory "$call" $broker.Leases | json leases 1 followsProcess)" true
kill "$holder"
returned() { [ "$(driver_of "$NIC_1")" = e1000e ]; }
wait_until 10 returned

# An administrator may hold for anybody; then that process is the holder.
answer=$("$call" --pidfd "$alice" $broker.Acquire "$acquire_nic")
assert_eq "$(vfioctl status "$NIC_1" --json | json group holder pid)" "$alice"
assert_eq "$(vfioctl status "$NIC_1" --json | json group holder uid)" 1000
as_user bob "$call" $broker.Release "{\"token\":\"$(json token <<<"$answer")\"}"
wait_until 10 returned

# may USER DEVICE: "true ", or "false REASON".
may() {
	local answer
	answer=$(as_user "$1" "$call" $broker.Describe "{\"device\":\"$2\"}")
	echo "$(json group mayLease <<<"$answer") $(json group denial <<<"$answer")"
}
assert_eq "$(may alice "$EDU")" "true "
assert_contains "$(may mallory "$EDU")" "false rule 'edu' ("
assert_eq "$(may mallory "$NIC_1")" "true "
assert_contains "$(may alice "$NIC_2")" "false no rule matches $NIC_2"
assert_eq "$(may bob "$NIC_2")" "true " "an administrator"
assert_eq "$(as_user mallory vfioctl list --all --json | python3 -c 'import json, sys
print(*[group["number"] for group in json.load(sys.stdin)["groups"] if group["mayLease"]])')" "$(group_of "$NIC_1")"

# The token is enough for another connection of the same user. A process still has the group open:
# that is told, and the group goes back when it ends.
forget_writes
answer=$(as_user alice "$call" $broker.Release "{\"token\":\"$token\"}")
assert_eq "$(json lingering 0 <<<"$answer")" "$group"
said alice "event ended"
assert_eq "$(vfioctl status "$EDU" --json | json group owner)" lingering
assert_no_writes
end "$alice"
wait_until 20 is_unchanged
