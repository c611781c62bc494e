#!/bin/sh
# Runs cmocka test programs, under $RUNNER if set; prints one line for each, and all of the
# output of those that fail. Exit status 1 if any failed.
status=0
for program in "$@"; do
	name=${program#build/*/tests/}
	# shellcheck disable=SC2086
	if output=$(timeout 300 ${RUNNER:-} "$program" 2>&1); then
		echo "ok      $name: $(printf '%s\n' "$output" | grep -c '^\[       OK \]') tests"
	else
		echo "FAILED  $name (exit status $?)"
		printf '%s\n' "$output"
		status=1
	fi
done
exit $status
