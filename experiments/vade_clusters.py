"""Which cluster an image is in, and how many are in that of their class: of VaDE, and of what needs no model."""

from functools import partial
from typing import Any

import jax
import numpy as np
from sklearn.cluster import KMeans

from experiments.vade_start import mean_codes
from jaxvae.evaluation import clustering_accuracy
from jaxvae.model import VAE
from jaxvae.run.data import Dataset, Split
from jaxvae.run.held_out import spread
from jaxvae.types import Array, Params

FITTED = 10_000  # training images that k-means of pixels is fitted to


def accuracy(model: VAE, params: Params, split: Split) -> float:
    """The share of a split that is in the cluster of its class.

    Args:
        model: whose prior is a mixture.
        params: of the model.
        split: with labels.

    Returns:
        The accuracy, by `clustering_accuracy`.
    """
    assert split.labels is not None  # `check_data` has asked for them
    return clustering_accuracy(clusters_of(model, params, mean_codes(model, params, split)), split.labels)


def clusters_of(model: VAE, params: Params, codes: np.ndarray) -> np.ndarray:
    """The most probable component of each code, argmax_c p(c|z).

    Args:
        model: whose prior is a mixture.
        params: of the model.
        codes: [N, D].

    Returns:
        [N] int.
    """
    return np.asarray(_clusters(model, params, codes))


@partial(jax.jit, static_argnums=0)
def _clusters(model: VAE, params: Params, codes: Array) -> Array:
    prior: Any = model.prior(params)
    return jax.vmap(lambda code: prior.log_responsibilities(code).argmax())(codes)


def baselines(dataset: Dataset, clusters: int) -> dict[str, float]:
    """What clusters are worth that need no model, on the same test images.

    Args:
        dataset: the data.
        clusters: how many.

    Returns:
        The accuracies "of_pixels", k-means of grey pixels, and "by_chance", clusters at random.
    """
    train, test = (np.asarray(split.examples) for split in (spread(dataset.train, FITTED), dataset.test))
    scale = 255.0 if train.dtype == np.uint8 else 1.0
    found = KMeans(clusters, n_init=5, random_state=0).fit((train / scale).reshape(len(train), -1))
    classes = np.asarray(dataset.test.labels)
    return {
        "of_pixels": clustering_accuracy(found.predict((test / scale).reshape(len(test), -1)), classes),
        "by_chance": clustering_accuracy(np.random.default_rng(0).integers(clusters, size=len(test)), classes),
    }
