"""What a client does with spaces. It remembers each mapping: an answer that does not fit them is a Violation."""

import contextlib
import os
import random
import time

import kernel
import leases
import vfio
from kernel import PAGE
from wire import ANSWER_SECONDS, Closed, Refused, Violation

MEMORY_BYTES = 1 << 20
IOVA_LAST = 32 << 20  # edu reaches all of it, and there is little room: things overlap


class Space:
    def __init__(self, answer, wire):
        self.token, self.name = answer["space"], answer["name"]
        self.wire = wire  # that it lives with; None: it follows a process
        self.memories = {}  # number: (name, fd)
        self.maps = []  # (iova, length, memory, offset, permissions)
        self.groups, self.devices = {}, []  # group: lease; (fd, name)
        self.is_over = False

    def within(self, iova, length):
        return [one for one in self.maps if one[0] >= iova and one[0] + one[1] <= iova + length]

    def touched(self, iova, length):
        return [one for one in self.maps if one[0] < iova + length and iova < one[0] + one[1]]

    def told(self):
        return {"name": self.name, "maps": [
            (self.memories[number][0], offset, length) for _, length, number, offset, _ in self.maps]}


def is_over(client, space):
    """For the daemon it is no more. A device that is open works on, and may linger."""
    if space not in client.spaces:
        return
    client.spaces.remove(space)
    client.ended.append(space.token)
    space.is_over = True
    client.keep([fd for fd, _ in space.devices])
    space.devices = []
    for _, fd in space.memories.values():
        os.close(fd)


@contextlib.contextmanager
def of(client, space):
    """An answer that says that the space is over."""
    try:
        yield
    except Refused as refused:
        if refused.name == "Space.NoSuchSpace":
            is_over(client, space)
        raise


def pick(client):
    return client.rng.choice(client.spaces) if client.spaces else None


def create(client):
    if len(client.spaces) >= 3:
        return
    parameters, fds = {"maxGroupsPerContainer": client.rng.choice([None, 1])}, []
    follows = client.rng.random() < 0.2
    if follows:
        fds = [os.pidfd_open(os.getpid())]
        parameters["holderFileDescriptor"] = 0
    wire = client.wire()
    try:
        answer, _ = client.call("Space.Create", parameters, fds, wire)
    except Closed:
        client.must_end |= follows
        raise
    finally:
        for fd in fds:
            os.close(fd)
    client.spaces.append(Space(answer, None if follows else wire))
    client.publish(answer["space"])
    client.note(f"  {answer['name']}")


def add_memory(client):
    space = pick(client)
    if not space or len(space.memories) >= 3:
        return
    name = f"chaos-{os.getpid()}-{random.getrandbits(40):x}"
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, MEMORY_BYTES)
    # Some of it has been touched before anybody maps it.
    os.pwrite(fd, b"x" * PAGE * client.rng.randint(1, 64), PAGE * client.rng.randint(0, 64))
    try:
        with of(client, space):
            answer, _ = client.call("Space.AddMemory", {"space": space.token, "memoryFileDescriptor": 0}, [fd])
    except BaseException:
        os.close(fd)
        raise
    if answer["memory"] in space.memories:
        raise Violation(f"memory {answer['memory']} is there twice")
    space.memories[answer["memory"]] = (name, fd)


def remove_memory(client):
    space = pick(client)
    if not space or not space.memories:
        return
    number = client.rng.choice(list(space.memories))
    with of(client, space):
        client.call("Space.RemoveMemory", {"space": space.token, "memory": number})
    if any(one[2] == number for one in space.maps):
        raise Violation(f"memory {number} was removed while it is mapped")
    os.close(space.memories.pop(number)[1])


def map_memory(client):
    space, rng = pick(client), client.rng
    if not space or not space.memories:
        return
    number = rng.choice(list(space.memories))
    n_pages = rng.choice([1, 2, 7, 64, 128])
    length, offset = n_pages * PAGE, rng.randint(0, MEMORY_BYTES // PAGE - n_pages) * PAGE
    iova = rng.randrange(0, IOVA_LAST, rng.choice([PAGE, 64 * PAGE]))
    permissions = rng.choice([(True, True), (True, True), (True, False), (False, True)])
    is_wrong = rng.random() < 0.1
    if is_wrong:
        wrong = rng.choice(["iova", "length", "offset", "beyond", "window"])
        iova += {"iova": 8, "window": 0xFEE00000 - iova}.get(wrong, 0)
        length += {"length": 1}.get(wrong, 0)
        offset += {"offset": 12, "beyond": MEMORY_BYTES}.get(wrong, 0)
        # Before a group is attached, nobody says what the window for interrupts is.
        is_wrong = wrong != "window"
    parameters = {"space": space.token, "memory": number, "offset": offset, "iova": hex(iova), "length": length,
                  "read": permissions[0], "write": permissions[1]}
    client.note(f"  {space.name} {parameters}")
    with of(client, space):
        client.call("Space.Map", parameters)
    if is_wrong:
        raise Violation(f"a wrong Map was done: {parameters}")
    if space.touched(iova, length):
        raise Violation(f"a Map over another was done: {parameters}, {space.touched(iova, length)}")
    space.maps.append((iova, length, number, offset, permissions))


def unmap(client):
    space, rng = pick(client), client.rng
    if not space:
        return
    if space.maps and rng.random() < 0.8:
        iova, length, *_ = rng.choice(space.maps)
        if rng.random() < 0.2 and length > PAGE:
            length -= PAGE
        elif rng.random() < 0.3:
            length += rng.randint(1, 512) * PAGE
    else:
        iova, length = rng.randrange(0, IOVA_LAST, PAGE), rng.randint(1, 2048) * PAGE
    within, touched = space.within(iova, length), space.touched(iova, length)
    client.note(f"  {space.name} {iova:#x} {length:#x}: {len(within)}")
    with of(client, space):
        answer, _ = client.call("Space.Unmap", {"space": space.token, "iova": hex(iova), "length": length})
    if within != touched:
        raise Violation(f"an Unmap of {iova:#x} {length:#x} has split {touched}")
    if (answer["mappings"], answer["lengthBytes"]) != (len(within), sum(one[1] for one in within)):
        raise Violation(f"Unmap of {iova:#x} {length:#x}: {answer}, should be {within}")
    space.maps = [one for one in space.maps if one not in within]


def attach(client):
    space, lease = pick(client), leases.pick(client)
    brokered = [lease for lease in client.leases if lease.mode == "brokered"]
    if brokered and client.rng.random() < 0.95:
        lease = client.rng.choice(brokered)
    if not space or not lease:
        return
    number = client.rng.choice(lease.groups)["number"]
    client.note(f"  {space.name} {lease.name} {number}")
    with of(client, space):
        client.call("Space.Attach", {"space": space.token, "token": lease.token, "group": number})
    if lease.mode != "brokered":
        raise Violation(f"group {number} was attached, of a lease with mode {lease.mode}")
    space.groups[number] = lease


def detach(client):
    space = pick(client)
    if space and space.groups:
        number = client.rng.choice(list(space.groups))
        with of(client, space):
            client.call("Space.Detach", {"space": space.token, "group": number})
        space.groups.pop(number)


def get_device(client):
    space = pick(client)
    if not space or not space.groups or len(space.devices) >= 2:
        return
    number = client.rng.choice(list(space.groups))
    name = client.rng.choice([name for group, name in space.groups[number].names() if group == number])
    with of(client, space):
        answer, fds = client.call("Space.GetDevice", {"space": space.token, "group": number, "device": name})
    if len(fds) != 1:
        raise Violation(f"{len(fds)} descriptors: {answer}")
    space.devices.append((fds[0], name))


def drop_device(client):
    space = pick(client)
    if space and space.devices:
        os.close(space.devices.pop()[0])


def dma(client):
    """Memory to device to memory, and into what is not mapped."""
    rng = client.rng
    having = [space for space in client.spaces if any(name == client.world["edu"] for _, name in space.devices)]
    # What was punched is not what is pinned.
    if not having or client.is_sly:
        return
    space = rng.choice(having)
    whole = [one for one in space.maps if one[4] == (True, True)]
    if not whole:
        return
    fd = next(fd for fd, name in space.devices if name == client.world["edu"])
    edu = vfio.Edu(fd)
    if not edu.is_there():
        return
    source, target = rng.choice(whole), rng.choice(whole)
    sent = random.Random(rng.random()).randbytes(vfio.EDU_BYTES)
    came = lambda: os.pread(space.memories[target[2]][1], vfio.EDU_BYTES, target[3])
    os.pwrite(space.memories[source[2]][1], sent, source[3])
    edu.to_device(source[0])
    os.pwrite(space.memories[target[2]][1], bytes(vfio.EDU_BYTES), target[3])
    edu.to_memory(target[0])
    if came() != sent:
        raise Violation(f"DMA in {space.name}: what came back to {target} is not what was sent from {source}")
    nowhere = rng.randrange(0, IOVA_LAST, PAGE)
    if not space.touched(nowhere, PAGE):
        edu.to_memory(nowhere)
        edu.to_device(nowhere)


def described(client, space):
    """After a restart it is told what a space has when its keeper has said it."""
    end = time.monotonic() + ANSWER_SECONDS
    while (answer := client.call("Space.Describe", {"space": space.token})[0])["state"] == "starting":
        if time.monotonic() > end:
            raise Violation(f"{space.name} is starting for {ANSWER_SECONDS} s")
        time.sleep(0.02)
    return answer


def settle(client):
    """What the daemon says of each space is what was done."""
    for space in list(client.spaces):
        try:
            with of(client, space):
                answer = described(client, space)
        except (Refused, Closed):
            continue
        if answer["state"] != "live":
            is_over(client, space)
            continue
        told = (answer["mappings"], answer["mappedBytes"], answer["memories"])
        if told != (len(space.maps), sum(one[1] for one in space.maps), len(space.memories)):
            raise Violation(f"{space.name} has {told}, should have {space.maps}, {space.memories}")


def describe(client):
    settle(client)


def destroy(client, space=None):
    space = space or pick(client)
    if space:
        is_over(client, space)
        bury(client)


def bury(client):
    """A space whose keeper has ended is there until it is destroyed, or what it lives with has ended."""
    while client.ended:
        client.call("Space.Destroy", {"space": client.ended.pop()})


OPERATIONS = [
    (6, create), (6, add_memory), (2, remove_memory), (14, map_memory), (8, unmap), (12, attach), (4, detach),
    (6, get_device), (2, drop_device), (4, dma), (2, describe), (3, destroy),
]
