"""The code of an example: what the encoder says, and what optimisation finds."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxvae.loops import scan
from jaxvae.model import VAE
from jaxvae.types import Array, Params


def encode(model: VAE, params: Params, x: Array) -> Array:
    """The code of an example: the posterior's mean.

    z = E_q[z|x]

    Args:
        model: any model with a posterior.
        params: the model's parameters.
        x: [*event] one example.

    Returns:
        [*latent]. It is no draw: `model.posterior(params, x).sample(key)` is one.

    Example:
        >>> from jaxvae.models import linear
        >>> params = linear.parameters(jnp.array([[2.0], [0.0]]), jnp.zeros(2), jnp.ones(()))
        >>> encode(linear.linear_vae(latent=1), params, jnp.array([5.0, 1.0]))  # 2 · 5 / (2² + 1)
        Array([2.], dtype=float32)

    Source: Kingma & Welling, "Auto-Encoding Variational Bayes" (2014), section 2.1.
    """
    return model.posterior(params, x).expectation()


class MAPCode(NamedTuple):
    """The most probable code that was found for one example."""

    code: Array  # [*latent] z
    log_joint: Array  # []   ln p(x|z) + ln p(z), nats
    start_log_joint: Array  # []   the same at the posterior mean, never more than `log_joint`


def map_code(model: VAE, params: Params, x: Array, *, num_steps: int = 200, learning_rate: float = 0.05) -> MAPCode:
    """The code by optimisation: the mode of the exact posterior, climbed to from the encoder's mean.

    z* = argmax_z ln p(x|z) + ln p(z)

    The encoder is asked for a start only, so that what it loses by being one function for all x is won back. The climb
    is Adam's, with a learning rate that falls to zero along a cosine; the best point it meets is kept, the start
    included.

    Args:
        model: any model with a prior.
        params: the model's parameters.
        x: [*event] one example.
        num_steps: of the climb, at least 1.
        learning_rate: of the first step, in units of z.

    Returns:
        The best code that was met, and what it reached.

    Raises:
        ValueError: `num_steps` is less than one, or the learning rate is not positive.

    Example:
        >>> from jaxvae.models import linear
        >>> params = linear.parameters(jnp.array([[2.0], [0.0]]), jnp.zeros(2), jnp.ones(()))
        >>> away = params | {"encoder": params["encoder"] | {"V": jnp.zeros((1, 2))}}  # an encoder that says 0
        >>> round(float(map_code(linear.linear_vae(latent=1), away, jnp.array([5.0, 1.0])).code[0]), 3)
        2.0

    Source: Prince, "Understanding Deep Learning" (2023), section 17.8.3; the optimiser is Kingma & Ba (2015).
    """
    if num_steps < 1 or not learning_rate > 0:
        raise ValueError(f"num_steps={num_steps} must be at least one, and learning_rate={learning_rate} positive")
    prior = model.prior(params)

    def log_joint(z: Array) -> Array:
        return model.likelihood(params, z).log_prob(x) + prior.log_prob(z)

    return _climb(log_joint, encode(model, params, x), num_steps=num_steps, learning_rate=learning_rate)


def _climb(objective: Callable[[Array], Array], start: Array, *, num_steps: int, learning_rate: float) -> MAPCode:
    optimizer = optax.adam(optax.cosine_decay_schedule(-learning_rate, num_steps))  # a negative rate ascends

    def step(state: tuple, _: None) -> tuple[tuple, None]:
        z, memory, best, best_value = state
        value, gradient = jax.value_and_grad(objective)(z)
        better = value > best_value
        best, best_value = jnp.where(better, z, best), jnp.where(better, value, best_value)
        with jax.numpy_dtype_promotion("standard"):  # Optax mixes floats with the integer count of its steps
            updates, memory = optimizer.update(gradient, memory)
        return (jnp.asarray(optax.apply_updates(z, updates)), memory, best, best_value), None

    start_value = objective(start)
    (last, _, best, best_value), _ = scan(
        step, (start, optimizer.init(start), start, start_value), None, length=num_steps
    )
    last_value = objective(last)
    better = last_value > best_value
    return MAPCode(jnp.where(better, last, best), jnp.where(better, last_value, best_value), start_value)
