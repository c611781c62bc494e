"""vfiod for Python: a connection, any method of org.vfiod(7), and leases. Needs Python 3.9.

    with vfiod.Connection() as connection, connection.acquire("0000:01:00.0") as lease:
        group = lease.fds[0]
"""

import json
import os
import socket

SOCKET = "/run/vfiod/org.vfiod.Broker"


class Error(Exception):
    """An error reply: name ("org.vfiod.Broker.GroupBusy") and parameters."""

    def __init__(self, name, parameters):
        super().__init__(f"{name} {json.dumps(parameters)}")
        self.name, self.parameters = name, parameters


class Connection:
    """One to vfiod, for one call at a time. Leases live with it."""

    def __init__(self, path=None):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(path or os.environ.get("VFIOD_SOCKET", SOCKET))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def call(self, method, fds=(), **parameters):
        """Broker.List(all=True) and the like: the reply's parameters, and its descriptors."""
        message = json.dumps({"method": "org.vfiod." + method, "parameters": parameters}).encode() + b"\0"
        sent = socket.send_fds(self.socket, [message], list(fds))
        self.socket.sendall(message[sent:])
        answer, received = b"", []
        while not answer.endswith(b"\0"):
            data, more, _, _ = socket.recv_fds(self.socket, 1 << 16, 253, socket.MSG_CMSG_CLOEXEC)
            if not data:
                raise ConnectionResetError("vfiod has gone")
            answer, received = answer + data, received + more
        reply = json.loads(answer[:-1])
        if "error" in reply:
            raise Error(reply["error"], reply.get("parameters", {}))
        return reply.get("parameters", {}), received

    def acquire(self, *devices, **options):
        """The groups of all devices, or none; waitSeconds=10, memoryBytes=1 << 30, …"""
        granted, fds = self.call("Broker.Acquire", selectors=[{"device": name} for name in devices], **options)
        return Lease(self, granted, fds)


class Lease:
    """fds are the open groups, in the order of groups; given back at the end of the with statement."""

    def __init__(self, connection, granted, fds):
        self.connection, self.fds = connection, fds
        self.name, self.token, self.groups = granted["lease"], granted["token"], granted["groups"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for fd in self.fds:
            os.close(fd)
        self.connection.call("Broker.Release", token=self.token)
