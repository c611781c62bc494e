"""The rules of Varlink on the wire, against the daemon itself."""

import socket
import unittest

from vfiod_host import DEVICES, N_GROUPS, RULE, SOURCE, Daemon, Host

SERVICE = "org.varlink.service."
BROKER = "org.vfiod.Broker."
ADMIN = "org.vfiod.Admin."
LEDGER = "org.vfiod.Ledger."
INFO = {"method": SERVICE + "GetInfo"}
INT64_MAX, INT64_MIN = 2**63 - 1, -(2**63)


def setUpModule():
    global host, daemon
    host = Host()
    daemon = Daemon(host, RULE)


def tearDownModule():
    daemon.wait_idle()
    daemon.close()
    host.close()


class Wire(unittest.TestCase):
    def setUp(self):
        self.client = daemon.connect()
        self.addCleanup(self.client.socket.close)

    def assert_error(self, reply, error, **parameters):
        self.assertEqual(reply, {"error": error, "parameters": parameters})

    def assert_invalid(self, reply, parameter):
        self.assert_error(reply, SERVICE + "InvalidParameter", parameter=parameter)

    def assert_info(self, reply):
        self.assertEqual(set(reply), {"parameters"})
        self.assertEqual(reply["parameters"]["product"], "vfiod")


class Framing(Wire):
    def test_what_closes_the_connection(self):
        info = b'{"method":"org.varlink.service.GetInfo"'
        messages = {
            "empty": b"",
            "blank": b" ",
            "array": b"[]",
            "array of calls": b"[" + info + b"}]",
            "string": b'"org.varlink.service.GetInfo"',
            "null": b"null",
            "no JSON": b"hello",
            "cut off": info,
            "two objects": info + b"}{}",
            "trailing comma": info + b",}",
            "single quotes": b"{'method':'org.varlink.service.GetInfo'}",
            "comment": b"/* */" + info + b"}",
            "NaN": info + b',"parameters":{"a":NaN}}',
            "not UTF-8": b'{"method":"org.varlink.service.GetInfo\xff"}',
            "overlong UTF-8": b'{"method":"\xc0\xaf"}',
            "surrogate": b'{"method":"\xed\xa0\x80"}',
            "control character": b'{"method":"a.\n"}',
            "too deep": info + b',"parameters":' + b'{"a":' * 40 + b"1" + b"}" * 40 + b"}",
            "no method": b'{"parameters":{}}',
            "method null": b'{"method":null}',
            "method empty": b'{"method":""}',
            "method a number": b'{"method":1}',
            "method with a NUL": b'{"method":"org.varlink.service.GetInfo\\u0000"}',
            "parameters an array": info + b',"parameters":[]}',
            "parameters a string": info + b',"parameters":""}',
            "unknown key": info + b',"id":1}',
            "more not boolean": info + b',"more":1}',
            "oneway null": info + b',"oneway":null}',
            "more and oneway": info + b',"more":true,"oneway":true}',
            "more and upgrade": info + b',"more":true,"upgrade":true}',
            "oneway and upgrade": info + b',"oneway":true,"upgrade":true}',
        }
        for name, message in messages.items():
            with self.subTest(name), daemon.connect() as client:
                # The call before it is answered; nothing after it is.
                client.send(INFO, message + b"\0", INFO)
                self.assert_info(client.receive())
                self.assertIsNone(client.receive())
            self.assert_info(self.client.call(**INFO))

    def test_flags_that_are_false_are_none(self):
        self.assert_info(self.client.call(**INFO, more=False, oneway=False, upgrade=False))
        self.assert_info(self.client.call(**INFO, more=True, oneway=False, upgrade=False))

    def test_byte_at_a_time(self):
        for byte in b'{"method":"org.varlink.service.GetInfo"}\0':
            self.assertFalse(self.client.has_input())
            self.client.send(bytes([byte]))
        self.assert_info(self.client.receive())

    def test_torn_between_messages(self):
        message = b'{"method":"org.varlink.service.GetInfo"}\0'
        self.client.send(message + message[:5])
        self.assert_info(self.client.receive())
        self.client.send(message[5:] + message)
        self.assert_info(self.client.receive())
        self.assert_info(self.client.receive())

    def test_pipelined_answers_are_in_order(self):
        calls = [{"method": BROKER + "Describe", "parameters": {"group": i % 50}}
                 for i in range(1000)]
        self.client.send(*calls)
        for call in calls:
            number = call["parameters"]["group"]
            reply = self.client.receive()
            if "error" in reply:
                self.assertNotIn(number, (7, 8, 9, 10))
                self.assert_error(reply, BROKER + "NoSuchGroup", group=number)
            else:
                self.assertEqual(reply["parameters"]["group"]["number"], number)

    def test_oneway_is_never_answered(self):
        self.client.send(
            {**INFO, "oneway": True},
            {"method": "org.vfiod.None.Thing", "oneway": True},
            {"method": BROKER + "Thing", "oneway": True},
            {"method": BROKER + "Describe", "parameters": {"group": 4711}, "oneway": True},
            {"method": BROKER + "Describe", "parameters": {"wrong": 1}, "oneway": True},
            {"method": BROKER + "Release", "parameters": {"token": "x"}, "oneway": True},
            {"method": BROKER + "List", "oneway": True},
            {"method": BROKER + "Monitor", "oneway": True},
            {"method": BROKER + "Leases"})
        self.assertEqual(self.client.receive(), {"parameters": {"leases": []}})
        self.client.socket.shutdown(socket.SHUT_WR)
        self.assertIsNone(self.client.receive())

    def test_half_closed_client_gets_its_answers(self):
        self.client.send(INFO, {"method": BROKER + "List", "parameters": {"all": True}, "more": True},
                         {"method": BROKER + "Leases"}, b'{"method":"org.varlink')
        self.client.socket.shutdown(socket.SHUT_WR)
        self.assert_info(self.client.receive())
        for _ in range(N_GROUPS):
            self.assertIn("group", self.client.receive()["parameters"])
        self.assertEqual(self.client.receive(), {"parameters": {"leases": []}})
        self.assertIsNone(self.client.receive())

    def test_a_half_closed_stream_ends(self):
        self.client.send({"method": BROKER + "Monitor", "more": True})
        self.assertEqual(self.client.receive()["parameters"]["event"], "ready")
        self.client.socket.shutdown(socket.SHUT_WR)
        self.assertIsNone(self.client.receive())


class Dispatch(Wire):
    def test_interfaces(self):
        files = {path.stem: path.read_text() for path in SOURCE.glob("proto/*.varlink")}
        info = self.client.call(**INFO)["parameters"]
        self.assertEqual(set(info), {"vendor", "product", "version", "url", "interfaces"})
        self.assertEqual(sorted(info["interfaces"]), sorted(files))
        for name, text in files.items():
            reply = self.client.call(SERVICE + "GetInterfaceDescription", {"interface": name})
            self.assertEqual(reply, {"parameters": {"description": text}})
        self.assert_error(
            self.client.call(SERVICE + "GetInterfaceDescription", {"interface": "org.none"}),
            SERVICE + "InterfaceNotFound", interface="org.none")

    def test_interface_not_found(self):
        for method, interface in (
            ("org.none.Thing", "org.none"),
            ("org.vfiod.Thing", "org.vfiod"),
            ("org.vfiod.broker.List", "org.vfiod.broker"),
            ("Thing", "Thing"),
            ("x" * 1000 + ".Thing", "x" * 1000 + ".Thing"),
        ):
            self.assert_error(
                self.client.call(method), SERVICE + "InterfaceNotFound", interface=interface)

    def test_method_not_found(self):
        for method in (BROKER + "Thing", BROKER + "list", SERVICE + "getinfo", ADMIN + "List"):
            self.assert_error(self.client.call(method), SERVICE + "MethodNotFound", method=method)

    def test_upgrade_is_not_implemented(self):
        self.assert_error(self.client.call(**INFO, upgrade=True),
                          SERVICE + "MethodNotImplemented", method=INFO["method"])

    def test_expected_more(self):
        for method in ("List", "Monitor"):
            self.assert_error(self.client.call(BROKER + method), SERVICE + "ExpectedMore")
            self.assert_error(self.client.call(BROKER + method, more=False), SERVICE + "ExpectedMore")

    def test_more_where_one_reply_is_all(self):
        reply = self.client.call(BROKER + "Leases", more=True)
        self.assertEqual(reply, {"parameters": {"leases": []}})

    def test_administrators_only(self):
        for method, parameters in (
            ("Take", {"group": 7}),
            ("Return", {"group": 7}),
            ("Revoke", {"lease": "x", "end": True}),
            ("Reload", {}),
        ):
            self.assert_error(self.client.call(ADMIN + method, parameters),
                              SERVICE + "PermissionDenied")
        self.assertEqual(self.client.call(ADMIN + "Status")["parameters"]["groups"], N_GROUPS)


class Parameters(Wire):
    def test_absent_null_and_empty_are_the_same(self):
        for method, flags in ((BROKER + "Leases", {}), (SERVICE + "GetInfo", {}),
                              (BROKER + "Describe", {})):
            absent = self.client.call(method, **flags)
            self.client.send({"method": method, "parameters": None, **flags})
            self.assertEqual(self.client.receive(), absent)
            self.assertEqual(self.client.call(method, {}, **flags), absent)

    def test_null_is_absent_within_parameters(self):
        reply = self.client.call(BROKER + "Describe", {"group": 8, "device": None})
        self.assertEqual(reply["parameters"]["group"]["number"], 8)

    def test_unknown_parameters_are_named(self):
        for method, parameters, name in (
            ("Describe", {"grop": 7}, "grop"),
            ("Describe", {"group": 7, "": 1}, ""),
            ("Leases", {"all": True}, "all"),
            ("Acquire", {"selectors": [{"group": 7, "color": 1}]}, "selectors[0].color"),
            ("Acquire", {"selectors": [{"group": 7}], "waitSecond": 1}, "waitSecond"),
        ):
            self.assert_invalid(self.client.call(BROKER + method, parameters), name)

    def test_wrong_types_are_named(self):
        for method, parameters, name in (
            ("Describe", {"group": "7"}, "group"),
            ("Describe", {"group": 7.0}, "group"),
            ("Describe", {"group": True}, "group"),
            ("Describe", {"device": 7}, "device"),
            ("Describe", {"device": "f000:03:00.0\0"}, "device"),
            ("Acquire", {"selectors": {"group": 7}}, "selectors"),
            ("Acquire", {"selectors": [None]}, "selectors[0]"),
            ("Acquire", {"selectors": [{"group": 7}, 7]}, "selectors[1]"),
            ("Acquire", {"selectors": [{"group": 7}], "mode": "cdeV"}, "mode"),
            ("Release", {"token": None}, "token"),
        ):
            self.assert_invalid(self.client.call(BROKER + method, parameters), name)

    def test_what_is_missing_is_named(self):
        self.assert_invalid(self.client.call(BROKER + "Acquire"), "selectors")
        self.assert_invalid(self.client.call(BROKER + "Acquire", {"selectors": []}), "selectors")
        self.assert_invalid(self.client.call(BROKER + "Release"), "token")
        self.assert_invalid(
            self.client.call(SERVICE + "GetInterfaceDescription"), "interface")

    def test_exactly_one_of_group_and_device(self):
        for parameters in ({}, {"group": 8, "device": "f000:03:00.0"}):
            reply = self.client.call(BROKER + "Describe", parameters)
            self.assertEqual(reply["error"], SERVICE + "InvalidParameter")
            self.assertIn(reply["parameters"]["parameter"], ("group", "device"))

    def test_integers_at_the_edge(self):
        for value in (INT64_MAX, INT64_MIN, INT64_MAX + 1, INT64_MIN - 1, 2**64, 10**30):
            with self.subTest(value):
                self.assert_invalid(
                    self.client.call(BROKER + "Describe", {"group": value}), "group")
                self.assert_invalid(
                    self.client.call(BROKER + "Acquire",
                                     {"selectors": [{"group": 7}], "waitSeconds": value}),
                    "waitSeconds")
                self.assert_invalid(
                    self.client.call(BROKER + "Acquire", {"selectors": [{"group": value}]}),
                    "selectors[0].group")

    def test_integers_beyond_int_are_no_group(self):
        # Cut to 32 bits these would be groups that there are.
        for value in (7 + 2**32, 7 - 2**32, -1, INT64_MAX - 1, INT64_MIN + 1):
            self.assert_invalid(self.client.call(BROKER + "Describe", {"group": value}), "group")
        for value in (0, 6, 2**31 - 1):
            self.assert_error(self.client.call(BROKER + "Describe", {"group": value}),
                              BROKER + "NoSuchGroup", group=value)


    def test_memory_to_reserve(self):
        acquire = {"selectors": [{"group": 10}]}
        reserve = {"token": "0" * 32}
        for value in ("512M", 4096.0, True, {}, INT64_MAX, INT64_MIN, -1):
            with self.subTest(value):
                self.assert_invalid(
                    self.client.call(BROKER + "Acquire", {**acquire, "memoryBytes": value}),
                    "memoryBytes")
                self.assert_invalid(
                    self.client.call(LEDGER + "Reserve", {**reserve, "memoryBytes": value}),
                    "memoryBytes")
        # Its space is charged for what it maps; none is none.
        brokered = {**acquire, "mode": "brokered"}
        self.assert_invalid(
            self.client.call(BROKER + "Acquire", {**brokered, "memoryBytes": 1}), "memoryBytes")
        for parameters in ({**brokered, "memoryBytes": 0}, {**acquire, "memoryBytes": None},
                           {**acquire, "memoryBytes": INT64_MAX - 1}):
            self.assertEqual(self.client.call(BROKER + "Acquire", parameters)["error"],
                             BROKER + "AccessDenied")
        self.assert_invalid(self.client.call(LEDGER + "Reserve", reserve), "memoryBytes")
        self.assert_invalid(self.client.call(LEDGER + "Reserve", {"memoryBytes": 1}), "token")
        for token in ("0" * 32, "", "x" * 1000):
            for value in (0, 1, INT64_MAX - 1):
                self.assert_error(
                    self.client.call(LEDGER + "Reserve", {"token": token, "memoryBytes": value}),
                    BROKER + "NoSuchLease")

    def test_what_is_reported(self):
        report = {"container": 3, "iova": "0x0", "address": "0x7f0000000000", "length": 4096}
        unmap = {key: value for key, value in report.items() if key != "address"}
        for method, parameters in (("ReportMap", report), ("ReportUnmap", unmap)):
            for key, values in (
                ("container", ("3", 3.0, -1, INT64_MIN, INT64_MAX, 2**64)),
                ("iova", ("", "0x", "0", "0X0", " 0x0", "0x-1", "0x10000000000000000", 0, "0x0\0")),
                ("address", ("", "0xg", "0x" + "f" * 17, 7)),
                ("length", ("1", 1.5, -4096, INT64_MAX, 2**63)),
                ("token", (7, {}, "\0")),
            ):
                for value in values if key in parameters or key == "token" else ():
                    with self.subTest(method, key=key, value=value):
                        self.assert_invalid(
                            self.client.call(LEDGER + method, {**parameters, key: value}), key)
            for key in parameters:
                self.assert_invalid(self.client.call(
                    LEDGER + method, {**parameters, key: None}), key)
            # Whoever asks for no answer gets none, not even this.
            for token in (None, "", "0" * 32, "x" * 1000):
                call = {"method": LEDGER + method, "parameters": {**parameters, "token": token}}
                self.client.send({**call, "oneway": True})
                self.client.send(call)
                self.assert_error(self.client.receive(), BROKER + "NoSuchLease")


class Answers(Wire):
    def test_list_is_the_host(self):
        listed = {}
        self.client.send({"method": BROKER + "List", "parameters": {"all": True}, "more": True})
        for i in range(N_GROUPS):
            reply = self.client.receive()
            self.assertEqual(reply.get("continues", False), i < N_GROUPS - 1)
            self.assertEqual(reply["parameters"]["total"], N_GROUPS)
            group = reply["parameters"]["group"]
            for device in group["devices"]:
                listed[device["name"]] = (group["number"], device["driver"] or "-")
        self.assertEqual(listed, DEVICES)

    def test_list_leaves_out_what_no_rule_covers(self):
        self.client.send({"method": BROKER + "List", "more": True})
        numbers = [self.client.receive()["parameters"]["group"]["number"] for _ in range(3)]
        self.assertEqual(numbers, [7, 8, 9])

    def test_describe_by_either_name(self):
        by_group = self.client.call(BROKER + "Describe", {"group": 7})
        by_device = self.client.call(BROKER + "Describe", {"device": "f000:02:02.0"})
        self.assertEqual(by_group, by_device)
        group = by_group["parameters"]["group"]
        self.assertEqual([d["isBound"] for d in group["devices"]], [False, True, True])
        self.assertEqual(group["reservedRegions"],
                         [{"first": "0xfee00000", "last": "0xfeefffff", "type": "msi"}])

    def test_refusals_carry_data(self):
        reply = self.client.call(BROKER + "Describe", {"device": "f000:99:00.0"})
        self.assertEqual(reply["error"], BROKER + "NoSuchDevice")
        self.assertEqual(reply["parameters"]["device"], "f000:99:00.0")
        self.assert_error(self.client.call(BROKER + "Release", {"token": "x"}),
                          BROKER + "NoSuchLease")
        reply = self.client.call(BROKER + "Acquire", {"selectors": [{"group": 10}]})
        self.assertEqual(reply["error"], BROKER + "AccessDenied")
        self.assertEqual(reply["parameters"]["device"], "f000:05:00.0")
        self.assert_error(
            self.client.call(BROKER + "Acquire", {"selectors": [{"group": 10}] * 65}),
            BROKER + "TooMany", limit="max-selectors", max=64)

    def test_monitor_sees_a_driver_change(self):
        self.client.send({"method": BROKER + "Monitor", "more": True})
        self.assertEqual(self.client.receive()["parameters"]["event"], "ready")
        # One after another: what is undone before the daemon has looked is no news.
        for before, after in (("e1000e", None), (None, "e1000e")):
            host.tell("driver", "f000:05:00.0", after or "-")
            reply = self.client.receive()
            self.assertTrue(reply["continues"])
            event = reply["parameters"]
            self.assertEqual((event["event"], event["group"], event["device"]),
                             ("driverChanged", 10, "f000:05:00.0"))
            self.assertEqual((event["before"], event["after"]), (before, after))
