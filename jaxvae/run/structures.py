"""What `--model.structure` names: models of other shapes than one latent vector, and what each asks of the shell.

Everything that a structure changes is in the tables of this file; the rest of the shell asks them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae import losses, networks, training
from jaxvae.distributions import Normal
from jaxvae.model import VAE
from jaxvae.models import Codebook, conditional, quadrants
from jaxvae.models import ladder as hierarchical
from jaxvae.models import vq as quantized
from jaxvae.networks import Outputs
from jaxvae.networks.pairs import IWAE, SMALL
from jaxvae.run import RunError
from jaxvae.run.data import Dataset, Split
from jaxvae.types import Array, Distribution, Key, Network, Params, Shape

if TYPE_CHECKING:
    from jaxvae.run import config as configuration

WIDTHS = {"small": (SMALL,), "iwae": (IWAE,) * 2}  # of the fully connected networks
ACTIVATIONS = {"small": jax.nn.relu, "iwae": jnp.tanh}
NARROWEST = 32  # a ladder's layers halve from the image up, but not below this


class Parts(NamedTuple):
    """What every structure is made of."""

    pair: Callable[[Outputs, Outputs], tuple[Network, Network]]
    likelihood: Callable[..., Distribution]
    outputs: Outputs  # that the decoder must have
    draw: Callable[[Key, Distribution], Any]
    cast: Callable[[Network], Network]  # to the precision that networks compute in


def class_conditional(model: configuration.Model, shape: Shape, parts: Parts) -> VAE:
    """p(z) p(x|z, class), whose examples are (image, class)."""
    latent = (model.latent,)
    encoder, decoder = map(parts.cast, parts.pair(Normal.parameters(latent), parts.outputs))

    def told(example: tuple[Array, Array]) -> tuple[Array, Array]:
        image, kind = example
        return image, jax.nn.one_hot(kind, model.classes)

    return conditional.conditional_vae(
        split=told,
        encoder=conditional.reading_both(encoder) if model.network in WIDTHS else with_planes(encoder),
        decoder=conditional.reading_both(decoder),
        prior=conditional.the_same_for_all(latent),
        likelihood=parts.likelihood,
        draw=parts.draw,
        condition=lambda key: jax.nn.one_hot(jax.random.randint(key, (), 0, model.classes), model.classes),
    )


def with_planes(encoder: Network) -> Network:
    """A convolutional encoder that reads a vector too, as planes of the image, each of one number."""

    def both(image: Array, vector: Array) -> Array:
        planes = jnp.broadcast_to(vector[None, None], (*image.shape[:2], len(vector)))
        return jnp.concatenate([image, planes], axis=-1)

    return Network(
        lambda key, image, vector: encoder.init(key, both(image, vector)),
        lambda params, image, vector: encoder.apply(params, both(image, vector)),
    )


def from_quadrants(model: configuration.Model, shape: Shape, parts: Parts) -> VAE:
    """p(hidden pixels | visible quadrants), with p(z|visible) learned; the recognition network sees the whole image."""
    visible = quadrants.visible_quadrants(shape, model.quadrants)
    recognition, decoder = map(parts.cast, parts.pair(Normal.parameters((model.latent,)), parts.outputs))
    prior = parts.cast(parts.pair(Normal.parameters((model.latent,)), parts.outputs)[0])
    split = partial(quadrants.parted, visible=visible)
    of_hidden = conditional.reading_both(quadrants.of_hidden(decoder, visible))
    if model.structure == "quadrants-deterministic":
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


def ladder(model: configuration.Model, shape: Shape, parts: Parts) -> VAE:
    """Layers of latents, each half of the one below, with hidden layers that halve too."""
    activation = ACTIVATIONS[model.network]
    latents = [max(2, model.latent >> layer) for layer in range(model.layers)]  # from the image up
    widths = [model.width or width for width in WIDTHS[model.network]]
    hidden = [tuple(max(NARROWEST, width >> layer) for width in widths) for layer in range(model.layers)]

    def upward(layer: int) -> Network:
        outputs: dict[str, Any] = Normal.parameters((latents[layer],))
        if layer + 1 < model.layers:
            outputs["features"] = (hidden[layer + 1][0],)
        if layer == 0:
            return parts.cast(networks.mlp(hidden[0], outputs, activation=activation))
        network = parts.cast(networks.mlp(hidden[layer][1:], outputs, activation=activation))
        return Network(
            lambda key, features: network.init(key, activation(features)),
            lambda params, features: network.apply(params, activation(features)),
        )

    def downward(layer: int) -> Network:
        outputs = Normal.parameters((latents[layer],))
        return parts.cast(networks.mlp(hidden[layer + 1], outputs, activation=activation))

    _, decoder = parts.pair({}, parts.outputs)
    return hierarchical.ladder_vae(
        bottom_up=[upward(layer) for layer in range(model.layers)],
        top_down=[downward(layer) for layer in reversed(range(model.layers - 1))],
        decoder=parts.cast(decoder),
        top=(latents[-1],),
        likelihood=parts.likelihood,
    )


def vq(model: configuration.Model, shape: Shape, parts: Parts) -> VAE:
    """An image of codes a quarter as high and as wide, each one of `--model.codes` vectors."""
    positions = tuple(-(-side // 4) for side in shape[:2])
    encoder, decoder = networks.maps_pair(
        {"encoding": (*positions, model.latent)}, parts.outputs, blocks=1 if model.network == "residual" else 0
    )
    return quantized.vq_vae(
        encoder=parts.cast(encoder),
        decoder=parts.cast(decoder),
        positions=positions,
        num_codes=model.codes,
        likelihood=parts.likelihood,
    )


MODELS: Mapping[str, Callable[[configuration.Model, Shape, Parts], VAE]] = {
    "class-conditional": class_conditional,
    "quadrants": from_quadrants,
    "quadrants-deterministic": from_quadrants,
    "ladder": ladder,
    "vq": vq,
}
LOSSES: Mapping[str, Callable[[VAE], losses.Loss]] = {"vq": quantized.negative_bound}
LABELLED = ("class-conditional",)


def stored(config: configuration.Config, split: Split) -> Any:
    """The examples of a split as training keeps them: images, and labels where the model is told them.

    Args:
        config: of a run.
        split: of its data.

    Returns:
        [N, H, W, C], or that and [N] int32.
    """
    if config.model.structure not in LABELLED or split.labels is None:
        return split.images
    return split.images, np.asarray(split.labels, np.int32)


def blank(config: configuration.Config, image_shape: Shape) -> Any:
    """An example of zeros, for its shape.

    Args:
        config: of a run.
        image_shape: [H, W, C].

    Returns:
        What the model takes for x.
    """
    image = jnp.zeros(image_shape)
    return (image, jnp.zeros((), jnp.int32)) if config.model.structure in LABELLED else image


def prepared(config: configuration.Config, prepare: training.Prepare) -> training.Prepare:
    """What is made of a stored example, from what is made of a stored image.

    Args:
        config: of a run.
        prepare: (key, stored image) -> image.

    Returns:
        (key, stored example) -> x.
    """
    if config.model.structure not in LABELLED:
        return prepare
    return lambda key, example: (prepare(key, example[0]), example[1])


def parted(config: configuration.Config, params: Params) -> tuple[Params, Any]:
    """A new model's params as training has them: those that gradients move, and the loss's `extra`.

    Args:
        config: of a run.
        params: of the new model.

    Returns:
        Both.
    """
    return quantized.parted(params) if config.model.structure == "vq" else (params, ())


def whole(params: Params, extra: Any) -> Params:
    """The params of the model, put together again.

    Args:
        params: that gradients move.
        extra: of the same state.

    Returns:
        The params.
    """
    return quantized.whole(params, extra) if isinstance(extra, Codebook) else params


def check_labels(config: configuration.Config, dataset: Dataset) -> None:
    """Refuse data without the labels that a model is to be told.

    Args:
        config: of a run.
        dataset: its data.

    Raises:
        RunError: there are no labels, or some that are no class.
    """
    if config.model.structure not in LABELLED:
        return
    for split in filter(None, (dataset.train, dataset.valid, dataset.test)):
        if split.labels is None:
            raise RunError(
                f"--model.structure {config.model.structure} is told each image's class, and {dataset.name} has no "
                "labels: take data that has, or another structure"
            )
        low, high = int(np.min(split.labels)), int(np.max(split.labels))
        if low < 0 or high >= config.model.classes:
            raise RunError(
                f"the labels of {dataset.name} run from {low} to {high}, and --model.classes {config.model.classes} "
                f"allows 0 to {config.model.classes - 1}: give --model.classes {high + 1}"
            )


def protocol(model: configuration.Model) -> dict[str, Any]:
    """What a structure adds to the protocol of every number.

    Args:
        model: of the configuration.

    Returns:
        Its name, and what the numbers are conditional on or what the codes cost; nothing for a plain model.
    """
    added: dict[str, Any] = {} if model.structure == "plain" else {"structure": model.structure}
    if model.structure == "class-conditional":
        added["given"] = "the class"
    elif model.structure.startswith("quadrants"):
        added |= {"given": f"{model.quadrants} visible of 4 quadrants", "likelihood_over": "the hidden pixels alone"}
    elif model.structure == "ladder":
        added["layers"] = model.layers
    elif model.structure == "vq":
        added["code_rate"] = f"uniform prior, ln {model.codes} for each code"
    return added
