"""Reading the configuration again. A child looks names up meanwhile."""

import contextlib
import signal
import unittest

from vfiod_host import ADMIN, RULE, Daemon, Host, wait_until

RELOAD = {"method": "org.vfiod.Admin.Reload"}
STATUS = {"method": "org.vfiod.Admin.Status"}


class Reload(unittest.TestCase):
    def setUp(self):
        self.host = Host()
        self.addCleanup(self.host.close)
        self.daemon = Daemon(self.host, ADMIN + RULE)
        self.addCleanup(self.daemon.close)
        self.addCleanup(self.daemon.wait_idle)

    def status(self):
        with self.daemon.connect() as client:
            return client.call(**STATUS)["parameters"]

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

    def test_names_come_into_force(self):
        with self.daemon.connect(as_admin=True) as admin:
            self.daemon.config.write_text(ADMIN + "admin = user:nobody\n" + RULE)
            self.assertEqual(admin.call(**RELOAD), {"parameters": {"rules": 1}})
            with self.daemon.connect() as nobody:
                self.assertEqual(nobody.call(**RELOAD), {"parameters": {"rules": 1}})

    def test_many_ask_at_once(self):
        with contextlib.ExitStack() as stack:
            admins = [stack.enter_context(self.daemon.connect(as_admin=True)) for _ in range(20)]
            self.daemon.config.write_text(ADMIN + RULE + RULE.replace("nics", "more"))
            for admin in admins:
                admin.send(RELOAD)
                self.daemon.process.send_signal(signal.SIGHUP)
            # Who does not wait for the answer; and one who stops sending.
            for admin in admins[::3]:
                admin.socket.close()
            admins[1].socket.shutdown(1)
            for i, admin in enumerate(admins):
                if i % 3:
                    self.assertEqual(admin.receive(), {"parameters": {"rules": 2}})
        self.assertEqual(self.status()["rules"], 2)
