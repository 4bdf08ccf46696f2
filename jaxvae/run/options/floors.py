"""Learned scales that lie on their floor: how many there are on the test set, and the sentence that says so."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae import training
from jaxvae.model import VAE
from jaxvae.run import keys
from jaxvae.run.data import Split
from jaxvae.run.measures import AT_ONCE
from jaxvae.run.options.likelihoods import LearnedScale
from jaxvae.run.recipe import Asked, Measured
from jaxvae.types import Array, Key, Params

NEAR = 1.1  # so many floors at the most


def with_floor(
    measure: Callable[[Params, Split, Asked], dict[str, Measured]],
    model: VAE,
    as_x: Callable[[Split], Any],
    likelihood: LearnedScale,
) -> Callable[[Params, Split, Asked], dict[str, Measured]]:
    """The measures of a run, with the number of pixels whose scale lies on its floor.

    Args:
        measure: of a recipe.
        model: of the run.
        as_x: a split -> the xs.
        likelihood: of the run.

    Returns:
        The `measure` with "test_scales_on_floor", and a warning where a pixel lies there for half of the images.
    """

    def measured(params: Params, test: Split, asked: Asked) -> dict[str, Measured]:
        low = np.asarray(_on_floor(model, likelihood, keys.of_terms(), params, as_x(test)))
        constant, size = int(np.sum(low.mean(axis=0) >= 0.5)), low.shape[1]
        warning = None
        if constant:
            warning = (
                f"{constant:,} of {size:,} pixels have the least scale that --model.likelihood.least-scale "
                f"{likelihood.least_scale:g} allows, on half of the test images or more: what they add to the nats "
                "tells of this floor and not of the images. Compare with runs of the same floor alone, or leave "
                "constant pixels out"
            )
        number = Measured(low.sum(axis=1), "pixels", warning=warning)
        return measure(params, test, asked) | {"test_scales_on_floor": number}

    return measured


@partial(jax.jit, static_argnums=(0, 1))
def _on_floor(model: VAE, likelihood: LearnedScale, key: Key, params: Params, xs: training.Data) -> Array:
    """Whether the scale of each pixel lies on the floor, [N, D], by one draw of z."""

    def of_example(pair: tuple[Key, Any]) -> Array:
        z = model.posterior(params, pair[1]).sample(pair[0])
        return jnp.ravel(likelihood.scales(model.likelihood(params, z)) <= NEAR * likelihood.least_scale)

    count = training.num_examples(xs)
    return jax.lax.map(of_example, (jax.random.split(key, count), xs), batch_size=min(AT_ONCE, count))
