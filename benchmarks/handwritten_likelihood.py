"""log p(x) of the 784-200-200-50 network as a scan over chunks of draws in plain JAX, batched by hand.

It does the arithmetic of `jaxvae.log_likelihood` with nothing of the library. The library must not be slower.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from benchmarks.handwritten import Affine, Array

LOG_2PI = 1.8378770664093453


class Params(NamedTuple):
    """784-200-200-50-200-200-784."""

    encoder: tuple[Affine, Affine]
    mean: Affine
    log_scale: Affine
    decoder: tuple[Affine, Affine]
    logits: Affine


def init(key: Array) -> Params:
    """Glorot's uniform weights, zero biases."""
    glorot = jax.nn.initializers.glorot_uniform()
    shapes = [(784, 200), (200, 200), (200, 50), (200, 50), (50, 200), (200, 200), (200, 784)]
    keys = jax.random.split(key, len(shapes))
    layers = [Affine(glorot(k, shape), jnp.zeros(shape[1])) for k, shape in zip(keys, shapes, strict=True)]
    return Params((layers[0], layers[1]), layers[2], layers[3], (layers[4], layers[5]), layers[6])


def hidden(layers: tuple[Affine, Affine], x: Array) -> Array:
    """Two layers of tanh."""
    for layer in layers:
        x = jnp.tanh(layer(x))
    return x


def log_likelihood(key: Array, params: Params, xs: Array, *, num_samples: int, chunk: int) -> Array:
    """log p(x) of every image, by importance sampling with a running logsumexp.

    Args:
        key: one for all draws.
        params: the weights.
        xs: [B, 784] pixels.
        num_samples: k, a multiple of `chunk`.
        chunk: draws held at once.

    Returns:
        [B] nats.
    """
    features = hidden(params.encoder, xs)
    mean, log_scale = params.mean(features), params.log_scale(features)

    def accumulate(running: Array, index: Array) -> tuple[Array, None]:
        noise = jax.random.normal(jax.random.fold_in(key, index), (len(xs) * chunk, 50))
        z = jnp.repeat(mean, chunk, axis=0) + jnp.repeat(jnp.exp(log_scale), chunk, axis=0) * noise
        logits = params.logits(hidden(params.decoder, z))
        log_likelihood = jnp.sum(jnp.repeat(xs, chunk, axis=0) * logits - jax.nn.softplus(logits), axis=-1)
        log_prior = -0.5 * jnp.sum(jnp.square(z) + LOG_2PI, axis=-1)
        log_posterior = -jnp.sum(0.5 * (jnp.square(noise) + LOG_2PI) + jnp.repeat(log_scale, chunk, axis=0), axis=-1)
        log_weight = (log_likelihood + log_prior - log_posterior).reshape(len(xs), chunk)
        return jnp.logaddexp(running, logsumexp(log_weight, axis=1)), None

    total, _ = jax.lax.scan(accumulate, jnp.full(len(xs), -jnp.inf), jnp.arange(num_samples // chunk))
    return total - jnp.log(num_samples)
