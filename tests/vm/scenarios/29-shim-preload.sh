# shellcheck shell=bash
# vfioctl run --shim=preload: as 29-shim, by a library in the program, and no filter; and Debian's own QEMU.

HOW=--shim=preload
# shellcheck source=tests/vm/guest/shim
. "$VM/guest/shim"
leavings() { find /tmp "/run/user" -maxdepth 2 -name 'vfioctl-*' 2>/dev/null || true; }

it_does_dma "$PROGRAMS/edu-dma"
group_is_as_of_root 0 0

# Where no library can be: nothing is acquired for it.
forget_writes
answer=$(refused shim "$PROGRAMS/edu-dma-static" "/dev/vfio/$EDU_GROUP" "$EDU" 2>&1)
assert_contains "$answer" "linked statically; --shim=seccomp does without"
cp /usr/bin/true privileged
chmod 4755 privileged
answer=$(refused shim ./privileged 2>&1)
assert_contains "$answer" "is run with privileges of its own"
assert_no_writes

# The supervisor with its socket is no more when the program has ended.
vfioctl_is_killed
shim_socket=$(said run socket)
shim_socket=${shim_socket#socket }
library=$(said run library)
[ -S "$shim_socket" ] || fail "$shim_socket"
assert_eq "$(stat -c '%U %a' "${shim_socket%/*}")" "alice 700"
# Another user gets nothing of it, and no connection.
# shellcheck disable=SC2016
answer=$(as_user bob env VFIOD_SHIM="$shim_socket" LD_PRELOAD="${library#library }" bash -c 'exec 5<>"/dev/vfio/$1"' bash "$EDU_GROUP" 2>&1) && fail "bob has it"
assert_contains "$answer" "Permission denied"
program_is_killed
is_gone() { ! [ -e "${shim_socket%/*}" ]; }
wait_until 20 is_gone
bob_gives_it_back

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
