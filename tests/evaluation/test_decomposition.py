from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy
from standard_errors import assert_mean

from jaxvae import batched_elbo
from jaxvae.distributions import Normal, kl
from jaxvae.evaluation import (
    KLDecomposition,
    KLParts,
    active_units,
    collapse_sentence,
    decompose_kl,
    kl_parts,
    mutual_information,
    rate_distortion,
)
from jaxvae.models import linear

decompose = jax.jit(decompose_kl, static_argnames=("num_samples", "chunk"))


def standard(dimensions):
    return Normal(jnp.zeros(dimensions), jnp.zeros(dimensions))


def some_posteriors(num, dimensions):
    """Overlapping posteriors of different means and scales, as NumPy arrays."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((num, dimensions)), 0.3 * rng.standard_normal((num, dimensions)) - 0.7


def within(decomposition, name, expected, slack=0.0):
    """A part lies within five standard errors of what is expected, which are no excuse for a wide miss."""
    value, error = getattr(decomposition.parts, name), getattr(decomposition.standard_error, name)
    assert np.all(error < 0.05)
    distance = np.abs(np.asarray(value) - expected)
    assert np.all(distance <= 5 * np.asarray(error) + 1e-5 + slack), (
        f"{name}: {value} against {expected} (s.e. {error})"
    )


def test_one_dimension_agrees_with_quadrature():
    means, log_scales = np.array([[-1.0], [0.2], [1.5], [1.7]]), np.array([[-0.5], [0.0], [-1.2], [-0.3]])
    z = np.linspace(-12, 12, 24_001)
    each = scipy.stats.norm(means, np.exp(log_scales)).pdf(z)
    aggregate, prior, cell = each.mean(axis=0), scipy.stats.norm.pdf(z), z[1] - z[0]
    marginal = np.sum(scipy.special.rel_entr(aggregate, prior)) * cell
    information = np.sum(scipy.special.rel_entr(each, aggregate)) * cell / len(means)
    found = decompose(
        jax.random.key(0),
        standard(1),
        Normal(jnp.float32(means), jnp.float32(log_scales)),
        num_samples=20_000,
        chunk=1000,
    )
    within(found, "mutual_information", information)
    within(found, "marginal", marginal)
    within(found, "dimension_wise", marginal)
    within(found, "kl", information + marginal)
    np.testing.assert_allclose(found.parts.total_correlation, 0, atol=1e-6)
    assert 0.3 < information < np.log(4)
    assert found.num_examples == 4


def test_the_ratios_of_a_draw_are_those_of_scipy_and_add_up(float64):
    means, log_scales = some_posteriors(7, 3)
    z = np.array([0.3, -0.4, 1.1])
    own = Normal(jnp.asarray(means[2]), jnp.asarray(log_scales[2]))
    parts = kl_parts(standard(3), Normal(jnp.asarray(means), jnp.asarray(log_scales)), own, jnp.asarray(z))
    each = scipy.stats.norm(means, np.exp(log_scales)).pdf(z)
    aggregate, marginals, prior = each.prod(axis=1).mean(), each.mean(axis=0), scipy.stats.norm.pdf(z)
    np.testing.assert_allclose(parts.kl, np.log(each[2].prod() / prior.prod()), rtol=1e-10)
    np.testing.assert_allclose(parts.mutual_information, np.log(each[2].prod() / aggregate), rtol=1e-10)
    np.testing.assert_allclose(parts.total_correlation, np.log(aggregate / marginals.prod()), rtol=1e-10)
    np.testing.assert_allclose(parts.dimension_wise, np.log(marginals / prior), rtol=1e-10)
    np.testing.assert_allclose(parts.marginal, np.log(aggregate / prior.prod()), rtol=1e-10)
    dimension_wise = parts.dimension_wise.sum()
    np.testing.assert_allclose(parts.kl, parts.mutual_information + parts.marginal, rtol=1e-12)
    np.testing.assert_allclose(
        parts.kl, parts.mutual_information + parts.total_correlation + dimension_wise, rtol=1e-12
    )


def test_the_average_kl_is_the_closed_form_and_the_chunk_changes_nothing():
    means, log_scales = some_posteriors(50, 3)
    posteriors = Normal(jnp.float32(means), jnp.float32(log_scales))
    found = decompose(jax.random.key(1), standard(3), posteriors, num_samples=8003, chunk=1000)
    exact = jax.vmap(lambda posterior: kl(posterior, standard(3), jnp.zeros(3)))(posteriors)
    within(found, "kl", np.mean(exact))
    parts = found.parts
    np.testing.assert_allclose(
        parts.kl, parts.mutual_information + parts.total_correlation + parts.dimension_wise.sum(), rtol=1e-5
    )
    np.testing.assert_allclose(parts.kl, parts.mutual_information + parts.marginal, rtol=1e-5)
    other = decompose(jax.random.key(1), standard(3), posteriors, num_samples=8003, chunk=71)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), found, other)


def test_a_gaussian_aggregate_has_the_closed_forms():
    """Means on a grid of normal quantiles, sheared: the aggregate is a correlated Gaussian, up to the grid."""
    quantiles = scipy.stats.norm.ppf((np.arange(40) + 0.5) / 40)
    grid = np.stack(np.meshgrid(quantiles, quantiles), axis=-1).reshape(-1, 2)
    shear, scales = np.array([[0.9, 0.0], [0.6, 0.5]]), np.array([0.6, 0.7])
    means = grid @ shear.T
    covariance = np.cov(means.T, ddof=0) + np.diag(scales**2)
    correlation = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
    posteriors = Normal(jnp.float32(means), jnp.broadcast_to(jnp.float32(np.log(scales)), means.shape))
    found = decompose(jax.random.key(0), standard(2), posteriors, num_samples=6000, chunk=500)
    log_determinant = np.log(np.linalg.det(covariance))
    variances = np.diag(covariance)
    slack = 0.01  # forty quantiles have lighter tails than a Gaussian
    within(found, "total_correlation", -0.5 * np.log(1 - correlation**2), slack)
    within(found, "mutual_information", 0.5 * (log_determinant - 2 * np.log(scales).sum()), slack)
    within(found, "dimension_wise", 0.5 * (variances - 1 - np.log(variances)), slack)
    within(found, "marginal", 0.5 * (np.trace(covariance) - 2 - log_determinant), slack)
    assert -0.5 * np.log(1 - correlation**2) > 0.1


@pytest.mark.parametrize(
    ("corners", "information", "correlation"),
    [
        ([[1, 1], [1, -1], [-1, 1], [-1, -1]], 2, 0),  # two independent bits
        ([[1, 1], [-1, -1]], 1, 1),  # one bit, said twice
        ([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], 2, 1),  # the third is the product of the others
    ],
)
def test_separate_posteriors_are_an_enumeration(corners, information, correlation):
    means = 12 * jnp.asarray(corners, jnp.float32)
    found = decompose(
        jax.random.key(0), standard(means.shape[1]), Normal(means, jnp.zeros_like(means)), num_samples=200
    )
    np.testing.assert_allclose(found.parts.mutual_information, information * np.log(2), atol=1e-4)
    np.testing.assert_allclose(found.parts.total_correlation, correlation * np.log(2), atol=1e-4)
    np.testing.assert_allclose(found.standard_error.mutual_information, 0, atol=1e-4)


def test_the_standard_errors_are_the_spread_of_repetitions():
    means, log_scales = some_posteriors(10, 2)
    posteriors = Normal(jnp.float32(means), jnp.float32(log_scales))
    run = partial(decompose_kl, num_samples=50, chunk=50)
    found = jax.jit(jax.vmap(run, (0, None, None)))(jax.random.split(jax.random.key(0), 1000), standard(2), posteriors)
    for name in ("kl", "mutual_information", "total_correlation", "marginal"):
        spread = np.std(getattr(found.parts, name))
        stated = np.sqrt(np.mean(np.square(getattr(found.standard_error, name))))
        assert abs(stated / spread - 1) < 5 / np.sqrt(2 * 1000) + 0.02


def test_ten_thousand_posteriors_fit_in_the_memory_of_a_chunk():
    posteriors = Normal(jnp.zeros((10_000, 50)), jnp.zeros((10_000, 50)))
    lowered = decompose.lower(jax.random.key(0), standard(50), posteriors, num_samples=10_000, chunk=4)
    assert lowered.compile().memory_analysis().temp_size_in_bytes < 3 * 4 * (4 * 10_000 * 50)


def test_rate_and_distortion_are_the_halves_of_the_bound():
    model = linear.linear_vae(latent=2)
    params = linear.parameters(jnp.array([[1.0, 0.2], [-0.3, 0.8], [0.5, 0.5]]), jnp.zeros(3), jnp.array(0.6))
    xs = jax.random.normal(jax.random.key(0), (400, 3))
    key = jax.random.key(1)
    found = jax.jit(partial(rate_distortion, model, num_samples=20))(key, params, xs)
    bounds = batched_elbo(model, key, params, xs, num_samples=20)
    np.testing.assert_allclose(-(found.rate + found.distortion), np.mean(bounds), rtol=1e-5)
    encoder, decoder = params["encoder"], params["decoder"]
    means, variances = np.asarray(xs) @ np.asarray(encoder["V"]).T, np.exp(2 * np.asarray(encoder["log_scale"]))
    rates = 0.5 * (np.sum(means**2, axis=1) + np.sum(variances - 1 - np.log(variances)))
    np.testing.assert_allclose(found.rate, rates.mean(), rtol=1e-5)
    np.testing.assert_allclose(found.rate_standard_error, rates.std(ddof=1) / 20, rtol=1e-4)
    loadings, variance = np.asarray(decoder["W"]), 0.6**2
    errors = np.sum((np.asarray(xs) - means @ loadings.T) ** 2, axis=1) + np.sum(loadings**2 * variances)
    distortions = 0.5 * (errors / variance + 3 * np.log(2 * np.pi * variance))
    # the draws' part of the error, from the spread within an example, is below that over the examples
    assert abs(found.distortion - distortions.mean()) < 5 * found.distortion_standard_error / 4
    np.testing.assert_allclose(found.distortion_standard_error, distortions.std(ddof=1) / 20, rtol=0.1)


def test_active_units_are_those_whose_mean_moves():
    scales = np.array([1.0, 0.11, 0.09, 0.0])
    signs = np.resize([1.0, -1.0], 100)[:, None]
    posteriors = Normal(jnp.asarray(3 + scales * signs, jnp.float32), jnp.zeros((100, 4)))
    assert active_units(posteriors).tolist() == [True, True, False, False]
    assert active_units(posteriors, threshold=0.02).tolist() == [True, False, False, False]


def told(means, log_scale=0.0):
    means = jnp.asarray(means, jnp.float32)
    posteriors = Normal(means, jnp.full(means.shape, log_scale))
    found = decompose(jax.random.key(0), standard(means.shape[1]), posteriors, num_samples=2000, chunk=500)
    return collapse_sentence(found, active_units(posteriors))


@pytest.mark.slow
def test_what_is_said_of_a_collapse():
    draws = np.random.default_rng(0).standard_normal((300, 3))
    assert "The posterior has collapsed: none of the 3 latent dimensions follows x" in told(0 * draws)
    partial_collapse = told(draws * np.array([0.95, 0.0, 0.0]), log_scale=np.log([0.3, 1.0, 1.0]))
    assert "2 of 3 latent dimensions have collapsed, 1 follow x; z tells 1." in partial_collapse
    assert "not the prior" not in partial_collapse
    everything = told(draws, log_scale=-0.7)
    assert "No collapse: all 3 latent dimensions follow x" in everything
    saturated = told(draws[:20], log_scale=-4.0)
    assert "That is nearly ln N = 3.00, the most that 20 examples can show" in saturated
    astray = told(0.95 * draws[:, :1] + 3, log_scale=np.log(0.3))
    assert "the aggregate posterior is not the prior" in astray


def test_what_is_said_when_only_the_spread_follows_x():
    parts = KLParts(*(jnp.asarray(value) for value in (0.6, 0.5, 0.0)), jnp.full(2, 0.05), jnp.asarray(0.1))
    errors = jax.tree.map(lambda part: 0.01 * jnp.ones_like(part), parts)
    sentence = collapse_sentence(KLDecomposition(parts, errors, jnp.asarray(1000)), jnp.zeros(2, bool))
    assert "the code is in the posteriors' spread" in sentence


def test_what_does_not_factorise_is_refused():
    fields, key = jnp.zeros((5, 2)), jax.random.key(0)
    with pytest.raises(ValueError, match=r"must factorise over dimensions, with fields of shape \[N, D\].*broadcast"):
        decompose_kl(key, standard(2), Normal(fields, jnp.zeros(5)), num_samples=10)
    with pytest.raises(ValueError, match="the prior must factorise over the posteriors' 2 dimensions"):
        decompose_kl(key, standard(3), Normal(fields, fields), num_samples=10)
    with pytest.raises(ValueError, match="num_samples=1 must be at least two"):
        decompose_kl(key, standard(2), Normal(fields, fields), num_samples=1)
    model = linear.linear_vae(latent=1)
    with pytest.raises(ValueError, match="needs at least two, not 1"):
        rate_distortion(model, key, model.init(key, jnp.zeros(2)), jnp.zeros((1, 2)))


def test_the_mutual_information_of_posteriors_between_alike_and_apart():
    """Three posteriors alike tell nothing, three apart ln 3, and two that overlap what a quadrature says."""
    alike = Normal(jnp.zeros((3, 2)), jnp.zeros((3, 2)))
    np.testing.assert_allclose(mutual_information(jax.random.key(0), alike), 0.0, atol=1e-6)
    apart = Normal(jnp.array([[-50.0], [0.0], [50.0]]), jnp.zeros((3, 1)))
    np.testing.assert_allclose(mutual_information(jax.random.key(0), apart), np.log(3), rtol=1e-5)
    overlapping = Normal(jnp.array([[-1.0], [1.0]]), jnp.zeros((2, 1)))
    grid = np.linspace(-9, 9, 4001)
    each = np.stack([scipy.stats.norm(mean).pdf(grid) for mean in (-1, 1)])
    expected = np.mean(np.trapezoid(each * np.log(each / each.mean(axis=0)), grid, axis=1))
    keys = jax.random.split(jax.random.key(1), 5000)
    found = jax.jit(jax.vmap(lambda key: mutual_information(key, overlapping)))(keys)
    assert_mean(found, expected)


def test_examples_that_are_trees_are_counted_by_their_arrays():
    """Three (image, class) pairs were counted as two."""
    model = linear.linear_vae(latent=1)
    pairs = model._replace(terms=lambda key, params, x: model.terms(key, params, x[0]))
    params, xs = model.init(jax.random.key(0), jnp.zeros(3)), jnp.arange(9.0).reshape(3, 3)
    found = rate_distortion(pairs, jax.random.key(1), params, (xs, jnp.arange(3)))
    for one, other in zip(found, rate_distortion(model, jax.random.key(1), params, xs), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
