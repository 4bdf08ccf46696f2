"""The hidden pixels of an image, given some visible quadrants of it: p(hidden|visible)."""

from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

from jaxvae.distributions import Normal
from jaxvae.model import VAE
from jaxvae.models import conditional, quadrants
from jaxvae.models.given import Given
from jaxvae.recipes.class_conditional import Objective
from jaxvae.run.choice import EVERYDAY, AtLeast
from jaxvae.run.figures.images import View
from jaxvae.run.options import likelihoods
from jaxvae.run.options import networks as pairs
from jaxvae.run.options.images import ImageSettings, image_recipe, load_images, parts_of
from jaxvae.run.recipe import About, Kind, Recipe
from jaxvae.types import Array, Key, Network, Params, Shape


@dataclass(frozen=True)
class Model:
    """The model."""

    needs: ClassVar = {"model.likelihood": {"factorises"}}
    network: Annotated[pairs.AnyNetwork, EVERYDAY] = field(default_factory=pairs.Small)
    """The encoder and the decoder."""
    latent: Annotated[int, AtLeast(1), EVERYDAY] = 20
    """The number of latent dimensions."""
    quadrants: Annotated[Literal[1, 2, 3], EVERYDAY] = 1
    """How many quadrants are visible: the bottom left, then the top left too, then the top right too."""
    deterministic: bool = False
    """Without a latent variable: the same networks tell each hidden pixel by itself, as a baseline."""
    likelihood: Annotated[likelihoods.AnyLikelihood, EVERYDAY] = field(default_factory=likelihoods.Bernoulli)
    """The density of pixels."""


@dataclass(frozen=True)
class Config(ImageSettings):
    """Train a model of an image's hidden pixels given its visible quadrants, and write a report into a run folder."""

    model: Model = field(default_factory=Model)
    objective: Objective = field(default_factory=Objective)


def model_of(config: Config, shape: Shape) -> VAE:
    """The model of a configuration: with p(z|visible) learned, and a recognition network that sees the whole image.

    Args:
        config: of a run.
        shape: [H, W, C] of an image.

    Returns:
        The model, of whole images.
    """
    model = config.model
    parts = parts_of(config, shape, config.objective.estimator.draw())
    visible = quadrants.visible_quadrants(shape, model.quadrants)
    recognition, decoder = parts.pair(Normal.parameters((model.latent,)))
    prior, _ = parts.pair(Normal.parameters((model.latent,)))
    split = partial(quadrants.parted, visible=visible)
    of_hidden = conditional.reading_both(quadrants.of_hidden(decoder, visible))
    if model.deterministic:
        return conditional.regression(split=split, prior=prior, decoder=of_hidden, likelihood=parts.likelihood)

    def whole(hidden: Array, seen: Array) -> Array:
        return quadrants.completed(seen, hidden, visible)

    return conditional.conditional_vae(
        split=split,
        encoder=Network(
            lambda key, hidden, seen: recognition.init(key, whole(hidden, seen)),
            lambda params, hidden, seen: recognition.apply(params, whole(hidden, seen)),
        ),
        decoder=of_hidden,
        prior=prior,
        likelihood=parts.likelihood,
        draw=parts.draw,
    )


def recipe(config: Config, about: About) -> Recipe:
    """The recipe of a model of hidden pixels.

    Args:
        config: of a run.
        about: the images.

    Returns:
        The recipe.
    """
    shape = about.example.shape
    visible = quadrants.visible_quadrants(shape, config.model.quadrants)

    def completion(model: VAE, key: Key, params: Params, x: Array) -> Any:
        condition = quadrants.parted(x, visible)[1]
        return Given(conditional.given(model, condition).prior(params).sample(key), condition)

    view = View(
        code=lambda latent: latent.z,
        finish=lambda latent, mean: quadrants.completed(latent.condition, mean, visible),
        new=completion,
        title="Completions",
        caption="Test images as told from their visible quadrants: the mean for a draw z ~ p(z|visible).",
    )
    protocol = {
        "kind": "quadrants",
        "given": f"{config.model.quadrants} visible of 4 quadrants",
        "likelihood_over": "the hidden pixels alone",
        "latent": not config.model.deterministic,
    }
    return image_recipe(config, about, model_of(config, shape), protocol=protocol, view=view)


KIND = Kind("quadrants", Config, load_images, recipe)
