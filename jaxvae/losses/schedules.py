"""Weights that change with the steps, beside those of optax."""

import jax.numpy as jnp
import optax


def cyclical(*, period: int, rising: float = 0.5, top: float = 1.0) -> optax.Schedule:
    """A weight that rises from zero to its top and stays there, again and again.

    Args:
        period: steps in one cycle.
        rising: the share of a cycle in which it rises, between 0 and 1.
        top: the weight it reaches.

    Returns:
        step -> the weight, for `negative_bound(beta=...)`.

    Raises:
        ValueError: the period is less than one step, or the share not in (0, 1].

    Example:
        >>> [float(cyclical(period=4)(jnp.array(step))) for step in range(6)]
        [0.0, 0.5, 1.0, 1.0, 0.0, 0.5]

    Source: Fu et al., "Cyclical Annealing Schedule" (2019), equation 6.
    """
    if period < 1 or not 0 < rising <= 1:
        raise ValueError(f"period={period} must be at least one step, and rising={rising} in (0, 1]")
    return lambda step: top * jnp.minimum(1.0, jnp.mod(step, period) / (rising * period))
