# shellcheck shell=bash
# Whose devices are in a space resets them without their groups' descriptors: a function alone, or a bus,
# if all that this reaches is in the space. What it reaches is shown before.
# shellcheck source=tests/vm/guest/spaces
. "$VM/guest/spaces"

start_daemon <<END
[rule all]
match = pci:address=$EDU
match = pci:address=$NIC_1
match = pci:address=$NIC_A
match = pci:id=1b36:0010
whole-group = yes
allow = user:alice
END
reaches() { # DEVICE: what a reset of its bus does
	vfioctl status "$1" --json | python3 -c 'import json, sys
sets = {s["device"]: s["others"] for s in json.load(sys.stdin)["resetSets"] or []}
print(" ".join("%s/%d" % (o["device"], o["group"]) for o in sets[sys.argv[1]]) if sys.argv[1] in sets else "none")' "$1"
}
refused_as() { # ERROR COMMAND…
	ask_in_vain alice "${@:2}"
	assert_eq "${ANSWER%% *}" "$1" "${*:2}"
}
# A word of the multicast table: as it was, or reset.
write_word() {
	ask alice word "$1" 0x5200 0x5ec4e7
	assert_eq "$ANSWER" 0x5ec4e7 "$1"
}
assert_word() {
	ask alice word "$1" 0x5200
	assert_eq "$ANSWER" "$2" "$1"
}

# Of e1000e's ways only that with its bus: QEMU does nothing at a change of the power state.
saved=$(cat "/sys/bus/pci/devices/$NIC_1/reset_method")
echo bus >"/sys/bus/pci/devices/$NIC_1/reset_method"

group=$(group_of "$NIC_A")
assert_eq "$(reaches "$EDU")" none
assert_eq "$(reaches "$NIC_1")" ""
assert_eq "$(reaches "$NIC_A")" "$NIC_B/$group"
assert_eq "$(reaches "$BRIDGE")" "$NIC_A/$group $NIC_B/$group"
assert_contains "$(vfioctl status "$NIC_A")" "Bus reset reaches $NIC_B (group $group)"

client alice alice
ask alice acquire edu "$EDU"
ask alice acquire one "$NIC_1"
ask alice acquire three "$NIC_A"
ask alice memfd m 1M
ask alice touch m 0 1M
ask alice create space 1
ask alice add space m
refused_as Space.NotAttached reset space one "$NIC_1"
for lease in edu one three; do
	ask alice attach space "$lease"
done
ask alice map space m 0 0x0 1M

# Alone. The others keep what is in them, and what is mapped stays.
ask alice device one space one "$NIC_1"
ask alice device a space three "$NIC_A"
ask alice device b space three "$NIC_B"
for device in one a b; do write_word "$device"; done
refused_as Broker.NoSuchDevice reset space one "$NIC_A"
ask alice reset space one "$NIC_1"
assert_word one 0x0
assert_word a 0x5ec4e7
# With its bus: both that are behind the bridge.
refused_as Broker.NotSupported reset space three "$NIC_A" function
assert_contains "$ANSWER" "no way of being reset by itself"
write_word one
ask alice reset space three "$NIC_A" bus
assert_word a 0x0
assert_word b 0x0
assert_word one 0x5ec4e7
# One that nobody has open; and its port, with nothing else behind it.
ask alice drop one
ask alice reset space one "$NIC_1" bus
# On a root bus.
refused_as Broker.NotSupported reset space edu "$EDU"
refused_as Broker.NotSupported reset space edu "$EDU" bus
assert_contains "$ANSWER" "its bus cannot be reset"
ask alice device edu space edu "$EDU"
ask alice edu edu
ask alice pattern m 0 7
ask alice to-device edu 0x0
ask alice to-memory edu 0x80000
ask alice holds m 512K 7
assert_eq "$ANSWER" yes
for device in edu a b; do ask alice drop "$device"; done

# A virtual function shares its bus with others, in groups of their own.
behind_spare() { compgen -G "/sys/bus/pci/devices/$SPARE_PORT/*/vendor"; }
nothing_behind_spare() { ! behind_spare; }
is_known() { vfioctl list --all | grep -q "$1"; }
has_no_driver() { [ -z "$(driver_of "$1")" ]; }
qmp '{"execute":"device_add","arguments":{"driver":"nvme","id":"physical","bus":"spare","serial":"vfiod",
	"subsys":"subsystem","sriov_max_vfs":2,"sriov_vq_flexible":4,"sriov_vi_flexible":2}}'
wait_until 20 behind_spare
physical=$(basename "$(dirname "$(behind_spare)")")
wait_until 20 is_known "$physical"
echo 0 >"/sys/bus/pci/devices/$physical/sriov_drivers_autoprobe"
echo 2 >"/sys/bus/pci/devices/$physical/sriov_numvfs"
first=$(link_of "$physical" virtfn0) second=$(link_of "$physical" virtfn1)
wait_until 20 is_known "$second"
assert_eq "$(reaches "$second")" "$physical/$(group_of "$physical") $first/$(group_of "$first")"
ask alice acquire virtual "$second"
ask alice attach space virtual
refused_as Space.ResetReachesFurther reset space virtual "$second" bus
for other in "$physical" "$first"; do
	assert_contains "$ANSWER" "=$(group_of "$other")"
done
ask alice reset space virtual "$second" function
ask alice release virtual
wait_until 10 has_no_driver "$second"
echo 0 >"/sys/bus/pci/devices/$physical/sriov_numvfs"
qmp '{"execute":"device_del","arguments":{"id":"physical"}}'
wait_until 20 nothing_behind_spare
dismiss alice
echo "$saved" >"/sys/bus/pci/devices/$NIC_1/reset_method"
assert_over
