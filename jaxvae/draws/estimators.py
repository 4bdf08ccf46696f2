"""Gradient estimators, each as a way to draw z from a posterior q.

The value of a bound is the same for all of them; what differs is which paths the gradient takes. A model is given one
of these functions (`jaxvae.vae(..., draw=sticking_the_landing)`) and calls it once for each draw.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxvae.distributions import Frozen, Normal, held, sample_and_log_prob
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


def score_function(key: Key, posterior: Distribution) -> Draw:
    """The score-function gradient, for draws without a path: discrete latents, or a density that has none.

    ∇_φ E_q[f(z)] = E_q[(f(z) - b) ∇_φ ln q(z|x)]

    With several draws the bound takes the others for the baseline b (VIMCO for `iwae_bound`); `jaxvae.losses` has a
    learned one, `jaxvae.losses` other uses of the score.

    Args:
        key: for the draw.
        posterior: q(z|x), discrete or not.

    Returns:
        The draw.

    Source: Williams (1992); Mnih & Rezende, "Variational Inference for Monte Carlo Objectives" (2016).
    """
    value = jax.lax.stop_gradient(posterior.sample(key))
    log_density = posterior.log_prob(value)
    return Draw(value, posterior, log_density, score=log_density)


def straight_through(temperature: float = 1.0) -> Callable[[Key, Distribution], Draw]:
    """A discrete draw whose gradient is that of a relaxed one: a biased gradient with little variance.

    z = onehot(argmax(l + g)),    ∇z := ∇ softmax((l + g) / τ),    g ~ Gumbel

    The value of the bound is exact, because the draw itself is discrete.

    Args:
        temperature: τ > 0; a small one has less bias and more variance.

    Returns:
        (key, posterior) -> the draw, for a `Bernoulli` or a `OneHot` posterior.

    Raises:
        ValueError: the temperature is not positive; the posterior has no relaxed draw.

    Source: Jang, Gu & Poole, "Categorical Reparameterization with Gumbel-Softmax" (2017), section 2.2;
    Bengio, Léonard & Courville (2013).
    """
    if not temperature > 0:
        raise ValueError(f"temperature={temperature} must be positive")

    def draw(key: Key, posterior: Distribution) -> Draw:
        relaxed_of = getattr(posterior, "relaxed", None)
        if relaxed_of is None:
            raise ValueError(
                f"the straight-through gradient is for discrete latents, not for a {type(posterior).__name__}: take "
                "draw=pathwise"
            )
        hard, soft = relaxed_of(key, temperature)
        value = jax.lax.stop_gradient(hard) + (soft - jax.lax.stop_gradient(soft))
        return Draw(value, posterior, posterior.log_prob(value))

    return draw


def local_reparameterization(key: Key, weights: Normal, inputs: Array) -> Array:
    """The activations of a linear layer whose weights are Gaussian, drawn in place of the weights.

    b_j = Σ_i a_i μ_ij + (Σ_i a_i² σ_ij²)^½ ε_j,    ε ~ N(0, I)

    Every example has noise of its own, where one draw of the weights is shared by a batch: the gradient's variance
    falls with the batch.

    Args:
        key: for the noise, one for each example.
        weights: [I, J] independent Gaussian weights.
        inputs: [I] a.

    Returns:
        [J] b, distributed as inputs @ weights.

    Source: Kingma, Salimans & Welling, "Variational Dropout and the Local Reparameterization Trick" (2015), equation 6.
    """
    scales = jnp.exp(jnp.broadcast_to(held(weights.log_scale), weights.mean.shape))
    variance = jnp.square(inputs) @ jnp.square(scales)
    silent = variance == 0  # the slope of a root is infinite there
    scale = jnp.where(silent, 0, jnp.sqrt(jnp.where(silent, 1, variance)))
    return inputs @ weights.mean + scale * jax.random.normal(key, variance.shape, variance.dtype)


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
