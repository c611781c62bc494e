"""Metrics: the text format, what it counts, and the file."""

import re
import unittest

from vfiod_host import ADMIN, N_GROUPS, RULE, Daemon, Host, wait_until

METRICS = {"method": "org.vfiod.Admin.Metrics"}
NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(rf'({NAME})(\{{{NAME}="(?:[^"\\\n]|\\[\\"n])*"\}})? (\d+)')


def parse(text):
    """As Prometheus reads it: {"name{label}": value}. Whatever it would not take fails."""
    samples, families, kind = {}, set(), None
    if not text.endswith("\n"):
        raise AssertionError("the last line does not end")
    for line in text.splitlines():
        if match := re.fullmatch(rf"# HELP ({NAME}) (.+)", line):
            family = match[1]
            if family in families:
                raise AssertionError(f"twice: {family}")
            families.add(family)
            kind = None
        elif match := re.fullmatch(rf"# TYPE ({NAME}) (counter|gauge)", line):
            kind = match[2]
            if match[1] != family or (kind == "counter") != family.endswith("_total"):
                raise AssertionError(line)
        elif match := SAMPLE.fullmatch(line):
            key = match[1] + (match[2] or "")
            if match[1] != family or kind is None or key in samples:
                raise AssertionError(line)
            samples[key] = int(match[3])
        else:
            raise AssertionError(f"no metric: {line!r}")
    return samples


class Metrics(unittest.TestCase):
    def setUp(self):
        self.host = Host()
        self.addCleanup(self.host.close)
        self.daemon = Daemon(self.host, ADMIN + RULE)
        self.addCleanup(self.daemon.close)
        self.file = self.daemon.directory / "state/vfiod.prom"

    def metrics(self):
        with self.daemon.connect() as client:
            return parse(client.call(**METRICS)["parameters"]["text"])

    def from_file(self):
        return parse(self.file.read_text()) if self.file.exists() else {}

    def test_what_there_is(self):
        metrics = self.metrics()
        self.assertEqual(metrics['vfiod_groups{binding="host"}'], N_GROUPS - 1)
        self.assertEqual(metrics['vfiod_groups{binding="taken"}'], 1)
        self.assertEqual(metrics['vfiod_groups{binding="stuck"}'], 0)
        self.assertEqual(metrics['vfiod_leases{state="granted"}'], 0)
        self.assertEqual(metrics["vfiod_pinned_bytes"], 0)
        self.assertEqual(metrics["vfiod_rules"], 1)
        self.assertEqual(metrics["vfiod_connections"], 1)

    def test_what_is_counted(self):
        with self.daemon.connect(as_admin=True) as admin:
            self.daemon.config.write_text("[rule")
            admin.call("org.vfiod.Admin.Reload")
            refused = self.metrics()
            self.daemon.config.write_text(ADMIN + RULE)
            admin.call("org.vfiod.Admin.Reload")
            metrics = self.metrics()
        self.assertEqual(refused["vfiod_config_last_reload_successful"], 0)
        self.assertEqual(metrics["vfiod_config_last_reload_successful"], 1)
        self.assertEqual(metrics['vfiod_calls_total{method="org.vfiod.Admin.Reload"}'], 2)
        self.assertEqual(
            metrics['vfiod_errors_total{error="org.vfiod.Admin.ConfigurationInvalid"}'], 1)
        self.assertEqual(metrics['vfiod_events_total{event="configurationRefused"}'], 1)

    def test_the_file(self):
        wait_until("there is a file", self.from_file)
        self.assertEqual(self.file.stat().st_mode & 0o777, 0o644)
        self.host.tell("add", "f000:06:00.0", 11, "e1000e")
        wait_until("the new group is in it",
                   lambda: self.from_file().get('vfiod_groups{binding="host"}') == N_GROUPS)
        self.daemon.stop()
        self.assertFalse(self.file.exists())
