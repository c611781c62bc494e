# shellcheck shell=bash
# The part of `make bench` that needs real groups; runs in the guest, its output to run.sh, which
# gives the names of the benches.
set -eEu -o pipefail
# shellcheck source=tests/vm/guest/lib.sh
. "$VM/guest/lib.sh"
exec </dev/null
scenario_begin
PATH=$BUILD/tests/bench:$PATH
echo "the guest's clock: $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"

# The groups stay taken: what is left to measure is the broker, without the child that looks what bounds a
# client which is not trusted.
start_daemon <<END
[rule measured]
match = pci:address=$EDU
allow = user:alice
require-reset = no
return = no
trusted = yes

[rule flood]
match = pci:address=$NIC_1
allow = user:mallory
return = no
trusted = yes

[rule bare]
match = pci:address=$NIC_2
allow = user:root
return = no
END
taken=("$EDU" "$NIC_1" "$NIC_2")
vfioctl take "${taken[@]}" >taken

is_free() { vfioctl list --all | grep -q "^$1  *taken"; }

bench_fairness() {
	fairness "$SOCKET" "$EDU" 1000 "$NIC_1" 1002
}

bench_acquire() {
	acquire "$SOCKET" "$EDU" "/dev/vfio/$(group_of "$EDU")"
}

# With MACHINE_KIND=counted.
bench_acquire-counted() {
	acquire "$SOCKET" "$EDU" "/dev/vfio/$(group_of "$EDU")" counted
}

# The bare process has its group from nobody.
bench_mapping() {
	mapping "$SOCKET" "$EDU" "/dev/vfio/$(group_of "$NIC_2")"
}

# --- on the second kernel
cdev_of() { echo "/dev/vfio/devices/$(basename "/sys/bus/pci/devices/$1"/vfio-dev/vfio*)"; }

bench_acquire-cdev() {
	acquire-cdev "$SOCKET" "$EDU" "/dev/vfio/$(group_of "$EDU")"
}

# New spaces are made of what the configuration says.
bench_mapping-iommufd() {
	local backend
	for backend in type1 iommufd; do
		wait_until 20 is_free "$(group_of "$EDU")"
		{
			printf '[daemon]\nbackend = %s\n' $backend
			sed '/^\[daemon\]$/d; /^backend/d' "$WORK/vfiod.conf"
		} >new.conf
		cp new.conf "$WORK/vfiod.conf"
		vfioctl reload
		echo "spaces of $backend"
		mapping "$SOCKET" "$EDU" "/dev/vfio/$(group_of "$NIC_2")" "$(cdev_of "$NIC_1")" $backend
		echo
	done
}

# Before anybody has it from the daemon.
bench_shim-map() {
	shim "/dev/vfio/$(group_of "$NIC_2")"
}

bench_dma-map() {
	dma-map "$SOCKET" "$EDU"
}

for name in "$@"; do
	"bench_$name"
	echo
done

for device in "${taken[@]}"; do
	wait_until 20 is_free "$(group_of "$device")"
	vfioctl return "$(group_of "$device")" >>returned
done
scenario_end
