"""Rényi's bounds: the family in which the ELBO and the importance-weighted bound are two members."""

import jax
import jax.numpy as jnp

from jaxvae.bounds.base import Reduction, log_mean_exp, log_weights, scored
from jaxvae.model import Terms
from jaxvae.types import Array


def renyi(*, alpha: float) -> Reduction:
    """The variational Rényi bound, of k draws.

    L_α(x) = 1/(1-α) E[ln 1/k Σ_i w_i^(1-α)],    w_i = p(x, z_i) / q(z_i|x)

    It falls as α rises. α = 1 is the ELBO with drawn divergences, α = 0 the importance-weighted bound, α = -∞ VR-max,
    the largest weight alone; between 0 and 1 it is the importance-weighted bound with its weights tempered, by the
    power 1 - α. With infinitely many draws it lies below log p(x) for α > 0 and above it for α < 0; with k of them the
    estimate of the upper bound is biased downward, and is a bound in the limit only.

    Args:
        alpha: α, any number or -inf.

    Returns:
        The reduction.

    Raises:
        ValueError: α is not a number, or +inf.

    Example:
        >>> from jaxvae import bounds
        >>> from jaxvae.models import linear
        >>> import jax
        >>> model = linear.linear_vae(latent=1)
        >>> params = model.init(jax.random.key(0), jnp.zeros(3))
        >>> terms = bounds.draw_terms(model, jax.random.key(1), params, jnp.ones(3), num_samples=5)
        >>> bool(renyi(alpha=0.5)(terms) < bounds.importance_weighted(terms))
        True

    Source: Li & Turner, "Rényi Divergence Variational Inference" (2016), equations 10 and 14.
    """
    if not alpha < float("inf"):
        raise ValueError(f"alpha={alpha} must be a number, or -inf for the largest weight alone")

    @scored
    def reduce(terms: Terms) -> Array:
        log_weight = log_weights(terms)
        if alpha == float("-inf"):
            return jnp.max(log_weight)
        if alpha == 1:
            return jnp.mean(log_weight)
        return _log_power_mean(log_weight, 1 - alpha)

    return reduce


def _log_power_mean(log_weight: Array, power: float) -> Array:
    """1/t ln 1/k Σ_i w_i^t of [k] log weights: [].

    As t vanishes it becomes the mean of ln w, and a logarithm near zero divided by t has no digits left: there it is
    made by log1p and expm1, of weights that are relative to the largest.
    """
    largest = jax.lax.stop_gradient(jnp.max(log_weight))
    largest = jnp.where(jnp.isfinite(largest), largest, 0)
    powers = power * (log_weight - largest)
    near = jnp.all(jnp.abs(powers) <= 1)
    of_near = jnp.log1p(jnp.mean(jnp.expm1(jnp.clip(powers, -1, 1))))
    return largest + jnp.where(near, of_near, log_mean_exp(powers)) / power


def chi_upper(*, order: float = 2.0) -> Reduction:
    """The χ upper bound, of k draws: it bounds log p(x) from above as k grows.

    U_n(x) = 1/n ln 1/k Σ_i w_i^n

    It is Rényi's bound at α = 1 - n.

    Args:
        order: n > 1.

    Returns:
        The reduction.

    Raises:
        ValueError: the order is not greater than one.

    Source: Dieng et al., "Variational Inference via χ Upper Bound Minimization" (2017), equation 4.
    """
    if not order > 1:
        raise ValueError(f"order={order} must be greater than one: at one it is the importance-weighted bound")
    return renyi(alpha=1 - order)
