# shellcheck shell=bash
# The holders of tests/vm/programs hold what they say: the group, or the device alone.

bind_by_hand "$EDU" vfio-pci
group=$(group_of "$EDU")

in_background opener "$PROGRAMS/group-open" "$group"
opener=$PID
wait_until 5 grep -qx "holding /dev/vfio/$group" opener
assert_contains "$(refused "$PROGRAMS/group-open" "$group" 2>&1)" "Device or resource busy"
assert_contains "$(refused as_user mallory "$PROGRAMS/group-open" "$group" 2>&1)" "Permission denied"
kill "$opener"
wait "$opener"

exec 7<>"/dev/vfio/$group"
in_background holder as_user alice "$PROGRAMS/edu-dma" --hold 7 "$EDU"
holder=$PID
exec 7>&-
wait_until 5 grep -qx holding holder
refused "$PROGRAMS/group-open" "$group"
kill "$holder"
wait "$holder"

exec 7<>"/dev/vfio/$group"
as_user alice "$PROGRAMS/edu-dma" --fork-holder 7 "$EDU" >forker
exec 7>&-
wait_until 5 grep -qx "holding the device only" forker
holder=$(awk '/^holder / { print $2 }' forker)
assert_eq "$(find "/proc/$holder/fd" -lname '*vfio*' -printf '%l\n')" "anon_inode:[vfio-device]"
refused "$PROGRAMS/group-open" "$group"
kill "$holder"
wait_until 5 has_ended "$holder"

assert_contains "$(refused "$PROGRAMS/edu-dma" 17 "$EDU" 2>&1)" "descriptor 17: Bad file descriptor"
unbind_by_hand "$EDU"
