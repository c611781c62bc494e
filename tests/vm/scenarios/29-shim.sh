# shellcheck shell=bash
# vfioctl run --shim: a program that opens /dev/vfio/N by itself, and knows nothing of vfiod, has its
# group, as the kernel would give it to root, and no other.

HOW=--shim
# shellcheck source=tests/vm/guest/shim
. "$VM/guest/shim"

# No dynamic linker: a static program.
it_does_dma "$PROGRAMS/edu-dma-static"
group_is_as_of_root 1 2
# The same without it: nothing is his, and what is not there is not there.
# shellcheck disable=SC2016
as_user alice bash -c '(exec 7<>"/dev/vfio/$1"); (exec 7</dev/vfio/999)' bash "$NIC_GROUP" >said 2>&1 || true
assert_eq "$(sed 's/.*: //' said | xargs -d '\n')" "Permission denied No such file or directory"

# Whoever rewrites the path while it is looked at has his own group, or nothing.
node_of() { # GROUP: its node, of the same length for each
	local name
	printf -v name %4s "$1"
	echo "/dev/vfio/${name// //}"
}
shim "$PROGRAMS/open-rewritten" "$(node_of "$EDU_GROUP")" "$(node_of "$NIC_GROUP")" >said 2>&1 || fail "$(cat said)"

vfioctl_is_killed
program_is_killed
bob_gives_it_back
