from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.evaluation import best_posterior, inference_gap
from jaxvae.models import linear

MODEL = linear.linear_vae(latent=2)
X = jnp.array([1.6, -0.9, 0.9])


@pytest.fixture(autouse=True)
def _optax_promotes():
    """Optax's bias correction raises a Python float to an integer array, which the strict promotion forbids."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def gaussian_kl(mean, covariance, other_mean, other_covariance):
    """KL(N(mean, covariance) || N(other_mean, other_covariance))."""
    inverse, shift = np.linalg.inv(other_covariance), other_mean - mean
    log_ratio = np.log(np.linalg.det(other_covariance) / np.linalg.det(covariance))
    return 0.5 * (np.trace(inverse @ covariance) + shift @ inverse @ shift - len(mean) + log_ratio)


def rotated(angle):
    """A linear model with its columns rotated by an angle, and M = Wᵀ W + σ² I."""
    columns = np.array([[1.5, 0.0], [0.0, 0.6], [0.0, 0.5]])
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    loadings, center = columns @ rotation, np.array([0.1, 0.0, -0.3])
    params = linear.parameters(*(jnp.asarray(value, jnp.float32) for value in (loadings, center, 0.7)))
    return params, loadings.T @ loadings + 0.49 * np.eye(2)


def perturbed(params):
    """An encoder that is off in its mean and its scale."""
    encoder = params["encoder"]
    off = encoder | {
        "V": encoder["V"] + jnp.array([[0.1, 0.0, -0.1], [0.0, 0.2, 0.1]]),
        "log_scale": encoder["log_scale"] + jnp.array([0.3, -0.4]),
    }
    return params | {"encoder": off}


split = jax.jit(partial(inference_gap, MODEL, num_steps=400, num_samples=4000))


@pytest.mark.parametrize("angle", [0.0, 0.5, np.pi / 4])
def test_both_gaps_are_their_closed_forms(angle):
    params, precision = rotated(angle)
    off = perturbed(params)
    found = split(jax.random.key(0), off, X, linear.log_marginal(params, X))
    approximation = 0.5 * (np.log(np.diag(precision)).sum() - np.log(np.linalg.det(precision)))
    mean, covariance = (np.asarray(moment, np.float64) for moment in linear.exact_posterior(params, X))
    q = MODEL.posterior(off, X)
    inference = gaussian_kl(
        np.asarray(q.mean, np.float64), np.diag(np.exp(2 * np.float64(q.log_scale))), mean, covariance
    )
    assert inference - approximation > 0.1
    # what the ascent leaves is of the order of its noise squared
    slack = 2e-3
    assert found.approximation_standard_error < 0.05
    assert abs(found.approximation - approximation) < 5 * found.approximation_standard_error + slack
    assert abs(found.amortisation - (inference - approximation)) < 5 * found.amortisation_standard_error + slack
    np.testing.assert_allclose(found.inference, found.approximation + found.amortisation, atol=1e-4)
    assert (angle == 0) == (approximation < 1e-6)


def test_the_best_posterior_is_found_from_far_away():
    params, precision = rotated(np.pi / 4)
    found = jax.jit(partial(best_posterior, MODEL, num_steps=600, learning_rate=0.05))(
        jax.random.key(0), perturbed(params), X
    )
    mean, _ = linear.exact_posterior(params, X)
    np.testing.assert_allclose(found.mean, mean, atol=0.02)
    np.testing.assert_allclose(found.log_scale, np.log(0.7) - 0.5 * np.log(np.diag(precision)), atol=0.03)


def test_an_exact_encoder_has_no_gap():
    params, _ = rotated(0.0)
    found = split(jax.random.key(0), params, X, linear.log_marginal(params, X))
    for gap in (found.inference, found.approximation, found.amortisation):
        assert abs(gap) < 5 * found.approximation_standard_error + 1e-3


def test_from_an_exact_posterior_the_ascent_comes_back_to_it():
    """The gradient sticks the landing: without noise at the exact posterior, the end is as exact as Adam itself."""
    params, _ = rotated(0.0)
    best = jax.jit(partial(best_posterior, MODEL, num_steps=400, num_draws=2))(jax.random.key(0), params, X)
    start = MODEL.posterior(params, X)
    np.testing.assert_allclose(best.mean, start.mean, atol=1e-3)
    np.testing.assert_allclose(best.log_scale, start.log_scale, atol=1e-3)


def test_no_steps_and_no_draws_are_refused():
    params, _ = rotated(0.0)
    with pytest.raises(ValueError, match="num_steps=0"):
        best_posterior(MODEL, jax.random.key(0), params, X, num_steps=0)
    with pytest.raises(ValueError, match="num_samples=1"):
        inference_gap(MODEL, jax.random.key(0), params, X, jnp.zeros(()), num_samples=1)
