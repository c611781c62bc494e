# shellcheck shell=bash
# take = appear: a group is taken when vfiod sees it, at its start, at a reload and when it is plugged
# in; it stays taken between leases, until an administrator returns it. What the host uses, or the
# rules do not cover whole, is left alone, and said.

configure() {
	cat >"$WORK/rules" <<END
[rule appear]
match = pci:address=$NIC_1
take = appear
allow = user:alice

[rule half]
match = pci:address=$NIC_A
$1
allow = user:alice
END
}
state() { vfioctl status "$1" --json | json group binding; }
is() { [ "$(state "$1")" = "$2" ]; }
is_on() { [ "$(driver_of "$1")" = "$2" ]; }
problem() { vfioctl status | grep -A3 "^!! *$(group_of "$1") "; }
no_problem() { ! problem "$1"; }
reload() {
	configure "$@"
	cp "$WORK/rules" "$WORK/vfiod.conf"
	vfioctl reload
}
count_of() { sysfs_writes | grep -c "^$1 " || true; }

configure "take = appear"
start_daemon <"$WORK/rules"
wait_until 20 is "$NIC_1" taken
assert_eq "$(driver_of "$NIC_1")" vfio-pci
assert_eq "$(openers_of "$NIC_1")" "" "who has it open"

# Half a group: nothing is written, and it is said how to go on.
wait_until 10 problem "$NIC_A"
assert_contains "$(problem "$NIC_A" | tr -s '\n ' ' ')" "covers $NIC_B"
assert_contains "$(<daemon.log)" "covers $NIC_B; add whole-group = yes"
assert_eq "$(count_of "$NIC_A") $(driver_of "$NIC_A")" "0 e1000"

# Taken from VFIO by hand: it goes home, and is taken anew.
echo "$NIC_1" >"/sys/bus/pci/devices/$NIC_1/driver/unbind"
wait_until 20 grep -q "$NIC_1 of group .* was taken from VFIO" daemon.log
wait_until 20 is_on "$NIC_1" vfio-pci
wait_until 10 is "$NIC_1" taken

# Leases come and go without a write.
forget_writes
as_user alice vfioctl run --device "$NIC_1" -- true
wait_until 10 is "$NIC_1" taken
assert_no_writes

# An administrator's return wins, over leases, too.
vfioctl return "$NIC_1"
assert_eq "$(driver_of "$NIC_1") $(state "$NIC_1")" "e1000e host"
as_user alice vfioctl run --device "$NIC_1" -- true
wait_until 10 is_on "$NIC_1" e1000e
wait_until 10 is "$NIC_1" host
# Until it appears anew.
echo 1 >"/sys/bus/pci/devices/$NIC_1/remove"
echo 1 >/sys/bus/pci/rescan
wait_until 20 is_on "$NIC_1" vfio-pci
wait_until 10 is "$NIC_1" taken
vfioctl return "$NIC_1"
wait_until 10 is_on "$NIC_1" e1000e

# Or the configuration is read again. The host uses half of the other group: one attempt, a word.
ip address add 10.99.0.2/24 dev "$(interface_of "$NIC_B")"
ip link set "$(interface_of "$NIC_B")" up
forget_writes
reload "take = appear
whole-group = yes"
wait_until 20 is "$NIC_1" taken
wait_until 10 grep -q 10.99.0.2 daemon.log
assert_contains "$(problem "$NIC_A" | tr -s '\n ' ' ')" "10.99.0.2"
assert_eq "$(count_of "$NIC_A") $(count_of "$NIC_B") $(grep -c 10.99.0.2 daemon.log)" "0 0 1"
# When a device changes, it is tried again.
ip link set "$(interface_of "$NIC_B")" down
ip address flush dev "$(interface_of "$NIC_B")"
echo "$NIC_B" >"/sys/bus/pci/devices/$NIC_B/driver/unbind"
wait_until 20 is "$NIC_A" taken
assert_eq "$(driver_of "$NIC_A") $(driver_of "$NIC_B")" "vfio-pci vfio-pci"
wait_until 10 no_problem "$NIC_A"
assert_contains "$(vfioctl return "$NIC_A")" returned
assert_eq "$(driver_of "$NIC_B")" ""
echo "$NIC_B" >/sys/bus/pci/drivers/e1000/bind
# That change, too, is no reason: an administrator has returned it.
wait_until 10 list_agrees
assert_eq "$(state "$NIC_A") $(driver_of "$NIC_A")" "host e1000"

# What is taken is given back at the end.
stop_daemon
assert_unchanged

# A wrong rule is named with its line.
cat >wrong.conf <<END
[rule wrong]
match = udev:tag=vfio
take = boot
END
answer=$(refused vfiod --check-config --config wrong.conf 2>&1)
assert_contains "$answer" "wrong.conf:3: [rule wrong] matches by udev:tag="
