#!/bin/bash
# Runs fuzz targets, all at the same time, each for FUZZ_SECONDS (60), beginning with the inputs that
# are kept. A line for each target; an input that it fails on is printed, with how to run it again.
#   run.sh NAME…
#   run.sh --merge NAME…
# BUILD is where they are. What they find that is new stays in build/fuzz-found/NAME, to begin with the
# next time; --merge adds to those that are kept the fewest that reach code that no kept one does.
set -u
cd "$(dirname "$0")/../.." || exit 1
: "${BUILD:?}"
seconds=${FUZZ_SECONDS:-60}
found=build/fuzz-found
kept=tests/fuzz/corpus
# Many at a time: not a quarter of a gigabyte of freed memory each.
export ASAN_OPTIONS="quarantine_size_mb=32:${ASAN_OPTIONS:-}"
# Some of the targets are small, and know all that there is to know sooner.
small=" idl journal json lease udev "

# fuzz NAME OPTION…
fuzz() {
	local name=$1
	shift
	# Operations in bytes have no words.
	[ ! -f "tests/fuzz/dict/$name.dict" ] || set -- -dict="tests/fuzz/dict/$name.dict" "$@"
	"$BUILD/tests/fuzz/fuzz-$name" -artifact_prefix="$found/$name.fails/" \
		-max_len=4096 -timeout=20 "$@"
}

start() { # NAME
	local nicer=5
	[[ $small != *" $1 "* ]] || nicer=15
	mkdir -p "$found/$1" "$found/$1.fails"
	nice -n "$nicer" setpriv --pdeathsig TERM bash -c "$(declare -f fuzz); BUILD=$BUILD; found=$found; fuzz \"\$@\"" \
		fuzz "$1" -max_total_time="$seconds" -print_final_stats=1 "$found/$1" "$kept/$1" \
		>"$found/$1.log" 2>&1 &
}

report() { # NAME STATUS
	local log=$found/$1.log input runs coverage
	runs=$(sed -n 's/^stat::number_of_executed_units: //p' "$log")
	coverage=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
	if [ "$2" = 0 ] && [ "${runs:-0}" -gt 0 ]; then
		echo "ok      fuzz/$1: $runs runs, $coverage edges"
		return 0
	fi
	echo "FAILED  fuzz/$1 (exit status $2)"
	grep -vE '^(#[0-9]|INFO|stat::|"|####)' "$log" | head -n 60
	input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
	[ -z "$input" ] || {
		echo "--- the input ($input):"
		cat -v "$input"
		echo
		echo "--- again: make fuzz-build && $BUILD/tests/fuzz/fuzz-$1 $input"
		echo "    then keep it: mv $input $kept/$1/WHAT-IT-IS"
	}
	return 1
}

merge() { # NAME
	mkdir -p "$kept/$1" "$found/$1"
	# How often a line is reached is not looked at: tens of files, not hundreds.
	fuzz "$1" -set_cover_merge=1 -use_counters=0 "$kept/$1" "$found/$1" >"$found/$1.log" 2>&1 ||
		{ cat "$found/$1.log" && return 1; }
	echo "$kept/$1: $(find "$kept/$1" -type f | wc -l) inputs"
}

if [ "$1" = --merge ]; then
	shift
	for name in "$@"; do merge "$name"; done
	exit
fi
declare -A pids
for name in "$@"; do
	start "$name"
	pids[$name]=$!
done
result=0
for name in "$@"; do
	status=0
	wait "${pids[$name]}" || status=$?
	report "$name" "$status" || result=1
done
exit "$result"
