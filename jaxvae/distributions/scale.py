"""What keeps a bound a number: a floor and a ceiling for the logarithm of a scale, and an end of all nats.

A network's output has no limits, and an example unlike any of training's brings it to hundreds: then exp of it leaves
the numbers of single precision, and the bound is no number. Held, the bound of such an example is low, and finite. To
be the lower the farther off the example lies, it needs an encoder that stays sane there:
`jaxvae.networks.reading_within`.
"""

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
