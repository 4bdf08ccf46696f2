"""What `--model.network` names."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import jax
import jax.numpy as jnp

from jaxvae import networks
from jaxvae.models.conditional import reading_both, with_planes
from jaxvae.networks import Outputs
from jaxvae.networks.pairs import IWAE, SMALL
from jaxvae.run.choice import AtLeast
from jaxvae.types import Network

Pair = tuple[Network, Network]


@dataclass(frozen=True)
class Connected:
    """Fully connected networks, which read and give vectors."""

    activation: ClassVar[Any]
    has: ClassVar = frozenset({"vectors"})
    width: Annotated[int, AtLeast(1)]
    """The units of every hidden layer."""
    depth: Annotated[int, AtLeast(1)]
    """How many hidden layers there are."""

    def told(self, encoder: Network) -> Network:
        """An encoder that reads an image and a vector, from one that reads an image."""
        return reading_both(encoder)


@dataclass(frozen=True)
class Small(Connected):
    """One hidden layer of 400 units on each side, ReLU."""

    activation = staticmethod(jax.nn.relu)
    width: Annotated[int, AtLeast(1)] = SMALL
    """The units of every hidden layer."""
    depth: Annotated[int, AtLeast(1)] = 1
    """How many hidden layers there are."""

    def pair(self, encoder_outputs: Outputs, decoder_outputs: Outputs) -> Pair:
        """The encoder and the decoder."""
        return networks.small_pair(encoder_outputs, decoder_outputs, width=self.width, depth=self.depth)


@dataclass(frozen=True)
class Iwae(Connected):
    """Two hidden layers of 200 units on each side, tanh (Burda et al. 2016)."""

    activation = staticmethod(jnp.tanh)
    width: Annotated[int, AtLeast(1)] = IWAE
    """The units of every hidden layer."""
    depth: Annotated[int, AtLeast(1)] = 2
    """How many hidden layers there are."""

    def pair(self, encoder_outputs: Outputs, decoder_outputs: Outputs) -> Pair:
        """The encoder and the decoder."""
        return networks.iwae_pair(encoder_outputs, decoder_outputs, width=self.width, depth=self.depth)


@dataclass(frozen=True)
class Conv:
    """Convolutions: 32 and 64 maps, GELU, group normalisation."""

    has: ClassVar = frozenset({"maps"})
    maps: Annotated[tuple[int, ...], AtLeast(1)] = networks.MAPS
    """Feature maps after each halving of the image."""
    blocks: ClassVar[int] = 0

    def pair(self, encoder_outputs: Outputs, decoder_outputs: Outputs) -> Pair:
        """The encoder and the decoder."""
        return networks.conv_pair(encoder_outputs, decoder_outputs, maps=self.maps)

    def told(self, encoder: Network) -> Network:
        """An encoder that reads an image and a vector, from one that reads an image."""
        return with_planes(encoder)


@dataclass(frozen=True)
class Residual:
    """Convolutions with residual blocks at each size of the image."""

    has: ClassVar = frozenset({"maps"})
    maps: Annotated[tuple[int, ...], AtLeast(1)] = networks.MAPS
    """Feature maps after each halving of the image."""
    blocks: Annotated[int, AtLeast(1)] = 1
    """Residual blocks of two convolutions at each size."""

    def pair(self, encoder_outputs: Outputs, decoder_outputs: Outputs) -> Pair:
        """The encoder and the decoder."""
        return networks.residual_pair(encoder_outputs, decoder_outputs, maps=self.maps, blocks=self.blocks)

    def told(self, encoder: Network) -> Network:
        """An encoder that reads an image and a vector, from one that reads an image."""
        return with_planes(encoder)


AnyNetwork = Small | Iwae | Conv | Residual
