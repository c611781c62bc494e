# shellcheck shell=bash
# A restart that nobody notices: a part of systemd.sh. vfiod is killed, hangs, and is restarted, while two clients have a
# device each at work: one of python that knows nothing of restarts, and one with libvfiod.

is_another() { [[ $(main_pid) != 0 && $(main_pid) != "$old" ]]; }

cat >/etc/vfiod/vfiod.conf.d/restart.conf <<END
[rule restart]
match = pci:address=$NIC_1
allow = user:alice
END
# A connection may be lost with a message that was on its way: what lived with it waits.
sed -i 's/^#resume-timeout = .*/resume-timeout = 3600/' /etc/vfiod/vfiod.conf
mkdir -p /run/systemd/system/vfiod.service.d
printf '[Service]\nWatchdogSec=4\n' >/run/systemd/system/vfiod.service.d/watchdog.conf
systemctl daemon-reload
systemctl restart vfiod.service

# --- the plain one, and what it is asked ------------------------------------------------------------------------------

mkfifo plain.in plain.out
chmod 0666 plain.in plain.out
exec {plain_in}<>plain.in {plain_out}<>plain.out
in_background plain.log as_user alice "$VM/guest/plain-client" /run/vfiod/org.vfiod.Broker "$EDU" "$WORK/plain.out" <plain.in
plain=$PID
plain_hear() {
	IFS= read -r -t 90 -u "$plain_out" ANSWER || fail "the plain client does not answer: $(<plain.log)"
}
plain_ask() { # COMMAND
	echo "$1" >&"$plain_in"
	plain_hear
}
rounds() {
	plain_ask rounds
	[[ $ANSWER =~ ^[0-9]+$ ]] || fail "the device of the plain client: $ANSWER"
}
has_gone_on() { rounds && ((ANSWER > at_begin)); }
plain_hear
assert_eq "$ANSWER" ready

# --- the one with libvfiod --------------------------------------------------------------------------------------------

plug_in edu
client lib alice "/sys/fs/cgroup$(cut -d : -f 3 /proc/self/cgroup)"
ask lib acquire lease "$GUEST"
ask lib acquire other "$NIC_1"
ask lib memfd m 64M
ask lib touch m 0 64M
ask lib create space 1
ask lib add space m
ask lib attach space lease
ask lib map space m 0 0x0 2M
ask lib device device space lease "$GUEST"
ask lib edu device
seed=0
lib_dma() {
	seed=$((seed + 1))
	ask lib pattern m 0 "$seed"
	ask lib to-device device 0x0
	ask lib to-memory device 0x100000
	ask lib holds m 1M "$seed"
	assert_eq "$ANSWER" yes "DMA of the client with libvfiod"
}

# --- what has to be as before -----------------------------------------------------------------------------------------

bill() { vfioctl ledger --json | json kernelBillBytes; }
# Leases, both spaces as their clients see them, the ledger. Each waits until its keeper has told.
look() {
	plain_ask describe
	NOW=$ANSWER
	ask lib describe space
	NOW="$NOW / $ANSWER / $(vfioctl leases --json | sed -E 's/"ageSeconds": ?[0-9]+,?//g' | tr -d '\n') / $(bill) $(vfioctl ledger --json | json owedBytes)"
}
assert_as_before() { # WHAT
	look
	assert_eq "$NOW" "$before" "$1"
}
assert_books() { # WHAT
	local books
	books=$(vfioctl audit) || fail "$1: $books"
}

by_kill() { systemctl kill --kill-who=main --signal=KILL vfiod.service; }
by_hang() { systemctl kill --kill-who=main --signal=STOP vfiod.service; }
by_restart() { systemctl restart vfiod.service; }
is_under_way() { [ "$(bill)" != "$unmapped" ]; }
undo_map() { # ANSWER COMMAND…
	case $1 in
	ok*) "${@:2}" ;;
	*Broker.Interrupted*) ;;
	*) fail "$how, with a Map under way: $1" ;;
	esac
}

lib_dma
look
before=$NOW unmapped=$(bill)
for how in by_kill by_hang by_restart; do
	rounds
	at_begin=$ANSWER old=$(main_pid)
	"$how"
	lib_dma
	wait_until 60 is_another
	assert_as_before "$how"
	wait_until 20 has_gone_on
	lib_dma

	# Answered, or broken off and undone.
	old=$(main_pid)
	echo map >&"$plain_in"
	tell lib map space m 0 0x1000000 32M
	wait_until 60 is_under_way
	"$how"
	wait_until 60 is_another
	plain_hear
	of_plain=$ANSWER
	hear lib
	of_lib=${ANSWER%% \{*}
	undo_map "$of_plain" plain_ask unmap
	undo_map "$of_lib" ask lib unmap space 0x1000000 32M
	assert_as_before "$how, a Map undone"
	assert_books "$how"
	rounds
	at_begin=$ANSWER
	wait_until 20 has_gone_on
	lib_dma
	[ "$how" != by_hang ] || journalctl -b -u vfiod.service -o cat --no-pager | grep -q 'Watchdog timeout'
	step "$how: devices, connections, leases, spaces and the ledger go on; Maps under way: $of_plain, $of_lib"
done

# --- other calls of the one with libvfiod -----------------------------------------------------------------------------

connections=0
interrupt() { # COMMAND…
	old=$(main_pid)
	# It does not answer: so this cannot be over.
	kill -STOP "$KEEPER"
	tell lib "$*"
	# What came before this is being done.
	vfioctl list >/dev/null
	kill -KILL "$old"
	wait_until 60 is_another
	kill -CONT "$KEEPER"
	hear lib
	answers="$answers $1: ${ANSWER%% \{*};"
	case $ANSWER in
	ok* | *Broker.Interrupted*) ;;
	# Half a message, or half an answer: no connection then. Any call about the space takes it up.
	failed*)
		connections=$((connections + 1))
		ask lib connect "c$connections"
		ask lib use "c$connections"
		look
		before=$NOW
		;;
	*) fail "killed during $*: $ANSWER" ;;
	esac
}
has_other() { ask lib describe space && [[ $ANSWER == *containers.1.* ]]; }
answers=
keeper_of lib space
interrupt attach space other
has_other || ask lib attach space other
ask lib map space m 4M 0x1000000 8M
interrupt unmap space 0x1000000 8M
ask lib unmap space 0x1000000 8M
interrupt detach space other
! has_other || ask lib detach space other
assert_as_before "killed during attach, unmap and detach"
assert_books "killed during attach, unmap and detach"
lib_dma
step "killed during other calls:$answers all as before"

# --- what a restart of the socket, and a kill of the keeper, leave ----------------------------------------------------

old=$(main_pid)
systemctl restart vfiod.socket
assert_as_before "the socket was restarted"
as_user alice vfioctl status >/dev/null
step "the socket is restarted, and nothing else changes"

old=$(main_pid)
charged=$(bill)
kill -KILL "$old" "$KEEPER"
lib_dma
wait_until 60 is_another
ask lib describe space
value state
assert_eq "$VALUE" orphaned
assert_eq "$(bill)" "$charged" "the bill of an orphaned space"
lib_dma
ask lib drop device
is_refunded() { (($(bill) < charged)); }
wait_until 20 is_refunded
ask lib destroy space
ask lib release lease
ask lib release other
dismiss lib
step "killed with a keeper: its device goes on, and is charged until it is closed"

plain_ask pause
note "the device of the plain client never rested longer than $ANSWER s"
echo quit >&"$plain_in"
wait "$plain"
wait_until 20 nothing_is_owed
ask_out
wait_until 30 nothing_behind_spare
rm -r /run/systemd/system/vfiod.service.d /etc/vfiod/vfiod.conf.d/restart.conf
sed -i 's/^resume-timeout = .*/#resume-timeout = 30/' /etc/vfiod/vfiod.conf
systemctl daemon-reload
systemctl restart vfiod.service

# --- a stop -----------------------------------------------------------------------------------------------------------

is_leased() { vfioctl list | grep -q "^$(group_of "$EDU") *leased"; }
sed -i 's/^#stop = .*/stop = leave/' /etc/vfiod/vfiod.conf
vfioctl reload
in_background holder as_user alice vfioctl run --device "$EDU" -- sleep 1000
wait_until 20 is_leased
systemctl stop vfiod.service
assert_eq "$(driver_of "$EDU")" vfio-pci "the driver after a stop that leaves"
systemctl start vfiod.service
wait_until 20 is_leased
pkill -x sleep
wait_until 20 test ! -e "/sys/bus/pci/devices/$EDU/driver"
sed -i 's/^stop = .*/#stop = return/' /etc/vfiod/vfiod.conf
vfioctl reload
step "a stop that leaves a device with its holder"
