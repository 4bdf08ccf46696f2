from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rows import first
from standard_errors import assert_mean, assert_same_mean

from jaxvae.bounds import batched, iwae_bound
from jaxvae.evaluation import log_likelihood
from jaxvae.model import Terms
from jaxvae.models import linear


def loose_model():
    """A linear model whose posterior is too wide and off in the mean, and an example."""
    loadings = jnp.array([[1.2, 0.3], [-0.4, 0.9], [0.8, 0.5], [0.1, -1.0]])
    params = linear.parameters(loadings, jnp.zeros(4), jnp.asarray(0.7))
    params["encoder"]["V"] += 0.05
    params["encoder"]["log_scale"] += 0.2
    return linear.linear_vae(latent=2), params, jnp.array([1.0, -0.5, 0.7, 0.2])


def batched_log_likelihood(chunk):
    return batched(partial(log_likelihood, chunk=chunk))


@pytest.mark.parametrize("chunk", first(1, [3, 100]))
def test_it_is_the_importance_weighted_bound_in_distribution(chunk):
    model, params, x = loose_model()
    xs, num_samples = jnp.tile(x, (5000, 1)), 7
    ours = batched_log_likelihood(chunk)(model, jax.random.key(0), params, xs, num_samples=num_samples)
    bound = batched(iwae_bound)(model, jax.random.key(1), params, xs, num_samples=num_samples)
    for power in (1, 2, 3):
        assert_same_mean(np.asarray(ours, float) ** power, np.asarray(bound, float) ** power)
    # the mean weight is p(x), with the variance of seven independent draws
    one = batched(iwae_bound)(model, jax.random.key(2), params, xs, num_samples=1)
    truth = float(linear.log_marginal(params, x))
    weights, single = (np.exp(np.asarray(a, float) - truth) for a in (ours, one))
    assert_mean(weights, 1)
    assert_same_mean(num_samples * (weights - 1) ** 2, (single - 1) ** 2)


@pytest.mark.parametrize(("num_samples", "chunk"), [(1, 100), (7, 1), (7, 3), (100, 100), (101, 100), (250, 100)])
def test_exactly_as_many_draws_as_asked_for_are_counted(num_samples, chunk):
    """All weights are one, so that their sum counts the draws."""
    model = linear.linear_vae(latent=1)._replace(terms=lambda key, params, x: Terms(x, x[None], jnp.zeros_like(x)))
    estimate = jax.jit(partial(log_likelihood, model, num_samples=num_samples, chunk=chunk))
    counted = np.exp(float(estimate(jax.random.key(0), {}, jnp.zeros(())))) * num_samples
    np.testing.assert_allclose(counted, num_samples, rtol=1e-5)


def test_every_draw_has_a_key_of_its_own():
    """The largest of 35 uniform draws is the largest of 35 distinct keys, whatever the chunk."""
    scale = 1e6  # then logsumexp is the largest

    def terms(key, params, x):
        return Terms(x, x[None], scale * jax.random.uniform(key))

    model = linear.linear_vae(latent=1)._replace(terms=terms)
    for chunk in (6, 35):
        estimates = batched_log_likelihood(chunk)(model, jax.random.key(1), {}, jnp.zeros(4000), num_samples=35)
        largest = (np.asarray(estimates, float) + np.log(35)) / scale
        assert_mean(largest, 35 / 36)  # the mean of the largest of n independent uniform draws is n/(n + 1)


def test_memory_does_not_grow_with_the_number_of_draws():
    model, params, x = loose_model()

    def temporary_bytes(num_samples):
        compiled = jax.jit(partial(log_likelihood, model, num_samples=num_samples)).lower(jax.random.key(0), params, x)
        return compiled.compile().memory_analysis().temp_size_in_bytes

    few, many = temporary_bytes(5000), temporary_bytes(500_000)
    assert few > 100 * 2 * 4  # a chunk of draws of z, so that zero does not equal zero here
    assert abs(many - few) <= 0.1 * few
    whole = jax.jit(partial(iwae_bound, model, num_samples=500_000)).lower(jax.random.key(0), params, x)
    assert whole.compile().memory_analysis().temp_size_in_bytes > 100 * many


def test_with_the_exact_posterior_it_is_log_p(float64):
    loadings = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 2)))[0] * np.array([1.5, 0.7])
    params = linear.parameters(jnp.asarray(loadings), jnp.zeros(4), jnp.asarray(0.6))
    xs = jnp.asarray(np.random.default_rng(1).normal(size=(3, 4)))
    expected = jax.vmap(linear.log_marginal, (None, 0))(params, xs)
    model = linear.linear_vae(latent=2)
    for num_samples in (1, 7, 250):
        found = batched_log_likelihood(100)(model, jax.random.key(0), params, xs, num_samples=num_samples)
        np.testing.assert_allclose(found, expected, atol=1e-8)


def test_with_another_posterior_many_draws_reach_log_p():
    model, params, x = loose_model()
    num_samples, truth = 5000, linear.log_marginal(*loose_model()[1:])
    xs = jnp.tile(x, (50, 1))
    found = batched_log_likelihood(100)(model, jax.random.key(0), params, xs, num_samples=num_samples)
    assert_mean(np.exp(np.asarray(found, float) - float(truth)), 1)
    assert np.abs(found - truth).max() < 0.1
    assert found.std() > 1e-4


def test_it_rises_with_the_number_of_draws():
    model, params, x = loose_model()
    xs, truth = jnp.tile(x, (4000, 1)), float(linear.log_marginal(params, x))
    gaps, errors = [], []
    for num_samples in (1, 3, 10, 40):
        key = jax.random.key(num_samples)
        found = batched_log_likelihood(7)(model, key, params, xs, num_samples=num_samples)
        log_ratio = np.asarray(found, float) - truth
        gap = np.expm1(log_ratio) - log_ratio  # the mean weight over p(x) has mean one: a control variate
        gaps.append(gap.mean())
        errors.append(gap.std() / np.sqrt(len(gap)))
    assert np.all(-np.diff(gaps) > 5 * np.hypot(errors[1:], errors[:-1]))
    assert gaps[-1] > 5 * errors[-1]


def test_a_sum_of_half_a_million_weights_keeps_single_precision():
    model = linear.linear_vae(latent=1)._replace(terms=lambda key, params, x: Terms(x, x[None], x - 100))
    estimate = jax.jit(partial(log_likelihood, model, num_samples=500_000))(jax.random.key(0), {}, jnp.zeros(()))
    np.testing.assert_allclose(estimate, -100, atol=1e-2)


@pytest.mark.parametrize(("num_samples", "chunk"), [(0, 100), (-3, 100), (10, 0)])
def test_less_than_one_sample_or_chunk_is_refused(num_samples, chunk):
    model, params, x = loose_model()
    with pytest.raises(ValueError, match=f"num_samples={num_samples} and chunk={chunk} must both be at least one"):
        log_likelihood(model, jax.random.key(0), params, x, num_samples=num_samples, chunk=chunk)
