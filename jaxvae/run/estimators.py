"""What `--objective.estimator` names: a table of how it draws, what it makes of the model, and what it descends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import optax

from jaxvae import bounds, draws, losses, networks, training
from jaxvae.draws import Draw
from jaxvae.model import VAE
from jaxvae.models import generalized_doubly_reparameterized
from jaxvae.types import Distribution, Key

if TYPE_CHECKING:
    from jaxvae.run import config as configuration

BASELINE = networks.mlp((100,), {"baseline": ()})  # of an image


class Estimator(NamedTuple):
    """A gradient estimator: all that an option needs."""

    draw: Callable[[configuration.Objective], Callable[[Key, Distribution], Draw]]
    of_model: Callable[[VAE], VAE] = training.alone
    loss: Callable[..., losses.Loss] = losses.negative_bound  # (model, reduce, *, num_samples, beta, at_once)


def always(draw: Callable[[Key, Distribution], Draw]) -> Callable[[Any], Callable[[Key, Distribution], Draw]]:
    """A way to draw that has no settings."""
    return lambda objective: draw


def waking(make: Callable[..., losses.Loss]) -> Callable[..., losses.Loss]:
    """A loss of `jaxvae.losses`, which has a bound of its own and no weight, in the form of all others."""

    def loss(
        model: VAE,
        reduce: bounds.Reduction,
        *,
        num_samples: int,
        beta: optax.Schedule | None,
        at_once: int | None,
    ) -> losses.Loss:
        return make(model, num_samples=num_samples, at_once=at_once)

    return loss


ESTIMATORS: Mapping[str, Estimator] = {
    "pathwise": Estimator(always(draws.pathwise)),
    "sticking-the-landing": Estimator(always(draws.sticking_the_landing)),
    "doubly-reparameterized": Estimator(always(draws.doubly_reparameterized)),
    "generalized-doubly-reparameterized": Estimator(always(draws.pathwise), generalized_doubly_reparameterized),
    "score-function": Estimator(always(draws.score_function)),
    "learned-baseline": Estimator(
        always(draws.score_function),
        partial(losses.beside_baseline, baseline=BASELINE),
        partial(losses.with_baseline, baseline=BASELINE),
    ),
    "straight-through": Estimator(lambda objective: draws.straight_through(objective.temperature)),
    "wake-wake": Estimator(always(draws.score_function), loss=waking(losses.wake_wake)),
    "wake-sleep": Estimator(always(draws.score_function), loss=waking(losses.wake_sleep)),
}
