# shellcheck shell=bash
# A group has one holder. The second is told who has it, or waits: in the order of coming, for as
# long as it likes.

start_daemon <<END
[rule edu]
match = pci:address=$EDU
allow = user:alice
allow = user:bob
allow = user:mallory
require-reset = no
END
group=$(group_of "$EDU")
acquire="{\"selectors\":[{\"device\":\"$EDU\"}],\"waitSeconds\":60}"

in_background alice as_user alice "$PROGRAMS/lib/lease" "$EDU"
alice=$PID
said alice granted
assert_eq "$(openers_of "$EDU")" "$alice"

answer=$(refused as_user bob "$PROGRAMS/lib/lease" "$EDU")
assert_eq "$answer" "error org.vfiod.Broker.GroupBusy {\"group\":$group,\"ownerPid\":$alice,\"ownerUid\":1000}"
answer=$(refused as_user bob vfioctl run --device "$EDU" -- true 2>&1)
assert_contains "$answer" "group $group is held by pid $alice (uid 1000)"

# Bob, then mallory.
in_background bob as_user bob "$PROGRAMS/lib/call" --more org.vfiod.Broker.Acquire "$acquire"
bob=$PID
assert_eq "$(said bob . | json event) $(said bob . | json position)" "queued 0"
in_background mallory as_user mallory "$PROGRAMS/lib/call" --more org.vfiod.Broker.Acquire "$acquire"
mallory=$PID
assert_eq "$(said mallory . | json event) $(said mallory . | json position)" "queued 1"
assert_eq "$(vfioctl status --json | json leases) $(vfioctl status --json | json waiting)" "1 2"

# Who waits two seconds waits two seconds, and then hears of the one who has it.
began=$(date +%s%N)
answer=$(refused "$PROGRAMS/lib/lease" --wait 2 "$EDU")
took=$((($(date +%s%N) - began) / 1000000))
assert_eq "$answer" "error org.vfiod.Broker.TimedOut {\"group\":$group,\"ownerPid\":$alice,\"ownerUid\":1000}"
((took >= 2000)) || fail "it waited $took ms"
answer=$(refused vfioctl run --wait 1 --device "$EDU" -- true 2>&1)
assert_contains "$answer" "the wait is over: group $group is held by pid $alice (uid 1000)"

# Bob's turn comes, without a way over the host; then mallory is the next.
end "$alice"
said bob '.*"granted"'
said bob "descriptors 1"
said mallory '.*"position":0'
assert_eq "$(openers_of "$EDU")" "$bob"
! grep granted mallory || fail "mallory has it as well"
answer=$(refused as_user alice "$PROGRAMS/lib/lease" "$EDU")
assert_contains "$answer" "\"ownerPid\":$bob,\"ownerUid\":1001}"

# A waiting client that goes away leaves the queue.
in_background late as_user alice "$PROGRAMS/lib/call" --more org.vfiod.Broker.Acquire "$acquire"
late=$PID
assert_eq "$(said late . | json position)" 1
kill -KILL "$mallory"
said late '.*"position":0'
in_background waiting as_user mallory vfioctl run --wait 60 --device "$EDU" -- "$PROGRAMS/edu-dma" --hold "{group}" "$EDU"
waiting=$PID
waits() { [ "$(vfioctl status --json | json waiting)" = 2 ]; }
wait_until 10 waits
kill -KILL "$bob"
said late '.*"granted"'
kill -KILL "$late"
said waiting holding

# vfioctl run's lease is that of the program: it is named, and its end ends the lease.
program=$(openers_of "$EDU")
assert_eq "$(cat "/proc/$program/comm")" edu-dma
answer=$(refused as_user bob "$PROGRAMS/lib/lease" "$EDU")
assert_contains "$answer" "\"ownerPid\":$program,\"ownerUid\":1002}"
assert_eq "$(vfioctl status "$EDU" --json | json group holder command)" edu-dma
kill -KILL "$waiting"
wait_until 10 has_ended "$waiting"
assert_eq "$(openers_of "$EDU") $(driver_of "$EDU")" "$program vfio-pci" "after the end of vfioctl"
kill -KILL "$program"
wait_until 10 is_unchanged
