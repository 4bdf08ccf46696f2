"""Sprites: areas by scale, turns that show nothing, bits."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.run.data import sprites
from jaxvae.run.data.loading import load
from jaxvae.run.data.protocols import sprite_rows

SIDE = 32


@partial(jax.jit, static_argnames="side")
def drawn(factors, side=SIDE):
    return jax.vmap(lambda of: sprites.picture(*of, side=side))(factors)


def grid(shape, scale=5, angles=(3,), across=(15,), down=(15,)):
    axes = np.meshgrid([shape], [scale], angles, across, down, indexing="ij")
    return jnp.asarray(np.stack(axes, axis=-1).reshape(-1, 5))


@pytest.mark.parametrize("index", [0, 1, 2], ids=sprites.SHAPES)
def test_an_area_goes_with_the_square_of_the_scale(index):
    """And is 1 to 2% more than that of the figure, since a pixel is white from one half on."""
    places, angles = range(0, 32, 6), range(0, 40, 7)
    for scale in range(6):
        share = np.mean(drawn(grid(index, scale, angles, places, places)))
        expected = sprites.area(sprites.SHAPES[index]) * float(sprites.scale_of(scale)) ** 2
        np.testing.assert_allclose(share, 1.016 * expected, rtol=0.016, err_msg=f"scale {scale}")


def test_the_heart_has_its_area_and_fits_its_circle():
    line = np.linspace(-1.3, 1.3, 1301)
    a, b = np.meshgrid(line, line)
    heart = (a**2 + b**2 - 1) ** 3 <= a**2 * b**3
    np.testing.assert_allclose(heart.mean() * (2.6 + 2.6 / 1300) ** 2, 3.66197, rtol=1e-3)
    assert 1.42 < np.hypot(a, b)[heart].max() < sprites.HEART


@pytest.mark.parametrize(("index", "shown"), [(0, 10), (1, 20), (2, 40)], ids=sprites.SHAPES)
def test_a_turned_square_is_itself(index, shown):
    """Pixel for pixel: a square shows 10 of 40 angles, an ellipse 20, a heart all."""
    images = np.asarray(drawn(grid(index, 5, range(40)), side=64))
    np.testing.assert_array_equal(images, np.roll(images, shown, axis=0))
    assert len(np.unique(images.reshape(40, -1), axis=0)) == shown


def test_x_and_y_move_a_figure_along_the_picture_and_none_leaves_it():
    corners = np.asarray(drawn(grid(2, 5, (17,), (0, 31), (0, 31))))
    middles = [np.argwhere(image).mean(axis=0) for image in corners]  # (x, y) in (0, 0), (0, 31), (31, 0), (31, 31)
    np.testing.assert_allclose(middles[1] - middles[0], [0.6 * SIDE, 0], atol=0.5)
    np.testing.assert_allclose(middles[2] - middles[0], [0, 0.6 * SIDE], atol=0.5)
    for index in range(3):
        images = np.asarray(drawn(grid(index, 5, range(0, 40, 3), (0, 31), (0, 31))))
        touching = np.concatenate([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]])
        assert touching.mean() < 0.05  # a point of a circle at the edge, at most
        np.testing.assert_allclose(images.mean(axis=(1, 2)), images.mean(), rtol=0.12)  # nothing is cut off


def test_a_heart_stands_on_its_point():
    image = np.asarray(drawn(grid(2, 5, (0,)))[0])
    rows = image.sum(axis=1)
    filled = np.flatnonzero(rows)
    assert rows[filled[-1]] <= 3 < rows[filled[2]]


def test_eight_pixels_lie_in_a_byte():
    factors = jnp.asarray(sprites.factors_of(5 * 1024 + np.arange(0, 1024, 128)))
    bits = np.asarray(sprites.packed(factors[0, :3], factors[:, 3:], side=SIDE))
    assert bits.shape == (8, SIDE * SIDE // 8)
    assert sprites.COUNT == 737_280
    images = sprites.unpacked(bits, SIDE)
    assert (images.shape, images.dtype) == ((8, SIDE, SIDE, 1), np.uint8)
    np.testing.assert_array_equal(images[..., 0] == 255, drawn(factors))
    assert set(np.unique(images)) == {0, 255}


def test_the_factors_are_those_of_the_number():
    rows = np.random.default_rng(0).integers(sprites.COUNT, size=100)
    shape, scale, angle, x, y = sprites.factors_of(rows).T
    np.testing.assert_array_equal((((shape * 6 + scale) * 40 + angle) * 32 + x) * 32 + y, rows)


@pytest.mark.slow
def test_all_sprites_are_rendered_once_and_split(tmp_path):
    data = load("sprites", folder=tmp_path)
    assert (data.train.size, data.valid.size, data.test.size) == (717_280, 10_000, 10_000)
    kept = tmp_path / "arrays" / "sprites" / "1.0.0" / "bits.npy"
    assert kept.stat().st_size == 737_280 * 128 + 128
    factors = sprites.factors_of(sprite_rows("test"))
    np.testing.assert_array_equal(data.test.labels, factors[:, 0])
    np.testing.assert_array_equal(data.test.examples[:50, :, :, 0] == 255, drawn(jnp.asarray(factors[:50])))
    assert len(np.unique(np.concatenate([sprite_rows(part) for part in ("train", "valid", "test")]))) == 737_280
