# shellcheck shell=bash
# A configuration is right or is refused with file and line; a reload brings all of it into force at
# once, or nothing.

# checked STATUS TEXT: what --check-config says to rules on stdin.
checked() {
	local answer status=0
	cat >"$WORK/checked.conf"
	answer=$(vfiod --check-config --config "$WORK/checked.conf" 2>&1) || status=$?
	echo "$answer"
	assert_eq "$status" "$1" "status of: $answer"
	assert_contains "$answer" "$2"
}
checked 0 "checked.conf: fine, 0 rules" </dev/null
checked 0 "checked.conf: fine, 1 rule" <<END
[daemon]
admin = group:0

[rule edu]
# Comments are lines of their own.
match = pci:address=$EDU
match = pci:id=8086:* pci:class=0200
allow = user:alice
allow = unit:dpdk@*.service
whole-group = yes
END
mkdir checked.conf.d
echo "[rule more]
match = pci:address=$NIC_1" >checked.conf.d/more.conf
checked 0 "checked.conf: fine, 1 rule, with 1 file of $WORK/checked.conf.d" </dev/null
rm -r checked.conf.d
checked 1 "$WORK/checked.conf:2: unknown key 'macth' in [rule edu]; known: match, allow, " <<END
[rule edu]
macth = pci:address=$EDU
END
checked 1 "$WORK/checked.conf:1: " <<<"[rules edu]"
checked 1 "$WORK/checked.conf:4: " <<END
[rule edu]
match = pci:address=$EDU
allow = user:alice
[rule edu]
match = pci:address=$EDU
END
checked 1 "$WORK/checked.conf:3: " <<END
[rule edu]
match = pci:address=$EDU
allow = user:nobody-of-this-name
END
checked 1 "$WORK/checked.conf:1: " <<<"match = pci:address=$EDU"
checked 1 "$WORK/checked.conf:2: " <<END
[rule edu]
match = pci:adress=$EDU
END
checked 1 "$WORK/checked.conf:2: " <<END
[daemon]
take-timeout = soon
END
answer=$(refused vfiod --check-config --config /nonexistent 2>&1)
assert_contains "$answer" /nonexistent
touch checked.conf
chmod 666 checked.conf
refused vfiod --check-config --config "$WORK/checked.conf"

# Nor does a daemon start with it.
answer=$(refused vfiod --config "$WORK/checked.conf" --socket "$WORK/socket" --state-dir "$WORK" 2>&1)
[ ! -e socket ] || fail "it has made its socket"

may() { # USER: true or false
	as_user "$1" "$PROGRAMS/lib/call" org.vfiod.Broker.Describe "{\"device\":\"$EDU\"}" | json group mayLease
}
rules() { vfioctl status --json | json rules; }
mkdir vfiod.conf.d
start_daemon <<END
[rule edu]
match = pci:address=$EDU
allow = user:alice
END
assert_eq "$(may alice) $(may bob) $(rules)" "true false 1"

# A bad file changes nothing, whichever way it is read again; a line before the error neither.
cat >vfiod.conf.d/10-more.conf <<END
[rule more]
match = pci:address=$EDU
allow = user:bob
alow = user:mallory
END
answer=$(refused vfioctl reload 2>&1)
echo "$answer"
assert_contains "$answer" "$WORK/vfiod.conf.d/10-more.conf:4: "
assert_contains "$answer" alow
answer=$(refused "$PROGRAMS/lib/call" org.vfiod.Admin.Reload)
assert_contains "$answer" "error org.vfiod.Admin.ConfigurationInvalid {\"reason\":\"$WORK/vfiod.conf.d/10-more.conf:4: "
kill -HUP "$DAEMON"
wait_until 10 grep -F "the configuration stays as it was: $WORK/vfiod.conf.d/10-more.conf:4: " daemon.log
assert_eq "$(may alice) $(may bob) $(rules)" "true false 1"

sed -i 's/^alow/allow/' vfiod.conf.d/10-more.conf
kill -HUP "$DAEMON"
wait_until 10 grep -F "configuration read again: 2 rules" daemon.log
assert_eq "$(may alice) $(may bob) $(may mallory) $(rules)" "true true true 2"
rm vfiod.conf.d/10-more.conf
assert_eq "$(vfioctl reload --json | json rules)" 1
assert_eq "$(may alice) $(may bob) $(rules)" "true false 1"

# Who has a lease keeps it; who waits is asked again.
sed -i 's/^allow.*/allow = user:alice\nallow = user:bob\nallow = user:mallory\nrequire-reset = no/' vfiod.conf
vfioctl reload
in_background alice as_user alice "$PROGRAMS/lib/lease" "$EDU"
alice=$PID
said alice granted
in_background bob as_user bob "$PROGRAMS/lib/lease" --wait 100 "$EDU"
bob=$PID
waiting() { [ "$(vfioctl status --json | json waiting)" = "$1" ]; }
wait_until 10 waiting 1
in_background mallory as_user mallory "$PROGRAMS/lib/lease" --wait 100 "$EDU"
mallory=$PID
wait_until 10 waiting 2
# Not by the file with an error.
echo "nonsense" >>vfiod.conf
refused vfioctl reload
waiting 2
sed -i '/nonsense/d; /alice/d; /bob/d' vfiod.conf
vfioctl reload
said bob "error org.vfiod.Broker.AccessDenied"
refused wait "$bob"
waiting 1
assert_eq "$(openers_of "$EDU")" "$alice"
end "$alice"
said mallory granted
end "$mallory"
assert_unchanged
