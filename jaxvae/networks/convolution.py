"""A convolution whose gradients are matrix products on a CPU.

Inside a `lax.scan`, and training is one, XLA's compiler for CPUs turns the gradients of a convolution, by its kernel
and by its images, into naive loops, which took 2 to 90 times as long as the products they stand for (jax issue 12868).
Other devices keep XLA's own.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from jaxvae.types import Array

LAYOUT = ("NHWC", "HWIO", "NHWC")
Padding = Sequence[tuple[int, int]]


def convolution(xs: Array, kernel: Array, strides: tuple[int, int], padding: Padding) -> Array:
    """The cross-correlation that networks call a convolution.

    y[i, j] = Σ_{a, b} x[s i + a, s j + b] K[a, b]

    Args:
        xs: [B, H, W, C] images, of any dtype: the two are brought to one, as those of a product are.
        kernel: [h, w, C, F] K.
        strides: s, in rows and in columns.
        padding: zeros before and after, in rows and in columns.

    Returns:
        [B, H', W', F].
    """
    dtype = jnp.result_type(xs, kernel)
    return _convolution(xs.astype(dtype), kernel.astype(dtype), strides, padding)


@partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def _convolution(xs: Array, kernel: Array, strides: tuple[int, int], padding: Padding) -> Array:
    return lax.conv_general_dilated(xs, kernel, strides, padding, dimension_numbers=LAYOUT)


@_convolution.defjvp
def _tangent(strides: tuple[int, int], padding: Padding, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    xs, kernel = primals
    along_xs, along_kernel = tangents

    def change(xs: Array, kernel: Array) -> Array:
        return lax.platform_dependent(
            xs,
            kernel,
            cpu=partial(_product, strides=strides, padding=padding),
            default=lambda xs, kernel: _convolution(xs, kernel, strides, padding),
        )

    return _convolution(xs, kernel, strides, padding), change(along_xs, kernel) + change(xs, along_kernel)


def _product(xs: Array, kernel: Array, *, strides: tuple[int, int], padding: Padding) -> Array:
    """The same convolution as one matrix product with the patches of the images."""
    height, width, channels, features = kernel.shape
    padded = jnp.pad(xs, ((0, 0), *padding, (0, 0)))
    rows = (padded.shape[1] - height) // strides[0] + 1
    columns = (padded.shape[2] - width) // strides[1] + 1
    patches = [
        padded[:, a : a + strides[0] * (rows - 1) + 1 : strides[0], b : b + strides[1] * (columns - 1) + 1 : strides[1]]
        for a in range(height)
        for b in range(width)
    ]
    return jnp.concatenate(patches, axis=-1) @ kernel.reshape(height * width * channels, features)[None, None]
