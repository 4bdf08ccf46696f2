"""How dependent the latents are, as a batch tells it: total correlation, by densities or by a discriminator; DIP.

TC(z) = KL(q(z) || Π_j q(z_j)),    q(z) = 1/N Σ_n q(z|x_n)

A batch sees few of the N posteriors of a data set, and its logarithms are biased: these are prices to train with. What
is reported of a trained model is `jaxvae.evaluation.decompose_kl`, over as many posteriors as are wanted.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from jaxvae.distributions import Normal, held
from jaxvae.losses.aggregate import Aggregate, OfAggregate
from jaxvae.types import Array, Distribution, Network

LogWeights = Callable[[int], Array]  # B -> [B, B] ln w: q(z_b) is about Σ_c w_bc q(z_b|x_c)


def stratified_log_weights(num_examples: int, batch_size: int) -> Array:
    """The weights by which a batch's posteriors estimate the aggregate at one's own draw without bias.

    q(z_b)  ≈  1/N q(z_b|x_b) + (N - M)/(N M) q(z_b|x_{b+1}) + 1/M Σ_{the others} q(z_b|x_c),    M = B - 1

    The batch is example b and M others without replacement: over all such batches the mean is 1/N Σ_n q(z_b|x_n). The
    logarithm of the estimate is biased all the same. The authors' code, and two libraries that copied it, put 1/N into
    the first column and not on the diagonal (strides of M + 1 over rows of M + 1): there the estimate is off by up to
    37% for N = 7 and B = 4, and the weights of one row add up to 1.05.

    Args:
        num_examples: N.
        batch_size: B, from 2 to N.

    Returns:
        [B, B] ln w, row b for z_b; the next of the last is the first.

    Raises:
        ValueError: there is no other example in the batch, or there are more than N.

    Example:
        >>> [round(float(weight), 3) for weight in jnp.exp(stratified_log_weights(8, 3))[0]]
        [0.125, 0.375, 0.5]

    Source: Chen, Li, Grosse & Duvenaud, "Isolating Sources of Disentanglement" (2018), appendix C.2.
    """
    _check_sizes(num_examples, batch_size)
    others = batch_size - 1
    own, after = jnp.eye(batch_size, dtype=bool), jnp.eye(batch_size, k=1, dtype=bool).at[-1, 0].set(True)
    of_next = math.log((num_examples - others) / (num_examples * others))
    rest = jnp.where(after, of_next, jnp.full((batch_size, batch_size), -math.log(others)))
    return jnp.where(own, -math.log(num_examples), rest)


def weighted_log_weights(num_examples: int, batch_size: int) -> Array:
    """The even weights of minibatch-weighted sampling, 1/(N B): simple, and low.

    The density of the aggregate comes out low by ln B where the posteriors lie apart and by ln N where all overlap, so
    that the total correlation of D latents comes out high by as much as (D - 1) ln N: train with it, report another.

    Args:
        num_examples: N.
        batch_size: B, from 2 to N.

    Returns:
        [B, B] ln w.

    Raises:
        ValueError: there is no other example in the batch, or there are more than N.

    Source: Chen, Li, Grosse & Duvenaud (2018), equation 5 and appendix C.1.
    """
    _check_sizes(num_examples, batch_size)
    return jnp.full((batch_size, batch_size), -math.log(num_examples * batch_size))


def total_correlation(weight: float, log_weights: LogWeights) -> OfAggregate:
    """A price on the total correlation, by the densities of the batch: with β - 1 the loss is that of a β-TCVAE.

    r2 = w 1/B Σ_b [ln q(z_b) - Σ_j ln q(z_bj)]

    Args:
        weight: w.
        log_weights: how a batch stands for the data set, `partial(stratified_log_weights, 60_000)` for instance.

    Returns:
        The price, for `regularised`. It raises a ValueError where posteriors do not factorise over dimensions.

    Source: Chen, Li, Grosse & Duvenaud (2018), equation 4; the loss is -ELBO + (β - 1) TC, in which the mutual
    information and the dimension-wise divergence keep their weight of one.
    """

    def of_aggregate(aggregate: Aggregate) -> Array:
        each = log_densities(aggregate.posteriors, aggregate.draws)
        weights = log_weights(len(each)).astype(each.dtype)
        joint = logsumexp(weights + jnp.sum(each, axis=-1), axis=1)
        marginals = logsumexp(weights[..., None] + each, axis=1)
        return weight * jnp.mean(joint - jnp.sum(marginals, axis=-1))

    return of_aggregate


def log_densities(posteriors: Distribution, draws: Array) -> Array:
    """Every draw under every posterior, dimension by dimension.

    Args:
        posteriors: that factorise over dimensions, fields [B, D].
        draws: [C, D].

    Returns:
        [C, B, D] ln q(z_cj|x_b).

    Raises:
        ValueError: a field has another shape, so that the posteriors may not factorise.
    """
    shapes = [field.shape for field in jax.tree.leaves(posteriors)]
    if any(shape != (len(draws), draws.shape[-1]) or draws.ndim != 2 for shape in shapes):
        raise ValueError(
            f"a total correlation by densities needs posteriors that factorise over the latents [D], with fields "
            f"[B, D]; these are {shapes}: take jaxvae.distributions.Normal, or FactorVAE's discriminator"
        )

    def of_pair(posterior: Distribution, draw: Array) -> Array:
        return jax.vmap(lambda of_dimension, value: of_dimension.log_prob(value))(posterior, draw)

    return jax.vmap(jax.vmap(of_pair, (0, None)), (None, 0))(posteriors, draws)


def gaussian_total_correlation(covariance: Array) -> Array:
    """The total correlation of a Gaussian.

    TC(N(m, S)) = -½ ln |corr S|

    Args:
        covariance: [D, D] S.

    Returns:
        [] nats.

    Example:
        >>> round(float(gaussian_total_correlation(jnp.array([[4.0, 1.2], [1.2, 1.0]]))), 4)  # -½ ln(1 - .6²)
        0.2231

    Source: Watanabe, "Information Theoretical Analysis of Multivariate Correlation" (1960).
    """
    scale = jnp.sqrt(jnp.diagonal(covariance))
    return -0.5 * jnp.linalg.slogdet(covariance / (scale[:, None] * scale[None]))[1]


def density_ratio(weight: float, discriminator: Network) -> OfAggregate:
    """A price on the total correlation as a discriminator tells it: FactorVAE's.

    r2 = w 1/B Σ_b ln D(z_b) / (1 - D(z_b)),    D = σ(logit)

    D tells codes from codes whose dimensions were permuted over the batch; at the best one the logit is
    ln q(z) / Π_j q(z_j), whose mean is the total correlation. A worse one underestimates it as a rule: it is a price to
    train with, not a number to report.

    Args:
        weight: γ.
        discriminator: z [*latent] -> {"logit": []}; its params are the entry "discriminator".

    Returns:
        The price, for `regularised`; `factor` puts both players together.

    Source: Kim & Mnih, "Disentangling by Factorising" (2018), equation 3.
    """

    def of_aggregate(aggregate: Aggregate) -> Array:
        params = aggregate.params["discriminator"]
        return weight * jnp.mean(jax.vmap(lambda z: discriminator.apply(params, z)["logit"])(aggregate.draws))

    return of_aggregate


def dip(*, off_diagonal: float, diagonal: float, with_variances: bool) -> OfAggregate:
    """A price on the covariance of the codes for not being the identity: DIP-VAE I and II.

    r2 = λ_od Σ_{i≠j} C_ij² + λ_d Σ_i (C_ii - 1)²,    C = Cov_x[μ(x)], and in II + E_x[diag σ²(x)]

    Args:
        off_diagonal: λ_od.
        diagonal: λ_d; the authors take 10 λ_od for I and λ_od for II.
        with_variances: II, the covariance of z itself by the law of total variance; without them I, of its mean.

    Returns:
        The price, for `regularised`. It raises a ValueError where posteriors are no `Normal`.

    Source: Kumar, Sattigeri & Balakrishnan, "Variational Inference of Disentangled Latent Concepts" (2018), equations 5
    to 7.
    """

    def of_aggregate(aggregate: Aggregate) -> Array:
        q = aggregate.posteriors
        if not isinstance(q, Normal) or q.mean.ndim != 2 or q.log_scale.shape != q.mean.shape:
            raise ValueError("DIP's covariance needs posteriors that are a Normal over latents [D]")
        centred = q.mean - jnp.mean(q.mean, axis=0, keepdims=True)
        covariance = centred.T @ centred / len(centred)
        if with_variances:
            covariance = covariance + jnp.diag(jnp.mean(jnp.exp(2 * held(q.log_scale)), axis=0))
        own = jnp.diagonal(covariance)
        off = jnp.sum(jnp.square(covariance)) - jnp.sum(jnp.square(own))
        return off_diagonal * off + diagonal * jnp.sum(jnp.square(own - 1))

    return of_aggregate


def _check_sizes(num_examples: int, batch_size: int) -> None:
    if not 2 <= batch_size <= num_examples:
        raise ValueError(
            f"a batch of {batch_size} cannot stand for {num_examples} examples: it needs two at least, and at most all"
        )
