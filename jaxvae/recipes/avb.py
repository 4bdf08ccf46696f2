"""Adversarial variational Bayes: a posterior without a density, whose divergence a discriminator estimates."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, Literal

import jax.numpy as jnp
import numpy as np

from jaxvae import losses
from jaxvae.bounds import average, bound
from jaxvae.distributions import Implicit
from jaxvae.losses import Contrast
from jaxvae.model import VAE, standard_normal, vae
from jaxvae.run import keys
from jaxvae.run.choice import EVERYDAY, AtLeast
from jaxvae.run.data import Split
from jaxvae.run.figures.images import View
from jaxvae.run.held_out import prepared
from jaxvae.run.measures import mean_terms
from jaxvae.run.options import likelihoods
from jaxvae.run.options import networks as pairs
from jaxvae.run.options.discriminators import Discriminator
from jaxvae.run.options.estimators import Pathwise
from jaxvae.run.options.images import ImageSettings, image_recipe, load_images, parts_of, prepare_of
from jaxvae.run.recipe import About, Asked, Kind, Measured, Recipe
from jaxvae.types import Params, Shape

WARNING = (
    "test_estimate is what a discriminator makes of the ELBO, and no bound: of a weak discriminator it is too high; "
    "annealing (jaxvae.evaluation.annealed_log_likelihood) tells log p(x)"
)


@dataclass(frozen=True)
class Model:
    """The model."""

    network: Annotated[pairs.AnyNetwork, EVERYDAY] = field(default_factory=pairs.Small)
    """The encoder and the decoder."""
    latent: Annotated[int, AtLeast(1), EVERYDAY] = 8
    """The number of latent dimensions."""
    noises: Annotated[int, AtLeast(1)] = 32
    """The number of noises that a draw of the posterior is made of, beside one for each latent dimension."""
    likelihood: Annotated[likelihoods.AnyLikelihood, EVERYDAY] = field(default_factory=likelihoods.Bernoulli)
    """The density of pixels."""


@dataclass(frozen=True)
class Config(ImageSettings):
    """Train an auto-encoder of images by adversarial variational Bayes, and write a report into a run folder."""

    model: Model = field(default_factory=Model)
    contrast: Annotated[Literal["adaptive", "prior"], EVERYDAY] = "adaptive"
    """What the discriminator tells codes from: adaptive: the Gaussian with the posterior's mean and variances, whose
    divergence is a closed form; prior: the prior itself, which a discriminator that sees both tells too easily."""
    discriminator: Discriminator = field(default_factory=Discriminator)
    """Of pairs of an image and a code."""
    num_samples: Annotated[int, AtLeast(1)] = 1
    """The number of posterior draws for each example."""


def contrast_of(config: Config) -> Contrast:
    """How the divergence of a configuration is estimated.

    Args:
        config: of a run.

    Returns:
        The discriminator and the reference.
    """
    reference = losses.with_moments if config.contrast == "adaptive" else None
    return Contrast(config.discriminator.of_pairs, reference)


def model_of(config: Config, shape: Shape) -> VAE:
    """The model of a configuration, without the discriminator.

    Args:
        config: of a run.
        shape: [H, W, C] of an image.

    Returns:
        The model.
    """
    latent = (config.model.latent,)
    parts = parts_of(config, shape, Pathwise().draw())
    encoder, decoder = parts.pair(Implicit.parameters(latent, noises=config.model.noises))
    return vae(
        encoder=encoder,
        decoder=decoder,
        prior=standard_normal(latent),
        posterior=Implicit,
        likelihood=parts.likelihood,
    )


def recipe(config: Config, about: About) -> Recipe:
    """The recipe of adversarial variational Bayes.

    Args:
        config: of a run.
        about: the images.

    Returns:
        The recipe, whose numbers are estimates by name.
    """
    contrast = contrast_of(config)
    model = losses.estimating(model_of(config, about.example.shape), contrast)
    return image_recipe(
        config,
        about,
        model,
        protocol={
            "kind": "avb",
            "contrast": config.contrast,
            "noises": config.model.noises,
            "k": config.num_samples,
            "estimate": "E log p(x|z) less a divergence that the discriminator estimates; no bound",
        },
        view=View(plane=config.model.latent == 2),
        init=lambda key: (model.init(key, jnp.zeros(about.example.shape)), ()),
        loss=lambda plan: losses.adversarial_bayes(model, contrast, num_samples=config.num_samples),
        bound=partial(bound(average), model, num_samples=config.num_samples),
        watched="estimate",
        num_samples=config.num_samples,
        measure=measure_of(model, lambda split: prepared(prepare_of(config), split.examples)),
        optimizer=config.discriminator.optimizer,
    )


def measure_of(model: VAE, as_x: Callable[[Split], Any]) -> Callable[[Params, Split, Asked], dict[str, Measured]]:
    """How it is measured: by estimates, with a warning.

    Args:
        model: of `jaxvae.losses.estimating`.
        as_x: a split -> the xs.

    Returns:
        The `measure` of a recipe: "test_estimate", "test_estimated_kl" and "test_log_likelihood".
    """

    def measure(params: Params, test: Split, asked: Asked) -> dict[str, Measured]:
        log_likelihood, divergence = map(np.asarray, mean_terms(model, keys.of_terms(), params, as_x(test)))
        said = {"estimate_draws": 1}
        return {
            "test_estimate": Measured(log_likelihood - divergence, "nats", None, said, WARNING),
            "test_estimated_kl": Measured(divergence, "nats"),
            "test_log_likelihood": Measured(log_likelihood, "nats"),
        }

    return measure


KIND = Kind("avb", Config, load_images, recipe)
