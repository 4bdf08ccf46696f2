"""JAX's loops, which may also stand inside a user's `shard_map`.

There the type of an array says over which devices it varies, and a loop's carry must keep its type: a sum that begins
at zero, the same on all devices, and becomes each device's own, is a TypeError. These begin it as what it becomes.
Outside of `shard_map` they are JAX's own, and nothing is traced twice.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxvae.types import Array

HELD = 2**21  # numbers that a CPU's caches hold beside what else is in them


def vmap_in_cache(function: Callable[[Any], Any], examples: Any, *, size: int) -> Any:
    """`jax.vmap` over examples; on a CPU it takes a part of them after the other where all would leave the cache.

    Out of the cache a bound does a third of its draws a second. An accelerator takes all at once. The numbers are the
    same, to what another order of summation moves them by.

    Args:
        function: of one example, a tree of arrays.
        examples: a tree of arrays [N, ...].
        size: the numbers that are held for one example, its pixels times the draws for instance.

    Returns:
        What the function returns, with a leading axis [N].

    Example:
        >>> vmap_in_cache(jnp.sum, jnp.ones((3, 2)), size=2)
        Array([2., 2., 2.], dtype=float32)
    """
    count = len(jax.tree.leaves(examples)[0])
    parts = math.ceil(count * size / HELD)
    if parts <= 4:  # what a part costs, its slice of the examples, is not worth it
        return jax.vmap(function)(examples)
    in_parts = partial(jax.lax.map, function, batch_size=math.ceil(count / parts))
    return jax.lax.platform_dependent(examples, cpu=in_parts, default=jax.vmap(function))


def scan(step: Callable[[Any, Any], tuple[Any, Any]], start: Any, xs: Any, **options: Any) -> tuple[Any, Any]:
    """`jax.lax.scan`.

    Args:
        step: (carry, x) -> (carry, y).
        start: the first carry, a tree of arrays.
        xs: a tree of arrays [T, ...], or None with `length`.
        options: `length`, `reverse`, `unroll`.

    Returns:
        The last carry, and the ys [T, ...].

    Example:
        >>> scan(lambda total, x: (total + x, total), jnp.zeros(()), jnp.arange(3.0))[1]
        Array([0., 0., 1.], dtype=float32)
    """

    def after(carry: Any) -> Any:
        return step(carry, jax.tree.map(lambda x: x[0], xs))[0]

    return jax.lax.scan(step, _begun(after, start), xs, **options)


def fori_loop(lower: int, upper: int, step: Callable[[Any, Any], Any], start: Any) -> Any:
    """`jax.lax.fori_loop`.

    Args:
        lower: the first index.
        upper: behind the last one.
        step: (index, carry) -> carry.
        start: the first carry, a tree of arrays.

    Returns:
        The last carry.

    Example:
        >>> int(fori_loop(0, 4, lambda i, total: total + i, jnp.zeros((), int)))
        6
    """
    return jax.lax.fori_loop(lower, upper, step, _begun(lambda carry: step(jnp.asarray(lower), carry), start))


def while_loop(goes_on: Callable[[Any], Array], step: Callable[[Any], Any], start: Any) -> Any:
    """`jax.lax.while_loop`.

    Args:
        goes_on: carry -> [] bool.
        step: carry -> carry.
        start: the first carry, a tree of arrays.

    Returns:
        The last carry.
    """
    return jax.lax.while_loop(goes_on, step, _begun(step, start))


def _begun(step: Callable[[Any], Any], start: Any) -> Any:
    """The first carry, with the type that a step makes of it."""
    if not getattr(jax.sharding.get_abstract_mesh(), "manual_axes", ()):
        return start
    for _ in jax.tree.leaves(start):  # what one part of the carry becomes may make another what it is
        after = step(start)
        if all(map(_alike, jax.tree.leaves(start), jax.tree.leaves(after))):
            break
        start = jax.tree.map(_varying_as, start, after)
    return start


def _alike(one: Any, other: Any) -> bool:
    return bool(jax.typeof(one) == jax.typeof(other))


def _varying_as(value: Any, like: Any) -> Any:
    """The value; a choice of which the other side is never taken has the type of both, and costs nothing."""
    return value if _alike(value, like) else jnp.where(False, jax.lax.stop_gradient(like), value)
