"""A law of real vectors that can be drawn from and has moments, but no density that could be evaluated."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jaxvae.distributions.elementary import Normal
from jaxvae.distributions.scale import held
from jaxvae.types import Array, Key, Shape

TENTH, WIDEST = 0.1, 2.0


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Implicit:
    """Waves of noise, added up: the density of z is an integral over as many noises as there are, and is not known.

    z = m + σ ε₀ + A h,    h_j = sin(b_j + s_j ε_j),    s_j < 2,    ε₀, ε ~ N(0, I)

    With s small it is nearly a Gaussian of any covariance, with s near 2 every h_j piles up at -1 and 1 (with a larger
    s nothing would change but its path gradient, which grows with s without end): z has bends and several
    modes. There are more noises than dimensions, and no change of variables gives its density; σ ε₀ keeps every
    direction from being empty. Mean and variances are closed forms, so that the Gaussian with its moments is known. A
    is a tenth of the output, so that a fresh network's z is nearly m + σ ε₀.

    E h = sin(b) e^{-s²/2},    Var h = ½ (1 - e^{-s²}) (1 + cos(2b) e^{-s²})

    Args:
        mean: [D] m.
        log_width: [D] ln σ, `held` between -16 and 16.
        weight: [D, M] 10 A.
        phase: [M] b.
        turns: [M] the logit of s/2.

    Example:
        >>> wave = Implicit(jnp.ones(1), jnp.zeros(1), jnp.full((1, 1), 20.0), jnp.full(1, jnp.pi / 2), jnp.zeros(1))
        >>> round(float(wave.expectation()[0]), 4)  # s = 1, and so 1 + 2 e^{-½}
        2.2131

    Source: a posterior without a density is that of Mescheder, Nowozin & Geiger, "Adversarial Variational Bayes"
    (2017), figure 2; there networks mix the noise, and its moments are estimated (section 4.1).
    """

    mean: Array
    log_width: Array
    weight: Array
    phase: Array
    turns: Array

    @staticmethod
    def parameters(shape: Shape, *, noises: int) -> dict[str, Shape]:
        """The shapes of the outputs that a network must give.

        Args:
            shape: (D,).
            noises: M.

        Returns:
            Name -> shape.

        Raises:
            ValueError: the event is no vector, or there is no noise.
        """
        if len(shape) != 1 or noises < 1:
            raise ValueError(f"waves of noise make a vector of one noise at least, not {shape} of {noises}")
        return {
            "mean": shape,
            "log_width": shape,
            "weight": (*shape, noises),
            "phase": (noises,),
            "turns": (noises,),
        }

    def sample(self, key: Key) -> Array:
        """One draw, [D], with a path to every field."""
        key_own, key_waves = jax.random.split(key)
        own = jax.random.normal(key_own, self.mean.shape, self.mean.dtype)
        noise = jax.random.normal(key_waves, self.phase.shape, self.phase.dtype)
        waves = jnp.sin(self.phase + jnp.sqrt(self._variance()) * noise)
        return self.mean + jnp.exp(held(self.log_width)) * own + TENTH * self.weight @ waves

    def log_prob(self, value: Array) -> Array:
        """Not known.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "the density of this posterior is an integral without a closed form: take a loss that needs none "
            "(jaxvae.losses.adversarial_bayes), and jaxvae.evaluation.annealed_log_likelihood for log p(x)"
        )

    def expectation(self) -> Array:
        """The mean, [D]."""
        return self.mean + TENTH * self.weight @ (jnp.sin(self.phase) * jnp.exp(-0.5 * self._variance()))

    def moments(self) -> Normal:
        """The Gaussian with this mean and these variances, and no covariances."""
        left = jnp.exp(-self._variance())
        of_waves = -0.5 * jnp.expm1(-self._variance()) * (1 + jnp.cos(2 * self.phase) * left)
        variance = jnp.exp(2 * held(self.log_width)) + jnp.square(TENTH * self.weight) @ of_waves
        return Normal(self.expectation(), 0.5 * jnp.log(variance))

    def _variance(self) -> Array:
        """Of the noise in each wave, s²."""
        return jnp.square(WIDEST * jax.nn.sigmoid(held(self.turns)))
