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
#
# nic-1's port has no link that is active or not: where ACPI does the hot-plug, QEMU's ports say that theirs is
# down, and Linux takes a bus reset to have failed (drivers/pci/pci.c, pci_bridge_wait_for_secondary_bus).
#
# Software emulation only: KVM may be there and hang (nested, without vmx), and TCG's IOMMU
# is the same everywhere. romfile= : no iPXE, which costs seconds. no_timer_check: on a busy host
# the timer is later than the kernel has patience for, and it panics.

# machine_command RUN_DIRECTORY KERNEL INITRD KERNEL_ARGUMENTS; $memory is its size
machine_command() {
	local run=$1 processors=(-accel "tcg,thread=multi" -smp 2)
	[ "${MACHINE_KIND:-}" != counted ] ||
		processors=(-accel "tcg,thread=single" -icount "shift=0,sleep=on" -smp 1)
	# shellcheck disable=SC2034
	MACHINE=(
		qemu-system-x86_64 -machine q35 -cpu max "${processors[@]}" -m "${memory:-1G}"
		-nodefaults -display none -no-reboot
		-device "intel-iommu,intremap=on,caching-mode=on,aw-bits=48"
		-kernel "$2" -initrd "$3"
		-append "console=ttyS0 quiet intel_iommu=on no_timer_check panic=-1 oops=panic $4"
		-virtfs "local,path=/,mount_tag=hostroot,security_model=none,readonly=on,multidevs=remap"

		-device "edu,id=edu,addr=4"
		-device "pcie-root-port,id=port-bridge,chassis=1,addr=5"
		-device "pcie-root-port,id=port-nic-1,chassis=2,addr=6,x-speed=2_5"
		-device "pcie-root-port,id=port-nic-2,chassis=3,addr=7"
		-device "pcie-root-port,id=port-nvme,chassis=4,addr=8"
		-device "pcie-root-port,id=spare,chassis=5,addr=9,mem-reserve=16M"
		-device "pcie-pci-bridge,id=bridge,bus=port-bridge"
		# One hub for all: their links are up, and they hear each other.
		-netdev "hubport,id=net-nic-a,hubid=0" -netdev "hubport,id=net-nic-b,hubid=0"
		-netdev "hubport,id=net-nic-1,hubid=0" -netdev "hubport,id=net-nic-2,hubid=0"
		-device "e1000,id=nic-a,netdev=net-nic-a,bus=bridge,addr=1,romfile=,mac=52:54:00:00:00:0a"
		-device "e1000,id=nic-b,netdev=net-nic-b,bus=bridge,addr=2,romfile=,mac=52:54:00:00:00:0b"
		-device "e1000e,id=nic-1,netdev=net-nic-1,bus=port-nic-1,romfile=,mac=52:54:00:00:00:01"
		-device "e1000e,id=nic-2,netdev=net-nic-2,bus=port-nic-2,romfile=,mac=52:54:00:00:00:02"
		-drive "if=none,id=disk,format=raw,file=$run/nvme.img"
		-device "nvme-subsys,id=subsystem"
		-device "nvme,id=nvme,bus=port-nvme,serial=vfiod,subsys=subsystem"
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
}

# machine_disk FILE: 32 MiB of ext4.
machine_disk() {
	truncate -s 32M "$1"
	PATH=$PATH:/usr/sbin:/sbin mke2fs -q -t ext4 -F "$1"
}
