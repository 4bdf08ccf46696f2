"""What keeps a bound a number: a floor and a ceiling for the logarithm of a scale, and an end of all nats.

A network's output has no limits, and an example unlike any of training's brings it to hundreds: then exp of it leaves
the numbers of single precision, and the bound is no number. Held, the bound of such an example is low, and finite. To
be the lower the farther off the example lies, it needs an encoder that stays sane there:
`jaxvae.networks.reading_within`.
"""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from jaxvae.types import Array

FREE = 14.0  # so far from zero a logarithm is left as it is
REACH = 16.0  # and never comes to lie beyond this


def held(log_scale: Array, *, free: float = FREE, reach: float = REACH) -> Array:
    """ln σ as every density of the library takes it: itself between -14 and 14, and never beyond ±16.

    held(l) = c + 2 tanh((l - c) / 2),    c = l clipped to ±14

    So σ lies between 1.1e-7, about what single precision tells from one, and 8.9e6. The curve and its first two
    derivatives have no step, and between the ends it is the identity to the last bit.

    Args:
        log_scale: [*shape] l, unbounded.
        free: where the identity ends.
        reach: the floor is minus this and the ceiling plus this; beyond `free`.

    Returns:
        [*shape].

    Example:
        >>> [round(float(held(jnp.array(l))), 3) for l in (-1e4, -3.5, 15.0)]
        [-16.0, -3.5, 14.924]
    """
    inside = jnp.clip(log_scale, -free, free)
    margin = reach - free
    return inside + margin * jnp.tanh((log_scale - inside) / margin)


def above(log_scale: Array, least: float, *, margin: float = 1.0) -> Array:
    """ln σ of a scale that is learned and does not fall below a floor: itself where σ is above e floors.

    above(l) = c + m tanh((l - c) / m),    c = max(l, ln least + m)

    Where the data is constant the best scale is zero: the density of such a pixel grows without end, and what it adds
    to a bound tells of nothing but how long was trained. With a floor it adds -ln least - ½ ln 2π of a Gaussian.

    Args:
        log_scale: [*shape] l, unbounded.
        least: the floor, in the units of the data.
        margin: m, within which the curve turns.

    Returns:
        [*shape].

    Example:
        >>> [round(float(jnp.exp(above(jnp.log(jnp.array(scale)), 0.01))), 4) for scale in (1e-9, 0.01, 1.0)]
        [0.01, 0.0127, 1.0]
    """
    inside = jnp.maximum(log_scale, math.log(least) + margin)
    return inside + margin * jnp.tanh((log_scale - inside) / margin)


def with_least_scale(family: Callable[..., Any], least: float) -> Callable[..., Any]:
    """A family of densities with an output `log_scale`, whose scale has a floor.

    Args:
        family: named outputs -> a distribution; `Normal`, say.
        least: the floor, in the units of the data.

    Returns:
        A function of the same outputs, to be given as `likelihood` to `jaxvae.vae`.

    Raises:
        ValueError: the floor is not positive.

    Example:
        >>> from jaxvae.distributions import Normal
        >>> runaway = with_least_scale(Normal, 0.01)(mean=jnp.zeros(1), log_scale=jnp.array(-1e4))
        >>> round(float(runaway.log_prob(jnp.zeros(1))), 4)  # -ln 0.01 - ½ ln 2π
        3.6862
    """
    if not least > 0:
        raise ValueError(f"least={least} must be positive: it is the smallest scale, in the units of the data")

    def likelihood(*, log_scale: Array, **outputs: Array) -> Any:
        return family(log_scale=above(log_scale, least), **outputs)

    return likelihood


def representable(nats: Array) -> Array:
    """A log density or a divergence, [], of which several can be added: at most a hundredth of the greatest float.

    A square of what lies farther off than 1e19 scales is beyond single precision; an infinity of it would be no number
    once it met another. No gradient passes where the end is reached.

    Example:
        >>> bool(jnp.isfinite(representable(-jnp.inf) - representable(jnp.inf)))
        True
    """
    nats = jnp.asarray(nats)
    most = 0.01 * float(jnp.finfo(nats.dtype).max)
    return jnp.clip(nats, -most, most)
