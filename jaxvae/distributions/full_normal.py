"""The Gaussian with a full covariance: a posterior whose dimensions may depend on each other."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jaxvae.distributions.elementary import LOG_2PI, Normal
from jaxvae.distributions.event import check_event
from jaxvae.distributions.scale import held, representable
from jaxvae.types import Array, Key, Shape


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class FullNormal:
    """Gaussian N(x; μ, L Lᵀ) by the Cholesky factor of its covariance.

    log p(x) = -½ |L⁻¹ (x - μ)|² - Σ ln L_ii - ½ D ln 2π,    L = diag(σ) (I + C)

    C lies below the diagonal and is a tenth of the output, so that L is near to diagonal when a network is fresh: with
    as many dimensions as latents have, a triangle of random numbers of order one has next to no inverse.

    Args:
        mean: [*event] μ, with D numbers.
        log_scale: [*event] ln σ, `held` between -16 and 16.
        lower: [D (D - 1) / 2] 10 C, unbounded, in the order of `lower_triangle`.

    Example:
        >>> density = FullNormal(jnp.zeros(2), jnp.zeros(2), jnp.array([5.0]))
        >>> density.cholesky()
        Array([[1. , 0. ],
               [0.5, 1. ]], dtype=float32)
        >>> round(float(density.log_prob(jnp.zeros(2))), 4)  # -ln 2π
        -1.8379

    Source: Kingma & Welling, "An Introduction to Variational Autoencoders" (2019), section 2.5.1.
    """

    mean: Array
    log_scale: Array
    lower: Array

    @staticmethod
    def parameters(shape: Shape) -> dict[str, Shape]:
        """The shapes of the outputs that a network must give for an event of this shape."""
        size = math.prod(shape)
        return {"mean": shape, "log_scale": shape, "lower": (size * (size - 1) // 2,)}

    def sample(self, key: Key) -> Array:
        """One draw, [*event], by the reparameterisation μ + L ε with ε ~ N(0, I)."""
        return self.sample_and_log_prob(key)[0]

    def sample_and_log_prob(self, key: Key) -> tuple[Array, Array]:
        """One draw [*event] and its log density [], in nats: the noise spares the inverse of L."""
        noise = jax.random.normal(key, self.mean.shape, self.mean.dtype)
        shift = jnp.sum(self.cholesky() * noise.reshape(1, -1), axis=1)
        return self.mean + shift.reshape(self.mean.shape), self._log_density(noise)

    def log_prob(self, value: Array) -> Array:
        """The log density of an event [*event]: [], in nats."""
        check_event(self, value, self.mean.shape)
        centred = (value - self.mean).reshape(-1)
        return self._log_density(jax.scipy.linalg.solve_triangular(self.cholesky(), centred, lower=True))

    def expectation(self) -> Array:
        """The mean, [*event]."""
        return self.mean

    def cholesky(self) -> Array:
        """L [D, D]."""
        check_event(self, self.log_scale, self.mean.shape, name="log_scale")
        size = self.mean.size
        below = jnp.pad(lower_triangle(0.1 * self.lower, size - 1), ((1, 0), (0, 1)))
        return jnp.exp(held(self.log_scale).reshape(-1))[:, None] * (jnp.eye(size, dtype=self.mean.dtype) + below)

    def kl_to_normal(self, other: Normal) -> Array:
        """KL(self || other) for a diagonal Gaussian over the same events: [], in nats.

        KL = ½ Σ [(L Lᵀ)_ii / s_i² + (μ_i - m_i)² / s_i² - 1] + Σ [ln s_i - ln L_ii]

        Args:
            other: N(m, diag s²).

        Returns:
            [] nats, never negative.
        """
        log_scale = other._log_scale().reshape(-1)
        shift = (self.mean - other.mean).reshape(-1) * jnp.exp(-log_scale)
        spread = jnp.sum(jnp.square(self.cholesky() * jnp.exp(-log_scale)[:, None]))
        log_ratio = jnp.sum(held(self.log_scale)) - jnp.sum(log_scale)
        return representable(0.5 * (spread + jnp.sum(jnp.square(shift)) - self.mean.size) - log_ratio)

    def _log_density(self, noise: Array) -> Array:
        return representable(-0.5 * jnp.sum(jnp.square(noise) + LOG_2PI) - jnp.sum(held(self.log_scale)))


def lower_triangle(values: Array, size: int) -> Array:
    """A lower triangular matrix from its numbers, without a gather, whose gradient would be a scatter.

    Args:
        values: [n (n + 1) / 2].
        size: n.

    Returns:
        [n, n]. The order of the numbers is the one that comes of folding their sequence on itself.

    Example:
        >>> lower_triangle(jnp.arange(6), 3)
        Array([[3, 0, 0],
               [5, 4, 0],
               [2, 1, 0]], dtype=int32)
    """
    return jnp.tril(jnp.concatenate([values[size:], values[::-1]]).reshape(size, size))
