"""Inputs without limits, read as if they had some."""

import jax.numpy as jnp

from jaxvae.types import Array, Network


def reading_within(network: Network, reach: float = 20.0) -> Network:
    """The same network reading its inputs held between two ends: no example, however far off, takes it anywhere new.

    x ↦ c + ½r tanh((x - c) / ½r),    c = x clipped to ±½r

    It is for encoders of data without limits, of a table's columns for instance. An input of 1e5 makes a posterior of
    1e5 otherwise, and its noise hides by how far the example is off. With the posterior of the end, the likelihood of
    x itself, which is not held, falls and falls.

    Args:
        network: of one input, of standardised numbers.
        reach: r > 0, the largest size that is read; numbers of up to half of it are left as they are.

    Returns:
        A network with the same params.

    Raises:
        ValueError: the reach is not positive.

    Example:
        >>> network = reading_within(Network(lambda key, x: {}, lambda params, x: {"mean": x}), 8.0)
        >>> [float(network.apply({}, jnp.array(x))["mean"]) for x in (-3.5, 1e30)]
        [-3.5, 8.0]
    """
    if not reach > 0:
        raise ValueError(f"reach={reach} must be positive, the largest size of a number that is read")

    def read(x: Array) -> Array:
        half = 0.5 * reach
        inside = jnp.clip(x, -half, half)
        return inside + half * jnp.tanh((x - inside) / half)

    return Network(
        lambda key, x, *others: network.init(key, read(x), *others),
        lambda params, x, *others: network.apply(params, read(x), *others),
    )
