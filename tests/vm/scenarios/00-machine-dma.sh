# shellcheck shell=bash
# Without the daemon: uid 1000 does DMA with a group fd that root opened; the IOMMU translates
# what is mapped and blocks what is not.

kernel_log_mark
bind_by_hand "$EDU" vfio-pci
exec 7<>"/dev/vfio/$(group_of "$EDU")"

mkfifo go
as_user alice "$PROGRAMS/edu-dma" --pause 7 "$EDU" <go >dma 2>&1 &
dma=$!
exec 8>go 7>&-
wait_until 30 grep '^memory:' dma
cat dma
read -r _ _ pid _ address _ iova _ length <<<"$(grep '^memory:' dma)"
assert_eq "$(awk '/^Uid:/ { print $2 }' "/proc/$pid/status")" 1000
for ((offset = 0; offset < length; offset += 4096)); do
	physical=$(physical_address_of "$pid" "$(printf '0x%x' $((address + offset)))")
	echo "page at IOVA $(printf '0x%x' $((iova + offset))) is at physical $physical"
	((physical != iova + offset)) || fail "the IOVA is the physical address: nothing is proven"
done

echo >&8
exec 8>&-
wait "$dma" || fail "edu-dma: status $?: $(cat dma)"
cat dma
grep -q '^equal: 2048 bytes' dma
assert_eq "$(grep -c '^blocked: ' dma)" 2 "accesses blocked"

faulted() {
	kernel_log | grep "DMAR:.*DMA $1.*\[${EDU#0000:}\] fault addr 0x4000000 "
}
wait_until 10 faulted Write
wait_until 10 faulted Read
faulted Write
faulted Read

unbind_by_hand "$EDU"
