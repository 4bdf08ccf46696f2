"""New images from a trained run, three ways: `jaxvae generate runs/NAME`."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors
from tqdm import tqdm

from jaxvae.distributions import Mixture
from jaxvae.latent import aggregated_posterior
from jaxvae.questions.parts.code_densities import drawn_images, fitted_mixture, mixture_draws, prior_density
from jaxvae.questions.parts.examined import Mean, at_least, mean_and_error, open_examined, seen
from jaxvae.run import RunError
from jaxvae.run.figures.images import decode
from jaxvae.run.figures.rows import blocks, labelled_rows
from jaxvae.run.folder.opening import Run
from jaxvae.run.report import section
from jaxvae.types import Array

PRIOR, AGGREGATED, MIXTURE = "prior", "aggregated posterior", "Gaussian mixture"
SHOWN = 64
KINDS = ("plain",)  # of runs that it is about


@dataclass(frozen=True)
class Options:
    """Draw new images from a trained run: from the prior, from where the data lies, and from a density fitted to it."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    train_examples: int = 5000
    """Training images, from all over the set: the aggregated posterior and the mixture are made of their codes."""
    test_examples: int = 1000
    """Test images, from all over the set: their codes are what the three densities must explain."""
    num_samples: int = 1000
    """New images of each kind, whose nearest training images are sought."""
    components: int | None = None
    """Of the Gaussian mixture, each with a full covariance; by default the number, among 1, 2, 5, 10, 20 and 50, that
    explains a fifth of the training codes best when the mixture is fitted to the others."""
    seed: int = 0
    """Of all draws."""


def main(options: Options) -> None:
    """Draw, measure, add a section to the report.

    Args:
        options: of the command line.
    """
    at_least(1, components=1 if options.components is None else options.components)
    at_least(2, train_examples=options.train_examples, test_examples=options.test_examples)
    at_least(SHOWN, num_samples=options.num_samples)
    at_least(0, seed=options.seed)
    run, dataset = open_examined(options.run, KINDS, needs={"model.posterior": {"reals", "density"}})
    train, _ = seen(run, dataset.train, options.train_examples)
    test, _ = seen(run, dataset.test, options.test_examples)
    if options.components is not None and options.components > len(train):
        raise RunError(f"--components {options.components} is more than the {len(train)} training codes to fit")
    key_codes, key_test, key_prior, key_aggregated, key_pixels = jax.random.split(jax.random.key(options.seed), 5)

    with tqdm(total=4, unit=" parts") as bar:
        bar.set_description("fitting the densities")
        aggregated = jax.jit(partial(aggregated_posterior, run.model))(run.params, train)
        draws = np.asarray(_draws(aggregated.components, key_codes), np.float64)
        mixture = fitted_mixture(draws, options.components, options.seed)
        bar.update()

        bar.set_description("densities of held-out codes")
        held_out = _draws(aggregated_posterior(run.model, run.params, test).components, key_test)
        densities = {
            PRIOR: np.asarray(prior_density(run.model, run.params, held_out)),
            AGGREGATED: np.asarray(_aggregated_density(aggregated, held_out)),
            MIXTURE: mixture.score_samples(held_out),
        }
        bar.update()

        bar.set_description("drawing images")
        codes = {
            PRIOR: jax.vmap(run.model.prior(run.params).sample)(jax.random.split(key_prior, options.num_samples)),
            AGGREGATED: jax.vmap(aggregated.sample)(jax.random.split(key_aggregated, options.num_samples)),
            MIXTURE: jnp.asarray(mixture_draws(mixture, options.num_samples, options.seed), jnp.float32),
        }
        images = {name: drawn_images(run.model, run.params, key_pixels, zs) for name, zs in codes.items()}
        bar.update()

        bar.set_description("nearest training images")
        search = NearestNeighbors(n_neighbors=1).fit(_flat(train))
        nearest = {name: search.kneighbors(_flat(xs)) for name, xs in {"test set": test, **images}.items()}
        bar.update()

    figures = _draw(run, codes, images, train, {name: rows[:, 0] for name, (_, rows) in nearest.items()})
    numbers, table = _numbers(densities, {name: distances[:, 0] for name, (distances, _) in nearest.items()})
    page = section.add(
        run,
        "generate",
        title="New images",
        text=_text(),
        numbers=numbers,
        protocol={
            "train_examples": len(train),
            "test_examples": len(test),
            "num_samples": options.num_samples,
            "mixture_components": mixture.n_components,
            "mixture_fitted_on": "one posterior draw for each training image",
            "distance": "Euclidean, between images with pixel noise and images as the model sees them",
            "standard_error": "over test images, or over new images",
            "draw_seed": options.seed,
        },
        columns=table[0],
        rows=table[1:],
        figures=figures,
    )
    for name, *values in table[1:]:
        for heading, value in zip(table[0][1:], values, strict=True):
            if value != "–":
                print(f"  {name}, {heading}: {value}")
    print(f"report: {page}")


def _draws(posteriors, key: Array) -> Array:
    """One code of each example."""
    count = len(jax.tree.leaves(posteriors)[0])
    return jax.jit(jax.vmap(lambda posterior, key: posterior.sample(key)))(posteriors, jax.random.split(key, count))


@jax.jit
def _aggregated_density(aggregated: Mixture, zs: Array) -> Array:
    return jax.lax.map(aggregated.log_prob, zs, batch_size=20)


def _flat(xs: Array) -> np.ndarray:
    return np.asarray(xs).reshape(len(xs), -1)


def _key(name: str) -> str:
    return name.lower().replace(" ", "_")


def _numbers(densities: dict[str, np.ndarray], distances: dict[str, np.ndarray]) -> tuple[dict, list[list]]:
    """The numbers, and a table of them: a line of heads, then a line for each kind of image."""
    numbers: dict[str, float | None] = {}
    table: list[list] = [
        [
            "images from",
            "log density of held-out codes (nats)",
            "distance to the nearest training image",
            "nearer (share)",
        ]
    ]
    for name, of_kind in distances.items():
        row = _key(name)
        cells: list = [name, "–"]
        if name in densities:
            density = mean_and_error(densities[name])
            numbers |= density.under(f"log_density_{row}")
            cells[1] = density.said()
            if name != PRIOR:
                numbers |= mean_and_error(densities[name] - densities[PRIOR]).under(f"gain_over_prior_{row}")
        distance = mean_and_error(of_kind)
        numbers |= distance.under(f"nearest_distance_{row}")
        cells.append(distance.said(3))
        if name in densities:
            share = _share_nearer(of_kind, distances["test set"])
            numbers |= share.under(f"share_nearer_{row}")
            cells.append(share.said(3))
        table.append([*cells, "–"][:4])
    return numbers, table


def _share_nearer(new: np.ndarray, held_out: np.ndarray) -> Mean:
    """P(a new image is nearer to the training set than a held-out one), Mann and Whitney's U scaled to [0, 1].

    The standard error is the one under equality of both distributions. Source: Meehan, Chaudhuri & Dasgupta, "A
    Non-Parametric Test to Detect Data-Copying in Generative Models" (2020), section 3.
    """
    labels = np.concatenate([np.ones(len(new)), np.zeros(len(held_out))])
    share = roc_auc_score(labels, -np.concatenate([new, held_out]))
    n, m = len(new), len(held_out)
    return Mean(float(share), float(np.sqrt((n + m + 1) / (12 * n * m))))


def _draw(run: Run, codes: dict, images: dict, train: Array, nearest: dict[str, np.ndarray]) -> list[str]:
    place = run.folder / "figures"
    means = {name: np.asarray(decode(run.model, run.params, zs[:SHOWN])) for name, zs in codes.items()}
    blocks(
        place / "generated.png",
        {"x ~ p(x|z), prior": _shown(images[PRIOR])} | {f"mean, {_short(name)}": of for name, of in means.items()},
        title="Where to draw the codes from",
        caption="First a sample of the model, with its pixel noise; beside it the decoder's mean for the same 64 codes "
        "from the prior, which shows what the code alone determines. Then means at codes from the aggregated posterior "
        "of the training images, and from a Gaussian mixture fitted to their codes. Look for shapes that are no "
        "digits, letters, faces...: where the data's codes do not fill the prior, its draws fall between them.",
    )
    width = 16
    rows: list[tuple[str, np.ndarray]] = []
    for name in codes:
        rows += [
            (_short(name), means[name][:width]),
            ("a draw", _shown(images[name])[:width]),
            ("nearest in training", _shown(train[nearest[name][:width]])),
        ]
    labelled_rows(
        place / "nearest.png",
        rows,
        title="New images and their nearest training images",
        caption="In each group: the decoder's mean, an image drawn from it, and the training image nearest to the "
        "draw. Look for copies: there the two lower rows would be the same.",
        group=3,
    )
    return ["generated.png", "nearest.png"]


def _short(name: str) -> str:
    return "aggregated" if name == AGGREGATED else name


def _shown(xs: Array) -> np.ndarray:
    return np.clip(np.asarray(xs[:SHOWN]), 0, 1)


def _text() -> str:
    return (
        "A new image is a code and then pixels. The code may come from the prior p(z), as the model says; from the "
        "aggregated posterior, the mixture of q(z|x) over the training images, which is where the decoder was "
        "trained; or from a Gaussian mixture fitted to their codes afterwards.\n\n"
        "Which of the three is the better density is told by the codes of test images, which none of them saw: a "
        "difference in their mean log density is the ELBO that the model would gain if its prior were replaced. A "
        "mixture over few training images is peaked at them, and can be worse than the prior.\n\n"
        "Whether new images are copies is told by their distance to the nearest training image: under "
        "“nearer”, the share of pairs in which a new image lies nearer to the training set than a test image does. "
        "One half is as new as new data; one would be copies."
    )
