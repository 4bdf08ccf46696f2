"""How far the aggregate posterior is from the prior, by draws of both: the maximum mean discrepancy.

MMD²(q, p) = E k(z, z') + E k(y, y') - 2 E k(z, y),    z, z' ~ q(z), y, y' ~ p(z), all independent

It is zero where the two are equal and only there, for kernels such as those of this file.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from jaxvae.losses.aggregate import Aggregate, OfAggregate
from jaxvae.types import Array

Kernel = Callable[[Array], Array]  # of squared distances, elementwise
SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # of the authors of WAE


def inverse_multiquadric(dimensions: int, *, scales: Sequence[float] = SCALES, prior_scale: float = 1.0) -> Kernel:
    """The kernel of WAE: heavy tails, so that codes far away are drawn back too; summed over scales.

    k(z, y) = Σ_s C_s / (C_s + |z - y|²),    C_s = 2 D σ² s

    2 D σ² is the mean of |y - y'|² for two draws of N(0, σ² I).

    Args:
        dimensions: D.
        scales: s.
        prior_scale: σ.

    Returns:
        The kernel, for `discrepancy`.

    Example:
        >>> float(inverse_multiquadric(2, scales=(1.0,))(jnp.array(4.0)))
        0.5

    Source: Tolstikhin, Bousquet, Gelly & Schölkopf, "Wasserstein Auto-Encoders" (2018), section 4, and their code for
    the sum over scales.
    """
    constants = [2 * dimensions * prior_scale**2 * scale for scale in scales]
    return lambda squared: sum((c / (c + squared) for c in constants), jnp.zeros_like(squared))


def gaussian_kernel(dimensions: int, *, prior_scale: float = 1.0) -> Kernel:
    """The kernel whose width is the mean distance of two draws of the prior.

    k(z, y) = exp(-|z - y|² / (2 D σ²))

    Args:
        dimensions: D, which enters once: a distance that is a mean over dimensions already is divided no further.
        prior_scale: σ.

    Returns:
        The kernel, for `discrepancy`.

    Source: Zhao, Song & Ermon, "InfoVAE" (2019), section 3.2.
    """
    return lambda squared: jnp.exp(-squared / (2 * dimensions * prior_scale**2))


def squared_distances(xs: Array, ys: Array) -> Array:
    """|x - y|² of every pair.

    Args:
        xs: [n, D].
        ys: [m, D].

    Returns:
        [n, m].
    """
    return jnp.sum(jnp.square(xs[:, None] - ys[None]), axis=-1)


def maximum_mean_discrepancy(kernel: Kernel, xs: Array, ys: Array) -> Array:
    """MMD² by the U-statistic: without bias, and so at times below zero.

    1/(n(n-1)) Σ_{i≠j} k(x_i, x_j) + 1/(m(m-1)) Σ_{i≠j} k(y_i, y_j) - 2/(nm) Σ_ij k(x_i, y_j)

    With the diagonal, k(x, x), it would be too high by about (1 - E k) (1/n + 1/m).

    Args:
        kernel: of squared distances.
        xs: [n, D], n ≥ 2.
        ys: [m, D], m ≥ 2.

    Returns:
        [].

    Raises:
        ValueError: there are fewer than two of one kind.

    Example:
        >>> xs = jnp.array([[0.0], [2.0]])
        >>> float(maximum_mean_discrepancy(inverse_multiquadric(2, scales=(1.0,)), xs, xs))  # ½ + ½ - ½ (1 + ½ + ½ + 1)
        -0.5

    Source: Gretton, Borgwardt, Rasch, Schölkopf & Smola, "A Kernel Two-Sample Test" (2012), equation 3.
    """
    if len(xs) < 2 or len(ys) < 2:
        raise ValueError(f"a discrepancy without bias needs two of each, and there are {len(xs)} and {len(ys)}")

    def within(zs: Array) -> Array:
        values = kernel(squared_distances(zs, zs))
        return (jnp.sum(values) - jnp.sum(jnp.diagonal(values))) / (len(zs) * (len(zs) - 1))

    return within(xs) + within(ys) - 2 * jnp.mean(kernel(squared_distances(xs, ys)))


def discrepancy(weight: float, kernel: Callable[[int], Kernel] = inverse_multiquadric) -> OfAggregate:
    """A price on the distance of the aggregate posterior from the prior: that of InfoVAE and WAE-MMD.

    r2 = w MMD²(q(z), p(z)), of one draw of each posterior of the batch, and as many draws of the prior

    InfoVAE is `regularised` with `divergence(-α)` and the weight α + λ - 1. With α = 1 no divergence is left and the
    weight is λ: WAE-MMD, whose cost, .05 |x - x̂|², is the likelihood of `normal_with_scale(10 ** 0.5)`.

    Args:
        weight: w.
        kernel: D -> the kernel.

    Returns:
        The price, for `regularised`.

    Source: Zhao, Song & Ermon (2019), equation 6; Tolstikhin et al. (2018), algorithm 2.
    """

    def of_aggregate(aggregate: Aggregate) -> Array:
        zs = aggregate.draws.reshape(len(aggregate.draws), -1)
        ys = jax.vmap(aggregate.prior.sample)(jax.random.split(aggregate.key, len(zs))).reshape(zs.shape)
        return weight * maximum_mean_discrepancy(kernel(zs.shape[1]), zs, ys)

    return of_aggregate
