# shellcheck shell=bash
# What vfioctl run hands to a program: the groups' descriptors and nothing else, the names of them, no
# privilege; and what it says itself when the program cannot be started, or ends.

start_daemon <<END
[rule all]
match = pci:address=$EDU
match = pci:address=$NIC_1
allow = user:alice
END
edu=$(group_of "$EDU")
nic=$(group_of "$NIC_1")

# shellcheck disable=SC2016
tell='echo "pid $$"
	echo "arguments $*"
	env | grep ^LISTEN_ | sort
	find /proc/$$/fd -type l -printf "fd %f %l\\n" | sort
	grep -E "^(Uid|Gid|Groups|Cap...|NoNewPrivs):" /proc/$$/status
	exec sleep 1000'
in_background run as_user alice vfioctl run --device "$NIC_1" --group "$edu" -- \
	sh -c "$tell" sh "in={group:$NIC_1}" "{group:$edu},{group:$edu}" "{}" "{group"
run=$PID
said run NoNewPrivs
cat run
program=$(awk '/^pid/ { print $2 }' run)
assert_eq "$(grep ^arguments run)" "arguments in=3 4,4 {} {group"
assert_eq "$(grep ^LISTEN_ run)" "LISTEN_FDNAMES=group$nic:group$edu
LISTEN_FDS=2
LISTEN_PID=$program"
assert_eq "$(awk '/^fd/ && $2 > 2 { print $2, $3 }' run)" "3 /dev/vfio/$nic
4 /dev/vfio/$edu"
assert_eq "$(awk '/^fd/ { print $2 }' run | xargs)" "0 1 2 3 4"
assert_eq "$(awk '/^(Uid|Gid):/ { print $2, $3, $4, $5 }' run | sort -u)" "1000 1000 1000 1000"
# The bounding set is not a privilege: it is that of whoever started vfioctl.
assert_eq "$(awk '/^Cap(Inh|Prm|Eff|Amb):/ { print $2 }' run | sort -u)" 0000000000000000
assert_eq "$(openers_of "$EDU") $(openers_of "$NIC_1")" "$program $program" "who has them open"

# Whatever kills it.
kill -KILL "$program"
status=0
wait "$run" || status=$?
assert_eq "$status" 137
assert_unchanged

# A signal for vfioctl is one for the program.
in_background run as_user alice vfioctl run --device "$EDU" -- sh -c 'trap "echo told; exit 7" TERM; echo ready; while :; do sleep 0.1; done'
run=$PID
said run ready
kill -TERM "$run"
status=0
wait "$run" || status=$?
assert_eq "$status $(tail -n 1 run)" "7 told"
assert_unchanged

# status_of COMMAND…: its exit status; what it says to $WORK/said.
status_of() {
	local status=0
	as_user alice "$@" >"$WORK/said" 2>&1 || status=$?
	echo "$status"
}
run_edu() { status_of vfioctl run --device "$EDU" "$@"; }
assert_eq "$(run_edu -- true)" 0
assert_eq "$(run_edu -- sh -c 'exit 42')" 42
# shellcheck disable=SC2016
assert_eq "$(run_edu -- sh -c 'kill -SEGV $$')" 139
assert_eq "$(run_edu -- "$WORK/nowhere")" 127
grep "cannot run $WORK/nowhere: No such file or directory" said
assert_eq "$(run_edu -- "$WORK/vfiod.conf")" 126
grep "cannot run $WORK/vfiod.conf: Permission denied" said
assert_unchanged

forget_writes
assert_eq "$(status_of vfioctl run --device "$NIC_2" -- true)" 125
grep "access denied to $NIC_2" said
assert_eq "$(run_edu -- echo "{group:$NIC_1}")" 125
grep "nothing was acquired" said
assert_eq "$(run_edu)" 125
assert_eq "$(status_of vfioctl run -- true)" 125
assert_eq "$(status_of vfioctl --socket "$WORK/none" run --device "$EDU" -- true)" 125
assert_no_writes
