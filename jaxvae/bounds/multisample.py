"""Bounds between the ELBO and the importance-weighted bound, made to keep the encoder's gradient from drowning."""

import jax
import jax.numpy as jnp

from jaxvae.bounds.base import Reduction, average, importance_weighted
from jaxvae.model import Terms
from jaxvae.types import Array


def combined(*, beta: float) -> Reduction:
    """CIWAE: the ELBO and the importance-weighted bound of the same k draws, mixed.

    L = β L_ELBO + (1 - β) L_k

    Args:
        beta: β between 0 and 1.

    Returns:
        The reduction.

    Raises:
        ValueError: β does not lie between 0 and 1.

    Source: Rainforth et al., "Tighter Variational Bounds are Not Necessarily Better" (2018), section 5 (CIWAE).
    """
    if not 0 <= beta <= 1:
        raise ValueError(f"beta={beta} must lie between 0, the importance-weighted bound, and 1, the ELBO")

    def reduce(terms: Terms) -> Array:
        if beta == 0:  # the ELBO is -inf where one weight is zero, and zero times it would be no number
            return importance_weighted(terms)
        return beta * average(terms) + (1 - beta) * importance_weighted(terms)

    return reduce


def grouped(*, num_groups: int) -> Reduction:
    """MIWAE: the importance-weighted bound of M groups of K draws each, averaged.

    L_{M,K} = 1/M Σ_m ln 1/K Σ_k w_{m,k}

    M = 1 is the importance-weighted bound, K = 1 the ELBO with drawn divergences.

    Args:
        num_groups: M, which divides the number of draws.

    Returns:
        The reduction. It raises a ValueError where M does not divide the draws.

    Raises:
        ValueError: M is less than one.

    Source: Rainforth et al. (2018), section 5 (MIWAE).
    """
    if num_groups < 1:
        raise ValueError(f"num_groups={num_groups} must be at least one")

    def reduce(terms: Terms) -> Array:
        k = len(terms.log_likelihood)
        if k % num_groups:
            raise ValueError(f"{k} draws do not make {num_groups} groups of one size; take a multiple of {num_groups}")
        groups = jax.tree.map(lambda field: field.reshape(num_groups, -1, *field.shape[1:]), terms)
        return jnp.mean(jax.vmap(importance_weighted)(groups))

    return reduce
