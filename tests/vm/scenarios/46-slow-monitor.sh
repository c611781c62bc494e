# shellcheck shell=bash
# Who watches too slowly loses events, is told so, and goes on watching; nobody else waits for him.

start_daemon <<END
[daemon]
max-output = 64K

[rule edu]
match = pci:address=$EDU
allow = user:alice
END

in_background slow vfioctl monitor --json
slow=$PID
in_background quick vfioctl monitor --json
said slow '.*"ready"'
said quick '.*"ready"'
kill -STOP "$slow"

# More than the socket's buffer and half of max-output hold.
many=600
python3 - "$SOCKET" "$many" <<'END'
import socket, sys
daemon = socket.socket(socket.AF_UNIX)
daemon.connect(sys.argv[1])
for _ in range(int(sys.argv[2])):
    daemon.sendall(b'{"method":"org.vfiod.Admin.Reload"}\0')
    while not daemon.recv(4096).endswith(b"\0"):
        pass
END
as_user alice vfioctl run --device "$EDU" -- true
wait_until 10 grep -q '"leaseEnded"' quick
assert_eq "$(grep -c '"configurationReloaded"' quick)" "$many"
! grep '"lost"' quick || fail "the quick one has lost events"

kill -CONT "$slow"
said slow '.*"lost"'
assert_eq "$(grep -c '"lost"' slow)" 1
assert_eq "$(tail -n 1 slow | json event)" lost
came=$(grep -c '"configurationReloaded"' slow)
echo "$came of $many events came before it"
((came > 100 && came < many)) || fail "it did not lose what is too much"

as_user alice vfioctl run --device "$EDU" -- true
said slow '.*"leaseGranted"'
wait_until 10 grep -q '"leaseEnded"' slow
! has_ended "$slow" || fail "it was thrown out"
