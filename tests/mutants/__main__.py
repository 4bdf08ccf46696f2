"""Plants each fault in a copy of the core, and says which test catches it: `make mutants`.

The tests of a fault have to pass on the code as it is, and one of them has to fail, by what it asserts, with the fault:
one of `make test`, else one that is marked slow.
"""

import argparse
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from tqdm import tqdm

from mutants import FAULTS, Fault
from mutants.fault import planted

ROOT = Path(__file__).parents[2]
COPIED = ("jaxvae", "tests", "experiments", "benchmarks", "pyproject.toml")
CLUMSY = ("ImportError", "NameError", "AttributeError", "SyntaxError")  # a fault that does not run shows no test


class Verdict(NamedTuple):
    """What became of a fault, or of the code as it is."""

    caught: bool
    words: str  # the test that failed, or what happened instead
    seconds: float


class Catchers(NamedTuple):
    """Tests that are asked together."""

    tests: str  # as a fault has them
    slow: bool  # those marked slow, or the others


SURVIVED = "SURVIVED"


def verdict_of(folder: Path, catchers: Catchers, limit: float) -> Verdict:
    """The tests in a copy of the repository, up to the first that fails."""
    began = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider", "--tb=line"]
    command += ["-m", "slow" if catchers.slow else "not slow and not stress and not combinations"]
    command += [f"tests/{test}" for test in catchers.tests.split()]
    environment = {
        "JAX_COMPILATION_CACHE_DIR": str(folder.parent / "compiled"),  # most programs are those without the fault
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.0",
        **os.environ,
        "PYTHONPATH": str(folder),
    }
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            said, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return Verdict(False, f"no answer in {limit:.0f} s", time.monotonic() - began)
    seconds = time.monotonic() - began
    failed = [line for line in said.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    if process.returncode in (0, pytest.ExitCode.NO_TESTS_COLLECTED):
        return Verdict(False, SURVIVED, seconds)
    if process.returncode != pytest.ExitCode.TESTS_FAILED or not failed:
        return Verdict(False, f"pytest did not run: {(said.splitlines() or ['it said nothing'])[-1]}", seconds)
    test, _, why = failed[0].partition(" ")[2].partition(" - ")
    if why.startswith(CLUMSY):
        return Verdict(False, f"does not run: {why}", seconds)
    return Verdict(True, f"{test} - {why}", seconds)


def copy(folder: Path) -> Path:
    """The package and its tests in a new folder."""
    folder.mkdir()
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    found = subprocess.run(
        [sys.executable, "-c", "import jaxvae; print(jaxvae.__file__)"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    if not Path(found.stdout.strip()).is_relative_to(folder):
        raise SystemExit(f"tests in {folder} would import {found.stdout.strip()}: no fault could be seen")
    return folder


class Laboratory:
    """Copies of the repository, of which each holds one fault at a time.

    Args:
        parent: an empty folder.
        copies: how many faults there can be at once.
    """

    def __init__(self, parent: Path, copies: int):
        self._free: queue.Queue[Path] = queue.Queue()
        for number in range(copies):
            self._free.put(copy(parent / f"copy-{number}"))
        self._healthy: dict[Catchers, Verdict] = {}

    def healthy(self, catchers: Catchers) -> Verdict:
        """The tests on the code as it is, once."""
        if catchers not in self._healthy:
            with self._copy() as folder:
                self._healthy[catchers] = verdict_of(folder, catchers, 1800)
        return self._healthy[catchers]

    def verdict(self, fault: Fault) -> Verdict:
        """What becomes of a fault."""
        for slow in (False, True):
            catchers = Catchers(fault.tests, slow)
            healthy = self.healthy(catchers)
            if healthy.words != SURVIVED:
                return healthy._replace(caught=False, words=f"its tests fail without it: {healthy.words}")
            with self._copy() as folder, _planted(fault, folder):
                found = verdict_of(folder, catchers, 120 + 5 * healthy.seconds)
            if found.words != SURVIVED:
                return found._replace(words=f"{found.words} (slow)") if slow else found
        return found

    @contextmanager
    def _copy(self) -> Iterator[Path]:
        folder = self._free.get()
        try:
            yield folder
        finally:
            self._free.put(folder)


@contextmanager
def _planted(fault: Fault, folder: Path) -> Iterator[None]:
    file = folder / fault.path
    text = file.read_text()
    _write(file, planted(fault, text))
    try:
        yield
    finally:
        _write(file, text)


def _write(file: Path, text: str) -> None:
    """Another text, which is also seen to be another: byte code is told by the second and the size of its source."""
    second = int(file.stat().st_mtime) + 10
    file.write_text(text)
    os.utime(file, (second, second))


def table(faults: list[Fault], verdicts: dict[str, Verdict]) -> str:
    """Who catches what, in Markdown."""
    lines = ["| fault | file | caught by |", "|---|---|---|"]
    for fault in faults:
        verdict = verdicts[fault.name]
        file, _, test = verdict.words.partition(" - ")[0].removeprefix("tests/").partition("::test_")
        slow = ", slow" if verdict.words.endswith("(slow)") else ""
        said = f"`{file}`: {test.partition('[')[0].replace('_', ' ')}{slow}" if verdict.caught else verdict.words
        lines.append(f"| {fault.name} | `{fault.file}` | {said} |")
    return "\n".join(lines)


def main() -> int:
    """The table of all faults; 1 where one of them is not caught."""
    parser = argparse.ArgumentParser(prog="python -m mutants", description=__doc__.splitlines()[0])
    parser.add_argument("--only", metavar="NAME", help="the faults with this in their name or file")
    parser.add_argument("--jobs", type=int, default=1, help="faults at a time, each in a copy of its own (1)")
    options = parser.parse_args()
    faults = [fault for fault in FAULTS if options.only is None or options.only in f"{fault.name} {fault.file}"]
    if not faults:
        parser.error(f"no fault has {options.only!r} in its name or file")
    if options.jobs < 1:
        parser.error(f"--jobs {options.jobs}: at least one fault at a time")
    began, verdicts = time.monotonic(), {}
    with tempfile.TemporaryDirectory(prefix="jaxvae-mutants-") as temporary, ThreadPoolExecutor(options.jobs) as pool:
        laboratory = Laboratory(Path(temporary), options.jobs)
        futures = {pool.submit(laboratory.verdict, fault): fault for fault in faults}
        with tqdm(as_completed(futures), "faults", len(futures), mininterval=5) as progress:
            for future in progress:
                fault, verdict = futures[future], future.result()
                verdicts[fault.name] = verdict
                sign = "caught" if verdict.caught else "NOT CAUGHT"
                progress.write(f"{sign} in {verdict.seconds:.0f} s: {fault.name} ({fault.file}): {verdict.words}")
                sys.stdout.flush()
    print(table(faults, verdicts))
    lost = [fault for fault in faults if not verdicts[fault.name].caught]
    minutes = (time.monotonic() - began) / 60
    print(f"\n{len(faults) - len(lost)} of {len(faults)} faults are caught, in {minutes:.0f} minutes.")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
