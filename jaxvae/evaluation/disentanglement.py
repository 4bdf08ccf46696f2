"""Whether a code's dimensions are the factors that a picture was made of: MIG, modularity, IRS, SAP of R², UDR.

Codes [N, D] are posterior means, factors [N, K] the numbers of their values, from 0. All of this file is pure
arithmetic and can be jitted; what fits a classifier is in `factor_classifiers`.

A perfect code does not always get 1. With the settings of the library of Locatello et al. and five factors of 3, 6, 40,
32 and 32 values, of which the perfect code is the numbers (0, 1, 2, ...; SAP and IRS depend on such units):

| metric | a perfect code | a code that knows nothing |
|---|---|---|
| MIG, 20 bins | .902 (1, 1, .812, .85, .85); without bins 1 | .0004 |
| SAP by lines | .21 to .23; by R² 1 | 0 |
| IRS, factors in 20 bins | .979; without bins 1 | Gaussian .375, uniform .014 |
| modularity | 1; .815 with as many dimensions of noise | .674 of 10 dimensions |
| FactorVAE score | 1 | .196, a fifth and its noise |
| β-VAE score | 1 | .2 |
| UDR of two turned copies | .97 of 10,000 rank correlations, 1 of infinitely many | 0 |
| DCI by boosted trees | 1, 1 | .001, .002 |

Sprites whose square repeats at a quarter of a turn have no perfect code of their angle, so that no model reaches these.

Source: Locatello et al., "Challenging Common Assumptions in the Unsupervised Learning of Disentangled Representations"
(2019), appendix B, and its code.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxvae.types import Array


class Information(NamedTuple):
    """What a code's dimensions tell of the factors, in nats."""

    mutual: Array  # [D, K]  I(z_d; v_k)
    entropy: Array  # [K]  H(v_k)


def binned(values: Array, bins: int = 20) -> Array:
    """The bin of each number, between the smallest and the largest of its column.

    Args:
        values: [N, D].
        bins: how many of one width.

    Returns:
        [N, D] int from 0 to bins - 1; a column without variance is in bin 0.

    Example:
        >>> binned(jnp.array([[0.0], [0.4], [0.6], [1.0]]), bins=2).ravel()
        Array([0, 0, 1, 1], dtype=int32)
    """
    low, high = jnp.min(values, axis=0, keepdims=True), jnp.max(values, axis=0, keepdims=True)
    width = jnp.where(high > low, high - low, jnp.ones_like(high))
    return jnp.clip(jnp.floor((values - low) / width * bins), 0, bins - 1).astype(jnp.int32)


def information(kinds: Array, factors: Array, *, num_kinds: int, sizes: Sequence[int]) -> Information:
    """The mutual information of every dimension and every factor, by counting.

    I(z; v) = Σ p(z, v) ln [p(z, v) / p(z) p(v)]

    Args:
        kinds: [N, D] int below `num_kinds`: `binned` codes, or exact ones that take few values.
        factors: [N, K] int, each below its size.
        num_kinds: that a dimension can take.
        sizes: K numbers of values.

    Returns:
        The information; that of few examples in many bins is too high.

    Raises:
        ValueError: there are not as many sizes as factors.

    Example:
        >>> bit = jnp.array([[0], [1], [0], [1]])
        >>> jnp.round(information(bit, bit, num_kinds=2, sizes=[2]).mutual, 4)  # ln 2
        Array([[0.6931]], dtype=float32)
    """
    if len(sizes) != factors.shape[1]:
        raise ValueError(f"there are {factors.shape[1]} factors, and the sizes of {len(sizes)}: give one for each")
    rows = jnp.broadcast_to(jnp.arange(kinds.shape[1])[None], kinds.shape)

    def of_factor(factor: Array, size: int) -> tuple[Array, Array]:
        counts = jnp.zeros((kinds.shape[1], num_kinds, size), float)
        counts = counts.at[rows, kinds, jnp.broadcast_to(factor[:, None], kinds.shape)].add(1.0)
        joint = counts / len(kinds)
        of_kind, of_value = jnp.sum(joint, axis=2), jnp.sum(joint, axis=1)
        mutual = _entropy(of_kind) + _entropy(of_value) - _entropy(joint.reshape(len(joint), -1))
        return mutual, _entropy(of_value)[0]

    found = [of_factor(factors[:, k], size) for k, size in enumerate(sizes)]
    return Information(jnp.stack([mutual for mutual, _ in found], axis=1), jnp.stack([own for _, own in found]))


def mutual_information_gap(told: Information) -> Array:
    """How much more the best dimension tells of a factor than the next, as a share of its entropy: MIG.

    1/K Σ_k [I(z_(1); v_k) - I(z_(2); v_k)] / H(v_k)

    With 20 bins a factor of more values than bins cannot be told wholly: the ceiling is below 1.

    Args:
        told: by two dimensions at least.

    Returns:
        [] between 0 and 1.

    Raises:
        ValueError: there is one dimension only.

    Source: Chen, Li, Grosse & Duvenaud (2018), equation 6, there with the posterior's density; here with the means
    of posteriors in bins, as in the code of Locatello et al.
    """
    return jnp.mean(_gaps(told.mutual) / told.entropy)


def modularity(mutual: Array) -> Array:
    """Whether each dimension tells of one factor only.

    1/D Σ_d [1 - Σ_{k ≠ best} I_dk² / (I_d,best² (K - 1))]

    A dimension that tells of nothing counts 0. One that is pure noise tells a little of all alike, and takes the score
    down: it is the mean over dimensions, whatever they tell.

    Args:
        mutual: [D, K] of `information`.

    Returns:
        [] between 0 and 1.

    Source: Ridgeway & Mozer, "Learning Deep Disentangled Embeddings with the F-Statistic Loss" (2018), section 3.
    """
    squared = jnp.square(mutual)
    best = jnp.max(squared, axis=1)
    others = (jnp.sum(squared, axis=1) - best) / (jnp.where(best > 0, best, 1) * (mutual.shape[1] - 1))
    return jnp.mean(jnp.where(best > 0, 1 - others, 0))


def separated_r2(codes: Array, factors: Array) -> Array:
    """How much more the best dimension explains of a factor by a line than the next, as a share of variance: SAP of R².

    1/K Σ_k [R²_(1)k - R²_(2)k],    R²_dk = Cov(z_d, v_k)² / (Var z_d Var v_k)

    Args:
        codes: [N, D], two dimensions at least.
        factors: [N, K], ordered values.

    Returns:
        [] between 0 and 1; a factor whose values have no order (a shape) is not explained by lines.

    Raises:
        ValueError: there is one dimension only.

    Source: Kumar, Sattigeri & Balakrishnan (2018), section 3, for factors that are numbers.
    """
    return jnp.mean(_gaps(jnp.square(correlations(codes, factors.astype(codes.dtype)))))


def correlations(xs: Array, ys: Array, *, by_ranks: bool = False) -> Array:
    """The correlation of every column of one with every column of another.

    Args:
        xs: [N, D].
        ys: [N, E].
        by_ranks: Spearman's, of ranks in place of values; ties are ranked as they come.

    Returns:
        [D, E]; 0 where a column has no variance.
    """

    def standard(values: Array) -> Array:
        if by_ranks:
            values = jnp.argsort(jnp.argsort(values, axis=0), axis=0).astype(values.dtype)
        centred = values - jnp.mean(values, axis=0, keepdims=True)
        scale = jnp.sqrt(jnp.sum(jnp.square(centred), axis=0, keepdims=True))
        return centred / jnp.where(scale > 0, scale, 1)

    return standard(xs).T @ standard(ys)


def interventional_robustness(codes: Array, factors: Array, *, sizes: Sequence[int], quantile: float = 0.99) -> Array:
    """How little a dimension moves while its factor is held and the others change: IRS.

    1 - E_v[Q(|z_d - E[z_d|v]|)] / max |z_d - E z_d|,    of the best factor, weighted over d by that maximum

    The weights and the maximum are of the worst example: a Gaussian code that knows nothing gets .375 of 10,000, as its
    99% quantile is so much less than its maximum.

    Args:
        codes: [N, D].
        factors: [N, K] int, each below its size; values that no example has are left out.
        sizes: K numbers of values; the code of Locatello et al. puts factors into 20 bins (`binned`) first.
        quantile: of the deviations within a value; 1 is the paper's maximum.

    Returns:
        [] between 0 and 1.

    Source: Suter, Miladinović, Schölkopf & Bauer, "Robustly Disentangled Causal Mechanisms" (2019), equations 9 and 11,
    with the quantile of their code.
    """
    most = jnp.max(jnp.abs(codes - jnp.mean(codes, axis=0, keepdims=True)), axis=0)

    def of_value(factor: Array, value: Array) -> tuple[Array, Array]:
        held = (factor == value)[:, None]
        count = jnp.sum(held.astype(codes.dtype))
        mean = jnp.sum(jnp.where(held, codes, 0), axis=0, keepdims=True) / jnp.maximum(count, 1)
        deviations = jnp.sort(jnp.where(held, jnp.abs(codes - mean), jnp.inf), axis=0)
        place = quantile * jnp.maximum(count - 1, 0)
        below, above = (deviations[at.astype(jnp.int32)] for at in (jnp.floor(place), jnp.ceil(place)))
        there = count > 0
        between = below + (place - jnp.floor(place)) * (above - below)
        return jnp.where(there, between, 0), there.astype(codes.dtype)

    def of_factor(factor: Array, size: int) -> Array:
        values = jnp.arange(size, dtype=factor.dtype)
        deviations, there = jax.lax.map(lambda value: of_value(factor, value), values)
        return jnp.sum(deviations, axis=0) / jnp.sum(there)

    moved = jnp.stack([of_factor(factors[:, k], size) for k, size in enumerate(sizes)], axis=1)  # [D, K]
    alive = most > 0
    robust = jnp.where(alive, jnp.max(1 - moved / jnp.where(alive, most, 1)[:, None], axis=1), 0)
    return jnp.sum(robust * most) / jnp.where(jnp.any(alive), jnp.sum(most), 1)


def unsupervised_ranking(one: Array, other: Array, informative: tuple[Array, Array]) -> Array:
    """How alike the codes of two trained models are, but for order and sign: a row of UDR, without any label.

    ½ mean_e [max_d R_de² / Σ_d R_de] + ½ mean_d [max_e R_de² / Σ_e R_de],    R = |Spearman's correlation|

    A model's UDR is the median over other seeds of its own configuration.

    Args:
        one: [N, D] codes of one model.
        other: [N, E] codes of another, of the same examples.
        informative: ([D], [E]) whether a dimension's KL is above .01 nats: the others are left out.

    Returns:
        [] between 0 and 1: 1 of two copies as N grows, less by what chance correlates among few examples.

    Source: Duan et al., "Unsupervised Model Selection for Variational Disentangled Representation Learning" (2020),
    equation 3 and appendix.
    """
    kept = informative[0][:, None] & informative[1][None]
    alike = jnp.where(kept, jnp.abs(correlations(one, other, by_ranks=True)), 0)

    def along(axis: int, mask: Array) -> Array:
        total = jnp.sum(alike, axis=axis)
        share = jnp.square(jnp.max(alike, axis=axis)) / jnp.where(total > 0, total, 1)
        return jnp.sum(jnp.where(mask, share, 0)) / jnp.maximum(jnp.sum(mask.astype(share.dtype)), 1)

    return 0.5 * (along(0, informative[1]) + along(1, informative[0]))


def _gaps(scores: Array) -> Array:
    """[D, K] -> [K]: the best less the next."""
    if len(scores) < 2:
        raise ValueError("a gap to the next dimension needs two dimensions at least, and the codes have one")
    best = jax.lax.top_k(scores.T, 2)[0]
    return best[:, 0] - best[:, 1]


def _entropy(shares: Array) -> Array:
    """[D, n] -> [D] nats."""
    return -jnp.sum(jax.scipy.special.xlogy(shares, shares), axis=1)
