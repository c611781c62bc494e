# shellcheck shell=bash
# A device that no IOMMU translates for, in VFIO's no-IOMMU mode: listed as what it is, and everybody is
# refused, administrators included, unless a rule says unsafe-noiommu = yes. Then it is lent as a group,
# to one at a time, and never by other modes; the kernel lets only the privileged use it.

flat() { tr -s " \n" " "; }
noiommu=/sys/module/vfio/parameters/enable_unsafe_noiommu_mode
modprobe vfio-pci
start_daemon <<END
[rule bare]
match = pci:address=$BARE
allow = user:alice
require-reset = no
END
assert_eq "$(group_of "$BARE")" "" "the group of a device without an IOMMU"
assert_contains "$(refused vfioctl status "$BARE" 2>&1)" "$BARE"

echo Y >"$noiommu"
bind_by_hand "$BARE" vfio-pci
group=$(group_of "$BARE")
is_listed() { vfioctl status "$BARE"; }
wait_until 10 is_listed

# What it is.
assert_contains "$(vfioctl list | flat)" "$group taken $BARE vfio-pci no IOMMU!"
assert_eq "$(vfioctl status "$BARE" --json | json group type)" noiommu
assert_contains "$(vfioctl status "$BARE")" "no IOMMU: it isolates nothing"
assert_contains "$(vfioctl status | flat)" "!! $group $BARE without an IOMMU (VFIO's no-IOMMU mode): who has it"
assert_contains "$(vfioctl why "$BARE" | flat)" "No IOMMU translates for $BARE."
vfioctl check >findings || true
assert_contains "$(flat <findings)" "no-IOMMU mode is allowed"

# Nobody.
for user in alice root; do
	for mode in group cdev; do
		answer=$(refused as_user "$user" vfioctl run --mode "$mode" --device "$BARE" -- true 2>&1)
		assert_contains "$answer" "group $group is a noiommu group: no IOMMU confines $BARE"
		assert_contains "$answer" "add unsafe-noiommu = yes to rule 'bare' ($WORK/vfiod.conf:1)"
	done
done
answer=$(refused as_user alice "$PROGRAMS/lib/lease" "$BARE")
assert_contains "$answer" "error org.vfiod.Broker.AccessDenied"
assert_contains "$(as_user alice vfioctl status "$BARE" | flat)" "You not allowed: group $group is a noiommu group"
assert_eq "$(driver_of "$BARE")" vfio-pci

# In so many words.
echo "unsafe-noiommu = yes" >>vfiod.conf
vfioctl reload
for mode in cdev brokered; do
	answer=$(refused as_user alice "$PROGRAMS/lib/call" org.vfiod.Broker.Acquire \
		"{\"selectors\":[{\"device\":\"$BARE\"}],\"mode\":\"$mode\"}" 2>&1)
	assert_contains "$answer" "mode $mode for a noiommu group"
done
in_background holder as_user alice "$PROGRAMS/lib/lease" "$BARE"
holder=$PID
said holder granted
assert_eq "$(find "/proc/$holder/fd" -lname '/dev/vfio/*' -printf '%l\n')" "/dev/vfio/noiommu-$group"
answer=$(refused vfioctl run --device "$BARE" -- true 2>&1)
assert_contains "$answer" "group $group is held by pid $holder (uid 1000)"
end "$holder"
# It is seen who has it open beyond his lease.
in_background run as_user alice vfioctl run --device "$BARE" -- sh -c 'sleep 1000 & echo "keeper $!"'
read -r _ keeper <<<"$(said run keeper)"
is_seen() { vfioctl status "$BARE" --json | grep -F "\"holder\":{\"pid\":$keeper,"; }
wait_until 20 is_seen
kill "$keeper"
has_no_owner() { [ "$(vfioctl status "$BARE" --json | json group owner)" = none ]; }
wait_until 20 has_no_owner
# Who may use what he is given is for the kernel to say: SET_CONTAINER wants CAP_SYS_RAWIO.
answer=$(refused as_user alice vfioctl run --device "$BARE" -- "$PROGRAMS/edu-dma" "{group}" "$BARE" 2>&1)
assert_contains "$answer" "Operation not permitted"
wait_until 20 has_no_owner
assert_eq "$(driver_of "$BARE")" vfio-pci

# Who opens it by himself does so by this name.
for how in seccomp preload; do
	# shellcheck disable=SC2016
	as_user alice vfioctl run --shim=$how --device "$BARE" -- bash -c 'exec 3<>"/dev/vfio/noiommu-$1" &&
		readlink "/proc/$$/fd/3"; (exec 4<>"/dev/vfio/noiommu-$1") 2>&1 | sed "s/.*: //"; (exec 4<"/dev/vfio/$1") 2>&1 | sed "s/.*: //"' \
		bash "$group" >opened 2>&1 || true
	assert_eq "$(cat opened)" "/dev/vfio/noiommu-$group
Device or resource busy
No such file or directory" "$how"
	wait_until 20 has_no_owner
done

# Its group goes with its driver.
unbind_by_hand "$BARE"
echo N >"$noiommu"
has_gone() { ! vfioctl status "$BARE" >gone 2>&1; }
wait_until 10 has_gone
list_agrees
assert_eq "$(vfioctl status --json | json problems)" "[]"
