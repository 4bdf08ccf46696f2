"""Standard Gaussians in a row, each correlated with the one before it."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp

from jaxvae.distributions.elementary import LOG_2PI, Normal
from jaxvae.distributions.event import check_event
from jaxvae.distributions.scale import representable
from jaxvae.loops import scan
from jaxvae.types import Array, Key


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

        _, after = scan(follow, noise[0], noise[1:])
        return jnp.concatenate([noise[:1], after])

    def log_prob(self, value: Array) -> Array:
        """The log density of an event [D]: [], in nats."""
        check_event(self, value, self.origin.shape)
        variance = 1 - self.correlation**2
        steps = value[1:] - self.correlation * value[:-1]
        squares = jnp.square(value[0]) + jnp.sum(jnp.square(steps)) / variance
        log_variance = jnp.log(variance).astype(value.dtype)
        return representable(-0.5 * (squares + value.size * LOG_2PI + (value.size - 1) * log_variance))

    def expectation(self) -> Array:
        """The mean, [D], zero."""
        return self.origin

    def kl_from_normal(self, q: Normal) -> Array:
        """KL(q || this) for independent Gaussians q [D]: [], in nats."""
        variance = 1 - self.correlation**2
        scales = jnp.square(jnp.exp(q._log_scale()))
        # E_q of the density's squares: those of the mean, and the variances that each step brings in
        spread = scales[0] + jnp.sum(scales[1:] + self.correlation**2 * scales[:-1]) / variance
        entropy = 0.5 * (q.mean.size * (LOG_2PI + 1) + jnp.sum(jnp.log(scales)))
        return representable(0.5 * spread - self.log_prob(q.mean) - entropy)
