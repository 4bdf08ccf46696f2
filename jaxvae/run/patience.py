"""The best parameters so far, and when to wait no longer for better ones."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae import training
from jaxvae.types import Array, Params


class Best(NamedTuple):
    """The params of the epoch with the highest bound on held-out data, [S, ...] of several seeds."""

    params: Params
    bound: Array  # [] or [S] nats
    epoch: Array  # [] or [S] int32, counted from one; zero before the first


class Progress(NamedTuple):
    """All that a run goes on from: what its checkpoints hold."""

    state: training.State
    best: Best | None  # None where no patience is asked for


def nothing_yet(params: Params, num_seeds: int) -> Best:
    """Before the first epoch.

    Args:
        params: the first ones.
        num_seeds: S.

    Returns:
        The best so far, which any bound betters.
    """
    shape = () if num_seeds == 1 else (num_seeds,)
    # Copies: the first step gives its buffers away.
    return Best(jax.tree.map(jnp.copy, params), jnp.full(shape, -jnp.inf), jnp.zeros(shape, jnp.int32))


def better(best: Best, params: Params, bound: np.ndarray, epoch: int, patience: int | None) -> Best:
    """The best after one more epoch; a seed whose patience has run out keeps what it has.

    Args:
        best: so far.
        params: after the epoch.
        bound: [] or [S] nats, theirs on held-out data.
        epoch: that has ended.
        patience: epochs to wait.

    Returns:
        The best.
    """
    waiting = epoch - np.asarray(best.epoch) <= (epoch if patience is None else patience)
    risen = jnp.asarray(waiting & (bound > np.asarray(best.bound)))

    def choose(new: Any, old: Any) -> Any:
        return jnp.where(risen.reshape(risen.shape + (1,) * (jnp.ndim(new) - risen.ndim)), new, old)

    found = jnp.asarray(bound, best.bound.dtype), jnp.full_like(best.epoch, epoch)
    return Best(*jax.tree.map(choose, (params, *found), tuple(best)))


def exhausted(best: Best | None, patience: int | None, epoch: int) -> bool:
    """Whether every seed has waited long enough.

    Args:
        best: so far.
        patience: epochs to wait; None waits for ever.
        epoch: that has ended.

    Returns:
        The answer.
    """
    return best is not None and patience is not None and bool(np.all(epoch - np.asarray(best.epoch) >= patience))
