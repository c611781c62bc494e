# shellcheck shell=bash
# What cannot be attached or mapped is refused by its name and with its data, and leaves the space as it was: the
# same containers and mappings, the same pages pinned and locked.
# Not behind amd: the ranges are those of Intel's, which end at 48 bits
# Not behind virtio: the ranges are those of Intel's, which end at 48 bits
# shellcheck source=tests/vm/guest/spaces
. "$VM/guest/spaces"

start_daemon <<END
[rule all]
match = pci:address=$EDU
match = pci:address=$NIC_1
match = pci:address=$NIC_2
allow = user:alice
END
client alice alice
ask alice acquire lease "$EDU" "$NIC_1" "$NIC_2"
ask alice create space 1
ask alice memfd m 8M
ask alice touch m 0 1M
ask alice add space m
keeper_of alice space
keeper=${KEEPER}

# changes_nothing ERROR COMMAND…
changes_nothing() {
	ask alice describe space
	local before=$ANSWER
	ask alice ledger
	before="$before $ANSWER"
	locked "$keeper"
	local locked=$LOCKED
	pinned
	local pinned=$PINNED
	ask_in_vain alice "${@:2}"
	# shellcheck disable=SC2053
	[[ $ANSWER == $1 ]] || fail "line ${BASH_LINENO[0]}: ${*:2}: $ANSWER, should be $1"
	local error=$ANSWER
	ask alice describe space
	local after=$ANSWER
	ask alice ledger
	assert_eq "$after $ANSWER" "$before" "after $error"
	assert_locked "$keeper" "$locked"
	pinned
	assert_eq "$PINNED" "$pinned" "pages pinned after $error"
}
group=$(group_of "$EDU")

# Before there is a container there is no range; a group comes with its own.
ask alice map space m 0 0xfee01000 4K
ask alice map space m 0 0xfee10000 4K
changes_nothing "Space.ReservedRegionConflict group=$group reserved.first=0xfee00000 reserved.last=0xfeefffff mapping.first=0xfee01000 mapping.last=0xfee01fff" \
	attach space lease 0
ask alice unmap space 0xfee00000 1M
assert_eq "$ANSWER" "mappings=2 lengthBytes=8192"
# Beyond the 48 bits of the IOMMU: only the kernel knows.
ask alice map space m 0 0x1000 4K
ask alice map space m 0 0x4000000000000 4K
changes_nothing "*" attach space lease 0
echo "beyond the aperture: $ANSWER"
ask alice unmap space 0x4000000000000 4K
ask alice attach space lease 0
ask alice attach space lease 1
assert_pinned "$(bills 2)"
changes_nothing "*" attach space lease 0
echo "twice: $ANSWER"

# Mappings: overlaps of all kinds, reserved, beyond the end, misaligned, around the end, empty, not there.
ask alice map space m 0 0x10000 64K
for at in "0x10000 64K" "0xf000 8K" "0x1f000 4K" "0x1f000 8K" "0x8000 128K" "0x14000 4K"; do
	# shellcheck disable=SC2086
	changes_nothing "Space.MappingOverlaps first=0x10000 last=0x1ffff" map space m 0 $at
done
ranges="Space.IovaOutOfRange ranges.0.first=0x0 ranges.0.last=0xfedfffff ranges.1.first=0xfef00000 ranges.1.last=0xffffffffffff"
for at in "0xfee00000 4K" "0xfedff000 8K" "0xfeeff000 8K" "0xfed00000 4M" "0x1000000000000 4K" "0xfffffffff000 8K" \
	"0xfffffffffffff000 4K"; do
	# shellcheck disable=SC2086
	changes_nothing "$ranges" map space m 0 $at
done
for command in "m 0 0x100800 4K" "m 0 0x100000 2K" "m 2K 0x100000 4K" "m 0 0x100001 4097"; do
	# shellcheck disable=SC2086
	changes_nothing "Space.Misaligned pageBytes=4096" map space $command
done
for at in "0x100000 0" "0xfffffffffffff000 8K" "0xfffffffffffff000 1M"; do
	# shellcheck disable=SC2086
	changes_nothing "org.varlink.service.InvalidParameter parameter=length" map space m 0 $at
done
changes_nothing "org.varlink.service.InvalidParameter parameter=length" unmap space 0xfffffffffffff000 8K
changes_nothing "org.varlink.service.InvalidParameter parameter=iova" map space m 0 100000 4K
changes_nothing "org.varlink.service.InvalidParameter parameter=iova" map space m 0 0x10000000000000000 4K
changes_nothing "Space.MemoryUnsuitable *" map space m 8M 0x100000 4K
changes_nothing "Space.MemoryUnsuitable *" map space m 7M 0x100000 2M
ask alice map space m 0 0xfedff000 4K
ask alice map space m 0 0xfef00000 4K
ask alice map space m 0 0xfffffffff000 4K

# One that would be split keeps all; three whole ones go at once, in both containers.
for at in "0x10000 4K" "0x14000 4K" "0x1f000 4K" "0x0 68K" "0x1f000 1M"; do
	# shellcheck disable=SC2086
	changes_nothing "Space.UnmapSplitsMapping first=0x10000 last=0x1ffff" unmap space $at
done
ask alice map space m 64K 0x20000 64K
ask alice map space m 0 0x40000 64K
keeper_bill() { locked "$keeper" && BILL=$LOCKED; }
keeper_bill
before=$BILL
ask alice unmap space 0x10000 256K
assert_eq "$ANSWER" "mappings=3 lengthBytes=196608"
assert_locked "$keeper" $((before - $(bills 2) * 48))
ask alice unmap space 0x10000 256K
assert_eq "$ANSWER" "mappings=0 lengthBytes=0"
ask alice unmap space 0x0 1M
ask alice unmap space 0xfed00000 4M
ask alice unmap space 0xfffffffff000 4K
assert_ledger alice "host=0/0"

# Type1's own limit of mappings, in the second container of three, and in a third that is to come.
if [ "${BACKEND:-}" != iommufd ]; then
	limit=/sys/module/vfio_iommu_type1/parameters/dma_entry_limit
	read -r usual <"$limit"
	# Whatever comes of it, the limit is itself again.
	limited() { # LIMIT COMMAND…
		echo "$1" >"$limit"
		tell alice "${@:2}"
		hear alice
		echo "$usual" >"$limit"
	}
	ask alice detach space lease 1
	limited 3 attach space lease 1
	assert_eq "$ANSWER" "ok container=1"
	ask alice describe space
	value mappingsLeft
	assert_eq "$VALUE" 3
	ask alice attach space lease 2
	for page in 0 1 2; do
		ask alice map space m $((page * 4096)) "0x${page}000" 4K
	done
	assert_locked "$keeper" 9
	assert_pinned 9
	changes_nothing "*" map space m 12K 0x3000 4K
	echo "the second container is full: $ANSWER"
	ask alice unmap space 0x1000 4K
	ask alice map space m 12K 0x3000 4K
	ask alice detach space lease 2
	ask alice describe space
	before=$ANSWER
	limited 2 attach space lease 2
	echo "three do not fit: $ANSWER"
	[[ $ANSWER == error* ]] || fail "attached: $ANSWER"
	ask alice describe space
	assert_eq "$ANSWER" "$before"
	assert_ledger alice "host=3/6 uid:1000=3/6"
	assert_locked "$keeper" 6
	assert_pinned 6
	ask alice attach space lease 2
	assert_ledger alice "host=3/9 uid:1000=3/9"
	assert_pinned 9
fi
dismiss alice
assert_over
