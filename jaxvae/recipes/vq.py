"""Vector quantisation: an image of codes, each the number of a vector of a table."""

from dataclasses import dataclass, field
from functools import partial
from typing import Annotated

import jax.numpy as jnp

from jaxvae.bounds import average as elbo_of
from jaxvae.bounds import bound
from jaxvae.model import VAE
from jaxvae.models import vq
from jaxvae.networks import maps_pair
from jaxvae.run.choice import EVERYDAY, AtLeast, Between
from jaxvae.run.figures.images import View
from jaxvae.run.options import likelihoods
from jaxvae.run.options import networks as pairs
from jaxvae.run.options.estimators import Pathwise
from jaxvae.run.options.images import ImageSettings, image_recipe, load_images, parts_of
from jaxvae.run.recipe import About, Kind, Recipe
from jaxvae.types import Key, Shape

CAPTION = (
    "The decoder's mean for 100 images of codes, each code drawn by itself: no shapes are to be expected before a "
    "prior over the codes is learned (jaxvae code-prior)."
)


@dataclass(frozen=True)
class Model:
    """The model."""

    network: Annotated[pairs.Conv | pairs.Residual, EVERYDAY] = field(default_factory=pairs.Conv)
    """The encoder and the decoder."""
    latent: Annotated[int, AtLeast(1), EVERYDAY] = 20
    """The numbers in a vector of the table."""
    codes: Annotated[int, AtLeast(1), EVERYDAY] = 256
    """K, the number of vectors in the table."""
    likelihood: Annotated[likelihoods.AnyLikelihood, EVERYDAY] = field(default_factory=likelihoods.Bernoulli)
    """The density of pixels."""
    commitment: Annotated[float, AtLeast(0)] = 0.25
    """The weight of the distance between encodings and their vectors in the loss."""
    decay: Annotated[float, Between(0, 1)] = 0.99
    """Of the moving averages that the table is made of."""
    least: Annotated[float, AtLeast(0)] = 0.03
    """A code is dead, and takes an encoding for its vector, where its share is under this part of the equal share."""
    places: Annotated[int, AtLeast(1)] = 1024
    """Among so many places a batch offers its encodings, one from each image; the first K of them are the codes."""


@dataclass(frozen=True)
class Config(ImageSettings):
    """Train a vector-quantised auto-encoder on images, evaluate it, and write a report into a run folder."""

    model: Model = field(default_factory=Model)


def model_of(config: Config, shape: Shape) -> VAE:
    """The model of a configuration.

    Args:
        config: of a run.
        shape: [H, W, C] of an image.

    Returns:
        The model.
    """
    parts = parts_of(config, shape, Pathwise().draw())
    positions = tuple(-(-side // 4) for side in shape[:2])
    network = config.model.network
    encoder, decoder = maps_pair(
        {"encoding": (*positions, config.model.latent)}, parts.outputs, maps=network.maps, blocks=network.blocks
    )
    return vq.vq_vae(
        encoder=parts.cast(encoder),
        decoder=parts.cast(decoder),
        positions=positions,
        num_codes=config.model.codes,
        likelihood=parts.likelihood,
    )


def recipe(config: Config, about: About) -> Recipe:
    """The recipe of a vector-quantised model, whose table is kept beside its params.

    Args:
        config: of a run.
        about: the images.

    Returns:
        The recipe.
    """
    settings = config.model
    model = model_of(config, about.example.shape)
    loss = vq.negative_bound(
        model,
        commitment=settings.commitment,
        decay=settings.decay,
        least=settings.least,
        places=settings.places,
    )

    def init(key: Key) -> tuple:
        return vq.parted(model.init(key, jnp.zeros(about.example.shape)))

    return image_recipe(
        config,
        about,
        model,
        protocol={"kind": "vq", "bound": "elbo", "code_rate": f"uniform prior, ln {settings.codes} for each code"},
        view=View(caption=CAPTION),
        init=init,
        loss=lambda plan: loss,
        bound=partial(bound(elbo_of), model, num_samples=1),
        whole=vq.whole,
    )


KIND = Kind("vq", Config, load_images, recipe)
