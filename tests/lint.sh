#!/bin/bash
# Everything that looks at the sources without running them:
#   lint.sh [PART…]      (all of them: see the end)
# BUILD and MAKE come from tests/tests.mk, and so do the compiler's flags, in $BUILD/lint. One line
# for each part, and all of the output of those that fail.
# The parts are called by their names.
# shellcheck disable=SC2317
set -u
shopt -s globstar nullglob
cd "$(dirname "$0")/.." || exit 1
: "${BUILD:?}" "${MAKE:=make}"

c_files=({daemon,client,proto,tests}/**/*.[ch])
# Tests are held to the compilers and the sanitizers: clang-tidy does not understand cmocka.
programs=({daemon,client,proto}/**/*.c)

part_format() {
	clang-format --dry-run -Werror "${c_files[@]}"
}

# One file a call: in a second file of the same call, version 14 thinks every va_list uninitialised.
# It counts the warnings that it does not show; nobody wants to know.
part_tidy() {
	printf '%s\0' "${programs[@]}" |
		xargs -0 -n 1 -P 2 clang-tidy --quiet -p "$BUILD/lint" 2>&1 |
		sed '/^[0-9]* warnings\{0,1\} generated\.$/d; /^Suppressed /d; /^Use -header-filter/d'
	return "$((PIPESTATUS[1]))"
}

# It knows the macros of sys/queue.h only when it is shown them.
part_cppcheck() {
	local queue
	queue=$(echo '#include <sys/queue.h>' | cc -E -M - | tr ' ' '\n' | grep '/sys/queue\.h$')
	cppcheck --quiet -j 2 --std=c11 --enable=warning,performance,portability --inline-suppr \
		--error-exitcode=1 --suppressions-list=tests/cppcheck.suppress --include="$queue" \
		-I. -I"$BUILD/gen" -DVFIOD_VERSION='"0"' -D_GNU_SOURCE daemon client proto tests
}

# Scripts are known by their first line, scenarios by their directive.
part_shellcheck() {
	local file scripts=()
	while IFS= read -r -d '' file; do
		read -r first <"$file" || true
		case ${first:-} in
		'#!'*sh | '# shellcheck shell='*) scripts+=("$file") ;;
		esac
	done 2>/dev/null < <(find . \( -path ./build -o -path ./.git \) -prune -o -type f -print0)
	shellcheck "${scripts[@]}"
}

part_python() {
	local file
	for file in tests/**/*.py client/**/*.py; do
		/usr/bin/python3 -B -W error -c 'import sys; compile(open(sys.argv[1]).read(), sys.argv[1], "exec")' \
			"$file" || return
	done
}

# mandoc lint on standard output; style is a matter of taste, warnings are not.
part_man() {
	mandoc -T lint -W warning man/*.[1-8] "$BUILD/org.vfiod.7"
}

# The programs in the README, as who copies them compiles them.
part_examples() {
	local directory status=0
	directory=$(mktemp -d)
	awk -v directory="$directory" '
		/^    #(define|include)/ && !inside { inside = 1; file = directory "/" ++n ".c" }
		inside { print substr($0, 5) >file }
		/^    }$/ { inside = 0 }' README.md
	[ "$(find "$directory" -name '*.c' | wc -l)" -ge 2 ] || status=1
	cc -Wall -Wextra -Werror -fsyntax-only -Iclient/include "$directory"/*.c || status=1
	rm -rf "$directory"
	return "$status"
}

# How much the units may have, in tenths (systemd-analyze security).
declare -A EXPOSURE=([vfiod]=15 [vfiod-privileged]=22)

# systemd-analyze says what is wrong on standard error, and ends with 0.
part_units() {
	local directory output unit status=0
	directory=$(mktemp -d)
	for unit in "${!EXPOSURE[@]}"; do
		sed "s#@sbindir@\|@libexecdir@#$PWD/$BUILD#" "systemd/$unit.service.in" >"$directory/$unit.service"
		cp "systemd/$unit.socket" "$directory"
	done
	output=$(SYSTEMD_LOG_LEVEL=warning systemd-analyze verify --man=no "$directory"/vfiod* 2>&1) || status=1
	for unit in "${!EXPOSURE[@]}"; do
		[ -n "$output" ] || systemd-analyze security --offline=yes --threshold="${EXPOSURE[$unit]}" --no-pager \
			"$directory/$unit.service" >"$directory/security" || {
			output=$(tail -n 1 "$directory/security")
			status=1
		}
	done
	rm -rf "$directory"
	printf '%s' "$output"
	[ "$status" = 0 ] && [ -z "$output" ]
}

# Every message that can be searched for is explained, and the other way round: each ID once, each used.
part_catalog() {
	local names name ids status=0
	ids=$(sed -n 's/^#define MESSAGE_[A-Z_]* "\([0-9a-f]\{32\}\)"$/\1/p' daemon/base/message-id.h | sort)
	[ -n "$ids" ] && diff <(echo "$ids") <(sed -n 's/^-- //p' systemd/vfiod.catalog | sort) || status=1
	[ -z "$(uniq -d <<<"$ids")" ] || status=1
	names=$(sed -n 's/^#define \(MESSAGE_[A-Z_]*\) .*/\1/p' daemon/base/message-id.h)
	[ "$(wc -l <<<"$names")" = "$(wc -l <<<"$ids")" ] || status=1
	for name in $names; do
		grep -rqw --include='*.c' "$name" daemon || { echo "$name is used nowhere"; status=1; }
	done
	# A field that the text names is one that the code gives.
	for name in $(grep -o '@[A-Z_]*@' systemd/vfiod.catalog | tr -d @ | sort -u); do
		grep -rq --include='*.c' "\"$name\"" daemon || { echo "nobody gives $name"; status=1; }
	done
	return "$status"
}

# "$MAKE everything" with the compiler of a variant.
build_with() {
	"$MAKE" --no-print-directory -j 2 VARIANT="$1" CC="$2" everything
}
part_gcc() { build_with release gcc; }
part_clang() { build_with clang clang; }

status=0
for part in "${@:-}"; do
	for name in ${part:-format shellcheck python man examples units catalog gcc clang cppcheck tidy}; do
		if output=$("part_$name" 2>&1); then
			echo "ok      lint/$name"
		else
			echo "FAILED  lint/$name"
			printf '%s\n' "$output"
			status=1
		fi
	done
done
exit $status
