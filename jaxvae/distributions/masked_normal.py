"""An autoregressive Gaussian: each coordinate is normal given the ones before it, by one masked network."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.distributions.elementary import Normal
from jaxvae.distributions.event import check_event
from jaxvae.loops import fori_loop
from jaxvae.networks import Free, Outputs
from jaxvae.types import Array, Key, Shape


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class MaskedNormal:
    """A density over vectors by the conditionals of a masked network with one hidden layer.

    p(z) = Π_i N(z_i; m_i, s_i²),    h = elu(z W₁ + c),    m = h W₂ + b,    ln s = h W₃ + d

    The masks let m_i and s_i depend on z_1 ... z_{i-1} only. The density takes one pass, a draw D of them. With W₂ = W₃
    = b = d = 0, near which the weights start, it is N(0, I).

    Args:
        hidden_weight: [D, H] W₁, before it is masked.
        hidden_bias: [H] c.
        mean_weight: [H, D] W₂, alike.
        mean_bias: [D] b.
        log_scale_weight: [H, D] W₃, alike.
        log_scale_bias: [D] d.

    Example:
        >>> from jaxvae.priors import learned
        >>> prior = learned(MaskedNormal, (2,), hidden=8)
        >>> made = prior.apply(prior.init(jax.random.key(0), jnp.zeros(())), None)
        >>> made.sample(jax.random.key(1)).shape
        (2,)

    Source: Germain et al., "MADE" (2015), section 3; as a prior, Chen et al., "Variational Lossy Autoencoder" (2017),
    section 3.2.
    """

    hidden_weight: Array
    hidden_bias: Array
    mean_weight: Array
    mean_bias: Array
    log_scale_weight: Array
    log_scale_bias: Array

    @staticmethod
    def parameters(shape: Shape, *, hidden: int = 128) -> Outputs:
        """The outputs for vectors [D], all of them learned parameters of their own.

        Args:
            shape: (D,), of an event.
            hidden: H, the units of the hidden layer.

        Raises:
            ValueError: events are no vectors.
        """
        if len(shape) != 1:
            raise ValueError(f"an autoregressive density is one of vectors, not of shape {shape}; give the shape (D,)")
        glorot, faint = jax.nn.initializers.glorot_uniform(), jax.nn.initializers.normal(0.01)
        return {
            "hidden_weight": Free((*shape, hidden), glorot),
            "hidden_bias": Free((hidden,)),
            "mean_weight": Free((hidden, *shape), faint),
            "mean_bias": Free(shape),
            "log_scale_weight": Free((hidden, *shape), faint),
            "log_scale_bias": Free(shape),
        }

    def conditionals(self, value: Array) -> Normal:
        """Every coordinate's distribution given the ones before it in this vector [D]."""
        into_hidden, into_output = _masks(*self.hidden_weight.shape)
        features = jax.nn.elu(value @ (self.hidden_weight * into_hidden) + self.hidden_bias)
        mean = features @ (self.mean_weight * into_output) + self.mean_bias
        return Normal(mean, features @ (self.log_scale_weight * into_output) + self.log_scale_bias)

    def log_prob(self, value: Array) -> Array:
        """The log density of a vector [D]: [], in nats."""
        check_event(self, value, self.mean_bias.shape)
        return self.conditionals(value).log_prob(value)

    def sample(self, key: Key) -> Array:
        """One draw, [D], coordinate by coordinate."""
        noise = jax.random.normal(key, self.mean_bias.shape, self.mean_bias.dtype)
        return self._in_turn(lambda given: given.mean + jnp.exp(given._log_scale()) * noise)

    def expectation(self) -> Array:
        """The point [D] whose coordinates are the means given those before. The mean has no closed form."""
        return self._in_turn(lambda given: given.mean)

    def _in_turn(self, choose: Callable[[Normal], Array]) -> Array:
        """Coordinate i of the choice is right once those before it are: so one more in each pass."""

        def settle(i: Array, value: Array) -> Array:
            return jnp.where(jnp.arange(len(value)) == i, choose(self.conditionals(value)), value)

        return fori_loop(0, len(self.mean_bias), settle, jnp.zeros_like(self.mean_bias))


def _masks(size: int, hidden: int) -> tuple[np.ndarray, np.ndarray]:
    """[D, H] and [H, D], of zeros and ones: hidden unit h sees coordinates up to its degree, and serves later ones."""
    coordinates = np.arange(1, size + 1)
    degrees = np.arange(hidden) % max(size - 1, 1) + 1
    sees = coordinates[:, None] <= degrees[None]
    serves = degrees[:, None] < coordinates[None]
    return sees.astype(np.float32), serves.astype(np.float32)
