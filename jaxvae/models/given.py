"""A code together with what it is conditioned on, and the distributions of both.

With these the latent variable of a conditional model is one value, as in every model.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax

from jaxvae.types import Array, Distribution, Key, Params


class Given(NamedTuple):
    """A code and what it is conditioned on: the latent variable of a conditional model."""

    z: Array  # [*latent]
    condition: Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Conditioned:
    """A distribution of z at one condition, as a distribution of both.

    Args:
        latent: of z, q(z|x, c) for instance.
        condition: c.
    """

    latent: Distribution
    condition: Any

    def sample(self, key: Key) -> Given:
        """One draw of z, and c."""
        return Given(self.latent.sample(key), self.condition)

    def log_prob(self, value: Given) -> Array:
        """The log density of z at this c, [], in nats."""
        return self.latent.log_prob(value.z)

    def expectation(self) -> Given:
        """The mean of z, and c."""
        return Given(self.latent.expectation(), self.condition)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ConditionalPrior:
    """p(z|c) for every c.

    Args:
        params: of the prior network.
        apply: (params, c) -> the distribution of z.
        condition: draws a condition from a key, for `sample`; None where none can be drawn.
    """

    params: Params
    apply: Callable[[Params, Any], Distribution] = field(metadata={"static": True})
    condition: Callable[[Key], Any] | None = field(default=None, metadata={"static": True})

    def given(self, condition: Any) -> Distribution:
        """The distribution of z at this condition."""
        return self.apply(self.params, condition)

    def sample(self, key: Key) -> Given:
        """A condition drawn for the purpose, and a code for it.

        Raises:
            ValueError: conditions cannot be drawn.
        """
        if self.condition is None:
            raise ValueError(
                "this model has no distribution of its condition to draw from: give one, "
                "jaxvae.models.given(model, condition), and draw from that model"
            )
        key_condition, key_z = jax.random.split(key)
        condition = self.condition(key_condition)
        return Given(self.given(condition).sample(key_z), condition)

    def log_prob(self, value: Given) -> Array:
        """ln p(z|c), [], in nats."""
        return self.given(value.condition).log_prob(value.z)

    def expectation(self) -> Given:
        """Not defined: it differs from condition to condition.

        Raises:
            ValueError: always.
        """
        raise ValueError("a conditional prior has one mean for each condition; take .given(condition).expectation()")
