"""The daemon under test: started, killed, stopped, started again."""

import contextlib
import os
import signal
import subprocess
import time

import kernel
from wire import Closed, Violation, Wire

STOP_SECONDS = 60
# After that many ends of connections, and that long, what is free goes back to the kernel (daemon/base/trim.c).
TRIM_CONNECTIONS, TRIM_SECONDS = 256, 0.5


class Daemon:
    """By itself, or under programs/keep-running, which has a store of descriptors for it, as systemd."""

    def __init__(self, command, socket_path, log, keep_running=None):
        self.socket, self.log = socket_path, log
        self.command, self.pid_file = command + ["--socket", socket_path], None
        if keep_running:
            self.pid_file = log + ".pid"
            self.command = [keep_running, self.pid_file, socket_path, *command, "--fd-store", "2048"]
        self.process = None
        self.admin = None
        self.kills = self.stops = 0
        self.settled = []  # what this process was like, each time that all was let go

    @property
    def pid(self):
        return int(kernel.read(self.pid_file)) if self.pid_file else self.process.pid

    def start(self):
        if self.pid_file:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.pid_file)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        if self.pid_file:
            self.wait_until(lambda: kernel.read(self.pid_file))
        self.settled = []

    def wait_until(self, holds):
        end = time.monotonic() + STOP_SECONDS
        while not holds():
            self.look()
            if time.monotonic() > end:
                raise Violation(f"the daemon does not start in {STOP_SECONDS} s")
            time.sleep(0.01)

    def ask(self, method, parameters=None):
        """As root, by a connection of its own, which is there again when the daemon is."""
        end = time.monotonic() + STOP_SECONDS
        while True:
            try:
                if self.admin is None:
                    self.admin = Wire(self.socket)
                return self.admin.call(method, parameters)[0]
            except Closed as closed:
                self.forget()
                self.look()
                if time.monotonic() > end:
                    raise Violation(f"the daemon does not answer for {STOP_SECONDS} s") from closed
                time.sleep(0.05)

    def wait_for_answer(self):
        """Before that a signal which it would obey ends it."""
        self.ask("Admin.Status")

    def forget(self):
        if self.admin:
            self.admin.close()
        self.admin = None

    def groups(self):
        """As listed: {number: group}."""
        while True:
            found, goes_on = {}, True
            try:
                wire = Wire(self.socket)
                wire.send("org.vfiod.Broker.List", {"all": True}, more=True)
                while goes_on:
                    reply, _ = wire.receive("List")
                    if "error" in reply:
                        raise Closed  # Interrupted: from the beginning
                    goes_on = reply.get("continues", False)
                    found[reply["parameters"]["group"]["number"]] = reply["parameters"]["group"]
                wire.close()
                return found
            except Closed:
                self.look()
                time.sleep(0.05)

    def look(self):
        """It does not end by itself."""
        if self.process.poll() is not None:
            raise Violation(f"the daemon has ended by itself, status {self.process.returncode}")

    def kill(self):
        self.forget()
        self.kills += 1
        if not self.pid_file:
            self.process.kill()
            self.process.wait()
            self.start()
            return
        pid = self.pid
        os.kill(pid, signal.SIGKILL)
        self.wait_until(lambda: self.pid != pid)
        self.settled = []

    def stop(self, starts=True):
        """As systemd does; it has to end well, whatever goes on."""
        self.wait_for_answer()
        self.forget()
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise Violation(f"the daemon has not ended {STOP_SECONDS} s after SIGTERM") from error
        if status != 0:
            raise Violation(f"the daemon ended with status {status} after SIGTERM")
        self.stops += 1
        if starts:
            self.start()

    def measure(self):
        children = kernel.children_of(self.pid)
        return {
            "descriptors": sum(not self.is_spare(path) for path in kernel.descriptors_of(self.pid).values()),
            "threads": kernel.threads_of(self.pid),
            "children": sorted(kernel.command_of(child) or "" for child in children),
            # Its own: pages of programs and libraries come as they are first used.
            "memory": kernel.status_of(self.pid, "RssAnon"), "rss": kernel.status_of(self.pid, "VmRSS"),
        }

    def memory_at_rest(self):
        """Without what is only kept for what may come: that depends on how much went on at a time, once."""
        for _ in range(TRIM_CONNECTIONS):
            Wire(self.socket).close()
        time.sleep(2 * TRIM_SECONDS)
        return self.measure()["memory"]

    def is_spare(self, path):
        """The file of a lease's record, open for the next one: for some seconds, or until that ends."""
        return path.startswith(f"{os.path.dirname(self.socket)}/leases/")

    def records(self):
        """What is written down of groups, leases and spaces."""
        state = os.path.dirname(self.socket)
        return sorted(f"{kind}/{name}" for kind in ("journal", "leases", "reservations", "spaces")
                      if os.path.isdir(f"{state}/{kind}") for name in os.listdir(f"{state}/{kind}"))
