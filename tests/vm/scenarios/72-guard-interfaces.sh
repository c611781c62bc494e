# shellcheck shell=bash
# Every way to use a network interface keeps it from being taken, most of them while it is down;
# to be up is none.

start_daemon <<END
[rule nic]
match = pci:address=$NIC_1
allow = user:alice
END

nic=$(interface_of "$NIC_1")

ip link set "$nic" up
for route in 198.51.100.0/24 2001:db8:7::/64; do
	ip route add "$route" dev "$nic"
	assert_in_use "$NIC_1" "interface $nic is up with a route to $route"
	ip route del "$route" dev "$nic"
done
ip route add default dev "$nic" table 77
assert_in_use "$NIC_1" "interface $nic is up with a route to anywhere"
ip route flush table 77
ip link set "$nic" down

for master in bridge bond; do
	ip link add guard0 type $master
	ip link set "$nic" master guard0
	ip link set "$nic" down
	assert_in_use "$NIC_1" "interface $nic is part of guard0"
	ip link del guard0
done
for upper in "macvlan" "vlan id 7"; do
	# shellcheck disable=SC2086
	ip link add link "$nic" name guard1 type $upper
	assert_in_use "$NIC_1" "interface $nic carries guard1"
	ip link del guard1
done

in_background xdp "$PROGRAMS/xdp-attach" "$nic"
xdp=$PID
said xdp attached
assert_in_use "$NIC_1" "interface $nic has an XDP program"
end "$xdp"

in_background elsewhere unshare --net bash -c 'echo there && exec sleep 1000'
elsewhere=$PID
said elsewhere there
ip link set "$nic" netns "$elsewhere"
[ ! -e "/sys/class/net/$nic" ] || fail "$nic is still here"
assert_in_use "$NIC_1" "an interface of it is in another network namespace"
nsenter --net="/proc/$elsewhere/ns/net" ip link set "$nic" netns 1
kill "$elsewhere"

# Up, with the kernel's own link-local address and routes.
ip link set "$nic" up
in_background client as_user alice "$PROGRAMS/lib/lease" "$NIC_1"
client=$PID
said client granted
end "$client"
