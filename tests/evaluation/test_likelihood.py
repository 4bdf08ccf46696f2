from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from curved_model import PARAMS, X, curved_vae, quadrature
from standard_errors import assert_mean

from jaxvae import autoencoder, networks
from jaxvae.evaluation import log_likelihood, prior_log_likelihood
from jaxvae.models import linear

ESTIMATES = {"posterior": log_likelihood, "prior": prior_log_likelihood}


def estimates(estimate, model, params, x, *, replicates, **settings):
    """Independent repetitions of an estimate of log p(x)."""
    once = partial(estimate, model, **settings)
    keys = jax.random.split(jax.random.key(1), replicates)
    return np.asarray(jax.jit(jax.vmap(once, (0, None, None)))(keys, params, x), np.float64)


@pytest.mark.parametrize("estimate", ESTIMATES.values(), ids=ESTIMATES)
def test_the_mean_weight_is_the_probability_in_the_linear_model(estimate):
    model = linear.linear_vae(latent=2)
    loadings = jnp.array([[0.8, 0.3], [-0.2, 0.7], [0.5, 0.5]])
    params = linear.parameters(loadings, jnp.array([0.1, 0.0, -0.3]), jnp.array(0.7))
    x = jnp.array([0.6, -0.4, 0.9])
    values = estimates(estimate, model, params, x, replicates=20_000, num_samples=5, chunk=2)
    assert_mean(np.exp(values - float(linear.log_marginal(params, x))), 1.0)
    # Jensen: the log of an average is too low in expectation
    assert values.mean() < float(linear.log_marginal(params, x)) - 5 * values.std() / np.sqrt(len(values))


@pytest.mark.parametrize("estimate", ESTIMATES.values(), ids=ESTIMATES)
def test_the_mean_weight_is_the_probability_in_a_nonlinear_model(estimate):
    values = estimates(estimate, curved_vae(), PARAMS, jnp.asarray(X, jnp.float32), replicates=500, num_samples=400)
    assert_mean(np.exp(values - quadrature(X)[0]), 1.0)


def test_the_average_is_over_the_draws_asked_for_when_chunks_do_not_divide_them():
    """With every draw worth exactly one nat, draws of the last chunk that were not asked for would add to it."""

    class Constant:
        def log_prob(self, x):
            return jnp.ones(())

    model = linear.linear_vae(latent=1)
    model = model._replace(likelihood=lambda params, z: Constant())
    params = model.init(jax.random.key(0), jnp.zeros(2))
    value = prior_log_likelihood(model, jax.random.key(0), params, jnp.zeros(2), num_samples=7, chunk=3)
    np.testing.assert_allclose(value, 1.0, rtol=1e-6)


def test_the_prior_misses_a_narrow_posterior_by_nats_where_the_encoder_does_not():
    loadings = jnp.linalg.qr(jax.random.normal(jax.random.key(0), (20, 8)))[0] * 2.0
    params = linear.parameters(loadings, jnp.zeros(20), jnp.array(0.1))
    model, x = linear.linear_vae(latent=8), loadings @ jnp.ones(8)
    exact = float(linear.log_marginal(params, x))
    naive = estimates(prior_log_likelihood, model, params, x, replicates=10, num_samples=1000)
    weighted = estimates(log_likelihood, model, params, x, replicates=10, num_samples=1000)
    assert naive.max() < exact - 10
    np.testing.assert_allclose(weighted, exact, atol=1e-3)  # the posterior is exact: rounding alone is left


def test_memory_does_not_grow_with_the_draws():
    model = linear.linear_vae(latent=2)
    x = jnp.zeros(50)
    params = model.init(jax.random.key(0), x)

    def temporary_bytes(num_samples):
        once = jax.jit(partial(prior_log_likelihood, model, num_samples=num_samples, chunk=100))
        return once.lower(jax.random.key(0), params, x).compile().memory_analysis().temp_size_in_bytes

    assert temporary_bytes(500_000) <= 1.1 * temporary_bytes(5_000)


@pytest.mark.parametrize("estimate", ESTIMATES.values(), ids=ESTIMATES)
@pytest.mark.parametrize(("num_samples", "chunk"), [(0, 10), (10, 0)])
def test_no_draws_are_refused(estimate, num_samples, chunk):
    with pytest.raises(ValueError, match=f"num_samples={num_samples} and chunk={chunk} must both be at least one"):
        estimate(curved_vae(), jax.random.key(0), PARAMS, jnp.asarray(X), num_samples=num_samples, chunk=chunk)


def test_a_plain_autoencoder_has_no_likelihood():
    model = autoencoder(
        encoder=networks.mlp((4,), {"value": (2,)}),
        decoder=networks.mlp((4,), {"logits": (3,)}),
    )
    params = model.init(jax.random.key(0), jnp.zeros(3))
    with pytest.raises(ValueError, match="no importance weights"):
        log_likelihood(model, jax.random.key(0), params, jnp.zeros(3), num_samples=2)
    with pytest.raises(ValueError, match="no prior"):
        prior_log_likelihood(model, jax.random.key(0), params, jnp.zeros(3), num_samples=2)
