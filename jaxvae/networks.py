"""Encoders and decoders in Flax Linen, handed out as pure functions. The only file of the core that imports Flax.

A network takes one example, without a batch axis, and returns a dict of named outputs. Batch normalisation is absent on
purpose: it makes an example's terms depend on the batch.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxvae.convolution import Padding, convolution
from jaxvae.types import Array, Network, Params, Shape

Activation = Callable[[Array], Array]
glorot = nn.initializers.glorot_uniform()


def product(left: Array, right: Array, axes: Any, precision: Any = None, **options: Any) -> Array:
    """`jax.lax.dot_general` that sums in float32 what it multiplies in bfloat16: more exact, and on a CPU faster."""
    sums = jnp.float32 if left.dtype == jnp.bfloat16 else None
    return jax.lax.dot_general(left, right, axes, precision, preferred_element_type=sums).astype(left.dtype)


Dense = partial(nn.Dense, kernel_init=glorot, dot_general=product)


class Free(NamedTuple):
    """An output that is a learned parameter of its own, the same for every input: a shared variance, say."""

    shape: Shape
    start: float = 0.0


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
            return self.param(name, nn.initializers.constant(output.start), output.shape)
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
    """A convolution of one image, with a bias for each map."""

    maps: int
    window: tuple[int, int]
    strides: tuple[int, int]
    padding: Padding

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """[H, W, C] -> [H', W', maps]."""
        kernel = self.param("kernel", glorot, (*self.window, x.shape[-1], self.maps))
        bias = self.param("bias", nn.initializers.zeros, (self.maps,))
        return convolution(x[None], kernel, self.strides, self.padding)[0] + bias[None, None]


class ConvEncoder(nn.Module):
    """Strided 3x3 convolutions, each halving the image, then one linear layer for each output."""

    channels: tuple[int, ...]
    outputs: tuple[tuple[str, Shape | Free], ...]
    activation: Activation
    normalise: bool

    @nn.compact
    def __call__(self, x: Array) -> dict[str, Array]:
        """[H, W, C] -> {name: [*shape]}."""
        for width in self.channels:
            padding = tuple(jax.lax.padtype_to_pads(x.shape[:2], (3, 3), (2, 2), "SAME"))
            x = Convolution(width, (3, 3), (2, 2), padding)(x)
            x = self.activation(_group_norm(x) if self.normalise else x)
        return Heads(self.outputs, name="heads")(x.reshape(-1))


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

    @nn.compact
    def __call__(self, z: Array) -> dict[str, Array]:
        """[*latent] -> {name: [H, W, ...]}."""
        size = next(output[:2] for _, output in self.outputs if not isinstance(output, Free))
        sizes = [size]
        for _ in self.channels:
            sizes.append(tuple(math.ceil(length / 2) for length in sizes[-1]))
        *larger, smallest = sizes
        x = Dense(math.prod(smallest) * self.channels[0])(z.reshape(-1))
        x = self._activated(x.reshape(*smallest, self.channels[0]))
        for channels, (rows, columns) in zip(self.channels[1:], reversed(larger[1:]), strict=True):
            x = self._activated(Doubling(channels)(x)[:rows, :columns])
        return {name: self._head(name, output, x) for name, output in self.outputs}

    def _activated(self, x: Array) -> Array:
        return self.activation(_group_norm(x) if self.normalise else x)

    def _head(self, name: str, output: Shape | Free, features: Array) -> Array:
        if isinstance(output, Free):
            return self.param(name, nn.initializers.constant(output.start), output.shape)
        rows, columns, *rest = output
        return Doubling(math.prod(rest), name=name)(features)[:rows, :columns].reshape(output)


def _group_norm(x: Array) -> Array:
    # Linen takes the first axis of its input for the batch, and there is none here.
    groups = math.gcd(8, x.shape[-1])
    return nn.GroupNorm(num_groups=groups)(x[None])[0]


def mlp(hidden: Sequence[int], outputs: Outputs, *, activation: Activation = nn.relu) -> Network:
    """A fully connected network for inputs of any shape.

    Args:
        hidden: the widths of the hidden layers, in order.
        outputs: the shape of each named output, or `Free(shape)` for a learned parameter that no input moves.
        activation: after every hidden layer.

    Returns:
        The network; weights start by Glorot & Bengio's uniform rule, biases at zero.

    Example:
        >>> encoder = mlp((400,), {"mean": (20,), "log_scale": (20,)})
        >>> params = encoder.init(jax.random.key(0), jnp.zeros((28, 28, 1)))
        >>> encoder.apply(params, jnp.zeros((28, 28, 1)))["mean"].shape
        (20,)
    """
    return pure(MLP(tuple(hidden), tuple(outputs.items()), activation))


def conv_encoder(
    channels: Sequence[int], outputs: Outputs, *, activation: Activation = nn.relu, normalise: bool = False
) -> Network:
    """A convolutional network from an image [H, W, C] of any size to named outputs.

    Args:
        channels: the number of feature maps after each halving of the image.
        outputs: the shape of each named output, or `Free`.
        activation: after every layer.
        normalise: group normalisation before each activation.

    Returns:
        The network.
    """
    return pure(ConvEncoder(tuple(channels), tuple(outputs.items()), activation, normalise))


def conv_decoder(
    channels: Sequence[int], outputs: Outputs, *, activation: Activation = nn.relu, normalise: bool = False
) -> Network:
    """A convolutional network from a code to images, the mirror of `conv_encoder`.

    Args:
        channels: the number of feature maps before each doubling of the image, smallest image first.
        outputs: shapes [H, W, ...] with the same H and W, or `Free`.
        activation: after every layer.
        normalise: group normalisation before each activation.

    Returns:
        The network.

    Example:
        >>> decoder = conv_decoder((16, 8), {"logits": (7, 5, 3)})
        >>> params = decoder.init(jax.random.key(0), jnp.zeros(2))
        >>> decoder.apply(params, jnp.zeros(2))["logits"].shape
        (7, 5, 3)
    """
    return pure(ConvDecoder(tuple(channels), tuple(outputs.items()), activation, normalise))


def pure(module: nn.Module) -> Network:
    """A Linen module as a pair of pure functions.

    Args:
        module: any Linen module without mutable collections.

    Returns:
        `init(key, *inputs)` and `apply(params, *inputs)`.
    """
    return Network(module.init, module.apply)


def in_bfloat16(network: Network) -> Network:
    """The same network computed in bfloat16, a number of 16 bits with 8 of them for its digits.

    The params stay in float32, and so do the optimizer's state and what is made of the outputs: densities and bounds
    are float32 sums of what the network gives.

    Args:
        network: whose inputs, params and outputs are float32.

    Returns:
        A network with the same params.

    Example:
        >>> decoder = in_bfloat16(mlp((4,), {"logits": (2, 2)}))
        >>> params = decoder.init(jax.random.key(0), jnp.zeros(1))
        >>> decoder.apply(params, jnp.ones(1))["logits"].dtype
        dtype('float32')
    """

    def cast(tree: Any, dtype: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf.astype(dtype), tree)

    def apply(params: Params, *inputs: Array) -> dict[str, Array]:
        return cast(network.apply(*cast((params, *inputs), jnp.bfloat16)), jnp.float32)

    return Network(network.init, apply)


def small_pair(encoder_outputs: Outputs, decoder_outputs: Outputs) -> tuple[Network, Network]:
    """The well-known small network: one hidden layer of 400 units on each side, ReLU. With 20 latents, 784-400-20.

    Args:
        encoder_outputs: of q(z|x), for instance `Normal.parameters((20,))`.
        decoder_outputs: of p(x|z), for instance `Bernoulli.parameters((28, 28, 1))`.

    Returns:
        The encoder and the decoder.

    Source: the widths of the basic VAE example of PyTorch, after Kingma & Welling (2014), section 5.
    """
    return mlp((400,), encoder_outputs), mlp((400,), decoder_outputs)


def iwae_pair(encoder_outputs: Outputs, decoder_outputs: Outputs) -> tuple[Network, Network]:
    """The one-layer network of the IWAE paper: two hidden layers of 200 units, tanh. With 50 latents, 784-200-200-50.

    Args:
        encoder_outputs: of q(z|x), for instance `Normal.parameters((50,))`.
        decoder_outputs: of p(x|z), for instance `Bernoulli.parameters((28, 28, 1))`.

    Returns:
        The encoder and the decoder.

    Source: Burda, Grosse & Salakhutdinov (2016), section 5.
    """
    return mlp((200, 200), encoder_outputs, activation=nn.tanh), mlp((200, 200), decoder_outputs, activation=nn.tanh)


def conv_pair(encoder_outputs: Outputs, decoder_outputs: Outputs) -> tuple[Network, Network]:
    """A small convolutional pair for images of any size: 32 and 64 maps, GELU, group normalisation.

    Args:
        encoder_outputs: of q(z|x).
        decoder_outputs: of p(x|z), shapes [H, W, ...].

    Returns:
        The encoder and the decoder.
    """
    encoder = conv_encoder((32, 64), encoder_outputs, activation=nn.gelu, normalise=True)
    decoder = conv_decoder((64, 32), decoder_outputs, activation=nn.gelu, normalise=True)
    return encoder, decoder


def with_output_bias(params: Params, output: str, bias: Array) -> Params:
    """The same params with the bias of one output set, so that training starts from the data's mean pixel.

    Args:
        params: of a network of this file.
        output: the name of the output, "logits" for instance.
        bias: [*shape of the output]; a convolution, which has no bias for each pixel, gets the mean over the pixels.

    Returns:
        New params.

    Raises:
        ValueError: there is no such output.

    Example:
        >>> decoder = mlp((4,), {"logits": (2, 2)})
        >>> params = with_output_bias(decoder.init(jax.random.key(0), jnp.zeros(1)), "logits", jnp.full((2, 2), 3.0))
        >>> params["params"]["heads"]["logits"]["bias"]
        Array([3., 3., 3., 3.], dtype=float32)

    Source: Burda, Grosse & Salakhutdinov (2016), in their code; the logit of the clipped mean for a Bernoulli.
    """
    found = []

    def set_bias(path: tuple, leaf: Array) -> Array:
        names = [getattr(entry, "key", None) for entry in path]
        if output not in names or names[-1] != "bias":
            return leaf
        found.append(names)
        if leaf.size == bias.size:
            return bias.reshape(leaf.shape).astype(leaf.dtype)
        per_channel = jnp.mean(bias, axis=(0, 1)).reshape(-1)
        return jnp.tile(per_channel, leaf.size // per_channel.size).astype(leaf.dtype)

    changed = jax.tree_util.tree_map_with_path(set_bias, params)
    if not found:
        raise ValueError(f"no layer named {output!r} with a bias in these params; name one of the decoder's outputs")
    return changed
