# shellcheck shell=bash
# Virtual functions come and go under a rule that takes them when they appear: those that it names, whether
# the host has a driver for them or not; free, leased and in use when they go.

plug_in nvme '"serial":"vfiod","subsys":"subsystem","sriov_max_vfs":3,"sriov_vq_flexible":6,"sriov_vi_flexible":3'
physical=/sys/bus/pci/devices/$GUEST
wait_until 20 test -e "$physical/nvme"
start_daemon <<END
[rule functions]
match = pci:pf=$GUEST,vf=1-2
take = appear
allow = user:alice
END
vf() { link_of "$GUEST" "virtfn$1"; }
state() { vfioctl status "$1" --json | json group binding; }
is() { [ "$(state "$1")" = "$2" ]; }
functions() { echo "$1" >"$physical/sriov_numvfs"; }
no_journal() { [ -z "$(find "$STATE_DIR/journal" -type f)" ]; }
assert_none() {
	wait_until 20 list_agrees
	wait_until 10 no_journal
	assert_eq "$(vfioctl leases --json | json leases)" "[]"
}

# Again and again, with a driver of the host and without: the kernel makes the link to the physical
# function after it has told of the virtual one.
for probes in 0 1 0 1; do
	echo $probes >"$physical/sriov_drivers_autoprobe"
	functions 3
	wait_until 20 is "$(vf 1)" taken
	wait_until 20 is "$(vf 2)" taken
	assert_eq "$(driver_of "$(vf 1)") $(driver_of "$(vf 2)")" "vfio-pci vfio-pci"
	# The one that no rule names.
	assert_eq "$(state "$(vf 0)")" host
	functions 0
	assert_none
done

echo 0 >"$physical/sriov_drivers_autoprobe"
functions 3
first=$(vf 1) second=$(vf 2)
wait_until 20 is "$first" taken
wait_until 20 is "$second" taken
# They go while they are leased, and nobody has them open.
in_background client as_user alice "$PROGRAMS/lib/lease" "$first" "$second"
client=$PID
said client granted
functions 0
said client "event ended" >/dev/null
assert_eq "$(grep "event deviceGone" client | sort)" "$(printf 'event deviceGone %s\n' "$first" "$second" | sort)"
assert_none
kill "$client"
wait_until 10 has_ended "$client"

# One is open: the write waits for its holder, who is asked, and nothing else does.
functions 3
second=$(vf 2)
wait_until 20 is "$second" taken
in_background client as_user alice "$PROGRAMS/lib/lease" --open "$second"
client=$PID
said client open
functions 0 &
hung=$!
said client asked
assert_contains "$(said client "event releaseRequested")" "the kernel takes $second away"
wait_until 30 is "$second" stuck
! has_ended "$hung" || fail "the write does not wait: this shows nothing"
vfioctl --timeout 5 list --all >/dev/null
assert_contains "$(refused as_user alice "$PROGRAMS/lib/lease" "$second")" "error org.vfiod.Broker.Stuck "
kill "$client"
wait_until 20 has_ended "$client"
wait_until 20 has_ended "$hung"
assert_none
# They come back as free ones.
functions 2
wait_until 20 is "$(vf 1)" taken
assert_eq "$(vfioctl status "$(vf 1)" --json | json group owner)" none
functions 0
assert_none
ask_out
wait_until 60 nothing_behind_spare
