"""What training ascends: `--objective`, and the loss that is made of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

import optax

from jaxvae import bounds, losses
from jaxvae.losses import Loss
from jaxvae.model import VAE
from jaxvae.run import RunError
from jaxvae.run.choice import EVERYDAY, AtLeast, named
from jaxvae.run.options.bounds import AnyBound, Elbo, Piwae
from jaxvae.run.options.code_prices import OwnLoss
from jaxvae.run.options.estimators import AnyEstimator, Pathwise
from jaxvae.run.options.prices import AnyPrice, DivergencePrice, Weight
from jaxvae.run.options.words import said
from jaxvae.run.recipe import Plan
from jaxvae.training import Step, make_leading_step


@dataclass(frozen=True)
class PathObjective:
    """What training ascends, by the path of the draws."""

    bound: Annotated[AnyBound, EVERYDAY] = field(default_factory=Elbo)
    """The bound on log p(x)."""
    num_samples: Annotated[int, AtLeast(1), EVERYDAY] = 1
    """k, the number of posterior draws for each example."""
    price: DivergencePrice = field(default_factory=Weight)
    """What the latent part costs in the loss: beta, a warm-up, free bits, a capacity."""
    remat: Annotated[int | None, AtLeast(1)] = None
    """Hold so many of the k draws at once, and compute the decoder again for the gradient: less memory, more time."""
    encoder_steps: Annotated[int, AtLeast(0)] = 0
    """Move the encoder alone so many times before each step, on as many parts of the batch."""
    encoder_epochs: Annotated[int, AtLeast(0)] = 5
    """How long it is given these steps of its own: the first epochs, in which it would lag behind."""

    @property
    def takes_in_parts(self) -> tuple[str, int] | None:
        """The option by which a step takes a batch in parts, and how many."""
        return ("--objective.encoder-steps", self.encoder_steps) if self.encoder_steps > 1 else None


@dataclass(frozen=True)
class Objective(PathObjective):
    """What training ascends."""

    price: AnyPrice = field(default_factory=Weight)  # type: ignore[assignment]  # frozen, so a wider one is safe
    """What the latent part costs in the loss: beta, a warm-up, free bits, a capacity; what the codes of a whole batch
    cost; or the least that it can at a given distortion."""
    estimator: AnyEstimator = field(default_factory=Pathwise)
    """The gradient estimator."""


def ascending(config: Any, model: VAE) -> dict[str, Any]:
    """How a recipe trains with `--objective`: its loss, bound, step and number of draws.

    Args:
        config: of a run, with the options `objective`, `batch_size`, `accumulate` and `optimizer`.
        model: that the estimator has been made of.

    Returns:
        The fields of a `Recipe` by their names.

    Raises:
        RunError: the encoder cannot be given such parts of the batch.
    """
    objective = config.objective
    return {
        "loss": lambda plan: _loss(objective, model, plan, accumulate=config.accumulate),
        "bound": partial(bounds.bound(objective.bound.reduction()), model, num_samples=objective.num_samples),
        "step": _leading_step(config),
        "num_samples": objective.num_samples,
    }


def objective_said(objective: PathObjective) -> dict[str, Any]:
    """What a protocol says of an objective: words and numbers."""
    names = [name for name in ("estimator", "price") if hasattr(objective, name)]
    own = {name: said(getattr(objective, name)) for name in names}
    return {"bound": said(objective.bound), "k": objective.num_samples} | own


def _loss(objective: PathObjective, model: VAE, plan: Plan, *, accumulate: int) -> Loss:
    """What training descends.

    Raises:
        RunError: the whole batch, or all draws, have to be at hand, and are not; or the draws make no such groups.
    """
    k, price, groups = objective.num_samples, objective.price, getattr(objective.bound, "groups", 1)
    if k % groups:
        raise RunError(
            f"--objective.num-samples {k} cannot be taken in --objective.bound.groups {groups} of one size: give a "
            f"multiple of {groups}"
        )
    if isinstance(price, OwnLoss):
        name = f"--objective.price {named(type(price))}"
        if price.looks_at and accumulate > 1:
            raise RunError(
                f"{name} looks at {price.looks_at} of a whole batch: leave out --accumulate, or give --objective.price "
                "weight"
            )
        if objective.remat is not None:
            raise RunError(f"{name} holds all draws at once: leave out --objective.remat, or give another price")
        return price.loss(model, plan, num_samples=k)
    beta = price.schedule(plan)
    if isinstance(objective.bound, Piwae):
        if objective.remat is not None:
            raise RunError("--objective.bound piwae holds all draws at once: leave out --objective.remat")
        reductions = {"for_decoder": objective.bound.reduction(), "for_encoder": objective.bound.of_encoder()}
        return losses.parted(model, **reductions, num_samples=k)
    estimator = objective.estimator if isinstance(objective, Objective) else Pathwise()
    return estimator.loss(model, objective.bound.reduction(), num_samples=k, beta=beta, at_once=objective.remat)


def _leading_step(config: Any) -> Callable[[Loss, optax.GradientTransformation, Plan], Step] | None:
    """The step that gives the encoder a lead, where the objective asks for one; None for the usual one.

    Raises:
        RunError: the encoder cannot be given such parts of the batch.
    """
    objective, batch_size = config.objective, config.batch_size
    parts = objective.encoder_steps
    if not parts:
        return None
    if config.accumulate > 1:
        raise RunError(f"--objective.encoder-steps {parts} takes the batch in parts of its own: leave out --accumulate")
    if batch_size % parts:
        raise RunError(
            f"--batch-size {batch_size} cannot be taken in --objective.encoder-steps {parts} parts of one size: give "
            f"a multiple of {parts}"
        )

    def step(loss: Loss, optimizer: optax.GradientTransformation, plan: Plan) -> Step:
        return make_leading_step(
            loss,
            optimizer,
            num_encoder_steps=parts,
            until=objective.encoder_epochs * plan.steps_per_epoch,
            decay=config.optimizer.average,
            shared=plan.shared,
        )

    return step
