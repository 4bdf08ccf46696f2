from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from curved_model import PARAMS, X, curved_vae, quadrature
from standard_errors import assert_mean

from jaxvae.evaluation import (
    annealed_log_likelihood,
    bidirectional,
    diagnose,
    from_posterior,
    from_prior,
    reverse_annealed,
    sigmoid_path,
)
from jaxvae.models import linear

MODEL = linear.linear_vae(latent=2)
LOADINGS = np.array([[1.5, 0.4], [-0.3, 1.2], [0.6, 0.6]], np.float32)  # not orthogonal: q is not exact
CENTER = np.array([0.1, 0.0, -0.3], np.float32)
LINEAR = linear.parameters(jnp.asarray(LOADINGS), jnp.asarray(CENTER), jnp.array(1.0))
EXAMPLE = jnp.array([1.6, -0.9, 0.9])


def exact_draws(num):
    """Exact draws from p(z|x) for the example, made by NumPy."""
    mean, covariance = linear.exact_posterior(LINEAR, EXAMPLE)
    draws = np.random.default_rng(3).multivariate_normal(np.asarray(mean), np.asarray(covariance), size=num)
    return jnp.asarray(draws, jnp.float32)


@pytest.mark.slow
@pytest.mark.parametrize(("start", "num_temperatures"), [(from_prior, 3), (from_posterior, 10)])
def test_the_mean_weight_of_a_forward_chain_is_the_probability(start, num_temperatures):
    """Exact for any path, far from converged; the longer one would show chains that walk along another path."""
    run = jax.jit(partial(annealed_log_likelihood, MODEL, num_chains=10_000, num_leapfrog=3, start=start))
    annealed = run(jax.random.key(0), LINEAR, EXAMPLE, path=sigmoid_path(num_temperatures))
    log_weights = np.asarray(annealed.log_weights, np.float64) - float(linear.log_marginal(LINEAR, EXAMPLE))
    assert log_weights.std() > 0.05
    assert_mean(np.exp(log_weights), 1.0)
    np.testing.assert_allclose(annealed.log_likelihood, diagnose(annealed.log_weights).log_likelihood, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("start", "num_temperatures"), [(from_prior, 10), (from_posterior, 3)])
def test_the_mean_inverse_weight_of_a_reverse_chain_is_the_inverse_probability(start, num_temperatures):
    path = sigmoid_path(num_temperatures)
    run = partial(reverse_annealed, MODEL, num_chains=2, num_leapfrog=3, start=start, path=path)
    zs, step_size = exact_draws(20_000), jnp.full(num_temperatures, 0.9)
    keys = jax.random.split(jax.random.key(0), len(zs))
    values = jax.jit(jax.vmap(lambda key, z: run(key, LINEAR, EXAMPLE, z, step_size=step_size)))(keys, zs)
    log_ratio = float(linear.log_marginal(LINEAR, EXAMPLE)) - np.asarray(values, np.float64)
    assert log_ratio.std() > 0.05
    assert_mean(np.exp(log_ratio), 1.0)


@pytest.mark.slow
def test_the_bounds_hold_the_truth_between_them_and_close_with_the_temperatures():
    def pair(key, num_temperatures):
        """Both bounds minus the truth, for an example that the same key simulates."""
        sandwich = bidirectional(MODEL, key, LINEAR, path=sigmoid_path(num_temperatures), num_chains=2, num_leapfrog=4)
        key_z, key_x, _, _ = jax.random.split(key, 4)
        z = MODEL.prior(LINEAR).sample(key_z)
        truth = linear.log_marginal(LINEAR, MODEL.likelihood(LINEAR, z).sample(key_x))
        return sandwich.lower - truth, sandwich.upper - truth, sandwich.gap

    gaps = []
    for num_temperatures in (4, 20, 120):
        keys = jax.random.split(jax.random.key(num_temperatures), 250)
        below, above, gap = (
            np.asarray(side, np.float64)
            for side in jax.jit(jax.vmap(partial(pair, num_temperatures=num_temperatures)))(keys)
        )
        error = np.sqrt(len(keys))
        assert below.mean() < 3 * below.std() / error
        assert above.mean() > -3 * above.std() / error
        np.testing.assert_allclose(gap, above - below, atol=1e-4)
        gaps.append(gap.mean())
    assert gaps[0] > 0.3
    assert gaps[1] < 0.5 * gaps[0]
    assert gaps[2] < 0.5 * gaps[1]
    assert abs(below.mean()) < 0.12
    assert abs(above.mean()) < 0.12


@pytest.mark.slow
def test_a_nonlinear_model_agrees_with_quadrature_and_the_chains_end_in_its_posterior():
    run = jax.jit(partial(annealed_log_likelihood, curved_vae(), num_chains=500, path=sigmoid_path(60)))
    annealed = run(jax.random.key(0), PARAMS, jnp.asarray(X, jnp.float32))
    log_marginal, mean, second = quadrature(X)
    weights = np.exp(np.asarray(annealed.log_weights, np.float64) - log_marginal)
    assert_mean(weights, 1.0)
    assert diagnose(annealed.log_weights).effective_sample_size > 250
    z = np.asarray(annealed.values, np.float64)
    # E[w (h(z) - E_posterior h)] = 0, for the mean and the second moment
    assert_mean(weights[:, None] * (z - mean), np.zeros(2))
    assert_mean(weights[:, None] * (z**2 - second), np.zeros(2))
    assert np.all(np.abs(mean) + np.abs(second - 1) > 0.05)  # the prior's moments would not pass


def test_from_an_exact_posterior_every_chain_knows_the_answer_whatever_its_length():
    """f_β ∝ p(z|x) all the way: what float32 adds up over 2,000 temperatures is all the error."""
    loadings = np.linalg.qr(np.random.default_rng(0).standard_normal((300, 3)))[0].astype(np.float32) * 4
    params = linear.parameters(jnp.asarray(loadings), jnp.zeros(300), jnp.array(0.3))
    x = jnp.asarray(
        loadings @ np.ones(3, np.float32) + 0.3 * np.random.default_rng(1).standard_normal(300), jnp.float32
    )
    model = linear.linear_vae(latent=3)
    run = partial(annealed_log_likelihood, model, num_chains=3, num_leapfrog=2, start=from_posterior)
    annealed = jax.jit(partial(run, path=sigmoid_path(2000)))(jax.random.key(0), params, x)
    np.testing.assert_allclose(annealed.log_weights, np.full(3, linear.log_marginal(params, x)), atol=5e-3)
    assert 0.5 < np.mean(annealed.acceptance) < 0.8


@pytest.mark.slow
def test_many_examples_are_as_each_alone(float64):
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), LINEAR)
    xs = jnp.stack([jnp.asarray(EXAMPLE, jnp.float64), -2 * jnp.asarray(EXAMPLE, jnp.float64)])
    keys = jax.random.split(jax.random.key(5), 2)
    run = partial(annealed_log_likelihood, MODEL, path=sigmoid_path(5), num_chains=2, num_leapfrog=2)
    together = jax.jit(jax.vmap(run, (0, None, 0)))(keys, params, xs)
    alone = [jax.jit(run)(key, params, x) for key, x in zip(keys, xs, strict=True)]
    assert together.values.dtype == jnp.float64
    jax.tree.map(lambda whole, *parts: np.testing.assert_allclose(whole, np.stack(parts), rtol=1e-6), together, *alone)


def test_the_sigmoid_path():
    path = np.asarray(sigmoid_path(1000), np.float64)
    assert path[0] == 0
    assert path[-1] == 1
    steps = np.diff(path)
    assert np.all(steps > 0)
    b = 1 / (1 + np.exp(-4 * (2 * np.arange(1001) / 1000 - 1)))
    np.testing.assert_allclose(path, (b - b[0]) / (b[-1] - b[0]), atol=1e-6)
    assert sigmoid_path(1).tolist() == [0, 1]


def test_what_cannot_be_walked_is_refused():
    run = partial(annealed_log_likelihood, MODEL, jax.random.key(0), LINEAR, EXAMPLE)
    with pytest.raises(ValueError, match="num_chains=0 and num_leapfrog=10 must both be at least one"):
        run(path=sigmoid_path(2), num_chains=0)
    with pytest.raises(ValueError, match="num_leapfrog=0"):
        bidirectional(MODEL, jax.random.key(0), LINEAR, path=sigmoid_path(2), num_leapfrog=0)
    with pytest.raises(ValueError, match=r"path must list .* its shape is \(1,\)"):
        run(path=jnp.ones(1))
    with pytest.raises(ValueError, match="num_temperatures=0"):
        sigmoid_path(0)
    with pytest.raises(ValueError, match=r"steepness=-1\.0 must be positive"):
        sigmoid_path(3, steepness=-1.0)
