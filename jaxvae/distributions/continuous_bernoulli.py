"""The continuous Bernoulli density of grey pixels, exact on both sides of its removable singularity."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.nn import softplus

from jaxvae.distributions.event import check_event
from jaxvae.types import Array, Key, Shape

LOG_2 = 0.6931471805599453


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ContinuousBernoulli:
    """Independent pixels in [0, 1] with the Bernoulli's exponent, normalised.

    log p(x) = Σ [x l - softplus(l) + ln C(l)],    C(l) = l / tanh(l/2)

    Args:
        logits: [*event] l, unbounded.

    Example:
        >>> float(ContinuousBernoulli(jnp.zeros(3)).log_prob(jnp.full(3, 0.5)))  # l = 0 is the uniform density
        0.0

    Source: Loaiza-Ganem & Cunningham, "The Continuous Bernoulli" (2019), equations 5 and 6.
    """

    logits: Array

    @staticmethod
    def parameters(shape: Shape) -> dict[str, Shape]:
        """The shapes of the outputs that a network must give for an event of this shape."""
        return {"logits": shape}

    def sample(self, key: Key) -> Array:
        """One draw in [0, 1], [*event], through the inverse distribution function: reparameterised."""
        u = jax.random.uniform(key, self.logits.shape, self.logits.dtype)
        l, small = _away_from_zero(self.logits)
        # F⁻¹(u) = ln(1 - u + u eˡ) / l, and u itself at l = 0
        drawn = jnp.logaddexp(jnp.log(u) + l, jnp.log1p(-u)) / l
        return jnp.where(small, _inverse_near_zero(u, self.logits), jnp.clip(drawn, 0, 1))

    def log_prob(self, value: Array) -> Array:
        """The log density of an event [*event] in [0, 1]: [], in nats."""
        check_event(self, value, self.logits.shape)
        return jnp.sum(value * self.logits - softplus(self.logits) + self._log_normaliser())

    def expectation(self) -> Array:
        """The mean 1/(1 - e⁻ˡ) - 1/l, [*event]."""
        l, small = _away_from_zero(self.logits)
        series = 0.5 + _polynomial(self.logits, 0, 1 / 12, 0, -1 / 720, 0, 1 / 30240, 0, -1 / 1209600)
        # ½ + ½ coth(l/2) - 1/l is the same number, without overflow
        return jnp.where(small, series, 0.5 + 0.5 / jnp.tanh(0.5 * l) - 1 / l)

    def _log_normaliser(self) -> Array:
        l, small = _away_from_zero(self.logits)
        series = LOG_2 + _polynomial(jnp.square(self.logits), 0, 1 / 12, -7 / 1440, 31 / 90720, -127 / 4838400)
        return jnp.where(small, series, jnp.log(l / jnp.tanh(0.5 * l)))


def _away_from_zero(logits: Array) -> tuple[Array, Array]:
    """The logits with those near zero replaced, and where they were: there a series stands for 0/0."""
    small = jnp.abs(logits) < 0.1
    return jnp.where(small, jnp.ones_like(logits), logits), small


def _inverse_near_zero(u: Array, l: Array) -> Array:
    """ln(1 - u + u eˡ) / l = Σ_n κ_n l^(n-1) / n!, with κ_n the cumulants of a Bernoulli variable of mean u."""
    v, skew = u * (1 - u), 1 - 2 * u
    return _polynomial(
        l,
        u,
        v / 2,
        v * skew / 6,
        v * (1 - 6 * v) / 24,
        v * skew * (1 - 12 * v) / 120,
        v * (1 - 30 * v + 120 * v**2) / 720,
        v * skew * (1 - 60 * v + 360 * v**2) / 5040,
    )


def _polynomial(l: Array, *coefficients: Array | float) -> Array:
    """c₀ + c₁ l + c₂ l² + ... near zero, and a constant away from it, where its gradient is not wanted."""
    l = jnp.where(jnp.abs(l) < 0.1, l, jnp.zeros_like(l))
    total = jnp.zeros_like(l)
    for coefficient in reversed(coefficients):
        total = total * l + coefficient
    return total
