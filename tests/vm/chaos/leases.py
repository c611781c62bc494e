"""What a client does with leases and with the group descriptors that it gets: it is its own VMM."""

import ctypes
import mmap
import os
import time

import kernel
import vfio
from wire import Closed, Refused, Violation


RELEASE_ATTEMPTS = 20


class Lease:
    def __init__(self, answer, fds, wire, mode):
        self.name, self.token, self.mode = answer["lease"], answer["token"], mode
        self.wire = wire  # that it lives with; None: it follows a process
        self.groups = answer["groups"]
        self.fds = {group["number"]: fds[group["groupFileDescriptor"]]
                    for group in self.groups if group.get("groupFileDescriptor") is not None}
        # Of mode cdev: a node of each device, and what they are bound to.
        self.nodes = {}
        for group in self.groups:
            self.nodes |= {device: fds[index] for device, index in
                           zip(group["devices"], group.get("deviceFileDescriptors") or [])}
        context = answer.get("iommufdFileDescriptor")
        self.context = None if context is None else fds[context]
        self.ioas, self.bound, self.attached = None, set(), set()
        self.container = None
        self.memory, self.view, self.maps = None, None, []
        self.devices = []

    def take_all(self):
        """Its descriptors, which are the caller's to close."""
        fds = [*self.devices, *self.fds.values(), *self.nodes.values()]
        fds += [fd for fd in (self.container, self.context) if fd is not None]
        self.devices, self.fds, self.nodes, self.container, self.context = [], {}, {}, None, None
        return fds

    def names(self):
        return [(group["number"], device) for group in self.groups for device in group["devices"]]


def is_over(client, lease):
    """As far as the daemon is concerned. Its descriptors are the client's for as long as he likes."""
    for known in (client.leases, client.parted):
        if lease in known:
            known.remove(lease)
            break
    else:
        return
    client.keep(lease.take_all())
    lease.view = None
    if lease.memory is not None:
        lease.memory.close()


def part(client, lease):
    """Its connection was lost. What was handed over stays open meanwhile."""
    if client.rng.random() < 0.4 or len(client.parted) > 2:
        is_over(client, lease)
        return
    client.leases.remove(lease)
    client.parted.append(lease)


def resume(client):
    if not client.parted:
        return
    lease, streams = client.rng.choice(client.parted), client.rng.random() < 0.5
    wire = client.wire_new()
    try:
        answer, received = client.call("Broker.Resume", {"token": lease.token}, wire=wire, **({"more": True} if streams else {}))
    except (Closed, Refused):
        is_over(client, lease)
        client.lost(wire)
        raise
    client.note(f"  {lease.name}: {answer}")
    if answer.get("lease") not in (None, lease.name) or received:
        raise Violation(f"{lease.name} was resumed as {answer}, {len(received)} descriptors")
    client.parted.remove(lease)
    client.leases.append(lease)
    lease.wire, wire.is_stream = wire, streams


def pick(client):
    return client.rng.choice(client.leases) if client.leases else None


def selectors(client):
    chosen = client.rng.sample(client.world["devices"], client.rng.choice([1, 1, 1, 2, 3]))
    found = []
    for device in chosen:
        number = kernel.group_of(device)
        by_number = client.rng.random() < 0.3 and number is not None
        found.append({"group": number} if by_number else {"device": device})
    return found


def acquire(client):
    rng = client.rng
    parameters = {
        "selectors": selectors(client),
        "mode": rng.choice([None, "group", "auto", "brokered", "brokered", "cdev", "cdev"]),
        "waitSeconds": rng.choice([None, 0, 1, 2]),
    }
    if parameters["mode"] != "brokered":
        parameters["memoryBytes"] = rng.choice([None, 0, 4 << 20, 16 << 20, 1 << 50])
    follows, streams = rng.random() < 0.3, rng.random() < 0.4
    fds = []
    if follows:
        fds = [os.pidfd_open(os.getpid())]
        parameters["holderFileDescriptor"] = 0
    client.note(f"  {parameters}{' more' if streams else ''}")
    wire = client.wire_new() if streams else client.wire()
    try:
        answer, received = client.call("Broker.Acquire", parameters, fds, wire, **({"more": True} if streams else {}))
        while answer["event"] == "queued":
            reply, received = wire.receive(f"Acquire {parameters}")
            if "error" in reply:
                raise Refused(reply)
            answer = reply["parameters"]
    except Closed:
        client.must_end |= follows
        client.lost(wire)
        raise
    except Refused:
        if streams:
            client.lost(wire)
        raise
    finally:
        for fd in fds:
            os.close(fd)
    if answer["event"] != "granted":
        # The device has gone, or an administrator was quick.
        client.note(f"  {answer}")
        client.lost(wire)
        return
    granted(client, answer, received, None if follows else wire, parameters["mode"])
    wire.is_stream = streams


def granted(client, answer, received, wire, mode):
    lease = Lease(answer, received, wire, mode)
    if client.uid == client.world["stranger"]:
        raise Violation(f"no rule allows it: {answer}")
    if mode == "brokered" and received:
        raise Violation(f"a brokered lease with descriptors: {answer}")
    if mode == "cdev" and not client.world["has_cdev"]:
        raise Violation(f"mode cdev, which this kernel does not have: {answer}")
    if mode == "cdev" and (len(lease.nodes) != len(lease.names()) or len(received) != len(lease.nodes) + 1):
        raise Violation(f"{len(received)} descriptors for {len(lease.names())} devices and an iommufd: {answer}")
    if mode not in ("brokered", "cdev") and len(received) != len(lease.groups):
        raise Violation(f"{len(received)} descriptors for {len(lease.groups)} groups: {answer}")
    client.leases.append(lease)
    client.publish(lease.token)
    client.note(f"  {lease.name} {lease.groups}")
    if len(client.leases) > 3:
        release(client, client.leases[0])


def release_by(client, token, insists):
    """One that follows this process would stay, where the connection for it was one of a daemon that has gone; and
    where none comes in time, it is over with this process."""
    for attempt in range(RELEASE_ATTEMPTS):
        try:
            client.call("Broker.Release", {"token": token})
            return
        except (Closed, Refused) as failure:
            is_open = isinstance(failure, Closed) or failure.name == "Broker.Interrupted"
            if not (insists and is_open):
                raise
            if attempt == RELEASE_ATTEMPTS - 1:
                client.must_end = True
                raise
            time.sleep(0.05)


def release(client, lease=None):
    lease = lease or pick(client)
    if lease is None:
        return
    drops_first = client.rng.random() < 0.6
    client.note(f"  {lease.name}{' without its descriptors' if drops_first else ''}")
    if drops_first:
        for fd in lease.take_all():
            os.close(fd)
    token = lease.token
    is_over(client, lease)
    release_by(client, token, lease.wire is None)
    if lease.wire in client.wires and lease.wire.is_stream:
        client.lost(lease.wire)


def hear(client):
    """What the streams of leases have said meanwhile."""
    for wire in [wire for wire in client.wires if wire.is_stream]:
        try:
            while wire.has_input():
                reply, _ = wire.receive("a stream")
                client.note(f"  {reply}")
                if not reply.get("continues"):
                    client.lost(wire)
                    break
        except Closed:
            client.lost(wire)


def disconnect(client):
    if client.wires:
        client.lost(client.rng.choice(client.wires))


def drop_kept(client):
    while client.kept:
        os.close(client.kept.pop())


def reserve(client):
    lease = pick(client)
    if lease:
        client.call("Ledger.Reserve", {
            "token": lease.token, "memoryBytes": client.rng.choice([0, 4096, 1 << 20, 1 << 45])})


def reopen(client):
    """A group that was closed, or was not: then the kernel has to say that it is open."""
    lease = pick(client)
    if not lease:
        return
    if lease.mode == "cdev" and client.rng.random() < 0.9:
        reopen_node(client, lease)
        return
    number = client.rng.choice(lease.groups)["number"]
    closes = lease.container is None and not lease.devices and number in lease.fds and client.rng.random() < 0.6
    if closes:
        os.close(lease.fds.pop(number))
    _, received = client.call("Broker.Reopen", {"token": lease.token, "group": number})
    if lease.mode in ("brokered", "cdev") or len(received) != 1:
        raise Violation(f"{lease.name}, {lease.mode}: {len(received)} descriptors of group {number}")
    if number in lease.fds:
        client.keep(received)  # it has left, and come back as another
    else:
        lease.fds[number] = received[0]


def reopen_node(client, lease):
    """A device's node once more, or an iommufd; in the place of the first, or beside it."""
    rng = client.rng
    if not lease.nodes or lease.context is None:
        return
    takes_its_place = rng.random() < 0.7
    name = rng.choice(list(lease.nodes)) if rng.random() < 0.6 else None
    if name and takes_its_place:
        os.close(lease.nodes.pop(name))
        lease.bound.discard(name)
        lease.attached.discard(name)
    wanted = {"device": name} if name else {"iommufd": True}
    _, received = client.call("Broker.Reopen", {"token": lease.token, **wanted})
    if len(received) != 1:
        raise Violation(f"{lease.name}: {len(received)} descriptors for {wanted}")
    client.count(f"nodes: reopened {'a device' if name else 'an iommufd'}")
    if name and takes_its_place:
        lease.nodes[name] = received[0]
    elif not name and takes_its_place and not lease.bound:
        os.close(lease.context)
        lease.context, lease.ioas, lease.maps = received[0], None, []
    else:
        client.keep(received)


def memory_of(lease):
    """Its address."""
    if lease.memory is None:
        lease.memory = mmap.mmap(-1, 1 << 20)
        lease.view = ctypes.addressof(ctypes.c_char.from_buffer(lease.memory))
    return lease.view


def container(client):
    """A container of its own, a device, or memory mapped for it: as a VMM does."""
    lease = pick(client)
    if not lease or not lease.fds:
        return
    if lease.container is None:
        lease.container = vfio.container_new()
        vfio.container_join(lease.container, client.rng.choice(list(lease.fds.values())))
        return
    n_bytes = client.rng.randint(1, 64) * kernel.PAGE
    iova = client.rng.randrange(0, 1 << 28, kernel.PAGE)
    vfio.dma_map(lease.container, memory_of(lease), iova, n_bytes)
    lease.maps.append((iova, n_bytes))


def container_unmap(client):
    lease = pick(client)
    if lease and lease.maps and lease.container is not None:
        iova, n_bytes = lease.maps.pop(client.rng.randrange(len(lease.maps)))
        if vfio.dma_unmap(lease.container, iova, n_bytes) != n_bytes:
            raise Violation(f"the kernel does not have what was mapped at {iova:#x}")


def device(client):
    lease = pick(client)
    if lease and lease.fds and lease.container is not None and len(lease.devices) < 3:
        number, name = client.rng.choice(lease.names())
        if number in lease.fds:
            lease.devices.append(vfio.device_open(lease.fds[number], name))


def nodes(client):
    """An iommufd of its own, a few steps further: a VMM goes all the way, and does not wait for others to."""
    lease = pick(client)
    if not lease:
        return
    for _ in range(client.rng.choice([1, 3, 6])):
        if lease.context is None or not lease.nodes:
            return
        node_step(client, lease)


def node_step(client, lease):
    """A device bound, an address space, memory mapped in it; and back."""
    name, node = client.rng.choice(list(lease.nodes.items()))
    if name not in lease.bound:
        vfio.cdev_bind(node, lease.context)
        lease.bound.add(name)
        client.count("nodes: bound")
    elif lease.ioas is None:
        lease.ioas = vfio.ioas_new(lease.context)
    elif name not in lease.attached:
        vfio.cdev_attach(node, lease.ioas)
        lease.attached.add(name)
    elif client.rng.random() < 0.2:
        vfio.cdev_detach(node)
        lease.attached.discard(name)
    else:
        n_bytes = client.rng.randint(1, 64) * kernel.PAGE
        iova = client.rng.randrange(0, 1 << 28, kernel.PAGE)
        vfio.ioas_map(lease.context, lease.ioas, memory_of(lease), iova, n_bytes)
        client.count("nodes: mapped")
        lease.maps.append((iova, n_bytes))


def nodes_unmap(client):
    lease = pick(client)
    if lease and lease.maps and lease.context is not None:
        iova, n_bytes = lease.maps.pop(client.rng.randrange(len(lease.maps)))
        if vfio.ioas_unmap(lease.context, lease.ioas, iova, n_bytes) != n_bytes:
            raise Violation(f"the kernel does not have what was mapped at {iova:#x}")


OPERATIONS = [
    (14, acquire), (7, release), (4, hear), (4, resume), (2, disconnect), (3, drop_kept), (2, reserve), (2, reopen),
    (6, container), (2, container_unmap), (3, device), (8, nodes), (2, nodes_unmap),
]
