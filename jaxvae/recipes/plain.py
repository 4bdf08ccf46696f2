"""One latent variable, and any posterior, prior, likelihood, bound and gradient estimator."""

from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logit

from jaxvae import networks
from jaxvae.model import VAE
from jaxvae.priors import vamp_prior
from jaxvae.run import RunError
from jaxvae.run.choice import EVERYDAY, AtLeast
from jaxvae.run.data import Dataset, Split
from jaxvae.run.figures.images import View
from jaxvae.run.options import likelihoods, posteriors, priors
from jaxvae.run.options import networks as pairs
from jaxvae.run.options.images import ImageSettings, check_pixels, image_recipe, load_images, parts_of
from jaxvae.run.options.objective import Objective
from jaxvae.run.options.words import said
from jaxvae.run.recipe import About, Kind, Recipe
from jaxvae.types import Params, Shape


@dataclass(frozen=True)
class Model:
    """The model."""

    network: Annotated[pairs.AnyNetwork, EVERYDAY] = field(default_factory=pairs.Small)
    """The encoder and the decoder."""
    latent: Annotated[int, AtLeast(1), EVERYDAY] = 20
    """The number of latent dimensions."""
    likelihood: Annotated[likelihoods.AnyLikelihood, EVERYDAY] = field(default_factory=likelihoods.Bernoulli)
    """The density of pixels."""
    posterior: posteriors.AnyPosterior = field(default_factory=posteriors.Normal)
    """q(z|x)."""
    prior: priors.AnyPrior = field(default_factory=priors.Standard)
    """p(z)."""
    mean_bias: bool = False
    """Start the decoder's output bias from the mean pixel of the training data, as the authors of iwae do: without it
    that network learns slowly at first, and its posterior may collapse."""


@dataclass(frozen=True)
class Config(ImageSettings):
    """Train a variational auto-encoder of images, evaluate it, and write a report into a run folder."""

    model: Model = field(default_factory=Model)
    objective: Objective = field(default_factory=Objective)


def model_of(config: Any, shape: Shape) -> VAE:
    """The model of a configuration.

    Args:
        config: of a run.
        shape: [H, W, C] of an image.

    Returns:
        The model, as its gradient estimator has it.
    """
    model, estimator = config.model, config.objective.estimator
    prior = model.prior.of(model.latent, model.posterior)
    made = model.posterior.model(model.latent, parts_of(config, shape, estimator.draw()), prior)
    return estimator.of_model(made)


def recipe(config: Config, about: About) -> Recipe:
    """The recipe of a plain model.

    Args:
        config: of a run.
        about: the images.

    Returns:
        The recipe.
    """
    plane = config.model.latent == 2 and "reals" in config.model.posterior.has

    def start(params: Params, extra: Any, train: Split) -> tuple[Params, Any]:
        return from_data(params, config.model, train.examples), extra

    return image_recipe(
        config,
        about,
        model_of(config, about.example.shape),
        view=View(plane=plane),
        start=start,
        check=partial(check, config),
    )


def check(config: Any, dataset: Dataset) -> None:
    """Refuse data from which the params cannot start as they are to.

    Args:
        config: of a run.
        dataset: its data.

    Raises:
        RunError: there are fewer images than pseudo-inputs, or the likelihood has no output that is a pixel's mean, or
            its pixels are binary ones and these are grey.
    """
    check_pixels(config, dataset)
    model = config.model
    if isinstance(model.prior, priors.Vamp) and model.prior.components > dataset.train.size:
        raise RunError(
            f"--model.prior.components {model.prior.components} pseudo-inputs cannot start at {dataset.train.size} "
            "training images: give fewer"
        )
    if model.mean_bias and model.likelihood.mean_output is None:
        raise RunError(
            f"--model.mean-bias has no meaning for --model.likelihood {said(model.likelihood)}: leave it out"
        )


def from_data(params: Params, model: Any, images: np.ndarray) -> Params:
    """The params of a new model, started from the training data where the configuration says so.

    `mean_bias` sets the decoder's output bias from the mean image; a VampPrior's pseudo-inputs start at images from all
    over the training set.

    Args:
        params: of a new model.
        model: of its configuration.
        images: [N, H, W, C] of the training set, uint8 or float32 in [0, 1].

    Returns:
        New params.
    """
    if model.mean_bias:
        params = _from_mean_pixel(params, model.likelihood, mean_image(images))
    if isinstance(model.prior, priors.Vamp):
        components = model.prior.components
        rows = np.linspace(0, len(images) - 1, components).astype(int)
        scale = 255.0 if images.dtype == np.uint8 else 1.0
        chosen = jnp.asarray(images[rows] / scale, jnp.float32)
        prior = vamp_prior(num_components=components, images=chosen)
        params = params | {"prior": params["prior"] | prior.init(jax.random.key(0), chosen[0])}  # no draw is taken
    return params


def mean_image(images: np.ndarray) -> np.ndarray:
    """The mean of the training images.

    Args:
        images: [N, H, W, C], uint8 or float32 in [0, 1].

    Returns:
        [H, W, C] in [0, 1].
    """
    scale = 255.0 if images.dtype == np.uint8 else 1.0
    return np.asarray(np.mean(images, axis=0, dtype=np.float64) / scale)


def _from_mean_pixel(params: Params, likelihood: Any, mean: np.ndarray) -> Params:
    """The params with the decoder's output bias started from the mean image [H, W, C]."""
    output = likelihood.mean_output
    start = {
        "logits": logit(jnp.clip(jnp.asarray(mean, jnp.float32), 0.001, 0.999)),
        "mean": jnp.asarray(mean, jnp.float32),
    }
    return params | {"decoder": networks.with_output_bias(params["decoder"], output, start[output])}


KIND = Kind("plain", Config, load_images, recipe)
