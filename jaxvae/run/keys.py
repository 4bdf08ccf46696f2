"""Where every key of the shell comes from, by what it feeds. A seed's numbers are the same alone and among others."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp

from jaxvae.types import Key

HELD_OUT = 20140416  # held-out pixels are drawn once, and are the same for every run


def of_seeds(seeds: Sequence[int]) -> Key:
    """The key of each seed: [] for one, [S] for several."""
    return jax.random.key(seeds[0]) if len(seeds) == 1 else jax.vmap(jax.random.key)(jnp.asarray(seeds))


def of_params(keys: Key) -> Key:
    """Of a run's first params, from its key, or one for each seed."""
    return _folded(keys, 0)


def of_training(keys: Key) -> Key:
    """Of a run's order of examples and all noise of its steps, from its key, or one for each seed."""
    return _folded(keys, 1)


def _folded(keys: Key, number: int) -> Key:
    fold = partial(jax.random.fold_in, data=number)
    return fold(keys) if keys.ndim == 0 else jax.vmap(fold)(keys)


def held_out() -> Key:
    """Of what is drawn of held-out examples, binarised pixels for instance."""
    return jax.random.key(HELD_OUT)


def of_monitor() -> Key:
    """Of the bound that is watched during training."""
    return jax.random.key(1)


def of_terms() -> Key:
    """Of the final ELBO and its parts."""
    return jax.random.key(2)


def of_likelihood() -> Key:
    """Of the importance samples of log p(x)."""
    return jax.random.key(3)


def of_pictures() -> Key:
    """Of what is drawn for the figures."""
    return jax.random.key(4)
