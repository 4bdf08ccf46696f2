"""What a trained model is worth: log p(x) by importance sampling, streamed so that memory does not grow with k."""

import math

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from jaxvae.model import VAE
from jaxvae.types import Array, Key, Params


def log_likelihood(model: VAE, key: Key, params: Params, x: Array, *, num_samples: int, chunk: int = 100) -> Array:
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
    if num_samples < 1 or chunk < 1:
        raise ValueError(f"num_samples={num_samples} and chunk={chunk} must both be at least one")
    chunk = min(chunk, num_samples)
    num_chunks = math.ceil(num_samples / chunk)

    def accumulate(running: Array, index: Array) -> tuple[Array, None]:
        keys = jax.random.split(jax.random.fold_in(key, index), chunk)
        log_weight = jax.vmap(model.terms, (0, None, None))(keys, params, x).log_weight
        if log_weight is None:
            raise ValueError(
                "this model has no importance weights (its Terms.log_weight is None), so no estimate of log p"
            )
        drawn = index * chunk + jnp.arange(chunk) < num_samples
        return jnp.logaddexp(running, logsumexp(jnp.where(drawn, log_weight, -jnp.inf))), None

    dtype = jax.eval_shape(model.terms, key, params, x).log_likelihood.dtype
    total, _ = jax.lax.scan(accumulate, jnp.asarray(-jnp.inf, dtype), jnp.arange(num_chunks))
    return total - jnp.log(jnp.asarray(num_samples, dtype))
