"""Inverse autoregressive flows: every coordinate is scaled and shifted by what lies before it, all at once.

z'_i = σ_i z_i + (1 - σ_i) m_i,    (m_i, σ_i) functions of z_1 ... z_{i-1} and of the encoder's context

Source: Kingma, Salimans, Jozefowicz, Chen, Sutskever & Welling, "Improving Variational Inference with Inverse
Autoregressive Flow" (2016); the masks are those of Germain, Gregor, Murray & Larochelle, "MADE" (2015).
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import log_sigmoid, sigmoid

from jaxvae.flows.flow import FlowPosterior, turned
from jaxvae.loops import fori_loop
from jaxvae.networks import Free, Outputs, glorot
from jaxvae.types import Array, Key, Shape

FARTHEST = 1e15  # where an inverse ends: the density of what lies so far off is next to none, and stays a number


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class InverseAutoregressive:
    """One step of the flow with a masked network of one hidden layer; the order of the coordinates is turned after it.

    h = elu(z W₁ + c),    (m, s) = h W₂ + b,    z' = σ(s + 2) z + (1 - σ(s + 2)) m,    ln det = Σ ln σ(s_i + 2)

    The weights are learned parameters, the same for every x; x enters by the context c. The +2 starts it near to the
    identity. The inverse takes the D coordinates one after the other.

    Args:
        context: [H] c.
        hidden_weight: [D, H] W₁, masked.
        output_weight: [H, 2 D] W₂, masked.
        output_bias: [2 D] b.

    Source: Kingma et al. (2016), section 4 and algorithm 1.
    """

    context: Array
    hidden_weight: Array
    output_weight: Array
    output_bias: Array

    @staticmethod
    def parameters(shape: Shape, *, hidden: int = 320) -> Outputs:
        """The outputs for one transform of z [D] whose network has so many hidden units."""
        (size,) = shape
        return {
            "context": (hidden,),
            "hidden_weight": Free((size, hidden), glorot),
            "output_weight": Free((hidden, 2 * size), faint),
            "output_bias": Free((2 * size,)),
        }

    def forward(self, z: Array) -> tuple[Array, Array]:
        """The image [D] and ln |det| []."""
        mean, gate = self._network(z)
        keep = sigmoid(gate)
        return turned(keep * z + (1 - keep) * mean), jnp.sum(log_sigmoid(gate))

    def inverse(self, z: Array) -> tuple[Array, Array]:
        """What is mapped to z, [D], and ln |det| of the inverse []."""
        image = turned(z)

        def settle(i: Array, before: Array) -> Array:
            # The later coordinates stay zero until it is their turn: what they would be now could be beyond any number.
            mean, gate = self._network(before)
            # σ may be zero in floating point, and a coordinate beyond any number would make all that hear of it none
            widened = mean + (image - mean) * jnp.exp(jnp.minimum(-log_sigmoid(gate), 80))
            return jnp.where(jnp.arange(len(z)) == i, jnp.clip(widened, -FARTHEST, FARTHEST), before)

        before = fori_loop(0, len(z), settle, jnp.zeros_like(z))
        _, gate = self._network(before)
        return before, -jnp.sum(log_sigmoid(gate))

    def _network(self, z: Array) -> tuple[Array, Array]:
        """The mean m [D] and s + 2 [D]."""
        into_hidden, into_output = _masks(*self.hidden_weight.shape)
        features = jax.nn.elu(z @ jnp.where(into_hidden, self.hidden_weight, 0) + self.context)
        outputs = features @ jnp.where(into_output, self.output_weight, 0) + self.output_bias
        mean, gate = jnp.split(outputs, 2)
        return mean, gate + 2


def _masks(size: int, hidden: int) -> tuple[np.ndarray, np.ndarray]:
    """[D, H] and [H, 2 D], the weights that there are: hidden unit j sees the first ⌊jD/H⌋ coordinates.

    Output i sees the units that see none but those before i; the ones that see nothing carry the context to the first.
    """
    seen = np.arange(hidden) * size // hidden
    into_hidden = np.arange(size)[:, None] < seen[None]
    into_output = seen[:, None] <= np.arange(size)[None]
    return into_hidden, np.tile(into_output, 2)


def faint(key: Key, shape: Shape) -> Array:
    """A tenth of Glorot's weights: an output that starts near to zero and yet has a gradient."""
    return 0.1 * glorot(key, shape)


inverse_autoregressive = FlowPosterior(InverseAutoregressive)
