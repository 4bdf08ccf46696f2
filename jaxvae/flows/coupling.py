"""Coupling flows: one half of z stays, and tells how the other half is moved, coordinate by coordinate.

(a, b) -> (a, g(b; network(a, context))),    ln det = Σ ln g'(b_i)

The inverse costs as much as the map. The order of the coordinates is turned after each step.
Source: Dinh, Sohl-Dickstein & Bengio, "Density estimation using Real NVP" (2017); Durkan, Bekasov, Murray &
Papamakarios, "Neural Spline Flows" (2019).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.nn import elu

from jaxvae.flows.autoregressive import faint
from jaxvae.flows.flow import FlowPosterior, turned
from jaxvae.flows.splines import rational_quadratic, rational_quadratic_inverse
from jaxvae.networks import Free, Outputs, glorot
from jaxvae.types import Array, Shape


class _Coupling(ABC):
    """The two halves and the network between them, which all couplings share."""

    context: Array
    hidden_weight: Array
    output_weight: Array
    output_bias: Array

    def forward(self, z: Array) -> tuple[Array, Array]:
        """The image [D] and ln |det| []."""
        kept, moved = jnp.split(z, [len(self.hidden_weight)])
        moved, log_slopes = self._moved(moved, self._network(kept))
        return turned(jnp.concatenate([kept, moved])), jnp.sum(log_slopes)

    def inverse(self, z: Array) -> tuple[Array, Array]:
        """What is mapped to z, [D], and ln |det| of the inverse []."""
        kept, moved = jnp.split(turned(z), [len(self.hidden_weight)])
        moved, log_slopes = self._moved_back(moved, self._network(kept))
        return jnp.concatenate([kept, moved]), jnp.sum(log_slopes)

    def _network(self, kept: Array) -> Array:
        features = elu(kept @ self.hidden_weight + self.context)
        return features @ self.output_weight + self.output_bias

    @abstractmethod
    def _moved(self, moved: Array, outputs: Array) -> tuple[Array, Array]:
        """The image of the half that is moved, and ln g' of each of its coordinates."""

    @abstractmethod
    def _moved_back(self, moved: Array, outputs: Array) -> tuple[Array, Array]:
        """What is moved there, and ln of the slope of the inverse at each coordinate."""


def _outputs(shape: Shape, hidden: int, each: int) -> Outputs:
    """Those of a network that gives `each` numbers for every coordinate that is moved."""
    (size,) = shape
    if size < 2:
        raise ValueError(f"a coupling flow needs two latent dimensions or more, one to move another, not {size}")
    kept = size // 2
    return {
        "context": (hidden,),
        "hidden_weight": Free((kept, hidden), glorot),
        "output_weight": Free((hidden, (size - kept) * each), faint),
        "output_bias": Free(((size - kept) * each,)),
    }


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class AffineCoupling(_Coupling):
    """b' = b exp(s) + t, by a network of one hidden layer: h = elu(a W₁ + c), (2 artanh(s/2), t) = h W₂ + d, |s| < 2.

    The weights are learned parameters, the same for every x; x enters by the context c.

    Args:
        context: [H] c.
        hidden_weight: [⌊D/2⌋, H] W₁.
        output_weight: [H, 2 ⌈D/2⌉] W₂.
        output_bias: [2 ⌈D/2⌉] d.

    Source: Dinh et al. (2017), equations 4 and 5.
    """

    context: Array
    hidden_weight: Array
    output_weight: Array
    output_bias: Array

    @staticmethod
    def parameters(shape: Shape, *, hidden: int = 64) -> Outputs:
        """The outputs for one transform of z [D] whose network has so many hidden units.

        Raises:
            ValueError: z has less than two dimensions.
        """
        return _outputs(shape, hidden, 2)

    def _moved(self, moved: Array, outputs: Array) -> tuple[Array, Array]:
        log_scale, shift = self._scale_and_shift(outputs)
        return moved * jnp.exp(log_scale) + shift, log_scale

    def _moved_back(self, moved: Array, outputs: Array) -> tuple[Array, Array]:
        log_scale, shift = self._scale_and_shift(outputs)
        return (moved - shift) * jnp.exp(-log_scale), -log_scale

    def _scale_and_shift(self, outputs: Array) -> tuple[Array, Array]:
        log_scale, shift = jnp.split(outputs, 2)
        return 2 * jnp.tanh(0.5 * log_scale), shift


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SplineCoupling(_Coupling):
    """b' = spline(b): a rising curve of `bins` pieces between -5 and 5 and the identity beyond, for each coordinate.

    Its knots and slopes come from a network of one hidden layer as in `AffineCoupling`.

    Args:
        context: [H].
        hidden_weight: [⌊D/2⌋, H].
        output_weight: [H, ⌈D/2⌉ (3 bins - 1)].
        output_bias: [⌈D/2⌉ (3 bins - 1)].

    Source: Durkan et al. (2019), section 3.
    """

    context: Array
    hidden_weight: Array
    output_weight: Array
    output_bias: Array

    @staticmethod
    def parameters(shape: Shape, *, hidden: int = 64, bins: int = 8) -> Outputs:
        """The outputs for one transform of z [D] whose network has so many hidden units.

        Raises:
            ValueError: z has less than two dimensions.
        """
        return _outputs(shape, hidden, 3 * bins - 1)

    def _moved(self, moved: Array, outputs: Array) -> tuple[Array, Array]:
        return jax.vmap(rational_quadratic)(moved, outputs.reshape(len(moved), -1))

    def _moved_back(self, moved: Array, outputs: Array) -> tuple[Array, Array]:
        return jax.vmap(rational_quadratic_inverse)(moved, outputs.reshape(len(moved), -1))


affine_coupling = FlowPosterior(AffineCoupling)
neural_spline = FlowPosterior(SplineCoupling)
