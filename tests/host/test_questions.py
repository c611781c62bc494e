"""Questions that a child answers or that are about others: who may ask, and what comes of it."""

import unittest

from vfiod_host import ADMIN, RULE, Daemon, Host

BROKER = "org.vfiod.Broker."
DENIED = "org.varlink.service.PermissionDenied"
INVALID = "org.varlink.service.InvalidParameter"
SOMEBODY = {"uid": 4321, "gid": 4321, "groups": [1, 2]}


class Questions(unittest.TestCase):
    def setUp(self):
        self.host = Host()
        self.addCleanup(self.host.close)
        self.daemon = Daemon(self.host, ADMIN + RULE)
        self.addCleanup(self.daemon.close)

    def ask(self, method, parameters, as_admin=False):
        with self.daemon.connect(as_admin=as_admin) as client:
            reply = client.call(BROKER + method, parameters)
        self.daemon.wait_idle()
        return reply

    def first_group(self):
        with self.daemon.connect() as client:
            client.send({"method": BROKER + "List", "parameters": {"all": True}, "more": True})
            return client.receive()["parameters"]["group"]

    def test_why_of_what_has_no_config_space(self):
        group = self.first_group()
        reply = self.ask("Why", {"group": group["number"]})["parameters"]
        self.assertEqual(reply["group"], group["number"])
        self.assertFalse(reply["isExplained"])
        self.assertEqual([location["device"] for location in reply["locations"]],
                         [device["name"] for device in group["devices"]])
        self.assertEqual(self.ask("Why", {"group": 99})["error"], BROKER + "NoSuchGroup")
        self.assertEqual(self.ask("Why", {})["error"], INVALID)
        self.assertEqual(self.ask("Why", {"group": 1, "device": "x"})["error"], INVALID)

    def test_who_closes_takes_the_child_along(self):
        for method, parameters in (("Why", {"group": self.first_group()["number"]}),
                                   ("Plan", {"selectors": [{"group": self.first_group()["number"]}]})):
            with self.daemon.connect(as_admin=True) as client:
                client.send({"method": BROKER + method, "parameters": parameters})
            self.daemon.wait_idle()

    def test_can_is_about_others_for_administrators(self):
        group = {"group": self.first_group()["number"]}
        self.assertIn("may", self.ask("Can", group)["parameters"])
        about = {**group, "subject": SOMEBODY}
        self.assertEqual(self.ask("Can", about)["error"], DENIED)
        answer = self.ask("Can", about, as_admin=True)["parameters"]
        self.assertFalse(answer["may"])
        self.assertFalse(answer["isAdministrator"])
        self.assertIn("4321", answer["denial"])
        root = {**group, "subject": {**SOMEBODY, "uid": 0}}
        answer = self.ask("Can", root, as_admin=True)["parameters"]
        self.assertTrue(answer["isAdministrator"])

    def test_can_takes_no_nonsense(self):
        group = {"group": self.first_group()["number"]}
        for wrong, where in (({"uid": -1}, "subject.uid"), ({"uid": 2**32 - 1}, "subject.uid"),
                             ({"gid": 2**32}, "subject.gid"), ({"groups": [1, -1]}, "subject.groups"),
                             ({"unit": "x" * 300}, "subject.unit"), ({"groups": ["x"]}, None)):
            reply = self.ask("Can", {**group, "subject": {**SOMEBODY, **wrong}}, as_admin=True)
            self.assertEqual(reply["error"], INVALID)
            if where:
                self.assertEqual(reply["parameters"]["parameter"], where)

    def test_plans(self):
        selectors = {"selectors": [{"group": self.first_group()["number"]}]}
        for purpose in ("take", "return"):
            reply = self.ask("Plan", {**selectors, "purpose": purpose})
            self.assertEqual(reply["error"], DENIED)
            reply = self.ask("Plan", {**selectors, "purpose": purpose}, as_admin=True)
            self.assertIn("vetoes", reply["parameters"])
        self.assertEqual(self.ask("Plan", {**selectors, "purpose": "x"})["error"], INVALID)
        self.assertEqual(self.ask("Plan", {"selectors": []})["error"], INVALID)
        self.assertEqual(self.ask("Plan", {"selectors": [{"group": 99}]})["error"],
                         BROKER + "NoSuchGroup")

    def test_check_reads_the_file_as_it_is(self):
        def check():
            with self.daemon.connect() as client:
                return client.call("org.vfiod.Admin.Check")["parameters"]

        answer = check()
        self.assertNotIn("configurationError", {k: v for k, v in answer.items() if v is not None})
        self.assertEqual(len(answer["rules"]), 1)
        self.daemon.config.write_text(ADMIN + RULE + "colour = blue\n")
        self.assertIn("colour", check()["configurationError"])
        self.assertEqual(len(check()["rules"]), 1)
        self.daemon.wait_idle()


# alice, who is nobody here, may have the groups 7 and 8; in `nics` is one device of 7, and 9, which is not hers.
POOLS = """
[rule nobodys]
match = pci:address=f000:0[23]:*
allow = user:65534
trusted = yes
require-reset = no
[pool nics]
match = pci:address=f000:02:01.0
match = pci:address=f000:04:*
[pool spare]
match = pci:address=f000:03:00.0
[pool others]
match = pci:address=f000:05:00.0
[pool empty]
match = pci:address=f000:77:*
"""


def pool(name, devices, groups, free):
    return {"pool": name, "devices": devices, "groups": groups, "free": free, "leased": 0, "waiting": 0}


class Pools(unittest.TestCase):
    def setUp(self):
        self.host = Host()
        self.addCleanup(self.host.close)
        self.daemon = Daemon(self.host, ADMIN + POOLS)
        self.addCleanup(self.daemon.close)

    def pools(self, as_admin=False):
        with self.daemon.connect(as_admin=as_admin) as client:
            return client.call(BROKER + "Pools", {})["parameters"]["pools"]

    def groups_of(self, name, as_admin=False):
        numbers = []
        with self.daemon.connect(as_admin=as_admin) as client:
            client.send({"method": BROKER + "List", "parameters": {"pool": name}, "more": True})
            while True:
                reply = client.receive()
                if "error" in reply:
                    return reply["error"]
                if reply["parameters"].get("group"):
                    numbers.append(reply["parameters"]["group"]["number"])
                if not reply.get("continues"):
                    self.assertEqual(reply["parameters"]["total"], 4)
                    return numbers

    def test_who_may_lease_nothing_of_one_is_not_told_of_it(self):
        self.assertEqual(self.pools(), [pool("nics", 1, 1, 1), pool("spare", 1, 1, 1)])
        self.assertEqual(self.pools(as_admin=True), [
            pool("nics", 2, 2, 2), pool("spare", 1, 1, 1), pool("others", 1, 1, 1), pool("empty", 0, 0, 0)])
        self.daemon.wait_idle()

    def test_list_of_a_pool(self):
        self.assertEqual(self.groups_of("nics"), [7])
        self.assertEqual(self.groups_of("nics", as_admin=True), [7, 9])
        self.assertEqual(self.groups_of("others"), [])
        self.assertEqual(self.groups_of("others", as_admin=True), [10])
        self.assertEqual(self.groups_of("empty", as_admin=True), [])
        self.assertEqual(self.groups_of("nothing"), BROKER + "NoSuchPool")
        self.assertEqual(self.groups_of("\x1b[1m"), BROKER + "NoSuchPool")
        self.daemon.wait_idle()

    def test_none_in_the_configuration(self):
        daemon = Daemon(self.host, ADMIN)
        self.addCleanup(daemon.close)
        with daemon.connect(as_admin=True) as client:
            self.assertEqual(client.call(BROKER + "Pools", {})["parameters"]["pools"], [])


class ManyGroups(unittest.TestCase):
    """More than are looked at before others have their turn: 20 pools of 150 groups."""

    def test_they_are_all_counted(self):
        devices = {f"f001:{n // 32:02x}:{n % 32:02x}.0": (n, "-") for n in range(150)}
        host = Host(devices)
        self.addCleanup(host.close)
        names = [f"pool{n}" for n in range(20)]
        match = "".join(f"[pool {name}]\nmatch = pci:address=f001:*\n" for name in names)
        daemon = Daemon(host, ADMIN + match)
        self.addCleanup(daemon.close)
        with daemon.connect(as_admin=True) as client:
            answer = client.call(BROKER + "Pools", {})["parameters"]["pools"]
            self.assertEqual(answer, [pool(name, 150, 150, 150) for name in names])
        # And who leaves in the middle of it leaves nothing behind.
        with daemon.connect(as_admin=True) as client:
            client.send({"method": BROKER + "Pools", "parameters": {}})
        daemon.wait_idle()
