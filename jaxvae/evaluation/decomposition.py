"""What the average KL of a VAE is made of: information about x, dependence between the latents, distance to the prior.

All of it is about the aggregate posterior of a data set, the mixture of all its posteriors,

q(z) = 1/N Σ_n q(z|x_n),

and all of it is relative to that data set: with N examples, no latent can tell more than ln N nats about which one.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp

from jaxvae.bounds import draw_terms
from jaxvae.distributions import even_mixture
from jaxvae.model import VAE
from jaxvae.types import Array, Distribution, Key, Params


class KLParts(NamedTuple):
    """The parts of the average KL, in nats. kl = MI + TC + Σ_j dimension_wise = MI + marginal."""

    kl: Array  # []  E_x KL(q(z|x) || p(z)), the rate
    mutual_information: Array  # []  KL(q(z, n) || q(z) q(n)), between 0 and ln N
    total_correlation: Array  # []  KL(q(z) || Π_j q(z_j))
    dimension_wise: Array  # [D]  KL(q(z_j) || p(z_j))
    marginal: Array  # []  KL(q(z) || p(z))


class KLDecomposition(NamedTuple):
    """The parts and the standard errors of the draws that they are averaged over."""

    parts: KLParts
    standard_error: KLParts
    num_examples: Array  # []  N


class RateDistortion(NamedTuple):
    """Where a model lies in the plane of rate and distortion; the ELBO is minus their sum."""

    rate: Array  # []  E_x KL(q(z|x) || p(z)), nats
    distortion: Array  # []  -E_x E_q ln p(x|z), nats
    rate_standard_error: Array  # []  over the examples
    distortion_standard_error: Array  # []  over the examples


def decompose_kl(
    key: Key, prior: Distribution, posteriors: Distribution, *, num_samples: int, chunk: int = 8
) -> KLDecomposition:
    """The average KL in its parts, by draws from the aggregate posterior.

    E_x KL(q(z|x) || p(z)) = E ln [q(z|x) / q(z)] + E ln [q(z) / Π_j q(z_j)] + Σ_j E ln [q(z_j) / p(z_j)]

    with n uniform over the data and z ~ q(z|x_n). Every density is that of the whole mixture over the N posteriors: no
    minibatch stands for the data set, and the only error is that of the draws, which is told. The identity holds for
    every draw.

    Args:
        key: for the draws.
        prior: p(z) over z [D] that factorises over dimensions, `Normal` for instance: fields [D].
        posteriors: N posteriors that factorise over dimensions, fields [N, D]:
            `jax.vmap(model.posterior, (None, 0))(params, xs)`.
        num_samples: how many draws of (n, z); each costs N D densities.
        chunk: how many draws are held at once, in chunk N D numbers of memory; the result does not depend on it.

    Returns:
        The parts, with standard errors.

    Raises:
        ValueError: `num_samples` is less than two or `chunk` less than one, or a field is not of shape [N, D] or [D].

    Example:
        >>> from jaxvae.distributions import Normal
        >>> posteriors = Normal(jnp.array([[-9.0], [9.0]]), jnp.zeros((2, 1)))  # one bit, told without error
        >>> prior = Normal(jnp.zeros(1), jnp.zeros(1))
        >>> decomposition = decompose_kl(jax.random.key(0), prior, posteriors, num_samples=100)
        >>> round(float(decomposition.parts.mutual_information), 4)  # ln 2
        0.6931

    Source: Hoffman & Johnson, "ELBO surgery" (2016), for the mutual information and the marginal KL; Chen, Li, Grosse &
    Duvenaud, "Isolating Sources of Disentanglement" (2018), equation 2, for the split of the latter.
    """
    if num_samples < 2 or chunk < 1:
        raise ValueError(
            f"num_samples={num_samples} must be at least two, to tell an error, and chunk={chunk} at least one"
        )
    _check_factorised(prior, posteriors)
    num_examples = len(jax.tree.leaves(posteriors)[0])
    key_n, key_z = jax.random.split(key)
    rows = jax.random.randint(key_n, (num_samples,), 0, num_examples)

    def of_draw(draw: tuple[Array, Key]) -> KLParts:
        row, key = draw
        own = jax.tree.map(lambda field: field[row], posteriors)
        return kl_parts(prior, posteriors, own, own.sample(key))

    draws = jax.lax.map(of_draw, (rows, jax.random.split(key_z, num_samples)), batch_size=min(chunk, num_samples))
    return KLDecomposition(
        parts=jax.tree.map(lambda part: jnp.mean(part, axis=0), draws),
        standard_error=jax.tree.map(lambda part: jnp.std(part, axis=0, ddof=1) / math.sqrt(num_samples), draws),
        num_examples=jnp.asarray(num_examples),
    )


def kl_parts(prior: Distribution, posteriors: Distribution, own: Distribution, z: Array) -> KLParts:
    """The log ratios of one draw, whose means over (n, z) are the parts of the average KL.

    Args:
        prior: fields [D].
        posteriors: fields [N, D], all that the aggregate is made of.
        own: fields [D], the one that z was drawn from.
        z: [D].

    Returns:
        Parts that add up; one draw's can be negative.

    Source: Chen, Li, Grosse & Duvenaud (2018), equation 2.
    """
    log_own, log_prior = jnp.sum(_log_densities(own, z)), _log_densities(prior, z)
    log_each = jax.vmap(_log_densities, (0, None))(posteriors, z)  # [N, D]
    log_num = jnp.log(jnp.asarray(len(log_each), z.dtype))
    log_aggregate = logsumexp(jnp.sum(log_each, axis=1)) - log_num
    log_marginals = logsumexp(log_each, axis=0) - log_num
    return KLParts(
        kl=log_own - jnp.sum(log_prior),
        mutual_information=log_own - log_aggregate,
        total_correlation=log_aggregate - jnp.sum(log_marginals),
        dimension_wise=log_marginals - log_prior,
        marginal=log_aggregate - jnp.sum(log_prior),
    )


def rate_distortion(model: VAE, key: Key, params: Params, xs: Any, *, num_samples: int = 1) -> RateDistortion:
    """The two halves of the ELBO over a batch: what the code costs, and what it loses.

    ELBO = -(rate + distortion),    rate = E_x KL(q(z|x) || p(z)),    distortion = -E_x E_q ln p(x|z)

    Args:
        model: any model.
        key: split into one key for each example.
        params: the model's parameters.
        xs: [B, *event], at least two examples, or a tree of such arrays.
        num_samples: draws for each example.

    Returns:
        Both means over the batch, with the standard errors of a sample of B examples.

    Raises:
        ValueError: `num_samples` is less than one, or there are fewer than two examples.

    Source: Alemi, Poole, Fischer, Dillon, Saurous & Murphy, "Fixing a Broken ELBO" (2018), section 2.
    """
    count = len(jax.tree.leaves(xs)[0])  # an example may be a tree
    if count < 2:
        raise ValueError(f"a standard error over the examples needs at least two, not {count}")

    def of_example(key: Key, x: Array) -> tuple[Array, Array]:
        terms = draw_terms(model, key, params, x, num_samples=num_samples)
        return jnp.mean(jnp.sum(terms.kl, axis=-1)), -jnp.mean(terms.log_likelihood)

    rates, distortions = jax.vmap(of_example)(jax.random.split(key, count), xs)
    root = math.sqrt(count)
    return RateDistortion(
        rate=jnp.mean(rates),
        distortion=jnp.mean(distortions),
        rate_standard_error=jnp.std(rates, ddof=1) / root,
        distortion_standard_error=jnp.std(distortions, ddof=1) / root,
    )


def mutual_information(key: Key, posteriors: Distribution) -> Array:
    """How many nats a code tells about which of N examples it is of, whatever the prior is.

    I(n; z) = 1/N Σ_n E_{q(z|x_n)}[ln q(z|x_n) - ln 1/N Σ_m q(z|x_m)]

    Args:
        key: for one draw of each posterior.
        posteriors: N posteriors, fields [N, *latent].

    Returns:
        [] nats, between 0 and ln N but for the noise of the draws.

    Example:
        >>> from jaxvae.distributions import Normal
        >>> apart = Normal(jnp.array([[-100.0], [100.0]]), jnp.zeros((2, 1)))
        >>> round(float(mutual_information(jax.random.key(0), apart)), 4)  # ln 2
        0.6931

    Source: Hoffman & Johnson, "ELBO Surgery" (2016), equation 6.
    """
    aggregated = even_mixture(posteriors)

    def of_example(key: Key, own: Distribution) -> Array:
        z = own.sample(key)
        return own.log_prob(z) - aggregated.log_prob(z)

    keys = jax.random.split(key, len(aggregated.logits))
    return jnp.mean(jax.lax.map(lambda pair: of_example(*pair), (keys, posteriors)))


def active_units(posteriors: Distribution, *, threshold: float = 0.01) -> Array:
    """Which latent dimensions the model uses: those whose posterior mean moves with x.

    A_j = Var_x(E_q[z_j|x]) > threshold

    Args:
        posteriors: N posteriors, fields [N, *latent].
        threshold: of the variance, in units of the prior's (z is dimensionless when the prior is standard).

    Returns:
        [*latent] booleans; their sum is the number of active units.

    Example:
        >>> from jaxvae.distributions import Normal
        >>> means = jnp.array([[1.0, 0.1], [-1.0, 0.1]])
        >>> active_units(Normal(means, jnp.zeros((2, 2))))
        Array([ True, False], dtype=bool)

    Source: Burda, Grosse & Salakhutdinov (2016), section 5.2.
    """
    means = jax.vmap(lambda posterior: posterior.expectation())(posteriors)
    return jnp.var(means, axis=0) > threshold


def collapse_sentence(decomposition: KLDecomposition, active: Array) -> str:
    """Says plainly whether the posterior has collapsed onto the prior, wholly or in part, and what the code carries.

    Args:
        decomposition: of `decompose_kl`.
        active: [D] of `active_units`, for the same posteriors.

    Returns:
        Two or three sentences.
    """
    parts, errors = decomposition.parts, decomposition.standard_error
    used, dimensions = int(np.sum(active)), int(np.size(active))
    information, error = float(parts.mutual_information), float(errors.mutual_information)
    ceiling = math.log(int(decomposition.num_examples))
    told = f"z tells {max(information, 0):.2f} ± {error:.2f} nats about x"
    if used == 0 and information < max(0.1, 3 * error):
        diagnosis = (
            f"The posterior has collapsed: none of the {dimensions} latent dimensions follows x, and {told}. "
            f"The decoder does without the code; warm the KL up, give it free bits, or weaken the decoder."
        )
    elif used == 0:
        diagnosis = (
            f"No posterior mean follows x in any of the {dimensions} latent dimensions, yet {told}: "
            f"the code is in the posteriors' spread, not in their means."
        )
    elif used < dimensions:
        diagnosis = f"{dimensions - used} of {dimensions} latent dimensions have collapsed, {used} follow x; {told}."
    else:
        diagnosis = f"No collapse: all {dimensions} latent dimensions follow x, and {told}."
    if information > 0.95 * ceiling:
        diagnosis += (
            f" That is nearly ln N = {ceiling:.2f}, the most that {int(decomposition.num_examples):,} examples can "
            f"show: the posteriors hardly overlap, and with more examples it would be more."
        )
    marginal, kl = float(parts.marginal), float(parts.kl)
    if marginal > max(0.1, 3 * float(errors.marginal)) and marginal > 0.2 * kl:
        diagnosis += (
            f" Of the KL of {kl:.2f} nats, {marginal:.2f} are no information: the aggregate posterior is not the "
            f"prior, so that draws from the prior fall where the decoder was not trained."
        )
    return diagnosis


def _log_densities(distribution: Distribution, z: Array) -> Array:
    """The log density of each dimension [D] of a distribution that factorises: its fields are split as z is."""
    return jax.vmap(lambda of_dimension, value: of_dimension.log_prob(value))(distribution, z)


def _check_factorised(prior: Distribution, posteriors: Distribution) -> None:
    shapes = [jnp.shape(field) for field in jax.tree.leaves(posteriors)]
    if any(len(shape) != 2 or shape != shapes[0] for shape in shapes):
        raise ValueError(
            f"the posteriors must factorise over dimensions, with fields of shape [N, D]; these are {shapes}. "
            f"Flatten the latents, and broadcast a shared scale"
        )
    if any(jnp.shape(field) != shapes[0][1:] for field in jax.tree.leaves(prior)):
        raise ValueError(
            f"the prior must factorise over the posteriors' {shapes[0][1]} dimensions, with fields of that shape; its "
            f"fields are {[jnp.shape(field) for field in jax.tree.leaves(prior)]}"
        )
