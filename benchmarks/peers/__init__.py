"""Peers in processes of their own: each script measures itself, one repetition for each line that it is sent."""

import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType


def importable(python: Path, module: str) -> bool:
    """Whether this interpreter has the module."""
    try:
        return subprocess.run([python, "-c", f"import {module}"], capture_output=True).returncode == 0
    except OSError:  # there is no such interpreter
        return False


class PeerFailed(Exception):
    """The script ended before it answered."""


class Peer:
    """A running peer script; it is called for the seconds of one repetition.

    The script writes one JSON object when it is ready, and `{"seconds": ...}` for each line that it reads.
    """

    def __init__(self, python: Path, script: str, arguments: Sequence[str]) -> None:
        self._errors = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115  # it lives as long as the process
        self._process = subprocess.Popen(
            [str(python), str(Path(__file__).parent / script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"},  # an accelerator's memory is shared with ours
        )
        self.description: dict = self._read()

    def __call__(self) -> float:
        """Run one repetition; its seconds, by the peer's own clock.

        Raises:
            PeerFailed: the script has ended.
        """
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):  # reading tells how it ended
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        return self._read()["seconds"]

    def __enter__(self) -> "Peer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the script."""
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._errors.close()

    def _read(self) -> dict:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()
            self._errors.seek(0)
            said = self._errors.read().strip().splitlines() or ["nothing"]
            raise PeerFailed(f"it ended with status {status} and said: {said[-1]}")
        return json.loads(line)
