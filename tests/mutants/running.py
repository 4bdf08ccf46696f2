"""Tests run in a copy of the repository, each time in a process of their own that has JAX imported already.

The processes are forked from a server that has done nothing but import, and what a fault does ends with its process.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import pytest

IMPORTED = ["jax", "jax.numpy", "flax.linen", "optax", "scipy.stats", "scipy.integrate", "numpyro.distributions"]
SURVIVED = "SURVIVED"
CLUMSY = ("ImportError", "NameError", "AttributeError", "SyntaxError")  # a fault that does not run shows no test
QUICK, SLOW = "not slow and not stress and not combinations", "slow"


class Verdict(NamedTuple):
    """What became of a fault, or of the code as it is."""

    words: str  # what was asserted, or what happened instead
    seconds: float
    test: str | None = None  # the test that failed
    slow: bool = False  # it is marked so


def prepared(folder: Path) -> None:
    """The environment of all tests to come, and the server that they are forked from.

    Args:
        folder: where compiled programs may be kept: most are those without the fault.
    """
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # as tests/conftest.py has it, which comes too late
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.0")
    os.environ["COLUMNS"] = "1000"  # pytest cuts its lines there, and what was asserted stands at their end
    multiprocessing.get_context("forkserver").set_forkserver_preload([*IMPORTED, "mutants.running"])


def verdict_of(folder: Path, tests: list[str], marked: str, limit: float) -> Verdict:
    """The tests in a copy of the repository, up to the first that fails.

    Args:
        folder: the copy.
        tests: files below it, or tests of them by `::`.
        marked: which of these, as pytest's -m has it.
        limit: seconds.
    """
    arguments = ["-x", "-q", "-n", "0", "-p", "no:cacheprovider", "--tb=line", "-m", marked, *tests]
    began = time.monotonic()
    with tempfile.NamedTemporaryFile("r", suffix=".log") as log:
        process = multiprocessing.get_context("forkserver").Process(target=_run, args=(folder, arguments, log.name))
        process.start()
        process.join(limit)
        seconds = time.monotonic() - began
        if process.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.join()
            return Verdict(f"no answer in {limit:.0f} s", seconds)
        said = log.read().splitlines()
    failed = [line for line in said if line.startswith(("FAILED ", "ERROR "))]
    if process.exitcode in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        return Verdict(SURVIVED, seconds)
    if process.exitcode != pytest.ExitCode.TESTS_FAILED or not failed:
        return Verdict(f"pytest did not run: {said[-1] if said else 'it said nothing'}", seconds)
    test, _, why = failed[0].partition(" ")[2].partition(" - ")
    if why.startswith(CLUMSY):
        return Verdict(f"does not run: {why}", seconds)
    return Verdict(why, seconds, test)


def _run(folder: Path, arguments: list[str], log: str) -> None:
    os.setsid()  # with all that the tests start
    file = os.open(log, os.O_WRONLY)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.chdir(folder)
    os.environ["PYTHONPATH"] = str(folder)
    sys.path[:] = [str(folder), *(place for place in sys.path if not Path(place, "mutants").is_dir())]
    for name in [name for name in sys.modules if name.split(".")[0] in ("jaxvae", "mutants")]:
        del sys.modules[name]
    code = pytest.main(arguments)
    sys.stdout.flush()
    os._exit(int(code))
