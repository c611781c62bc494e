# shellcheck shell=bash
# kill -9 of whoever holds a lease: what ends the lease is the end of its holder, and nothing else.

start_daemon <<END
[rule all]
match = pci:address=$NIC_A
match = pci:address=$NIC_B
match = pci:address=$EDU
allow = user:alice
END

# A client with a stream: its connection.
in_background client as_user alice "$PROGRAMS/lib/lease" "$NIC_A"
client=$PID
said client granted
assert_eq "$(driver_of "$NIC_A") $(driver_of "$NIC_B")" "vfio-pci vfio-pci"
kill -KILL "$client"
wait_until 10 is_unchanged
wait_until 10 has_interface "$NIC_A"
wait_until 10 list_agrees
assert_eq "$(vfioctl leases --json | json leases)" "[]"

# A client that drives the device, with memory mapped for DMA.
mkfifo go
exec 8<>go
in_background client as_user alice "$PROGRAMS/lib/lease" --dma "$EDU" <&8
client=$PID
said client memory:
kill -KILL "$client"
wait_until 10 is_unchanged

# A client that leaves without a word.
in_background client as_user alice "$PROGRAMS/lib/lease" --leave "$EDU"
client=$PID
said client granted
end "$client"
wait_until 10 is_unchanged

# The program of vfioctl run; vfioctl says what became of it.
in_background run as_user alice vfioctl run --device "$NIC_A" -- sh -c 'echo "program $$"; exec sleep 1000'
run=$PID
read -r _ program <<<"$(said run program)"
assert_eq "$(openers_of "$NIC_A")" "$program" "who has the group open"
kill -KILL "$program"
status=0
wait "$run" || status=$?
assert_eq "$status" 137
assert_unchanged

# vfioctl itself: the program has the devices, and goes on having them.
in_background run as_user alice vfioctl run --device "$EDU" -- "$PROGRAMS/edu-dma" --pause "{group}" "$EDU" <&8
run=$PID
read -r _ _ program _ <<<"$(said run memory:)"
assert_eq "$(awk '/^PPid:/ { print $2 }' "/proc/$program/status")" "$run"
forget_writes
kill -KILL "$run"
wait_until 10 has_ended "$run"
assert_eq "$(vfioctl status "$EDU" --json | json group holder pid)" "$program"
assert_eq "$(vfioctl leases --json | json leases 0 followsProcess)" true
assert_eq "$(openers_of "$EDU") $(driver_of "$EDU")" "$program vfio-pci"
answer=$(refused as_user alice "$PROGRAMS/lib/lease" "$EDU")
assert_contains "$answer" "error org.vfiod.Broker.GroupBusy {\"group\":$(group_of "$EDU"),\"ownerPid\":$program,"
assert_no_writes
# It still drives the device, to its own end.
echo >&8
wait_until 30 has_ended "$program"
wait_until 10 is_unchanged
assert_eq "$(grep -c '^blocked: ' run)" 2 "accesses blocked"
list_agrees
