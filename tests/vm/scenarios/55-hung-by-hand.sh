# shellcheck shell=bash
# Somebody unbinds by hand a device that is in use: his task hangs in the kernel, with the device's
# lock held. The daemon never waits for that lock: it answers, serves others, and when the holder
# ends, all is sorted out.

start_daemon <<END
[rule all]
match = pci:address=$EDU
match = pci:address=$NIC_1
allow = user:alice
END
in_background run as_user alice vfioctl run --device "$EDU" -- "$PROGRAMS/edu-dma" --hold "{group}" "$EDU"
run=$PID
said run holding
holder=$(openers_of "$EDU")
echo "$EDU" >"/sys/bus/pci/devices/$EDU/driver/unbind" &
hung=$!
wait_until 10 grep -q vfio "/proc/$hung/stack"

assert_eq "$(vfioctl --timeout 5 status "$EDU" --json | json group owner)" leased
vfioctl --timeout 5 list --all >/dev/null
as_user alice vfioctl run --device "$NIC_1" -- true
assert_eq "$(driver_of "$NIC_1")" e1000e
! has_ended "$hung" || fail "the unbind does not hang: this scenario shows nothing"

forget_writes
kill -KILL "$holder"
status=0
wait "$run" || status=$?
assert_eq "$status" 137
wait_until 20 has_ended "$hung"
wait_until 10 is_unchanged
wait_until 10 list_agrees
assert_eq "$(vfioctl status "$EDU" --json | json group binding)" host
