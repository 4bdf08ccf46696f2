"""A decoder that draws an image pixel by pixel: each depends on the code and on the pixels before it."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.nn import relu

from jaxvae.distributions import Bernoulli, check_event
from jaxvae.likelihoods import raster
from jaxvae.likelihoods.pixels import PixelCategorical
from jaxvae.loops import scan
from jaxvae.networks import Free, Outputs
from jaxvae.types import Array, Key, Shape

glorot = jax.nn.initializers.glorot_uniform()


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class AutoregressivePixels:
    """A masked convolutional network over the image, conditioned on the code: the decoder of PixelVAE.

    p(x|z) = Π_j p(x_j | x_<j, z), in the order of reading, by

    h⁰_j = a(c_j(z) + Σ_n U_n x_(j+n)),    h^l_j = h^(l-1)_j + a(b^l + Σ_n W^l_n h^(l-1)_(j+n)),    l_j = V h^L_j + v

    where l are the logits, a is the ReLU, and n runs over the neighbours of a pixel that come before it, in W over the
    pixel itself too. Masked kernels are zero elsewhere; here only the rest is kept. A pixel sees `radius + layers *
    hidden_radius` rows and columns back: where that is little, the code has the rest to say. The channels of a pixel
    are independent given the pixels before it.

    The weights are no function of z: they are `Free` outputs of the decoder, the maps c(z) are the only ones that its
    network computes. With two levels the pixels are Bernoulli, otherwise each level has its own logit.

    Args:
        maps: [H, W, M] c(z).
        first: [N, C, M] U, for N = 4, 12, 24, ... earlier neighbours: a radius of 1, 2, 3, ...
        hidden: [L, N' + 1, M, M] W, for N' earlier neighbours and the pixel itself.
        hidden_bias: [L, M] b.
        last: [M, C] V with two levels; [M, C K] with K.
        last_bias: [C] or [C K] v.

    Example:
        >>> from jaxvae.networks import mlp
        >>> decoder = mlp((16,), AutoregressivePixels.parameters((8, 8, 1), maps=4, layers=2))
        >>> params = decoder.init(jax.random.key(0), jnp.zeros(2))
        >>> likelihood = AutoregressivePixels(**decoder.apply(params, jnp.zeros(2)))
        >>> likelihood.log_prob(jnp.ones((8, 8, 1))).shape
        ()

    Source: Gulrajani et al., "PixelVAE" (2017), section 3; the masks are van den Oord et al.'s, "Pixel Recurrent Neural
    Networks" (2016), section 3.
    """

    maps: Array
    first: Array
    hidden: Array
    hidden_bias: Array
    last: Array
    last_bias: Array

    @staticmethod
    def parameters(
        shape: Shape,
        *,
        levels: int = 2,
        maps: int = 16,
        layers: int = 3,
        radius: int = 3,
        hidden_radius: int = 1,
        local: bool = True,
    ) -> Outputs:
        """The outputs that a decoder must give for an image of shape [H, W, C].

        Args:
            shape: of the image.
            levels: K, how many values a pixel can take; 2 for binary pixels.
            maps: M.
            layers: L, after the first.
            radius: of the first layer, at least one.
            hidden_radius: of the others.
            local: the code tells each pixel something of its own; if not, "maps" is one vector (M,), for
                `globally_conditioned`.
        """
        height, width, channels = shape
        outputs = channels * (1 if levels == 2 else levels)
        return {
            "maps": (height, width, maps) if local else (maps,),
            "first": Free((raster.neighbours(radius), channels, maps), glorot),
            "hidden": Free((layers, raster.neighbours(hidden_radius) + 1, maps, maps), _glorot_of_each),
            "hidden_bias": Free((layers, maps)),
            "last": Free((maps, outputs), glorot),
            "last_bias": Free((outputs,)),
        }

    def pixels(self, value: Array) -> Bernoulli | PixelCategorical:
        """Every pixel's distribution given the pixels before it in this image [H, W, C]: all of them in one pass."""
        earlier = raster.before(value, raster.radius_of(len(self.first)))
        features = relu(_product(earlier, self.first, self.maps))
        for weights, bias in zip(self.hidden, self.hidden_bias, strict=True):
            around = raster.before(features, self._hidden_radius(), itself=True)
            features = features + relu(_product(around, weights, bias))
        return self._of_features(features)

    def log_prob(self, value: Array) -> Array:
        """The log probability of an image [H, W, C]: [], in nats."""
        check_event(self, value, (*self.maps.shape[:2], self.first.shape[1]))
        return self.pixels(value).log_prob(value)

    def sample(self, key: Key) -> Array:
        """One draw, [H, W, C], pixel by pixel."""
        keys = jax.random.split(key, self.maps.shape[0] * self.maps.shape[1])
        return self._raster(keys, lambda pixel, key: pixel.sample(key))

    def expectation(self) -> Array:
        """A picture [H, W, C], each pixel its mean given the picture before it; the mean is a sum over all images."""
        keys = jnp.arange(self.maps.shape[0] * self.maps.shape[1])
        return self._raster(keys, lambda pixel, _: pixel.expectation())

    def _raster(self, keys: Array, choose: Callable[[Bernoulli | PixelCategorical, Array], Array]) -> Array:
        """An image made in the order of reading. Every layer's features are kept: no pixel is computed twice."""
        height, width, _ = self.maps.shape
        radius, hidden_radius = raster.radius_of(len(self.first)), self._hidden_radius()
        empty = jnp.zeros((height, width, self.first.shape[1]), self.maps.dtype)
        features = raster.border(jnp.zeros_like(self.maps), hidden_radius)

        def step(carry: tuple, at: tuple) -> tuple[tuple, None]:
            image, below = carry
            position, key = at
            pixel = relu(_product(raster.before_one(image, position, radius), self.first, self.maps[position]))
            kept = []
            for layer, weights, bias in zip(below, self.hidden, self.hidden_bias, strict=True):
                layer = raster.written(layer, position, hidden_radius, pixel)
                around = raster.before_one(layer, position, hidden_radius, itself=True)
                pixel = pixel + relu(_product(around, weights, bias))
                kept.append(layer)
            chosen = choose(self._of_features(pixel), key)
            return (raster.written(image, position, radius, chosen), tuple(kept)), None

        start = raster.border(empty, radius), (features,) * len(self.hidden)
        (image, _), _ = scan(step, start, (raster.positions(height, width), keys))
        return image[radius:, radius : radius + width]

    def _of_features(self, features: Array) -> Bernoulli | PixelCategorical:
        """The distribution of pixels from their features: [*pixels, M] -> logits [*pixels, C] or [*pixels, C, K]."""
        logits = _product(features[..., None, :], self.last[None], self.last_bias)
        channels = self.first.shape[1]
        if logits.shape[-1] == channels:
            return Bernoulli(logits)
        return PixelCategorical(logits.reshape(*logits.shape[:-1], channels, -1))

    def _hidden_radius(self) -> int:
        return raster.radius_of(self.hidden.shape[1] - 1)


def globally_conditioned(shape: Shape) -> Callable[..., AutoregressivePixels]:
    """The same decoder with a code that moves all pixels alike: its network gives one vector in place of maps.

    c_j(z) = c(z)    for every pixel j

    Such a code cannot say what is where, only what kind of image it is, and much of that shows in the first rows: a
    posterior easily falls back to the prior. It is the way in which PixelCNN is told a class.

    Args:
        shape: [H, W, C] of the image.

    Returns:
        A function of the outputs of `AutoregressivePixels.parameters(..., local=False)`, to be given as `likelihood` to
        `jaxvae.vae`.

    Example:
        >>> from jaxvae.networks import mlp
        >>> decoder = mlp((16,), AutoregressivePixels.parameters((8, 8, 1), maps=4, layers=2, local=False))
        >>> params = decoder.init(jax.random.key(0), jnp.zeros(2))
        >>> likelihood = globally_conditioned((8, 8, 1))(**decoder.apply(params, jnp.zeros(2)))
        >>> likelihood.maps.shape
        (8, 8, 4)

    Source: van den Oord et al., "Conditional Image Generation with PixelCNN Decoders" (2016), section 2.3, equation 4.
    """

    def likelihood(maps: Array, **outputs: Array) -> AutoregressivePixels:
        return AutoregressivePixels(jnp.broadcast_to(maps, (*shape[:2], *maps.shape)), **outputs)

    return likelihood


def _product(neighbours: Array, weights: Array, bias: Array) -> Array:
    """b + Σ_n W_n h_n: [*pixels, N, C] with [N, C, M] -> [*pixels, M], as one product of matrices."""
    *pixels, count, channels = neighbours.shape
    product = neighbours.reshape(*pixels, count * channels) @ weights.reshape(count * channels, -1)
    return product + jnp.broadcast_to(bias, product.shape)


def _glorot_of_each(key: Key, shape: Shape) -> Array:
    return jax.vmap(lambda key: glorot(key, shape[1:]))(jax.random.split(key, shape[0]))
