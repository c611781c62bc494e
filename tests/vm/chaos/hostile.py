"""What no honest client does."""

import os

from wire import Closed, Refused, Violation

NONSENSE = [
    b"\0", b"[]\0", b"{}\0", b"nonsense\0", b'{"method":1}\0', b'{"method":"org.vfiod.Broker.List","more":1}\0',
    b'{"method":"org.vfiod.Broker.Leases","extra":1}\0', b'{"method":"\xff"}\0', b"[" * 5000 + b"\0",
    b'{"method":"org.vfiod.Broker.Leases","more":true,"oneway":true}\0', b"x" * 200000,
]
WRONG = [
    ("Broker.Acquire", {"selectors": []}), ("Broker.Acquire", {"selectors": [{}]}), ("Broker.Acquire", {}),
    ("Broker.Acquire", {"selectors": [{"group": 2**63 - 1}]}), ("Broker.Acquire", {"selectors": [{"device": "../.."}]}),
    ("Broker.Acquire", {"selectors": [{"device": "none"}], "holderFileDescriptor": 5}),
    ("Broker.Release", {"token": ""}), ("Broker.Release", {"token": "0" * 32}), ("Broker.Nothing", {}),
    ("Space.Map", {"space": "0" * 32, "memory": 0, "offset": 0, "iova": "0x0", "length": 4096}),
    ("Space.Create", {"maxGroupsPerContainer": -1}), ("Space.Destroy", {"space": 7}),
    ("Ledger.Reserve", {"token": "0" * 32, "memoryBytes": -1}),
]


def garbage(client):
    wire = client.wire_new()
    try:
        wire.send_bytes(client.rng.choice(NONSENSE))
    except Closed:
        pass
    client.lost(wire)


def half_a_message(client):
    """And the rest later, or never."""
    wire = client.wire_new()
    call = b'{"method":"org.vfiod.Broker.Leases","parameters":{}}\0'
    cut = client.rng.randrange(len(call))
    try:
        wire.send_bytes(call[:cut])
        if client.rng.random() < 0.5:
            wire.send_bytes(call[cut:])
            wire.receive("half a message")
    except Closed:
        pass
    client.lost(wire)


def wrong_call(client):
    method, parameters = client.rng.choice(WRONG)
    answer, _ = client.call(method, parameters)
    raise Violation(f"{method} {parameters} was answered with {answer}")


def theft(client):
    """With a token that somebody else of another user has."""
    token = client.stolen()
    if not token or client.uid == 0:
        return
    method, parameters = client.rng.choice([
        ("Broker.Release", {"token": token}), ("Ledger.Reserve", {"token": token, "memoryBytes": 4096}),
        ("Space.Describe", {"space": token}), ("Space.Destroy", {"space": token}),
        ("Space.Unmap", {"space": token, "iova": "0x0", "length": 1 << 30}),
        ("Broker.Resume", {"token": token}),
    ])
    answer, _ = client.call(method, parameters)
    raise Violation(f"{method} with somebody else's token was answered with {answer}")


def unwanted_fds(client):
    """Descriptors that no parameter names, or of the wrong kind."""
    fds = [os.open("/dev/null", os.O_RDWR), os.memfd_create("unwanted"), *os.pipe()]
    try:
        method, parameters = client.rng.choice([
            ("Broker.Leases", {}), ("Space.AddMemory", {"space": "0" * 32, "memoryFileDescriptor": 1}),
            ("Space.Create", {"holderFileDescriptor": 0}), ("Broker.Acquire", {
                "selectors": [{"device": client.world["devices"][0]}], "holderFileDescriptor": 1}),
        ])
        client.call(method, parameters, fds)
    finally:
        for fd in fds:
            os.close(fd)


def leave_unread(client):
    """Calls whose answers nobody reads."""
    wire = client.wire_new()
    try:
        for _ in range(client.rng.randint(1, 8)):
            wire.send("org.vfiod.Ledger.Describe", {})
    except Closed:
        pass
    client.lost(wire)


def holder_of_others(client):
    """A lease that is to follow a process of another user: the daemon's own."""
    if client.uid == 0:
        return
    fd = os.pidfd_open(1)
    try:
        answer, _ = client.call("Broker.Acquire", {
            "selectors": [{"device": client.world["devices"][0]}], "holderFileDescriptor": 0}, [fd])
    except Refused:
        raise
    finally:
        os.close(fd)
    raise Violation(f"a lease follows process 1: {answer}")


def punch(client):
    """Holes in memory that is mapped: what is pinned is not what is there. Then nobody outside can say which
    frames are owed, so not in every round."""
    if not client.is_sly or not client.spaces:
        return
    space = client.rng.choice(client.spaces)
    for name, fd in space.memories.values():
        os.ftruncate(fd, 4096 * client.rng.randint(0, 256))
        os.ftruncate(fd, 1 << 20)
        client.note(f"  {name}")


OPERATIONS = [
    (2, garbage), (2, half_a_message), (3, wrong_call), (3, theft), (2, unwanted_fds), (1, leave_unread),
    (1, holder_of_others), (3, punch),
]
