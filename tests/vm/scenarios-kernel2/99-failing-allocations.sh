# shellcheck shell=bash
# Every allocation that the kernel makes for the child of a take fails, one in each take: afterwards the
# group is wholly with the host, or wholly taken where the kernel could do without. The same
# for a return: it is back, or is after another. The device has no driver of the host's: with e1000 or
# e1000e the kernel itself does not survive (a use after free in a later probe of theirs, on 7.2).

# The daemon has a root of its own, in memory. The guest's comes over 9p, and where a look-up of a bind child
# in it fails for want of memory, the kernel may forget to give a file's number back to the server
# (p9_client_clunk): whatever program is looked up with that number later does not exist.
root=$WORK/root
mkdir -p "$root"/{etc,sys,proc,dev,run,tmp} "$WORK/bin"
cp /etc/passwd /etc/group /etc/nsswitch.conf "$root/etc"
vfiod=$(command -v vfiod)
ldd "$vfiod" | grep -o '/[^ ]*' | while read -r library; do
	install -D "$library" "$root$library"
done
cp "$vfiod" "$root/vfiod"
cp "$(dirname "$vfiod")/vfiod-keeper" "$WORK/bin"
for directory in sys proc dev run tmp; do
	mount --rbind "/$directory" "$root/$directory"
done
# scenario_exit removes $WORK: with nothing in it that is bound from elsewhere.
trap 'umount --lazy "$root"/{sys,proc,dev,run,tmp}; scenario_exit' EXIT
printf '#!/bin/sh\nexec chroot "%s" /vfiod "$@"\n' "$root" >"$WORK/bin/vfiod"
chmod +x "$WORK/bin/vfiod"
PATH=$WORK/bin:$PATH

export FAIL_NTH=$WORK/nth
echo 0 >"$FAIL_NTH"
mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null || true
# Those that may wait for memory, too: most of them.
echo N >/sys/kernel/debug/failslab/ignore-gfp-wait
echo 0 >/sys/kernel/debug/failslab/verbose
LD_PRELOAD=$PROGRAMS/preload/fail-nth.so start_daemon <<END
END
[ "$(readlink "/proc/$DAEMON/root")" = "$root" ] || fail "the daemon's root is $(readlink "/proc/$DAEMON/root")"
"$VM/guest/failing-allocations" "$SOCKET" "$STATE_DIR/journal/$(group_of "$EDU").json" "$FAIL_NTH" "$EDU"
