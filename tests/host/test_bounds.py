"""The bounds of a connection, and that nothing is left behind by those who go beyond them."""

import json
import os
import resource
import socket
import unittest

from vfiod_host import ADMIN, DEVICES, IS_PLAIN, N_GROUPS, RULE, Daemon, Host, wait_until

INFO = {"method": "org.varlink.service.GetInfo"}
MONITOR = {"method": "org.vfiod.Broker.Monitor", "more": True}
RELOAD = {"method": "org.vfiod.Admin.Reload"}
MAX_CONNECTIONS, MAX_CALLS, MAX_MESSAGE, MAX_OUTPUT = 6, 4, 4096, 65536
# SCM_MAX_FD of the kernel, and what the daemon takes with one message.
KERNEL_MAX_FDS, MAX_FDS = 253, 16
BOUNDS = f"""
max-connections = {MAX_CONNECTIONS}
max-calls = {MAX_CALLS}
max-message = 4K
max-output = 64K
max-descriptors = {MAX_FDS}
"""


class Bounds(unittest.TestCase):
    config = ADMIN + BOUNDS + RULE
    devices = DEVICES

    @classmethod
    def setUpClass(cls):
        cls.host = Host(cls.devices)
        cls.addClassCleanup(cls.host.close)

    def setUp(self):
        self.daemon = Daemon(self.host, self.config)
        self.addCleanup(self.daemon.close)
        # Before the daemon is stopped: whatever the test did, all of it is given back.
        self.addCleanup(self.daemon.wait_idle)

    def connect(self, **options):
        client = self.daemon.connect(**options)
        self.addCleanup(client.socket.close)
        return client

    def assert_serves(self, client=None):
        reply = (client or self.connect()).call(**INFO)
        self.assertEqual(reply["parameters"]["product"], "vfiod")

    def assert_closed(self, client):
        self.assertIsNone(client.receive())

    def assert_turned_away(self, limit, maximum):
        client = self.connect()
        self.assertEqual(client.receive(), {
            "error": "org.vfiod.Broker.TooMany", "parameters": {"limit": limit, "max": maximum}})
        self.assert_closed(client)

    def monitor(self, **options):
        client = self.connect(**options)
        client.send(MONITOR)
        self.assertEqual(client.receive()["parameters"]["event"], "ready")
        return client

    @staticmethod
    def info_of_length(length):
        """A call of so many bytes, its NUL not counted."""
        call = json.dumps(INFO).encode()
        return call[:-1] + b" " * (length - len(call)) + call[-1:] + b"\0"


class Messages(Bounds):
    def test_the_longest_message(self):
        client = self.connect()
        client.send(self.info_of_length(MAX_MESSAGE))
        self.assertIn("parameters", client.receive())
        client.send(self.info_of_length(MAX_MESSAGE + 1))
        self.assert_closed(client)
        self.assert_serves()

    def test_a_message_without_end(self):
        client = self.connect()
        with self.assertRaises((BrokenPipeError, ConnectionResetError)):
            for _ in range(1000):
                client.send(b" " * 65536)
        self.assert_serves()

    def test_max_calls_may_wait(self):
        # The stream keeps the connection busy: what comes after it waits.
        client = self.monitor()
        client.send(*[INFO] * MAX_CALLS)
        other = self.connect()
        self.assert_serves(other)
        self.assertFalse(client.has_input())
        client.send(INFO)
        self.assert_closed(client)
        self.assert_serves(other)

    def test_any_number_of_calls_that_are_answered(self):
        client = self.connect()
        client.send(*[INFO] * (MAX_CALLS * 10))
        for _ in range(MAX_CALLS * 10):
            self.assertIn("parameters", client.receive())

    def test_one_who_does_not_read_its_answers(self):
        client, other = self.connect(), self.connect()
        call = {"method": "org.varlink.service.GetInterfaceDescription",
                "parameters": {"interface": "org.vfiod.Broker"}}
        with self.assertRaises((BrokenPipeError, ConnectionResetError)):
            for _ in range(10000):
                client.send(call)
        self.assert_serves(other)


class Connections(Bounds):
    def test_max_connections(self):
        clients = [self.connect() for _ in range(MAX_CONNECTIONS)]
        for client in clients:
            self.assert_serves(client)
        self.assert_turned_away("max-connections", MAX_CONNECTIONS)
        clients.pop().socket.close()
        wait_until("the place is free", lambda: self.daemon.n_fds() ==
                   self.daemon.idle_fds + MAX_CONNECTIONS - 1)
        clients.append(self.connect())
        for client in clients:
            self.assert_serves(client)
        self.assert_turned_away("max-connections", MAX_CONNECTIONS)

    def test_two_hundred_come_and_go(self):
        for i in range(200):
            with self.daemon.connect() as client:
                match i % 5:
                    case 0:
                        client.send(b'{"method":')
                    case 1:
                        client.send(INFO, INFO)
                    case 2:
                        client.send(MONITOR)
                    case 3:
                        pass
                    case 4:
                        # In its turn: so those before it have been let in, too.
                        self.assert_serves(client)
            if i % 5 == 4:
                self.daemon.wait_idle()
        self.assert_serves()

    def test_stopping_with_connections(self):
        clients = [self.monitor(), self.monitor(), self.connect()]
        self.daemon.stop()
        for client in clients:
            self.assert_closed(client)
        self.assertFalse(self.daemon.socket.exists())
        self.daemon.start()


class Many(Bounds):
    config = ADMIN + "max-connections = 1600\nmax-connections-per-user = 1600\n" + RULE

    def setUp(self):
        _, most = limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        super().setUp()

    def test_their_memory_comes_back(self):
        """Something lies at the end of the heap, and keeps all below it from going back by itself."""
        before = self.daemon.resident_kib()
        clients = [self.connect() for _ in range(1500)]
        for client in clients:
            self.assert_serves(client)
        if IS_PLAIN:
            self.assertGreater(self.daemon.resident_kib(), before + 2000)
        for client in clients:
            client.socket.close()
        self.daemon.wait_idle()
        if IS_PLAIN:
            wait_until("it is back", lambda: self.daemon.resident_kib() < before + 1000)


class Monitors(Bounds):
    def test_one_that_never_reads(self):
        deaf, admin = self.monitor(), self.connect(as_admin=True)
        # Each is an event of some 150 bytes, and the socket takes 200 KiB or so.
        events = 1000
        for _ in range(events):
            self.assertEqual(admin.call(**RELOAD), {"parameters": {"rules": 1}})
        self.assert_serves()

        # It was told that it lost some, and hears of what came later.
        kinds = [deaf.receive()["parameters"]["event"]]
        while kinds[-1] != "lost":
            kinds.append(deaf.receive()["parameters"]["event"])
        self.assertEqual(set(kinds[:-1]), {"configurationReloaded"})
        self.assertLess(len(kinds), events)
        admin.call(**RELOAD)
        self.assertEqual(deaf.receive()["parameters"]["event"], "configurationReloaded")
        self.assertFalse(deaf.has_input())

    def test_one_that_never_reads_and_goes(self):
        deaf, admin = self.monitor(), self.connect(as_admin=True)
        for _ in range(600):
            admin.call(**RELOAD)
        deaf.socket.close()
        admin.call(**RELOAD)
        self.assert_serves()

    def test_all_monitors_hear_the_same(self):
        monitors = [self.monitor() for _ in range(MAX_CONNECTIONS)]
        for verb, events in (
            (("add", "f000:06:00.0", 11, "-"), ["groupAdded", "deviceAdded"]),
            (("remove", "f000:06:00.0"), ["deviceRemoved", "bindingChanged", "groupRemoved"]),
        ):
            self.host.tell(*verb)
            for monitor in monitors:
                heard = [monitor.receive()["parameters"]["event"] for _ in events]
                self.assertEqual(heard, events)


class LongLists(Bounds):
    """More groups than are told at one turn of the loop, and more than max-output holds."""

    # Groups of eight: their descriptions have 3 KiB each.
    devices = {**DEVICES, **{
        f"f001:{i // 8:02x}:00.{i % 8}": (100 + i // 8, "-") for i in range(80 * 8)}}
    n_groups = N_GROUPS + 80

    def list_all(self, client):
        client.send({**MONITOR, "method": "org.vfiod.Broker.List", "parameters": {"all": True}})

    def assert_listed(self, client):
        for i in range(self.n_groups):
            reply = client.receive()
            self.assertEqual(reply.get("continues", False), i < self.n_groups - 1)

    def test_a_slow_reader_gets_all(self):
        client = self.connect()
        self.list_all(client)
        self.assert_serves()
        self.assert_listed(client)
        self.assert_serves(client)

    def test_a_half_closed_reader_gets_all(self):
        client = self.connect()
        self.list_all(client)
        client.send(INFO)
        client.socket.shutdown(socket.SHUT_WR)
        self.assert_serves()
        self.assert_listed(client)
        self.assertIn("product", client.receive()["parameters"])
        self.assert_closed(client)

    def test_one_who_goes_in_the_middle(self):
        client = self.connect()
        self.list_all(client)
        client.receive()
        client.socket.close()
        self.daemon.wait_idle()
        self.assert_serves()


class Descriptors(Bounds):
    # Nobody who asks is an administrator, whoever runs the tests: these ask to acquire.
    config = "[daemon]\n" + BOUNDS + RULE

    def setUp(self):
        super().setUp()
        self.null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        self.addCleanup(os.close, self.null)
        # The only kind that the daemon itself ever has: a child sees to the others.
        self.pidfd = os.pidfd_open(os.getpid())
        self.addCleanup(os.close, self.pidfd)
        self.client = self.connect()
        self.assert_serves(self.client)
        self.before = self.daemon.n_fds()

    def wait_for_fds(self, n):
        wait_until(f"there are {n} more descriptors than in the beginning",
                   lambda: self.daemon.n_fds() == self.before + n)

    def assert_acquire(self, fds, index, error):
        reply = self.client.call("org.vfiod.Broker.Acquire", {
            "selectors": [{"group": 8}], "holderFileDescriptor": index}, fds=fds)
        self.assertEqual(reply["error"], error)
        if error.endswith("InvalidParameter"):
            self.assertEqual(reply["parameters"], {"parameter": "holderFileDescriptor"})
        self.wait_for_fds(0)

    def test_unasked_for_they_are_closed(self):
        for n_fds in (1, MAX_FDS):
            self.client.call(**INFO, fds=[self.null] * n_fds)
            self.wait_for_fds(0)
        self.client.call("org.none.Thing", fds=[self.null])
        self.client.call("org.vfiod.Broker.Describe", {"wrong": 1}, fds=[self.null])
        self.wait_for_fds(0)
        self.client.send({**INFO, "oneway": True}, fds=[self.null])
        self.assert_serves(self.client)
        self.wait_for_fds(0)

    def test_too_many_close_the_connection(self):
        for n_fds in (MAX_FDS + 1, KERNEL_MAX_FDS):
            other = self.connect()
            other.send(INFO, fds=[self.null] * n_fds)
            self.assert_closed(other)
            self.assert_serves(self.client)
            self.wait_for_fds(0)

    def test_with_a_bad_message_they_are_closed(self):
        for message in (b"\0", b"[]\0", b'{"method":1}\0', b"{" * 5000):
            other = self.connect()
            other.send(message, fds=[self.null] * 3)
            self.assert_closed(other)
            self.assert_serves(self.client)
            self.wait_for_fds(0)

    def test_in_the_middle_of_a_message_they_close_the_connection(self):
        other = self.connect()
        other.send(b'{"method":')
        other.send(b'"org.varlink.service.GetInfo"}\0', fds=[self.null])
        self.assert_closed(other)
        self.assert_serves(self.client)
        self.wait_for_fds(0)

    def test_each_message_has_its_own(self):
        # All that a read could take at once: neither may have the other's.
        self.client.send(INFO, {"method": "org.none.Thing"})
        self.client.send(INFO, fds=[self.null])
        self.client.send(INFO)
        replies = [self.client.receive() for _ in range(4)]
        self.assertEqual(["error" in reply for reply in replies], [False, True, False, False])
        self.wait_for_fds(0)

    def test_of_calls_that_wait_when_the_client_goes(self):
        other = self.monitor()
        for _ in range(MAX_CALLS):
            other.send(INFO, fds=[self.pidfd] * MAX_FDS)
        # Theirs until it is the call's turn.
        self.assert_serves(self.client)
        self.wait_for_fds(1)
        other.socket.close()
        self.wait_for_fds(0)

    def test_calls_that_wait_are_counted_with_descriptors(self):
        other = self.monitor()
        for _ in range(MAX_CALLS + 1):
            other.send(INFO, fds=[self.pidfd])
        self.assert_closed(other)
        self.wait_for_fds(0)

    def test_of_a_message_that_never_ends(self):
        other = self.connect()
        other.send(b'{"method":', fds=[self.pidfd] * MAX_FDS)
        self.wait_for_fds(1 + MAX_FDS)
        other.socket.close()
        self.wait_for_fds(0)

    def test_a_holder_is_a_pidfd(self):
        invalid = "org.varlink.service.InvalidParameter"
        self.assert_acquire([], 0, invalid)
        self.assert_acquire([self.null], 0, invalid)
        self.assert_acquire([self.null], 1, invalid)
        self.assert_acquire([self.null], -1, invalid)
        self.assert_acquire([self.null], 2**32, invalid)
        left, right = socket.socketpair()
        with left, right:
            self.assert_acquire([left.fileno()], 0, invalid)
        child = os.fork()
        if child == 0:
            os._exit(0)
        pidfd = os.pidfd_open(child)
        self.addCleanup(os.close, pidfd)
        os.waitpid(child, 0)
        self.assert_acquire([pidfd], 0, invalid)

    def test_a_holder_of_another_user(self):
        # We are root and the client is nobody, or process 1 is root and we are not.
        pidfd = os.pidfd_open(os.getpid() if os.geteuid() == 0 else 1)
        self.addCleanup(os.close, pidfd)
        self.assert_acquire([pidfd], 0, "org.vfiod.Broker.AccessDenied")
