"""Normalising flows: a simple density carried through invertible transforms.

z_K = f_K ∘ ... ∘ f_1(z_0),    ln q(z_K) = ln q_0(z_0) - Σ_k ln |det ∂f_k/∂z_{k-1}|

A transform is a frozen dataclass of unconstrained arrays whose fields are the names of a network's outputs, as those of
a distribution are. A family of posteriors is `FlowPosterior(Transform)`: its `parameters` are the outputs that the
encoder must give, and calling it with these outputs makes q(z|x). The families lie beside this file; a new one is a
transform and one line.
Source: Rezende & Mohamed, "Variational Inference with Normalizing Flows" (2015).
"""

from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.distributions import Normal, check_event, event_shapes, sample_and_log_prob
from jaxvae.networks import Free, Outputs
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
        >>> from jaxvae.flows.radial import Radial
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
        check_event(self, value, event_shapes(self.base))
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
        >>> from jaxvae.flows import planar
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
