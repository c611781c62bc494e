# shellcheck shell=bash
# Who may, and what would be done: nothing is written by asking, what is said to come is what comes, and
# the guard's word is the real one.

start_daemon <<END
[daemon]
admin = user:bob
[rule nics]
match = pci:address=$NIC_A
whole-group = yes
allow = user:alice
account = pool
[rule part]
match = pci:address=$EDU
allow = group:nogroup
[rule disk]
match = pci:address=$NVME
allow = user:alice
END
three=$(group_of "$NIC_A")
rows() { sed 's/^[0-9]* *//; s/  */ /g' "$WORK/plan"; } # without the numbers of groups
plan() { # STATUS COMMAND…: its words are in plan
	local status=0 wanted=$1
	shift
	"$@" >"$WORK/plan" 2>&1 || status=$?
	cat "$WORK/plan"
	assert_eq "$status" "$wanted" "status of $*"
}

# May they? What to write where is said; the devices of a group are told apart.
plan 0 as_user alice vfioctl can alice "$NIC_B"
assert_contains "$(<plan)" "alice may lease group $three, by rule 'nics'; account pool"
assert_contains "$(<plan)" "$BRIDGE needs no rule"
assert_contains "$(<plan)" "$NIC_B is covered by rule 'nics'"
assert_contains "$(<plan)" "Nothing is in the way now."
plan 1 as_user mallory vfioctl can mallory "$EDU"
assert_contains "$(tr -s ' \n' ' ' <plan)" "mallory may not lease group $(group_of "$EDU"): rule 'part' ($WORK/vfiod.conf:8)"
plan 1 as_user mallory vfioctl can alice "$EDU"
assert_contains "$(<plan)" "permission denied"
# About others, by administrators; groups are those of the user database. bob is one by the configuration.
plan 0 as_user bob vfioctl can nobody "$EDU"
assert_contains "$(<plan)" "nobody may lease group $(group_of "$EDU"), by rule 'part'; account uid:65534"
plan 1 as_user bob vfioctl can alice "$EDU"
plan 0 vfioctl can bob "$NIC_1"
assert_contains "$(<plan)" "bob may lease group $(group_of "$NIC_1"): an administrator needs no rule"

# The guard, asked for nothing: of a file system that is mounted, as of one that is not.
mount -t ext4 -o ro /dev/nvme0n1 /mnt
plan 0 as_user alice vfioctl can alice "$NVME"
assert_contains "$(<plan)" "It would be refused now:"
assert_contains "$(<plan)" "mounted on /mnt"
# By its disk's name, too, which is below a subsystem: it is a multipath.
plan 1 vfioctl take --dry-run nvme0n1
assert_contains "$(<plan)" "mounted on /mnt"
plan 1 vfioctl take --dry-run "$NVME"
assert_contains "$(<plan)" "mounted on /mnt"
assert_contains "$(rows)" "$NVME bind nvme > vfio-pci - > vfio-pci"
assert_contains "$(<plan)" "It would be refused. Nothing was done."
umount /mnt
plan 0 vfioctl take --dry-run "$NVME"
assert_contains "$(rows)" "$NVME bind nvme > vfio-pci - > vfio-pci"

# All or none of what run would have; and for who may not, no plan at all.
plan 125 as_user mallory vfioctl run --dry-run --device "$NIC_A"
assert_contains "$(<plan)" "!! $three"
assert_eq "$(grep -c bind plan || true)" 0 "devices that were looked at for mallory"
plan 1 as_user mallory vfioctl take --dry-run "$NIC_A"
assert_contains "$(<plan)" "permission denied"
plan 0 as_user alice vfioctl run --dry-run --device "$NIC_A" --device "$NVME"
assert_contains "$(rows)" "$NIC_A bind e1000 > vfio-pci - > vfio-pci"
assert_contains "$(rows)" "$NIC_B bind e1000 > vfio-pci - > vfio-pci"
assert_contains "$(rows)" "$BRIDGE leave - -"
assert_no_writes
assert_unchanged

# What was said comes true, there and back. Of several, a slip stops all.
assert_contains "$(refused vfioctl take "$NIC_A" enp99s0 2>&1)" "Nothing was taken."
assert_no_writes
vfioctl take "$NIC_A"
assert_eq "$(driver_of "$NIC_A") $(override_of "$NIC_A") $(driver_of "$BRIDGE")" "vfio-pci vfio-pci "
forget_writes
plan 0 vfioctl take --dry-run "$NIC_A"
assert_contains "$(rows)" "$NIC_A already vfio-pci -"
plan 0 vfioctl return --dry-run "$NIC_A"
assert_contains "$(rows)" "$NIC_A bind vfio-pci > e1000 vfio-pci > -"
in_background alice as_user alice "$PROGRAMS/lib/lease" "$NIC_A"
alice=$PID
said alice granted
for what in take return; do
	plan 1 vfioctl "$what" --dry-run "$NIC_B"
	assert_contains "$(<plan)" "!! $three"
done
plan 0 vfioctl revoke --dry-run --end "$(vfioctl leases --no-legend | cut -d ' ' -f 1)"
assert_contains "$(<plan)" "would be ended. Nothing was done."
assert_no_writes
end "$alice"
vfioctl return "$NIC_A"
plan 0 vfioctl return --dry-run "$NIC_A"
assert_contains "$(rows)" "$NIC_A already e1000 -"
assert_unchanged

# A device that does not answer holds up the dry run, and nobody else.
block "/sys/bus/pci/devices/$EDU/driver_override"
in_background waiting vfioctl take --dry-run "$EDU"
waiting=$PID
wait_blocked
vfioctl status >/dev/null
plan 0 vfioctl take --dry-run "$NIC_1"
kill "$waiting"
wait "$waiting" || true
unblock "/sys/bus/pci/devices/$EDU/driver_override"
