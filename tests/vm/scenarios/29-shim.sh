# shellcheck shell=bash
# vfioctl run --shim: a program that opens /dev/vfio/N by itself, and knows nothing of vfiod, has its
# group, as the kernel would give it to root, and no other.

start_daemon <<END
[rule all]
match = pci:address=$EDU
match = pci:address=$NIC_1
allow = user:alice
allow = user:bob
END
edu=$(group_of "$EDU")
nic=$(group_of "$NIC_1")
in_background bob as_user bob vfioctl run --device "$NIC_1" -- sh -c 'echo has it; exec sleep 1000'
bob=$PID
said bob "has it"

shim() { as_user alice vfioctl run --shim --device "$EDU" -- "$@"; }

# No dynamic linker: a static program, and the real thing.
shim "$PROGRAMS/edu-dma-static" "/dev/vfio/$edu" "$EDU" >dma
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
	exec 8<>/dev/vfio/vfio 9<>/dev/vfio/vfio && echo containers'
shim bash -c "$attempts" bash "$edu" "$nic" >said 2>&1
assert_eq "$(cat said)" "/dev/vfio/$edu
/dev/vfio/$edu
Device or resource busy
again
Permission denied
No such file or directory
containers"
# The same without it: nothing is his, and what is not there is not there.
# shellcheck disable=SC2016
as_user alice bash -c '(exec 7<>"/dev/vfio/$1"); (exec 7</dev/vfio/999)' bash "$nic" >said 2>&1 || true
assert_eq "$(sed 's/.*: //' said | xargs -d '\n')" "Permission denied No such file or directory"

# Whoever rewrites the path while it is looked at has his own group, or nothing.
node_of() { # GROUP: its node, of the same length for each
	local name
	printf -v name %4s "$1"
	echo "/dev/vfio/${name// //}"
}
shim "$PROGRAMS/open-rewritten" "$(node_of "$edu")" "$(node_of "$nic")" >said 2>&1 || fail "$(cat said)"

# Killing vfioctl takes nothing away: the program opens its group afterwards, and has the lease. When it
# ends, its devices go back.
mkfifo go
exec 8<>go
# shellcheck disable=SC2016
in_background run as_user alice vfioctl run --shim --device "$EDU" -- bash -c 'echo "pid $$"; read -r; exec 5<>"/dev/vfio/$1"; echo opened; exec sleep 1000' bash "$edu" <&8
run=$PID
program=$(said run pid)
kill -KILL "$run"
wait "$run" || true
echo >&8
said run opened
assert_eq "$(openers_of "$EDU")" "${program#pid }" "who has it open"
vfioctl leases --no-legend | grep "/${program#pid } " || fail "$(vfioctl leases)"
kill -KILL "${program#pid }"
has_no_driver() { [ -z "$(driver_of "$1")" ]; }
wait_until 20 has_no_driver "$EDU"
kill "$bob"
wait "$bob" || true
