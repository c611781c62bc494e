# shellcheck shell=bash
# Without the daemon: uid 1000 does DMA with a group fd that root opened; the IOMMU translates
# what is mapped and blocks what is not.

kernel_log_mark
bind_by_hand "$EDU" vfio-pci
exec 7<>"/dev/vfio/$(group_of "$EDU")"

mkfifo go
# Open for both, or the program would wait for somebody who writes before it begins.
exec 8<>go
in_background dma as_user alice "$PROGRAMS/edu-dma" --pause 7 "$EDU" <&8
dma=$PID
exec 7>&-
said dma memory:
cat dma
assert_eq "$(awk '/^Uid:/ { print $2 }' "/proc/$dma/status")" 1000
assert_translated dma

echo >&8
exec 8>&-
wait "$dma" || fail "edu-dma: status $?: $(cat dma)"
cat dma
grep -q '^equal: 2048 bytes' dma
assert_eq "$(grep -c '^blocked: ' dma)" 2 "accesses blocked"

assert_faults "$EDU"

unbind_by_hand "$EDU"
