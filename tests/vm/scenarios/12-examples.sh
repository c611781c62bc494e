# shellcheck shell=bash
# The examples of client/examples, as an unprivileged user who may lock next to nothing runs them: a VMM in C, and
# the same in Python.

start_daemon <<END
[rule edu]
match = pci:address=$EDU
allow = user:alice
END
ulimit -l 8
as_user alice "$BUILD/client/examples/vmm" "$EDU" | tee said
assert_eq "$(cat said)" "$EDU: 1024 bytes there and back are equal"
assert_unchanged
as_user alice env PYTHONDONTWRITEBYTECODE=1 python3 "$VM/../../client/examples/dma.py" "$EDU" | tee said
assert_eq "$(cat said)" "$EDU: 1024 bytes there and back are equal"
assert_unchanged

# No rule: what vfiod says is what they say.
answer=$(refused as_user bob "$BUILD/client/examples/vmm" "$EDU" 2>&1)
assert_contains "$answer" "does not allow"
answer=$(refused as_user bob env PYTHONDONTWRITEBYTECODE=1 python3 "$VM/../../client/examples/dma.py" "$EDU" 2>&1)
assert_contains "$answer" "org.vfiod.Broker.AccessDenied"
