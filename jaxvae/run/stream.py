"""Data that does not fit on the device: Grain reads the batches of every call ahead, from one array on disk."""

import os
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae import training
from jaxvae.types import Key

CALL_BYTES = 2**26  # of the batches of one call; at most four calls are held, on the host and on the device


def longest_call(data: training.Data, batch_size: int) -> int:
    """How many steps the batches of one call may serve, at least one.

    Args:
        data: [N, H, W, C] images, or those and their labels.
        batch_size: B.

    Returns:
        The number of steps.
    """
    of_example = size_in_bytes(data) // training.num_examples(data)
    return max(1, CALL_BYTES // (batch_size * of_example))


def size_in_bytes(data: training.Data) -> int:
    """How much memory a data set takes.

    Args:
        data: a tree of arrays.

    Returns:
        Bytes.
    """
    return sum(leaf.nbytes for leaf in jax.tree.leaves(data))


def does_not_fit(data: training.Data) -> bool:
    """Whether the data would take more than half of the memory of JAX's default device.

    Args:
        data: [N, H, W, C] images, or those and their labels.

    Returns:
        The answer; a device that does not tell its memory, a CPU, has that of the machine.
    """
    known = jax.local_devices()[0].memory_stats() or {}
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return size_in_bytes(data) > known.get("bytes_limit", machine) / 2


def batches(
    data: training.Data,
    key: Key,
    *,
    batch_size: int,
    calls: list[tuple[int, int]],
    share: Callable[[np.ndarray], np.ndarray],
    put: Callable[[Any], Any],
) -> Iterator[Any]:
    """The batches of every call, on the device before they are asked for.

    The examples are those that `training.visits` names, so a stream's position is the number of steps taken, which is
    part of every checkpoint: a run that goes on reads what it would have read.

    Args:
        data: [N, H, W, C] images, memory-mapped, or those and their labels.
        key: of the whole run.
        batch_size: B.
        calls: (the number of steps taken before it, how many it takes) of each call; none passes the end of an epoch.
        share: rows [L, B] -> those that this process reads.
        put: a tree of stored examples -> the same on the device.

    Yields:
        The batches of each call in turn, as `training.streamed` takes them.
    """
    num_examples = training.num_examples(data)
    per_epoch = num_examples // batch_size

    @lru_cache(maxsize=2)
    def order_of(epoch: int) -> np.ndarray:
        first = jnp.asarray(epoch * per_epoch, jnp.int32)
        return np.asarray(training.visits(key, first, num_examples, batch_size=batch_size))

    def read(call: tuple[int, int]) -> Any:
        step, length = call
        epoch, position = divmod(step, per_epoch)
        rows = share(order_of(epoch)[position : position + length])
        return jax.tree.map(lambda leaf: leaf[rows], data)

    import grain  # where data streams alone: it takes a second and a half

    source = grain.MapDataset.source(calls).map(read)
    read_ahead = iter(source.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=2)))
    try:
        following = put(next(read_ahead))
        for stored in read_ahead:
            now, following = following, put(stored)
            yield now
        yield following
    finally:
        read_ahead.close()
