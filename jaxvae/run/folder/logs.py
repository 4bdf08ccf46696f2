"""The record of a run: `metrics.jsonl`, one line for each call of the device, and TensorBoard events."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar

from jaxvae.run import RunError
from jaxvae.run.folder.files import finite

FLUSHED_EVERY = 5.0  # seconds, for TensorBoard: a flush waits for the disk


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
        beside.write_text("".join(json.dumps(finite(row)) + "\n" for row in kept))
        os.replace(beside, self._path)
        self._file = self._path.open("a")
        # Not tensorboardX's SummaryWriter: its thread dies when the disk is full, and training waits for it forever.
        (folder / "tensorboard").mkdir(exist_ok=True)
        self._events = EventsWriter(str(folder / "tensorboard" / "events"), filename_suffix=f".{step}")
        self._flushed = time.monotonic()
        if step:  # TensorBoard then drops what an earlier process wrote from this step on
            self._events.write_event(
                Event(step=step + 1, wall_time=time.time(), session_log=SessionLog(status=SessionLog.START))
            )

    def write(self, row: dict[str, Any]) -> None:
        """Append one row.

        Args:
            row: "step", and numbers or lists of one number for each seed; one that is not finite is null.

        Raises:
            RunError: it cannot be written, because the disk is full for instance.
        """
        with self._writing():
            self._file.write(json.dumps(finite(row), allow_nan=False) + "\n")
            self._file.flush()
            for name, value in row.items():
                if name != "step":
                    summary = scalar(name, float(np.mean(value)))
                    self._events.write_event(Event(step=row["step"], wall_time=time.time(), summary=summary))
            if time.monotonic() - self._flushed >= FLUSHED_EVERY:
                self._events.flush()
                self._flushed = time.monotonic()

    def close(self) -> None:
        """Write out what is left.

        Raises:
            RunError: it cannot be written.
        """
        with self._writing():
            self._file.close()
            self._events.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RunError(
                f"the log in {self._path.parent} cannot be written ({error.strerror}): the checkpoints are kept; "
                "make room, and go on with --resume"
            ) from error


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
