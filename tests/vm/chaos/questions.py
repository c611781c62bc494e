"""What a client asks without wanting a device, and what an administrator does to those of others."""

import contextlib

from wire import Closed, Refused, Violation


def look(client):
    device = client.rng.choice(client.world["devices"])
    method, parameters = client.rng.choice([
        ("Broker.Describe", {"device": device}), ("Broker.Why", {"device": device}),
        ("Broker.Can", {"device": device}), ("Broker.Leases", {}), ("Ledger.Describe", {}),
        ("Broker.Plan", {"selectors": [{"device": device}]}),
        ("Broker.Pools", {}), ("Admin.Status", {}), ("Admin.Check", {}),
    ])
    client.call(method, parameters)


def list_groups(client):
    wire = client.wire()
    try:
        wire.send("org.vfiod.Broker.List", {"all": True}, more=True)
        last, goes_on = -1, True
        while goes_on:
            reply, _ = wire.receive("List")
            if "error" in reply:
                raise Refused(reply)
            # Groups leave and come meanwhile; each is told of once, in the order of their numbers.
            number, goes_on = reply["parameters"]["group"]["number"], reply.get("continues", False)
            if number <= last:
                raise Violation(f"group {number} after group {last}: {reply}")
            last = number
    except Closed:
        client.lost(wire)
        raise


def monitor(client):
    """Somebody who asks for events and hardly reads them."""
    wire = client.wire_new()
    try:
        wire.send("org.vfiod.Broker.Monitor", {}, more=True)
        wire.receive("Monitor")
    except Closed:
        client.lost(wire)
        raise
    wire.is_stream = True


def administer(client):
    rng = client.rng
    device = rng.choice(client.world["devices"])
    method = rng.choice(["Take", "Return", "Return", "Revoke", "Reload", "Audit"])
    parameters = {"device": device} if method in ("Take", "Return") else {}
    if method == "Revoke":
        found = client.call("Broker.Leases")[0]["leases"]
        if not found:
            return
        parameters = {"lease": rng.choice(found)["lease"], "end": rng.random() < 0.5, "reason": "chaos"}
    client.note(f"  {method} {parameters}")
    answer, _ = client.call(f"Admin.{method}", parameters)
    if client.uid != 0:
        raise Violation(f"{client.uid} may {method}: {answer}")
    if method == "Audit" and not answer["isRight"]:
        # What others do meanwhile can be in it; it has to be right when all is quiet (checks.py).
        client.note(f"  {answer}")


def too_many_wires(client):
    """One more, and back to a few."""
    client.wire_new()
    while len(client.wires) > 4:
        client.lost(client.wires[0])


def wait_and_leave(client):
    """In a queue, and then not."""
    wire = client.wire_new()
    device = client.rng.choice(client.world["devices"])
    with contextlib.suppress(Closed, Refused):
        wire.send("org.vfiod.Broker.Acquire", {"selectors": [{"device": device}], "waitSeconds": 30}, more=True)
    client.lost(wire)


OPERATIONS = [(6, look), (2, list_groups), (1, monitor), (4, administer), (2, too_many_wires), (2, wait_and_leave)]
