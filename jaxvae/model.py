"""A model is a handful of pure functions that yield named terms for one example and one posterior draw."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxvae.distributions import Bernoulli, Delta, Normal, check_same_events, closed_kl, event_shapes, shapes_of
from jaxvae.draws import Draw, pathwise
from jaxvae.priors import Prior
from jaxvae.priors import standard_normal as standard_normal  # the prior of most models, named here too
from jaxvae.types import Array, Distribution, Event, Key, Network, Params


class Terms(NamedTuple):
    """One posterior draw for one example, in nats."""

    log_likelihood: Array  # []   log p(x|z)
    kl: Array  # [L]  one entry for each latent group; closed form where it is known
    log_weight: Array | None  # []   log p(x,z) - log q(z|x); None where it is intractable
    feedback: Array | None = None  # []   zero; set by the draws that need their normalised weight back
    score: Array | None = None  # []   log q(z|x); set by the draws that have no path (`draws.score_function`)


class VAE(NamedTuple):
    """A model. It hashes, so it is a static argument under `jit`."""

    init: Callable[[Key, Event], Params]  # (key, x)         -> params
    prior: Callable[[Params], Distribution]  # (params)         -> distribution over z
    posterior: Callable[[Params, Event], Distribution]  # (params, x)      -> distribution over z
    likelihood: Callable[[Params, Event], Distribution]  # (params, z)      -> distribution over x
    terms: Callable[[Key, Params, Event], Terms]  # (key, params, x) -> Terms
    sample: Callable[[Key, Params], Array]  # (key, params)    -> x


def terms_of(drawn: Draw, prior: Distribution, likelihood: Distribution, x: Array) -> Terms:
    """The terms of one draw of one latent variable.

    log w = ln p(x|z) + ln p(z) - ln q(z|x)

    Args:
        drawn: z ~ q(z|x), and the density q.
        prior: p(z).
        likelihood: p(x|z) at the drawn z.
        x: [*event] one example.

    Returns:
        The terms, with one latent group.

    Raises:
        ValueError: the prior is not over the shape of the posterior's draws, or the likelihood not over that of x.

    Source: Kingma & Welling (2014), equation 3, and Burda et al. (2016), equation 8.
    """
    check_same_events(shapes_of(drawn.value), event_shapes(prior))
    log_likelihood = likelihood.log_prob(x)
    log_ratio = prior.log_prob(drawn.value) - drawn.log_density
    closed = closed_kl(drawn.density, prior)
    divergence = -log_ratio if closed is None else closed
    return Terms(log_likelihood, divergence[None], log_likelihood + log_ratio, drawn.feedback, drawn.score)


def vae(
    *,
    encoder: Network,
    decoder: Network,
    prior: Prior,
    posterior: Callable[..., Distribution] = Normal,
    likelihood: Callable[..., Distribution] = Bernoulli,
    draw: Callable[[Key, Distribution], Draw] = pathwise,
) -> VAE:
    """The variational auto-encoder p(z) p(x|z) with the amortised posterior q(z|x).

    log w = ln p(x|z) + ln p(z) - ln q(z|x),    z ~ q(z|x)

    Args:
        encoder: x [*event] -> named outputs, which become the posterior by `posterior(**outputs)`.
        decoder: z [*latent] -> named outputs, which become the likelihood by `likelihood(**outputs)`.
        prior: the distribution of z, one of `jaxvae.priors`.
        posterior: named outputs -> q(z|x).
        likelihood: named outputs -> p(x|z).
        draw: the gradient estimator, one of `jaxvae.draws`.

    Returns:
        The model. Its params are a dict with the entries "prior", "encoder" and "decoder".

    Example:
        >>> from jaxvae import elbo, networks
        >>> encoder = networks.mlp((16,), Normal.parameters((2,)))
        >>> decoder = networks.mlp((16,), Bernoulli.parameters((8, 8, 1)))
        >>> model = vae(encoder=encoder, decoder=decoder, prior=standard_normal((2,)))
        >>> x = jnp.ones((8, 8, 1))
        >>> params = model.init(jax.random.key(0), x)
        >>> elbo(model, jax.random.key(1), params, x, num_samples=4).shape
        ()

    Source: Kingma & Welling, "Auto-Encoding Variational Bayes" (2014); the weight is Burda et al. (2016), equation 8.
    """

    def init(key: Key, x: Array) -> Params:
        key_prior, key_encoder, key_decoder = jax.random.split(key, 3)
        encoder_params = encoder.init(key_encoder, x)
        z = posterior(**encoder.apply(encoder_params, x)).expectation()
        return {
            "prior": prior.init(key_prior, x),
            "encoder": encoder_params,
            "decoder": decoder.init(key_decoder, z),
        }

    def prior_of(params: Params) -> Distribution:
        return prior.apply(params["prior"], partial(posterior_of, params))

    def posterior_of(params: Params, x: Array) -> Distribution:
        return posterior(**encoder.apply(params["encoder"], x))

    def likelihood_of(params: Params, z: Array) -> Distribution:
        return likelihood(**decoder.apply(params["decoder"], z))

    def terms(key: Key, params: Params, x: Array) -> Terms:
        drawn = draw(key, posterior_of(params, x))
        return terms_of(drawn, prior_of(params), likelihood_of(params, drawn.value), x)

    def sample(key: Key, params: Params) -> Array:
        key_z, key_x = jax.random.split(key)
        return likelihood_of(params, prior_of(params).sample(key_z)).sample(key_x)

    return VAE(init, prior_of, posterior_of, likelihood_of, terms, sample)


def autoencoder(*, encoder: Network, decoder: Network, likelihood: Callable[..., Distribution] = Bernoulli) -> VAE:
    """The plain auto-encoder: the code is a point, there is no prior, and the only term is the reconstruction.

    Args:
        encoder: x [*event] -> {"value": z}.
        decoder: z -> named outputs, which become the likelihood by `likelihood(**outputs)`.
        likelihood: named outputs -> p(x|z).

    Returns:
        A model whose `kl` is zero and whose `log_weight` is None: `elbo` gives ln p(x|z(x)), which bounds nothing.
        Its `prior` and `sample` raise a ValueError.

    Source: Hinton & Salakhutdinov, "Reducing the Dimensionality of Data with Neural Networks" (2006).
    """

    def init(key: Key, x: Array) -> Params:
        key_encoder, key_decoder = jax.random.split(key)
        encoder_params = encoder.init(key_encoder, x)
        code = encoder.apply(encoder_params, x)["value"]
        return {"encoder": encoder_params, "decoder": decoder.init(key_decoder, code)}

    def no_prior(params: Params) -> Distribution:
        raise ValueError(
            "a plain auto-encoder has no prior to draw from; fit a density on its codes, or train a VAE (jaxvae.vae)"
        )

    def posterior_of(params: Params, x: Array) -> Distribution:
        return Delta(**encoder.apply(params["encoder"], x))

    def likelihood_of(params: Params, z: Array) -> Distribution:
        return likelihood(**decoder.apply(params["decoder"], z))

    def terms(key: Key, params: Params, x: Array) -> Terms:
        log_likelihood = likelihood_of(params, posterior_of(params, x).sample(key)).log_prob(x)
        return Terms(log_likelihood, jnp.zeros((1,), log_likelihood.dtype), None)

    return VAE(init, no_prior, posterior_of, likelihood_of, terms, lambda key, params: no_prior(params).sample(key))
