# shellcheck shell=bash
# kill -9 of the daemon, and of its bind child, at each system call of a take that has an effect: then
# the group is wholly the host's, or wholly taken and goes back; $PROGRAMS/kill-points says how it
# looks at that. Here some of the points, others each time; all of them are `make check-killpoints`.
# Not under the unit: the daemon is started by who traces it, again for each point

what=${what:-take}
cat >vfiod.conf <<END
[daemon]
resume-timeout = 0
[rule all]
match = pci:address=$NIC_1
match = pci:address=$NIC_A
match = pci:address=$NIC_B
allow = user:root
END
every=${KILL_EVERY:-15}
kill_points() { # OPTION…
	"$PROGRAMS/kill-points" --what "$what" "$@" --every "$every" --from $((RANDOM % every + 1)) \
		vfiod.conf "$SOCKET" "$STATE_DIR" "$device" 2>>daemon.log >said || { cat said; return 1; }
	note "$(<said)"
}
for device in "$NIC_1" "$NIC_A"; do
	kill_points --who daemon --how lease
	kill_points --who daemon --how admin
	kill_points --who child
done
assert_unchanged
assert_no_records
