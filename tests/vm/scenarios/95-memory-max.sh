# shellcheck shell=bash
# Memory that nobody has touched is charged to the client's control group when it is pinned. A client at its
# memory.max harms itself only: it is told, it lives, its keeper lives, and holes are holes again.
# shellcheck source=tests/vm/guest/spaces
. "$VM/guest/spaces"

start_daemon <<END
[rule alice]
match = pci:address=$EDU
allow = user:alice
[rule bob]
match = pci:address=$NIC_1
allow = user:bob
END
MIB=$((1 << 20))
new_cgroup tight alice
new_cgroup other
group=$CGROUPS/tight
client alice alice "$group"
client bob bob "$CGROUPS/other"
ask alice acquire lease "$EDU"
ask alice create space
ask alice attach space lease
keeper_of alice space
keeper=${KEEPER}
assert_eq "$(cat "/proc/$keeper/cgroup")" "0::/scenario/tight" "where the keeper is"
read -r adjustment <"/proc/${CLIENT[alice]}/oom_score_adj"
[ "$(<"/proc/$keeper/oom_score_adj")" -ge "$adjustment" ] || fail "the keeper is better protected than its client"
ask bob acquire lease "$NIC_1"
ask bob create space
ask bob attach space lease
ask bob memfd m 4K
ask bob touch m 0 4K
ask bob add space m
bob_is_served() {
	ask bob map space m 0 0x0 4K
	ask bob unmap space 0x0 4K
}
current() { CURRENT=$(<"$1/memory.current"); }

# 64 MiB that nobody has touched.
current "$group"
before=$CURRENT
current "$CGROUPS/main"
daemon_before=$CURRENT
ask alice memfd m 64M
ask alice add space m
ask alice map space m 0 0x0 64M
assert_pinned 16384
current "$group"
((CURRENT - before > 63 * MIB)) || fail "only $(((CURRENT - before) / MIB)) MiB were charged to the client"
current "$CGROUPS/main"
((CURRENT - daemon_before < 16 * MIB)) || fail "$(((CURRENT - daemon_before) / MIB)) MiB were charged to the daemon"
ask alice unmap space 0x0 64M
ask alice punch m 0 64M

# More than there can be: it is known before.
current "$group"
echo $((CURRENT + 32 * MIB)) >"$group/memory.max"
ask alice touch m 4M 1M
ask alice present m
assert_eq "$ANSWER" "$MIB"
ask_in_vain alice map space m 0 0x0 64M
echo "$ANSWER"
assert_contains "$ANSWER" "Broker.LimitExceeded account="
assert_contains "$ANSWER" "/scenario/tight limit=memory.max limitBytes="
assert_ledger alice "host=0/0"
assert_pinned 0
ask alice present m
assert_eq "$ANSWER" "$MIB" "what of it is there"
# What fits is mapped.
ask alice map space m 0 0x0 16M
assert_pinned 4096
ask alice unmap space 0x0 16M
ask alice punch m 0 4M
ask alice punch m 5M 59M

# It is full of what can be dropped, as a control group is in the end: files that were read. They make way.
tell alice call org.vfiod.Ledger.Describe
hear alice
bash -c 'echo $$ >"$0/cgroup.procs"; exec cat /usr/bin/qemu-system-x86_64 >/dev/null' "$group"
current "$group"
echo "$((CURRENT / MIB)) of $(($(<"$group/memory.max") / MIB)) MiB, $(awk '$1 == "inactive_file" || $1 == "active_file" { n += $2 } END { print n / 1048576 }' "$group/memory.stat") of files"
ask alice map space m 0 0x0 16M
assert_pinned 4096
ask alice unmap space 0x0 16M
ask alice punch m 0 4M
ask alice punch m 5M 59M

# It becomes too much while it is populated: the process that does it dies, and nobody else.
killed() { awk '$1 == "oom_kill" { print $2 }' "$1/memory.events"; }
was_killed=$(killed "$group")
for slack in 0 64 128 256 512 1024 2048; do
	echo 1 >"$group/memory.reclaim" 2>/dev/null || true
	echo max >"$group/memory.max"
	# Files make way, or they would be room.
	current "$group"
	files=$(awk '$1 == "inactive_file" || $1 == "active_file" { n += $2 } END { print n }' "$group/memory.stat")
	echo $((CURRENT - files + 24 * MIB + slack * 1024)) >"$group/memory.max"
	tell alice map space m 8M 0x0 24M
	bob_is_served
	hear alice
	[ "$(killed "$group")" = "$was_killed" ] || break
	[[ $ANSWER == error* ]] || ask alice unmap space 0x0 24M
	ask alice punch m 8M 24M
done
echo "with $slack KiB more than it takes: $ANSWER"
[ "$(killed "$group")" -gt "$was_killed" ] || fail "nobody was killed: what was shown?"
assert_contains "$ANSWER" "error org.vfiod.Broker.LimitExceeded account="
assert_contains "$ANSWER" " limit=memory.max "
! has_ended "$keeper" || fail "the keeper was killed"
ask alice present m
assert_eq "$ANSWER" "$MIB" "what of it is there"
assert_ledger alice "host=0/0"
assert_pinned 0
echo max >"$group/memory.max"
ask alice map space m 0 0x0 32M
assert_pinned 8192
kill_client alice
is_free() { ask bob ledger && [ "$ANSWER" = "host=0/0" ]; }
wait_until 10 is_free

# The same where the group dies as a whole: alice, her keeper, and nobody else.
new_cgroup whole alice
echo 1 >"$CGROUPS/whole/memory.oom.group"
client alice alice "$CGROUPS/whole"
ask alice acquire lease "$EDU"
ask alice create space
ask alice attach space lease
keeper_of alice space
ask alice memfd m 64M
ask alice add space m
ask alice map space m 0 0x0 4M
echo $((16 * MIB)) >"$CGROUPS/whole/memory.max"
tell alice hog 64M
wait_until 20 has_ended "${CLIENT[alice]}"
wait_until 20 has_ended "$KEEPER"
forget_client alice
bob_is_served
wait_until 20 is_free
is_with_host() { [ -z "$(driver_of "$EDU")" ]; }
wait_until 20 is_with_host
dismiss bob
assert_over
