"""What `--objective.price` names: what the latent part costs in the loss. A reported bound is never weighed."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import optax

from jaxvae import losses
from jaxvae.losses import Cost, Loss
from jaxvae.model import VAE
from jaxvae.run import RunError
from jaxvae.run.choice import Above, AtLeast
from jaxvae.run.options.code_prices import (
    Adversary,
    Bidirectional,
    Dip,
    Distortion,
    Factor,
    Mmd,
    OwnLoss,
    Similarity,
    TotalCorrelation,
)
from jaxvae.run.recipe import Plan


@dataclass(frozen=True)
class Weight:
    """A weight, which may rise from zero at the start."""

    beta: Annotated[float, AtLeast(0)] = 1.0
    """The weight of the latent part; 1 is the bound itself."""
    warmup_epochs: Annotated[int, AtLeast(0)] = 0
    """Raise it from zero over so many epochs."""

    @property
    def has(self) -> frozenset[str]:
        """Whether the loss is the bound itself."""
        return frozenset({"unit weight"} if self.beta == 1 and self.warmup_epochs == 0 else ())

    def schedule(self, plan: Plan) -> optax.Schedule | None:
        """The weight over the steps; None for the bound itself."""
        steps = self.warmup_epochs * plan.steps_per_epoch
        if steps > plan.num_steps:
            raise RunError(
                f"--objective.price.warmup-epochs {self.warmup_epochs} is longer than the run of --epochs "
                f"{plan.num_steps // plan.steps_per_epoch}: warm up for less, or train longer"
            )
        if steps:
            return optax.linear_schedule(0.0, self.beta, steps)
        return None if self.beta == 1 else optax.constant_schedule(self.beta)


@dataclass(frozen=True)
class Cyclical:
    """A weight that rises again and again, in the first half of each cycle."""

    epochs: Annotated[int, AtLeast(1)] = 5
    """Of one cycle."""
    beta: Annotated[float, AtLeast(0)] = 1.0
    """The weight that is reached."""

    def schedule(self, plan: Plan) -> optax.Schedule:
        """The weight over the steps."""
        return losses.cyclical(period=self.epochs * plan.steps_per_epoch, top=self.beta)


@dataclass(frozen=True)
class OwnCost(OwnLoss):
    """A cost of the mean divergence."""

    looks_at: ClassVar = "the mean divergence"

    def cost(self, plan: Plan) -> Cost:
        """Of the mean divergence of each latent group."""
        raise NotImplementedError

    def loss(self, model: VAE, plan: Plan, *, num_samples: int) -> Loss:
        """The ELBO with this cost for its divergence."""
        return losses.negative_elbo(model, self.cost(plan), num_samples=num_samples, shared=plan.shared)


@dataclass(frozen=True)
class FreeBits(OwnCost):
    """Nothing for the first nats of each latent group, on average over a batch."""

    nats: Annotated[float, Above(0)] = 0.5
    """Of each group that are free."""

    def cost(self, plan: Plan) -> Cost:
        """Of the mean divergence of each latent group."""
        return losses.free_bits(self.nats)


@dataclass(frozen=True)
class Capacity(OwnCost):
    """A price for being off a divergence that grows along a line over the run."""

    over_the_run: ClassVar = "--objective.price capacity grows over the whole run"
    nats: Annotated[float, Above(0)] = 25.0
    """Of divergence that are reached at the end."""
    gamma: Annotated[float, Above(0)] = 1.0
    """The weight of the distance."""

    def cost(self, plan: Plan) -> Cost:
        """Of the mean divergence of each latent group."""
        return losses.capacity(optax.linear_schedule(0.0, self.nats, plan.num_steps), gamma=self.gamma)


DivergencePrice = Weight | Cyclical | FreeBits | Capacity
AnyPrice = DivergencePrice | TotalCorrelation | Factor | Adversary | Bidirectional | Similarity | Dip | Mmd | Distortion
