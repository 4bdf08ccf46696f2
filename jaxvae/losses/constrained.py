"""The least divergence at a distortion that is asked for: a multiplier in place of a weight that must be found."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxvae.bounds import average, draw_terms
from jaxvae.losses.base import Loss, Metrics
from jaxvae.model import VAE
from jaxvae.types import Array, Key, Params

LARGEST = 20.0  # of |ln λ|


def multiplier_start() -> dict[str, Array]:
    """What `constrained` keeps beside the params before the first step: λ = 1.

    Returns:
        {"excess": [] the moving average of the distortion less its target, nats; "log_multiplier": [] ln λ}, for the
        `extra` of `jaxvae.training.start`.
    """
    return {"excess": jnp.zeros(()), "log_multiplier": jnp.zeros(())}


def constrained(
    model: VAE, *, distortion: float, rate: float = 0.01, decay: float = 0.99, num_samples: int = 1
) -> Loss:
    """GECO: the least divergence whose distortion is no more than a target.

    min_θ max_λ E_x KL(q(z|x) || p(z)) + λ C,    C = E_x E_q[-ln p(x|z)] - D

    The params descend it at the present λ; then the moving average of C moves the multiplier, λ ← λ exp(η C̄). Where the
    target can be met, λ settles where C is zero, at the slope of the rate-distortion curve there: 1/λ is the β of the
    β-VAE that ends at the same point.

    Args:
        model: whose draws have a path.
        distortion: D, nats: what -ln p(x|z), constants included, may be on average. A likelihood whose scale is learned
            shrinks it to reach the target.
        rate: η, in 1/nats.
        decay: of the moving average, which is C itself at the first step.
        num_samples: the draws that the expectation is averaged over.

    Returns:
        The loss, whose `extra` begins with `multiplier_start`. Its metrics are those of `negative_bound`, "multiplier"
        and "excess". All that it keeps is linear in the batch's mean, so that parts and devices make the same numbers.

    Source: Rezende & Viola, "Taming VAEs" (2018), algorithm 1, with the distortion for its reconstruction constraint.
    """

    def of_example(key: Key, params: Params, x: Any) -> tuple[Array, Array, Array]:
        terms = draw_terms(model, key, params, x, num_samples=num_samples)
        if terms.score is not None:
            raise ValueError("a constrained distortion needs draws with a path: give the model draw=pathwise")
        return average(terms), jnp.mean(terms.log_likelihood), jnp.mean(jnp.sum(terms.kl, axis=-1))

    def loss(keys: Key, params: Params, extra: Any, xs: Any, step: Array) -> tuple[Array, tuple[Any, Metrics]]:
        bound, log_likelihood, kl = jax.tree.map(jnp.mean, jax.vmap(of_example, (0, None, 0))(keys, params, xs))
        multiplier = jnp.exp(jnp.clip(extra["log_multiplier"], -LARGEST, LARGEST)).astype(kl.dtype)
        excess = -log_likelihood - distortion
        value = kl + jax.lax.stop_gradient(multiplier) * excess
        now = jax.lax.stop_gradient(excess).astype(extra["excess"].dtype)
        kept = jnp.where(step == 0, now, decay * extra["excess"] + (1 - decay) * now)
        after = {"excess": kept, "log_multiplier": extra["log_multiplier"] + rate * kept}
        metrics = {"bound": bound, "log_likelihood": log_likelihood, "kl": kl, "multiplier": multiplier}
        return value, (after, metrics | {"excess": excess})

    return loss
