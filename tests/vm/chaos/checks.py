"""The invariants. Each check returns what is wrong, or None; they are asked again until all are content or their
patience is at an end, as the daemon may still be at it."""

import time

import kernel

PATIENCE_SECONDS = 60
MEMORY_SLACK = 1 << 20


def insist(checks, patience=PATIENCE_SECONDS):
    """What is still wrong at the end."""
    end = time.monotonic() + patience
    while True:
        problems = [f"{check.__name__}: {problem}" for check in checks if (problem := check())]
        if not problems or time.monotonic() > end:
            return problems
        time.sleep(0.1)


class Standing:
    """While clients stand still and keep what they have."""

    def __init__(self, chaos, told):
        self.chaos, self.told = chaos, told

    def book(self):
        return self.chaos.daemon.ask("Ledger.Describe")

    def all(self):
        return [self.openers, self.drivers, self.frames, self.bills, self.pins]

    def openers(self):
        """No group is open without an owner."""
        groups = self.chaos.daemon.groups()
        known = {client.pid for client in self.chaos.clients} | set(kernel.children_of(self.chaos.daemon.pid))
        for pid, held in kernel.openers().items():
            command = kernel.command_of(pid)
            if command is None:
                continue
            if pid not in known and command not in ("vfiod-keeper", "vfiod-bind"):
                return f"{command} {pid} has {held} open"
            for number in held:
                group = groups.get(number)
                if group and pid in known and group["owner"] == "none" and group["binding"] not in ("taking", "returning", "stuck", "gone"):
                    return f"{command} {pid} has group {number} open, which nobody owns: {group}"
        return None

    def drivers(self):
        """A device is on its own driver, or its group is taken."""
        groups = self.chaos.daemon.groups()
        for device, (driver, override) in kernel.devices_now().items():
            was = self.chaos.devices.get(device)
            group = groups.get(kernel.group_of(device))
            if group is None:
                return f"{device} is in no group that is listed"
            is_host = was == (driver, override)
            if group["binding"] == "host" and not is_host:
                return f"group {group['number']} is the host's, {device} has {driver}, {override}; had {was}"
            if group["owner"] == "leased" and group["binding"] not in ("taken", "taking", "returning", "stuck"):
                return f"group {group['number']} is leased and {group['binding']}"
        return None

    def frames(self):
        """Distinct frames of the keepers = what is owed."""
        if self.chaos.is_sly:
            return None
        book = self.book()
        if any(space["state"] != "live" for space in book["spaces"]):
            # What an orphan owes, its keeper cannot be asked.
            return None if any(space["state"] == "orphaned" for space in book["spaces"]) else "spaces come or go"
        host = set()
        told = {space["name"]: space for client in self.told for space in client["spaces"]}
        for space in book["spaces"]:
            if not space["groups"]:
                continue
            if space["name"] not in told:
                return f"nobody has {space['name']}"
            found = set()
            for name, offset, length in told[space["name"]]["maps"]:
                found |= kernel.frames(space["keeperPid"], name, offset, length)
            if len(found) * kernel.PAGE != space["owedBytes"]:
                return f"{space['name']} has {len(found)} frames, owes {space['owedBytes'] // kernel.PAGE}"
            host |= found
        if len(host) * kernel.PAGE != book["owedBytes"]:
            return f"all keepers have {len(host)} frames, the host owes {book['owedBytes'] // kernel.PAGE}"
        return None

    def bills(self):
        """What the kernel bills each keeper = the kernel bill of its space."""
        for space in self.book()["spaces"]:
            if space["state"] != "live":
                continue
            locked = kernel.status_of(space["keeperPid"], "VmLck")
            if locked != space["kernelBillBytes"]:
                return f"{space['name']}: the kernel bills {locked}, the book says {space['kernelBillBytes']}"
        return None

    def pins(self):
        """All that is pinned is billed to somebody."""
        book = self.book()
        if any(space["state"] != "live" for space in book["spaces"]) or self.chaos.has_lost_spaces:
            return None
        billed = sum(space["kernelBillBytes"] for space in book["spaces"])
        billed += sum(kernel.status_of(client.pid, "VmLck") + kernel.status_of(client.pid, "VmPin")
                      for client in self.chaos.clients if client.pid)
        pinned = (kernel.pinned() - self.chaos.pinned) * kernel.PAGE
        if pinned != billed:
            return f"{pinned // kernel.PAGE} pages are pinned, {billed // kernel.PAGE} are billed"
        return None


class Over:
    """When everything has been let go."""

    def __init__(self, chaos):
        self.chaos = chaos

    def all(self):
        return [self.devices, self.openers, self.records, self.ledger, self.leases, self.keepers, self.pins,
                self.limits, self.audit, self.daemon]

    def devices(self):
        """Every device is on its own driver, and its override is as it was. What failed, an administrator returns."""
        now = kernel.devices_now()
        if now == self.chaos.devices:
            return None
        for number, group in self.chaos.daemon.groups().items():
            if group["binding"] in ("failed", "taken") and group["owner"] == "none":
                self.chaos.note(f"return of {number}, {group['binding']}: {group['failure']}")
                self.chaos.give_back(number)
        if set(self.chaos.devices) - set(now):
            kernel.write("/sys/bus/pci/rescan", "1")
        return {name: (now.get(name), was) for name, was in self.chaos.devices.items() if now.get(name) != was}

    def openers(self):
        found = kernel.openers()
        return {kernel.command_of(pid): held for pid, held in found.items()} or None

    def records(self):
        return self.chaos.daemon.records() or None

    def ledger(self):
        book = self.chaos.daemon.ask("Ledger.Describe")
        is_empty = not any(book[key] for key in ("owedBytes", "kernelBillBytes", "accounts", "spaces", "leases"))
        return None if is_empty else book

    def leases(self):
        return self.chaos.daemon.ask("Broker.Leases")["leases"] or None

    def keepers(self):
        """No process of vfiod's is left but the daemon and who is at rest."""
        own = {self.chaos.daemon.pid, *kernel.children_of(self.chaos.daemon.pid)}
        left = {pid: kernel.command_of(pid) for pid in kernel.processes() if pid not in own}
        return {pid: name for pid, name in left.items() if (name or "").startswith("vfiod") and not kernel.has_ended(pid)} or None

    def pins(self):
        # The counts of the processors come together with a lag of their own.
        n = kernel.pinned() - self.chaos.pinned
        return f"{n} pages are still pinned" if n else None

    def limits(self):
        """Who has lived through it may lock what it might before, and has nothing locked."""
        for client in self.chaos.clients:
            if client.pid:
                limit, locked = kernel.lock_limit_of(client.pid), kernel.status_of(client.pid, "VmLck")
                locked += kernel.status_of(client.pid, "VmPin")
                if limit != client.limit or locked:
                    return f"{client.name} may lock {limit}, should be {client.limit}; has {locked}"
        return None

    def audit(self):
        answer = self.chaos.daemon.ask("Admin.Audit")
        return None if answer["isRight"] else answer

    def daemon(self):
        """As after its first round; memory, as after its second."""
        daemon = self.chaos.daemon
        now = daemon.measure()
        busy = [name for name in now["children"] if name != "vfiod-doorman"]
        if busy:
            return f"still at work: {busy}"
        if now["threads"] != 1:
            return f"{now['threads']} threads"
        for then in daemon.settled[:1]:
            if now["descriptors"] - self.chaos.fds_of(now) != then["descriptors"] - self.chaos.fds_of(then):
                return f"descriptors: {now}, were {then}: {sorted(kernel.descriptors_of(daemon.pid).items())}"
        for then in daemon.settled[1:2]:
            bound = then["memory"] + MEMORY_SLACK
            if now["memory"] > bound and (at_rest := daemon.memory_at_rest()) > bound:
                return f"memory: {now}, {at_rest} at rest, was {then}"
        return None

