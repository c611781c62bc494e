# shellcheck shell=bash
# A VFIO driver that is made for a device takes it, with no word in the rules: found by the aliases
# of modules, loaded by the daemon, as vfio-pci itself is. A rule that names another wins, and one
# that cannot be loaded is an error that says so.

# The daemon's own /lib/modules: those of VFIO, and one made for edu.
release=$(uname -r)
modules=$WORK/root/lib/modules/$release
variant=$modules/edu_vfio_pci.ko
mkdir -p "$modules" bin
cp /lib/modules/"$release"/modules.{order,builtin,builtin.modinfo} "$modules"
find "/lib/modules/$release/kernel" \( -name 'vfio*.ko' -o -name irqbypass.ko \) -exec cp {} "$modules" \;
"$VM/guest/variant-module" "$modules/vfio-pci.ko" "v00001234d000011E8*" "$variant"
depmod -b "$WORK/root" "$release"
# With UNIT=1 that is a setting of the unit, and of the one by which systemd loads them for it; others may be
# loaded by that long after this directory is gone.
if [ -n "${UNIT:-}" ]; then
	other=/run/systemd/system/modprobe@.service.d
	mkdir -p "$other"
	printf '[Service]\nBindReadOnlyPaths=-%s:/lib/modules\n' "$WORK/root/lib/modules" >"$other/test.conf"
	printf 'BindReadOnlyPaths=\nBindReadOnlyPaths=-%s:/run/vfiod/modules\n' "$WORK/root/lib/modules" >unit.conf
else
	cat >bin/vfiod <<-END
	#!/bin/sh
	exec unshare --mount sh -c 'mount --bind "$WORK/root/lib/modules" /lib/modules && exec "$BUILD/vfiod" "\$@"' sh "\$@"
	END
	chmod +x bin/vfiod
	PATH=$WORK/bin:$PATH
fi
is_loaded() { [ -e "/sys/module/$1" ]; }

rmmod vfio_pci
start_daemon <<END
[rule all]
match = pci:address=$NIC_1
match = pci:address=$EDU
allow = user:alice
END

in_background nic as_user alice "$PROGRAMS/lib/lease" "$NIC_1"
client=$PID
said nic granted
is_loaded vfio_pci
assert_eq "$(driver_of "$NIC_1")" vfio-pci
end "$client"
! is_loaded edu_vfio_pci || fail "a module is loaded for nobody"

forget_writes
mkfifo go
exec 8<>go
in_background dma as_user alice vfioctl run --device "$EDU" -- "$PROGRAMS/edu-dma" --pause "{group}" "$EDU" <&8
run=$PID
said dma memory:
is_loaded edu_vfio_pci
assert_eq "$(readlink -f "/sys/bus/pci/devices/$EDU/driver/module")" /sys/module/edu_vfio_pci
assert_eq "$(driver_of "$EDU") $(override_of "$EDU")" "vfio_pci vfio_pci"
assert_eq "$(json members 0 target <<<"$(tr -d '\n' <"$STATE_DIR/journal/$(group_of "$EDU").json")")" vfio_pci
assert_eq "$(vfioctl status "$EDU" --json | json group binding)" taken
echo >&8
wait "$run" || fail "status $?: $(cat dma)"
assert_contains "$(cat dma)" "equal: 2048 bytes"
assert_unchanged
assert_eq "$(sysfs_writes)" "$EDU driver_override vfio_pci
vfio_pci bind $EDU
$EDU driver_override \\n
vfio_pci unbind $EDU"

driver_taken() { as_user alice vfioctl run --device "$EDU" -- readlink "/sys/bus/pci/devices/$EDU/driver"; }
# Who administers modules says no; a rule names its driver.
mkdir -p /run/modprobe.d
echo "blacklist edu_vfio_pci" >/run/modprobe.d/vfiod-test.conf
assert_contains "$(driver_taken)" /vfio-pci
rm /run/modprobe.d/vfiod-test.conf
echo "driver = vfio-pci" >>vfiod.conf
vfioctl reload
assert_contains "$(driver_taken)" /vfio-pci
sed -i '$d' vfiod.conf
vfioctl reload

rmmod edu_vfio_pci
rm "$variant"
forget_writes
answer=$(refused as_user alice vfioctl run --device "$EDU" -- true 2>&1)
echo "$answer"
assert_contains "$answer" "step module of $EDU failed (No such file or directory)"
assert_contains "$answer" "module edu_vfio_pci, which is made for this device; driver = vfio-pci in its rule chooses"
assert_contains "$answer" "all is as before"
assert_no_writes
rm -rf "${other:-}"
