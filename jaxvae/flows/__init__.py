"""Normalising flows."""

from jaxvae.flows.autoregressive import InverseAutoregressive, faint, inverse_autoregressive
from jaxvae.flows.coupling import AffineCoupling, SplineCoupling, affine_coupling, neural_spline
from jaxvae.flows.flow import Flow, FlowPosterior, Transform, turned
from jaxvae.flows.planar import Planar, planar
from jaxvae.flows.radial import Radial, radial
from jaxvae.flows.root import triangular_root
from jaxvae.flows.splines import rational_quadratic, rational_quadratic_inverse
from jaxvae.flows.sylvester import (
    HouseholderSylvester,
    OrthogonalSylvester,
    TriangularSylvester,
    Turn,
    householder_sylvester,
    orthogonal_sylvester,
    orthonormal,
    triangular_sylvester,
)

__all__ = [
    "AffineCoupling",
    "Flow",
    "FlowPosterior",
    "HouseholderSylvester",
    "InverseAutoregressive",
    "OrthogonalSylvester",
    "Planar",
    "Radial",
    "SplineCoupling",
    "Transform",
    "TriangularSylvester",
    "Turn",
    "affine_coupling",
    "faint",
    "householder_sylvester",
    "inverse_autoregressive",
    "neural_spline",
    "orthogonal_sylvester",
    "orthonormal",
    "planar",
    "radial",
    "rational_quadratic",
    "rational_quadratic_inverse",
    "triangular_root",
    "triangular_sylvester",
    "turned",
]
