# shellcheck shell=bash
# Every allocation that the kernel makes for the child of a take fails, one in each take: afterwards the
# group is wholly with the host, or wholly taken where the kernel could do without. The same
# for a return: it is back, or is after another. The device has no driver of the host's: with e1000 or
# e1000e the kernel itself does not survive (a use after free in a later probe of theirs, on 7.2).
# It is the last one: the guest's overlay keeps what failed in a look-up (EINVAL from then on).

export FAIL_NTH=$WORK/nth
echo 0 >"$FAIL_NTH"
mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null || true
# Those that may wait for memory, too: most of them.
echo N >/sys/kernel/debug/failslab/ignore-gfp-wait
echo 0 >/sys/kernel/debug/failslab/verbose
LD_PRELOAD=$PROGRAMS/preload/fail-nth.so start_daemon <<END
END
"$VM/guest/failing-allocations" "$SOCKET" "$STATE_DIR/journal/$(group_of "$EDU").json" "$FAIL_NTH" "$EDU"
