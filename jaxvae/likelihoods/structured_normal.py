"""A Gaussian whose pixels depend on their neighbours: residuals in one piece, not noise on each pixel."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jaxvae.distributions import check_event, held, representable
from jaxvae.likelihoods import raster
from jaxvae.loops import scan
from jaxvae.types import Array, Key, Shape

LOG_2PI = 1.8378770664093453


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class StructuredNormal:
    """A Gaussian over an image, by the sparse Cholesky factor L of its precision Λ = L Lᵀ.

    log p(x) = -½ |ε|² + Σ_j d_j - ½ D ln 2π,    ε = Lᵀ (x - μ):    ε_j = e^(d_j) (x - μ)_j + Σ_n w_jn (x - μ)_(j+n)

    with n over the neighbours of pixel j that come before it in the order of reading: all within a radius, so that no
    matrix is ever made. L is lower-triangular when pixels are counted from the last one. In other words, each pixel
    given the earlier ones is a Gaussian of scale e^(-d_j) about μ_j - e^(-d_j) Σ_n w_jn (x - μ)_(j+n). The channels of
    an image are independent of each other.

    Args:
        mean: [H, W, C] μ.
        log_diagonal: [H, W, C] d, the logarithm of L's diagonal, `held` between -16 and 16; minus the log scale where w
            is zero.
        off_diagonal: [H, W, N, C] w, for N = 4, 12, 24, ... neighbours: a radius of 1, 2, 3, ...

    Raises:
        ValueError: N is another number; by its methods.

    Example:
        >>> shapes = StructuredNormal.parameters((8, 8, 1), radius=1)
        >>> made = StructuredNormal(**{name: jnp.zeros(shape) for name, shape in shapes.items()})
        >>> round(float(made.log_prob(jnp.zeros((8, 8, 1)))), 3)  # -32 ln 2π
        -58.812

    Source: Dorta et al., "Structured Uncertainty Prediction Networks" (2018), section 3.
    """

    mean: Array
    log_diagonal: Array
    off_diagonal: Array

    @staticmethod
    def parameters(shape: Shape, radius: int = 1) -> dict[str, Shape]:
        """The shapes of the outputs that a network must give for an image of shape [H, W, C]."""
        height, width, channels = shape
        return {
            "mean": shape,
            "log_diagonal": shape,
            "off_diagonal": (height, width, raster.neighbours(radius), channels),
        }

    def sample(self, key: Key) -> Array:
        """One draw, [H, W, C], reparameterised: Lᵀ (x - μ) = ε solved pixel by pixel."""
        height, width, _ = self.mean.shape
        radius = raster.radius_of(self.off_diagonal.shape[2])
        noise = jax.random.normal(key, self.mean.shape, self.mean.dtype)

        def step(residual: Array, position: raster.Position) -> tuple[Array, None]:
            earlier = raster.before_one(residual, position, radius)
            of_earlier = jnp.sum(self.off_diagonal[position] * earlier, axis=0)
            pixel = jnp.exp(-held(self.log_diagonal[position])) * (noise[position] - of_earlier)
            return raster.written(residual, position, radius, pixel), None

        empty = raster.border(jnp.zeros_like(self.mean), radius)
        residual, _ = scan(step, empty, raster.positions(height, width))
        return self.mean + residual[radius:, radius : radius + width]

    def log_prob(self, value: Array) -> Array:
        """The log density of an image [H, W, C]: [], in nats."""
        check_event(self, value, self.mean.shape)
        check_event(self, self.log_diagonal, self.mean.shape, name="log_diagonal")
        residual = value - self.mean
        radius = raster.radius_of(self.off_diagonal.shape[2])
        of_earlier = jnp.sum(self.off_diagonal * raster.before(residual, radius), axis=2)
        log_diagonal = held(self.log_diagonal)
        noise = jnp.exp(log_diagonal) * residual + of_earlier
        return representable(jnp.sum(log_diagonal - 0.5 * (jnp.square(noise) + LOG_2PI)))

    def expectation(self) -> Array:
        """The mean, [H, W, C]."""
        return self.mean
