"""A rising curve of one number, of rational quadratic pieces, with its inverse: what a neural spline flow bends with.

Source: Durkan, Bekasov, Murray & Papamakarios, "Neural Spline Flows" (2019), section 3.1 and appendix A;
Gregory & Delbourgo, "Piecewise Rational Quadratic Interpolation to Monotonic Data" (1982).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.nn import softmax, softplus

from jaxvae.types import Array

LIMIT = 5.0  # beyond it the curve is the identity
LEAST = 1e-3  # the least slope of a knot, and the least share of a bin


class _Piece(NamedTuple):
    """One bin of the curve, all []."""

    left: Array
    width: Array
    bottom: Array
    height: Array
    slope_left: Array
    slope_right: Array


def rational_quadratic(x: Array, outputs: Array) -> tuple[Array, Array]:
    """The curve at x.

    g(x) = y_k + h (s ξ² + d_k ξ(1 - ξ)) / (s + (d_{k+1} + d_k - 2s) ξ(1 - ξ)),    ξ = (x - x_k) / w,  s = h / w

    Args:
        x: [].
        outputs: [3 K - 1] of a network: the logits of K widths and of K heights, and K - 1 slopes between the bins
            before softplus. Zeros make the identity.

    Returns:
        [] g(x), and [] ln g'(x).

    Source: Durkan et al. (2019), section 3.1.
    """
    inside = jnp.abs(x) < LIMIT
    x_inside = jnp.where(inside, x, 0)
    piece = _piece(x_inside, outputs, by_height=False)
    place = jnp.clip((x_inside - piece.left) / piece.width, 0, 1)  # the bins' ends are sums, with their rounding
    y = piece.bottom + piece.height * _rise(piece, place)
    return jnp.where(inside, y, x), jnp.where(inside, _log_slope(piece, place), 0)


def rational_quadratic_inverse(y: Array, outputs: Array) -> tuple[Array, Array]:
    """Where the curve reaches y, by the root of a quadratic.

    Args:
        y: [].
        outputs: [3 K - 1] as in `rational_quadratic`.

    Returns:
        [] x with g(x) = y, and [] ln dx/dy.

    Source: Durkan et al. (2019), appendix A.
    """
    inside = jnp.abs(y) < LIMIT
    y_inside = jnp.where(inside, y, 0)
    piece = _piece(y_inside, outputs, by_height=True)
    slope = piece.height / piece.width
    rise = jnp.clip(y_inside - piece.bottom, 0, piece.height)
    bend = rise * (piece.slope_left + piece.slope_right - 2 * slope)
    a = piece.height * (slope - piece.slope_left) + bend
    b = piece.height * piece.slope_left - bend
    c = -slope * rise
    root = jnp.sqrt(jnp.maximum(jnp.square(b) - 4 * a * c, 1e-12 * jnp.square(b)))
    # of the two forms of the root, the one that adds numbers of one sign
    rising = b >= 0
    place = jnp.where(rising, 2 * c / jnp.where(rising, -b - root, -1), (root - b) / jnp.where(rising, 1, 2 * a))
    place = jnp.clip(place, 0, 1)
    x = piece.left + piece.width * place
    return jnp.where(inside, x, y), jnp.where(inside, -_log_slope(piece, place), 0)


def _rise(piece: _Piece, place: Array) -> Array:
    """The share of the bin's height at the share ξ of its width."""
    slope, between = piece.height / piece.width, place * (1 - place)
    bend = piece.slope_left + piece.slope_right - 2 * slope
    return (slope * jnp.square(place) + piece.slope_left * between) / (slope + bend * between)


def _log_slope(piece: _Piece, place: Array) -> Array:
    slope, between = piece.height / piece.width, place * (1 - place)
    bend = piece.slope_left + piece.slope_right - 2 * slope
    along = piece.slope_right * jnp.square(place) + 2 * slope * between + piece.slope_left * jnp.square(1 - place)
    return 2 * jnp.log(slope) + jnp.log(along) - 2 * jnp.log(slope + bend * between)


def _piece(value: Array, outputs: Array, *, by_height: bool) -> _Piece:
    """The bin in which x lies, or y."""
    bins = (len(outputs) + 1) // 3
    widths, heights = _sizes(outputs[:bins]), _sizes(outputs[bins : 2 * bins])
    # softplus of it is 1 - LEAST, so that zeros are the slope of the identity
    inner = LEAST + softplus(outputs[2 * bins :] + jnp.log(jnp.expm1(1 - LEAST)))
    slopes = jnp.concatenate([jnp.ones_like(inner[:1]), inner, jnp.ones_like(inner[:1])])
    rights, tops = jnp.cumsum(widths) - LIMIT, jnp.cumsum(heights) - LIMIT
    # the last end is a limit that rounding must not move
    index = jnp.sum(value >= (tops if by_height else rights)[:-1])
    here = jax.nn.one_hot(index, bins, dtype=bool)

    def at(values: Array) -> Array:
        # A sum over a few bins is faster than a gather, and its gradient than a scatter.
        return jnp.sum(jnp.where(here, values, 0))

    width, height = at(widths), at(heights)
    return _Piece(at(rights) - width, width, at(tops) - height, height, at(slopes[:-1]), at(slopes[1:]))


def _sizes(logits: Array) -> Array:
    """[K] bins that share the span from -LIMIT to LIMIT."""
    shares = LEAST + (1 - LEAST * len(logits)) * softmax(logits)
    return 2 * LIMIT * shares
