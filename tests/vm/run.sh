#!/bin/bash
# Boots the machine and runs scenarios in it: all of tests/vm/scenarios (with the second kernel:
# of tests/vm/scenarios-kernel2), or those given: a file, or a name such as 00-machine-dma. One boot;
# exit status 0 if all passed.
#
#   run.sh [SCENARIO…]
#   run.sh --plain FILE   runs a bash script as root, its output as it comes; its exit status
#   run.sh --systemd FILE [SCENARIO…]   the same with systemd as the first process, and vfiod installed;
#                         then these scenarios, as with UNIT=1
#   run.sh --shell        a root shell on this terminal, with vfiod running
#
# VARIANT          whose build it is (release)     VFIOD_VM_KERNEL   see kernel.sh (stock)
# VFIOD_VM_IOMMU   intel, amd or virtio (intel)
# UNIT             1: the daemon of scenarios is vfiod.service as installed, under systemd
# VFIOD_VM_SECONDS the boot's deadline (4200)       SCENARIO_SECONDS  each scenario's (600)
# BACKEND          type1 or iommufd: what spaces are made of, whatever the configuration of a scenario says
# KILL_EVERY       of 60-kill-take, 61-kill-return, 98-keeper-killed and 99-failing-allocations: 1 for all
# CHAOS_SEED CHAOS_SECONDS   of 59-chaos (any, 30)
# KILLS            of --systemd: how many under load (6)
# MACHINE_KIND     parallel: its processors work at the same time; counted: one processor, and its clock goes on by
#                  1 ns with each instruction
# KERNEL_ARGUMENTS more of them for the kernel's command line
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
checkout=$(cd "$here/../.." && pwd)
# shellcheck source=tests/vm/machine.sh
. "$here/machine.sh"
variant=${VARIANT:-release}
kernel_kind=${VFIOD_VM_KERNEL:-stock}
directory=$here/scenarios
[ "$kernel_kind" != second ] || directory=$here/scenarios-kernel2
iommu=${VFIOD_VM_IOMMU:-intel}
deadline=${VFIOD_VM_SECONDS:-4200}
mode=suite
memory=1G
scenarios=()
run=
qemu=

die() {
	echo "run.sh: $*" >&2
	exit 2
}

# Whatever happens: no QEMU stays. It leads a process group of its own (setsid).
clean_up() {
	trap - EXIT
	[ -z "$qemu" ] || { kill -KILL -- "-$qemu" && wait "$qemu"; } 2>/dev/null || true
	[ ! -s "$run/console.log" ] || cp "$run/console.log" "$checkout/build/$variant/vm-console.log" || true
	[ -z "$run" ] || rm -rf "$run"
}

console_tail() {
	echo "--- the console's last lines (all: build/$variant/vm-console.log)"
	tail -n 40 "$run/console.log" | tr -d '\r'
}

scenario_file() {
	local file
	for file in "$1" "$directory/$1" "$directory/$1.sh" "$here/scenarios/$1.sh"; do
		[ ! -f "$file" ] || { in_guest "$(realpath "$file")"; return; }
	done
	die "there is no scenario '$1'"
}

# The guest has a /tmp and a /run of its own.
in_guest() {
	case $1 in
	"$checkout"/*) ;;
	/tmp/* | /run/* | /dev/*) die "the guest does not see $1: move it into the checkout" ;;
	esac
	printf '%s\n' "$1"
}

add_scenarios() {
	local file
	for file in "$@"; do
		file=$(scenario_file "$file")
		scenarios+=("$file")
	done
}

read_arguments() {
	local file
	case ${1:-} in
	--shell) mode=shell ;;
	--plain | --systemd)
		mode=${1#--}
		# A client maps 1 GiB there.
		[ "$mode" != systemd ] || memory=3G
		[ -f "${2:-}" ] || die "$1 needs a file"
		file=$(in_guest "$(realpath "$2")")
		scenarios=("$file")
		[ "$mode" = plain ] || add_scenarios "${@:3}"
		;;
	-*) die "unknown option $1" ;;
	*)
		add_scenarios "$@"
		[ $# != 0 ] || scenarios=("$directory"/*.sh)
		;;
	esac
}

# The kernel, the initramfs, and behind it (the kernel takes several archives) what this boot is
# to do, for /bin/sh and bash.
prepare() {
	local paths initramfs rows columns qemu10 guest_mode=$mode
	[[ $mode != suite || -z ${UNIT:-} ]] || guest_mode=unit
	# A variable takes the exit status; a pipe or mapfile < <() would lose it.
	paths=$("$here/kernel.sh" "$kernel_kind")
	kernel=${paths%%$'\n'*}
	modules=${paths#*$'\n'}
	[ "$iommu" != virtio ] || grep -qs 'virtio[-_]iommu\.ko' "$modules"/modules.{dep,builtin} ||
		die "not possible: this kernel has no driver of it (CONFIG_VIRTIO_IOMMU is off)"
	# Some are about a QEMU that is no part of this Debian.
	qemu10=
	[[ $mode != suite ]] || ! grep -qlF QEMU10 "${scenarios[@]}" || qemu10=$("$here/qemu10.sh")
	# Or of a driver of mediated devices of our own.
	[[ $mode != suite ]] || ! grep -qlF vfiod-pin- "${scenarios[@]}" ||
		"$here/module.sh" "$kernel_kind" "$checkout/build/$variant/tests/vm"
	run=$(mktemp -d "${TMPDIR:-/tmp}/vfiod-vm.XXXXXX")
	initramfs=$run/initramfs
	"$here/initramfs.sh" "$modules" "$iommu" "$initramfs"
	"$here/local-files.sh" "$modules" "$checkout/build/$variant" "$run/local-files"
	read -r rows columns < <(stty size 2>/dev/null || echo 24 80)
	mkdir "$run/extra"
	{
		printf '%s=%q\n' CHECKOUT "$checkout" MODULES "$modules" VARIANT "$variant" \
			MODE "$guest_mode" IOMMU "$iommu" QEMU10 "$qemu10" \
			SCENARIO_SECONDS "${SCENARIO_SECONDS:-600}" \
			BACKEND "${BACKEND:-}" KILLS "${KILLS:-}" KILL_EVERY "${KILL_EVERY:-}" CHAOS_SEED "${CHAOS_SEED:-}" CHAOS_SECONDS "${CHAOS_SECONDS:-}" ROWS "${rows:-24}" COLUMNS "${columns:-80}" CONSOLE_TERM "${TERM:-linux}"
		# An array is not for the initramfs' shell: a string for the guest's to evaluate.
		printf 'SCENARIO_LIST=%q\n' "$(printf '%q ' "${scenarios[@]}")"
	} >"$run/extra/vm.env"
	{
		cat "$run/local-files" "$initramfs"
		(cd "$run/extra" && echo vm.env | cpio -o -H newc --owner 0:0 --quiet | gzip -1)
	} >"$run/initrd"
	machine_disk "$run/nvme.img"
	machine_command "$run" "$kernel" "$run/initrd" "${KERNEL_ARGUMENTS:-}"
}

# For a person or a test on the host that wants to speak with the machine while it runs.
write_environment() {
	printf '%s=%q\n' VFIOD_VM_QMP "$run/qmp" VFIOD_VM_CONSOLE "$run/console.log" VFIOD_VM_PID "$qemu" \
		>"$checkout/build/$variant/vm.env"
}

start() {
	[ -p "$run/results" ] || mkfifo "$run/results"
	# Opened for both: neither side waits for the other, whoever dies first.
	exec 3<>"$run/results"
	: >"$run/console.log"
	# --pdeathsig: QEMU goes even if this script is killed with SIGKILL.
	setsid setpriv --pdeathsig KILL "${MACHINE[@]}" \
		-serial "file:$run/console.log" -serial "file:$run/results" \
		</dev/null >"$run/qemu.log" 2>&1 3>&- &
	qemu=$!
	write_environment
}

# Without a panic. It has been seen to crash at the boot, one time in some hundred.
note_end_of_qemu() {
	local status=0
	wait "$qemu" 2>/dev/null || status=$?
	ending="the machine ended before its time, QEMU's exit status is $status"
	((status <= 128)) || ending="QEMU itself crashed, signal $((status - 128))"
}

# Reads the result stream, line by line as it comes. Sets `ending`: what the guest says, or why
# there is nothing more to come.
read_results() {
	local line part='' status
	ending=
	while [ -z "$ending" ]; do
		status=0
		IFS= read -r -t 0.5 -u 3 line || status=$?
		# After a timeout, `line` is what there is of a line.
		part+=$line
		if [ "$status" = 0 ]; then
			take_line "$part"
			part=
		elif ((SECONDS >= deadline)); then
			ending="deadline of $deadline s"
		elif ! kill -0 "$qemu" 2>/dev/null && [ -z "$line" ]; then
			ending=$(grep -ao 'Kernel panic.*' "$run/console.log" | tr -d '\r') ||
				note_end_of_qemu
		fi
	done
	[ -z "$part" ] || printf '%s\n' "$part"
}

passed=0
failed=0
skipped=0
planned=0
has_spoken=
take_line() {
	has_spoken=yes
	case $mode:$1 in
	*:"vfiod-vm: exit "*) ending=${1#vfiod-vm: } && return ;;
	*:"Bail out! "*) ending=$1 ;;
	suite:1..* | systemd:1..*) planned=${1#1..} && return ;;
	suite:"ok "*) passed=$((passed + 1)) ;;
	*:"not ok "*) failed=$((failed + 1)) ;;
	suite:"skipped "*) skipped=$((skipped + 1)) ;;
	esac
	printf '%s\n' "$1"
}

report() {
	local done=$((passed + failed + skipped))
	case $ending in
	"exit "*) ;;
	*)
		echo "FAILED: $ending"
		[[ $mode != suite || $ending == "Bail out! "* ]] || ((done >= ${#scenarios[@]})) ||
			echo "in the scenario ${scenarios[done]}"
		cat "$run/qemu.log"
		console_tail
		;;
	esac
	if [ "$mode" != suite ]; then
		[[ $ending == "exit "* && $failed = 0 ]] && exit "${ending#exit }"
		exit 1
	fi
	[ "$planned" != 0 ] || planned=${#scenarios[@]}
	echo "vm ($variant, $kernel_kind kernel${VFIOD_VM_IOMMU:+, $iommu}${BACKEND:+, $BACKEND}${UNIT:+, under the unit}): $passed passed, $failed failed, $skipped skipped, $((planned - done)) not run, in $SECONDS s"
	[ "$ending" = "exit 0" ] && [ $((passed + skipped)) = "$planned" ]
}

read_arguments "$@"
mkdir -p "$checkout/build/$variant"
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
prepare
if [ "$mode" = shell ]; then
	echo "Booting (ten seconds or more). Leave with exit; Ctrl-A X ends it at once."
	"${MACHINE[@]}" -chardev stdio,id=terminal,mux=on,signal=off -serial chardev:terminal \
		-mon chardev=terminal -serial null 2>"$run/qemu.log" || { cat "$run/qemu.log"; exit 1; }
	exit
fi
start
read_results
if [[ $ending == "QEMU itself crashed"* && -z $has_spoken ]]; then
	echo "$ending, before the guest said anything: once more" >&2
	start
	read_results
fi
report
