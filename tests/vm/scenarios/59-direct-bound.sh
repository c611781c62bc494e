# shellcheck shell=bash
# Who maps by himself needs a memory.max that bounds what he pins, and that he cannot raise: without, nothing is
# written. Not who is trusted, and not who lets a space map for him.
# shellcheck source=tests/vm/guest/spaces
. "$VM/guest/spaces"

start_daemon <<END
[rule alice]
match = pci:address=$EDU
match = pci:address=$NIC_1
allow = user:alice
[rule trusted]
match = pci:address=$NIC_1
match = pci:address=$NIC_2
allow = user:alice
trusted = yes
END
# What the machine of the scenarios has for all of them.
echo max >"$CGROUPS/memory.max"
new_cgroup bounded
echo 64M >"$CGROUPS/bounded/memory.max"
new_cgroup above
echo 64M >"$CGROUPS/above/memory.max"
echo +memory >"$CGROUPS/above/cgroup.subtree_control"
new_cgroup above/hers alice
echo 32M >"$CGROUPS/above/hers/memory.max"
new_cgroup hers alice
echo 64M >"$CGROUPS/hers/memory.max"

# as_alice CGROUP COMMAND…: what it says is in $WORK/said.
as_alice() {
	# shellcheck disable=SC2016
	bash -c 'echo $$ >"$0/cgroup.procs" && exec setpriv --reuid alice --regid alice --init-groups -- "$@"' \
		"$CGROUPS/$1" "${@:2}" >said 2>&1
}
refused as_alice main vfioctl run --memory 16M --device "$EDU" -- true
cat said
assert_contains "$(<said)" "MemoryMax="
as_alice hers "$PROGRAMS/varlink-call" "$SOCKET" \
	'{"method":"org.vfiod.Broker.Acquire","parameters":{"selectors":[{"device":"'"$EDU"'"}]}}'
cat said
assert_contains "$(<said)" \
	'{"error":"org.vfiod.Broker.NoMemoryBound","parameters":{"cgroup":"/scenario/hers","reason":"others than root can raise'
# Beforehand, too.
refused as_alice main vfioctl run --dry-run --device "$EDU" -- true
cat said
assert_contains "$(<said)" "no memory.max bounds"
assert_no_writes

# Bounded: by root's; her own below it bounds nothing.
for cgroup in bounded above/hers; do
	client alice alice "$CGROUPS/$cgroup"
	ask alice lease lease 16M "$EDU"
	ask alice call org.vfiod.Broker.Leases
	value leases.0.isTrusted
	assert_eq "$VALUE" false "$cgroup"
	value leases.0.memoryMaxBytes
	assert_eq "$VALUE" $((64 << 20)) "$cgroup"
	dismiss alice
done

# Trusted, or brokered.
client alice alice
ask_in_vain alice lease lease 16M "$EDU" "$NIC_2"
assert_eq "${ANSWER%% *}" Broker.NoMemoryBound
# Of each device that needs a rule, one of those that cover it has to say so.
ask alice lease lease 16M "$NIC_1" "$NIC_2"
ask alice call org.vfiod.Broker.Leases
value leases.0.isTrusted
assert_eq "$VALUE" true
[[ $ANSWER != *memoryMaxBytes* ]] || fail "who is trusted was asked: $ANSWER"
ask alice acquire brokered "$EDU"
ask alice release brokered
ask alice release lease
dismiss alice
# An administrator needs neither.
vfioctl run --device "$NVME" -- true
wait_until 10 is_unchanged
assert_over
