"""The bound on held-out data that is watched during training."""

from collections.abc import Callable
from functools import partial
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae import training
from jaxvae.run import keys
from jaxvae.run.course import Course
from jaxvae.run.data import Dataset, Split
from jaxvae.run.held_out import as_seen
from jaxvae.run.recipe import Recipe
from jaxvae.types import Array, Key, Params

DRAWS_AT_ONCE = 5000  # measured: with ten times as many a CPU, out of cache, draws at less than half the speed


class Monitor:
    """The training's own bound on held-out data, after each epoch."""

    def __init__(self, recipe: Recipe, course: Course, name: str, split: Split):
        """Prepare the examples.

        Args:
            recipe: of the run.
            course: of the run.
            name: of the split.
            split: held-out data.
        """
        self.name = name
        self._xs = as_seen(recipe, split)
        mean = partial(mean_bound, recipe.bound, at_once=max(1, DRAWS_AT_ONCE // recipe.num_samples))
        self._bound = mean if course.num_seeds == 1 else jax.vmap(mean, (None, 0, None))

    @classmethod
    def of(cls, recipe: Recipe, course: Course, dataset: Dataset) -> Self | None:
        """On the validation set; on the test set where there is none; None where there is neither."""
        name = "test" if dataset.valid is None else "valid"
        split = dataset.valid or dataset.test
        return cls(recipe, course, name, split) if split.size else None

    def __call__(self, params: Params) -> np.ndarray:
        """The mean bound, [] or one for each seed, in nats."""
        return np.asarray(self._bound(keys.of_monitor(), params, self._xs))


@partial(jax.jit, static_argnums=0, static_argnames="at_once")
def mean_bound(
    bound: Callable[[Key, Params, Any], Array], key: Key, params: Params, xs: training.Data, *, at_once: int = 1000
) -> Array:
    """The mean of a per-example bound over a data set, some examples at a time.

    Args:
        bound: (key, params, x) -> [].
        key: split into one for each example.
        params: of the model.
        xs: [N, *event], or a tree of such arrays.
        at_once: how many examples; the number is the same.

    Returns:
        [] nats.
    """
    count = training.num_examples(xs)
    of_each = jax.random.split(key, count)
    return jnp.mean(
        jax.lax.map(lambda pair: bound(pair[0], params, pair[1]), (of_each, xs), batch_size=min(at_once, count))
    )
