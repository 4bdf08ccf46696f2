"""Priors p(z), with parameters of their own or with the posterior's."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from jaxvae.distributions import Normal
from jaxvae.types import Array, Distribution, Key, Params, Shape

Posterior = Callable[[Array], Distribution]  # x [*event] -> q(z|x)


class Prior(NamedTuple):
    """A pure prior: any pair of functions. Most take nothing but their params."""

    init: Callable[[Key, Array], Params]  # (key, x) -> params; x [*event] is any example, for its shape
    apply: Callable[[Params, Posterior], Distribution]  # (params, the model's posterior) -> the distribution of z


def standard_normal(shape: Shape) -> Prior:
    """The prior N(0, I), which has no parameters.

    Args:
        shape: the shape of z.

    Returns:
        The prior.
    """
    return Prior(init=lambda key, x: {}, apply=lambda params, posterior: Normal(jnp.zeros(shape), jnp.zeros(shape)))
