"""An image told from a part of it: what is visible is the condition, what is hidden is the target."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.types import Array, Network, Shape


def visible_quadrants(shape: Shape, count: int) -> np.ndarray:
    """Which pixels are visible: the bottom left quadrant, then the top left one too, then the top right one too.

    Args:
        shape: of an image [H, W, C].
        count: 1, 2 or 3.

    Returns:
        [H, W, C] booleans.

    Raises:
        ValueError: another count, or an image without four quadrants.

    Example:
        >>> visible_quadrants((2, 2, 1), 2)[..., 0]
        array([[ True, False],
               [ True, False]])

    Source: the order is that of Pyro's example of a conditional VAE, after Sohn, Lee & Yan (2015), section 5.1.
    """
    if count not in (1, 2, 3):
        raise ValueError(f"one, two or three quadrants can be visible, not {count}")
    if min(shape[:2]) < 2:
        raise ValueError(f"an image of {shape[0]} x {shape[1]} pixels has no four quadrants; take a larger one")
    left = (np.arange(shape[1]) < shape[1] // 2)[None, :, None]
    top = (np.arange(shape[0]) < shape[0] // 2)[:, None, None]
    return np.broadcast_to((~top & left, left, left | top)[count - 1], shape)


def parted(image: Array, visible: np.ndarray) -> tuple[Array, Array]:
    """An image as a target and its condition.

    Args:
        image: [H, W, C].
        visible: [H, W, C] booleans, the same for every image.

    Returns:
        The hidden pixels [n], in raster order, and the image [H, W, C] with zeros in their place.
    """
    return image.reshape(-1)[np.flatnonzero(~visible)], jnp.where(visible, image, jnp.zeros_like(image))


def completed(seen: Array, hidden: Array, visible: np.ndarray) -> Array:
    """The image of its two parts.

    Args:
        seen: [H, W, C] the condition.
        hidden: [n] pixels, in raster order.
        visible: [H, W, C] booleans.

    Returns:
        [H, W, C].

    Example:
        >>> visible = visible_quadrants((2, 2, 1), 1)
        >>> image = jnp.arange(4.0).reshape(2, 2, 1)
        >>> hidden, seen = parted(image, visible)
        >>> bool(jnp.all(completed(seen, hidden, visible) == image))
        True
    """
    return seen.reshape(-1).at[np.flatnonzero(~visible)].set(hidden).reshape(seen.shape)


def of_hidden(decoder: Network, visible: np.ndarray) -> Network:
    """A decoder of images as one of their hidden pixels.

    Args:
        decoder: to named outputs [H, W, C, ...], or to others, which stay as they are: a shared scale for instance.
        visible: [H, W, C] booleans.

    Returns:
        To named outputs [n, ...].
    """
    rows = np.flatnonzero(~visible)

    def of_pixels(output: Array) -> Array:
        if output.shape[: visible.ndim] != visible.shape:
            return output
        return output.reshape(visible.size, *output.shape[visible.ndim :])[rows]

    def apply(params: Any, *inputs: Any) -> dict[str, Array]:
        return jax.tree.map(of_pixels, decoder.apply(params, *inputs))

    return Network(decoder.init, apply)
