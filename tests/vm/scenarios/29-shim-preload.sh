# shellcheck shell=bash
# vfioctl run --shim=preload: as 29-shim, by a library in the program, and no filter; and Debian's own QEMU.

start_daemon <<END
[rule all]
match = pci:address=$EDU
match = pci:address=$NIC_1
match = pci:address=$NIC_2
allow = user:alice
allow = user:bob
END
edu=$(group_of "$EDU")
nic=$(group_of "$NIC_1")
in_background bob as_user bob vfioctl run --device "$NIC_1" -- sh -c 'echo has it; exec sleep 1000'
bob=$PID
said bob "has it"

shim() { as_user alice vfioctl run --shim=preload --device "$EDU" -- "$@"; }
leavings() { find /tmp "/run/user" -maxdepth 2 -name 'vfioctl-*' 2>/dev/null || true; }

# The real thing: DMA, with a group that it opens.
shim "$PROGRAMS/edu-dma" "/dev/vfio/$edu" "$EDU" >dma
assert_eq "$(grep -c '^equal: 2048 bytes' dma) $(grep -c '^blocked: ' dma)" "1 2"
assert_eq "$(driver_of "$EDU")" "" "as before"

# Through forks and execs, by other names; once at a time, and again when it was closed; no other group.
# shellcheck disable=SC2016
attempts='cd /dev/vfio; group=$1
	(exec 5<>"/dev/vfio/$group" && readlink /proc/self/fd/5 | cat)
	exec 5<>"../vfio/$group" || exit
	readlink "/proc/$$/fd/5"
	(exec 6<>"/proc/self/cwd/$group") 2>&1 | sed "s/.*: //"
	exec 5>&-
	exec 6<>"//dev/.//vfio/$group" && echo again
	(exec 7<>"/dev/vfio/$2") 2>&1 | sed "s/.*: //"
	(exec 7<"/dev/vfio/999") 2>&1 | sed "s/.*: //"
	exec 8<>/dev/vfio/vfio 9<>/dev/vfio/vfio && echo containers
	awk "/^(NoNewPrivs|Seccomp):/ { print \$2 }" /proc/self/status | xargs'
shim bash -c "$attempts" bash "$edu" "$nic" >said 2>&1
assert_eq "$(cat said)" "/dev/vfio/$edu
/dev/vfio/$edu
Device or resource busy
again
Permission denied
No such file or directory
containers
0 0"

# Where no library can be: nothing is acquired for it.
forget_writes
answer=$(refused shim "$PROGRAMS/edu-dma-static" "/dev/vfio/$edu" "$EDU" 2>&1)
assert_contains "$answer" "linked statically; --shim=seccomp does without"
cp /usr/bin/true privileged
chmod 4755 privileged
answer=$(refused shim ./privileged 2>&1)
assert_contains "$answer" "is run with privileges of its own"
assert_no_writes

# Killing vfioctl takes nothing away: the program opens its group afterwards, and has the lease. When it
# ends, its devices go back, and the supervisor with its socket is no more.
mkfifo go
exec 8<>go
# shellcheck disable=SC2016
in_background run as_user alice vfioctl run --shim=preload --device "$EDU" -- bash -c 'echo "socket $VFIOD_SHIM"; echo "library $LD_PRELOAD"; echo "pid $$"; read -r; exec 5<>"/dev/vfio/$1"; echo opened; exec sleep 1000' bash "$edu" <&8
run=$PID
program=$(said run pid)
shim_socket=$(said run socket)
shim_socket=${shim_socket#socket }
library=$(said run library)
[ -S "$shim_socket" ] || fail "$shim_socket"
assert_eq "$(stat -c '%U %a' "${shim_socket%/*}")" "alice 700"
kill -KILL "$run"
wait "$run" || true
echo >&8
said run opened
assert_eq "$(openers_of "$EDU")" "${program#pid }" "who has it open"
# Another user gets nothing of it, and no connection.
# shellcheck disable=SC2016
answer=$(as_user bob env VFIOD_SHIM="$shim_socket" LD_PRELOAD="${library#library }" bash -c 'exec 5<>"/dev/vfio/$1"' bash "$edu" 2>&1) && fail "bob has it"
assert_contains "$answer" "Permission denied"
kill -KILL "${program#pid }"
has_no_driver() { [ -z "$(driver_of "$1")" ]; }
wait_until 20 has_no_driver "$EDU"
is_gone() { ! [ -e "${shim_socket%/*}" ]; }
wait_until 20 is_gone
kill "$bob"
wait "$bob" || true

# Debian's own QEMU, as a user who may lock next to nothing.
ulimit -l 8192
mkfifo vmm.in
exec {QMP}<>vmm.in
in_background vmm as_user alice vfioctl run --shim=preload --memory 80M --device "$NIC_2" -- \
	qemu-system-x86_64 -machine q35,accel=tcg -m 64 -nodefaults -display none -S -qmp stdio \
	-device "vfio-pci,host=$NIC_2,id=of-alice" <vmm.in
RUN=$PID
answered() { # TEXT
	! has_ended "$RUN" || fail "it has ended: $(cat vmm)"
	grep -qF "$1" vmm
}
wait_until 120 answered '"QMP"'
echo '{"execute":"qmp_capabilities"} {"execute":"query-pci"}' >&"$QMP"
wait_until 60 answered '"of-alice"'
VMM=$(pgrep -x qemu-system-x86)
locked=$(awk '/^VmLck:/ { print int($2 / 1024) }' "/proc/$VMM/status")
((locked >= 63)) || fail "$locked MiB are locked"
assert_eq "$(openers_of "$NIC_2")" "$VMM"
note "QEMU $(sed -n 's/.*"qemu": {\([^}]*\)}.*/\1/p' vmm) with a library preloaded: locked $locked MiB"
echo '{"execute":"quit"}' >&"$QMP"
wait "$RUN" || fail "status $?: $(cat vmm)"
exec {QMP}>&-
assert_unchanged
assert_eq "$(leavings)" ""
