"""What befalls a host: processes that are killed, devices that go and come, drivers that refuse."""

import contextlib
import os
import signal
import time

import kernel
from wire import Violation

# By hand, device by device: a whole bridge with what is behind it is a kernel's own trouble (renew_group in lib.sh).
REMOVE_SECONDS = 120


class Trouble:
    def __init__(self, chaos):
        self.chaos, self.rng = chaos, None
        self.covered, self.stopped, self.removers = [], [], []
        self.tally = {}

    def count(self, what, whom=""):
        self.tally[what] = self.tally.get(what, 0) + 1
        self.chaos.note(f"{what} {whom}")

    def befall(self):
        kinds = [
            (3, self.kill_client), (4, self.kill_keeper), (5, self.kill_child), (3, self.kill_daemon),
            (1, self.stop_daemon), (1, self.freeze_daemon), (1, self.freeze_keeper), (1, self.reload),
            (2, self.remove), (2, self.rescan), (2, self.refuse), (2, self.relent),
        ]
        self.rng.choices(kinds, [weight for weight, _ in kinds])[0][1]()

    def befall_calmly(self):
        """The daemon lives on, and so do keepers."""
        self.rng.choice([self.kill_client, self.reload, self.rescan, self.kill_child])()

    def kill_client(self):
        client = self.rng.choice(self.chaos.clients)
        if client.pid:
            client.kill()
            self.count("kill client", client.name)

    def one_of(self, pids):
        return self.rng.choice(sorted(pids)) if pids else None

    def send(self, pid, number, what):
        command = kernel.command_of(pid) if pid else None
        if command:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
                self.count(f"{what} {command}", pid)

    def keepers(self):
        return [pid for pid in kernel.processes() if kernel.command_of(pid) == "vfiod-keeper"]

    def kill_keeper(self):
        self.send(self.one_of(self.keepers()), signal.SIGKILL, "kill")

    def kill_child(self):
        self.send(self.one_of(kernel.children_of(self.chaos.daemon.pid)), signal.SIGKILL, "kill")

    def kill_daemon(self):
        self.count("kill daemon")
        self.chaos.daemon.kill()

    def stop_daemon(self):
        self.count("stop daemon")
        self.chaos.daemon.stop()

    def freeze_daemon(self):
        os.kill(self.chaos.daemon.pid, signal.SIGSTOP)
        time.sleep(self.rng.random())
        os.kill(self.chaos.daemon.pid, signal.SIGCONT)
        self.count("freeze daemon")

    def freeze_keeper(self):
        pid = self.one_of(self.keepers())
        self.send(pid, signal.SIGSTOP, "stop")
        self.stopped.append(pid)

    def thaw(self):
        for pid in self.stopped:
            if pid and kernel.command_of(pid) == "vfiod-keeper":
                self.send(pid, signal.SIGCONT, "continue")
        self.stopped = []

    def reload(self):
        self.chaos.daemon.wait_for_answer()
        os.kill(self.chaos.daemon.pid, signal.SIGHUP)
        self.count("reload")

    def remove(self):
        """It waits for who has the device open; so a process of its own does."""
        device = self.rng.choice(self.chaos.removable)
        self.count("remove", device)
        self.in_background(f"{kernel.PCI}/{device}/remove")

    def rescan(self):
        self.count("rescan")
        self.in_background("/sys/bus/pci/rescan")

    def in_background(self, path):
        pid = os.fork()
        if pid == 0:
            kernel.write(path, "1")
            os._exit(0)
        self.removers.append(pid)

    def refuse(self):
        device = self.rng.choice(self.chaos.world["devices"])
        path = self.rng.choice([
            f"{kernel.PCI}/{device}/driver_override", f"{kernel.PCI}/{device}/driver_override",
            "/sys/bus/pci/drivers/vfio-pci/bind", "/sys/bus/pci/drivers/e1000e/bind", "/sys/bus/pci/drivers/e1000/unbind",
        ])
        if path not in self.covered and kernel.bind_over(path):
            self.covered.append(path)
            self.count(f"refuse {os.path.basename(path)}", path)

    def relent(self):
        while self.covered:
            kernel.unbind_over(self.covered.pop())
        self.thaw()

    def wait_for_removers(self):
        """When nobody has a device open any more, each has to end."""
        end = time.monotonic() + REMOVE_SECONDS
        while self.removers:
            pid, _ = os.waitpid(self.removers[0], os.WNOHANG)
            if pid:
                self.removers.pop(0)
            elif time.monotonic() > end:
                stack = kernel.read(f"/proc/{self.removers[0]}/stack")
                raise Violation(f"a remove or rescan has not ended in {REMOVE_SECONDS} s:\n{stack}")
            else:
                time.sleep(0.02)
