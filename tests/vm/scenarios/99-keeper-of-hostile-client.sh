# shellcheck shell=bash
# A client that owns its control group freezes, moves and kills its keeper: it harms its own space, and another
# client's Map completes meanwhile.
# shellcheck source=tests/vm/guest/spaces
. "$VM/guest/spaces"

start_daemon <<END
[daemon]
keeper-timeout = 30
[rule alice]
match = pci:address=$EDU
allow = user:alice
[rule bob]
match = pci:address=$NIC_1
allow = user:bob
END
client bob bob
ask bob acquire lease "$NIC_1"
ask bob create space
ask bob attach space lease
ask bob memfd m 4M
ask bob add space m
bob_is_served() {
	ask bob map space m 0 0x0 4M
	ask bob unmap space 0x0 4M
}
new_cgroup hers alice
new_cgroup hers/a alice
new_cgroup hers/b alice
as_alice() { as_user alice bash -c "$*"; }
begin() {
	client alice alice "$CGROUPS/hers/a"
	ask alice acquire lease "$EDU"
	ask alice create space
	ask alice attach space lease
	ask alice memfd m 4M
	ask alice add space m
	keeper_of alice space
	assert_eq "$(<"/proc/$KEEPER/cgroup")" "0::/scenario/hers/a"
}

# What she cannot do.
begin
refused as_alice "kill -KILL $KEEPER" 2>&1
refused as_alice "cat /proc/$KEEPER/mem" 2>&1
refused as_alice "ls /proc/$KEEPER/fd" 2>&1
uid=$(id -u vfiod-keeper)
for file in status:CapEff:.0* status:CapBnd:.0* status:NoNewPrivs:.1 status:Seccomp:.2 "status:Uid:.$uid.$uid.$uid.$uid"; do
	grep -qx "${file#*:}" "/proc/$KEEPER/${file%%:*}" || fail "${file#*:}: $(grep "^${file:7:4}" "/proc/$KEEPER/status")"
done
assert_eq "$(ps -o sid= -p "$KEEPER" | xargs)" "$KEEPER" "its session"

# Moved: it works on.
as_alice "echo $KEEPER >$CGROUPS/hers/b/cgroup.procs"
ask alice map space m 0 0x0 1M
assert_ledger alice "host=256/256 uid:1000=256/256"
# Stopped by hand of root, or frozen by hers: her call waits, others do not.
as_alice "echo 1 >$CGROUPS/hers/b/cgroup.freeze"
tell alice map space m 1M 0x100000 1M
bob_is_served
bob_is_served
# It thaws in time: nothing has happened.
as_alice "echo 0 >$CGROUPS/hers/b/cgroup.freeze"
hear alice
assert_eq "$ANSWER" "ok newOwedBytes=1048576"
assert_ledger alice "host=512/512 uid:1000=512/512"
# It does not: the daemon ends it, and what it had pinned is not charged any more.
dismiss alice
sed -i 's/^keeper-timeout = .*/keeper-timeout = 2/' vfiod.conf
vfioctl reload
begin
as_alice "echo $KEEPER >$CGROUPS/hers/b/cgroup.procs"
ask alice map space m 0 0x0 1M
as_alice "echo 1 >$CGROUPS/hers/b/cgroup.freeze"
tell alice map space m 2M 0x200000 1M
bob_is_served
hear alice
assert_eq "${ANSWER%% reason*}" "error org.vfiod.Space.SpaceEnded"
echo "$ANSWER"
bob_is_served
wait_until 10 has_ended "$KEEPER"
is_free() { ask bob ledger && [ "$ANSWER" = "host=0/0" ]; }
wait_until 10 is_free
assert_pinned 0
as_alice "echo 0 >$CGROUPS/hers/b/cgroup.freeze"
dismiss alice

# Frozen with a device open, then killed with the group that it is in.
begin
ask alice device device space lease "$EDU"
ask alice map space m 0 0x0 1M
as_alice "echo $KEEPER >$CGROUPS/hers/b/cgroup.procs"
as_alice "echo 1 >$CGROUPS/hers/b/cgroup.freeze"
as_alice "echo 1 >$CGROUPS/hers/b/cgroup.kill"
wait_until 10 has_ended "$KEEPER"
bob_is_served
state_is() { # STATE
	ask alice describe space
	value state
	[ "$VALUE" = "$1" ]
}
wait_until 10 state_is orphaned
assert_ledger bob "host=256/256 uid:1000=256/256"
as_alice "echo 0 >$CGROUPS/hers/b/cgroup.freeze"
ask alice drop device
wait_until 20 state_is ended
wait_until 10 is_free
dismiss alice

# In a frozen group none starts: it is hers alone that waits, and the daemon gives up.
client alice alice "$CGROUPS/hers/a"
ask alice ledger
tell alice create space
as_alice "echo 1 >$CGROUPS/hers/a/cgroup.freeze"
bob_is_served
bob_is_served
as_alice "echo 0 >$CGROUPS/hers/a/cgroup.freeze"
hear alice
# A group that takes no process of the keeper's: no room for it, or it may not be in it.
dismiss alice
dismiss bob
assert_over
