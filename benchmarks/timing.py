"""Fair timing on a machine that others share: what is compared runs in turns, and ratios are taken turn by turn."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

Run = Callable[[], float]  # one repetition -> its seconds


class Spread(NamedTuple):
    """The median of repeated measurements, with their quartiles."""

    median: float
    lower: float
    upper: float


def spread(values: Sequence[float]) -> Spread:
    """The median and the quartiles of these values."""
    lower, median, upper = np.percentile(np.asarray(values, float), [25, 50, 75])
    return Spread(float(median), float(lower), float(upper))


def timed(function: Callable[[], Any]) -> Run:
    """A function that returns arrays, as a run: the clock stops when the arrays are there."""

    def run() -> float:
        began = time.perf_counter()
        jax.block_until_ready(function())
        return time.perf_counter() - began

    return run


def in_turns(runs: Mapping[str, Run], *, repeats: int, title: str) -> dict[str, list[float]]:
    """The seconds of every run, repeat by repeat.

    Each repeat runs everything once, and starts one place further on than the one before, so that a slow minute of
    the machine falls on all of them alike. One repeat ahead of the others warms up and is not counted.

    Args:
        runs: what to measure, by name.
        repeats: how often.
        title: for the progress bar.

    Returns:
        name -> [repeats] seconds; the same place in two lists is the same repeat.
    """
    names = list(runs)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    with tqdm(total=len(names) * (repeats + 1), desc=title, leave=False) as progress:
        for repeat in range(-1, repeats):
            shift = repeat % len(names)
            for name in names[shift:] + names[:shift]:
                elapsed = runs[name]()
                if repeat >= 0:
                    seconds[name].append(elapsed)
                progress.update()
    return seconds


def rate(images: float, seconds: Sequence[float]) -> Spread:
    """Images per second."""
    return spread([images / elapsed for elapsed in seconds])


def speed_ratio(images: float, seconds: Sequence[float], other_images: float, other_seconds: Sequence[float]) -> Spread:
    """How many times faster the first is than the other, each repeat against its own neighbour."""
    pairs = zip(seconds, other_seconds, strict=True)
    return spread([(images / first) / (other_images / other) for first, other in pairs])
