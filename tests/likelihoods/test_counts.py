import itertools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as numpyro_distributions
import pytest
import scipy
from rows import first
from standard_errors import assert_mean

from jaxvae.distributions import log_gamma_ratio
from jaxvae.likelihoods import Multinomial, NegativeBinomial, ZeroInflated, zero_inflated

LOG_MEAN = np.array([[0.3, -1.2, 4.0], [2.0, 0.0, 6.5]])
LOG_THETA = np.array([[0.1, -4.0, 2.0], [12.0, 2.2, 0.3]])
COUNTS = np.array([[0.0, 3.0, 70.0], [9.0, 0.0, 1500.0]])
GATE = np.array([[-1.0, 2.0, 0.3], [0.0, -3.0, 0.5]])


def negative_binomial(dtype=jnp.float32):
    return NegativeBinomial(jnp.asarray(LOG_MEAN, dtype), jnp.asarray(LOG_THETA, dtype))


def by_scipy(log_mean=LOG_MEAN, log_theta=LOG_THETA):
    theta = np.exp(log_theta)
    return scipy.stats.nbinom(theta, theta / (theta + np.exp(log_mean)))


def test_the_ratio_of_gammas_agrees_with_scipy_on_both_sides_of_its_seam(float64):
    a = np.array([1e-8, 1e-3, 0.5, 3.0, np.nextafter(8, 0), 8.0, 8.1, 50.0, 1e4])[:, None]
    k = np.array([0.0, 0.5, 1.0, 7.0, 255.0])[None]
    expected = scipy.special.gammaln(a + k) - scipy.special.gammaln(a) - k * np.log(a)
    found = log_gamma_ratio(*map(jnp.asarray, np.broadcast_arrays(np.log(a), k)))
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-10)


def test_the_ratio_of_gammas_keeps_its_digits_where_a_difference_has_none():
    """(1 + 1/a)(1 + 2/a) for k = 3, in single precision, where ln Γ(a) itself is known to 1e5 nats only."""
    log_a = np.array([5.0, 12.0, 25.0], np.float32)
    exact = np.log1p(np.exp(-log_a.astype(float))) + np.log1p(2 * np.exp(-log_a.astype(float)))
    found, slope = jax.vmap(jax.value_and_grad(lambda l: log_gamma_ratio(l, jnp.asarray(3.0))))(jnp.asarray(log_a))
    np.testing.assert_allclose(found, exact, atol=2e-6)
    np.testing.assert_allclose(slope, -1 / (np.exp(log_a) + 1) - 2 / (np.exp(log_a) + 2), atol=2e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-9), ("float32", 1e-4)])
def test_negative_binomial_agrees_with_scipy(dtype, tolerance, float64):
    # ln 1500! is 9,474 nats, of which single precision keeps a thousandth
    log_prob = negative_binomial(dtype).log_prob(jnp.asarray(COUNTS, dtype))
    assert log_prob.shape == ()
    assert log_prob.dtype == dtype
    np.testing.assert_allclose(log_prob, by_scipy().logpmf(COUNTS).sum(), rtol=tolerance)


def test_one_dispersion_may_serve_all_dimensions():
    shared = NegativeBinomial(jnp.asarray(LOG_MEAN, jnp.float32), jnp.float32(0.7))
    expected = by_scipy(log_theta=np.full_like(LOG_MEAN, 0.7)).logpmf(COUNTS).sum()
    np.testing.assert_allclose(shared.log_prob(jnp.asarray(COUNTS, jnp.float32)), expected, rtol=1e-4)
    assert shared.sample(jax.random.key(0)).shape == LOG_MEAN.shape


def test_without_dispersion_it_is_poissons():
    mean, counts = np.array([0.2, 3.0, 400.0]), np.array([0.0, 5.0, 380.0])
    expected = scipy.stats.poisson(mean).logpmf(counts).sum()
    for log_theta in (20.0, 1e4):
        made = NegativeBinomial(jnp.asarray(np.log(mean), jnp.float32), jnp.float32(log_theta))
        np.testing.assert_allclose(made.log_prob(jnp.asarray(counts, jnp.float32)), expected, rtol=2e-5)


def test_probabilities_of_counts_sum_to_one_and_their_mean_is_the_expectation(float64):
    for log_mean, log_theta, gate in itertools.product((-2.0, 1.5), (-0.5, 3.0), (-40.0, 0.4)):
        base = NegativeBinomial(jnp.asarray([log_mean]), jnp.asarray([log_theta]))
        made = ZeroInflated(base, jnp.asarray([gate]))
        counts = np.arange(3000.0)[:, None]
        probabilities = np.exp(jax.jit(jax.vmap(made.log_prob))(jnp.asarray(counts)))
        np.testing.assert_allclose(probabilities.sum(), 1, rtol=1e-9)
        np.testing.assert_allclose(probabilities @ counts, made.expectation(), rtol=1e-8)


def test_zero_inflation_agrees_with_a_peer(float64):
    likelihood = zero_inflated(NegativeBinomial)
    made = likelihood(
        log_mean=jnp.asarray(LOG_MEAN), log_inverse_dispersion=jnp.asarray(LOG_THETA), gate_logits=jnp.asarray(GATE)
    )
    peer = numpyro_distributions.ZeroInflatedDistribution(
        numpyro_distributions.NegativeBinomial2(np.exp(LOG_MEAN), np.exp(LOG_THETA)), gate_logits=GATE
    )
    expected = np.asarray(peer.log_prob(COUNTS))
    np.testing.assert_allclose(made.log_prob(jnp.asarray(COUNTS)), expected.sum(), rtol=1e-7)
    assert expected[0, 0] > by_scipy().logpmf(COUNTS)[0, 0]  # the zero has become more probable


@pytest.mark.slow
def test_draws_of_counts_have_their_moments_and_their_zeros():
    # the gate lets a half through: mean 1.5, and the variance of the product of independent draws
    base = NegativeBinomial(jnp.log(jnp.array([3.0, 3.0])), jnp.log(jnp.array([2.0, 1e6])))
    keys = jax.random.split(jax.random.key(0), 20_000)
    draws = np.asarray(jax.jit(jax.vmap(base.sample))(keys))
    assert np.all(draws == np.round(draws))
    assert np.all(draws >= 0)
    assert_mean(draws, [3.0, 3.0])
    assert_mean(np.square(draws - 3), [3 + 9 / 2, 3 + 9e-6])
    assert_mean(
        draws == 0,
        np.exp(
            jax.vmap(lambda t: NegativeBinomial(*t).log_prob(jnp.zeros(())))(
                (base.log_mean, base.log_inverse_dispersion)
            )
        ),
    )
    gated = np.asarray(jax.jit(jax.vmap(ZeroInflated(base, jnp.zeros(2)).sample))(keys))
    assert_mean(gated, [1.5, 1.5])
    assert_mean(gated == 0, 0.5 + 0.5 * scipy.stats.nbinom([2, 1e6], [2 / 5, 1e6 / (1e6 + 3)]).pmf(0))


LOGITS = np.array([[0.3, -2.0], [1.5, 0.0]])


@pytest.mark.parametrize("counts", [[[0, 0], [0, 0]], [[1, 0], [0, 0]], [[3, 0], [7, 2]], [[40, 3], [200, 50]]])
def test_multinomial_agrees_with_scipy(counts, float64):
    counts = np.array(counts, float)
    probabilities = scipy.special.softmax(LOGITS)
    expected = scipy.stats.multinomial(counts.sum(), probabilities.ravel()).logpmf(counts.ravel())
    found = Multinomial(jnp.asarray(LOGITS)).log_prob(jnp.asarray(counts))
    assert found.shape == ()
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_multinomial_is_a_density_given_the_total():
    outcomes = [counts for counts in itertools.product(range(6), repeat=4) if sum(counts) == 5]
    made = Multinomial(jnp.asarray(LOGITS, jnp.float32))
    log_probabilities = jax.vmap(made.log_prob)(jnp.asarray(outcomes, jnp.float32).reshape(-1, 2, 2))
    np.testing.assert_allclose(np.exp(log_probabilities).sum(), 1, rtol=1e-5)


def test_draws_of_the_multinomial_have_its_probabilities_and_its_total():
    made = Multinomial(jnp.asarray(LOGITS, jnp.float32))
    keys = jax.random.split(jax.random.key(0), 20_000)
    one = np.asarray(jax.jit(jax.vmap(made.sample))(keys))
    assert np.all(one.sum(axis=(1, 2)) == 1)
    assert_mean(one, made.expectation())
    totals = jnp.arange(20_000) % 3 + 4
    some = np.asarray(jax.jit(jax.vmap(made.sample))(keys, totals))
    np.testing.assert_array_equal(some.sum(axis=(1, 2)), totals)
    assert_mean(some[totals == 6], 6 * scipy.special.softmax(LOGITS))
    probabilities = scipy.special.softmax(LOGITS)
    assert_mean(np.square(some[totals == 6] - 6 * probabilities), 6 * probabilities * (1 - probabilities))


@pytest.mark.parametrize("large", [-1e4, 1e4])
@pytest.mark.parametrize("other", first(1, [0.0, -1e4, 1e4]))
def test_counts_are_finite_at_extremes(large, other):
    ends, counts = jnp.array([large, large, large]), jnp.array([0.0, 1.0, 2000.0])
    likelihood = jax.jit(
        jax.value_and_grad(
            lambda outputs: (
                zero_inflated(NegativeBinomial)(**outputs).log_prob(counts)
                + NegativeBinomial(outputs["log_mean"], outputs["log_inverse_dispersion"]).log_prob(counts)
                + Multinomial(outputs["gate_logits"]).log_prob(counts)
            )
        )
    )
    for names in itertools.permutations(("log_mean", "log_inverse_dispersion", "gate_logits")):
        values = (ends, jnp.full(3, other), jnp.array([large, other, 0.0]))
        value, gradient = likelihood(dict(zip(names, values, strict=True)))
        assert np.isfinite(value)
        assert all(np.all(np.isfinite(leaf)) for leaf in gradient.values())


def test_draws_of_counts_are_finite_at_extremes():
    for log_mean, log_theta in itertools.product((-1e4, 1e4), repeat=2):
        draw = NegativeBinomial(jnp.array([log_mean]), jnp.array([log_theta])).sample(jax.random.key(0))
        assert np.isfinite(draw).all()
        assert (draw >= 0).all()


@pytest.mark.parametrize("family", [NegativeBinomial, Multinomial])
def test_parameters_are_the_shapes_of_the_outputs(family):
    made = family(**{name: jnp.zeros(shape) for name, shape in family.parameters((4, 3)).items()})
    assert jax.eval_shape(made.sample, jax.random.key(0)).shape == (4, 3)
    assert jax.eval_shape(made.expectation).shape == (4, 3)
    assert jax.eval_shape(made.log_prob, jnp.zeros((4, 3))).shape == ()


@pytest.mark.parametrize("log_theta", [-5.0, -0.7, 3.0, 8.0, 12.0, 29.0])
def test_large_counts_keep_their_digits_in_single_precision(log_theta):
    """At counts of 50,000 a probability was off by 0.07 nats: ln Γ of them is known to 0.03."""
    rng = np.random.default_rng(0)
    log_mean = (10.7 + 0.3 * rng.normal(size=200)).astype(np.float32)
    mean, theta = np.exp(log_mean.astype(float)), np.exp(np.float64(np.float32(log_theta)))
    rate = mean * scipy.stats.gamma(theta).rvs(200, random_state=rng) / theta if log_theta < 20 else mean
    counts = scipy.stats.poisson(rate).rvs(random_state=rng)
    exact = scipy.stats.nbinom(theta, theta / (theta + mean)) if log_theta < 20 else scipy.stats.poisson(mean)

    def log_prob(log_mean, log_theta, count):
        return NegativeBinomial(log_mean, log_theta).log_prob(count)

    fields = jnp.asarray(log_mean), jnp.full(200, log_theta), jnp.asarray(counts, jnp.float32)
    found, slopes = jax.vmap(jax.value_and_grad(log_prob))(*fields)
    np.testing.assert_allclose(found, exact.logpmf(counts), atol=5e-4)
    np.testing.assert_allclose(slopes, theta * (counts - mean) / (theta + mean), rtol=1e-3, atol=2e-2)
