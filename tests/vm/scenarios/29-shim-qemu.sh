# shellcheck shell=bash
# Debian's own QEMU, which opens /dev/vfio/N by itself, as a user who may lock next to nothing: with a device; with two
# of one group; and with an IOMMU for its guest, so that two containers have the RAM, which the kernel
# bills twice.

start_daemon <<END
[rule alice]
match = pci:address=$NIC_1
match = pci:address=$NIC_2
match = pci:address=$NIC_A
match = pci:address=$NIC_B
whole-group = yes
allow = user:alice
trusted = yes
END
ulimit -l 8192
MIB=$((1 << 20))

# vmm NAME MEMORY OPTIONS-OF-QEMU… -- DEVICE…: it waits in $VMM, its standard input is $QMP.
vmm() {
	local name=$1 memory=$2 options=() devices=()
	shift 2
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	shift
	for device in "$@"; do
		devices+=(--device "$device")
		options+=(-device "vfio-pci,host=$device,id=of-${device//[:.]/-}")
	done
	mkfifo "$name.in"
	exec {QMP}<>"$name.in"
	in_background "$name" as_user alice vfioctl run --shim --observe --memory "$memory" "${devices[@]}" -- \
		qemu-system-x86_64 -machine q35,accel=tcg -m 64 -nodefaults -display none -S -qmp stdio "${options[@]}" <"$name.in"
	RUN=$PID
	wait_until 120 answered "$name" '"QMP"'
	echo '{"execute":"qmp_capabilities"} {"execute":"query-pci"}' >&"$QMP"
	for device in "$@"; do
		wait_until 60 answered "$name" "\"of-${device//[:.]/-}\""
	done
	VMM=$(pgrep -x qemu-system-x86)
	assert_eq "$(awk '/^Uid:/ { print $2 }' "/proc/$VMM/status")" 1000
}
answered() { # NAME TEXT
	! has_ended "$RUN" || fail "it has ended: $(cat "$1")"
	grep -qF "$2" "$1"
}
locked_mib() { awk '/^VmLck:/ { print int($2 / 1024) }' "/proc/$VMM/status"; }
quit() { # NAME
	echo '{"execute":"quit"}' >&"$QMP"
	wait "$RUN" || fail "status $?: $(cat "$1")"
	exec {QMP}>&-
	assert_unchanged
}
ledger() { "$PROGRAMS/varlink-call" "$SOCKET" '{"method":"org.vfiod.Ledger.Describe"}' | json parameters accounts 0 "$1"; }
is_observed() { # at least so many MiB
	local bytes
	bytes=$(ledger observedBytes) && ((bytes >= $1 * MIB))
}

vmm one 80M -- "$NIC_1"
# All of it but for what the chipset keeps below 1 MiB.
(($(locked_mib) >= 63)) || fail "$(locked_mib) MiB are locked"
wait_until 30 is_observed 63
cat one
quit one

vmm group 80M -- "$NIC_A" "$NIC_B"
assert_eq "$(openers_of "$NIC_A")" "$VMM"
quit group

# Each device has an address space of its own there, before the guest says otherwise all of the RAM.
vmm guest-iommu 160M -device intel-iommu,caching-mode=on -- "$NIC_1" "$NIC_2"
locked=$(locked_mib)
((locked >= 126)) || fail "$locked MiB are locked"
wait_until 30 is_observed 63
vfioctl ledger --by lease
observed=$(($(ledger observedBytes) / MIB)) bill=$(($(ledger observedBillBytes) / MIB))
note "QEMU $(sed -n 's/.*"qemu": {\([^}]*\)}.*/\1/p' one), two containers: locked $locked MiB; observed $observed, billed $bill"
((observed >= 63 && observed < 96)) || fail "$observed MiB are observed: RAM once"
((bill >= 126 && bill >= 2 * observed - 2)) || fail "$bill MiB are billed: RAM twice"
quit guest-iommu
