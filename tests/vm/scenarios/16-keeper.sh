# shellcheck shell=bash
# A keeper by itself, without the daemon: what it is on a real kernel, and what it does with two
# groups in two containers (programs/keeper-drive.c).

bind_by_hand "$EDU" vfio-pci
bind_by_hand "$NIC_1" vfio-pci
mkfifo go
exec 8<>go
assert_contains "$("$BUILD/vfiod-keeper" --help)" "not for people"
in_background drive "$PROGRAMS/keeper-drive" "$BUILD/vfiod-keeper" "$(group_of "$EDU")" "$EDU" \
	"$(group_of "$NIC_1")" <&8
driver=$PID
keeper=$(said drive 'keeper ')
keeper=${keeper#keeper }
of_status() { awk -v key="$1:" '$1 == key { $1 = ""; print substr($0, 2) }' "/proc/$keeper/status"; }

uid=$(id -u vfiod-keeper) gid=$(id -g vfiod-keeper)
assert_eq "$(of_status Uid)" "$uid $uid $uid $uid"
assert_eq "$(of_status Gid)" "$gid $gid $gid $gid"
assert_eq "$(of_status Groups)" ""
for set in CapInh CapPrm CapEff CapBnd CapAmb; do
	assert_eq "$(of_status "$set")" 0000000000000000 "$set"
done
assert_eq "$(of_status NoNewPrivs)" 1
assert_eq "$(of_status Seccomp)" 2
assert_eq "$(of_status Threads)" 1
# Not dumpable: what is in its /proc is root's.
assert_eq "$(stat -c %U "/proc/$keeper/fd")" root
assert_eq "$(awk '{ print $6 }' "/proc/$keeper/stat")" "$keeper" "its session"
for limit in "Max core file size" "Max processes" "Max locked memory"; do
	grep -q "^$limit  *0  *0 " "/proc/$keeper/limits" || fail "$limit"
done
# Nothing but its socket and its page map.
assert_eq "$(find "/proc/$keeper/fd" -mindepth 1 -printf '%f %l\n' | sed 's/\[.*\]//; /^2 /d' | sort)" \
	"0 /dev/null
1 /dev/null
3 socket:
4 /proc/$keeper/pagemap"
# Who is not root cannot look at it, of the same user either (other keepers: the filter has neither
# kill nor prlimit); and what ends a session does not end it.
refused as_user alice cat "/proc/$keeper/maps"
refused as_user vfiod-keeper cat "/proc/$keeper/maps"
refused as_user alice prlimit --pid "$keeper" --nofile=1
refused as_user alice kill -KILL "$keeper"
kill -TERM "$keeper"
kill -INT "$keeper"
kill -HUP "$keeper"

echo >&8
assert_eq "$(said drive 'locked ')" "locked $((8 * 1024 * 1024))"
assert_eq "$(of_status VmLck)" "8192 kB"
assert_eq "$(of_status State | cut -c 1)" S
echo >&8
wait "$driver" || fail "keeper-drive: status $?: $(cat drive)"
exec 8>&-
cat drive
grep -qx "done" drive
[ ! -e "/proc/$keeper" ]

# It does not stay root where it has nobody to become.
sed -i '/^vfiod-keeper:/d' /etc/passwd
assert_contains "$(refused "$PROGRAMS/keeper-drive" "$BUILD/vfiod-keeper" 1 "$EDU" 2 2>&1)" \
	"there is no user vfiod-keeper"
echo "vfiod-keeper:x:$uid:$gid::/:/usr/sbin/nologin" >>/etc/passwd

unbind_by_hand "$NIC_1"
unbind_by_hand "$EDU"
