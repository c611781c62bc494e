# shellcheck shell=bash
# What clients that the rules trust say they have mapped: the kernel's bill and the distinct pages, as observed
# in their page tables, in the background. Who hangs hangs his own figures.
# shellcheck source=tests/vm/guest/spaces
. "$VM/guest/spaces"

start_daemon <<END
[rule alice]
match = pci:address=$EDU
match = pci:address=$NIC_1
match = pci:address=$NIC_2
allow = user:alice
trusted = yes
[rule bob]
match = pci:address=$NVME
allow = user:bob
END
ulimit -l 8192
# 32 MiB are 8,192 pages.
size=32M
are_observed() { ask alice observed && [ "$ANSWER" = "$1" ]; }
assert_observed() { # BOOK
	wait_until 20 are_observed "$1"
}
audit_is_right() {
	local audit
	audit=$(vfioctl audit --json)
	assert_contains "$audit" '"isRight":true'
}

# One process, two containers, the same memory.
client alice alice
ask alice lease two 64M "$EDU" "$NIC_1"
ask alice container first two 0
ask alice container second two 1
ask alice memfd m $size
ask alice dma-map two first m 0x100000 $size
assert_observed "uid:1000=8192/8192"
ask alice dma-map two second m 0x100000 $size
assert_observed "uid:1000=8192/16384"
assert_locked "${CLIENT[alice]}" 16384
assert_pinned 16384
assert_eq "$("$PROGRAMS/frames" memfd:client "${CLIENT[alice]}")" 8192 "frames that it has mapped"
# Reserved is what is charged; what is observed is owed by nobody.
assert_ledger alice "host=0/16384 uid:1000=0/16384"
vfioctl ledger | tee told
assert_contains "$(<told)" observed
vfioctl audit
audit_is_right
ask alice dma-unmap two second 0x100000 $size
assert_observed "uid:1000=8192/8192"

# Another process of hers, with the same memory.
client other alice
ask alice fd m
ask other receive m "${CLIENT[alice]}" "$ANSWER"
ask other lease third 64M "$NIC_2"
ask other container v third
ask other dma-map third v m 0x0 $size
assert_observed "uid:1000=8192/16384"
assert_locked "${CLIENT[other]}" 8192
assert_pinned 16384
audit_is_right
# Memory of its own is memory more.
ask other anonymous own 4M
ask other dma-map third v own 0x10000000 4M
assert_observed "uid:1000=9216/17408"
ask other dma-unmap third v 0x10000000 4M
assert_observed "uid:1000=8192/16384"

# Nobody has trusted bob: he maps as he likes, and is not asked.
client bob bob
ask bob lease disk 0 "$NVME"
ask bob memfd m 4K
ask bob address m
ask_in_vain bob call org.vfiod.Ledger.ReportMap "{\"container\":3,\"iova\":\"0x0\",\"address\":\"$ANSWER\",\"length\":4096}"
assert_eq "${ANSWER%% *}" Broker.AccessDenied
ask bob release disk
dismiss bob

# Somebody holds the lock of her memory that a look at her page tables needs: a Map that waits for a file, and
# a thread that waits to change something. Others are observed meanwhile.
modprobe fuse
mkdir mounted
in_background sticky "$PROGRAMS/sticky-fds" "$PWD/mounted"
sticky=$PID
said sticky holding
ask other file fuse "$PWD/mounted/file"
ask other memfd changed 4K
ask other churn changed 0 4K
tell other pin v fuse 0x20000000 4K r
said sticky read
changes() { cat "/proc/${CLIENT[other]}"/task/*/stack | grep -E "vm_(mmap_pgoff|munmap)"; }
wait_until 10 changes
ask alice dma-map two second m 0x100000 $size
assert_observed "uid:1000=8192/24576"
refused timeout -s KILL 1 cat "/proc/${CLIENT[other]}/maps" >/dev/null
# Its server has ended, and so has what waited for it.
end "$sticky"
hear other
assert_eq "$ANSWER" "failed pin: Bad address"
ask other still
ask alice dma-unmap two second 0x100000 $size
# A process that was stopped is asked as well.
kill -STOP "${CLIENT[other]}"
ask alice dma-map two second m 0x100000 $size
assert_observed "uid:1000=8192/24576"
kill -CONT "${CLIENT[other]}"

# They end, each in another way.
kill_client other
assert_observed "uid:1000=8192/16384"
ask alice release two
assert_observed ""
dismiss alice
assert_over
