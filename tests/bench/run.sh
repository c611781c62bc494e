#!/bin/bash
# `make bench`: what things cost, against peers of our own in the same run. Prints tables, and keeps
# every sample in build/bench/NAME.tsv (case, round, value; unit as in the table's head), and what
# NAME.gp draws in build/bench/NAME-*.svg. It says which goal is missed, and fails for none.
#   run.sh [BENCH…]      (all)
# On the host: coverage messages. In the virtual machine, those that follow each other in one boot:
# fairness acquire mapping dma-map.
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
bench_messages() {
	: >"$directory/vfiod.conf"
	"$BUILD/vfiod" --config "$directory/vfiod.conf" --socket "$directory/socket" \
		--state-dir "$directory/state" 2>"$directory/log" &
	daemon=$!
	for _ in $(seq 100); do
		[ ! -S "$directory/socket" ] || break
		kill -0 "$daemon" 2>/dev/null || { cat "$directory/log"; return 1; }
		sleep 0.1
	done
	"$BUILD/tests/bench/messages" "$directory/socket"
	kill "$daemon" && wait "$daemon"
	daemon=
}

bench_coverage() {
	"$BUILD/tests/bench/coverage"
}

# In one boot.
bench_vm() { # NAME…
	printf 'set -- %s\n. "%s/tests/bench/guest.sh"\n' "$*" "$PWD" >"$results/guest.sh"
	tests/vm/run.sh --plain "$results/guest.sh"
}

is_on_host() { # NAME
	[ "$1" = coverage ] || [ "$1" = messages ]
}

mkdir -p "$results"
echo "$(nproc) cores, load $(cut -d ' ' -f 1 /proc/loadavg) before it begins"
[ $# -gt 0 ] || set -- coverage messages fairness acquire mapping dma-map
while [ $# -gt 0 ]; do
	echo
	names=("$1")
	shift
	if is_on_host "${names[0]}"; then
		"bench_${names[0]}" | sort_out
	else
		while [ $# -gt 0 ] && ! is_on_host "$1"; do
			names+=("$1")
			shift
		done
		bench_vm "${names[@]}" | sort_out
	fi
	for name in "${names[@]}"; do
		[ ! -f "tests/bench/$name.gp" ] || draw "$name"
	done
done
