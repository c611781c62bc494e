"""A client of somebody else's: systemd's varlinkctl, from Debian unstable.

Its parser is the strictest that there is for interface files, and it drops a service for what others
let pass. It runs as nobody where the tests run as root: it may ask for devices, see vfiod_host.
"""

import json
import os
import shutil
import subprocess
import tempfile
import unittest

from vfiod_host import BUILD, NOBODY, N_GROUPS, PATIENCE, RULE, SOURCE, Daemon, Host

INTERFACES = sorted(path.stem for path in (SOURCE / "proto").glob("*.varlink"))


def setUpModule():
    global host, daemon, directory, tool, environment
    cache = BUILD.parent / "varlinkctl"
    found = subprocess.run(
        [SOURCE / "tests/setup/other-suite.sh", "unstable", cache, "systemd", "libsystemd-shared"],
        stdout=subprocess.PIPE, text=True, check=False)
    if found.returncode != 0:
        raise unittest.SkipTest("varlinkctl: " + found.stdout.strip())
    # Nobody may not look into every checkout.
    directory = tempfile.TemporaryDirectory(prefix="vfiod-varlinkctl-")
    os.chmod(directory.name, 0o755)
    tool = shutil.copy(cache / "root/usr/bin/varlinkctl", directory.name)
    for library in (cache / "root").glob("usr/lib/*/systemd/libsystemd-shared-*.so"):
        shutil.copy(library, directory.name)
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8",
                   "LD_LIBRARY_PATH": directory.name, "SYSTEMD_COLORS": "0"}
    host = Host()
    daemon = Daemon(host, RULE)


def tearDownModule():
    daemon.wait_idle()
    daemon.close()
    host.close()
    directory.cleanup()


def start(*arguments, **options):
    user = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    return subprocess.Popen([tool, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, env=environment, cwd="/", **user, **options)


def run(*arguments, **options):
    """Exit status, stdout, stderr."""
    with start(*arguments, **options) as process:
        out, err = process.communicate(timeout=PATIENCE)
        return process.returncode, out, err


class Tool(unittest.TestCase):
    def ask(self, *arguments, **options):
        status, out, err = run(*arguments, **options)
        self.assertEqual(status, 0, err)
        return out

    def call(self, method, parameters, *options, **others):
        """Replies, and what it says of an error."""
        status, out, err = run("-j", *options, "call", daemon.socket, method,
                               json.dumps(parameters), **others)
        # RFC 7464: a record separator before each of several.
        replies = [json.loads(text) for text in out.replace("\x1e", "\n").split("\n") if text]
        self.assertEqual(status != 0, bool(err), err)
        return replies, err

    def test_it_understands_our_files(self):
        for name in INTERFACES:
            with (SOURCE / f"proto/{name}.varlink").open() as file:
                self.ask("validate-idl", stdin=file)

    def test_info(self):
        self.assertIn("Product: vfiod\n", self.ask("info", daemon.socket))
        self.assertEqual(self.ask("list-interfaces", daemon.socket).split(), INTERFACES)

    def test_introspection(self):
        for name in INTERFACES:
            out = self.ask("introspect", daemon.socket, name)
            # What it prints is what it has understood: not a line of ours but blanks and comments is
            # missing.
            for word in ("method", "type", "error"):
                declared = [line.split()[1].split("(")[0]
                            for line in (SOURCE / f"proto/{name}.varlink").read_text().splitlines()
                            if line.startswith(word + " ")]
                understood = [line.split()[1].split("(")[0] for line in out.splitlines()
                              if line.startswith(word + " ")]
                self.assertEqual(sorted(understood), sorted(declared), name)

    def test_call(self):
        replies, _ = self.call("org.vfiod.Broker.Describe", {"device": "f000:02:01.0"})
        self.assertEqual([r["group"]["number"] for r in replies], [7])
        self.assertEqual(self.call("org.vfiod.Broker.Leases", {}), ([{"leases": []}], ""))

    def test_call_with_more(self):
        replies, _ = self.call("org.vfiod.Broker.List", {"all": True}, "--more")
        self.assertEqual([r["group"]["number"] for r in replies], [7, 8, 9, 10])
        self.assertEqual({r["total"] for r in replies}, {N_GROUPS})

    def test_errors(self):
        replies, error = self.call("org.vfiod.Broker.Describe", {"group": 4711})
        self.assertEqual(replies, [{"group": 4711}])
        self.assertIn("org.vfiod.Broker.NoSuchGroup", error)
        # Those of org.varlink.service it has words of its own for.
        _, error = self.call("org.vfiod.Broker.List", {})
        self.assertIn("'more' flag", error)

    def test_a_descriptor_goes_along(self):
        """The pidfd arrives, or the daemon would not know whose it is."""
        pidfd = os.pidfd_open(os.getpid())
        self.addCleanup(os.close, pidfd)
        replies, error = self.call(
            "org.vfiod.Broker.Acquire",
            {"selectors": [{"group": 10}], "holderFileDescriptor": 0},
            f"--push-fd={pidfd}", pass_fds=[pidfd])
        self.assertIn("org.vfiod.Broker.AccessDenied", error)
        if os.geteuid() == 0:
            self.assertIn(f"process {os.getpid()}, runs as uid 0", replies[0]["reason"])
        _, error = self.call(
            "org.vfiod.Broker.Acquire",
            {"selectors": [{"group": 10}], "holderFileDescriptor": 1},
            f"--push-fd={pidfd}", pass_fds=[pidfd])
        self.assertIn("Invalid argument", error)

    def test_a_monitor_hears_what_happens(self):
        with start("-j", "--more", "--timeout=infinity", "call", daemon.socket,
                   "org.vfiod.Broker.Monitor", "{}") as process:
            try:
                self.assertEqual(self.event(process)["event"], "ready")
                host.tell("driver", "f000:05:00.0", "-")
                event = self.event(process)
                self.assertEqual((event["event"], event["device"], event["before"]),
                                 ("driverChanged", "f000:05:00.0", "e1000e"))
                host.tell("driver", "f000:05:00.0", "e1000e")
                self.assertEqual(self.event(process)["after"], "e1000e")
            finally:
                process.kill()

    @staticmethod
    def event(process):
        return json.loads(process.stdout.readline().lstrip("\x1e"))
