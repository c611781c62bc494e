#!/bin/bash
# `make bench`: what things cost, against peers of our own in the same run. Prints tables, and keeps
# every sample in build/bench/NAME.tsv (case, round, value; unit as in the table's head), and what
# NAME.gp draws in build/bench/NAME-*.svg. It says which goal is missed, and fails for none.
#   run.sh [BENCH…]      (all)
# On the host: coverage messages connections restart shim acquire-here. In the virtual machine, those that follow each other in one boot:
# fairness acquire mapping dma-map shim-map; in one where time is instructions, acquire-counted; on the second
# kernel (tests/vm/kernel2.sh builds it once, ten minutes) acquire-cdev and mapping-iommufd.
# BUILD is where the programs are.
set -eu -o pipefail
cd "$(dirname "$0")/../.." || exit 1
: "${BUILD:?}"
results=build/bench
directory=$(mktemp -d)
daemon=
trap '[ -z "$daemon" ] || kill "$daemon"; rm -rf "$directory"' EXIT

# Samples go to their files, and what is to be drawn; all else is for people.
sort_out() {
	awk -v results="$results" -F '\t' '
		{ sub(/\r$/, "") }
		$1 == "tsv" {
			file = results "/" $2 ".tsv"
			if (!(file in begun)) { print "case\tround\tvalue" >file; begun[file] = 1 }
			printf "%s\t%s\t%s\n", $3, $4, $5 >file
			next
		}
		$1 == "plot" {
			file = results "/" $2 ".dat"
			if (!(file in begun)) { printf "" >file; begun[file] = 1 }
			sub(/^plot\t[^\t]*\t/, "")
			print >file
			next
		}
		{ print; fflush() }'
}

draw() { # NAME
	(cd "$results" && gnuplot "$OLDPWD/tests/bench/$1.gp" && echo "drawn: $results/$1-*.svg")
}

# No rule, and a directory of its own: this daemon does nothing but answer.
start_daemon() { # [LINE]… of its configuration
	printf '%s\n' "$@" >"$directory/vfiod.conf"
	"$BUILD/vfiod" --config "$directory/vfiod.conf" --socket "$directory/socket" \
		--state-dir "$directory/state" 2>"$directory/log" &
	daemon=$!
	for _ in $(seq 100); do
		[ ! -S "$directory/socket" ] || return 0
		kill -0 "$daemon" 2>/dev/null || break
		sleep 0.1
	done
	cat "$directory/log"
	return 1
}
stop_daemon() {
	kill "$daemon" && wait "$daemon"
	daemon=
}

bench_messages() {
	start_daemon
	"$BUILD/tests/bench/messages" "$directory/socket"
	stop_daemon
}

# Other users have to get there.
bench_connections() {
	chmod 0755 "$directory"
	ulimit -n 16384
	start_daemon "[daemon]" "max-connections = 12000" "max-connections-per-user = 1000"
	"$BUILD/tests/bench/connections" "$directory/socket" "$daemon"
	stop_daemon
}

# Killed, and started again by what stands for systemd.
bench_restart() {
	local pid_file=$directory/pid
	chmod 0755 "$directory"
	ulimit -n 16384
	printf '%s\n' "[daemon]" "max-connections = 4000" "max-connections-per-user = 4000" >"$directory/vfiod.conf"
	"$BUILD/tests/vm/programs/keep-running" "$pid_file" "$directory/socket" "$BUILD/vfiod" \
		--config "$directory/vfiod.conf" --state-dir "$directory/state" --fd-store 8192 2>"$directory/log" &
	daemon=$!
	for _ in $(seq 100); do
		[ ! -s "$pid_file" ] || break
		sleep 0.1
	done
	"$BUILD/tests/bench/restart" "$directory/socket" "$pid_file" || tail -n 5 "$directory/log"
	# It may be one that has only just started.
	stop_daemon || daemon=
}

bench_coverage() {
	"$BUILD/tests/bench/coverage"
}

# By the processor of this machine, not an emulated one; the group is a file.
bench_acquire-here() {
	umockdev-wrapper "$BUILD/tests/bench/stand-in" "$directory" 2>"$directory/log" &
	daemon=$!
	for _ in $(seq 100); do
		[ ! -S "$directory/socket" ] || break
		sleep 0.1
	done
	umockdev-wrapper "$BUILD/tests/bench/acquire" "$directory/socket" 0000:01:00.0 "$directory/group" stand-in ||
		tail -n 5 "$directory/log"
	stop_daemon
}

bench_shim() {
	"$BUILD/tests/bench/shim"
}

# In one boot, its processors at work at the same time. It has the clock that real machines have (tests/vm/machine.sh);
# with the HPET each look at the time would be a system call and an exit to QEMU, and vfiod's loop looks six times a
# lease, the bare one never.
bench_vm() { # NAME…
	printf 'set -- %s\n. "%s/tests/bench/guest.sh"\n' "$*" "$PWD" >"$results/guest.sh"
	MACHINE_KIND=${MACHINE_KIND:-parallel} tests/vm/run.sh --plain "$results/guest.sh"
}

# What an emulated processor takes for a switch of processes or a wake-up of the other one is QEMU's own, and
# the load's on this host. What is to be done for a lease does not depend on it.
bench_acquire-counted() {
	MACHINE_KIND=counted bench_vm acquire-counted
}

# What iommufd has to do with, on the kernel that has it.
bench_second() { # NAME…
	VFIOD_VM_KERNEL=second bench_vm "$@"
}
bench_acquire-cdev() {
	bench_second acquire-cdev
}
bench_mapping-iommufd() {
	bench_second mapping-iommufd
}

# Or in a machine of its own.
has_own_run() { # NAME
	case $1 in coverage | messages | connections | restart | shim | acquire-here | acquire-counted | acquire-cdev | mapping-iommufd) true ;; *) false ;; esac
}

mkdir -p "$results"
echo "$(nproc) cores, load $(cut -d ' ' -f 1 /proc/loadavg) before it begins"
[ $# -gt 0 ] || set -- coverage messages connections restart shim acquire-here fairness acquire mapping dma-map shim-map acquire-counted acquire-cdev mapping-iommufd
while [ $# -gt 0 ]; do
	echo
	names=("$1")
	shift
	if has_own_run "${names[0]}"; then
		"bench_${names[0]}" | sort_out
	else
		while [ $# -gt 0 ] && ! has_own_run "$1"; do
			names+=("$1")
			shift
		done
		bench_vm "${names[@]}" | sort_out
	fi
	for name in "${names[@]}"; do
		[ ! -f "tests/bench/$name.gp" ] || draw "$name"
	done
done
