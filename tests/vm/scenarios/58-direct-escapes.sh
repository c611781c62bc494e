# shellcheck shell=bash
# What direct mode does not promise, done by alice: pins that outlive who was billed, a limit that a child keeps,
# page tables that show other memory than what is pinned. Her control group's memory.max holds in each, bob's book
# is as it was, and nothing is left of it when her processes have ended.
# shellcheck source=tests/vm/guest/spaces
. "$VM/guest/spaces"

start_daemon <<END
[rule trusted]
match = pci:address=$NIC_2
allow = user:alice
trusted = yes
[rule alice]
match = pci:address=$EDU
allow = user:alice
[rule bob]
match = pci:address=$NVME
allow = user:bob
END
MIB=$((1 << 20))
ulimit -l 8192
group=$CGROUPS/bounded
new_cgroup bounded
echo $((64 * MIB)) >"$group/memory.max"
new_cgroup other

# Bob pays for what he has in a space.
client bob bob "$CGROUPS/other"
ask bob acquire lease "$NVME"
ask bob create space
ask bob attach space lease
ask bob memfd m 4M
ask bob add space m
ask bob map space m 0 0x0 4M
BOB_PAGES=1024
assert_ledger bob "host=1024/1024 uid:1001=1024/1024"
# His book, and what memory.max bounds: what alice has pinned is in it.
assert_bounded() {
	local line
	ask bob ledger
	line=" $ANSWER "
	[[ $line == *" uid:1001=1024/1024 "* ]] || fail "line ${BASH_LINENO[0]}: bob's book has changed: $ANSWER"
	pinned
	PINS=$((PINNED - PINNED_AT_BEGIN - BOB_PAGES))
	CURRENT=$(<"$group/memory.current")
	((PINS * 4096 <= CURRENT && CURRENT <= 64 * MIB)) ||
		fail "line ${BASH_LINENO[0]}: $PINS pages are pinned, the control group has $CURRENT bytes"
}
# Nothing of hers is left but bob's.
is_given_back() {
	ask bob ledger
	[ "$ANSWER" = "host=1024/1024 uid:1001=1024/1024" ] && pinned && [ $((PINNED - PINNED_AT_BEGIN)) = "$BOB_PAGES" ] &&
		is_with_host "$EDU" && is_with_host "$NIC_2"
}
is_with_host() { [ "$(driver_of "$1")" != vfio-pci ]; }

# Forty children: each pins what it may lock, and ends. What they have pinned stays, and nobody is billed.
client alice alice "$group"
ask alice lease lease 4M "$EDU"
ask alice container v lease
ask alice pinners v 40 8M
echo "children: $ANSWER"
value killed
[ "$VALUE" -gt 0 ] || fail "nobody was killed: what was shown?"
value pinned
assert_bounded
assert_eq "$PINS" $((VALUE * 2048)) "pages pinned"
((PINS > 3072)) || fail "no more than what was paid for was pinned: what was shown?"
assert_locked "${CLIENT[alice]}" 0
assert_ledger bob "host=1024/2048 uid:1000=0/1024 uid:1001=1024/1024"
# The next one hits its limit as well, though all that came before have ended.
ask alice pinners v 1 8M
kill_client alice
wait_until 10 is_given_back

# A child that was born while the limit was higher: the lease ends, and it pins on.
client alice alice "$group"
ask alice lease lease 24M "$EDU"
ask alice container v lease
ask alice fork child
value pid
child=$VALUE
ask alice child-pins child v 0x0 8M
ask alice release lease
value lingering.0
assert_eq "$(awk '/^Max locked memory/ { print $4, $5 }' "/proc/${CLIENT[alice]}/limits")" "$((8 * MIB)) $((8 * MIB))"
assert_eq "$(awk '/^Max locked memory/ { print $4, $5 }' "/proc/$child/limits")" "$((32 * MIB)) $((32 * MIB))"
ask alice child-pins child v 0x10000000 24M
assert_bounded
assert_eq "$PINS" 8192 "pages pinned"
tell alice child-pins child v 0x20000000 4K
hear alice
assert_eq "$ANSWER" "failed child-pins: Cannot allocate memory"
# The lease is over; what it had reserved is charged as long as its group is open.
assert_ledger bob "host=1024/7168 uid:1000=0/6144 uid:1001=1024/1024"
kill -KILL "$child"
ask alice child-ends child
ask alice forget-container v
wait_until 10 is_given_back

# The page tables show memory that is observed already, and other frames are pinned: what is observed is less than
# the truth, and that is all. The bill is right.
ask alice lease both 32M "$NIC_2"
ask alice container v both
ask alice memfd m 8M
ask alice touch m 0 8M
ask alice address m
shown=$ANSWER
ask alice pin v m 0x0 8M
report() { # IOVA ADDRESS
	ask alice call org.vfiod.Ledger.ReportMap "{\"container\":1,\"iova\":\"$1\",\"address\":\"$2\",\"length\":8388608}"
}
is_observed() { ask alice observed && [ "$ANSWER" = "$1" ]; }
report 0x0 "$shown"
wait_until 20 is_observed uid:1000=2048/2048
ask alice anonymous hidden 8M
ask alice address hidden
hidden=$ANSWER
ask alice pin v hidden 0x10000000 8M
ask alice replace hidden m
report 0x10000000 "$hidden"
wait_until 20 is_observed uid:1000=2048/4096
assert_bounded
assert_eq "$PINS" 4096 "pages pinned"
assert_locked "${CLIENT[alice]}" 4096
assert_ledger bob "host=1024/9216 uid:1000=0/8192 uid:1001=1024/1024"
vfioctl ledger
vfioctl audit | tee told
assert_contains "$(<told)" "as observed"
# Of what was observed as it was, an audit finds it.
ask alice unpin v 0x10000000 8M
ask alice anonymous changed 8M
ask alice address changed
changed=$ANSWER
ask alice pin v changed 0x10000000 8M
report 0x10000000 "$changed"
wait_until 20 is_observed uid:1000=4096/4096
ask alice replace changed m
assert_bounded
assert_eq "$PINS" 4096 "pages pinned"
refused vfioctl audit >told
cat told
assert_contains "$(<told)" "2048 differ"
kill_client alice
wait_until 10 is_given_back

assert_bounded
dismiss bob
assert_over
