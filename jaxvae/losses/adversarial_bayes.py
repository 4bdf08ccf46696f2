"""Adversarial variational Bayes: a discriminator of pairs (x, z) in place of the density of the posterior.

What it makes of the divergence is an **estimate**, and of the ELBO too. It is the truth for the best discriminator; a
weak one tells the two apart badly, and the estimated divergence is then too small: of no such number is known on which
side of log p(x) it lies. Trained models are judged by annealing (`jaxvae.evaluation.annealed_log_likelihood`).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxvae.bounds import average, draw_terms
from jaxvae.distributions import Normal, closed_kl, softplus
from jaxvae.losses.aggregate import checked, drawn
from jaxvae.losses.base import Loss, Metrics, lifted
from jaxvae.losses.players import beside_discriminator, of_pairs, players
from jaxvae.model import VAE, Terms
from jaxvae.types import Array, Distribution, Key, Network, Params

OF_CONTRAST = 19  # folded into an example's key: the draw that the discriminator is to tell its code from


class Contrast(NamedTuple):
    """How a discriminator tells a posterior from something whose density is known."""

    discriminator: Network  # (x, z) -> {"logit": []}, T(x, z)
    # q(z|x) -> r(z|x), the Gaussian with its mean and variances: `with_moments`; None: it is told from the prior
    reference: Callable[[Distribution], Normal] | None = None


def with_moments(posterior: Distribution) -> Normal:
    """The reference of adaptive contrast: the Gaussian with the posterior's mean and variances.

    Args:
        posterior: a `Normal`, which is its own; or one with a method `moments`, `jaxvae.distributions.Implicit`.

    Returns:
        r(z|x).

    Raises:
        ValueError: its moments are not known.

    Source: Mescheder, Nowozin & Geiger, "Adversarial Variational Bayes" (2017), section 4.
    """
    if isinstance(posterior, Normal):
        return posterior
    moments = getattr(posterior, "moments", None)
    if moments is None:
        raise ValueError(
            f"adaptive contrast needs the mean and the variances of the posterior, and {type(posterior).__name__} has "
            "no method moments(): leave the reference out, or give one of your own"
        )
    return moments()


def estimating(model: VAE, contrast: Contrast) -> VAE:
    """The model whose divergence is what a discriminator makes of it; no density of its posterior is asked for.

    from the prior:      KL(q(z|x) || p(z))  ≈  T(x, z)
    adaptive contrast:   KL(q(z|x) || p(z))  =  KL(q || r) + E_q[ln r(z|x) - ln p(z)]  ≈  T(x, z̃) + KL(r || p)

    with z ~ q(z|x) and z̃ = (z - μ_r) / σ_r, whose law a discriminator is to tell from N(0, I). The last term is closed
    where the prior is a `Normal`, whose log density sees mean and variances alone, and that of the draw elsewhere. At
    the best discriminator T is ln q(z|x)/p(z), or ln q(z|x)/r(z|x), and the estimate's mean the divergence.

    Args:
        model: whose posterior has draws with a path.
        contrast: the discriminator, and what it tells the posterior from.

    Returns:
        The model with terms of its own: `kl` is the estimate, and `log_weight` None. `jaxvae.elbo` of it is the
        **estimate** of the ELBO, and no bound. Its params have the entry "discriminator" beside those of the model.

    Source: Mescheder, Nowozin & Geiger (2017), sections 3.1 and 4.
    """

    def terms(key: Key, params: Params, x: Any) -> Terms:
        posterior = model.posterior(params, x)
        z = checked(posterior.sample(key))
        log_likelihood = model.likelihood(params, z).log_prob(x)
        divergence = _divergence(model.prior(params), contrast, params, x, posterior, z)
        return Terms(log_likelihood, divergence[None], None)

    return beside_discriminator(model, contrast.discriminator, sees=of_pairs)._replace(terms=terms)


def adversarial_bayes(model: VAE, contrast: Contrast, *, num_samples: int = 1) -> Loss:
    """A posterior of any law is fitted by a discriminator that learns its divergence.

    the model:          -E_q[ln p(x|z)] + the estimate of KL(q(z|x) || p(z))
    the discriminator:  -1/B Σ_b ln σ(T(x_b, z_b)) - 1/B Σ_b ln (1 - σ(T(x_b, y_b))),    y_b ~ p(z)

    With a reference r, z̃_b stands for z_b and y_b ~ N(0, I). At the best discriminator its loss is ln 4 - 2 JS(q, p),
    ln 4 where the two are the same (twice what `adversarial` and `factor` report, which take the mean of the halves).
    The best T depends on the posterior itself; that the model's gradient leaves this out costs nothing, since its mean
    is zero.

    Args:
        model: `estimating(vae, contrast)`.
        contrast: the same.
        num_samples: the draws that the estimate is averaged over; the discriminator sees one of them.

    Returns:
        The loss of both players, a mean over examples. Its metrics are "estimate", "log_likelihood", "estimated_kl"
        and "discriminator_loss"; none is called a bound.

    Source: Mescheder, Nowozin & Geiger (2017), proposition 2, algorithm 1.
    """

    def estimate(key: Key, params: Params, x: Any, step: Array) -> tuple[Array, Metrics]:
        terms = draw_terms(model, key, params, x, num_samples=num_samples)
        value = average(terms)
        parts = {"log_likelihood": jnp.mean(terms.log_likelihood), "estimated_kl": jnp.mean(terms.kl)}
        return value, {"estimate": value} | parts

    def right(key: Key, params: Params, x: Any, step: Array) -> tuple[Array, Metrics]:
        posterior, other = model.posterior(params, x), jax.random.fold_in(key, OF_CONTRAST)
        z = drawn(key, posterior, num_samples)
        if contrast.reference is None:
            y = model.prior(params).sample(other)
        else:
            z, y = _standardised(contrast.reference(posterior), z), jax.random.normal(other, z.shape, z.dtype)
        logits = [contrast.discriminator.apply(params["discriminator"], x, code)["logit"] for code in (z, y)]
        return -softplus(-logits[0]) - softplus(logits[1]), {}

    return players({"discriminator": lifted(right)}, rest=lifted(estimate))


def _divergence(
    prior: Distribution, contrast: Contrast, params: Params, x: Any, posterior: Distribution, z: Array
) -> Array:
    """The estimate by one draw, []."""
    of_pair = contrast.discriminator.apply
    if contrast.reference is None:
        return of_pair(params["discriminator"], x, z)["logit"]
    reference = contrast.reference(posterior)
    told = of_pair(params["discriminator"], x, _standardised(reference, z))["logit"]
    if isinstance(prior, Normal):
        closed = closed_kl(reference, prior)
        assert closed is not None
        return told + closed
    return told + reference.log_prob(z) - prior.log_prob(z)


def _standardised(reference: Normal, z: Array) -> Array:
    """The draw as the reference sees it: N(0, I) where it is one of the reference."""
    return (z - reference.mean) * jnp.exp(-reference._log_scale())
