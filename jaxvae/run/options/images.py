"""What kinds of VAE of images share: the data they take, how it is prepared, and the recipe that most of them have."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, Literal

import jax.numpy as jnp
import numpy as np
import tyro

from jaxvae import training
from jaxvae.model import VAE
from jaxvae.run import RunError
from jaxvae.run.choice import EVERYDAY, AtLeast
from jaxvae.run.data import Dataset, Split
from jaxvae.run.figures.images import View, of_images
from jaxvae.run.held_out import prepared
from jaxvae.run.measures import of_terms
from jaxvae.run.options.code_prices import OwnLoss
from jaxvae.run.options.floors import with_floor
from jaxvae.run.options.likelihoods import LearnedScale
from jaxvae.run.options.objective import ascending, objective_said
from jaxvae.run.options.parts import Parts, cast_to
from jaxvae.run.options.words import said
from jaxvae.run.recipe import About, Recipe
from jaxvae.run.settings import Settings, Stored
from jaxvae.types import Shape

Binarize = Literal["none", "static", "dynamic", "threshold"]
BINARISATION = {"binarized_mnist": "static (Larochelle's)", "sprites": "rendered so", "sprites_64": "rendered so"}


@dataclass(frozen=True)
class Images(Stored):
    """The images."""

    name: Annotated[str, tyro.conf.arg(aliases=["--data"]), EVERYDAY] = "digits"
    """digits, mnist, fashion_mnist, binarized_mnist, omniglot, frey_faces, sprites, sprites_64, tfds:NAME for a data
    set that tensorflow-datasets has prepared, or the path of an .npy or .npz file or of a folder of images."""
    binarize: Binarize | None = None
    """How grey pixels become zeros and ones: not at all; drawn once; drawn anew at every visit; cut at one half.
    By default dynamic under a likelihood of binary pixels, none under another."""
    split: str | None = None
    """The split by its name, 50k/10k/10k or 60k/10k for MNIST; by default the data set's own."""
    alpha: Literal["drop", "white", "black"] | None = None
    """What lies behind the transparent images of a folder; drop takes their colours alone. By default they are
    refused."""
    resize: Annotated[int | None, AtLeast(1)] = None
    """Bring the shorter side of a folder's images to so many pixels, and cut out the middle square."""
    patches: Annotated[int | None, AtLeast(1)] = None
    """Cut a folder's images into squares of so many pixels, side by side, each an example."""


@dataclass(frozen=True)
class ImageSettings(Settings):
    """What every run on images has; a kind adds its `model`, which has a `likelihood`."""

    data: Images = field(default_factory=Images)


def binarization(config: Any) -> Binarize:
    """How the pixels become zeros and ones, the default resolved.

    Args:
        config: of a run on images.

    Returns:
        The configured word; without one, "dynamic" for grey pixels under a likelihood of binary ones, else "none".
    """
    if config.data.binarize is not None:
        return config.data.binarize
    grey = config.data.name not in BINARISATION
    return "dynamic" if grey and config.model.likelihood.pixels == "binary" else "none"


def load_images(config: Any) -> Dataset:
    """The data of a run on images, statically binarised where the run is.

    Args:
        config: of the run.

    Returns:
        The data set.

    Raises:
        RunError: pixels are to be binarised for a density of grey ones.
        DataError: it cannot be read.
    """
    from jaxvae.run.data.loading import load

    if config.model.likelihood.pixels != "binary" and binarization(config) != "none":
        raise RunError(
            f"--model.likelihood {said(config.model.likelihood)} is a density of grey pixels: give --data.binarize none"
        )
    data = config.data
    return load(
        data.name,
        split=data.split,
        binarize=binarization(config),
        source=data.source,
        folder=data.folder,
        alpha=data.alpha,
        resize=data.resize,
        patches=data.patches,
    )


def prepare_of(config: Any) -> training.Prepare:
    """How a stored image becomes what the model sees in training.

    Args:
        config: of a run on images.

    Returns:
        (key, stored image) -> x [H, W, C] in [0, 1]: a fresh draw of every pixel, or the image as it is.
    """
    return training.dynamic_binarization if binarization(config) == "dynamic" else training.grey


def check_pixels(config: Any, dataset: Dataset) -> None:
    """Refuse grey pixels for a likelihood of binary ones.

    Args:
        config: of a run on images.
        dataset: its data.

    Raises:
        RunError: they are grey.
    """
    if config.model.likelihood.pixels == "binary" and binarization(config) == "none":
        pixels = dataset.test.examples
        if np.any((pixels != 0) & (pixels != (255 if pixels.dtype == np.uint8 else 1))):
            raise RunError(
                f"{dataset.name} has grey pixels, for which a Bernoulli has no density: give --data.binarize dynamic "
                "(or static, threshold), or --model.likelihood continuous-bernoulli"
            )


def check_classes(name: str, labels: np.ndarray, classes: int) -> None:
    """Refuse labels that are no class of a model.

    Args:
        name: of the data set.
        labels: [N] of one split.
        classes: how many the model has.

    Raises:
        RunError: a label is below zero, or above the last class.
    """
    low, high = int(np.min(labels)), int(np.max(labels))
    if low < 0:
        raise RunError(
            f"the labels of {name} run from {low} to {high}, and a class is a number from 0 on: give them such numbers"
        )
    if high >= classes:
        raise RunError(
            f"the labels of {name} run from {low} to {high}, and --model.classes {classes} allows 0 to {classes - 1}: "
            f"give --model.classes {high + 1}"
        )


def parts_of(config: Any, shape: Shape, draw: Callable[..., Any]) -> Parts:
    """What a model of images is made of.

    Args:
        config: of a run on images.
        shape: [H, W, C].
        draw: the gradient estimator.

    Returns:
        The parts.
    """
    likelihood, outputs = config.model.likelihood.of(shape)
    return Parts(config.model.network, likelihood, outputs, draw, cast_to(config.precision))


def image_recipe(
    config: Any,
    about: About,
    model: VAE,
    *,
    protocol: Mapping[str, Any] | None = None,
    view: View | None = None,
    **changes: Any,
) -> Recipe:
    """The recipe that most kinds of VAE of images have.

    Args:
        config: of the run, with `data`, `model` and `objective`.
        about: the images.
        model: of the run.
        protocol: what the kind adds to what is said beside every number.
        view: how pictures are made of its examples and latents.
        changes: fields of the recipe that are the kind's own; `stored` and `prepare` among them for labelled images.

    Returns:
        The recipe.
    """
    stored: Callable[[Split], Any] = changes.get("stored", lambda split: split.examples)
    prepare = changes.get("prepare", prepare_of(config))
    # What the model reads has the shape of what is prepared, whatever is stored.
    blank = changes.pop("blank", jnp.zeros(about.example.shape))

    def as_x(split: Split) -> Any:
        return prepared(prepare, stored(split))

    objective = getattr(config, "objective", None)
    own: dict[str, Any] = {}
    extra: Any = ()
    if objective is not None:
        if isinstance(objective.price, OwnLoss):
            model, extra = objective.price.of_model(model), objective.price.extra()
            own["optimizer"] = objective.price.optimizer
        own |= ascending(config, model)
    likelihood = config.model.likelihood
    measure = of_terms(model, as_x, bits=likelihood.pixels == "levels")
    if isinstance(likelihood, LearnedScale):
        measure = with_floor(measure, model, as_x, likelihood)
    defaults = {
        "model": model,
        "init": lambda key: (model.init(key, blank), extra),
        "prepare": prepare,
        "measure": measure,
        "draw": of_images(model, as_x, view or View()),
        "check": partial(check_pixels, config),
    }
    return Recipe(**(defaults | own | changes), protocol=protocol_of(config) | dict(protocol or {}))


def protocol_of(config: Any) -> dict[str, Any]:
    """What is said beside every number of a run on images: the options that it was trained with.

    Args:
        config: of the run.

    Returns:
        Words and numbers.
    """
    stated: dict[str, Any] = {"binarisation": BINARISATION.get(config.data.name, binarization(config))}
    made_of = {name: getattr(config.data, name) for name in ("alpha", "resize", "patches")}
    stated |= {name: value for name, value in made_of.items() if value is not None}
    objective = getattr(config, "objective", None)
    if objective is not None:
        stated |= objective_said(objective)
    for name in ("posterior", "prior", "likelihood", "network"):
        if hasattr(config.model, name):
            stated[name] = said(getattr(config.model, name))
    return stated
