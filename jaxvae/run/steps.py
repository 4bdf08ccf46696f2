"""The compiled steps of a run: on one device or shared by several, over data on the device or from a stream."""

from collections.abc import Callable, Sequence
from functools import cache, lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxvae import training
from jaxvae.losses import ALONE, alone
from jaxvae.run import RunError, keys, stream
from jaxvae.run.course import Course
from jaxvae.run.recipe import Plan, Recipe
from jaxvae.training import parallel
from jaxvae.types import Key

LONGEST_CALL = 500  # steps in one call of the device: how long a stop or a progress bar waits at the most

Advance = Callable[[Any, int], tuple[Any, Any]]


class Steps(NamedTuple):
    """How the state of a run moves on."""

    placed: Callable[[training.State], Any]  # a state as checkpoints have it -> as and where the steps take it
    advance: Advance  # (state, how many steps) -> (the state after them, the metrics of each); the state is donated
    whole: Callable[[Any], Any]  # a tree from there -> as checkpoints have it
    lengths: list[int]  # of the calls to come, in order; a stream serves them in no other


def steps_of(
    recipe: Recipe,
    course: Course,
    data: training.Data,
    *,
    first_step: int,
    devices: Sequence[jax.Device] = (),
) -> Steps:
    """The steps of a run from `first_step` to its end.

    Args:
        recipe: of the run.
        course: of the run.
        data: what training keeps of the examples, a tree of arrays [N, ...].
        first_step: the number of steps taken.
        devices: that share every batch, of all processes; JAX's default device alone if there are not several.

    Returns:
        The steps.

    Raises:
        RunError: there are several seeds, and the data does not fit on the device.
    """
    per_epoch = training.num_examples(data) // course.batch_size
    num_steps = course.epochs * per_epoch
    several = len(devices) > 1
    streaming = {"yes": True, "no": False, "auto": stream.does_not_fit(data)}[course.stream]
    if streaming and course.num_seeds > 1:
        raise RunError(
            f"the {stream.size_in_bytes(data) / 1e9:.1f} GB of training data do not fit on the device and have to be "
            f"streamed, in another order for each of --num-seeds {course.num_seeds}: train one seed at a time"
        )
    longest = min(LONGEST_CALL, stream.longest_call(data, course.batch_size)) if streaming else LONGEST_CALL
    calls = _calls(first_step, num_steps, per_epoch, longest)
    plan = Plan(num_steps, per_epoch, parallel.SHARED if several else ALONE)
    program = Program(step_of(recipe, course, plan), recipe.prepare, course.batch_size)
    key = keys.of_training(course.keys)
    lengths = [length for _, length in calls]
    if several:
        advance = (
            _shared_stream(program, key, data, calls, devices) if streaming else _shared(program, key, data, devices)
        )
        return Steps(partial(parallel.copied, devices=devices), advance, parallel.first, lengths)
    if streaming:
        return Steps(alone, _streamed(program, key, data, calls), alone, lengths)
    if course.num_seeds > 1 and jax.default_backend() == "cpu":
        return Steps(_apart, _in_turn(program, key, data), _together, lengths)
    return Steps(alone, _alone(program, key, data), alone, lengths)


def optimizer_of(recipe: Recipe, course: Course, num_steps: int) -> Any:
    """The optax transformation of a run: the configured one, as the recipe has it.

    Args:
        recipe: of the run.
        course: of the run.
        num_steps: of the whole run, for its schedule.

    Returns:
        The transformation.
    """
    return recipe.optimizer(course.optimizer(num_steps))


def step_of(recipe: Recipe, course: Course, plan: Plan) -> training.Step:
    """The training step of a run.

    Args:
        recipe: of the run.
        course: of the run.
        plan: of the run.

    Returns:
        (state, keys [B], xs [B, ...]) -> (state, metrics).
    """
    loss, optimizer = recipe.loss(plan), optimizer_of(recipe, course, plan.num_steps)
    if recipe.step is not None:
        return recipe.step(loss, optimizer, plan)
    return training.make_step(loss, optimizer, decay=course.average, shared=plan.shared, accumulate=course.accumulate)


class Program(NamedTuple):
    """What is compiled. Programs that are equal are compiled once."""

    step: training.Step
    prepare: training.Prepare
    batch_size: int

    @property
    def options(self) -> dict[str, Any]:
        """For `training.steps` and its relatives."""
        return self._asdict()


def _calls(step: int, num_steps: int, per_epoch: int, longest: int) -> list[tuple[int, int]]:
    """(first step, length) of every call to come; none passes the end of an epoch."""
    calls = []
    while step < num_steps:
        calls.append((step, min(longest, per_epoch - step % per_epoch)))
        step += calls[-1][1]
    return calls


@lru_cache(maxsize=32)
def compiled(program: Program, several: bool) -> jax.stages.Wrapped:
    """The scan of a program over data on the device; over seeds where there are several.

    Args:
        program: what is compiled.
        several: whether there are several seeds.

    Returns:
        (state, key, data, *, length) -> (the state after so many steps, the metrics of each); the state is donated.
    """

    @partial(jax.jit, donate_argnums=0, static_argnames="length")
    def run(state: training.State, key: Key, data: Any, *, length: int) -> tuple[training.State, Any]:
        steps: Callable[..., Any] = partial(training.steps, length=length, **program.options)
        return (jax.vmap(steps, (0, 0, None)) if several else steps)(state, key, data)

    return run


def _alone(program: Program, key: Key, stored: training.Data) -> Advance:
    """One device that holds the data; over seeds where there are several."""
    run, data = compiled(program, key.ndim > 0), jax.tree.map(jnp.asarray, stored)
    return lambda state, length: run(state, key, data, length=length)


def _in_turn(program: Program, key: Key, stored: training.Data) -> Advance:
    """Seeds one after another: on a CPU faster than one program for all, whose matrices leave the cache."""
    run, of_seeds, data = compiled(program, False), _apart(key), jax.tree.map(jnp.asarray, stored)

    def advance(states: list[training.State], length: int) -> tuple[list[training.State], list[dict[str, Any]]]:
        each = [run(state, key, data, length=length) for state, key in zip(states, of_seeds, strict=True)]
        return [state for state, _ in each], [metrics for _, metrics in each]

    return advance


def _apart(tree: Any) -> list[Any]:
    """A tree of arrays [S, ...] as S trees."""
    return [jax.tree.map(lambda leaf, s=s: leaf[s], tree) for s in range(len(jax.tree.leaves(tree)[0]))]


def _together(trees: list[Any]) -> Any:
    """S trees as one of arrays [S, ...]."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def _shared(program: Program, key: Key, stored: training.Data, devices: Sequence[jax.Device]) -> Advance:
    """Several devices, each with a copy of the data."""
    compiled = cache(lambda length: parallel.steps(devices, length=length, **program.options))
    data = parallel.copied(stored, devices)
    return lambda state, length: compiled(length)(state, key, data)


def _streamed(program: Program, key: Key, stored: training.Data, calls: list[tuple[int, int]]) -> Advance:
    """One device, and batches that come from a stream."""
    run = jax.jit(partial(training.streamed, **program.options), donate_argnums=0)
    feed = stream.batches(stored, key, batch_size=program.batch_size, calls=calls, share=alone, put=jax.device_put)
    return lambda state, length: run(state, key, next(feed))


def _shared_stream(
    program: Program, key: Key, stored: training.Data, calls: list[tuple[int, int]], devices: Sequence[jax.Device]
) -> Advance:
    """Several devices, and batches that come from a stream: every process reads the share of its own devices."""
    run = parallel.streamed(devices, **program.options)
    feed = stream.batches(
        stored,
        key,
        batch_size=program.batch_size,
        calls=calls,
        share=lambda rows: parallel.dealt(rows.T, devices).swapaxes(1, 2),
        put=partial(parallel.placed, devices=devices),
    )
    return lambda state, length: run(state, key, next(feed))
