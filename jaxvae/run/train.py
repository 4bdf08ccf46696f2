"""The training loop: calls of one compiled scan, with checkpoints, logs, and a clean stop at any moment."""

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from jaxvae import training
from jaxvae.model import VAE
from jaxvae.run import RunError, evaluate, hosts, structures
from jaxvae.run import config as configuration
from jaxvae.run.data import Dataset
from jaxvae.run.folder.checkpoints import Checkpoints
from jaxvae.run.folder.logs import Log
from jaxvae.run.folder.opening import evaluated_params, initial_state
from jaxvae.run.steps import steps_of


class Diverged(RuntimeError):
    """A term of the loss is not finite."""


class Trained(NamedTuple):
    """How training ended."""

    state: training.State
    stopped_by: int | None  # the signal that stopped it before its end
    seconds: float  # of this process, compilation included
    images_per_second: float  # in steady state: the first call of each length, which compiles, is left out


def train(
    config: configuration.Config, folder: Path, model: VAE, dataset: Dataset, *, devices: Sequence[jax.Device] = ()
) -> Trained:
    """Train a run to its end, from its latest checkpoint where there is one.

    Where several processes train it, all call this; the first reads and writes the folder.

    Args:
        config: of the run.
        folder: of the run; it exists.
        model: made by `build.model_of`.
        dataset: the run's data.
        devices: that share every batch, of all processes; JAX's default device alone if there are not several.

    Returns:
        The last state, and how fast it went.

    Raises:
        Diverged: a term is not finite; the last good checkpoint stays.
        RunError: the data does not fill a batch, or a checkpoint is damaged.
    """
    images = dataset.train.images
    per_epoch = len(images) // config.batch_size
    num_steps = config.epochs * per_epoch
    state = initial_state(config, model, images.shape[1:], num_steps=num_steps, images=images)
    first = hosts.is_first()
    with closing(Checkpoints(folder / "checkpoints", keep=config.checkpoints.keep)) if first else nullcontext() as kept:
        if kept is not None and kept.latest() is not None:
            state = kept.restore(state)
        state = hosts.same(state)
        step = int(np.ravel(state.step)[0])
        data = structures.stored(config, dataset.train)
        steps = steps_of(config, model, data, first_step=step, devices=devices)
        state = steps.placed(state)
        monitor = evaluate.Monitor(config, model, dataset)
        pace, began, saved = _Pace(), time.monotonic(), time.monotonic()
        bar = tqdm(total=num_steps, initial=step, unit=" steps", desc="training", mininterval=0.2, disable=not first)
        with closing(Log(folder, step=step)) if first else nullcontext() as log, _stop_signals() as received, bar:
            for length in steps.lengths:
                if hosts.any_of(received() is not None):
                    break
                called = time.monotonic()
                state, metrics = steps.advance(state, length)
                metrics = jax.device_get(steps.whole(metrics))
                pace.count(length, time.monotonic() - called)
                check_finite(metrics, first_step=step)
                step += length
                if log is not None:
                    row = {"step": step, "epoch": step / per_epoch}
                    row |= {f"train_{name}": np.mean(values, axis=-1).tolist() for name, values in metrics.items()}
                    if step % per_epoch == 0:
                        row |= monitor(evaluated_params(steps.whole(state)))
                    log.write(row)
                    bar.set_postfix_str(f"epoch {step / per_epoch:.3g}, {_brief(row, monitor.name)}", refresh=False)
                    bar.update(length)
                if time.monotonic() - saved >= config.checkpoints.seconds:
                    _save(kept, step, steps.whole(state))
                    saved = time.monotonic()
            stopped_by = (received() or signal.SIGTERM) if step < num_steps else None
        state = steps.whole(state)
        _save(kept, step, state)
    rate = pace.steps_per_second() * config.batch_size * config.num_seeds
    return Trained(state, stopped_by, time.monotonic() - began, rate)


def check_data(config: configuration.Config, dataset: Dataset) -> None:
    """Refuse what the configuration and the data cannot be together.

    Args:
        config: of a run.
        dataset: its data.

    Raises:
        RunError: a batch is larger than the data, the warm-up longer than the run, pixels are grey for a Bernoulli, or
            labels are missing.
    """
    per_epoch = len(dataset.train.images) // config.batch_size
    if per_epoch < 1:
        raise RunError(
            f"{len(dataset.train.images)} training examples do not fill a batch of {config.batch_size}: "
            "give a smaller --batch-size"
        )
    if config.optimizer.warmup_steps >= config.epochs * per_epoch:
        raise RunError(
            f"--optimizer.warmup-steps {config.optimizer.warmup_steps} is not shorter than the run of "
            f"{config.epochs * per_epoch} steps ({config.epochs} epochs of {per_epoch}): "
            "warm up for less, or train longer"
        )
    structures.check_labels(config, dataset)
    if config.model.likelihood in configuration.BINARY and configuration.binarization(config) == "none":
        pixels = dataset.test.images
        if np.any((pixels != 0) & (pixels != (255 if pixels.dtype == np.uint8 else 1))):
            raise RunError(
                f"{dataset.name} has grey pixels, for which a Bernoulli has no density: give --data.binarize dynamic "
                "(or static, threshold), or --model.likelihood continuous-bernoulli"
            )


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


def _save(checkpoints: Checkpoints | None, step: int, state: training.State) -> None:
    """Save a state that is good, where this process does: an update can overflow after the last loss that showed it."""
    if not all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves((state.params, state.extra))):
        raise Diverged(f"the update of step {step} is not finite: it overflowed the parameters")
    if checkpoints is not None:
        checkpoints.save(step, state)


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
    order = ["log_likelihood", "kl", "bound", "loss", "gradient_norm"]
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


def _brief(row: dict[str, Any], monitored: str) -> str:
    parts = [f"train {np.mean(row['train_bound']):.2f}"]
    if f"{monitored}_bound" in row:
        parts.append(f"{monitored} {np.mean(row[f'{monitored}_bound']):.2f}")
    return ", ".join(parts) + " nats"
