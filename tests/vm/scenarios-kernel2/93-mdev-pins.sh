# shellcheck shell=bash
# Mediated devices that pin pages by themselves (vfiod-pin-*.ko, tests/vm/module) are to Linux 7 what they are to 6.1, in
# spaces by type1, beside hardware: what they and a device have both pinned is owed once. Then one in mode cdev, where it is
# its client who pins, in his own iommufd: who has it is charged, and all is given back with him.
# shellcheck source=tests/vm/scenarios/93-mdev-pins.sh
. "$VM/scenarios/93-mdev-pins.sh"
stop_daemon

insmod "$CHECKOUT/build/$VARIANT/tests/vm/vfiod-pin-$(uname -r).ko"
echo "$first" >/sys/class/mdev_bus/vfiod_pin/mdev_supported_types/vfiod_pin-1/create
start_daemon <<END
[rule alice]
match = bus:mdev=11111111-*
allow = user:alice
require-reset = no
END
pinned
before=$PINNED
in_background pins as_user alice vfioctl run --memory 32M --device "$first" -- \
	"$PROGRAMS/pin-pages" "{iommufd}" "{device:$first}" 8192
run=$PID
said pins holding
grep -qx "pinned: 8192 pages" pins
pinned
assert_eq $((PINNED - before)) 8192 "pages pinned"
assert_eq "$(vfioctl leases --json | json leases 0 mode)" cdev
child=$(pgrep -x pin-pages)
note "uid 1000, 8192 pages pinned by an mdev in an iommufd: VmPin $(awk '/^VmPin:/ { print $2, $3 }' "/proc/$child/status")"
answer=$(refused as_user alice vfioctl run --mode group --device "$first" -- true 2>&1)
assert_contains "$answer" "is held by"
kill -KILL "$child"
wait "$run" || true
wait_until 10 nothing_is_owed
no_more_pinned() { pinned && ((PINNED == before)); }
wait_until 10 no_more_pinned
echo 1 >"/sys/bus/mdev/devices/$first/remove"
rmmod vfiod_pin
