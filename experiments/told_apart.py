"""Points of the plane, or of any space of vectors, told apart by a classifier that was fitted to others of them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae import fit, networks
from jaxvae.distributions import softplus
from jaxvae.evaluation import TwoSamples, two_samples
from jaxvae.losses import Metrics
from jaxvae.types import Array, Key, Params

CLASSIFIER = networks.mlp((128, 128), {"logit": ()})
BATCH = 100


def told_apart(key: Key, one: np.ndarray, other: np.ndarray, *, epochs: int) -> TwoSamples:
    """The classifier two-sample test of vectors: half of each trains the classifier, the other half is told apart.

    Args:
        key: of its start and of the order of the points.
        one: [n, D].
        other: [n, D].
        epochs: passes over the training half.

    Returns:
        What it says of the other half.
    """
    # In an order of its own: a test set's first half may be others' writing than its second.
    one, other = (points[np.random.default_rng(0).permutation(len(points))] for points in (one, other))
    half = len(one) // 2
    points = jnp.concatenate([jnp.asarray(one[:half]), jnp.asarray(other[:half])])
    signs = jnp.repeat(jnp.array([1.0, -1.0]), half)
    key_start, key_train = jax.random.split(key)

    def loss(keys: Key, params: Params, extra: Any, xs: Any, step: Array) -> tuple[Array, tuple[Any, Metrics]]:
        logits = jax.vmap(lambda point: CLASSIFIER.apply(params, point)["logit"])(xs[0])
        cost = jnp.mean(softplus(-xs[1] * logits))
        return cost, (extra, {"cross_entropy": cost})

    params, _ = fit(
        None,
        (points, signs),
        key=key_train,
        epochs=epochs,
        batch_size=min(BATCH, len(points)),
        loss=loss,
        params=CLASSIFIER.init(key_start, points[0]),
        prepare=lambda key, stored: stored,
    )
    scores = jax.jit(jax.vmap(lambda point: CLASSIFIER.apply(params, point)["logit"]))
    rest = slice(half, 2 * half)
    return two_samples(*(np.asarray(scores(jnp.asarray(of[rest]))) for of in (one, other)))
