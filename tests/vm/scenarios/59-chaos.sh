# shellcheck shell=bash
# Clients of several users do what they like, devices come and go, drivers refuse, and anything may be killed at any
# time, the daemon included. After each round the kernel is as it was (tests/vm/chaos).
# Not under the unit: it has a supervisor of its own, which starts the daemon after each kill

# Where the kernel has devices' own nodes, they are lent, too.
modprobe -q iommufd || true
seed=${CHAOS_SEED:-$RANDOM$RANDOM}
note "seed $seed: make chaos SEED=$seed"
mkdir "$WORK/chaos" "$STATE_DIR"
chmod 0755 "$STATE_DIR"
/usr/bin/python3 -B "$VM/chaos/chaos.py" "$seed" "${CHAOS_SECONDS:-30}" "$WORK/chaos" "$(command -v vfiod)" \
	"$BUILD/vfiod-keeper" "$PROGRAMS/keep-running" "$SOCKET" "$EDU" "$NIC_1" "$NIC_2" "$NIC_A" "$NIC_B" >said || {
	cat said
	echo "--- log of the daemon, its last lines"
	tail -n 150 chaos/daemon.log
	fail "chaos, with seed $seed"
}
note "$(head -n 1 said)"
[ -z "${CHAOS_SEED:-}" ] || note "$(sed 1d said)"
