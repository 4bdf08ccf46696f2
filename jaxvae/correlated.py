"""A prior whose coordinates follow each other: no independent posterior can match it, and the rate cannot vanish."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp

from jaxvae.distributions import Normal
from jaxvae.priors import Prior
from jaxvae.types import Array, Key, Shape

LOG_2PI = 1.8378770664093453


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class CorrelatedNormal:
    """A stationary sequence of standard Gaussians, each correlated with the one before it.

    z_1 ~ N(0, 1),    z_d = α z_{d-1} + (1 - α²)^½ ε_d

    Args:
        origin: [D] zeros: they tell D and the dtype.
        correlation: α, between -1 and 1.

    Source: Razavi et al., "Preventing Posterior Collapse with delta-VAEs" (2019), section 3.1.
    """

    origin: Array
    correlation: float = field(metadata={"static": True})

    def sample(self, key: Key) -> Array:
        """One draw, [D]."""
        noise = jax.random.normal(key, self.origin.shape, self.origin.dtype)
        scale = (1 - self.correlation**2) ** 0.5

        def follow(before: Array, noise: Array) -> tuple[Array, Array]:
            z = self.correlation * before + scale * noise
            return z, z

        _, after = jax.lax.scan(follow, noise[0], noise[1:])
        return jnp.concatenate([noise[:1], after])

    def log_prob(self, value: Array) -> Array:
        """The log density of an event [D]: [], in nats."""
        variance = 1 - self.correlation**2
        steps = value[1:] - self.correlation * value[:-1]
        squares = jnp.square(value[0]) + jnp.sum(jnp.square(steps)) / variance
        return -0.5 * (squares + value.size * LOG_2PI + (value.size - 1) * jnp.log(variance).astype(value.dtype))

    def expectation(self) -> Array:
        """The mean, [D], zero."""
        return self.origin

    def kl_from_normal(self, q: Normal) -> Array:
        """KL(q || this) for independent Gaussians q [D]: [], in nats."""
        variance = 1 - self.correlation**2
        scales = jnp.square(jnp.exp(jnp.broadcast_to(q.log_scale, q.mean.shape)))
        # E_q of the density's squares: those of the mean, and the variances that each step brings in
        spread = scales[0] + jnp.sum(scales[1:] + self.correlation**2 * scales[:-1]) / variance
        entropy = 0.5 * (q.mean.size * (LOG_2PI + 1) + jnp.sum(jnp.log(scales)))
        return 0.5 * spread - self.log_prob(q.mean) - entropy


def committed_rate(dimensions: int, correlation: float) -> float:
    """The least divergence that independent Gaussians can have from this prior: the rate that is committed.

    δ = ½ [(D - 2) ln(1 + α²) - ln(1 - α²)]

    Args:
        dimensions: D ≥ 2.
        correlation: α.

    Returns:
        Nats.

    Example:
        >>> round(committed_rate(20, 0.95), 2)
        6.95

    Source: Razavi et al. (2019), equation 3, for one sequence.
    """
    return 0.5 * float((dimensions - 2) * jnp.log1p(correlation**2) - jnp.log1p(-(correlation**2)))


def correlated_normal(shape: Shape, *, correlation: float = 0.95) -> Prior:
    """The prior of the δ-VAE, for a posterior of independent Gaussians.

    Args:
        shape: (D,), of z.
        correlation: α.

    Returns:
        The prior; it has no parameters.

    Raises:
        ValueError: z is no vector of two dimensions at least, or α not between -1 and 1.
    """
    if len(shape) != 1 or shape[0] < 2 or not -1 < correlation < 1:
        raise ValueError(
            f"a correlated prior needs z of a shape (D,) with D of 2 at least, not {shape}, and a correlation between "
            f"-1 and 1, not {correlation}"
        )
    return Prior(lambda key, x: {}, lambda params, posterior: CorrelatedNormal(jnp.zeros(shape), correlation))
