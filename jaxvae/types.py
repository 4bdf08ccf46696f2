"""Names for what passes through every function."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax

Array = jax.Array
Key = jax.Array  # a typed key, made by `jax.random.key`
Params = Any  # a tree of arrays
Shape = tuple[int, ...]
Event = Any  # what a distribution is over, and an example: an array, or a tree of them where there are several parts


class Distribution(Protocol):
    """One event, no batch axes: a pytree of arrays with a way to draw and a density."""

    def sample(self, key: Key) -> Event:
        """One draw."""
        ...

    def log_prob(self, value: Event) -> Array:
        """The log density of one event, [], in nats."""
        ...

    def expectation(self) -> Event:
        """The expected event."""
        ...


class Network(NamedTuple):
    """A pure network: Linen's, or any other pair of functions.

    An encoder takes x, a decoder takes z.
    """

    init: Callable[..., Params]  # (key, *inputs) -> params
    apply: Callable[..., Any]  # (params, *inputs) -> named outputs
