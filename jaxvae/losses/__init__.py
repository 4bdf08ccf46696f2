"""What training descends."""

from jaxvae.losses.adversarial_bayes import Contrast, adversarial_bayes, estimating, with_moments
from jaxvae.losses.adversary import adversarial
from jaxvae.losses.aggregate import Aggregate, Code, OfAggregate, OfPosterior, divergence, regularised
from jaxvae.losses.base import (
    ALONE,
    Loss,
    Metrics,
    OfWholeBatch,
    Shared,
    alone,
    lifted,
    metrics_of,
    negative_bound,
    parted,
)
from jaxvae.losses.baseline import beside_baseline, with_baseline
from jaxvae.losses.bidirectional import bidirectional, by_draw, by_mean
from jaxvae.losses.constrained import constrained, multiplier_start
from jaxvae.losses.correlation import (
    density_ratio,
    dip,
    gaussian_total_correlation,
    stratified_log_weights,
    total_correlation,
    weighted_log_weights,
)
from jaxvae.losses.discrepancy import (
    discrepancy,
    gaussian_kernel,
    inverse_multiquadric,
    maximum_mean_discrepancy,
)
from jaxvae.losses.learned_similarity import learned_similarity, scored_features
from jaxvae.losses.players import (
    beside_discriminator,
    factor,
    of_codes,
    of_examples,
    of_pairs,
    optimizer_of_players,
    permuted,
    players,
)
from jaxvae.losses.prices import Cost, capacity, free_bits, negative_elbo
from jaxvae.losses.schedules import cyclical
from jaxvae.losses.wake_sleep import wake, wake_sleep, wake_wake

__all__ = [
    "ALONE",
    "Aggregate",
    "Code",
    "Contrast",
    "Cost",
    "Loss",
    "Metrics",
    "OfAggregate",
    "OfPosterior",
    "OfWholeBatch",
    "Shared",
    "adversarial",
    "adversarial_bayes",
    "alone",
    "beside_baseline",
    "beside_discriminator",
    "bidirectional",
    "by_draw",
    "by_mean",
    "capacity",
    "constrained",
    "cyclical",
    "density_ratio",
    "dip",
    "discrepancy",
    "divergence",
    "estimating",
    "factor",
    "free_bits",
    "gaussian_kernel",
    "gaussian_total_correlation",
    "inverse_multiquadric",
    "learned_similarity",
    "lifted",
    "maximum_mean_discrepancy",
    "metrics_of",
    "multiplier_start",
    "negative_bound",
    "negative_elbo",
    "of_codes",
    "of_examples",
    "of_pairs",
    "optimizer_of_players",
    "parted",
    "permuted",
    "players",
    "regularised",
    "scored_features",
    "stratified_log_weights",
    "total_correlation",
    "wake",
    "wake_sleep",
    "wake_wake",
    "weighted_log_weights",
    "with_baseline",
    "with_moments",
]
