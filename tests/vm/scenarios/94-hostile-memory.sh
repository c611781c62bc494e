# shellcheck shell=bash
# Memory that a client tampers with, before, between and while it is mapped: the account owes exactly the
# frames that are pinned, as the kernel counts them and the keeper's page tables show, or the call is refused.
# Other clients are served meanwhile.
# shellcheck source=tests/vm/guest/spaces
. "$VM/guest/spaces"

start_daemon <<END
[rule alice]
match = pci:address=$EDU
match = pci:address=$NIC_1
allow = user:alice
[rule bob]
match = pci:address=$NIC_2
allow = user:bob
END
client alice alice
client bob bob
ask bob acquire lease "$NIC_2"
ask bob create space
ask bob attach space lease
ask bob memfd m 4K
ask bob touch m 0 4K
ask bob add space m
# Somebody else's call answers.
bob_is_served() {
	ask bob map space m 0 0x0 4K
	ask bob unmap space 0x0 4K
}
ask alice acquire two "$EDU" "$NIC_1"
ask alice create space 1
ask alice attach space two 0
keeper_of alice space
keeper=${KEEPER}
# What is owed is what is pinned: these pages, in so many containers. And the keeper has these frames mapped.
assert_exact() { # PAGES BILL
	assert_ledger alice "host=$1/$2 uid:1000=$1/$2"
	assert_pinned "$2"
	assert_locked "$keeper" "$2"
}

# A hole punched between two maps: two frames for one page of the file.
ask alice memfd m 1M
ask alice touch m 0 1M
ask alice add space m
ask alice map space m 0 0x0 1M
assert_exact 256 256
ask alice punch m 64K 64K
ask alice map space m 0 0x1000000 1M
assert_eq "$ANSWER" newOwedBytes=65536
assert_exact 272 512
# What is pinned twice now differs from what a new container would pin: it gets none.
ask_in_vain alice attach space two 1
assert_eq "${ANSWER%% reason*}" "Space.MemoryChanged first=0x0 last=0xfffff"
assert_exact 272 512
ask alice unmap space 0x1000000 1M
assert_exact 256 256
ask alice unmap space 0x0 1M
assert_ledger alice "host=0/0"
assert_pinned 0
ask alice map space m 0 0x0 1M
assert_exact 256 256
ask alice unmap space 0x0 1M

# Sparse: what nobody has touched is there afterwards. Swapped out: it comes back.
ask alice memfd sparse 2M
ask alice touch sparse 1M 4K
ask alice add space sparse
ask alice map space sparse 0 0x0 2M
assert_exact 512 512
ask alice present sparse
assert_eq "$ANSWER" 2097152
ask alice unmap space 0x0 2M
# The second kernel has no zram.
if modprobe zram 2>/dev/null; then
	disk=/dev/zram0
	echo 64M >/sys/block/zram0/disksize
else
	truncate -s 64M disk
	disk=$(losetup --find --show disk)
fi
mkswap "$disk" >/dev/null
swapon "$disk"
ask alice memfd swapped 2M
ask alice touch swapped 0 2M
ask alice pattern swapped 0 5
ask alice pageout swapped 0 2M
swapped() { awk '$1 == "SwapFree:" { free = $2 } $1 == "SwapTotal:" { total = $2 } END { exit !(total - free > 1000) }' /proc/meminfo; }
wait_until 10 swapped
ask alice add space swapped
ask alice map space swapped 0 0x0 2M
assert_exact 512 512
ask alice holds swapped 0 5
assert_eq "$ANSWER" yes
ask alice unmap space 0x0 2M
swapoff "$disk"
[ ! -e disk ] || losetup --detach "$disk"

# Truncated since it was added: that part cannot be mapped, and nothing happens to the keeper. What is mapped
# stays pinned when it is truncated.
ask alice map space sparse 0 0x0 1M
ask alice truncate sparse 512K
assert_exact 256 256
ask_in_vain alice map space sparse 0 0x1000000 1M
assert_eq "${ANSWER%% *}" Space.MemoryUnsuitable
assert_exact 256 256
ask_in_vain alice map space sparse 1M 0x1000000 4K
assert_eq "${ANSWER%% *}" Space.MemoryUnsuitable
ask alice truncate sparse 2M
ask alice map space sparse 1M 0x1000000 1M
assert_exact 512 512
ask alice unmap space 0x0 512M

# Huge pages, and a memfd with the seals of QEMU's.
echo 4 >/proc/sys/vm/nr_hugepages
ask alice memfd huge 4M hugetlb
ask alice touch huge 0 2M
ask alice add space huge
assert_eq "$ANSWER" "lengthBytes=4194304 pageBytes=2097152 isWritable=true"
ask alice map space huge 0 0x0 4M
assert_exact 1024 1024
ask alice map space huge 8K 0x1000000 12K
assert_eq "$ANSWER" newOwedBytes=0
assert_exact 1024 1027
ask alice unmap space 0x0 64M
ask alice remove space huge
ask alice forget huge
echo 0 >/proc/sys/vm/nr_hugepages
ask alice memfd qemu 1M
ask alice seal qemu shrink grow seal
ask alice add space qemu
ask alice map space qemu 0 0x0 1M
assert_exact 256 256
ask alice punch qemu 0 4K
ask alice unmap space 0x0 1M
ask alice memfd future 1M
ask alice touch future 0 1M
ask alice seal future future-write
ask alice add space future
value isWritable
assert_eq "$VALUE" false
ask_in_vain alice map space future 0 0x0 1M rw
assert_eq "${ANSWER%% *}" Space.MemoryUnsuitable
ask alice map space future 0 0x0 1M r
assert_exact 256 256
ask alice unmap space 0x0 1M
ask alice reopen readable m ro
ask alice add space readable
value isWritable
assert_eq "$VALUE" false
ask_in_vain alice map space readable 0 0x0 4K w
assert_eq "${ANSWER%% *}" Space.MemoryUnsuitable
ask alice map space readable 0 0x0 1M r
assert_exact 256 256
ask alice unmap space 0x0 1M
ask alice memfd unsealable 4K unsealable
ask alice add space unsealable
ask alice map space unsealable 0 0x0 4K
assert_exact 1 1
ask alice unmap space 0x0 4K

# What is no memory.
for path in /etc/passwd /dev/zero /proc/self/mem /tmp /dev/shm; do
	ask alice file no "$path" ro
	ask_in_vain alice add space no
	assert_eq "${ANSWER%% *}" Space.MemoryUnsuitable "$path"
	ask alice forget no
done

# A page is exchanged all the time while it is mapped: each map has what it says, or is refused.
ask alice churn m 128K 64K
mapped=0 changed=0
for _ in {1..15}; do
	tell alice map space m 0 0x0 1M
	hear alice
	case $ANSWER in
	"ok newOwedBytes=1048576")
		mapped=$((mapped + 1))
		assert_exact 256 256
		ask alice unmap space 0x0 1M
		;;
	"error org.vfiod.Space.MemoryChanged first=0x0 last=0xfffff"*) changed=$((changed + 1)) ;;
	*) fail "churn: $ANSWER" ;;
	esac
	assert_ledger alice "host=0/0"
	assert_pinned 0
done
ask alice still
echo "$mapped maps, $changed refused, while the pages were exchanged $ANSWER times"
bob_is_served

# A file whose server does not answer. Alice hangs when she closes her copy; bob does not wait, and neither
# does her keeper, who never has it.
# (The second kernel has no FUSE.)
if modprobe fuse 2>/dev/null; then
	mkdir mounted
	in_background sticky "$PROGRAMS/sticky-fds" "$PWD/mounted"
	sticky=$PID
	said sticky holding
	ask alice file fuse "$PWD/mounted/file"
	tell alice add space fuse
	said sticky flush
	bob_is_served
	! grep -q fuse "/proc/$keeper/stack" || fail "the keeper waits for the file's server"
	bob_is_served
	end "$sticky"
	hear alice
	assert_eq "${ANSWER%% reason*}" "error org.vfiod.Space.MemoryUnsuitable"
fi
dismiss alice
dismiss bob
assert_over
