#!/bin/sh
# Runs cmocka test programs, under $RUNNER if set; prints one line for each, and all of the
# output of those that fail. Exit status 1 if any failed. The output goes to a file: a process that a
# failed test leaves behind would hold a pipe open for ever.
status=0
output=$(mktemp)
trap 'rm -f "$output"' EXIT
for program in "$@"; do
	name=${program#build/*/tests/}
	# shellcheck disable=SC2086
	if timeout --kill-after=5 300 ${RUNNER:-} "$program" >"$output" 2>&1 </dev/null; then
		echo "ok      $name: $(grep -c '^\[       OK \]' "$output") tests"
	else
		echo "FAILED  $name (exit status $?)"
		cat "$output"
		status=1
	fi
done
exit $status
