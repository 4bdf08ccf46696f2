"""Normalising flows: a simple density carried through invertible transforms.

z_K = f_K ∘ ... ∘ f_1(z_0),    ln q(z_K) = ln q_0(z_0) - Σ_k ln |det ∂f_k/∂z_{k-1}|

A transform is a frozen dataclass of unconstrained arrays whose fields are the names of a network's outputs, as those of
a distribution are. A family of posteriors is `FlowPosterior(Transform)`: its `parameters` are the outputs that the
encoder must give, and calling it with these outputs makes q(z|x). The families lie in this file (planar, radial) and in
`jaxvae.sylvester`, `jaxvae.autoregressive`, `jaxvae.coupling`; a new one is a transform and one line.
Source: Rezende & Mohamed, "Variational Inference with Normalizing Flows" (2015).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import softplus

from jaxvae.distributions import Normal, sample_and_log_prob
from jaxvae.layers import Free, Outputs
from jaxvae.types import Array, Distribution, Key, Shape

IDENTITY = 0.5413248546129181  # softplus of it is one: where a constrained factor leaves z as it is


class Transform(Protocol):
    """An invertible map of one event, z [D] -> [D]."""

    def forward(self, z: Array) -> tuple[Array, Array]:
        """The image f(z) [D], and ln |det ∂f/∂z| []."""
        ...

    def inverse(self, z: Array) -> tuple[Array, Array]:
        """What is mapped to z, [D], and ln |det ∂f⁻¹/∂z| []; a ValueError where it is not known."""
        ...


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Flow:
    """A distribution carried through transforms.

    Args:
        base: the distribution of z_0 [D].
        transforms: applied in this order.

    Example:
        >>> half = Radial(jnp.zeros(2), jnp.zeros(()), jnp.ones(()))
        >>> flow = Flow(Normal(jnp.zeros(2), jnp.zeros(2)), (half, half))
        >>> z, log_density = flow.sample_and_log_prob(jax.random.key(0))
        >>> bool(jnp.allclose(flow.log_prob(z), log_density, atol=1e-5))
        True

    Source: Rezende & Mohamed (2015), equation 13.
    """

    base: Distribution
    transforms: tuple[Any, ...]

    def sample(self, key: Key) -> Array:
        """One draw, [D]: the image of a draw from the base."""
        return self.sample_and_log_prob(key)[0]

    def sample_and_log_prob(self, key: Key) -> tuple[Array, Array]:
        """One draw [D] and its log density [], in nats, without any inverse."""
        z, log_density = sample_and_log_prob(self.base, key)
        for transform in self.transforms:
            z, log_determinant = transform.forward(z)
            log_density = log_density - log_determinant
        return z, log_density

    def log_prob(self, value: Array) -> Array:
        """The log density of an event [D]: [], in nats, by the transforms' inverses.

        Raises:
            ValueError: the inverse of one of the transforms is not known.
        """
        log_density = jnp.zeros((), value.dtype)
        for transform in reversed(self.transforms):
            value, log_determinant = transform.inverse(value)
            log_density = log_density + log_determinant
        return log_density + self.base.log_prob(value)

    def expectation(self) -> Array:
        """The image of the base's mean, [D]. It is a point amid the mass, not the mean, which has no closed form."""
        z = self.base.expectation()
        for transform in self.transforms:
            z, _ = transform.forward(z)
        return z


@dataclass(frozen=True)
class FlowPosterior:
    """A family of posteriors: a diagonal Gaussian carried through several transforms of one kind.

    Like a distribution's class, it tells by `parameters` which outputs a network must give, and makes the posterior
    from them when it is called.

    Args:
        transform: the kind, a class with `parameters(shape, **options)` for one transform.

    Example:
        >>> from jaxvae import networks
        >>> outputs = planar.parameters((2,), num_flows=3)
        >>> outputs
        {'mean': (2,), 'log_scale': (2,), 'direction': (3, 2), 'weight': (3, 2), 'offset': (3,)}
        >>> encoder = networks.mlp((16,), outputs)
        >>> params = encoder.init(jax.random.key(0), jnp.zeros(5))
        >>> posterior = planar(**encoder.apply(params, jnp.ones(5)))
        >>> posterior.sample(jax.random.key(1)).shape
        (2,)
    """

    transform: Any

    def parameters(self, shape: Shape, *, num_flows: int = 4, amortised: bool = True, **options: Any) -> Outputs:
        """The outputs that an encoder must give.

        Args:
            shape: (D,), of z.
            num_flows: how many transforms follow each other; every output has them as its first axis.
            amortised: the transforms depend on x; if not, they are learned parameters, the same for every x, and only
                the Gaussian that they carry is the encoder's. The weights of a network inside a transform are the
                same for every x in both cases.
            options: of the transform's own `parameters`.

        Returns:
            The named outputs.

        Raises:
            ValueError: z is not a vector, or `num_flows` is less than one.
        """
        if len(shape) != 1:
            raise ValueError(f"a flow carries vectors, not events of shape {shape}; give z the shape (D,)")
        if num_flows < 1:
            raise ValueError(f"num_flows={num_flows} must be at least one; without a flow, take posterior=Normal")
        outputs = self.transform.parameters(shape, **options)
        return Normal.parameters(shape) | {
            name: _in_turn(output, num_flows, amortised) for name, output in outputs.items()
        }

    def __call__(self, *, mean: Array, log_scale: Array, **outputs: Array) -> Flow:
        """The posterior of an encoder's outputs.

        Args:
            mean: [D] of the Gaussian that is carried.
            log_scale: [D] of the same.
            outputs: [K, ...] those of the K transforms.

        Returns:
            The flow.
        """
        num_flows = len(next(iter(outputs.values())))
        transforms = [self.transform(**{name: each[k] for name, each in outputs.items()}) for k in range(num_flows)]
        return Flow(Normal(mean, log_scale), tuple(transforms))


def _in_turn(output: Shape | Free, num_flows: int, amortised: bool) -> Shape | Free:
    """The same output for each of several transforms."""
    if not isinstance(output, Free):
        shape = (num_flows, *output)
        return shape if amortised else Free(shape, jax.nn.initializers.normal(0.3))

    def each(key: Key, shape: Shape) -> Array:
        return jax.vmap(lambda key: output.first_value(key, shape[1:]))(jax.random.split(key, num_flows))

    return Free((num_flows, *output.shape), each)


def turned(z: Array) -> Array:
    """The coordinates in the opposite order, [D].

    By a gather: a reversal, which XLA fuses into its neighbours, made a triangular Sylvester flow take three times as
    long on a CPU.
    """
    return z[np.arange(len(z))[::-1]]


def triangular_root(coefficients: Array, offset: Array, target: Array) -> Array:
    """The solution y of y + T tanh(y + b) = t, with T upper triangular and its diagonal above -1.

    The last equation holds y_M alone and rises with it; so do the others, one after the other, once the later ones are
    solved. The gradient is that of the solution, not of the steps to it.

    Args:
        coefficients: [M, M] T.
        offset: [M] b.
        target: [M] t.

    Returns:
        [M] y.
    """
    size = len(target)

    def residual(y: Array) -> Array:
        return y + jnp.sum(coefficients * jnp.tanh(y + offset)[None], axis=1) - target

    def solve(_: Callable[[Array], Array], start: Array) -> Array:
        y = start
        for i in reversed(range(size)):
            later = jnp.sum(coefficients[i, i + 1 :] * jnp.tanh(y[i + 1 :] + offset[i + 1 :]))
            y = y.at[i].set(_rising_root(coefficients[i, i], offset[i], target[i] - later))
        return y

    def solve_tangent(linear: Callable[[Array], Array], right: Array) -> Array:
        return jax.scipy.linalg.solve_triangular(jax.jacobian(linear)(jnp.zeros_like(right)), right, lower=False)

    return jax.lax.custom_root(residual, target, solve, solve_tangent)


def _rising_root(coefficient: Array, offset: Array, target: Array) -> Array:
    """y + c tanh(y + b) = t for c > -1, by halving the interval t ± |c| and Newton's steps that stay in it."""

    def value(y: Array) -> Array:
        return y + coefficient * jnp.tanh(y + offset) - target

    def step(_: int, interval: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        low, high, y = interval
        above = value(y) > 0
        low, high = jnp.where(above, low, y), jnp.where(above, y, high)
        slope = 1 + coefficient * (1 - jnp.square(jnp.tanh(y + offset)))
        newton = y - value(y) / slope
        return low, high, jnp.where((newton >= low) & (newton <= high), newton, 0.5 * (low + high))

    reach = jnp.abs(coefficient)
    return jax.lax.fori_loop(0, 40, step, (target - reach, target + reach, target))[2]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Planar:
    """f(z) = z + û tanh(wᵀz + b): the space is stretched along û, more where it is nearer to a plane.

    û = u + (m(wᵀu) - wᵀu) w / |w|²,    m(a) = softplus(a + c) - 1,    det = 1 + (1 - tanh²) wᵀû

    It keeps wᵀû above -1, without which f has no inverse. c makes m(0) = 0, so that u = 0 is the identity; u is a tenth
    of the output, so that a fresh network's flow is near to it.

    Args:
        direction: [D] 10 u.
        weight: [D] w.
        offset: [] b.

    Source: Rezende & Mohamed (2015), equations 10 to 12 and appendix A.1, where c = 0.
    """

    direction: Array
    weight: Array
    offset: Array

    @staticmethod
    def parameters(shape: Shape) -> Outputs:
        """The outputs for one transform of z [D]."""
        return {"direction": shape, "weight": shape, "offset": ()}

    def forward(self, z: Array) -> tuple[Array, Array]:
        """f(z) [D] and ln det []."""
        direction, slope = self._constrained()
        return self._moved(z, direction, slope, jnp.sum(self.weight * z))

    def inverse(self, z: Array) -> tuple[Array, Array]:
        """f⁻¹(z) [D] and ln det of it [], by the root of α + wᵀû tanh(α + b) = wᵀz."""
        direction, slope = self._constrained()
        height = jnp.sum(self.weight * z)[None]
        (before,) = triangular_root((slope - 1)[None, None], self.offset[None], height)
        _, log_determinant = self._moved(z, direction, slope, before)
        return z - direction * jnp.tanh(before + self.offset), -log_determinant

    def _moved(self, z: Array, direction: Array, slope: Array, height: Array) -> tuple[Array, Array]:
        activation = jnp.tanh(height + self.offset)
        square = jnp.square(activation)
        # 1 + (1 - tanh²)(slope - 1), without the difference of ones
        return z + direction * activation, jnp.log(square + (1 - square) * slope)

    def _constrained(self) -> tuple[Array, Array]:
        """û, and 1 + wᵀû > 0."""
        direction = 0.1 * self.direction
        overlap = jnp.sum(self.weight * direction)
        slope = softplus(overlap + IDENTITY)
        length = jnp.sum(jnp.square(self.weight)) + 1e-12
        return direction + (slope - 1 - overlap) / length * self.weight, slope


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Radial:
    """f(z) = z + β (z - z₀) / (α + r),    r = |z - z₀|: away from a point, or towards it.

    β = α (softplus(s) - 1) > -α,    det = (1 + β/(α + r))^{D-1} (1 + α β/(α + r)²)

    Args:
        centre: [D] z₀.
        log_width: [] ln α.
        strength: [] 10 s, up to a constant: zero is the identity.

    Source: Rezende & Mohamed (2015), equation 14 and appendix A.2, with β = softplus - α.
    """

    centre: Array
    log_width: Array
    strength: Array

    @staticmethod
    def parameters(shape: Shape) -> Outputs:
        """The outputs for one transform of z [D]."""
        return {"centre": shape, "log_width": (), "strength": ()}

    def forward(self, z: Array) -> tuple[Array, Array]:
        """f(z) [D] and ln det []."""
        radius = _length(z - self.centre)
        factor, log_determinant = self._stretch(radius, z.size)
        return self.centre + factor * (z - self.centre), log_determinant

    def inverse(self, z: Array) -> tuple[Array, Array]:
        """f⁻¹(z) [D] and ln det of it [], by the quadratic r² + (α + β - r')r = α r'."""
        width, change = self._width_and_change()
        image = _length(z - self.centre)
        half = 0.5 * (image - width - change)
        root = jnp.sqrt(jnp.square(half) + width * image)
        radius = jnp.where(half > 0, half + root, width * image / (root + jnp.abs(half)))
        factor, log_determinant = self._stretch(radius, z.size)
        return self.centre + (z - self.centre) / factor, -log_determinant

    def _width_and_change(self) -> tuple[Array, Array]:
        width = jnp.exp(self.log_width)
        return width, width * (softplus(0.1 * self.strength + IDENTITY) - 1)

    def _stretch(self, radius: Array, dimensions: int) -> tuple[Array, Array]:
        width, change = self._width_and_change()
        share = width / (width + radius)
        factor = 1 + change * share / width
        along = 1 + change * jnp.square(share) / width
        return factor, (dimensions - 1) * jnp.log(factor) + jnp.log(along)


def _length(vector: Array) -> Array:
    """|v|, with a gradient where v = 0 too."""
    square = jnp.sum(jnp.square(vector))
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


planar = FlowPosterior(Planar)
radial = FlowPosterior(Radial)
