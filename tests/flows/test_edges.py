"""Flows where single precision ends: short vectors, steep splines, inverses that leave the numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy

from jaxvae.flows import (
    HouseholderSylvester,
    Planar,
    inverse_autoregressive,
    rational_quadratic,
    rational_quadratic_inverse,
)
from jaxvae.networks import Free


def numbers(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def assert_determinant(transform, z):
    """ln |det| is that of the Jacobian, and the inverse leads back."""
    image, log_determinant = transform.forward(z)
    _, expected = np.linalg.slogdet(np.asarray(jax.jacobian(lambda z: transform.forward(z)[0])(z), float))
    np.testing.assert_allclose(log_determinant, expected, atol=1e-6)
    back, inverse_log_determinant = transform.inverse(image)
    np.testing.assert_allclose(back, z, atol=1e-5)
    np.testing.assert_allclose(inverse_log_determinant, -log_determinant, atol=1e-5)


@pytest.mark.parametrize("length", [1.0, 1e-4, 1e-6, 1e-12, 1e-30, 1e25])
def test_mirrors_have_normals_of_any_length(length):
    """At 1e-6 the log-determinant was off by 0.5: a mirror whose normal was not of length one is none."""
    fields = numbers(3, 3), numbers(2, 3, seed=1), numbers(3, seed=2), length * numbers(4, 5, seed=3)
    assert_determinant(HouseholderSylvester(*fields), numbers(5, seed=4))


def test_a_mirror_without_a_normal_is_a_mirror_all_the_same():
    fields = numbers(3, 3), numbers(2, 3, seed=1), numbers(3, seed=2), jnp.zeros((4, 5))
    assert_determinant(HouseholderSylvester(*fields), numbers(5, seed=4))


@pytest.mark.parametrize("length", [1.0, 1e-4, 1e-8, 1e-20, 0.0])
def test_planes_have_normals_of_any_length(length):
    """As short a normal as that needs as long a direction, for the space to be stretched at all."""
    direction = numbers(5) / max(length, 1e-15)
    transform = Planar(10 * direction, length * numbers(5, seed=1), jnp.float32(0.3))
    _, log_determinant = transform.forward(jnp.zeros(5))
    gradient = jax.grad(lambda transform: transform.forward(jnp.ones(5))[1])(transform)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))
    # 1 + (1 - tanh²) wᵀû at the direction that is used
    used, slope = transform._constrained()
    overlap = np.sum(np.asarray(used, float) * np.asarray(transform.weight, float))
    np.testing.assert_allclose(overlap, float(slope) - 1, atol=1e-6)
    expected = np.log1p((1 - np.tanh(np.float64(np.float32(0.3))) ** 2) * overlap)
    np.testing.assert_allclose(log_determinant, expected, atol=1e-6)


@pytest.mark.parametrize("deviation", [1.0, 5.0, 30.0])
def test_the_inverse_of_a_steep_spline_stays_within_its_ends(deviation):
    """At 5 the place in a bin was no number, or outside of it."""
    outputs = deviation * numbers(20_000, 23)
    y = jnp.asarray(np.random.default_rng(1).uniform(-5, 5, 20_000), jnp.float32)
    x, log_slope = jax.jit(jax.vmap(rational_quadratic_inverse))(y, outputs)
    assert np.all(np.abs(x) <= 5)
    assert np.all(np.isfinite(log_slope))
    back, log_slope_back = jax.jit(jax.vmap(rational_quadratic))(x, outputs)
    # a unit of the last place of x is moved by the slope, up to a thousand
    np.testing.assert_allclose(back, y, atol=1e-3)
    np.testing.assert_allclose(log_slope_back, -log_slope, atol=1e-2)
    gradient = jax.vmap(jax.grad(lambda y, outputs: sum(rational_quadratic_inverse(y, outputs)), argnums=(0, 1)))
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.jit(gradient)(y, outputs))


def autoregressive(factor):
    outputs = inverse_autoregressive.parameters((6,), num_flows=3, hidden=20)
    made = {
        name: output.first_value(jax.random.key(1), output.shape) if isinstance(output, Free) else jnp.zeros(output)
        for name, output in outputs.items()
    }
    return inverse_autoregressive(**made | {"output_weight": factor * made["output_weight"]})


@pytest.mark.parametrize("factor", [1.0, 100.0, 1e4])
@pytest.mark.parametrize("value", [1.0, 1e3, 1e10, 1e30])
def test_an_inverse_that_leaves_the_numbers_has_next_to_no_density(factor, value):
    density = autoregressive(factor)
    log_prob, gradient = jax.value_and_grad(lambda density: density.log_prob(jnp.full(6, value)))(density)
    assert np.isfinite(log_prob)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))
    if factor > 1 and value > 1:
        assert log_prob < -1e6


def test_where_it_leaves_none_the_inverse_is_exact():
    density = autoregressive(1.0)
    z, log_density = density.sample_and_log_prob(jax.random.key(0))
    np.testing.assert_allclose(density.log_prob(z), log_density, rtol=1e-5)
    assert scipy.stats.norm.logpdf(np.zeros(6)).sum() - 10 < log_density < 0
