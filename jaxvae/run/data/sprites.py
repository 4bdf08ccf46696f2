"""Sprites: one white figure on black, in every shape, scale, angle and place: 737,280 pictures with their factors.

They are rendered here, by JAX on its default device, and kept with 8 pixels in a byte: 94 MB at 32x32, 377 MB at
64x64. The factors are those of a well-known data set, the pictures are not: figures, sizes and rasters are our own, and
numbers of the two do not compare.

A pixel is white where half of its 4 x 4 sub-pixels or more lie in the figure. A square that is turned by a quarter is
itself, and an ellipse by a half, pixel for pixel: of 40 angles a square shows 10 and an ellipse 20, so that no code can
tell the angle of all pictures.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from jaxvae.run.data import arrays
from jaxvae.run.data.dataset import DataError, Split
from jaxvae.run.data.protocols import SIDES
from jaxvae.types import Array

FACTORS: Mapping[str, int] = {"shape": 3, "scale": 6, "angle": 40, "x": 32, "y": 32}
SHAPES = ("square", "ellipse", "heart")
COUNT = math.prod(FACTORS.values())  # 737,280
RADIUS = 0.2  # of the circle around a figure of the largest scale, in sides of the picture: none leaves it
HEART = 1.43  # the circle around the heart of the equation below: it reaches to 1.4246
SUB = 4  # sub-pixels along a side of a pixel
QUARTER = FACTORS["angle"] // 4
AT_ONCE = FACTORS["x"] * FACTORS["y"]


def factors_of(rows: np.ndarray) -> np.ndarray:
    """The factors of pictures by their numbers.

    Args:
        rows: [n] int below 737,280.

    Returns:
        [n, 5] int: shape (square, ellipse, heart), scale (.5 to 1), angle (of 40 over the circle), x, y.

    Example:
        >>> factors_of(np.array([0, 737_279])).tolist()
        [[0, 0, 0, 0, 0], [2, 5, 39, 31, 31]]
    """
    return np.stack(np.unravel_index(rows, tuple(FACTORS.values())), axis=-1)


def scale_of(index: Array) -> Array:
    """The size of a figure of the scale with this number, .5 to 1."""
    return 0.5 + 0.1 * jnp.asarray(index, float)


def picture(shape: Array, scale: Array, angle: Array, across: Array, down: Array, *, side: int) -> Array:
    """One picture.

    Args:
        shape: [] int, as all factors, in the order of FACTORS.
        scale: [].
        angle: [].
        across: [] x.
        down: [] y.
        side: in pixels.

    Returns:
        [side, side] booleans, rows from the top.
    """
    middle = (jnp.arange(side * SUB, dtype=float) + 0.5) / (side * SUB)
    reach = (1 - 2 * RADIUS) / 31
    x, y = ((middle - RADIUS - reach * place.astype(float)) / scale_of(scale) for place in (across, down))
    x, y = x[None, :], y[:, None]
    # Whole quarters of a turn swap cosine and sine and their signs, exactly; what is left of the angle is less.
    turn = (2 * np.pi / FACTORS["angle"]) * (angle % QUARTER).astype(float)
    c, s = jnp.cos(turn), jnp.sin(turn)
    c, s = jnp.stack([c, -s, -c, s])[angle // QUARTER], jnp.stack([s, c, -s, -c])[angle // QUARTER]
    inside = jax.lax.switch(shape, [_square, _ellipse, _heart], c * x + s * y, c * y - s * x)
    covered = jnp.sum(inside.reshape(side, SUB, side, SUB), axis=(1, 3))
    return covered >= SUB * SUB // 2


def area(shape: str) -> float:
    """Of a figure of scale 1, in squares of the picture's side.

    Args:
        shape: one of SHAPES.

    Returns:
        The area: 2 R² of the square, π R²/2 of the ellipse, and of the heart 3.6620 (R/1.43)², by quadrature; a
        raster's is 1 to 2% more, since a pixel of which just half is covered is white.
    """
    return {"square": 2 * RADIUS**2, "ellipse": np.pi * RADIUS**2 / 2, "heart": 3.66197 * (RADIUS / HEART) ** 2}[shape]


def _square(u: Array, v: Array) -> Array:
    half = RADIUS / math.sqrt(2)
    return (jnp.abs(u) <= half) & (jnp.abs(v) <= half)


def _ellipse(u: Array, v: Array) -> Array:
    return jnp.square(u) + jnp.square(2 * v) <= RADIUS**2


def _heart(u: Array, v: Array) -> Array:
    """(a² + b² - 1)³ ≤ a² b³, point down, within the circle."""
    a, b = u * (HEART / RADIUS), -v * (HEART / RADIUS)
    return (jnp.square(a) + jnp.square(b) - 1) ** 3 <= jnp.square(a) * b**3


@partial(jax.jit, static_argnames="side")
def packed(figure: Array, places: Array, *, side: int) -> Array:
    """Pictures with 8 pixels in a byte, rendered on the device.

    Args:
        figure: [3] int shape, scale and angle of all.
        places: [n, 2] int, x and y of each.
        side: in pixels, a multiple of 8.

    Returns:
        [n, side side / 8] uint8, the first pixel in the highest bit.
    """
    # Of one figure: only its own shape is computed, which of several under `vmap` would be all three.
    return jax.vmap(lambda place: jnp.packbits(picture(*figure, *place, side=side).reshape(-1)))(places)


def unpacked(bits: np.ndarray, side: int) -> np.ndarray:
    """Pictures as bytes.

    Args:
        bits: [n, side side / 8] of `packed`.
        side: in pixels.

    Returns:
        [n, side, side, 1] uint8, 0 or 255.
    """
    return (np.unpackbits(bits, axis=1) * np.uint8(255)).reshape(-1, side, side, 1)


def rendered(name: str, folder: Path) -> np.ndarray:
    """All pictures, rendered the first time and kept.

    Args:
        name: one of SIDES.
        folder: where arrays are kept.

    Returns:
        [737280, side side / 8] uint8, memory-mapped, in the order of `factors_of`.

    Raises:
        DataError: there is no room for them.
    """
    side, path = SIDES[name], folder / "arrays" / name / "1.0.0" / "bits.npy"
    shape = (COUNT, side * side // 8)
    found = arrays.read(path, shape)
    if found is None:
        try:
            with arrays.locked(folder / "arrays" / f"{name}.lock"), arrays.written(path, shape, np.uint8) as bits:
                for begin in tqdm(range(0, COUNT, AT_ONCE), desc=f"rendering {name}", unit_scale=AT_ONCE):
                    factors = jnp.asarray(factors_of(np.arange(begin, begin + AT_ONCE)))
                    bits[begin : begin + AT_ONCE] = packed(factors[0, :3], factors[:, 3:], side=side)
        except OSError as error:
            raise DataError(
                f"{name} cannot be rendered into {path.parent} ({error}): choose another folder with folder= or "
                "JAXVAE_DATA."
            ) from error
        found = arrays.read(path, shape)
        assert found is not None
    return found


def split_of(name: str, rows: Sequence[int] | np.ndarray, folder: Path) -> Split:
    """Some of the pictures, by their numbers.

    Args:
        name: one of SIDES.
        rows: [n] their numbers, in any order.
        folder: where arrays are kept.

    Returns:
        Images [n, side, side, 1] uint8, in memory or, if many, in a file that ends with the process; their shapes are
        the labels.
    """
    bits, side, rows = rendered(name, folder), SIDES[name], np.asarray(rows)
    images = arrays.room((len(rows), side, side, 1), np.uint8, folder / "arrays")
    for begin in range(0, len(rows), 2**14):
        part = rows[begin : begin + 2**14]
        images[begin : begin + len(part)] = unpacked(bits[part], side)
    return Split(images, factors_of(rows)[:, 0].astype(np.int32))
