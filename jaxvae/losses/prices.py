"""Other prices for the divergence than its own value: free bits, and a capacity."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxvae.bounds import average, draw_terms
from jaxvae.losses.base import ALONE, Metrics, OfWholeBatch, Shared
from jaxvae.model import VAE
from jaxvae.types import Array, Key, Params

Cost = Callable[[Array, Array], Array]  # (kl [L] averaged over the batch, step []) -> the price of the latent part, []


def negative_elbo(model: VAE, cost: Cost, *, num_samples: int = 1, shared: Shared = ALONE) -> OfWholeBatch:
    """The ELBO with another price for its divergence: free bits, or a capacity.

    -1/B Σ_b E[ln p(x_b|z)] + cost(1/B Σ_b kl_b)

    Args:
        model: the model.
        cost: of the mean divergence of each latent group, `free_bits(4.0)` for instance.
        num_samples: the draws that the expectation is averaged over.
        shared: how the batch lies on the devices, for the mean over all of it.

    Returns:
        The loss, with the metrics of `negative_bound`. It raises a ValueError where the draws have no path. The price
        of a mean is not the mean of prices: the loss is one of a whole batch, and a step cannot take it in parts.
    """

    def of_example(key: Key, params: Params, x: Array) -> tuple[Array, Array, Array]:
        terms = draw_terms(model, key, params, x, num_samples=num_samples)
        if terms.score is not None:
            raise ValueError("another price for the divergence needs draws with a path: give the model draw=pathwise")
        return average(terms), jnp.mean(terms.log_likelihood), jnp.mean(terms.kl, axis=0)

    def loss(keys: Key, params: Params, extra: Any, xs: Array, step: Array) -> tuple[Array, tuple[Any, Metrics]]:
        bound, log_likelihood, kl = jax.tree.map(
            lambda values: jnp.mean(values, axis=0), jax.vmap(of_example, (0, None, 0))(keys, params, xs)
        )
        # The price at the mean of the whole batch, and its slope there: no gradient has to cross the devices.
        price, slope = jax.value_and_grad(cost)(jax.lax.stop_gradient(shared.average(kl)), step)
        value = price + jnp.sum(slope * (kl - jax.lax.stop_gradient(kl))) - log_likelihood
        metrics = {"bound": bound, "log_likelihood": log_likelihood, "kl": jnp.sum(kl)}
        return value, (extra, metrics)

    return OfWholeBatch(loss, "the mean divergence of each latent group")


def free_bits(nats: float) -> Cost:
    """A price that asks nothing for the first nats of each latent group.

    Σ_l max(λ, kl_l)

    Args:
        nats: λ ≥ 0, of each group.

    Returns:
        The cost, for `negative_elbo`.

    Example:
        >>> float(free_bits(4.0)(jnp.array([1.0, 6.0]), jnp.array(0)))
        10.0

    Source: Kingma et al., "Improving Variational Inference with Inverse Autoregressive Flow" (2016), appendix C.8.
    """
    return lambda kl, step: jnp.sum(jnp.maximum(kl, nats))


def capacity(target: optax.Schedule, *, gamma: float) -> Cost:
    """A price for being off a capacity that grows with the steps.

    γ |Σ_l kl_l - C(step)|

    Args:
        target: step -> C in nats.
        gamma: γ.

    Returns:
        The cost, for `negative_elbo`.

    Source: Burgess et al., "Understanding Disentangling in β-VAE" (2018), equation 8.
    """
    return lambda kl, step: gamma * jnp.abs(jnp.sum(kl) - target(step))
