# shellcheck shell=bash
# Who maps by himself gets descriptors where a memory.max of root's bounds what he can pin, or where the
# rules trust him; otherwise he is told what to do, and nothing is written.
# shellcheck source=tests/vm/guest/spaces
. "$VM/guest/spaces"

# That of all scenarios.
echo max >"$CGROUPS/memory.max"
start_daemon <<END
[rule edu]
match = pci:address=$EDU
allow = user:alice
[rule nic]
match = pci:address=$NIC_1
allow = user:alice
trusted = yes
END

# in-cgroup CGROUP COMMAND…: as alice, there.
cat >in-cgroup <<'END'
#!/bin/bash
echo $$ >"/sys/fs/cgroup/scenario/$1/cgroup.procs" &&
	exec setpriv --reuid alice --regid alice --init-groups -- "${@:2}"
END
chmod +x in-cgroup
unbounded() { # CGROUP WHY
	local answer
	answer=$(refused ./in-cgroup "$1" "$PROGRAMS/lib/lease" "$EDU")
	assert_contains "$answer" "error org.vfiod.Broker.NoMemoryBound {\"cgroup\":\"/scenario/$1\""
	assert_contains "$answer" "$2"
	assert_contains "$answer" "user-1000.slice MemoryMax="
	answer=$(refused ./in-cgroup "$1" vfioctl run --device "$NIC_1" --device "$EDU" -- true 2>&1)
	assert_contains "$answer" "$2"
}
# bounded CGROUP BYTES: granted; her lease tells what bounds it.
bounded() {
	in_background bounded ./in-cgroup "$1" "$PROGRAMS/lib/lease" "$EDU"
	local pid=$PID
	said bounded granted
	local leases
	leases=$(vfioctl leases --json)
	assert_contains "$leases" '"isTrusted":false'
	assert_contains "$leases" "\"memoryMaxBytes\":$2"
	end "$pid"
}

unbounded main "memory.max is max for"
# A bound that is hers to raise. What root has made below what is hers, she can leave.
new_cgroup hers alice
./in-cgroup hers bash -c "echo 128M >'$CGROUPS/hers/memory.max'"
unbounded hers "others than root can raise"
mkdir "$CGROUPS/hers/roots"
echo max >"$CGROUPS/hers/memory.max"
echo +memory >"$CGROUPS/hers/cgroup.subtree_control"
echo 128M >"$CGROUPS/hers/roots/memory.max"
unbounded hers/roots "others than root can raise"
# A dry run says the same of who asks.
answer=$(refused as_user alice vfioctl run --dry-run --device "$EDU" --device "$NIC_1" 2>&1)
assert_contains "$(tr -s ' \n' ' ' <<<"$answer")" "no memory.max bounds what a process in /scenario/main can pin"
assert_contains "$(vfioctl can alice "$EDU" --json)" '"isTrusted":false'
assert_contains "$(vfioctl can alice "$NIC_1" --json)" '"isTrusted":true'
assert_contains "$(vfioctl can root "$EDU" --json)" '"isTrusted":true'
assert_no_writes
assert_eq "$(ls "$STATE_DIR/journal")" "" "the journal"

# Trusted, or in a space, where vfiod sees to it.
in_background trusted as_user alice "$PROGRAMS/lib/lease" "$NIC_1"
trusted=$PID
said trusted granted
assert_contains "$(vfioctl leases --json)" '"isTrusted":true'
end "$trusted"
client alice alice
ask alice connect main
ask alice acquire lease "$EDU"
dismiss alice

# A unit with MemoryMax=, and one whose inside is delegated: wherever she goes in there, it holds.
new_cgroup unit
echo 128M >"$CGROUPS/unit/memory.max"
bounded unit $((128 << 20))
mkdir "$CGROUPS"/unit/{a,b}
chown alice "$CGROUPS"/unit/{,a/,b/}{,cgroup.procs}
bounded unit/a $((128 << 20))
in_background moving ./in-cgroup unit/a bash -c "echo \$\$ >'$CGROUPS/unit/b/cgroup.procs' && exec '$PROGRAMS/lib/lease' '$EDU'"
moving=$PID
said moving granted
assert_eq "$(<"/proc/$moving/cgroup")" 0::/scenario/unit/b
assert_contains "$(vfioctl leases --json)" "\"memoryMaxBytes\":$((128 << 20))"
# And not out of there.
refused as_user alice bash -c "echo $moving >'$CGROUPS/main/cgroup.procs'" 2>refusal
end "$moving"
