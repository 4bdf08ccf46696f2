"""The mixture of diagonal Gaussians, as a prior or as a posterior whose draws have a gradient.

Source: Figurnov, Mohamed & Mnih, "Implicit Reparameterization Gradients" (2018).
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.nn import log_softmax, softmax
from jax.scipy.special import logsumexp, ndtr

from jaxvae.distributions.elementary import LOG_2PI
from jaxvae.distributions.event import check_event
from jaxvae.distributions.many_normals import log_densities
from jaxvae.distributions.scale import held
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
        log_scale: [C, *event] ln σ, `held` between -16 and 16.

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
        draw = self.mean[component] + jnp.exp(held(self.log_scale[component])) * noise
        return self._with_implicit_gradient(jax.lax.stop_gradient(draw))

    def log_prob(self, value: Array) -> Array:
        """The log density of an event [*event]: [], in nats."""
        return logsumexp(self.log_joint(value))

    def log_joint(self, value: Array) -> Array:
        """ln p(c, z) = ln π_c + ln N(z; μ_c, diag σ_c²) of an event [*event] and each component: [C], in nats."""
        check_event(self, value, self.mean.shape[1:])
        check_event(self, self.logits, self.mean.shape[:1], name="logits")
        return log_softmax(self.logits) + log_densities(value, self.mean, self.log_scale)

    def log_responsibilities(self, value: Array) -> Array:
        """Which component an event came from, by Bayes' rule.

        ln γ_c = ln p(c|z) = ln p(c, z) - ln p(z)

        At this γ the bound Σ_c γ_c [ln p(z, c) - ln γ_c] on ln p(z) is ln p(z) itself. That is why VaDE, whose q(c|x)
        it is, needs no model of its own: it is a VAE with this mixture for its prior.

        Args:
            value: [*event].

        Returns:
            [C] nats.

        Example:
            >>> pair = NormalMixture(jnp.zeros(2), jnp.array([[-2.0], [2.0]]), jnp.zeros((2, 1)))
            >>> jnp.exp(pair.log_responsibilities(jnp.zeros(1)))
            Array([0.5, 0.5], dtype=float32)

        Source: Jiang et al., "Variational Deep Embedding" (2017), equation 16.
        """
        return log_softmax(self.log_joint(value))

    def expectation(self) -> Array:
        """The mean, [*event]."""
        return jnp.tensordot(softmax(self.logits), self.mean, axes=1)

    def _standardised(self, value: Array) -> Array:
        """[C, D] (x - μ) / σ."""
        distance = value[None] - self.mean
        return (distance * jnp.exp(-held(self.log_scale))).reshape(len(self.logits), -1)

    def _log_densities(self, value: Array) -> Array:
        """[C, D] of each dimension under each component."""
        log_scale = held(self.log_scale).reshape(len(self.logits), -1)
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
