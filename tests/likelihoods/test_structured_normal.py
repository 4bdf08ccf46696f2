import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy
from standard_errors import assert_mean

from jaxvae.distributions import Normal
from jaxvae.likelihoods import StructuredNormal, raster

SHAPE = (4, 3, 2)


def made(radius, dtype=np.float32, shape=SHAPE):
    rng = np.random.default_rng(radius)
    shapes = StructuredNormal.parameters(shape, radius)
    scales = {"mean": 1.0, "log_diagonal": 0.5, "off_diagonal": 0.3}
    fields = {name: jnp.asarray(scales[name] * rng.normal(size=shape), dtype) for name, shape in shapes.items()}
    return StructuredNormal(**fields)


def dense_precision(distribution, channel, radius):
    """L Lᵀ of one channel, entry by entry: pixel j has a weight on each pixel before it within the radius."""
    height, width, _ = SHAPE
    transposed = np.zeros((height * width, height * width))
    for row, column in itertools.product(range(height), range(width)):
        j = row * width + column
        transposed[j, j] = np.exp(distribution.log_diagonal[row, column, channel])
        window = itertools.product(range(-radius, radius + 1), repeat=2)
        for n, (down, right) in enumerate([step for step in window if step < (0, 0)]):
            if row + down >= 0 and 0 <= column + right < width:
                weight = distribution.off_diagonal[row, column, n, channel]
                transposed[j, (row + down) * width + column + right] = weight
    assert np.all(np.triu(transposed, 1) == 0)
    return transposed.T @ transposed


@pytest.mark.parametrize("radius", [0, 1, 2])
def test_it_agrees_with_a_dense_gaussian(radius, float64):
    distribution = made(radius, np.float64)
    value = np.random.default_rng(9).normal(size=SHAPE)
    expected = 0
    for channel in range(2):
        covariance = np.linalg.inv(dense_precision(distribution, channel, radius))
        dense = scipy.stats.multivariate_normal(np.ravel(distribution.mean[..., channel]), covariance)
        expected += dense.logpdf(value[..., channel].ravel())
    log_prob = jax.jit(distribution.log_prob)(jnp.asarray(value))
    assert log_prob.shape == ()
    np.testing.assert_allclose(log_prob, expected, rtol=1e-9)


@pytest.mark.parametrize("radius", [1, 2])
def test_its_draws_have_the_dense_mean_and_covariance(radius):
    distribution = made(radius)
    draws = np.asarray(jax.jit(jax.vmap(distribution.sample))(jax.random.split(jax.random.key(0), 20_000)))
    assert_mean(draws, distribution.mean)
    residuals = draws - np.asarray(distribution.mean)
    for channel in range(2):
        covariance = np.linalg.inv(dense_precision(distribution, channel, radius))
        flat = residuals[..., channel].reshape(len(draws), -1)
        assert_mean(flat[:, :, None] * flat[:, None, :], covariance)
    between = residuals[..., 0].reshape(len(draws), -1)[:, :, None] * residuals[..., 1].reshape(len(draws), 1, -1)
    assert_mean(between, np.zeros(between.shape[1:]))


def test_without_neighbours_it_is_the_diagonal_gaussian():
    distribution = made(0)
    value = jnp.asarray(np.random.default_rng(1).normal(size=SHAPE), jnp.float32)
    diagonal = Normal(distribution.mean, -distribution.log_diagonal)
    np.testing.assert_allclose(distribution.log_prob(value), diagonal.log_prob(value), rtol=1e-6)
    np.testing.assert_allclose(distribution.sample(jax.random.key(3)), diagonal.sample(jax.random.key(3)), rtol=1e-5)


@pytest.mark.slow
def test_a_draw_s_noise_is_found_again_and_its_path_has_a_gradient(float64):
    """log p(x(ε)) = Σ d - ½ |ε|² - ..., so along the path its gradient is 1 in each d, 0 in μ and w."""
    distribution = made(2, np.float64)
    key = jax.random.key(0)
    gradient = jax.grad(lambda d: d.log_prob(d.sample(key)))(distribution)
    np.testing.assert_allclose(gradient.log_diagonal, np.ones(SHAPE), atol=1e-9)
    np.testing.assert_allclose(gradient.mean, 0, atol=1e-9)
    np.testing.assert_allclose(gradient.off_diagonal, 0, atol=1e-9)
    by_mean = jax.jacobian(lambda mean: StructuredNormal(mean, *list(vars(distribution).values())[1:]).sample(key))
    np.testing.assert_allclose(by_mean(distribution.mean).reshape(24, 24), np.eye(24), atol=1e-12)


@pytest.mark.parametrize("log_diagonal", [-np.log(1e6), np.log(1e6)])
@pytest.mark.parametrize("mean", [-1e4, 1e4])
def test_it_is_finite_at_extremes(mean, log_diagonal):
    shapes = StructuredNormal.parameters((3, 3, 1))
    ends = {"mean": mean, "log_diagonal": log_diagonal, "off_diagonal": 1e4}
    distribution = StructuredNormal(**{name: jnp.full(shapes[name], end, jnp.float32) for name, end in ends.items()})
    value, gradient = jax.jit(jax.value_and_grad(lambda d: d.log_prob(jnp.zeros((3, 3, 1)))))(distribution)
    assert np.isfinite(value)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))


def test_neighbours_of_one_pixel_are_those_of_all():
    image = jnp.asarray(np.random.default_rng(0).normal(size=(5, 4, 3)), jnp.float32)
    for radius, itself in itertools.product((0, 1, 2, 4), (False, True)):
        everywhere = raster.before(image, radius, itself=itself)
        padded = raster.border(image, radius)
        for row, column in zip(*raster.positions(5, 4), strict=True):
            one = raster.before_one(padded, (row, column), radius, itself=itself)
            np.testing.assert_array_equal(one, everywhere[row, column])
        assert everywhere.shape[2] == raster.neighbours(radius) + itself
        assert raster.radius_of(raster.neighbours(radius)) == radius


@pytest.mark.parametrize("count", [-1, 1, 5, 9, 25])
def test_a_number_of_neighbours_that_no_radius_gives_is_refused(count):
    with pytest.raises(ValueError, match=f"{count} is no number of earlier neighbours"):
        raster.radius_of(count)


def test_parameters_are_the_shapes_of_the_outputs():
    shapes = StructuredNormal.parameters((5, 4, 3), radius=2)
    assert shapes["off_diagonal"] == (5, 4, 12, 3)
    fields = StructuredNormal(**{name: jnp.zeros(shape) for name, shape in shapes.items()})
    assert jax.eval_shape(fields.sample, jax.random.key(0)).shape == (5, 4, 3)
    assert jax.eval_shape(fields.log_prob, jnp.zeros((5, 4, 3))).shape == ()
