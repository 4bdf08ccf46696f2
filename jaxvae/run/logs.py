"""The record of a run: `metrics.jsonl`, one line for each call of the device, and TensorBoard events."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from tensorboardX import SummaryWriter


class Log:
    """Appends rows; a run that goes on from a checkpoint first drops the rows past it."""

    def __init__(self, folder: Path, *, step: int = 0):
        """Open the log of a run.

        Args:
            folder: of the run.
            step: the number of steps that the run goes on from.
        """
        self._path = folder / "metrics.jsonl"
        kept = [row for row in read(folder) if row["step"] <= step]
        beside = self._path.with_suffix(".tmp")
        beside.write_text("".join(json.dumps(row) + "\n" for row in kept))
        os.replace(beside, self._path)
        self._file = self._path.open("a")
        self._events = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1 if step else None)

    def write(self, row: dict[str, Any]) -> None:
        """Append one row.

        Args:
            row: "step", and numbers or lists of one number for each seed.
        """
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        for name, value in row.items():
            if name != "step":
                self._events.add_scalar(name, float(np.mean(value)), row["step"])

    def close(self) -> None:
        """Write out what is left."""
        self._file.close()
        self._events.close()


def read(folder: Path) -> list[dict[str, Any]]:
    """The rows of a run; a last line that was cut off by a crash is left out.

    Args:
        folder: of the run.

    Returns:
        The rows in order; none where there is no log.
    """
    path = folder / "metrics.jsonl"
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows
