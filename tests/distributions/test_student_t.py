import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy
from standard_errors import assert_mean

from jaxvae.distributions import Normal, StudentT

LOCATION = np.array([[0.3, -1.2], [2.0, 0.0]])
LOG_SCALE = np.array([[0.1, -1.0], [0.8, 0.0]])
LOG_DEGREES = np.array([[-1.0, 0.0], [1.5, 9.0]])
VALUE = np.array([[0.25, 40.0], [-300.0, 1.0]])


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-11), ("float32", 3e-6)])
def test_it_agrees_with_scipy(dtype, tolerance, float64):
    made = StudentT(*(jnp.asarray(field, dtype) for field in (LOCATION, LOG_SCALE, LOG_DEGREES)))
    expected = scipy.stats.t(np.exp(LOG_DEGREES), LOCATION, np.exp(LOG_SCALE)).logpdf(VALUE).sum()
    found = made.log_prob(jnp.asarray(VALUE, dtype))
    assert found.shape == ()
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=tolerance)


def test_with_one_scale_and_endless_degrees_it_is_gaussian():
    location, value = jnp.asarray(LOCATION, jnp.float32), jnp.array([[0.3, -1.0], [2.5, 3.0]])
    for log_degrees in (18.0, 1e4):
        made = StudentT(location, jnp.float32(-0.4), jnp.float32(log_degrees))
        expected = Normal(location, jnp.float32(-0.4)).log_prob(value)
        np.testing.assert_allclose(made.log_prob(value), expected, rtol=1e-6)
        assert made.sample(jax.random.key(0)).shape == (2, 2)


def test_its_gradients_agree_with_differences_of_scipys_density(float64):
    value = 1.7

    def log_density(fields):
        location, log_scale, log_degrees = fields
        return scipy.stats.t(np.exp(log_degrees), location, np.exp(log_scale)).logpdf(value)

    for point in itertools.product([0.2], [-0.5], [-1.0, np.log(15.9), np.log(16.1), 8.0]):
        point = np.array(point)
        gradient = jax.grad(lambda fields: StudentT(*fields).log_prob(jnp.asarray(value)))(
            tuple(map(jnp.asarray, point))
        )
        step = 1e-5 * np.eye(3)
        expected = [(log_density(point + s) - log_density(point - s)) / 2e-5 for s in step]
        np.testing.assert_allclose(np.array(gradient), expected, rtol=1e-5, atol=1e-6)


def test_its_draws_have_its_distribution_function():
    made = StudentT(jnp.array([0.5, -1.0, 2.0]), jnp.array([0.3, -0.7, 0.0]), jnp.log(jnp.array([1.0, 3.0, 50.0])))
    draws = np.asarray(jax.jit(jax.vmap(made.sample))(jax.random.split(jax.random.key(0), 20_000)))
    for column, (location, log_scale, degrees) in enumerate([(0.5, 0.3, 1.0), (-1.0, -0.7, 3.0), (2.0, 0.0, 50.0)]):
        expected = scipy.stats.t(degrees, location, np.exp(log_scale))
        assert scipy.stats.kstest(draws[:, column], expected.cdf).pvalue > 1e-3
    assert_mean(draws[:, 2], 2.0)


def test_gradients_pass_through_its_draws():
    """E[cos x] by its parameters: the mean of the path derivative against differences of scipy's integral."""
    point = np.array([0.4, -0.2, np.log(4.0)])

    def draw(fields, key):
        return jnp.cos(StudentT(*fields).sample(key))

    fields = tuple(jnp.asarray(number, jnp.float32) for number in point)
    gradients = jax.jit(jax.vmap(jax.grad(draw), (None, 0)))(fields, jax.random.split(jax.random.key(1), 20_000))

    def mean(fields):
        location, log_scale, log_degrees = fields
        density = scipy.stats.t(np.exp(log_degrees), location, np.exp(log_scale))
        grid = np.linspace(-400, 400, 400_001)
        return scipy.integrate.simpson(np.cos(grid) * density.pdf(grid), x=grid)

    step = 1e-4 * np.eye(3)
    expected = [(mean(point + s) - mean(point - s)) / 2e-4 for s in step]
    assert_mean(np.stack(gradients, axis=1), expected)


@pytest.mark.parametrize("log_degrees", [-30.0, -29.9, -29.4, -29.0, 0.0, 29.9, 30.0])
def test_it_is_exact_to_the_ends_of_its_degrees(log_degrees):
    """Under -29.3 it was too high by up to half of ln 2: the ratio of gammas ended before the degrees did."""
    degrees, value = np.exp(log_degrees), np.array([0.0, 0.5, 40.0, 1e9, 1e25, 1e35])
    made = StudentT(jnp.zeros(()), jnp.zeros(()), jnp.float32(log_degrees))
    # ln Γ((ν+1)/2) - ln Γ(ν/2) - ½ ln πν by Stirling's first order where scipy's difference has no digits
    with np.errstate(over="ignore"):
        top = scipy.special.gammaln((degrees + 1) / 2) - scipy.special.gammaln(degrees / 2)
    top = top - 0.5 * np.log(np.pi * degrees) if log_degrees < 20 else -0.5 * np.log(2 * np.pi)
    expected = top - 0.5 * (degrees + 1) * np.log1p(value**2 / degrees)
    found = jax.vmap(made.log_prob)(jnp.asarray(value, jnp.float32))
    np.testing.assert_allclose(found, expected, rtol=3e-6, atol=1e-5)


@pytest.mark.parametrize("log_degrees", [-1e4, 0.0, 1e4])
@pytest.mark.parametrize("log_scale", [-np.log(1e6), np.log(1e6)])
def test_it_is_finite_at_extremes(log_degrees, log_scale):
    fields = jnp.array([1e4, -1e4, 0.0]), jnp.full(3, log_scale, jnp.float32), jnp.full(3, log_degrees)
    log_prob = jax.jit(jax.value_and_grad(lambda fields, value: StudentT(*fields).log_prob(value), argnums=(0, 1)))
    value, gradient = log_prob(fields, jnp.array([1.0, 0.0, 0.0]))
    assert np.isfinite(value)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))


def test_parameters_are_the_shapes_of_the_outputs():
    made = StudentT(**{name: jnp.zeros(shape) for name, shape in StudentT.parameters((4, 3)).items()})
    assert jax.eval_shape(made.sample, jax.random.key(0)).shape == (4, 3)
    assert jax.eval_shape(made.expectation).shape == (4, 3)
