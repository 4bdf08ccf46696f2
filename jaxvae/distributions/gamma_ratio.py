"""Logarithms of Γ in densities of counts and in Student's t, without the difference of two large numbers.

Single precision knows ln Γ(50,000) to 0.03 nats. What a density needs of it is a small part, which Stirling's series
gives alone: `stirling_error` beside logarithms of quotients.
"""

import jax.numpy as jnp
from jax.scipy.special import gammaln

from jaxvae.types import Array

LARGEST_LOG = 30.0  # where densities end their parameters, so that neither a nor 1/a leaves single precision
BEYOND = LARGEST_LOG + 2  # where this ratio does: halves and sums of such parameters are to be themselves
HALF_LOG_2PI = 0.9189385332046727


def log_gamma_ratio(log_a: Array, k: Array) -> Array:
    """ln Γ(a + k) - ln Γ(a) - k ln a, which goes to zero as a grows.

    For a ≥ 8 it is Stirling's series of both, term by term:

    (a + k - ½) ln(1 + k/a) - k + S(a + k) - S(a),    S(a) = 1/12a - 1/360a³ + 1/1260a⁵ - 1/1680a⁷

    Args:
        log_a: [*shape] ln a, unbounded; outside of ±32 it counts as ±32.
        k: [*shape] at least zero, whole or not.

    Returns:
        [*shape].

    Example:
        >>> round(float(log_gamma_ratio(jnp.log(2.0), jnp.asarray(3.0))), 4)  # ln (2 · 3 · 4 / 2³)
        1.0986

    Source: NIST Digital Library of Mathematical Functions, equation 5.11.1, for ln Γ.
    """
    log_a = jnp.clip(log_a, -BEYOND, BEYOND)
    large = log_a >= jnp.log(8.0).astype(log_a.dtype)
    eight = jnp.full_like(log_a, jnp.log(8.0))
    a = jnp.exp(jnp.where(large, log_a, eight))  # each branch away from where only the other is right
    by_stirling = (a + k - 0.5) * jnp.log1p(k / a) - k + _stirling(a + k) - _stirling(a)
    log_b = jnp.where(large, eight, log_a)
    by_difference = gammaln(jnp.exp(log_b) + k) - gammaln(jnp.exp(log_b)) - k * log_b
    return jnp.where(large, by_stirling, by_difference)


def stirling_error(a: Array) -> Array:
    """ln Γ(a + 1) - (a + ½) ln a + a - ½ ln 2π, what Stirling's first formula leaves: 1/12a as a grows.

    Args:
        a: [*shape] above zero.

    Returns:
        [*shape].

    Example:
        >>> round(float(stirling_error(jnp.asarray(1.0))), 4)  # 1 - ½ ln 2π
        0.0811

    Source: Loader, "Fast and Accurate Computation of Binomial Probabilities" (2000), section 2.
    """
    large = a >= 8
    small = jnp.where(large, jnp.ones_like(a), a)
    direct = gammaln(small + 1) - (small + 0.5) * jnp.log(small) + small - HALF_LOG_2PI
    return jnp.where(large, _stirling(jnp.where(large, a, 8 * jnp.ones_like(a))), direct)


def log_quotient(over: Array, under: Array, difference: Array) -> Array:
    """ln(a/b), by their difference where they are near to each other and it has digits that they have lost.

    Args:
        over: [*shape] a > 0.
        under: [*shape] b > 0.
        difference: [*shape] a - b, computed without them.

    Returns:
        [*shape].
    """
    share = difference / under
    near = jnp.abs(share) < 0.5
    far = jnp.log(jnp.where(near, jnp.ones_like(over), over / under))
    return jnp.where(near, jnp.log1p(jnp.where(near, share, 0)), far)


def _stirling(a: Array) -> Array:
    inverse = 1 / a
    square = jnp.square(inverse)
    return inverse * (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square / 1680)))
