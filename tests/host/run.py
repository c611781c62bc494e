#!/usr/bin/python3
"""Runs the host tests: run.py [MODULE…], with VFIOD_BUILD in the environment.

One line a module, as tests/unit/run.sh prints them, and all of the output of those that fail.
Whether a test may be skipped is check.sh's to say.
"""

import io
import os
import pathlib
import signal
import sys
import unittest

# The longest takes a tenth of it, under valgrind and on a busy machine.
MODULE_SECONDS = 300


def too_long(*_):
    raise TimeoutError(f"the module did not end in {MODULE_SECONDS} s")


def run(module):
    signal.alarm(MODULE_SECONDS)
    output = io.StringIO()
    suite = unittest.defaultTestLoader.loadTestsFromName(module)
    result = unittest.TextTestRunner(stream=output, verbosity=2).run(suite)
    reasons = "; ".join(sorted({reason for _, reason in result.skipped}))
    name = "host/" + module
    if not result.wasSuccessful() or not result.testsRun + len(result.skipped):
        print(f"FAILED  {name}\n{output.getvalue()}")
        return False
    if result.skipped:
        print(f"skipped {name}: {reasons}")
    if result.testsRun > len(result.skipped):
        print(f"ok      {name}: {result.testsRun - len(result.skipped)} tests")
    return True


def main():
    signal.signal(signal.SIGALRM, too_long)
    here = pathlib.Path(__file__).resolve().parent
    sys.path.insert(0, str(here))
    modules = sys.argv[1:] or sorted(path.stem for path in here.glob("test_*.py"))
    results = []
    for module in modules:
        results.append(run(module))
        sys.stdout.flush()
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
