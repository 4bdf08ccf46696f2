"""Bounds on log p(x), each a reduction of the terms of a model."""

from jaxvae.bounds.base import (
    Reduction,
    average,
    batched,
    batched_elbo,
    batched_iwae_bound,
    bound,
    draw_terms,
    elbo,
    importance_weighted,
    iwae_bound,
    log_mean_exp,
    log_weights,
    scored,
    temper,
    without_each,
)
from jaxvae.bounds.multisample import combined, grouped
from jaxvae.bounds.renyi import chi_upper, renyi
from jaxvae.bounds.thermodynamic import Rule, levelled_partition, log_partition, tempered_means, thermodynamic

__all__ = [
    "Reduction",
    "Rule",
    "average",
    "batched",
    "batched_elbo",
    "batched_iwae_bound",
    "bound",
    "chi_upper",
    "combined",
    "draw_terms",
    "elbo",
    "grouped",
    "importance_weighted",
    "iwae_bound",
    "levelled_partition",
    "log_mean_exp",
    "log_partition",
    "log_weights",
    "renyi",
    "scored",
    "temper",
    "tempered_means",
    "thermodynamic",
    "without_each",
]
