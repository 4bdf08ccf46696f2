"""Auxiliary deep generative models: a second latent variable that makes the posterior of the first a mixture.

p(x, z) p(a|x, z),    q(a|x) q(z|a, x)

The marginal q(z|x) = ∫ q(a|x) q(z|a, x) da can take any shape, while p(x, z) stays what it is. The hierarchical
variational models of Ranganath, Tran & Blei (2016) are the same form, and p(a|x, z) is their r(a|z, x).
Source: Maaløe, Sønderby, Sønderby & Winther, "Auxiliary Deep Generative Models" (2016).
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jaxvae.distributions import Bernoulli, Normal, closed_kl, sample_and_log_prob
from jaxvae.model import VAE, Terms
from jaxvae.model import vae as plain_vae
from jaxvae.priors import Prior
from jaxvae.types import Array, Distribution, Key, Network, Params


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DrawnPosterior:
    """A posterior that is known by its draws alone: how to draw, and a point amid the mass.

    Args:
        draw: a `jax.tree_util.Partial` (key) -> z.
        centre: [*latent] what `expectation` gives; the model says what it is.
    """

    draw: jax.tree_util.Partial
    centre: Array

    def sample(self, key: Key) -> Array:
        """One draw, [*latent]."""
        return self.draw(key)

    def log_prob(self, value: Array) -> Array:
        """Not known.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "the density of this posterior is an integral without a closed form; the model's terms hold the importance "
            "weights of its draws, so take iwae_bound or jaxvae.log_likelihood instead"
        )

    def expectation(self) -> Array:
        """The centre, [*latent]."""
        return self.centre


def auxiliary_vae(
    *,
    auxiliary_encoder: Network,
    encoder: Network,
    reverse: Network,
    decoder: Network,
    prior: Prior,
    likelihood: Callable[..., Distribution] = Bernoulli,
    posterior: Callable[..., Distribution] = Normal,
    auxiliary: Callable[..., Distribution] = Normal,
) -> VAE:
    """A variational auto-encoder with an auxiliary variable a in its posterior.

    log w = ln p(x|z) + ln p(z) + ln p(a|x, z) - ln q(a|x) - ln q(z|a, x)

    Args:
        auxiliary_encoder: x [*event] -> named outputs of q(a|x).
        encoder: (x, a) -> named outputs of q(z|a, x); `jaxvae.models.reading_both` makes one of a network of
            one input.
        reverse: (x, z) -> named outputs of p(a|x, z).
        decoder: z -> named outputs of p(x|z).
        prior: the distribution of z, one of `jaxvae.priors`; one that looks at the posterior's density is refused.
        likelihood: named outputs -> p(x|z).
        posterior: named outputs -> q(z|a, x).
        auxiliary: named outputs -> q(a|x), and p(a|x, z).

    Returns:
        The model. Its `kl` has two entries, z's and a's. Its `posterior` can be drawn from, but has no density; its
        expectation is that of q(z|a, x) at the mean of q(a|x). Params have the entry "reverse" beside those of
        `vae`, and under "encoder" both encoders, "auxiliary" and "latent".

    Example:
        >>> from jaxvae import iwae_bound, networks, standard_normal
        >>> from jaxvae.models import reading_both
        >>> model = auxiliary_vae(
        ...     auxiliary_encoder=networks.mlp((8,), Normal.parameters((3,))),
        ...     encoder=reading_both(networks.mlp((8,), Normal.parameters((2,)))),
        ...     reverse=reading_both(networks.mlp((8,), Normal.parameters((3,)))),
        ...     decoder=networks.mlp((8,), Bernoulli.parameters((5,))),
        ...     prior=standard_normal((2,)),
        ... )
        >>> params = model.init(jax.random.key(0), jnp.ones(5))
        >>> iwae_bound(model, jax.random.key(1), params, jnp.ones(5), num_samples=4).shape
        ()

    Source: Maaløe et al. (2016), section 2.
    """

    def auxiliary_of(params: Params, x: Array) -> Distribution:
        return auxiliary(**auxiliary_encoder.apply(params["encoder"]["auxiliary"], x))

    def posterior_given(params: Params, x: Array, a: Array) -> Distribution:
        return posterior(**encoder.apply(params["encoder"]["latent"], x, a))

    def draw(params: Params, x: Array, key: Key) -> Array:
        key_a, key_z = jax.random.split(key)
        return posterior_given(params, x, auxiliary_of(params, x).sample(key_a)).sample(key_z)

    def posterior_of(params: Params, x: Array) -> Distribution:
        centre = posterior_given(params, x, auxiliary_of(params, x).expectation()).expectation()
        return DrawnPosterior(jax.tree_util.Partial(draw, params, x), centre)

    def init(key: Key, x: Array) -> Params:
        key_auxiliary, key_rest, key_reverse = jax.random.split(key, 3)
        auxiliary_params = auxiliary_encoder.init(key_auxiliary, x)
        a = auxiliary(**auxiliary_encoder.apply(auxiliary_params, x)).expectation()
        given_a = Network(lambda key, x: encoder.init(key, x, a), lambda params, x: encoder.apply(params, x, a))
        model = plain_vae(encoder=given_a, decoder=decoder, prior=prior, posterior=posterior, likelihood=likelihood)
        params = model.init(key_rest, x)
        params["encoder"] = {"auxiliary": auxiliary_params, "latent": params["encoder"]}
        z = posterior_given(params, x, a).expectation()
        return params | {"reverse": reverse.init(key_reverse, x, z)}

    generative = plain_vae(encoder=encoder, decoder=decoder, prior=prior, likelihood=likelihood)

    def prior_of(params: Params) -> Distribution:
        return prior.apply(params["prior"], lambda x: posterior_of(params, x))

    def terms(key: Key, params: Params, x: Array) -> Terms:
        key_a, key_z = jax.random.split(key)
        a, log_q_a = sample_and_log_prob(auxiliary_of(params, x), key_a)
        q_z = posterior_given(params, x, a)
        z, log_q_z = sample_and_log_prob(q_z, key_z)
        p_z = prior_of(params)
        log_likelihood = generative.likelihood(params, z).log_prob(x)
        log_p_a = auxiliary(**reverse.apply(params["reverse"], x, z)).log_prob(a)
        log_ratio_z = p_z.log_prob(z) - log_q_z
        closed = closed_kl(q_z, p_z)
        kl = jnp.stack([-log_ratio_z if closed is None else closed, log_q_a - log_p_a])
        return Terms(log_likelihood, kl, log_likelihood + log_ratio_z + log_p_a - log_q_a)

    def sample(key: Key, params: Params) -> Array:
        key_z, key_x = jax.random.split(key)
        return generative.likelihood(params, prior_of(params).sample(key_z)).sample(key_x)

    return VAE(init, prior_of, posterior_of, generative.likelihood, terms, sample)
