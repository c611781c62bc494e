# shellcheck shell=bash
# A program that speaks to vfiod itself, with libvfiod: the same in one process, and a second time
# in another container.

start_daemon <<END
[rule edu]
match = pci:address=$EDU
allow = user:alice
END

mkfifo go
exec 8<>go
for _ in first second; do
	in_background dma as_user alice "$PROGRAMS/lib/lease" --dma "$EDU" <&8
	client=$PID
	said dma memory:
	assert_eq "$(said dma group | cut -d' ' -f2,5-)" "$(group_of "$EDU") devices $EDU"
	assert_eq "$(openers_of "$EDU")" "$client" "who has the group open"
	assert_eq "$(as_user mallory vfioctl status "$EDU" --json | json group holder pid)" "$client"
	assert_eq "$(as_user mallory vfioctl status "$EDU" --json | json group holder uid)" 1000
	assert_translated dma
	echo >&8
	wait "$client" || fail "status $?: $(cat dma)"
	cat dma
	said dma released
	assert_unchanged
	assert_eq "$(grep -c '^equal: 2048 bytes' dma)" 1
	assert_eq "$(grep -c '^blocked: ' dma)" 2 "accesses blocked"
done
assert_faults "$EDU"
assert_eq "$(vfioctl status "$EDU" --json | json group owner)" none

# Mappings that the daemon did not see end with their process; the device goes back all the same.
in_background dma as_user alice "$PROGRAMS/lib/lease" --dma "$EDU" <&8
client=$PID
said dma memory:
kill -KILL "$client"
wait_until 10 is_unchanged
