"""From a configuration to the functions of the core."""

from collections.abc import Callable
from functools import partial

import optax

from jaxvae import bounds, losses, networks, training
from jaxvae.bounds import multisample, renyi, thermodynamic
from jaxvae.model import VAE
from jaxvae.networks import Outputs
from jaxvae.run import config as configuration
from jaxvae.run import densities, posteriors, structures
from jaxvae.run.estimators import ESTIMATORS
from jaxvae.training import make_leading_step
from jaxvae.types import Network, Shape

Pair = Callable[[Outputs, Outputs], tuple[Network, Network]]  # outputs of the encoder and of the decoder -> both
PAIRS: dict[str, Callable[..., tuple[Network, Network]]] = {
    "small": networks.small_pair,
    "iwae": networks.iwae_pair,
    "conv": networks.conv_pair,
    "residual": networks.residual_pair,
}


def pair_of(model: configuration.Model) -> Pair:
    """The encoder and the decoder of the configured kind and width.

    Args:
        model: of a configuration.

    Returns:
        (outputs of the encoder, outputs of the decoder) -> both.
    """
    pair = PAIRS[model.network]
    return pair if model.width is None else partial(pair, width=model.width)


def model_of(config: configuration.Config, image_shape: Shape) -> VAE:
    """The model that a configuration describes.

    Args:
        config: of a run.
        image_shape: [H, W, C].

    Returns:
        The model.
    """
    likelihood, pixel_outputs = densities.likelihood_of(config.model, image_shape)
    estimator = ESTIMATORS[config.objective.estimator]
    cast = networks.in_bfloat16 if config.precision == "bf16" else training.alone
    draw = estimator.draw(config.objective)
    parts = structures.Parts(pair_of(config.model), likelihood, pixel_outputs, draw, cast)
    of_posterior = posteriors.MODELS.get(config.model.posterior, posteriors.plain)
    make = structures.MODELS.get(config.model.structure, of_posterior)
    return estimator.of_model(make(config.model, image_shape, parts))


def optimizer_of(config: configuration.Config, num_steps: int) -> optax.GradientTransformation:
    """Adam with the configured clipping and schedule.

    Args:
        config: of a run.
        num_steps: of the whole run, for the schedule.

    Returns:
        The optax transformation.
    """
    settings = config.optimizer
    rate: optax.ScalarOrSchedule = settings.lr
    if settings.schedule == "cosine":
        rate = optax.warmup_cosine_decay_schedule(
            0.0 if settings.warmup_steps else settings.lr, settings.lr, settings.warmup_steps, num_steps
        )
    elif settings.warmup_steps:
        rate = optax.linear_schedule(0.0, settings.lr, settings.warmup_steps)
    adam = optax.adam(rate)
    return adam if settings.clip is None else optax.chain(optax.clip_by_global_norm(settings.clip), adam)


def step_of(
    config: configuration.Config,
    model: VAE,
    optimizer: optax.GradientTransformation,
    steps_per_epoch: int,
    *,
    across: training.Across = training.alone,
) -> training.Step:
    """The training step.

    Args:
        config: of a run.
        model: made by `model_of`.
        optimizer: made by `optimizer_of`.
        steps_per_epoch: for the warm-up of beta.
        across: `jaxvae.training.average` where devices share the batch.

    Returns:
        (state, keys, xs) -> (state, metrics).
    """
    loss = loss_of(config, model, num_steps=config.epochs * steps_per_epoch, across=across)
    if config.objective.encoder_steps:
        return make_leading_step(
            loss,
            optimizer,
            num_encoder_steps=config.objective.encoder_steps,
            until=config.objective.encoder_epochs * steps_per_epoch,
            decay=config.optimizer.average,
            across=across,
        )
    return training.make_step(
        loss, optimizer, decay=config.optimizer.average, across=across, accumulate=config.accumulate
    )


def loss_of(
    config: configuration.Config, model: VAE, *, num_steps: int, across: training.Across = training.alone
) -> losses.Loss:
    """What training descends.

    Args:
        config: of a run.
        model: made by `model_of`.
        num_steps: of the whole run, for the schedules.
        across: `jaxvae.training.average` where devices share the batch.

    Returns:
        The loss.
    """
    if config.model.structure in structures.LOSSES:
        return structures.LOSSES[config.model.structure](model)
    objective = config.objective
    k = objective.num_samples
    if objective.free_bits is not None:
        return losses.negative_elbo(model, losses.free_bits(objective.free_bits), num_samples=k, across=across)
    if objective.capacity is not None:
        target = optax.linear_schedule(0.0, objective.capacity, num_steps)
        cost = losses.capacity(target, gamma=objective.beta)
        return losses.negative_elbo(model, cost, num_samples=k, across=across)
    if objective.bound == "piwae":
        groups = multisample.grouped(num_groups=objective.groups)
        return losses.parted(model, for_decoder=bounds.importance_weighted, for_encoder=groups, num_samples=k)
    beta = _beta(objective, num_steps / config.epochs)
    loss = ESTIMATORS[objective.estimator].loss
    return loss(model, reduction_of(objective), num_samples=k, beta=beta, at_once=config.remat)


def _beta(objective: configuration.Objective, steps_per_epoch: float) -> optax.Schedule | None:
    """The weight of the latent part over the steps; None for the bound itself."""
    if objective.warmup_epochs:
        return optax.linear_schedule(0.0, objective.beta, round(objective.warmup_epochs * steps_per_epoch))
    if objective.cycle_epochs:
        return losses.cyclical(period=round(objective.cycle_epochs * steps_per_epoch), top=objective.beta)
    return None if objective.beta == 1 else optax.constant_schedule(objective.beta)


def reduction_of(objective: configuration.Objective) -> bounds.Reduction:
    """The reduction of terms that is the configured bound.

    Args:
        objective: of a configuration.

    Returns:
        The reduction; for piwae that of the decoder, which is the bound it reports.
    """
    table: dict[str, Callable[[], bounds.Reduction]] = {
        "elbo": lambda: bounds.average,
        "iwae": lambda: bounds.importance_weighted,
        "renyi": lambda: renyi(alpha=objective.alpha),
        "ciwae": lambda: multisample.combined(beta=objective.elbo_share),
        "miwae": lambda: multisample.grouped(num_groups=objective.groups),
        "piwae": lambda: bounds.importance_weighted,
        "tvo": lambda: thermodynamic(objective.intervals),
    }
    return table[objective.bound]()


def prepare_of(config: configuration.Config) -> training.Prepare:
    """How a stored example becomes what the model sees in training.

    Args:
        config: of a run.

    Returns:
        (key, stored example) -> x [H, W, C] in [0, 1]: a fresh draw of every pixel, or the example as it is; with its
        label where the model is told it.
    """
    of_image = training.dynamic_binarization if configuration.binarization(config) == "dynamic" else training.grey
    return structures.prepared(config, of_image)


def bound_of(config: configuration.Config) -> Callable:
    """The per-example bound that training ascends, without a weight.

    Args:
        config: of a run.

    Returns:
        (model, key, params, x) -> [], in nats.
    """
    return partial(bounds.bound(reduction_of(config.objective)), num_samples=config.objective.num_samples)
