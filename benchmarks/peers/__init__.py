"""Peers in processes of their own: each script measures itself, one repetition for each line that it is sent."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType


def importable(python: Path, module: str) -> bool:
    """Whether this interpreter has the module."""
    return subprocess.run([python, "-c", f"import {module}"], capture_output=True).returncode == 0


class Peer:
    """A running peer script; it is called for the seconds of one repetition.

    The script writes one JSON object when it is ready, and `{"seconds": ...}` for each line that it reads.
    """

    def __init__(self, python: Path, script: str, arguments: Sequence[str]) -> None:
        self._command = [str(python), str(Path(__file__).parent / script), *arguments]
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.description: dict = self._read()

    def __call__(self) -> float:
        """Run one repetition; its seconds, by the peer's own clock."""
        assert self._process.stdin
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
        self._process.stdin.close()
        self._process.wait()

    def _read(self) -> dict:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()
            raise RuntimeError(
                f"the peer {self._command} ended with status {status}; run this command by hand and see why"
            )
        return json.loads(line)
