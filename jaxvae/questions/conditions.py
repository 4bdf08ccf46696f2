"""Images of a class, or from a part of an image: `jaxvae conditions runs/NAME`."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from jaxvae import evaluation
from jaxvae.model import VAE
from jaxvae.models import Given, given, quadrants
from jaxvae.questions.parts.examined import at_least, mean_and_error, on_the_same_data, open_examined, seen
from jaxvae.run import RunError
from jaxvae.run.figures.images import decode
from jaxvae.run.figures.rows import labelled_rows
from jaxvae.run.folder.opening import Run, open_run
from jaxvae.run.measures import log_likelihoods
from jaxvae.run.report import section
from jaxvae.types import Array, Key, Params

SHOWN, DRAWN = 12, 5
KINDS = ("class-conditional", "quadrants")  # of runs that it is about


@dataclass(frozen=True)
class Options:
    """Measure and draw a trained conditional model (jaxvae train class-conditional, jaxvae train quadrants)."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    baseline: Path | None = None
    """For quadrants: the run folder of the same networks without a latent variable (--model.deterministic)."""
    examples: int = 10_000
    """Test images, from all over the set; as many as there are, if fewer."""
    num_samples: int = 100
    """k of the estimate of log p(x|c) by importance sampling."""
    classified: int = 500
    """For class-conditional: so many of them are also classified, by the largest estimate of log p(x|class)."""
    seed: int = 0
    """Of all draws."""


def main(options: Options) -> None:
    """Measure, draw, add a section to the report.

    Args:
        options: of the command line.
    """
    at_least(2, examples=options.examples, classified=options.classified)
    at_least(1, num_samples=options.num_samples)
    at_least(0, seed=options.seed)
    run, dataset = open_examined(options.run, KINDS)
    by_class = run.kind.name == "class-conditional"
    if not by_class and run.config.model.deterministic:
        raise RunError(
            f"{options.run} has no latent variable (--model.deterministic): give a quadrants run that has one, and "
            "this one as its --baseline"
        )
    runs = {"conditional VAE": run}
    if options.baseline is not None:
        runs["without a latent variable"] = _baseline(run, options.baseline)
    xs, _ = seen(run, dataset.test, options.examples)
    key_nll, key_class, key_pictures = jax.random.split(jax.random.key(options.seed), 3)

    numbers: dict[str, float | None] = {}
    rows = []
    for name, of_run in runs.items():
        estimates = -log_likelihoods(
            of_run.model, key_nll, of_run.params, xs, num_samples=options.num_samples, show=f"log p(x|c), {name}"
        )
        nll = mean_and_error(estimates)
        numbers |= nll.under(f"nll_{name.lower().replace(' ', '_')}")
        rows.append([name, nll.said()])
        if name == "conditional VAE":
            first = estimates
        else:
            gain = mean_and_error(estimates - first)
            numbers |= gain.under("gain_over_baseline")
            print(f"  nats gained over the baseline, on the same images: {gain.said()}")
    if by_class:
        accuracy = mean_and_error(_classified(run, key_class, xs, options))
        numbers |= accuracy.under("accuracy")
        rows.append(["images classified by log p(x|class), right", accuracy.said(3)])
        figure = _draw_classes(run, key_pictures)
    else:
        figure = _draw_completions(runs, key_pictures, seen(run, dataset.test, SHOWN)[0])
    page = section.add(
        run,
        "conditions",
        title="Images of a class" if by_class else "Images from a part",
        text=_text(by_class),
        numbers=numbers,
        protocol={
            "examples": len(estimates),
            "nll_k": options.num_samples,
            "baseline": None if options.baseline is None else str(options.baseline),
            "standard_error": "over test images",
            "draw_seed": options.seed,
        },
        columns=["", "-log p(x|c) (nats)"],
        rows=rows,
        figures=[figure],
    )
    for name, value in rows:
        print(f"  {name}: {value}")
    print(f"report: {page}")


def _baseline(run: Run, place: Path) -> Run:
    """A run without a latent variable, of the same images and quadrants."""
    other = open_run(place)
    for wanted, one in (("--baseline is a quadrants run", other), ("--baseline belongs to a quadrants run", run)):
        if one.kind.name != "quadrants":
            raise RunError(f"{wanted}, and {one.folder} is one of the kind {one.kind.name}: give another run")
    if not other.config.model.deterministic:
        raise RunError(
            f"--baseline {place} has a latent variable of its own: give a run that jaxvae train quadrants made with "
            "--model.deterministic"
        )
    if not on_the_same_data(run, other) or run.config.model.quadrants != other.config.model.quadrants:
        raise RunError(f"--baseline {place} was trained on other data or quadrants than {run.folder}: give another")
    return other


def _classified(run: Run, key: Key, xs: Any, options: Options) -> np.ndarray:
    """Whether each image's own class has the largest estimate of log p(x|class), [n]."""
    images, labels = (leaf[: options.classified] for leaf in xs)
    classes = jnp.arange(run.config.model.classes)

    def of_class(key: Key, image: Array, kind: Array) -> Array:
        return evaluation.log_likelihood(
            run.model, key, run.params, (image, kind), num_samples=options.num_samples, chunk=options.num_samples
        )

    @jax.jit
    def of_images(key: Key) -> Array:
        keys = jax.random.split(key, len(images))
        # The same draws for every class: what differs is the class.
        of_image = jax.vmap(of_class, (None, None, 0))
        return jax.lax.map(lambda pair: of_image(pair[0], pair[1], classes), (keys, images), batch_size=10)

    return np.asarray(jnp.argmax(of_images(key), axis=1) == labels, np.float64)


def _draw_classes(run: Run, key: Key) -> str:
    """Rows of one class, columns of one z."""
    place = run.folder / "figures"
    place.mkdir(exist_ok=True)
    classes = run.config.model.classes
    zs = jax.random.normal(key, (SHOWN, run.config.model.latent))

    def row(kind: int) -> np.ndarray:
        told = jnp.broadcast_to(jax.nn.one_hot(kind, classes)[None], (SHOWN, classes))
        return np.asarray(decode(run.model, run.params, Given(zs, told)))

    labelled_rows(
        place / "classes.png",
        [(f"class {kind}", row(kind)) for kind in range(classes)],
        title="One code, every class",
        caption="Each column is one z ~ p(z), decoded as every class: what is the same down a column is style.",
    )
    return "classes.png"


@partial(jax.jit, static_argnums=0)
def _completions(model: VAE, key: Key, params: Params, seen: Array) -> Given:
    """Codes from p(z|visible), one for each image."""

    def of_image(key: Key, condition: Array) -> Given:
        return Given(given(model, condition).prior(params).sample(key), condition)

    return jax.vmap(of_image)(jax.random.split(key, len(seen)), seen)


def _draw_completions(runs: dict[str, Run], key: Key, xs: Array) -> str:
    run, *baselines = runs.values()
    place = run.folder / "figures"
    place.mkdir(exist_ok=True)
    visible = quadrants.visible_quadrants(run.about.example.shape, run.config.model.quadrants)
    _, seen = jax.vmap(lambda x: quadrants.parted(x, visible))(xs)

    def finish(latent: Given, mean: Array) -> Array:
        return quadrants.completed(latent.condition, mean, visible)

    def means(of_run: Run, key: Key) -> np.ndarray:
        codes = _completions(of_run.model, key, of_run.params, seen)
        return np.asarray(decode(of_run.model, of_run.params, codes, finish))

    rows = [("visible", np.where(visible, np.asarray(seen), 0.5))]
    rows += [("no latent variable", means(baseline, key)) for baseline in baselines]
    rows += [(f"completion {i + 1}", means(run, k)) for i, k in enumerate(jax.random.split(key, DRAWN))]
    rows += [("the image", np.asarray(xs))]
    labelled_rows(
        place / "completions.png",
        rows,
        title="Told from a part",
        caption="What is visible (hidden pixels in grey), and the hidden pixels' mean for draws z ~ p(z|visible): look "
        "for completions that are whole, differ from each other, and fit what is visible.",
    )
    return "completions.png"


def _text(by_class: bool) -> str:
    if by_class:
        return (
            "The model is told the class of each image: p(x|z, class) with z ~ N(0, I). Its numbers are those of "
            "log p(x|class). By Bayes' rule with equal classes, the class with the largest log p(x|class) is also a "
            "classification, which nothing was trained for."
        )
    return (
        "The model sees some quadrants of an image and tells the hidden pixels: p(hidden|z, visible), with "
        "z ~ p(z|visible). The likelihood is over the hidden pixels alone, binarised as the data is; "
        "published numbers on grey pixels taken for probabilities are not comparable. Importance "
        "samples come from the recognition network, which sees the whole image.\n\n"
        "Without a latent variable, the same networks predict each hidden pixel as well as they can, and all of them "
        "independently; that number is exact."
    )
