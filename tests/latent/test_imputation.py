"""Pseudo-Gibbs sampling against the Gaussian conditional that it must reach with an exact posterior."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from standard_errors import assert_mean

from jaxvae.latent import pseudo_gibbs
from jaxvae.models import linear

CENTER, NOISE = np.array([0.5, -1.0, 0.0, 2.0, 0.3]), 0.6
LOADINGS = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 2)))[0] * np.array([1.5, 0.7])
OBSERVED = np.array([True, False, True, False, False])
X = np.array([1.5, 40.0, 0.4, -40.0, 40.0])  # what is missing starts far away
MODEL = linear.linear_vae(latent=2)
NUM_CHAINS = 20_000


def linear_params():
    """Orthogonal loadings, so that the diagonal posterior is exact."""
    return linear.parameters(
        jnp.asarray(LOADINGS, jnp.float32), jnp.asarray(CENTER, jnp.float32), jnp.asarray(NOISE, jnp.float32)
    )


def conditional(observed):
    """The mean and the covariance of the missing pixels given the observed, from the joint Gaussian of all pixels."""
    covariance = LOADINGS @ LOADINGS.T + NOISE**2 * np.eye(5)
    missing = ~observed
    gain = covariance[np.ix_(missing, observed)] @ np.linalg.inv(covariance[np.ix_(observed, observed)])
    mean = CENTER[missing] + gain @ (X - CENTER)[observed]
    return mean, covariance[np.ix_(missing, missing)] - gain @ covariance[np.ix_(observed, missing)]


def last_rounds(params, observed, *, num_rounds=60):
    """The last round of many independent chains: samples and means."""

    def last(key):
        rounds = pseudo_gibbs(
            MODEL, key, params, jnp.asarray(X, jnp.float32), jnp.asarray(observed), num_rounds=num_rounds
        )
        return rounds.samples[-1], rounds.means[-1]

    samples, means = jax.jit(jax.vmap(last))(jax.random.split(jax.random.key(0), NUM_CHAINS))
    return np.asarray(samples, np.float64), np.asarray(means, np.float64)


@pytest.mark.parametrize("observed", [OBSERVED, np.zeros(5, bool)], ids=["some observed", "none observed"])
def test_with_the_exact_posterior_it_draws_from_the_conditional(observed):
    samples, means = last_rounds(linear_params(), observed)
    mean, covariance = conditional(observed)
    assert_mean(samples[:, ~observed], mean)
    away = samples[:, ~observed] - mean
    assert_mean(away[:, :, None] * away[:, None, :], covariance)
    assert_mean(means[:, ~observed], mean)


def test_a_posterior_that_is_too_wide_is_told_from_the_exact_one():
    params = linear_params()
    wide = params | {"encoder": params["encoder"] | {"log_scale": params["encoder"]["log_scale"] + 0.3}}
    samples, _ = last_rounds(wide, OBSERVED)
    mean, covariance = conditional(OBSERVED)
    with pytest.raises(AssertionError, match="standard errors away"):
        assert_mean((samples[:, ~OBSERVED] - mean) ** 2, np.diag(covariance))


def test_the_means_are_the_smoother_guess():
    samples, means = last_rounds(linear_params(), OBSERVED)
    mean, _ = conditional(OBSERVED)
    noise = (samples - means)[:, ~OBSERVED]
    assert_mean(noise**2, np.full(3, NOISE**2))
    worse = np.mean((samples[:, ~OBSERVED] - mean) ** 2 - (means[:, ~OBSERVED] - mean) ** 2, axis=0)
    assert np.all(worse > NOISE**2 / 2)


def test_one_round_is_a_code_and_then_its_pixels():
    key, x = jax.random.key(3), jnp.asarray(X, jnp.float32)
    rounds = pseudo_gibbs(MODEL, key, linear_params(), x, jnp.zeros(5, bool), num_rounds=1)
    first, _ = last_rounds(linear_params(), np.zeros(5, bool), num_rounds=1)
    mean, covariance = linear.exact_posterior(linear_params(), x)
    assert rounds.samples.shape == rounds.means.shape == (1, 5)
    assert_mean(first, LOADINGS @ np.asarray(mean) + CENTER)
    away = first - first.mean(axis=0)
    expected = LOADINGS @ np.asarray(covariance) @ LOADINGS.T + NOISE**2 * np.eye(5)
    assert_mean(away[:, :, None] * away[:, None, :], expected)


def test_what_is_observed_stays():
    x, observed = jnp.asarray(X, jnp.float32), jnp.asarray(OBSERVED)
    rounds = pseudo_gibbs(MODEL, jax.random.key(0), linear_params(), x, observed, num_rounds=20)
    for chain in rounds:
        np.testing.assert_array_equal(chain[:, OBSERVED], np.broadcast_to(x[OBSERVED], (20, 2)))
        assert np.all(np.diff(chain[:, ~OBSERVED], axis=0) != 0)
    whole = pseudo_gibbs(MODEL, jax.random.key(0), linear_params(), x, jnp.ones(5, bool), num_rounds=3)
    np.testing.assert_array_equal(whole.samples, np.broadcast_to(x, (3, 5)))


def test_what_cannot_be_is_refused():
    x = jnp.asarray(X, jnp.float32)
    with pytest.raises(ValueError, match="num_rounds=0"):
        pseudo_gibbs(MODEL, jax.random.key(0), linear_params(), x, jnp.ones(5, bool), num_rounds=0)
    with pytest.raises(ValueError, match=r"observed \(4,\) must have the shape of x \(5,\)"):
        pseudo_gibbs(MODEL, jax.random.key(0), linear_params(), x, jnp.ones(4, bool), num_rounds=1)
