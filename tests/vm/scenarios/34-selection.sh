# shellcheck shell=bash
# "Any of this kind": what is free, what the rules allow, what the host does not use; all or none, and
# in the order of coming.

configuration="[rule nics]
match = pci:id=8086:10d3
match = pci:id=8086:100e
whole-group = yes
allow = user:alice
allow = user:bob
allow = user:mallory
require-reset = no

[pool fast]
match = pci:id=8086:10d3"
start_daemon <<<"$configuration"
first=$NIC_1 second=$NIC_2
[[ $first < $second ]] || first=$NIC_2 second=$NIC_1
host_driver=$(driver_of "$first")
call="$PROGRAMS/lib/call" acquire=org.vfiod.Broker.Acquire
any() { printf '{"selectors":[{"match":["%s"]}],"waitSeconds":%s}' "$1" "$2"; } # MATCH SECONDS
two='{"selectors":[{"pool":"fast"},{"match":["pci:id=8086:10d3"]}],"waitSeconds":'

# One each; the third waits, and gets the first that is given back.
in_background alice as_user alice "$call" --more $acquire "$(any pci:id=8086:10d3 0)"
alice=$PID
assert_contains "$(said alice '.*"granted"')" "\"selected\":[\"$first\"]"
assert_eq "$(driver_of "$first") $(driver_of "$second")" "vfio-pci $host_driver"
in_background bob as_user bob "$call" --more $acquire '{"selectors":[{"pool":"fast"}]}'
bob=$PID
assert_contains "$(said bob '.*"granted"')" "\"selected\":[\"$second\"]"
in_background mallory as_user mallory "$call" --more $acquire "$(any "pci:class=0200 bus:pci=${first%:*}:*" 60)"
mallory=$PID
assert_eq "$(said mallory . | json event) $(said mallory . | json position)" "queued 0"
# All or none, behind him: it wants what he waits for, too.
in_background both as_user alice "$call" --more $acquire "${two}60}"
both=$PID
assert_eq "$(said both . | json event) $(said both . | json position)" "queued 1"
# What there is of the pool, and who has it, for who may lease it.
vfioctl status >told
grep -qx "Pools   fast: 2 devices in 2 groups, 0 free, 2 leased, 1 waiting" told || fail "$(cat told)"
as_user mallory vfioctl status >told
grep -q "^Pools   fast: 2 devices" told || fail "$(cat told)"
as_user daemon vfioctl status >told
! grep Pools told || fail "nobody is told of pools"
as_user bob vfioctl list --pool fast >listed
assert_eq "$(grep -c " leased .* $first .*alice" listed) $(grep -c " leased .* $second .*bob" listed) $(tail -n 1 listed)" \
	"1 1 2 groups of pool fast that you may lease"
assert_eq "$(as_user daemon vfioctl list --pool fast)" "nothing of pool fast that you may lease"
answer=$(refused as_user alice "$call" $acquire "${two}0}")
assert_contains "$answer" "org.vfiod.Broker.GroupBusy"
kill -KILL "$bob"
second_is_home() { [ "$(driver_of "$second")" = "$host_driver" ]; }
wait_until 20 second_is_home
! grep granted mallory both || fail "somebody has got what does not do for him"
kill -KILL "$alice"
assert_contains "$(said mallory '.*"granted"')" "\"selected\":[\"$first\"]"
said both '.*"position":0'
kill -KILL "$mallory"
answer=$(said both '.*"granted"')
assert_contains "$answer" "\"$first\"" && assert_contains "$answer" "\"$second\""
assert_eq "$(driver_of "$first") $(driver_of "$second")" "vfio-pci vfio-pci"
kill -KILL "$both"
wait_until 20 is_unchanged

# A group of three: the device that fits, and its whole group.
in_background three as_user alice "$call" --more $acquire "$(any pci:id=8086:100e 0)"
three=$PID
answer=$(said three '.*"granted"')
assert_contains "$answer" "\"number\":$(group_of "$NIC_A")"
assert_eq "$(driver_of "$NIC_A") $(driver_of "$NIC_B")" "vfio-pci vfio-pci"
kill -KILL "$three"
wait_until 20 is_unchanged

# What the host uses is passed over, and not touched; if it uses all, the last says so.
interface=$(ls "/sys/bus/pci/devices/$first/net")
ip address add 192.0.2.1/24 dev "$interface"
ip link set "$interface" up
in_background other as_user alice "$call" --more $acquire "$(any pci:id=8086:10d3 0)"
other=$PID
assert_contains "$(said other '.*"granted"')" "\"selected\":[\"$second\"]"
assert_eq "$(driver_of "$first")" "$host_driver"
answer=$(refused as_user bob vfioctl run --dry-run --any pool:fast 2>&1)
assert_contains "$answer" "group $(group_of "$second") is held by"
# The rules say of the first one that he may; whether the host uses it, only a dry run looks.
assert_contains "$(vfioctl can bob any:pool:fast)" "$first is covered by rule 'nics'"
kill -KILL "$other"
wait_until 20 is_unchanged
interface_2=$(ls "/sys/bus/pci/devices/$second/net")
ip address add 192.0.3.1/24 dev "$interface_2"
ip link set "$interface_2" up
answer=$(refused as_user alice "$call" $acquire "$(any pci:id=8086:10d3 60)")
assert_contains "$answer" org.vfiod.Broker.DeviceInUse
assert_contains "$answer" "the last of 2 that were tried"
ip address flush dev "$interface"
ip link set "$interface" down
ip address flush dev "$interface_2"
ip link set "$interface_2" down

# Nor is it the end if one cannot be taken: that one goes back, and it is another.
mount --bind /dev/full "/sys/bus/pci/devices/$first/driver_override"
in_background other as_user alice "$call" --more $acquire "$(any pci:id=8086:10d3 0)"
other=$PID
assert_contains "$(said other '.*"granted"')" "\"selected\":[\"$second\"]"
assert_eq "$(driver_of "$first")" "$host_driver"
kill -KILL "$other"
umount "/sys/bus/pci/devices/$first/driver_override"
wait_until 20 is_unchanged

# What cannot be, is told at once, whoever waits.
answer=$(refused as_user alice vfioctl run --wait 60 --any pci:id=8086:ffff -- true 2>&1)
assert_contains "$answer" "no device of this host fits that"
answer=$(refused as_user alice vfioctl run --wait 60 --any pci:address="$EDU" -- true 2>&1)
assert_contains "$answer" "no rule"
answer=$(refused as_user alice vfioctl run --any pool:slow -- true 2>&1)
assert_contains "$answer" "no pool slow"
answer=$(refused as_user alice vfioctl run --any pci:colour=red -- true 2>&1)
assert_contains "$answer" "'pci:colour=red' in match; allowed:"

# A program knows what it has got.
# shellcheck disable=SC2016 # its own variables
answer=$(as_user alice vfioctl run --any pool:fast --device "$NIC_A" -- \
	sh -c 'echo "$LISTEN_FDNAMES $1 $2"; readlink "/proc/self/fd/$1"' - "{group:any}" "{group:$NIC_A}")
assert_eq "$answer" "group$(group_of "$first"):group$(group_of "$NIC_A") 3 4
/dev/vfio/$(group_of "$first")"
wait_until 20 is_unchanged
answer=$(refused as_user alice vfioctl run --any pool:fast -- true "{group:any2}" 2>&1)
assert_contains "$answer" "what was acquired goes back"
wait_until 20 is_unchanged

# What waits for a device with a tag is woken when udev gives one to a device: nothing else changes.
udev_rule=/run/udev/rules.d/99-lent.rules
tags() { # DEVICE…: these have it
	mkdir -p "${udev_rule%/*}"
	printf 'SUBSYSTEM=="pci", KERNEL=="%s", TAG+="lent"\n' "$@" >"$udev_rule"
	udevadm control --reload
	udevadm trigger --action=change --settle "/sys/bus/pci/devices/$first" "/sys/bus/pci/devices/$second"
}
tags "$first"
in_background alice as_user alice "$call" --more $acquire "$(any "udev:tag=lent" 0)"
alice=$PID
assert_contains "$(said alice '.*"granted"')" "\"selected\":[\"$first\"]"
in_background bob as_user bob "$call" --more $acquire "$(any "udev:tag=lent" 60)"
bob=$PID
assert_eq "$(said bob . | json event)" queued
tags "$first" "$second"
assert_contains "$(said bob '.*"granted"')" "\"selected\":[\"$second\"]"
kill -KILL "$alice" "$bob"
rm "$udev_rule"
udevadm control --reload
wait_until 20 is_unchanged
