"""Images judged by what a classifier sees in them, beside their pixels: `python -m experiments.perceptual`.

The classifier is trained first, on the same training images. A second one, which no VAE was trained with, says of the
test images' reconstructions what they show (Hou et al., "Deep Feature Consistent Variational Autoencoder", 2017).
"""

import dataclasses
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.classifier import Classifier, classifier
from experiments.new_folder import new_folder
from experiments.trained import trained
from jaxvae.distributions import Normal
from jaxvae.model import vae
from jaxvae.models import perceptual_vae
from jaxvae.priors import standard_normal
from jaxvae.questions.parts.examined import at_least, mean_and_error
from jaxvae.run import RunError, build, config, config_check, densities, evaluate
from jaxvae.run.command import command
from jaxvae.run.data import Dataset
from jaxvae.run.figures import images as run_images
from jaxvae.run.figures.rows import labelled_rows
from jaxvae.run.folder import opening
from jaxvae.run.report import study
from jaxvae.run.train import Diverged, check_data
from jaxvae.types import Array

SHOWN = 12
PIXELS, FEATURES = "pixels alone", "pixels and features"
MODEL = config.Model(likelihood="gaussian-shared")


@dataclass(frozen=True)
class Options:
    """Train a VAE by pixels, and one by pixels and a classifier's features, and compare what their images show."""

    scale: float = 0.2
    """The standard deviation of a feature, the features being divided by their own over the training set: the smaller,
    the more they count."""
    classifier_epochs: int = 60
    """Passes of each classifier over the training set."""
    data: config.Data = field(default_factory=lambda: config.Data(binarize="none"))
    model: config.Model = field(default_factory=lambda: MODEL)
    optimizer: config.Optimizer = field(default_factory=lambda: config.Optimizer(lr=2e-3))
    epochs: int = 300
    """Passes of each VAE over the training set."""
    batch_size: int = 100
    """Examples in one step."""
    seed: int = 0
    """All randomness comes from it."""
    folder: Path = Path("runs/perceptual")
    """Where result.json, perceptual.png and report.html go; it must not exist."""


def main(options: Options) -> int | None:
    """Train two classifiers and two VAEs, reconstruct the test set, measure, draw, report.

    Args:
        options: of the command line.

    Returns:
        1 where training diverged, else None.
    """
    settings = _checked(options)
    dataset = opening.data_of(settings)
    check_data(settings, dataset)
    if dataset.train.labels is None or dataset.test.labels is None:
        raise RunError(f"{dataset.name} has no labels, and a classifier is trained first: take data that has")
    place = new_folder(options.folder)
    seeing, judge = _classifiers(options, settings, dataset)
    features, spread = _scaled(seeing, evaluate.held_out(dataset.train, config.binarization(settings)))
    xs = evaluate.held_out(dataset.test, config.binarization(settings))
    labels = np.asarray(dataset.test.labels)

    likelihood, outputs = densities.likelihood_of(options.model, dataset.train.examples.shape[1:])
    encoder, decoder = build.pair_of(options.model)(Normal.parameters((options.model.latent,)), outputs)
    parts: dict[str, Any] = {"encoder": encoder, "decoder": decoder, "prior": standard_normal((options.model.latent,))}
    models = {
        PIXELS: vae(**parts, likelihood=likelihood),
        FEATURES: perceptual_vae(**parts, likelihood=likelihood, features=features, scale=options.scale),
    }
    images = {"test images": np.asarray(xs)}
    try:
        for name, model in models.items():
            params = trained(settings, model, dataset, label=f"a VAE by {name}")
            images[name] = run_images.reconstruct(model, params, xs)
    except Diverged as error:
        place.rmdir()
        print(f"error: {error}; try a lower --optimizer.lr, or --optimizer.clip 1", file=sys.stderr)
        return 1

    measured = {name: _measured(made, images["test images"], labels, features, judge) for name, made in images.items()}
    opening.write_json(
        place / "result.json", {"images": measured, "protocol": _protocol(options, dataset, spread, len(xs))}
    )
    chosen = run_images.spread(dataset.test._replace(examples=np.arange(len(xs))), SHOWN).examples
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
        options=dataclasses.asdict(options),
    )
    for name, of_images in measured.items():
        print(f"  {name}: " + ", ".join(f"{column} {of_images[column][0]:.4f}" for column in COLUMNS))
    print(f"report: {page}")
    return None


COLUMNS = ("squared error of a pixel", "squared error of a feature", "right by another classifier")


def _checked(options: Options) -> config.Config:
    """The settings of both trainings."""
    at_least(1, classifier_epochs=options.classifier_epochs)
    if not 0 < options.scale < math.inf:
        raise RunError(f"--scale {options.scale} must be positive: it is a standard deviation")
    other = config.differences(
        dataclasses.replace(options.model, network="small", latent=0, likelihood="gaussian-shared"),
        dataclasses.replace(MODEL, latent=0),
        "--model.",
    )
    if other:
        raise RunError(
            f"{', '.join(other)} cannot be chosen here: only the network, the latents and the likelihood can"
        )
    settings = config.Config(
        data=options.data,
        model=options.model,
        optimizer=options.optimizer,
        epochs=options.epochs,
        batch_size=options.batch_size,
        seed=options.seed,
    )
    config_check.check(settings)
    return settings


def _classifiers(options: Options, settings: config.Config, dataset: Dataset) -> list[Classifier]:
    """The one whose features count, and the judge."""
    keys = jax.random.split(jax.random.fold_in(jax.random.key(options.seed), 2), 2)
    labels = jnp.asarray(dataset.train.labels, jnp.int32)
    return [
        classifier(
            key,
            jnp.asarray(dataset.train.examples),
            labels,
            prepare=build.prepare_of(settings),
            epochs=options.classifier_epochs,
            batch_size=options.batch_size,
            label=label,
        )
        for key, label in zip(keys, ("a classifier", "the judge"), strict=True)
    ]


def _scaled(seeing: Classifier, xs: Array) -> tuple[Callable[[Array], Array], float]:
    """The classifier's features in units of their standard deviation over the training images, and that deviation."""
    spread = float(jnp.sqrt(jnp.mean(jnp.var(jax.lax.map(seeing.features, xs, batch_size=1000), axis=0))))
    return lambda x: seeing.features(x) / spread, spread


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
        column: mean_and_error(np.asarray(value, np.float64)) for column, value in zip(COLUMNS, values, strict=True)
    }


def _protocol(options: Options, dataset: Dataset, spread: float, examples: int) -> dict:
    return {
        "dataset": dataset.name,
        "split": dataset.split,
        "test_examples": examples,
        "reconstruction": "the decoder's mean at the posterior mean",
        "feature_scale": options.scale,
        "feature_unit": f"the features' standard deviation over the training images, {spread:.4g}",
        "classifier_epochs": options.classifier_epochs,
        "epochs": options.epochs,
        "batch_size": options.batch_size,
        "seed": options.seed,
        "standard_error": "over test images",
        "model": {name: getattr(options.model, name) for name in ("network", "latent", "likelihood")},
        "jax": jax.__version__,
    }


if __name__ == "__main__":
    command(main, Options)
