"""The planar flow, which stretches the space along one direction.

Source: Rezende & Mohamed, "Variational Inference with Normalizing Flows" (2015).
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.nn import softplus

from jaxvae.flows.flow import IDENTITY, FlowPosterior
from jaxvae.flows.root import triangular_root
from jaxvae.networks import Outputs
from jaxvae.types import Array, Shape


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
        # softplus(a + c) - 1 = ln(1 + (1 - 1/e) (eᵃ - 1)): near zero by its digits, which a short w divides by little
        near = jnp.abs(overlap) < 1
        change = jnp.where(near, jnp.log1p((1 - 1 / jnp.e) * jnp.expm1(jnp.where(near, overlap, 0))), slope - 1)
        largest = jax.lax.stop_gradient(jnp.max(jnp.abs(self.weight)))
        largest = jnp.where(largest > 0, largest, 1)
        shape = self.weight / largest
        square = jnp.sum(jnp.square(shape))
        along = (change - overlap) / largest / jnp.where(square > 0, square, 1)
        return direction + along * shape, slope


planar = FlowPosterior(Planar)
