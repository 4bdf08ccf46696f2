"""Sequences with a mask, and distributions of what goes along them, step after step."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxvae.loops import scan
from jaxvae.types import Array, Distribution, Key, Params


class Sequence(NamedTuple):
    """An example: what is seen at every step, and which steps there are."""

    values: Array  # [T, *event] floats; what stands after the end has no influence
    mask: Array  # [T] ones, then zeros after the end


class Unrolled(NamedTuple):
    """What a chain leaves behind when it is drawn from, every field with a leading axis [T]."""

    z: Array  # [T, *latent]
    before: Any  # the states that the steps were drawn at, s_{t-1}
    steps: Distribution  # that the steps were drawn from


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Chain:
    """A distribution of z_1, ..., z_T, each given the state that all before it leave behind.

    p(z) = Π_t p(z_t | s_{t-1}),    s_t = f(s_{t-1}, z_t)

    Args:
        params: of the model.
        start: s_0.
        heard: a tree of arrays [T, ...]: what each step hears of the sequence; None for nothing.
        mask: [T] ones, then zeros; `log_prob` counts the former.
        at: (params, s_{t-1}, heard_t) -> the distribution of z_t.
        follow: (params, s_{t-1}, z_t, heard_t) -> s_t.
    """

    params: Params
    start: Any
    heard: Any
    mask: Array
    at: Callable[..., Distribution] = field(metadata={"static": True})
    follow: Callable[..., Any] = field(metadata={"static": True})

    def sample(self, key: Key) -> Array:
        """One draw, [T, *latent]; a step's noise depends on the key and t alone."""
        return self.unrolled(key).z

    def unrolled(self, key: Key) -> Unrolled:
        """One draw, with its states and the distribution of each step."""
        return self._walk(keys_of(key, len(self.mask)), lambda step, key: step.sample(key))

    def log_prob(self, value: Array) -> Array:
        """The log density of z [T, *latent], over the steps of the mask: [], in nats."""

        def of_step(before: Any, heard: Any, z: Array) -> Array:
            return self.at(self.params, before, heard).log_prob(z)

        return total(self.mask, jax.vmap(of_step)(self.before(value), self.heard, value))

    def before(self, value: Array) -> Any:
        """The states s_0, ..., s_{T-1} that z [T, *latent] is drawn at, each with a leading axis [T]."""
        return self._walk(value, lambda step, z: z).before

    def expectation(self) -> Array:
        """Every step at its mean, given the means before it: not the mean of the marginals. [T, *latent]."""
        return self._walk(self.mask, lambda step, _: step.expectation()).z

    def _walk(self, given: Array, choose: Callable[[Distribution, Array], Array]) -> Unrolled:
        def one(state: Any, inputs: tuple[Any, Array]) -> tuple[Any, Unrolled]:
            heard, given = inputs
            step = self.at(self.params, state, heard)
            z = choose(step, given)
            return self.follow(self.params, state, z, heard), Unrolled(z, state, step)

        return scan(one, self.start, (self.heard, given))[1]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Steps:
    """A distribution of a sequence whose steps are independent, given all that they are made from.

    Args:
        steps: the distributions of the steps, every field with a leading axis [T].
    """

    steps: Distribution

    def sample(self, key: Key) -> Sequence:
        """A draw of every step."""
        length = len(jax.tree.leaves(self.steps)[0])
        return whole(jax.vmap(lambda step, key: step.sample(key))(self.steps, keys_of(key, length)))

    def log_prob(self, value: Sequence) -> Array:
        """The log density of the steps that its mask has: [], in nats."""
        value = ended(value)
        return total(value.mask, jax.vmap(lambda step, x: step.log_prob(x))(self.steps, value.values))

    def expectation(self) -> Sequence:
        """The expected steps."""
        return whole(jax.vmap(lambda step: step.expectation())(self.steps))


def total(mask: Array, values: Array) -> Array:
    """The sum of values [T] over the steps of a mask [T]: []."""
    return jnp.sum(jnp.where(mask.astype(bool), values, jnp.zeros_like(values)))


def keys_of(key: Key, length: int) -> Key:
    """A key for every step, [T], which does not depend on how many there are."""
    return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(length))


def ended(x: Sequence) -> Sequence:
    """Zeros after the end, whatever stood there."""
    there = x.mask.astype(bool).reshape(-1, *(1,) * (x.values.ndim - 1))
    return Sequence(jnp.where(there, x.values, jnp.zeros_like(x.values)), x.mask)


def whole(values: Array) -> Sequence:
    """A sequence that has every step."""
    return Sequence(values, jnp.ones_like(values, shape=(len(values),)))
