"""Starting, reloading and stopping."""

import signal
import subprocess
import unittest

from vfiod_host import ADMIN, BUILD, N_GROUPS, RULE, WRAPPER, Daemon, Host, wait_until

RELOAD = {"method": "org.vfiod.Admin.Reload"}
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

    def test_a_bad_configuration_changes_nothing(self):
        with self.daemon.connect(as_admin=True) as admin:
            self.daemon.config.write_text(ADMIN + RULE + "colour = blue\n")
            reply = admin.call(**RELOAD)
            self.assertEqual(reply["error"], "org.vfiod.Admin.ConfigurationInvalid")
            line = len((ADMIN + RULE).splitlines()) + 1
            self.assertIn(f"{self.daemon.config}:{line}:", reply["parameters"]["reason"])
            self.assertIn("colour", reply["parameters"]["reason"])
            self.assertEqual(self.status()["rules"], 1)
            self.daemon.process.send_signal(signal.SIGHUP)
            wait_until("the log says so", lambda: self.daemon.log.read_text().count("colour") == 2)
            self.assertEqual(self.status()["rules"], 1)

            self.daemon.config.write_text(ADMIN + RULE + RULE.replace("nics", "more"))
            self.assertEqual(admin.call(**RELOAD), {"parameters": {"rules": 2}})
            self.daemon.config.write_text(ADMIN + RULE)
            self.daemon.process.send_signal(signal.SIGHUP)
            wait_until("it is read again", lambda: self.status()["rules"] == 1)

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
