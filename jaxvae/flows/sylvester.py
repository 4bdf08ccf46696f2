"""Sylvester flows: planar flows of several directions at once, with a determinant that costs no more.

f(z) = z + Q R tanh(R̃ Qᵀz + b),    det = Π_i (1 + (1 - tanh²_i) r_ii r̃_ii)

Q [D, M] has orthonormal columns, R and R̃ [M, M] are upper triangular, and r_ii r̃_ii > -1 makes f invertible. The three
families differ in Q alone.
Source: van den Berg, Hasenclever, Tomczak & Welling, "Sylvester Normalizing Flows for Variational Inference" (2018).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jaxvae.distributions import unit
from jaxvae.flows.flow import FlowPosterior, turned
from jaxvae.flows.root import triangular_root
from jaxvae.loops import scan
from jaxvae.networks import Outputs
from jaxvae.types import Array, Shape

Turn = Callable[[Array], Array]


class _Sylvester(ABC):
    """What the families share: all but Qᵀz and Qy."""

    triangles: Array
    diagonals: Array
    offset: Array

    def forward(self, z: Array) -> tuple[Array, Array]:
        """f(z) [D] and ln det []."""
        into, back = self._turns()
        heights = self._inner_product(into(z))
        return z + back(self._outer_product(jnp.tanh(heights + self.offset))), self._log_determinant(heights)

    def inverse(self, z: Array) -> tuple[Array, Array]:
        """f⁻¹(z) [D] and ln det of it [], by the root of y + R̃R tanh(y + b) = R̃Qᵀz with y = R̃Qᵀf⁻¹(z)."""
        outer, inner = (jnp.diag(diagonal) for diagonal in self._diagonals())
        outer, inner = outer + jnp.triu(0.1 * self.triangles, 1), inner + jnp.tril(self.triangles, -1).T
        into, back = self._turns()
        heights = triangular_root(inner @ outer, self.offset, self._inner_product(into(z)))
        return z - back(self._outer_product(jnp.tanh(heights + self.offset))), -self._log_determinant(heights)

    def _log_determinant(self, heights: Array) -> Array:
        outer, inner = self._diagonals()
        return jnp.sum(jnp.log(1 + (1 - jnp.square(jnp.tanh(heights + self.offset))) * outer * inner))

    def _diagonals(self) -> tuple[Array, Array]:
        # Just below one, so that no determinant is zero where tanh is one in floating point.
        bounded = 0.999 * jnp.tanh(self.diagonals)
        return bounded[0], bounded[1]

    def _outer_product(self, y: Array) -> Array:
        """R y, [M]."""
        return self._diagonals()[0] * y + jnp.triu(0.1 * self.triangles, 1) @ y

    def _inner_product(self, y: Array) -> Array:
        """R̃ y, [M], from the other half of the same matrix."""
        return self._diagonals()[1] * y + y @ jnp.tril(self.triangles, -1)

    @abstractmethod
    def _turns(self) -> tuple[Turn, Turn]:
        """z [D] -> Qᵀz [M], and y [M] -> Qy [D]."""


def _shapes(columns: int) -> dict[str, Shape]:
    return {"triangles": (columns, columns), "diagonals": (2, columns), "offset": (columns,)}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class OrthogonalSylvester(_Sylvester):
    """A Sylvester transform whose Q is A + I with its columns made orthonormal (see `orthonormal`).

    A is the network's output, and I makes the output of a new network for a black image, which is zero, no exception.

    Args:
        triangles: [M, M] 10 R above the diagonal, R̃ᵀ below.
        diagonals: [2, M] those of R and R̃, before tanh.
        offset: [M] b.
        matrix: [D, M] A; the columns of A + I must be linearly independent, which they almost surely are.

    Source: van den Berg et al. (2018), section 3.
    """

    triangles: Array
    diagonals: Array
    offset: Array
    matrix: Array

    @staticmethod
    def parameters(shape: Shape, *, columns: int = 8) -> Outputs:
        """The outputs for one transform of z [D] with at most `columns` directions."""
        columns = min(columns, *shape)
        return _shapes(columns) | {"matrix": (*shape, columns)}

    def _turns(self) -> tuple[Turn, Turn]:
        # made once: two would have two gradients
        rows, count = self.matrix.shape
        columns = orthonormal(self.matrix + jnp.eye(rows, count, dtype=self.matrix.dtype))
        return lambda z: z @ columns, lambda y: columns @ y


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class HouseholderSylvester(_Sylvester):
    """A Sylvester transform whose Q is a product of reflections, its first M columns.

    Q = H_1 ... H_n,    H = I - 2 v vᵀ / |v|²

    Args:
        triangles: [M, M] 10 R above the diagonal, R̃ᵀ below.
        diagonals: [2, M] those of R and R̃, before tanh.
        offset: [M] b.
        reflections: [n, D] the v.

    Source: van den Berg et al. (2018), section 3.
    """

    triangles: Array
    diagonals: Array
    offset: Array
    reflections: Array

    @staticmethod
    def parameters(shape: Shape, *, columns: int = 8, reflections: int = 4) -> Outputs:
        """The outputs for one transform of z [D] with at most `columns` directions and so many reflections."""
        return _shapes(min(columns, *shape)) | {"reflections": (reflections, *shape)}

    def _turns(self) -> tuple[Turn, Turn]:
        def into(z: Array) -> Array:
            for reflection in self.reflections:
                z = _reflected(reflection, z)
            return z[: len(self.offset)]

        def back(y: Array) -> Array:
            z = jnp.pad(y, (0, self.reflections.shape[1] - len(y)))
            for reflection in self.reflections[::-1]:
                z = _reflected(reflection, z)
            return z

        return into, back


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TriangularSylvester(_Sylvester):
    """A Sylvester transform whose Q is the identity; the order of the coordinates is turned round after it.

    Several in turn are those of the paper, whose Q alternates between the identity and this permutation.

    Args:
        triangles: [D, D] 10 R above the diagonal, R̃ᵀ below.
        diagonals: [2, D] those of R and R̃, before tanh.
        offset: [D] b.

    Source: van den Berg et al. (2018), section 3.
    """

    triangles: Array
    diagonals: Array
    offset: Array

    @staticmethod
    def parameters(shape: Shape) -> Outputs:
        """The outputs for one transform of z [D]."""
        return _shapes(shape[0])

    def forward(self, z: Array) -> tuple[Array, Array]:
        """f(z) [D] and ln |det| []."""
        image, log_determinant = super().forward(z)
        return turned(image), log_determinant

    def inverse(self, z: Array) -> tuple[Array, Array]:
        """f⁻¹(z) [D] and ln |det| of it []."""
        return super().inverse(turned(z))

    def _turns(self) -> tuple[Turn, Turn]:
        return lambda z: z, lambda y: y


def orthonormal(matrix: Array) -> Array:
    """The columns of a matrix, each made orthogonal to those before it and of length one.

    v_j ← v_j - Σ_{i<j} q_i q_iᵀ v_j, twice over,    q_j = v_j / |v_j|

    The density of a Sylvester flow is right only if Q is orthonormal to the last digit. The iteration of the paper,
    Q ← Q (I + ½ (I - QᵀQ)), leaves errors beyond 1% in one of a hundred random 20 x 20 matrices after 24 rounds, and
    takes several times as long. A QR of LAPACK inside a compiled training step hung on two CPU cores (jax 0.10.2).

    Args:
        matrix: [D, M], M ≤ D, its columns linearly independent.

    Returns:
        [D, M].

    Example:
        >>> columns = orthonormal(jnp.array([[3.0, 1.0], [4.0, 1.0]]))
        >>> bool(jnp.allclose(columns.T @ columns, jnp.eye(2), atol=1e-6)), bool(columns[0, 0] > 0)
        (True, True)
    """
    return _orthonormal_rows(matrix.T)[0].T


@jax.custom_jvp
def _orthonormal_rows(rows: Array) -> tuple[Array, Array]:
    """Qᵀ [M, D] and R⁻¹ [M, M] of A = QR, from Aᵀ [M, D]; R⁻¹ is what the same steps make of the identity."""

    def add(done: tuple[Array, Array], place_and_row: tuple[Array, Array]) -> tuple[tuple[Array, Array], None]:
        (others, inverse), (place, row) = done, place_and_row
        along = others @ row
        row = row - along @ others
        again = others @ row
        row = row - again @ others
        combination = (places == place).astype(row.dtype) - inverse @ (along + again)
        length = jnp.sqrt(jnp.sum(jnp.square(row)))
        return (others.at[place].set(row / length), inverse.at[:, place].set(combination / length)), None

    places = jnp.arange(len(rows))
    nothing = jnp.zeros_like(rows), jnp.zeros((len(rows), len(rows)), rows.dtype)
    return scan(add, nothing, (places, rows))[0]


@_orthonormal_rows.defjvp
def _tangent(primals: tuple[Array], tangents: tuple[Array]) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """dQ = dA R⁻¹ - QU and dR⁻¹ = -R⁻¹U, where U is C = Qᵀ dA R⁻¹ with its lower triangle folded onto the upper one.

    The gradient is three products of small matrices instead of the way back through every step. A batch of products
    that sum over the first axis of the left matrix takes XLA five times as long on a CPU: hence rows, not columns.
    """
    (change,) = tangents
    rows, inverse = _orthonormal_rows(*primals)
    straight = inverse.T @ change
    overlap = straight @ rows.T
    folded = jnp.tril(overlap) + jnp.triu(overlap, 1).T
    return (rows, inverse), (straight - folded @ rows, -inverse @ folded.T)


def _reflected(normal: Array, z: Array) -> Array:
    """The image of z in the mirror whose normal is given, of any length."""
    normal = unit(normal)
    return z - 2 * jnp.sum(normal * z) * normal


orthogonal_sylvester = FlowPosterior(OrthogonalSylvester)
householder_sylvester = FlowPosterior(HouseholderSylvester)
triangular_sylvester = FlowPosterior(TriangularSylvester)
