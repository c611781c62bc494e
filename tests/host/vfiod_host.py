"""A mocked host, the real daemon on it, and a Varlink connection that is allowed to misbehave.

The host is files (umockdev; mock-host.c): what the daemon would write there means nothing, so
nothing here may reach a bind transaction (which would load modules): clients are nobody, whom no
rule allows anything. Transactions are tested in the VM.
"""

import array
import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time

BUILD = pathlib.Path(os.environ["VFIOD_BUILD"]).resolve()
SOURCE = pathlib.Path(__file__).resolve().parents[2]
# Words before the daemon's own: valgrind and its options.
WRAPPER = os.environ.get("VFIOD_WRAPPER", "").split()
# Sanitizers and valgrind keep freed memory back.
IS_PLAIN = BUILD.name == "release" and not WRAPPER
# Everything that waits, waits so long at most: the machine may be busy, and valgrind slow.
PATIENCE = 60
NOBODY = 65534

# A group of three (the bridge stays on a driver that leaves DMA alone), one with no driver, one
# taken, and one that rules say nothing of. No host has this PCI domain.
DEVICES = {
    "f000:01:00.0": (7, "pcieport"),
    "f000:02:01.0": (7, "e1000"),
    "f000:02:02.0": (7, "e1000"),
    "f000:03:00.0": (8, "-"),
    "f000:04:00.0": (9, "vfio-pci"),
    "f000:05:00.0": (10, "e1000e"),
}
N_GROUPS = 4
RULE = """
[rule nics]
match = pci:address=f000:0[234]:*
allow = user:12345
"""
# With it in the configuration, connect(as_admin=True) is an administrator's.
ADMIN = f"[daemon]\nadmin = user:{os.getuid()}\n"

# Its user need not be on this host.
KEEPER = f"""#!/bin/sh
export LD_PRELOAD={BUILD}/tests/host/keeper-user.so
exec {BUILD}/vfiod-keeper "$@"
"""


def wait_until(what, holds):
    """Tries until it holds; its last value."""
    end = time.monotonic() + PATIENCE
    while not (value := holds()):
        if time.monotonic() > end:
            raise AssertionError(f"in vain waited {PATIENCE} s until {what}")
        time.sleep(0.01)
    return value


class Host:
    """A mocked sysfs; gone with close()."""

    def __init__(self, devices=DEVICES):
        self.process = subprocess.Popen(
            ["umockdev-wrapper", BUILD / "tests/host/mock-host"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.root = self.process.stdout.readline().strip()
        if not self.root:
            raise AssertionError("mock-host did not start")
        for address, (group, driver) in devices.items():
            self.tell("add", address, group, driver)

    def tell(self, *words):
        """One line of mock-host.c."""
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if answer != "ok\n":
            raise AssertionError(f"mock-host: {answer}")

    def close(self):
        self.process.stdin.close()
        status = self.process.wait(PATIENCE)
        self.process.stdout.close()
        if status != 0:
            raise AssertionError(f"mock-host ended with {status}")


class Connection:
    """A client. Messages are dicts, or bytes as they are (with their NUL, or without)."""

    def __init__(self, path, as_admin):
        drops = not as_admin and os.geteuid() == 0
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self.socket.settimeout(PATIENCE)
        self.received = b""
        # The kernel remembers who called connect(2).
        if drops:
            os.seteuid(NOBODY)
        try:
            self.socket.connect(str(path))
        finally:
            if drops:
                os.seteuid(0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, *messages, fds=()):
        data = b"".join(
            m if isinstance(m, bytes) else json.dumps(m).encode() + b"\0" for m in messages)
        control = []
        if fds:
            control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        sent = self.socket.sendmsg([data], control)
        if sent < len(data):
            self.socket.sendall(data[sent:])

    def receive(self):
        """The next message; None at the end of the connection."""
        while b"\0" not in self.received:
            try:
                data = self.socket.recv(1 << 20)
            except (ConnectionResetError, BrokenPipeError):
                return None
            if not data:
                if self.received:
                    raise AssertionError(f"cut off: {self.received[:200]!r}")
                return None
            self.received += data
        message, self.received = self.received.split(b"\0", 1)
        reply = json.loads(message.decode("utf-8", "strict"))
        check_reply(reply)
        return reply

    def call(self, method, parameters=None, fds=(), **flags):
        """One call, one reply."""
        message = {"method": method, **flags}
        if parameters is not None:
            message["parameters"] = parameters
        self.send(message, fds=fds)
        return self.receive()

    def has_input(self):
        if self.received:
            return True
        self.socket.setblocking(False)
        try:
            return bool(self.socket.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return False
        finally:
            self.socket.settimeout(PATIENCE)


def check_reply(reply):
    """What clients drop a service for (tests see every reply pass here)."""
    if not isinstance(reply, dict) or not set(reply) <= {"parameters", "error", "continues"}:
        raise AssertionError(f"no Varlink reply: {reply}")
    if "error" in reply and not isinstance(reply["error"], str):
        raise AssertionError(f"error is no string: {reply}")
    if "continues" in reply and ("error" in reply or reply["continues"] is not True):
        raise AssertionError(f"continues where it may not be: {reply}")
    if not isinstance(reply.get("parameters", {}), dict):
        raise AssertionError(f"parameters are no object: {reply}")


class Daemon:
    """vfiod on a Host, in a directory of its own."""

    options = ()

    def __init__(self, host, config="", **environment):
        self.host = host
        self.more_environment = environment
        self.cleanup = contextlib.ExitStack()
        self.directory = pathlib.Path(
            self.cleanup.enter_context(tempfile.TemporaryDirectory(prefix="vfiod-test-")))
        self.directory.chmod(0o755)
        self.socket = self.directory / "socket"
        self.config = self.directory / "vfiod.conf"
        self.config.write_text(config)
        self.log = self.directory / "log"
        self.keeper = self.directory / "keeper"
        self.keeper.write_text(KEEPER)
        self.keeper.chmod(0o755)
        self.start()

    def environment(self):
        environment = {
            **os.environ,
            "UMOCKDEV_DIR": self.host.root,
            # gcc's ASan wants to be the first library; umockdev's is.
            "ASAN_OPTIONS": "verify_asan_link_order=0:" + os.environ.get("ASAN_OPTIONS", ""),
        }
        environment.pop("NOTIFY_SOCKET", None)
        return {**environment, **self.more_environment}

    def start(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["umockdev-wrapper", *WRAPPER, BUILD / "vfiod", "--config", self.config,
                 "--socket", self.socket, "--state-dir", self.directory / "state",
                 "--keeper", self.keeper, *self.options],
                env=self.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until("the daemon answers", self.answers)

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError("the daemon ended:\n" + self.log.read_text())
        try:
            with self.connect() as client:
                info = client.call("org.varlink.service.GetInfo")
                # All that it has when nobody is connected.
                self.idle_fds = self.n_fds() - 1
                return info
        except (FileNotFoundError, PermissionError, ConnectionRefusedError):
            return None

    def connect(self, as_admin=False):
        """As nobody where we are root. as_admin: for configurations with ADMIN."""
        return Connection(self.socket, as_admin)

    def n_fds(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def resident_kib(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])

    def has_open(self, name):
        """A file of this name, deleted or not."""
        directory = f"/proc/{self.process.pid}/fd"
        for fd in os.listdir(directory):
            with contextlib.suppress(FileNotFoundError):
                if os.readlink(f"{directory}/{fd}").startswith(name):
                    return True
        return False

    def wait_idle(self):
        """As many descriptors as in the beginning: closed connections were noticed."""
        wait_until(f"its descriptors are {self.idle_fds} again",
                   lambda: self.n_fds() == self.idle_fds)

    def stop(self, with_signal=signal.SIGTERM, status=0):
        """It has to end well: so sanitizers and valgrind report, too."""
        self.process.send_signal(with_signal)
        if self.process.wait(PATIENCE) != status:
            raise AssertionError(
                f"the daemon ended with {self.process.returncode}:\n" + self.log.read_text())

    def close(self):
        try:
            if self.process.poll() is None:
                self.stop()
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.cleanup.close()
