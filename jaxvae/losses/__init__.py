"""What training descends."""

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
from jaxvae.losses.prices import Cost, capacity, free_bits, negative_elbo
from jaxvae.losses.schedules import cyclical
from jaxvae.losses.wake_sleep import wake, wake_sleep, wake_wake

__all__ = [
    "ALONE",
    "Cost",
    "Loss",
    "Metrics",
    "OfWholeBatch",
    "Shared",
    "alone",
    "beside_baseline",
    "capacity",
    "cyclical",
    "free_bits",
    "lifted",
    "metrics_of",
    "negative_bound",
    "negative_elbo",
    "parted",
    "wake",
    "wake_sleep",
    "wake_wake",
    "with_baseline",
]
