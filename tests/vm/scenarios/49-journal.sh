# shellcheck shell=bash
# kill -9 of the daemon: the next one finishes or rolls back what it finds in the journal, each group by
# itself. What was lent to a connection, which is lost with no store and no grace (resume-timeout; more in
# 62-restart), goes back when nobody has it open, what an administrator took stays, what a
# child of the old daemon still works on is stuck until that ends, and what has failed stays failed.

configuration="[daemon]
resume-timeout = 0
[rule all]
match = pci:address=$NIC_A
match = pci:address=$NIC_B
match = pci:address=$NIC_1
match = pci:address=$EDU
allow = user:alice"
start_daemon <<<"$configuration"
group=$(group_of "$NIC_A")
other=$(group_of "$NIC_1")
state() { vfioctl status "$1" --json | json group binding; }
owner() { vfioctl status "$1" --json | json group owner; }
is_on() { [ "$(driver_of "$1")" = "$2" ]; }
# What `vfioctl status` says became of a group that the old daemon left.
outcome() { vfioctl status | xargs -d '\n' | grep -o "group $1, left [^:]*: [a-z]*"; }
has_outcome() { [ "$(outcome "$1")" = "group $1, left $2" ]; }

in_background client as_user alice "$PROGRAMS/lib/lease" "$NIC_A"
client=$PID
said client granted
vfioctl take "$NIC_1"
kill_daemon
said client "event gone"
assert_eq "$(driver_of "$NIC_A") $(driver_of "$NIC_B") $(driver_of "$NIC_1")" "vfio-pci vfio-pci vfio-pci"

# Another daemon has no business there.
start_daemon <<<"$configuration"
assert_contains "$(refused vfiod --socket "$WORK/second" --state-dir "$STATE_DIR" -c "$WORK/vfiod.conf" 2>&1)" \
	"another vfiod (pid $DAEMON) runs with $STATE_DIR"

# Its client's process lives and has it open: nothing is written, and it is known who that is.
lingers() { [ "$(owner "$NIC_A")" = lingering ]; }
wait_until 10 lingers
assert_eq "$(state "$NIC_A") $(state "$NIC_1")" "taken taken"
assert_eq "$(openers_of "$NIC_A")" "$client"
is_named() { vfioctl status --json | json problems 0 text | grep -qF "(pid $client, uid 1000)"; }
wait_until 10 is_named
has_outcome "$other" "taken by an earlier vfiod: taken"
assert_no_writes
# All others are served; who waits for this one gets it in the end.
as_user alice vfioctl run --device "$EDU" -- true
assert_eq "$(driver_of "$EDU")" ""
forget_writes
in_background next as_user alice "$PROGRAMS/lib/lease" --wait 30 "$NIC_B"
next=$PID
assert_contains "$(refused vfioctl return "$group" 2>&1)" "group $group is held"
assert_no_writes
# Its daemon has gone: it cannot release, but it can close.
kill -KILL "$client"
said next granted
end "$next"
wait_until 10 is_on "$NIC_A" e1000
assert_eq "$(driver_of "$NIC_1") $(state "$NIC_1") $(owner "$NIC_1")" "vfio-pci taken none"

# It can be lent, and goes back when it is told to.
as_user alice vfioctl run --device "$NIC_1" -- true
assert_contains "$(vfioctl return "$NIC_1")" "returned: $NIC_1"
wait_until 10 is_unchanged
assert_eq "$(find "$STATE_DIR/journal" -type f)" "" "the journal"
list_agrees

# In the middle of a take: the child finishes what it does, without a daemon to tell, and until then
# nobody else touches the group.
override=/sys/bus/pci/devices/$NIC_B/driver_override
block "$override"
in_background client as_user alice "$PROGRAMS/lib/lease" "$NIC_A"
client=$PID
wait_blocked
answer_read "$override"
wait_until 20 is_on "$NIC_A" vfio-pci
wait_blocked
child=$(bind_child)
kill_daemon
wait_until 10 has_ended "$client"
start_daemon <<<"$configuration"
assert_eq "$(state "$NIC_A")" stuck
has_outcome "$group" "in the middle of a take by an earlier vfiod: pending"
failure=$(vfioctl status "$NIC_A" --json | json group failure)
assert_contains "$failure" "a child of an earlier vfiod (pid $child) still works on it"
answer=$(refused vfioctl return "$NIC_A" 2>&1)
echo "$answer"
assert_contains "$answer" "group $group is stuck"
assert_contains "$answer" "pid $child"
assert_contains "$(refused as_user alice "$PROGRAMS/lib/lease" "$NIC_A")" "\"holderPid\":$child"
assert_no_writes
as_user alice vfioctl run --device "$EDU" -- true

# One that is to end does not wait for it, and the one after this knows of the child, too.
stop_daemon
start_daemon <<<"$configuration"
assert_eq "$(state "$NIC_A")" stuck
unblock "$override" "" "$child"
wait_until 20 has_ended "$child"
wait_until 20 has_outcome "$group" "in the middle of a take by an earlier vfiod: returned"
assert_eq "$(state "$NIC_A")" host
assert_unchanged

# A rollback that failed is not tried again by itself, and what is left where is not forgotten.
mount --bind /dev/full "$override"
mount --bind /dev/full /sys/bus/pci/drivers/e1000/bind
refused as_user alice "$PROGRAMS/lib/lease" "$NIC_A"
left="$NIC_A is on no driver, was on e1000 (bind: No space left on device)"
umount /sys/bus/pci/drivers/e1000/bind "$override"
kill_daemon
echo "{" >"$STATE_DIR/journal/$other.json.new"
echo '{"version":2,' >"$STATE_DIR/journal/$other.json"
start_daemon <<<"$configuration"
[ ! -e "$STATE_DIR/journal/$other.json.new" ] || fail "what was left of a write is still there"
assert_eq "$(state "$NIC_A") $(driver_of "$NIC_A") $(override_of "$NIC_A")" "failed  "
assert_contains "$(vfioctl status "$NIC_A" --json | json group failure)" "$left"
has_outcome "$group" "failed by an earlier vfiod: failed"
assert_contains "$(refused as_user alice "$PROGRAMS/lib/lease" "$NIC_B")" "$left"
assert_no_writes
assert_contains "$(vfioctl return "$NIC_A")" "returned: $NIC_A"
assert_unchanged

# One that cannot be read is nobody's to guess.
assert_eq "$(state "$NIC_1")" failed
has_outcome "$other" "unreadable by an earlier vfiod: failed"
assert_contains "$(refused vfioctl return "$NIC_1" 2>&1)" "remove $STATE_DIR/journal/$other.json"
