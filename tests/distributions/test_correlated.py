import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy
from standard_errors import assert_mean

from jaxvae.distributions import CorrelatedNormal, Normal, closed_kl
from jaxvae.priors import committed_rate, correlated_normal

D, CORRELATION = 5, 0.8
COVARIANCE = CORRELATION ** np.abs(np.subtract.outer(np.arange(D), np.arange(D)))
PRIOR = CorrelatedNormal(jnp.zeros(D), CORRELATION)


def kl_to_prior(mean, scales):
    """The divergence of Gaussians by determinants."""
    inverse = np.linalg.inv(COVARIANCE)
    log_ratio = np.log(np.linalg.det(COVARIANCE)) - 2 * np.log(scales).sum()
    return 0.5 * (np.trace(inverse @ np.diag(scales**2)) + mean @ inverse @ mean - D + log_ratio)


def test_density_and_draws_are_those_of_the_covariance():
    value = np.array([0.3, -1.0, 2.0, 0.1, 0.7])
    expected = scipy.stats.multivariate_normal(np.zeros(D), COVARIANCE).logpdf(value)
    np.testing.assert_allclose(PRIOR.log_prob(jnp.asarray(value, jnp.float32)), expected, rtol=1e-5)
    draws = jax.jit(jax.vmap(PRIOR.sample))(jax.random.split(jax.random.key(0), 20_000))
    assert_mean(draws, np.zeros(D))
    assert_mean(np.asarray(draws)[:, :, None] * np.asarray(draws)[:, None, :], COVARIANCE)


def test_the_closed_divergence():
    mean, log_scale = np.array([0.5, -1.0, 0.0, 2.0, 0.3]), np.array([0.1, -0.5, -1.0, 0.3, -2.0])
    q = Normal(jnp.asarray(mean, jnp.float32), jnp.asarray(log_scale, jnp.float32))
    np.testing.assert_allclose(closed_kl(q, PRIOR), kl_to_prior(mean, np.exp(log_scale)), rtol=1e-5)


def test_no_independent_gaussian_comes_below_the_committed_rate():
    def rate(log_scale):
        return kl_to_prior(np.zeros(D), np.exp(log_scale))

    found = scipy.optimize.minimize(rate, np.zeros(D), tol=1e-10)
    np.testing.assert_allclose(found.fun, committed_rate(D, CORRELATION), rtol=1e-6)
    assert found.fun > 1


@pytest.mark.parametrize(("shape", "correlation"), [((3,), 1.0), ((1,), 0.5), ((2, 2), 0.5)])
def test_impossible_priors_are_refused(shape, correlation):
    with pytest.raises(ValueError, match="a correlated prior needs"):
        correlated_normal(shape, correlation=correlation)
