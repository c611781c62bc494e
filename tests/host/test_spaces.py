"""Spaces without groups: whose they are, what they take and refuse, and that nothing is left of them.

Their keepers are real processes; devices and pins are the VM's business.
"""

import fcntl
import os
import signal
import subprocess
import tempfile
import unittest

from vfiod_host import ADMIN, RULE, Daemon, Host, wait_until

PAGE = 4096
MEMORY_BYTES = 64 * PAGE
MAX_SPACES, MAX_MEMORIES, MAX_MAPPINGS = 3, 4, 6
CONFIG = ADMIN + f"""
max-spaces-per-user = {MAX_SPACES}
max-memories-per-space = {MAX_MEMORIES}
max-mappings-per-space = {MAX_MAPPINGS}
host-limit = 1G
""" + RULE
LAST = 2**64 - PAGE
SPACE, BROKER = "org.vfiod.Space.", "org.vfiod.Broker."


class Failed(Exception):
    """An error: its name, and its parameters."""


class Client:
    """A connection, and its space."""

    def __init__(self, connection, **parameters):
        self.connection = connection
        self.fds = parameters.pop("fds", ())
        reply = self.ask("Create", fds=self.fds, **parameters)
        self.token, self.name = reply["space"], reply["name"]

    def ask(self, method, fds=(), **parameters):
        reply = self.connection.call(SPACE + method, parameters, fds=fds)
        if "error" in reply:
            raise Failed(reply["error"], reply["parameters"])
        return reply["parameters"]

    def call(self, method, fds=(), **parameters):
        return self.ask(method, fds=fds, space=self.token, **parameters)

    def add(self, fd):
        return self.call("AddMemory", fds=[fd], memoryFileDescriptor=0)

    def map(self, memory=1, offset=0, iova="0x100000", length=PAGE, **parameters):
        return self.call("Map", memory=memory, offset=offset, iova=iova, length=length, **parameters)

    def unmap(self, iova, length):
        return self.call("Unmap", iova=iova, length=length)

    def describe(self):
        return self.call("Describe")

    def keeper(self):
        """Once it lives."""
        wait_until("the space lives", lambda: self.describe()["state"] == "live")
        return self.describe()["keeperPid"]


def runs(pid):
    return os.path.exists(f"/proc/{pid}")


class Spaces(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = Host()
        cls.addClassCleanup(cls.host.close)

    def setUp(self):
        self.daemon = Daemon(self.host, CONFIG)
        self.addCleanup(self.daemon.close)
        # Whatever a test did: no descriptor, no process, and no charge is left of it.
        self.addCleanup(self.assert_nothing_left)

    def assert_nothing_left(self):
        self.daemon.wait_idle()
        children = f"/proc/{self.daemon.process.pid}/task/{self.daemon.process.pid}/children"
        with open(children, encoding="ascii") as file:
            wait_until("no child is left", lambda: file.seek(0) == 0 and not file.read())
        with self.daemon.connect() as client:
            book = client.call("org.vfiod.Ledger.Describe")["parameters"]
        self.assertEqual((book["owedBytes"], book["accounts"], book["spaces"]), (0, [], []))

    def connect(self, **options):
        connection = self.daemon.connect(**options)
        self.addCleanup(connection.socket.close)
        return connection

    def client(self, **parameters):
        return Client(self.connect(), **parameters)

    def memory(self, n_bytes=MEMORY_BYTES, seals=0, flags=os.O_RDWR):
        fd = os.memfd_create("memory", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
        self.addCleanup(os.close, fd)
        os.ftruncate(fd, n_bytes)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
        if flags == os.O_RDWR:
            return fd
        fd = os.open(f"/proc/self/fd/{fd}", flags | os.O_CLOEXEC)
        self.addCleanup(os.close, fd)
        return fd

    def assert_fails(self, error, parameters, function, *arguments, **keywords):
        with self.assertRaises(Failed) as caught:
            function(*arguments, **keywords)
        self.assertEqual(caught.exception.args, (error, parameters))

    def assert_invalid(self, parameter, function, *arguments, **keywords):
        self.assert_fails("org.varlink.service.InvalidParameter", {"parameter": parameter},
                          function, *arguments, **keywords)


class Memory(Spaces):
    def test_what_is_taken(self):
        client = self.client()
        sealed = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        for number, (fd, is_writable) in enumerate([
                (self.memory(), True),
                (self.memory(seals=sealed), True),
                (self.memory(seals=fcntl.F_SEAL_WRITE), False),
                (self.memory(flags=os.O_RDONLY), False)], 1):
            self.assertEqual(client.add(fd), {
                "memory": number, "lengthBytes": MEMORY_BYTES, "pageBytes": PAGE,
                "isWritable": is_writable})
        self.assert_fails(BROKER + "TooMany",
                          {"limit": "max-memories-per-space", "max": MAX_MEMORIES},
                          client.add, self.memory())
        client.call("RemoveMemory", memory=2)
        self.assert_fails(SPACE + "NoSuchMemory", {"memory": 2}, client.call, "RemoveMemory", memory=2)
        self.assertEqual(client.add(self.memory())["memory"], MAX_MEMORIES + 1)
        self.assertEqual(client.describe()["memories"], MAX_MEMORIES)

    def test_a_file_of_tmpfs(self):
        with tempfile.TemporaryFile(dir="/dev/shm") as file:
            file.truncate(PAGE)
            self.assertEqual(self.client().add(file.fileno())["lengthBytes"], PAGE)

    def test_other_files(self):
        client = self.client()
        with tempfile.TemporaryFile(dir=self.daemon.directory) as file, \
                open("/dev/zero", "rb") as device, \
                os.fdopen(os.pidfd_open(os.getpid())) as process:
            for fd in (file.fileno(), device.fileno(), process.fileno()):
                self.assert_fails(
                    SPACE + "MemoryUnsuitable",
                    {"reason": "it is neither a memfd nor another file of tmpfs or hugetlbfs"},
                    client.add, fd)
        for index in (-1, 1, 253):
            self.assert_invalid("memoryFileDescriptor", client.call, "AddMemory",
                                fds=[self.memory()], memoryFileDescriptor=index)
        self.assertEqual(client.describe()["memories"], 0)

    def test_only_read(self):
        client = self.client()
        client.add(self.memory(flags=os.O_RDONLY))
        with self.assertRaises(Failed) as caught:
            client.map()
        self.assertEqual(caught.exception.args[0], SPACE + "MemoryUnsuitable")
        self.assertEqual(client.map(write=False), {"newOwedBytes": 0})

    def test_mapped(self):
        client = self.client()
        client.add(self.memory())
        client.map(iova="0x1000")
        client.map(iova="0x9000")
        self.assert_fails(SPACE + "MemoryMapped", {"memory": 1, "mappings": 2},
                          client.call, "RemoveMemory", memory=1)
        client.unmap("0x0", 2**63 - PAGE)
        client.call("RemoveMemory", memory=1)


class Mappings(Spaces):
    def setUp(self):
        super().setUp()
        self.space = self.client()
        self.space.add(self.memory())

    def test_map_and_unmap(self):
        space = self.space
        for iova in (0x1000, 0x2000, 0x8000):
            self.assertEqual(space.map(iova=hex(iova)), {"newOwedBytes": 0})
        space.map(iova="0x10000", offset=8 * PAGE, length=4 * PAGE)
        space.map(iova=hex(LAST))
        seen = space.describe()
        self.assertEqual((seen["mappings"], seen["mappedBytes"]), (5, 8 * PAGE))
        for iova, length, mappings, n_bytes in (
                ("0x1000", 2 * PAGE, 2, 2 * PAGE), ("0x1000", 2 * PAGE, 0, 0),
                ("0x0", 16 * PAGE, 1, PAGE), ("0x10000", 4 * PAGE, 1, 4 * PAGE),
                (hex(LAST), PAGE, 1, PAGE)):
            self.assertEqual(space.unmap(iova, length), {"mappings": mappings, "lengthBytes": n_bytes})
        self.assertEqual(space.describe()["mappings"], 0)

    def test_overlaps(self):
        self.space.map(iova="0x10000", length=4 * PAGE)
        there = {"first": "0x10000", "last": "0x13fff"}
        for iova, length in (("0x10000", 4), ("0xf000", 2), ("0x13000", 1), ("0x12000", 8), ("0x0", 64)):
            self.assert_fails(SPACE + "MappingOverlaps", there, self.space.map,
                              iova=iova, length=length * PAGE)
        self.space.map(iova="0xf000")
        self.space.map(iova="0x14000")

    def test_unmap_that_splits(self):
        self.space.map(iova="0x10000", length=4 * PAGE)
        there = {"first": "0x10000", "last": "0x13fff"}
        for iova, length in (("0x10000", 1), ("0x11000", 1), ("0x13000", 2), ("0xf000", 3)):
            self.assert_fails(SPACE + "UnmapSplitsMapping", there, self.space.unmap, iova, length * PAGE)
        self.assertEqual(self.space.describe()["mappings"], 1)

    def test_misaligned(self):
        for wrong in ({"iova": "0x100"}, {"offset": 1}, {"length": PAGE + 1}):
            self.assert_fails(SPACE + "Misaligned", {"pageBytes": PAGE}, self.space.map, **wrong)

    def test_around_the_end(self):
        for iova, length in ((hex(LAST), 2 * PAGE), (hex(2**63 + 2 * PAGE), 2**63 - PAGE)):
            self.assert_invalid("length", self.space.map, iova=iova, length=length)
            self.assert_invalid("length", self.space.unmap, iova, length)
        self.assertEqual(self.space.describe()["mappings"], 0)

    def test_beyond_the_memory(self):
        for offset, length in ((0, MEMORY_BYTES + PAGE), (MEMORY_BYTES, PAGE), (2**63 - 2 * PAGE, PAGE)):
            with self.assertRaises(Failed) as caught:
                self.space.map(offset=offset, length=length)
            self.assertEqual(caught.exception.args[0], SPACE + "MemoryUnsuitable")
        self.assert_fails(SPACE + "NoSuchMemory", {"memory": 7}, self.space.map, memory=7)
        self.assert_fails(SPACE + "NoSuchMemory", {"memory": 2**32 + 1}, self.space.map, memory=2**32 + 1)

    def test_wrong_parameters(self):
        for parameter, values in {
                "iova": ("", "4096", "0x", "0x1g", "0X1000", " 0x1000", "-0x1000", "0x10000000000000000"),
                "offset": (-1, -2**63 + 1, "0"), "length": (0, -PAGE, "4096"), "memory": (-1, "1"),
        }.items():
            for value in values:
                self.assert_invalid(parameter, self.space.map, **{parameter: value})
        self.assert_invalid("read", self.space.map, read=False, write=False)
        self.assert_invalid("length", self.space.unmap, "0x1000", 0)

    def test_too_many(self):
        for i in range(MAX_MAPPINGS):
            self.space.map(iova=hex(i * PAGE))
        self.assert_fails(BROKER + "TooMany", {"limit": "max-mappings-per-space", "max": MAX_MAPPINGS},
                          self.space.map, iova="0x100000")
        self.space.unmap("0x0", PAGE)
        self.space.map(iova="0x100000")

    def test_groups(self):
        self.assert_fails(BROKER + "NoSuchLease", {}, self.space.call, "Attach", token="0" * 32, group=8)
        for method, more in (("Detach", {}), ("GetDevice", {"device": "f000:03:00.0"})):
            self.assert_fails(SPACE + "NotAttached", {"group": 8}, self.space.call, method, group=8, **more)
            self.assert_invalid("group", self.space.call, method, group=-1, **more)
            self.assert_invalid("group", self.space.call, method, group=2**32, **more)


class Ends(Spaces):
    def test_tokens(self):
        mine, other = self.client(), self.connect()
        self.assertNotEqual(mine.token, self.client().token)
        describe = {"method": SPACE + "Describe", "parameters": {"space": mine.token}}
        # On another connection of the same user; and it is the same space.
        self.assertEqual(other.call(**describe)["parameters"]["name"], mine.name)
        nobody = {"error": SPACE + "NoSuchSpace", "parameters": {}}
        for token in ("", mine.token[:-1], mine.token + "0", mine.name, "0" * 32):
            self.assertEqual(other.call(SPACE + "Describe", {"space": token}), nobody)
        if os.geteuid() == 0:
            self.assertEqual(self.connect(as_admin=True).call(**describe), nobody)
        mine.call("Destroy")
        self.assertEqual(other.call(**describe), nobody)

    def test_destroy(self):
        client = self.client()
        client.add(self.memory())
        client.map()
        keeper = client.keeper()
        self.assertEqual(client.call("Destroy"), {"lingering": []})
        wait_until("its keeper has ended", lambda: not runs(keeper))

    def test_connection_closed(self):
        clients = [self.client() for _ in range(MAX_SPACES)]
        keepers = [client.keeper() for client in clients]
        for client in clients:
            client.add(self.memory())
            client.connection.socket.close()
        wait_until("their keepers have ended", lambda: not any(map(runs, keepers)))

    def test_closed_with_calls_under_way(self):
        for _ in range(5):
            client = self.client()
            client.connection.send(
                {"method": SPACE + "AddMemory", "parameters": {
                    "space": client.token, "memoryFileDescriptor": 0}}, fds=[self.memory()])
            client.connection.send(*[{"method": SPACE + "Map", "parameters": {
                "space": client.token, "memory": 1, "offset": 0, "iova": hex(i * PAGE),
                "length": PAGE}} for i in range(4)])
            client.connection.socket.close()
            self.daemon.wait_idle()

    def test_holder_ended(self):
        # It runs as whoever the client is, and the client as nobody where we are root.
        connection = self.connect(as_admin=True)
        with subprocess.Popen(["sleep", "1000"]) as holder:
            pidfd = os.pidfd_open(holder.pid)
            self.addCleanup(os.close, pidfd)
            client = Client(connection, fds=[pidfd], holderFileDescriptor=0)
            keeper = client.keeper()
            connection.socket.close()
            client.connection = self.connect(as_admin=True)
            self.assertEqual(client.describe()["keeperPid"], keeper)
            holder.kill()
        wait_until("its keeper has ended", lambda: not runs(keeper))
        self.assert_fails(SPACE + "NoSuchSpace", {}, client.describe)

    def test_no_holder(self):
        connection = self.connect()
        for index, fds in ((0, []), (0, [self.memory()]), (1, [self.memory()]), (-1, [])):
            reply = connection.call(SPACE + "Create", {"holderFileDescriptor": index}, fds=fds)
            self.assertEqual(reply["parameters"], {"parameter": "holderFileDescriptor"})
        for value in (0, -1, 2**32):
            reply = connection.call(SPACE + "Create", {"maxGroupsPerContainer": value})
            self.assertEqual(reply["parameters"], {"parameter": "maxGroupsPerContainer"})

    def test_keeper_killed(self):
        client = self.client()
        client.add(self.memory())
        client.map()
        os.kill(client.keeper(), signal.SIGKILL)
        wait_until("the space has ended", lambda: client.describe()["state"] == "ended")
        with self.assertRaises(Failed) as caught:
            client.map(iova="0x200000")
        self.assertEqual(caught.exception.args[0], SPACE + "SpaceEnded")
        self.assertEqual(client.call("Destroy"), {"lingering": []})

    def test_bounds(self):
        clients = [self.client() for _ in range(MAX_SPACES)]
        reply = self.connect().call(SPACE + "Create")
        self.assertEqual(reply, {"error": BROKER + "TooMany", "parameters": {
            "limit": "max-spaces-per-user", "max": MAX_SPACES}})
        clients[1].call("Destroy")
        self.client()

    def test_monitor(self):
        monitor = self.connect()
        monitor.send({"method": BROKER + "Monitor", "more": True})
        self.assertEqual(monitor.receive()["parameters"]["event"], "ready")
        client = self.client()
        client.keeper()
        client.call("Destroy")
        heard = [monitor.receive()["parameters"] for _ in range(4)]
        self.assertEqual([(e["event"], e["space"], e["after"]) for e in heard],
                         [("spaceCreated", client.name, None), ("spaceChanged", client.name, "live"),
                          ("spaceChanged", client.name, "ending"), ("spaceEnded", client.name, None)])

    def test_ledger_and_audit(self):
        client, admin = self.client(), self.connect(as_admin=True)
        client.add(self.memory())
        client.map()
        keeper = client.keeper()
        book = admin.call("org.vfiod.Ledger.Describe")["parameters"]
        self.assertEqual(book["limitBytes"], 2**30)
        self.assertEqual([(s["name"], s["state"], s["keeperPid"], s["mappings"], s["mappedBytes"])
                          for s in book["spaces"]], [(client.name, "live", keeper, 1, PAGE)])
        audit = admin.call("org.vfiod.Admin.Audit")["parameters"]
        self.assertEqual((audit["isRight"], audit["findings"]), (True, []))
        self.assertEqual([(s["space"], s["differentPages"], s["lockedBytes"]) for s in audit["spaces"]],
                         [(client.name, 0, 0)])
        if os.geteuid() == 0:
            self.assertEqual(client.connection.call("org.vfiod.Admin.Audit")["error"],
                             "org.varlink.service.PermissionDenied")

    def test_stopping(self):
        keeper = self.client().keeper()
        self.daemon.stop()
        wait_until("its keeper has ended", lambda: not runs(keeper))
        self.daemon.start()

    def test_no_keeper(self):
        self.daemon.keeper.write_text("#!/bin/sh\nexit 3\n")
        client = self.client()
        self.assert_fails(SPACE + "SpaceEnded", {"reason": "its keeper has ended with status 3"},
                          client.add, self.memory())
        wait_until("it is over", lambda: client.describe()["state"] == "ended")


if __name__ == "__main__":
    unittest.main()
