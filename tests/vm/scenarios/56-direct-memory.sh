# shellcheck shell=bash
# Who maps by himself reserves what the kernel may bill him: so much more his process may lock, and not a page
# more, for as long as it has the lease. The account's kernel bill has it until the groups are back.
# shellcheck source=tests/vm/guest/spaces
. "$VM/guest/spaces"

start_daemon <<END
[rule alice]
match = pci:address=$EDU
match = pci:address=$NIC_1
match = pci:address=$NIC_2
allow = user:alice
[account uid]
kernel-bill-limit = 600M
END
MIB=$((1 << 20))
# What everybody may lock who was given nothing.
ulimit -l 8192
# Soft and hard.
assert_may_lock() { # PID MEBIBYTES
	assert_eq "$(awk '/^Max locked memory/ { print $4, $5 }' "/proc/$1/limits")" "$(($2 * MIB)) $(($2 * MIB))" \
		"line ${BASH_LINENO[0]}: what process $1 may lock"
}
reserved() { "$PROGRAMS/varlink-call" "$SOCKET" '{"method":"org.vfiod.Ledger.Describe"}' | grep -o '"reservedBytes":[0-9]*' | xargs; }
nothing_is_reserved() { [ -z "$(reserved)" ]; }

# A program that knows its group only. It maps what vfioctl run asked for, and what it might have anyway.
mkfifo go
exec 8<>go
in_background run as_user alice vfioctl run --memory 512M --device "$EDU" -- "$PROGRAMS/dma-limit" "{group}" 256 <&8
run=$PID
assert_eq "$(said run refused)" "refused after $((520 * MIB)): Cannot allocate memory"
assert_eq "$(said run mapped)" "mapped $((256 * MIB))"
vmm=$(pgrep -x dma-limit)
assert_may_lock "$vmm" 520
assert_may_lock "$run" 8
assert_locked "$vmm" $((520 * 256))
assert_pinned $((520 * 256))
assert_eq "$(reserved)" "reservedBytes:$((512 * MIB)) reservedBytes:$((512 * MIB))" "of the account, and of the lease"
vfioctl ledger

# A second lease would be too much: with figures, and nothing is done.
forget_writes
status=0
as_user alice vfioctl run --memory 89M --device "$NIC_1" -- true >said 2>&1 || status=$?
cat said
assert_eq "$status" 125
for figure in uid:1000 kernel-bill-limit 600 512 89; do
	assert_contains "$(cat said)" "$figure"
done
acquire='{"method":"org.vfiod.Broker.Acquire","parameters":{"selectors":[{"device":"'$NIC_1'"}],"memoryBytes":'
assert_contains "$(as_user alice "$PROGRAMS/varlink-call" "$SOCKET" "$acquire$((89 * MIB))}}")" \
	'{"error":"org.vfiod.Broker.LimitExceeded","parameters":{"account":"uid:1000","limit":"kernel-bill-limit","limitBytes":'$((600 * MIB))',"stateBytes":'$((512 * MIB))',"requestedBytes":'$((89 * MIB))'}}'
assert_no_writes
assert_may_lock "$vmm" 520
# What is left of it is given.
as_user alice vfioctl run --memory 88M --device "$NIC_1" -- true
echo >&8
wait "$run" || fail "status $?: $(cat run)"
wait_until 10 nothing_is_reserved
assert_pinned 0

# Without, it has what it had.
in_background run as_user alice vfioctl run --device "$EDU" -- "$PROGRAMS/dma-limit" "{group}" 256 <&8
run=$PID
assert_eq "$(said run refused)" "refused after $((8 * MIB)): Cannot allocate memory"
! grep mapped run || fail "256 MiB were mapped"
echo >&8
wait "$run" || fail "status $?: $(cat run)"
wait_until 10 is_unchanged

# A process that lives longer than its leases: each adds its part, and takes it away again.
client alice alice
alice=${CLIENT[alice]}
assert_may_lock "$alice" 8
ask alice lease first 64M "$EDU"
assert_may_lock "$alice" 72
ask alice lease second 32M "$NIC_1"
assert_may_lock "$alice" 104
ask alice reserve first 16M
assert_eq "$ANSWER" "memoryBytes=$((80 * MIB))"
assert_may_lock "$alice" 120
ask alice reserved
assert_eq "$ANSWER" "uid:1000=$((112 * 256))"
assert_ledger alice "host=0/$((112 * 256)) uid:1000=0/$((112 * 256))"
ask_in_vain alice reserve second 489M
assert_eq "$ANSWER" "Broker.LimitExceeded account=uid:1000 limit=kernel-bill-limit limitBytes=$((600 * MIB)) stateBytes=$((112 * MIB)) requestedBytes=$((489 * MIB))"
ask_in_vain alice lease third 489M "$NIC_2"
assert_eq "${ANSWER%% *}" Broker.LimitExceeded
assert_may_lock "$alice" 120
ask alice release second
assert_may_lock "$alice" 88
ask alice release first
assert_may_lock "$alice" 8
assert_ledger alice "host=0/0"

# What somebody else gives it stays: while it has a lease, or before.
ask alice lease first 64M "$EDU"
prlimit --pid "$alice" --memlock=$((128 * MIB)):$((128 * MIB))
ask alice release first
assert_may_lock "$alice" 128
prlimit --pid "$alice" --memlock=unlimited:unlimited
ask alice lease first 64M "$EDU"
ask alice release first
assert_eq "$(awk '/^Max locked memory/ { print $4, $5 }' "/proc/$alice/limits")" "unlimited unlimited"
prlimit --pid "$alice" --memlock=$((8 * MIB)):$((8 * MIB))

# Its lease is over, and a child has the group and what it has pinned: that is charged until it ends. The limit
# is lowered for the process, and its child keeps what it was born with.
ask alice lease first 64M "$EDU"
ask alice container v first
ask alice fork child
value pid
child=$VALUE
ask alice child-pins child v 0x0 32M
assert_pinned 8192
ask alice release first
assert_eq "$ANSWER" "lingering.0=$(group_of "$EDU")"
assert_may_lock "$alice" 8
assert_may_lock "$child" 72
assert_ledger alice "host=0/16384 uid:1000=0/16384"
assert_pinned 8192
ask alice forget-container v
ask alice child-ends child
wait_until 10 nothing_is_reserved
assert_pinned 0
wait_until 10 is_unchanged

# Killed.
ask alice lease first 64M "$EDU"
ask alice container v first
ask alice anonymous m 32M
ask alice pin v m 0x0 32M
assert_pinned 8192
kill_client alice
wait_until 10 nothing_is_reserved
assert_over
