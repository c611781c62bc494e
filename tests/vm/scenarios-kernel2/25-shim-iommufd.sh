# shellcheck shell=bash
# vfioctl run --shim --mode cdev: programs that open /dev/vfio/devices/vfioX and /dev/iommu by themselves have the
# lease's devices, and contexts, as often as the kernel lets root open them, and no others; with either
# shim, unprivileged. And a QEMU with iommufd as anybody would start it (tests/vm/qemu10.sh).
qemu=$QEMU10/usr/bin/qemu-system-x86_64
export QEMU_MODULE_DIR=$QEMU10/usr/lib/x86_64-linux-gnu/qemu

start_daemon <<END
[rule all]
match = pci:address=$EDU
match = pci:address=$NIC_1
match = pci:address=$NIC_2
allow = user:alice
allow = user:bob
END
ulimit -l 8192
assert_eq "$(stat -c '%U %a' /dev/iommu)" "root 660"
in_background bob as_user bob vfioctl run --mode cdev --device "$NIC_2" -- sh -c 'echo has it; exec sleep 1000'
bob=$PID
said bob "has it"
# shellcheck disable=SC2012
of_bob=/dev/vfio/devices/$(ls "/sys/bus/pci/devices/$NIC_2/vfio-dev" | head -n 1)

# A node can be open more than once, and a context is new each time; neither group nor container is his.
# shellcheck disable=SC2016
attempts='node=/dev/vfio/devices/$(ls "/sys/bus/pci/devices/$1/vfio-dev")
	exec 3<>/dev/iommu 4<>"$node" && readlink /proc/$$/fd/3
	(exec 5<>"$node" && echo twice)
	(cd /dev/vfio && exec 5<>../iommu && echo two)
	(exec 7<>"$2") 2>&1 | sed "s/.*: //"
	(exec 7</dev/vfio/devices/vfio999) 2>&1 | sed "s/.*: //"
	(exec 7<>"/dev/vfio/$(basename "$(readlink "/sys/bus/pci/devices/$1/iommu_group")")") 2>&1 | sed "s/.*: //"
	"$3" --iommufd 3 4 "$1" || exit
	exec 3>&- 4>&-
	exec 3<>/dev/iommu
	exec "$3" --iommufd 3 "$node" "$1"'
for how in seccomp preload; do
	dma=$PROGRAMS/edu-dma
	[ "$how" = preload ] || dma=$PROGRAMS/edu-dma-static
	as_user alice vfioctl run --shim=$how --mode cdev --memory 16M --device "$EDU" -- \
		bash -c "$attempts" bash "$EDU" "$of_bob" "$dma" >said 2>&1 || fail "$how: $(cat said)"
	assert_eq "$(head -n 6 said)" "/dev/iommu
twice
two
Permission denied
No such file or directory
Permission denied" "$how"
	assert_eq "$(grep -c '^equal: 2048 bytes' said) $(grep -c '^blocked: ' said)" "2 4" "$how: $(cat said)"
	assert_eq "$(driver_of "$EDU")" "" "as before"
done
# Without it, nothing is his.
# shellcheck disable=SC2016
as_user alice bash -c '(exec 7<>/dev/iommu); (exec 7<>"$1")' bash "$of_bob" >said 2>&1 || true
assert_eq "$(sed 's/.*: //' said | xargs -d '\n')" "Permission denied Permission denied"
kill "$bob"
wait "$bob" || true

answered() { # TEXT
	! has_ended "$RUN" || fail "it has ended: $(cat vmm)"
	grep -qF "$1" vmm
}
vmm() { # SHIM: QEMU in $VMM
	rm -f vmm.in
	mkfifo vmm.in
	exec {QMP}<>vmm.in
	in_background vmm as_user alice vfioctl run "$1" --mode cdev --memory 96M --device "$NIC_1" -- \
		"$qemu" -machine q35,accel=tcg -m 64 -nodefaults -display none -S -qmp stdio \
		-L "$QEMU10/usr/share/qemu" -L /usr/share/seabios \
		-object iommufd,id=iommufd0 \
		-device "vfio-pci,host=$NIC_1,iommufd=iommufd0,rombar=0,id=of-alice" <vmm.in
	RUN=$PID
	wait_until 180 answered '"QMP"'
	echo '{"execute":"qmp_capabilities"} {"execute":"query-pci"}' >&"$QMP"
	wait_until 60 answered '"of-alice"'
	VMM=$(pgrep -x qemu-system-x86)
	assert_eq "$(awk '/^Uid:/ { print $2 }' "/proc/$VMM/status")" 1000
	pinned=$(awk '/^VmPin:/ { print int($2 / 1024) }' "/proc/$VMM/status")
	((pinned >= 63)) || fail "$pinned MiB are pinned"
	note "QEMU $(sed -n 's/.*"qemu": {\([^}]*\)}.*/\1/p' vmm), $1: $pinned MiB pinned"
}
for how in --shim --shim=preload; do
	vmm "$how"
	echo '{"execute":"quit"}' >&"$QMP"
	wait "$RUN" || fail "$how: status $?: $(cat vmm)"
	exec {QMP}>&-
	assert_unchanged
done
