"""Images given their class, p(x|z, class)."""

from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.distributions import Normal
from jaxvae.model import VAE
from jaxvae.models import conditional
from jaxvae.run import RunError
from jaxvae.run.choice import EVERYDAY, AtLeast
from jaxvae.run.data import Dataset, Split
from jaxvae.run.figures.images import View
from jaxvae.run.options import estimators, likelihoods, objective, prices
from jaxvae.run.options import networks as pairs
from jaxvae.run.options.images import (
    ImageSettings,
    check_classes,
    check_pixels,
    image_recipe,
    load_images,
    parts_of,
    prepare_of,
)
from jaxvae.run.recipe import About, Kind, Recipe
from jaxvae.types import Array, Key, Shape

AnyEstimator = (
    estimators.Pathwise | estimators.StickingTheLanding | estimators.DoublyReparameterized | estimators.ScoreFunction
)
CAPTION = "The decoder's mean for 100 draws z ~ p(z), each with a class at random: look for whole, varied shapes."


@dataclass(frozen=True)
class Model:
    """The model."""

    network: Annotated[pairs.AnyNetwork, EVERYDAY] = field(default_factory=pairs.Small)
    """The encoder and the decoder."""
    latent: Annotated[int, AtLeast(1), EVERYDAY] = 20
    """The number of latent dimensions."""
    classes: Annotated[int, AtLeast(1), EVERYDAY] = 10
    """How many classes of images there are."""
    likelihood: Annotated[likelihoods.AnyLikelihood, EVERYDAY] = field(default_factory=likelihoods.Bernoulli)
    """The density of pixels."""


@dataclass(frozen=True)
class Objective(objective.Objective):
    """What training ascends."""

    price: prices.DivergencePrice | prices.Distortion = field(default_factory=prices.Weight)
    """What the latent part costs in the loss: beta, a warm-up, free bits, a capacity; or the least that it can at a
    given distortion."""
    estimator: AnyEstimator = field(default_factory=estimators.Pathwise)
    """The gradient estimator."""


@dataclass(frozen=True)
class Config(ImageSettings):
    """Train a model of images given their classes, evaluate it, and write a report into a run folder."""

    model: Model = field(default_factory=Model)
    objective: Objective = field(default_factory=Objective)


def model_of(config: Config, shape: Shape) -> VAE:
    """The model of a configuration.

    Args:
        config: of a run.
        shape: [H, W, C] of an image.

    Returns:
        The model, of examples (image, class).
    """
    model = config.model
    latent = (model.latent,)
    parts = parts_of(config, shape, config.objective.estimator.draw())
    encoder, decoder = parts.pair(Normal.parameters(latent))

    def told(example: tuple[Array, Array]) -> tuple[Array, Array]:
        image, kind = example
        return image, jax.nn.one_hot(kind, model.classes)

    return conditional.conditional_vae(
        split=told,
        encoder=model.network.told(encoder),
        decoder=conditional.reading_both(decoder),
        prior=conditional.the_same_for_all(latent),
        likelihood=parts.likelihood,
        draw=parts.draw,
        condition=lambda key: jax.nn.one_hot(jax.random.randint(key, (), 0, model.classes), model.classes),
    )


def recipe(config: Config, about: About) -> Recipe:
    """The recipe of a class-conditional model.

    Args:
        config: of a run.
        about: the images.

    Returns:
        The recipe.
    """
    of_image = prepare_of(config)

    def prepare(key: Key, example: tuple[Array, Array]) -> tuple[Array, Array]:
        return of_image(key, example[0]), example[1]

    return image_recipe(
        config,
        about,
        model_of(config, about.example.shape),
        protocol={"kind": "class-conditional", "given": "the class"},
        view=View(image=lambda x: x[0], code=lambda latent: latent.z, caption=CAPTION),
        blank=(jnp.zeros(about.example.shape), jnp.zeros((), jnp.int32)),
        stored=with_labels,
        prepare=prepare,
        check=partial(check, config),
    )


def with_labels(split: Split) -> tuple[Any, np.ndarray]:
    """The examples of a split as training keeps them.

    Args:
        split: labelled.

    Returns:
        Images [N, H, W, C] and labels [N] int32.
    """
    assert split.labels is not None
    return split.examples, np.asarray(split.labels, np.int32)


def check(config: Config, dataset: Dataset) -> None:
    """Refuse data without the labels that the model is to be told.

    Args:
        config: of a run.
        dataset: its data.

    Raises:
        RunError: there are no labels, or some that are no class, or grey pixels for a likelihood of binary ones.
    """
    check_pixels(config, dataset)
    for split in filter(None, (dataset.train, dataset.valid, dataset.test)):
        if split.labels is None:
            raise RunError(
                f"a class-conditional model is told each image's class, and {dataset.name} has no labels: take data "
                "that has, or another kind"
            )
        check_classes(dataset.name, split.labels, config.model.classes)


KIND = Kind("class-conditional", Config, load_images, recipe)
