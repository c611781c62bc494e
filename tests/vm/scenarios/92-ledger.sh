# shellcheck shell=bash
# A page is billed once to each account, in however many containers, spaces and processes it is mapped. What
# the kernel has pinned and locked is looked at beside the book at each step.
# shellcheck source=tests/vm/guest/spaces
. "$VM/guest/spaces"

start_daemon <<END
[rule alice]
match = pci:address=$EDU
match = pci:address=$NIC_1
match = pci:address=$NIC_2
match = pci:address=$NVME
allow = user:alice

[rule bob]
match = pci:address=$NIC_A
whole-group = yes
allow = user:bob
END
frames() { "$PROGRAMS/frames" memfd:client "$@"; }
# 32 MiB are 8,192 pages.
size=32M

# Two containers of one space: the kernel bills twice, but for iommufd.
two=$(bills 2)
client alice alice
ask alice acquire two "$EDU" "$NIC_1"
ask alice create first 1
ask alice memfd m $size
ask alice touch m 0 $size
ask alice add first m
assert_eq "$ANSWER" "lengthBytes=33554432 pageBytes=4096 isWritable=true"
ask alice map first m 0 0x100000 $size
assert_eq "$ANSWER" "newOwedBytes=0" "without a container"
assert_ledger alice "host=0/0"
assert_pinned 0
ask alice attach first two 0
assert_eq "$ANSWER" "container=0"
keeper_of alice first
first=$KEEPER
assert_ledger alice "host=8192/8192 uid:1000=8192/8192"
assert_locked "$first" 8192
assert_pinned 8192
ask alice attach first two 1
assert_eq "$ANSWER" "container=1"
assert_ledger alice "host=8192/$((8192 * two)) uid:1000=8192/$((8192 * two))"
assert_locked "$first" $((8192 * two))
assert_pinned $((8192 * two))
assert_eq "$(frames "$first")" 8192 "frames that the keeper has mapped"
vfioctl ledger

# The same memory, opened again, at another address; a second space; another process of the user's.
ask alice reopen again m
ask alice add first again
ask alice map first again 0 0x10000000 $size
assert_eq "$ANSWER" "newOwedBytes=0" "reopened"
assert_ledger alice "host=8192/$((16384 * two)) uid:1000=8192/$((16384 * two))"
ask alice acquire third "$NIC_2"
ask alice create second
ask alice attach second third
ask alice add second m
ask alice map second m 0 0x0 $size
assert_eq "$ANSWER" "newOwedBytes=0" "in a second space"
keeper_of alice second
second=$KEEPER
client other alice
ask alice fd m
ask other receive m "${CLIENT[alice]}" "$ANSWER"
ask other acquire disk "$NVME"
ask other create space
ask other attach space disk
ask other add space m
ask other map space m 0 0x0 $size
assert_eq "$ANSWER" "newOwedBytes=0" "in another process"
keeper_of other space
bill=$((16384 * two + 16384))
assert_ledger alice "host=8192/$bill uid:1000=8192/$bill"
assert_pinned $bill
assert_eq "$(frames "$first" "$second" "$KEEPER")" 8192 "frames that three keepers have mapped"
other=$KEEPER

# Another user owes them, too; the host has them once.
ask alice fd m
exec 9<>"/proc/${CLIENT[alice]}/fd/$ANSWER"
client bob bob
exec 9>&-
ask bob file m /proc/self/fd/9
ask bob acquire nics "$NIC_A"
ask bob create space
ask bob attach space nics
ask bob add space m
ask bob map space m 0 0x0 $size
assert_eq "$ANSWER" "newOwedBytes=33554432" "of another user"
keeper_of bob space
assert_ledger alice "host=8192/$((bill + 8192)) uid:1000=8192/$bill uid:1001=8192/8192"
assert_pinned $((bill + 8192))
assert_eq "$(frames "$first" "$second" "$other" "$KEEPER")" 8192 "frames that all have mapped"
vfioctl ledger
assert_contains "$(vfioctl audit --json)" '"isRight":true'

# They go, each in another way: unmapped, a container, a process, a space, a connection.
ask alice unmap first 0x100000 $size
assert_eq "$ANSWER" "mappings=1 lengthBytes=33554432"
bill=$((bill - 8192 * two))
assert_ledger alice "host=8192/$((bill + 8192)) uid:1000=8192/$bill uid:1001=8192/8192"
assert_locked "$first" $((8192 * two))
assert_pinned $((bill + 8192))
ask alice detach first two 0
assert_ledger alice "host=8192/32768 uid:1000=8192/24576 uid:1001=8192/8192"
assert_locked "$first" 8192
kill_client other
alice_owes() { ask alice ledger && [ "$ANSWER" = "$1" ]; }
wait_until 10 alice_owes "host=8192/24576 uid:1000=8192/16384 uid:1001=8192/8192"
wait_until 10 has_ended "$other"
ask alice destroy first
assert_eq "$ANSWER" ""
assert_ledger alice "host=8192/16384 uid:1000=8192/8192 uid:1001=8192/8192"
dismiss alice
bob_owes() { ask bob ledger && [ "$ANSWER" = "$1" ]; }
wait_until 10 bob_owes "host=8192/8192 uid:1001=8192/8192"
ask bob unmap space 0x0 $size
assert_ledger bob "host=0/0"
assert_pinned 0

# Four mappings that overlap each other, freed in every order: at each step everybody owes what is left,
# and the kernel has pinned what it bills. Units of 16 pages; the masks have a bit for each.
exec 9<>"/proc/${CLIENT[bob]}/fd/9"
client alice alice
exec 9>&-
ask alice file m /proc/self/fd/9
ask alice acquire two "$EDU" "$NIC_1"
ask alice acquire third "$NIC_2"
ask alice create first 1
ask alice create second
ask alice attach first two 0
ask alice attach first two 1
ask alice attach second third
ask alice add first m
ask alice add second m
client_of=(alice alice alice bob) space_of=(first first second space) iova_of=(0x0 0x1000000 0x0 0x0)
first_of=(0 2 3 1) length_of=(4 4 5 3) bills_of=("$two" "$two" 1 1)
has_mapped=(0 0 0 0)

count_bits() { # MASK: 16 pages each, in $BITS
	local mask=$1
	for ((BITS = 0; mask; mask >>= 1)); do ((BITS += mask & 1)) || true; done
	BITS=$((BITS * 16))
}
assert_owed() { # WHEN
	local i mask alice=0 bob=0 alice_bill=0 bob_bill=0 book
	for i in 0 1 2 3; do
		((has_mapped[i])) || continue
		mask=$((((1 << length_of[i]) - 1) << first_of[i]))
		if [ "${client_of[i]}" = alice ]; then
			alice=$((alice | mask)) alice_bill=$((alice_bill + length_of[i] * bills_of[i] * 16))
		else
			bob=$((bob | mask)) bob_bill=$((bob_bill + length_of[i] * bills_of[i] * 16))
		fi
	done
	count_bits $((alice | bob))
	book="host=$BITS/$((alice_bill + bob_bill))"
	count_bits "$alice"
	((alice == 0)) || book="$book uid:1000=$BITS/$alice_bill"
	count_bits "$bob"
	((bob == 0)) || book="$book uid:1001=$BITS/$bob_bill"
	assert_ledger alice "$book"
	assert_pinned $((alice_bill + bob_bill))
}
free_in_order() { # INDEX…
	local i
	for i in 0 1 2 3; do
		ask "${client_of[i]}" map "${space_of[i]}" m $((first_of[i] * 65536)) "${iova_of[i]}" \
			$((length_of[i] * 65536))
		has_mapped[i]=1
	done
	assert_owed
	for i; do
		ask "${client_of[i]}" unmap "${space_of[i]}" "${iova_of[i]}" $((length_of[i] * 65536))
		has_mapped[i]=0
		assert_owed
	done
}
for order in {0,1,2,3}{0,1,2,3}{0,1,2,3}{0,1,2,3}; do
	[[ $order == *0* && $order == *1* && $order == *2* && $order == *3* ]] || continue
	free_in_order "${order:0:1}" "${order:1:1}" "${order:2:1}" "${order:3:1}"
done
dismiss alice
dismiss bob
assert_over
