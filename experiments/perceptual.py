"""Images judged by what a classifier sees in them, beside their pixels: `python -m experiments.perceptual`.

The classifier is trained first, on the same training images. A second one, which no VAE was trained with, says of the
test images' reconstructions what they show (Hou et al., "Deep Feature Consistent Variational Autoencoder", 2017).
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from experiments.new_folder import new_folder
from jaxvae.distributions import Normal
from jaxvae.draws import pathwise
from jaxvae.model import VAE
from jaxvae.models import perceptual_vae
from jaxvae.priors import standard_normal
from jaxvae.questions.parts.classifier import Classifier, classifier
from jaxvae.recipes import plain
from jaxvae.run import RunError, refusals
from jaxvae.run.choice import EVERYDAY, Above, AtLeast, check_ranges, to_dict
from jaxvae.run.command import command
from jaxvae.run.data import Dataset
from jaxvae.run.figures import images as run_images
from jaxvae.run.figures.rows import labelled_rows
from jaxvae.run.folder.files import write_result
from jaxvae.run.held_out import as_seen, even_rows
from jaxvae.run.options import likelihoods, networks
from jaxvae.run.options.images import Images, image_recipe, parts_of
from jaxvae.run.recipe import Recipe, about
from jaxvae.run.report import study
from jaxvae.run.settings import Optimizer
from jaxvae.run.train import Diverged, train
from jaxvae.types import Array

SHOWN = 12
PIXELS, FEATURES = "pixels alone", "pixels and features"


@dataclass(frozen=True)
class Model:
    """Both models, whose posterior and prior are Gaussian."""

    network: Annotated[networks.AnyNetwork, EVERYDAY] = field(default_factory=networks.Small)
    """The encoder and the decoder."""
    latent: Annotated[int, AtLeast(1), EVERYDAY] = 20
    """The number of latent dimensions."""
    likelihood: Annotated[likelihoods.AnyLikelihood, EVERYDAY] = field(default_factory=likelihoods.GaussianShared)
    """The density of pixels."""


@dataclass(frozen=True)
class Options:
    """Train a VAE by pixels, and one by pixels and a classifier's features, and compare what their images show."""

    scale: Annotated[float, Above(0), EVERYDAY] = 0.2
    """The standard deviation of a feature, the features being divided by their own over the training set: the smaller,
    the more they count."""
    classifier_epochs: Annotated[int, AtLeast(1)] = 60
    """Passes of each classifier over the training set."""
    data: Images = field(default_factory=partial(Images, binarize="none"))
    model: Model = field(default_factory=Model)
    optimizer: Optimizer = field(default_factory=partial(Optimizer, lr=2e-3))
    epochs: Annotated[int, EVERYDAY] = 300
    """Passes of each VAE over the training set."""
    batch_size: int = 100
    """Examples in one step."""
    seed: Annotated[int, EVERYDAY] = 0
    """All randomness comes from it."""
    folder: Annotated[Path, EVERYDAY] = Path("runs/perceptual")
    """Where result.json, perceptual.png and report.html go; it must not exist."""


def main(options: Options) -> int | None:
    """Train two classifiers and two VAEs, reconstruct the test set, measure, draw, report.

    Args:
        options: of the command line.

    Returns:
        1 where training diverged, else None.
    """
    settings = _checked(options)
    dataset, course = plain.KIND.data(settings), settings.course()
    usual = plain.KIND.recipe(settings, about(dataset))
    refusals.check_data(usual, course, dataset)
    if dataset.train.labels is None or dataset.test.labels is None:
        raise RunError(f"{dataset.name} has no labels, and a classifier is trained first: take data that has")
    place = new_folder(options.folder)
    print("two classifiers are trained first: the one whose features count, and the judge", flush=True)
    xs = as_seen(usual, dataset.test)
    images = {"test images": np.asarray(xs)}
    try:
        seeing, judge = _classifiers(options, usual, dataset)
        features, spread = _scaled(seeing, as_seen(usual, dataset.train))
        model = _perceptual(settings, dataset, features, options.scale)
        recipes = {PIXELS: usual, FEATURES: image_recipe(settings, about(dataset), model)}
        for name, recipe in recipes.items():
            trained = train(recipe, course, dataset, show=f"a VAE by {name}")
            images[name] = run_images.reconstruct(recipe.model, trained.params, xs)
    except Diverged as error:
        place.rmdir()
        print(f"error: {error}; try a lower --optimizer.lr, or --optimizer.clip 1", file=sys.stderr)
        return 1

    labels = np.asarray(dataset.test.labels)
    measured = {name: _measured(made, images["test images"], labels, features, judge) for name, made in images.items()}
    protocol = _protocol(options, usual, dataset, spread)
    write_result(place / "result.json", {"images": measured, "protocol": protocol})
    chosen = even_rows(len(xs), SHOWN)
    labelled_rows(
        place / "perceptual.png",
        [(name, made[chosen]) for name, made in images.items()],
        title=f"Reconstructions of {dataset.name}",
        caption="Test images, and the decoder's mean at their posterior means: by a VAE that was trained on pixels "
        "alone, and by one that was also to keep what a classifier sees. Look for details that tell classes apart.",
    )
    page = study.write(
        place,
        module="experiments.perceptual",
        title="What a classifier sees",
        text="Two VAEs of the same size reconstruct the same test images. One was trained to explain pixels; the other "
        "to explain also the features of a classifier. A second classifier, which had no part in that, judges "
        "whether a reconstruction still shows what the image shows. The term for features makes the objective a loss: "
        "it bounds no likelihood, and none is reported.",
        columns=("images", *COLUMNS),
        rows=[(name, *(of_images[column] for column in COLUMNS)) for name, of_images in measured.items()],
        picture="perceptual.png",
        options=to_dict(options),
    )
    for name, of_images in measured.items():
        print(f"  {name}: " + ", ".join(f"{column} {of_images[column][0]:.4f}" for column in COLUMNS))
    print(f"report: {page}")
    return None


COLUMNS = ("squared error of a pixel", "squared error of a feature", "right by another classifier")


def _checked(options: Options) -> plain.Config:
    """The settings of both trainings."""
    check_ranges(options)
    settings = plain.Config(
        data=options.data,
        model=plain.Model(**vars(options.model)),
        optimizer=options.optimizer,
        epochs=options.epochs,
        batch_size=options.batch_size,
        seed=options.seed,
    )
    refusals.check(settings)
    return settings


def _classifiers(options: Options, usual: Recipe, dataset: Dataset) -> list[Classifier]:
    """The one whose features count, and the judge."""
    keys = jax.random.split(jax.random.fold_in(jax.random.key(options.seed), 2), 2)
    labels = jnp.asarray(dataset.train.labels, jnp.int32)
    return [
        classifier(
            key,
            jnp.asarray(dataset.train.examples),
            labels,
            prepare=usual.prepare,
            epochs=options.classifier_epochs,
            batch_size=options.batch_size,
        )
        for key in keys
    ]


def _scaled(seeing: Classifier, xs: Array) -> tuple[Callable[[Array], Array], float]:
    """The classifier's features in units of their standard deviation over the training images, and that deviation."""
    spread = float(jnp.sqrt(jnp.mean(jnp.var(jax.lax.map(seeing.features, xs, batch_size=1000), axis=0))))
    return lambda x: seeing.features(x) / spread, spread


def _perceptual(settings: plain.Config, dataset: Dataset, features: Callable[[Array], Array], scale: float) -> VAE:
    """The usual model, judged by features too."""
    parts, latent = parts_of(settings, dataset.train.examples.shape[1:], pathwise), (settings.model.latent,)
    encoder, decoder = parts.pair(Normal.parameters(latent))
    return perceptual_vae(
        encoder=encoder,
        decoder=decoder,
        prior=standard_normal(latent),
        likelihood=parts.likelihood,
        features=features,
        scale=scale,
    )


def _measured(
    images: np.ndarray,
    originals: np.ndarray,
    labels: np.ndarray,
    features: Callable[[Array], Array],
    judge: Classifier,
) -> dict[str, tuple[float, float]]:
    """Each column's mean over the images, and its standard error."""

    def of_image(pair: tuple[Array, Array]) -> tuple[Array, Array]:
        image, original = pair
        return jnp.mean(jnp.square(features(image) - features(original))), jnp.argmax(judge.logits(image))

    pairs = (jnp.asarray(images, jnp.float32), jnp.asarray(originals, jnp.float32))
    of_features, said = jax.jit(lambda pairs: jax.lax.map(of_image, pairs, batch_size=1000))(pairs)
    values = (np.mean(np.square(images - originals), axis=(1, 2, 3)), of_features, said == labels)
    return {
        column: _mean_and_error(np.asarray(value, np.float64)) for column, value in zip(COLUMNS, values, strict=True)
    }


def _mean_and_error(values: np.ndarray) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def _protocol(options: Options, usual: Recipe, dataset: Dataset, spread: float) -> dict:
    return {
        "dataset": dataset.name,
        "split": dataset.split,
        **{name: usual.protocol[name] for name in ("binarisation", "network", "likelihood")},
        "latent": options.model.latent,
        "test_examples": dataset.test.size,
        "reconstruction": "the decoder's mean at the posterior mean",
        "feature_scale": options.scale,
        "feature_unit": f"the features' standard deviation over the training images, {spread:.4g}",
        "classifier_epochs": options.classifier_epochs,
        "epochs": options.epochs,
        "batch_size": options.batch_size,
        "seed": options.seed,
        "standard_error": "over test images",
        "jax": jax.__version__,
    }


if __name__ == "__main__":
    command(main, Options)
