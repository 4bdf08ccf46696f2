"""The compiled steps of a run: on one device or shared by several, over data on the device or from a stream."""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxvae import training
from jaxvae.model import VAE
from jaxvae.run import RunError, build, stream
from jaxvae.run import config as configuration
from jaxvae.run.folder.opening import seed_keys
from jaxvae.training import parallel

LONGEST_CALL = 500  # steps in one call of the device: how long a stop or a progress bar waits at the most

Advance = Callable[[Any, int], tuple[Any, Any]]


class Steps(NamedTuple):
    """How the state of a run moves on."""

    placed: Callable[[training.State], Any]  # a state as checkpoints have it -> as and where the steps take it
    advance: Advance  # (state, how many steps) -> (the state after them, the metrics of each); the state is donated
    whole: Callable[[Any], Any]  # a tree from there -> as checkpoints have it
    lengths: list[int]  # of the calls to come, in order; a stream serves them in no other


def steps_of(
    config: configuration.Config,
    model: VAE,
    data: training.Data,
    *,
    first_step: int,
    devices: Sequence[jax.Device],
) -> Steps:
    """The steps of a run from `first_step` to its end.

    Args:
        config: of the run.
        model: made by `build.model_of`.
        data: [N, H, W, C] images of the training set, or those and their labels [N].
        first_step: the number of steps taken.
        devices: that share every batch, of all processes; JAX's default device alone if there are not several.

    Returns:
        The steps.

    Raises:
        RunError: there are several seeds, and the images do not fit on the device.
    """
    per_epoch = training.num_examples(data) // config.batch_size
    num_steps = config.epochs * per_epoch
    shared = len(devices) > 1
    streaming = {"yes": True, "no": False, "auto": stream.does_not_fit(data)}[config.data.stream]
    if streaming and config.num_seeds > 1:
        raise RunError(
            f"the {stream.size_in_bytes(data) / 1e9:.1f} GB of training images do not fit on the device and have to be "
            f"streamed, in another order for each of --num-seeds {config.num_seeds}: train one seed at a time"
        )
    longest = min(LONGEST_CALL, stream.longest_call(data, config.batch_size)) if streaming else LONGEST_CALL
    calls = _calls(first_step, num_steps, per_epoch, longest)
    settings = {
        "step": build.step_of(
            config,
            model,
            build.optimizer_of(config, num_steps),
            per_epoch,
            across=parallel.average if shared else training.alone,
        ),
        "prepare": build.prepare_of(config),
        "batch_size": config.batch_size,
    }
    lengths = [length for _, length in calls]
    if shared:
        if streaming:
            advance = _shared_stream(config, data, calls, settings, devices)
        else:
            advance = _shared(config, data, settings, devices)
        return Steps(partial(parallel.copied, devices=devices), advance, parallel.first, lengths)
    if streaming:
        return Steps(training.alone, _streamed(config, data, calls, settings), training.alone, lengths)
    if config.num_seeds > 1 and jax.default_backend() == "cpu":
        return Steps(_apart, _in_turn(config, data, settings), _together, lengths)
    return Steps(training.alone, _alone(config, data, settings), training.alone, lengths)


def _calls(step: int, num_steps: int, per_epoch: int, longest: int) -> list[tuple[int, int]]:
    """(first step, length) of every call to come; none passes the end of an epoch."""
    calls = []
    while step < num_steps:
        calls.append((step, min(longest, per_epoch - step % per_epoch)))
        step += calls[-1][1]
    return calls


def _key(config: configuration.Config) -> jax.Array:
    """Of the training, [] or one for each seed."""
    fold = partial(jax.random.fold_in, data=1)
    return (fold if config.num_seeds == 1 else jax.vmap(fold))(seed_keys(config))


def _alone(config: configuration.Config, stored: training.Data, settings: dict[str, Any]) -> Advance:
    """One device that holds the data; over seeds where there are several."""
    over_seeds = (lambda function: function) if config.num_seeds == 1 else partial(jax.vmap, in_axes=(0, 0, None))

    @partial(jax.jit, donate_argnums=0, static_argnames="length")
    def run(state: training.State, key: jax.Array, data: jax.Array, *, length: int):
        return over_seeds(partial(training.steps, length=length, **settings))(state, key, data)

    key, data = _key(config), jax.tree.map(jnp.asarray, stored)
    return lambda state, length: run(state, key, data, length=length)


def _in_turn(config: configuration.Config, stored: training.Data, settings: dict[str, Any]) -> Advance:
    """Seeds one after another: on a CPU faster than one program for all, whose matrices leave the cache."""
    run = jax.jit(partial(training.steps, **settings), donate_argnums=0, static_argnames="length")
    keys, data = _apart(_key(config)), jax.tree.map(jnp.asarray, stored)

    def advance(states: list[training.State], length: int) -> tuple[list[training.State], list[dict[str, Any]]]:
        each = [run(state, key, data, length=length) for state, key in zip(states, keys, strict=True)]
        return [state for state, _ in each], [metrics for _, metrics in each]

    return advance


def _apart(tree: Any) -> list[Any]:
    """A tree of arrays [S, ...] as S trees."""
    return [jax.tree.map(lambda leaf, s=s: leaf[s], tree) for s in range(len(jax.tree.leaves(tree)[0]))]


def _together(trees: list[Any]) -> Any:
    """S trees as one of arrays [S, ...]."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def _shared(
    config: configuration.Config,
    stored: training.Data,
    settings: dict[str, Any],
    devices: Sequence[jax.Device],
) -> Advance:
    """Several devices, each with a copy of the data."""
    compiled = cache(lambda length: parallel.steps(devices, length=length, **settings))
    key, data = _key(config), parallel.copied(stored, devices)
    return lambda state, length: compiled(length)(state, key, data)


def _streamed(
    config: configuration.Config, stored: training.Data, calls: list[tuple[int, int]], settings: dict[str, Any]
) -> Advance:
    """One device, and batches that come from a stream."""
    key = _key(config)
    run = jax.jit(partial(training.streamed, **settings), donate_argnums=0)
    feed = stream.batches(
        stored, key, batch_size=config.batch_size, calls=calls, share=training.alone, put=jax.device_put
    )
    return lambda state, length: run(state, key, next(feed))


def _shared_stream(
    config: configuration.Config,
    stored: training.Data,
    calls: list[tuple[int, int]],
    settings: dict[str, Any],
    devices: Sequence[jax.Device],
) -> Advance:
    """Several devices, and batches that come from a stream: every process reads the share of its own devices."""
    key = _key(config)
    run = parallel.streamed(devices, **settings)
    feed = stream.batches(
        stored,
        key,
        batch_size=config.batch_size,
        calls=calls,
        share=lambda rows: parallel.dealt(rows.T, devices).swapaxes(1, 2),
        put=partial(parallel.placed, devices=devices),
    )
    return lambda state, length: run(state, key, next(feed))
