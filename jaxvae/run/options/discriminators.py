"""A discriminator with an optimizer of its own, as an option of whatever plays against one."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import jax
import optax

from jaxvae import losses, networks
from jaxvae.models import reading_both
from jaxvae.run.choice import Above, AtLeast, Between
from jaxvae.types import Network

LEAKY = partial(jax.nn.leaky_relu, negative_slope=0.2)


@dataclass(frozen=True)
class Discriminator:
    """A fully connected network of leaky units."""

    width: Annotated[int, AtLeast(1)] = 256
    """Units of each hidden layer of the discriminator."""
    depth: Annotated[int, AtLeast(1)] = 2
    """Its hidden layers."""
    lr: Annotated[float, Above(0)] = 1e-3
    """The learning rate of its Adam."""
    beta1: Annotated[float, Between(0, 1)] = 0.5
    """The decay of its Adam's mean of gradients."""
    beta2: Annotated[float, Between(0, 1)] = 0.999
    """The decay of its Adam's mean of squared gradients."""

    @property
    def discriminator(self) -> Network:
        """The network, of one input."""
        return networks.mlp((self.width,) * self.depth, {"logit": ()}, activation=LEAKY)

    @property
    def of_pairs(self) -> Network:
        """The network, of an example and its code."""
        return reading_both(self.discriminator)

    def optimizer(self, configured: optax.GradientTransformation) -> optax.GradientTransformation:
        """The configured one for the model, and Adam for the discriminator."""
        own = optax.adam(self.lr, b1=self.beta1, b2=self.beta2)
        return losses.optimizer_of_players({"discriminator": own}, rest=configured)
