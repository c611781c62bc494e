"""A Varlink connection whose every call has a deadline: silence is the one answer that is always wrong."""

import array
import json
import os
import socket

# Long against anything that vfiod may wait for here (take-timeout, keeper-timeout: chaos.conf), on a busy
# host: who hears nothing for so long was forgotten.
ANSWER_SECONDS = 90


class Violation(Exception):
    """What must never be."""


class Closed(Exception):
    """The daemon has gone, or has closed the connection."""


class Refused(Exception):
    """An error as the answer; name without "org.vfiod.", parameters."""

    def __init__(self, reply):
        self.name = reply["error"].removeprefix("org.vfiod.")
        self.parameters = reply.get("parameters") or {}
        super().__init__(f"{self.name} {self.parameters}")


class Wire:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self.socket.settimeout(ANSWER_SECONDS)
        self.received, self.fds = b"", []
        self.is_stream = False  # a lease's: its answers go on
        try:
            self.socket.connect(path)
        except OSError as error:
            self.socket.close()
            raise Closed from error

    def send_bytes(self, data, fds=()):
        control = []
        if fds:
            control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        try:
            sent = self.socket.sendmsg([data], control, socket.MSG_NOSIGNAL)
            while sent < len(data):
                sent += self.socket.send(data[sent:], socket.MSG_NOSIGNAL)
        except TimeoutError as error:
            raise Violation(f"the daemon does not read: {data[:200]!r}") from error
        except OSError as error:
            raise Closed from error

    def send(self, method, parameters, fds=(), **flags):
        call = {"method": method, "parameters": parameters, **flags}
        self.send_bytes(json.dumps(call).encode() + b"\0", fds)

    def receive(self, what):
        """The next reply, and the descriptors that came with it."""
        while b"\0" not in self.received:
            self.read(what)
        message, self.received = self.received.split(b"\0", 1)
        reply = json.loads(message)
        if not set(reply) <= {"parameters", "error", "continues"} or ("error" in reply and "continues" in reply):
            raise Violation(f"no Varlink reply to {what}: {reply}")
        fds = []
        if b"FileDescriptor" in message and "error" not in reply:
            fds, self.fds = self.fds, []
        return reply, fds

    def read(self, what):
        try:
            data, control, flags, _ = self.socket.recvmsg(1 << 16, socket.CMSG_SPACE(64 * 4), socket.MSG_CMSG_CLOEXEC)
        except TimeoutError as error:
            raise Violation(f"no answer in {ANSWER_SECONDS} s to {what}") from error
        except OSError as error:
            raise Closed from error
        for level, kind, content in control:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds = array.array("i")
                fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
                self.fds.extend(fds)
        if flags & socket.MSG_CTRUNC:
            raise Violation(f"descriptors were cut off: {what}")
        if not data:
            raise Closed
        self.received += data

    def call(self, method, parameters=None, fds=(), **flags):
        """Parameters and descriptors of the one answer; Refused, Closed."""
        what = f"{method} {parameters}"
        self.send("org.vfiod." + method, parameters or {}, fds, **flags)
        reply, received = self.receive(what)
        if "error" in reply:
            raise Refused(reply)
        return reply.get("parameters") or {}, received

    def has_input(self):
        if self.received:
            return True
        self.socket.setblocking(False)
        try:
            self.socket.recv(1, socket.MSG_PEEK)
            return True
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            self.socket.settimeout(ANSWER_SECONDS)

    def close(self):
        self.socket.close()
        for fd in self.fds:
            os.close(fd)
        self.fds = []
