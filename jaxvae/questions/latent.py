"""A walk through the latent space of a trained run: `jaxvae latent runs/NAME`."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from tqdm import tqdm

from jaxvae.distributions import Delta
from jaxvae.evaluation import active_units
from jaxvae.latent import likelihood_near, linear_interpolation, spherical_interpolation, traverse
from jaxvae.model import VAE
from jaxvae.questions.parts.examined import REALS, Mean, at_least, open_examined, seen
from jaxvae.questions.parts.latent_attributes import Coded, add_attributes
from jaxvae.questions.parts.latent_figures import draw_interpolations, draw_near, draw_traversals
from jaxvae.run import RunError
from jaxvae.run.figures import gallery
from jaxvae.run.figures.images import QUANTILES, decode, encode, manifold
from jaxvae.run.folder.opening import Run
from jaxvae.run.report import section
from jaxvae.types import Array, Key, Params

LENGTHS = {
    "mean_length_of_test_codes": "mean length of test codes",
    "mean_length_of_the_middle_code_linear": "mean length of the code in the middle of a line",
    "mean_length_of_the_middle_code_spherical": "mean length of the code in the middle of an arc",
}
SHARES = {
    "share_taken_for_the_new_class_before": "images taken for the new class before a vector is added (a share)",
    "share_taken_for_the_new_class_after": "images taken for the new class after it (a share)",
}
MOST_CLASSES = 10  # of the grid of attribute vectors
KINDS = ("plain",)  # of runs that it is about


@dataclass(frozen=True)
class Options:
    """Interpolations, traversals, attribute vectors, and what lies near an example, from a trained run."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    train_examples: int = 5000
    """Training images, from all over the set, whose codes give the attribute vectors and the active dimensions."""
    test_examples: int = 1000
    """Test images, from all over the set, that the attributes are added to."""
    pairs: int = 4
    """Pairs of test images that are interpolated."""
    steps: int = 11
    """Images on each path, its ends included."""
    traversed: int = 8
    """The most active dimensions, so many, are traversed."""
    reach: float = 3.0
    """How far a traversal goes to both sides, in units of z."""
    spread: float = 1.0
    """How far codes near an example scatter; 1 is the posterior itself."""
    classes: tuple[int, int, int] | None = None
    """Of the re-synthesis grid: an image of the first class is moved towards the second (across) and the third (up);
    by default the first three classes there are."""
    seed: int = 0
    """Of all draws."""


def main(options: Options) -> None:
    """Decode paths, draw them, measure, add a section to the report.

    Args:
        options: of the command line.
    """
    at_least(1, pairs=options.pairs, traversed=options.traversed, test_examples=options.test_examples)
    at_least(2, steps=options.steps, train_examples=options.train_examples)
    at_least(0, spread=options.spread, seed=options.seed)
    if not options.reach > 0:
        raise RunError(f"--reach {options.reach} must be positive")
    run, dataset = open_examined(options.run, KINDS, needs=REALS)
    train, train_labels = seen(run, dataset.train, options.train_examples)
    test, test_labels = seen(run, dataset.test, max(options.test_examples, 2 * options.pairs))
    classes = _classes(options, train_labels, test_labels)
    if len(test) < 2 * options.pairs:
        raise RunError(f"--pairs {options.pairs} needs {2 * options.pairs} test images, and there are {len(test)}")
    key_pairs, key_near = jax.random.split(jax.random.key(options.seed))
    place = run.folder / "figures"

    with tqdm(total=4, unit=" parts") as bar:
        bar.set_description("codes")
        train_codes = encode(run.model, run.params, train)
        codes = encode(run.model, run.params, test)
        bar.update()

        bar.set_description("interpolations")
        chosen = _pairs(key_pairs, len(test), test_labels, options.pairs)
        paths, numbers = _interpolate(run, codes, chosen, options)
        draw_interpolations(place / "interpolations.png", np.asarray(test), chosen, paths)
        drawn = ["interpolations.png"]
        bar.update()

        bar.set_description("traversals and neighbours")
        numbers |= _activity(train_codes)
        order = np.argsort(-train_codes.var(axis=0))[: options.traversed]
        values = np.linspace(-options.reach, options.reach, options.steps).astype(np.float32)
        start = jnp.asarray(codes[chosen[0, 0]])
        rows = [np.asarray(decode(run.model, run.params, traverse(start, int(j), jnp.asarray(values)))) for j in order]
        draw_traversals(place / "traversals.png", rows, order, values, train_codes.var(axis=0))
        near = _near(run.model, key_near, run.params, test[chosen[:, 0]], options.spread)
        draw_near(place / "near.png", np.asarray(test[chosen[:, 0]]), np.asarray(near), options.spread)
        drawn += ["traversals.png", "near.png"]
        if codes.shape[1] == 2 and not (place / "manifold.png").exists():  # the run's own picture
            gallery.manifold(
                place / "latent_plane.png", manifold(run.model, run.params, side=20), quantile_range=QUANTILES
            )
            drawn.append("latent_plane.png")
        bar.update()

        bar.set_description("attributes")
        if classes is not None and train_labels is not None and test_labels is not None:
            numbers |= add_attributes(
                run, Coded(train, train_codes, train_labels), Coded(test, codes, test_labels), *classes
            )
            drawn += ["attributes.png", "resynthesis.png"]
        bar.update()

    if classes is None:
        print(f"{dataset.name} has no labels of two classes or more, so attribute vectors are left out")
    rows_of_numbers = _rows(numbers)
    page = section.add(
        run,
        "latent",
        title="The latent space",
        text=_text(classes is not None),
        numbers=numbers,
        protocol={
            "train_examples": len(train),
            "test_examples": len(test),
            "pairs": options.pairs,
            "path_steps": options.steps,
            "codes": "posterior means",
            "standard_error": "over pairs, or over test images",
            "draw_seed": options.seed,
        },
        columns=["measured", "value"],
        rows=rows_of_numbers,
        figures=drawn,
    )
    for name, value in rows_of_numbers:
        print(f"  {name}: {value}")
    print(f"report: {page}")


def _rows(numbers: dict[str, Any]) -> list[list[str]]:
    """The numbers by their names."""
    rows = [[name, f"{numbers[key]:.3f}"] for key, name in LENGTHS.items()]
    rows.append(["active latent dimensions", f"{numbers['active_units']} of {numbers['latent_dimensions']}"])
    for key, name in SHARES.items():
        if key in numbers:
            rows.append([name, Mean(numbers[key], numbers[f"{key}_standard_error"]).said(3)])
    return rows


def _classes(
    options: Options, train: np.ndarray | None, test: np.ndarray | None
) -> tuple[np.ndarray, tuple[int, int, int]] | None:
    """The classes of the grid of attribute vectors and of the re-synthesis; None where there are not two."""
    if train is None or test is None:
        if options.classes is not None:
            raise RunError(f"--classes {' '.join(map(str, options.classes))} needs labels, and this data has none")
        return None
    known = np.intersect1d(train, test)
    if len(known) < 2:
        return None
    picked = options.classes or (known[0], known[1], known[min(2, len(known) - 1)])
    for kind in picked:
        if kind not in known:
            raise RunError(f"--classes: there is no class {kind} in train and test; there are {known.tolist()}")
    if picked[0] in picked[1:]:
        raise RunError(f"--classes {' '.join(map(str, picked))}: the first must differ from the other two")
    origin, across, up = map(int, picked)
    return known[:MOST_CLASSES], (origin, across, up)


def _pairs(key: Key, count: int, labels: np.ndarray | None, pairs: int) -> np.ndarray:
    """Rows [P, 2] of examples at random, of two classes each where there are labels of two."""
    order = np.asarray(jax.random.permutation(key, count))
    first, rest = order[:pairs], list(order[pairs:])
    second = []
    for row in first:
        others = [other for other in rest if labels is not None and labels[other] != labels[row]]
        second.append((others or rest)[0])
        rest.remove(second[-1])
    return np.stack([first, np.array(second)], axis=1)


def _interpolate(
    run: Run, codes: np.ndarray, chosen: np.ndarray, options: Options
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Decoded paths, name -> [pairs, T, H, W, C], and how their middles compare."""
    paths: dict[str, np.ndarray] = {}
    numbers: dict[str, Any] = {}
    for name, interpolation in (("linear", linear_interpolation), ("spherical", spherical_interpolation)):
        along = jax.jit(jax.vmap(partial(interpolation, num_steps=options.steps)))(
            jnp.asarray(codes[chosen[:, 0]]), jnp.asarray(codes[chosen[:, 1]])
        )
        images = decode(run.model, run.params, along.reshape(-1, codes.shape[1]))
        paths[name] = np.asarray(images).reshape(*along.shape[:2], *images.shape[1:])
        middle = np.asarray(along[:, options.steps // 2])
        numbers[f"mean_length_of_the_middle_code_{name}"] = float(np.linalg.norm(middle, axis=1).mean())
    numbers["mean_length_of_test_codes"] = float(np.linalg.norm(codes, axis=1).mean())
    return paths, numbers


def _activity(codes: np.ndarray) -> dict:
    variances = codes.var(axis=0)
    return {
        "active_units": int(np.sum(np.asarray(active_units(Delta(jnp.asarray(codes)))))),
        "latent_dimensions": codes.shape[1],
        "variances_of_posterior_means": sorted(map(float, variances), reverse=True),
    }


@partial(jax.jit, static_argnums=0)
def _near(model: VAE, key: Key, params: Params, xs: Array, spread: float) -> Array:
    """The reconstruction, then decoder's means near each example: [n, 1 + 10, H, W, C]."""
    keys = jax.random.split(key, (len(xs), 10))

    def of_example(keys: Array, x: Array) -> Array:
        itself = likelihood_near(model, keys[0], params, x, spread=0.0).expectation()
        others = jax.vmap(lambda key: likelihood_near(model, key, params, x, spread=spread).expectation())(keys)
        return jnp.clip(jnp.concatenate([itself[None], others]), 0, 1)

    return jax.vmap(of_example)(keys, xs)


def _text(labelled: bool) -> str:
    words = (
        "Two images become two codes, and the decoder shows what lies between them: on the straight line, which cuts "
        "through the middle of the ball, and on the arc, which keeps the length that codes have. A traversal moves "
        "one latent dimension alone, the most active ones first: what changes is what the dimension means. Near an "
        "image, draws from its own posterior show what the code leaves open."
    )
    if not labelled:
        return words + "\n\nThe data has no labels of two classes or more, so attribute vectors are left out."
    return (
        words + "\n\nThe difference between the mean codes of two classes is an attribute vector: added to the code of "
        "one image of the first class, it should make a member of the second of it. How often it does is judged by "
        "the five nearest training images, in pixels, of each decoded test image."
    )
