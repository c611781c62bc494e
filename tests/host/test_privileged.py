"""vfiod asks vfiod-privileged: keepers are not its children, and either of the two may be killed at any time."""

import fcntl
import os
import signal
import socket
import subprocess
import unittest

from fd_store import HIGH, KeptDaemon
from test_spaces import CONFIG, MEMORY_BYTES, PAGE, Client, Failed, runs
from vfiod_host import BUILD, Host, wait_until


class Privileged:
    """vfiod-privileged, with its socket from a stand-in for systemd."""

    def __init__(self, path, keeper, log):
        self.keeper, self.log = keeper, log
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        listener.bind(str(path))
        listener.listen(16)
        self.listener = fcntl.fcntl(listener.fileno(), fcntl.F_DUPFD_CLOEXEC, HIGH)
        listener.close()
        self.process = None
        self.start()

    def start(self):
        """As systemd: from 3 on."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["sh", "-c", 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"', "sh",
                 BUILD / "vfiod-privileged", "--keeper", self.keeper],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, close_fds=False,
                start_new_session=True, preexec_fn=lambda: os.dup2(self.listener, 3))

    def kill(self):
        """With all that serves; keepers have left its session."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def close(self):
        if self.process.poll() is None:
            self.kill()
        os.close(self.listener)


class AskingDaemon(KeptDaemon):
    privileged = None

    def start(self):
        if not self.privileged:
            path = self.directory / "privileged"
            self.options = ("--privileged", path)
            self.privileged = Privileged(path, self.keeper, self.log)
            self.cleanup.callback(self.privileged.close)
        super().start()


class Asking(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = Host()
        cls.addClassCleanup(cls.host.close)

    def setUp(self):
        self.daemon = AskingDaemon(self.host, CONFIG)
        self.addCleanup(self.daemon.close)

    def client(self):
        connection = self.daemon.connect()
        self.addCleanup(connection.socket.close)
        return Client(connection)

    def add(self, client):
        fd = os.memfd_create("memory", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
        self.addCleanup(os.close, fd)
        os.ftruncate(fd, MEMORY_BYTES)
        return client.add(fd)

    def test_a_space(self):
        client = self.client()
        keeper = client.keeper()
        with open(f"/proc/{keeper}/stat", encoding="ascii") as file:
            self.assertNotEqual(int(file.read().rpartition(")")[2].split()[1]), self.daemon.process.pid)
        self.add(client)
        client.map()
        self.assertEqual(client.unmap("0x100000", PAGE)["lengthBytes"], PAGE)
        client.call("Destroy")
        wait_until("its keeper has ended", lambda: not runs(keeper))

    def test_killed_keeper(self):
        client = self.client()
        os.kill(client.keeper(), signal.SIGKILL)
        wait_until("it is over", lambda: client.describe()["state"] == "ended")

    def test_no_keeper(self):
        self.daemon.keeper.write_text("#!/bin/sh\nexit 3\n")
        with self.assertRaises(Failed) as failed:
            self.add(self.client())
        self.assertEqual(failed.exception.args[0], "org.vfiod.Space.SpaceEnded")

    def test_vfiod_is_killed(self):
        """It is known to the next one, as nothing else of it would be."""
        client = self.client()
        keeper = client.keeper()
        self.add(client)
        client.map()
        # That it has answered is not all.
        with self.daemon.connect() as other:
            other.call("org.varlink.service.GetInfo")
        self.daemon.restart()
        wait_until("the space lives", lambda: client.describe()["state"] == "live")
        self.assertEqual(client.keeper(), keeper)
        self.assertEqual(client.unmap("0x100000", PAGE)["lengthBytes"], PAGE)
        client.call("Destroy")
        wait_until("its keeper has ended", lambda: not runs(keeper))

    def test_it_is_killed(self):
        """Spaces that are there do not notice; there is no new one until the next of it is there."""
        client = self.client()
        keeper = client.keeper()
        self.add(client)
        self.daemon.privileged.kill()
        client.map()
        other = self.daemon.connect()
        self.addCleanup(other.socket.close)
        other.send({"method": "org.vfiod.Space.Create"})
        self.daemon.privileged.start()
        self.assertIn("space", other.receive()["parameters"])
        self.assertEqual(client.keeper(), keeper)


if __name__ == "__main__":
    unittest.main()
