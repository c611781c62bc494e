#!/bin/sh
# Runs the parts of `make check`, one after another, all of them whatever fails, and adds up: every
# line "ok …" is one that passed, "FAILED …" or "not ok …" one that failed, "skipped …" one that
# was skipped. A part that fails without such a line counts as one.
#   check.sh PART…      (make targets)
# With CI set, a skipped test is a failed one: what cannot run there must be named in the README.
set -u

log=$(mktemp)
trap 'rm -f "$log"' EXIT
passed=0 failed=0 skipped=0
broken=

for part in "$@"; do
	echo "--- $part"
	begin=$(date +%s)
	{ ${MAKE:-make} --no-print-directory "$part" 2>&1; echo "exit status $?"; } | tee "$log" |
		grep --line-buffered -v "^exit status 0\$"
	ok=$(grep -c '^ok ' "$log")
	bad=$(grep -cE '^(FAILED|not ok) ' "$log")
	skip=$(grep -c '^skipped ' "$log")
	if [ "$(tail -n 1 "$log")" != "exit status 0" ] && [ "$bad" = 0 ]; then
		bad=1
	fi
	[ "$bad" = 0 ] || broken="$broken $part"
	passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + skip))
	echo "    $part: $ok passed, $bad failed, $(($(date +%s) - begin)) s"
done

if [ -n "${CI:-}" ]; then
	failed=$((failed + skipped)) skipped=0
fi
[ -z "$broken" ] || echo "Failed:$broken"
[ "$skipped" = 0 ] || echo "Skipped: $skipped"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
