"""Data parallelism: every batch is shared among devices, and the numbers are those of one device.

One program of `pmap` over the axis "data" runs `jaxvae.training.steps` on every device: each takes its part of every
batch, gradients and metrics are averaged over the devices before the update, and so all hold the same state. The
devices may belong to several processes, on several hosts, that have joined by `jax.distributed.initialize`: each runs
the same program, and holds arrays for its own devices only. The only file that knows of `pmap`.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.losses import Metrics, Shared, alone
from jaxvae.training import step as training
from jaxvae.training.step import Prepare, State, Step
from jaxvae.types import Array, Key, Params

AXIS = "data"


def average(tree: Any) -> Any:
    """Means over the devices.

    Args:
        tree: of means over this device's part of the batch.

    Returns:
        The means over the whole batch, the parts being of one size.
    """
    return jax.lax.pmean(tree, AXIS)


def part(batch: Any) -> Any:
    """The share of a batch that falls to the device it runs on.

    Args:
        batch: a tree of arrays [B, ...], the same on every device.

    Returns:
        The tree of arrays [B / devices, ...].
    """
    index, devices = jax.lax.axis_index(AXIS), jax.lax.axis_size(AXIS)

    def share(array: Array) -> Array:
        return jax.lax.dynamic_slice_in_dim(array, index * (len(array) // devices), len(array) // devices)

    return jax.tree.map(share, batch)


def rows(tree: Any) -> Any:
    """The rows of all devices, for what looks at a whole batch.

    Args:
        tree: of this device's rows [b, ...].

    Returns:
        The tree of all rows [b devices, ...], the same on every device and in the order of the batch.
    """
    return jax.tree.map(lambda leaf: jax.lax.all_gather(leaf, AXIS, tiled=True), tree)


SHARED = Shared(average, rows, part)


def steps(
    devices: Sequence[jax.Device], *, step: Step, prepare: Prepare, batch_size: int, length: int | None = None
) -> Callable[[State, Key, Array], tuple[State, Metrics]]:
    """`jaxvae.training.steps` on several devices, compiled, the state donated.

    Args:
        devices: that share every batch.
        step: made by `make_step(loss, optimizer, shared=SHARED)`.
        prepare: (key, stored example) -> x.
        batch_size: B, of all devices together.
        length: how many steps; None for an epoch.

    Returns:
        (state on every device, key, data [N, *event] on every device) -> (state on every device, metrics [devices,
        length], every row the same); `copied` brings what they need.

    Raises:
        ValueError: the devices do not divide the batch.

    Example:
        >>> import optax
        >>> from jaxvae import losses
        >>> from jaxvae.models import linear
        >>> from jaxvae.bounds import average as elbo_of
        >>> model, optimizer = linear.linear_vae(latent=1), optax.sgd(0.01)
        >>> step = training.make_step(losses.negative_bound(model, elbo_of), optimizer, shared=SHARED)
        >>> state = training.start(model.init(jax.random.key(0), jnp.zeros(3)), optimizer)
        >>> epoch = steps(jax.local_devices(), step=step, prepare=training.grey, batch_size=8)
        >>> state, data = copied((state, jnp.zeros((16, 3))), jax.local_devices())
        >>> state, metrics = epoch(state, jax.random.key(1), data)
        >>> int(first(state).step)
        2

    Source: one key for each example of the whole batch, so that no number depends on how many devices there are.
    """
    _check_divides(batch_size, devices)
    run = partial(training.steps, step=step, prepare=prepare, batch_size=batch_size, length=length, shared=SHARED)
    return jax.pmap(run, axis_name=AXIS, in_axes=(0, None, 0), devices=devices, donate_argnums=0)


def streamed(
    devices: Sequence[jax.Device], *, step: Step, prepare: Prepare, batch_size: int
) -> Callable[[State, Key, Array], tuple[State, Metrics]]:
    """`jaxvae.training.streamed` on several devices, compiled, the state donated.

    Args:
        devices: that share every batch.
        step: made by `make_step(loss, optimizer, shared=SHARED)`.
        prepare: (key, stored example) -> x.
        batch_size: B, of all devices together.

    Returns:
        (state on every device, key, batches [this process's devices, L, B / devices, *event]) -> as `steps`; `dealt`
        tells which examples of a batch go to which device.

    Raises:
        ValueError: the devices do not divide the batch.
    """
    _check_divides(batch_size, devices)
    run = partial(training.streamed, step=step, prepare=prepare, batch_size=batch_size, shared=SHARED)
    return jax.pmap(run, axis_name=AXIS, in_axes=(0, None, 0), devices=devices, donate_argnums=0)


def dealt(batch: Any, devices: Sequence[jax.Device]) -> Any:
    """A batch, dealt out to the devices of this process.

    Args:
        batch: a tree of arrays [B, ...], the same in every process.
        devices: that share it, of all processes.

    Returns:
        The tree of arrays [this process's devices, B / devices, ...].
    """
    mine = np.array([index for index, device in enumerate(devices) if device.process_index == jax.process_index()])
    return jax.tree.map(lambda array: array.reshape(len(devices), -1, *array.shape[1:])[mine], batch)


def over_examples(
    function: Callable[[Key, Params, Array], Any], devices: Sequence[jax.Device]
) -> Callable[[Key, Params, Array], Any]:
    """A function of one example over a batch that the devices share, compiled.

    Args:
        function: (key, params, x) -> a tree of arrays.
        devices: that share every batch.

    Returns:
        (keys [B], `copied` params, xs [B, *event]), the same in every process -> the tree with a leading axis [B],
        whole in every process. It raises a ValueError where the devices do not divide the batch.
    """

    def of_part(keys: Key, params: Params, xs: Array) -> Any:
        found = jax.vmap(function, (0, None, 0))(keys, params, xs)
        return rows(found)

    mapped = jax.pmap(of_part, axis_name=AXIS, devices=devices)

    def of_batch(keys: Key, params: Params, xs: Array) -> Any:
        _check_divides(len(keys), devices)
        keys, xs = dealt((keys, xs), devices)
        return first(mapped(keys, params, xs))

    return of_batch


def _check_divides(batch_size: int, devices: Sequence[jax.Device]) -> None:
    if batch_size % len(devices):
        raise ValueError(
            f"{len(devices)} devices do not divide a batch of {batch_size}: give a batch_size that is a multiple of "
            f"{len(devices)}, {batch_size // len(devices) * len(devices) or len(devices)} for instance"
        )


def copied(tree: Any, devices: Sequence[jax.Device]) -> Any:
    """The same arrays on every device.

    Args:
        tree: of arrays.
        devices: that get them.

    Returns:
        The tree with a leading axis [this process's devices], one copy on each.
    """
    count = sum(device.process_index == jax.process_index() for device in devices)

    def repeated(array: Any) -> Any:
        # By way of the host: what lies on one device alone, as trained params do, is refused by the others, and a view
        # of NumPy's never puts all copies on one device.
        if isinstance(array, jax.Array) and not jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key):
            array = np.asarray(array)
        broadcast = np.broadcast_to if isinstance(array, np.ndarray) else jnp.broadcast_to
        return broadcast(array, (count, *jnp.shape(array)))

    return placed(jax.tree.map(repeated, tree), devices)


def placed(tree: Any, devices: Sequence[jax.Device]) -> Any:
    """Every row on a device of its own.

    Args:
        tree: of arrays with a leading axis [this process's devices].
        devices: of all processes.

    Returns:
        The same tree, its rows on their devices.
    """
    return jax.pmap(alone, devices=devices)(tree)


def first(tree: Any) -> Any:
    """The copy of this process's first device, where all are the same.

    Args:
        tree: of arrays with a leading axis [devices].

    Returns:
        The tree without it, on that device alone: a checkpoint of it opens on a machine that has no other.
    """
    return jax.tree.map(lambda array: array.addressable_shards[0].data[0], tree)
