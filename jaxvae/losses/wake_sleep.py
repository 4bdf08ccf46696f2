"""Reweighted wake-sleep: the decoder ascends the importance-weighted bound, the encoder follows the true posterior.

Nothing passes through a draw, so latents may be discrete, and the encoder's gradient does not drown as k grows. Draws
come from `jaxvae.draws.score_function`.
Source: Bornschein & Bengio, "Reweighted Wake-Sleep" (2015); Le et al., "Revisiting Reweighted Wake-Sleep" (2019).
"""

from typing import Any

import jax
import jax.numpy as jnp

from jaxvae.bounds import log_mean_exp, log_weights
from jaxvae.losses.base import Loss, Metrics, negative_bound
from jaxvae.model import VAE, Terms
from jaxvae.types import Array, Key, Params


def wake(terms: Terms) -> Array:
    """The importance-weighted bound, with the gradient of both wake phases.

    ∇_θ = Σ_i w̃_i ∇_θ ln p(x, z_i),    ∇_φ = Σ_i w̃_i ∇_φ ln q(z_i|x),    w̃_i = w_i / Σ_j w_j

    Args:
        terms: with a leading axis of draws, [k].

    Returns:
        [] nats, the value of `iwae_bound`.

    Raises:
        ValueError: the draws have a path.

    Source: Bornschein & Bengio (2015), equations 8 and 11.
    """
    # The bound itself gives -w̃ ∇ ln q: once to cancel it, and once more for the wake phase.
    return _of_decoder(terms) + _pull(terms)


def _of_decoder(terms: Terms) -> Array:
    """The importance-weighted bound, with a gradient to the decoder and the prior alone."""
    return log_mean_exp(log_weights(terms)) + _pull(terms)


def _pull(terms: Terms) -> Array:
    """Zero, with the gradient Σ_i w̃_i ∇ ln q(z_i|x)."""
    if terms.score is None:
        raise ValueError("wake-sleep needs draws without a path: give the model draw=score_function")
    normalised = jax.lax.stop_gradient(jax.nn.softmax(log_weights(terms)))
    return jnp.sum(normalised * (terms.score - jax.lax.stop_gradient(terms.score)))


def wake_wake(model: VAE, *, num_samples: int, at_once: int | None = None) -> Loss:
    """The loss of the two wake phases.

    Args:
        model: that draws by `jaxvae.draws.score_function`.
        num_samples: k.
        at_once: how many draws are held at once (see `jaxvae.bounds.draw_terms`); None for all.

    Returns:
        The loss.
    """
    return negative_bound(model, wake, num_samples=num_samples, at_once=at_once)


def wake_sleep(model: VAE, *, num_samples: int, at_once: int | None = None) -> Loss:
    """The loss of the decoder's wake phase and the encoder's sleep phase, one dream for each example.

    ∇_φ = ∇_φ ln q(z|x),    z, x ~ p(z) p(x|z)

    Args:
        model: that draws by `jaxvae.draws.score_function`.
        num_samples: k, of the wake phase.
        at_once: of these, how many are held at once; None for all.

    Returns:
        The loss. Its metrics have "dream", the mean of ln q(z|x) over dreams, beside those of `negative_bound`.

    Source: Bornschein & Bengio (2015), equation 10; Hinton et al., "The Wake-Sleep Algorithm" (1995).
    """
    awake = negative_bound(model, _of_decoder, num_samples=num_samples, at_once=at_once)

    def dream(key: Key, params: Params) -> Array:
        key_z, key_x = jax.random.split(key)
        z = model.prior(params).sample(key_z)
        x = model.likelihood(params, z).sample(key_x)
        z, x = jax.lax.stop_gradient((z, x))
        return model.posterior(params, x).log_prob(z)

    def loss(keys: Key, params: Params, extra: Any, xs: Array, step: Array) -> tuple[Array, tuple[Any, Metrics]]:
        keys_awake, keys_dream = jax.vmap(jax.random.split, out_axes=1)(keys)
        value, (extra, metrics) = awake(keys_awake, params, extra, xs, step)
        dreamt = jnp.mean(jax.vmap(dream, (0, None))(keys_dream, params))
        return value - dreamt, (extra, metrics | {"dream": dreamt})

    return loss
