# shellcheck shell=bash
# A display that a process has open, or that the console is on, is not taken; nor is a serial line
# that a process has open.

start_daemon <<END
[rule display]
match = pci:id=1234:1111
allow = user:alice
[rule serial]
match = pci:id=1b36:0002
allow = user:alice
END

behind_spare() { compgen -G "/sys/bus/pci/devices/$SPARE_PORT/*/vendor"; }
nothing_behind_spare() { ! behind_spare; }
is_known() { vfioctl list --all | grep -q "$1"; }
# plug DRIVER NODE: into the spare port; returns when it has its node in /dev. The device is in $plugged.
plug() {
	qmp '{"execute":"device_add","arguments":{"id":"guest","bus":"spare","driver":'"$1"'}}'
	wait_until 20 behind_spare
	plugged=$(basename "$(dirname "$(behind_spare)")")
	wait_until 20 compgen -G "/sys/bus/pci/devices/$plugged/$2/dev"
	wait_until 20 is_known "$plugged"
	node=$(compgen -G "/sys/bus/pci/devices/$plugged/$2/uevent")
	node=/dev/$(sed -n s/^DEVNAME=//p "$node")
	wait_until 20 test -e "$node"
}
pull() {
	qmp '{"execute":"device_del","arguments":{"id":"guest"}}'
	wait_until 20 nothing_behind_spare
}

# With its driver there, the console moves to it.
modprobe bochs
plug '"secondary-vga","vgamem_mb":8' 'drm/card*'
on_framebuffer() { grep -l "frame buffer device" /sys/class/vtconsole/vtcon*/name; }
wait_until 20 on_framebuffer
console=$(on_framebuffer)
wait_until 20 grep -qx 1 "${console%/name}/bind"
framebuffer=$(basename "$(compgen -G "/sys/bus/pci/devices/$plugged/graphics/fb*")")
assert_in_use "$plugged" "the console is on its framebuffer $framebuffer"
echo 0 >"${console%/name}/bind"
hold compositor "exec 7<>$node"
assert_in_use "$plugged" "$node is open in bash (pid $PID)"
let_go
# Opened by a service that has ended, with its namespace: the name is short then.
mkdir gone
hold former "mount --bind /dev gone && exec 7<>gone/${node#/dev/} && umount -l gone"
assert_eq "$(readlink "/proc/$PID/fd/7")" "${node#/dev}"
assert_in_use "$plugged" "$node is open in bash (pid $PID)"
let_go
pull

plug '"pci-serial"' 'tty/ttyS*'
hold getty "exec 7<>$node"
assert_in_use "$plugged" "$node is open in bash (pid $PID)"
let_go
pull
