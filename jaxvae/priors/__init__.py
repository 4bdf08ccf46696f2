"""Priors p(z)."""

from jaxvae.priors.correlated import committed_rate, correlated_normal
from jaxvae.priors.prior import Posterior, Prior, Start, learned, normal_mixture, standard_normal
from jaxvae.priors.recurrent_codes import RecurrentCodes
from jaxvae.priors.vamp import vamp_prior

__all__ = [
    "Posterior",
    "Prior",
    "RecurrentCodes",
    "Start",
    "committed_rate",
    "correlated_normal",
    "learned",
    "normal_mixture",
    "standard_normal",
    "vamp_prior",
]
