"""The mixture of diagonal Gaussians, as a prior or as a posterior whose draws have a gradient.

Source: Figurnov, Mohamed & Mnih, "Implicit Reparameterization Gradients" (2018).
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.nn import log_softmax, softmax
from jax.scipy.special import logsumexp, ndtr

from jaxvae.distributions import LOG_2PI
from jaxvae.types import Array, Key, Shape


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class NormalMixture:
    """Σ_c π_c N(x; μ_c, diag σ_c²).

    A draw takes a component first, which has no gradient; the draw itself has one all the same, for the logits too. It
    is implicit: as the parameters θ move, z moves so that each conditional distribution function keeps its value,

    F_d(z_d | z_1 ... z_{d-1}; θ) = Σ_c w_cd Φ((z_d - μ_cd) / σ_cd),    w_cd ∝ π_c Π_{e<d} N(z_e; μ_ce, σ_ce²)

    Args:
        logits: [C] ln π up to a constant.
        mean: [C, *event] μ.
        log_scale: [C, *event] ln σ.

    Example:
        >>> pair = NormalMixture(jnp.zeros(2), jnp.array([[-2.0], [2.0]]), jnp.zeros((2, 1)))
        >>> gradient = jax.grad(lambda pair: pair.sample(jax.random.key(0))[0])(pair)
        >>> bool(gradient.logits[1] > 0)  # more weight on the upper component moves a draw upwards
        True

    Source: Figurnov et al. (2018), the implicit gradient of a vector by its conditional distribution functions.
    """

    logits: Array
    mean: Array
    log_scale: Array

    @staticmethod
    def parameters(shape: Shape, *, components: int = 10) -> dict[str, Shape]:
        """The shapes of the outputs that a network must give for an event of this shape."""
        return {
            "logits": (components,),
            "mean": (components, *shape),
            "log_scale": (components, *shape),
        }

    def sample(self, key: Key) -> Array:
        """One draw, [*event], with the implicit gradient."""
        key_component, key_noise = jax.random.split(key)
        component = jax.random.categorical(key_component, self.logits)
        noise = jax.random.normal(key_noise, self.mean.shape[1:], self.mean.dtype)
        draw = self.mean[component] + jnp.exp(self.log_scale[component]) * noise
        return self._with_implicit_gradient(jax.lax.stop_gradient(draw))

    def log_prob(self, value: Array) -> Array:
        """The log density of an event [*event]: [], in nats."""
        log_scales = jnp.sum(self.log_scale.reshape(len(self.logits), -1), axis=1)
        log_densities = -0.5 * (self._square_distances(value) + value.size * LOG_2PI) - log_scales
        return logsumexp(log_softmax(self.logits) + log_densities)

    def expectation(self) -> Array:
        """The mean, [*event]."""
        return jnp.tensordot(softmax(self.logits), self.mean, axes=1)

    def _square_distances(self, value: Array) -> Array:
        """[C] Σ_d ((x_d - μ_d) / σ_d)², whose value is exact and whose gradient is fast.

        Multiplied out, the squares of a batch are matrix products, and so are their gradients. But far from zero they
        lose their digits (0.15 nats at scales of 0.01). So the value comes from the differences, and the gradient alone
        from the products; its relative error is that of one rounding times ((x - c) / σ)², c the components' mean. With
        500 components of 40 dimensions and 128 examples, value and gradient take 7 ms on two CPU cores: 36 ms by the
        differences alone, 2 ms by the products alone.
        """
        exact = jnp.sum(jnp.square(self._standardised(value)), axis=1)
        means = self.mean.reshape(len(self.logits), -1)
        centre = jax.lax.stop_gradient(jnp.mean(means, axis=0))
        x, means = value.reshape(-1) - centre, means - centre[None]
        precisions = jnp.exp(-2 * self.log_scale.reshape(means.shape))
        by_products = (
            precisions @ jnp.square(x) - 2 * (precisions * means) @ x + jnp.sum(precisions * jnp.square(means), axis=1)
        )
        return by_products + jax.lax.stop_gradient(exact - by_products)

    def _standardised(self, value: Array) -> Array:
        """[C, D] (x - μ) / σ."""
        distance = value[None] - self.mean
        return (distance * jnp.exp(-self.log_scale)).reshape(len(self.logits), -1)

    def _log_densities(self, value: Array) -> Array:
        """[C, D] of each dimension under each component."""
        log_scale = self.log_scale.reshape(len(self.logits), -1)
        return -0.5 * (jnp.square(self._standardised(value)) + LOG_2PI) - log_scale

    def _with_implicit_gradient(self, draw: Array) -> Array:
        """The same draw, whose gradient keeps the conditional distribution functions where they are."""
        upper = self._tails(draw, jnp.ones(draw.size, draw.dtype)) > 0.5
        # the smaller tail of the two: near one, a distribution function has no digits left
        side = jax.lax.stop_gradient(jnp.where(upper, -1, 1).astype(draw.dtype))

        def solve_tangent(linear: Callable[[Array], Array], right: Array) -> Array:
            jacobian = jax.jacobian(linear)(jnp.zeros_like(right)).reshape(right.size, right.size)
            solution = jax.scipy.linalg.solve_triangular(jacobian, right.reshape(-1), lower=True)
            return solution.reshape(right.shape)

        level = jax.lax.stop_gradient(self._tails(draw, side))

        def residual(draw: Array) -> Array:
            return (self._tails(draw, side) - level).reshape(draw.shape)

        return jax.lax.custom_root(residual, draw, lambda _, draw: draw, solve_tangent)

    def _tails(self, value: Array, side: Array) -> Array:
        """[D] F_d(x_d | x_<d), or where side is -1 one minus it."""
        log_densities = self._log_densities(value)
        before = jnp.cumsum(log_densities, axis=1) - log_densities
        weights = softmax(self.logits[:, None] + before, axis=0)
        return jnp.sum(weights * ndtr(side[None] * self._standardised(value)), axis=0)
