"""Densities of one event each, and the divergences between them."""

from jaxvae.distributions.continuous_bernoulli import ContinuousBernoulli
from jaxvae.distributions.correlated_normal import CorrelatedNormal
from jaxvae.distributions.divergence import closed_kl, kl
from jaxvae.distributions.elementary import (
    LOG_2PI,
    Bernoulli,
    Categorical,
    Delta,
    Frozen,
    Laplace,
    Normal,
    normal_with_scale,
    sample_and_log_prob,
    softplus,
)
from jaxvae.distributions.event import check_event, check_same_events, event_shapes, shapes_of
from jaxvae.distributions.full_normal import FullNormal, lower_triangle
from jaxvae.distributions.gamma_ratio import LARGEST_LOG, log_gamma_ratio, log_quotient, stirling_error
from jaxvae.distributions.implicit import Implicit
from jaxvae.distributions.many_normals import log_densities
from jaxvae.distributions.masked_normal import MaskedNormal
from jaxvae.distributions.mixture import Mixture, even_mixture
from jaxvae.distributions.normal_mixture import NormalMixture
from jaxvae.distributions.one_hot import Concrete, OneHot
from jaxvae.distributions.scale import above, held, representable, with_least_scale
from jaxvae.distributions.sphere import UniformSphere, VonMisesFisher, log_bessel, unit
from jaxvae.distributions.student_t import StudentT

__all__ = [
    "LARGEST_LOG",
    "LOG_2PI",
    "Bernoulli",
    "Categorical",
    "Concrete",
    "ContinuousBernoulli",
    "CorrelatedNormal",
    "Delta",
    "Frozen",
    "FullNormal",
    "Implicit",
    "Laplace",
    "MaskedNormal",
    "Mixture",
    "Normal",
    "NormalMixture",
    "OneHot",
    "StudentT",
    "UniformSphere",
    "VonMisesFisher",
    "above",
    "check_event",
    "check_same_events",
    "closed_kl",
    "even_mixture",
    "event_shapes",
    "held",
    "kl",
    "log_bessel",
    "log_densities",
    "log_gamma_ratio",
    "log_quotient",
    "lower_triangle",
    "normal_with_scale",
    "representable",
    "sample_and_log_prob",
    "shapes_of",
    "softplus",
    "stirling_error",
    "unit",
    "with_least_scale",
]
