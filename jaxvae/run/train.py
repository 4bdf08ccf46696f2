"""The training loop: calls of one compiled scan, with checkpoints, logs, and a clean stop at any moment.

`jaxvae.fit`, the studies and the command line all train here; only the command line's runs have a folder.
"""

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from jaxvae import training
from jaxvae.run import RunError, hosts
from jaxvae.run.course import Course
from jaxvae.run.data import Dataset
from jaxvae.run.monitor import Monitor
from jaxvae.run.patience import Progress, better, exhausted
from jaxvae.run.recipe import Recipe
from jaxvae.run.start import first_progress
from jaxvae.run.steps import steps_of
from jaxvae.types import Params

BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} steps [{elapsed}<{remaining}{postfix}]"


class Diverged(RuntimeError):
    """A term of the loss is not finite."""


class Trained(NamedTuple):
    """How training ended."""

    state: training.State
    params: Params  # that are evaluated, [S, ...] for several seeds: the average, or the best, where those are kept
    rows: list[dict[str, Any]]  # the log of this process: "step", "epoch", "train_bound", ...
    stopped_by: int | None  # the signal that stopped it before its end
    seconds: float  # of this process, compilation included
    examples_per_second: float  # in steady state: the first call of each length, which compiles, is left out
    best_epoch: int | None  # whose params they are, counted from one; None where no patience was asked for


def train(
    recipe: Recipe,
    course: Course,
    dataset: Dataset,
    *,
    folder: Path | None = None,
    devices: Sequence[jax.Device] = (),
    show: str | None = "training",
) -> Trained:
    """Train to the end, from the folder's latest checkpoint where there is one.

    Where several processes train a run, all call this; the first reads and writes the folder.

    Args:
        recipe: of the run.
        course: of the run.
        dataset: of the run; without held-out data where its `valid` is None and its `test` empty.
        folder: of the run, which exists; None for a training that is not kept.
        devices: that share every batch, of all processes; JAX's default device alone if there are not several.
        show: the progress bar's label; None shows none.

    Returns:
        The last state, the params to be evaluated, and how fast it went.

    Raises:
        Diverged: a term is not finite; the last good checkpoint stays.
        RunError: the data does not fill a batch, or a checkpoint is damaged.
    """
    per_epoch = dataset.train.size // course.batch_size
    num_steps = course.epochs * per_epoch
    first, began = hosts.is_first(), time.monotonic()
    progress = first_progress(recipe, course, num_steps, dataset.train)
    with ExitStack() as held:
        kept = _checkpoints(folder, course, held) if first else None
        if kept is not None and kept.latest() is not None:
            progress = kept.restore(progress)
        state, best = hosts.same(progress)
        step = int(np.ravel(state.step)[0])
        steps = steps_of(recipe, course, recipe.stored(dataset.train), first_step=step, devices=devices)
        state = steps.placed(state)
        monitor = Monitor.of(recipe, course, dataset)
        note = _log(folder, step, held) if first else None
        received = held.enter_context(_stop_signals()) if folder is not None else lambda: None
        bar = held.enter_context(
            tqdm(
                total=num_steps,
                initial=step,
                desc=show,
                mininterval=0.2,
                disable=not first or not show,
                bar_format=BAR,
                postfix="compiling",  # the first call of the device takes seconds in which nothing moves
            )
        )
        pace, saved, rows = _Pace(), time.monotonic(), []
        ended = exhausted(best, course.patience, step // per_epoch)
        for length in steps.lengths if not ended else ():
            if hosts.any_of(received() is not None):
                break
            called = time.monotonic()
            state, metrics = steps.advance(state, length)
            metrics = jax.device_get(steps.whole(metrics))
            pace.count(length, time.monotonic() - called)
            check_finite(metrics, first_step=step)
            step += length
            row: dict[str, Any] = {"step": step, "epoch": step / per_epoch}
            row |= {f"train_{name}": np.mean(values, axis=-1).tolist() for name, values in metrics.items()}
            if (
                step % per_epoch == 0
                and monitor is not None
                and (note is not None or best is not None or folder is None)
            ):
                params = evaluated_params(recipe, steps.whole(state))
                bound = monitor(params)
                row[f"{monitor.name}_{recipe.watched}"] = bound.tolist()
                if best is not None:
                    best = better(best, params, hosts.same(bound), step // per_epoch, course.patience)
                    ended = exhausted(best, course.patience, step // per_epoch)
            rows.append(row)
            if note is not None:
                note(row)
            rate = pace.steps_per_second() * course.batch_size * course.num_seeds
            bar.set_postfix_str(_brief(row, step / per_epoch, monitor, rate, recipe.watched), refresh=False)
            bar.update(length)
            if time.monotonic() - saved >= course.save_seconds:
                _save(kept, step, Progress(steps.whole(state), best))
                saved = time.monotonic()
            if ended:
                break
        stopped_by = (received() or signal.SIGTERM) if step < num_steps and not ended else None
        state = steps.whole(state)
        _save(kept, step, Progress(state, best))
    params = evaluated_params(recipe, state) if best is None else best.params
    rate = pace.steps_per_second() * course.batch_size * course.num_seeds
    chosen = int(best.epoch) if best is not None and course.num_seeds == 1 else None
    return Trained(state, params, rows, stopped_by, time.monotonic() - began, rate, chosen)


def evaluated_params(recipe: Recipe, state: training.State) -> Params:
    """The parameters that are evaluated: complete, and the moving average where one is kept.

    Args:
        recipe: of the run.
        state: of training.

    Returns:
        The params.
    """
    return recipe.whole(state.params if state.average is None else state.average, state.extra)


def check_size(course: Course, dataset: Dataset) -> None:
    """Refuse data that does not fill a batch.

    Args:
        course: of a run.
        dataset: its data.

    Raises:
        RunError: it does not.
    """
    if dataset.train.size < course.batch_size:
        raise RunError(
            f"{dataset.train.size} training examples do not fill a batch of {course.batch_size}: "
            "give a smaller --batch-size"
        )


def _checkpoints(folder: Path | None, course: Course, held: ExitStack) -> Any:
    """Of a run with a folder; Orbax is imported for it alone."""
    if folder is None:
        return None
    from jaxvae.run.folder.checkpoints import Checkpoints

    return held.enter_context(closing(Checkpoints(folder / "checkpoints", keep=course.keep)))


def _log(folder: Path | None, step: int, held: ExitStack) -> Callable[[dict[str, Any]], None] | None:
    """Of a run with a folder; TensorBoard's writer is imported for it alone."""
    if folder is None:
        return None
    from jaxvae.run.folder.logs import Log

    return held.enter_context(closing(Log(folder, step=step))).write


class _Pace:
    """Steps per second in steady state: the first call of each length, which compiles, is left out."""

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._steps, self._seconds = 0, 0.0

    def count(self, length: int, seconds: float) -> None:
        if length in self._seen:
            self._steps += length
            self._seconds += seconds
        self._seen.add(length)

    def steps_per_second(self) -> float:
        return self._steps / self._seconds if self._seconds else float("nan")


def _save(checkpoints: Any, step: int, progress: Progress) -> None:
    """Save a state that is good, where this process does: an update can overflow after the last loss that showed it."""
    good = jax.tree.leaves((progress.state.params, progress.state.extra))
    if not all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in good):
        raise Diverged(f"the update of step {step} is not finite: it overflowed the parameters")
    if checkpoints is not None:
        checkpoints.save(step, progress)


def check_finite(metrics: dict[str, np.ndarray], *, first_step: int) -> None:
    """Refuse a loss that is not finite.

    Args:
        metrics: each [length], or [S, length] for several seeds.
        first_step: the number of steps taken before these.

    Raises:
        Diverged: names the first such step and its term.
    """
    bad = [
        (int(np.argwhere(~np.isfinite(values)).min(axis=0)[-1]), name)
        for name, values in metrics.items()
        if not np.all(np.isfinite(values))
    ]
    if not bad:
        return
    position = min(bad)[0]
    order = ["log_likelihood", "kl", "estimated_kl", "bound", "estimate", "loss", "gradient_norm"]
    names = sorted((name for at, name in bad if at == position), key=lambda n: order.index(n) if n in order else -1)
    values = metrics[names[0]][..., position]
    value = values[~np.isfinite(values)].ravel()[0] if values.ndim else values
    raise Diverged(f"step {first_step + position + 1} is not finite: {names[0]} is {value}")


@contextmanager
def _stop_signals() -> Iterator[Callable[[], int | None]]:
    """The number of the SIGTERM or Ctrl-C that has come; a second one acts at once."""
    received: list[int] = []

    def handle(number: int, frame: Any) -> None:
        received.append(number)
        signal.signal(number, before[signal.Signals(number)])

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        signal.signal(number, handle)
    try:
        yield lambda: received[0] if received else None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _brief(row: dict[str, Any], epoch: float, monitor: Monitor | None, rate: float, watched: str) -> str:
    """Where training is, and how fast: by the same measure as the report's, without what compiles and what watches."""
    parts = [f"train {np.mean(row.get(f'train_{watched}', row['train_loss'])):.2f}"]
    if monitor is not None and (held_out := f"{monitor.name}_{watched}") in row:
        parts.append(f"{monitor.name} {np.mean(row[held_out]):.2f}")
    pace = f", {rate:,.0f} examples/s" if np.isfinite(rate) else ""
    return (f"epoch {epoch:.3g}, " + ", ".join(parts) + " nats").replace("-", "−") + pace
