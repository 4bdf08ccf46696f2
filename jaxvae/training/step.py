"""Training as pure functions: a state, a step, and a run of steps as one scan over data on the device.

Nothing here is jitted: the caller jits `steps` with the state donated. A run is a function of its key alone, so `vmap`
over keys trains several seeds in one program; `jaxvae.training` shares every batch among devices. Data that does not
fit on a device comes in batches from elsewhere, by `streamed`, and makes the same run.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import optax

from jaxvae.loops import scan
from jaxvae.losses import ALONE, Loss, Metrics, OfWholeBatch, Shared
from jaxvae.types import Array, Key, Params

Data = Any  # a tree of arrays with one leading axis of examples: images [N, H, W, C], or (images, labels [N])
Prepare = Callable[[Key, Any], Any]  # (key, stored example) -> x


class State(NamedTuple):
    """All that training carries from one step to the next."""

    step: Array  # []  int32, the number of steps taken
    params: Params
    average: Params  # exponential moving average of the params, or None
    optimizer: optax.OptState
    extra: Any  # what no gradient touches: () for most models


class Step(Protocol):
    """One update."""

    def __call__(self, state: State, keys: Key, xs: Array) -> tuple[State, Metrics]:
        """Keys [B], one for each example -> (the next state, the metrics of this batch)."""
        ...


def start(params: Params, optimizer: optax.GradientTransformation, *, averaged: bool = False, extra: Any = ()) -> State:
    """The state before the first step.

    Args:
        params: the model's initial parameters.
        optimizer: any optax transformation.
        averaged: keep a moving average of the params, which `make_step(decay=...)` updates.
        extra: the loss's state that no gradient touches.

    Returns:
        The state.
    """
    average = jax.tree.map(jnp.copy, params) if averaged else None
    return State(jnp.zeros((), jnp.int32), params, average, optimizer.init(params), extra)


def num_examples(data: Data) -> int:
    """The length of the leading axis.

    Args:
        data: a tree of arrays [N, ...].

    Returns:
        N.
    """
    return len(jax.tree.leaves(data)[0])


def make_step(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    *,
    decay: float | None = None,
    shared: Shared = ALONE,
    accumulate: int = 1,
) -> Step:
    """One gradient step.

    Args:
        loss: what is minimised.
        optimizer: any optax transformation: clipping, schedule and rule chained.
        decay: of the moving average of the params, θ̄ ← decay θ̄ + (1 - decay) θ; None keeps none.
        shared: how the batch lies on the devices, `jaxvae.training.parallel.SHARED` where several have a part each;
            gradient, metrics and `extra` are averaged over them.
        accumulate: the batch is taken in so many parts, one after the other, and their gradients are averaged: the
            numbers of the whole batch, in the memory of a part. `extra` is averaged too.

    Returns:
        (state, keys [B], xs [B, *event]) -> (state, metrics); the metrics are the loss's, with "loss" and
        "gradient_norm". It raises a ValueError where one of `start` and `make_step` was asked for a moving average and
        the other not, and where the batch cannot be taken in so many parts.

    Raises:
        ValueError: the batch is to be taken in parts, and the loss is one of a whole batch (`losses.OfWholeBatch`); or
            in less than one part.
    """
    if accumulate < 1:
        raise ValueError(f"accumulate={accumulate} must be at least one, the number of parts of a batch")
    if accumulate > 1 and isinstance(loss, OfWholeBatch):
        raise ValueError(
            f"this loss looks at {loss.looks_at} over the whole batch, and in accumulate={accumulate} parts it would "
            "be another loss: leave out accumulate, or take a loss that is a mean over examples"
        )
    value_and_gradient = jax.value_and_grad(loss, argnums=1, has_aux=True)

    def gradient_of(state: State, keys: Key, xs: Array) -> Any:
        if accumulate == 1:
            return value_and_gradient(keys, state.params, state.extra, xs, state.step)
        if len(keys) % accumulate:
            raise ValueError(f"a batch of {len(keys)} cannot be taken in {accumulate} parts of one size")

        def of_part(keys: Key, xs: Array) -> Any:
            return value_and_gradient(keys, state.params, state.extra, xs, state.step)

        parts = jax.tree.map(lambda leaf: leaf.reshape(accumulate, -1, *leaf.shape[1:]), (keys, xs))
        nothing = jax.tree.map(jnp.zeros_like, jax.eval_shape(of_part, *jax.tree.map(lambda leaf: leaf[0], parts)))
        total, _ = scan(lambda total, part: (jax.tree.map(jnp.add, total, of_part(*part)), None), nothing, parts)
        return jax.tree.map(lambda leaf: leaf / accumulate, total)

    def step(state: State, keys: Key, xs: Array) -> tuple[State, Metrics]:
        if (decay is None) != (state.average is None):
            raise ValueError(
                f"decay={decay}, but the state {'has no' if state.average is None else 'has a'} moving average: "
                "give start(averaged=True) and make_step(decay=...) together"
            )
        (value, (extra, metrics)), gradient = shared.average(gradient_of(state, keys, xs))
        updates, optimizer_state = optimizer.update(gradient, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        average = state.average if decay is None else optax.incremental_update(params, state.average, 1 - decay)
        metrics = metrics | {"loss": value, "gradient_norm": optax.tree.norm(gradient)}
        return State(state.step + 1, params, average, optimizer_state, extra), metrics

    return step


def steps(
    state: State,
    key: Key,
    data: Data,
    *,
    step: Step,
    prepare: Prepare,
    batch_size: int,
    length: int | None = None,
    shared: Shared = ALONE,
) -> tuple[State, Metrics]:
    """An epoch, or the next `length` steps of one, as one scan over data on the device.

    Epoch e visits the data in the order of a permutation drawn from (key, e); its last incomplete batch is left out.
    All randomness of step t comes from (key, t): a run that is stopped between two calls and goes on from the state it
    had is the same run, bit for bit. Steps that pass the end of an epoch go on with the order of the next one.

    Args:
        state: before the steps. Its `step` tells the position in the epoch.
        key: of the whole run, the same at every call.
        data: [N, *event] the stored examples, uint8 pixels for instance, or a tree of such arrays.
        step: made by `make_step`.
        prepare: (key, stored example) -> x: `grey`, `dynamic_binarization`, or your own.
        batch_size: B ≤ N.
        length: how many steps, at most those of an epoch, which None takes.
        shared: how the batch lies on the devices. Every example has a key of its own, split from the key of the whole
            batch, so that the numbers do not depend on how many devices there are.

    Returns:
        The state after the steps, and the metrics of every step, each [length].

    Raises:
        ValueError: there are fewer examples than one batch, or `length` is not between one and the steps of an epoch.
    """
    # XLA gathers rows of one axis faster than images
    flat = jax.tree.map(lambda leaf: leaf.reshape(len(leaf), -1), data)
    one = _one_batch(key, step=step, prepare=prepare, batch_size=batch_size, shared=shared)

    def of_rows(state: State, rows: Array) -> tuple[State, Metrics]:
        rows = shared.part(rows)
        stored = jax.tree.map(lambda kept, leaf: kept[rows].reshape(len(rows), *leaf.shape[1:]), flat, data)
        return one(state, stored)

    order = visits(key, state.step, num_examples(data), batch_size=batch_size, length=length)
    return scan(of_rows, state, order)


def streamed(
    state: State, key: Key, batches: Data, *, step: Step, prepare: Prepare, batch_size: int, shared: Shared = ALONE
) -> tuple[State, Metrics]:
    """The next steps as one scan over batches that come from elsewhere: the run that `steps` makes, bit for bit.

    Args:
        state: before the steps.
        key: of the whole run, the same at every call.
        batches: [L, B, *event] the stored examples that `visits` names, or a tree of such arrays; where devices share
            them, this device's part.
        step: made by `make_step`.
        prepare: (key, stored example) -> x.
        batch_size: B, of all devices together.
        shared: how the batch lies on the devices.

    Returns:
        The state after the steps, and the metrics of every step, each [L].
    """
    return scan(_one_batch(key, step=step, prepare=prepare, batch_size=batch_size, shared=shared), state, batches)


def visits(key: Key, step: Array, num_examples: int, *, batch_size: int, length: int | None = None) -> Array:
    """The examples that the steps from `step` on visit: a permutation for each epoch, drawn from (key, epoch).

    Args:
        key: of the whole run.
        step: [] the number of steps taken.
        num_examples: N.
        batch_size: B ≤ N.
        length: how many steps, at most those of an epoch, which None takes.

    Returns:
        [length, B] rows of the data.

    Raises:
        ValueError: there are fewer examples than one batch, or `length` is not between one and the steps of an epoch.
    """
    per_epoch = num_examples // batch_size
    if per_epoch < 1:
        raise ValueError(f"{num_examples} examples do not fill one batch of {batch_size}; take a smaller batch_size")
    length = per_epoch if length is None else length
    if not 1 <= length <= per_epoch:
        raise ValueError(
            f"length={length} must lie between 1 and {per_epoch}, the steps of an epoch; call `steps` again"
        )
    key_order, _ = jax.random.split(key)

    def batches_of(epoch: Array) -> Array:
        order = jax.random.permutation(jax.random.fold_in(key_order, epoch), num_examples)
        return order[: per_epoch * batch_size].reshape(per_epoch, batch_size)

    epoch, position = jnp.divmod(step, per_epoch)
    now = batches_of(epoch)
    # The next epoch's order costs as much as several steps, so it is drawn only by the call that comes to need it.
    following = jax.lax.cond(position + length > per_epoch, batches_of, lambda _: jnp.zeros_like(now), epoch + 1)
    return jax.lax.dynamic_slice_in_dim(jnp.concatenate([now, following]), position, length)


def _one_batch(
    key: Key, *, step: Step, prepare: Prepare, batch_size: int, shared: Shared
) -> Callable[[State, Any], tuple[State, Metrics]]:
    """A step on stored examples. All its randomness comes from (key, the number of steps taken)."""
    _, key_steps = jax.random.split(key)

    def one(state: State, stored: Any) -> tuple[State, Metrics]:
        key_x, key_loss = jax.random.split(jax.random.fold_in(key_steps, state.step))
        keys_x, keys_loss = shared.part((jax.random.split(key_x, batch_size), jax.random.split(key_loss, batch_size)))
        return step(state, keys_loss, jax.vmap(prepare)(keys_x, stored))

    return one


def grey(key: Key, stored: Array) -> Array:
    """A stored example as pixels in [0, 1]: bytes are divided by 255, floats are left as they are.

    Args:
        key: not used.
        stored: [*event] uint8 in 0..255, or float32 in [0, 1].

    Returns:
        [*event] float32.
    """
    return stored.astype(jnp.float32) / 255 if stored.dtype == jnp.uint8 else stored


def dynamic_binarization(key: Key, stored: Array) -> Array:
    """A fresh draw of every pixel, x ~ Bernoulli(grey value): another picture at every visit.

    Args:
        key: for the pixels.
        stored: [*event] uint8 in 0..255, or float32 in [0, 1].

    Returns:
        [*event] float32 in {0, 1}.

    Source: Salakhutdinov & Murray (2008); Burda et al. (2016), section 5.1.
    """
    return jax.random.bernoulli(key, grey(key, stored)).astype(jnp.float32)
