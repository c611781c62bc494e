# shellcheck shell=bash
# kill -9 of the daemon, with nothing that outlives it but its files: DMA goes on, and the next one has the
# leases. Those that follow a process have not noticed; those of a connection end, unless their client
# takes them up again in time.
# shellcheck source=tests/vm/guest/spaces
. "$VM/guest/spaces"

configuration="[daemon]
resume-timeout = 20
[rule all]
match = pci:address=$EDU
match = pci:address=$NIC_A
match = pci:address=$NIC_B
match = pci:address=$NIC_1
match = pci:address=$NIC_2
allow = user:alice"
driver=$(driver_of "$NIC_1")
start_daemon <<<"$configuration"
ulimit -l 8192
names() { vfioctl leases --no-legend | awk '{ print $1 }' | xargs; }
reserved() { "$PROGRAMS/varlink-call" "$SOCKET" '{"method":"org.vfiod.Ledger.Describe"}' | grep -o '"reservedBytes":[0-9]*' | xargs; }
nothing_is_reserved() { [ -z "$(reserved)" ]; }
may_lock() { awk '/^Max locked memory/ { print $4, $5 }' "/proc/$1/limits"; }
owner() { vfioctl status "$1" --json | json group owner; }
is_on() { [ "$(driver_of "$1")" = "$2" ]; }

mkfifo go
exec 8<>go
in_background dma as_user alice "$PROGRAMS/lib/lease" --follow --dma "$EDU" <&8
dma=$PID
said dma memory:
in_background resuming as_user alice "$PROGRAMS/lib/lease" --resume "$NIC_A"
resuming=$PID
said resuming granted
in_background alone as_user alice "$PROGRAMS/lib/lease" "$NIC_1"
alone=$PID
said alone granted
in_background run as_user alice vfioctl run --memory 64M --device "$NIC_2" -- sh -c 'echo "runs $$"; exec sleep 1000'
run=$PID
read -r _ program <<<"$(said run runs)"
assert_eq "$(names)" "L1 L2 L3 L4"
limit=$(may_lock "$program")
bill=$(reserved)

kill_daemon
said alone "event gone"
said resuming "event gone"
said run "vfioctl: lost vfiod"
echo again >&8
wait_until 10 grep ^again dma
start_daemon <<<"$configuration"
assert_eq "$(names)" "L1 L2 L3 L4"
assert_eq "$(vfioctl leases --json | json leases 0 followsProcess) $(vfioctl leases --json | json leases 3 followsProcess)" "true true"
said resuming "event resumed"
said run "vfioctl: vfiod is back, and sh has its lease as before"
assert_eq "$(reserved)" "$bill" "what is charged"
assert_eq "$(may_lock "$program")" "$limit" "what it may lock"
for device in "$EDU" "$NIC_A" "$NIC_2"; do
	assert_eq "$(owner "$device") $(driver_of "$device")" "leased vfio-pci"
done
assert_no_writes
echo again >&8
done_again() { [ "$(grep -c ^again dma)" = 2 ]; }
wait_until 10 done_again

# Nobody has resumed it: it ends, and goes back when it is closed.
lingers() { [ "$(owner "$NIC_1")" = lingering ]; }
wait_until 20 lingers
kill -KILL "$alone"
wait_until 10 is_on "$NIC_1" "$driver"
assert_eq "$(names)" "L1 L2 L4"
# The others' clients hear what there is to hear, and end their leases as if nothing had been.
vfioctl revoke L2 --reason please
said resuming "event releaseRequested please"
vfioctl revoke L4 --reason please
said run "vfioctl: an administrator asks for the devices back: please"
end "$resuming"
said resuming released
echo >&8
wait "$dma" || fail "status $?: $(cat dma)"
said dma released
assert_eq "$(grep -c '^equal: 2048 bytes' dma)" 3
assert_eq "$(grep -c '^blocked: ' dma)" 2 "accesses blocked"

# Who waits in the queue asks the next daemon, for the time that is left.
in_background waiting as_user alice vfioctl run --wait 300 --device "$NIC_2" -- sh -c 'echo has it'
said waiting "vfioctl: waiting for $NIC_2: next in the queue"

# One that ends while there is no daemon is over when there is one.
kill_daemon
said waiting "vfioctl: lost vfiod while waiting"
kill -KILL "$program"
refused wait "$run"
start_daemon <<<"$configuration"
said waiting "has it"
wait_until 20 is_unchanged
assert_eq "$(vfioctl leases)" "No leases."
wait_until 10 nothing_is_reserved
assert_eq "$(find "$STATE_DIR/leases" "$STATE_DIR/journal" -type f)" ""
# No name is used again.
as_user alice vfioctl run --device "$EDU" -- true
[ "$(grep -c 'lease L[1-4] of group.* granted' daemon.log)" = 4 ] || fail "a name was used again"
[ "$(grep -c 'lease L[0-9]* of group.* granted' daemon.log)" = 6 ] || fail "what was granted is not in the log"
