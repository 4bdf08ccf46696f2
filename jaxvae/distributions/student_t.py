"""Student's t: a bell whose tails an outlier does not surprise."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jaxvae.distributions.event import check_event
from jaxvae.distributions.gamma_ratio import LARGEST_LOG, log_gamma_ratio
from jaxvae.distributions.scale import held, representable
from jaxvae.types import Array, Key, Shape

LOG_2 = 0.6931471805599453
LOG_2PI = 1.8378770664093453
FAR = 1e6  # so many scales away the square of a distance is not made any more


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class StudentT:
    """Independent t densities with ν degrees of freedom, summed over dimensions.

    log p(x) = Σ [ln Γ((ν+1)/2) - ln Γ(ν/2) - ½ ln πν - ln s - ½ (ν+1) ln(1 + t²/ν)],    t = (x - m) / s

    As ν grows it becomes the Gaussian N(m, s²).

    Args:
        location: [*event] m, the median; the mean too, where ν > 1.
        log_scale: [*event] or [] ln s, `held` between -16 and 16.
        log_degrees: [*event] or [] ln ν; outside of ±30 it counts as ±30.

    Example:
        >>> cauchy = StudentT(jnp.zeros(1), jnp.zeros(1), jnp.zeros(1))
        >>> round(float(cauchy.log_prob(jnp.zeros(1))), 4)  # -ln π
        -1.1447

    Source: Takahashi et al., "Student-t Variational Autoencoder for Robust Density Estimation" (2018).
    """

    location: Array
    log_scale: Array
    log_degrees: Array

    @staticmethod
    def parameters(shape: Shape) -> dict[str, Shape]:
        """The shapes of the outputs that a network must give for an event of this shape."""
        return {"location": shape, "log_scale": shape, "log_degrees": shape}

    def sample(self, key: Key) -> Array:
        """One draw, [*event], reparameterised: a Gaussian one over the root of a Gamma one."""
        key_normal, key_gamma = jax.random.split(key)
        log_half = self._log_degrees() - LOG_2
        noise = jax.random.normal(key_normal, self.location.shape, self.location.dtype)
        log_shrink = 0.5 * (jax.random.loggamma(key_gamma, jnp.exp(log_half)) - log_half)
        return self.location + noise * jnp.exp(held(self.log_scale) - log_shrink)

    def log_prob(self, value: Array) -> Array:
        """The log density of an event [*event]: [], in nats."""
        check_event(self, value, self.location.shape)
        log_degrees = self._log_degrees()
        log_scale = jnp.broadcast_to(held(self.log_scale), self.location.shape)
        degrees = jnp.exp(log_degrees)
        standardised = (value - self.location) * jnp.exp(-log_scale)
        log_top = log_gamma_ratio(log_degrees - LOG_2, jnp.full_like(degrees, 0.5)) - 0.5 * LOG_2PI
        surprise = _log_one_plus_square(standardised, log_degrees)
        return representable(jnp.sum(log_top - log_scale - 0.5 * (degrees + 1) * surprise))

    def expectation(self) -> Array:
        """The location, [*event]: the mean where ν > 1, and the median always."""
        return self.location

    def _log_degrees(self) -> Array:
        return jnp.broadcast_to(jnp.clip(self.log_degrees, -LARGEST_LOG, LARGEST_LOG), self.location.shape)


def _log_one_plus_square(t: Array, log_degrees: Array) -> Array:
    """ln(1 + t²/ν), where the square would leave single precision too: 2 ln |t| - ln ν + ln(1 + ν/t²)."""
    far = jnp.abs(t) > FAR
    near = jnp.log1p(jnp.square(jnp.where(far, 0, t)) / jnp.exp(log_degrees))
    log_ratio = 2 * jnp.log(jnp.where(far, jnp.abs(t), FAR)) - log_degrees
    return jnp.where(far, log_ratio + jnp.log1p(jnp.exp(-log_ratio)), near)
