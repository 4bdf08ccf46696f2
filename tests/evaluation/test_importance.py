from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy
from rows import first
from standard_errors import assert_mean

from jaxvae.evaluation import ImportanceEstimate, importance, importance_estimate, log_likelihood, trust_sentence
from jaxvae.models import linear

diagnose, pareto_shape = jax.jit(importance.diagnose), jax.jit(importance.pareto_shape)


def overconfident(shrinkage):
    """A linear model of one latent whose posterior's scale is the exact one times `shrinkage`."""
    params = linear.parameters(jnp.ones((3, 1)), jnp.zeros(3), jnp.ones(()))
    encoder = params["encoder"]
    encoder = encoder | {"log_scale": encoder["log_scale"] + jnp.log(shrinkage)}
    return linear.linear_vae(latent=1), params | {"encoder": encoder}, jnp.array([0.5, -1.0, 0.2])


# Made by arviz 0.22.0, `arviz.psislw(log_weights)[1]`, in double precision.
ARVIZ = {
    "log-normal": (1000, lambda rng, n: 1.3 * rng.standard_normal(n) - 90, 0.2219765898096735),
    "log-normal, few": (100, lambda rng, n: 1.3 * rng.standard_normal(n) - 90, 0.6624832656605899),
    "heavy": (5000, lambda rng, n: 0.45 * rng.standard_normal(n) ** 2 - 90, 0.7888824624811013),
    "bounded": (400, lambda rng, n: np.log(rng.uniform(size=n)), -0.6820903096998006),
}


@pytest.mark.parametrize("name", ARVIZ)
def test_pareto_shape_is_that_of_arviz(name, float64):
    num, draw, expected = ARVIZ[name]
    log_weights = jnp.asarray(draw(np.random.default_rng(7), num))
    np.testing.assert_allclose(pareto_shape(log_weights), expected, rtol=1e-6)
    np.testing.assert_allclose(pareto_shape(log_weights.astype(jnp.float32)), expected, atol=2e-3)


@pytest.mark.parametrize("shape", first(2, [0.2, 0.9, -0.3, 0.5]))
def test_pareto_shape_finds_the_shape_of_generalised_pareto_draws(shape):
    num, tail = 10_000, 300
    draws = scipy.stats.genpareto(shape, scale=3.0).rvs((200, num), random_state=5)
    found = np.asarray(jax.jit(jax.vmap(importance.pareto_shape))(jnp.asarray(np.log(draws), jnp.float32)))
    # The pull towards one half has the weight of ten draws. The rest is the fit's own bias, of order 1/300.
    pulled = (tail * shape + 10 * 0.5) / (tail + 10)
    error = found.std(ddof=1) / np.sqrt(len(found))
    assert abs(found.mean() - pulled) < 5 * error + 0.01
    # The spread is that of an efficient estimator, (1 + shape) / sqrt(tail) for shape > -1/2, within a fifth.
    efficient = (1 + shape) / np.sqrt(tail) * tail / (tail + 10)
    assert 0.8 < found.std() / efficient < 1.2


@pytest.mark.parametrize("shrinkage", [0.3, 0.8])
@pytest.mark.slow
def test_an_overconfident_posterior_has_the_tail_of_theory(shrinkage):
    """With q's variance s² times that of the posterior, P(w > t) falls as a power of t with the shape 1 - s²."""
    model, params, x = overconfident(shrinkage)
    estimate = jax.jit(jax.vmap(partial(importance_estimate, model, num_samples=20_000, chunk=2000), (0, None, None)))
    found = estimate(jax.random.split(jax.random.key(0), 50), params, x)
    shapes = np.asarray(found.pareto_shape)
    # The power law sets in slowly, by a logarithm: the tail that 20,000 draws show is lighter.
    assert 1 - shrinkage**2 - 0.15 < shapes.mean() < 1 - shrinkage**2 + 0.02
    exact, values = float(linear.log_marginal(params, x)), np.asarray(found.log_likelihood)
    errors = np.asarray(found.standard_error)
    if shrinkage == 0.8:
        assert "can be trusted" in trust_sentence(jax.tree.map(lambda field: field[0], found))
        assert_mean((values - exact) / errors, 0.0)
        assert 0.7 < np.std((values - exact) / errors) < 1.3
    else:
        sentence = trust_sentence(jax.tree.map(lambda field: field[0], found))
        assert "cannot be trusted" in sentence
        assert "above 0.7" in sentence
        assert np.mean(values < exact - 3 * errors) > 0.2  # what the sentence warns of: far too low, unnoticed


def test_the_diagnostics_are_their_formulas(float64):
    log_weights = np.random.default_rng(0).standard_normal(500) - 300
    estimate = diagnose(jnp.asarray(log_weights))
    weights = np.exp(log_weights + 300)
    np.testing.assert_allclose(estimate.log_likelihood, np.log(weights.mean()) - 300, rtol=1e-12)
    np.testing.assert_allclose(estimate.standard_error, weights.std(ddof=1) / np.sqrt(500) / weights.mean(), rtol=1e-10)
    np.testing.assert_allclose(estimate.effective_sample_size, weights.sum() ** 2 / (weights**2).sum(), rtol=1e-10)
    assert estimate.num_samples == 500


def test_the_standard_error_is_the_spread_of_repetitions():
    log_weights = 0.7 * jax.random.normal(jax.random.key(0), (2000, 500))
    estimate = jax.jit(jax.vmap(importance.diagnose))(log_weights)
    ratio = np.mean(estimate.standard_error) / np.std(estimate.log_likelihood)
    assert abs(ratio - 1) < 5 / np.sqrt(2 * 2000)  # the spread's own standard error is 1/√(2R) of it


def test_the_estimate_is_log_likelihood_and_no_matter_the_chunk():
    model, params, x = overconfident(0.9)
    key = jax.random.key(3)
    once = jax.jit(partial(importance_estimate, model, num_samples=301), static_argnames="chunk")
    whole, pieces = once(key, params, x, chunk=301), once(key, params, x, chunk=100)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), whole, pieces)
    keys = jax.random.split(key, 500)
    one = jax.jit(jax.vmap(lambda key: importance_estimate(model, key, params, x, num_samples=20).log_likelihood))(keys)
    other = jax.jit(jax.vmap(lambda key: log_likelihood(model, key, params, x, num_samples=20)))(keys)
    assert_mean(np.asarray(one) - np.asarray(other), 0.0)


def test_weights_without_a_tail():
    equal = diagnose(jnp.full(1000, -90.0))
    assert equal.pareto_shape == -jnp.inf
    np.testing.assert_allclose(equal.effective_sample_size, 1000, rtol=1e-4)
    np.testing.assert_allclose(equal.standard_error, 0, atol=1e-5)
    rounded = diagnose(-90.0 + 7e-6 * jax.random.randint(jax.random.key(0), (1000,), 0, 3).astype(jnp.float32))
    assert rounded.pareto_shape == -jnp.inf
    assert "equal weights" in trust_sentence(equal)
    lonely = diagnose(jnp.full(1000, -90.0).at[3].set(0.0))
    assert lonely.pareto_shape == jnp.inf
    np.testing.assert_allclose(lonely.effective_sample_size, 1, rtol=1e-5)
    assert "cannot be trusted" in trust_sentence(lonely)
    extreme = diagnose(200 * jax.random.normal(jax.random.key(0), (1000,)))  # ratios far outside float32
    assert extreme.pareto_shape > 0.7
    assert not np.isnan(np.asarray(extreme.log_likelihood))


@pytest.mark.parametrize(
    ("shape", "error", "num_samples", "said"),
    [
        (0.3, 0.02, 1000, "can be trusted"),
        (0.66, 0.02, 1000, "can be trusted"),
        (0.68, 0.02, 1000, "cannot be trusted yet: 1,000 draws are too few"),
        (0.68, 0.02, 5000, "can be trusted"),
        (0.71, 0.02, 5_000_000, "cannot be trusted: a few of the 5,000,000 draws carry the weight"),
        (0.3, 0.2, 1000, "is uncertain: 1,000 draws are worth 25 from the exact posterior. Take about 4,000"),
        (np.inf, 0.02, 10, "fewer than five"),
    ],
)
def test_what_is_said(shape, error, num_samples, said):
    fields = (-80.0, error, 25.0, shape, num_samples)
    assert said in trust_sentence(ImportanceEstimate(*(jnp.asarray(field) for field in fields)))


def test_what_is_said_of_no_number():
    assert "no number to report" in trust_sentence(diagnose(jnp.full(100, -90.0).at[0].set(jnp.nan)))
    assert "no number to report" in trust_sentence(diagnose(jnp.full(100, -jnp.inf)))


def test_what_is_said_of_several_examples():
    shape = jnp.array([0.1, 0.9, 0.2, 0.3])
    error = jnp.array([0.01, 0.01, 0.5, 0.01])
    estimates = ImportanceEstimate(
        jnp.array([-80.0, -90.0, -85.0, -85.0]), error, 1 / error**2, shape, jnp.full(4, 5000)
    )
    sentence = trust_sentence(estimates)
    assert "-85.00 nats on average over 4 examples, of which 2 can be trusted, 1 are uncertain" in sentence
    assert "1 cannot be trusted" in sentence
    assert "up to 0.90" in sentence
    trusted = jax.tree.map(lambda field: field[jnp.array([0, 3])], estimates)
    assert "every one can be trusted: 5,000 draws are worth at least 10,000" in trust_sentence(trusted)


def test_too_few_draws_are_refused():
    model, params, x = overconfident(0.9)
    with pytest.raises(ValueError, match="num_samples=1 must be at least two"):
        importance_estimate(model, jax.random.key(0), params, x, num_samples=1)
