"""The root that inverts planar and Sylvester flows, with the gradient of the solution."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxvae.loops import fori_loop
from jaxvae.types import Array


def triangular_root(coefficients: Array, offset: Array, target: Array) -> Array:
    """The solution y of y + T tanh(y + b) = t, with T upper triangular and its diagonal above -1.

    The last equation holds y_M alone and rises with it; so do the others, one after the other, once the later ones are
    solved. The gradient is that of the solution, not of the steps to it.

    Args:
        coefficients: [M, M] T.
        offset: [M] b.
        target: [M] t.

    Returns:
        [M] y.
    """
    size = len(target)

    def residual(y: Array) -> Array:
        return y + jnp.sum(coefficients * jnp.tanh(y + offset)[None], axis=1) - target

    def solve(_: Callable[[Array], Array], start: Array) -> Array:
        y = start
        for i in reversed(range(size)):
            later = jnp.sum(coefficients[i, i + 1 :] * jnp.tanh(y[i + 1 :] + offset[i + 1 :]))
            y = y.at[i].set(_rising_root(coefficients[i, i], offset[i], target[i] - later))
        return y

    def solve_tangent(linear: Callable[[Array], Array], right: Array) -> Array:
        return jax.scipy.linalg.solve_triangular(jax.jacobian(linear)(jnp.zeros_like(right)), right, lower=False)

    return jax.lax.custom_root(residual, target, solve, solve_tangent)


def _rising_root(coefficient: Array, offset: Array, target: Array) -> Array:
    """y + c tanh(y + b) = t for c > -1, by halving the interval t ± |c| and Newton's steps that stay in it."""

    def value(y: Array) -> Array:
        return y + coefficient * jnp.tanh(y + offset) - target

    def step(_: int, interval: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        low, high, y = interval
        above = value(y) > 0
        low, high = jnp.where(above, low, y), jnp.where(above, y, high)
        slope = 1 + coefficient * (1 - jnp.square(jnp.tanh(y + offset)))
        newton = y - value(y) / slope
        return low, high, jnp.where((newton >= low) & (newton <= high), newton, 0.5 * (low + high))

    reach = jnp.abs(coefficient)
    return fori_loop(0, 40, step, (target - reach, target + reach, target))[2]
