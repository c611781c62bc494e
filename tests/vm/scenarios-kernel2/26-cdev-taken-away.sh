# shellcheck shell=bash
# A lease of devices is taken away from who has it: asked back, and ended, with its holder or before he lets
# go; the device leaves the host, whether its node is open or bound; and the device goes to another user
# only when it was reset, or a rule says that this does not matter.

# shellcheck source=tests/vm/guest/cdev
. "$VM/guest/cdev"
start_daemon <<END
[daemon]
take-timeout = 3
[rule edu]
match = pci:address=$EDU
allow = user:alice
allow = user:bob
revoke = end
revoke-timeout = 1
[rule nics]
match = pci:address=$NIC_1
match = pci:address=$NIC_2
allow = user:alice
allow = user:bob
END
lease_of() { vfioctl status "$1" --json | json group lease; }
state() { vfioctl status "$1" --json | json group "$2"; }
has_state() { [ "$(state "$1" "$2")" = "$3" ]; }
is_named() { vfioctl status | grep -q "pid $1\b"; }
in_background monitor vfioctl monitor --json
monitor=$PID
said monitor '.*"ready"'

# Asked back, and not given: its holder is ended, and what he had mapped is unpinned.
cdev_client asked alice --memory 16 "$EDU"
bound asked "$EDU"
told ok asked map "$IOAS" 16
vfioctl revoke "$(lease_of "$EDU")" --reason "at six"
wait_until 30 grep -q "SIGTERM was sent to pid ${CLIENT[asked]}" monitor
wait_until 30 has_ended "${CLIENT[asked]}"
wait "${CLIENT[asked]}" || true
forget_client asked
wait_until 30 is_unchanged
wait_until 10 grep -q "all of its groups are back" monitor

# Ended before he lets go: VFIO has no revoke, so he has it as long as he likes, bound or not, and nobody else.
for what in open bound; do
	cdev_client "$what" alice --memory 16 "$NIC_1"
	name=$(lease_of "$NIC_1")
	limit=$(awk '/^Max locked memory/ { print $4 }' "/proc/${CLIENT[$what]}/limits")
	[ "$what" = open ] || bound "$what" "$NIC_1"
	vfioctl revoke "$name" --end
	wait_until 20 has_state "$NIC_1" owner lingering
	assert_eq "$(awk '/^Max locked memory/ { print $4 }' "/proc/${CLIENT[$what]}/limits")" $((limit - (16 << 20)))
	refused as_user bob vfioctl run --device "$NIC_1" -- true
	wait_until 20 is_named "${CLIENT[$what]}"
	gone "$what"
	wait_until 30 is_unchanged
done

# It leaves the host. The kernel waits for who has its node open, and everybody else is served.
comes_back() { # DEVICE
	echo 1 >/sys/bus/pci/rescan
	wait_until 30 is_unchanged
	wait_until 20 list_agrees
}
for what in open bound; do
	cdev_client "$what" alice "$NIC_2"
	group=$(group_of "$NIC_2")
	[ "$what" = open ] || bound "$what" "$NIC_2"
	in_background remover sh -c "echo 1 >/sys/bus/pci/devices/$NIC_2/remove"
	remover=$PID
	wait_until 30 has_state "$NIC_2" binding stuck
	assert_contains "$(vfioctl status | xargs)" "!! $group"
	wait_until 30 is_named "${CLIENT[$what]}"
	answer=$(refused as_user bob "$PROGRAMS/lib/lease" "$NIC_2")
	assert_contains "$answer" "error org.vfiod.Broker.Stuck {\"group\":$group,\"device\":\"$NIC_2\",\"step\":\"unbind\""
	as_user bob vfioctl run --mode cdev --device "$NIC_1" -- true
	gone "$what"
	wait_until 30 has_ended "$remover"
	[ ! -e "/sys/bus/pci/devices/$NIC_2" ] || fail "it has not gone"
	assert_eq "$(vfioctl leases --json | json leases)" "[]"
	comes_back
done
as_user bob vfioctl run --mode cdev --device "$NIC_2" -- true
wait_until 30 is_unchanged

# To another user only when it was reset: edu cannot be, a card can.
[ ! -e "/sys/bus/pci/devices/$EDU/reset_method" ] || fail "edu can be reset"
as_user alice vfioctl run --mode cdev --device "$EDU" -- true
for mode in cdev group; do
	answer=$(refused as_user bob vfioctl run --mode "$mode" --device "$EDU" -- true 2>&1)
	assert_contains "$answer" "a reset is needed first: $EDU was lent to uid 1000, "
done
as_user alice vfioctl run --device "$EDU" -- "$PROGRAMS/edu-dma" --iommufd "{iommufd}" "{device}" "$EDU" >dma
as_user alice vfioctl run --mode cdev --device "$NIC_1" -- true
as_user bob vfioctl run --mode cdev --device "$NIC_1" -- true
sed -i 's/^revoke = end$/require-reset = no/; /^revoke-timeout/d' vfiod.conf
vfioctl reload
as_user bob vfioctl run --device "$EDU" -- "$PROGRAMS/edu-dma" --iommufd "{iommufd}" "{device}" "$EDU" >dma
kill "$monitor"
wait_until 30 is_unchanged
