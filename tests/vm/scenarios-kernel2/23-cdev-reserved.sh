# shellcheck shell=bash
# Two processes of a user have a device each by mode cdev, and have reserved memory, which the kernel bills
# to the user: each may map what it has reserved, whatever the other has, and all of them together not a
# page more. The account is charged what is reserved, once. So over a restart, and where one keeps what it
# has mapped beyond its lease. Afterwards each may lock what it could before.

# shellcheck source=tests/vm/guest/kept
. "$VM/guest/kept"
# shellcheck source=tests/vm/guest/cdev
. "$VM/guest/cdev"
start_kept_daemon <<END
[rule all]
match = pci:address=$EDU
match = pci:address=$NIC_1
match = pci:address=$NIC_2
allow = user:alice
require-reset = no
END
ulimit -l 8192
limit() { awk '/^Max locked memory/ { print $4 / 1048576, $5 / 1048576 }' "/proc/${CLIENT[$1]}/limits"; }
assert_limits() { # MIB NAME…
	local name
	for name in "${@:2}"; do
		assert_eq "$(limit "$name")" "$1 $1" "RLIMIT_MEMLOCK of $name"
	done
}
has_limit() { [ "$(limit "$1")" = "$2 $2" ]; }
charged() { vfioctl ledger --json | json accounts 0 kernelBillBytes; }
reserve() { # NAME MIB
	as_user alice "$PROGRAMS/lib/call" org.vfiod.Ledger.Reserve \
		"{\"token\":\"$(token_of "$1")\",\"memoryBytes\":$(($2 << 20))}" >reserved
}
MIB=$((1 << 20))

cdev_client one alice --memory 96 "$EDU"
assert_limits 104 one
cdev_client two alice --memory 96 "$NIC_1"
assert_limits 200 one two
assert_eq "$(charged)" $((192 * MIB)) "charged"

# Each what it has reserved; all together that and what each may lock anyway, which the kernel counts once.
bound one "$EDU"
first=$IOAS
bound two "$NIC_1"
second=$IOAS
told ok one map "$first" 96
told ok two map "$second" 96
note "uid 1000 has pinned $(awk '/^VmPin:/ { sum += $2 } END { print sum / 1024 }' /proc/"${CLIENT[one]}"/status /proc/"${CLIENT[two]}"/status) MiB in two processes, each of which may lock $(limit one | cut -d' ' -f1)"
told ok two map "$second" 8
told "failed ENOMEM" one map "$first" 1
told "failed ENOMEM" two map "$second" 1
vfioctl audit

# A third one that reserves nothing gets nothing.
cdev_client three alice "$NIC_2"
assert_limits 8 three
bound three "$NIC_2"
told "failed ENOMEM" three map "$IOAS" 1
gone three

# More for one is more for both.
reserve two 16
assert_limits 216 one two
assert_eq "$(charged)" $((208 * MIB)) "charged"
told ok two map "$second" 16

# The next daemon has it all.
kill_kept
assert_limits 216 one two
assert_eq "$(charged)" $((208 * MIB)) "charged"
reserve one 4
assert_limits 220 one two
told ok one map "$first" 4
vfioctl audit

# Its lease is over, and the device it has kept keeps the memory pinned: the user is billed for that, and
# so the other needs its share still.
told ok one keep "$EDU"
told "ok lingering" one release
assert_limits 8 one
assert_limits 220 two
assert_eq "$(charged)" $((212 * MIB)) "charged"
kill_kept
assert_limits 220 two
told "failed ENOMEM" two map "$second" 1
# It cannot be taken from, nor lent to, who has a lease that the kernel bills otherwise.
in_background group as_user alice "$PROGRAMS/lib/lease" "$NIC_2"
group=$PID
said group granted
assert_eq "$(awk '/^Max locked memory/ { print $4 }' "/proc/$group/limits")" $((8 * MIB))
end "$group"
gone one
wait_until 20 has_limit two 120
assert_eq "$(charged)" $((112 * MIB)) "charged"
assert_eq "$(awk '/^VmPin:/ { print $2 }' "/proc/${CLIENT[two]}/status")" $((120 * 1024))
told "failed ENOMEM" two map "$second" 1
told "ok released" two release
assert_limits 8 two
gone two
wait_until 20 is_unchanged
