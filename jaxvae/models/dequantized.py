"""Densities for data that is whole numbers: noise within each level makes a density into a bound on a probability."""

import math

import jax
import jax.numpy as jnp
from jax.nn import log_sigmoid, sigmoid

from jaxvae.distributions import Normal, check_event
from jaxvae.model import VAE, Terms
from jaxvae.types import Array, Key, Network, Params


def dequantized(model: VAE, *, levels: int = 256, noise: Network | None = None) -> VAE:
    """A model of densities, as a model of the levels of pixels.

    P(x) = ∫ p((k + u) / K) du / K^D  ≥  exp E_q(u|x)[ln p((k + u) / K) - D ln K - ln q(u|x)],    k = (K - 1) x

    with u in [0, 1]^D, and p the density of the model, whose log is bounded in its turn. The noise u is one more latent
    variable, so the bounds of this library remain what they are: k draws of (u, z) bring `iwae_bound` to ln P(x). It is
    uniform, or learned: u = σ(a) with a Gaussian a. The encoder sees the pixels with their noise, so it runs for every
    draw. What the density puts outside of [0, 1] is lost: the probabilities of all images sum to less than one.

    Args:
        model: of pixels in [0, 1] with a density: `Normal`, say, and neither `Bernoulli` nor the levels of
            `jaxvae.likelihoods`.
        levels: K.
        noise: x [*event] -> {"mean": [*event], "log_scale": [*event]} of a; None for uniform noise.

    Returns:
        A model of pixels in {0, 1/(K-1), ..., 1}. Its `likelihood` is that of pixels with noise, its `sample` is of
        levels. A learned noise has the entry "noise" in the params and is the last entry of `Terms.kl`.

    Raises:
        ValueError: `levels` is less than two.

    Example:
        >>> from jaxvae import elbo
        >>> from jaxvae.models import linear
        >>> model = dequantized(linear.linear_vae(latent=1), levels=4)
        >>> params = model.init(jax.random.key(0), jnp.zeros(3))
        >>> elbo(model, jax.random.key(1), params, jnp.array([0.0, 1 / 3, 1.0])).shape
        ()

    Source: Theis et al., "A note on the evaluation of generative models" (2016), section 3.1; the learned noise is Ho
    et al., "Flow++" (2019), section 3.1, with a Gaussian in the place of its flow.
    """
    if levels < 2:
        raise ValueError(f"levels={levels}: pixels take at least two values")

    def filled(x: Array, u: Array) -> Array:
        return (jnp.round(x * (levels - 1)) + u) / levels

    def init(key: Key, x: Array) -> Params:
        key_model, key_noise = jax.random.split(key)
        params = model.init(key_model, x)
        return params if noise is None else params | {"noise": noise.init(key_noise, x)}

    def posterior(params: Params, x: Array):
        return model.posterior(params, filled(x, jnp.full_like(x, 0.5)))

    def terms(key: Key, params: Params, x: Array) -> Terms:
        key_noise, key_model = jax.random.split(key)
        if noise is None:
            u, log_density = jax.random.uniform(key_noise, x.shape, x.dtype), None
        else:
            gaussian = Normal(**noise.apply(params["noise"], x))
            check_event(gaussian, x, gaussian.mean.shape)
            u, log_density = _between_zero_and_one(key_noise, gaussian)
        of_density = model.terms(key_model, params, filled(x, u))
        return _of_levels(of_density, x.size * math.log(levels), log_density)

    def sample(key: Key, params: Params) -> Array:
        level = jnp.floor(model.sample(key, params) * levels)
        return jnp.clip(level, 0, levels - 1) / (levels - 1)

    return model._replace(init=init, posterior=posterior, terms=terms, sample=sample)


def _between_zero_and_one(key: Key, gaussian: Normal) -> tuple[Array, Array]:
    """u = σ(a) and ln q(u) = ln q(a) - Σ ln σ'(a)."""
    a = gaussian.sample(key)
    return sigmoid(a), gaussian.log_prob(a) - jnp.sum(log_sigmoid(a) + log_sigmoid(-a))


def _of_levels(terms: Terms, log_volume: float, log_noise: Array | None) -> Terms:
    """The terms of a density as those of a probability: log_volume = D ln K."""
    terms = terms._replace(
        log_likelihood=terms.log_likelihood - log_volume,
        log_weight=None if terms.log_weight is None else terms.log_weight - log_volume,
    )
    if log_noise is None:
        return terms
    return terms._replace(
        kl=jnp.concatenate([terms.kl, log_noise[None]]),
        log_weight=None if terms.log_weight is None else terms.log_weight - log_noise,
    )
