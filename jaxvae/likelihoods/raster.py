"""Pixels in the order of reading, row by row: what lies around a pixel and comes before it.

n n n n n
n n n n n       radius 2: the twelve earlier neighbours n of the pixel x
n n x . .
"""

import math

import jax
import jax.numpy as jnp

from jaxvae.types import Array

Position = tuple[Array, Array]  # the row [] and the column [] of a pixel


def neighbours(radius: int) -> int:
    """How many pixels within `radius` rows and columns come before a pixel: 2 r (r + 1)."""
    return 2 * radius * (radius + 1)


def radius_of(count: int) -> int:
    """The radius that gives so many earlier neighbours.

    Raises:
        ValueError: no radius does.
    """
    radius = (math.isqrt(2 * max(count, 0) + 1) - 1) // 2
    if neighbours(radius) != count:
        raise ValueError(
            f"{count} is no number of earlier neighbours; it must be one of 0, 4, 12, 24, ..., 2 r (r + 1)"
        )
    return radius


def border(image: Array, radius: int) -> Array:
    """The image with zeros above it, to its left and to its right: [H, W, C] -> [H + r, W + 2r, C]."""
    return jnp.pad(image, ((radius, 0), (radius, radius), (0, 0)))


def before(image: Array, radius: int, *, itself: bool = False) -> Array:
    """Every pixel's earlier neighbours, in the order of reading; zeros where the image ends.

    Args:
        image: [H, W, C].
        radius: r, in rows and in columns.
        itself: the pixel too, as the last.

    Returns:
        [H, W, N, C], N = 2 r (r + 1) or one more.

    Example:
        >>> before(jnp.arange(1.0, 7.0).reshape(2, 3, 1), 1)[1, 1, :, 0]
        Array([1., 2., 3., 4.], dtype=float32)
    """
    height, width = image.shape[:2]
    padded = border(image, radius)
    windows = [
        padded[row : row + height, column : column + width][:, :, None]
        for row in range(radius + 1)
        for column in range(2 * radius + 1)
    ]
    nothing = jnp.zeros((height, width, 0, image.shape[2]), image.dtype)
    return jnp.concatenate([nothing, *windows[: neighbours(radius) + itself]], axis=2)


def before_one(padded: Array, position: Position, radius: int, *, itself: bool = False) -> Array:
    """The same for one pixel of an image with a border: [N, C].

    Args:
        padded: [H + r, W + 2r, C], of `border`.
        position: of the pixel, in the image without its border.
        radius: r.
        itself: the pixel too, as the last.
    """
    channels = padded.shape[-1]
    window = jax.lax.dynamic_slice(padded, (*position, 0), (radius + 1, 2 * radius + 1, channels))
    return window.reshape(-1, channels)[: neighbours(radius) + itself]


def written(padded: Array, position: Position, radius: int, pixel: Array) -> Array:
    """The image with a border, one of its pixels [C] set."""
    row, column = position
    return jax.lax.dynamic_update_slice(padded, pixel[None, None], (row + radius, column + radius, 0))


def positions(height: int, width: int) -> Position:
    """The rows and the columns [H W] of an image's pixels, in the order of reading."""
    rows, columns = jnp.divmod(jnp.arange(height * width), width)
    return rows, columns
