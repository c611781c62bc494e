"""A client of somebody else's: python3-varlink, its command line tool and its module.

It asks as who runs the tests, perhaps root: so it only asks questions, see vfiod_host.
"""

import ast
import json
import os
import subprocess
import sys
import unittest

from vfiod_host import N_GROUPS, PATIENCE, RULE, SOURCE, Daemon, Host

INTERFACES = sorted(path.stem for path in (SOURCE / "proto").glob("*.varlink"))

def setUpModule():
    global host, daemon, modules
    found = subprocess.run([SOURCE / "tests/host/python-varlink.sh"], stdout=subprocess.PIPE,
                           text=True, check=False)
    if found.returncode != 0:
        raise unittest.SkipTest(found.stdout.strip())
    modules = found.stdout.strip()
    sys.path.insert(0, modules)
    host = Host()
    daemon = Daemon(host, RULE)


def tearDownModule():
    daemon.wait_idle()
    daemon.close()
    host.close()


def as_client(*arguments, **options):
    return subprocess.Popen(
        ["/usr/bin/python3", "-B", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env={**os.environ, "PYTHONPATH": modules}, **options)


class Tool(unittest.TestCase):
    def tool(self, *arguments):
        with as_client("-m", "varlink.cli", *arguments) as process:
            out, err = process.communicate(timeout=PATIENCE)
            self.assertEqual(process.returncode, 0, err)
            return out, err

    def call(self, method, parameters, *options):
        out, err = self.tool("call", *options, f"unix:{daemon.socket}/{method}",
                             json.dumps(parameters))
        replies, decoder = [], json.JSONDecoder()
        while out.strip():
            reply, end = decoder.raw_decode(out.lstrip())
            replies.append(reply)
            out = out.lstrip()[end:]
        return replies, err

    def test_info(self):
        out, _ = self.tool("info", f"unix:{daemon.socket}")
        self.assertIn("Product: vfiod", out)
        for interface in INTERFACES:
            self.assertIn(f"   {interface}\n", out)

    def test_help_shows_the_interface_file(self):
        for name in INTERFACES:
            out, _ = self.tool("help", f"unix:{daemon.socket}/{name}")
            self.assertEqual(out, (SOURCE / f"proto/{name}.varlink").read_text() + "\n")

    def test_call(self):
        replies, _ = self.call("org.vfiod.Broker.Describe", {"device": "f000:02:01.0"})
        self.assertEqual(len(replies), 1)
        self.assertEqual(replies[0]["group"]["number"], 7)
        replies, _ = self.call("org.vfiod.Broker.Leases", {})
        self.assertEqual(replies, [{"leases": []}])

    def test_call_with_more(self):
        replies, _ = self.call("org.vfiod.Broker.List", {"all": True}, "--more")
        self.assertEqual([r["group"]["number"] for r in replies], [7, 8, 9, 10])
        self.assertEqual({r["total"] for r in replies}, {N_GROUPS})

    def test_errors_with_their_data(self):
        replies, err = self.call("org.vfiod.Broker.Describe", {"group": 4711})
        self.assertEqual(replies, [])
        self.assertEqual(ast.literal_eval(err), {
            "error": "org.vfiod.Broker.NoSuchGroup", "parameters": {"group": 4711}})
        _, err = self.call("org.vfiod.Broker.Describe", {"gruop": 7})
        self.assertEqual(ast.literal_eval(err), {
            "error": "org.varlink.service.InvalidParameter", "parameters": {"parameter": "gruop"}})
        _, err = self.call("org.vfiod.Broker.List", {})
        self.assertEqual(ast.literal_eval(err)["error"], "org.varlink.service.ExpectedMore")


class Module(unittest.TestCase):
    """The module parses our interface files, and makes its methods and checks from them."""

    def connect(self):
        import varlink

        client = varlink.Client.new_with_address(f"unix:{daemon.socket}")
        self.addCleanup(client.cleanup)
        return client

    def test_methods_are_made_from_our_files(self):
        with self.connect().open("org.vfiod.Broker") as broker:
            self.assertEqual(broker.Leases(), {"leases": []})
            groups = list(broker.List(all=True, _more=True))
            self.assertEqual([g["group"]["number"] for g in groups], [7, 8, 9, 10])
            self.assertEqual(broker.Describe(group=8)["group"]["binding"], "host")

    def test_every_method_is_understood(self):
        client = self.connect()
        for name in INTERFACES:
            declared = [line.split()[1].split("(")[0]
                        for line in (SOURCE / f"proto/{name}.varlink").read_text().splitlines()
                        if line.startswith("method ")]
            with client.open(name) as interface:
                for method in declared:
                    self.assertTrue(callable(getattr(interface, method)), f"{name}.{method}")

    def test_errors_are_exceptions_with_data(self):
        import varlink

        with self.connect().open("org.vfiod.Broker") as broker:
            with self.assertRaises(varlink.VarlinkError) as caught:
                broker.Acquire(selectors=[{"device": "f000:99:00.0"}])
        self.assertEqual(caught.exception.error(), "org.vfiod.Broker.NoSuchDevice")
        self.assertEqual(caught.exception.parameters()["device"], "f000:99:00.0")

    def test_the_administrators_interface(self):
        with self.connect().open("org.vfiod.Admin") as admin:
            self.assertEqual(admin.Status()["groups"], N_GROUPS)


class Monitor(unittest.TestCase):
    # The module leaves out what is null.
    program = """
import sys, varlink
with varlink.Client.new_with_address(sys.argv[1]).open("org.vfiod.Broker") as broker:
    for event in broker.Monitor(_more=True):
        print(*map(event.get, ("event", "device", "before", "after")), flush=True)
"""

    def test_an_event_arrives(self):
        with as_client("-c", self.program, f"unix:{daemon.socket}") as process:
            try:
                self.assertEqual(process.stdout.readline(), "ready None None None\n")
                host.tell("driver", "f000:05:00.0", "-")
                self.assertEqual(process.stdout.readline(),
                                 "driverChanged f000:05:00.0 e1000e None\n")
                host.tell("driver", "f000:05:00.0", "e1000e")
                self.assertEqual(process.stdout.readline(),
                                 "driverChanged f000:05:00.0 None e1000e\n")
                self.assertIsNone(process.poll())
            finally:
                process.kill()

    def test_its_end_is_noticed(self):
        daemon.wait_idle()
        with as_client("-c", self.program, f"unix:{daemon.socket}") as process:
            try:
                self.assertEqual(process.stdout.readline(), "ready None None None\n")
                self.assertEqual(daemon.n_fds(), daemon.idle_fds + 1)
            finally:
                process.kill()
        daemon.wait_idle()
