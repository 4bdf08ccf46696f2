"""Attribute vectors between the classes of a labelled data set, and what they do to the images of a trained run."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.neighbors import KNeighborsClassifier

from jaxvae.latent import add_attribute, attribute_vector
from jaxvae.questions.parts.examined import mean_and_error, one_of_each
from jaxvae.questions.parts.latent_figures import draw_attributes, draw_resynthesis
from jaxvae.run.figures.images import decode
from jaxvae.run.folder.opening import Run
from jaxvae.types import Array

STRENGTHS = np.linspace(0, 1, 7, dtype=np.float32)  # of the re-synthesis grid


class Coded(NamedTuple):
    """Examples with their codes and classes."""

    images: Array  # [N, H, W, C] in [0, 1]
    codes: np.ndarray  # [N, D] posterior means
    labels: np.ndarray  # [N]


def add_attributes(
    run: Run, train: Coded, test: Coded, classes: np.ndarray, resynthesised: tuple[int, int, int]
) -> dict[str, float | None]:
    """Draw `attributes.png` and `resynthesis.png`, and measure how often adding a vector changes the class.

    Args:
        run: the run.
        train: the vectors are differences of its mean codes.
        test: the vectors are added to its codes.
        classes: of the grid, two or more.
        resynthesised: the class of the image that is moved, the class across, the class up.

    Returns:
        The share of test images that five nearest training images take for the new class, with and without the vector;
        its standard error is over test images, each moved towards every other class.
    """
    place = run.folder / "figures"
    firsts = one_of_each(test.labels, classes)
    rows = []
    for a, first in zip(classes, firsts, strict=True):
        moved = [test.codes[first] + (0 if a == b else _between(train, a, b)) for b in classes]
        rows.append(np.asarray(decode(run.model, run.params, jnp.asarray(np.stack(moved)))))
    draw_attributes(place / "attributes.png", np.asarray(test.images[firsts]), rows, classes)

    origin, across, up = resynthesised
    start = one_of_each(test.labels, [origin])[0]
    rightwards, upwards = (jnp.asarray(_between(train, origin, towards)) for towards in (across, up))
    column = add_attribute(jnp.asarray(test.codes[start]), upwards, jnp.asarray(STRENGTHS))
    plane = jax.vmap(lambda z: add_attribute(z, rightwards, jnp.asarray(STRENGTHS)))(column)
    decoded = np.asarray(decode(run.model, run.params, plane.reshape(-1, plane.shape[-1])))
    grid = decoded.reshape(len(STRENGTHS), len(STRENGTHS), *decoded.shape[1:])
    draw_resynthesis(place / "resynthesis.png", np.asarray(test.images[start]), grid, resynthesised)
    return _changed(run, train, test, classes)


def _between(train: Coded, a: int, b: int) -> np.ndarray:
    """The vector from class a to class b."""
    either = np.isin(train.labels, [a, b])
    vector = attribute_vector(jnp.asarray(train.codes[either]), jnp.asarray(train.labels[either] == b))
    return np.asarray(vector)


def _changed(run: Run, train: Coded, test: Coded, classes: np.ndarray) -> dict[str, float | None]:
    judge = KNeighborsClassifier(5).fit(np.asarray(train.images).reshape(len(train.images), -1), train.labels)
    before, after = [], []  # per class, [others, members]
    for a in classes:
        codes = test.codes[test.labels == a]
        others = [b for b in classes if b != a]
        own = _judged(run, judge, codes)
        before.append(np.stack([own == b for b in others]))
        after.append(np.stack([_judged(run, judge, codes + _between(train, a, b)) == b for b in others]))
    numbers: dict[str, float | None] = {}
    for name, found in (("before", before), ("after", after)):
        shares = mean_and_error(np.concatenate([of_class.mean(axis=0) for of_class in found]))
        numbers |= shares.under(f"share_taken_for_the_new_class_{name}")
    return numbers


def _judged(run: Run, judge: KNeighborsClassifier, codes: np.ndarray) -> np.ndarray:
    decoded = np.asarray(decode(run.model, run.params, jnp.asarray(codes)))
    return judge.predict(decoded.reshape(len(decoded), -1))
