"""What a trained model is worth: estimates of log p(x), streamed so that memory does not grow with the draws.

How far such a number may be trusted is told by `jaxvae.evaluation`; an estimate that needs no good posterior is in
`jaxvae.evaluation`.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from jaxvae.loops import fori_loop
from jaxvae.model import VAE
from jaxvae.types import Array, Event, Key, Params


def log_likelihood(model: VAE, key: Key, params: Params, x: Event, *, num_samples: int, chunk: int = 100) -> Array:
    """log p(x) by importance sampling from the posterior, in the memory of one chunk of draws.

    log p(x) ≈ ln 1/k Σ_i p(x, z_i) / q(z_i|x),    z_i ~ q(z|x)

    In expectation it is `iwae_bound` with the same k, a lower bound.

    Args:
        model: any model with a tractable `log_weight`.
        key: for the draws.
        params: the model's parameters.
        x: [*event] one example.
        num_samples: k.
        chunk: how many draws are held at once; it moves the numbers by no more than another key would.

    Returns:
        [] nats.

    Raises:
        ValueError: `num_samples` or `chunk` is less than one, or the model has no importance weights.

    Source: Burda, Grosse & Salakhutdinov (2016), section 5.
    """
    return _log_mean_exp_of_draws(log_weight_of(model, params, x), key, num_samples=num_samples, chunk=chunk)


def prior_log_likelihood(
    model: VAE, key: Key, params: Params, x: Array, *, num_samples: int, chunk: int = 100
) -> Array:
    """log p(x) by naive Monte Carlo: the likelihood averaged over draws from the prior.

    log p(x) ≈ ln 1/k Σ_i p(x|z_i),    z_i ~ p(z)

    It needs no encoder, which makes it an independent check of `log_likelihood`, and in expectation it is a lower bound
    too. But few draws from the prior explain x: past a handful of latent dimensions it falls nats short at any k that
    can be paid for.

    Args:
        model: any model with a prior to draw from.
        key: for the draws.
        params: the model's parameters.
        x: [*event] one example.
        num_samples: k.
        chunk: how many draws are held at once; it moves the numbers by no more than another key would.

    Returns:
        [] nats.

    Raises:
        ValueError: `num_samples` or `chunk` is less than one, or the model has no prior.

    Example:
        >>> from jaxvae.models import linear
        >>> model = linear.linear_vae(latent=1)
        >>> params = linear.parameters(jnp.ones((3, 1)), jnp.zeros(3), jnp.ones(()))
        >>> x = jnp.array([1.0, 0.0, 1.0])
        >>> estimate = prior_log_likelihood(model, jax.random.key(0), params, x, num_samples=10_000, chunk=1000)
        >>> bool(abs(estimate - linear.log_marginal(params, x)) < 0.05)
        True

    Source: Prince, "Understanding Deep Learning" (2023), section 17.8.1, where importance sampling then mends it.
    """
    prior = model.prior(params)

    def log_likelihood_of_draw(key: Key) -> Array:
        return model.likelihood(params, prior.sample(key)).log_prob(x)

    return _log_mean_exp_of_draws(log_likelihood_of_draw, key, num_samples=num_samples, chunk=chunk)


def log_weight_of(model: VAE, params: Params, x: Event) -> Callable[[Key], Array]:
    """The importance weight of one posterior draw, as a function of its key alone.

    ln w = ln p(x, z) - ln q(z|x),    z ~ q(z|x)

    Args:
        model: any model with a tractable `log_weight`.
        params: the model's parameters.
        x: [*event] one example.

    Returns:
        key -> [] nats. It raises a ValueError when the model has no importance weights.
    """

    def log_weight(key: Key) -> Array:
        weight = model.terms(key, params, x).log_weight
        if weight is None:
            raise ValueError(
                "this model has no importance weights (its Terms.log_weight is None), so no estimate of log p"
            )
        return weight

    return log_weight


def _log_mean_exp_of_draws(log_weight: Callable[[Key], Array], key: Key, *, num_samples: int, chunk: int) -> Array:
    """ln 1/k Σ_i exp(log_weight(key_i)), chunk after chunk, with a running logsumexp."""
    if num_samples < 1 or chunk < 1:
        raise ValueError(f"num_samples={num_samples} and chunk={chunk} must both be at least one")
    chunk = min(chunk, num_samples)
    num_chunks = math.ceil(num_samples / chunk)

    def accumulate(index: Array, running: Array) -> Array:
        keys = jax.random.split(jax.random.fold_in(key, index), chunk)
        drawn = index * chunk + jnp.arange(chunk) < num_samples
        log_weights = jnp.where(drawn, jax.vmap(log_weight)(keys), -jnp.inf)
        return jnp.logaddexp(running, logsumexp(log_weights))

    dtype = jax.eval_shape(log_weight, key).dtype
    total = fori_loop(0, num_chunks, accumulate, jnp.asarray(-jnp.inf, dtype))
    return total - jnp.log(jnp.asarray(num_samples, dtype))
