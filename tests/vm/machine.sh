# shellcheck shell=bash
# The machine, for run.sh: machine_command fills the array MACHINE with QEMU's command line.
#
#	edu                   a device with a DMA engine, in a group of its own
#	bridge > nic-a nic-b  a PCIe-to-PCI bridge and two e1000 behind it: one group of three
#	nic-1, nic-2          e1000e, each behind its own root port: a group each
#	nvme                  with an ext4 file system on it, behind its own root port; in a subsystem,
#	                      so that Linux makes it a multipath of one path
#	spare                 a root port with nothing behind it, to plug into; with memory for a display
#	slot                  another one, in a second root complex: there, hot-plug is PCIe's own, and
#	                      not ACPI's
#	bare                  with the second kernel, whose VFIO has a no-IOMMU mode: a device in a third root
#	                      complex, which the IOMMU bypasses
#
# nic-1's port has no link that is active or not: where ACPI does the hot-plug, QEMU's ports say that theirs is
# down, and Linux takes a bus reset to have failed (drivers/pci/pci.c, pci_bridge_wait_for_secondary_bus).
#
# Software emulation only: KVM may be there and hang (nested, without vmx), and TCG's IOMMU
# is the same everywhere. romfile= : no iPXE, which costs seconds. no_timer_check: on a busy host
# the timer is later than the kernel has patience for, and it panics. tsc=reliable: otherwise each
# look at the time is an access to the HPET, as the kernel does not believe two processors of QEMU. erms: with it
# Linux copies and clears by "rep movsb", which QEMU does byte by byte, a quarter of all instructions of a fork.
#
# The two processors take turns in one thread: with a thread each, one waits busily for the other, which a busy host
# has put aside; the suite took twice as long. MACHINE_KIND=parallel is for what wants them at the same time.

# That is the machine with Intel's IOMMU. Behind the others not all of it is possible, as QEMU 7.2 has them:
#	amd       translates what is behind a port by the tables of what has its device number on the first bus
#	          (amdvi_host_dma_iommu() takes the bus's number before the firmware has given it one): nic-1, nic-2
#	          and nvme are on the first bus. bridge, nic-a and nic-b are there, and their DMA does not work
#	virtio    does not know a device behind a PCIe-to-PCI bridge by its own address, only by the bridge's: Linux
#	          fails to probe it, and then takes no device after it. There is no bridge; nic-a and nic-b are two
#	          functions of one device on the first bus: a group of two

# machine_iommu KIND: its device and the arguments that the kernel wants for it.
machine_iommu() {
	case $1 in
	intel) device=intel-iommu,intremap=on,caching-mode=on,aw-bits=48 arguments=intel_iommu=on ;;
	amd) device=amd-iommu,intremap=on arguments= ;;
	# It does not remap interrupts: what an administrator has to say then.
	virtio) device=virtio-iommu-pci arguments=vfio_iommu_type1.allow_unsafe_interrupts=1 ;;
	*) die "no IOMMU of kind '$1'; there are: intel, amd, virtio" ;;
	esac
}

# machine_command RUN_DIRECTORY KERNEL INITRD KERNEL_ARGUMENTS; $memory is its size, $iommu the kind of its IOMMU
machine_command() {
	local run=$1 device arguments processors=(-accel "tcg,thread=single" -smp 2)
	local bridge=(-device "pcie-pci-bridge,id=bridge,bus=port-bridge") nic_a=bus=bridge,addr=1 nic_b=bus=bridge,addr=2
	local nic_1=bus=port-nic-1 nic_2=bus=port-nic-2 nvme=bus=port-nvme
	case ${MACHINE_KIND:-} in
	'') ;;
	parallel) processors=(-accel "tcg,thread=multi" -smp 2) ;;
	counted) processors=(-accel "tcg,thread=single" -icount "shift=0,sleep=on" -smp 1) ;;
	*) die "no machine of kind '$MACHINE_KIND'; there are: parallel, counted" ;;
	esac
	machine_iommu "${iommu:-intel}"
	case ${iommu:-} in
	amd) nic_1=bus=pcie.0,addr=12 nic_2=bus=pcie.0,addr=13 nvme=bus=pcie.0,addr=14 ;;
	virtio) bridge=() nic_a=bus=pcie.0,addr=15.0,multifunction=on nic_b=bus=pcie.0,addr=15.1 ;;
	esac
	# shellcheck disable=SC2034
	MACHINE=(
		qemu-system-x86_64 -machine q35 -cpu "max,erms=off,fsrm=off" "${processors[@]}" -m "${memory:-1G}"
		-nodefaults -display none -no-reboot
		-device "$device"
		-kernel "$2" -initrd "$3"
		-append "console=ttyS0 quiet $arguments no_timer_check tsc=reliable panic=-1 oops=panic $4"
		-virtfs "local,path=/,mount_tag=hostroot,security_model=none,readonly=on,multidevs=remap"

		-device "edu,id=edu,addr=4"
		-device "pcie-root-port,id=port-bridge,chassis=1,addr=5"
		-device "pcie-root-port,id=port-nic-1,chassis=2,addr=6,x-speed=2_5"
		-device "pcie-root-port,id=port-nic-2,chassis=3,addr=7"
		-device "pcie-root-port,id=port-nvme,chassis=4,addr=8"
		-device "pcie-root-port,id=spare,chassis=5,addr=9,mem-reserve=16M"
		"${bridge[@]}"
		# One hub for all: their links are up, and they hear each other.
		-netdev "hubport,id=net-nic-a,hubid=0" -netdev "hubport,id=net-nic-b,hubid=0"
		-netdev "hubport,id=net-nic-1,hubid=0" -netdev "hubport,id=net-nic-2,hubid=0"
		-device "e1000,id=nic-a,netdev=net-nic-a,$nic_a,romfile=,mac=52:54:00:00:00:0a"
		-device "e1000,id=nic-b,netdev=net-nic-b,$nic_b,romfile=,mac=52:54:00:00:00:0b"
		-device "e1000e,id=nic-1,netdev=net-nic-1,$nic_1,romfile=,mac=52:54:00:00:00:01"
		-device "e1000e,id=nic-2,netdev=net-nic-2,$nic_2,romfile=,mac=52:54:00:00:00:02"
		-drive "if=none,id=disk,format=raw,file=$run/nvme.img"
		-device "nvme-subsys,id=subsystem"
		-device "nvme,id=nvme,$nvme,serial=vfiod,subsys=subsystem"
		-device "nvme-ns,bus=nvme,drive=disk"

		# QMP twice: for the host, and, through a port of a virtio console, for scenarios.
		-qmp "unix:$run/qmp,server=on,wait=off"
		-chardev "socket,id=qmp-guest,path=$run/qmp-guest,server=on,wait=off"
		-mon "chardev=qmp-guest,mode=control"
		-device "virtio-serial-pci,addr=10"
		-chardev "socket,id=port,path=$run/qmp-guest"
		-device "virtserialport,chardev=port,name=org.vfiod.qmp"

		# Last: what names no bus would be put there.
		-device "pxb-pcie,id=complex,bus_nr=64,addr=11"
		-device "pcie-root-port,id=port-slot,bus=complex,chassis=6,slot=6,addr=0"
	)
	[ "${kernel_kind:-stock}" = stock ] || MACHINE+=(
		-device "pxb-pcie,id=complex-bare,bus=pcie.0,bus_nr=96,addr=16,bypass_iommu=on"
		-device "pcie-root-port,id=port-bare,bus=complex-bare,chassis=7,slot=7,addr=0"
		-device "pci-testdev,id=bare,bus=port-bare"
	)
}

# machine_disk FILE: 32 MiB of ext4.
machine_disk() {
	truncate -s 32M "$1"
	PATH=$PATH:/usr/sbin:/sbin mke2fs -q -t ext4 -F "$1"
}
