#!/bin/bash
# Runs the parts of `make check`, all of them whatever fails, and adds up: every line "ok …" is one
# that passed, "FAILED …" or "not ok …" one that failed, "skipped …" one that was skipped. A part that
# fails without such a line counts as one.
#   check.sh PART… [-- PART…]…      (make targets)
# The groups between "--" run beside each other, the parts of a group one after another. The first
# group's lines come as they are said, each other part's when it is done.
# With CI set, a skipped test is a failed one, unless the README names it: "skipped NAME".
set -u

cd "$(dirname "$0")/.." || exit 1
log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT
trap 'kill -- $(jobs -p) 2>/dev/null; exit 130' INT TERM HUP

run_part() { # PART: its output, the last line being "exit status N"
	${MAKE:-make} --no-print-directory "$1" 2>&1
	echo "exit status $?"
}

# What counts, of a part that has ended.
report() { # PART SECONDS
	local ok bad skip
	ok=$(grep -c '^ok ' "$log/$1")
	bad=$(grep -cE '^(FAILED|not ok) ' "$log/$1")
	skip=$(grep -c '^skipped ' "$log/$1")
	[ "$(tail -n 1 "$log/$1")" = "exit status 0" ] || [ "$bad" != 0 ] || bad=1
	echo "$1 $ok $bad $skip" >>"$log/counts"
	echo "    $1: $ok passed, $bad failed, $2 s"
}

run_group() { # live|quiet PART…
	local how=$1 part begin
	shift
	for part in "$@"; do
		begin=$SECONDS
		if [ "$how" = live ]; then
			echo "--- $part"
			run_part "$part" | tee "$log/$part" | grep --line-buffered -v '^exit status 0$'
			report "$part" $((SECONDS - begin))
		else
			run_part "$part" >"$log/$part"
			{
				echo "--- $part"
				grep -v '^exit status 0$' "$log/$part"
				report "$part" $((SECONDS - begin))
			} >"$log/said"
			cat "$log/said"
		fi
	done
}

how=live group=()
for part in "$@" --; do
	if [ "$part" != -- ]; then
		group+=("$part")
	elif [ "${#group[@]}" != 0 ]; then
		run_group "$how" "${group[@]}" &
		how=quiet group=()
	fi
done
wait

passed=0 failed=0 skipped=0 broken=
while read -r part ok bad skip; do
	passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + skip))
	[ "$bad" = 0 ] || broken="$broken $part"
done <"$log/counts"
if [ "$skipped" != 0 ]; then
	echo "Skipped:"
	while read -r _ name reason; do
		echo "  $name $reason"
		[ -z "${CI:-}" ] || grep -q "skipped ${name%:}" README.md || failed=$((failed + 1))
	done < <(grep -h '^skipped ' "$log"/*)
fi
[ -z "$broken" ] || echo "Failed:$broken"
echo "In all $SECONDS s."
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
