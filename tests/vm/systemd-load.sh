# shellcheck shell=bash
# Kills under load: a part of systemd.sh. KILLS of them (6): every call is answered right, or `Interrupted`, or its
# connection is closed; never wrong, never twice, never not at all. And what a stuck group is to a restart.
# shellcheck source=/dev/null
. /run/vm.env
: "${KILLS:=6}"

mkfifo load.in load.out
exec {load_in}<>load.in {load_out}<>load.out
sed -i 's/^#resume-timeout = .*/resume-timeout = 1/' /etc/vfiod/vfiod.conf
vfioctl reload
in_background load.log "$VM/guest/restart-load" /run/vfiod/org.vfiod.Broker 400 "$WORK/load.out" <load.in
load=$PID
load_hear() {
	IFS= read -r -t 90 -u "$load_out" ANSWER || fail "the load does not answer: $(<load.log)"
}
load_hear
assert_eq "$ANSWER" ready
for ((kill = 1; kill <= KILLS; kill++)); do
	old=$(main_pid)
	kill -KILL "$old"
	echo all >&"$load_in"
	load_hear
	wait_until 20 is_another
done
last=$ANSWER
echo end >&"$load_in"
load_hear
counts=$ANSWER
wait "$load" || fail "under $KILLS kills: $counts; $(<load.log)"
wait_until 60 nothing_is_owed
no_keeper() { ! pgrep -x vfiod-keeper; }
wait_until 30 no_keeper
note "$KILLS kills under load: $counts; after the last, $last"
sed -i 's/^resume-timeout = .*/#resume-timeout = 30/' /etc/vfiod/vfiod.conf
vfioctl reload
step "killed $KILLS times under load, it answers all, and nothing twice"

# The child that hangs in the kernel is not waited for.
sed -i 's/^#take-timeout = .*/take-timeout = 2/' /etc/vfiod/vfiod.conf
cat >/etc/vfiod/vfiod.conf.d/stuck.conf <<END
[rule stuck]
match = pci:address=$NIC_2
allow = user:alice
END
vfioctl reload
unbind=/sys/bus/pci/drivers/e1000e/unbind
is_stuck() { vfioctl list | grep -q "^$(group_of "$NIC_2") *stuck"; }
block "$unbind"
refused as_user alice vfioctl run --device "$NIC_2" -- true
wait_until 20 is_stuck
stuck=$(pgrep -x vfiod-bind)
for how in by_kill by_restart; do
	old=$(main_pid)
	begin=$(date +%s%N)
	"$how"
	until "$PROGRAMS/varlink-call" "$SOCKET" '{"method":"org.varlink.service.GetInfo"}' >/dev/null; do :; done
	outage=$((($(date +%s%N) - begin) / 1000000))
	is_another || fail "the next one has not started"
	assert_eq "$(pgrep -x vfiod-bind)" "$stuck" "the child that hangs"
	wait_until 20 is_stuck
	as_user alice vfioctl run --device "$EDU" -- true
	note "$how, with a stuck group: served again after $outage ms"
done
unblock "$unbind" "" "$stuck"
is_host() { vfioctl status "$NIC_2" --json | json group binding | grep -qx host; }
wait_until 60 is_host
assert_eq "$(driver_of "$NIC_2")" e1000e
rm /etc/vfiod/vfiod.conf.d/stuck.conf
sed -i 's/^take-timeout = .*/#take-timeout = 30/' /etc/vfiod/vfiod.conf
vfioctl reload
step "a group that is stuck stays so over restarts, delays none, and goes back"
