"""The thermodynamic variational objective: log p(x) as the area under a rising curve.

log p(x) = ∫₀¹ E_{π_β}[ln w] dβ,    π_β(z) ∝ q(z|x) w^β,    w = p(x, z) / q(z|x)

The curve begins at the ELBO. Its left sum is a lower bound, its right sum an upper one.
Source: Masrani, Le & Wood, "The Thermodynamic Variational Objective" (2019).
"""

from collections.abc import Sequence
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.bounds.base import Reduction, log_weights, scored
from jaxvae.loops import fori_loop
from jaxvae.model import Terms
from jaxvae.types import Array

Rule = Literal["left", "right", "trapezoid"]


def thermodynamic(partition: Sequence[float] | int, *, rule: Rule = "left") -> Reduction:
    """The area by a sum over a partition 0 = β₀ < β₁ < ... < β_K = 1.

    left:  Σ_k (β_{k+1} - β_k) E_{π_{β_k}}[ln w],    E_{π_β}[ln w] ≈ Σ_i w_i^β ln w_i / Σ_j w_j^β

    A partition of one interval, left, is the ELBO with drawn divergences. The expectations are weighted means over the
    same k draws, and so are bounds in the limit of many draws. A weight of zero counts for nothing but at β = 0, where
    the curve is -inf: the left sum is -inf then, as the ELBO is, and the right one is not.

    Args:
        partition: [K + 1] rising from 0 to 1, or K for a partition that adapts to each example: its points are where
            the curve crosses K + 1 levels of equal distance.
        rule: "left" (a lower bound), "right" (an upper one) or "trapezoid" (neither, and closer).

    Returns:
        The reduction.

    Raises:
        ValueError: the partition does not rise from 0 to 1, or the rule is none of the three.

    Source: Masrani et al. (2019), equations 8 to 11; Brekelmans et al., "All in the Exponential Family" (2020),
    section 4.2, for the points at equal distances of the mean.
    """
    if isinstance(partition, int):
        betas_of = partial(levelled_partition, num_intervals=partition)
    else:
        betas_of = partial(_fixed, partition)
    shares = {"left": (1.0, 0.0), "right": (0.0, 1.0), "trapezoid": (0.5, 0.5)}
    if rule not in shares:
        raise ValueError(f"rule={rule!r} must be left, right or trapezoid")
    of_left, of_right = shares[rule]

    @scored
    def reduce(terms: Terms) -> Array:
        log_weight = log_weights(terms)
        betas = betas_of(jax.lax.stop_gradient(log_weight))
        heights = tempered_means(log_weight, betas)
        # a side that has no share is left out: zero times its -inf would be no number
        sides = [share * side for share, side in ((of_left, heights[:-1]), (of_right, heights[1:])) if share]
        widths = jnp.diff(betas)
        return jnp.sum(jnp.where(widths > 0, widths * sum(sides[1:], sides[0]), 0))

    return reduce


def log_partition(num_intervals: int, *, first: float = 0.025) -> list[float]:
    """A partition whose points lie at equal distances on a logarithmic axis, where the curve rises most.

    Args:
        num_intervals: K.
        first: β₁, between 0 and 1.

    Returns:
        [K + 1] points from 0 to 1.

    Raises:
        ValueError: K is less than two, or β₁ not between 0 and 1.

    Source: Masrani et al. (2019), section 6.
    """
    if num_intervals < 2 or not 0 < first < 1:
        raise ValueError(f"num_intervals={num_intervals} must be at least two, and first={first} between 0 and 1")
    return [0.0, *np.geomspace(first, 1.0, num_intervals).tolist()]


def tempered_means(log_weight: Array, betas: Array) -> Array:
    """E_{π_β}[ln w] at each β, by weighted means over the draws.

    Args:
        log_weight: [k].
        betas: [T].

    Returns:
        [T] nats.
    """
    untempered = betas[:, None] == 0  # all draws count alike, whatever their weights
    nothing = jnp.max(log_weight) == -jnp.inf
    scores = jnp.where(untempered | nothing, 0, betas[:, None] * log_weight[None])
    normalised = jax.nn.softmax(scores, axis=1)
    return jnp.sum(normalised * jnp.where(normalised > 0, log_weight[None], 0), axis=1)  # w ln w is 0 at w = 0


def levelled_partition(log_weight: Array, *, num_intervals: int) -> Array:
    """The points where the curve crosses levels of equal distance between its two ends.

    Args:
        log_weight: [k].
        num_intervals: K.

    Returns:
        [K + 1] points, not falling, from 0 to 1.

    Raises:
        ValueError: K is less than one.

    Source: Brekelmans et al. (2020), section 4.2.
    """
    if num_intervals < 1:
        raise ValueError(f"a partition needs at least one interval, not {num_intervals}")
    ends = tempered_means(log_weight, jnp.array([0.0, 1.0], log_weight.dtype))
    # where a weight is zero the curve leaps, at once, to the mean of the others
    there = log_weight > -jnp.inf
    begin = jnp.sum(jnp.where(there, log_weight, 0)) / jnp.maximum(jnp.sum(there.astype(log_weight.dtype)), 1)
    ends = jnp.where(jnp.isfinite(ends), ends, begin)
    levels = jnp.linspace(ends[0], ends[1], num_intervals + 1)[1:-1]

    def halve(_: int, interval: tuple[Array, Array]) -> tuple[Array, Array]:
        lower, upper = interval
        middle = 0.5 * (lower + upper)
        below = tempered_means(log_weight, middle) < levels
        return jnp.where(below, middle, lower), jnp.where(below, upper, middle)

    nothing = jnp.zeros_like(levels)
    lower, upper = fori_loop(0, 24, halve, (nothing, nothing + 1))
    zero, one = jnp.zeros((1,), log_weight.dtype), jnp.ones((1,), log_weight.dtype)
    return jnp.concatenate([zero, 0.5 * (lower + upper), one])


def _fixed(partition: Sequence[float], log_weight: Array) -> Array:
    """The points of a partition that does not adapt."""
    points = np.asarray(partition, log_weight.dtype)
    if not (points[0] == 0 and points[-1] == 1 and np.all(np.diff(points) > 0)):
        raise ValueError(f"the partition {partition} must rise from 0 to 1")
    return jnp.asarray(points)
