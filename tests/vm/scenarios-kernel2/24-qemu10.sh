# shellcheck shell=bash
# A QEMU that takes its device and an iommufd by descriptor (tests/vm/qemu10.sh), as a user who may lock next to
# nothing: it comes up with the device, and with all of its guest's memory pinned. Killed, it leaves nothing
# behind: the group is back, and its account owes nothing.
qemu=$QEMU10/usr/bin/qemu-system-x86_64
export QEMU_MODULE_DIR=$QEMU10/usr/lib/x86_64-linux-gnu/qemu

start_daemon <<END
[rule alice]
match = pci:address=$NIC_1
allow = user:alice
END
ulimit -l 8192
MIB=$((1 << 20))
version=$("$qemu" --version | sed -n 's/^QEMU emulator version \([^ ]*\).*/\1/p')
(("${version%%.*}" >= 9)) || fail "QEMU $version"
answered() { # TEXT
	! has_ended "$RUN" || fail "it has ended: $(cat vmm)"
	grep -qF "$1" vmm
}
ledger() { "$PROGRAMS/varlink-call" "$SOCKET" '{"method":"org.vfiod.Ledger.Describe"}'; }

vmm() { # QUIT-BY: it waits in $VMM
	rm -f vmm.in
	mkfifo vmm.in
	exec {QMP}<>vmm.in
	in_background vmm as_user alice vfioctl run --memory 96M --device "$NIC_1" -- \
		"$qemu" -machine q35,accel=tcg -m 64 -nodefaults -display none -S -qmp stdio \
		-L "$QEMU10/usr/share/qemu" -L /usr/share/seabios \
		-object "iommufd,id=iommufd0,fd={iommufd}" \
		-device "vfio-pci,iommufd=iommufd0,fd={device},rombar=0,id=of-alice" <vmm.in
	RUN=$PID
	wait_until 180 answered '"QMP"'
	echo '{"execute":"qmp_capabilities"} {"execute":"query-pci"}' >&"$QMP"
	wait_until 60 answered '"of-alice"'
	VMM=$(pgrep -x qemu-system-x86)
}

vmm
assert_eq "$(awk '/^Uid:/ { print $2 }' "/proc/$VMM/status")" 1000
assert_eq "$(awk '/^Max locked memory/ { print $4 }' "/proc/$VMM/limits")" $((104 * MIB))
pinned=$(awk '/^VmPin:/ { print int($2 / 1024) }' "/proc/$VMM/status")
((pinned >= 63)) || fail "$pinned MiB are pinned"
note "QEMU $version by descriptor: $pinned MiB pinned of 64, 96 reserved"
assert_contains "$(ledger)" "\"reservedBytes\":$((96 * MIB))"
# The id of what the guest has is the real device's.
id=$(printf '"id":{"device":%d,' "$(<"/sys/bus/pci/devices/$NIC_1/device")")
tr -d ' ' <vmm | grep -q "\"qdev_id\":\"of-alice\".*$id" || fail "no $id of the guest's: $(cat vmm)"
kill -KILL "$VMM"
status=0
wait "$RUN" || status=$?
assert_eq "$status" 137 "$(cat vmm)"
exec {QMP}>&-
assert_unchanged

# In good order as well.
vmm
echo '{"execute":"quit"}' >&"$QMP"
wait "$RUN" || fail "status $?: $(cat vmm)"
exec {QMP}>&-
assert_unchanged
