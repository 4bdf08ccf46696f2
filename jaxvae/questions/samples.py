"""How good drawn images are, in a classifier's features, each number beside its null: `jaxvae samples runs/NAME`."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from tqdm import tqdm

from jaxvae.evaluation import frechet_distance, support, two_samples
from jaxvae.questions.parts.classifier import Classifier, classifier
from jaxvae.questions.parts.examined import at_least, open_examined, seen
from jaxvae.run import RunError
from jaxvae.run.figures.rows import blocks
from jaxvae.run.folder.opening import Run
from jaxvae.run.report import section
from jaxvae.types import Array

SHOWN = 64
WORDS = {
    "frechet": "Fréchet distance",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
    "two_sample_accuracy": "told apart by a classifier",
    "two_sample_auc": "area under its curve",
}

KINDS = ("plain",)  # of runs that it is about


@dataclass(frozen=True)
class Options:
    """Draw images from a trained run, and set them beside held-out ones in the features of classifiers trained here."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    num_samples: int = 5000
    """Images that are drawn, and held-out images beside them; the null needs as many held-out ones again."""
    neighbours: int = 3
    """k of precision and recall, and of density and coverage."""
    classifiers: int = 3
    """How many are trained on the classes, each with features of its own: their mean and spread are reported."""
    epochs: int = 3
    """Of each classifier."""
    two_sample_epochs: int = 10
    """Of the classifier that tells drawn images from held-out ones."""
    batch_size: int = 100
    """Of all classifiers."""
    seed: int = 0
    """Of all draws and classifiers."""


def main(options: Options) -> None:
    """Draw, measure, add a section to the report.

    Args:
        options: of the command line.
    """
    at_least(1, neighbours=options.neighbours, classifiers=options.classifiers, epochs=options.epochs)
    at_least(1, two_sample_epochs=options.two_sample_epochs, batch_size=options.batch_size)
    at_least(max(8, options.neighbours + 1), num_samples=options.num_samples)
    at_least(0, seed=options.seed)
    run, dataset = open_examined(options.run, KINDS)
    if dataset.train.labels is None:
        raise RunError(
            f"{dataset.name} has no labels, and the features are those of a classifier of its classes: take a run on "
            "data that has"
        )
    count = min(options.num_samples, dataset.test.size // 2)
    if count <= options.neighbours or count < 8:
        raise RunError(f"{dataset.name} has {dataset.test.size} test images, too few for two halves to compare")
    held_out, _ = seen(run, dataset.test, 2 * count)
    true, null = held_out[0::2], held_out[1::2]
    key_draw, key_classes, key_apart = jax.random.split(jax.random.key(options.seed), 3)
    drawn = images_of(run, key_draw, count)

    numbers: dict[str, list[tuple[float, float]]] = {}
    train = (jnp.asarray(dataset.train.examples), jnp.asarray(dataset.train.labels))
    for key in tqdm(jax.random.split(key_classes, options.classifiers), desc="features", unit=" classifiers"):
        found = classifier(
            key,
            *train,
            prepare=run.recipe.prepare,
            epochs=options.epochs,
            batch_size=min(options.batch_size, dataset.train.size),
        )
        of_true, of_null, of_drawn = (features_of(found, xs) for xs in (true, null, drawn))
        rows = [scores(of_true, other, options.neighbours) for other in (of_drawn, of_null)]
        for name in rows[0]:
            numbers.setdefault(name, []).append((rows[0][name], rows[1][name]))
    apart = [
        told_apart(key_apart, true, other, options.two_sample_epochs, options.batch_size) for other in (drawn, null)
    ]
    for name in apart[0]:
        numbers[name] = [(apart[0][name], apart[1][name])]
    _report(run, options, count, numbers, (true, drawn))


def images_of(run: Run, key: Array, count: int) -> np.ndarray:
    """Images from the model, with the likelihood's own noise.

    Args:
        run: of images.
        key: split into one for each.
        count: n.

    Returns:
        [n, H, W, C].
    """

    @jax.jit
    def draw(keys: Array) -> Array:
        return jax.lax.map(lambda key: run.model.sample(key, run.params), keys, batch_size=min(500, count))

    return np.asarray(draw(jax.random.split(key, count)))


def features_of(found: Classifier, xs: Any) -> np.ndarray:
    """The features of images [n, H, W, C]: [n, width]."""
    of_each = jax.jit(lambda xs: jax.lax.map(found.features, xs, batch_size=min(500, len(xs))))
    return np.asarray(of_each(jnp.asarray(xs)), np.float64)


def scores(true: np.ndarray, other: np.ndarray, neighbours: int) -> dict[str, float]:
    """Every number in features.

    Args:
        true: [n, D].
        other: [n, D].
        neighbours: k.

    Returns:
        Name -> number.
    """
    found = {"frechet": frechet_distance(true, other)} | support(true, other, neighbours=neighbours)._asdict()
    return {name: float(number) for name, number in found.items()}


def told_apart(key: Array, true: Any, other: Any, epochs: int, batch_size: int) -> dict[str, float]:
    """How a classifier of the same kind, fitted to half of both, tells the other half apart.

    Args:
        key: of its start.
        true: [n, H, W, C].
        other: [n, H, W, C].
        epochs: passes over its half.
        batch_size: of its steps.

    Returns:
        Its accuracy, and the area under its curve.
    """
    half = len(true) // 2
    images = jnp.concatenate([jnp.asarray(true[:half]), jnp.asarray(other[:half])])
    kinds = jnp.repeat(jnp.array([1, 0]), half)
    found = classifier(
        key, images, kinds, prepare=lambda key, x: x, epochs=epochs, batch_size=min(batch_size, len(images))
    )

    @partial(jax.jit)
    def log_odds(xs: Array) -> Array:
        logits = jax.lax.map(found.logits, xs, batch_size=min(500, len(xs)))
        return logits[:, 1] - logits[:, 0]

    rest = slice(half, 2 * half)
    told = two_samples(*(np.asarray(log_odds(jnp.asarray(xs[rest]))) for xs in (true, other)))
    return {"two_sample_accuracy": told.accuracy, "two_sample_auc": told.auc}


def _report(run: Run, options: Options, count: int, numbers: dict[str, Any], shown: tuple[Any, Any]) -> None:
    blocks(
        run.folder / "figures" / "samples_beside.png",
        {name: np.clip(np.asarray(xs[:SHOWN]), 0, 1) for name, xs in zip(("held-out", "drawn"), shown, strict=True)},
        title="What is compared",
        caption="Held-out images as the model sees them, and images drawn from it with the noise of its likelihood. "
        "Look for grain, blur and shapes that are none: a classifier sees them at once.",
    )
    stated: dict[str, Any] = {}
    table = []
    for name, pairs in numbers.items():
        values, nulls = np.array(pairs).T
        spread = f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else ""
        table.append([WORDS[name], f"{values.mean():.3f}{spread}", f"{nulls.mean():.3f}"])
        stated |= {name: values.mean(), f"{name}_null": nulls.mean()}
        stated[f"{name}_spread"] = values.std(ddof=1) if len(values) > 1 else None
    page = section.add(
        run,
        "samples",
        title="Drawn images beside held-out ones",
        text=_text(),
        numbers={name: None if value is None else float(value) for name, value in stated.items()},
        protocol={
            "images_of_each": count,
            "reference": "test images as the model sees them; the null is as many other test images",
            "features": f"{options.classifiers} classifiers of the classes, trained here for {options.epochs} epochs",
            "spread": "standard deviation over the classifiers",
            "neighbours": options.neighbours,
            "two_sample": f"a classifier of the same kind, {options.two_sample_epochs} epochs on half of both",
            "two_sample_null_error": 0.5 / np.sqrt(2 * (count - count // 2)),
            "draw_seed": options.seed,
        },
        columns=["", "drawn", "null: held-out"],
        rows=table,
        figures=["samples_beside.png"],
    )
    for heading, value, null in table:
        print(f"  {heading}: {value} (null {null})")
    print(f"report: {page}")


def _text() -> str:
    return (
        "Images drawn from the model and test images are compared in the features of classifiers of this data's "
        "classes, trained here: no number of this section is an FID, nor compares with one of other features.\n\n"
        "Beside each stands its null: what it is for other test images in place of the drawn ones, as many of them. A "
        "Fréchet distance is not zero for the truth, and precision and recall are far from one in many dimensions; "
        "only the distance to the null says anything. The last rows are a classifier that is trained to tell both "
        "kinds apart, on images that it has not seen: one half is chance."
    )
