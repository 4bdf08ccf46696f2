"""The training loop: calls of one compiled scan, with checkpoints, logs, and a clean stop at any moment."""

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from jaxvae import parallel, training
from jaxvae.model import VAE
from jaxvae.run import RunError, build, evaluate
from jaxvae.run import config as configuration
from jaxvae.run.checkpoints import Checkpoints
from jaxvae.run.data import Dataset
from jaxvae.run.folder import evaluated_params, initial_state, seed_keys
from jaxvae.run.logs import Log

LONGEST_CALL = 500  # steps in one call of the device: how long a stop or a progress bar waits at the most


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

    Args:
        config: of the run.
        folder: of the run; it exists.
        model: made by `build.model_of`.
        dataset: the run's data.
        devices: that share every batch; JAX's default device alone if there are not several.

    Returns:
        The last state, and how fast it went.

    Raises:
        Diverged: a term is not finite; the last good checkpoint stays.
        RunError: the data does not fill a batch, or a checkpoint is damaged.
    """
    images = dataset.train.images
    per_epoch = len(images) // config.batch_size
    num_steps = config.epochs * per_epoch
    mean_image = evaluate.mean_image(images) if config.model.mean_bias else None
    state = initial_state(config, model, images.shape[1:], num_steps=num_steps, mean_image=mean_image)
    with closing(Checkpoints(folder / "checkpoints", keep=config.checkpoints.keep)) as checkpoints:
        if checkpoints.latest() is not None:
            state = checkpoints.restore(state)
        step = int(np.ravel(state.step)[0])
        whole = training.alone
        if len(devices) > 1:
            advance = _shared_steps(config, model, jnp.asarray(images), num_steps, per_epoch, devices)
            state, whole = parallel.copied(state, devices), parallel.first
        else:
            advance = _compiled_steps(config, model, jnp.asarray(images), num_steps, per_epoch)
        monitor = evaluate.Monitor(config, model, dataset)
        pace, began, saved = _Pace(), time.monotonic(), time.monotonic()
        bar = tqdm(total=num_steps, initial=step, unit=" steps", desc="training", mininterval=0.2)
        with closing(Log(folder, step=step)) as log, _stop_signals() as received, bar:
            while step < num_steps and not received():
                length = min(LONGEST_CALL, per_epoch - step % per_epoch)
                called = time.monotonic()
                state, metrics = advance(state, length=length)
                metrics = jax.device_get(whole(metrics))
                pace.count(length, time.monotonic() - called)
                check_finite(metrics, first_step=step)
                step += length
                row = {"step": step, "epoch": step / per_epoch}
                row |= {f"train_{name}": np.mean(values, axis=-1).tolist() for name, values in metrics.items()}
                if step % per_epoch == 0:
                    row |= monitor(evaluated_params(whole(state)))
                log.write(row)
                bar.set_postfix_str(f"epoch {step / per_epoch:.3g}, {_brief(row, monitor.name)}", refresh=False)
                bar.update(length)
                if time.monotonic() - saved >= config.checkpoints.seconds:
                    _save(checkpoints, step, whole(state))
                    saved = time.monotonic()
            stopped_by = received() if step < num_steps else None
        state = whole(state)
        _save(checkpoints, step, state)
    rate = pace.steps_per_second() * config.batch_size * config.num_seeds
    return Trained(state, stopped_by, time.monotonic() - began, rate)


def check_data(config: configuration.Config, dataset: Dataset) -> None:
    """Refuse what the configuration and the data cannot be together.

    Args:
        config: of a run.
        dataset: its data.

    Raises:
        RunError: a batch is larger than the data, the warm-up longer than the run, or pixels are grey for a Bernoulli.
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
    if config.model.likelihood == "bernoulli" and configuration.binarization(config) == "none":
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


def _save(checkpoints: Checkpoints, step: int, state: training.State) -> None:
    """Save a state that is good: an update can overflow after the last loss that showed it."""
    if not all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(state.params)):
        raise Diverged(f"the update of step {step} is not finite: it overflowed the parameters")
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


def _compiled_steps(
    config: configuration.Config, model: VAE, data: jax.Array, num_steps: int, per_epoch: int
) -> Callable[..., tuple[training.State, dict[str, Any]]]:
    """`training.steps` over the whole data set, jitted with the state donated, over seeds where there are several."""
    optimizer = build.optimizer_of(config, num_steps)
    train_key = partial(jax.random.fold_in, data=1)
    over_seeds = (lambda function, axes: function) if config.num_seeds == 1 else jax.vmap

    @partial(jax.jit, donate_argnums=0, static_argnames="length")
    def advance(state: training.State, key: jax.Array, data: jax.Array, *, length: int):
        run = partial(
            training.steps,
            step=build.step_of(config, model, optimizer, per_epoch),
            prepare=build.prepare_of(config),
            batch_size=config.batch_size,
            length=length,
        )
        return over_seeds(run, (0, 0, None))(state, key, data)

    key = over_seeds(train_key, (0,))(seed_keys(config))
    return lambda state, *, length: advance(state, key, data, length=length)


def _shared_steps(
    config: configuration.Config,
    model: VAE,
    data: jax.Array,
    num_steps: int,
    per_epoch: int,
    devices: Sequence[jax.Device],
) -> Callable[..., tuple[training.State, dict[str, Any]]]:
    """The same steps with every batch shared among devices, on which the state and the data are copied."""
    optimizer = build.optimizer_of(config, num_steps)

    @cache
    def compiled(length: int) -> Callable:
        return parallel.steps(
            devices,
            step=build.step_of(config, model, optimizer, per_epoch, across=parallel.average),
            prepare=build.prepare_of(config),
            batch_size=config.batch_size,
            length=length,
        )

    key, copies = jax.random.fold_in(seed_keys(config), 1), parallel.copied(data, devices)
    return lambda state, *, length: compiled(length)(state, key, copies)


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
