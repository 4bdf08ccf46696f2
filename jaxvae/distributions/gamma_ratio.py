"""The ratio Γ(a + k) / Γ(a), of which counts and Student's t are made, without the difference of two large numbers."""

import jax.numpy as jnp
from jax.scipy.special import gammaln

from jaxvae.types import Array

LARGEST_LOG = 30.0  # so that neither a nor 1/a leaves single precision


def log_gamma_ratio(log_a: Array, k: Array) -> Array:
    """ln Γ(a + k) - ln Γ(a) - k ln a, which goes to zero as a grows.

    For a ≥ 8 it is Stirling's series of both, term by term:

    (a + k - ½) ln(1 + k/a) - k + S(a + k) - S(a),    S(a) = 1/12a - 1/360a³ + 1/1260a⁵ - 1/1680a⁷

    Args:
        log_a: [*shape] ln a, unbounded; outside of ±30 it counts as ±30.
        k: [*shape] at least zero, whole or not.

    Returns:
        [*shape].

    Example:
        >>> round(float(log_gamma_ratio(jnp.log(2.0), jnp.asarray(3.0))), 4)  # ln (2 · 3 · 4 / 2³)
        1.0986

    Source: NIST Digital Library of Mathematical Functions, equation 5.11.1, for ln Γ.
    """
    log_a = jnp.clip(log_a, -LARGEST_LOG, LARGEST_LOG)
    large = log_a >= jnp.log(8.0).astype(log_a.dtype)
    eight = jnp.full_like(log_a, jnp.log(8.0))
    a = jnp.exp(jnp.where(large, log_a, eight))  # each branch away from where only the other is right
    by_stirling = (a + k - 0.5) * jnp.log1p(k / a) - k + _stirling(a + k) - _stirling(a)
    log_b = jnp.where(large, eight, log_a)
    by_difference = gammaln(jnp.exp(log_b) + k) - gammaln(jnp.exp(log_b)) - k * log_b
    return jnp.where(large, by_stirling, by_difference)


def _stirling(a: Array) -> Array:
    inverse = 1 / a
    square = jnp.square(inverse)
    return inverse * (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square / 1680)))
