"""Any model, with its examples checked to be values that its likelihood is about."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import singledispatch
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import checkify
from jax.scipy.special import logsumexp

from jaxvae.distributions import (
    Bernoulli,
    Categorical,
    Concrete,
    ContinuousBernoulli,
    Frozen,
    OneHot,
    UniformSphere,
    VonMisesFisher,
)
from jaxvae.likelihoods import (
    AutoregressivePixels,
    BetaBinomial,
    DiscretizedLogisticMixture,
    Multinomial,
    NegativeBinomial,
    PixelCategorical,
    ZeroInflated,
)
from jaxvae.model import VAE, Terms
from jaxvae.models.chain import Sequence, Steps, ended
from jaxvae.types import Array, Distribution, Event, Key, Params

NEAR = 1e-3  # of a level, and of a length of one: rounding is allowed


class Support(NamedTuple):
    """Where a distribution has its mass, at the values of one event."""

    inside: Array  # [...] of each part of the value
    value: Array  # [...] the parts
    words: str  # "a Bernoulli has mass on 0 and 1 alone: binarise the data, ..."


@singledispatch
def support(distribution: Distribution, value: Any) -> Support:
    """Which parts of an event a distribution has mass or a density at. By default: all that are finite.

    Args:
        distribution: any; its parameters do not matter, but for their shapes. `support.register` takes your own.
        value: [*event], or a tree of arrays, as its `log_prob` takes it.

    Returns:
        The support, at this value.

    Example:
        >>> support(Bernoulli(jnp.zeros(3)), jnp.array([0.0, 0.5, 1.0])).inside.tolist()
        [True, False, True]
    """
    leaves = [jnp.ravel(leaf) for leaf in jax.tree.leaves(value) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    flat = jnp.concatenate(leaves or [jnp.zeros(1)])
    return Support(jnp.isfinite(flat), flat, "a density is of finite numbers: put a number in the place of each other")


@support.register
def _(distribution: Frozen, value: Any) -> Support:
    return support(distribution.distribution, value)


@support.register
def _(distribution: Bernoulli, value: Array) -> Support:
    words = "a Bernoulli has mass on 0 and 1 alone: binarise the data, or take a ContinuousBernoulli"
    return Support((value == 0) | (value == 1), value, words)


@support.register
def _(distribution: ContinuousBernoulli, value: Array) -> Support:
    words = "a ContinuousBernoulli has its mass between 0 and 1: divide 8-bit pixels by 255"
    return Support((value >= 0) & (value <= 1), value, words)


@support.register
def _(distribution: Categorical, value: Array) -> Support:
    classes = distribution.logits.shape[-1]
    words = f"these classes are the whole numbers from 0 to {classes - 1}: number them so"
    return Support((value >= 0) & (value < classes) & _whole(value), value, words)


@support.register
def _(distribution: OneHot, value: Array) -> Support:
    words = "a one-hot event has a single 1 along its last axis, and zeros: take jax.nn.one_hot of the classes"
    hot = jnp.sum(value, axis=-1, keepdims=True) == 1
    return Support(((value == 0) | (value == 1)) & jnp.broadcast_to(hot, value.shape), value, words)


@support.register
def _(distribution: Concrete, value: Array) -> Support:
    off = logsumexp(value, axis=-1)
    words = "relaxed classes are the logarithms of shares that sum to one: take jax.nn.log_softmax"
    return Support(jnp.abs(off) < NEAR, off, words)


@support.register(UniformSphere)
@support.register(VonMisesFisher)
def _(distribution: Any, value: Array) -> Support:
    length = jnp.sqrt(jnp.sum(jnp.square(value)))
    return Support(
        jnp.abs(length - 1) < NEAR, length, "a point of the sphere has the length 1: divide it by its length"
    )


@support.register
def _(distribution: PixelCategorical, value: Array) -> Support:
    return _levels(value, distribution.logits.shape[-1])


@support.register(BetaBinomial)
@support.register(DiscretizedLogisticMixture)
def _(distribution: Any, value: Array) -> Support:
    return _levels(value, distribution.levels)


@support.register
def _(distribution: AutoregressivePixels, value: Array) -> Support:
    outputs = distribution.last_bias.shape[-1] // value.shape[-1]
    return _levels(value, 2 if outputs == 1 else outputs)


@support.register(NegativeBinomial)
@support.register(Multinomial)
def _(distribution: Any, value: Array) -> Support:
    return Support(
        (value >= 0) & _whole(value), value, "counts are whole numbers from 0 on: give the counts themselves"
    )


@support.register
def _(distribution: ZeroInflated, value: Array) -> Support:
    return support(distribution.base, value)


@support.register
def _(distribution: Steps, value: Sequence) -> Support:
    value = ended(value)
    inside, values, words = support(distribution.steps, value.values)
    over = value.mask == 0
    return Support(inside | jnp.expand_dims(over, tuple(range(1, inside.ndim))), values, words)


def checked(model: VAE, *, event: Callable[[Any], Event] = lambda x: x) -> VAE:
    """The model, whose examples are checked to be values that its likelihood has mass at.

    Densities here compute what their formula gives, whatever they are given, and raise nothing under `jit`: a Bernoulli
    of 255 is worth +762 nats, a categorical of -1 is its last class. This is the strict way, as `jax.debug_nans` is
    one: for a look at data and model before a long training, not for the training itself. `terms` and the `log_prob`
    of `likelihood` check by `jax.experimental.checkify`: called eagerly they raise, and whatever is compiled has to be
    wrapped by `checkify.checkify`, which hands the error back beside the result. The numbers are those of the model.

    Args:
        model: any.
        event: x -> the part of an example that the likelihood is over: `lambda x: x[0]` where x is (image, class).

    Returns:
        The model. Its `terms` raise a ValueError, at trace time, where the event is not shaped as the likelihood's
        draws are.

    Example:
        >>> from jaxvae import elbo, networks
        >>> from jaxvae.distributions import Normal
        >>> from jaxvae.model import standard_normal, vae
        >>> encoder, decoder = networks.mlp((), Normal.parameters((1,))), networks.mlp((), Bernoulli.parameters((3,)))
        >>> strict = checked(vae(encoder=encoder, decoder=decoder, prior=standard_normal((1,))))
        >>> params = strict.init(jax.random.key(0), jnp.ones(3))
        >>> bound = jax.jit(checkify.checkify(lambda x: elbo(strict, jax.random.key(1), params, x)))
        >>> bound(jnp.ones(3))[0].get() is None
        True
        >>> print(bound(255 * jnp.ones(3))[0].get())
        x holds 255.0, and a Bernoulli has mass on 0 and 1 alone: binarise the data, ...
    """

    def terms(key: Key, params: Params, x: Any) -> Terms:
        distribution, draw = jax.eval_shape(lambda: _of_the_model(model, key, params, x))
        value = event(x)
        shapes = [[leaf.shape for leaf in jax.tree.leaves(tree)] for tree in (value, draw)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"the likelihood is over {_shapes(shapes[1])}, and x has {_shapes(shapes[0])}: give the part of x that "
                "it is over as checked(model, event=...)"
            )
        _check(distribution, value)
        return model.terms(key, params, x)

    return model._replace(terms=terms, likelihood=lambda params, z: Checked(model.likelihood(params, z)))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Checked:
    """A distribution whose `log_prob` checks that there is one.

    Args:
        distribution: what is wrapped.
    """

    distribution: Distribution

    def sample(self, key: Key) -> Event:
        """One draw."""
        return self.distribution.sample(key)

    def log_prob(self, value: Event) -> Array:
        """The log density, [], in nats, of a value that has one."""
        _check(self.distribution, value)
        return self.distribution.log_prob(value)

    def expectation(self) -> Event:
        """The mean."""
        return self.distribution.expectation()


def _of_the_model(model: VAE, key: Key, params: Params, x: Any) -> tuple[Distribution, Event]:
    likelihood = model.likelihood(params, model.posterior(params, x).sample(key))
    return likelihood, likelihood.sample(key)


def _check(distribution: Distribution, value: Any) -> None:
    inside, values, words = support(distribution, value)
    worst = jnp.ravel(values)[jnp.argmin(jnp.ravel(inside))]
    checkify.check(jnp.all(inside), "x holds {value}, and " + words, value=worst)


def _levels(value: Array, levels: int) -> Support:
    level = value * (levels - 1)
    inside = (level > -NEAR) & (level < levels - 1 + NEAR) & (jnp.abs(level - jnp.round(level)) < NEAR)
    words = f"pixels here have the {levels} levels 0, 1/{levels - 1}, ..., 1: divide 8-bit pixels by 255"
    if levels != 256:
        words = f"pixels here have the {levels} levels 0, 1/{levels - 1}, ..., 1: round them to these"
    return Support(inside, value, words)


def _whole(value: Array) -> Array:
    return value == jnp.round(value) if jnp.issubdtype(value.dtype, jnp.floating) else jnp.ones(value.shape, bool)


def _shapes(shapes: list[Any]) -> str:
    return " and ".join(map(str, shapes))
