"""What every model of images is made of."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxvae import networks
from jaxvae.losses import alone
from jaxvae.networks import Outputs
from jaxvae.types import Distribution, Key, Network


class Parts(NamedTuple):
    """The choices that models of all kinds are told."""

    network: Any  # an option of `jaxvae.run.options.networks`
    likelihood: Callable[..., Distribution]
    outputs: Outputs  # that the decoder must have
    draw: Callable[[Key, Distribution], Any]
    cast: Callable[[Network], Network]  # to the precision that networks compute in

    def pair(self, encoder_outputs: Outputs) -> tuple[Network, Network]:
        """The encoder, and the decoder to the likelihood's outputs."""
        encoder, decoder = self.network.pair(encoder_outputs, self.outputs)
        return self.cast(encoder), self.cast(decoder)


def cast_to(precision: str) -> Callable[[Network], Network]:
    """How networks are brought to a precision.

    Args:
        precision: "float32" or "bf16".

    Returns:
        A network -> the network that computes in it.
    """
    return networks.in_bfloat16 if precision == "bf16" else alone
