# shellcheck shell=bash
# vfioctl run gives an unprivileged program a real group: it does DMA through the IOMMU, nobody else
# keeps the group open, and at its end the device is as it was.

start_daemon <<END
[rule edu]
match = pci:address=$EDU
allow = user:alice
END

mkfifo go
exec 8<>go
in_background dma as_user alice vfioctl run --device "$EDU" -- \
	"$PROGRAMS/edu-dma" --pause "{group:$EDU}" "$EDU" <&8
run=$PID
said dma memory:
read -r _ _ program _ <<<"$(said dma memory:)"
assert_eq "$(cat "/proc/$program/comm")" edu-dma
assert_eq "$(awk '/^PPid:/ { print $2 }' "/proc/$program/status")" "$run"
assert_eq "$(awk '/^Uid:/ { print $2, $3, $4, $5 }' "/proc/$program/status" | xargs)" "1000 1000 1000 1000"
assert_eq "$(awk '/^Cap(Prm|Eff):/ { print $2 }' "/proc/$program/status" | sort -u)" 0000000000000000
assert_eq "$(driver_of "$EDU")" vfio-pci
assert_eq "$(openers_of "$EDU")" "$program" "who has the group open"
assert_translated dma

echo >&8
wait "$run" || fail "status $?: $(cat dma)"
# Back when vfioctl ends, not some time later.
assert_unchanged
assert_eq "$(grep -c '^equal: 2048 bytes' dma)" 1
assert_eq "$(grep -c '^blocked: ' dma)" 2 "accesses blocked"
assert_faults "$EDU"

# What was written is what a take and a return are, and nothing else.
sysfs_writes
assert_eq "$(sysfs_writes | cut -d' ' -f1,2 | sort -u | xargs)" \
	"$(printf '%s\n' "$EDU driver_override" "vfio-pci bind" "vfio-pci unbind" | sort | xargs)"

# Its exit status is that of the program; nothing is left of a program that fails.
status=0
as_user alice vfioctl run --device "$EDU" -- sh -c 'exit 42' || status=$?
assert_eq "$status" 42
assert_unchanged
refused as_user alice vfioctl run --device "$EDU" -- /nonexistent 2>&1
assert_unchanged
