# shellcheck shell=bash
# A device reaches what was mapped before its group was attached and what was mapped after, at three
# addresses, and nothing else: not what was never mapped, and not what is unmapped. So too when it was attached
# a second time.
# shellcheck source=tests/vm/guest/spaces
. "$VM/guest/spaces"

start_daemon <<END
[rule all]
match = pci:address=$EDU
match = pci:address=$NIC_1
allow = user:alice
END
client alice alice
ask alice acquire lease "$EDU"
ask alice acquire other "$NIC_1"
ask alice create space
ask alice memfd m 64K
ask alice touch m 0 64K
ask alice add space m
# Before the first container, between the first and the edu's, and after.
ask alice map space m 0 0x100000 8K
ask alice attach space other
ask alice map space m 8K 0x8000000 8K
ask alice attach space lease
ask alice map space m 16K 0xffff000 4K
assert_pinned 5
keeper_of alice space

goes_there_and_back() { # FROM_OFFSET FROM_IOVA TO_OFFSET TO_IOVA SEED
	ask alice pattern m "$1" "$5"
	ask alice to-device device "$2"
	ask alice to-memory device "$4"
	ask alice holds m "$3" "$5"
	assert_eq "$ANSWER" yes "from $2 to $4"
}
# What the device does at IOVA moves nothing, either way: the page that was last there is as it was, and what
# the device was to read it does not have.
moves_nothing() { # IOVA OFFSET SEED
	ask alice pattern m "$2" "$3"
	ask alice to-memory device "$1"
	ask alice holds m "$2" "$3"
	assert_eq "$ANSWER" yes "the device wrote to $1"
	ask alice to-device device "$1"
	ask alice pattern m 8K 1
	ask alice to-memory device 0x8000000
	ask alice holds m 8K "$3"
	assert_eq "$ANSWER" no "the device read from $1"
}
drive() {
	ask alice device device space lease "$EDU"
	ask alice edu device
	goes_there_and_back 0 0x100000 12K 0x8001000 11
	goes_there_and_back 12K 0x8001000 16K 0xffff000 12
	goes_there_and_back 16K 0xffff000 4K 0x101000 13
	moves_nothing 0x7000000 0 21
	ask alice unmap space 0x100000 8K
	moves_nothing 0x100000 0 22
	ask alice map space m 0 0x100000 8K
	goes_there_and_back 4K 0x101000 0 0x100000 14
}
kernel_log_mark
drive
# The kernel says no more than some faults in five seconds.
# shellcheck disable=SC2034
IOVA=0x7000000
assert_faults "$EDU"
# The addresses are not those of the memory.
address=$(awk '/memfd:client/ { sub(/-.*/, "", $1); print "0x" $1; exit }' "/proc/$KEEPER/maps")
physical=$(physical_address_of "$KEEPER" "$address")
echo "what the keeper has at $address is at physical $physical"
for iova in 0x100000 0x101000 0x8000000 0x8001000 0xffff000; do
	((physical != iova)) || fail "the IOVA is the physical address: nothing is proven"
done

# While a device is open its group stays.
ask_in_vain alice detach space lease
assert_eq "${ANSWER%% *}" Broker.GroupBusy
ask alice drop device
ask alice detach space lease
ask alice attach space lease
drive
ask alice drop device

# Read-only memory, and memory that was mapped for reading alone, is not written.
ask alice memfd sealed 4K
ask alice pattern sealed 0 31
ask alice seal sealed write
ask alice add space sealed
assert_eq "$ANSWER" "lengthBytes=4096 pageBytes=4096 isWritable=false"
ask_in_vain alice map space sealed 0 0x200000 4K
assert_eq "${ANSWER%% *}" Space.MemoryUnsuitable
ask alice map space sealed 0 0x200000 4K r
ask alice map space m 20K 0x201000 4K r
ask alice device device space lease "$EDU"
ask alice edu device
ask alice pattern m 20K 32
ask alice to-device device 0x100000
ask alice to-memory device 0x200000
ask alice to-memory device 0x201000
ask alice holds sealed 0 31
assert_eq "$ANSWER" yes "the device wrote sealed memory"
ask alice holds m 20K 32
assert_eq "$ANSWER" yes "the device wrote what was mapped for reading"
ask alice to-device device 0x200000
ask alice to-memory device 0x100000
ask alice holds m 0 31
assert_eq "$ANSWER" yes "the device read sealed memory"
dismiss alice
assert_over
