# shellcheck shell=bash
# Not by iommufd: it is about what the kernel bills twice
# What people are told of pinned pages: by ledger, status, leases, audit and monitor of vfioctl, and by the
# sentences of libvfiod; and that limits of the configuration, an account's and a rule's, are kept.
# shellcheck source=tests/vm/guest/spaces
. "$VM/guest/spaces"

start_daemon <<END
[daemon]
host-limit = 256M
[account uid]
owed-limit = 64M
[rule nics]
match = pci:address=$NIC_1
match = pci:address=$NIC_2
allow = user:alice
kernel-bill-limit = 96M
END
assert_eq "$(vfioctl ledger)" "Nothing is pinned or reserved."
in_background monitor vfioctl monitor
wait_until 30 grep -q ready monitor
one=$(group_of "$NIC_1") two=$(group_of "$NIC_2")

client alice alice
ask alice acquire nics "$NIC_1" "$NIC_2"
ask alice create space 1
ask alice memfd m 80M
ask alice add space m
ask alice map space m 0 0x100000 32M
ask alice attach space nics 0
ask alice attach space nics 1
# The account's limit, and that of the rule by which it has the groups.
assert_eq "$(vfioctl ledger)" "ACCOUNT   OWED              KERNEL BILL       SAVED
uid:1000  32.0 of 64.0 MiB  64.0 of 96.0 MiB  32.0 MiB
This host: 32.0 of 256.0 MiB pinned; the kernel bills 64.0 MiB"
# How wide the column of owners is depends on the process id.
assert_eq "$(vfioctl ledger --by space | tr -s ' ')" \
	"SPACE STATE ACCOUNT OWNER GROUPS OWED KERNEL BILL SAVED
S1 live uid:1000 alice/${CLIENT[alice]} $one,$two 32.0 MiB 64.0 MiB 32.0 MiB"
assert_eq "$(vfioctl ledger --by lease --no-legend)" \
	"L1  uid:1000  $one,$two  S1  32.0 MiB  64.0 MiB  32.0 MiB"
assert_contains "$(vfioctl leases)" "granted in S1"
assert_contains "$(vfioctl status)" "Ledger  uid:1000 32.0 of 64.0 MiB (kernel bills 64.0 of 96.0 MiB)"
assert_contains "$(vfioctl audit)" "S1     live   64.0 MiB     64.0 MiB  as charged"

ask_in_vain alice map space m 32M 0x10000000 20M
assert_contains "$ANSWER" "Broker.LimitExceeded"
assert_contains "$ANSWER" "limit=kernel-bill-limit"
assert_contains "$ANSWER" "limitBytes=100663296"
ask alice detach space nics 1
ask_in_vain alice map space m 32M 0x10000000 36M
assert_contains "$ANSWER" "limit=owed-limit"
assert_contains "$ANSWER" "stateBytes=33554432"
assert_contains "$(vfioctl ledger --no-legend)" "uid:1000  32.0 of 64.0 MiB  32.0 of 96.0 MiB  0 B"

# A hole in what is mapped: the device has the old page, and audit says so to administrators.
ask alice punch m 0 4K
assert_contains "$(refused vfioctl audit)" "S1     live   32.0 MiB     32.0 MiB  1 differs"
assert_contains "$(refused as_user alice vfioctl audit 2>&1)" "Administrators only"
# A reload holds for what is mapped from now on.
sed -i 's/owed-limit = 64M/owed-limit = 16M/' vfiod.conf
vfioctl reload
assert_contains "$(vfioctl ledger)" "32.0 of 16.0 MiB"
ask_in_vain alice map space m 32M 0x10000000 4K
assert_contains "$ANSWER" "limitBytes=16777216"

dismiss alice
is_empty() { [ "$(vfioctl ledger)" = "Nothing is pinned or reserved." ]; }
wait_until 10 is_empty
assert_pinned 0
assert_contains "$(vfioctl audit)" "The books are right."
for words in "space S1 created" "group $two: attached to space S1" "limit exceeded" \
	"group $two: detached from space S1" "space S1 ended"; do
	wait_until 10 grep "$words" monitor
done
