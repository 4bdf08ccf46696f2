import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from standard_errors import assert_mean

from jaxvae.distributions import FullNormal, Normal, closed_kl, lower_triangle, sample_and_log_prob


def density(shape=(2, 2), seed=0):
    rng = np.random.default_rng(seed)
    values = {name: rng.normal(size=size) for name, size in FullNormal.parameters(shape).items()}
    return FullNormal(**{name: jnp.asarray(value, jnp.float32) for name, value in values.items()})


def test_the_density_is_scipys():
    ours = density()
    factor = np.asarray(ours.cholesky(), np.float64)
    assert np.all(np.triu(factor, 1) == 0)
    assert np.count_nonzero(factor) == 10
    assert np.all(np.diagonal(factor) > 0)
    truth = scipy.stats.multivariate_normal(np.asarray(ours.mean, np.float64).ravel(), factor @ factor.T)
    values = np.random.default_rng(1).normal(size=(5, 2, 2)).astype(np.float32)
    found = jax.jit(jax.vmap(ours.log_prob))(values)
    np.testing.assert_allclose(found, truth.logpdf(values.reshape(5, 4)), rtol=1e-4)


def test_draws_have_the_moments_and_their_density():
    ours = density()
    keys = jax.random.split(jax.random.key(0), 20_000)
    draws, log_densities = jax.jit(jax.vmap(lambda key: sample_and_log_prob(ours, key)))(keys)
    np.testing.assert_allclose(log_densities[:50], jax.vmap(ours.log_prob)(draws[:50]), rtol=1e-3, atol=1e-3)
    centred = np.asarray(draws - ours.expectation()[None], np.float64).reshape(-1, 4)
    factor = np.asarray(ours.cholesky(), np.float64)
    assert_mean(centred, 0)
    assert_mean(centred[:, :, None] * centred[:, None], factor @ factor.T)


def test_the_closed_divergence_is_the_mean_of_the_drawn_one():
    ours = density()
    other = Normal(jnp.full((2, 2), 0.3), jnp.asarray([[0.2, -0.1], [0.5, 1.0]]))
    closed = jax.jit(closed_kl)(ours, other)

    def drawn(key):
        z, log_density = sample_and_log_prob(ours, key)
        return log_density - other.log_prob(z)

    assert_mean(jax.jit(jax.vmap(drawn))(jax.random.split(jax.random.key(1), 20_000)), closed)
    shared = Normal(jnp.zeros((2, 2)), jnp.asarray(0.4))  # one scale for all dimensions
    spread = Normal(jnp.zeros((2, 2)), jnp.full((2, 2), 0.4))
    np.testing.assert_allclose(closed_kl(ours, shared), closed_kl(ours, spread), rtol=1e-6)


def test_without_covariance_it_is_the_diagonal_one():
    diagonal = Normal(jnp.array([0.5, -1.0]), jnp.array([0.3, -0.7]))
    full = FullNormal(diagonal.mean, diagonal.log_scale, jnp.zeros(1))
    other = Normal(jnp.zeros(2), jnp.zeros(2))
    np.testing.assert_allclose(closed_kl(full, other), closed_kl(diagonal, other), rtol=1e-6)
    value = jnp.array([0.1, 0.2])
    np.testing.assert_allclose(full.log_prob(value), diagonal.log_prob(value), rtol=1e-6)
    np.testing.assert_array_equal(full.sample(jax.random.key(0)), diagonal.sample(jax.random.key(0)))


@pytest.mark.parametrize("size", [0, 1, 2, 5])
def test_every_number_has_its_own_place_in_the_triangle(size):
    count = size * (size + 1) // 2
    matrix = np.asarray(lower_triangle(jnp.arange(1, count + 1), size))
    assert matrix.shape == (size, size)
    assert np.all(np.triu(matrix, 1) == 0)
    assert sorted(matrix[np.tril_indices(size)]) == list(range(1, count + 1))


def test_one_dimension():
    one = FullNormal(jnp.ones(1), jnp.zeros(1), jnp.zeros(0))
    np.testing.assert_allclose(one.log_prob(jnp.zeros(1)), scipy.stats.norm(1).logpdf(0), rtol=1e-6)
