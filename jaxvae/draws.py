"""Gradient estimators, each as a way to draw z from a posterior q.

The value of a bound is the same for all of them; what differs is which paths the gradient takes. A model is given one
of these functions (`jaxvae.vae(..., draw=sticking_the_landing)`) and calls it once for each draw.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxvae.distributions import Frozen, sample_and_log_prob
from jaxvae.types import Array, Distribution, Key


class Draw(NamedTuple):
    """One draw from a posterior, and what a bound needs to know about it."""

    value: Array  # [*latent] z
    density: Distribution  # q, for a closed KL; frozen where only the path of z counts
    log_density: Array  # [] ln q(z|x), as it enters the bound
    feedback: Array | None = None  # [] a zero; its cotangent hands z its normalised weight (DReG)
    score: Array | None = None  # [] ln q(z|x) at a z that has no path, for estimators that take its gradient


def pathwise(key: Key, posterior: Distribution) -> Draw:
    """The reparameterisation gradient: through z and through the density of q.

    ∇_φ E_q[f(z, φ)] = E_ε[∇_z f ∇_φ z(ε, φ) + ∂_φ f]

    Args:
        key: for the noise ε.
        posterior: q(z|x).

    Returns:
        The draw.

    Source: Kingma & Welling, "Auto-Encoding Variational Bayes" (2014), section 2.4.
    """
    value, log_density = sample_and_log_prob(posterior, key)
    return Draw(value, posterior, log_density)


def sticking_the_landing(key: Key, posterior: Distribution) -> Draw:
    """The path derivative alone: the score term ∂_φ ln q(z|x), zero in expectation, is left out.

    When q is the exact posterior, the gradient for the encoder is zero for every draw. It is unbiased for `elbo`, and
    for `iwae_bound` with one sample; with more, the encoder's gradient is biased: take `doubly_reparameterized` there.

    Args:
        key: for the noise ε.
        posterior: q(z|x).

    Returns:
        The draw; the KL term becomes the drawn difference ln q(z|x) - ln p(z), since a closed form has no path.

    Source: Roeder, Wu & Duvenaud, "Sticking the Landing" (2017), equation 8.
    """
    value, frozen = posterior.sample(key), Frozen(posterior)
    return Draw(value, frozen, frozen.log_prob(value))


def doubly_reparameterized(key: Key, posterior: Distribution) -> Draw:
    """The doubly reparameterised gradient of `iwae_bound`, whose encoder part does not drown as k grows.

    ∇_φ L_k = E[Σ_i w̃_i² ∂ln w_i/∂z_i ∂z_i/∂φ],    w̃_i = w_i / Σ_j w_j

    The decoder's gradient is the usual Σ_i w̃_i ∇_θ ln w_i. One backward pass serves both: z passes through a gate that
    multiplies its cotangent by w̃_i, which `iwae_bound` sends back through `feedback`.

    Args:
        key: for the noise ε.
        posterior: q(z|x).

    Returns:
        The draw. `iwae_bound` alone can use it; `elbo` refuses it.

    Source: Tucker et al., "Doubly Reparameterized Gradient Estimators" (2019), equation 8.
    """
    (value, feedback), frozen = _gate(posterior.sample(key)), Frozen(posterior)
    return Draw(value, frozen, frozen.log_prob(value), feedback)


@jax.custom_vjp
def _gate(value: Array) -> tuple[Array, Array]:
    # A zero that depends on the value: under `vmap` a constant would be one for all draws, and its cotangent their sum.
    return value, 0 * jnp.sum(value)


def _gate_forward(value: Array) -> tuple[tuple[Array, Array], None]:
    return _gate(value), None


def _gate_backward(_: None, cotangents: tuple[Array, Array]) -> tuple[Array]:
    value_cotangent, normalised_weight = cotangents
    return (normalised_weight * value_cotangent,)


_gate.defvjp(_gate_forward, _gate_backward)
