"""Encoders and decoders in Flax Linen, handed out as pure functions. No other file but `layers` imports Flax.

A network takes one example, without a batch axis, and returns a dict of named outputs. Batch normalisation is absent on
purpose: it makes an example's terms depend on the batch.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxvae.networks.layers import MLP, Activation, ConvDecoder, ConvEncoder, MapsDecoder, MapsEncoder, Outputs
from jaxvae.networks.layers import Free as Free  # an output of the networks, named here too
from jaxvae.types import Array, Network, Params

SMALL, IWAE = 400, 200  # units in a hidden layer of the two fully connected pairs
MAPS = (32, 64)  # feature maps of the convolutional pairs, after each halving of the image


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
    channels: Sequence[int],
    outputs: Outputs,
    *,
    activation: Activation = nn.relu,
    normalise: bool = False,
    blocks: int = 0,
) -> Network:
    """A convolutional network from an image [H, W, C] of any size to named outputs.

    Args:
        channels: the number of feature maps after each halving of the image.
        outputs: the shape of each named output, or `Free`.
        activation: after every layer.
        normalise: group normalisation before each activation.
        blocks: residual blocks of two convolutions after each halving.

    Returns:
        The network.
    """
    return pure(ConvEncoder(tuple(channels), tuple(outputs.items()), activation, normalise, blocks))


def conv_decoder(
    channels: Sequence[int],
    outputs: Outputs,
    *,
    activation: Activation = nn.relu,
    normalise: bool = False,
    blocks: int = 0,
) -> Network:
    """A convolutional network from a code to images, the mirror of `conv_encoder`.

    Args:
        channels: the number of feature maps before each doubling of the image, smallest image first.
        outputs: shapes [H, W, ...] with the same H and W, or `Free`.
        activation: after every layer.
        normalise: group normalisation before each activation.
        blocks: residual blocks of two convolutions before each doubling.

    Returns:
        The network.

    Example:
        >>> decoder = conv_decoder((16, 8), {"logits": (7, 5, 3)})
        >>> params = decoder.init(jax.random.key(0), jnp.zeros(2))
        >>> decoder.apply(params, jnp.zeros(2))["logits"].shape
        (7, 5, 3)
    """
    return pure(ConvDecoder(tuple(channels), tuple(outputs.items()), activation, normalise, blocks))


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


def small_pair(
    encoder_outputs: Outputs, decoder_outputs: Outputs, *, width: int = SMALL, depth: int = 1
) -> tuple[Network, Network]:
    """The well-known small network: one hidden layer of 400 units on each side, ReLU. With 20 latents, 784-400-20.

    Args:
        encoder_outputs: of q(z|x), for instance `Normal.parameters((20,))`.
        decoder_outputs: of p(x|z), for instance `Bernoulli.parameters((28, 28, 1))`.
        width: another number of units.
        depth: another number of hidden layers.

    Returns:
        The encoder and the decoder.

    Source: the widths of the basic VAE example of PyTorch, after Kingma & Welling (2014), section 5.
    """
    hidden = (width,) * depth
    return mlp(hidden, encoder_outputs), mlp(hidden, decoder_outputs)


def iwae_pair(
    encoder_outputs: Outputs, decoder_outputs: Outputs, *, width: int = IWAE, depth: int = 2
) -> tuple[Network, Network]:
    """The one-layer network of the IWAE paper: two hidden layers of 200 units, tanh. With 50 latents, 784-200-200-50.

    Args:
        encoder_outputs: of q(z|x), for instance `Normal.parameters((50,))`.
        decoder_outputs: of p(x|z), for instance `Bernoulli.parameters((28, 28, 1))`.
        width: another number of units, in every layer.
        depth: another number of hidden layers.

    Returns:
        The encoder and the decoder.

    Source: Burda, Grosse & Salakhutdinov (2016), section 5.
    """
    encoder, decoder = (
        mlp((width,) * depth, outputs, activation=nn.tanh) for outputs in (encoder_outputs, decoder_outputs)
    )
    return encoder, decoder


def conv_pair(
    encoder_outputs: Outputs, decoder_outputs: Outputs, *, maps: Sequence[int] = MAPS, blocks: int = 0
) -> tuple[Network, Network]:
    """A small convolutional pair for images of any size: 32 and 64 maps, GELU, group normalisation.

    Args:
        encoder_outputs: of q(z|x).
        decoder_outputs: of p(x|z), shapes [H, W, ...].
        maps: feature maps after each halving of the image.
        blocks: residual blocks at each size.

    Returns:
        The encoder and the decoder.
    """
    encoder = conv_encoder(maps, encoder_outputs, activation=nn.gelu, normalise=True, blocks=blocks)
    decoder = conv_decoder(maps[::-1], decoder_outputs, activation=nn.gelu, normalise=True, blocks=blocks)
    return encoder, decoder


def residual_pair(
    encoder_outputs: Outputs, decoder_outputs: Outputs, *, maps: Sequence[int] = MAPS, blocks: int = 1
) -> tuple[Network, Network]:
    """A small residual pair for images of any size: `conv_pair` with a residual block at each of its sizes.

    Args:
        encoder_outputs: of q(z|x).
        decoder_outputs: of p(x|z), shapes [H, W, ...].
        maps: feature maps after each halving of the image.
        blocks: residual blocks at each size.

    Returns:
        The encoder and the decoder.

    Source: He et al. (2016), Deep residual learning for image recognition, section 3.
    """
    return conv_pair(encoder_outputs, decoder_outputs, maps=maps, blocks=blocks)


def maps_pair(
    encoder_outputs: Outputs, decoder_outputs: Outputs, *, maps: Sequence[int] = MAPS, blocks: int = 0
) -> tuple[Network, Network]:
    """`conv_pair` between an image and a smaller image: [H, W, C] to [H/4, W/4, features], and back.

    Args:
        encoder_outputs: shapes [h, w, features] with h and w a quarter of H and W, rounded up.
        decoder_outputs: of p(x|z), shapes [H, W, ...].
        maps: feature maps after each halving, two of them.
        blocks: residual blocks at each size.

    Returns:
        The encoder and the decoder.

    Example:
        >>> encoder, decoder = maps_pair({"encoding": (7, 7, 16)}, {"logits": (28, 28, 1)})
        >>> params = encoder.init(jax.random.key(0), jnp.zeros((28, 28, 1)))
        >>> encoder.apply(params, jnp.zeros((28, 28, 1)))["encoding"].shape
        (7, 7, 16)

    Source: van den Oord, Vinyals & Kavukcuoglu, "Neural Discrete Representation Learning" (2017), section 4.1, with
    fewer maps.
    """
    encoder = MapsEncoder(tuple(maps), tuple(encoder_outputs.items()), nn.gelu, True, blocks)
    decoder = MapsDecoder(tuple(maps)[::-1], tuple(decoder_outputs.items()), nn.gelu, True, blocks)
    return pure(encoder), pure(decoder)


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
