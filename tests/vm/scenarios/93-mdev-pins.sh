# shellcheck shell=bash
# Mediated devices that pin pages by themselves (tests/vm/module): listed with what made them, in a space of
# their own and beside hardware. What they and a NIC have both pinned is owed once.
# shellcheck source=tests/vm/guest/spaces
. "$VM/guest/spaces"

modprobe -a mdev vfio
insmod "$CHECKOUT/build/$VARIANT/tests/vm/vfiod-pin-$(uname -r).ko"
first=11111111-2222-4333-8444-555555555551 second=11111111-2222-4333-8444-555555555552
for uuid in $first $second; do
	echo "$uuid" >/sys/class/mdev_bus/vfiod_pin/mdev_supported_types/vfiod_pin-1/create
done

start_daemon <<END
[daemon]
backend = type1
[rule alice]
match = pci:address=$EDU
match = bus:mdev=11111111-*
allow = user:alice
require-reset = no
END
list_agrees
number=$(basename "$(readlink "/sys/bus/mdev/devices/$first/iommu_group")")
vfioctl list | tee list
grep -Eq "^$number +taken +$first +vfiod_pin +vfiod_pin-1 of vfiod_pin\$" list || fail "what is $first?"
assert_contains "$(vfioctl status $second | xargs)" "Bus mdev, vfiod_pin-1 of vfiod_pin"

# A space of nothing but an mdev: any IOVA is valid, what is mapped is charged, the kernel bills what is
# pinned. 32 MiB are 8,192 pages.
size=32M
client alice alice
ask alice acquire mdev $first
ask alice create alone
ask alice memfd m $size
ask alice touch m 0 $size
ask alice pattern m 0 7
ask alice add alone m
ask alice map alone m 0 0x100000 $size
ask alice attach alone mdev
assert_eq "$ANSWER" "container=0"
ask alice device d alone mdev $first
keeper_of alice alone
assert_ledger alice "host=8192/8192 uid:1000=8192/8192"
assert_locked "$KEEPER" 0
assert_pinned 0
ask alice mdev-pin d 0x100000 1024
assert_locked "$KEEPER" 1024
assert_pinned 1024
ask alice mdev-word d 0x100000
before=$ANSWER
ask alice mdev-word d 0x100008 0x1122334455667788
assert_eq "$ANSWER" "0x1122334455667788"
ask alice mdev-word d 0x100000
assert_eq "$ANSWER" "$before" "the word before it"
tell alice mdev-pin d 0x10000000 1
hear alice
assert_contains "$ANSWER" "failed pwrite" "what is not mapped cannot be pinned"
assert_contains "$(vfioctl audit --json)" '"isRight":true'

# Unmapping takes its pins away from the device.
ask alice unmap alone 0x100000 $size
assert_ledger alice "host=0/0"
assert_pinned 0
tell alice mdev-word d 0x100000
hear alice
assert_contains "$ANSWER" "failed pread" "a page that was unmapped"
ask alice map alone m 0 0x100000 $size

# Hardware joins, and pins all of it: what the mdev has pinned it bills no second time in the same container.
ask alice mdev-pin d 0x100000 1024
ask alice acquire edu "$EDU"
ask alice attach alone edu
assert_eq "$ANSWER" "container=0"
assert_ledger alice "host=8192/8192 uid:1000=8192/8192"
assert_locked "$KEEPER" 8192
ask alice device e alone edu "$EDU"
ask alice edu e
ask alice mdev-pin d 0x500000 1024
assert_locked "$KEEPER" 8192


# One memory: the mdev writes, the edu carries it over, the mdev reads.
ask alice pattern m 0 9
ask alice mdev-word d 0x100000 0xdeadbeef01234567
ask alice to-device e 0x100000
ask alice to-memory e 0x500000
ask alice mdev-word d 0x500000
assert_eq "$ANSWER" "0xdeadbeef01234567"
ask alice pattern m 0 9
ask alice to-device e 0x100000
ask alice to-memory e 0x500000
ask alice holds m 0x400000 9
assert_eq "$ANSWER" yes

# In a space of its own another one pins the same frames: the kernel bills them there again, they are owed once.
ask alice acquire other $second
ask alice create beside
ask alice add beside m
ask alice map beside m 0 0x0 $size
ask alice attach beside other
ask alice device o beside other $second
keeper=$KEEPER
keeper_of alice beside
ask alice mdev-pin o 0x0 8192
assert_locked "$KEEPER" 8192
assert_locked "$keeper" 8192
assert_ledger alice "host=8192/16384 uid:1000=8192/16384"
assert_eq "$("$PROGRAMS/frames" memfd:client "$keeper" "$KEEPER")" 8192 "frames of two keepers"
assert_contains "$(vfioctl audit --json)" '"isRight":true'
vfioctl ledger

# Hardware leaves: what the mdev has pinned stays pinned, and what is mapped stays charged.
ask alice drop e
ask alice detach alone edu
assert_ledger alice "host=8192/16384 uid:1000=8192/16384"
assert_locked "$keeper" 2048
ask alice drop o
assert_locked "$KEEPER" 0
ask alice destroy beside
assert_ledger alice "host=8192/8192 uid:1000=8192/8192"

# Its process is killed: the mdev unpins, the lease is over, somebody else gets it.
kill_client alice
wait_until 10 nothing_is_owed
assert_over
client alice alice
ask alice acquire mdev $first
dismiss alice

# Made by iommufd, nobody could tell when it is closed; and when it is removed it is gone.
for uuid in $first $second; do
	echo 1 >"/sys/bus/mdev/devices/$uuid/remove"
done
is_gone() { ! vfioctl list --all | grep -q "$first"; }
wait_until 10 is_gone
list_agrees
rmmod vfiod_pin
