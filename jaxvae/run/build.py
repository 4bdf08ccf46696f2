"""From a configuration to the functions of the core."""

from collections.abc import Callable
from functools import partial

import jax.numpy as jnp
import numpy as np
import optax
from jax.scipy.special import logit

from jaxvae import bounds, draws, losses, networks, training
from jaxvae.distributions import Bernoulli, ContinuousBernoulli, Laplace, Normal, normal_with_scale
from jaxvae.model import VAE, standard_normal, vae
from jaxvae.networks import Free, Outputs
from jaxvae.pixels import DiscretizedLogisticMixture, PixelCategorical
from jaxvae.run import config as configuration
from jaxvae.types import Distribution, Params, Shape

PAIRS = {
    "small": networks.small_pair,
    "iwae": networks.iwae_pair,
    "conv": networks.conv_pair,
    "residual": networks.residual_pair,
}
ESTIMATORS = {
    "pathwise": draws.pathwise,
    "sticking-the-landing": draws.sticking_the_landing,
    "doubly-reparameterized": draws.doubly_reparameterized,
}
REDUCTIONS = {"elbo": bounds.average, "iwae": bounds.importance_weighted}


def model_of(config: configuration.Config, image_shape: Shape) -> VAE:
    """The model that a configuration describes.

    Args:
        config: of a run.
        image_shape: [H, W, C].

    Returns:
        The model.
    """
    likelihood, pixel_outputs = _likelihood(config.model, image_shape)
    pair = PAIRS[config.model.network]
    encoder, decoder = pair(Normal.parameters((config.model.latent,)), pixel_outputs)
    if config.precision == "bf16":
        encoder, decoder = networks.in_bfloat16(encoder), networks.in_bfloat16(decoder)
    return vae(
        encoder=encoder,
        decoder=decoder,
        prior=standard_normal((config.model.latent,)),
        likelihood=likelihood,
        draw=ESTIMATORS[config.objective.estimator],
    )


def _likelihood(model: configuration.Model, shape: Shape) -> tuple[Callable[..., Distribution], Outputs]:
    """p(x|z) of named outputs, and the outputs that the decoder must have."""
    table: dict[str, tuple[Callable[..., Distribution], Outputs]] = {
        "bernoulli": (Bernoulli, Bernoulli.parameters(shape)),
        "continuous-bernoulli": (ContinuousBernoulli, ContinuousBernoulli.parameters(shape)),
        "gaussian": (normal_with_scale(model.scale), {"mean": shape}),
        "gaussian-shared": (Normal, {"mean": shape, "log_scale": Free(())}),
        "gaussian-per-pixel": (Normal, Normal.parameters(shape)),
        "laplace": (Laplace, {"mean": shape, "log_scale": Free(())}),
        "categorical": (PixelCategorical, PixelCategorical.parameters(shape)),
        "logistic-mixture": (DiscretizedLogisticMixture, DiscretizedLogisticMixture.parameters(shape)),
    }
    return table[model.likelihood]


def from_mean_pixel(params: Params, likelihood: str, mean: np.ndarray) -> Params:
    """The params with the decoder's output bias started from the mean of the training data.

    Args:
        params: of a model made by `model_of`.
        likelihood: its name in the configuration.
        mean: [H, W, C] the mean image, in [0, 1].

    Returns:
        New params.

    Raises:
        RunError: the likelihood has no output that is a pixel's mean or its logit.
    """
    start = {
        "logits": logit(jnp.clip(jnp.asarray(mean, jnp.float32), 0.001, 0.999)),
        "mean": jnp.asarray(mean, jnp.float32),
    }
    if likelihood in ("categorical", "logistic-mixture"):
        raise configuration.RunError(
            f"--model.mean-bias has no meaning for --model.likelihood {likelihood}: leave it out"
        )
    output = "logits" if "bernoulli" in likelihood else "mean"
    return params | {"decoder": networks.with_output_bias(params["decoder"], output, start[output])}


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
        across: `jaxvae.parallel.average` where devices share the batch.

    Returns:
        (state, keys, xs) -> (state, metrics).
    """
    objective = config.objective
    beta = None
    if objective.warmup_epochs:
        beta = optax.linear_schedule(0.0, objective.beta, objective.warmup_epochs * steps_per_epoch)
    elif objective.beta != 1:
        beta = optax.constant_schedule(objective.beta)
    loss = losses.negative_bound(
        model, REDUCTIONS[objective.bound], num_samples=objective.num_samples, beta=beta, at_once=config.remat
    )
    return training.make_step(
        loss, optimizer, decay=config.optimizer.average, across=across, accumulate=config.accumulate
    )


def prepare_of(config: configuration.Config) -> training.Prepare:
    """How a stored example becomes what the model sees in training.

    Args:
        config: of a run.

    Returns:
        (key, stored example) -> x [H, W, C] in [0, 1]: a fresh draw of every pixel, or the example as it is.
    """
    return training.dynamic_binarization if configuration.binarization(config) == "dynamic" else training.grey


def bound_of(config: configuration.Config) -> Callable:
    """The per-example bound that training ascends, without a weight.

    Args:
        config: of a run.

    Returns:
        (model, key, params, x) -> [], in nats.
    """
    bound = {"elbo": bounds.elbo, "iwae": bounds.iwae_bound}[config.objective.bound]
    return partial(bound, num_samples=config.objective.num_samples)
