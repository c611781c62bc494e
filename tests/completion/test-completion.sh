#!/bin/bash
# Completion in bash, zsh and fish themselves: all of them know every command and option that vfioctl's
# help names, and offer what fits the place. $VFIOCTL is the real one; its names are made up here.
set -u
cd "$(dirname "$0")/../.." || exit 1
: "${VFIOCTL:?}"
VFIOCTL=$(realpath "$VFIOCTL")
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
status=0

# The command that the shells call.
cat >"$directory/vfioctl" <<'END'
#!/bin/sh
for word; do
	case $word in
	devices) printf '0000:02:01.0\tIntel\n0000:02:02.0\tIntel: the second\n0000:05:00.0\tNVMe\n' ;;
	groups) printf '7\tthree\n13\tone\n' ;;
	pools) printf 'nics\tthree groups\n' ;;
	leases) printf 'L3\talice qemu/4711\n' ;;
	esac
done
END
chmod +x "$directory/vfioctl"
PATH=$directory:$PATH

# What each shell offers for lines: "LINE<tab>word", one a line. Quoted text is for the shells.
# shellcheck disable=SC2016,SC2317
in_bash() { # LINE…
	bash --norc -c '
		source client/completion/vfioctl
		complete -p vfioctl >/dev/null || exit
		for line; do
			COMP_LINE=$line COMP_POINT=${#line}
			_vfioctl
			# What readline makes of it: it keeps what stands before the last colon.
			kept=${line##*[[:blank:]]}
			kept=${kept%"${kept##*:}"}
			for word in "${COMPREPLY[@]}"; do printf "%s\t%s\n" "$line" "$kept$word"; done
		done' bash "$@"
}
# With an option whose value may be left out it offers that with the equals sign, too; and it repeats the
# option before the value.
# shellcheck disable=SC2016,SC2317
in_fish() { # LINE…
	HOME=$directory fish --no-config -c '
		source client/completion/vfioctl.fish
		for line in $argv
			for word in (complete -C $line)
				printf "%s\t%s\n" $line $word
			end
		end' "$@" | cut -f 1,2 | sed 's|\t--[a-z-]*=\(.\)|\t\1|; s|=$||'
}
# It knows the last part of a path only.
# shellcheck disable=SC2317
in_zsh() { # LINE…
	timeout 120 zsh -f tests/completion/zsh-offers "$@" | sed 's|\ttest-|\ttests/completion/test-|'
}

lines=() words=()
offers() { # LINE WORD…: exactly these, in any order
	lines+=("$1")
	shift
	words+=("$(printf '%s\n' "$@" | sort -u)")
}
check() { # SHELL
	local i is
	"in_$1" "${lines[@]}" >"$directory/offers"
	for i in "${!lines[@]}"; do
		is=$(LINE=${lines[i]} awk -F '\t' '$1 == ENVIRON["LINE"] { print $2 }' "$directory/offers" | sort -u)
		if [ "$is" = "${words[i]}" ]; then
			echo "[       OK ] $1: ${lines[i]}"
		else
			printf '[  FAILED  ] %s: %s\nis:\n%s\nshould be:\n%s\n' "$1" "${lines[i]}" "$is" "${words[i]}"
			status=1
		fi
	done
}

mapfile -t commands < <("$VFIOCTL" --help | sed -n '/^$/,/^$/s/^  \([a-z]*\) .*/\1/p')
[ ${#commands[@]} -gt 10 ] || { echo "no commands in the help"; exit 1; }
options_of() { # [COMMAND]: in its help, as options are explained
	"$VFIOCTL" "$@" --help | sed -n 's/^  \(-[a-zA-Z], \)\?\(--[a-z-]*\).*/\2/p'
}
mapfile -t common < <(options_of)
# These stand in the first line of their help only.
declare -A more=([run]="--device --group" [list]=--all)

offers "vfioctl " "${commands[@]}"
offers "vfioctl --json st" status
for command in "${commands[@]}"; do
	mapfile -t own < <(options_of "$command")
	# shellcheck disable=SC2086
	offers "vfioctl $command --" "${common[@]}" "${own[@]}" ${more[$command]:-}
done
offers "vfioctl status 0000:02" 0000:02:01.0 0000:02:02.0
offers "vfioctl why 1" 13
offers "vfioctl take 7 0000:05" 0000:05:00.0
offers "vfioctl can roo" root
offers "vfioctl can root 1" 13
offers "vfioctl revoke --end L" L3
offers "vfioctl run --device 0000:05" 0000:05:00.0
offers "vfioctl run --group 7 -- vfioct" vfioctl
offers "vfioctl run --mem" --memory
offers "vfioctl run --memory 512M --device 0000:05" 0000:05:00.0
offers "vfioctl run --memory 512M --group 7 -- vfioct" vfioctl
offers "vfioctl run --mode g" group
offers "vfioctl run --mode cdev --device 0000:05" 0000:05:00.0
offers "vfioctl run --any pool:x --device 0000:05" 0000:05:00.0
offers "vfioctl run --any pool:x --any pool:n" pool:nics
offers "vfioctl run --mo" --mode
offers "vfioctl run --shim=s" seccomp
offers "vfioctl run --group 7 cat tests/completion/test-c" tests/completion/test-completion.sh
offers "vfioctl ledger --by s" space
offers "vfioctl help ch" check

for shell in bash zsh fish; do
	check $shell
done
exit $status
