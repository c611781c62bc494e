"""Starting and stopping."""

import signal
import subprocess
import unittest

from vfiod_host import ADMIN, BUILD, N_GROUPS, RULE, WRAPPER, Daemon, Host

STATUS = {"method": "org.vfiod.Admin.Status"}


class Life(unittest.TestCase):
    def setUp(self):
        self.host = Host()
        self.addCleanup(self.host.close)
        self.daemon = Daemon(self.host, ADMIN + RULE)
        self.addCleanup(self.daemon.close)

    def status(self):
        with self.daemon.connect() as client:
            return client.call(**STATUS)["parameters"]

    def test_status(self):
        status = self.status()
        self.assertEqual(status["groups"], N_GROUPS)
        self.assertEqual(status["devices"], 6)
        self.assertEqual(status["rules"], 1)
        self.assertEqual(status["bindings"], {"host": N_GROUPS - 1, "taken": 1})
        self.assertEqual(status["owners"], {"none": N_GROUPS})
        self.assertEqual(status["configuration"], str(self.daemon.config))

    def test_a_socket_that_is_in_use_stays_its_owner_s(self):
        second = subprocess.run(
            ["umockdev-wrapper", *WRAPPER, BUILD / "vfiod", "--config", self.daemon.config,
             "--socket", self.daemon.socket, "--state-dir", self.daemon.directory / "second"],
            env=self.daemon.environment(), stderr=subprocess.PIPE, text=True, timeout=60)
        self.assertEqual(second.returncode, 1)
        self.assertIn("Address already in use", second.stderr)
        self.assertEqual(self.status()["groups"], N_GROUPS)

    def test_a_socket_left_behind_is_replaced(self):
        self.daemon.stop(signal.SIGKILL, -signal.SIGKILL)
        self.assertTrue(self.daemon.socket.exists())
        self.daemon.start()
        self.assertEqual(self.status()["groups"], N_GROUPS)

    def test_either_signal_stops_it(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            self.daemon.stop(number)
            self.assertFalse(self.daemon.socket.exists())
            self.daemon.start()
