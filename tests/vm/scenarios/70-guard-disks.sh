# shellcheck shell=bash
# Every way to use a disk keeps it from being taken, on a partition as well; nothing is written to it.

start_daemon <<END
[rule disk]
match = pci:address=$NVME
allow = user:alice
END

disk=/dev/nvme0n1

# Two partitions as the kernel sees them: nothing is on the disk.
addpart $disk 1 2048 16384
addpart $disk 2 32768 16384
udevadm settle

# What is overwritten comes back.
dd if=${disk}p2 of=saved bs=4096 count=1 status=none
mkswap ${disk}p2
swapon ${disk}p2
assert_in_use "$NVME" "block device nvme0n1p2 is used for swap"
swapoff ${disk}p2
dd if=saved of=${disk}p2 conv=fsync status=none

modprobe loop
loop=$(losetup --find --show ${disk}p1)
assert_in_use "$NVME" "block device nvme0n1p1 is behind ${loop#/dev/}"
losetup --detach "$loop"

modprobe dm-mod
dmsetup create vfiod-guard --noudevsync --table "0 2048 linear ${disk}p1 0"
assert_in_use "$NVME" "block device nvme0n1p1 is part of dm-0 (vfiod-guard)"
dmsetup remove --noudevsync vfiod-guard

# An array that nobody has started yet.
modprobe md-mod
echo md_guard >/sys/module/md_mod/parameters/new_array
cat /sys/class/block/nvme0n1p1/dev >/sys/block/md_guard/md/new_dev
assert_in_use "$NVME" "block device nvme0n1p1 is part of md_guard"
echo clear >/sys/block/md_guard/md/array_state

udevadm settle
delpart $disk 1
delpart $disk 2

# A virtual machine or a database on the raw disk; a tool on the controller.
hold writer "exec 7<>$disk"
assert_in_use "$NVME" "/dev/nvme0n1 is open in bash (pid $PID)"
let_go
hold tool "exec 7</dev/nvme0"
assert_in_use "$NVME" "/dev/nvme0 is open in bash (pid $PID)"
let_go
hold generic "exec 7<>/dev/ng0n1"
assert_in_use "$NVME" "/dev/ng0n1 is open in bash (pid $PID)"
let_go

# A namespace that no process is in.
mkdir disk kept
mount -t tmpfs --make-private tmpfs kept
touch kept/namespace
unshare --mount=kept/namespace mount $disk disk
assert_in_use "$NVME" "block device nvme0n1 is in exclusive use"
umount kept/namespace
umount kept

# Now it is free: the last one may take a moment to go.
take_it() { as_user alice vfioctl run --device "$NVME" -- true; }
wait_until 10 take_it
