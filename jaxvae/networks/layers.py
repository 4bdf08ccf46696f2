"""The layers and networks of `jaxvae.networks` as Flax Linen modules, for one example, without a batch axis."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxvae.networks.convolution import Padding, convolution
from jaxvae.networks.products import product
from jaxvae.types import Array, Key, Shape

Activation = Callable[[Array], Array]
glorot = nn.initializers.glorot_uniform()


Dense = partial(nn.Dense, kernel_init=glorot, dot_general=product)


class Free(NamedTuple):
    """An output that is a learned parameter of its own, the same for every input: a shared variance, say."""

    shape: Shape
    start: float | Callable[..., Array] = 0.0  # a number, or (key, shape) -> the first value

    def first_value(self, key: Key, shape: Shape) -> Array:
        """The value before the first step."""
        return self.start(key, shape) if callable(self.start) else jnp.full(shape, self.start, float)


Outputs = Mapping[str, Shape | Free]


class Heads(nn.Module):
    """One linear layer for each named output, or a free parameter."""

    outputs: tuple[tuple[str, Shape | Free], ...]

    @nn.compact
    def __call__(self, features: Array) -> dict[str, Array]:
        """[width] -> {name: [*shape]}."""
        return {name: self._head(name, output, features) for name, output in self.outputs}

    def _head(self, name: str, output: Shape | Free, features: Array) -> Array:
        if isinstance(output, Free):
            return self.param(name, output.first_value, output.shape)
        flat = Dense(math.prod(output), name=name)(features)
        return flat.reshape(output)


class MLP(nn.Module):
    """Fully connected layers over the flattened input."""

    hidden: tuple[int, ...]
    outputs: tuple[tuple[str, Shape | Free], ...]
    activation: Activation

    @nn.compact
    def __call__(self, x: Array) -> dict[str, Array]:
        """[*event] -> {name: [*shape]}."""
        features = x.reshape(-1)
        for width in self.hidden:
            features = self.activation(Dense(width)(features))
        return Heads(self.outputs, name="heads")(features)


class Convolution(nn.Module):
    """A convolution of one image, with a bias for each map; its params are of single precision, as those of Dense."""

    maps: int
    window: tuple[int, int]
    strides: tuple[int, int]
    padding: Padding

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """[H, W, C] -> [H', W', maps]."""
        kernel = self.param("kernel", glorot, (*self.window, x.shape[-1], self.maps), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.maps,), jnp.float32)
        return convolution(x[None], kernel, self.strides, self.padding)[0] + bias[None, None]


class ResidualBlock(nn.Module):
    """y = a(x + F(x)), F two 3x3 convolutions with the activation a between them, of as many maps as x.

    Source: He et al. (2016), Deep residual learning for image recognition, figure 2.
    """

    activation: Activation
    normalise: bool

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """[H, W, C] -> [H, W, C]."""
        same = ((1, 1), (1, 1))
        change = Convolution(x.shape[-1], (3, 3), (1, 1), same)(x)
        change = self.activation(_group_norm(change) if self.normalise else change)
        change = Convolution(x.shape[-1], (3, 3), (1, 1), same)(change)
        return self.activation(x + (_group_norm(change) if self.normalise else change))


class ConvEncoder(nn.Module):
    """Strided 3x3 convolutions, each halving the image, with residual blocks, then one linear layer for each output."""

    channels: tuple[int, ...]
    outputs: tuple[tuple[str, Shape | Free], ...]
    activation: Activation
    normalise: bool
    blocks: int

    @nn.compact
    def __call__(self, x: Array) -> dict[str, Array]:
        """[H, W, C] -> {name: [*shape]}."""
        return Heads(self.outputs, name="heads")(_halved(self, x).reshape(-1))


class MapsEncoder(ConvEncoder):
    """The same halvings, then a linear map at every position: the outputs are small images."""

    @nn.compact
    def __call__(self, x: Array) -> dict[str, Array]:
        """[H, W, C] -> {name: [h, w, features]}."""
        x, none = _halved(self, x), ((0, 0), (0, 0))
        maps = {name: shape for name, shape in self.outputs if not isinstance(shape, Free)}
        return {name: Convolution(shape[-1], (1, 1), (1, 1), none, name=name)(x) for name, shape in maps.items()}


class Doubling(nn.Module):
    """Twice the rows and the columns: a 2x2 convolution to four times the channels, dealt out to 2x2 pixels.

    It is a transposed convolution of stride 2 with a 4x4 kernel, in the form that is fast (Shi et al. 2016, section 3).
    """

    channels: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """[H, W, C] -> [2H, 2W, channels]."""
        height, width = x.shape[:2]
        maps = Convolution(4 * self.channels, (2, 2), (1, 1), ((1, 0), (1, 0)), name="maps")(x)
        blocks = maps.reshape(height, width, 2, 2, self.channels)
        return blocks.transpose(0, 2, 1, 3, 4).reshape(2 * height, 2 * width, self.channels)


class ConvDecoder(nn.Module):
    """The encoder's mirror: a linear layer to small maps, then doublings, the last one to each output."""

    channels: tuple[int, ...]
    outputs: tuple[tuple[str, Shape | Free], ...]
    activation: Activation
    normalise: bool
    blocks: int

    @nn.compact
    def __call__(self, z: Array) -> dict[str, Array]:
        """[*latent] -> {name: [H, W, ...]}."""
        smallest = self._sizes()[-1]
        x = Dense(math.prod(smallest) * self.channels[0])(z.reshape(-1))
        return self._doubled(_activated(self, x.reshape(*smallest, self.channels[0])))

    def _sizes(self) -> list[tuple[int, ...]]:
        """Of the image before each halving, and of the smallest."""
        sizes = [next(output[:2] for _, output in self.outputs if not isinstance(output, Free))]
        for _ in self.channels:
            sizes.append(tuple(math.ceil(length / 2) for length in sizes[-1]))
        return sizes

    def _doubled(self, x: Array) -> dict[str, Array]:
        """[h, w, channels] -> {name: [H, W, ...]}."""
        for channels, (rows, columns) in zip(self.channels[1:], reversed(self._sizes()[1:-1]), strict=True):
            x = _activated(self, Doubling(channels)(x)[:rows, :columns])
        return {name: self._head(name, output, x) for name, output in self.outputs}

    def _head(self, name: str, output: Shape | Free, features: Array) -> Array:
        if isinstance(output, Free):
            return self.param(name, output.first_value, output.shape)
        rows, columns, *rest = output
        return Doubling(math.prod(rest), name=name)(features)[:rows, :columns].reshape(output)


class MapsDecoder(ConvDecoder):
    """The same doublings of a small image, after a convolution of it."""

    @nn.compact
    def __call__(self, z: Array) -> dict[str, Array]:
        """[h, w, features] -> {name: [H, W, ...]}."""
        return self._doubled(_activated(self, Convolution(self.channels[0], (3, 3), (1, 1), ((1, 1), (1, 1)))(z)))


def _halved(network: ConvEncoder, x: Array) -> Array:
    """A halving for each number of maps."""
    for width in network.channels:
        padding = tuple(jax.lax.padtype_to_pads(x.shape[:2], (3, 3), (2, 2), "SAME"))
        x = _activated(network, Convolution(width, (3, 3), (2, 2), padding)(x))
    return x


def _activated(network: ConvEncoder | ConvDecoder, x: Array) -> Array:
    """What follows every change of an image's size: normalisation, the activation, the residual blocks."""
    x = network.activation(_group_norm(x) if network.normalise else x)
    for _ in range(network.blocks):
        x = ResidualBlock(network.activation, network.normalise)(x)
    return x


def _group_norm(x: Array) -> Array:
    # Linen takes the first axis of its input for the batch, and there is none here.
    groups = math.gcd(8, x.shape[-1])
    return nn.GroupNorm(num_groups=groups)(x[None])[0]
