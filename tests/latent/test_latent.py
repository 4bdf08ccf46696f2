"""The latent space against closed forms of the linear model, quadrature and scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy
from standard_errors import assert_mean

from jaxvae.distributions import Laplace, Normal, even_mixture
from jaxvae.latent import (
    add_attribute,
    aggregated_posterior,
    attribute_vector,
    likelihood_near,
    linear_interpolation,
    spherical_interpolation,
    traverse,
)
from jaxvae.models import linear

CENTER, NOISE = np.array([0.5, -1.0, 0.0, 2.0]), 0.5
LOADINGS = np.random.default_rng(0).normal(size=(4, 2))
X = np.array([1.5, -2.0, 0.4, 2.2])
MODEL = linear.linear_vae(latent=2)


def linear_params():
    return linear.parameters(
        jnp.asarray(LOADINGS, jnp.float32), jnp.asarray(CENTER, jnp.float32), jnp.asarray(NOISE, jnp.float32)
    )


@pytest.mark.parametrize("spread", [0.5, 1.0, 3.0])
def test_near_an_example_the_means_scatter_as_the_posterior_does(spread):
    params, x = linear_params(), jnp.asarray(X, jnp.float32)
    keys = jax.random.split(jax.random.key(0), 20_000)
    means = jax.vmap(lambda key: likelihood_near(MODEL, key, params, x, spread=spread).expectation())(keys)
    scaled_precision = LOADINGS.T @ LOADINGS + NOISE**2 * np.eye(2)
    center = LOADINGS @ np.linalg.solve(scaled_precision, LOADINGS.T @ (X - CENTER)) + CENTER
    variance = NOISE**2 / np.diag(scaled_precision)
    covariance = spread**2 * LOADINGS @ np.diag(variance) @ LOADINGS.T
    assert_mean(means, center)
    away = np.asarray(means, np.float64) - center
    assert_mean(away[:, :, None] * away[:, None, :], covariance)


def test_images_near_an_example_carry_the_likelihoods_own_noise():
    params, x = linear_params(), jnp.asarray(X, jnp.float32)

    def image(key):
        key_z, key_x = jax.random.split(key)
        return likelihood_near(MODEL, key_z, params, x, spread=0.0).sample(key_x)

    images = jax.vmap(image)(jax.random.split(jax.random.key(1), 20_000))
    reconstruction = likelihood_near(MODEL, jax.random.key(0), params, x, spread=0.0).expectation()
    assert_mean((np.asarray(images) - np.asarray(reconstruction)) ** 2, np.full(4, NOISE**2))


def three_posteriors():
    mean = np.array([[-2.0], [0.5], [3.0]])
    scale = np.array([[0.3], [1.0], [0.5]])
    return mean, scale, Normal(jnp.asarray(mean), jnp.log(jnp.asarray(scale)))


def test_the_aggregated_posterior_is_the_mixture_of_all_posteriors(float64):
    mean, scale, posteriors = three_posteriors()
    mixture = even_mixture(posteriors)
    for z in (-40.0, -1.0, 0.0, 3.3):
        truth = scipy.special.logsumexp(scipy.stats.norm.logpdf(z, mean[:, 0], scale[:, 0])) - np.log(3)
        assert float(mixture.log_prob(jnp.array([z]))) == pytest.approx(truth, abs=1e-10)
    grid = jnp.linspace(-12, 12, 20_001)
    densities = jnp.exp(jax.vmap(lambda z: mixture.log_prob(z[None]))(grid))
    assert scipy.integrate.simpson(densities, x=grid) == pytest.approx(1, abs=1e-9)
    assert float(mixture.expectation()[0]) == pytest.approx(0.5)


def test_draws_from_the_aggregated_posterior_follow_its_density(float64):
    mean, scale, posteriors = three_posteriors()
    mixture = even_mixture(posteriors)
    draws = np.asarray(jax.vmap(mixture.sample)(jax.random.split(jax.random.key(0), 20_000)))[:, 0]

    def distribution_function(z):
        return scipy.stats.norm.cdf(np.asarray(z)[..., None], mean[:, 0], scale[:, 0]).mean(axis=-1)

    assert scipy.stats.kstest(draws, distribution_function).pvalue > 1e-4
    assert scipy.stats.kstest(draws, scipy.stats.norm(draws.mean(), draws.std()).cdf).pvalue < 1e-4
    assert_mean(draws**2, (mean**2 + scale**2).mean())


def test_the_aggregated_posterior_takes_any_posterior(float64):
    mixture = even_mixture(Laplace(jnp.array([[0.0, 1.0], [2.0, 1.0]]), jnp.zeros((2, 2))))
    truth = np.mean([scipy.stats.laplace.pdf([1.0, 0.0], at).prod() for at in ([0.0, 1.0], [2.0, 1.0])])
    assert float(mixture.log_prob(jnp.array([1.0, 0.0]))) == pytest.approx(np.log(truth))


@pytest.mark.slow
def test_the_aggregated_posterior_of_the_models_own_data_is_its_prior():
    """In a linear model with the exact posterior, data drawn from the model gives back N(0, I) as N grows."""
    loadings = jnp.asarray(np.linalg.qr(LOADINGS)[0] * np.array([1.5, 0.7]), jnp.float32)
    params = linear.parameters(loadings, jnp.asarray(CENTER, jnp.float32), jnp.asarray(NOISE, jnp.float32))
    xs = jax.vmap(lambda key: MODEL.sample(key, params))(jax.random.split(jax.random.key(0), 20_000))
    mixture = aggregated_posterior(MODEL, params, xs)
    draws = jax.vmap(mixture.sample)(jax.random.split(jax.random.key(1), 10_000))
    assert_mean(draws, np.zeros(2))
    assert_mean(draws[:, :, None] * draws[:, None, :], np.eye(2))
    assert float(mixture.log_prob(jnp.zeros(2))) == pytest.approx(-np.log(2 * np.pi), abs=0.05)


def test_the_straight_line_has_both_ends_and_equal_steps():
    start, end = jax.random.normal(jax.random.key(0), (2, 3, 2))
    path = linear_interpolation(start, end, num_steps=5)
    assert path.shape == (5, 3, 2)
    np.testing.assert_array_equal(path[0], start)
    np.testing.assert_array_equal(path[-1], end)
    np.testing.assert_allclose(np.diff(path, axis=0), np.broadcast_to((end - start) / 4, (4, 3, 2)), atol=1e-6)


def test_between_codes_of_equal_length_the_arc_is_shoemakes(float64):
    start, end = np.random.default_rng(1).normal(size=(2, 20))
    end *= np.linalg.norm(start) / np.linalg.norm(end)
    angle = np.arccos(start @ end / (start @ start))
    t = np.linspace(0, 1, 7)[:, None]
    expected = (np.sin((1 - t) * angle) * start + np.sin(t * angle) * end) / np.sin(angle)
    path = spherical_interpolation(jnp.asarray(start), jnp.asarray(end), num_steps=7)
    np.testing.assert_allclose(path, expected, atol=1e-12)


@pytest.mark.parametrize(
    ("start", "end", "angle"),
    [
        ([1.0, 2.0, -1.0], [0.3, 0.1, 4.0], None),
        ([1.0, 2.0, 0.0], [3.0, 6.0, 0.0], 0.0),
        ([1.0, 2.0, 0.0], [-3.0, -6.0, 0.0], np.pi),
        ([1.0, 0.0, 0.0], [1.0, 1e-4, 0.0], 1e-4),
        ([1.0, 0.0, 0.0], [-1.0, 1e-4, 0.0], np.pi - 1e-4),
    ],
)
def test_on_the_arc_the_angle_and_the_length_change_evenly(start, end, angle, float64):
    path = np.asarray(spherical_interpolation(jnp.array(start), jnp.array(end), num_steps=9))
    start, end = np.array(start), np.array(end)
    np.testing.assert_allclose(path[[0, -1]], [start, end], atol=1e-9)
    lengths = np.linalg.norm(path, axis=1)
    np.testing.assert_allclose(lengths, np.linspace(np.linalg.norm(start), np.linalg.norm(end), 9), rtol=1e-9)
    if angle is None:
        angle = np.arccos(start @ end / np.linalg.norm(start) / np.linalg.norm(end))
    units = path / lengths[:, None]
    turned = 2 * np.arcsin(np.linalg.norm(np.diff(units, axis=0), axis=1) / 2)
    np.testing.assert_allclose(turned, angle / 8, atol=1e-7)


def test_where_there_is_no_arc_the_path_is_the_line():
    zero, there = jnp.zeros(3), jnp.array([1.0, 2.0, 2.0])
    line = linear_interpolation(zero, there, num_steps=4)
    np.testing.assert_allclose(spherical_interpolation(zero, there, num_steps=4), line, atol=1e-6)
    np.testing.assert_allclose(spherical_interpolation(there, zero, num_steps=4), line[::-1], atol=1e-6)
    assert not np.any(spherical_interpolation(zero, zero, num_steps=4))
    one, other = jnp.array([-1.0]), jnp.array([3.0])
    np.testing.assert_allclose(spherical_interpolation(one, other, num_steps=5)[:, 0], [-1, 0, 1, 2, 3], atol=1e-6)


def test_an_arc_keeps_the_shape_of_the_latent():
    start, end = jax.random.normal(jax.random.key(0), (2, 3, 2))
    path = spherical_interpolation(start, end, num_steps=4)
    flat = spherical_interpolation(start.reshape(-1), end.reshape(-1), num_steps=4)
    np.testing.assert_array_equal(path.reshape(4, 6), flat)


@pytest.mark.parametrize("path", [linear_interpolation, spherical_interpolation])
def test_a_path_without_two_ends_is_refused(path):
    with pytest.raises(ValueError, match="num_steps=1 must be at least two"):
        path(jnp.zeros(2), jnp.ones(2), num_steps=1)


def test_a_traversal_moves_one_dimension_alone():
    z, values = jnp.array([1.0, 2.0, 3.0]), jnp.array([-1.0, 0.0, 5.0])
    path = traverse(z, 1, values)
    np.testing.assert_array_equal(path, [[1, -1, 3], [1, 0, 3], [1, 5, 3]])
    np.testing.assert_array_equal(traverse(z, -2, values), path)
    for dimension in (3, -4):
        with pytest.raises(ValueError, match=f"no dimension {dimension}"):
            traverse(z, dimension, values)


def test_the_attribute_vector_is_the_difference_of_the_means():
    codes = np.random.default_rng(0).normal(size=(11, 2, 3)).astype(np.float32)
    present = np.arange(11) % 3 == 0
    vector = attribute_vector(jnp.asarray(codes), jnp.asarray(present))
    np.testing.assert_allclose(vector, codes[present].mean(axis=0) - codes[~present].mean(axis=0), atol=1e-6)
    assert np.all(np.isnan(attribute_vector(jnp.asarray(codes), jnp.ones(11, bool))))


def test_the_whole_attribute_carries_one_mean_onto_the_other():
    codes = jax.random.normal(jax.random.key(0), (10, 4))
    present = jnp.arange(10) < 4
    vector = attribute_vector(codes, present)
    without = jnp.mean(codes[4:], axis=0)
    moved = add_attribute(without, vector, jnp.array([0.0, 0.5, 1.0]))
    np.testing.assert_allclose(moved[2], jnp.mean(codes[:4], axis=0), atol=1e-6)
    np.testing.assert_allclose(moved[1], (moved[0] + moved[2]) / 2, atol=1e-6)
    np.testing.assert_array_equal(moved[0], without)
