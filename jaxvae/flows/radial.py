"""The radial flow, which moves the space away from a point or towards it.

Source: Rezende & Mohamed, "Variational Inference with Normalizing Flows" (2015).
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.nn import softplus

from jaxvae.distributions import held
from jaxvae.flows.flow import IDENTITY, FlowPosterior
from jaxvae.networks import Outputs
from jaxvae.types import Array, Shape


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Radial:
    """f(z) = z + β (z - z₀) / (α + r),    r = |z - z₀|: away from a point, or towards it.

    β = α (softplus(s) - 1) > -α,    det = (1 + β/(α + r))^{D-1} (1 + α β/(α + r)²)

    Args:
        centre: [D] z₀.
        log_width: [] ln α, `held` between -16 and 16.
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
        width = jnp.exp(held(self.log_width))
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


radial = FlowPosterior(Radial)
