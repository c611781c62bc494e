"""What systemd is told: a datagram socket stands for it (sd_notify(3))."""

import signal
import socket
import tempfile
import unittest

from vfiod_host import ADMIN, N_GROUPS, PATIENCE, RULE, Daemon, Host


class Supervisor(unittest.TestCase):
    def setUp(self):
        directory = self.enter(tempfile.TemporaryDirectory(prefix="vfiod-test-"))
        self.notified = self.enter(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        self.notified.settimeout(PATIENCE)
        self.notified.bind(f"{directory}/notify")
        self.host = Host()
        self.addCleanup(self.host.close)
        self.daemon = Daemon(self.host, ADMIN + RULE, NOTIFY_SOCKET=f"{directory}/notify",
                             WATCHDOG_USEC="100000")
        self.addCleanup(self.daemon.close)

    def enter(self, context):
        value = context.__enter__()
        self.addCleanup(context.__exit__, None, None, None)
        return value

    def hear(self, *beginnings):
        """The next messages that begin so, in this order; others come in between."""
        for beginning in beginnings:
            while not (message := self.notified.recv(4096).decode()).startswith(beginning):
                pass
        return message

    def test_the_loop_feeds_the_watchdog(self):
        self.hear("READY=1", "STATUS=", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1")

    def test_a_bad_configuration_is_in_the_status_until_it_is_mended(self):
        self.assertEqual(self.hear("READY=1", "STATUS="),
                         f"STATUS={N_GROUPS} groups, 0 leases, 0 waiting")
        self.daemon.config.write_text(ADMIN + RULE + "colour = blue\n")
        self.daemon.process.send_signal(signal.SIGHUP)
        status = self.hear("RELOADING=1", "READY=1", "STATUS=")
        self.assertIn(f"{self.daemon.config}:", status)
        self.assertIn("colour", status)
        with self.daemon.connect() as client:
            problems = client.call("org.vfiod.Admin.Status")["parameters"]["problems"]
        self.assertIn("colour", " ".join(problem["text"] for problem in problems))

        self.daemon.config.write_text(ADMIN + RULE)
        self.daemon.process.send_signal(signal.SIGHUP)
        self.assertNotIn("colour", self.hear("RELOADING=1", "READY=1", "STATUS="))

    def test_a_stop_is_announced(self):
        self.daemon.stop()
        self.hear("READY=1", "STOPPING=1")

    def test_a_stop_may_leave_everything(self):
        self.daemon.config.write_text(ADMIN + "stop = leave\n" + RULE)
        self.daemon.process.send_signal(signal.SIGHUP)
        self.hear("RELOADING=1", "READY=1")
        with self.daemon.connect() as client:
            self.daemon.stop()
            self.assertIsNone(client.receive())
        self.assertIn("left to the next vfiod", self.daemon.log.read_text())
