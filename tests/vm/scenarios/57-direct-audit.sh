# shellcheck shell=bash
# What audit finds of those who map by themselves: that all is as it should be, as far as that can be known;
# limits that somebody else has changed, more locked than is reserved, a bound that is no more, and pages that
# are not those that were reported.
# shellcheck source=tests/vm/guest/spaces
. "$VM/guest/spaces"

start_daemon <<END
[rule alice]
match = pci:address=$EDU
match = pci:address=$NIC_1
allow = user:alice
[rule bob]
match = pci:address=$NIC_2
allow = user:bob
trusted = yes
END
MIB=$((1 << 20))
# assert_audit right|wrong [INDEX KEY PART]…: all of it, and what is said of leases.
assert_audit() {
	local said is_right=true
	[ "$1" = right ] || is_right=false
	said=$(vfioctl audit --json) || true
	assert_eq "$(json isRight <<<"$said")" "$is_right" "line ${BASH_LINENO[0]}: $said"
	shift
	while [ $# -gt 0 ]; do
		assert_contains "$(json leases "$1" "$2" <<<"$said")" "$3"
		shift 3
	done
}

# Two leases of one process, which has mapped more than either, and no more than both.
ulimit -l 8192
client alice alice
alice=${CLIENT[alice]}
ask alice lease first 32M "$EDU"
ask alice lease second 16M "$NIC_1"
ask alice container v first
ask alice anonymous m 44M
ask alice pin v m 0x0 44M
assert_audit right 0 reservedBytes $((32 * MIB)) 0 lockedBytes $((44 * MIB)) 0 lockLimitBytes $((56 * MIB)) \
	0 memoryMaxBytes $((1 << 40)) 0 isTrusted false 0 isWrong false \
	0 finding "for which nobody is billed; its memory.max bounds that" \
	1 reservedBytes $((16 * MIB)) 1 pid "$alice" 1 isWrong false
# The second is over, and what was mapped with it is still there.
ask alice release second
assert_audit wrong 0 isWrong true 0 finding "bills its process $((44 * MIB)) bytes (VmLck); $((40 * MIB))"
ask alice unpin v 0x0 44M
assert_audit right 0 lockedBytes 0 0 isWrong false

# Root has raised its limit, or lowered it.
prlimit --pid "$alice" --memlock=$((40 * MIB)):$((41 * MIB))
assert_audit wrong 0 finding "somebody else has raised what its process may lock"
prlimit --pid "$alice" --memlock=$((20 * MIB)):$((20 * MIB))
assert_audit right 0 lockLimitBytes $((20 * MIB)) 0 finding "somebody has lowered its RLIMIT_MEMLOCK"

# Nothing bounds it any more.
echo max >"$CGROUPS/memory.max"
assert_audit wrong 0 memoryMaxBytes "" 0 finding "no memory.max bounds what it can pin any more"

# Whom the rules trust need not be bounded. What he reports is compared.
client bob bob
ask bob lease lease 32M "$NIC_2"
ask bob anonymous m 16M
ask bob memfd other 16M
ask bob address m
ask bob call org.vfiod.Ledger.ReportMap "{\"container\":1,\"iova\":\"0x0\",\"address\":\"$ANSWER\",\"length\":$((16 * MIB))}"
all_is_observed() {
	ask bob observed
	[ "$ANSWER" = "uid:1001=4096/4096" ]
}
wait_until 30 all_is_observed
assert_audit wrong 1 isTrusted true 1 reportedBytes $((16 * MIB)) 1 differentPages 0 1 isWrong false \
	1 memoryMaxBytes "" 1 finding "for which nobody is billed; nothing bounds that"
ask bob replace m other
assert_audit wrong 1 isWrong true 1 finding "pages that it reported are not those that were observed"
vfioctl audit || true
echo 1T >"$CGROUPS/memory.max"
dismiss bob
ask alice release first
assert_audit right
dismiss alice
assert_over
