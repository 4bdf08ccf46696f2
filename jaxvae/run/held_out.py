"""Held-out examples: as the model takes them, and parts of them from all over a set."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae import training
from jaxvae.run import keys
from jaxvae.run.data import Split
from jaxvae.run.recipe import Recipe


def as_seen(recipe: Recipe, split: Split) -> Any:
    """Held-out examples as the model of a run takes them; what is drawn of them, by a fixed key, is drawn once.

    Args:
        recipe: of the run.
        split: of its data.

    Returns:
        A tree of arrays [N, ...].
    """
    return prepared(recipe.prepare, recipe.stored(split))


def prepared(prepare: training.Prepare, stored: training.Data) -> Any:
    """Stored held-out examples, prepared by a fixed key.

    Args:
        prepare: (key, stored example) -> x.
        stored: a tree of arrays [N, ...].

    Returns:
        The xs, a tree of arrays [N, ...].
    """
    of_each = jax.random.split(keys.held_out(), training.num_examples(stored))
    return jax.jit(jax.vmap(prepare))(of_each, jax.tree.map(jnp.asarray, stored))


def even_rows(total: int, count: int) -> np.ndarray:
    """Rows from all over a split: some data sets are sorted by class, others, MNIST's test set say, by their writers.

    Args:
        total: how many examples there are.
        count: how many are wanted.

    Returns:
        At most so many rows, at even distances.
    """
    return np.unique(np.linspace(0, total - 1, min(count, total)).astype(int))


def spread(split: Split, count: int) -> Split:
    """Examples from all over a split.

    Args:
        split: of a data set.
        count: how many.

    Returns:
        At most so many examples, at even distances.
    """
    rows = even_rows(split.size, count)
    examples = jax.tree.map(lambda leaf: leaf[rows], split.examples)
    return Split(examples, None if split.labels is None else split.labels[rows])
