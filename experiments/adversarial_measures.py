"""What is measured of a system with an adversary, or without."""

from functools import partial
from typing import Any

import jax
import numpy as np

from experiments.told_apart import told_apart
from jaxvae import elbo, evaluation
from jaxvae.questions.parts.examined import each_of, mean_and_error, progress
from jaxvae.run.data import Dataset, Split
from jaxvae.run.figures.images import decode, encode
from jaxvae.run.folder.opening import Run
from jaxvae.run.held_out import as_seen, spread
from jaxvae.types import Array, Key

SHOWN, DRAWS = 12, 100
COLUMNS = {
    "told_apart": "codes told from the prior",
    "told_apart_null": "null",
    "squared_error": "squared error of a pixel",
    "nearest_right": "nearest neighbour of one class",
    "stated": "ELBO, or estimate",
    "annealed": "log p(x), annealed",
    "apart": "stated less annealed",
    "simulated_gap": "gap, simulated",
}


def measured(run: Run, dataset: Dataset, options: Any, *, annealed: bool) -> dict[str, Any]:
    """The numbers of a system.

    Args:
        run: of the system.
        dataset: its data.
        options: of the experiment.
        annealed: whether it states a bound, or an estimate.

    Returns:
        A number for each of `COLUMNS`, a pair [mean, standard error] for some; None for what it does not have.
    """
    found: dict[str, Any] = dict.fromkeys(COLUMNS)
    key_codes, key_prior, key_test, key_stated, key_annealed = jax.random.split(jax.random.key(options.seed), 5)
    test = spread(dataset.test, options.codes)
    xs = as_seen(run.recipe, test)
    drawn = np.asarray(_codes(run, jax.random.split(key_codes, len(xs)), xs))
    prior = np.asarray(
        jax.vmap(lambda key: run.model.prior(run.params).sample(key))(jax.random.split(key_prior, 2 * len(xs)))
    )
    for name, other in {"told_apart": drawn, "told_apart_null": prior[len(xs) :]}.items():
        found[name] = told_apart(key_test, prior[: len(xs)], other, epochs=options.test_epochs).accuracy
    again = np.asarray(decode(run.model, run.params, encode(run.model, run.params, xs)))
    found["squared_error"] = float(np.mean(np.square(again - grey(test))))
    if options.neighbours and dataset.train.labels is not None:
        found["nearest_right"] = _nearest(run, spread(dataset.train, options.neighbours), dataset.test)
    if annealed:
        few = as_seen(run.recipe, spread(dataset.test, options.examples))
        found |= _judged(run, few, options, key_stated, key_annealed)
    return found


def shown(run: Run, dataset: Dataset, key: Key) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pictures of a system.

    Args:
        run: of the system.
        dataset: its data.
        key: of the draws of the prior.

    Returns:
        Grey test images, the same through their mean codes, new ones: each [12, H, W, C].
    """
    test = spread(dataset.test, SHOWN)
    again = decode(run.model, run.params, encode(run.model, run.params, as_seen(run.recipe, test)))
    zs = jax.vmap(lambda key: run.model.prior(run.params).sample(key))(jax.random.split(key, test.size))
    return grey(test), np.asarray(again), np.asarray(decode(run.model, run.params, zs))


def grey(split: Split) -> np.ndarray:
    """The images [N, H, W, C] as they are, in [0, 1]."""
    stored = np.asarray(split.examples)
    return stored / np.float32(255) if stored.dtype == np.uint8 else stored


@partial(jax.jit, static_argnums=0)
def _draws(model: Any, params: Any, keys: Key, xs: Array) -> Array:
    return jax.vmap(lambda key, x: model.posterior(params, x).sample(key))(keys, xs)


def _codes(run: Run, keys: Key, xs: Array) -> Array:
    return _draws(run.model, run.params, keys, xs)


def _nearest(run: Run, train: Split, test: Split) -> float:
    """The share of test images whose nearest training image, by the distance of mean codes, has their class."""
    known, asked = (encode(run.model, run.params, as_seen(run.recipe, split)) for split in (train, test))
    squares = np.sum(np.square(known), axis=1)
    right = 0
    for start in range(0, len(asked), 500):
        rows = slice(start, start + 500)
        nearest = np.argmin(squares[None] - 2 * asked[rows] @ known.T, axis=1)
        right += int(np.sum(np.asarray(train.labels)[nearest] == np.asarray(test.labels)[rows]))
    return right / len(asked)


def _judged(run: Run, xs: Array, options: Any, key_stated: Key, key_annealed: Key) -> dict[str, Any]:
    """What is stated of log p(x), and annealing from both sides."""
    path = evaluation.sigmoid_path(options.temperatures)
    settings = {"path": path, "num_chains": options.chains}

    def stated(key: Key, x: Array) -> Array:
        return elbo(run.model, key, run.params, x, num_samples=DRAWS)

    def annealed(key: Key, x: Array) -> Array:
        return evaluation.annealed_log_likelihood(run.model, key, run.params, x, **settings).log_likelihood

    def simulated(key: Key, x: Array) -> Array:
        return evaluation.bidirectional(run.model, key, run.params, **settings).gap

    with progress(3, len(xs)) as bar:
        of_model = each_of(stated, key_stated, xs, "stated", bar=bar)
        below = each_of(annealed, key_annealed, xs, "annealing, test images", bar=bar)
        gap = each_of(simulated, key_annealed, xs, "annealing, both sides", bar=bar)
    pairs = {"stated": of_model, "annealed": below, "apart": of_model - below, "simulated_gap": gap}
    return {name: list(mean_and_error(values)) for name, values in pairs.items()}
