# shellcheck shell=bash
# Mode cdev: who runs without privilege gets the devices' own nodes and an iommufd of his own, does DMA
# through the IOMMU, and may map what he has reserved and not a page more. Nobody else gets the group
# meanwhile, in either mode; afterwards everybody does.

start_daemon <<END
[rule all]
match = pci:address=$EDU
match = pci:address=$NIC_A
match = pci:address=$NIC_B
whole-group = yes
allow = user:alice
allow = user:bob
require-reset = no
END
group=$(group_of "$EDU")
# What everybody may lock who was given nothing.
ulimit -l 8192

# A program that knows nothing of vfiod.
mkfifo go
exec 8<>go
in_background dma as_user alice vfioctl run --device "$EDU" -- \
	"$PROGRAMS/edu-dma" --iommufd "{iommufd}" --pause "{device}" "$EDU" <&8
run=$PID
read -r _ _ program _ <<<"$(said dma memory:)"
assert_eq "$(cat "/proc/$program/comm")" edu-dma
assert_eq "$(awk '/^Uid:/ { print $2, $3, $4, $5 }' "/proc/$program/status" | xargs)" "1000 1000 1000 1000"
assert_eq "$(awk '/^Cap(Prm|Eff):/ { print $2 }' "/proc/$program/status" | sort -u)" 0000000000000000
assert_eq "$(tr '\0' '\n' <"/proc/$program/environ" | sed -n 's/^LISTEN_FDNAMES=//p')" "device-${EDU//:/-}:iommufd"
assert_eq "$(find "/proc/$program/fd" -lname '/dev/*vfio*' -printf '%f %l\n')" \
	"3 /dev/vfio/devices/$(basename "/sys/bus/pci/devices/$EDU"/vfio-dev/vfio*)"
assert_eq "$(find "/proc/$program/fd" -lname '/dev/iommu' -printf '%f\n')" 4
# Neither the daemon nor vfioctl keeps a copy of either.
holders() { # of this pid
	[ "$1" != "$program" ] || return 0
	find "/proc/$1/fd" \( -lname '/dev/vfio/devices/*' -o -lname /dev/iommu \) 2>/dev/null || true
}
for process in /proc/[0-9]*; do
	assert_eq "$(holders "${process#/proc/}")" "" "a copy"
done
assert_translated dma
assert_eq "$(vfioctl leases --json | json leases 0 mode)" cdev

for mode in group cdev; do
	answer=$(refused as_user bob vfioctl run --mode "$mode" --device "$EDU" -- true 2>&1)
	assert_contains "$answer" "group $group is held by pid $program (uid 1000)" "mode $mode"
done
answer=$(refused as_user alice "$PROGRAMS/lib/lease" "$EDU")
assert_contains "$answer" "error org.vfiod.Broker.GroupBusy {\"group\":$group,\"ownerPid\":$program,"

echo >&8
wait "$run" || fail "status $?: $(cat dma)"
assert_unchanged
assert_eq "$(grep -c '^equal: 2048 bytes' dma)" 1
assert_eq "$(grep -c '^blocked: ' dma)" 2 "accesses blocked"
assert_faults "$EDU"

# The group is anybody's again, and as a group.
as_user bob vfioctl run --device "$EDU" -- "$PROGRAMS/edu-dma" "{group}" "$EDU"
assert_unchanged

# tell COMMAND…: to the client; its answer is in $ANSWER.
tell() {
	n=$((n + 1))
	echo "$*" >&8
	ANSWER=$(said client "$n ")
	ANSWER=${ANSWER#"$n "}
}
told() { # ANSWER COMMAND…
	tell "${@:2}"
	assert_eq "$ANSWER" "$1" "${*:2}"
}

# What is reserved is what the kernel bills, beyond what he may lock anyway.
n=0
in_background client as_user alice "$PROGRAMS/lib/cdev" --memory 32 "$EDU" <&8
client=$PID
said client granted
told ok bind "$EDU"
tell ioas
ioas=${ANSWER#ok }
told ok attach "$EDU" "$ioas"
told ok map "$ioas" 32
told "failed ENOMEM" map "$ioas" 9
told ok map "$ioas" 8
told "failed ENOMEM" map "$ioas" 1
note "uid 1000, 8 MiB, 32 reserved: VmPin $(awk '/^VmPin:/ { print $2, $3 }' "/proc/$client/status")"
assert_eq "$(awk '/^VmPin:/ { print $2 }' "/proc/$client/status")" $((40 * 1024))
# What he has of iommufd is what he was given.
told "failed EACCES" open-iommu
told ok detach "$EDU"
told "ok released" release
wait_until 10 is_unchanged
kill "$client"

# All devices of a group, but for what is left alone: one context has them all.
n=0
in_background client as_user alice "$PROGRAMS/lib/cdev" "$NIC_A" <&8
client=$PID
said client granted
assert_eq "$(awk '/^device / { print $2 }' client | xargs)" "$NIC_A $NIC_B"
told ok bind "$NIC_A"
told ok bind "$NIC_B"
tell ioas
ioas=${ANSWER#ok }
told ok attach "$NIC_A" "$ioas"
told ok attach "$NIC_B" "$ioas"
told ok map "$ioas" 1
kill -KILL "$client"
wait_until 20 is_unchanged
# Its drivers are there before vfiod has heard that they have probed it.
is_home() { [ "$(vfioctl status "$NIC_A" --json | json group binding)" = host ]; }
wait_until 20 is_home

refused as_user alice vfioctl run --device "$NIC_A" -- echo "{device}" "{iommufd}" 2>said
assert_contains "$(cat said)" "name one of {device:$NIC_A}, {device:$NIC_B}"
as_user alice vfioctl run --device "$NIC_A" -- echo "{device:$NIC_B}" "{iommufd}" >numbers
assert_eq "$(cat numbers)" "4 5"
assert_unchanged
