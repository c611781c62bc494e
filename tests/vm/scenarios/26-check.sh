# shellcheck shell=bash
# Is the host ready? This one is; made to look like others by what is mounted over sysfs, it says what
# to do. Works for everybody, and without the daemon.

# hiding "DIRECTORY…" COMMAND…: to it, these directories are empty.
mkdir empty
hiding() {
	local directories=$1
	shift
	# shellcheck disable=SC2016
	unshare --mount bash -c 'empty=$0; for path in $1; do mount --bind "$empty" "$path"; done; shift; exec "$@"' \
		"$WORK/empty" "$directories" "$@"
}
check() { # STATUS [COMMAND…]: what it says, one finding a line
	local status=0 wanted=$1
	shift
	"$@" vfioctl check >"$WORK/checked" || status=$?
	assert_eq "$(awk 'length > 80' "$WORK/checked")" "" "lines that are too long"
	assert_eq "$status" "$wanted" "status of: $(<"$WORK/checked")"
	sed ':join; N; s/\n         */ /; t join; P; D' "$WORK/checked"
}

start_daemon <<END
[rule edu]
match = pci:address=$EDU
allow = user:alice
END
text=$(check 0)
echo "$text"
assert_contains "$text" "ok       iommu: Intel VT-d is on; $(find /sys/kernel/iommu_groups -mindepth 1 -maxdepth 1 | wc -l) groups"
assert_contains "$text" "ok       interrupts: remapping is on"
assert_contains "$text" "ok       modules: vfio-pci is loaded"
assert_contains "$text" "ok       container: /dev/vfio/vfio is there for everybody"
assert_contains "$text" "ok       vfiod: answers"
assert_contains "$text" "ok       configuration: is valid"
assert_contains "$text" "ok       rules: 1 in force"
assert_contains "$text" "ok       memlock: no limit for you"
assert_contains "$(check 0 as_user mallory prlimit --memlock=8388608)" "ok       memlock: your processes may lock 8 MiB of memory each, and more with a lease"

# No IOMMU in sysfs, while the firmware has one to offer (QEMU's DMAR): the kernel does not use it.
text=$(check 1 hiding "/sys/kernel/iommu_groups /sys/class/iommu")
assert_contains "$text" "PROBLEM  iommu: off; the firmware offers Intel VT-d, and the kernel does not use it Add intel_iommu=on to the arguments of the kernel"
text=$(check 1 hiding "/sys/kernel/iommu_groups /sys/class/iommu /sys/firmware/acpi/tables")
assert_contains "$text" "PROBLEM  iommu: none"

# A configuration that would not be read again, rules that cover nothing, or a part.
cat >vfiod.conf <<END
[rule one]
match = pci:address=$NIC_A
allow = user:alice
[rule none]
match = pci:id=dead:beef
allow = user:alice
END
vfioctl reload
echo "alow = user:bob" >>vfiod.conf
text=$(check 1 as_user bob)
echo "$text"
assert_contains "$text" "PROBLEM  configuration: $WORK/vfiod.conf:7: unknown key 'alow'"
assert_contains "$text" "PROBLEM  rules: rule 'one' ($WORK/vfiod.conf:1) covers a part of a group: no rule covers $NIC_B, so nobody may lease it"
assert_contains "$text" "warn     rules: rule 'none' ($WORK/vfiod.conf:4) matches no device of this host"
assert_contains "$(vfioctl check --json || true)" '{"level":"problem","topic":"configuration"'

# What keeps everybody from opening a container; and no daemon.
chmod 0600 /dev/vfio/vfio
stop_daemon
# It would start for who asks.
[ -z "${UNIT:-}" ] || systemctl stop vfiod.socket
text=$(check 1)
chmod 0666 /dev/vfio/vfio
assert_contains "$text" "PROBLEM  container: /dev/vfio/vfio has mode 0600: only root can open it"
assert_contains "$text" "PROBLEM  vfiod: does not answer at /run/vfiod/org.vfiod.Broker"
