# shellcheck shell=bash
# Clients with devices and an iommufd who do not play fair. One keeps a node open beyond its lease, bound
# or not, in a process or in a socket where none has it open: nobody else gets the group until it is
# closed, and it is bound to nothing any more. One is killed: the next gets the group. One wants another's
# address space: there is none of this number in its own context, and no other to be had.

# shellcheck source=tests/vm/guest/cdev
. "$VM/guest/cdev"
start_daemon <<END
[daemon]
take-timeout = 5
[rule all]
match = pci:address=$EDU
match = pci:address=$NIC_1
allow = user:alice
allow = user:bob
require-reset = no
END
group=$(group_of "$EDU")
state() { vfioctl status "$EDU" --json | json group "$1"; }
has_state() { [ "$(state "$1")" = "$2" ]; }

nobody_gets_it() {
	local mode
	for mode in group cdev; do
		answer=$(refused as_user bob vfioctl run --mode "$mode" --device "$EDU" -- true 2>&1)
		assert_contains "$answer" "group $group" "mode $mode"
	done
}

# Bound, with memory mapped.
cdev_client bound alice "$EDU"
bound bound "$EDU"
told ok bound map "$IOAS" 1
told ok bound keep "$EDU"
told "ok lingering" bound release
nobody_gets_it
assert_eq "$(state owner) $(driver_of "$EDU")" "lingering vfio-pci"
# It has what it had, and no more than it: the lease is over for everybody else's sake.
told ok bound close "$EDU"
wait_until 20 is_unchanged
as_user bob vfioctl run --device "$EDU" -- "$PROGRAMS/edu-dma" --iommufd "{iommufd}" "{device}" "$EDU"
gone bound

# Not bound yet.
cdev_client open alice "$EDU"
told ok open keep "$EDU"
tell open release
nobody_gets_it
assert_eq "$(driver_of "$EDU")" vfio-pci
told ok open close "$EDU"
wait_until 20 is_unchanged
as_user bob vfioctl run --mode cdev --device "$EDU" -- true
gone open

# In a socket: no process has it open, and the group can be opened.
cdev_client hidden alice "$EDU"
told ok hidden hide "$EDU"
# The unbind waits for it, which is found out by the deadline.
told "failed EBUSY" hidden release
assert_eq "$(state binding)" stuck
nobody_gets_it
told ok hidden unhide "$EDU"
tell hidden bind "$EDU"
note "a node that was in a socket, bound after its lease: $ANSWER"
[[ $ANSWER == failed* ]] || fail "it was bound"
nobody_gets_it
told ok hidden close "$EDU"
wait_until 60 is_unchanged
as_user bob vfioctl run --device "$EDU" -- "$PROGRAMS/edu-dma" --iommufd "{iommufd}" "{device}" "$EDU"
gone hidden
wait_until 20 is_unchanged

# Killed: the next one waits for it in the queue, and does DMA.
cdev_client killed alice "$EDU"
bound killed "$EDU"
told ok killed map "$IOAS" 1
in_background next as_user bob vfioctl run --wait 60 --device "$EDU" -- \
	"$PROGRAMS/edu-dma" --iommufd "{iommufd}" "{device}" "$EDU"
next=$PID
said next "vfioctl: waiting"
gone killed
wait "$next" || fail "status $?: $(cat next)"
wait_until 20 is_unchanged

# Another's address space.
cdev_client alice alice "$EDU"
told ok alice bind "$EDU"
tell alice ioas
tell alice ioas
tell alice ioas
theirs=${ANSWER#ok }
told ok alice attach "$EDU" "$theirs"
told ok alice map "$theirs" 1
cdev_client bob bob "$NIC_1"
told "failed EINVAL" bob attach "$NIC_1" "$theirs"
told ok bob bind "$NIC_1"
told "failed ENOENT" bob attach "$NIC_1" "$theirs"
told "failed EINVAL" bob bind "$NIC_1"
tell bob ioas
own=${ANSWER#ok }
[ "$own" != "$theirs" ] || fail "the same number: this shows nothing"
told ok bob attach "$NIC_1" "$own"
told "failed EACCES" bob open-iommu
gone alice
gone bob
wait_until 20 is_unchanged
