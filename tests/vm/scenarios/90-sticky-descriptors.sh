# shellcheck shell=bash
# A client sends descriptors whose close(2) never comes back. Children that nobody waits for have
# them: others are served at once, and when the daemon dies nobody keeps what was its.

modprobe fuse
ip link set lo up
configuration="[rule all]
match = pci:address=$EDU
allow = user:bob"
start_daemon <<<"$configuration"
mkdir mounted
in_background sticky "$PROGRAMS/sticky-fds" "$SOCKET" "$PWD/mounted" 1002
sticky=$PID
said sticky "sent 12"
said sticky flush

serves() { as_user bob vfioctl run --device "$EDU" -- true; }
serves
hanging() { pgrep -c vfiod-fetch; }
hangs() { [ "$(hanging)" -gt 0 ]; }
wait_until 10 hangs
# The kernel does not let them end. There is room for a few of one user.
[ "$(hanging)" -le 8 ] || fail "$(hanging) children"
serves

# A connection ends with the daemon although they live on.
in_background watch as_user bob "$PROGRAMS/lib/call" --more org.vfiod.Broker.Monitor
watch=$PID
said watch '.*"ready"'
kill_daemon
wait_until 10 has_ended "$watch"
hangs || fail "nothing hangs any more: what was shown?"
start_daemon <<<"$configuration"
serves

# The server ends, and everything with it.
end "$sticky"
gone() { ! pgrep vfiod-fetch; }
wait_until 10 gone
serves
