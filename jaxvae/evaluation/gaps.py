"""Why the ELBO falls short of log p(x), example by example: the posterior's family, or the encoder.

log p(x) - ELBO(x) = [log p(x) - max_q ELBO_q(x)] + [max_q ELBO_q(x) - ELBO(x)]

The first is the approximation gap of the family of q; the second is the amortisation gap, which an encoder leaves that
serves all examples at once. The best q of one example is found by ascending its own ELBO from the encoder's output.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxvae.distributions import kl
from jaxvae.draws import sticking_the_landing
from jaxvae.loops import scan
from jaxvae.model import VAE
from jaxvae.types import Array, Distribution, Key, Params


class InferenceGap(NamedTuple):
    """The inference gap of one example and its two parts, in nats."""

    inference: Array  # []  log p(x) - ELBO(x)
    approximation: Array  # []  log p(x) - max_q ELBO_q(x)
    amortisation: Array  # []  max_q ELBO_q(x) - ELBO(x)
    approximation_standard_error: Array  # []  of the draws for the ELBO; that of log p(x) comes on top
    amortisation_standard_error: Array  # []  both ELBOs from the same noise, so that it is smaller than either's


def inference_gap(
    model: VAE,
    key: Key,
    params: Params,
    x: Array,
    log_likelihood: Array,
    *,
    num_samples: int = 1000,
    num_steps: int = 1000,
    num_draws: int = 16,
    learning_rate: float = 0.02,
) -> InferenceGap:
    """Splits log p(x) - ELBO(x) into the approximation gap and the amortisation gap.

    Args:
        model: a model with prior, posterior and likelihood; the posterior's fields must be unconstrained arrays.
        key: for the draws.
        params: the model's parameters.
        x: [*event] one example. `vmap` over examples.
        log_likelihood: [] the best estimate of log p(x) there is: `jaxvae.evaluation`, or `jaxvae.evaluation` where it
            can be trusted. One that is too low hides the gap.
        num_samples: draws for each of the two reported ELBOs, at least two.
        num_steps: of the ascent to the best q.
        num_draws: draws for each of its gradients.
        learning_rate: of its Adam, at the start.

    Returns:
        The gap and its parts. What the ascent has not reached counts as approximation gap.

    Raises:
        ValueError: `num_samples` is less than two, or `num_steps` or `num_draws` less than one.

    Source: Cremer, Li & Duvenaud, "Inference Suboptimality in Variational Autoencoders" (2018), section 3.
    """
    if num_samples < 2:
        raise ValueError(f"a standard error needs at least two draws, not num_samples={num_samples}")
    key_ascent, key_bound = jax.random.split(key)
    amortised = model.posterior(params, x)
    best = best_posterior(
        model, key_ascent, params, x, num_steps=num_steps, num_draws=num_draws, learning_rate=learning_rate
    )
    keys = jax.random.split(key_bound, num_samples)

    def bounds(posterior: Distribution) -> Array:
        return jax.vmap(lambda key: _bound(model, key, params, x, posterior))(keys)

    of_amortised, of_best = bounds(amortised), bounds(best)
    root = jnp.sqrt(jnp.asarray(num_samples, of_best.dtype))
    return InferenceGap(
        inference=log_likelihood - jnp.mean(of_amortised),
        approximation=log_likelihood - jnp.mean(of_best),
        amortisation=jnp.mean(of_best - of_amortised),
        approximation_standard_error=jnp.std(of_best, ddof=1) / root,
        amortisation_standard_error=jnp.std(of_best - of_amortised, ddof=1) / root,
    )


def best_posterior(
    model: VAE,
    key: Key,
    params: Params,
    x: Array,
    *,
    num_steps: int = 1000,
    num_draws: int = 16,
    learning_rate: float = 0.02,
) -> Distribution:
    """The posterior of the encoder's family that is best for one example, by ascent of its ELBO over the family.

    λ* = argmax_λ E_{q_λ}[ln p(x, z) - ln q_λ(z)],    from λ = the encoder's output

    Adam with its learning rate falling to zero as a cosine; the gradients stick the landing, so that they vanish at the
    exact posterior when the family holds it.

    Args:
        model: a model with prior, posterior and likelihood; the posterior's fields must be unconstrained arrays.
        key: for the draws.
        params: the model's parameters, which stay as they are.
        x: [*event] one example.
        num_steps: of the ascent.
        num_draws: draws for each gradient.
        learning_rate: of Adam, at the start.

    Returns:
        A distribution of the same type as `model.posterior(params, x)`.

    Raises:
        ValueError: `num_steps` or `num_draws` is less than one.

    Source: Cremer, Li & Duvenaud (2018), section 5.1; the gradient is Roeder, Wu & Duvenaud (2017).
    """
    if num_steps < 1 or num_draws < 1:
        raise ValueError(f"num_steps={num_steps} and num_draws={num_draws} must both be at least one")
    optimizer = optax.adam(optax.cosine_decay_schedule(learning_rate, num_steps))

    def loss(posterior: Distribution, key: Key) -> Array:
        def log_weight(key: Key) -> Array:
            drawn = sticking_the_landing(key, posterior)
            return _log_joint(model, params, x, drawn.value) - drawn.log_density

        return -jnp.mean(jax.vmap(log_weight)(jax.random.split(key, num_draws)))

    def step(state: tuple, key: Key) -> tuple[tuple, None]:
        posterior, moments = state
        updates, moments = optimizer.update(jax.grad(loss)(posterior, key), moments)
        return (optax.apply_updates(posterior, updates), moments), None

    start = model.posterior(params, x)
    (posterior, _), _ = scan(step, (start, optimizer.init(start)), jax.random.split(key, num_steps))
    return posterior


def _log_joint(model: VAE, params: Params, x: Array, z: Array) -> Array:
    return model.prior(params).log_prob(z) + model.likelihood(params, z).log_prob(x)


def _bound(model: VAE, key: Key, params: Params, x: Array, posterior: Distribution) -> Array:
    """One draw's ELBO, with the KL in closed form where it is known."""
    z = posterior.sample(key)
    return model.likelihood(params, z).log_prob(x) - kl(posterior, model.prior(params), z)
