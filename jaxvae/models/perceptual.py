"""A loss that compares what a fixed network sees in two images, beside the pixels themselves."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from jaxvae.distributions import Normal
from jaxvae.model import VAE, Terms, vae
from jaxvae.types import Array, Distribution, Key, Params

Features = Callable[[Array], Array]  # x [*event] -> f(x), of any shape; its own params are fixed


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Perceptual:
    """A likelihood with a term for the features of the image. It is a loss, and no density of x.

    ln p(x|z) + ln N(f(x); f(E[x|z]), s²)

    Together the two factors do not integrate to one over x, so what comes out bounds nothing and is compared with
    nothing but itself.

    Args:
        base: p(x|z).
        features: f, a function of an image.
        scale: s > 0, in the units of the features.

    Source: Hou et al., "Deep Feature Consistent Variational Autoencoder" (2017), section 3.2, where the term for pixels
    is left out.
    """

    base: Distribution
    features: Features = field(metadata={"static": True})
    scale: float = field(metadata={"static": True})

    def sample(self, key: Key) -> Array:
        """One draw of the base, [*event]."""
        return self.base.sample(key)

    def log_prob(self, value: Array) -> Array:
        """The log density of the base at an image [*event], and the term for its features: []. No log density."""
        expected = self.features(self.base.expectation())
        of_features = Normal(expected, jnp.asarray(math.log(self.scale), expected.dtype))
        return self.base.log_prob(value) + of_features.log_prob(self.features(value))

    def expectation(self) -> Array:
        """The mean of the base, [*event]."""
        return self.base.expectation()


def perceptual_vae(*, likelihood: Callable[..., Distribution], features: Features, scale: float, **parts: Any) -> VAE:
    """A VAE whose reconstruction is judged by pixels and by features.

    Args:
        likelihood: named outputs of the decoder -> p(x|z).
        features: f: a network with fixed params, for instance the last hidden layer of a classifier that was trained
            before.
        scale: s > 0; the smaller, the more the features count.
        parts: the other arguments of `jaxvae.vae`.

    Returns:
        A model without importance weights: `elbo` gives the (negative) loss, which bounds nothing, and `iwae_bound`
        refuses it.

    Raises:
        ValueError: the scale is not positive.
    """
    if not scale > 0:
        raise ValueError(f"the scale of the features must be positive, not {scale}")

    def perceptual(**outputs: Array) -> Perceptual:
        return Perceptual(likelihood(**outputs), features, scale)

    model = vae(likelihood=perceptual, **parts)

    def terms(key: Key, params: Params, x: Array) -> Terms:
        return model.terms(key, params, x)._replace(log_weight=None)

    return model._replace(terms=terms)
