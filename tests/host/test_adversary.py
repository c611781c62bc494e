"""Everything that a hostile client may do, twice: the second round may leave nothing more behind.

Each `attack_…` gets a daemon that serves others meanwhile. After each the daemon has as many
descriptors as in the beginning; after the second round it has, on a plain build, within 1 MiB as
much memory as after the first. Sanitizers keep freed memory back, so there only leaks count.
"""

import array
import contextlib
import ctypes
import json
import os
import random
import select
import signal
import socket
import struct
import tempfile
import time
import unittest

from vfiod_host import DEVICES, IS_PLAIN, RULE, Daemon, Host, wait_until

INFO = {"method": "org.varlink.service.GetInfo"}
LIST = {"method": "org.vfiod.Broker.List", "parameters": {"all": True}, "more": True}
MONITOR = {"method": "org.vfiod.Broker.Monitor", "more": True}
MAX_CONNECTIONS, MAX_MESSAGE, MAX_DESCRIPTORS = 1100, 16384, 16
CONFIG = f"""[daemon]
max-connections = {MAX_CONNECTIONS}
max-connections-per-user = 1000
max-descriptors = {MAX_DESCRIPTORS}
max-memory-per-user = 4M
max-output = 1M
message-timeout = 2
output-timeout = 2
""" + RULE
# Linux 6.16, include/uapi/asm-generic/socket.h.
SO_PASSRIGHTS = 83


def acquire(index=None, group=8, **parameters):
    if index is not None:
        parameters["holderFileDescriptor"] = index
    return {"method": "org.vfiod.Broker.Acquire",
            "parameters": {"selectors": [{"group": group}], **parameters}}


def send_what_goes(client, message):
    """The daemon may have seen enough, and close the connection, before all of it is sent."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        client.send(message)


class Attacks:
    """Each takes the suite (a TestCase with a daemon)."""

    def attack_bytes_one_at_a_time(self):
        with self.daemon.connect() as client:
            for byte in json.dumps(INFO).encode() + b"\0":
                client.send(bytes([byte]))
            self.assertIn("parameters", client.receive())

    def attack_huge_messages(self):
        info = json.dumps(INFO).encode()
        for blanks in (MAX_MESSAGE - len(info), MAX_MESSAGE - len(info) + 1, 1 << 20, 8 << 20):
            with self.daemon.connect() as client:
                send_what_goes(client, info[:-1] + b" " * blanks + b"}\0")
                answer = client.receive()
                self.assertEqual(answer is not None, blanks + len(info) <= MAX_MESSAGE)

    def attack_many_values(self):
        """Small on the wire, large as objects."""
        for filler in (b"1,", b"{},", b"[],", b'"",', b"[[[]]],"):
            for n, is_answered in ((150, True), ((MAX_MESSAGE - 200) // len(filler), False)):
                for parameter in (b'Describe","parameters":{"group"',
                                  b'Acquire","parameters":{"selectors"'):
                    with self.daemon.connect() as client:
                        send_what_goes(client, b'{"method":"org.vfiod.Broker.' + parameter + b":[" +
                                       (filler * n)[:-1] + b"]}}\0")
                        self.assertEqual("error" in (client.receive() or {}), is_answered)

    def attack_many_selectors(self):
        with self.daemon.connect() as client:
            reply = client.call("org.vfiod.Broker.Acquire", {"selectors": [{"group": 8}] * 100})
            self.assertEqual(reply["parameters"], {"limit": "max-selectors", "max": 64})

    def attack_nesting(self):
        for depth in (32, 33, 1000, 30000):
            for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
                with self.daemon.connect() as client:
                    send_what_goes(client, b'{"method":"a.b","parameters":{"x":' + opening * depth +
                                   b"1" + closing * depth + b"}}\0")
                    self.assertIsNone(client.receive())

    def attack_truncated(self):
        message = json.dumps(acquire(0)).encode() + b"\0"
        for length in range(len(message)):
            with self.daemon.connect() as client:
                client.send(message[:length])

    def attack_flipped_bits(self):
        generator = random.Random(4711)
        message = json.dumps({**acquire(waitSeconds=0), "more": True}).encode() + b"\0"
        for _ in range(300):
            broken = bytearray(message)
            for _ in range(generator.randint(1, 4)):
                broken[generator.randrange(len(broken))] ^= 1 << generator.randrange(8)
            with self.daemon.connect() as client:
                client.send(bytes(broken) + b"\0")
                client.socket.shutdown(socket.SHUT_WR)
                while client.receive() is not None:
                    pass

    def attack_bad_utf8(self):
        for text in (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\x80"):
            for message in (b'{"method":"' + text + b'"}', b'{"' + text + b'":1}',
                            b'{"method":"a.b","parameters":{"x":"' + text + b'"}}'):
                with self.daemon.connect() as client:
                    client.send(message + b"\0")
                    self.assertIsNone(client.receive())

    def attack_integers(self):
        with self.daemon.connect() as client:
            for value in (2**63 - 1, -2**63, 2**63, -2**63 - 1, 2**64, 10**400, 2**32 + 8):
                reply = client.call("org.vfiod.Broker.Describe", {"group": value})
                self.assertEqual(reply["parameters"], {"parameter": "group"})
                reply = client.call("org.vfiod.Broker.Acquire", {
                    "selectors": [{"group": 8}], "waitSeconds": value})
                self.assertEqual(reply["parameters"], {"parameter": "waitSeconds"})
                reply = client.call(**acquire(value), fds=[self.pidfd])
                self.assertEqual(reply["parameters"], {"parameter": "holderFileDescriptor"})
            for value in (-1, 1, 2, 252, 253, 254):
                reply = client.call(**acquire(value), fds=[self.pidfd])
                self.assertEqual(reply["parameters"], {"parameter": "holderFileDescriptor"})

    def attack_many_descriptors(self):
        for n in (1, MAX_DESCRIPTORS, MAX_DESCRIPTORS + 1, 252, 253):
            for fd in (self.pidfd, self.null):
                with self.daemon.connect() as client:
                    client.send(INFO, fds=[fd] * n)
                    self.assertEqual(client.receive() is not None, n <= MAX_DESCRIPTORS)
        with self.daemon.connect() as client:
            # The kernel's own bound (SCM_MAX_FD): nothing is sent.
            with self.assertRaises(OSError):
                client.send(INFO, fds=[self.null] * 254)
            self.assertIn("parameters", client.call(**INFO))

    def attack_wrong_descriptors(self):
        left, right = socket.socketpair()
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        directory = os.open("/proc/self", os.O_RDONLY | os.O_DIRECTORY)
        fds = [self.null, left.fileno(), listener.fileno(), directory, os.memfd_create("pidfd:[1]"),
               os.eventfd(0), os.open("/tmp", os.O_PATH)]
        with self.daemon.connect() as client:
            for fd in fds:
                reply = client.call(**acquire(0), fds=[fd])
                self.assertEqual(reply["parameters"], {"parameter": "holderFileDescriptor"})
            # The daemon's own connection, and one's own end of it: a cycle.
            for fd in (client.socket.fileno(), left.fileno()):
                left.sendmsg([b"x"], rights(right.fileno()))
                client.call(**acquire(0), fds=[fd])
            # The same one twice; the second as the holder.
            reply = client.call(**acquire(1), fds=[self.pidfd, self.pidfd])
            self.assertEqual(reply["error"], "org.vfiod.Broker.AccessDenied")
        for fd in fds[3:]:
            os.close(fd)
        listener.close()
        left.close()
        right.close()

    def attack_descriptors_on_the_wrong_byte(self):
        message = json.dumps(INFO).encode() + b"\0"
        for at in (1, 2, len(message) - 2, len(message) - 1):
            for fd in (self.null, self.pidfd):
                with self.daemon.connect() as client:
                    client.send(message[:at])
                    client.send(message[at:], fds=[fd])
                    self.assertIsNone(client.receive())
        with self.daemon.connect() as client:
            client.send(b"\0", fds=[self.null])
            self.assertIsNone(client.receive())

    def attack_coalesced_with_descriptors(self):
        with self.daemon.connect() as client:
            for _ in range(3):
                client.send(INFO, acquire(0))
                client.send(acquire(0), INFO, fds=[self.pidfd])
                client.send(INFO, fds=[self.null])
                client.send(acquire(0), fds=[self.null])
            for _ in range(3):
                self.assertIn("product", client.receive()["parameters"])
                self.assertIn("InvalidParameter", client.receive()["error"])
                self.assertIn("AccessDenied", client.receive()["error"])
                self.assertIn("product", client.receive()["parameters"])
                self.assertIn("product", client.receive()["parameters"])
                self.assertIn("InvalidParameter", client.receive()["error"])

    def attack_out_of_band(self):
        """A byte of its own, with descriptors, that an ordinary reader never sees."""
        for before, after in ((b"", b""), (b'{"method":', b'"a.b"}\0'), (b"", b"{}\0")):
            with self.daemon.connect() as client:
                client.send(INFO)
                if before:
                    client.send(before)
                client.socket.sendmsg([b"!"], rights(self.null), socket.MSG_OOB)
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    client.send(after)
                    client.socket.shutdown(socket.SHUT_WR)
                self.assertIn("product", client.receive()["parameters"])
                self.assertIsNone(client.receive())

    def attack_no_reader(self):
        call = {"method": "org.varlink.service.GetInterfaceDescription",
                "parameters": {"interface": "org.vfiod.Broker"}}
        with self.daemon.connect() as client, self.assertRaises((BrokenPipeError, ConnectionResetError)):
            for _ in range(10000):
                client.send(call)

    def attack_no_reader_with_little(self):
        """Not too much output, but it is never read."""
        call = {"method": "org.varlink.service.GetInterfaceDescription",
                "parameters": {"interface": "org.vfiod.Broker"}}
        with self.daemon.connect() as client:
            client.socket.settimeout(0.2)
            with contextlib.suppress(TimeoutError, BrokenPipeError, ConnectionResetError):
                for _ in range(60):
                    client.send(call)
            self.wait_for_end(client)

    def attack_half_a_message_for_ever(self):
        with self.daemon.connect() as client:
            client.send(b'{"method":')
            self.wait_for_end(client)
        with self.daemon.connect() as client:
            client.send(b'{"method":', fds=[self.pidfd])
            self.wait_for_end(client)

    def attack_memory_of_many_connections(self):
        """Each within its bounds, together beyond max-memory-per-user."""
        message = b'{"method":"' + b"x" * (MAX_MESSAGE - 1000)
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(self.daemon.connect()) for _ in range(200)]
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                for client in clients:
                    client.send(message)
            wait_until("some are closed", lambda: self.n_connections() < 150)

    def attack_thousand_connections(self):
        with contextlib.ExitStack() as stack:
            # If we cannot be another user, one place is the witness's.
            n = 1000 if os.geteuid() == 0 else 999
            clients = [stack.enter_context(self.daemon.connect()) for _ in range(n)]
            for client in clients[::50] + clients[-1:]:
                self.assertIn("product", client.call(**INFO)["parameters"])
            reply = stack.enter_context(self.daemon.connect()).receive()
            self.assertEqual(reply["parameters"], {"limit": "max-connections-per-user", "max": 1000})
            for client in clients[::2]:
                client.send(LIST)
            for client in clients[1::2]:
                client.send(MONITOR)

    def attack_half_closed(self):
        with self.daemon.connect() as client:
            client.send(INFO, LIST)
            client.socket.shutdown(socket.SHUT_WR)
            while client.receive() is not None:
                pass
        with self.daemon.connect() as client:
            client.socket.shutdown(socket.SHUT_RD)
            with contextlib.suppress(BrokenPipeError):
                client.send(INFO, LIST, MONITOR)
                client.send(INFO)
            wait_until("it is gone", lambda: self.n_connections() == 1)
        # A stream that begins after the end of what comes in.
        with self.daemon.connect() as client:
            client.send(LIST, MONITOR)
            client.socket.shutdown(socket.SHUT_WR)
            wait_until("it is gone", lambda: self.n_connections() == 1)

    def attack_no_rights(self):
        """SO_PASSRIGHTS off: what is sent to us may have no descriptors. We are sent none here."""
        with self.daemon.connect() as client:
            try:
                client.socket.setsockopt(socket.SOL_SOCKET, SO_PASSRIGHTS, 0)
            except OSError:
                return
            self.assertIn("product", client.call(**INFO)["parameters"])
            self.assertIn("error", client.call(**acquire(0), fds=[self.pidfd]))

    def attack_storm(self):
        for i in range(600):
            client = socket.socket(socket.AF_UNIX)
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError, BrokenPipeError):
                client.connect(str(self.daemon.socket))
                if i % 3 == 0:
                    client.send(json.dumps(LIST).encode() + b"\0")
                elif i % 3 == 1:
                    client.sendmsg([b"{"], rights(self.pidfd))
            client.close()

    def attack_abort_at_each_reply(self):
        for n in range(len(DEVICES)):
            with self.daemon.connect() as client:
                client.send(LIST, INFO)
                for _ in range(n):
                    client.receive()
                # Unread data: the daemon gets ECONNRESET.
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def attack_pipelined_after_oneway(self):
        with self.daemon.connect() as client:
            oneway = [{**call, "oneway": True} for call in (INFO, acquire(), LIST)]
            oneway[2].pop("more")
            for _ in range(50):
                client.send(*oneway, INFO)
            for _ in range(50):
                self.assertIn("product", client.receive()["parameters"])

    def attack_deaf_monitors(self):
        with contextlib.ExitStack() as stack:
            monitors = [stack.enter_context(self.daemon.connect()) for _ in range(20)]
            for client in monitors:
                client.send(MONITOR)
            # Which of them, is as the loop saw them.
            refused = [c for c in monitors if "error" in c.receive()]
            self.assertEqual(len(refused), 4)
            witness = next(c for c in monitors if c not in refused)
            self.assertEqual(refused[0].call(**MONITOR)["parameters"],
                             {"limit": "max-monitors-per-user", "max": 16})
            for i in range(20):
                self.host.tell("driver", "f000:05:00.0", "-" if i % 2 else "e1000")
                # The others do not read; this one says that the daemon has sent it.
                self.assertEqual(witness.receive()["parameters"]["event"], "driverChanged")
            self.host.tell("driver", "f000:05:00.0", "e1000e")
            self.assertEqual(witness.receive()["parameters"]["event"], "driverChanged")

    def attack_lingering_sockets(self):
        """close(2) of these takes an hour where the peer does not read: not the daemon's hour."""
        kinds = {
            "received": lambda client, fd: client.send(acquire(0), fds=[fd]),
            "unasked for": lambda client, fd: client.send(INFO, fds=[fd]),
            "on the wrong byte": lambda client, fd: (client.send(b"{"), client.send(b"}\0", fds=[fd])),
            "never read": lambda client, fd: (client.send(MONITOR, b"\0"), client.send(b"{", fds=[fd])),
            "too many": lambda client, fd: client.send(INFO, fds=[fd] * 200),
            "out of band": lambda client, fd: client.socket.sendmsg([b"!"], rights(fd), socket.MSG_OOB),
        }
        for send in kinds.values():
            with self.daemon.connect() as client, socket.socket() as listener:
                listener.bind(("127.0.0.1", 0))
                listener.listen()
                # Who ends does not linger: from now on only the daemon's socket has it.
                self.daemon.process.send_signal(signal.SIGSTOP)
                in_child(lambda: send(client, lingering_socket(listener.getsockname())))
                self.daemon.process.send_signal(signal.SIGCONT)
                self.assert_serves()
            self.assert_serves()

    def attack_memory(self):
        """The last close of a TiB frees it, which takes minutes: never the daemon's."""
        kinds = {
            "not what was wanted": lambda client, fds: client.send(acquire(0), fds=fds),
            "unasked for": lambda client, fds: client.send(INFO, fds=fds),
            "in no message": lambda client, fds: client.send(b"nonsense\0", fds=fds),
            "on the wrong byte": lambda client, fds: (client.send(b"{"), client.send(b"}\0", fds=fds)),
            "too many": lambda client, fds: client.send(INFO, fds=fds * (MAX_DESCRIPTORS + 1)),
            "and gone": lambda client, fds: (client.send(acquire(0), fds=fds),
                                             client.socket.shutdown(socket.SHUT_RDWR)),
        }
        # Until the client goes; a call that waits for its turn is still in the socket.
        kept = {
            "in half a message": lambda client, fds: client.send(b"{", fds=fds),
            "of a call that waits": lambda client, fds: (client.send(MONITOR),
                                                         client.send(acquire(0), fds=fds)),
        }
        for kind, send in {**kinds, **kept}.items():
            with self.subTest(kind), self.daemon.connect() as client, Closers() as closers:
                # From now on only the daemon's socket has it.
                self.daemon.process.send_signal(signal.SIGSTOP)
                in_child(lambda: send(client, [closers.fd]))
                os.close(closers.fd)
                self.daemon.process.send_signal(signal.SIGCONT)
                if kind == "in half a message":
                    wait_until("the daemon has it", lambda: self.daemon.has_open(closers.name))
                if kind in kept:
                    self.assert_serves()
                    client.socket.close()
                self.assertNotIn(self.daemon.process.pid, closers.wait())
                self.assert_serves()

    def attack_spaces(self):
        """As many as there may be, left in the middle of whatever they do; each has a process."""
        memory = os.memfd_create("memory")
        os.ftruncate(memory, 1 << 20)
        calls = [{"method": f"org.vfiod.Space.{method}", "parameters": parameters}
                 for method, parameters in (
                     ("Map", {"memory": 1, "offset": 0, "iova": "0x0", "length": 4096}),
                     ("Map", {"memory": 1, "offset": -1, "iova": "0x", "length": 2**63 - 2}),
                     ("Unmap", {"iova": "0x0", "length": 2**63 - 2}),
                     ("Attach", {"token": "", "group": 8}), ("Describe", {}), ("Destroy", {}))]
        for n_calls in range(len(calls) + 1):
            with contextlib.ExitStack() as stack:
                clients = [stack.enter_context(self.daemon.connect()) for _ in range(20)]
                for client in clients:
                    reply = client.call("org.vfiod.Space.Create")
                    if "error" in reply:
                        self.assertEqual(reply["parameters"]["limit"], "max-spaces-per-user")
                        continue
                    space = reply["parameters"]["space"]
                    client.send({"method": "org.vfiod.Space.AddMemory", "parameters": {
                        "space": space, "memoryFileDescriptor": 0}}, fds=[memory])
                    for call in calls[:n_calls]:
                        call["parameters"]["space"] = space
                        client.send(call)
            wait_until("their spaces are free", lambda: self.n_connections() == 1)
            self.assert_serves()
        os.close(memory)

    def attack_reports(self):
        """Floods that want no answer, of what nobody has mapped; left in the middle of it."""
        reports = [{"method": f"org.vfiod.Ledger.Report{method}", "oneway": True, "parameters": {
            "container": i % 7, "iova": hex(i << 12), **address, "length": length}}
            for i in range(200) for method, address, length in (
                ("Map", {"address": hex(2**64 - (i << 12))}, 2**63 - 4096),
                ("Unmap", {}, 1 + i), ("Map", {"address": "0x1000"}, 4096))]
        for _ in range(10):
            with contextlib.ExitStack() as stack:
                clients = [stack.enter_context(self.daemon.connect()) for _ in range(10)]
                for client in clients:
                    client.send(*reports)
                clients[0].send(INFO)
                self.assertIn("product", clients[0].receive()["parameters"])
            self.assert_serves()

    def attack_over_the_bound_with_descriptors(self):
        """Turned away at the door, with something in the hand that does not close."""
        with contextlib.ExitStack() as stack, socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            for _ in range(1000):
                stack.enter_context(self.daemon.connect())
            for _ in range(3):
                self.daemon.process.send_signal(signal.SIGSTOP)
                client = stack.enter_context(self.daemon.connect())
                in_child(lambda: client.send(
                    INFO, fds=[lingering_socket(listener.getsockname())]))
                self.daemon.process.send_signal(signal.SIGCONT)
                self.assert_serves()


class Closers:
    """A file of tmpfs, and who makes the last close(2) of each of its open files (fanotify(7))."""

    def __enter__(self):
        libc = ctypes.CDLL(None, use_errno=True)
        libc.fanotify_mark.argtypes = [
            ctypes.c_int, ctypes.c_uint, ctypes.c_uint64, ctypes.c_int, ctypes.c_char_p]
        self.fd, self.name = tempfile.mkstemp(dir="/dev/shm", prefix="vfiod-test-")
        # Root's alone: where we are not, nobody is told.
        self.watch = libc.fanotify_init(0x1, os.O_RDONLY | os.O_CLOEXEC)
        if self.watch >= 0:
            libc.fanotify_mark(self.watch, 0x1, 0x8 | 0x10, -100, self.name.encode())
        os.unlink(self.name)
        return self

    def wait(self):
        """Their pids."""
        if self.watch < 0:
            return []
        poll = select.poll()
        poll.register(self.watch, select.POLLIN)
        wait_until("the file is closed", lambda: poll.poll(0))
        pids, events = [], os.read(self.watch, 4096)
        for event in struct.iter_unpack("IBBHQii", events):
            os.close(event[5])
            pids.append(event[6])
        return pids

    def __exit__(self, *_):
        if self.watch >= 0:
            os.close(self.watch)


def rights(fd):
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]


def in_child(function):
    child = os.fork()
    if child == 0:
        with contextlib.suppress(OSError):
            function()
        os._exit(0)
    os.waitpid(child, 0)


def lingering_socket(address):
    """A TCP socket with more to send than fits, to a peer that does not even accept."""
    sender = socket.create_connection(address)
    sender.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            sender.send(b"x" * 65536)
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 3600))
    return sender.detach()


class TwoRounds(Attacks, unittest.TestCase):
    def setUp(self):
        self.host = Host()
        self.addCleanup(self.host.close)
        self.daemon = Daemon(self.host, CONFIG)
        self.addCleanup(self.daemon.close)
        self.null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        self.addCleanup(os.close, self.null)
        self.pidfd = os.pidfd_open(os.getpid())
        self.addCleanup(os.close, self.pidfd)
        # Another user than those who attack, if we can be one.
        self.witness = self.daemon.connect(as_admin=True)
        self.addCleanup(self.witness.socket.close)
        self.assert_serves()

    def assert_serves(self):
        self.assertIn("product", self.witness.call(**INFO)["parameters"])

    def n_connections(self):
        """The witness's is one."""
        return self.daemon.n_fds() - self.daemon.idle_fds

    @staticmethod
    def wait_for_end(client):
        """The daemon has closed it, whatever there still is to read."""
        poll = select.poll()
        poll.register(client.socket, 0)
        wait_until("it is closed", lambda: poll.poll(0))

    def round(self):
        for name in sorted(dir(Attacks)):
            if name.startswith("attack_"):
                with self.subTest(name):
                    getattr(self, name)()
                    self.assert_serves()
                    wait_until("what it left is closed", lambda: self.n_connections() == 1)

    def kib_at_rest(self):
        """The least of two seconds: half a second after a storm, its memory goes back to the kernel (base/trim.h)."""
        least, end = self.daemon.resident_kib(), time.monotonic() + 2
        while time.monotonic() < end:
            time.sleep(0.1)
            least = min(least, self.daemon.resident_kib())
        return least

    def test_two_rounds(self):
        self.round()
        first = self.kib_at_rest()
        self.round()
        second = self.kib_at_rest()
        if IS_PLAIN:
            # Less is no leak.
            self.assertLessEqual(second - first, 1024, f"{first} KiB, then {second} KiB")
