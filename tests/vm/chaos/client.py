"""A client: a process of some user that does what comes into its head, legal or not, as its seed says.

It knows what it should have (a model, of its spaces above all), and raises Violation when an answer cannot be
true. chaos.py tells it over a socket pair when to run, when to stand still and say what it has, and when to let
go of it.
"""

import json
import os
import random
import resource
import select
import sys
import time
import traceback

import hostile
import leases
import questions
import spaces
from wire import Closed, Refused, Violation, Wire

MOST_WIRES = 4
OPERATIONS = questions.OPERATIONS + leases.OPERATIONS + spaces.OPERATIONS + hostile.OPERATIONS


class Client:
    def __init__(self, name, uid, world, control, directory):
        self.name, self.uid, self.world, self.control = name, uid, world, control
        self.rng = random.Random()
        self.wires, self.leases, self.spaces = [], [], []
        self.parted = []  # leases whose connection was lost: after a restart they can be resumed
        self.ended = []  # tokens of spaces that are over, and were not destroyed
        self.kept = []  # descriptors of what is over: nobody says when they have to be closed
        self.tally = {}
        self.must_end = False  # something follows this process, whose token never came
        self.is_sly = False
        self.log = open(f"{directory}/{name}.log", "a", buffering=1)
        self.board = f"{directory}/tokens"

    def note(self, text):
        self.log.write(f"{time.monotonic():.3f} {text}\n")

    def count(self, what):
        self.tally[what] = self.tally.get(what, 0) + 1

    # --- connections

    def wire(self):
        """One that no stream is on."""
        usable = [wire for wire in self.wires if not wire.is_stream]
        return self.rng.choice(usable) if usable else self.wire_new()

    def wire_new(self):
        wire = Wire(self.world["socket"])
        self.wires.append(wire)
        return wire

    def lost(self, wire):
        """It is closed, by whomever: what lives with it is over."""
        if wire not in self.wires:
            return
        self.wires.remove(wire)
        wire.close()
        for lease in [lease for lease in self.leases if lease.wire is wire]:
            leases.part(self, lease)
        for space in [space for space in self.spaces if space.wire is wire]:
            spaces.is_over(self, space)

    def call(self, method, parameters=None, fds=(), wire=None, **flags):
        wire = wire or self.wire()
        try:
            return wire.call(method, parameters, fds, **flags)
        except Closed:
            self.lost(wire)
            raise

    def keep(self, fds):
        """Some stay open after what they belong to: their group lingers."""
        for fd in fds:
            if self.rng.random() < 0.3 and len(self.kept) < 8:
                self.kept.append(fd)
            else:
                os.close(fd)

    # --- what others let slip

    def publish(self, token):
        with open(self.board, "a") as file:
            file.write(f"{self.uid} {token}\n")

    def stolen(self):
        """Somebody else's token; or none."""
        try:
            with open(self.board) as file:
                lines = [line.split() for line in file.readlines()[-40:]]
        except OSError:
            return None
        others = [line[1] for line in lines if len(line) == 2 and int(line[0]) != self.uid]
        return self.rng.choice(others) if others else None

    # --- what chaos.py says

    def run(self, seed, is_sly):
        """Until something else is said."""
        step = 0
        self.is_sly = is_sly
        weights = [weight for weight, _ in OPERATIONS]
        while not select.select([self.control], [], [], 0)[0]:
            # Each by itself: how much chance the one before took depends on what it was answered.
            self.rng.seed(f"{seed}/{step}")
            step += 1
            operation = self.rng.choices(OPERATIONS, weights)[0][1]
            pause = self.rng.random() * 0.05
            self.step(operation)
            time.sleep(pause)

    def step(self, operation, *arguments):
        self.note(operation.__name__)
        try:
            operation(self, *arguments)
            self.count(f"{operation.__name__}: done")
        except Refused as refused:
            self.note(f"  {refused}")
            self.count(f"{operation.__name__}: {refused.name}")
        except Closed:
            self.note("  closed")
            self.count(f"{operation.__name__}: closed")
            # The next daemon may need a moment.
            time.sleep(0.05)
        except OSError as error:
            # The kernel's word about a descriptor: its device has gone, its lease is over.
            self.note(f"  {error!r}")
            self.count(f"{operation.__name__}: errno {error.errno}")

    def hold(self):
        """Stands still, and says what it has."""
        spaces.settle(self)
        return {
            "spaces": [space.told() for space in self.spaces if not space.is_over],
            "leases": [lease.name for lease in self.leases],
            "tally": self.tally,
            "limit": resource.getrlimit(resource.RLIMIT_MEMLOCK),
        }

    def let_go(self, how):
        """release: one by one, by calls. close: connections first, descriptors a moment later. Both: nothing stays."""
        if how == "release":
            for space in list(self.spaces):
                self.step(spaces.destroy, space)
            for lease in list(self.leases):
                self.step(leases.release, lease)
        # What follows this process would stay.
        for space in [space for space in self.spaces if space.wire is None]:
            spaces.is_over(self, space)
        for lease in [lease for lease in self.leases if lease.wire is None]:
            self.step(leases.release, lease)
        while self.ended:
            self.step(spaces.bury)
        for wire in list(self.wires):
            self.lost(wire)
        self.ended = []
        time.sleep(0.2 if how == "close" else 0)
        for lease in self.leases + self.parted:
            leases.is_over(self, lease)
        for space in list(self.spaces):
            spaces.is_over(self, space)
        for fd in self.kept:
            os.close(fd)
        self.kept = []
        return {"tally": self.tally, "must_end": self.must_end}

    def obey(self):
        stream = self.control.makefile("rw")
        for line in stream:
            command, *arguments = json.loads(line)
            try:
                answer = getattr(self, command)(*arguments)
            except Violation as violation:
                answer = {"violation": f"{self.name}: {violation}"}
            stream.write(json.dumps(answer) + "\n")
            stream.flush()


def start(name, user, world, control, directory):
    """In a new process: becomes this user, and obeys. Does not return."""
    status = 1
    try:
        if user[0]:
            os.setgroups([user[0]])
            os.setresgid(*[user[0]] * 3)
            os.setresuid(*[user[0]] * 3)
        client = Client(name, user[0], world, control, directory)
        client.obey()
        status = 0
    except BrokenPipeError:
        pass  # chaos has ended
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    os._exit(status)
