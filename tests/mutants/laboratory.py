"""Copies of the repository, of which each holds one fault at a time. The working tree is never written to."""

import os
import queue
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mutants.fault import Fault, planted
from mutants.running import QUICK, SLOW, SURVIVED, Verdict, verdict_of

ROOT = Path(__file__).parents[2]
LIMIT = 900.0  # seconds for the tests of a fault
COPIED = ("jaxvae", "tests", "experiments", "benchmarks", "pyproject.toml")


class Laboratory:
    """Asks the tests of a fault, without it and with it.

    Args:
        parent: an empty folder.
        copies: how many faults there can be at once.
    """

    def __init__(self, parent: Path, copies: int):
        self._free: queue.Queue[Path] = queue.Queue()
        for number in range(copies):
            self._free.put(_copy(parent / f"copy-{number}"))
        self._healthy: dict[str, Verdict] = {}

    def verdict(self, fault: Fault) -> Verdict:
        """What becomes of a fault: its quick tests are asked first, and then those that are marked slow."""
        for marked in (QUICK, SLOW):
            with self._borrowed() as folder, _fault_in(folder, fault):
                found = verdict_of(folder, fault.catchers, marked, LIMIT)
            if found.words != SURVIVED:
                break
        if found.test is None:
            return found
        healthy = self._without(found.test)
        if healthy.words != SURVIVED:
            return found._replace(test=None, words=f"{found.test} fails without the fault too: {healthy.words}")
        return found._replace(slow=marked == SLOW)

    def _without(self, test: str) -> Verdict:
        """A test on the code as it is, once."""
        if test not in self._healthy:
            with self._borrowed() as folder:
                self._healthy[test] = verdict_of(folder, [test], f"slow or ({QUICK})", LIMIT)
        return self._healthy[test]

    @contextmanager
    def _borrowed(self) -> Iterator[Path]:
        folder = self._free.get()
        try:
            yield folder
        finally:
            self._free.put(folder)


def _copy(folder: Path) -> Path:
    folder.mkdir()
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


@contextmanager
def _fault_in(folder: Path, fault: Fault) -> Iterator[None]:
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
