"""Likelihoods of pixels with a finite number of grey levels: 256-way, beta-binomial, discretised logistic mixture.

They give probabilities, not densities, to the values 0, 1/255, ..., 1 of 8-bit pixels in [0, 1]: their bounds become
bits by `bits_per_dimension`. A density does so through `jaxvae.models`.
"""

import math
from dataclasses import dataclass, field
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import log_sigmoid, log_softmax
from jax.scipy.special import logsumexp

from jaxvae.distributions import LARGEST_LOG, check_event, held, log_quotient, stirling_error
from jaxvae.types import Array, Key, Shape


def bits_per_dimension(log_likelihood: Array, shape: Shape) -> Array:
    """What a code costs for each dimension of the data: -log p(x) / (D ln 2).

    Args:
        log_likelihood: [...] ln p(x), or a bound on it, in nats: of levels, not of a density.
        shape: of one example, with D dimensions in all.

    Returns:
        [...] bits.

    Example:
        >>> even = PixelCategorical(jnp.zeros((4, 4, 3, 256)))
        >>> round(float(bits_per_dimension(even.log_prob(jnp.ones((4, 4, 3))), (4, 4, 3))), 3)
        8.0
    """
    return -log_likelihood / (math.prod(shape) * math.log(2))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class PixelCategorical:
    """A probability for each level of each pixel, 256-way for 8-bit images.

    log p(x) = Σ ln softmax(l)_{x (K-1)},    x in {0, 1/(K-1), ..., 1}

    Args:
        logits: [*event, K] l, unbounded, one for each of the K levels.

    Example:
        >>> round(float(PixelCategorical(jnp.zeros((4, 256))).log_prob(jnp.ones(4))), 4)  # -4 ln 256
        -22.1807

    Source: van den Oord et al., "Pixel Recurrent Neural Networks" (2016), section 3.
    """

    logits: Array

    @staticmethod
    def parameters(shape: Shape) -> dict[str, Shape]:
        """The shapes of the outputs that a network must give for an event of this shape."""
        return {"logits": (*shape, 256)}

    def sample(self, key: Key) -> Array:
        """One draw of pixels in [0, 1], [*event]."""
        return jax.random.categorical(key, self.logits).astype(self.logits.dtype) / (self.logits.shape[-1] - 1)

    def log_prob(self, value: Array) -> Array:
        """The log probability of pixels [*event] in [0, 1]: [], in nats."""
        check_event(self, value, self.logits.shape[:-1])
        level = jnp.round(value * (self.logits.shape[-1] - 1)).astype(jnp.int32)
        return jnp.sum(jnp.take_along_axis(log_softmax(self.logits), level[..., None], axis=-1))

    def expectation(self) -> Array:
        """The mean pixel in [0, 1], [*event]."""
        levels = jnp.linspace(0, 1, self.logits.shape[-1], dtype=self.logits.dtype)
        return jax.nn.softmax(self.logits) @ levels


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class BetaBinomial:
    """The level of each pixel as a count of n = 255, whose probability is a Beta draw: two numbers for 256 levels.

    P(x) = Π C(n, k) B(k + α, n - k + β) / B(α, β),    k = n x

    With α = β = 1 all levels are equally probable; as both grow it becomes the binomial, and as both vanish the pixel
    is black or white.

    Args:
        log_alpha: [*event] ln α; outside of ±30 it counts as ±30.
        log_beta: [*event] ln β, alike.
        levels: n + 1, the number of values a pixel can take.

    Example:
        >>> round(float(BetaBinomial(jnp.zeros(4), jnp.zeros(4)).log_prob(jnp.ones(4))), 3)  # -4 ln 256
        -22.181
    """

    log_alpha: Array
    log_beta: Array
    levels: int = field(default=256, metadata={"static": True})

    @staticmethod
    def parameters(shape: Shape) -> dict[str, Shape]:
        """The shapes of the outputs that a network must give for an event of this shape."""
        return {"log_alpha": shape, "log_beta": shape}

    def sample(self, key: Key) -> Array:
        """One draw of pixels in [0, 1], [*event]: from the table of all levels."""
        counts = jnp.arange(self.levels, dtype=self.log_alpha.dtype)
        each = lambda count: self._log_probabilities(jnp.full_like(self.log_alpha, count))  # noqa: E731
        table = jax.vmap(each, out_axes=-1)(counts)
        return jax.random.categorical(key, table).astype(self.log_alpha.dtype) / (self.levels - 1)

    def log_prob(self, value: Array) -> Array:
        """The log probability of pixels [*event] in [0, 1]: [], in nats."""
        check_event(self, value, self.log_alpha.shape)
        return jnp.sum(self._log_probabilities(jnp.round(value * (self.levels - 1))))

    def expectation(self) -> Array:
        """The mean α / (α + β), [*event]."""
        log_alpha, log_beta = self._inside()
        return jax.nn.sigmoid(log_alpha - log_beta)

    def _log_probabilities(self, count: Array) -> Array:
        log_alpha, log_beta = self._inside()
        log_both = jnp.logaddexp(log_alpha, log_beta)
        alpha, beta, both = jnp.exp(log_alpha), jnp.exp(log_beta), jnp.exp(log_both)
        number = self.levels - 1
        rest = number - count
        ones, zeros, all_of = alpha + count, beta + rest, both + number  # of the Beta after the count
        # Every Γ by Stirling's formula and what it leaves; powers by quotients, near one where the count is expected.
        orders = jnp.asarray(_orders(number), count.dtype)[count.astype(jnp.int32)]
        errors = stirling_error(ones) + stirling_error(zeros) - stirling_error(all_of)
        errors -= stirling_error(alpha) + stirling_error(beta) - stirling_error(both)
        logs = log_alpha + log_beta - log_both - jnp.log(ones) - jnp.log(zeros) + jnp.log(all_of)
        excess = beta * count - alpha * rest  # α n - k (α + β), with the sign turned
        powers = alpha * log_quotient(ones * both, alpha * all_of, excess)
        powers += beta * log_quotient(zeros * both, beta * all_of, -excess)
        some, some_left = jnp.maximum(count, 1), jnp.maximum(rest, 1)  # none has the power zero
        powers += count * log_quotient(ones * number, some * all_of, -excess)
        powers += rest * log_quotient(zeros * number, some_left * all_of, excess)
        return orders + errors + 0.5 * logs + powers

    def _inside(self) -> tuple[Array, Array]:
        check_event(self, self.log_beta, self.log_alpha.shape, name="log_beta")
        return (
            jnp.clip(self.log_alpha, -LARGEST_LOG, LARGEST_LOG),
            jnp.clip(self.log_beta, -LARGEST_LOG, LARGEST_LOG),
        )


@cache
def _orders(number: int) -> np.ndarray:
    """[n + 1] of ln C(n, k) what is no power of n, k and n - k, in double precision."""
    factorials = np.array([math.lgamma(k + 1) for k in range(number + 1)])
    count = np.arange(number + 1)
    powers = factorials - count * np.log(np.maximum(count, 1))  # ln k! - k ln k
    return powers[number] - powers - powers[::-1]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DiscretizedLogisticMixture:
    """A mixture of logistic densities for each pixel, integrated over the pixel's level.

    P(x) = Σ_m π_m Π_c [F((x_c + ½δ - μ_mc) / s_mc) - F((x_c - ½δ - μ_mc) / s_mc)],    F the logistic function

    with δ = 1/(levels - 1), and the lowest and the highest level taking all the mass beyond them. The channels of a
    pixel share the component and are independent given it (PixelCNN++ lets green depend on red, and blue on both).

    Args:
        mixture_logits: [H, W, M] unnormalised ln π.
        mean: [H, W, C, M] μ, in the units of pixels in [0, 1].
        log_scale: [H, W, C, M] ln s, `held` between -16 and 16.
        levels: the number of values a pixel can take.

    Source: Salimans et al., "PixelCNN++" (2017), equation 2.
    """

    mixture_logits: Array
    mean: Array
    log_scale: Array
    levels: int = field(default=256, metadata={"static": True})

    @staticmethod
    def parameters(shape: Shape, num_components: int = 10) -> dict[str, Shape]:
        """The shapes of the outputs that a network must give for an image of shape [H, W, C]."""
        return {
            "mixture_logits": (*shape[:-1], num_components),
            "mean": (*shape, num_components),
            "log_scale": (*shape, num_components),
        }

    def sample(self, key: Key) -> Array:
        """One draw of pixels in [0, 1], [H, W, C], on the levels."""
        key_component, key_noise = jax.random.split(key)
        component = jax.random.categorical(key_component, self.mixture_logits)[..., None, None]
        mean = jnp.take_along_axis(self.mean, component, axis=-1)[..., 0]
        scale = jnp.exp(held(jnp.take_along_axis(self.log_scale, component, axis=-1)[..., 0]))
        value = mean + scale * jax.random.logistic(key_noise, mean.shape, mean.dtype)
        return jnp.round(jnp.clip(value, 0, 1) * (self.levels - 1)) / (self.levels - 1)

    def log_prob(self, value: Array) -> Array:
        """The log probability of pixels [H, W, C] in [0, 1]: [], in nats."""
        check_event(self, value, self.mean.shape[:-1])
        check_event(self, self.log_scale, self.mean.shape, name="log_scale")
        check_event(self, self.mixture_logits, (*value.shape[:-1], self.mean.shape[-1]), name="mixture_logits")
        value = value[..., None]
        half_width = 0.5 / (self.levels - 1)
        inverse_scale = jnp.exp(-held(self.log_scale))
        upper = (value + half_width - self.mean) * inverse_scale
        lower = (value - half_width - self.mean) * inverse_scale
        # F(b) - F(a) = F(b) F(-a) (1 - e^(a-b)): exact where both ends lie in the same tail
        log_mass = log_sigmoid(upper) + log_sigmoid(-lower) + jnp.log(-jnp.expm1(-2 * half_width * inverse_scale))
        log_mass = jnp.where(value < half_width, log_sigmoid(upper), log_mass)
        log_mass = jnp.where(value > 1 - half_width, log_sigmoid(-lower), log_mass)
        log_components = log_softmax(self.mixture_logits) + jnp.sum(log_mass, axis=-2)
        return jnp.sum(logsumexp(log_components, axis=-1))

    def expectation(self) -> Array:
        """The mean of the logistics clipped to [0, 1], [H, W, C]: a picture, not the exact mean of the levels."""
        weights = jax.nn.softmax(self.mixture_logits)[..., None, :]
        return jnp.clip(jnp.sum(weights * jnp.clip(self.mean, 0, 1), axis=-1), 0, 1)
