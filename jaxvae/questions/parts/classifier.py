"""A small convolutional classifier of images, for what its layers see and for what it says."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxvae import fit, networks, training
from jaxvae.losses import Metrics
from jaxvae.types import Array, Key, Params

WIDTH = 64  # of the layer of features
CONVOLUTIONS = networks.conv_encoder((16, 32), {"features": (WIDTH,)})


class Classifier(NamedTuple):
    """A trained classifier: softmax(W relu(f(x)) + b)."""

    convolutions: Params
    weight: Array  # [WIDTH, classes]
    bias: Array  # [classes]

    def features(self, x: Array) -> Array:
        """f(x) before its activation, [WIDTH], of an image [H, W, C]."""
        return CONVOLUTIONS.apply(self.convolutions, x)["features"]

    def logits(self, x: Array) -> Array:
        """[classes], of an image [H, W, C]."""
        return jax.nn.relu(self.features(x)) @ self.weight + self.bias


def classifier(
    key: Key, images: Array, labels: Array, *, prepare: training.Prepare, epochs: int, batch_size: int
) -> Classifier:
    """Train one by the cross entropy.

    Args:
        key: of its start and of the order of the images.
        images: [N, H, W, C] as they are stored.
        labels: [N] from 0.
        prepare: (key, stored image) -> image in [0, 1].
        epochs: passes over them.
        batch_size: of one step of Adam at 1e-3.

    Returns:
        The classifier.
    """
    key_start, key_train = jax.random.split(key)
    classes = int(jnp.max(labels)) + 1
    start = Classifier(
        CONVOLUTIONS.init(key_start, prepare(key_start, images[0])), jnp.zeros((WIDTH, classes)), jnp.zeros(classes)
    )

    def loss(keys: Key, params: Classifier, extra: Any, xs: Any, step: Array) -> tuple[Array, tuple[Any, Metrics]]:
        images, kinds = xs
        cost = optax.softmax_cross_entropy_with_integer_labels(jax.vmap(params.logits)(images), kinds)
        return jnp.mean(cost), (extra, {"cross_entropy": jnp.mean(cost)})

    trained, _ = fit(
        None,
        (images, labels),
        key=key_train,
        epochs=epochs,
        batch_size=batch_size,
        loss=loss,
        params=start,
        prepare=lambda key, stored: (prepare(key, stored[0]), stored[1]),
    )
    return trained
