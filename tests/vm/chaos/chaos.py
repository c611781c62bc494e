#!/usr/bin/python3
"""Rounds of chaos against a daemon on a real kernel, and what must hold after each.

    chaos.py SEED SECONDS DIRECTORY VFIOD KEEPER KEEP_RUNNING SOCKET EDU NIC_1 NIC_2 NIC_A NIC_B

A round: clients of several users (client.py) and what befalls hosts (trouble.py), for some seconds; then all
stand still, and what they have is compared with the kernel (checks.Standing); then all is let go, and the
kernel has to be as it was (checks.Over). Each round's choices follow from the seed and the round's number;
when they fall does not, as processes run beside each other. Runs as root. Ends with 0, or prints what was
broken, with the seed, and what happened before.
"""

import contextlib
import json
import os
import random
import select
import signal
import socket
import sys
import time
import traceback

import checks
import client
import kernel
from daemon import Daemon
from trouble import Trouble
from wire import ANSWER_SECONDS, Refused, Violation

USERS = [("alice-1", 1000), ("alice-2", 1000), ("bob-1", 1001), ("bob-2", 1001), ("mallory", 1002), ("root", 0)]
STRANGER = 1002


class Member:
    """A client's process as chaos sees it; pid is None while there is none."""

    def __init__(self, chaos, name, uid):
        self.chaos, self.name, self.uid = chaos, name, uid
        self.pid = self.control = self.limit = None
        self.tally = {}

    def start(self):
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            # What others are told is not for this one, nor would their ends be seen.
            for other in self.chaos.clients:
                if other.control:
                    other.control.close()
            self.chaos.daemon.forget()
            ours.close()
            client.start(self.name, (self.uid,), self.chaos.world, theirs, self.chaos.directory)
        theirs.close()
        ours.settimeout(3 * ANSWER_SECONDS)
        self.pid, self.control, self.limit = pid, ours, kernel.lock_limit_of(pid)
        self.stream = ours.makefile("rw")

    def tell(self, *words):
        if self.pid:
            with contextlib.suppress(BrokenPipeError):
                self.stream.write(json.dumps(words) + "\n")
                self.stream.flush()

    def hear(self):
        """What it answers; None if it was killed."""
        if not self.pid:
            return None
        try:
            line = self.stream.readline()
        except TimeoutError as error:
            stack = kernel.read(f"/proc/{self.pid}/stack")
            raise Violation(f"{self.name} hangs: {kernel.read(f'/proc/{self.pid}/wchan')}\n{stack}") from error
        if not line:
            raise Violation(f"{self.name} has ended by itself")
        answer = json.loads(line)
        if answer and "violation" in answer:
            raise Violation(answer["violation"])
        if answer and "tally" in answer:
            self.tally = answer["tally"]
        return answer

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self.chaos.add_tally(self.tally)
        self.stream.close()
        self.control.close()
        self.pid = self.control = None
        self.tally = {}


class Chaos:
    def __init__(self, seed, seconds, directory, vfiod, keeper, keep_running, path, devices):
        self.seed, self.seconds, self.directory = seed, seconds, directory
        self.devices, self.pinned = kernel.devices_now(), kernel.pinned()
        edu, nic_1, nic_2, nic_a, nic_b = devices
        self.world = {"socket": path, "devices": devices, "edu": edu, "stranger": STRANGER,
                      "has_cdev": os.path.exists("/dev/iommu")}
        self.removable = [edu, nic_1, nic_2]
        self.events = []
        self.tally = {}
        config = f"{directory}/vfiod.conf"
        with open(config, "w") as file:
            file.write(CONFIGURATION.format(edu=edu, nic_1=nic_1, nic_2=nic_2, nic_a=nic_a, nic_b=nic_b))
        open(f"{directory}/tokens", "w").close()
        os.chmod(f"{directory}/tokens", 0o666)
        os.chmod(directory, 0o777)
        # With something to keep its descriptors, or without.
        self.has_store = random.Random(seed).random() < 0.6
        self.daemon = Daemon([vfiod, "--config", config, "--state-dir", os.path.dirname(path), "--keeper", keeper],
                             path, f"{directory}/daemon.log", keep_running if self.has_store else None)
        self.clients = [Member(self, name, uid) for name, uid in USERS]
        self.trouble = Trouble(self)
        self.is_sly = self.has_lost_spaces = False
        self.rounds = 0

    def note(self, text):
        self.events.append(f"{time.monotonic():.3f} {text}")

    def add_tally(self, tally):
        for what, n in tally.items():
            self.tally[what] = self.tally.get(what, 0) + n

    def give_back(self, number):
        try:
            self.daemon.ask("Admin.Return", {"group": number})
        except Refused as refused:
            self.note(f"  {refused}")

    def fds_of(self, measured):
        """Of a daemon, what doormen at rest cost: a socket each."""
        return measured["children"].count("vfiod-doorman")

    def round(self):
        rng = random.Random(f"{self.seed}/{self.rounds}")
        self.events = [f"round {self.rounds}"]
        self.is_sly = rng.random() < 0.3
        calm = rng.random() < 0.3  # no daemon is killed: so that its memory is measured, and spaces live long
        kills, stops = self.daemon.kills, self.daemon.stops
        open(f"{self.directory}/tokens", "w").close()
        for member in self.clients:
            if not member.pid:
                member.start()
            member.tell("run", f"{self.seed}/{self.rounds}/{member.name}", self.is_sly)
        self.storm(f"{self.seed}/{self.rounds}/trouble", rng.uniform(2, 6), calm)
        # A stop ends all spaces; a kill, where nothing keeps the sockets of their keepers. A device that is open
        # then is of a space that no daemon knows: its pages are billed to nobody.
        self.has_lost_spaces = self.daemon.stops > stops or (self.daemon.kills > kills and not self.has_store)
        self.stand_still()
        self.let_go(rng)
        self.rounds += 1
        self.progress(f"round {self.rounds}, {self.daemon.kills} kills and {self.daemon.stops} stops of the daemon")

    def storm(self, seed, seconds, calm):
        end, step = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            # Each by itself, as in client.py: what was chosen before depends on what there was.
            self.trouble.rng = random.Random(f"{seed}/{step}")
            step += 1
            time.sleep(self.trouble.rng.uniform(0.05, 0.6))
            self.daemon.look()
            for member in self.clients:
                # It says something by itself only when something is wrong.
                if member.pid and select.select([member.control], [], [], 0)[0]:
                    member.hear()
            if calm:
                self.trouble.befall_calmly()
            else:
                self.trouble.befall()

    def stand_still(self):
        self.note("stand still")
        self.trouble.relent()
        for member in self.clients:
            member.tell("hold")
        for member in self.clients:
            # `run` answers, and then `hold`.
            member.hear()
        told = [answer for member in self.clients if (answer := member.hear())]
        self.complain(checks.insist(checks.Standing(self, told).all()))

    def let_go(self, rng):
        self.note("let go")
        for member in self.clients:
            how = rng.choice(["release", "close", "close", "kill"])
            if how == "kill" and member.pid:
                self.note(f"kill client {member.name}")
                member.kill()
            else:
                member.tell("let_go", "close" if how == "kill" else how)
        for member in self.clients:
            answer = member.hear()
            if answer and answer["must_end"]:
                member.kill()
        self.trouble.wait_for_removers()
        self.note("over")
        self.complain(checks.insist(checks.Over(self).all()))
        self.daemon.settled.append(self.daemon.measure())

    def progress(self, text):
        """For whoever waits ten minutes."""
        if self.seconds > 100:
            with open("/dev/ttyS1", "w") as stream:
                stream.write(f"# {text}\n")

    def complain(self, problems):
        if problems:
            raise Violation("\n".join(problems))

    def run(self):
        end = time.monotonic() + self.seconds
        self.daemon.start()
        self.complain(checks.insist(checks.Over(self).all()))
        while time.monotonic() < end:
            self.round()
        for member in self.clients:
            if member.pid:
                member.kill()
        self.daemon.stop(starts=False)

    def report(self):
        kills = sum(n for what, n in self.trouble.tally.items() if what.startswith("kill"))
        print(f"seed {self.seed}: {self.rounds} rounds, {kills} kills, {sum(self.tally.values())} operations; "
              f"the daemon {'with' if self.has_store else 'without'} a store")
        for what, n in sorted(self.trouble.tally.items()):
            print(f"  {n:6} {what}")
        by_operation = {}
        for what, n in sorted(self.tally.items(), key=lambda item: -item[1]):
            operation, outcome = what.split(": ")
            by_operation.setdefault(operation, []).append(f"{n} {outcome}")
        # Of clients that were killed, as far as they had said it.
        for operation, outcomes in sorted(by_operation.items()):
            print(f"  {operation:18} {', '.join(outcomes)}")

    def explain(self, problem):
        print(f"BROKEN in round {self.rounds} of seed {self.seed}, with CHAOS_SEED={self.seed} it can be tried again:")
        print(problem)
        print(f"--- what befell, {'with' if self.has_store else 'without'} a store")
        print("\n".join(self.events[-60:]))
        for member in self.clients:
            print(f"--- {member.name} {member.pid}")
            print("\n".join(open(f"{self.directory}/{member.name}.log").read().splitlines()[-25:]))


CONFIGURATION = """
[daemon]
take-timeout = 5
resume-timeout = 2
keeper-timeout = 10
[rule edu]
match = pci:address={edu}
allow = user:alice
allow = user:bob
require-reset = no
[rule trusted]
match = pci:address={nic_1}
allow = user:alice
allow = user:bob
trusted = yes
require-reset = no
kernel-bill-limit = 16M
[rule stays]
match = pci:address={nic_2}
allow = user:alice
return = no
[rule three]
match = pci:address={nic_a}
match = pci:address={nic_b}
allow = user:alice
allow = user:bob
require-reset = no
[account uid:1001]
owed-limit = 3M
"""


def main():
    seed, seconds, directory, vfiod, keeper, keep_running, path, *devices = sys.argv[1:]
    chaos = Chaos(seed, float(seconds), directory, vfiod, keeper, keep_running, path, devices)
    try:
        chaos.run()
    except Violation as violation:
        chaos.explain(violation)
        return 1
    except Exception:
        chaos.explain(traceback.format_exc())
        return 1
    chaos.report()
    return 0


if __name__ == "__main__":
    sys.exit(main())
