"""Layers of latents, each half of the one below, with hidden layers that halve too."""

from dataclasses import dataclass, field
from typing import Annotated, Any

from jaxvae import networks
from jaxvae.distributions import Normal
from jaxvae.model import VAE
from jaxvae.models import ladder_vae
from jaxvae.run.choice import EVERYDAY, AtLeast
from jaxvae.run.options import likelihoods
from jaxvae.run.options import networks as pairs
from jaxvae.run.options.estimators import Pathwise
from jaxvae.run.options.images import ImageSettings, image_recipe, load_images, parts_of
from jaxvae.run.options.objective import PathObjective
from jaxvae.run.recipe import About, Kind, Recipe
from jaxvae.types import Network, Shape

NARROWEST = 32  # the hidden layers halve from the image up, but not below this


@dataclass(frozen=True)
class Model:
    """The model."""

    network: Annotated[pairs.Small | pairs.Iwae, EVERYDAY] = field(default_factory=pairs.Small)
    """The hidden layers at the image."""
    latent: Annotated[int, AtLeast(1), EVERYDAY] = 20
    """The latent dimensions of the lowest layer; each other layer has half of the one below."""
    layers: Annotated[int, AtLeast(1), EVERYDAY] = 2
    """How many layers of latents there are."""
    likelihood: Annotated[likelihoods.AnyLikelihood, EVERYDAY] = field(default_factory=likelihoods.Bernoulli)
    """The density of pixels."""


@dataclass(frozen=True)
class Config(ImageSettings):
    """Train a ladder of latent layers on images, evaluate it, and write a report into a run folder."""

    model: Model = field(default_factory=Model)
    objective: PathObjective = field(default_factory=PathObjective)


def model_of(config: Config, shape: Shape) -> VAE:
    """The model of a configuration.

    Args:
        config: of a run.
        shape: [H, W, C] of an image.

    Returns:
        The model.
    """
    model, network = config.model, config.model.network
    parts = parts_of(config, shape, Pathwise().draw())
    latents = [max(2, model.latent >> layer) for layer in range(model.layers)]  # from the image up
    hidden = [(max(NARROWEST, network.width >> layer),) * network.depth for layer in range(model.layers)]
    activation = network.activation

    def upward(layer: int) -> Network:
        outputs: dict[str, Any] = Normal.parameters((latents[layer],))
        if layer + 1 < model.layers:
            outputs["features"] = (hidden[layer + 1][0],)
        if layer == 0:
            return parts.cast(networks.mlp(hidden[0], outputs, activation=activation))
        above = parts.cast(networks.mlp(hidden[layer][1:], outputs, activation=activation))
        return Network(
            lambda key, features: above.init(key, activation(features)),
            lambda params, features: above.apply(params, activation(features)),
        )

    def downward(layer: int) -> Network:
        outputs = Normal.parameters((latents[layer],))
        return parts.cast(networks.mlp(hidden[layer + 1], outputs, activation=activation))

    _, decoder = parts.pair({})
    return ladder_vae(
        bottom_up=[upward(layer) for layer in range(model.layers)],
        top_down=[downward(layer) for layer in reversed(range(model.layers - 1))],
        decoder=decoder,
        top=(latents[-1],),
        likelihood=parts.likelihood,
    )


def recipe(config: Config, about: About) -> Recipe:
    """The recipe of a ladder.

    Args:
        config: of a run.
        about: the images.

    Returns:
        The recipe.
    """
    model = model_of(config, about.example.shape)
    return image_recipe(config, about, model, protocol={"kind": "ladder", "layers": config.model.layers})


KIND = Kind("ladder", Config, load_images, recipe)
