"""How dependent codes are, as a batch tells it: against enumeration, Gaussians and discriminators."""

from functools import partial
from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from standard_errors import assert_mean

from jaxvae import losses
from jaxvae.distributions import FullNormal, Normal
from jaxvae.losses import Aggregate
from jaxvae.types import Network

COVARIANCE = np.array([[1.0, 0.55, -0.3], [0.55, 1.3, 0.2], [-0.3, 0.2, 0.8]])
N, B = 7, 4


def aggregate_of(posteriors, draws, params=None):
    return Aggregate(posteriors, draws, None, params, jax.random.key(0), jnp.array(0))


def mean_estimate(weights):
    """For each row of a batch: the mean over all ordered batches of its estimate of q(z), over q(z), at 5 points z."""
    rng = np.random.default_rng(0)
    densities = rng.gamma(0.5, size=(N, N, 5))  # q(z|x_n) at draws z of each of the N, any positive numbers
    ratios = np.zeros((B, N, 5))
    batches = list(permutations(range(N), B))
    for batch in batches:
        for row, own in enumerate(batch):
            ratios[row, own] += weights[row] @ densities[list(batch), own] / densities[:, own].mean(axis=0)
    return ratios / (len(batches) / N)


def test_stratified_weights_are_unbiased_over_all_batches(float64):
    weights = np.exp(np.asarray(losses.stratified_log_weights(N, B)))
    np.testing.assert_allclose(mean_estimate(weights), 1.0, rtol=1e-12)
    np.testing.assert_allclose(weights.sum(axis=1), 1 / N + (N - 3) / (3 * N) + 2 / 3, rtol=1e-12)


def test_the_weights_of_three_peers_are_not():
    """Strides of M + 1 over a matrix with rows of M + 1 fill columns 0 and 1, not the diagonal and the next."""
    others = B - 1
    copied = np.full((B, B), 1 / others)
    copied.reshape(-1)[:: others + 1] = 1 / N
    copied.reshape(-1)[1 :: others + 1] = (N - others) / (N * others)
    copied[others - 1, 0] = (N - others) / (N * others)
    np.testing.assert_array_equal(np.flatnonzero(copied[0] == 1 / N), np.flatnonzero(copied[1] == 1 / N))
    assert 1.04 < copied.sum(axis=1).max() < 1.06
    bias = np.abs(mean_estimate(copied) - 1).max()
    assert bias > 0.3, bias
    right = np.exp(np.asarray(losses.stratified_log_weights(N, B), np.float64))
    assert np.abs(mean_estimate(right) - 1).max() < 1e-6


@pytest.mark.parametrize("size", [1, N + 1])
@pytest.mark.parametrize("weights", [losses.stratified_log_weights, losses.weighted_log_weights])
def test_a_batch_that_cannot_stand_for_the_data_is_refused(weights, size):
    with pytest.raises(ValueError, match=f"a batch of {size} cannot stand for 7 examples"):
        weights(N, size)


def codes_of_a_gaussian(count, scale=0.5):
    """N(x, s² I) of x ~ N(0, S - s² I): their aggregate is N(0, S)."""
    rng = np.random.default_rng(1)
    means = rng.multivariate_normal(np.zeros(3), COVARIANCE - scale**2 * np.eye(3), count)
    draws = means + scale * rng.normal(size=means.shape)
    return Normal(jnp.asarray(means), jnp.full(means.shape, np.log(scale))), jnp.asarray(draws)


def test_the_total_correlation_of_a_gaussian(float64):
    """In closed form, as a mean of log ratios, and by the posteriors of a large batch."""
    truth = losses.gaussian_total_correlation(jnp.asarray(COVARIANCE))
    _, draws = codes_of_a_gaussian(4000)
    ratios = log_ratio(draws)
    assert_mean(ratios, truth)
    posteriors, draws = codes_of_a_gaussian(1000)
    aggregate, many = aggregate_of(posteriors, draws), 10**6
    stratified = losses.total_correlation(1.0, partial(losses.stratified_log_weights, many))(aggregate)
    assert abs(stratified - truth) < 0.12  # the logarithm of a mean over 1000 posteriors
    weighted = losses.total_correlation(1.0, partial(losses.weighted_log_weights, many))(aggregate)
    assert weighted - truth > 10  # up to (D - 1) ln N = 27.6, though a third of a nat is true
    assert 0.2 < truth < 0.4


def log_ratio(zs):
    """ln N(z; 0, S) - Σ_j ln N(z_j; 0, S_jj): [B], the logit of the best discriminator."""
    scales = np.sqrt(np.diag(COVARIANCE))
    joint = scipy.stats.multivariate_normal(np.zeros(3), COVARIANCE).logpdf(zs)
    return joint - scipy.stats.norm.logpdf(zs, 0.0, scales).sum(axis=1)


def quadratic():
    """A discriminator whose logit is zᵀ A z + c, and its best params, by the two precisions."""
    precision = np.linalg.inv(COVARIANCE)
    best = {
        "A": jnp.asarray(-0.5 * (precision - np.diag(1 / np.diag(COVARIANCE)))),
        "c": jnp.asarray(-0.5 * np.linalg.slogdet(COVARIANCE)[1] + 0.5 * np.log(np.diag(COVARIANCE)).sum()),
    }
    return Network(lambda key, z: best, lambda params, z: {"logit": z @ params["A"] @ z + params["c"]}), best


def test_the_density_ratio_at_the_best_discriminator_is_the_total_correlation(float64):
    network, best = quadratic()
    _, draws = codes_of_a_gaussian(20_000)
    logits = jax.vmap(lambda z: network.apply(best, z)["logit"])(draws)
    np.testing.assert_allclose(logits, log_ratio(draws), atol=1e-9)
    truth = losses.gaussian_total_correlation(jnp.asarray(COVARIANCE))
    assert_mean(logits, truth)
    paid = losses.density_ratio(35.0, network)(aggregate_of(None, draws, {"discriminator": best}))
    np.testing.assert_allclose(paid, 35 * logits.mean(), rtol=1e-9)


def test_permuted_codes_keep_their_marginals_and_lose_their_dependence(float64):
    _, draws = codes_of_a_gaussian(20_000)
    mixed = losses.permuted(jax.random.key(0), draws)
    np.testing.assert_array_equal(np.sort(mixed, axis=0), np.sort(draws, axis=0))
    assert_mean(mixed[:, [0, 0, 1]] * mixed[:, [1, 2, 2]], 0.0)
    with pytest.raises(ValueError, match="codes \\[B, D\\]"):
        losses.permuted(jax.random.key(0), draws[0])


@pytest.mark.parametrize("with_variances", [False, True], ids=["I", "II"])
def test_dip_asks_nothing_at_unit_covariance(with_variances, float64):
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(50, 3))
    raw -= raw.mean(axis=0)
    variances = rng.uniform(0.2, 0.6, size=(50, 3)) * with_variances + 1e-30
    wanted = np.diag(1 - variances.mean(axis=0) * with_variances)
    means = raw @ np.linalg.inv(np.linalg.cholesky(raw.T @ raw / 50)).T @ np.linalg.cholesky(wanted).T + 3.0
    price = losses.dip(off_diagonal=10.0, diagonal=100.0, with_variances=with_variances)
    posteriors = Normal(jnp.asarray(means), jnp.asarray(0.5 * np.log(np.maximum(variances, 1e-12))))
    assert abs(price(aggregate_of(posteriors, None))) < 1e-18
    stretched = Normal(posteriors.mean * jnp.array([[2.0, 1.0, 1.0]]), posteriors.log_scale)
    expected = 100 * (3 * wanted[0, 0]) ** 2
    np.testing.assert_allclose(price(aggregate_of(stretched, None)), expected, rtol=1e-9)


def test_posteriors_that_do_not_factorise_are_refused():
    posteriors = FullNormal(jnp.zeros((4, 2)), jnp.zeros((4, 2)), jnp.zeros((4, 1)))
    aggregate = aggregate_of(posteriors, jnp.zeros((4, 2)))
    with pytest.raises(ValueError, match="needs posteriors that factorise"):
        losses.total_correlation(1.0, partial(losses.stratified_log_weights, 9))(aggregate)
    with pytest.raises(ValueError, match="needs posteriors that are a Normal"):
        losses.dip(off_diagonal=1.0, diagonal=1.0, with_variances=True)(aggregate)
