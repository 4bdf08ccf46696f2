"""A prior whose coordinates follow each other: no independent posterior can match it, and the rate cannot vanish."""

import jax.numpy as jnp

from jaxvae.distributions import CorrelatedNormal
from jaxvae.priors.prior import Prior
from jaxvae.types import Shape


def committed_rate(dimensions: int, correlation: float) -> float:
    """The least divergence that independent Gaussians can have from this prior: the rate that is committed.

    δ = ½ [(D - 2) ln(1 + α²) - ln(1 - α²)]

    Args:
        dimensions: D ≥ 2.
        correlation: α.

    Returns:
        Nats.

    Example:
        >>> round(committed_rate(20, 0.95), 2)
        6.95

    Source: Razavi et al. (2019), equation 3, for one sequence.
    """
    return 0.5 * float((dimensions - 2) * jnp.log1p(correlation**2) - jnp.log1p(-(correlation**2)))


def correlated_normal(shape: Shape, *, correlation: float = 0.95) -> Prior:
    """The prior of the δ-VAE, for a posterior of independent Gaussians.

    Args:
        shape: (D,), of z.
        correlation: α.

    Returns:
        The prior; it has no parameters.

    Raises:
        ValueError: z is no vector of two dimensions at least, or α not between -1 and 1.
    """
    if len(shape) != 1 or shape[0] < 2 or not -1 < correlation < 1:
        raise ValueError(
            f"a correlated prior needs z of a shape (D,) with D of 2 at least, not {shape}, and a correlation between "
            f"-1 and 1, not {correlation}"
        )
    return Prior(lambda key, x: {}, lambda params, posterior: CorrelatedNormal(jnp.zeros(shape), correlation))
