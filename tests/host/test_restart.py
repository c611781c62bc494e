"""vfiod is killed, and the next one goes on: connections, streams and calls, as inflight.h says.

Under load each call is answered right, or `Interrupted`, or its connection is closed: never wrong,
never twice, never not at all.
"""

import collections
import contextlib
import json
import os
import random
import socket
import threading
import time
import unittest

from fd_store import KeptDaemon
from vfiod_host import ADMIN, RULE, Host, wait_until

INFO = {"method": "org.varlink.service.GetInfo"}
MONITOR = {"method": "org.vfiod.Broker.Monitor", "more": True}
BROKER = "org.vfiod.Broker."
INTERRUPTED = {"error": BROKER + "Interrupted", "parameters": {"reason": "vfiod was restarted", "isRestart": True}}
KILLS = int(os.environ.get("VFIOD_KILLS", "12"))
SEED = int(os.environ.get("VFIOD_SEED", "4711"))
PAGE, MEMORY_BYTES = 4096, 1 << 20
# Who may not limit what another user's keeper locks (prlimit(2)) ends it when it has to.
with open("/proc/self/status", encoding="ascii") as status:
    MAY_LIMIT = int(status.read().split("CapEff:")[1].split()[0], 16) >> 24 & 1


class Restart(unittest.TestCase):
    maximum = 64
    config = ADMIN + RULE

    @classmethod
    def setUpClass(cls):
        cls.host = Host()
        cls.addClassCleanup(cls.host.close)

    def setUp(self):
        self.daemon = KeptDaemon(self.host, self.config, self.maximum)
        self.addCleanup(self.daemon.close)

    def connect(self, **options):
        client = self.daemon.connect(**options)
        self.addCleanup(client.socket.close)
        return client

    def assert_serves(self, client):
        self.assertEqual(client.call(**INFO)["parameters"]["product"], "vfiod")

    def kill(self):
        """When it has done with what it was last asked: that it has answered is not all."""
        with self.daemon.connect() as client, contextlib.suppress(BrokenPipeError):
            client.send(INFO)
            self.assertIsNotNone(client.receive())
        self.daemon.kill()

    def restart(self):
        self.kill()
        self.daemon.start()

    def stored(self, kind="c"):
        with self.daemon.store.lock:
            return sorted(name for name in self.daemon.store.kept if name[0] == kind)


class Connections(Restart):
    def test_they_go_on(self):
        clients = [self.connect() for _ in range(20)]
        for client in clients:
            self.assert_serves(client)
        self.assertEqual(self.stored(), sorted(f"c{i}" for i in range(20)))
        for _ in range(3):
            self.restart()
            for client in clients:
                self.assert_serves(client)
        # Who the client is says the socket still.
        self.assertEqual(
            clients[0].call("org.vfiod.Admin.Reload")["error"],
            "org.varlink.service.PermissionDenied")
        for client in clients:
            client.socket.close()
        wait_until("nothing of them is kept", lambda: not self.stored())

    def test_who_reports_for_another_is_told(self):
        """The next daemon would take its reports for those of its own process."""
        own, other = self.connect(), self.connect(as_admin=True)
        pidfd = os.pidfd_open(os.getpid())
        self.addCleanup(os.close, pidfd)
        other.send({"method": "org.vfiod.Ledger.ReportFor", "parameters": {"holderFileDescriptor": 0}}, fds=[pidfd])
        self.assertNotIn("error", other.receive())
        self.assert_serves(own)
        self.restart()
        self.assert_serves(own)
        self.assertIsNone(other.receive())

    def test_what_was_sent_meanwhile_is_answered(self):
        clients = [self.connect() for _ in range(3)]
        for client in clients:
            self.assert_serves(client)
        message = json.dumps(INFO).encode() + b"\0"
        clients[0].send(message[:20])
        self.assert_serves(clients[1])
        self.kill()
        clients[0].send(message[20:])
        clients[1].send(INFO, INFO)
        clients[2].send(INFO)
        clients[2].socket.shutdown(socket.SHUT_WR)
        late = self.connect()
        late.send(INFO)
        self.daemon.start()
        for client in (clients[0], clients[1], clients[1], clients[2], late):
            self.assertEqual(client.receive()["parameters"]["product"], "vfiod")
        self.assertIsNone(clients[2].receive())

    def test_who_went_meanwhile(self):
        clients = [self.connect() for _ in range(3)]
        for client in clients:
            self.assert_serves(client)
        self.kill()
        clients[0].socket.close()
        self.daemon.start()
        self.assert_serves(clients[1])
        wait_until("it is not kept", lambda: self.stored() == ["c1", "c2"])
        self.assert_serves(self.connect())
        self.assertEqual(self.stored(), ["c0", "c1", "c2"])

    def start_in_vain(self):
        """With an error in its configuration: the status."""
        right = self.daemon.config.read_text()
        self.daemon.config.write_text("[rule wrong]\nmacth = anything\n")
        self.assertRaises(AssertionError, self.daemon.start)
        self.daemon.config.write_text(right)
        return self.daemon.process.returncode

    def test_the_configuration_has_an_error(self):
        client = self.connect()
        self.assert_serves(client)
        self.kill()
        late = self.connect()
        # It would be the end of what is kept.
        self.assertEqual(self.start_in_vain(), 1)
        self.assertIn("c0", self.stored())
        self.daemon.start()
        self.assert_serves(client)
        self.assert_serves(late)
        for connection in (client, late):
            connection.socket.close()
        wait_until("nothing of them is kept", lambda: not self.stored())
        # Left in the queue of the socket they would have it started again and again.
        self.daemon.kill()
        waiting = [self.connect() for _ in range(3)]
        waiting[0].send(INFO)
        self.assertEqual(self.start_in_vain(), 78)
        for connection in waiting:
            self.assertIsNone(connection.receive())
        self.daemon.start()
        self.assert_serves(self.connect())

    def test_part_of_a_long_message_was_received(self):
        client, other = self.connect(), self.connect()
        client.send(json.dumps(INFO).encode()[:-1] + b" " * 40000)
        # In turn: it has been looked at.
        for _ in range(3):
            self.assert_serves(other)
        self.restart()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            client.send(b"}\0")
        self.assertIsNone(client.receive())
        self.assert_serves(other)

    def test_answers_that_nobody_reads(self):
        client, other = self.connect(), self.connect()
        call = {"method": "org.varlink.service.GetInterfaceDescription",
                "parameters": {"interface": "org.vfiod.Broker"}}
        client.send(*[call] * 30)
        # By turns: all of them have been read.
        for _ in range(40):
            self.assert_serves(other)
        self.restart()
        # Some came whole; how much of the next nobody knows.
        with self.assertRaises((AssertionError, EOFError)):
            while client.receive() is not None:
                pass
            raise EOFError
        self.assert_serves(other)

    def test_a_monitor_hears_that_it_lost_something(self):
        monitor, admin = self.connect(), self.connect(as_admin=True)
        monitor.send(MONITOR)
        self.assertEqual(monitor.receive()["parameters"]["event"], "ready")
        for _ in range(2):
            self.restart()
            reply = monitor.receive()
            self.assertEqual((reply["continues"], reply["parameters"]["event"]), (True, "lost"))
            admin.call("org.vfiod.Admin.Reload")
            self.assertEqual(
                monitor.receive()["parameters"]["event"], "configurationReloaded")
        # What it has sent behind it waits for its end.
        monitor.send(INFO)
        monitor.socket.shutdown(socket.SHUT_WR)
        self.assertIsNone(monitor.receive())

    def test_calls_at_work(self):
        """The first is answered, what waits behind it is done, and oneway stays oneway."""
        blocked = [self.connect() for _ in range(2)]
        keeper = self.daemon.keeper
        program = keeper.read_text()
        # Waits for what nobody writes: nothing is done with its space.
        fifo = self.daemon.directory / "fifo"
        os.mkfifo(fifo)
        keeper.write_text(f"#!/bin/sh\nread -r nothing <'{fifo}'\n")
        calls = []
        for client in blocked:
            space = client.call("org.vfiod.Space.Create")["parameters"]["space"]
            calls.append({"method": "org.vfiod.Space.Unmap", "parameters": {
                "space": space, "iova": "0x0", "length": PAGE}})
        blocked[0].send(calls[0], INFO)
        blocked[1].send({**calls[1], "oneway": True}, INFO)
        other = self.connect()
        self.assert_serves(other)
        self.kill()
        # Another file: this one may be on its way to be run.
        keeper.unlink()
        keeper.write_text(program)
        keeper.chmod(0o755)
        self.daemon.start()
        self.assertEqual(blocked[0].receive(), INTERRUPTED)
        for client in blocked:
            self.assertEqual(client.receive()["parameters"]["product"], "vfiod")
            self.assertFalse(client.has_input())
        self.assert_serves(other)
        with contextlib.suppress(OSError):
            os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))

    def test_stopped_it_keeps_nothing(self):
        client = self.connect()
        self.assert_serves(client)
        self.daemon.stop()
        self.assertIsNone(client.receive())
        wait_until("no connection is kept", lambda: not self.stored())
        self.daemon.start()


class Configuration(Restart):
    BAD = ADMIN + RULE + "colour = blue\n"

    def test_an_error_in_it_ends_nothing(self):
        client = self.connect()
        space = client.call("org.vfiod.Space.Create")["parameters"]["space"]
        more = ADMIN + RULE + RULE.replace("nics", "more")
        self.daemon.config.write_text(more)
        with self.daemon.connect(as_admin=True) as admin:
            self.assertEqual(admin.call("org.vfiod.Admin.Reload"), {"parameters": {"rules": 2}})
        self.daemon.config.write_text(self.BAD)
        for _ in range(2):
            self.restart()
            reply = client.call("org.vfiod.Space.Describe", {"space": space})
            self.assertEqual(reply["parameters"]["mappings"], 0)
            status = client.call("org.vfiod.Admin.Status")["parameters"]
            self.assertEqual(status["rules"], 2)
        wait_until("it is told", lambda: "colour" in " ".join(
            problem["text"] for problem in
            client.call("org.vfiod.Admin.Status")["parameters"]["problems"]))

        client.call("org.vfiod.Space.Destroy", {"space": space})
        wait_until("nothing is lent", lambda: not any(
            (self.daemon.directory / "state" / "spaces").iterdir()))
        self.kill()
        with self.assertRaisesRegex(AssertionError, "colour"):
            self.daemon.start()
        # It would be tried again, for the connection's sake.
        self.assertEqual(self.daemon.process.wait(), 1)
        self.daemon.config.write_text(ADMIN + RULE)
        self.daemon.start()
        self.assert_serves(client)


class Full(Restart):
    maximum = 12

    def test_no_more_are_let_in_than_can_be_kept(self):
        clients = []
        while True:
            client = self.connect()
            # It may be turned away before it asks.
            with contextlib.suppress(BrokenPipeError):
                client.send(INFO)
            reply = client.receive()
            if "error" in reply:
                break
            clients.append(client)
        self.assertEqual(reply["error"], BROKER + "TooMany")
        self.assertEqual(reply["parameters"]["limit"], "max-connections")
        self.assertGreater(len(clients), 5)
        self.assertLess(len(clients), self.maximum)
        self.restart()
        for client in clients:
            self.assert_serves(client)
        self.assertEqual(self.daemon.store.n_dropped, 0)
        # Whose place is free is another's.
        clients.pop().socket.close()
        wait_until("there is room", lambda: len(self.stored()) == len(clients))
        self.assert_serves(self.connect())


class Client:
    """Asks without end, and counts what it is answered."""

    def __init__(self, test, number):
        self.test, self.number = test, number
        self.random = random.Random(SEED + number)
        self.counts = collections.Counter()
        self.wrong = []
        self.connection = None
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.test.is_over.is_set():
            if not self.connection:
                with self.test.identity:
                    self.connection = self.test.daemon.connect()
            try:
                self.ask()
            except (TimeoutError, socket.timeout):
                self.counts["silent"] += 1
                self.close()
            except (BrokenPipeError, ConnectionResetError, EOFError):
                self.counts["closed"] += 1
                self.close()
        self.close()

    def close(self):
        if self.connection:
            self.connection.socket.close()
        self.connection = None

    def receive(self):
        try:
            reply = self.connection.receive()
        except AssertionError:
            raise EOFError from None
        if reply is None:
            raise EOFError
        return reply

    def check(self, call, is_right):
        reply = self.receive()
        if reply == INTERRUPTED:
            self.counts["interrupted"] += 1
        elif is_right(reply):
            self.counts["right"] += 1
        else:
            self.counts["wrong"] += 1
            self.wrong.append((call, reply))
        return reply

    def ask(self):
        """Several in a row, in pieces: each answer says which call it is to."""
        numbers = [self.random.choice((7, 8, 9, 10, 50 + i)) for i in range(
            self.random.randint(1, 4))]
        calls = [{"method": BROKER + "Describe", "parameters": {"group": n}} for n in numbers]
        data = b"".join(json.dumps(call).encode() + b"\0" for call in calls)
        cut = self.random.randrange(len(data))
        self.connection.send(data[:cut])
        if self.random.random() < 0.3:
            time.sleep(self.random.random() / 1000)
        self.connection.send(data[cut:])
        for call, number in zip(calls, numbers):
            self.check(call, lambda reply, n=number: n == (
                reply["parameters"]["group"] if "error" in reply
                else reply["parameters"]["group"]["number"]))


class Mapper(Client):
    """Has a space, and maps each page once: what is done twice, or not at all, is seen."""

    def close(self):
        super().close()
        self.space = None

    def run(self):
        self.space = None
        self.memory = os.memfd_create("memory", os.MFD_CLOEXEC)
        os.ftruncate(self.memory, MEMORY_BYTES)
        super().run()
        os.close(self.memory)

    def call(self, method, parameters, is_right, fds=()):
        call = {"method": "org.vfiod.Space." + method, "parameters": parameters}
        self.connection.send(call, fds=fds)
        return self.check(call, is_right)

    def check(self, call, is_right):
        def has_ended(reply):
            return not MAY_LIMIT and (reply.get("error") == "org.vfiod.Space.SpaceEnded" or
                                      reply.get("parameters", {}).get("state") == "ended")

        reply = super().check(call, lambda reply: has_ended(reply) or is_right(reply))
        if has_ended(reply):
            raise EOFError
        return reply

    def ask(self):
        if not self.space:
            self.make()
            return
        self.n_asked += 1
        reply = self.call("Map", {
            "space": self.space, "iova": hex(self.n_asked * PAGE), "memory": self.number_of_memory,
            "offset": 0, "length": PAGE}, lambda reply: "error" not in reply)
        self.n_done += "error" not in reply
        if self.n_asked % 16 == 0:
            # What was interrupted is there, or not.
            self.call("Describe", {"space": self.space}, lambda reply: "error" not in reply and
                      self.n_done <= reply["parameters"]["mappings"] <= self.n_asked)

    def make(self):
        reply = self.call("Create", {}, lambda reply: "error" not in reply or
                          reply["parameters"].get("limit") == "max-spaces-per-user")
        if "error" in reply:
            return
        space = reply["parameters"]["space"]
        reply = self.call("AddMemory", {"space": space, "memoryFileDescriptor": 0},
                          lambda reply: "error" not in reply, fds=[self.memory])
        if "error" in reply:
            self.close()
            return
        self.space, self.number_of_memory = space, reply["parameters"]["memory"]
        self.n_asked = self.n_done = 0


class Load(Restart):
    maximum = 256
    config = ADMIN.rstrip() + "\nmax-spaces-per-user = 64\nresume-timeout = 1\n" + RULE

    def kill_often(self, running):
        generator = random.Random(SEED)
        for _ in range(KILLS):
            before = sum(client.counts.total() for client in running)
            wait_until("there is work", lambda b=before: b + len(running) < sum(
                client.counts.total() for client in running))
            time.sleep(generator.random() / 50)
            with self.identity:
                self.daemon.restart()

    def under_load(self, clients):
        self.is_over, self.identity = threading.Event(), threading.Lock()
        running = [kind(self, number) for number, kind in enumerate(clients)]
        try:
            self.kill_often(running)
        finally:
            self.is_over.set()
            for client in running:
                client.thread.join()
        counts = sum((client.counts for client in running), collections.Counter())
        print(f"{KILLS} kills, {len(running)} clients: {dict(counts)}")
        wrong = [wrong for client in running for wrong in client.wrong]
        self.assertEqual((counts["wrong"], counts["silent"]), (0, 0),
                         f"{wrong[:3]}\n{self.daemon.log.read_text()[-4000:]}")
        self.assertGreater(counts["right"], KILLS * len(running))
        self.assertLessEqual(counts["interrupted"] + counts["closed"], 2 * KILLS * len(running))
        self.assertEqual(self.daemon.store.n_dropped, 0)
        wait_until("no connection is kept", lambda: not self.stored())

    def test_questions(self):
        self.under_load([Client] * 12)

    def test_spaces(self):
        self.under_load([Mapper] * 4 + [Client] * 4)
        wait_until("no keeper is kept", lambda: not self.stored("k"))
