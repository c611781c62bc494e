# shellcheck shell=bash
# Who asks for more than the account, the rule or the host allows is told whose limit it is, what it is, what
# is there and what was asked for; nothing is pinned, and nothing locked.
# shellcheck source=tests/vm/guest/spaces
. "$VM/guest/spaces"

configuration="[daemon]
host-limit = 48M
[rule alice]
match = pci:address=$EDU
match = pci:address=$NIC_1
allow = user:alice
account = team
[rule bob]
match = pci:address=$NIC_2
allow = user:bob
kernel-bill-limit = 1G
[account team]
owed-limit = 32M
kernel-bill-limit = 56M
[account uid]
owed-limit = 1G"
start_daemon <<<"$configuration"
client alice alice
client bob bob
ask alice acquire two "$EDU" "$NIC_1"
ask alice create space 1
ask alice memfd m 64M
ask alice touch m 0 40M
ask alice add space m
MIB=$((1 << 20))

# asked_too_much CLIENT ACCOUNT LIMIT LIMIT_MIB STATE_MIB REQUESTED_MIB COMMAND…
asked_too_much() {
	ask alice ledger
	local book=$ANSWER
	pinned
	local before=$PINNED
	ask_in_vain "$1" "${@:7}"
	assert_eq "$ANSWER" "Broker.LimitExceeded account=$2 limit=$3 limitBytes=$(($4 * MIB)) stateBytes=$(($5 * MIB)) requestedBytes=$(($6 * MIB))"
	assert_ledger alice "$book"
	pinned
	assert_eq "$PINNED" "$before" "pages pinned"
}

# Without a container nothing is owed; the first attach finds that it is too much.
ask alice map space m 0 0x0 40M
asked_too_much alice team owed-limit 32 0 40 attach space two 0
ask alice describe space
value mappings
assert_eq "$VALUE" 1
[[ $ANSWER != *containers* ]] || fail "a container is left: $ANSWER"
ask alice unmap space 0x0 40M

ask alice attach space two 0
keeper_of alice space
keeper=${KEEPER}
ask alice map space m 0 0x0 24M
assert_locked "$keeper" 6144
asked_too_much alice team owed-limit 32 24 9 map space m 24M 0x10000000 9M
# What is paid for costs nothing.
ask alice map space m 0 0x10000000 24M
assert_eq "$ANSWER" newOwedBytes=0
asked_too_much alice team kernel-bill-limit 56 48 9 map space m 0 0x20000000 9M
# A second container costs the kernel's bill of the first, but for iommufd.
if [ "$(bills 2)" = 2 ]; then
	asked_too_much alice team kernel-bill-limit 56 48 48 attach space two 1
fi
assert_locked "$keeper" 12288
ask alice describe space
value containers.0.number
[[ $ANSWER != *containers.1.* ]] || fail "a container is left: $ANSWER"
ask alice map space m 24M 0x20000000 8M
assert_ledger alice "host=8192/14336 team=8192/14336"

# The host's limit, though bob's own is far away. With what alice has, too.
ask bob acquire third "$NIC_2"
ask bob create space
ask bob attach space third
ask bob memfd m 32M
ask bob touch m 0 32M
ask bob add space m
asked_too_much bob host host-limit 48 32 17 map space m 0 0x0 17M
ask bob map space m 0 0x0 16M
ask alice unmap space 0x20000000 8M
ask bob map space m 16M 0x1000000 8M
asked_too_much bob host host-limit 48 48 8 map space m 24M 0x2000000 8M

# Limits are those of the configuration that holds now: less than what is there takes nothing away.
sed -i 's/owed-limit = 32M/owed-limit = 8M/; s/host-limit = 48M/host-limit = 1G/' vfiod.conf
vfioctl reload
ask bob map space m 24M 0x2000000 8M
asked_too_much alice team owed-limit 8 24 1 map space m 32M 0x30000000 1M
ask alice map space m 0 0x30000000 1M
assert_eq "$ANSWER" newOwedBytes=0
vfioctl ledger
dismiss alice
dismiss bob
assert_over
