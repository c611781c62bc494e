# shellcheck shell=bash
# How certain it is who keeps a group: twins are told from each other, who has the node for its path
# only has nothing, and where nobody can be seen, nobody is blamed.

start_daemon <<END
[rule all]
match = pci:address=$NIC_1
match = pci:address=$NIC_2
allow = user:alice
END
has_holder() { # DEVICE PID
	vfioctl status "$1" --json | grep -F "\"holder\":{\"pid\":$2,\"uid\":1000," | grep -F '"holderEvidence":"open"'
}
run() { # NAME DEVICE COMMAND…: as alice; leaves its child behind, $holder
	local name=$1 device=$2
	shift 2
	in_background "$name" as_user alice vfioctl run --device "$device" -- "$@"
	wait "$PID" || fail "status $?: $(cat "$name")"
	read -r _ holder <<<"$(said "$name" holder)"
}

# The devices that are reset with one tell which of the twins it is.
run first "$NIC_1" "$PROGRAMS/edu-dma" --fork-holder "{group}" "$NIC_1"
one=$holder
run second "$NIC_2" "$PROGRAMS/edu-dma" --fork-holder "{group}" "$NIC_2"
wait_until 30 has_holder "$NIC_1" "$one"
wait_until 30 has_holder "$NIC_2" "$holder"
kill -TERM "$one" "$holder"
wait_until 30 is_unchanged

# The group's own descriptor. Somebody else has its node for the path, which anybody may.
run node "$NIC_1" sh -c 'sleep 1000 & echo "holder $!"'
node=$holder
in_background path as_user mallory "$PROGRAMS/fd-hold" path "/dev/vfio/$(group_of "$NIC_1")"
path=$PID
said path holding
# In the queue of a socket nobody can see it.
run hidden "$NIC_2" "$PROGRAMS/fd-hold" queue "{group}"
said hidden hidden
wait_until 30 has_holder "$NIC_1" "$node"
is_unknown() { vfioctl status | xargs | grep "holder unknown: no process is seen that has it open"; }
wait_until 30 is_unknown
assert_contains "$(vfioctl status "$NIC_2" --json)" '"owner":"lingering","failure":null,"holder":null,"holderEvidence":null'
assert_contains "$(vfioctl status | xargs)" "It was leased to uid 1000 (vfioctl, pid"
kill -TERM "$node" "$holder" "$path"
wait_until 30 is_unchanged
