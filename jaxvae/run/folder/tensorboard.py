"""What TensorBoard shows of a run beside its curves: its options, its test numbers, its pictures."""

import struct
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.summary import hparams, scalar

NAME = "tensorboard"
RGBA = 4  # channels of a PNG, as a summary says it


def line(place: Path) -> str:
    """The command that shows a run, or a folder of runs.

    Args:
        place: the folder.

    Returns:
        The command line.
    """
    return f"tensorboard --logdir {place}"


def record(
    folder: Path, step: int, options: Mapping[str, Any], numbers: Mapping[str, float], pictures: Iterable[Path]
) -> None:
    """Write a run's options, test numbers and pictures as events.

    Args:
        folder: of the run.
        step: the number of steps taken.
        options: of the run, dotted name -> value.
        numbers: name -> value; those that are not there (None) are left out.
        pictures: PNG files.
    """
    (folder / NAME).mkdir(exist_ok=True)
    told = {name: value for name, value in numbers.items() if value is not None}
    summaries = [*hparams({name: _plain(value) for name, value in options.items()}, dict(told))]
    summaries += [scalar(name, value) for name, value in told.items()]
    summaries += [_picture(file) for file in pictures]
    events = EventsWriter(str(folder / NAME / "events"), filename_suffix=".result")
    for summary in summaries:
        events.write_event(Event(step=step, wall_time=time.time(), summary=summary))
    events.close()


def _plain(value: Any) -> Any:
    """An option as TensorBoard takes one: a number, a word, yes or no."""
    return value if isinstance(value, bool | int | float | str) else "none" if value is None else str(value)


def _picture(file: Path) -> Summary:
    content = file.read_bytes()
    width, height = struct.unpack(">II", content[16:24])
    image = Summary.Image(height=height, width=width, colorspace=RGBA, encoded_image_string=content)
    return Summary(value=[Summary.Value(tag=f"figures/{file.stem}", image=image)])
