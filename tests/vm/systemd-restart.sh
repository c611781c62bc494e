# shellcheck shell=bash
# A restart that nobody notices: a part of systemd.sh. vfiod is killed, hangs, and is restarted, while a client that
# knows nothing of it has a device at work, and while a Map of 256 MiB is under way.

mkdir -p /run/systemd/system/vfiod.service.d
printf '[Service]\nWatchdogSec=2\n' >/run/systemd/system/vfiod.service.d/watchdog.conf
systemctl daemon-reload
systemctl restart vfiod.service

mkfifo plain.in plain.out
chmod 0666 plain.in plain.out
exec {plain_in}<>plain.in {plain_out}<>plain.out
in_background plain.log as_user alice "$VM/guest/plain-client" /run/vfiod/org.vfiod.Broker "$EDU" "$WORK/plain.out" <plain.in
plain=$PID
plain_hear() {
	IFS= read -r -t 90 -u "$plain_out" ANSWER || fail "the client does not answer: $(<plain.log)"
}
plain_ask() { # COMMAND
	echo "$1" >&"$plain_in"
	plain_hear
}
rounds() {
	plain_ask dma
	[[ $ANSWER =~ ^[0-9]+$ ]] || fail "the device: $ANSWER"
}
has_gone_on() { rounds && ((ANSWER > at_begin)); }
lease_of_plain() { vfioctl leases --json | json leases 0 lease; }
book() { vfioctl ledger --json | json owedBytes; }
main_pid() { systemctl show -P MainPID vfiod.service; }
# What a space maps and owes is there again when its keeper has told.
is_as_before() {
	plain_ask describe
	[ "$ANSWER $(lease_of_plain) $(book)" = "$before" ]
}
is_another() { [ "$(main_pid)" != "$old" ] && [ "$(main_pid)" != 0 ]; }

plain_hear
assert_eq "$ANSWER" ready

by_kill() { systemctl kill --signal=KILL vfiod.service; }
by_hang() { systemctl kill --signal=STOP vfiod.service; }
by_restart() { systemctl restart vfiod.service; }
for how in by_kill by_hang by_restart; do
	plain_ask describe
	before="$ANSWER $(lease_of_plain) $(book)"
	rounds
	at_begin=$ANSWER old=$(main_pid)
	"$how"
	wait_until 60 is_another
	wait_until 20 is_as_before
	wait_until 20 has_gone_on

	# With a call under way: it is answered, or broken off and undone.
	old=$(main_pid)
	echo map >&"$plain_in"
	"$how"
	wait_until 60 is_another
	plain_hear
	case $ANSWER in
	ok | Broker.Interrupted) ;;
	*) fail "$how: $ANSWER" ;;
	esac
	had=$ANSWER
	[ "$had" != ok ] || plain_ask unmap
	wait_until 20 is_as_before
	vfioctl audit
	rounds
	at_begin=$ANSWER
	wait_until 20 has_gone_on
	step "$how: device, connection, lease, space and book go on; a Map under way was answered with $had"
done
echo quit >&"$plain_in"
wait "$plain"
rm -r /run/systemd/system/vfiod.service.d
systemctl daemon-reload
