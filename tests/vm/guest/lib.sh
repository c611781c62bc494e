# shellcheck shell=bash
# The words that scenarios are written in. HACKING.md, "Adding a scenario", tells how.
#
#   EDU AHCI NIC_A NIC_B BRIDGE NIC_1 NIC_2 NVME SPARE_PORT SLOT_PORT   the devices (guest/machine, machine.sh)
#   group_of driver_of override_of interface_of has_interface DEVICE · members_of GROUP
#   PROGRAMS   directory of tests/vm/programs · WORK   a directory for the scenario's files
#   SOCKET STATE_DIR DAEMON   of the daemon that start_daemon started
# shellcheck source=tests/vm/guest/machine
. "$VM/guest/machine"

PATH=$BUILD:$PATH
PROGRAMS=$BUILD/tests/vm/programs
SOCKET=/run/vfiod/org.vfiod.Broker
STATE_DIR=/run/vfiod
DAEMON=
TRACE=/sys/kernel/tracing/instances/vfiod
export UBSAN_OPTIONS=print_stacktrace=1

fail() {
	echo "FAILED: $*"
	# What wait_until runs is silent, but not about this.
	[ ! /dev/stdout -ef /dev/null ] || note "FAILED: $*"
	exit 1
}

# A line for whoever runs the suite, at once, also of a scenario that passes.
note() { echo "# $*" >/dev/ttyS1; }

assert_eq() { # ACTUAL EXPECTED [WHAT]
	[ "$1" = "$2" ] || fail "${3:-line ${BASH_LINENO[0]}}: is '$1', should be '$2'"
}

assert_contains() { # TEXT PART [WHAT]
	[[ $1 == *"$2"* ]] || fail "${3:-line ${BASH_LINENO[0]}}: no '$2' in: $1"
}

# Runs a command that must fail; its output is the output.
refused() {
	! "$@" || fail "should have failed: $*"
}

# The seconds are those of an idle machine: beside others' it has been seen to take ten times as long.
wait_until() { # SECONDS COMMAND…
	local end=$((SECONDS + 6 * $1))
	shift
	until "$@" >/dev/null 2>&1; do
		((SECONDS < end)) || fail "waited in vain for: $* $("$@" 2>&1 | tail -n 5)"
		sleep 0.1
	done
}

as_user() { # NAME COMMAND…
	local name=$1
	shift
	HOME=/tmp USER=$name LOGNAME=$name ${replace_shell:-} setpriv --reuid "$name" --regid "$name" --init-groups -- "$@"
}

# in_background NAME COMMAND…: starts a program, or as_user's; its output goes to $WORK/NAME, its
# own pid (not that of a shell around it) into the variable PID.
in_background() {
	local name=$1
	shift
	(
		[ "$1" = as_user ] || exec "$@"
		replace_shell='exec'
		"$@"
	) <&0 >"$WORK/$name" 2>&1 &
	# shellcheck disable=SC2034
	PID=$!
}

# The configuration on stdin; with BACKEND, spaces are made of that.
write_configuration() {
	cat >"$WORK/vfiod.conf"
	[ -n "${BACKEND:-}" ] || return 0
	grep -qx '\[daemon\]' "$WORK/vfiod.conf" || sed -i '1i [daemon]' "$WORK/vfiod.conf"
	sed -i "/^\[daemon\]\$/a backend = $BACKEND" "$WORK/vfiod.conf"
}

# start_daemon [OPTION…] <<CONFIGURATION: a fresh daemon, in a fresh directory. Returns when
# its socket answers. Every write of it and of its children to sysfs is recorded from here on.
start_daemon() {
	[ -z "$DAEMON" ] || fail "there is a daemon already"
	write_configuration
	mkdir -p "$STATE_DIR"
	chmod 0755 "$STATE_DIR"
	forget_writes
	if [ -n "${UNIT:-}" ]; then
		start_unit "$@"
		return
	fi
	(
		[ ! -d "$TRACE" ] || {
			echo "$BASHPID" >"$TRACE/set_event_pid"
			echo 1 >"$TRACE/events/vfiod/enable"
		}
		exec vfiod --config "$WORK/vfiod.conf" --socket "$SOCKET" --state-dir "$STATE_DIR" \
			--keeper "$(dirname "$(command -v vfiod)")/vfiod-keeper" "$@"
	) >>"$WORK/daemon.log" 2>&1 &
	DAEMON=$!
	wait_until 20 daemon_answers_or_died
	kill -0 "$DAEMON" 2>/dev/null || {
		local status=0
		wait "$DAEMON" || status=$?
		DAEMON=
		fail "the daemon ended at once, with status $status"
	}
}

# With UNIT=1 it is the installed service, with all that its unit takes away; but for a configuration and a
# log of its own, and that it stays away when it has ended. What a scenario has besides for [Service] is in
# $WORK/unit.conf. What differs each time is in a file that needs no daemon-reload, which takes seconds here.
start_unit() {
	local settings command file=/run/systemd/system/vfiod.service.d/test.conf
	command=$(sed -n 's/^ExecStart=//p' /usr/lib/systemd/system/vfiod.service)
	settings=$(
		cat <<-END
			[Service]
			ExecStart=
			ExecStart=$command \$OPTIONS
			EnvironmentFile=/run/vfiod-test.options
			StandardOutput=append:/run/vfiod-test.log
			StandardError=append:/run/vfiod-test.log
			Restart=no
		END
		env | sed -n 's/^\([A-Z]*SAN_OPTIONS=.*\)/Environment=\1/p'
		cat "$WORK/unit.conf" 2>/dev/null || true
	)
	[ "$settings" = "$(cat "$file" 2>/dev/null)" ] || {
		mkdir -p "${file%/*}"
		echo "$settings" >"$file"
		systemctl daemon-reload
	}
	echo "OPTIONS=--config $WORK/vfiod.conf $*" >/run/vfiod-test.options
	ln -sfn "$WORK/daemon.log" /run/vfiod-test.log
	# Who is forked by the first process is the daemon, or one that writes nothing.
	[ ! -d "$TRACE" ] || {
		echo 1 >"$TRACE/set_event_pid"
		echo 1 >"$TRACE/events/vfiod/enable"
	}
	# Its socket comes with it.
	systemctl start vfiod.service || {
		systemctl status --no-pager vfiod.service || true
		fail "the service does not start"
	}
	DAEMON=$(systemctl show -P MainPID vfiod.service)
	daemon_answers_or_died
}

daemon_answers_or_died() {
	"$PROGRAMS/varlink-call" "$SOCKET" '{"method":"org.varlink.service.GetInfo"}' ||
		! kill -0 "$DAEMON"
}

# Ends the daemon as systemd does. It must end in 15 s, and with status 0.
stop_daemon() {
	local pid=$DAEMON status=0
	[ -n "$pid" ] || return 0
	! has_ended "$pid" || fail "the daemon has ended by itself"
	kill -TERM "$pid"
	wait_until 15 has_ended "$pid"
	status_of_daemon "$pid" || status=$?
	DAEMON=
	[ "$status" = 0 ] || fail "the daemon ended with status $status"
}

# Nor does systemd start it again for who connects.
kill_daemon() {
	[ -z "${UNIT:-}" ] || rm "$SOCKET"
	kill -KILL "$DAEMON"
	status_of_daemon "$DAEMON" || true
	[ -z "${UNIT:-}" ] || systemctl stop vfiod.socket
	DAEMON=
}

# Of one that has ended, or is about to.
status_of_daemon() { # PID
	if [ -n "${UNIT:-}" ]; then
		local status
		wait_until 15 unit_is_over
		status=$(systemctl show -P ExecMainStatus vfiod.service)
		systemctl reset-failed vfiod.service 2>/dev/null || true
		return "$status"
	fi
	wait "$1"
}
unit_is_over() { [[ $(systemctl is-active vfiod.service) =~ ^(inactive|failed)$ ]]; }

# True for zombies, too: those of this shell wait for it.
has_ended() {
	[ ! -e "/proc/$1" ] || grep -q '^State:[[:space:]]*Z' "/proc/$1/status"
}

# The processes that have the group of DEVICE open, one a line. Of a daemon with a namespace of its own that has
# ended, the node's name begins where its mount did.
openers_of() { # DEVICE
	# Processes end while they are looked at, which is no failure.
	{ ls -ln /proc/[0-9]*/fd 2>/dev/null || true; } | awk -v file="/dev/vfio/$(group_of "$1")" '
		/^\/proc\// { split($0, part, "/") }
		($NF == file || "/dev" $NF == file) && $(NF - 1) == "->" { print part[3] }' | sort -u
}

# A value in the first line of JSON on stdin, by its path; nothing for null: json group devices 0 name
json() { "$PROGRAMS/lib/json" "$@"; }

# The host uses a device: alice, who has a rule for it, gets it in neither way, and nothing is
# written. USE is how the text begins. OF is the device of the group that is used, if another.
assert_in_use() { # DEVICE USE [OF]
	local answer device=${3:-$1}
	answer=$(refused as_user alice "$PROGRAMS/lib/lease" "$1")
	assert_contains "$answer" "error org.vfiod.Broker.DeviceInUse {\"group\":$(group_of "$1"),\"device\":\"$device\",\"use\":\"$2"
	assert_no_writes
}

# What NAME, started by in_background, has said: waits for a line that begins with TEXT, and prints it.
said() { # NAME TEXT
	wait_until 30 grep "^$2" "$WORK/$1"
	grep -m 1 "^$2" "$WORK/$1"
}

# Ends a program that in_background started, in the way it is meant to end.
end() { # PID
	kill -TERM "$1"
	wait "$1"
}

# hold NAME COMMAND: a shell that has done COMMAND, opened something say, and stays; its pid in $PID.
# let_go ends it.
hold() { # NAME COMMAND
	mkfifo "$WORK/$1.wait"
	in_background "$1" bash -c "$2 && echo holds && read -r <>'$WORK/$1.wait'"
	said "$1" holds
}
let_go() {
	kill "$PID"
	wait "$PID" || true
}

# block FILE: a kernel that hangs, as it looks from outside: who opens this file of sysfs waits.
# wait_blocked [PID]: somebody does, the daemon's bind child if no other.
# unblock FILE [OTHER [PID]]: the file is itself again, or, for who looks, OTHER; who waits (PID)
# goes on as if nothing had been.
block() { # FILE
	mkfifo "$(fifo_of "$1")"
	mount --bind "$(fifo_of "$1")" "$1"
}
fifo_of() { echo "$WORK/blocked${1//\//-}"; }
wait_blocked() {
	[ -n "${1:-}" ] || wait_until 20 bind_child
	wait_until 20 is_blocked "${1:-$(bind_child)}"
}
# In open(2) of a pipe; or just in open(2), where the kernel does not show the stacks of processes (257 is
# openat(2); of who does not wait it says "running").
is_blocked() { # PID
	if [ -e "/proc/$1/stack" ]; then
		grep -qw fifo_open "/proc/$1/stack"
	else
		[[ $(<"/proc/$1/syscall") == "257 "* ]]
	fi
}
# Who reads first, as a take does before it writes, is told that there is no override.
answer_read() { echo "(null)" >"$(fifo_of "$1")"; } # FILE
unblock() { # FILE [OTHER [PID]]
	local child=${3:-}
	# Not there any more if the device has gone.
	umount -l "$1" 2>/dev/null || [ ! -e "$1" ] || fail "nothing is mounted on $1"
	rm "$(fifo_of "$1")"
	[ -z "${2:-}" ] || mount --bind "$2" "$1"
	# A signal makes the kernel begin the open(2) anew, with the name looked up again.
	[ -n "$child" ] || child=$(bind_child) || return 0
	kill -STOP "$child"
	wait_until 10 grep -q '^State:[[:space:]]*T' "/proc/$child/status"
	kill -CONT "$child"
}

# The child that does a bind transaction for the daemon, if there is one.
bind_child() { child_named vfiod-bind; }
# The daemon's first child with this command.
child_named() { # COMMAND
	local child
	for child in $(<"/proc/$DAEMON/task/$DAEMON/children"); do
		! grep -qsx "$1" "/proc/$child/comm" || {
			echo "$child"
			return
		}
	done
	return 1
}

# What vfiod lists is what sysfs has.
list_agrees() { vfioctl list --all --json | "$VM/guest/list-agrees"; }

# What the daemon and its children wrote to sysfs since start_daemon or forget_writes, in order, one
# a line: "0000:00:03.0 driver_override vfio-pci"; a newline that was written is shown as \n.
sysfs_writes() {
	[ -d "$TRACE" ] || fail "this kernel cannot trace sysfs writes"
	# The value of an attribute can contain a newline: join what does not begin a record.
	awk '/^#/ { next }
		/ sysfs_kf_(bin_)?write: / { if (n++) print record; record = $0; next }
		{ record = record "\\n" $0 }
		END { if (n) print record }' "$TRACE/trace" |
		sed -E 's/^.* device="([^"]*)" attribute="([^"]*)" value="(.*)"$/\1 \2 \3/'
}

forget_writes() {
	[ ! -d "$TRACE" ] || echo >"$TRACE/trace"
}

assert_no_writes() {
	local writes
	writes=$(sysfs_writes)
	[ -z "$writes" ] || fail "there were writes to sysfs: $writes"
}

# What the kernel said since the last kernel_log_mark (a scenario begins with one).
kernel_log_mark() { echo "vfiod-vm: mark" >/dev/kmsg; }
kernel_log() { dmesg | awk '/vfiod-vm: mark$/ { text = ""; next } { text = text $0 "\n" } END { printf "%s", text }'; }

# The physical address of the page at a virtual ADDRESS of process PID.
physical_address_of() { # PID ADDRESS
	local entry
	# dd seeks; od would read its way there.
	entry=$(dd if="/proc/$1/pagemap" bs=8 skip=$(($2 / 4096)) count=1 status=none | od -An -t d8)
	# Bit 63: present; bits 0-54: the frame (Documentation/admin-guide/mm/pagemap.rst).
	((entry < 0)) || fail "no page at $2 of process $1"
	printf '0x%x\n' $(((entry & ((1 << 55) - 1)) * 4096))
}

# What edu-dma and lib/lease say of their memory, in FILE, is so: the IOMMU has work to do, as the
# IOVAs are not the physical addresses. IOVA is left for assert_faults.
assert_translated() { # FILE
	local pid address length offset physical
	read -r _ _ pid _ address _ IOVA _ length <<<"$(grep '^memory:' "$1")"
	for ((offset = 0; offset < length; offset += 4096)); do
		physical=$(physical_address_of "$pid" "$(printf '0x%x' $((address + offset)))")
		echo "page at IOVA $(printf '0x%x' $((IOVA + offset))) is at physical $physical"
		((physical != IOVA + offset)) || fail "the IOVA is the physical address: nothing is proven"
	done
}
# The IOMMU has said that it stopped an access of DEVICE at IOVA, both ways. AMD's, as QEMU 7.2 has it, says nothing
# about a page that is not mapped: there, what the device has not got is all there is to see.
assert_faults() { # DEVICE
	[ "$IOMMU" != amd ] || return 0
	wait_until 10 faulted Write "$1"
	wait_until 10 faulted Read "$1"
	faulted Write "$1"
	faulted Read "$1"
}
faulted() { # Write|Read DEVICE
	local bus slot_and_function
	# Newer kernels name the domain, too.
	[ "$IOMMU" = virtio ] || {
		kernel_log | grep "DMAR:.*DMA $1.*\[\(0000:\)\?${2#0000:}\] fault addr $IOVA "
		return
	}
	# A number for the device, and not which way it was.
	IFS=: read -r _ bus slot_and_function <<<"$2"
	kernel_log | grep "virtio_iommu .* fault from EP $((16#$bus << 8 | 16#${slot_and_function%.*} << 3 | ${2##*.})) at $IOVA "
}

# By hand, what the daemon is for: DEVICE to DRIVER by its override; and back again.
bind_by_hand() { # DEVICE DRIVER
	echo "$2" >"/sys/bus/pci/devices/$1/driver_override"
	[ -z "$(driver_of "$1")" ] || echo "$1" >"/sys/bus/pci/devices/$1/driver/unbind"
	echo "$1" >/sys/bus/pci/drivers_probe
	assert_eq "$(driver_of "$1")" "$2" "driver of $1"
}
unbind_by_hand() { # DEVICE
	echo >"/sys/bus/pci/devices/$1/driver_override"
	echo "$1" >"/sys/bus/pci/devices/$1/driver/unbind"
	echo "$1" >/sys/bus/pci/drivers_probe
}

# qmp '{"execute":…}': a command for QEMU itself, as for plugging a device; prints the answer.
qmp() {
	local line answers=0
	exec 9<>/dev/virtio-ports/org.vfiod.qmp
	# The connection lasts as long as the machine: the first command counts once, and is an
	# error later. Events and the greeting come in between.
	printf '%s\n' '{"execute":"qmp_capabilities"}' "$1" >&9
	while [ "$answers" -lt 2 ]; do
		IFS= read -r -t 20 -u 9 line || fail "QEMU does not answer: $1"
		case $line in '{"return"'* | '{"error"'*) answers=$((answers + 1)) ;; esac
	done
	exec 9>&-
	printf '%s\n' "${line%$'\r'}"
	[[ $line != '{"error"'* ]]
}

# A scenario that wants the slot, where hot-plug is PCIe's own, instead of the spare port.
SPARE_BUS=spare
plug_into_the_slot() { SPARE_PORT=$SLOT_PORT SPARE_BUS=port-slot; }
# What is behind the spare port: its name is in $GUEST.
behind_spare() {
	local path
	path=$(compgen -G "/sys/bus/pci/devices/$SPARE_PORT/*/vendor") || return 1
	path=${path%%$'\n'*}
	path=${path%/vendor}
	# shellcheck disable=SC2034
	GUEST=${path##*/}
}
nothing_behind_spare() { ! behind_spare; }
IS_PLUGGED=
# plug_in DRIVER [JSON MEMBERS]; what was only removed is found again instead.
plug_in() {
	if [ -n "$IS_PLUGGED" ]; then
		echo 1 >/sys/bus/pci/rescan
	else
		[ "$SPARE_PORT" != "$SLOT_PORT" ] || wait_until 30 slot is-off
		qmp '{"execute":"device_add","arguments":{"id":"guest","bus":"'"$SPARE_BUS"'","driver":"'"$1"'"'"${2:+,$2}"'}}'
		IS_PLUGGED=yes
	fi
	wait_until 30 behind_spare
}
# The machine asks for it. That may take as long as somebody has it open.
ask_out() {
	qmp '{"execute":"device_del","arguments":{"id":"guest"}}'
	IS_PLUGGED=
}
# The guest itself takes it out, in the background: likewise.
remove_out() { echo 1 >"/sys/bus/pci/devices/$GUEST/remove" & }
# Pulled out of the slot: the machine has it no more, and nobody has been asked. QEMU does so when the slot's
# power goes off (Slot Control: indicator and controller), which is not the kernel's doing here. It is on again
# before the kernel hears of anything (hot-plug interrupts), which finds that the slot is empty.
pull_out() {
	slot turn-off
	IS_PLUGGED=
}
# slot turn-off, or slot is-off: the kernel does so too when a card has gone, the indicator a second after the
# power, and QEMU takes then whatever is in the slot.
slot() {
	python3 - "$1" "/sys/bus/pci/devices/$SLOT_PORT/config" <<-'END'
		import os, struct, sys
		EXPRESS, SLOT_CONTROL, OFF, INTERRUPTS = 0x10, 0x18, 0x0700, 0x0020
		fd = os.open(sys.argv[2], os.O_RDWR)
		at = os.pread(fd, 1, 0x34)[0]
		while (head := os.pread(fd, 2, at))[0] != EXPRESS:
		    at = head[1]
		at += SLOT_CONTROL
		before, = struct.unpack("<H", os.pread(fd, 2, at))
		if sys.argv[1] == "is-off":
		    sys.exit(before & OFF != OFF)
		for control in before & ~INTERRUPTS | OFF, before:
		    os.pwrite(fd, struct.pack("<H", control), at)
	END
}

# The group of three goes as a whole, and comes back as another one, with a domain of its own. A scenario
# does so that has removed a single member, before it ends, and before it gives the group's DMA an owner
# again: Debian's 6.1.192 keeps what was removed in the list of the group's domain, and trips over it when the
# domain changes (list corruption, panic), with vfiod or without.
renew_group() {
	echo 1 >"/sys/bus/pci/devices/$BRIDGE/remove"
	echo 1 >/sys/bus/pci/rescan
	wait_until 20 is_unchanged
}

# Drivers and overrides of all devices. A scenario ends with assert_unchanged since its begin.
snapshot() { SNAPSHOT=$(devices_now); }
is_unchanged() { [ "$(devices_now)" = "$SNAPSHOT" ]; }
assert_unchanged() {
	is_unchanged || {
		echo "drivers or overrides have changed (< before, > now):"
		diff <(echo "$SNAPSHOT") <(devices_now) || true
		fail "the kernel is not as it was"
	}
}

# Nothing is written down any more of groups, leases and spaces. (How far their names have come, is.)
has_no_records() { ! { find "$STATE_DIR"/{journal,leases,reservations,spaces} -type f 2>/dev/null || true; } | grep .; }
assert_no_records() { wait_until 10 has_no_records; }

scenario_begin() {
	# Not in /tmp, of which a service has its own.
	WORK=$(mktemp -d /run/scenario.XXXXXX)
	chmod 0755 "$WORK"
	cd "$WORK" || exit
	find_devices
	snapshot
	SNAPSHOT_AT_BEGIN=$SNAPSHOT
	kernel_log_mark
	trap 'echo "FAILED: line $LINENO of ${BASH_SOURCE[0]##*/}: $BASH_COMMAND"' ERR
	trap 'exit 124' TERM
	trap scenario_exit EXIT
}

# All accounts are at zero, of what is owed, reserved and observed; and there is no space.
nothing_is_owed() {
	local book
	book=$("$PROGRAMS/varlink-call" "$SOCKET" '{"method":"org.vfiod.Ledger.Describe"}')
	[[ $book == *'"owedBytes":0,'* && $book == *'"kernelBillBytes":0,'* &&
		$book == *'"accounts":[]'* && $book == *'"spaces":[]'* && $book == *'"leases":[]'* ]]
}

# The daemon may still be giving devices back when the last line of a scenario is done.
scenario_end() {
	local end=$((SECONDS + 60))
	SNAPSHOT=$SNAPSHOT_AT_BEGIN
	until is_unchanged || ((SECONDS >= end)); do
		sleep 0.1
	done
	[ -z "$DAEMON" ] || wait_until 10 nothing_is_owed
	stop_daemon
	! pgrep -x vfiod-keeper || fail "a keeper is left"
	assert_unchanged
	ENDED_WELL=yes
}

scenario_exit() {
	local status=$?
	trap - ERR
	[ "$status" = 0 ] && [ "${ENDED_WELL:-}" != yes ] && echo "FAILED: the scenario called exit" && status=1
	[ "$status" = 0 ] || [ ! -s "$WORK/daemon.log" ] || {
		echo "--- log of the daemon, its last lines"
		tail -n 200 "$WORK/daemon.log"
	}
	cd /
	rm -rf "$WORK"
	exit "$status"
}
