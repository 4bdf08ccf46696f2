"""The codes of a whole data set, and what they are worth: `jaxvae codes runs/NAME`."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from sklearn.neighbors import KNeighborsClassifier
from tqdm import tqdm

from jaxvae.latent import encode, map_code
from jaxvae.model import VAE
from jaxvae.questions.parts.examined import REALS, Mean, at_least, mean_and_error, open_examined, seen
from jaxvae.run import RunError
from jaxvae.run.data import Dataset, Split
from jaxvae.run.figures import gallery
from jaxvae.run.figures import images as run_images
from jaxvae.run.figures.rows import labelled_rows
from jaxvae.run.folder.opening import Run
from jaxvae.run.held_out import as_seen, even_rows
from jaxvae.run.report import section
from jaxvae.types import Array, Params

SHOWN = 12
DRAW, MEAN, MAP = "a posterior draw", "the posterior mean", "the MAP code"
KINDS = ("plain",)  # of runs that it is about


@dataclass(frozen=True)
class Options:
    """Encode a whole data set, draw its codes, and measure what they keep: classes, and pixels."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    neighbours: int = 5
    """k of the nearest-neighbour classifier."""
    train_examples: int = 10_000
    """Training images, from all over the set, among which neighbours are sought."""
    test_examples: int = 2000
    """Test images, from all over the set, that are classified and drawn."""
    tsne_examples: int = 1000
    """How many of these t-SNE lays out; 0 leaves it out."""
    map_examples: int = 200
    """Test images whose codes are also found by optimisation."""
    map_steps: int = 200
    """Of the optimisation."""
    seed: int = 0
    """Of all draws."""


def main(options: Options) -> None:
    """Encode, draw, measure, add a section to the report.

    Args:
        options: of the command line.
    """
    at_least(1, neighbours=options.neighbours, map_steps=options.map_steps, train_examples=options.train_examples)
    at_least(2, map_examples=options.map_examples, test_examples=options.test_examples)
    at_least(0, seed=options.seed)
    if options.tsne_examples != 0:
        at_least(10, tsne_examples=options.tsne_examples)
    run, dataset = open_examined(options.run, KINDS, needs=REALS)
    if options.neighbours > min(options.train_examples, dataset.train.size):
        raise RunError(f"--neighbours {options.neighbours} is more than the training images to choose from")
    place = run.folder / "figures"
    test, labels = seen(run, dataset.test, options.test_examples)

    rows = _write_codes(run, dataset)
    codes = run_images.encode(run.model, run.params, test)
    drawn = []  # their principal components are the run's own picture, latent.png
    if options.tsne_examples and codes.shape[1] > 2:
        chosen = even_rows(len(codes), options.tsne_examples)
        of_chosen = None if labels is None else labels[chosen]
        print("t-SNE of", len(chosen), "codes", flush=True)
        gallery.latent_scatter(place / "codes_tsne.png", codes[chosen], of_chosen, method="tsne")
        drawn.append("codes_tsne.png")

    numbers: dict = {"rows": rows, "latent": codes.shape[1]}
    table: list[list] = []
    if labels is not None:
        for name, accuracy in _classified(run, dataset, test, codes, labels, options).items():
            numbers |= accuracy.under(f"accuracy_{name.replace(' ', '_')}")
            table.append([f"{options.neighbours}-nearest-neighbour accuracy, {name}", accuracy.said(4)])
    else:
        print(f"{dataset.name} has no labels, so the nearest-neighbour accuracy is left out")

    some = test[even_rows(len(test), options.map_examples)]
    explained, images = _compare_codes(run, some, options)
    for name, of_code in explained.items():
        for what, words in (("log_likelihood", "log p(x|z)"), ("log_joint", "log p(x|z) + log p(z)")):
            numbers |= of_code[what].under(f"{what}_at_{name.replace(' ', '_')}")
            table.append([f"{words} at {name}", f"{of_code[what].said()} nats"])
    labelled_rows(
        place / "map_codes.png",
        images,
        title="Codes by the encoder and by optimisation",
        caption="Test images, and the decoder's mean at the posterior's mean and at the most probable code that "
        "gradient ascent finds from there. Look for detail that one of them has and the other lacks.",
    )
    page = section.add(
        run,
        "codes",
        title="Codes",
        text=_text(labels is not None),
        numbers=numbers,
        protocol={
            "codes_npy": "posterior means, float32; the rows of each split are under rows",
            "train_examples": min(options.train_examples, dataset.train.size),
            "test_examples": len(test),
            "neighbours": options.neighbours,
            "distance": "Euclidean",
            "map_examples": len(some),
            "map_steps": options.map_steps,
            "standard_error": "over test images",
            "draw_seed": options.seed,
        },
        columns=["measured", "value"],
        rows=table,
        figures=[*drawn, "map_codes.png"],
    )
    for heading, value in table:
        print(f"  {heading}: {value}")
    print(f"codes: {run.folder / 'codes.npy'}\nreport: {page}")


def _write_codes(run: Run, dataset: Dataset) -> dict[str, list[int]]:
    """Write `codes.npy` for every image of every split, a thousand at a time; give the rows of each split."""
    splits = {"train": dataset.train, "valid": dataset.valid, "test": dataset.test}
    rows: dict[str, list[int]] = {}
    parts: list[np.ndarray] = []
    count = 0
    with tqdm(total=sum(split.size for split in splits.values() if split), desc="codes", unit=" images") as bar:
        for name, split in splits.items():
            if split is None:
                continue
            rows[name] = [count, count + split.size]
            count += split.size
            for begin in range(0, split.size, 1000):
                images = as_seen(run.recipe, Split(split.examples[begin : begin + 1000]))
                parts.append(run_images.encode(run.model, run.params, images))
                bar.update(len(images))
    unfinished = run.folder / ".codes.npy.unfinished"
    with unfinished.open("wb") as file:
        np.save(file, np.concatenate(parts).astype(np.float32))
    unfinished.replace(run.folder / "codes.npy")
    return rows


def _classified(
    run: Run, dataset: Dataset, test: Array, codes: np.ndarray, labels: np.ndarray, options: Options
) -> dict[str, Mean]:
    """The accuracy of nearest neighbours among codes and among pixels, and their difference on the same images."""
    train, train_labels = seen(run, dataset.train, options.train_examples)
    right = {}
    for name, known, asked in (
        ("codes", run_images.encode(run.model, run.params, train), codes),
        ("pixels", np.asarray(train).reshape(len(train), -1), np.asarray(test).reshape(len(test), -1)),
    ):
        classifier = KNeighborsClassifier(options.neighbours).fit(known, train_labels)
        right[name] = (classifier.predict(asked) == labels).astype(float)
    right["codes less pixels"] = right["codes"] - right["pixels"]
    return {name: mean_and_error(of_images) for name, of_images in right.items()}


@partial(jax.jit, static_argnums=0, static_argnames="num_steps")
def _three_codes(model: VAE, params: Params, keys: Array, xs: Array, *, num_steps: int) -> tuple[Array, ...]:
    """A draw, the mean and the MAP code of each example."""

    def of_example(key: Array, x: Array) -> tuple[Array, ...]:
        drawn = model.posterior(params, x).sample(key)
        return drawn, encode(model, params, x), map_code(model, params, x, num_steps=num_steps).code

    return jax.vmap(of_example)(keys, xs)


@partial(jax.jit, static_argnums=0)
def _explained(model: VAE, params: Params, xs: Array, zs: Array) -> tuple[Array, Array]:
    """log p(x|z) and log p(z), [N] each."""
    log_likelihood = jax.vmap(lambda x, z: model.likelihood(params, z).log_prob(x))(xs, zs)
    return log_likelihood, jax.vmap(model.prior(params).log_prob)(zs)


def _compare_codes(
    run: Run, xs: Array, options: Options
) -> tuple[dict[str, dict[str, Mean]], list[tuple[str, np.ndarray]]]:
    """What each kind of code explains, and the rows of a picture."""
    keys = jax.random.split(jax.random.key(options.seed), len(xs))
    codes = _three_codes(run.model, run.params, keys, xs, num_steps=options.map_steps)
    named = dict(zip((DRAW, MEAN, MAP), codes, strict=True))
    explained = {}
    for name, zs in named.items():
        log_likelihood, log_prior = map(np.asarray, _explained(run.model, run.params, xs, zs))
        explained[name] = {
            "log_likelihood": mean_and_error(log_likelihood),
            "log_joint": mean_and_error(log_likelihood + log_prior),
        }
    chosen = even_rows(len(xs), SHOWN)
    images = [("data", np.clip(np.asarray(xs[chosen]), 0, 1))]
    for name in (MEAN, MAP):
        decoded = run_images.decode(run.model, run.params, jnp.asarray(named[name])[chosen])
        images.append((f"at {name.removeprefix('the ')}", np.asarray(decoded)))
    return explained, images


def _text(labelled: bool) -> str:
    words = (
        "Every image of the data set is encoded as its posterior's mean, and the codes are kept in codes.npy. "
        "The encoder gives that mean in one pass; climbing log p(x|z) + log p(z) from there gives the MAP code, the "
        "mode of the exact posterior, and shows what the encoder loses by being one function for all images. Only the "
        "posterior's draws belong to a bound: a code's own log p(x|z) is a reconstruction."
    )
    if not labelled:
        return words + "\n\nThe data has no labels, so no classifier was tried."
    return (
        words + "\n\nWhat the codes know about the classes, which they were never told, is measured by nearest "
        "neighbours among training codes, beside the same classifier among pixels."
    )
