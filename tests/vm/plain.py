#!/usr/bin/python3
"""A Varlink client that knows nothing of restarts: plain.py SOCKET DEVICE.

Acquires a device on one connection, and asks on another without end. On SIGTERM it releases the
device and says how its questions were answered. It ends with 1 if one was answered wrong, or if
the connection of its lease was closed.
"""

import json
import os
import select
import signal
import socket
import sys

PATIENCE = 60
BROKER = "org.vfiod.Broker."


class Connection:
    def __init__(self):
        self.received = b""
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(sys.argv[1])

    def send(self, method, parameters, more=False):
        call = {"method": method, "parameters": parameters, "more": more}
        self.socket.sendall(json.dumps(call).encode() + b"\0")

    def receive(self):
        while b"\0" not in self.received:
            data, fds, _, _ = socket.recv_fds(self.socket, 65536, 8)
            if not data:
                raise ConnectionResetError
            self.fds = getattr(self, "fds", []) + fds
            self.received += data
        message, self.received = self.received.split(b"\0", 1)
        return json.loads(message)

    def has_input(self):
        return self.received or select.select([self.socket], [], [], 0)[0]


def say(*words):
    print(*words, flush=True)


def ask(connection, counts, number):
    """Each answer names what was asked."""
    connection.send(BROKER + "Describe", {"group": number})
    reply = connection.receive()
    if reply.get("error") == BROKER + "Interrupted":
        counts["interrupted"] += 1
    elif reply["parameters"].get("group") == number and reply["error"] == BROKER + "NoSuchGroup":
        counts["right"] += 1
    else:
        counts["wrong"] += 1
        say("wrong", number, reply)


def main():
    is_over = []
    signal.signal(signal.SIGTERM, lambda *_: is_over.append(True))
    lease = Connection()
    lease.send(BROKER + "Acquire", {"selectors": [{"device": sys.argv[2]}]}, more=True)
    granted = lease.receive()["parameters"]
    say(granted["event"], granted["lease"])

    counts = dict.fromkeys(("right", "interrupted", "closed", "wrong"), 0)
    questions, number = Connection(), 1000
    while not is_over:
        number += 1
        try:
            ask(questions, counts, number)
        except (ConnectionResetError, BrokenPipeError):
            counts["closed"] += 1
            questions = Connection()
        while lease.has_input():
            say("event", lease.receive())
    questions.send(BROKER + "Release", {"token": granted["token"]})
    for fd in lease.fds:
        os.close(fd)
    reply = questions.receive()
    say("ended", lease.receive()["parameters"]["event"], "error" in reply)
    say(*(f"{n} {what}," for what, n in counts.items()))
    return counts["wrong"] > 0


if __name__ == "__main__":
    sys.exit(main())
