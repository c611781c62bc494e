# shellcheck shell=bash
# What vfiod lists is what sysfs has: every group, device, driver and reserved region, also after
# they changed behind its back, and whoever asks.

start_daemon <<END
[rule edu]
match = pci:address=$EDU
allow = user:alice
END

list_agrees
as_user mallory vfioctl list --all --json | "$VM/guest/list-agrees"

# The comparison itself sees a difference.
for wrong in 's/"msi"/"ms"/' 's/"driver":"nvme"/"driver":null/' "s/\"name\":\"$NIC_A\"/\"name\":\"$NIC_B\"/" 's/"total":/"total":1/'; do
	vfioctl list --all --json | sed "$wrong" | refused "$VM/guest/list-agrees"
done

# Without --all: what a rule covers.
listed=$(vfioctl list --json)
assert_eq "$(json groups <<<"$listed" | tr -cd '{' | wc -c)" "$(json groups 0 <<<"$listed" | tr -cd '{' | wc -c)" "one group"
assert_eq "$(json groups 0 number <<<"$listed")" "$(group_of "$EDU")"

bind_by_hand "$EDU" vfio-pci
echo "$NIC_1" >"/sys/bus/pci/devices/$NIC_1/driver/unbind"
echo 1 >"/sys/bus/pci/devices/$NIC_2/remove"
[ ! -e "/sys/bus/pci/devices/$NIC_2" ] || fail "$NIC_2 is still there"
wait_until 10 list_agrees
list_agrees
assert_eq "$(vfioctl status "$EDU" --json | json group binding)" taken
refused vfioctl status "$NIC_2" --json

unbind_by_hand "$EDU"
echo "$NIC_1" >/sys/bus/pci/drivers_probe
echo 1 >/sys/bus/pci/rescan
wait_until 10 is_unchanged
wait_until 10 list_agrees
list_agrees
assert_no_writes
