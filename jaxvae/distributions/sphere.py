"""Densities on the unit sphere in R^D: the von Mises-Fisher, a posterior for directions, and the uniform, its prior.

All that the von Mises-Fisher needs is one integral over the angle θ from its mean direction,

Z(κ) = ∫_0^π exp(κ (cos θ - 1)) sin^{D-2} θ dθ

which Gauss and Legendre's rule gives to a few units of the last place. Angles, and not their cosines, because cosines
near one have no digits left.
Source: Davidson, Falorsi, De Cao, Kipf & Tomczak, "Hyperspherical Variational Auto-Encoders" (2018).
"""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.distributions.event import check_event
from jaxvae.distributions.scale import held
from jaxvae.loops import while_loop
from jaxvae.types import Array, Key, Shape

NODES, WEIGHTS = np.polynomial.legendre.leggauss(64)
REACH = 16.0  # the integrals stop so many widths of the integrand's peak away; its tail is heavier than a Gaussian's


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class UniformSphere:
    """The uniform density on the unit sphere in R^D.

    log p(x) = -ln |S^{D-1}|,    |S^{D-1}| = 2 π^{D/2} / Γ(D/2)

    Args:
        origin: [D] zeros: they tell D and the dtype.

    Example:
        >>> round(float(UniformSphere(jnp.zeros(3)).log_prob(jnp.array([0.0, 0.0, 1.0]))), 4)  # -ln 4π
        -2.531
    """

    origin: Array

    def sample(self, key: Key) -> Array:
        """One draw, [D], of length one."""
        return unit(jax.random.normal(key, self.origin.shape, self.origin.dtype))

    def log_prob(self, value: Array) -> Array:
        """The log density of a direction [D] of length one: [], in nats over the sphere's area."""
        check_event(self, value, self.origin.shape)
        return jnp.asarray(-_log_area(self.origin.size), value.dtype)

    def expectation(self) -> Array:
        """The mean, [D]: the origin, which does not lie on the sphere."""
        return self.origin


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class VonMisesFisher:
    """The von Mises-Fisher density on the unit sphere in R^D, D ≥ 2.

    log p(x) = κ (μᵀx - 1) - ln Z(κ) - ln |S^{D-2}|

    Args:
        direction: [D] μ times any length but zero.
        log_concentration: [] ln κ, `held` between -16 and 16.

    Example:
        >>> density = VonMisesFisher(jnp.array([0.0, 0.0, 2.0]), jnp.array(0.0))
        >>> round(float(jnp.linalg.norm(density.sample(jax.random.key(0)))), 5)
        1.0
        >>> round(float(density.log_prob(jnp.array([0.0, 0.0, 1.0]))), 4)  # ln κ e^κ / (4 π sinh κ)
        -1.6925

    Source: Davidson et al. (2018).
    """

    direction: Array
    log_concentration: Array

    @staticmethod
    def parameters(shape: Shape) -> dict[str, Shape]:
        """The shapes of the outputs that a network must give for a direction of shape (D,)."""
        return {"direction": shape, "log_concentration": ()}

    def sample(self, key: Key) -> Array:
        """One draw, [D], of length one: exact, with the gradient of its angle for κ and of its direction for μ."""
        key_angle, key_tangent = jax.random.split(key)
        concentration, mean = self._concentration(), unit(self.direction)
        drawn = _draw_angle(key_angle, jax.lax.stop_gradient(concentration), self.direction.size)
        angle = _angle_with_gradient(self.direction.size, concentration, drawn)
        noise = jax.random.normal(key_tangent, mean.shape, mean.dtype)
        tangent = noise
        for _ in range(2):  # once leaves errors where the noise is nearly along the mean
            tangent = unit(tangent - jnp.sum(tangent * mean) * mean)
        return jnp.cos(angle) * mean + jnp.sin(angle) * tangent

    def log_prob(self, value: Array) -> Array:
        """The log density of a direction [D] of length one: [], in nats over the sphere's area."""
        check_event(self, value, self.direction.shape)
        # μᵀx - 1 by the distance of two points, which has digits where the product has none
        below_one = 0.5 * jnp.sum(jnp.square(value - unit(self.direction)))
        return -self._concentration() * below_one - self._log_normaliser()

    def expectation(self) -> Array:
        """The mean, [D]: A(κ) μ, inside the sphere."""
        return (1 - _mean_below_one(self._concentration(), self.direction.size)) * unit(self.direction)

    def kl_to_uniform(self) -> Array:
        """KL(self || uniform on the same sphere): [], in nats.

        KL = κ (A(κ) - 1) - ln Z(κ) - ln |S^{D-2}| + ln |S^{D-1}|

        Source: Davidson et al. (2018), on the divergence from the uniform prior.
        """
        concentration, size = self._concentration(), self.direction.size
        below_one = _mean_below_one(concentration, size)
        return -concentration * below_one - self._log_normaliser() + _log_area(size)

    def _concentration(self) -> Array:
        return jnp.exp(held(self.log_concentration))

    def _log_normaliser(self) -> Array:
        size = self.direction.size
        return _log_integral(self._concentration(), size) + _log_area(size - 1)


def log_bessel(order: float, argument: Array) -> Array:
    """ln I_v(κ), the modified Bessel function of the first kind, for v ≥ 0 and κ > 0.

    I_v(κ) = (κ/2)^v / (√π Γ(v + ½)) ∫_0^π exp(κ cos θ) sin^{2v} θ dθ

    Args:
        order: v.
        argument: [] κ.

    Returns:
        [].

    Example:
        >>> round(float(log_bessel(0.5, jnp.array(1.0))), 4)  # ln of sqrt(2/π) sinh 1
        -0.0644

    Source: Abramowitz & Stegun, "Handbook of Mathematical Functions" (1964), 9.6.18.
    """
    constant = -order * math.log(2) - 0.5 * math.log(math.pi) - math.lgamma(order + 0.5)
    return argument + order * jnp.log(argument) + constant + _log_integral(argument, 2 * order + 2)


def _log_area(size: int) -> float:
    """ln |S^{n-1}|, the area of the unit sphere in R^n."""
    return math.log(2) + 0.5 * size * math.log(math.pi) - math.lgamma(0.5 * size)


def unit(vector: Array) -> Array:
    """The vector [D] at length one, however short or long it is; the first axis for the zero vector."""
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(vector)))
    first = jnp.zeros_like(vector).at[0].set(1)
    scaled = jnp.where(largest > 0, vector / jnp.where(largest > 0, largest, 1), first)
    return scaled / jnp.sqrt(jnp.sum(jnp.square(scaled)))


def _log_density(angle: Array, concentration: Array, size: float) -> Array:
    """κ (cos θ - 1) + (D - 2) ln sin θ, whose exponential is the integrand of Z."""
    sine = jnp.maximum(jnp.sin(angle), 1e-30)
    return -2 * concentration * jnp.square(jnp.sin(0.5 * angle)) + (size - 2) * jnp.log(sine)


def _peak(concentration: Array, size: float) -> tuple[Array, Array]:
    """The angle at which the integrand is greatest, and the width of its peak; without a gradient."""
    concentration = jax.lax.stop_gradient(concentration)
    half = 0.5 * (size - 2)
    root = jnp.sqrt(jnp.square(concentration) + half**2)
    cosine = concentration / (half + root)
    # sin² = 1 - cos², without the difference of ones
    square_sine = 2 * half / (half + root)
    angle = jnp.arctan2(jnp.sqrt(square_sine), cosine)
    curvature = concentration * cosine + (half + root if half > 0 else 0.0)
    return angle, 1 / jnp.sqrt(curvature)


def _nodes(low: Array, high: Array) -> tuple[Array, Array]:
    """The angles [N] of Gauss and Legendre's rule between two limits, and the logarithms of their weights."""
    half = 0.5 * (high - low)
    nodes, weights = jnp.asarray(NODES, half.dtype), jnp.asarray(WEIGHTS, half.dtype)
    return low + half * (1 + nodes), jnp.log(half * weights)


def _log_integral(concentration: Array, size: float) -> Array:
    """ln Z(κ)."""
    angle, width = _peak(concentration, size)
    angles, log_weights = _nodes(jnp.maximum(angle - REACH * width, 0), jnp.minimum(angle + REACH * width, math.pi))
    return jax.scipy.special.logsumexp(_log_density(angles, concentration, size) + log_weights)


def _mean_below_one(concentration: Array, size: float) -> Array:
    """1 - A(κ) = E[1 - cos θ], the derivative of -ln Z."""
    return -jax.grad(_log_integral)(concentration, size)


def _draw_angle(key: Key, concentration: Array, size: int) -> Array:
    """A draw of θ by rejection: more than half of the proposals are accepted.

    x = 1 - cos θ = 2 b ε / (1 - (1 - b) ε),    ε ~ Beta((D-1)/2, (D-1)/2)

    Source: Wood, "Simulation of the von Mises Fisher distribution" (1994); Davidson et al. (2018), their appendix.
    """
    slope = (size - 1) / (2 * concentration + jnp.sqrt(4 * jnp.square(concentration) + (size - 1) ** 2))
    offset = 2 * slope / (1 + slope)

    def propose(state: tuple[Key, Array, Array]) -> tuple[Key, Array, Array]:
        key, _, _ = state
        key, key_normal, key_accept = jax.random.split(key, 3)
        # The first coordinate of a uniform direction in R^D is 2ε - 1: its distance from -1, without a difference.
        noise = jax.random.normal(key_normal, (size,), concentration.dtype)
        rest, length = jnp.sum(jnp.square(noise[1:])), jnp.sqrt(jnp.sum(jnp.square(noise)))
        share = jnp.where(noise[0] > 0, length + noise[0], rest / (length + jnp.abs(noise[0]))) / (2 * length)
        x = 2 * slope * share / (1 - (1 - slope) * share)
        envelope = (x + offset - x * offset) / (offset * (2 - offset))
        log_ratio = concentration * (offset - x) + (size - 1) * jnp.log(envelope)
        return key, x, jnp.log(jax.random.uniform(key_accept, (), x.dtype)) < log_ratio

    start = (key, jnp.zeros_like(concentration), jnp.zeros((), bool))
    _, x, _ = while_loop(lambda state: ~state[2], propose, start)
    return 2 * jnp.arcsin(jnp.sqrt(jnp.clip(0.5 * x, 1e-30, 1)))


def _angle_of(size: int, concentration: Array, angle: Array) -> Array:
    return angle


_angle_with_gradient = jax.custom_jvp(_angle_of, nondiff_argnums=(0,))


@_angle_with_gradient.defjvp
def _angle_tangent(size: int, primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    """dθ/dκ at which the distribution function of θ keeps its value; the drawn angle itself has no gradient.

    dθ/dκ = -1/p(θ) ∫_0^θ (cos t - A) p(t) dt = 1/p(θ) ∫_θ^π (cos t - A) p(t) dt,    A = E[cos θ]

    The side is taken on which cos t - A has one sign.
    Source: Figurnov et al., "Implicit Reparameterization Gradients" (2018).
    """
    concentration, angle = primals
    below_one = _mean_below_one(concentration, size)
    inner = 2 * jnp.square(jnp.sin(0.5 * angle)) < below_one
    _, width = _peak(concentration, size)
    low = jnp.where(inner, jnp.maximum(angle - REACH * width, 0), angle)
    high = jnp.where(inner, angle, jnp.minimum(angle + REACH * width, math.pi))
    angles, log_weights = _nodes(low, high)
    log_ratio = _log_density(angles, concentration, size) - _log_density(angle, concentration, size)
    moment = jnp.sum((below_one - 2 * jnp.square(jnp.sin(0.5 * angles))) * jnp.exp(log_ratio + log_weights))
    return angle, jnp.where(inner, -moment, moment) * tangents[0]
