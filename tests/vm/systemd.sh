# shellcheck shell=bash
# vfiod as it is installed: started by its socket, hardened by its unit, under systemd as PID 1.

step() { echo "ok - systemd: $*"; }

cat >/etc/vfiod/vfiod.conf.d/test.conf <<END
[rule edu]
match = pci:id=1234:11e8
allow = user:alice
[rule nics]
match = pci:id=8086:100e
whole-group = yes
allow = unit:mover.service
[rule disk]
match = pci:id=1b36:0010
allow = user:alice
END
# Of what is tested elsewhere without systemd-sysusers.
sed -i '/^vfiod-keeper:/d' /etc/passwd /etc/group
systemd-sysusers
getent passwd vfiod-keeper | grep -q ':vfiod keeper:'
systemd-tmpfiles --create /usr/lib/tmpfiles.d/vfiod.conf
getent group vfiod >/dev/null
step "users and directories are made"

systemctl daemon-reload
systemctl start vfiod.socket
assert_eq "$(systemctl is-active vfiod.service || true)" inactive "service before the first client"
as_user alice vfioctl status
assert_contains "$(as_user alice vfioctl why "$NIC_A" --json)" '"isExplained":true'
as_user alice vfioctl check
assert_eq "$(systemctl is-active vfiod.service)" active "service after the first client"
assert_eq "$(stat -c %a /run/vfiod/org.vfiod.Broker)" 666 "mode of the socket"
[ /run/varlink/registry/org.vfiod.Broker -ef /run/vfiod/org.vfiod.Broker ] || fail "no link in the registry"
wait_until 10 grep -q groups <(systemctl show -p StatusText vfiod.service)
step "the socket starts the service"

as_user alice vfioctl run --device "$EDU" -- "$PROGRAMS/edu-dma" "{group:$EDU}" "$EDU" >dma 2>&1 ||
	fail "edu-dma: $(cat dma)"
grep -q '^equal: 2048 bytes' dma
assert_eq "$(driver_of "$EDU")" ""
step "alice drives a device through the hardened service"

as_user alice vfioctl run --device "$EDU" -- "$PROGRAMS/edu-dma" --fork-holder "{group:$EDU}" "$EDU" >forked 2>/dev/null
holder=$(awk '/^holder / { print $2 }' forked)
is_found() { vfioctl status | xargs | grep "$EDU held open by edu-dma (pid $holder, uid"; }
wait_until 30 is_found
kill "$holder"
is_free() { [ -z "$(driver_of "$EDU")" ]; }
wait_until 20 is_free
step "a process that keeps the device is found by the hardened service"

# The service may not load a module; systemd may.
rmmod vfio_pci
as_user alice vfioctl run --device "$EDU" -- true
[ -e /sys/module/vfio_pci ] || fail "vfio-pci is not there"
assert_eq "$(driver_of "$EDU")" ""
step "a module that is missing comes by modprobe@.service"

# A client in a control group that is its own; of its memory nothing is there yet.
# shellcheck source=tests/vm/guest/spaces
. "$VM/guest/spaces"
mkfifo alice.in alice.out
chmod 0666 alice.in alice.out
exec {in}<>alice.in {out}<>alice.out
CLIENT_IN[alice]=$in CLIENT_OUT[alice]=$out
cat >/run/systemd/system/space.service <<END
[Service]
User=alice
Delegate=yes
ExecStart=$PROGRAMS/space-client $WORK/alice.out
StandardInput=file:$WORK/alice.in
END
systemctl daemon-reload
systemctl start space.service
CLIENT[alice]=$(systemctl show -P MainPID space.service)
ask alice connect main
ask alice acquire lease "$EDU"
ask alice create space
ask alice memfd memory 8M
ask alice add space memory
ask alice map space memory 0 0x4000000 8M rw
ask alice attach space lease
keeper_of alice space
assert_eq "$(cut -d : -f 3 "/proc/$KEEPER/cgroup")" /system.slice/space.service
assert_locked "$KEEPER" 2048
assert_ledger alice "host=2048/2048 uid:1000=2048/2048"
assert_eq "$(awk '/^(Uid|CapPrm|CapEff|NoNewPrivs|Seccomp):/ { print $2 }' "/proc/$KEEPER/status" | xargs)" \
	"$(id -u vfiod-keeper) 0000000000000000 0000000000000000 1 2"
# Clients talk to a process with CAP_SYS_RESOURCE and no other, and what has more talks to that one alone.
service=$(systemctl show -P MainPID vfiod.service)
assert_eq "$(awk '/^Cap(Inh|Prm|Eff|Bnd|Amb):/ { print $2 }' "/proc/$service/status" | xargs)" \
	"0000000000000000 0000000001000000 0000000001000000 0000000001000000 0000000000000000"
PRIVILEGED=/run/vfiod-privileged/socket
assert_eq "$(stat -c '%U %G %a' "$PRIVILEGED" "${PRIVILEGED%/*}" | xargs)" "root root 600 root root 700"
cat >other <<END
import socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.connect("$PRIVILEGED")
print(s.recv(1))
END
assert_eq "$(/usr/bin/python3 other)" "b''" "what another process of root's hears"
refused as_user alice /usr/bin/python3 other
# Killed with all that serves vfiod, and with vfiod itself, it takes no keeper along; the next one does as well.
ask alice memfd more 4K
ask alice add space more
systemctl kill --signal=KILL vfiod-privileged.service
# It starts who fills holes.
has_mapped() {
	tell alice map space more 0 0x5000000 4K rw
	hear alice
	[[ $ANSWER == ok* ]]
}
wait_until 20 has_mapped
is_active() { [ "$(systemctl is-active vfiod-privileged.service)" = active ]; }
wait_until 20 is_active
step "the capabilities are elsewhere, and may go at any time"
ask alice unmap space 0x5000000 4K

ask alice pattern memory 0 1
ask alice device device space lease "$EDU"
ask alice edu device
ask alice to-device device 0x4000000
ask alice to-memory device 0x4001000
ask alice holds memory 4096 1
assert_eq "$ANSWER" yes
systemctl stop space.service
wait_until 20 has_ended "$KEEPER"
wait_until 20 is_free
step "the hardened service has keepers, in their clients' control groups"

interface=$(interface_of "$NIC_A")
refused as_user bob vfioctl run --device "$NIC_A" -- true
# By its file: systemd-run wants a D-Bus.
cat >/run/systemd/system/mover.service <<END
[Service]
Type=oneshot
User=bob
MemoryMax=512M
ExecStart=vfioctl run --device $NIC_A -- /bin/sh -c "readlink /sys/bus/pci/devices/$NIC_B/driver /proc/self/fd/3"
StandardOutput=file:$WORK/mover
StandardError=inherit
END
systemctl daemon-reload
systemctl start mover.service || fail "mover: $(cat mover)"
grep -q 'drivers/vfio-pci$' mover
grep -q '^/dev/vfio/' mover
assert_eq "$(driver_of "$NIC_A") $(driver_of "$NIC_B")" "e1000 e1000"
wait_until 10 test -e "/sys/class/net/$interface"
step "a rule for a unit lets that unit have both NICs, and they come back"

# What the hardened unit can still see: an exclusive open, other namespaces, other processes.
in_background mounter unshare --mount bash -c "mount /dev/nvme0n1 /mnt && echo mounted && exec sleep 1000"
mounter=$PID
said mounter mounted
wait_until 10 grep -qx sleep "/proc/$mounter/comm"
assert_contains "$(refused as_user alice vfioctl run --device "$NVME" -- true 2>&1)" \
	"$NVME is in use: block device nvme0n1 is mounted on /mnt in the mount namespace of sleep (pid $mounter)"
kill "$mounter"
wait "$mounter" || true
hold opener "exec 7</dev/nvme0"
assert_contains "$(refused as_user alice vfioctl run --device "$NVME" -- true 2>&1)" \
	"$NVME is in use: /dev/nvme0 is open in bash (pid $PID)"
let_go
step "the guard sees who uses a disk"

echo '[rule broken]' >/etc/vfiod/vfiod.conf.d/zz.conf
assert_contains "$(refused vfioctl reload 2>&1)" zz.conf:1
systemctl reload vfiod.service
status_names() { systemctl show -P StatusText vfiod.service | grep -qF "$1"; }
wait_until 20 status_names zz.conf:1
as_user alice vfioctl run --device "$EDU" -- true
rm /etc/vfiod/vfiod.conf.d/zz.conf
systemctl reload vfiod.service
is_mended() { ! status_names zz.conf; }
wait_until 20 is_mended
assert_eq "$(systemctl is-active vfiod.service)" active "service after reloads"
step "a bad file changes nothing"

journalctl --sync
journalctl -u vfiod.service VFIOD_LEASE=L1 -o cat --no-pager | tee log
grep -q "lease L1 of group $(group_of "$EDU") granted" log
step "the journal has the fields"

journalctl --update-catalog
explained=$(journalctl -b -u vfiod.service MESSAGE_ID=3566983ed3ba44c6b5bcd263fac8041c -x --no-pager)
assert_contains "$explained" 'Lease L1 was granted'
assert_contains "$explained" "of user $(id -u alice) has the devices"
step "the catalog explains what the journal has"

# Whatever ends it, alice keeps her lease and her device.
main_pid() { systemctl show -P MainPID vfiod.service; }
has_restarted() { [[ $(main_pid) != 0 && $(main_pid) != "$(<before)" ]]; }
has_lease() { vfioctl list | grep -q "^$(group_of "$EDU") *leased"; }
# COMMAND…: another one serves afterwards; what the one before it has said when it ended
restarts() {
	main_pid >before
	"$@"
	wait_until 60 has_restarted
	wait_until 20 has_lease
	assert_eq "$(vfioctl leases --json | json leases 0 lease)" "$lease"
	assert_eq "$(driver_of "$EDU")" vfio-pci
	journalctl --sync
	journalctl _PID="$(<before)" -o cat --no-pager | grep '^stopping: ' || true
}
in_background holder as_user alice vfioctl run --device "$EDU" -- sleep 1000
wait_until 20 pgrep -x sleep
lease=$(vfioctl leases --json | json leases 0 lease)

restarts systemctl kill --kill-who=main --signal=KILL vfiod.service
journalctl -b -u vfiod.service -x MESSAGE_ID=5344ae9d38854584a304f99215c8fa15 --no-pager | tee explained
grep -q "Lease $lease outlived a restart of vfiod" explained
step "killed, it starts again, and the lease is there"

# systemd sends the same signal for each; which it is, it is asked.
assert_contains "$(restarts systemctl restart vfiod.service)" "are left to the next vfiod"
assert_contains "$(restarts systemctl kill --kill-who=main vfiod.service)" "are left to the next vfiod"
pkill -x sleep
wait_until 20 test ! -e "/sys/bus/pci/devices/$EDU/driver"
step "a restart leaves everything to the next one"

cat >/etc/vfiod/vfiod.conf.d/boot.conf <<END
[rule boot]
match = pci:address=$NIC_1
take = boot
END
rmmod e1000e
echo 1 >"/sys/bus/pci/devices/$NIC_1/remove"
echo 1 >/sys/bus/pci/rescan
claimed() { [ "$(driver_of "$NIC_1") $(driver_of "$NIC_2")" = "vfio-pci e1000e" ]; }
wait_until 20 claimed
vfioctl reload
taken() { vfioctl list | grep -q "^$(group_of "$NIC_1") *taken"; }
wait_until 10 taken
vfioctl return "$NIC_1"
assert_eq "$(driver_of "$NIC_1")" e1000e
rm /etc/vfiod/vfiod.conf.d/boot.conf
vfioctl reload
step "the installed udev rule has a device for vfiod before its driver is loaded"

# shellcheck source=tests/vm/systemd-restart.sh
. "$VM/systemd-restart.sh"
# shellcheck source=tests/vm/systemd-load.sh
. "$VM/systemd-load.sh"

in_background holder as_user alice vfioctl run --device "$EDU" -- sleep 1000
wait_until 10 pgrep -x sleep
pkill -KILL -x sleep
main_pid >before
systemctl stop vfiod.service
journalctl --sync
assert_contains "$(journalctl _PID="$(<before)" -o cat --no-pager)" "stopping: leases end, and groups go back"
wait_until 10 test ! -e "/sys/bus/pci/devices/$EDU/driver"
assert_eq "$(systemctl show -p Result --value vfiod.service)" success
assert_eq "$(systemctl is-active vfiod.socket)" active
step "a stop gives everything back"
systemctl stop vfiod.socket vfiod.service
